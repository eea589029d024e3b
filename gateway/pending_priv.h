/* Inside the pending table: its keys and its heap (pending_table.c), and what is done with them (pending.c). */
#ifndef ANG_PENDING_PRIV_H
#define ANG_PENDING_PRIV_H

#include "gateway/pending.h"

struct ang_pending_key {
    unsigned magic;
#define ANG_PENDING_KEY_MAGIC 0xca110002
    uint64_t hash;
    struct ang_pending_key *next; /* in the bucket */
    struct ang_call *calls;
    const struct ang_domain *domain;
    size_t counter; /* index of the domain's */
    int32_t partition;
    uint32_t last_attempt;
    uint32_t answered; /* bit n: attempt n + 1 */
    int64_t kept_until_ms;
    struct ang_pending_key *kept_next;
    bool client_id, kept;
    uint8_t edition_n, command_id_n;
    uint8_t root[16];
    uint8_t text[]; /* edition, command id */
};

struct ang_pending_counter {
    const struct ang_domain *domain;
    size_t calls;
};

#define ANG_PENDING_SWEEP_MS 1000 /* between two looks at the kept keys */

struct ang_pending {
    unsigned magic;
#define ANG_PENDING_MAGIC 0xca110003
    struct ang_pending_conf conf;
    struct ang_pending_key **buckets;
    size_t n_buckets, n_keys; /* n_buckets: a power of two */
    struct ang_call **heap;
    size_t n_calls, heap_cap;
    struct ang_pending_counter *counters;
    size_t n_counters;
    struct ang_pending_key *kept;
    int64_t sweep_ms;
    uint64_t random;
};

/* The heap of calls by at_ms; heap[0] is the first. */
void ang_pending_heap_add(struct ang_pending *p, struct ang_call *call);
void ang_pending_heap_remove(struct ang_pending *p, struct ang_call *call);
void ang_pending_heap_move(struct ang_pending *p, struct ang_call *call); /* its at_ms has changed */
void ang_pending_heap_rebuild(struct ang_pending *p);                     /* any at_ms may have changed */

struct ang_pending_key *ang_pending_key_find(const struct ang_pending *p, const struct ang_pending_id *id);
/* Found or made. */
struct ang_pending_key *ang_pending_key_get(struct ang_pending *p, const struct ang_pending_id *id);
/* A call has left the key: it goes, too, when it was the last, unless it must be kept. */
void ang_pending_key_release(struct ang_pending *p, struct ang_pending_key *k, int64_t now_ms);
/* Kept keys whose time is over go. */
void ang_pending_sweep(struct ang_pending *p, int64_t now_ms);
struct ang_slice ang_pending_key_edition(const struct ang_pending_key *k);
struct ang_slice ang_pending_key_command_id(const struct ang_pending_key *k);

#endif
