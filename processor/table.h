/* A small intrusive hash table: the node stands in the element, the table owns nothing.  One thread. */
#ifndef ANG_TABLE_H
#define ANG_TABLE_H

#include <stdlib.h>

#include "base/base.h"

struct ang_node {
    struct ang_node *next;
    uint64_t hash;
};

struct ang_table {
    struct ang_node **buckets;
    size_t mask, n; /* buckets: 0 or a power of two, mask + 1 */
};

static inline uint64_t ang_hash(uint64_t seed, const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    uint64_t h = seed ^ 0xcbf29ce484222325ULL;

    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;

        memcpy(&w, p, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
        h ^= h >> 29;
    }
    for (; n > 0; p++, n--)
        h = (h ^ *p) * 0x100000001b3ULL;
    return (h ^ h >> 32);
}

/* First of the elements with that hash; go on with ang_table_more. */
static inline struct ang_node *ang_table_more(struct ang_node *n, uint64_t hash) {
    while (n != NULL && n->hash != hash)
        n = n->next;
    return (n);
}
static inline struct ang_node *ang_table_first(const struct ang_table *t, uint64_t hash) {
    return (t->buckets == NULL ? NULL : ang_table_more(t->buckets[hash & t->mask], hash));
}

static inline void ang_table_grow(struct ang_table *t) {
    const size_t was = t->buckets == NULL ? 0 : t->mask + 1, size = was == 0 ? 64 : was * 2;
    struct ang_node **to = ang_calloc(size, sizeof *to);
    size_t i;

    for (i = 0; i < was; i++) {
        struct ang_node *n = t->buckets[i], *next;

        for (; n != NULL; n = next) {
            next = n->next;
            n->next = to[n->hash & (size - 1)];
            to[n->hash & (size - 1)] = n;
        }
    }
    free(t->buckets);
    t->buckets = to;
    t->mask = size - 1;
}

static inline void ang_table_add(struct ang_table *t, struct ang_node *n, uint64_t hash) {
    if (t->buckets == NULL || t->n > t->mask)
        ang_table_grow(t);
    n->hash = hash;
    n->next = t->buckets[hash & t->mask];
    t->buckets[hash & t->mask] = n;
    t->n++;
}

static inline void ang_table_remove(struct ang_table *t, struct ang_node *n) {
    struct ang_node **at = &t->buckets[n->hash & t->mask];

    while (*at != n) {
        AN(*at);
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    t->n--;
}

static inline void ang_table_fini(struct ang_table *t) {
    free(t->buckets);
    *t = (struct ang_table){NULL, 0, 0};
}

#endif
