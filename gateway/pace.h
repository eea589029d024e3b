/* How fast the tail goes: it waits for callers who take what they are sent, so that a burst of events does not cut them off; and only for a
 * while, so that who takes nothing does not hold up the others for long.
 *
 *      TAKES ── much waits for him ──▶ AWAITED ── little waits for him ──▶ TAKES
 *                    │                    └── not within PATIENCE ──┐
 *                    └── the tail has waited enough ──▶ LATE ◀──────┘        LATE ── little waits for him ──▶ TAKES
 *
 * What it has waited counts up to a bound from the last time that it was at the end of the log.  So events come late by no more than
 * that bound because of slow callers, and a caller is cut off only when more comes, over that time, than he takes.  No clock, no network. */
#ifndef ANG_GATEWAY_PACE_H
#define ANG_GATEWAY_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define ANG_PACE_HIGH     ((size_t)128 << 10) /* much: bytes */
#define ANG_PACE_LOW      ((size_t)32 << 10)  /* little */
#define ANG_PACE_PATIENCE 500                 /* ms: for those who are awaited together */
#define ANG_PACE_ENOUGH   2000                /* ms: from one time at the end of the log to the next */

enum ang_pace_state { ANG_PACE_TAKES, ANG_PACE_AWAITED, ANG_PACE_LATE };

struct ang_paced { /* embedded in what is sent to one caller; zeroed */
    enum ang_pace_state state;
    TAILQ_ENTRY(ang_paced) link; /* AWAITED */
};

struct ang_pace {
    TAILQ_HEAD(, ang_paced) awaited;
    int64_t since_ms; /* awaited is not empty */
    int64_t spent_ms;
};
void ang_pace_init(struct ang_pace *p);
/* Something was sent to him, and so much waits now.  True: ang_pace_drained must be called when that falls below LOW. */
bool ang_pace_sent(struct ang_pace *p, struct ang_paced *d, size_t waiting, int64_t now_ms);
void ang_pace_drained(struct ang_pace *p, struct ang_paced *d, int64_t now_ms); /* also when he goes */
bool ang_pace_waits(const struct ang_pace *p);                                  /* then the tail does, too */
int64_t ang_pace_until(const struct ang_pace *p);                               /* it waits: as long as that */
void ang_pace_run(struct ang_pace *p, int64_t now_ms);                          /* ends what has been long enough */
void ang_pace_at_end(struct ang_pace *p);                                       /* the tail is at the end of the log */

#endif
