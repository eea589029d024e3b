/* Maps: on the wire a list of entries in any order, in which the last one of a key counts; in text an object, sorted. */
#include <stdlib.h>

#include "proto/json_priv.h"

/* One entry.  The fields of a map's entry are 1, the key, and 2, the value: indexes 0 and 1. */
struct item {
    struct ang_slice text; /* of a string key */
    uint64_t number;       /* of the other keys; in an order that is the one of the key's kind */
    uint32_t order;        /* on the wire */
    struct json_entry value;
};

#define SIGN (UINT64_C(1) << 63)

static void set_number(struct item *item, enum ang_kind kind, uint64_t v) {
    switch (kind) {
    case KIND_INT32:
    case KIND_SFIXED32:
        item->number = (uint64_t)(int64_t)(int32_t)v ^ SIGN;
        break;
    case KIND_SINT32:
        item->number = (uint64_t)(int64_t)(int32_t)json_zigzag((uint32_t)v) ^ SIGN;
        break;
    case KIND_INT64:
    case KIND_SFIXED64:
        item->number = v ^ SIGN;
        break;
    case KIND_SINT64:
        item->number = (uint64_t)json_zigzag(v) ^ SIGN;
        break;
    case KIND_UINT32:
    case KIND_FIXED32:
        item->number = (uint32_t)v;
        break;
    case KIND_UINT64:
    case KIND_FIXED64:
        item->number = v;
        break;
    case KIND_BOOL:
        item->number = v != 0;
        break;
    case KIND_DOUBLE:
    case KIND_FLOAT:
    case KIND_STRING:
    case KIND_GROUP:
    case KIND_MESSAGE:
    case KIND_BYTES:
    case KIND_ENUM:
        break; /* linking lets none of them be a key, except strings, which have no number */
    }
}

static void key_text(const struct item *item, enum ang_kind kind, struct ang_buf *b) {
    if (kind == KIND_STRING)
        ang_json_add_string(b, item->text);
    else if (kind == KIND_BOOL)
        ang_buf_add_str(b, item->number != 0 ? "\"true\"" : "\"false\"");
    else {
        ang_buf_add_u8(b, '"');
        if (kind == KIND_UINT32 || kind == KIND_FIXED32 || kind == KIND_UINT64 || kind == KIND_FIXED64)
            json_add_u64(b, item->number);
        else
            json_add_i64(b, (int64_t)(item->number ^ SIGN));
        ang_buf_add_u8(b, '"');
    }
}

/* An entry whose value a closed enum does not know is unknown as a whole. */
static bool is_unknown(const struct ang_field *value, struct ang_slice entry) {
    struct ang_wire_iter it = ang_wire_iter_of(entry);
    struct ang_wire_field f;
    bool unknown = false;

    if (value->kind != KIND_ENUM || !value->enumeration->closed)
        return (false);
    while (ang_wire_next(&it, &f))
        if (f.number == value->number && f.type == ANG_WIRE_VARINT)
            unknown = json_closed_to(value, f.value);
    return (unknown);
}

bool json_map_is_empty(const struct json_printer *pr, const struct ang_field *f, const struct json_slot *slot) {
    for (uint32_t i = slot->first; i != JSON_NONE; i = pr->entries[i].next)
        if (!is_unknown(&f->type->fields[1], json_entry_bytes(&pr->entries[i])))
            return (false);
    return (true);
}

static struct ang_err *read_key(const struct json_printer *pr, const struct json_frame *frame,
                                const struct json_path *at, struct item *item) {
    enum ang_kind kind = frame->type->fields[0].kind;
    struct json_entry e = {.p = (const uint8_t *)""};

    json_last(pr, frame, 0, &e);
    if (kind == KIND_STRING)
        item->text = json_entry_bytes(&e);
    else
        set_number(item, kind, e.v);
    return (ang_utf8_ok(item->text) ? NULL : json_error(at, ANG_E_WIRE, "a key that is not UTF-8"));
}

static struct ang_err *read_value(struct json_printer *pr, const struct json_frame *frame, const struct json_path *at,
                                  struct item *item) {
    const struct ang_field *value = &frame->type->fields[1];
    struct ang_slice whole;
    struct ang_err *er;

    item->value = (struct json_entry){(const uint8_t *)"", 0, JSON_NONE, ANG_WIRE_BYTES};
    if (value->kind == KIND_ENUM)
        item->value.v = (uint64_t)(int64_t)value->enumeration->first;
    if (!json_last(pr, frame, 1, &item->value) || value->kind != KIND_MESSAGE)
        return (NULL);
    er = json_whole(pr, &pr->slots[frame->slots + 1], at, &whole);
    if (er != NULL)
        return (er);
    item->value.p = whole.p;
    item->value.v = whole.n;
    return (NULL);
}

static struct ang_err *read_item(struct json_printer *pr, const struct ang_type *type, struct ang_slice entry,
                                 const struct json_path *at, struct item *item) {
    struct json_frame frame;
    struct ang_err *er = json_enter(pr, type, entry, at, &frame);

    if (er == NULL)
        er = read_key(pr, &frame, at, item);
    if (er == NULL)
        er = read_value(pr, &frame, at, item);
    json_leave(pr, &frame);
    return (er);
}

static int same_key(const struct item *x, const struct item *y) {
    if (x->number != y->number)
        return (x->number > y->number ? 1 : -1);
    return (ang_slice_cmp(x->text, y->text));
}

static int by_key(const void *a, const void *b) {
    const struct item *x = a, *y = b;
    int c = same_key(x, y);

    return (c != 0 ? c : (x->order > y->order) - (x->order < y->order));
}

static struct ang_err *print_item(struct json_printer *pr, const struct ang_type *type, const struct item *item,
                                  const struct json_path *at, bool *first) {
    const struct ang_field *value = &type->fields[1];
    struct ang_buf key = {0};
    struct json_path here;
    struct ang_err *er;

    key_text(item, type->fields[0].kind, &key);
    json_next(&pr->out, first);
    json_name(&pr->out, ang_buf_slice(&key));
    here = path_key(at, type->fields[0].kind == KIND_STRING ? item->text : ang_slice_of(key.p + 1, key.n - 2));
    pr->depth++; /* the entry */
    er = value->kind == KIND_MESSAGE ? json_print_message(pr, value->type, json_entry_bytes(&item->value), &here)
                                     : json_print_scalar(pr, value->kind, value->enumeration, &item->value, &here);
    pr->depth--;
    if (er == NULL)
        er = json_check_size(pr, &here);
    ang_buf_fini(&key);
    return (er);
}

struct ang_err *json_print_map(struct json_printer *pr, const struct ang_field *f, struct json_slot slot,
                               const struct json_path *at) {
    struct item *items = ang_calloc((size_t)slot.count + 1, sizeof(*items));
    struct json_path entry_at = path_index(at, 0);
    struct ang_err *er = NULL;
    bool first = true;
    uint32_t n = 0;

    for (uint32_t i = slot.first; er == NULL && i != JSON_NONE; i = pr->entries[i].next) {
        struct ang_slice entry = json_entry_bytes(&pr->entries[i]);

        if (!is_unknown(&f->type->fields[1], entry)) {
            items[n].order = n;
            er = read_item(pr, f->type, entry, &entry_at, &items[n++]);
        }
        entry_at.index++;
    }
    qsort(items, n, sizeof(*items), by_key);
    json_open(&pr->out, '{');
    for (uint32_t i = 0; er == NULL && i < n; i++)
        if (i + 1 == n || same_key(&items[i], &items[i + 1]) != 0)
            er = print_item(pr, f->type, &items[i], at, &first);
        else
            pr->replaced = true;
    json_close(&pr->out, '}', first);
    free(items);
    return (er);
}
