/* What the files of a pool declare, by full name: collected, sorted, and each name once.
 *
 * A name that comes twice is the rule, not the exception: every set brings along what it imports, compiled by another
 * protoc from a file that may lie elsewhere.  So declarations are compared by what matters on the wire and in JSON. */
#include <stdlib.h>

#include "proto/types_priv.h"

#define MAX_NAME    512 /* a full name */
#define MAX_SYMBOLS (1u << 17)
#define MAX_MEMBERS (1u << 19)

typedef Google__Protobuf__DescriptorProto message_desc;
typedef Google__Protobuf__FieldDescriptorProto field_desc;
typedef Google__Protobuf__EnumDescriptorProto enum_desc;
typedef Google__Protobuf__ServiceDescriptorProto service_desc;
typedef Google__Protobuf__MethodDescriptorProto method_desc;

/* ---- collecting ---- */

bool types_is_identifier(const char *s) {
    if (s == NULL || *s == '\0' || (*s >= '0' && *s <= '9'))
        return (false);
    for (; *s != '\0'; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || *s == '_'))
            return (false);
    return (true);
}

/* Adds a symbol without its descriptor.  The returned one is valid until the next push. */
static struct ang_err *push(struct ang_types *ty, const struct ang_types_file *file, enum ang_symbol_kind kind,
                            const char *scope, const char *name, size_t n_members, struct ang_symbol **ret) {
    struct ang_symbol *sym;

    if (!types_is_identifier(name))
        return (types_error(file, "\"%.64s\" in \"%.512s\" is no name", name == NULL ? "" : name, scope));
    if (strlen(scope) + 1 + strlen(name) > MAX_NAME)
        return (types_error(file, "a name of more than %d bytes: %.64s…", MAX_NAME, name));
    if (ty->n_symbols == MAX_SYMBOLS || n_members > MAX_MEMBERS - ty->n_members)
        return (types_error(file, "more than %u types or %u fields", MAX_SYMBOLS, MAX_MEMBERS));
    if (ty->n_symbols == ty->cap_symbols) {
        ty->cap_symbols = ty->cap_symbols == 0 ? 256 : 2 * ty->cap_symbols;
        ty->symbols = ang_realloc(ty->symbols, ty->cap_symbols * sizeof(*ty->symbols));
    }
    sym = &ty->symbols[ty->n_symbols];
    memset(sym, 0, sizeof(*sym));
    sym->name = ang_arena_sprintf(ty->arena, "%s%s%s", scope, *scope == '\0' ? "" : ".", name);
    sym->kind = kind;
    sym->order = (uint32_t)ty->n_symbols++;
    sym->file = file;
    ty->n_members += n_members;
    *ret = sym;
    return (NULL);
}

static struct ang_err *push_enum(struct ang_types *ty, const struct ang_types_file *file, const char *scope,
                                 const enum_desc *desc) {
    struct ang_symbol *sym;
    struct ang_err *er = push(ty, file, SYM_ENUM, scope, desc->name, desc->n_value, &sym);

    if (er != NULL)
        return (er);
    sym->desc.enumeration = desc;
    sym->made.enumeration = ang_arena_alloc(ty->arena, sizeof(struct ang_enum));
    memset(sym->made.enumeration, 0, sizeof(struct ang_enum));
    sym->made.enumeration->name = sym->name;
    return (NULL);
}

/* The nesting was bounded when the file was added. */
static struct ang_err *push_message(struct ang_types *ty, const struct ang_types_file *file, const char *scope,
                                    const message_desc *desc) {
    struct ang_symbol *sym;
    struct ang_err *er = push(ty, file, SYM_MESSAGE, scope, desc->name, desc->n_field, &sym);
    const char *name;

    if (er != NULL)
        return (er);
    name = sym->name;
    sym->desc.message = desc;
    sym->made.message = ang_arena_alloc(ty->arena, sizeof(struct ang_type));
    memset(sym->made.message, 0, sizeof(struct ang_type));
    sym->made.message->magic = ANG_TYPE_MAGIC;
    sym->made.message->name = name;
    sym->made.message->pool = ty;
    for (size_t i = 0; er == NULL && i < desc->n_nested_type; i++)
        er = push_message(ty, file, name, desc->nested_type[i]);
    for (size_t i = 0; er == NULL && i < desc->n_enum_type; i++)
        er = push_enum(ty, file, name, desc->enum_type[i]);
    return (er);
}

static struct ang_err *push_service(struct ang_types *ty, const struct ang_types_file *file, const char *scope,
                                    const service_desc *desc) {
    struct ang_symbol *sym;
    struct ang_err *er = push(ty, file, SYM_SERVICE, scope, desc->name, desc->n_method, &sym);

    if (er != NULL)
        return (er);
    sym->desc.service = desc;
    sym->made.service = ang_arena_alloc(ty->arena, sizeof(struct ang_service));
    memset(sym->made.service, 0, sizeof(struct ang_service));
    sym->made.service->name = sym->name;
    return (NULL);
}

static struct ang_err *check_package(const struct ang_types_file *file, const char *package) {
    char part[MAX_NAME + 1];
    size_t n;

    if (strlen(package) > MAX_NAME)
        return (types_error(file, "a package of more than %d bytes", MAX_NAME));
    for (; *package != '\0'; package += package[n] == '.' && package[n + 1] != '\0' ? n + 1 : n) {
        n = strcspn(package, ".");
        memcpy(part, package, n);
        part[n] = '\0';
        if (!types_is_identifier(part))
            return (types_error(file, "\"%.64s\" is no name of a package", package));
    }
    return (NULL);
}

static struct ang_err *push_all(struct ang_types *ty, const struct ang_types_file *file) {
    const Google__Protobuf__FileDescriptorProto *desc = file->desc;
    const char *scope = desc->package == NULL ? "" : desc->package;
    struct ang_err *er = check_package(file, scope);

    for (size_t i = 0; er == NULL && i < desc->n_message_type; i++)
        er = push_message(ty, file, scope, desc->message_type[i]);
    for (size_t i = 0; er == NULL && i < desc->n_enum_type; i++)
        er = push_enum(ty, file, scope, desc->enum_type[i]);
    for (size_t i = 0; er == NULL && i < desc->n_service; i++)
        er = push_service(ty, file, scope, desc->service[i]);
    return (er);
}

/* ---- the same again? ---- */

static bool same_text(const char *a, const char *b) {
    return (strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0);
}

static bool same_field(const field_desc *a, const field_desc *b) {
    return (same_text(a->name, b->name) && a->number == b->number && a->label == b->label && a->type == b->type &&
            same_text(a->type_name, b->type_name) && a->has_oneof_index == b->has_oneof_index &&
            a->oneof_index == b->oneof_index && a->proto3_optional == b->proto3_optional &&
            (a->json_name == NULL || b->json_name == NULL || same_text(a->json_name, b->json_name)));
}

/* What differs: the name of a member, or "" for the whole; NULL: nothing. */
static const char *message_differs(const message_desc *a, const message_desc *b) {
    bool map_a = a->options != NULL && a->options->map_entry, map_b = b->options != NULL && b->options->map_entry;

    for (size_t i = 0; i < a->n_field && i < b->n_field; i++)
        if (!same_field(a->field[i], b->field[i]))
            return (a->field[i]->name == NULL ? "" : a->field[i]->name);
    if (a->n_field != b->n_field)
        return (a->n_field > b->n_field ? a->field[b->n_field]->name : b->field[a->n_field]->name);
    return (map_a != map_b || a->n_oneof_decl != b->n_oneof_decl ? "" : NULL);
}

static const char *enum_differs(const enum_desc *a, const enum_desc *b) {
    for (size_t i = 0; i < a->n_value && i < b->n_value; i++)
        if (!same_text(a->value[i]->name, b->value[i]->name) || a->value[i]->number != b->value[i]->number)
            return (a->value[i]->name == NULL ? "" : a->value[i]->name);
    if (a->n_value != b->n_value)
        return (a->n_value > b->n_value ? a->value[b->n_value]->name : b->value[a->n_value]->name);
    return (NULL);
}

static bool same_method(const method_desc *a, const method_desc *b) {
    return (same_text(a->name, b->name) && same_text(a->input_type, b->input_type) &&
            same_text(a->output_type, b->output_type) && a->client_streaming == b->client_streaming &&
            a->server_streaming == b->server_streaming);
}

static const char *service_differs(const service_desc *a, const service_desc *b) {
    for (size_t i = 0; i < a->n_method && i < b->n_method; i++)
        if (!same_method(a->method[i], b->method[i]))
            return (a->method[i]->name == NULL ? "" : a->method[i]->name);
    if (a->n_method != b->n_method)
        return (a->n_method > b->n_method ? a->method[b->n_method]->name : b->method[a->n_method]->name);
    return (NULL);
}

static const char *differs(const struct ang_symbol *a, const struct ang_symbol *b) {
    if (a->kind != b->kind)
        return ("");
    if (strncmp(a->name, "google.protobuf.", strlen("google.protobuf.")) == 0)
        return (NULL);
    if (a->file->proto3 != b->file->proto3)
        return ("");
    switch (a->kind) {
    case SYM_MESSAGE:
        return (message_differs(a->desc.message, b->desc.message));
    case SYM_ENUM:
        return (enum_differs(a->desc.enumeration, b->desc.enumeration));
    case SYM_SERVICE:
        return (service_differs(a->desc.service, b->desc.service));
    }
    return (NULL);
}

static int by_name(const void *a, const void *b) {
    const struct ang_symbol *x = a, *y = b;
    int c = strcmp(x->name, y->name);

    return (c != 0 ? c : (x->order > y->order) - (x->order < y->order));
}

static struct ang_err *refuse(const struct ang_symbol *first, const struct ang_symbol *again, const char *member) {
    if (member == NULL || *member == '\0')
        return (types_error(again->file, "%.512s is declared otherwise in %.256s (%.128s)", again->name,
                            first->file->name, first->file->where));
    return (types_error(again->file, "%.512s is declared otherwise in %.256s (%.128s): %.64s differs", again->name,
                        first->file->name, first->file->where, member));
}

struct ang_err *types_collect(struct ang_types *ty) {
    struct ang_err *er = NULL;
    size_t n = 0;

    for (size_t i = 0; er == NULL && i < ty->n_files; i++)
        er = push_all(ty, ty->files[i]);
    if (er != NULL)
        return (er);
    if (ty->n_symbols > 0)
        qsort(ty->symbols, ty->n_symbols, sizeof(*ty->symbols), by_name);
    for (size_t i = 0; i < ty->n_symbols; i++) {
        const struct ang_symbol *last = n == 0 ? NULL : &ty->symbols[n - 1];
        const char *member;

        if (last == NULL || strcmp(last->name, ty->symbols[i].name) != 0) {
            ty->symbols[n++] = ty->symbols[i];
            continue;
        }
        member = differs(last, &ty->symbols[i]);
        if (member != NULL)
            return (refuse(last, &ty->symbols[i], member));
    }
    ty->n_symbols = n;
    return (NULL);
}

static int symbol_is(const void *key, const void *at) {
    return (strcmp(key, ((const struct ang_symbol *)at)->name));
}

struct ang_symbol *types_symbol(const struct ang_types *ty, const char *dotted) {
    if (dotted == NULL || dotted[0] != '.' || ty->n_symbols == 0)
        return (NULL);
    return (bsearch(dotted + 1, ty->symbols, ty->n_symbols, sizeof(*ty->symbols), symbol_is));
}
