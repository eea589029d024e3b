/* The query thread: large reads do not delay commands.
 *
 * What is asked is an op that goes round: it takes a step, and either ends, or waits for its partition to serve, for what is being
 * committed to be in the store, or for its caller to take what was sent. */
#include <stdlib.h>

#include "processor/lane_priv.h"

#define FULL_POLL_MS 3
#define WAIT_POLL_MS 100

struct queries {
    unsigned magic;
#define QUERIES_MAGIC 0x90e71e51
    struct ang_opq q;
    pthread_t thread;
    bool stop;                   /* thread */
    TAILQ_HEAD(, asked) waiting; /* for their partition */
    TAILQ_HEAD(, asked) full;    /* for their caller */
    struct ang_op look;
    _Atomic bool looking;
    _Atomic bool settling; /* some wait for a commit to be over */
};

static struct queries *queries_of(const struct asked *a) {
    return (worker_queries(a->worker));
}

/* ---- what those that are asked need ---- */

static void asked_run(struct ang_op *op, bool shutdown) {
    struct asked *a = ANG_CONTAINER(op, struct asked, op);

    ANG_CHECK(a, ASKED_MAGIC);
    if (shutdown || queries_of(a)->stop)
        a->refuse(a, ang_status_new(ANG_UNAVAILABLE, "the worker is stopping"));
    else
        a->step(a);
}

void queries_ask(struct ang_worker *w, struct asked *a) {
    ang_op_init(&a->op, asked_run);
    ang_opq_push(&worker_queries(w)->q, &a->op);
}

void queries_await_part(struct asked *a, const struct ang_domain *d, int32_t partition, enum shard_state state) {
    const bool only = worker_conf(a->worker)->endpoint[0] == '\0'; /* nobody else could serve it */

    if (state == SHARD_AWAY && !only)
        a->refuse(a, ang_status_new(ANG_UNAVAILABLE, "%s partition %d is not served here", d->name, partition));
    else if (ang_now_ms() >= a->until_ms)
        a->refuse(a, ang_status_new(ANG_UNAVAILABLE, "%s partition %d is still being taken over", d->name, partition));
    else
        TAILQ_INSERT_TAIL(&queries_of(a)->waiting, a, link);
}

void queries_await_caller(struct asked *a) {
    TAILQ_INSERT_TAIL(&queries_of(a)->full, a, link);
}

bool shard_settled(const struct shard *sh, struct asked *a) {
    struct lane *l = sh->holder;

    if (l == NULL)
        return (false);
    if (a->settle_lane != l) {
        a->settle_lane = l;
        a->settle_at = atomic_load(&l->commits_begun);
    }
    if (atomic_load(&l->commits_over) >= a->settle_at)
        return (true);
    atomic_store(&queries_of(a)->settling,
                 true); /* before the second look: whoever ends a commit looks here after it */
    return (atomic_load(&l->commits_over) >= a->settle_at);
}

void queries_commit_over(struct queries *qs) {
    if (atomic_load(&qs->settling) && atomic_exchange(&qs->settling, false))
        queries_look(qs);
}

/* The owner may still think it is one while another serves already: only until its lease is over, which is asked after the read. */
bool shard_leased(const struct shard *sh) {
    return (sh->holder != NULL && ang_boot_ms() < atomic_load(&sh->holder->lease_ms));
}

bool shard_damaged(const struct shard *sh, int32_t partition, const struct ang_err *er) {
    if (er == NULL || (er->code != ANG_E_STORE_CORRUPT && er->code != ANG_E_STORE_IO))
        return (false);
    lane_store_doubted(sh->holder, partition, er);
    return (true);
}

/* ---- the thread ---- */
static void look_run(struct ang_op *op, bool shutdown) {
    struct queries *qs = ANG_CONTAINER(op, struct queries, look);
    TAILQ_HEAD(, asked) all;
    struct asked *a;

    atomic_store(&qs->looking, false);
    TAILQ_INIT(&all);
    TAILQ_CONCAT(&all, &qs->waiting, link);
    while ((a = TAILQ_FIRST(&all)) != NULL) {
        TAILQ_REMOVE(&all, a, link);
        asked_run(&a->op, shutdown);
    }
}

void queries_look(struct queries *qs) {
    if (!atomic_exchange(&qs->looking, true)) {
        ang_op_init(&qs->look, look_run);
        ang_opq_push(&qs->q, &qs->look);
    }
}

/* Streams whose caller has read on, or has gone.  Polled: a callback on the server's thread could meet a query that just ends. */
static void go_on(struct queries *qs) {
    struct asked *a, *next;

    for (a = TAILQ_FIRST(&qs->full); a != NULL; a = next) {
        next = TAILQ_NEXT(a, link);
        if (!a->may_go_on(a))
            continue;
        TAILQ_REMOVE(&qs->full, a, link);
        asked_run(&a->op, false);
    }
}

static int64_t next_look(const struct queries *qs) {
    if (!TAILQ_EMPTY(&qs->full))
        return (ang_now_ms() + FULL_POLL_MS);
    return (TAILQ_EMPTY(&qs->waiting) ? ANG_NEVER : ang_now_ms() + WAIT_POLL_MS);
}

static void *queries_main(void *arg) {
    struct queries *qs = arg;

    pthread_setname_np(pthread_self(), "ang-query");
    while (!qs->stop) {
        if (!ang_opq_wait(&qs->q, next_look(qs)) && !TAILQ_EMPTY(&qs->waiting))
            queries_look(qs); /* deadlines of those that wait */
        (void)ang_opq_run(&qs->q);
        go_on(qs);
    }
    return (NULL);
}

struct queries *queries_new(void) {
    struct queries *qs = ANG_NEW(struct queries);

    qs->magic = QUERIES_MAGIC;
    TAILQ_INIT(&qs->waiting);
    TAILQ_INIT(&qs->full);
    ang_opq_init(&qs->q, NULL, NULL);
    ANG_PT(pthread_create(&qs->thread, NULL, queries_main, qs));
    return (qs);
}

struct stop {
    struct ang_op op;
    struct queries *qs;
};

static void stop_run(struct ang_op *op, bool shutdown) {
    struct queries *qs = ANG_CONTAINER(op, struct stop, op)->qs;

    qs->stop = true;
    TAILQ_CONCAT(&qs->waiting, &qs->full, link);
    look_run(&qs->look, true);
    (void)shutdown;
}

void queries_stop(struct queries *qs) {
    struct stop s = {.qs = qs};

    if (qs == NULL)
        return;
    ANG_CHECK(qs, QUERIES_MAGIC);
    ang_op_init(&s.op, stop_run);
    ang_opq_push(&qs->q, &s.op);
    ANG_PT(pthread_join(qs->thread, NULL));
    ang_opq_close(&qs->q); /* what still comes is told at once that it is over */
}

void queries_free(struct queries *qs) {
    if (qs == NULL)
        return;
    ANG_CHECK(qs, QUERIES_MAGIC);
    ang_opq_fini(&qs->q);
    qs->magic = 0;
    free(qs);
}
