/* One symbol's declaration, checked and made into what json_*.c reads.  Declarations were sorted out before
 * (types_symbols.c), so every name that is referred to either is among the symbols or nowhere. */
#include <stdlib.h>

#include "proto/json.h"
#include "proto/types_priv.h"
#include "proto/wire.h"

#define MAX_NUMBER 536870911

typedef Google__Protobuf__DescriptorProto message_desc;
typedef Google__Protobuf__FieldDescriptorProto field_desc;
typedef Google__Protobuf__EnumDescriptorProto enum_desc;
typedef Google__Protobuf__MethodDescriptorProto method_desc;

/* ---- well-known types ---- */

static void set_well_known(struct ang_type *type) {
    static const struct {
        const char *name;
        enum ang_well_known is;
        enum ang_kind wrapped;
    } rows[] = {
        {"Any", WK_ANY, 0},
        {"Timestamp", WK_TIMESTAMP, 0},
        {"Duration", WK_DURATION, 0},
        {"FieldMask", WK_FIELD_MASK, 0},
        {"Struct", WK_STRUCT, 0},
        {"Value", WK_VALUE, 0},
        {"ListValue", WK_LIST_VALUE, 0},
        {"Empty", WK_EMPTY, 0},
        {"DoubleValue", WK_WRAPPER, KIND_DOUBLE},
        {"FloatValue", WK_WRAPPER, KIND_FLOAT},
        {"Int64Value", WK_WRAPPER, KIND_INT64},
        {"UInt64Value", WK_WRAPPER, KIND_UINT64},
        {"Int32Value", WK_WRAPPER, KIND_INT32},
        {"UInt32Value", WK_WRAPPER, KIND_UINT32},
        {"BoolValue", WK_WRAPPER, KIND_BOOL},
        {"StringValue", WK_WRAPPER, KIND_STRING},
        {"BytesValue", WK_WRAPPER, KIND_BYTES},
    };
    static const char package[] = "google.protobuf.";

    if (strncmp(type->name, package, sizeof(package) - 1) != 0)
        return;
    for (size_t i = 0; i < ANG_COUNT(rows); i++)
        if (strcmp(type->name + sizeof(package) - 1, rows[i].name) == 0) {
            type->well_known = rows[i].is;
            type->wrapped = rows[i].wrapped;
        }
}

/* ---- names ---- */

static struct ang_slice quoted(struct ang_types *ty, struct ang_slice s) {
    struct ang_buf b = {0};
    struct ang_slice kept;

    ang_json_add_string(&b, s);
    kept = ang_arena_copy(ty->arena, ang_buf_slice(&b));
    ang_buf_fini(&b);
    return (kept);
}

/* As protoc makes it: no '_', and the letter behind one is a capital. */
static struct ang_slice json_name(struct ang_types *ty, const char *name) {
    char *p = ang_arena_sprintf(ty->arena, "%s", name);
    bool capital = false;
    size_t n = 0;

    for (; *name != '\0'; name++) {
        if (*name == '_') {
            capital = true;
            continue;
        }
        p[n++] = capital && *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;
        capital = false;
    }
    return (ang_slice_of(p, n));
}

static struct ang_slice kept(struct ang_types *ty, const char *s) {
    return (ang_arena_copy(ty->arena, ang_slice_str(s)));
}

/* JSON names go first: a text with such a name means the field that is printed with it. */
static int by_key(const void *a, const void *b) {
    const struct ang_key *x = a, *y = b;
    int c = ang_slice_cmp(x->name, y->name);

    return (c != 0 ? c : (x->field > y->field) - (x->field < y->field));
}

static void make_keys(struct ang_types *ty, struct ang_type *type) {
    size_t n = type->n_fields, all = 2 * n, kept_n = 0;
    struct ang_key *keys = ang_arena_alloc(ty->arena, (all + 1) * sizeof(*keys));

    for (size_t i = 0; i < n; i++) {
        keys[i] = (struct ang_key){type->fields[i].json_name, (uint32_t)i};
        keys[n + i] = (struct ang_key){type->fields[i].name, (uint32_t)(n + i)};
    }
    if (all > 0)
        qsort(keys, all, sizeof(*keys), by_key);
    for (size_t i = 0; i < all; i++) {
        if (kept_n > 0 && ang_slice_eq(keys[kept_n - 1].name, keys[i].name))
            continue;
        keys[kept_n] = keys[i];
        keys[kept_n++].field %= (uint32_t)n;
    }
    type->keys = keys;
    type->n_keys = kept_n;
}

/* ---- fields ---- */

/* Where a field is declared, for errors and names. */
struct place {
    struct ang_types *ty;
    const struct ang_symbol *sym;
    const field_desc *desc;
};

static struct ang_err *refuse(const struct place *at, const char *what) {
    return (types_error(at->sym->file, "%.512s.%.64s: %s", at->sym->name, at->desc->name == NULL ? "" : at->desc->name,
                        what));
}

static struct ang_err *resolve(const struct place *at, struct ang_field *f) {
    enum ang_symbol_kind want = f->kind == KIND_ENUM ? SYM_ENUM : SYM_MESSAGE;
    const struct ang_symbol *sym;

    if (f->kind != KIND_ENUM && f->kind != KIND_MESSAGE && f->kind != KIND_GROUP)
        return (NULL);
    sym = types_symbol(at->ty, at->desc->type_name);
    if (sym == NULL || sym->kind != want)
        return (types_error(at->sym->file, "%.512s.%.64s: the %s %.512s is in no set", at->sym->name, at->desc->name,
                            want == SYM_ENUM ? "enum" : "message",
                            at->desc->type_name == NULL ? "without a name" : at->desc->type_name));
    if (want == SYM_ENUM)
        f->enumeration = sym->made.enumeration;
    else
        f->type = sym->made.message;
    return (NULL);
}

/* A proto3 `optional` stands alone in a oneof that nobody wrote. */
static struct ang_err *set_oneof(const struct place *at, struct ang_field *f) {
    if (!at->desc->has_oneof_index)
        return (NULL);
    if (at->desc->oneof_index < 0 || (size_t)at->desc->oneof_index >= at->sym->desc.message->n_oneof_decl)
        return (refuse(at, "its oneof is not declared"));
    if (f->repeated || f->required)
        return (refuse(at, "repeated or required in a oneof"));
    if (!at->desc->proto3_optional)
        f->oneof = (uint32_t)at->desc->oneof_index + 1;
    f->presence = true;
    return (NULL);
}

static struct ang_err *set_names(const struct place *at, struct ang_field *f) {
    const field_desc *desc = at->desc;

    if (!types_is_identifier(desc->name))
        return (refuse(at, "this is no name"));
    f->name = kept(at->ty, desc->name);
    if (desc->json_name == NULL)
        f->json_name = json_name(at->ty, desc->name);
    else if (ang_utf8_ok(ang_slice_str(desc->json_name)))
        f->json_name = kept(at->ty, desc->json_name);
    else
        return (refuse(at, "its json_name is not UTF-8"));
    f->quoted_name = quoted(at->ty, f->name);
    f->quoted_json_name = quoted(at->ty, f->json_name);
    return (NULL);
}

static struct ang_err *make_field(const struct place *at, struct ang_field *f) {
    const field_desc *desc = at->desc;
    bool proto3 = at->sym->file->proto3;
    struct ang_err *er = set_names(at, f);

    if (er != NULL)
        return (er);
    if (desc->number < 1 || desc->number > MAX_NUMBER)
        return (refuse(at, "its number is out of range"));
    if ((int)desc->type < KIND_DOUBLE || (int)desc->type > KIND_SINT64)
        return (refuse(at, "of an unknown kind"));
    f->number = (uint32_t)desc->number;
    f->kind = (enum ang_kind)desc->type;
    f->repeated = desc->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
    f->required = desc->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED;
    f->presence = !f->repeated && (!proto3 || f->kind == KIND_MESSAGE || desc->proto3_optional);
    if (f->repeated && ang_kind_packs(f->kind))
        f->packed = desc->options != NULL && desc->options->has_packed ? desc->options->packed : proto3;
    er = set_oneof(at, f);
    return (er != NULL ? er : resolve(at, f));
}

static int by_number(const void *a, const void *b) {
    const struct ang_field *x = a, *y = b;

    return ((x->number > y->number) - (x->number < y->number));
}

/* Sorts, refuses a number that comes twice, finds how far numbers are indexes. */
static struct ang_err *order_fields(const struct ang_symbol *sym, struct ang_type *type) {
    if (type->n_fields > 0)
        qsort(type->fields, type->n_fields, sizeof(*type->fields), by_number);
    for (size_t i = 1; i < type->n_fields; i++)
        if (type->fields[i].number == type->fields[i - 1].number)
            return (types_error(sym->file, "%.512s: the number %u comes twice", sym->name, type->fields[i].number));
    while (type->n_dense < type->n_fields && type->fields[type->n_dense].number == type->n_dense + 1)
        type->n_dense++;
    return (NULL);
}

struct ang_err *types_make_message(struct ang_types *ty, struct ang_symbol *sym) {
    const message_desc *desc = sym->desc.message;
    struct ang_type *type = sym->made.message;
    size_t size = desc->n_field * sizeof(*type->fields);
    struct ang_err *er = NULL;

    type->file = sym->file->name;
    type->map_entry = desc->options != NULL && desc->options->map_entry;
    type->extendable = desc->n_extension_range > 0;
    type->n_oneofs = (uint32_t)desc->n_oneof_decl;
    type->n_fields = desc->n_field;
    type->fields = ang_arena_alloc(ty->arena, size + 1);
    memset(type->fields, 0, size);
    for (size_t i = 0; er == NULL && i < desc->n_field; i++) {
        const struct place at = {ty, sym, desc->field[i]};

        er = make_field(&at, &type->fields[i]);
        type->n_required += type->fields[i].required;
    }
    if (er == NULL)
        er = order_fields(sym, type);
    if (er != NULL)
        return (er);
    make_keys(ty, type);
    set_well_known(type);
    return (NULL);
}

/* ---- maps: a repeated field whose message is marked as an entry ---- */

static bool is_entry(const struct ang_type *type) {
    const struct ang_field *key = type->fields, *value = type->fields + 1;

    if (type->n_fields != 2 || type->n_dense != 2 || type->n_oneofs > 0 || type->n_required > 0)
        return (false);
    if (key->repeated || value->repeated || value->kind == KIND_GROUP)
        return (false);
    return (key->kind == KIND_STRING || (ang_kind_packs(key->kind) && key->kind != KIND_DOUBLE &&
                                         key->kind != KIND_FLOAT && key->kind != KIND_ENUM));
}

struct ang_err *types_make_maps(const struct ang_symbol *sym) {
    struct ang_type *type = sym->made.message;

    for (size_t i = 0; i < type->n_fields; i++) {
        struct ang_field *f = &type->fields[i];

        if (f->kind != KIND_MESSAGE || !f->type->map_entry)
            continue;
        if (!f->repeated || !is_entry(f->type))
            return (types_error(sym->file, "%.512s.%.*s: not a map, although %.512s is marked as an entry", sym->name,
                                (int)(f->name.n < 64 ? f->name.n : 64), (const char *)f->name.p, f->type->name));
        f->map = true;
    }
    return (NULL);
}

/* ---- enums ---- */

static int by_value(const void *a, const void *b) {
    const struct ang_enum_value *x = a, *y = b;

    if (x->number != y->number)
        return (x->number > y->number ? 1 : -1);
    return ((x->name.p > y->name.p) - (x->name.p < y->name.p)); /* see make_enum */
}

static int by_name(const void *a, const void *b) {
    return (ang_slice_cmp(((const struct ang_enum_value *)a)->name, ((const struct ang_enum_value *)b)->name));
}

static size_t unique_numbers(struct ang_enum_value *values, size_t n) {
    size_t kept_n = 0;

    for (size_t i = 0; i < n; i++)
        if (kept_n == 0 || values[kept_n - 1].number != values[i].number)
            values[kept_n++] = values[i];
    return (kept_n);
}

struct ang_err *types_make_enum(struct ang_types *ty, struct ang_symbol *sym) {
    const enum_desc *desc = sym->desc.enumeration;
    struct ang_enum *en = sym->made.enumeration;
    size_t n = desc->n_value, size = n * sizeof(*en->by_name), names_n = 0;
    char *names;

    if (n == 0)
        return (types_error(sym->file, "%.512s: an enum without values", sym->name));
    en->closed = !sym->file->proto3;
    en->null_value = strcmp(en->name, "google.protobuf.NullValue") == 0;
    en->first = desc->value[0]->number;
    en->n_by_name = n;
    en->by_name = ang_arena_alloc(ty->arena, size);
    en->by_number = ang_arena_alloc(ty->arena, size);
    for (size_t i = 0; i < n; i++) {
        if (!types_is_identifier(desc->value[i]->name))
            return (types_error(sym->file, "%.512s: a value without a name", sym->name));
        names_n += strlen(desc->value[i]->name);
    }
    /* All names in one piece, so that of two with one number the first of the file has the lower address. */
    names = ang_arena_alloc(ty->arena, names_n + 1);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(desc->value[i]->name);

        memcpy(names, desc->value[i]->name, len);
        en->by_name[i] = (struct ang_enum_value){ang_slice_of(names, len), desc->value[i]->number};
        names += len;
    }
    memcpy(en->by_number, en->by_name, size);
    qsort(en->by_name, n, sizeof(*en->by_name), by_name);
    qsort(en->by_number, n, sizeof(*en->by_number), by_value);
    en->n_by_number = unique_numbers(en->by_number, n);
    return (NULL);
}

/* ---- services ---- */

static struct ang_err *method_type(const struct ang_types *ty, const struct ang_symbol *sym, const method_desc *desc,
                                   const char *name, const struct ang_type **ret) {
    const struct ang_symbol *found = types_symbol(ty, name);

    if (found == NULL || found->kind != SYM_MESSAGE)
        return (types_error(sym->file, "%.512s.%.64s: the message %.512s is in no set", sym->name, desc->name,
                            name == NULL ? "without a name" : name));
    *ret = found->made.message;
    return (NULL);
}

struct ang_err *types_make_service(struct ang_types *ty, struct ang_symbol *sym) {
    const Google__Protobuf__ServiceDescriptorProto *desc = sym->desc.service;
    struct ang_service *service = sym->made.service;
    struct ang_method *methods = ang_arena_alloc(ty->arena, (desc->n_method + 1) * sizeof(*methods));
    struct ang_err *er = NULL;

    service->file = sym->file->name;
    service->methods = methods;
    service->n_methods = desc->n_method;
    for (size_t i = 0; er == NULL && i < desc->n_method; i++) {
        const method_desc *d = desc->method[i];
        struct ang_method *m = &methods[i];

        if (!types_is_identifier(d->name))
            return (types_error(sym->file, "%.512s: a method without a name", sym->name));
        m->path = ang_arena_sprintf(ty->arena, "/%s/%s", service->name, d->name);
        m->name = m->path + strlen(service->name) + 2;
        m->client_streaming = d->client_streaming;
        m->server_streaming = d->server_streaming;
        er = method_type(ty, sym, d, d->input_type, &m->input);
        if (er == NULL)
            er = method_type(ty, sym, d, d->output_type, &m->output);
    }
    return (er);
}
