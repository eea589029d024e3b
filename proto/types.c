/* The pool: taking files in, linking, looking up.
 *
 * A file goes through protobuf-c, which knows descriptor.proto but no limits.  So the nesting of messages is checked
 * before, on the bytes; what it allocates comes out of an arena, with a bound; and the comments, often most of a set,
 * are left out. */
#include "proto/types.h"

#include <pthread.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/builtin.h"
#include "proto/types_priv.h"
#include "proto/wire.h"

#define MAX_BYTES   (64u << 20) /* of all sets of a pool */
#define MAX_SCRATCH (1u << 30)  /* what protobuf-c may make of them */
#define MAX_FILES   (1u << 16)
#define MAX_NESTED  32 /* messages declared in messages */
#define BLOCK       (64u << 10)

#define TAG_SET_FILE     1
#define TAG_FILE_MESSAGE 4
#define TAG_FILE_SOURCE  9
#define TAG_NESTED       3

struct ang_types *ang_types_new(void) {
    struct ang_types *ty = ANG_NEW(struct ang_types);

    ty->magic = ANG_TYPES_MAGIC;
    ty->arena = ang_arena_new(BLOCK);
    ty->scratch = ang_arena_new(BLOCK);
    return (ty);
}

static void keep(void *file) {
    (void)file; /* it lies in the arena */
}

static void drop_filling(struct ang_types *ty) {
    tdestroy(ty->files_by_name, keep);
    ty->files_by_name = NULL;
    free(ty->files);
    ty->files = NULL;
    ty->n_files = 0;
    free(ty->symbols);
    ty->symbols = NULL;
    ty->n_symbols = 0;
    ang_arena_free(ty->scratch);
    ty->scratch = NULL;
}

void ang_types_free(struct ang_types **ty) {
    if (*ty == NULL)
        return;
    ANG_CHECK(*ty, ANG_TYPES_MAGIC);
    drop_filling(*ty);
    ang_arena_free((*ty)->arena);
    (*ty)->magic = 0;
    free(*ty);
    *ty = NULL;
}

struct ang_err *types_error(const struct ang_types_file *file, const char *fmt, ...) {
    va_list ap;
    char text[1024];

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (!ang_utf8_ok(ang_slice_str(text)))
        for (char *p = text; *p != '\0'; p++)
            *p = (unsigned char)*p < 0x80 ? *p : '?'; /* a name from outside, or one cut in the middle */
    return (ang_err_new(ANG_E_TYPES, "%s: %.512s: %s", file->where, file->name, text));
}

/* ---- files ---- */

static int compare_files(const void *a, const void *b) {
    const struct ang_types_file *x = a, *y = b;

    return (strcmp(x->name, y->name));
}

const struct ang_types_file *types_file(const struct ang_types *ty, const char *name) {
    struct ang_types_file like = {.name = name};
    void *const *found = tfind(&like, &ty->files_by_name, compare_files);

    return (found == NULL ? NULL : *found);
}

static void *scratch_alloc(void *arg, size_t n) {
    struct ang_types *ty;

    ANG_CAST(ty, arg, ANG_TYPES_MAGIC);
    if (n > MAX_SCRATCH || ang_arena_used(ty->scratch) > MAX_SCRATCH - n)
        return (NULL);
    return (ang_arena_alloc(ty->scratch, n));
}

static void scratch_free(void *arg, void *p) {
    (void)arg;
    (void)p; /* linking drops the arena */
}

/* What is wrong with the bytes of a message declaration, or NULL. */
static const char *check_nesting(struct ang_slice message, unsigned level) {
    struct ang_wire_iter it = ang_wire_iter_of(message);
    struct ang_wire_field f;
    const char *what;

    if (level > MAX_NESTED)
        return ("messages are declared too deep inside each other");
    while (ang_wire_next(&it, &f)) {
        what = f.number == TAG_NESTED && f.type == ANG_WIRE_BYTES ? check_nesting(f.bytes, level + 1) : NULL;
        if (what != NULL)
            return (what);
    }
    return (it.what);
}

/* The file's bytes without its comments. */
static struct ang_err *strip(struct ang_types *ty, struct ang_slice file, const char *where, struct ang_slice *ret) {
    struct ang_wire_iter it = ang_wire_iter_of(file);
    uint8_t *p = ang_arena_alloc(ty->scratch, file.n + 1);
    const char *what = NULL;
    struct ang_wire_field f;
    size_t n = 0;

    while (what == NULL && ang_wire_next(&it, &f)) {
        if (f.number == TAG_FILE_SOURCE)
            continue;
        if (f.number == TAG_FILE_MESSAGE && f.type == ANG_WIRE_BYTES)
            what = check_nesting(f.bytes, 1);
        memcpy(p + n, f.raw.p, f.raw.n);
        n += f.raw.n;
    }
    if (what == NULL)
        what = it.what;
    if (what != NULL)
        return (ang_err_new(ANG_E_TYPES, "%s: not a set of descriptors: %s", where, what));
    *ret = ang_slice_of(p, n);
    return (NULL);
}

static struct ang_err *check_syntax(struct ang_types_file *file) {
    const char *syntax = file->desc->syntax;

    file->proto3 = syntax != NULL && strcmp(syntax, "proto3") == 0;
    if (file->proto3 || syntax == NULL || *syntax == '\0' || strcmp(syntax, "proto2") == 0)
        return (NULL);
    return (types_error(file, "its syntax is \"%.64s\": only proto2 and proto3 are known", syntax));
}

static void push_file(struct ang_types *ty, struct ang_types_file *file) {
    if (ty->n_files == ty->cap_files) {
        ty->cap_files = ty->cap_files == 0 ? 32 : 2 * ty->cap_files;
        ty->files = ang_realloc(ty->files, ty->cap_files * sizeof(struct ang_types_file *));
    }
    ty->files[ty->n_files++] = file;
    AN(tsearch(file, &ty->files_by_name, compare_files));
}

/* where: in the arena. */
static struct ang_err *add_file(struct ang_types *ty, struct ang_slice bytes, const char *where) {
    ProtobufCAllocator allocator = {scratch_alloc, scratch_free, ty};
    struct ang_types_file *file = ang_arena_alloc(ty->scratch, sizeof(*file));
    const struct ang_types_file *old;
    struct ang_err *er = strip(ty, bytes, where, &bytes);

    if (er != NULL)
        return (er);
    if (ty->n_files >= MAX_FILES)
        return (ang_err_new(ANG_E_TYPES, "%s: more than %u files", where, MAX_FILES));
    file->desc = google__protobuf__file_descriptor_proto__unpack(&allocator, bytes.n, bytes.p);
    if (file->desc == NULL)
        return (ang_err_new(ANG_E_TYPES, "%s: not a set of descriptors, or one too big to be read", where));
    if (file->desc->name == NULL || *file->desc->name == '\0')
        return (ang_err_new(ANG_E_TYPES, "%s: not a set of descriptors: a file without a name", where));
    if (!ang_utf8_ok(ang_slice_str(file->desc->name)))
        return (ang_err_new(ANG_E_TYPES, "%s: not a set of descriptors: the name of a file is not UTF-8", where));
    old = types_file(ty, file->desc->name);
    if (old != NULL && ang_slice_eq(old->bytes, bytes))
        return (NULL);
    file->name = ang_arena_sprintf(ty->arena, "%s", file->desc->name);
    file->where = where;
    file->bytes = bytes;
    er = check_syntax(file);
    if (er == NULL)
        push_file(ty, file);
    return (er);
}

static struct ang_err *count_bytes(struct ang_types *ty, struct ang_slice bytes, const char *where) {
    ANG_CHECK(ty, ANG_TYPES_MAGIC);
    AZ(ty->linked);
    if (bytes.n > MAX_BYTES - ty->n_bytes)
        return (ang_err_new(ANG_E_TYPES, "%s: more than %u MiB of descriptors", where, MAX_BYTES >> 20));
    ty->n_bytes += bytes.n;
    return (NULL);
}

struct ang_err *ang_types_add_file(struct ang_types *ty, struct ang_slice file, const char *where) {
    struct ang_err *er = count_bytes(ty, file, where);

    return (er != NULL ? er : add_file(ty, file, ang_arena_sprintf(ty->scratch, "%s", where)));
}

struct ang_err *ang_types_add(struct ang_types *ty, struct ang_slice set, const char *where) {
    struct ang_err *er = count_bytes(ty, set, where);
    struct ang_wire_iter it = ang_wire_iter_of(set);
    struct ang_wire_field f;

    if (er != NULL)
        return (er);
    where = ang_arena_sprintf(ty->scratch, "%s", where);
    while (er == NULL && ang_wire_next(&it, &f))
        if (f.number == TAG_SET_FILE && f.type == ANG_WIRE_BYTES)
            er = add_file(ty, f.bytes, where);
    if (er == NULL && it.what != NULL)
        er = ang_err_new(ANG_E_TYPES, "%s: not a set of descriptors: %s", where, it.what);
    return (er);
}

struct ang_err *ang_types_add_builtin(struct ang_types *ty) {
    return (ang_types_add(ty, ang_slice_of(ang_builtin_descriptors, ang_builtin_descriptors_n), "built in"));
}

/* ---- linking ---- */

static bool is_weak(const Google__Protobuf__FileDescriptorProto *desc, size_t i) {
    for (size_t w = 0; w < desc->n_weak_dependency; w++)
        if (desc->weak_dependency[w] >= 0 && (size_t)desc->weak_dependency[w] == i)
            return (true);
    return (false);
}

static const char *missing_of(const struct ang_types *ty, const struct ang_types_file *file) {
    for (size_t i = 0; i < file->desc->n_dependency; i++)
        if (types_file(ty, file->desc->dependency[i]) == NULL && !is_weak(file->desc, i))
            return (file->desc->dependency[i]);
    return (NULL);
}

const char *ang_types_missing(const struct ang_types *ty) {
    const char *name = NULL;

    ANG_CHECK(ty, ANG_TYPES_MAGIC);
    for (size_t i = 0; i < ty->n_files && name == NULL; i++)
        name = missing_of(ty, ty->files[i]);
    return (name);
}

static struct ang_err *check_imports(const struct ang_types *ty) {
    for (size_t i = 0; i < ty->n_files; i++) {
        const char *name = missing_of(ty, ty->files[i]);

        if (name != NULL)
            return (
                types_error(ty->files[i], "imports %.512s, which is in no set: build it with --include_imports", name));
    }
    return (NULL);
}

static struct ang_err *make(struct ang_types *ty, struct ang_symbol *sym) {
    switch (sym->kind) {
    case SYM_MESSAGE:
        return (types_make_message(ty, sym));
    case SYM_ENUM:
        return (types_make_enum(ty, sym));
    case SYM_SERVICE:
        return (types_make_service(ty, sym));
    }
    return (NULL);
}

/* Symbols are sorted, so what is made of them is, too. */
static void list(struct ang_types *ty) {
    ty->messages = ang_arena_alloc(ty->arena, (ty->n_symbols + 1) * sizeof(struct ang_type *));
    ty->services = ang_arena_alloc(ty->arena, (ty->n_symbols + 1) * sizeof(struct ang_service *));
    for (size_t i = 0; i < ty->n_symbols; i++) {
        const struct ang_symbol *sym = &ty->symbols[i];

        if (sym->kind == SYM_MESSAGE && !sym->made.message->map_entry)
            ty->messages[ty->n_messages++] = sym->made.message;
        else if (sym->kind == SYM_SERVICE)
            ty->services[ty->n_services++] = sym->made.service;
    }
}

struct ang_err *ang_types_link(struct ang_types *ty) {
    struct ang_err *er;

    ANG_CHECK(ty, ANG_TYPES_MAGIC);
    AZ(ty->linked);
    er = check_imports(ty);
    if (er == NULL)
        er = types_collect(ty);
    for (size_t i = 0; er == NULL && i < ty->n_symbols; i++)
        er = make(ty, &ty->symbols[i]);
    for (size_t i = 0; er == NULL && i < ty->n_symbols; i++)
        if (ty->symbols[i].kind == SYM_MESSAGE)
            er = types_make_maps(&ty->symbols[i]);
    if (er != NULL)
        return (er);
    list(ty);
    drop_filling(ty);
    ty->linked = true;
    return (NULL);
}

static struct ang_types *builtin;

static void make_builtin(void) {
    struct ang_err *er;

    builtin = ang_types_new();
    er = ang_types_add_builtin(builtin);
    if (er == NULL)
        er = ang_types_link(builtin);
    if (er != NULL)
        ang_panic(__FILE__, __LINE__, __func__, er->msg); /* they are ours */
}

const struct ang_types *ang_types_builtin(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    ANG_PT(pthread_once(&once, make_builtin));
    return (builtin);
}

/* ---- looking up ---- */

static int message_is(const void *key, const void *at) {
    const struct ang_type *const *type = at;
    const struct ang_slice *name = key;

    return (ang_slice_cmp(*name, ang_slice_str((*type)->name)));
}

static int service_is(const void *key, const void *at) {
    const struct ang_service *const *service = at;
    const struct ang_slice *name = key;

    return (ang_slice_cmp(*name, ang_slice_str((*service)->name)));
}

static void check_linked(const struct ang_types *ty) {
    ANG_CHECK(ty, ANG_TYPES_MAGIC);
    AN(ty->linked);
}

const struct ang_type *ang_types_message(const struct ang_types *ty, struct ang_slice full_name) {
    const struct ang_type *const *found;

    check_linked(ty);
    found = bsearch(&full_name, ty->messages, ty->n_messages, sizeof(*found), message_is);
    return (found == NULL ? NULL : *found);
}

const struct ang_type *ang_types_message_of_url(const struct ang_types *ty, struct ang_slice type_url) {
    return (ang_types_message(ty, ang_wire_type_name(type_url)));
}

const struct ang_service *ang_types_service(const struct ang_types *ty, struct ang_slice full_name) {
    const struct ang_service *const *found;

    check_linked(ty);
    found = bsearch(&full_name, ty->services, ty->n_services, sizeof(*found), service_is);
    return (found == NULL ? NULL : *found);
}

const struct ang_method *ang_types_method(const struct ang_types *ty, struct ang_slice path) {
    const struct ang_service *service;
    struct ang_slice name;

    if (path.n > 0 && path.p[0] == '/')
        path = ang_slice_of(path.p + 1, path.n - 1);
    name = ang_wire_type_name(path);
    if (name.n == path.n)
        return (NULL);
    service = ang_types_service(ty, ang_slice_of(path.p, path.n - name.n - 1));
    for (size_t i = 0; service != NULL && i < service->n_methods; i++)
        if (ang_slice_is(name, service->methods[i].name))
            return (&service->methods[i]);
    return (NULL);
}

size_t ang_types_n_messages(const struct ang_types *ty) {
    check_linked(ty);
    return (ty->n_messages);
}

const struct ang_type *ang_types_message_at(const struct ang_types *ty, size_t i) {
    check_linked(ty);
    ANG_ASSERT(i < ty->n_messages);
    return (ty->messages[i]);
}

size_t ang_types_n_services(const struct ang_types *ty) {
    check_linked(ty);
    return (ty->n_services);
}

const struct ang_service *ang_types_service_at(const struct ang_types *ty, size_t i) {
    check_linked(ty);
    ANG_ASSERT(i < ty->n_services);
    return (ty->services[i]);
}

const char *ang_type_name(const struct ang_type *type) {
    ANG_CHECK(type, ANG_TYPE_MAGIC);
    return (type->name);
}

const char *ang_type_file(const struct ang_type *type) {
    ANG_CHECK(type, ANG_TYPE_MAGIC);
    return (type->file);
}

const struct ang_field *ang_type_field(const struct ang_type *type, uint32_t number) {
    size_t lo = type->n_dense, hi = type->n_fields;

    if (number - 1 < type->n_dense)
        return (&type->fields[number - 1]);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (type->fields[mid].number == number)
            return (&type->fields[mid]);
        if (type->fields[mid].number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return (NULL);
}

static int key_is(const void *key, const void *at) {
    const struct ang_key *k = at;

    return (ang_slice_cmp(*(const struct ang_slice *)key, k->name));
}

const struct ang_field *ang_type_field_named(const struct ang_type *type, struct ang_slice key) {
    const struct ang_key *found = bsearch(&key, type->keys, type->n_keys, sizeof(*found), key_is);

    return (found == NULL ? NULL : &type->fields[found->field]);
}

static int number_is(const void *key, const void *at) {
    int32_t number = *(const int32_t *)key, other = ((const struct ang_enum_value *)at)->number;

    return ((number > other) - (number < other));
}

const struct ang_enum_value *ang_enum_of_number(const struct ang_enum *en, int32_t number) {
    return (bsearch(&number, en->by_number, en->n_by_number, sizeof(*en->by_number), number_is));
}

static int name_is(const void *key, const void *at) {
    return (ang_slice_cmp(*(const struct ang_slice *)key, ((const struct ang_enum_value *)at)->name));
}

const struct ang_enum_value *ang_enum_of_name(const struct ang_enum *en, struct ang_slice name) {
    return (bsearch(&name, en->by_name, en->n_by_name, sizeof(*en->by_name), name_is));
}
