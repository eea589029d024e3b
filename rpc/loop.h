/* A loop: one thread that waits in one place for everything: completions of gRPC, ops from other threads, timers, and
 * wake-ups from the log.  It owns a gRPC completion queue; gRPC makes progress only while its thread waits there.
 *
 *      each turn: completions (up to 256) -> ops -> timers -> turn hook
 *
 * The lane, the gateway and the worker's server are loops. Other threads reach the owner's state only by ops. */
#ifndef ANG_LOOP_H
#define ANG_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/op.h"

struct ang_loop;

/* name: at most 15 characters, seen in top(1).  turn (may be NULL) runs at the end of each turn.  Call before start. */
struct ang_loop *ang_loop_new(const char *name, void (*turn)(void *arg), void *arg);
void ang_loop_start(struct ang_loop *l);
/* Ends the thread after the current turn, shuts queued ops down, drains the completion queue; servers, channels and calls on
 * it must have been closed.  Frees l: no other thread may still be inside ang_loop_post, _wake or _call.  Not from its own
 * thread. */
void ang_loop_stop(struct ang_loop *l);                    /* accepts NULL; a loop that was never started too */
void ang_loop_post(struct ang_loop *l, struct ang_op *op); /* any thread */
void ang_loop_wake(struct ang_loop *l);       /* any thread, cheap when already awake; the turn hook runs soon */
bool ang_loop_here(const struct ang_loop *l); /* the caller is the loop's thread */
/* Runs fn(arg) on the loop's thread and waits for it, also for ang_loop_start.  Not from the loop's thread, nor when the
 * loop may be stopped meanwhile. */
void ang_loop_call(struct ang_loop *l, void (*fn)(void *arg), void *arg);

/* Timers: owned by the caller, loop thread only (or before ang_loop_start).  Never early; those due together fire in the
 * order of their times.  fire may set, move and cancel any timer. */
struct ang_timer {
    unsigned magic;
#define ANG_TIMER_MAGIC 0x71e50001
    int64_t at_ms; /* monotonic */
    uint32_t slot; /* place in the heap + 1; 0 = not set */
    void (*fire)(struct ang_timer *t);
};
void ang_timer_init(struct ang_timer *t, void (*fire)(struct ang_timer *t));
void ang_timer_set(struct ang_loop *l, struct ang_timer *t,
                   int64_t at_ms);                              /* moves one that is set; ANG_NEVER cancels */
void ang_timer_cancel(struct ang_loop *l, struct ang_timer *t); /* no-op when not set */

#endif
