#include "base/op.h"

#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"

void ang_opq_init(struct ang_opq *q, void (*wake)(void *arg), void *arg) {
    pthread_condattr_t attr;

    q->magic = ANG_OPQ_MAGIC;
    q->wake = wake;
    q->arg = arg;
    q->head = NULL;
    q->tail = &q->head;
    q->closed = false;
    q->woken = false;
    ANG_PT(pthread_mutex_init(&q->lock, NULL));
    /* Monotonic, so that a stepped wall clock neither wakes nor holds a waiting owner. */
    ANG_PT(pthread_condattr_init(&attr));
    ANG_PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    ANG_PT(pthread_cond_init(&q->cond, &attr));
    ANG_PT(pthread_condattr_destroy(&attr));
}

void ang_opq_fini(struct ang_opq *q) {
    ang_opq_close(q);
    ANG_PT(pthread_cond_destroy(&q->cond));
    ANG_PT(pthread_mutex_destroy(&q->lock));
    q->magic = 0;
}

static void run_one(struct ang_op *op, bool shutdown) {
    ANG_CHECK(op, ANG_OP_MAGIC);
    op->next = NULL;
    op->run(op, shutdown);
}

void ang_opq_push(struct ang_opq *q, struct ang_op *op) {
    bool was_empty, closed;

    ANG_CHECK(q, ANG_OPQ_MAGIC);
    ANG_CHECK(op, ANG_OP_MAGIC);
    AZ(op->next);
    ANG_PT(pthread_mutex_lock(&q->lock));
    closed = q->closed;
    was_empty = (q->head == NULL);
    if (!closed) {
        *q->tail = op;
        q->tail = &op->next;
        if (was_empty)
            ANG_PT(pthread_cond_signal(&q->cond));
    }
    ANG_PT(pthread_mutex_unlock(&q->lock));

    if (closed)
        run_one(op, true);
    else if (was_empty && q->wake != NULL)
        q->wake(q->arg);
}

/* Everything queued; the queue is empty afterwards, so the next push wakes again. */
static struct ang_op *take_all(struct ang_opq *q, bool close) {
    struct ang_op *head;

    ANG_CHECK(q, ANG_OPQ_MAGIC);
    ANG_PT(pthread_mutex_lock(&q->lock));
    head = q->head;
    q->head = NULL;
    q->tail = &q->head;
    if (close)
        q->closed = true;
    ANG_PT(pthread_mutex_unlock(&q->lock));
    return (head);
}

unsigned ang_opq_run(struct ang_opq *q) {
    struct ang_op *op, *next;
    unsigned n = 0;

    for (op = take_all(q, false); op != NULL; op = next) {
        next = op->next;
        /* An op may close the queue: those after it are shut down.  Only the owner writes `closed`, and that is us. */
        run_one(op, q->closed);
        n++;
    }
    return (n);
}

bool ang_opq_wait(struct ang_opq *q, int64_t until_ms) {
    struct timespec ts = {0, 0};
    bool some;
    int e = 0;

    ANG_CHECK(q, ANG_OPQ_MAGIC);
    if (until_ms < 0)
        until_ms = 0;
    ts.tv_sec = (time_t)(until_ms / 1000);
    ts.tv_nsec = (long)(until_ms % 1000) * 1000000;
    ANG_PT(pthread_mutex_lock(&q->lock));
    /* Nothing is ever queued on a closed queue: waiting for it would last for ever. */
    while (q->head == NULL && !q->closed && !q->woken && e != ETIMEDOUT) {
        if (until_ms == ANG_NEVER) {
            ANG_PT(pthread_cond_wait(&q->cond, &q->lock));
        } else {
            e = pthread_cond_timedwait(&q->cond, &q->lock, &ts);
            ANG_ASSERT(e == 0 || e == ETIMEDOUT);
        }
    }
    some = (q->head != NULL);
    q->woken = false;
    ANG_PT(pthread_mutex_unlock(&q->lock));
    return (some);
}

void ang_opq_wake(struct ang_opq *q) {
    ANG_CHECK(q, ANG_OPQ_MAGIC);
    ANG_PT(pthread_mutex_lock(&q->lock));
    q->woken = true;
    ANG_PT(pthread_cond_signal(&q->cond));
    ANG_PT(pthread_mutex_unlock(&q->lock));
    if (q->wake != NULL)
        q->wake(q->arg);
}

void ang_opq_close(struct ang_opq *q) {
    struct ang_op *op, *next;

    for (op = take_all(q, true); op != NULL; op = next) {
        next = op->next;
        run_one(op, true);
    }
}
