/* A message's bytes to text.
 *
 * A message is read twice: first its fields are sorted into slots (what came last, what was undone by another member of
 * its oneof, which pieces belong together), then the slots are printed in the order of the field numbers.  Pieces of one
 * message need no merging: the bytes of both, one behind the other, are the merged message. */
#include <stdlib.h>

#include "proto/json_priv.h"

#define BLOCK (64u << 10)

/* ---- the two stacks ---- */

static uint32_t push_entry(struct json_printer *pr, const struct ang_wire_field *wf) {
    struct json_entry *e;

    if (pr->n_entries == pr->cap_entries) {
        pr->cap_entries = pr->cap_entries == 0 ? 64 : 2 * pr->cap_entries;
        pr->entries = ang_realloc(pr->entries, pr->cap_entries * sizeof(*pr->entries));
    }
    e = &pr->entries[pr->n_entries];
    e->p = wf->bytes.p;
    e->v = wf->type == ANG_WIRE_BYTES ? wf->bytes.n : wf->value;
    e->next = JSON_NONE;
    e->type = wf->type;
    return ((uint32_t)pr->n_entries++);
}

static size_t push_slots(struct json_printer *pr, size_t n) {
    size_t at = pr->n_slots;

    if (n > pr->cap_slots - at) {
        pr->cap_slots = 2 * (at + n) + 64;
        pr->slots = ang_realloc(pr->slots, pr->cap_slots * sizeof(*pr->slots));
    }
    for (size_t i = 0; i < n; i++)
        pr->slots[at + i] = (struct json_slot){JSON_NONE, JSON_NONE, 0};
    pr->n_slots += n;
    return (at);
}

static void append(struct json_printer *pr, struct json_slot *slot, uint32_t entry) {
    if (slot->count++ == 0)
        slot->first = entry;
    else
        pr->entries[slot->last].next = entry;
    slot->last = entry;
}

/* ---- sorting a message's fields ---- */

static enum ang_wire_type wire_type(enum ang_kind kind) {
    switch (kind) {
    case KIND_DOUBLE:
    case KIND_FIXED64:
    case KIND_SFIXED64:
        return (ANG_WIRE_FIXED64);
    case KIND_FLOAT:
    case KIND_FIXED32:
    case KIND_SFIXED32:
        return (ANG_WIRE_FIXED32);
    case KIND_STRING:
    case KIND_BYTES:
    case KIND_MESSAGE:
    case KIND_GROUP: /* comes as no type that we have, see known */
        return (ANG_WIRE_BYTES);
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_INT32:
    case KIND_BOOL:
    case KIND_UINT32:
    case KIND_ENUM:
    case KIND_SINT32:
    case KIND_SINT64:
        return (ANG_WIRE_VARINT);
    }
    return (ANG_WIRE_VARINT);
}

/* Whether a field of the wire is the one that the type knows; if not, it is as unknown as any other number. */
bool json_known(const struct ang_field *f, const struct ang_wire_field *wf) {
    if (f->kind == KIND_GROUP)
        return (false);
    if (wf->type == wire_type(f->kind))
        return (!json_closed_to(f, wf->value));
    return (f->repeated && wf->type == ANG_WIRE_BYTES && ang_kind_packs(f->kind));
}

/* The slots behind those of the fields, one per oneof, hold in `first` the field that was set last. */
static void choose(struct json_printer *pr, struct json_slot *slots, const struct ang_type *type, uint32_t field) {
    struct json_slot *chosen = &slots[type->n_fields + type->fields[field].oneof - 1];

    if (chosen->first != JSON_NONE && chosen->first != field)
        pr->replaced = true;
    if (chosen->first != JSON_NONE && chosen->first != field)
        slots[chosen->first] = (struct json_slot){JSON_NONE, JSON_NONE, 0};
    chosen->first = field;
}

struct ang_err *json_enter(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                           const struct json_path *at, struct json_frame *ret) {
    struct ang_wire_iter it = ang_wire_iter_of(message);
    struct ang_wire_field wf;

    ret->type = type;
    ret->entries = pr->n_entries;
    ret->slots = push_slots(pr, type->n_fields + type->n_oneofs);
    if (++pr->depth > ANG_JSON_DEPTH + 1)
        return (json_error(at, ANG_E_WIRE, "more than %d messages inside each other", ANG_JSON_DEPTH));
    while (ang_wire_next(&it, &wf)) {
        const struct ang_field *f = ang_type_field(type, wf.number);
        struct json_slot *slots = pr->slots + ret->slots;

        if (f == NULL || !json_known(f, &wf))
            continue;
        if (f->oneof != 0)
            choose(pr, slots, type, (uint32_t)(f - type->fields));
        pr->replaced |= !f->repeated && slots[f - type->fields].count > 0;
        append(pr, &slots[f - type->fields], push_entry(pr, &wf));
    }
    if (it.what != NULL)
        return (json_error(at, ANG_E_WIRE, "not a %s: %s", type->name, it.what));
    return (NULL);
}

void json_leave(struct json_printer *pr, const struct json_frame *frame) {
    pr->n_entries = frame->entries;
    pr->n_slots = frame->slots;
    pr->depth--;
}

bool json_last(const struct json_printer *pr, const struct json_frame *frame, size_t i, struct json_entry *ret) {
    const struct json_slot *slot = &pr->slots[frame->slots + i];

    if (slot->count == 0)
        return (false);
    *ret = pr->entries[slot->last];
    return (true);
}

struct ang_err *json_whole(struct json_printer *pr, const struct json_slot *slot, const struct json_path *at,
                           struct ang_slice *ret) {
    size_t n = 0;
    uint8_t *p;

    *ret = json_entry_bytes(&pr->entries[slot->first]);
    if (slot->count == 1)
        return (NULL);
    for (uint32_t e = slot->first; e != JSON_NONE; e = pr->entries[e].next)
        n += (size_t)pr->entries[e].v;
    pr->joined += n;
    if (pr->joined > pr->max)
        return (json_error(at, ANG_E_TOO_BIG, "more than %zu bytes of messages in pieces", pr->max));
    p = ang_arena_alloc(pr->arena, n + 1);
    *ret = ang_slice_of(p, n);
    for (uint32_t e = slot->first; e != JSON_NONE; e = pr->entries[e].next) {
        memcpy(p, pr->entries[e].p, (size_t)pr->entries[e].v);
        p += pr->entries[e].v;
    }
    return (NULL);
}

/* ---- scalars ---- */

static void add_enum(struct ang_buf *b, const struct ang_enum *en, int32_t number) {
    const struct ang_enum_value *value = ang_enum_of_number(en, number);

    if (en->null_value) {
        ang_buf_add_str(b, "null");
    } else if (value != NULL) {
        ang_buf_add_u8(b, '"');
        ang_buf_add_slice(b, value->name);
        ang_buf_add_u8(b, '"');
    } else {
        json_add_i64(b, number);
    }
}

static double double_of(uint64_t v) {
    double d;

    memcpy(&d, &v, sizeof(d));
    return (d);
}

static float float_of(uint64_t v) {
    uint32_t bits = (uint32_t)v;
    float f;

    memcpy(&f, &bits, sizeof(f));
    return (f);
}

/* A 64-bit integer stands in quotes, because JavaScript's numbers have 53 bits. */
static void add_i64(struct ang_buf *b, int64_t v) {
    ang_buf_add_u8(b, '"');
    json_add_i64(b, v);
    ang_buf_add_u8(b, '"');
}

static void add_number(struct ang_buf *b, enum ang_kind kind, const struct ang_enum *en, uint64_t v) {
    switch (kind) {
    case KIND_DOUBLE:
        json_add_double(b, double_of(v));
        break;
    case KIND_FLOAT:
        json_add_float(b, float_of(v));
        break;
    case KIND_INT64:
    case KIND_SFIXED64:
        add_i64(b, (int64_t)v);
        break;
    case KIND_SINT64:
        add_i64(b, json_zigzag(v));
        break;
    case KIND_UINT64:
    case KIND_FIXED64:
        ang_buf_add_u8(b, '"');
        json_add_u64(b, v);
        ang_buf_add_u8(b, '"');
        break;
    case KIND_INT32:
    case KIND_SFIXED32:
        json_add_i64(b, (int32_t)v);
        break;
    case KIND_SINT32:
        json_add_i64(b, (int32_t)json_zigzag((uint32_t)v));
        break;
    case KIND_UINT32:
    case KIND_FIXED32:
        json_add_u64(b, (uint32_t)v);
        break;
    case KIND_BOOL:
        ang_buf_add_str(b, v != 0 ? "true" : "false");
        break;
    case KIND_ENUM:
        add_enum(b, en, (int32_t)v);
        break;
    case KIND_STRING:
    case KIND_BYTES:
    case KIND_MESSAGE:
    case KIND_GROUP:
        break; /* no numbers */
    }
}

struct ang_err *json_print_scalar(struct json_printer *pr, enum ang_kind kind, const struct ang_enum *en,
                                  const struct json_entry *e, const struct json_path *at) {
    struct ang_slice s;

    if (kind != KIND_STRING && kind != KIND_BYTES) {
        add_number(pr->out.b, kind, en, e->v);
        return (NULL);
    }
    s = json_entry_bytes(e);
    if (kind == KIND_STRING) {
        if (!ang_utf8_ok(s))
            return (json_error(at, ANG_E_WIRE, "a string that is not UTF-8"));
        ang_json_add_string(pr->out.b, s);
    } else {
        ang_buf_add_u8(pr->out.b, '"');
        json_add_base64(pr->out.b, s);
        ang_buf_add_u8(pr->out.b, '"');
    }
    return (json_check_size(pr, at));
}

/* What a field without presence leaves out. */
static bool is_default(const struct ang_field *f, uint64_t v) {
    switch (f->kind) {
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_SINT32:
    case KIND_ENUM:
        return ((uint32_t)v == 0);
    case KIND_DOUBLE:
    case KIND_FLOAT:
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_FIXED64:
    case KIND_FIXED32:
    case KIND_BOOL:
    case KIND_STRING: /* v is their length */
    case KIND_BYTES:
    case KIND_SFIXED32:
    case KIND_SFIXED64:
    case KIND_SINT64:
        return (v == 0);
    case KIND_GROUP:
    case KIND_MESSAGE:
        return (false);
    }
    return (false);
}

/* ---- fields ---- */

struct ang_err *json_check_size(const struct json_printer *pr, const struct json_path *at) {
    if (pr->out.b->n <= pr->limit)
        return (NULL);
    return (json_error(at, ANG_E_TOO_BIG, "more than %zu bytes of JSON", pr->max));
}

/* One packed value; ret->type becomes the one of the kind. */
bool json_next_packed(struct ang_wire_iter *it, enum ang_kind kind, struct json_entry *ret) {
    const enum ang_wire_type type = wire_type(kind);
    size_t n = type == ANG_WIRE_FIXED64 ? 8 : 4;

    ret->type = type;
    if (type == ANG_WIRE_VARINT)
        return (ang_wire_next_varint(it, &ret->v));
    if (it->p == it->end)
        return (false);
    if ((size_t)(it->end - it->p) < n) {
        it->what = "truncated fixed-size value";
        return (false);
    }
    ret->v = 0;
    for (size_t i = 0; i < n; i++)
        ret->v |= (uint64_t)it->p[i] << (8 * i);
    it->p += n;
    return (true);
}

/* A list that is being printed. */
struct list {
    const struct ang_field *f;
    struct json_path at;
    bool first;
};

static struct ang_err *print_element(struct json_printer *pr, struct list *list, const struct json_entry *e) {
    struct ang_err *er;

    json_next(&pr->out, &list->first);
    er = list->f->kind == KIND_MESSAGE ? json_print_message(pr, list->f->type, json_entry_bytes(e), &list->at)
                                       : json_print_scalar(pr, list->f->kind, list->f->enumeration, e, &list->at);
    if (er == NULL)
        er = json_check_size(pr, &list->at);
    list->at.index++;
    return (er);
}

static struct ang_err *print_packed(struct json_printer *pr, struct list *list, struct ang_slice packed) {
    struct ang_wire_iter it = ang_wire_iter_of(packed);
    struct ang_err *er = NULL;
    struct json_entry e = {0};

    while (er == NULL && json_next_packed(&it, list->f->kind, &e))
        if (!json_closed_to(list->f, e.v))
            er = print_element(pr, list, &e);
    if (er == NULL && it.what != NULL)
        er = json_error(&list->at, ANG_E_WIRE, "packed values: %s", it.what);
    return (er);
}

struct ang_err *json_print_list(struct json_printer *pr, const struct ang_field *f, struct json_slot slot,
                                const struct json_path *at) {
    struct list list = {f, path_index(at, 0), true};
    struct ang_err *er = NULL;
    struct json_entry e;

    json_open(&pr->out, '[');
    for (uint32_t i = slot.first; er == NULL && i != JSON_NONE; i = e.next) {
        e = pr->entries[i];
        if (e.type == ANG_WIRE_BYTES && ang_kind_packs(f->kind))
            er = print_packed(pr, &list, json_entry_bytes(&e));
        else
            er = print_element(pr, &list, &e);
    }
    json_close(&pr->out, ']', list.first);
    return (er != NULL ? er : json_check_size(pr, at));
}

/* Packed pieces may be empty, or hold nothing that a closed enum knows. */
static bool has_elements(const struct json_printer *pr, const struct ang_field *f, const struct json_slot *slot) {
    for (uint32_t i = slot->first; i != JSON_NONE; i = pr->entries[i].next) {
        const struct json_entry *e = &pr->entries[i];
        struct ang_wire_iter it;
        struct json_entry v;

        if (e->type != ANG_WIRE_BYTES || !ang_kind_packs(f->kind))
            return (true);
        if (e->v > 0 && (f->kind != KIND_ENUM || !f->enumeration->closed))
            return (true);
        it = ang_wire_iter_of(json_entry_bytes(e));
        while (json_next_packed(&it, f->kind, &v))
            if (!json_closed_to(f, v.v))
                return (true);
        if (it.what != NULL)
            return (true); /* printing says what it is */
    }
    return (false);
}

/* Nothing of the field is to be printed. */
static bool is_absent(const struct json_printer *pr, const struct ang_field *f, const struct json_slot *slot) {
    if (f->map)
        return (json_map_is_empty(pr, f, slot));
    if (f->repeated)
        return (!has_elements(pr, f, slot));
    return (slot->count == 0 || (!f->presence && is_default(f, pr->entries[slot->last].v)));
}

static struct ang_err *print_value(struct json_printer *pr, const struct ang_field *f, struct json_slot slot,
                                   const struct json_path *at) {
    struct json_entry e = {.p = (const uint8_t *)"", .next = JSON_NONE, .type = wire_type(f->kind)};

    if (f->map)
        return (json_print_map(pr, f, slot, at));
    if (f->repeated)
        return (json_print_list(pr, f, slot, at));
    if (f->kind == KIND_MESSAGE)
        return (json_print_whole(pr, f->type, &slot, at));
    if (slot.count > 0)
        e = pr->entries[slot.last];
    return (json_print_scalar(pr, f->kind, f->enumeration, &e, at));
}

static struct ang_err *print_field(struct json_printer *pr, const struct ang_field *f, struct json_slot slot,
                                   const struct json_path *at, bool *first) {
    bool proto_names = pr->opts->proto_names;
    struct json_path here = path_field(at, proto_names ? f->name : f->json_name);
    struct ang_err *er;

    if (is_absent(pr, f, &slot) && (f->presence || f->kind == KIND_GROUP || !pr->opts->defaults))
        return (NULL);
    json_next(&pr->out, first);
    json_name(&pr->out, proto_names ? f->quoted_name : f->quoted_json_name);
    er = print_value(pr, f, slot, &here);
    return (er != NULL ? er : json_check_size(pr, &here));
}

struct ang_err *json_print_members(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                                   const struct json_path *at, bool *first) {
    struct json_frame frame;
    struct ang_err *er = json_enter(pr, type, message, at, &frame);

    for (size_t i = 0; er == NULL && i < type->n_fields; i++)
        er = print_field(pr, &type->fields[i], pr->slots[frame.slots + i], at, first);
    json_leave(pr, &frame);
    return (er);
}

struct ang_err *json_print_message(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                                   const struct json_path *at) {
    bool first = true;
    struct ang_err *er;

    if (type->well_known != WK_NONE && type->well_known != WK_EMPTY)
        return (json_print_well_known(pr, type, message, at));
    json_open(&pr->out, '{');
    er = json_print_members(pr, type, message, at, &first);
    json_close(&pr->out, '}', first);
    return (er);
}

struct ang_err *json_print_whole(struct json_printer *pr, const struct ang_type *type, const struct json_slot *slot,
                                 const struct json_path *at) {
    struct ang_slice whole;
    struct ang_err *er = json_whole(pr, slot, at, &whole);

    return (er != NULL ? er : json_print_message(pr, type, whole, at));
}

struct ang_err *ang_json_print(const struct ang_type *type, struct ang_slice message, const struct ang_json_opts *opts,
                               struct ang_buf *ret) {
    static const struct ang_json_opts none = {0};
    struct json_path root = path_root(type);
    struct json_printer pr = {.opts = opts == NULL ? &none : opts, .out = {.b = ret}};
    size_t before = ret->n;
    struct ang_err *er;

    ANG_CHECK(type, ANG_TYPE_MAGIC);
    pr.max = json_max(pr.opts);
    if (message.n > pr.max)
        return (json_error(&root, ANG_E_TOO_BIG, "%zu bytes; at most %zu are read", message.n, pr.max));
    pr.out.pretty = pr.opts->pretty;
    pr.limit = before + pr.max;
    pr.arena = ang_arena_new(BLOCK);
    er = json_print_message(&pr, type, message, &root);
    if (er == NULL && pr.replaced)
        er = json_check(type, message, &root);
    if (er != NULL)
        ret->n = before;
    ang_arena_free(pr.arena);
    free(pr.entries);
    free(pr.slots);
    return (er);
}
