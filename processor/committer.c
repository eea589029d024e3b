/* The committer: the thread on which a lane's transactions run, since they block.  It owns the two writers, used in turn, so
 * that the markers of one transaction are written while the next begins (kafka.md B.2).  A batch begins only when the
 * outcome of the one before is known. */
#include <stdlib.h>

#include "processor/lane_priv.h"

#define OPEN_TIMEOUT_MS 10000

struct committer {
    unsigned magic;
#define COMMITTER_MAGIC 0xc0331701
    struct lane *lane;
    struct ang_opq q;
    pthread_t thread;
    struct ang_log_writer *writer[2];
    unsigned turn;
    _Atomic bool stop;
};

/* A writer for id k.  Opening fences earlier holders of the id and settles what they left open. */
static struct ang_err *writer(struct committer *c, unsigned k) {
    struct lane *l = c->lane;
    struct ang_err *er;

    if (c->writer[k] != NULL && ang_log_writer_doubtful(c->writer[k])) {
        ANG_LOG(ANG_LOG_INFO, "WRITER-RETIRED", "a producer saw a broken connection and is replaced", "transactional_id",
                l->txn_id[k]);
        l->retired_producers++;
        ang_log_writer_close(c->writer[k]);
        c->writer[k] = NULL;
    }
    while (c->writer[k] == NULL) {
        er = ang_log_writer_open(l->log, l->txn_id[k], OPEN_TIMEOUT_MS, &c->writer[k]);
        if (er == NULL)
            break;
        if (er->cls == ANG_FATAL || c->stop)
            return (er);
        ANG_LOG_EVERY(5000, ANG_LOG_WARN, "WRITER-OPEN", "no transaction can be started yet, retrying", "transactional_id",
                      l->txn_id[k], "error", er->msg);
        ang_err_free(&er);
    }
    return (NULL);
}

static struct ang_err *reopen(struct committer *c, unsigned k) {
    c->lane->retired_producers++;
    ang_log_writer_close(c->writer[k]);
    c->writer[k] = NULL;
    return (writer(c, k));
}

static void commit(struct committer *c, struct batch *b) {
    const struct ang_batch lb = {
        .recs = b->recs, .n_recs = b->n_recs, .positions = b->pos, .n_positions = b->n_pos, .token = b->token};
    const unsigned k = c->turn++ % 2;
    struct ang_err *er = NULL;

    b->er = writer(c, k);
    if (b->er == NULL)
        b->er = ang_log_writer_commit(c->writer[k], &lb);
    if (b->er == NULL) {
        ANG_KILL_POINT("after-commit");
        batch_apply(b);
        ANG_KILL_POINT("after-apply");
        return;
    }
    /* Whatever happened, the next batch finds a writer that knows of nothing open. */
    switch (b->er->cls) {
    case ANG_UNKNOWN:
        er = reopen(c, k);
        if (er == NULL && c->writer[1 - k] != NULL)
            er = reopen(c, 1 - k);
        break;
    case ANG_RETIRE:
        er = reopen(c, k);
        break;
    case ANG_RETRY:
    case ANG_ABORT_TXN:
    case ANG_BAD_INPUT:
    case ANG_FATAL:
        break;
    }
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

    c->magic = COMMITTER_MAGIC;
    c->lane = l;
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

static struct ang_err *renew(struct committer *c, unsigned k, struct ang_log_token *token) {
    struct ang_err *er = reopen(c, k);

    if (er == NULL)
        er = ang_log_writer_settle(c->writer[k], token, ang_topology_owners_topic(worker_conf(c->lane->worker)->topology));
    return (er);
}

static void renew_run(struct ang_op *op, bool shutdown) {
    struct renew *r = ANG_CONTAINER(op, struct renew, op);
    unsigned k;

    if (shutdown || r->c->stop)
        r->er = ang_err_new(ANG_E_SHUTDOWN, "the lane stops");
    for (k = 0; r->er == NULL && k < 2; k++)
        r->er = renew(r->c, k, r->token);
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
    ang_opq_close(&c->q);
}

void committer_free(struct committer *c) {
    ANG_CHECK(c, COMMITTER_MAGIC);
    ang_opq_fini(&c->q);
    ang_log_writer_close(c->writer[0]);
    ang_log_writer_close(c->writer[1]);
    c->magic = 0;
    free(c);
}
