/* The rows of a part: how keys and values are laid out.
 *
 * A key begins with one byte for its kind.  Numbers are big-endian, so that rows of one root lie in the order of their
 * sequences.  Text of any length stands behind its length, so that edition "a" is never a prefix of edition "ab":
 *
 *      b root edition first            time(8) pages(4) correlation id, EventBook        book
 *      c root edition command id       time(8) first(4) pages(4)                         what a command did
 *      d root edition command id       until(8) status                                   refusal
 *      h root edition                  next sequence(4)                                  head
 *      i                               layout and identity of the part
 *      p topic                         next offset(8) metadata                           position
 *      s root edition                  Snapshot
 *      t                               wall time(8)                                      when the part was last written
 *      x correlation root edition first   (empty)                                        index by correlation id
 *
 * root: 16 bytes; edition, correlation: length (1 byte, or 0xff and 4 bytes) and text; first: 4 bytes.
 * The first ANG_KEY_PREFIX bytes, kind and root, are what bloom filters know for scans of one root. */
#ifndef ANG_STATESTORE_KEY_H
#define ANG_STATESTORE_KEY_H

#include "statestore/statestore.h"

#define ANG_KEY_PREFIX 17
#define ANG_KEY_LAYOUT "1" /* raise it when rows change: parts written otherwise are dropped and rebuilt */

enum ang_kind {
    ANG_KIND_BOOK = 'b',
    ANG_KIND_DONE = 'c',
    ANG_KIND_REFUSAL = 'd', /* right behind 'c': pruning walks both as one range */
    ANG_KIND_HEAD = 'h',
    ANG_KIND_IDENTITY = 'i',
    ANG_KIND_POSITION = 'p',
    ANG_KIND_SNAPSHOT = 's',
    ANG_KIND_STAMP = 't',
    ANG_KIND_CORRELATION = 'x'
};

/* A key under construction.  Short ones need no allocation: reads make one per call. */
struct ang_key {
    uint8_t *p;
    size_t n, cap;
    uint8_t small[160];
};
void ang_key_init(struct ang_key *k, enum ang_kind kind);
void ang_key_init_root(struct ang_key *k, enum ang_kind kind, const struct ang_root *root);
void ang_key_init_book(struct ang_key *k, const struct ang_root *root, uint32_t first);
void ang_key_init_correlation(struct ang_key *k, struct ang_slice correlation_id); /* prefix of all rows of the id */
void ang_key_fini(struct ang_key *k);
void ang_key_add(struct ang_key *k, struct ang_slice s);
void ang_key_add_text(struct ang_key *k, struct ang_slice s); /* behind its length */
void ang_key_add_root(struct ang_key *k, const struct ang_root *root);
void ang_key_add_u32(struct ang_key *k, uint32_t v);
/* Turns a prefix that text or a sequence follows into a bound behind every row that has it. */
void ang_key_add_end(struct ang_key *k);
static inline struct ang_slice ang_key_slice(const struct ang_key *k) {
    return (ang_slice_of(k->p, k->n));
}

/* Readers: take from the front of *s; false when it is too short. */
bool ang_take_u32(struct ang_slice *s, uint32_t *ret_v);
bool ang_take_i64(struct ang_slice *s, int64_t *ret_v);
bool ang_take_text(struct ang_slice *s, struct ang_slice *ret_text);
bool ang_take_root(struct ang_slice *s, struct ang_root *ret_root);
bool ang_take_book(struct ang_slice value, struct ang_store_book *ret_book, struct ang_slice *ret_correlation);

/* Writers of values. */
void ang_add_u32(struct ang_buf *b, uint32_t v);
void ang_add_i64(struct ang_buf *b, int64_t v);
void ang_add_text(struct ang_buf *b, struct ang_slice s);

#endif
