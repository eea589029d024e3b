/* Timers in a binary heap, the earliest at the root; each timer knows its place, so moving one is O(log n). */
#ifndef ANG_TIMER_H
#define ANG_TIMER_H

#include <stddef.h>

#include "rpc/loop.h"

struct ang_timers {
    struct ang_timer **heap;
    uint32_t n, cap;
};
void ang_timers_fini(struct ang_timers *ts);
void ang_timers_set(struct ang_timers *ts, struct ang_timer *t, int64_t at_ms);
void ang_timers_cancel(struct ang_timers *ts, struct ang_timer *t);
int64_t ang_timers_next(const struct ang_timers *ts); /* ANG_NEVER when none is set */
/* Fires what is due at now_ms, earliest first.  A timer set while this runs waits for the next time, even when it is due. */
void ang_timers_run(struct ang_timers *ts, int64_t now_ms);

#endif
