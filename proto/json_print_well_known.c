/* The messages of google.protobuf that have a JSON form of their own.  Their fields are read by tables of ours. */
#include <math.h>

#include "proto/json_priv.h"

#define FIELD(n, k)                                                                                                    \
    { .number = (n), .kind = (k) }
#define MEMBER(n, k, t)                                                                                                \
    { .number = (n), .kind = (k), .oneof = 1, .type = (t) }
#define TYPE(s, is, f)                                                                                                 \
    {                                                                                                                  \
        .magic = ANG_TYPE_MAGIC, .name = (s), .well_known = (is), .fields = (f), .n_fields = ANG_COUNT(f),             \
        .n_dense = ANG_COUNT(f)                                                                                        \
    }

static struct ang_field time_fields[] = {FIELD(1, KIND_INT64), FIELD(2, KIND_INT32)};
static const struct ang_type time_type = TYPE("Timestamp or Duration", WK_NONE, time_fields);
static struct ang_field any_fields[] = {FIELD(1, KIND_STRING), FIELD(2, KIND_BYTES)};
static const struct ang_type any_type = TYPE("google.protobuf.Any", WK_ANY, any_fields);
static struct ang_field mask_fields[] = {{.number = 1, .kind = KIND_STRING, .repeated = true}};
static const struct ang_type mask_type = TYPE("google.protobuf.FieldMask", WK_FIELD_MASK, mask_fields);

/* Value and Struct and ListValue hold each other. */
enum { VALUE_NULL, VALUE_NUMBER, VALUE_STRING, VALUE_BOOL, VALUE_STRUCT, VALUE_LIST, VALUE_COUNT };
static struct ang_enum null_enum = {.name = "google.protobuf.NullValue", .null_value = true};
static struct ang_field value_fields[] = {
    [VALUE_NULL] = {.number = 1, .kind = KIND_ENUM, .oneof = 1, .enumeration = &null_enum},
    [VALUE_NUMBER] = MEMBER(2, KIND_DOUBLE, NULL),
    [VALUE_STRING] = MEMBER(3, KIND_STRING, NULL),
    [VALUE_BOOL] = MEMBER(4, KIND_BOOL, NULL),
    [VALUE_STRUCT] = MEMBER(5, KIND_MESSAGE, &json_type_struct),
    [VALUE_LIST] = MEMBER(6, KIND_MESSAGE, &json_type_list),
};
const struct ang_type json_type_value = {
    .magic = ANG_TYPE_MAGIC,
    .name = "google.protobuf.Value",
    .well_known = WK_VALUE,
    .fields = value_fields,
    .n_fields = VALUE_COUNT,
    .n_dense = VALUE_COUNT,
    .n_oneofs = 1,
};
static struct ang_field entry_fields[] = {
    FIELD(1, KIND_STRING), {.number = 2, .kind = KIND_MESSAGE, .presence = true, .type = &json_type_value}};
static const struct ang_type entry_type = TYPE("google.protobuf.Struct.FieldsEntry", WK_NONE, entry_fields);
static struct ang_field struct_fields[] = {
    {.number = 1, .kind = KIND_MESSAGE, .repeated = true, .map = true, .type = &entry_type}};
const struct ang_type json_type_struct = TYPE("google.protobuf.Struct", WK_STRUCT, struct_fields);
static struct ang_field list_fields[] = {
    {.number = 1, .kind = KIND_MESSAGE, .repeated = true, .type = &json_type_value}};
const struct ang_type json_type_list = TYPE("google.protobuf.ListValue", WK_LIST_VALUE, list_fields);

/* ---- Timestamp, Duration, FieldMask ---- */

static struct ang_err *print_time(struct json_printer *pr, enum ang_well_known is, struct ang_slice message,
                                  const struct json_path *at) {
    struct json_entry seconds = {0}, nanos = {0};
    struct json_frame frame;
    struct ang_err *er = json_enter(pr, &time_type, message, at, &frame);
    const char *what;

    if (er == NULL) {
        json_last(pr, &frame, 0, &seconds);
        json_last(pr, &frame, 1, &nanos);
        ang_buf_add_u8(pr->out.b, '"');
        what = is == WK_TIMESTAMP ? json_add_timestamp(pr->out.b, (int64_t)seconds.v, (int32_t)nanos.v)
                                  : json_add_duration(pr->out.b, (int64_t)seconds.v, (int32_t)nanos.v);
        ang_buf_add_u8(pr->out.b, '"');
        if (what != NULL)
            er = json_error(at, ANG_E_WIRE, "a %s with %s", is == WK_TIMESTAMP ? "Timestamp" : "Duration", what);
    }
    json_leave(pr, &frame);
    return (er);
}

static struct ang_err *print_mask(struct json_printer *pr, struct ang_slice message, const struct json_path *at) {
    struct ang_buf text = {0};
    struct json_frame frame;
    struct ang_err *er = json_enter(pr, &mask_type, message, at, &frame);
    uint32_t i = er == NULL ? pr->slots[frame.slots].first : JSON_NONE;
    const char *what = NULL;

    for (; what == NULL && i != JSON_NONE; i = pr->entries[i].next) {
        if (text.n > 0)
            ang_buf_add_u8(&text, ',');
        what = json_add_mask_path(&text, json_entry_bytes(&pr->entries[i]));
    }
    if (what == NULL && !ang_utf8_ok(ang_buf_slice(&text)))
        what = "a path is not UTF-8";
    if (er == NULL && what != NULL)
        er = json_error(at, ANG_E_WIRE, "a FieldMask that JSON cannot hold: %s", what);
    if (er == NULL)
        ang_json_add_string(pr->out.b, ang_buf_slice(&text));
    ang_buf_fini(&text);
    json_leave(pr, &frame);
    return (er);
}

/* ---- Value, Struct, ListValue ---- */

static struct ang_err *print_number(struct json_printer *pr, const struct json_entry *e, const struct json_path *at) {
    double v;

    memcpy(&v, &e->v, sizeof(v));
    if (!isfinite(v))
        return (json_error(at, ANG_E_WIRE, "a Value whose number is not finite, which JSON cannot hold"));
    json_add_double(pr->out.b, v);
    return (NULL);
}

/* One that holds nothing is printed as null, too: there is nothing else that could be said. */
static struct ang_err *print_value(struct json_printer *pr, struct ang_slice message, const struct json_path *at) {
    struct json_frame frame;
    struct ang_err *er = json_enter(pr, &json_type_value, message, at, &frame);
    struct json_entry e;
    size_t i = 0;

    if (er == NULL) {
        while (i < VALUE_COUNT && !json_last(pr, &frame, i, &e))
            i++;
        if (i == VALUE_COUNT || i == VALUE_NULL)
            ang_buf_add_str(pr->out.b, "null");
        else if (i == VALUE_NUMBER)
            er = print_number(pr, &e, at);
        else if (i == VALUE_STRING || i == VALUE_BOOL)
            er = json_print_scalar(pr, value_fields[i].kind, NULL, &e, at);
        else
            er = json_print_whole(pr, value_fields[i].type, &pr->slots[frame.slots + i], at);
    }
    json_leave(pr, &frame);
    return (er);
}

/* A Struct is nothing but a map, a ListValue nothing but a list. */
static struct ang_err *print_only_field(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                                        const struct json_path *at) {
    struct json_frame frame;
    struct ang_err *er = json_enter(pr, type, message, at, &frame);
    const struct ang_field *f = &type->fields[0];

    if (er == NULL)
        er = f->map ? json_print_map(pr, f, pr->slots[frame.slots], at)
                    : json_print_list(pr, f, pr->slots[frame.slots], at);
    json_leave(pr, &frame);
    return (er);
}

/* ---- wrappers ---- */

static struct ang_err *print_wrapper(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                                     const struct json_path *at) {
    struct ang_field field = FIELD(1, type->wrapped);
    struct ang_type wrapper = {
        .magic = ANG_TYPE_MAGIC, .name = type->name, .fields = &field, .n_fields = 1, .n_dense = 1};
    struct json_entry e = {.p = (const uint8_t *)""};
    struct json_frame frame;
    struct ang_err *er = json_enter(pr, &wrapper, message, at, &frame);

    if (er == NULL) {
        json_last(pr, &frame, 0, &e);
        er = json_print_scalar(pr, type->wrapped, NULL, &e, at);
    }
    json_leave(pr, &frame);
    return (er);
}

/* ---- Any ---- */

/* An Any that is being printed. */
struct any {
    const struct ang_type *type; /* of the payload; NULL: unknown */
    struct ang_slice url, value;
};

static void print_url(struct json_printer *pr, const struct any *any, bool *first) {
    json_open(&pr->out, '{');
    json_next(&pr->out, first);
    json_name(&pr->out, ang_slice_str("\"@type\""));
    ang_json_add_string(pr->out.b, any->url);
}

/* why: NULL, or what is wrong with the payload. */
static void print_raw(struct json_printer *pr, const struct any *any, const char *why) {
    bool first = true;

    print_url(pr, any, &first);
    json_next(&pr->out, &first);
    json_name(&pr->out, ang_slice_str("\"value\""));
    ang_buf_add_u8(pr->out.b, '"');
    json_add_base64(pr->out.b, any->value);
    ang_buf_add_u8(pr->out.b, '"');
    if (why != NULL) {
        json_next(&pr->out, &first);
        json_name(&pr->out, ang_slice_str("\"@error\""));
        ang_json_add_string(pr->out.b, ang_slice_str(why));
    }
    json_close(&pr->out, '}', first);
}

static struct ang_err *print_payload(struct json_printer *pr, const struct any *any, const struct json_path *at) {
    struct json_path value_at = path_field(at, ang_slice_str("value"));
    struct ang_err *er;
    bool first = true;

    print_url(pr, any, &first);
    if (any->type->well_known != WK_NONE && any->type->well_known != WK_EMPTY) {
        json_next(&pr->out, &first);
        json_name(&pr->out, ang_slice_str("\"value\""));
        er = json_print_message(pr, any->type, any->value, &value_at);
    } else {
        er = json_print_members(pr, any->type, any->value, at, &first);
    }
    json_close(&pr->out, '}', first);
    return (er);
}

/* As print_payload; a payload that is not what it should be is shown raw. */
static struct ang_err *show_payload(struct json_printer *pr, const struct any *any, const struct json_path *at) {
    struct json_printer before = *pr;
    size_t n = pr->out.b->n;
    struct ang_err *er = print_payload(pr, any, at);

    if (er == NULL || er->code != ANG_E_WIRE)
        return (er);
    pr->out.b->n = n;
    pr->out.indent = before.out.indent;
    pr->depth = before.depth;
    pr->n_entries = before.n_entries;
    pr->n_slots = before.n_slots;
    print_raw(pr, any, er->msg);
    ang_err_free(&er);
    return (json_check_size(pr, at));
}

static struct ang_err *print_known_or_raw(struct json_printer *pr, const struct any *any, const struct json_path *at) {
    if (!ang_utf8_ok(any->url))
        return (json_error(at, ANG_E_WIRE, "an Any whose type_url is not UTF-8"));
    if (any->url.n == 0 && any->value.n == 0) {
        ang_buf_add_str(pr->out.b, "{}");
        return (NULL);
    }
    if (any->type != NULL)
        return (pr->opts->any == ANG_JSON_ANY_SHOW ? show_payload(pr, any, at) : print_payload(pr, any, at));
    if (pr->opts->any == ANG_JSON_ANY_REFUSE)
        return (json_error(at, ANG_E_WIRE, "an Any of the unknown type \"%.*s\"", (int)any->url.n,
                           (const char *)any->url.p));
    print_raw(pr, any, NULL);
    return (json_check_size(pr, at));
}

static struct ang_err *print_any(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                                 const struct json_path *at) {
    struct json_entry url = {.p = (const uint8_t *)""}, value = {.p = (const uint8_t *)""};
    struct json_frame frame;
    struct ang_err *er = json_enter(pr, &any_type, message, at, &frame);

    if (er == NULL) {
        struct any any;

        json_last(pr, &frame, 0, &url);
        json_last(pr, &frame, 1, &value);
        any = (struct any){NULL, json_entry_bytes(&url), json_entry_bytes(&value)};
        any.type = ang_types_message_of_url(type->pool, any.url);
        er = print_known_or_raw(pr, &any, at);
    }
    json_leave(pr, &frame);
    return (er);
}

struct ang_err *json_print_well_known(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                                      const struct json_path *at) {
    switch (type->well_known) {
    case WK_NONE:
    case WK_EMPTY:
        break; /* as any other message */
    case WK_ANY:
        return (print_any(pr, type, message, at));
    case WK_TIMESTAMP:
    case WK_DURATION:
        return (print_time(pr, type->well_known, message, at));
    case WK_FIELD_MASK:
        return (print_mask(pr, message, at));
    case WK_STRUCT:
        return (print_only_field(pr, &json_type_struct, message, at));
    case WK_VALUE:
        return (print_value(pr, message, at));
    case WK_LIST_VALUE:
        return (print_only_field(pr, &json_type_list, message, at));
    case WK_WRAPPER:
        return (print_wrapper(pr, type, message, at));
    }
    ang_panic(__FILE__, __LINE__, __func__, "a type without a form of its own");
}
