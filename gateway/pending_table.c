/* The keys of the pending table, hashed, and the heap of its calls by when something is due for them.
 *
 * A key normally goes with its last call.  When its id was chosen by the client and copies of it have not been answered, it stays
 * until they have expired: were the attempts counted from 1 again, a late refusal of an old copy would end a new call. */
#include <stdlib.h>

#include "gateway/pending_priv.h"

/* ---- heap ---- */

static void heap_set(struct ang_pending *p, size_t i, struct ang_call *call) {
    p->heap[i] = call;
    call->slot = (uint32_t)i + 1;
}

static void heap_up(struct ang_pending *p, size_t i) {
    struct ang_call *call = p->heap[i];

    while (i > 0 && p->heap[(i - 1) / 2]->at_ms > call->at_ms) {
        heap_set(p, i, p->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_set(p, i, call);
}

static void heap_down(struct ang_pending *p, size_t i) {
    struct ang_call *call = p->heap[i];
    size_t child;

    while ((child = 2 * i + 1) < p->n_calls) {
        if (child + 1 < p->n_calls && p->heap[child + 1]->at_ms < p->heap[child]->at_ms)
            child++;
        if (p->heap[child]->at_ms >= call->at_ms)
            break;
        heap_set(p, i, p->heap[child]);
        i = child;
    }
    heap_set(p, i, call);
}

void ang_pending_heap_add(struct ang_pending *p, struct ang_call *call) {
    if (p->n_calls == p->heap_cap) {
        p->heap_cap = p->heap_cap == 0 ? 256 : p->heap_cap * 2;
        p->heap = ang_realloc(p->heap, p->heap_cap * sizeof(struct ang_call *));
    }
    heap_set(p, p->n_calls++, call);
    heap_up(p, p->n_calls - 1);
}

void ang_pending_heap_remove(struct ang_pending *p, struct ang_call *call) {
    const size_t i = call->slot - 1;
    struct ang_call *last = p->heap[--p->n_calls];

    ANG_DIAG(p->heap[i] == call || last == call);
    call->slot = 0;
    if (last == call)
        return;
    heap_set(p, i, last);
    heap_up(p, i);
    heap_down(p, last->slot - 1);
}

void ang_pending_heap_move(struct ang_pending *p, struct ang_call *call) {
    heap_up(p, call->slot - 1);
    heap_down(p, call->slot - 1);
}

void ang_pending_heap_rebuild(struct ang_pending *p) {
    size_t i;

    for (i = p->n_calls / 2; i-- > 0;)
        heap_down(p, i);
}

/* ---- keys ---- */

static uint64_t mix(uint64_t h, const uint8_t *p, size_t n) {
    uint64_t v;

    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&v, p, 8);
        h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
        h ^= h >> 29;
    }
    for (v = n; n > 0; n--)
        v = v << 8 | p[n - 1];
    h = (h ^ v) * 0xbf58476d1ce4e5b9ULL;
    return (h ^ (h >> 32));
}

/* Seeded: roots and command ids come from clients, who must not be able to choose a bucket. */
static uint64_t hash_of(const struct ang_pending *p, const struct ang_pending_id *id) {
    uint64_t h = mix(p->conf.seed, id->root, 16);

    h = mix(h, id->edition.p, id->edition.n);
    return (mix(h, id->command_id.p, id->command_id.n));
}

struct ang_slice ang_pending_key_edition(const struct ang_pending_key *k) {
    return (ang_slice_of(k->text, k->edition_n));
}

struct ang_slice ang_pending_key_command_id(const struct ang_pending_key *k) {
    return (ang_slice_of(k->text + k->edition_n, k->command_id_n));
}

static struct ang_pending_key *find(const struct ang_pending *p, const struct ang_pending_id *id, uint64_t hash) {
    struct ang_pending_key *k;

    for (k = p->buckets[hash & (p->n_buckets - 1)]; k != NULL; k = k->next)
        if (k->hash == hash && k->domain == id->domain && memcmp(k->root, id->root, 16) == 0 &&
            ang_slice_eq(ang_pending_key_command_id(k), id->command_id) &&
            ang_slice_eq(ang_pending_key_edition(k), id->edition))
            return (k);
    return (NULL);
}

struct ang_pending_key *ang_pending_key_find(const struct ang_pending *p, const struct ang_pending_id *id) {
    return (find(p, id, hash_of(p, id)));
}

static void grow(struct ang_pending *p) {
    const size_t n = p->n_buckets * 2;
    struct ang_pending_key **buckets = ang_calloc(n, sizeof(struct ang_pending_key *));
    struct ang_pending_key *k;
    size_t i;

    for (i = 0; i < p->n_buckets; i++)
        while ((k = p->buckets[i]) != NULL) {
            p->buckets[i] = k->next;
            k->next = buckets[k->hash & (n - 1)];
            buckets[k->hash & (n - 1)] = k;
        }
    free(p->buckets);
    p->buckets = buckets;
    p->n_buckets = n;
}

static size_t counter_of(struct ang_pending *p, const struct ang_domain *domain) {
    size_t i;

    for (i = 0; i < p->n_counters; i++)
        if (p->counters[i].domain == domain)
            return (i);
    p->counters = ang_realloc(p->counters, (i + 1) * sizeof *p->counters);
    p->counters[i] = (struct ang_pending_counter){.domain = domain, .calls = 0};
    p->n_counters++;
    return (i);
}

static struct ang_pending_key *key_add(struct ang_pending *p, const struct ang_pending_id *id, uint64_t hash) {
    struct ang_pending_key *k = ang_calloc(1, sizeof *k + id->edition.n + id->command_id.n);

    ANG_ASSERT(id->edition.n <= UINT8_MAX && id->command_id.n <= UINT8_MAX);
    if (p->n_keys >= p->n_buckets)
        grow(p);
    k->magic = ANG_PENDING_KEY_MAGIC;
    k->hash = hash;
    k->domain = id->domain;
    k->counter = counter_of(p, id->domain);
    k->partition = ang_partition_of_root(id->root, id->domain->partitions);
    memcpy(k->root, id->root, 16);
    k->edition_n = (uint8_t)id->edition.n;
    k->command_id_n = (uint8_t)id->command_id.n;
    if (id->edition.n > 0)
        memcpy(k->text, id->edition.p, id->edition.n);
    memcpy(k->text + id->edition.n, id->command_id.p, id->command_id.n);
    k->next = p->buckets[hash & (p->n_buckets - 1)];
    p->buckets[hash & (p->n_buckets - 1)] = k;
    p->n_keys++;
    return (k);
}

struct ang_pending_key *ang_pending_key_get(struct ang_pending *p, const struct ang_pending_id *id) {
    const uint64_t hash = hash_of(p, id);
    struct ang_pending_key *k = find(p, id, hash);

    return (k != NULL ? k : key_add(p, id, hash));
}

static void key_remove(struct ang_pending *p, struct ang_pending_key *k) {
    struct ang_pending_key **at = &p->buckets[k->hash & (p->n_buckets - 1)];

    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    p->n_keys--;
    k->magic = 0;
    free(k);
}

/* A copy may be in the log whose answer has not come. */
static bool open_copies(const struct ang_pending_key *k) {
    if (k->last_attempt == 0)
        return (false);
    return (k->last_attempt > 32 || k->answered != UINT32_MAX >> (32 - k->last_attempt));
}

void ang_pending_key_release(struct ang_pending *p, struct ang_pending_key *k, int64_t now_ms) {
    if (k->calls != NULL || k->kept)
        return;
    if (!k->client_id || !open_copies(k) || now_ms >= k->kept_until_ms) {
        key_remove(p, k);
        return;
    }
    if (p->kept == NULL)
        p->sweep_ms = now_ms + ANG_PENDING_SWEEP_MS;
    k->kept = true;
    k->kept_next = p->kept;
    p->kept = k;
}

void ang_pending_sweep(struct ang_pending *p, int64_t now_ms) {
    struct ang_pending_key **at = &p->kept, *k;

    while ((k = *at) != NULL) {
        if (k->calls == NULL && open_copies(k) && now_ms < k->kept_until_ms) {
            at = &k->kept_next;
            continue;
        }
        *at = k->kept_next;
        k->kept = false;
        if (k->calls == NULL)
            key_remove(p, k);
    }
}
