/* Encoded protobuf messages, field by field, without decoding what is inside.
 *
 * Reading borrows: every slice points into the message it was read from and lives as long as that.  Nothing here
 * allocates, except an error.  Reading is as strict as the strictest of the common parsers: a tag or length of more than
 * 5 bytes or beyond its range, a varint of more than 10 bytes or 64 bits, field number 0, a group, an unknown wire type
 * and a length past the end are errors.
 *
 * Writing appends to a struct ang_buf.  To copy a field as it is, append its `raw`.
 *
 * Thread-safe: no state. */
#ifndef ANG_WIRE_H
#define ANG_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

enum ang_wire_type { ANG_WIRE_VARINT = 0, ANG_WIRE_FIXED64 = 1, ANG_WIRE_BYTES = 2, ANG_WIRE_FIXED32 = 5 };

struct ang_wire_field {
    uint32_t number;
    enum ang_wire_type type;
    uint64_t value;         /* of VARINT, FIXED32, FIXED64 */
    struct ang_slice bytes; /* of BYTES: the payload, never with a NULL p */
    struct ang_slice raw;   /* the whole field with its tag */
};

/* ---- reading ---- */
struct ang_wire_iter {
    const uint8_t *p, *end;
    const char *what; /* after an error: what is wrong with the bytes at p; else NULL */
};

static inline struct ang_wire_iter ang_wire_iter_of(struct ang_slice message) {
    return ((struct ang_wire_iter){message.p, message.n == 0 ? message.p : message.p + message.n, NULL});
}
/* The next field.  False at the end and at the first error, which it->what tells apart. */
bool ang_wire_next(struct ang_wire_iter *it, struct ang_wire_field *ret_f);
/* A bare varint, as in packed fields; same results. */
bool ang_wire_next_varint(struct ang_wire_iter *it, uint64_t *ret_v);
/* The first field with that number; false when there is none before the end or the first error. */
bool ang_wire_find(struct ang_slice message, uint32_t number, struct ang_wire_field *ret_f);

/* Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.  Empty is valid. */
bool ang_utf8_ok(struct ang_slice s);
size_t ang_utf8_len(struct ang_slice s); /* how many bytes from the beginning are that */

/* What follows the last '/' of a type URL (the message's full name); the whole of it when there is no '/'. */
struct ang_slice ang_wire_type_name(struct ang_slice type_url);

/* ---- sizes ---- */
static inline size_t ang_wire_len_varint(uint64_t v) {
    return (((size_t)(63 - __builtin_clzll(v | 1)) * 9 + 73) / 64); /* ceil(bits / 7), without a loop */
}
static inline size_t ang_wire_len_tag(uint32_t number) {
    return (ang_wire_len_varint((uint64_t)number << 3));
}
/* Of a BYTES field (bytes, string, message) with n bytes of payload, tag included. */
static inline size_t ang_wire_len_bytes(uint32_t number, size_t n) {
    return (ang_wire_len_tag(number) + ang_wire_len_varint(n) + n);
}
static inline size_t ang_wire_len_uint(uint32_t number, uint64_t v) {
    return (ang_wire_len_tag(number) + ang_wire_len_varint(v));
}
size_t ang_wire_len_timestamp(uint32_t number, int64_t seconds, int32_t nanos);

/* ---- writing; a field is written also when it has the default value ---- */
void ang_wire_put_varint(struct ang_buf *b, uint64_t v);
void ang_wire_put_tag(struct ang_buf *b, uint32_t number, enum ang_wire_type type);
void ang_wire_put_uint(struct ang_buf *b, uint32_t number, uint64_t v); /* uint32, uint64, bool, enum */
void ang_wire_put_int(struct ang_buf *b, uint32_t number, int64_t v);   /* int32, int64 */
void ang_wire_put_fixed32(struct ang_buf *b, uint32_t number, uint32_t v);
void ang_wire_put_fixed64(struct ang_buf *b, uint32_t number, uint64_t v);
/* Tag and length of a BYTES field whose n bytes of payload the caller appends next. */
void ang_wire_put_header(struct ang_buf *b, uint32_t number, size_t n);
void ang_wire_put_bytes(struct ang_buf *b, uint32_t number, struct ang_slice s); /* bytes, encoded messages */
void ang_wire_put_str(struct ang_buf *b, uint32_t number, const char *s);
/* google.protobuf.Timestamp as a field. */
void ang_wire_put_timestamp(struct ang_buf *b, uint32_t number, int64_t seconds, int32_t nanos);
/* google.protobuf.Any as a field. */
void ang_wire_put_any(struct ang_buf *b, uint32_t number, struct ang_slice type_url, struct ang_slice value);

#endif
