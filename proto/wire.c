/* Tags, varints and lengths, both ways.  The one place that turns untrusted bytes into fields: everything above trusts
 * that a field it is given lies inside the message. */
#include "proto/wire.h"

#define MAX_VARINT 10
#define MAX_PREFIX 5 /* bytes of a tag or a length: both are 32-bit numbers to every parser */

/* Reads at *p, moves *p behind it.  Returns what is wrong, or NULL. */
static inline const char *read_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret_v) {
    const uint8_t *q = *p;
    uint64_t v = 0;

    if (q < end && *q < 0x80) {
        *ret_v = *q;
        *p = q + 1;
        return (NULL);
    }
    for (unsigned i = 0; i < MAX_VARINT; i++) {
        if (q == end)
            return ("truncated varint");
        if (i == MAX_VARINT - 1 && *q > 1)
            break; /* an eleventh byte, or bits above the 64th */
        v |= (uint64_t)(*q & 0x7f) << (7 * i);
        if (*q++ < 0x80) {
            *ret_v = v;
            *p = q;
            return (NULL);
        }
    }
    return ("varint of more than 64 bits");
}

static inline const char *read_length(const uint8_t **p, const uint8_t *end, uint64_t *ret_n) {
    const uint8_t *from = *p;
    const char *what = read_varint(p, end, ret_n);

    if (what != NULL)
        return (what);
    if (*p - from > MAX_PREFIX || *ret_n > INT32_MAX)
        return ("length of more than 31 bits");
    if (*ret_n > (uint64_t)(end - *p))
        return ("length past the end");
    return (NULL);
}

static uint64_t read_fixed(const uint8_t *p, unsigned n) {
    uint64_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return (v);
}

static const char *read_value(const uint8_t **p, const uint8_t *end, unsigned type, struct ang_wire_field *f) {
    const char *what;
    unsigned n;

    switch (type) {
    case ANG_WIRE_VARINT:
        return (read_varint(p, end, &f->value));
    case ANG_WIRE_BYTES:
        what = read_length(p, end, &f->value);
        if (what != NULL)
            return (what);
        f->bytes = ang_slice_of(*p, (size_t)f->value);
        *p += f->value;
        return (NULL);
    case ANG_WIRE_FIXED64:
    case ANG_WIRE_FIXED32:
        n = type == ANG_WIRE_FIXED64 ? 8 : 4;
        if ((size_t)(end - *p) < n)
            return ("truncated fixed-size value");
        f->value = read_fixed(*p, n);
        *p += n;
        return (NULL);
    case 3:
    case 4:
        return ("group");
    }
    return ("unknown wire type");
}

bool ang_wire_next(struct ang_wire_iter *it, struct ang_wire_field *ret_f) {
    const uint8_t *p = it->p;
    uint64_t tag = 0;
    const char *what;

    if (p == it->end || it->what != NULL)
        return (false);
    what = read_varint(&p, it->end, &tag);
    if (what == NULL && (p - it->p > MAX_PREFIX || tag > UINT32_MAX))
        what = "tag of more than 32 bits";
    if (what == NULL && tag >> 3 == 0)
        what = "field number 0";
    if (what == NULL) {
        ret_f->number = (uint32_t)(tag >> 3);
        ret_f->type = (enum ang_wire_type)(tag & 7);
        ret_f->bytes = ANG_SLICE_NONE;
        what = read_value(&p, it->end, tag & 7, ret_f);
    }
    if (what != NULL) {
        it->what = what;
        return (false);
    }
    ret_f->raw = ang_slice_of(it->p, (size_t)(p - it->p));
    it->p = p;
    return (true);
}

bool ang_wire_next_varint(struct ang_wire_iter *it, uint64_t *ret_v) {
    if (it->p == it->end || it->what != NULL)
        return (false);
    it->what = read_varint(&it->p, it->end, ret_v);
    return (it->what == NULL);
}

bool ang_wire_find(struct ang_slice message, uint32_t number, struct ang_wire_field *ret_f) {
    struct ang_wire_iter it = ang_wire_iter_of(message);
    struct ang_wire_field f;

    while (ang_wire_next(&it, &f))
        if (f.number == number) {
            *ret_f = f;
            return (true);
        }
    return (false);
}

struct ang_slice ang_wire_type_name(struct ang_slice type_url) {
    size_t i = type_url.n;

    while (i > 0 && type_url.p[i - 1] != '/')
        i--;
    return (i == 0 ? type_url : ang_slice_of(type_url.p + i, type_url.n - i));
}

/* ---- writing ---- */

static uint8_t *write_varint(uint8_t *p, uint64_t v) {
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return (p);
}

static uint8_t *write_tag(uint8_t *p, uint32_t number, enum ang_wire_type type) {
    return (write_varint(p, (uint64_t)number << 3 | type));
}

void ang_wire_put_varint(struct ang_buf *b, uint64_t v) {
    uint8_t *p = ang_buf_reserve(b, MAX_VARINT);

    b->n += (size_t)(write_varint(p, v) - p);
}

void ang_wire_put_tag(struct ang_buf *b, uint32_t number, enum ang_wire_type type) {
    uint8_t *p = ang_buf_reserve(b, MAX_PREFIX);

    AN(number);
    b->n += (size_t)(write_tag(p, number, type) - p);
}

void ang_wire_put_uint(struct ang_buf *b, uint32_t number, uint64_t v) {
    ang_wire_put_tag(b, number, ANG_WIRE_VARINT);
    ang_wire_put_varint(b, v);
}

void ang_wire_put_int(struct ang_buf *b, uint32_t number, int64_t v) {
    ang_wire_put_uint(b, number, (uint64_t)v);
}

static void put_fixed(struct ang_buf *b, uint64_t v, unsigned n) {
    uint8_t *p = ang_buf_reserve(b, n);

    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
    b->n += n;
}

void ang_wire_put_fixed32(struct ang_buf *b, uint32_t number, uint32_t v) {
    ang_wire_put_tag(b, number, ANG_WIRE_FIXED32);
    put_fixed(b, v, 4);
}

void ang_wire_put_fixed64(struct ang_buf *b, uint32_t number, uint64_t v) {
    ang_wire_put_tag(b, number, ANG_WIRE_FIXED64);
    put_fixed(b, v, 8);
}

void ang_wire_put_header(struct ang_buf *b, uint32_t number, size_t n) {
    ang_wire_put_tag(b, number, ANG_WIRE_BYTES);
    ang_wire_put_varint(b, n);
}

void ang_wire_put_bytes(struct ang_buf *b, uint32_t number, struct ang_slice s) {
    ang_wire_put_header(b, number, s.n);
    ang_buf_add_slice(b, s);
}

void ang_wire_put_str(struct ang_buf *b, uint32_t number, const char *s) {
    ang_wire_put_bytes(b, number, ang_slice_str(s));
}

static size_t timestamp_len(int64_t seconds, int32_t nanos) {
    return ((seconds == 0 ? 0 : ang_wire_len_uint(1, (uint64_t)seconds)) +
            (nanos == 0 ? 0 : ang_wire_len_uint(2, (uint64_t)(int64_t)nanos)));
}

size_t ang_wire_len_timestamp(uint32_t number, int64_t seconds, int32_t nanos) {
    return (ang_wire_len_bytes(number, timestamp_len(seconds, nanos)));
}

void ang_wire_put_timestamp(struct ang_buf *b, uint32_t number, int64_t seconds, int32_t nanos) {
    ang_wire_put_header(b, number, timestamp_len(seconds, nanos));
    if (seconds != 0)
        ang_wire_put_int(b, 1, seconds);
    if (nanos != 0)
        ang_wire_put_int(b, 2, nanos);
}

void ang_wire_put_any(struct ang_buf *b, uint32_t number, struct ang_slice type_url, struct ang_slice value) {
    size_t n = 0;

    if (type_url.n > 0)
        n += ang_wire_len_bytes(1, type_url.n);
    if (value.n > 0)
        n += ang_wire_len_bytes(2, value.n);
    ang_wire_put_header(b, number, n);
    if (type_url.n > 0)
        ang_wire_put_bytes(b, 1, type_url);
    if (value.n > 0)
        ang_wire_put_bytes(b, 2, value);
}
