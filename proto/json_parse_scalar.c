/* One token to what a scalar field is on the wire. */
#include <math.h>
#include <stdio.h>

#include "proto/json_priv.h"

#define MAX_SHOWN 64

struct ang_err *json_expected(const struct json_parser *ps, const char *what, uint32_t token,
                              const struct json_path *at) {
    const struct json_token *t = &ps->text.tokens[token];
    struct ang_slice text;

    if (t->kind != TOKEN_NUMBER && t->kind != TOKEN_STRING)
        return (json_error(at, ANG_E_JSON, "expected %s, got %s", what, json_kind_name(t->kind)));
    text = json_token_text(&ps->text, t);
    if (text.n > MAX_SHOWN)
        return (json_error(at, ANG_E_JSON, "expected %s, got %s of %zu bytes", what, json_kind_name(t->kind), text.n));
    return (json_error(at, ANG_E_JSON, t->kind == TOKEN_STRING ? "expected %s, got \"%.*s\"" : "expected %s, got %.*s",
                       what, (int)text.n, (const char *)text.p));
}

static bool read_signed(struct ang_slice text, int64_t min, int64_t max, bool zigzag, uint64_t *ret) {
    int64_t v;

    if (!json_to_i64(text, min, max, &v))
        return (false);
    *ret = zigzag ? (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0) : (uint64_t)v;
    return (true);
}

static bool read_double(struct ang_slice text, double *ret) {
    if (ang_slice_is(text, "NaN"))
        *ret = NAN;
    else if (ang_slice_is(text, "Infinity"))
        *ret = INFINITY;
    else if (ang_slice_is(text, "-Infinity"))
        *ret = -INFINITY;
    else
        return (json_to_double(text, ret));
    return (true);
}

static bool read_float(struct ang_slice text, uint64_t *ret) {
    uint32_t bits;
    double d;
    float f;

    if (!read_double(text, &d))
        return (false);
    f = (float)d;
    if (isinf(f) && !isinf(d))
        return (false); /* too big for a float */
    memcpy(&bits, &f, sizeof(bits));
    *ret = bits;
    return (true);
}

bool json_read_number(enum ang_kind kind, struct ang_slice text, uint64_t *ret) {
    double d;

    switch (kind) {
    case KIND_INT32:
    case KIND_SFIXED32:
    case KIND_ENUM:
        return (read_signed(text, INT32_MIN, INT32_MAX, false, ret));
    case KIND_SINT32:
        return (read_signed(text, INT32_MIN, INT32_MAX, true, ret));
    case KIND_INT64:
    case KIND_SFIXED64:
        return (read_signed(text, INT64_MIN, INT64_MAX, false, ret));
    case KIND_SINT64:
        return (read_signed(text, INT64_MIN, INT64_MAX, true, ret));
    case KIND_UINT32:
    case KIND_FIXED32:
        return (json_to_u64(text, UINT32_MAX, ret));
    case KIND_UINT64:
    case KIND_FIXED64:
        return (json_to_u64(text, UINT64_MAX, ret));
    case KIND_FLOAT:
        return (read_float(text, ret));
    case KIND_DOUBLE:
        if (!read_double(text, &d))
            return (false);
        memcpy(ret, &d, sizeof(*ret));
        return (true);
    case KIND_BOOL:
    case KIND_STRING:
    case KIND_BYTES:
    case KIND_MESSAGE:
    case KIND_GROUP:
        break;
    }
    return (false);
}

static struct ang_err *read_enum(struct json_parser *ps, const struct ang_enum *en, uint32_t token,
                                 const struct json_path *at, uint64_t *ret) {
    const struct json_token *t = &ps->text.tokens[token];
    const struct ang_enum_value *value;
    char what[640];

    if (t->kind == TOKEN_NULL && en->null_value) {
        *ret = 0;
        return (NULL);
    }
    if (t->kind == TOKEN_STRING) {
        value = ang_enum_of_name(en, json_token_text(&ps->text, t));
        if (value != NULL) {
            *ret = (uint64_t)(int64_t)value->number;
            return (NULL);
        }
    } else if (t->kind == TOKEN_NUMBER && json_read_number(KIND_ENUM, json_token_text(&ps->text, t), ret) &&
               (!en->closed || ang_enum_of_number(en, (int32_t)*ret) != NULL)) {
        return (NULL);
    }
    snprintf(what, sizeof(what), "a value of %s", en->name);
    return (json_expected(ps, what, token, at));
}

static const char *kind_name(enum ang_kind kind) {
    static const char *const names[] = {
        [KIND_DOUBLE] = "a double",   [KIND_FLOAT] = "a float",      [KIND_INT64] = "an int64",
        [KIND_UINT64] = "a uint64",   [KIND_INT32] = "an int32",     [KIND_FIXED64] = "a uint64",
        [KIND_FIXED32] = "a uint32",  [KIND_BOOL] = "true or false", [KIND_STRING] = "a string",
        [KIND_GROUP] = "an object",   [KIND_MESSAGE] = "an object",  [KIND_BYTES] = "bytes in base64",
        [KIND_UINT32] = "a uint32",   [KIND_ENUM] = "a value",       [KIND_SFIXED32] = "an int32",
        [KIND_SFIXED64] = "an int64", [KIND_SINT32] = "an int32",    [KIND_SINT64] = "an int64",
    };

    return (names[kind]);
}

struct ang_err *json_read_scalar(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                                 const struct json_path *at, struct json_scalar *ret) {
    const struct json_token *t = &ps->text.tokens[token];
    struct ang_slice text = ANG_SLICE_NONE;
    bool ok = false;

    ret->v = 0;
    ret->bytes = ang_slice_str("");
    if (f->kind == KIND_ENUM)
        return (read_enum(ps, f->enumeration, token, at, &ret->v));
    if (t->kind == TOKEN_NUMBER || t->kind == TOKEN_STRING)
        text = json_token_text(&ps->text, t);
    if (f->kind == KIND_BOOL) {
        ok = t->kind == TOKEN_TRUE || t->kind == TOKEN_FALSE;
        ret->v = t->kind == TOKEN_TRUE;
    } else if (f->kind == KIND_STRING) {
        ok = t->kind == TOKEN_STRING;
        ret->bytes = text;
    } else if (f->kind == KIND_BYTES) {
        ang_buf_clear(&ps->scratch);
        ok = t->kind == TOKEN_STRING && json_from_base64(&ps->scratch, text);
        ret->bytes = ang_buf_slice(&ps->scratch);
    } else if (t->kind == TOKEN_NUMBER || t->kind == TOKEN_STRING) {
        ok = json_read_number(f->kind, text, &ret->v);
    }
    return (ok ? NULL : json_expected(ps, kind_name(f->kind), token, at));
}

static void put_fixed(struct ang_buf *b, uint64_t v, size_t n) {
    uint8_t *p = ang_buf_reserve(b, n);

    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
    b->n += n;
}

static void put_tag(struct ang_buf *b, uint32_t number, enum ang_wire_type type) {
    if (number != 0)
        ang_wire_put_tag(b, number, type);
}

void json_put_scalar(struct json_parser *ps, uint32_t number, enum ang_kind kind, const struct json_scalar *s) {
    switch (kind) {
    case KIND_DOUBLE:
    case KIND_FIXED64:
    case KIND_SFIXED64:
        put_tag(ps->b, number, ANG_WIRE_FIXED64);
        put_fixed(ps->b, s->v, 8);
        break;
    case KIND_FLOAT:
    case KIND_FIXED32:
    case KIND_SFIXED32:
        put_tag(ps->b, number, ANG_WIRE_FIXED32);
        put_fixed(ps->b, s->v, 4);
        break;
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_INT32:
    case KIND_BOOL:
    case KIND_UINT32:
    case KIND_ENUM:
    case KIND_SINT32:
    case KIND_SINT64:
        put_tag(ps->b, number, ANG_WIRE_VARINT);
        ang_wire_put_varint(ps->b, s->v);
        break;
    case KIND_STRING:
    case KIND_BYTES:
        ang_wire_put_bytes(ps->b, number, s->bytes);
        break;
    case KIND_MESSAGE:
    case KIND_GROUP:
        break; /* no scalars */
    }
}
