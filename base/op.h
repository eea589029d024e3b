/* Ops: how threads talk.  An op is a struct that travels from one thread to another by an op queue.
 *
 * An owner thread has one struct ang_opq; anybody pushes; only the owner pops.  The queue owns an op once it was pushed.
 * Each op has `run`, called on the owner's thread exactly once: with shutdown = false in the normal case, with true when
 * the queue was closed before the op's turn came (then run only frees or reports ANG_E_SHUTDOWN; it touches no state of
 * the owner).  Push always succeeds.
 *
 *      any thread --push--> [opq] --wake()--> owner: ang_opq_run()
 *
 * An op is embedded in the struct that carries its data; get that back with ANG_CONTAINER. */
#ifndef ANG_OP_H
#define ANG_OP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

struct ang_op {
    unsigned magic;
#define ANG_OP_MAGIC 0x09c0ffee
    struct ang_op *next;                               /* queue */
    void (*run)(struct ang_op *op, bool shutdown);     /* on the owner's thread, exactly once */
};

static inline void ang_op_init(struct ang_op *op, void (*run)(struct ang_op *, bool)) {
    op->magic = ANG_OP_MAGIC;
    op->next = NULL;
    op->run = run;
}

struct ang_opq {
    unsigned magic;
#define ANG_OPQ_MAGIC 0x0f0e0d01
    /* set once */
    void (*wake)(void *arg); /* called after a push that found the queue empty; any thread; must not block */
    void *arg;
    /* lock */
    pthread_mutex_t lock;
    pthread_cond_t cond; /* for owners that wait with ang_opq_wait */
    struct ang_op *head, **tail;
    bool closed;
    bool woken; /* the owner's wait ends, now or when it begins */
};

/* wake may be NULL: the owner then uses ang_opq_wait. */
void ang_opq_init(struct ang_opq *q, void (*wake)(void *arg), void *arg);
void ang_opq_fini(struct ang_opq *q); /* closes first; must be empty of users */
/* Any thread.  On a closed queue the op runs at once, on the caller's thread, with shutdown = true. */
void ang_opq_push(struct ang_opq *q, struct ang_op *op);
/* Owner: run what is queued now; returns how many ran. */
unsigned ang_opq_run(struct ang_opq *q);
/* Owner: wait until something is queued, at most until until_ms (monotonic; ANG_NEVER = for ever); false = nothing is: time is up, or
 * somebody woke us. */
bool ang_opq_wait(struct ang_opq *q, int64_t until_ms);
/* Any thread.  Ends the owner's wait, or its next one, though nothing is queued: it has something else to look at. */
void ang_opq_wake(struct ang_opq *q);
/* Owner: from now on pushes shut their ops down; what is queued is shut down here. */
void ang_opq_close(struct ang_opq *q);

#endif
