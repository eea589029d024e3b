/* Which keys of compact topics the group under way has already written, and at which offset: the index in RocksDB does not
 * show them before the group is written. */
#ifndef ANG_EMB_KEYMAP_H
#define ANG_EMB_KEYMAP_H

#include "base/base.h"

struct ang_emb_part;

struct ang_emb_keymap_slot {
    const struct ang_emb_part *part; /* NULL: free */
    struct ang_slice key;            /* borrowed */
    uint64_t hash;
    int64_t offset;
};
struct ang_emb_keymap {
    struct ang_emb_keymap_slot *slots;
    size_t n, cap; /* cap: a power of two, or 0 */
};

void ang_emb_keymap_fini(struct ang_emb_keymap *m);
void ang_emb_keymap_clear(struct ang_emb_keymap *m);
/* Remembers the offset; returns the one that was there, or -1. */
int64_t ang_emb_keymap_swap(struct ang_emb_keymap *m, const struct ang_emb_part *part, struct ang_slice key,
                            int64_t offset);

#endif
