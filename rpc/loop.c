/* The loop.  Invariant of `state`: only the loop's thread leaves NOTIFIED, and it blocks only after it went from
 * AWAKE to ASLEEP; whoever finds ASLEEP owes it one completion.
 *
 *                 about to block              next() has returned
 *        AWAKE ------------------> ASLEEP -------------------------> AWAKE
 *          |    wake: just a note     |   wake: note + empty batch      ^
 *          +--------> NOTIFIED <------+                                 |
 *                        +----------------------------------------------+
 */
#include "rpc/loop.h"

#include <grpc/support/log.h>
#include <pthread.h>
#include <stdlib.h>

#include "rpc/rpc_priv.h"
#include "rpc/timer.h"

#define TURN_COMPLETIONS 256
#define AT_ONCE_US       2 /* a completion that took no longer was already there */

enum loop_state { AWAKE, ASLEEP, NOTIFIED };

struct ang_loop {
    unsigned magic;
#define ANG_LOOP_MAGIC 0x100b1e55
    /* set once */
    char name[16];
    void (*turn)(void *arg);
    void *arg;
    grpc_completion_queue *cq;
    /* gRPC has no public way to wake a queue, except that a batch without ops completes at once. */
    grpc_channel *lame;
    grpc_call *wake_call;
    struct ang_tag tag_wake;
    pthread_t thread;
    bool started;
    /* any thread */
    _Atomic enum loop_state state;
    struct ang_opq ops;
    /* loop */
    struct ang_timers timers;
    bool stop;
};

static __thread const struct ang_loop *loop_here;

/* gRPC reports what it cannot tell by a status here, most of it harmless (a refused connection). */
static void log_grpc(gpr_log_func_args *a) {
    const char *file = strrchr(a->file, '/');
    file = file == NULL ? a->file : file + 1;
    if (ang_log_debugs("rpc"))
        ANG_LOG(ANG_LOG_DEBUG, "GRPC", a->message, "at", ANG_F("%s:%d", file, a->line));
}

static void setup_grpc(void) {
    gpr_set_log_function(log_grpc);
}

static void wake_done(struct ang_tag *tag, bool ok) {
    (void)tag;
    (void)ok;
}

static void wake_arg(void *arg) {
    struct ang_loop *l;
    ANG_CAST(l, arg, ANG_LOOP_MAGIC);
    ang_loop_wake(l);
}

struct ang_loop *ang_loop_new(const char *name, void (*turn)(void *arg), void *arg) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct ang_loop *l = ANG_NEW(struct ang_loop);

    ANG_PT(pthread_once(&once, setup_grpc));
    grpc_init(); /* gRPC counts these; undone in ang_loop_stop */
    l->magic = ANG_LOOP_MAGIC;
    ANG_ASSERT(strlen(name) < sizeof(l->name));
    memcpy(l->name, name, strlen(name) + 1);
    l->turn = turn;
    l->arg = arg;
    l->cq = grpc_completion_queue_create_for_next(NULL);
    l->lame = grpc_lame_client_channel_create("", GRPC_STATUS_UNAVAILABLE, "only for waking a loop");
    l->wake_call =
        grpc_channel_create_call(l->lame, NULL, GRPC_PROPAGATE_DEFAULTS, l->cq, grpc_slice_from_static_string("/wake"),
                                 NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    ang_tag_init(&l->tag_wake, wake_done);
    ang_opq_init(&l->ops, wake_arg, l);
    return (l);
}

grpc_completion_queue *ang_loop_cq(struct ang_loop *l) {
    ANG_CHECK(l, ANG_LOOP_MAGIC);
    return (l->cq);
}

bool ang_loop_here(const struct ang_loop *l) {
    return (loop_here == l);
}

void ang_loop_wake(struct ang_loop *l) {
    ANG_DIAG(l->magic == ANG_LOOP_MAGIC);
    /* Always an exchange, never a read first: it also hands what the caller wrote before to the loop. */
    if (atomic_exchange(&l->state, NOTIFIED) == ASLEEP)
        ang_tag_start(l->wake_call, NULL, 0, &l->tag_wake);
}

void ang_loop_post(struct ang_loop *l, struct ang_op *op) {
    ANG_CHECK(l, ANG_LOOP_MAGIC);
    ang_opq_push(&l->ops, op);
}

static void dispatch(const grpc_event *ev) {
    struct ang_tag *tag;
    ANG_TAG_TAKE(ev->tag);
    ANG_CAST(tag, ev->tag, ANG_TAG_MAGIC);
    tag->done(tag, ev->success != 0);
}

static gpr_timespec grpc_time(int64_t at_ms) {
    if (at_ms == ANG_NEVER)
        return (gpr_inf_future(GPR_CLOCK_MONOTONIC));
    return ((gpr_timespec){
        .tv_sec = at_ms / 1000, .tv_nsec = (int32_t)(at_ms % 1000 * 1000000), .clock_type = GPR_CLOCK_MONOTONIC});
}

/* Waits if there is nothing to do, and runs completions.
 *
 * Looking whether there are more costs a poll of all sockets, a third of the latency of a lone call.  So it is done only
 * when there is reason: the first one came without waiting, so others may stand behind it. */
static void run_completions(struct ang_loop *l) {
    enum loop_state awake = AWAKE;
    gpr_timespec past = gpr_inf_past(GPR_CLOCK_MONOTONIC), until = past;

    if (atomic_compare_exchange_strong(&l->state, &awake, ASLEEP))
        until = grpc_time(ang_timers_next(&l->timers));
    int64_t start_us = ang_now_us();
    grpc_event ev = grpc_completion_queue_next(l->cq, until, NULL);
    bool busy = ang_now_us() - start_us <= AT_ONCE_US;
    /* Before ops and turn look at what others left for them: a wake from now on is a new one. */
    (void)atomic_exchange(&l->state, AWAKE);
    for (unsigned n = 1; ev.type == GRPC_OP_COMPLETE; n++) {
        dispatch(&ev);
        if (!busy || n == TURN_COMPLETIONS)
            break;
        ev = grpc_completion_queue_next(l->cq, past, NULL);
    }
}

static void *loop_main(void *arg) {
    struct ang_loop *l;
    ANG_CAST(l, arg, ANG_LOOP_MAGIC);
    loop_here = l;
    (void)pthread_setname_np(pthread_self(), l->name);
    while (!l->stop) {
        run_completions(l);
        (void)ang_opq_run(&l->ops);
        if (ang_timers_next(&l->timers) != ANG_NEVER)
            ang_timers_run(&l->timers, ang_now_ms());
        if (l->turn != NULL)
            l->turn(l->arg);
    }
    ang_opq_close(&l->ops);
    return (NULL);
}

void ang_loop_start(struct ang_loop *l) {
    ANG_CHECK(l, ANG_LOOP_MAGIC);
    AZ(l->started);
    l->started = true;
    ANG_PT(pthread_create(&l->thread, NULL, loop_main, l));
}

struct stop_op {
    struct ang_op op;
    struct ang_loop *l;
};

static void stop_run(struct ang_op *op, bool shutdown) {
    struct stop_op *so = ANG_CONTAINER(op, struct stop_op, op);
    AZ(shutdown);
    so->l->stop = true;
}

void ang_loop_stop(struct ang_loop *l) {
    if (l == NULL)
        return;
    ANG_CHECK(l, ANG_LOOP_MAGIC);
    AZ(ang_loop_here(l));
    if (l->started) {
        struct stop_op so = {.l = l};
        ang_op_init(&so.op, stop_run);
        ang_loop_post(l, &so.op);
        ANG_PT(pthread_join(l->thread, NULL));
    }
    ang_opq_close(&l->ops);
    grpc_call_unref(l->wake_call);
    grpc_completion_queue_shutdown(l->cq);
    for (;;) {
        grpc_event ev = grpc_completion_queue_next(l->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (ev.type == GRPC_QUEUE_SHUTDOWN)
            break;
        dispatch(&ev);
    }
    grpc_completion_queue_destroy(l->cq);
    grpc_channel_destroy(l->lame);
    ang_opq_fini(&l->ops);
    ang_timers_fini(&l->timers);
    l->magic = 0;
    free(l);
    grpc_shutdown_blocking();
}

struct call_op {
    struct ang_op op;
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

static void call_run(struct ang_op *op, bool shutdown) {
    struct call_op *co = ANG_CONTAINER(op, struct call_op, op);
    AZ(shutdown); /* a loop that stops under its callers: our own mistake */
    co->fn(co->arg);
    ANG_PT(pthread_mutex_lock(&co->lock));
    co->done = true;
    ANG_PT(pthread_cond_signal(&co->cond)); /* under the lock: the waiter's stack is gone once it sees done */
    ANG_PT(pthread_mutex_unlock(&co->lock));
}

void ang_loop_call(struct ang_loop *l, void (*fn)(void *arg), void *arg) {
    ANG_CHECK(l, ANG_LOOP_MAGIC);
    AZ(ang_loop_here(l));
    struct call_op co = {.fn = fn, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    ang_op_init(&co.op, call_run);
    ang_loop_post(l, &co.op);
    ANG_PT(pthread_mutex_lock(&co.lock));
    while (!co.done)
        ANG_PT(pthread_cond_wait(&co.cond, &co.lock));
    ANG_PT(pthread_mutex_unlock(&co.lock));
    ANG_PT(pthread_mutex_destroy(&co.lock));
    ANG_PT(pthread_cond_destroy(&co.cond));
}

void ang_timer_init(struct ang_timer *t, void (*fire)(struct ang_timer *t)) {
    *t = (struct ang_timer){.magic = ANG_TIMER_MAGIC, .fire = fire};
}

void ang_timer_set(struct ang_loop *l, struct ang_timer *t, int64_t at_ms) {
    ANG_CHECK(l, ANG_LOOP_MAGIC);
    ANG_DIAG(!l->started || ang_loop_here(l));
    if (at_ms == ANG_NEVER)
        ang_timers_cancel(&l->timers, t);
    else
        ang_timers_set(&l->timers, t, at_ms);
}

void ang_timer_cancel(struct ang_loop *l, struct ang_timer *t) {
    ANG_CHECK(l, ANG_LOOP_MAGIC);
    ang_timers_cancel(&l->timers, t);
}
