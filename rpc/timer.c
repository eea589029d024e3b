#include "rpc/timer.h"

#include <stdlib.h>

#include "base/base.h"

static void place(struct ang_timers *ts, uint32_t i, struct ang_timer *t) {
    ts->heap[i] = t;
    t->slot = i + 1;
}

static void up(struct ang_timers *ts, uint32_t i, struct ang_timer *t) {
    while (i > 0 && ts->heap[(i - 1) / 2]->at_ms > t->at_ms) {
        place(ts, i, ts->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(ts, i, t);
}

static void down(struct ang_timers *ts, uint32_t i, struct ang_timer *t) {
    for (;;) {
        uint32_t kid = 2 * i + 1;
        if (kid >= ts->n)
            break;
        if (kid + 1 < ts->n && ts->heap[kid + 1]->at_ms < ts->heap[kid]->at_ms)
            kid++;
        if (ts->heap[kid]->at_ms >= t->at_ms)
            break;
        place(ts, i, ts->heap[kid]);
        i = kid;
    }
    place(ts, i, t);
}

static void settle(struct ang_timers *ts, uint32_t i, struct ang_timer *t) {
    if (i > 0 && ts->heap[(i - 1) / 2]->at_ms > t->at_ms)
        up(ts, i, t);
    else
        down(ts, i, t);
}

void ang_timers_fini(struct ang_timers *ts) {
    for (uint32_t i = 0; i < ts->n; i++)
        ts->heap[i]->slot = 0;
    free(ts->heap);
    *ts = (struct ang_timers){0};
}

void ang_timers_set(struct ang_timers *ts, struct ang_timer *t, int64_t at_ms) {
    ANG_CHECK(t, ANG_TIMER_MAGIC);
    t->at_ms = at_ms;
    if (t->slot != 0) {
        settle(ts, t->slot - 1, t);
        return;
    }
    if (ts->n == ts->cap) {
        ts->cap = ts->cap == 0 ? 16 : ts->cap * 2;
        ts->heap = ang_realloc(ts->heap, ts->cap * sizeof(*ts->heap));
    }
    up(ts, ts->n++, t);
}

void ang_timers_cancel(struct ang_timers *ts, struct ang_timer *t) {
    ANG_CHECK(t, ANG_TIMER_MAGIC);
    if (t->slot == 0)
        return;
    uint32_t i = t->slot - 1;
    ANG_DIAG(i < ts->n && ts->heap[i] == t);
    struct ang_timer *last = ts->heap[--ts->n];
    t->slot = 0;
    if (last != t)
        settle(ts, i, last);
}

int64_t ang_timers_next(const struct ang_timers *ts) {
    return (ts->n == 0 ? ANG_NEVER : ts->heap[0]->at_ms);
}

void ang_timers_run(struct ang_timers *ts, int64_t now_ms) {
    /* At most as many as there are now: one that sets itself anew for "now" does not keep the loop here. */
    for (uint32_t left = ts->n; left > 0 && ang_timers_next(ts) <= now_ms; left--) {
        struct ang_timer *t = ts->heap[0];
        ang_timers_cancel(ts, t);
        t->fire(t);
    }
}
