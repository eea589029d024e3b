#include "eventlog/embedded/keymap.h"

#include <stdlib.h>

#define KEEP 4096 /* slots kept between groups */

void ang_emb_keymap_fini(struct ang_emb_keymap *m) {
    free(m->slots);
    *m = (struct ang_emb_keymap){0};
}

void ang_emb_keymap_clear(struct ang_emb_keymap *m) {
    if (m->cap > KEEP)
        ang_emb_keymap_fini(m);
    else if (m->n > 0)
        memset(m->slots, 0, m->cap * sizeof *m->slots);
    m->n = 0;
}

/* FNV-1a */
static uint64_t hash_of(const struct ang_emb_part *part, struct ang_slice key) {
    uint64_t h = 14695981039346656037ull ^ (uint64_t)(uintptr_t)part;

    for (size_t i = 0; i < key.n; i++)
        h = (h ^ key.p[i]) * 1099511628211ull;
    return (h ^ h >> 32);
}

/* The slot of the key, or the free one where it belongs. */
static struct ang_emb_keymap_slot *find(struct ang_emb_keymap *m, const struct ang_emb_part *part, struct ang_slice key,
                                        uint64_t h) {
    for (size_t i = h & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct ang_emb_keymap_slot *s = &m->slots[i];

        if (s->part == NULL || (s->hash == h && s->part == part && ang_slice_eq(s->key, key)))
            return (s);
    }
}

static void grow(struct ang_emb_keymap *m) {
    struct ang_emb_keymap old = *m;

    m->cap = old.cap == 0 ? 64 : old.cap * 2;
    m->slots = ang_calloc(m->cap, sizeof *m->slots);
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].part != NULL)
            *find(m, old.slots[i].part, old.slots[i].key, old.slots[i].hash) = old.slots[i];
    free(old.slots);
}

int64_t ang_emb_keymap_swap(struct ang_emb_keymap *m, const struct ang_emb_part *part, struct ang_slice key,
                            int64_t offset) {
    uint64_t h = hash_of(part, key);
    struct ang_emb_keymap_slot *s;
    int64_t before = -1;

    if (m->n * 2 >= m->cap)
        grow(m);
    s = find(m, part, key, h);
    if (s->part != NULL)
        before = s->offset;
    else
        m->n++;
    *s = (struct ang_emb_keymap_slot){part, key, h, offset};
    return (before);
}
