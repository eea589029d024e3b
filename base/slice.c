#include "base/slice.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- allocation ---- */

void *ang_malloc(size_t n) {
    void *p = malloc(n == 0 ? 1 : n);

    AN(p);
    return (p);
}

void *ang_calloc(size_t n, size_t size) {
    void *p = calloc(n == 0 ? 1 : n, size == 0 ? 1 : size);

    AN(p);
    return (p);
}

void *ang_realloc(void *p, size_t n) {
    p = realloc(p, n == 0 ? 1 : n);
    AN(p);
    return (p);
}

char *ang_strdup(const char *s) {
    char *copy = strdup(s);

    AN(copy);
    return (copy);
}

char *ang_sprintf(const char *fmt, ...) {
    va_list ap;
    char *s;

    va_start(ap, fmt);
    ANG_ASSERT(vasprintf(&s, fmt, ap) >= 0);
    va_end(ap);
    return (s);
}

/* ---- slices ---- */

char *ang_slice_dup_str(struct ang_slice s) {
    char *copy = ang_malloc(s.n + 1);

    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return (copy);
}

bool ang_slice_to_u64(struct ang_slice s, uint64_t *ret_v) {
    uint64_t v = 0;

    /* 19 digits always fit, so the loop needs no overflow check. */
    if (s.n == 0 || s.n > 19)
        return (false);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return (false);
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *ret_v = v;
    return (true);
}

/* ---- growing buffer ---- */

void ang_buf_fini(struct ang_buf *b) {
    free(b->p);
    *b = (struct ang_buf){NULL, 0, 0};
}

void ang_buf_clear(struct ang_buf *b) {
    b->n = 0;
}

uint8_t *ang_buf_reserve(struct ang_buf *b, size_t n) {
    if (n > b->cap - b->n) {
        size_t cap = b->cap < 64 ? 64 : b->cap;

        ANG_ASSERT(n <= SIZE_MAX / 2 - b->n);
        while (cap < b->n + n)
            cap *= 2;
        b->p = ang_realloc(b->p, cap);
        b->cap = cap;
    }
    return (b->p + b->n);
}

void ang_buf_add(struct ang_buf *b, const void *p, size_t n) {
    if (n == 0)
        return;
    memcpy(ang_buf_reserve(b, n), p, n);
    b->n += n;
}

void ang_buf_add_slice(struct ang_buf *b, struct ang_slice s) {
    ang_buf_add(b, s.p, s.n);
}

void ang_buf_add_str(struct ang_buf *b, const char *s) {
    ang_buf_add(b, s, strlen(s));
}

void ang_buf_add_u8(struct ang_buf *b, uint8_t v) {
    *ang_buf_reserve(b, 1) = v;
    b->n++;
}

void ang_buf_addf(struct ang_buf *b, const char *fmt, ...) {
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ANG_ASSERT(n >= 0);
    /* vsnprintf writes a NUL that does not count. */
    vsnprintf((char *)ang_buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    va_end(again);
    b->n += (size_t)n;
}

/* ---- shared immutable bytes ---- */

struct ang_blob {
    unsigned magic;
#define ANG_BLOB_MAGIC 0x0b10b5e1
    atomic_uint refs;
    size_t n;
    uint8_t bytes[];
};

struct ang_blob *ang_blob_new(size_t n) {
    struct ang_blob *b;

    ANG_ASSERT(n <= SIZE_MAX / 2);
    b = ang_malloc(sizeof(*b) + n);
    b->magic = ANG_BLOB_MAGIC;
    atomic_init(&b->refs, 1);
    b->n = n;
    return (b);
}

struct ang_blob *ang_blob_copy(struct ang_slice s) {
    struct ang_blob *b = ang_blob_new(s.n);

    if (s.n > 0)
        memcpy(b->bytes, s.p, s.n);
    return (b);
}

struct ang_blob *ang_blob_ref(struct ang_blob *b) {
    ANG_CHECK(b, ANG_BLOB_MAGIC);
    /* Relaxed: who takes a reference already holds one, so nothing needs to be made visible. */
    ANG_ASSERT(atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed) > 0);
    return (b);
}

void ang_blob_unref(struct ang_blob *b) {
    unsigned before;

    if (b == NULL)
        return;
    ANG_CHECK(b, ANG_BLOB_MAGIC);
    /* Release what this thread read; acquire so that the one who frees comes after all of them. */
    before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    ANG_ASSERT(before > 0);
    if (before == 1) {
        b->magic = 0;
        free(b);
    }
}

uint8_t *ang_blob_bytes(struct ang_blob *b) {
    ANG_CHECK(b, ANG_BLOB_MAGIC);
    return (b->bytes);
}

struct ang_slice ang_blob_slice(const struct ang_blob *b) {
    ANG_CHECK(b, ANG_BLOB_MAGIC);
    return (ang_slice_of(b->bytes, b->n));
}
