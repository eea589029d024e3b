/* Takeover of partitions: only when it is through does the lane serve them.  On a thread of its own: all of it blocks, and partitions
 * already served go on meanwhile. */
#include "processor/takeover_priv.h"

#include <stdlib.h>

#define RETRY_MS 300
#define AUDIT_MS (600 * 1000)

void takeover_prune(struct takeover *t, struct job *j) {
    size_t i, n = 0;

    for (i = 0; i < j->n; i++)
        if (takeover_current(t, &j->takes[i]))
            j->takes[n++] = j->takes[i];
    j->n = n;
}

/* ---- owners, looked at again ---- */
/* A late entry of an earlier owner is found and ours written again. */
static void audit(struct takeover *t) {
    struct lane *l = t->lane;
    struct ang_owners *owners = NULL;
    struct ang_err *er;
    int32_t p;

    t->audit_ms = ang_now_ms() + AUDIT_MS;
    for (p = 0; p < l->domain->partitions && t->serving[p] == 0; p++)
        ;
    if (p == l->domain->partitions)
        return;
    er = ang_owners_open(l->log, worker_conf(l->worker)->topology, NULL, NULL, &owners);
    if (er == NULL)
        er = ang_owners_catch_up(owners, TAKEOVER_STEP_MS);
    if (er == NULL)
        er = owning_audit(l, owners, t->serving);
    ang_owners_close(owners);
    if (er == NULL)
        return;
    ANG_LOG_EVERY(60000, ANG_LOG_WARN, "OWNERS-AUDIT", "the owners topic could not be looked through, trying again", "error",
                  er->msg);
    ang_err_free(&er);
    t->audit_ms = ang_now_ms() + TAKEOVER_AUDIT_MS;
}

/* ---- jobs ---- */
static void pause_ms(struct takeover *t, int ms) {
    const int64_t until = ang_wall_ms() + ms;
    const struct timespec ts = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    ANG_PT(pthread_mutex_lock(&t->lock));
    while (!t->stop && pthread_cond_timedwait(&t->cond, &t->lock, &ts) == 0)
        ;
    ANG_PT(pthread_mutex_unlock(&t->lock));
}

static void job_over(struct ang_op *op, bool shutdown) {
    struct job *j = ANG_CONTAINER(op, struct job, op);

    if (!shutdown)
        lane_taken_over(j->t->lane, j->takes, j->n, j->er);
    else
        ang_err_free(&j->er);
    free(j->takes);
    free(j);
}

static void job_run(struct ang_op *op, bool shutdown) {
    struct job *j = ANG_CONTAINER(op, struct job, op);
    struct takeover *t = j->t;

    while (!shutdown && !t->stop) {
        takeover_prune(t, j);
        takeover_set_apart(t, j);
        if (j->n == 0)
            break;
        ang_err_free(&j->er);
        j->er = takeover_attempt(t, j);
        takeover_prune(t, j);
        if (j->er == NULL || j->n == 0 || j->er->cls == ANG_FATAL)
            break;
        ang_counter_add(t->lane->meters.takeover_failures, 1);
        ANG_LOG_EVERY(3000, ANG_LOG_WARN, "TAKEOVER", "partitions cannot be served yet, trying again", "domain",
                      t->lane->domain->name, "partitions", ANG_F("%zu", j->n), "error", j->er->msg);
        holds_look(t->lane);
        pause_ms(t, RETRY_MS);
    }
    if (j->n == 0 || shutdown || t->stop) {
        ang_err_free(&j->er);
        free(j->takes);
        free(j);
        return;
    }
    ang_op_init(&j->op, job_over);
    ang_loop_post(t->lane->loop, &j->op);
}

void takeover_push(struct takeover *t, const struct take *takes, size_t n) {
    struct job *j = ANG_NEW(struct job);

    j->t = t;
    j->n = n;
    j->takes = ang_calloc(n, sizeof *takes);
    memcpy(j->takes, takes, n * sizeof *takes);
    ang_op_init(&j->op, job_run);
    ang_opq_push(&t->q, &j->op);
}

/* ---- closing ---- */
struct release {
    struct ang_op op;
    struct takeover *t;
    int32_t partition;
};

static void close_store(struct takeover *t, int32_t partition) {
    struct shard *sh = t->lane->parts[partition].shard;

    ANG_PT(pthread_rwlock_wrlock(&sh->lock));
    if (sh->holder == t->lane) {
        ang_store_part_close(sh->store);
        sh->store = NULL;
        sh->holder = NULL;
    }
    ANG_PT(pthread_rwlock_unlock(&sh->lock));
}

static void release_run(struct ang_op *op, bool shutdown) {
    struct release *r = ANG_CONTAINER(op, struct release, op);
    (void)shutdown;

    r->t->serving[r->partition] = 0;
    close_store(r->t, r->partition);
    free(r);
}

void takeover_release(struct takeover *t, int32_t partition) {
    struct release *r = ANG_NEW(struct release);

    r->t = t;
    r->partition = partition;
    ang_op_init(&r->op, release_run);
    ang_opq_push(&t->q, &r->op);
}

void takeover_wake(struct takeover *t) {
    ang_opq_wake(&t->q);
}

static void *takeover_main(void *arg) {
    struct takeover *t = arg;

    pthread_setname_np(pthread_self(), "ang-takeover");
    while (!t->stop) {
        const int64_t due_ms = takeover_next_look(t);

        (void)ang_opq_wait(&t->q, due_ms < t->audit_ms ? due_ms : t->audit_ms);
        (void)ang_opq_run(&t->q);
        takeover_look(t);
        if (!t->stop)
            holds_look(t->lane);
        if (!t->stop && ang_now_ms() >= t->audit_ms)
            audit(t);
    }
    return (NULL);
}

struct takeover *takeover_new(struct lane *l) {
    struct takeover *t = ANG_NEW(struct takeover);

    t->magic = TAKEOVER_MAGIC;
    t->lane = l;
    t->serving = ang_calloc((size_t)l->domain->partitions, sizeof *t->serving);
    t->audit_ms = ANG_NEVER;
    STAILQ_INIT(&t->watches);
    ang_opq_init(&t->q, NULL, NULL);
    ANG_PT(pthread_mutex_init(&t->lock, NULL));
    ANG_PT(pthread_cond_init(&t->cond, NULL));
    ANG_PT(pthread_create(&t->thread, NULL, takeover_main, t));
    return (t);
}

void takeover_stop(struct takeover *t) {
    int32_t i;

    if (t == NULL)
        return;
    ANG_CHECK(t, TAKEOVER_MAGIC);
    ANG_PT(pthread_mutex_lock(&t->lock));
    t->stop = true;
    ANG_PT(pthread_cond_broadcast(&t->cond));
    ANG_PT(pthread_mutex_unlock(&t->lock));
    ang_opq_wake(&t->q);
    ANG_PT(pthread_join(t->thread, NULL));
    ang_opq_fini(&t->q);
    takeover_look_no_more(t);
    for (i = 0; i < t->lane->domain->partitions; i++)
        close_store(t, i);
    ANG_PT(pthread_mutex_destroy(&t->lock));
    ANG_PT(pthread_cond_destroy(&t->cond));
    t->magic = 0;
    free(t->serving);
    free(t);
}
