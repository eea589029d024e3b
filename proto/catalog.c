/* The catalog: files, and the sorted tables in which they are found.
 *
 * A set is added in steps: its files are walked (catalog_walk.c), compared with files of the same name, put into the tables,
 * and at last what they import and use is looked up.  Tables are sorted again after each set, so what is defined twice stands
 * side by side in them. */
#include "proto/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/builtin.h"
#include "proto/catalog_priv.h"

#define SET_MAX ((size_t)64 << 20)

enum { SET_FILE = 1, FILE_DEPENDENCY = 3, EXTENSION_EXTENDEE = 2, EXTENSION_NUMBER = 3 };

struct ang_catalog {
    unsigned magic;
#define ANG_CATALOG_MAGIC 0xca7a1061
    struct ang_arena *arena;
    size_t names;
    struct file **files; /* in order of their names */
    size_t n_files;
    const struct symbol **symbols; /* in order of their names */
    size_t n_symbols;
    struct ang_catalog_extension *extensions; /* in order of their types, then numbers */
    size_t n_extensions;
};

/* ---- looking up ---- */

static int file_order(const void *a, const void *b) {
    return (catalog_compare((*(struct file *const *)a)->pub.name, (*(struct file *const *)b)->pub.name));
}

static int symbol_order(const void *a, const void *b) {
    return (catalog_compare((*(const struct symbol *const *)a)->name, (*(const struct symbol *const *)b)->name));
}

static int extension_order(const void *a, const void *b) {
    const struct ang_catalog_extension *x = a, *y = b;
    const int d = catalog_compare(x->type, y->type);

    return (d != 0 ? d : (x->number > y->number) - (x->number < y->number));
}

static struct file *find_file(const struct ang_catalog *c, struct ang_slice name) {
    struct file key = {.pub = {.name = name}}, *k = &key, **at;

    at = c->n_files == 0 ? NULL : bsearch(&k, c->files, c->n_files, sizeof(struct file *), file_order);
    return (at == NULL ? NULL : *at);
}

static const struct symbol *find_symbol(const struct ang_catalog *c, struct ang_slice name) {
    const struct symbol key = {.name = name}, *k = &key, **at;

    at = c->n_symbols == 0 ? NULL : bsearch(&k, c->symbols, c->n_symbols, sizeof(struct symbol *), symbol_order);
    return (at == NULL ? NULL : *at);
}

static const struct symbol *find_in(const struct file *f, struct ang_slice name) {
    size_t low = 0, high = f->n_symbols;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int d = catalog_compare(name, f->symbols[mid].name);

        if (d == 0)
            return (&f->symbols[mid]);
        if (d < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return (NULL);
}

size_t ang_catalog_size(const struct ang_catalog *c) {
    ANG_CHECK(c, ANG_CATALOG_MAGIC);
    return (c->n_files);
}

const struct ang_catalog_file *ang_catalog_named(const struct ang_catalog *c, struct ang_slice name) {
    ANG_CHECK(c, ANG_CATALOG_MAGIC);
    const struct file *f = find_file(c, name);
    return (f == NULL ? NULL : &f->pub);
}

const struct ang_catalog_file *ang_catalog_defining(const struct ang_catalog *c, struct ang_slice symbol) {
    ANG_CHECK(c, ANG_CATALOG_MAGIC);
    const struct symbol *s = find_symbol(c, symbol);
    return (s == NULL ? NULL : &s->file->pub);
}

bool ang_catalog_has_message(const struct ang_catalog *c, struct ang_slice type) {
    ANG_CHECK(c, ANG_CATALOG_MAGIC);
    const struct symbol *s = find_symbol(c, type);
    return (s != NULL && s->kind == DEF_MESSAGE);
}

const struct ang_catalog_file *ang_catalog_extending(const struct ang_catalog *c, struct ang_slice type,
                                                     int32_t number) {
    const struct ang_catalog_extension key = {.type = type, .number = number}, *at;

    ANG_CHECK(c, ANG_CATALOG_MAGIC);
    at = c->n_extensions == 0 ? NULL : bsearch(&key, c->extensions, c->n_extensions, sizeof(key), extension_order);
    return (at == NULL ? NULL : at->file);
}

size_t ang_catalog_extensions(const struct ang_catalog *c, struct ang_slice type,
                              const struct ang_catalog_extension **ret_first) {
    size_t first = 0, end;

    ANG_CHECK(c, ANG_CATALOG_MAGIC);
    while (first < c->n_extensions && !ang_slice_eq(c->extensions[first].type, type))
        first++;
    for (end = first; end < c->n_extensions && ang_slice_eq(c->extensions[end].type, type);)
        end++;
    *ret_first = &c->extensions[first];
    return (end - first);
}

/* ---- adding: a file that is there already ---- */

static struct ang_err *differs(const struct file *f, struct ang_slice symbol) {
    return (
        ang_err_new(ANG_E_INVALID,
                    "%.*s: differs from the file of the same name that is known already%s: %.*s; compile both from the "
                    "same source",
                    TEXT(f->pub.name), f->ours ? " (it is one of ours)" : "", TEXT(symbol)));
}

/* Both define the same, so that either will do.  The contract grows, and so do the files of protoc: there one may have more. */
static struct ang_err *same_file(const struct file *kept, const struct file *left_out) {
    static const char well_known[] = "google/protobuf/";
    const bool grows = kept->ours || (kept->pub.name.n > sizeof(well_known) - 1 &&
                                      memcmp(kept->pub.name.p, well_known, sizeof(well_known) - 1) == 0);

    for (size_t i = 0; i < left_out->n_symbols; i++) {
        const struct symbol *s = &left_out->symbols[i], *old = find_in(kept, s->name);

        if (old == NULL ? !grows : !catalog_same(old, s))
            return (differs(kept, s->name));
    }
    for (size_t i = 0; !grows && i < kept->n_symbols; i++)
        if (find_in(left_out, kept->symbols[i].name) == NULL)
            return (differs(kept, kept->symbols[i].name));
    return (NULL);
}

/* ---- adding: the tables ---- */

static void file_free(struct file *f) {
    free(f->symbols);
    free(f->pub.imports);
    free(f);
}

static void index_symbols(struct ang_catalog *c, const struct file *f) {
    if (f->n_symbols == 0)
        return;
    c->symbols = ang_realloc(c->symbols, (c->n_symbols + f->n_symbols) * sizeof(struct symbol *));
    for (size_t i = 0; i < f->n_symbols; i++) {
        const struct symbol *s = &f->symbols[i];
        struct ang_slice type;

        c->symbols[c->n_symbols++] = s;
        type = s->kind == DEF_EXTENSION ? catalog_bytes(s->def, EXTENSION_EXTENDEE) : ANG_SLICE_NONE;
        if (type.n == 0)
            continue;
        c->extensions = ang_realloc(c->extensions, (c->n_extensions + 1) * sizeof(*c->extensions));
        c->extensions[c->n_extensions++] =
            (struct ang_catalog_extension){.type = ang_slice_of(type.p + 1, type.n - 1),
                                           .number = (int32_t)catalog_number(s->def, EXTENSION_NUMBER),
                                           .file = &f->pub};
    }
}

static struct ang_err *sort_symbols(struct ang_catalog *c) {
    if (c->n_symbols != 0)
        qsort(c->symbols, c->n_symbols, sizeof(struct symbol *), symbol_order);
    for (size_t i = 1; i < c->n_symbols; i++) {
        const struct symbol *a = c->symbols[i - 1], *b = c->symbols[i];

        if (ang_slice_eq(a->name, b->name))
            return (ang_err_new(
                ANG_E_INVALID,
                "%.*s is defined twice, in %.*s and in %.*s; if they are one file, compile it under one name "
                "(protoc -I)",
                TEXT(a->name), TEXT(a->file->pub.name), TEXT(b->file->pub.name)));
    }
    if (c->n_extensions != 0)
        qsort(c->extensions, c->n_extensions, sizeof(*c->extensions), extension_order);
    for (size_t i = 1; i < c->n_extensions; i++)
        if (extension_order(&c->extensions[i - 1], &c->extensions[i]) == 0)
            return (ang_err_new(ANG_E_INVALID, "%.*s has two extensions with the number %d, in %.*s and in %.*s",
                                TEXT(c->extensions[i].type), (int)c->extensions[i].number,
                                TEXT(c->extensions[i - 1].file->name), TEXT(c->extensions[i].file->name)));
    return (NULL);
}

/* ---- adding: what a file needs ---- */

static struct ang_err *resolve_imports(struct ang_catalog *c, struct file *f) {
    struct ang_wire_iter it = ang_wire_iter_of(f->pub.bytes);
    struct ang_wire_field field;

    while (ang_wire_next(&it, &field)) {
        const struct file *import;

        if (field.number != FILE_DEPENDENCY || field.type != ANG_WIRE_BYTES)
            continue;
        import = find_file(c, field.bytes);
        if (import == NULL)
            return (ang_err_new(
                ANG_E_INVALID, "%.*s imports \"%.*s\", which is not in the set: compile it with --include_imports",
                TEXT(f->pub.name), field.bytes.n > 200 || !ang_utf8_ok(field.bytes) ? 0 : (int)field.bytes.n,
                (const char *)field.bytes.p));
        f->pub.imports = ang_realloc(f->pub.imports, (f->pub.n_imports + 1) * sizeof(*f->pub.imports));
        f->pub.imports[f->pub.n_imports++] = &import->pub;
    }
    return (NULL);
}

struct use {
    const struct ang_catalog *c;
    const struct symbol *by;
};

static struct ang_err *resolve_type(void *arg, struct ang_slice type) {
    const struct use *u = arg;
    const struct symbol *s = find_symbol(u->c, type);

    if (s != NULL && (s->kind == DEF_MESSAGE || s->kind == DEF_ENUM))
        return (NULL);
    return (ang_err_new(ANG_E_INVALID, "%.*s: %.*s is of a type that is not known: %.*s", TEXT(u->by->file->pub.name),
                        TEXT(u->by->name), type.n > 200 || !ang_utf8_ok(type) ? 0 : (int)type.n, (const char *)type.p));
}

static struct ang_err *resolve(struct ang_catalog *c, struct file *f) {
    struct ang_err *er = resolve_imports(c, f);

    for (size_t i = 0; er == NULL && i < f->n_symbols; i++)
        er = catalog_uses(&f->symbols[i], resolve_type, &(struct use){c, &f->symbols[i]});
    return (er);
}

/* ---- adding ---- */

struct added { /* files of the set, as long as they are not the catalog's */
    struct file **files;
    size_t n;
};

/* The files of the set, walked, in order of their names. */
static struct ang_err *read_set(struct ang_catalog *c, struct ang_slice set, bool ours, struct added *a) {
    struct ang_wire_iter it = ang_wire_iter_of(set);
    struct ang_wire_field field;
    struct ang_err *er = NULL;

    while (er == NULL && ang_wire_next(&it, &field)) {
        if (field.number != SET_FILE || field.type != ANG_WIRE_BYTES)
            continue;
        a->files = ang_realloc(a->files, (a->n + 1) * sizeof(struct file *));
        a->files[a->n] = ANG_NEW(struct file);
        a->files[a->n]->ours = ours;
        a->files[a->n]->pub.bytes = field.bytes;
        er = catalog_walk(a->files[a->n++], c->arena, &c->names);
    }
    if (er == NULL && it.what != NULL)
        er = ang_err_new(ANG_E_WIRE, "%s", it.what);
    if (er == NULL && a->n == 0)
        er = ang_err_new(ANG_E_WIRE, "there is no file in it");
    if (er != NULL)
        return (ang_err_wrap(&er, "not an encoded google.protobuf.FileDescriptorSet"));
    qsort(a->files, a->n, sizeof(struct file *), file_order);
    return (NULL);
}

/* Takes the files of *a: those that are there already are compared and freed, the others go into the catalog. */
static struct ang_err *take_files(struct ang_catalog *c, struct added *a) {
    const size_t before = c->n_files;
    struct ang_err *er = NULL;
    size_t n = 0;

    for (size_t i = 0; i < a->n; i++) {
        struct file *f = a->files[i];
        const bool twice = n != 0 && ang_slice_eq(a->files[n - 1]->pub.name, f->pub.name);
        const struct file *old = twice ? a->files[n - 1] : find_file(c, f->pub.name);

        if (old == NULL) {
            a->files[n++] = f;
            continue;
        }
        if (er == NULL)
            er = same_file(old, f);
        file_free(f);
    }
    c->files = ang_realloc(c->files, (before + n + 1) * sizeof(struct file *));
    for (size_t i = 0; i < n; i++) {
        a->files[i]->pub.index = c->n_files;
        c->files[c->n_files++] = a->files[i];
    }
    a->n = n; /* still named here, for what is done with the new ones, but the catalog's */
    qsort(c->files, c->n_files, sizeof(struct file *), file_order);
    return (er);
}

static struct ang_err *add(struct ang_catalog *c, struct ang_slice set, bool ours) {
    struct added a = {NULL, 0};
    struct ang_err *er = read_set(c, set, ours, &a);

    if (er != NULL) {
        for (size_t i = 0; i < a.n; i++)
            file_free(a.files[i]);
    } else {
        er = take_files(c, &a);
        for (size_t i = 0; er == NULL && i < a.n; i++)
            index_symbols(c, a.files[i]);
        if (er == NULL)
            er = sort_symbols(c);
        for (size_t i = 0; er == NULL && i < a.n; i++)
            er = resolve(c, a.files[i]);
    }
    free(a.files);
    return (er);
}

struct ang_err *ang_catalog_add(struct ang_catalog *c, struct ang_slice set) {
    ANG_CHECK(c, ANG_CATALOG_MAGIC);
    return (add(c, ang_arena_copy(c->arena, set), false));
}

struct ang_err *ang_catalog_add_path(struct ang_catalog *c, const char *path) {
    struct ang_buf set = {NULL, 0, 0};
    struct ang_err *er = NULL;
    FILE *f = fopen(path, "re");
    size_t n;

    if (f == NULL)
        return (ang_err_new(ANG_E_IO, "cannot be read: %s", strerror(errno)));
    do {
        n = fread(ang_buf_reserve(&set, 65536), 1, 65536, f);
        set.n += n;
    } while (n > 0 && set.n <= SET_MAX);
    if (ferror(f))
        er = ang_err_new(ANG_E_IO, "cannot be read: %s", strerror(errno));
    else if (set.n > SET_MAX)
        er = ang_err_new(ANG_E_INVALID, "larger than 64 MiB");
    fclose(f);
    if (er == NULL)
        er = ang_catalog_add(c, ang_buf_slice(&set));
    ang_buf_fini(&set);
    return (er);
}

/* ---- life ---- */

struct ang_catalog *ang_catalog_new(void) {
    struct ang_catalog *c = ANG_NEW(struct ang_catalog);

    c->magic = ANG_CATALOG_MAGIC;
    c->arena = ang_arena_new((size_t)64 << 10);
    AZ(add(c, ang_slice_of(ang_builtin_descriptors, ang_builtin_descriptors_n), true)); /* made by the build */
    return (c);
}

void ang_catalog_free(struct ang_catalog *c) {
    if (c == NULL)
        return;
    ANG_CHECK(c, ANG_CATALOG_MAGIC);
    for (size_t i = 0; i < c->n_files; i++)
        file_free(c->files[i]);
    free(c->files);
    free(c->symbols);
    free(c->extensions);
    ang_arena_free(c->arena);
    c->magic = 0;
    free(c);
}
