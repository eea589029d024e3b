/* The committer: the thread on which a lane's transactions run, since they block.  It owns the two writers, used in turn, so
 * that the markers of one transaction are written while the next begins (kafka.md B.2).  A batch begins only when the
 * outcome of the one before is known.
 *
 * A writer that is doubtful or over begins nothing more (lane.md L14): it is closed and opened anew on a thread of its own, and the
 * other one, which is warm and was in no transaction meanwhile, does all commits until then.
 *
 *      EMPTY ──▶ COMING ── closed, opened ──▶ READY ── doubtful, over ──▶ COMING
 *                   └── never again ──▶ FAILED
 */
#include <stdlib.h>

#include "processor/lane_priv.h"

#define OPEN_TIMEOUT_MS 5000
#define RENEW_MS        5000

enum slot_state { SLOT_EMPTY, SLOT_COMING, SLOT_READY, SLOT_FAILED };

struct slot { /* a transactional id and its writer */
    struct committer *c;
    const char *id;
    pthread_t thread; /* of the opening, while opened is set */
    bool opened;
    struct ang_log_writer *w; /* of the opening while COMING, else of the committer */
    /* lock */
    enum slot_state state;
    struct ang_err *er; /* FAILED */
};

struct committer {
    unsigned magic;
#define COMMITTER_MAGIC 0xc0331701
    struct lane *lane;
    struct ang_opq q;
    pthread_t thread;
    struct slot slot[2];
    unsigned turn;
    _Atomic bool stop;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* a slot is no longer COMING */
};

/* ---- opening ---- */

/* Opening fences earlier holders of the id and settles what they left open. */
static struct ang_err *open_writer(struct slot *s) {
    struct ang_err *er;

    ang_log_writer_close(s->w);
    s->w = NULL;
    for (;;) {
        er = ang_log_writer_open(s->c->lane->log, s->id, OPEN_TIMEOUT_MS, &s->w);
        if (er == NULL || er->cls == ANG_FATAL || s->c->stop)
            return (er);
        ANG_LOG_EVERY(5000, ANG_LOG_WARN, "WRITER-OPEN", "a producer cannot start transactions yet, retrying",
                      "transactional_id", s->id, "error", er->msg);
        ang_err_free(&er);
    }
}

static void *opening_main(void *arg) {
    struct slot *s = arg;
    struct committer *c = s->c;
    struct ang_err *er;

    pthread_setname_np(pthread_self(), "ang-reopen");
    er = open_writer(s);
    ANG_PT(pthread_mutex_lock(&c->lock));
    s->er = er;
    s->state = er == NULL ? SLOT_READY : SLOT_FAILED;
    ANG_PT(pthread_cond_broadcast(&c->cond));
    ANG_PT(pthread_mutex_unlock(&c->lock));
    return (NULL);
}

static enum slot_state state_of(struct slot *s) {
    enum slot_state state;

    ANG_PT(pthread_mutex_lock(&s->c->lock));
    state = s->state;
    ANG_PT(pthread_mutex_unlock(&s->c->lock));
    return (state);
}

static void join(struct slot *s) {
    if (s->opened)
        ANG_PT(pthread_join(s->thread, NULL));
    s->opened = false;
}

/* Its writer is not used any more: a new one is on its way.  Does not wait. */
static void retire(struct slot *s) {
    ANG_ASSERT(state_of(s) != SLOT_COMING);
    ang_counter_add(s->c->lane->meters.retired, s->w != NULL);
    join(s); /* has ended */
    ANG_PT(pthread_mutex_lock(&s->c->lock));
    ang_err_free(&s->er);
    s->state = SLOT_COMING;
    ANG_PT(pthread_mutex_unlock(&s->c->lock));
    ANG_PT(pthread_create(&s->thread, NULL, opening_main, s));
    s->opened = true;
}

static struct ang_err *failed(struct slot *s) {
    return (state_of(s) == SLOT_FAILED ? ang_err_dup(s->er) : NULL);
}

/* TIMEOUT: it is still on its way. */
static struct ang_err *await(struct slot *s, int64_t until_ms) {
    const struct timespec ts = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    struct committer *c = s->c;
    bool late;
    int rc = 0;

    ANG_PT(pthread_mutex_lock(&c->lock));
    while (s->state == SLOT_COMING && rc == 0)
        rc = pthread_cond_timedwait(&c->cond, &c->lock, &ts);
    late = s->state == SLOT_COMING;
    ANG_PT(pthread_mutex_unlock(&c->lock));
    if (late)
        return (ang_err_new(ANG_E_TIMEOUT, "transactional id %s could not be initialised in time", s->id));
    return (failed(s));
}

/* ---- committing ---- */

static bool usable(struct slot *s) {
    switch (state_of(s)) {
    case SLOT_READY:
        if (!ang_log_writer_doubtful(s->w))
            return (true);
        ANG_LOG(ANG_LOG_INFO, "WRITER-RETIRED", "a producer saw a broken connection and is replaced", "transactional_id",
                s->id);
        retire(s);
        break;
    case SLOT_EMPTY:
        retire(s);
        break;
    case SLOT_COMING:
    case SLOT_FAILED:
        break;
    }
    return (false);
}

static void await_any(struct committer *c) {
    ANG_PT(pthread_mutex_lock(&c->lock));
    while (c->slot[0].state == SLOT_COMING && c->slot[1].state == SLOT_COMING)
        ANG_PT(pthread_cond_wait(&c->cond, &c->lock));
    ANG_PT(pthread_mutex_unlock(&c->lock));
}

/* The slot whose turn it is, or the other one while that is opened anew. */
static struct ang_err *choose(struct committer *c, struct slot **ret_s) {
    const unsigned first = c->turn++ % 2;
    struct ang_err *er = NULL;

    for (;;) {
        for (unsigned i = 0; i < 2; i++) {
            struct slot *s = &c->slot[(first + i) % 2];

            er = failed(s);
            if (er != NULL)
                return (er);
            if (usable(s)) {
                *ret_s = s;
                return (NULL);
            }
        }
        await_any(c);
    }
}

/* Whatever happened, the next batch finds a writer that knows of nothing open. */
static struct ang_err *after_failure(struct committer *c, struct slot *s, enum ang_class cls) {
    struct slot *other = &c->slot[s == c->slot];
    struct ang_err *er;

    switch (cls) {
    case ANG_UNKNOWN: /* only the same id settles it, and nothing begins before */
        retire(s);
        while ((er = await(s, ang_now_ms() + OPEN_TIMEOUT_MS)) != NULL && er->code == ANG_E_TIMEOUT)
            ang_err_free(&er);
        if (er == NULL && state_of(other) == SLOT_READY)
            retire(other);
        return (er);
    case ANG_RETIRE:
        retire(s);
        break;
    case ANG_RETRY:
    case ANG_ABORT_TXN:
    case ANG_BAD_INPUT:
    case ANG_FATAL:
        break;
    }
    return (NULL);
}

static void commit(struct committer *c, struct batch *b) {
    const struct ang_batch lb = {
        .recs = b->recs, .n_recs = b->n_recs, .positions = b->pos, .n_positions = b->n_pos, .token = b->token};
    const struct lane_meters *m = &c->lane->meters;
    struct ang_err *er = NULL;
    struct slot *s = NULL;
    int64_t began_us, committed_us;

    b->er = choose(c, &s);
    if (b->er != NULL)
        return;
    began_us = ang_now_us();
    b->er = ang_log_writer_commit(s->w, &lb);
    if (b->er == NULL) {
        committed_us = ang_now_us();
        ang_histogram_add(m->commit_time, committed_us - began_us);
        ANG_KILL_POINT("after-commit");
        batch_apply(b);
        ang_histogram_add(m->apply_time, ang_now_us() - committed_us);
        ANG_KILL_POINT("after-apply");
        return;
    }
    er = after_failure(c, s, b->er->cls);
    aside_look(b);
    if (er != NULL) {
        ang_err_free(&b->er);
        b->er = er;
    }
}

static void settle_op(struct ang_op *op, bool shutdown) {
    (void)shutdown; /* the lane has drained before its loop ends */
    lane_batch_settled(ANG_CONTAINER(op, struct batch, op));
}

static void commit_op(struct ang_op *op, bool shutdown) {
    struct batch *b = ANG_CONTAINER(op, struct batch, op);
    struct lane *l = b->lane;

    ANG_CHECK(b, BATCH_MAGIC);
    if (shutdown)
        b->er = ang_err_new(ANG_E_SHUTDOWN, "the lane stops");
    else
        commit(l->committer, b);
    ang_op_init(&b->op, settle_op);
    ANG_PT(pthread_mutex_lock(&l->lock));
    l->commit_over = true;
    ANG_PT(pthread_cond_broadcast(&l->cond));
    ANG_PT(pthread_mutex_unlock(&l->lock));
    ang_loop_post(l->loop, &b->op);
}

static void *committer_main(void *arg) {
    struct committer *c = arg;

    pthread_setname_np(pthread_self(), "ang-commit");
    while (!c->stop) {
        (void)ang_opq_wait(&c->q, ANG_NEVER);
        (void)ang_opq_run(&c->q);
    }
    return (NULL);
}

struct committer *committer_new(struct lane *l) {
    struct committer *c = ANG_NEW(struct committer);
    pthread_condattr_t attr;
    unsigned k;

    c->magic = COMMITTER_MAGIC;
    c->lane = l;
    for (k = 0; k < 2; k++)
        c->slot[k] = (struct slot){.c = c, .id = l->txn_id[k], .state = SLOT_EMPTY};
    ANG_PT(pthread_mutex_init(&c->lock, NULL));
    ANG_PT(pthread_condattr_init(&attr));
    ANG_PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    ANG_PT(pthread_cond_init(&c->cond, &attr));
    ANG_PT(pthread_condattr_destroy(&attr));
    ang_opq_init(&c->q, NULL, NULL);
    ANG_PT(pthread_create(&c->thread, NULL, committer_main, c));
    return (c);
}

void committer_push(struct committer *c, struct batch *b) {
    struct lane *l = c->lane;

    ANG_PT(pthread_mutex_lock(&l->lock));
    l->commit_over = false;
    ANG_PT(pthread_mutex_unlock(&l->lock));
    ang_op_init(&b->op, commit_op);
    ang_opq_push(&c->q, &b->op);
}

/* ---- asked for by a takeover ---- */
struct renew {
    struct ang_op op;
    struct committer *c;
    struct ang_log_token *token;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done; /* lock */
    struct ang_err *er;
};

static struct ang_err *renew(struct slot *s, struct ang_log_token *token, int64_t until_ms) {
    struct ang_err *er = await(s, until_ms);

    if (er == NULL)
        er = ang_log_writer_settle(s->w, token, ang_topology_owners_topic(worker_conf(s->c->lane->worker)->topology));
    return (er);
}

/* One id may be held by a transaction that waits for a partition to be led again: then the other has to do. */
static struct ang_err *renew_both(struct committer *c, struct ang_log_token *token) {
    const int64_t until = ang_now_ms() + RENEW_MS;
    struct ang_err *er, *late = NULL;
    unsigned k, n = 0;

    for (k = 0; k < 2; k++)
        if (state_of(&c->slot[k]) != SLOT_COMING)
            retire(&c->slot[k]);
    for (k = 0; k < 2; k++) {
        er = renew(&c->slot[k], token, until);
        if (er != NULL && er->code != ANG_E_TIMEOUT) {
            ang_err_free(&late);
            return (er);
        }
        n += er == NULL;
        if (er != NULL) {
            ang_err_free(&late);
            late = er;
        }
    }
    if (n == 0)
        return (late);
    if (late != NULL)
        ANG_LOG(ANG_LOG_WARN, "WRITER-LATE", "going on with one producer", "error", late->msg);
    ang_err_free(&late);
    return (NULL);
}

static void renew_run(struct ang_op *op, bool shutdown) {
    struct renew *r = ANG_CONTAINER(op, struct renew, op);

    r->er = shutdown || r->c->stop ? ang_err_new(ANG_E_SHUTDOWN, "the lane stops") : renew_both(r->c, r->token);
    ANG_PT(pthread_mutex_lock(&r->lock));
    r->done = true;
    ANG_PT(pthread_cond_signal(&r->cond));
    ANG_PT(pthread_mutex_unlock(&r->lock));
}

struct ang_err *committer_renew(struct committer *c, struct ang_log_token *token) {
    struct renew r = {.c = c,
                      .token = token,
                      .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

    ang_op_init(&r.op, renew_run);
    ang_opq_push(&c->q, &r.op);
    ANG_PT(pthread_mutex_lock(&r.lock));
    while (!r.done)
        ANG_PT(pthread_cond_wait(&r.cond, &r.lock));
    ANG_PT(pthread_mutex_unlock(&r.lock));
    return (r.er);
}

void committer_stop(struct committer *c) {
    ANG_CHECK(c, COMMITTER_MAGIC);
    c->stop = true; /* also ends a wait for a broker that is away */
    ang_opq_wake(&c->q);
    ANG_PT(pthread_join(c->thread, NULL));
    join(&c->slot[0]);
    join(&c->slot[1]);
    ang_opq_close(&c->q);
}

void committer_free(struct committer *c) {
    ANG_CHECK(c, COMMITTER_MAGIC);
    ang_opq_fini(&c->q);
    for (unsigned k = 0; k < 2; k++) {
        ang_log_writer_close(c->slot[k].w);
        ang_err_free(&c->slot[k].er);
    }
    ANG_PT(pthread_mutex_destroy(&c->lock));
    ANG_PT(pthread_cond_destroy(&c->cond));
    c->magic = 0;
    free(c);
}
