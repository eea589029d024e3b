/* One FileDescriptorProto: its symbols, and what they use.
 *
 * Which field of a descriptor holds which kind of definition stands in one table; the walk follows it down.  Bytes of fields that
 * it does not know (options, source positions) are only checked to be fields. */
#include "proto/catalog_priv.h"

#include <stdlib.h>

#define DEPTH_MAX      64
#define NAME_MAX_BYTES 1024
#define NAMES_MAX      ((size_t)256 << 20) /* a short file may give a million symbols one long name in front */

static const struct {
    enum def_kind in;
    uint32_t number;
    enum def_kind kind;
} parts[] = {{DEF_FILE, 4, DEF_MESSAGE},   {DEF_FILE, 5, DEF_ENUM},         {DEF_FILE, 6, DEF_SERVICE},
             {DEF_FILE, 7, DEF_EXTENSION}, {DEF_MESSAGE, 2, DEF_FIELD},     {DEF_MESSAGE, 3, DEF_MESSAGE},
             {DEF_MESSAGE, 4, DEF_ENUM},   {DEF_MESSAGE, 6, DEF_EXTENSION}, {DEF_MESSAGE, 8, DEF_ONEOF},
             {DEF_ENUM, 2, DEF_VALUE},     {DEF_SERVICE, 2, DEF_METHOD}};

enum { FILE_NAME = 1, FILE_PACKAGE = 2, DEF_NAME = 1 };
enum { FIELD_EXTENDEE = 2, FIELD_NUMBER = 3, FIELD_LABEL = 4, FIELD_TYPE = 5, FIELD_TYPE_NAME = 6 };
enum { VALUE_NUMBER = 2, METHOD_INPUT = 2, METHOD_OUTPUT = 3, METHOD_CLIENT_STREAM = 5, METHOD_SERVER_STREAM = 6 };

struct walk_file {
    struct file *f;
    struct ang_arena *arena;
    size_t *names;
};

int catalog_compare(struct ang_slice a, struct ang_slice b) {
    int d = memcmp(a.n == 0 ? (const uint8_t *)"" : a.p, b.n == 0 ? (const uint8_t *)"" : b.p, a.n < b.n ? a.n : b.n);

    return (d != 0 ? d : (a.n > b.n) - (a.n < b.n));
}

static bool last(struct ang_slice def, uint32_t number, enum ang_wire_type type, struct ang_wire_field *ret_f) {
    struct ang_wire_iter it = ang_wire_iter_of(def);
    struct ang_wire_field f;
    bool found = false;

    while (ang_wire_next(&it, &f))
        if (f.number == number && f.type == type) {
            *ret_f = f;
            found = true;
        }
    return (found);
}

uint64_t catalog_number(struct ang_slice def, uint32_t number) {
    struct ang_wire_field f;

    return (last(def, number, ANG_WIRE_VARINT, &f) ? f.value : 0);
}

struct ang_slice catalog_bytes(struct ang_slice def, uint32_t number) {
    struct ang_wire_field f;

    return (last(def, number, ANG_WIRE_BYTES, &f) ? f.bytes : ANG_SLICE_NONE);
}

/* Letters, digits and _, not a digit first; with dots between them when `dots`. */
static bool name_ok(struct ang_slice s, bool dots) {
    bool first = true;

    for (size_t i = 0; i < s.n; i++) {
        const uint8_t c = s.p[i];

        if (dots && c == '.' && !first)
            first = true;
        else if (c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (!first && c >= '0' && c <= '9'))
            first = false;
        else
            return (false);
    }
    return (!first);
}

static struct ang_err *bad(const struct walk_file *w, struct ang_slice scope, const char *what) {
    return (ang_err_new(ANG_E_WIRE, "%.*s%s%.*s: %s", TEXT(w->f->pub.name), scope.n == 0 ? "" : ": in ", TEXT(scope),
                        what));
}

static struct ang_err *full_name(const struct walk_file *w, struct ang_slice scope, struct ang_slice name,
                                 struct ang_slice *ret_full) {
    char *p;

    if (!name_ok(name, false))
        return (bad(w, scope, "a name is missing, or no name"));
    if (scope.n + 1 + name.n > NAME_MAX_BYTES)
        return (bad(w, ANG_SLICE_NONE, "a full name has more than 1024 characters"));
    *w->names += scope.n + 1 + name.n;
    if (*w->names > NAMES_MAX)
        return (bad(w, ANG_SLICE_NONE, "the full names of all symbols have more than 256 MiB"));
    p = ang_arena_sprintf(w->arena, "%.*s%s%.*s", TEXT(scope), scope.n == 0 ? "" : ".", TEXT(name));
    *ret_full = ang_slice_str(p);
    return (NULL);
}

static void remember(struct file *f, struct ang_slice name, enum def_kind kind, struct ang_slice def) {
    if (f->n_symbols == f->cap_symbols) {
        f->cap_symbols = f->cap_symbols == 0 ? 32 : 2 * f->cap_symbols;
        f->symbols = ang_realloc(f->symbols, f->cap_symbols * sizeof(*f->symbols));
    }
    f->symbols[f->n_symbols++] = (struct symbol){.name = name, .kind = kind, .def = def, .file = f};
}

static bool part_of(enum def_kind in, uint32_t number, enum def_kind *ret_kind) {
    for (size_t i = 0; i < ANG_COUNT(parts); i++)
        if (parts[i].in == in && parts[i].number == number) {
            *ret_kind = parts[i].kind;
            return (true);
        }
    return (false);
}

/* outer is the scope that the definition itself stands in, scope what its parts stand in. */
static struct ang_err *walk_parts(const struct walk_file *w, enum def_kind in, struct ang_slice outer,
                                  struct ang_slice scope, struct ang_slice def, int depth) {
    struct ang_wire_iter it = ang_wire_iter_of(def);
    struct ang_err *er = NULL;
    struct ang_wire_field f;
    struct ang_slice full;
    enum def_kind kind;

    if (depth > DEPTH_MAX)
        return (bad(w, ANG_SLICE_NONE, "messages are nested more than 64 deep"));
    while (er == NULL && ang_wire_next(&it, &f)) {
        if (!part_of(in, f.number, &kind))
            continue;
        if (f.type != ANG_WIRE_BYTES)
            return (bad(w, scope, "a definition is no message"));
        /* A value of an enum stands beside it, as in C. */
        const struct ang_slice around = kind == DEF_VALUE ? outer : scope;
        er = full_name(w, around, catalog_bytes(f.bytes, DEF_NAME), &full);
        if (er == NULL)
            remember(w->f, full, kind, f.bytes);
        if (er == NULL)
            er = walk_parts(w, kind, around, full, f.bytes, depth + 1);
    }
    if (er == NULL && it.what != NULL)
        er = bad(w, scope, it.what);
    return (er);
}

static int by_name(const void *a, const void *b) {
    return (catalog_compare(((const struct symbol *)a)->name, ((const struct symbol *)b)->name));
}

/* The name of a file goes into messages and into answers. */
static bool file_name_ok(struct ang_slice name) {
    if (name.n == 0 || name.n > NAME_MAX_BYTES || !ang_utf8_ok(name))
        return (false);
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < ' ' || name.p[i] == 0x7f)
            return (false);
    return (true);
}

struct ang_err *catalog_walk(struct file *f, struct ang_arena *arena, size_t *names) {
    const struct walk_file w = {f, arena, names};
    const struct ang_slice package = catalog_bytes(f->pub.bytes, FILE_PACKAGE);
    struct ang_err *er;

    f->pub.name = catalog_bytes(f->pub.bytes, FILE_NAME);
    if (!file_name_ok(f->pub.name))
        return (ang_err_new(ANG_E_WIRE, "a file has no name"));
    if (package.n != 0 && (package.n > NAME_MAX_BYTES || !name_ok(package, true)))
        return (bad(&w, ANG_SLICE_NONE, "its package is no name"));
    er = walk_parts(&w, DEF_FILE, package, package, f->pub.bytes, 0);
    if (er != NULL)
        return (er);
    if (f->n_symbols != 0)
        qsort(f->symbols, f->n_symbols, sizeof(*f->symbols), by_name);
    for (size_t i = 1; i < f->n_symbols; i++)
        if (ang_slice_eq(f->symbols[i - 1].name, f->symbols[i].name))
            return (bad(&w, f->symbols[i].name, "defined twice"));
    return (NULL);
}

/* ---- what is in a definition ---- */

/* Numbers of the fields of its descriptor that name types, that hold numbers; ended by 0. */
static const struct {
    uint32_t types[3], numbers[4];
} contents[] = {
    [DEF_FIELD] = {{FIELD_TYPE_NAME}, {FIELD_NUMBER, FIELD_LABEL, FIELD_TYPE}},
    [DEF_EXTENSION] = {{FIELD_EXTENDEE, FIELD_TYPE_NAME}, {FIELD_NUMBER, FIELD_LABEL, FIELD_TYPE}},
    [DEF_VALUE] = {{0}, {VALUE_NUMBER}},
    [DEF_METHOD] = {{METHOD_INPUT, METHOD_OUTPUT}, {METHOD_CLIENT_STREAM, METHOD_SERVER_STREAM}},
};

struct ang_err *catalog_uses(const struct symbol *s, struct ang_err *(*of)(void *arg, struct ang_slice type),
                             void *arg) {
    struct ang_err *er = NULL;

    if (s->kind >= ANG_COUNT(contents))
        return (NULL);
    for (const uint32_t *n = contents[s->kind].types; er == NULL && *n != 0; n++) {
        struct ang_slice type = catalog_bytes(s->def, *n);

        if (type.n == 0)
            continue;
        if (type.p[0] != '.') /* protoc always writes full names */
            return (ang_err_new(ANG_E_WIRE, "%.*s: %.*s: a type is named without its package", TEXT(s->file->pub.name),
                                TEXT(s->name)));
        er = of(arg, ang_slice_of(type.p + 1, type.n - 1));
    }
    return (er);
}

bool catalog_same(const struct symbol *a, const struct symbol *b) {
    if (a->kind != b->kind)
        return (false);
    if (a->kind >= ANG_COUNT(contents))
        return (true);
    for (const uint32_t *n = contents[a->kind].types; *n != 0; n++)
        if (!ang_slice_eq(catalog_bytes(a->def, *n), catalog_bytes(b->def, *n)))
            return (false);
    for (const uint32_t *n = contents[a->kind].numbers; *n != 0; n++)
        if (catalog_number(a->def, *n) != catalog_number(b->def, *n))
            return (false);
    return (true);
}
