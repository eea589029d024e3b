/* What a lane says in the `owners` topic, and what it does about what others said there (lane.md L16, L22).
 *
 * No promise rests on it: routing and speed do.  A dead owner's open transaction holds back every reader of the partition until it
 * times out, so it is fenced; a living one is not, and gets time to release.  An entry that an older owner wrote over ours, late,
 * would be what compaction leaves: it is written again. */
#include "processor/lane_priv.h"

#include <stdlib.h>

#define RELEASE_WAIT_MS 500
#define FENCE_MS        3000

/* ---- saying ---- */
struct saying { /* shared by who waits and by what is still to be acknowledged */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned left, refs;
    struct ang_err *er;
};

static void unref(struct saying *s) { /* locked; unlocks */
    const bool last = --s->refs == 0;

    ANG_PT(pthread_mutex_unlock(&s->lock));
    if (!last)
        return;
    ANG_PT(pthread_mutex_destroy(&s->lock));
    ANG_PT(pthread_cond_destroy(&s->cond));
    ang_err_free(&s->er);
    free(s);
}

static void said(void *arg, struct ang_err *er, int64_t offset) {
    struct saying *s = arg;

    (void)offset;
    ANG_PT(pthread_mutex_lock(&s->lock));
    if (er != NULL && s->er == NULL)
        s->er = ang_err_dup(er);
    s->left--;
    ANG_PT(pthread_cond_signal(&s->cond));
    unref(s);
}

static struct saying *saying_new(void) {
    struct saying *s = ANG_NEW(struct saying);
    pthread_condattr_t attr;

    ANG_PT(pthread_mutex_init(&s->lock, NULL));
    ANG_PT(pthread_condattr_init(&attr));
    ANG_PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    ANG_PT(pthread_cond_init(&s->cond, &attr));
    ANG_PT(pthread_condattr_destroy(&attr));
    s->refs = 1;
    return (s);
}

/* Takes the waiter's reference. */
static struct ang_err *await(struct saying *s, int wait_ms) {
    const int64_t until = ang_now_ms() + wait_ms;
    const struct timespec ts = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    struct ang_err *er = NULL;
    int rc = 0;

    ANG_PT(pthread_mutex_lock(&s->lock));
    while (s->left > 0 && rc == 0)
        rc = pthread_cond_timedwait(&s->cond, &s->lock, &ts);
    if (s->er != NULL)
        er = ang_err_dup(s->er);
    else if (s->left > 0)
        er = ang_err_new(ANG_E_TIMEOUT, "entries of the owners topic were not acknowledged within %d ms", wait_ms);
    unref(s);
    return (er);
}

static struct ang_err *say(struct lane *l, const int32_t *parts, size_t n, enum ang_owner_state state,
                           int32_t generation, uint32_t percent, int wait_ms) {
    const struct ang_worker_conf *wc = worker_conf(l->worker);
    const char *ids[2] = {l->txn_id[0], l->txn_id[1]};
    const struct ang_owner o = {.state = state,
                                .endpoint = wc->endpoint,
                                .worker = worker_id(l->worker),
                                .generation = generation,
                                .start_ms = worker_started_ms(l->worker),
                                .percent = percent};
    struct saying *s = saying_new();
    struct ang_err *er = NULL, *more;
    size_t i;

    for (i = 0; er == NULL && i < n; i++) {
        ANG_PT(pthread_mutex_lock(&s->lock));
        s->left++;
        s->refs++;
        ANG_PT(pthread_mutex_unlock(&s->lock));
        er = ang_owners_publish(l->log, wc->topology, l->domain->group, parts[i], &o, ids, 2, said, s);
        if (er != NULL) { /* then said never runs */
            ANG_PT(pthread_mutex_lock(&s->lock));
            s->left--;
            unref(s);
        }
    }
    more = await(s, wait_ms);
    if (er == NULL)
        return (more);
    ang_err_free(&more);
    return (er);
}

struct ang_err *owning_say(struct lane *l, const int32_t *parts, size_t n, enum ang_owner_state state,
                           int32_t generation, int wait_ms) {
    return (say(l, parts, n, state, generation, 0, wait_ms));
}

void owning_progress(struct lane *l, const struct take *takes, size_t n, uint32_t percent) {
    int32_t *parts = ang_calloc(n + 1, sizeof *parts);
    struct ang_err *er;
    size_t i, k = 0;

    for (i = 0; i < n; i++)
        if (l->parts[takes[i].partition].epoch == takes[i].epoch) {
            l->parts[takes[i].partition].claimed = true;
            parts[k++] = takes[i].partition;
        }
    er = say(l, parts, k, ANG_OWNER_RESTORING, l->generation, percent, 0);
    ang_err_free(&er); /* for people who look: whether it is acknowledged does not matter */
    free(parts);
}

/* ---- fencing ---- */

/* The partition was held by somebody older who has not let go of it. */
static bool held(const struct lane *l, const struct ang_owner *o, int32_t generation) {
    return ((o->state == ANG_OWNER_SERVING || o->state == ANG_OWNER_RESTORING) && o->generation < generation &&
            strcmp(o->worker, worker_id(l->worker)) != 0);
}

static bool any_held(const struct lane *l, const struct ang_owners *os, const struct take *takes, size_t n,
                     int32_t generation) {
    size_t i;

    for (i = 0; i < n; i++) {
        const struct ang_owner o = ang_owners_get(os, l->domain->group, takes[i].partition);

        if (held(l, &o, generation))
            return (true);
    }
    return (false);
}

static void fence(struct lane *l, const char *id, const struct ang_owner *o, int32_t partition) {
    const int64_t began = ang_now_ms();
    struct ang_err *er = ang_log_fence(l->log, id, FENCE_MS);

    ang_counter_add(l->meters.fences[er == NULL ? FENCE_DONE : FENCE_FAILED], 1);
    if (er == NULL) {
        ANG_LOG(ANG_LOG_WARN, "FENCED-OWNER", "an owner that has not released its partitions can commit no more",
                "domain", l->domain->name, "worker", o->worker, "transactional_id", id, "partition",
                ANG_F("%d", partition), "ms", ANG_F("%lld", (long long)(ang_now_ms() - began)));
        return;
    }
    /* What it left open ends by its transaction time-out; until then our positions are not stable. */
    ANG_LOG(ANG_LOG_WARN, "FENCE-FAILED",
            "the transactional id of an earlier owner could not be fenced; going on without", "domain", l->domain->name,
            "worker", o->worker, "transactional_id", id, "error", er->msg);
    ang_err_free(&er);
}

struct ang_err *owning_fence(struct lane *l, struct ang_owners *os, const struct take *takes, size_t n,
                             int32_t generation) {
    const int64_t until = ang_now_ms() + RELEASE_WAIT_MS;
    struct ang_buf fenced = {NULL, 0, 0}; /* "id\n" */
    struct ang_err *er = NULL;
    bool changed;
    size_t i, k;

    while (er == NULL && ang_now_ms() < until && any_held(l, os, takes, n, generation)) {
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
        er = ang_owners_poll(os, &changed);
    }
    for (i = 0; er == NULL && i < n; i++) {
        const struct ang_owner o = ang_owners_get(os, l->domain->group, takes[i].partition);

        for (k = 0; held(l, &o, generation) && k < o.n_txn_ids; k++) {
            char *line = ang_sprintf("\n%s\n", o.txn_ids[k]);

            if (fenced.n == 0 || memmem(fenced.p, fenced.n, line, strlen(line)) == NULL) {
                fence(l, o.txn_ids[k], &o, takes[i].partition);
                ang_buf_add(&fenced, line, strlen(line));
            }
            free(line);
        }
    }
    ang_buf_fini(&fenced);
    return (er);
}

/* ---- looking again ---- */
struct ang_err *owning_audit(struct lane *l, struct ang_owners *os, const int32_t *generations) {
    struct ang_err *er = NULL;
    int32_t p;

    for (p = 0; er == NULL && p < l->domain->partitions; p++) {
        const struct ang_owner o = ang_owners_get(os, l->domain->group, p);
        const bool ours = strcmp(o.worker, worker_id(l->worker)) == 0 && o.start_ms == worker_started_ms(l->worker);

        if (generations[p] == 0 || o.generation > generations[p] || (ours && o.state == ANG_OWNER_SERVING && !o.hidden))
            continue;
        ANG_LOG(ANG_LOG_WARN, "OWNER-REASSERTED", "an older entry was written over ours in the owners topic", "domain",
                l->domain->name, "partition", ANG_F("%d", p), "by", o.hidden ? "(an older owner)" : o.worker);
        er = owning_say(l, &p, 1, ANG_OWNER_SERVING, generations[p], 5000);
    }
    return (er);
}
