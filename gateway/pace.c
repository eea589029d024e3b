/* How fast the tail goes. */
#include "gateway/pace.h"

#include "base/assert.h"

void ang_pace_init(struct ang_pace *p) {
    *p = (struct ang_pace){.spent_ms = 0};
    TAILQ_INIT(&p->awaited);
}

bool ang_pace_waits(const struct ang_pace *p) {
    return (!TAILQ_EMPTY(&p->awaited));
}

bool ang_pace_sent(struct ang_pace *p, struct ang_paced *d, size_t waiting, int64_t now_ms) {
    if (d->state != ANG_PACE_TAKES || waiting <= ANG_PACE_HIGH)
        return (false);
    if (p->spent_ms >= ANG_PACE_ENOUGH) {
        d->state = ANG_PACE_LATE;
        return (true);
    }
    if (!ang_pace_waits(p))
        p->since_ms = now_ms;
    d->state = ANG_PACE_AWAITED;
    TAILQ_INSERT_TAIL(&p->awaited, d, link);
    return (true);
}

static void leave(struct ang_pace *p, struct ang_paced *d, enum ang_pace_state state, int64_t now_ms) {
    TAILQ_REMOVE(&p->awaited, d, link);
    d->state = state;
    if (!ang_pace_waits(p))
        p->spent_ms += now_ms - p->since_ms;
}

void ang_pace_drained(struct ang_pace *p, struct ang_paced *d, int64_t now_ms) {
    switch (d->state) {
    case ANG_PACE_AWAITED:
        leave(p, d, ANG_PACE_TAKES, now_ms);
        break;
    case ANG_PACE_LATE:
        d->state = ANG_PACE_TAKES;
        break;
    case ANG_PACE_TAKES:
        break;
    }
}

int64_t ang_pace_until(const struct ang_pace *p) {
    const int64_t left = ANG_PACE_ENOUGH - p->spent_ms;

    ANG_ASSERT(ang_pace_waits(p));
    return (p->since_ms + (left < ANG_PACE_PATIENCE ? left : ANG_PACE_PATIENCE));
}

void ang_pace_run(struct ang_pace *p, int64_t now_ms) {
    if (!ang_pace_waits(p) || now_ms < ang_pace_until(p))
        return;
    while (ang_pace_waits(p))
        leave(p, TAILQ_FIRST(&p->awaited), ANG_PACE_LATE, now_ms);
}

void ang_pace_at_end(struct ang_pace *p) {
    p->spent_ms = 0;
}
