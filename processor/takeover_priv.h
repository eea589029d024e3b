/* What the files of a takeover share: takeover.c (the thread and its jobs), takeover_steps.c (one attempt, in the order of lane.md) and
 * takeover_aside.c (partitions that cannot be written).  All of it is the takeover's thread, but for what lane_priv.h has. */
#ifndef ANG_TAKEOVER_PRIV_H
#define ANG_TAKEOVER_PRIV_H

#include "processor/lane_priv.h"

#define TAKEOVER_STEP_MS 15000 /* what a step may take that asks the log */
/* An entry that an earlier owner wrote late comes soon after the takeover, if at all. */
#define TAKEOVER_AUDIT_MS 5000

struct takeover {
    unsigned magic;
#define TAKEOVER_MAGIC 0x7a3e0e01
    struct lane *lane;
    struct ang_opq q;
    pthread_t thread;
    int32_t *serving; /* [partition]: generation under which we serve it, 0: we do not */
    int64_t audit_ms; /* monotonic: when to look whether `owners` still says so */
    STAILQ_HEAD(, watch) watches; /* partitions that cannot be written; takeover_aside.c */
    _Atomic bool stop;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

struct job {
    struct ang_op op;
    struct takeover *t;
    struct take *takes;
    size_t n;
    struct ang_err *er;
};

/* It is still ours to take. */
static inline bool takeover_current(const struct takeover *t, const struct take *k) {
    return (t->lane->parts[k->partition].epoch == k->epoch);
}

void takeover_prune(struct takeover *t, struct job *j); /* leaves only what is still ours to take */

/* ---- takeover_steps.c ---- */
/* From the stores to `serving` in owners, for all of j; what goes elsewhere meanwhile is taken out of it. */
struct ang_err *takeover_attempt(struct takeover *t, struct job *j) ANG_MUST_USE;

/* ---- takeover_aside.c ---- */
/* What cannot be written is taken out of j, and looked at until it can. */
void takeover_set_apart(struct takeover *t, struct job *j);
int64_t takeover_next_look(const struct takeover *t); /* monotonic; ANG_NEVER: nothing is looked at */
void takeover_look(struct takeover *t);               /* at all that are due */
void takeover_look_no_more(struct takeover *t);

#endif
