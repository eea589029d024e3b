/* Borrowed bytes, growing buffers, and reference-counted immutable bytes.
 *
 * struct ang_slice  a pointer and a length; borrows; never freed.
 * struct ang_buf    growing bytes, owned by whoever initialised it; small allocations abort on failure.
 * struct ang_blob   immutable bytes with a reference count; free to share between threads. */
#ifndef ANG_SLICE_H
#define ANG_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

struct ang_slice {
    const uint8_t *p; /* NULL only with n == 0 */
    size_t n;
};

#define ANG_SLICE_NONE ((struct ang_slice){NULL, 0})

static inline struct ang_slice ang_slice_of(const void *p, size_t n) {
    return ((struct ang_slice){p, n});
}
static inline struct ang_slice ang_slice_str(const char *s) {
    return ((struct ang_slice){(const uint8_t *)s, s == NULL ? 0 : strlen(s)});
}
static inline bool ang_slice_eq(struct ang_slice a, struct ang_slice b) {
    return (a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0));
}
static inline bool ang_slice_is(struct ang_slice a, const char *s) {
    return (ang_slice_eq(a, ang_slice_str(s)));
}
/* A NUL-terminated copy; the caller frees it. */
char *ang_slice_dup_str(struct ang_slice s);
/* Decimal digits only, at most 19 of them, no sign; false for anything else.  ret_v written only on true. */
bool ang_slice_to_u64(struct ang_slice s, uint64_t *ret_v);

/* ---- allocation: abort when there is no memory ---- */
void *ang_malloc(size_t n);
void *ang_calloc(size_t n, size_t size);
void *ang_realloc(void *p, size_t n);
char *ang_strdup(const char *s);
char *ang_sprintf(const char *fmt, ...) ANG_PRINTF(1, 2); /* the caller frees it */
#define ANG_NEW(type) ((type *)ang_calloc(1, sizeof(type)))

/* ---- growing buffer ---- */
struct ang_buf {
    uint8_t *p;
    size_t n, cap;
};
void ang_buf_fini(struct ang_buf *b); /* leaves an empty buffer behind */
void ang_buf_clear(struct ang_buf *b); /* keeps the memory */
/* Room for n more bytes; returns where they start.  The bytes count only once b->n has been raised. */
uint8_t *ang_buf_reserve(struct ang_buf *b, size_t n);
void ang_buf_add(struct ang_buf *b, const void *p, size_t n);
void ang_buf_add_slice(struct ang_buf *b, struct ang_slice s);
void ang_buf_add_str(struct ang_buf *b, const char *s);
void ang_buf_add_u8(struct ang_buf *b, uint8_t v);
void ang_buf_addf(struct ang_buf *b, const char *fmt, ...) ANG_PRINTF(2, 3);
static inline struct ang_slice ang_buf_slice(const struct ang_buf *b) {
    return ((struct ang_slice){b->p, b->n});
}

/* ---- shared immutable bytes ---- */
struct ang_blob; /* opaque header in front of the bytes */
struct ang_blob *ang_blob_new(size_t n); /* bytes undefined: fill them through ang_blob_bytes before sharing */
struct ang_blob *ang_blob_copy(struct ang_slice s);
struct ang_blob *ang_blob_ref(struct ang_blob *b); /* returns b */
void ang_blob_unref(struct ang_blob *b); /* accepts NULL */
uint8_t *ang_blob_bytes(struct ang_blob *b);
struct ang_slice ang_blob_slice(const struct ang_blob *b);

/* ---- big-endian integers, as keys need them ---- */
static inline void ang_put_be32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
static inline uint32_t ang_get_be32(const uint8_t *p) {
    return ((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]);
}
static inline void ang_put_be64(uint8_t *p, uint64_t v) {
    ang_put_be32(p, (uint32_t)(v >> 32));
    ang_put_be32(p + 4, (uint32_t)v);
}
static inline uint64_t ang_get_be64(const uint8_t *p) {
    return ((uint64_t)ang_get_be32(p) << 32 | ang_get_be32(p + 4));
}

#endif
