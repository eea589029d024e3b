#include "statestore/key.h"

#include <stdlib.h>

/* length: one byte, or LONG_TEXT and four */
#define LONG_TEXT 0xff

void ang_key_init(struct ang_key *k, enum ang_kind kind) {
    k->p = k->small;
    k->cap = sizeof(k->small);
    k->p[0] = (uint8_t)kind;
    k->n = 1;
}

void ang_key_init_root(struct ang_key *k, enum ang_kind kind, const struct ang_root *root) {
    ang_key_init(k, kind);
    ang_key_add_root(k, root);
}

void ang_key_init_book(struct ang_key *k, const struct ang_root *root, uint32_t first) {
    ang_key_init_root(k, ANG_KIND_BOOK, root);
    ang_key_add_u32(k, first);
}

void ang_key_init_correlation(struct ang_key *k, struct ang_slice correlation_id) {
    ang_key_init(k, ANG_KIND_CORRELATION);
    ang_key_add_text(k, correlation_id);
}

void ang_key_fini(struct ang_key *k) {
    if (k->p != k->small)
        free(k->p);
    k->p = NULL;
    k->n = k->cap = 0;
}

void ang_key_add(struct ang_key *k, struct ang_slice s) {
    if (s.n == 0)
        return;
    if (k->n + s.n > k->cap) {
        size_t cap = 2 * (k->n + s.n);
        uint8_t *p = ang_malloc(cap);
        memcpy(p, k->p, k->n);
        if (k->p != k->small)
            free(k->p);
        k->p = p;
        k->cap = cap;
    }
    memcpy(k->p + k->n, s.p, s.n);
    k->n += s.n;
}

static size_t put_length(uint8_t out[5], size_t n) {
    if (n < LONG_TEXT) {
        out[0] = (uint8_t)n;
        return (1);
    }
    AN(n <= UINT32_MAX);
    out[0] = LONG_TEXT;
    ang_put_be32(out + 1, (uint32_t)n);
    return (5);
}

void ang_key_add_text(struct ang_key *k, struct ang_slice s) {
    uint8_t length[5];

    ang_key_add(k, ang_slice_of(length, put_length(length, s.n)));
    ang_key_add(k, s);
}

void ang_key_add_root(struct ang_key *k, const struct ang_root *root) {
    ang_key_add(k, ang_slice_of(root->id, sizeof(root->id)));
    ang_key_add_text(k, root->edition);
}

void ang_key_add_u32(struct ang_key *k, uint32_t v) {
    uint8_t be[4];

    ang_put_be32(be, v);
    ang_key_add(k, ang_slice_of(be, sizeof(be)));
}

void ang_key_add_end(struct ang_key *k) {
    static const uint8_t end[24] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    /* Longer than the longest run of 0xff a row can have there: root (16), long length (5), and one more. */
    ang_key_add(k, ang_slice_of(end, sizeof(end)));
}

static bool take(struct ang_slice *s, size_t n, struct ang_slice *ret_part) {
    if (s->n < n)
        return (false);
    *ret_part = ang_slice_of(s->p, n);
    s->p += n;
    s->n -= n;
    return (true);
}

bool ang_take_u32(struct ang_slice *s, uint32_t *ret_v) {
    struct ang_slice part;

    if (!take(s, 4, &part))
        return (false);
    *ret_v = ang_get_be32(part.p);
    return (true);
}

bool ang_take_i64(struct ang_slice *s, int64_t *ret_v) {
    struct ang_slice part;

    if (!take(s, 8, &part))
        return (false);
    *ret_v = (int64_t)ang_get_be64(part.p);
    return (true);
}

bool ang_take_text(struct ang_slice *s, struct ang_slice *ret_text) {
    struct ang_slice part;
    uint32_t n;

    if (!take(s, 1, &part))
        return (false);
    n = part.p[0];
    if (n == LONG_TEXT && !ang_take_u32(s, &n))
        return (false);
    return (take(s, n, ret_text));
}

bool ang_take_root(struct ang_slice *s, struct ang_root *ret_root) {
    struct ang_slice id;

    if (!take(s, sizeof(ret_root->id), &id))
        return (false);
    memcpy(ret_root->id, id.p, sizeof(ret_root->id));
    return (ang_take_text(s, &ret_root->edition));
}

bool ang_take_book(struct ang_slice value, struct ang_store_book *ret_book, struct ang_slice *ret_correlation) {
    if (!ang_take_i64(&value, &ret_book->time_ms) || !ang_take_u32(&value, &ret_book->pages) ||
        !ang_take_text(&value, ret_correlation))
        return (false);
    ret_book->book = value;
    return (true);
}

void ang_add_u32(struct ang_buf *b, uint32_t v) {
    uint8_t be[4];

    ang_put_be32(be, v);
    ang_buf_add(b, be, sizeof(be));
}

void ang_add_i64(struct ang_buf *b, int64_t v) {
    uint8_t be[8];

    ang_put_be64(be, (uint64_t)v);
    ang_buf_add(b, be, sizeof(be));
}

void ang_add_text(struct ang_buf *b, struct ang_slice s) {
    uint8_t length[5];

    ang_buf_add(b, length, put_length(length, s.n));
    ang_buf_add_slice(b, s);
}
