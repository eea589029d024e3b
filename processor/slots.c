/* How many calls to the business logic are under way: so many, and beside them so many slow ones (lane.md L12).
 *
 *      limits.calls        a call  ── slower than limits.slow_after, and far slower than usual ──▶ a slow call
 *      limits.slow_calls   a slow call; and every call of a root whose last one was slow
 *
 * So what hangs leaves the slots of the others to them.  When nothing is free for others, what counts as slow is what takes far longer
 * than calls usually take: logic that is slow throughout has no slow calls.  When slow roots wait, or more calls become slow than there
 * is room for, the oldest slow call is cancelled; it is made again later, and may then take twice as long. */
#include "processor/lane_priv.h"

#include <limits.h>

#define LOOK_MS     20
#define USUAL_TIMES 8   /* this much longer than usual is slow */
#define URGENT_MS   100 /* …but not what is shorter than this */
#define MEAN_OF     32  /* calls */
#define TURNS       64  /* given at once, in a look */
#define CROWD       4   /* times limits.slow_calls may be under way until their first turn is over */
#define LONGEST     10  /* doublings of a turn */

#define NOBODY INT_MAX /* a level above all */

static void look(struct ang_timer *t);

void slots_init(struct lane *l) {
    int level;

    TAILQ_INIT(&l->calls);
    TAILQ_INIT(&l->slow_calls);
    TAILQ_INIT(&l->ready);
    for (level = 0; level < SLOW_LEVELS; level++)
        TAILQ_INIT(&l->ready_slow[level]);
    ang_timer_init(&l->look, look);
}

static bool is_free(const struct lane *l, bool slow) {
    if (l->call_bytes >= l->open_max)
        return (false);
    return (slow ? l->n_slow_calls < l->set->limits.slow_calls : l->n_calls < l->set->limits.calls);
}

/* Where a root waits for a slot.  Slow ones by how often they were cancelled: what hangs sinks, and what was only caught in a rush is
 * not behind it. */
static struct root_list *queue_of(struct root *r) {
    struct lane *l = r->part->lane;
    const unsigned level = r->evictions;

    if (!r->is_slow)
        return (&l->ready);
    return (&l->ready_slow[level < SLOW_LEVELS ? level : SLOW_LEVELS - 1]);
}

bool slots_take(struct root *r) {
    if (is_free(r->part->lane, r->is_slow))
        return (true);
    if (r->waits_in == NULL) {
        r->waits_in = queue_of(r);
        TAILQ_INSERT_TAIL(r->waits_in, r, wait);
    }
    return (false);
}

void slots_forget(struct root *r) {
    if (r->waits_in != NULL)
        TAILQ_REMOVE(r->waits_in, r, wait);
    r->waits_in = NULL;
}

static void serve(struct lane *l, struct root_list *ready, bool slow) {
    struct root *r;

    while (is_free(l, slow) && (r = TAILQ_FIRST(ready)) != NULL) {
        slots_forget(r);
        if (r->running != NULL)
            business_call(r->running);
        else
            aggregate_next(r);
    }
}

void slots_serve(struct lane *l) {
    int level;

    serve(l, &l->ready, false);
    for (level = 0; level < SLOW_LEVELS; level++)
        serve(l, &l->ready_slow[level], true);
}

/* The first call has ended: what was cancelled before was judged by nothing. */
static void forgive(struct lane *l) {
    struct root *r;
    int level;

    for (level = 0; level < SLOW_LEVELS; level++)
        while ((r = TAILQ_FIRST(&l->ready_slow[level])) != NULL) {
            slots_forget(r);
            r->is_slow = false;
            r->evictions = 0;
            r->waits_in = queue_of(r);
            TAILQ_INSERT_TAIL(r->waits_in, r, wait);
        }
}

static void measure(const struct lane *l) {
    ang_gauge_set(l->meters.calls[SPEED_USUAL], l->n_calls);
    ang_gauge_set(l->meters.calls[SPEED_SLOW], l->n_slow_calls);
}

static void look_soon(struct lane *l) {
    if (l->looking)
        return;
    l->looking = true;
    ang_timer_set(l->loop, &l->look, ang_now_ms() + LOOK_MS);
}

void slots_begin(struct work *w) {
    struct lane *l = w->part->lane;

    w->call_since_us = ang_now_us();
    l->call_bytes += w->call_bytes;
    w->is_slow = w->root->is_slow;
    if (w->is_slow) {
        TAILQ_INSERT_TAIL(&l->slow_calls, w, of_calls);
        l->n_slow_calls++;
        ang_counter_add(l->meters.slow_calls, 1);
    } else {
        TAILQ_INSERT_TAIL(&l->calls, w, of_calls);
        l->n_calls++;
    }
    measure(l);
    look_soon(l);
}

void slots_end(struct work *w, int64_t took_us) {
    struct lane *l = w->part->lane;

    l->call_bytes -= w->call_bytes;
    if (w->is_slow) {
        TAILQ_REMOVE(&l->slow_calls, w, of_calls);
        l->n_slow_calls--;
    } else {
        TAILQ_REMOVE(&l->calls, w, of_calls);
        l->n_calls--;
    }
    measure(l);
    if (took_us == 0)
        return;
    if (l->usual_us == 0)
        forgive(l);
    l->usual_us += (took_us - l->usual_us) / (l->usual_us == 0 ? 1 : MEAN_OF);
    if (w->root == NULL)
        return;
    w->root->evictions = 0;
    if (took_us < l->set->limits.slow_after_ms * 1000)
        w->root->is_slow = false;
}

/* How long a call may take before it is slow. */
static int64_t slow_us(const struct lane *l) {
    const int64_t usual = USUAL_TIMES * l->usual_us, after = l->set->limits.slow_after_ms * 1000;

    if (TAILQ_EMPTY(&l->ready) || usual == 0)
        return (usual > after ? usual : after);
    return (usual > URGENT_MS * 1000 ? usual : URGENT_MS * 1000);
}

static void now_slow(struct work *w) {
    struct lane *l = w->part->lane;

    TAILQ_REMOVE(&l->calls, w, of_calls);
    l->n_calls--;
    TAILQ_INSERT_TAIL(&l->slow_calls, w, of_calls);
    l->n_slow_calls++;
    ang_counter_add(l->meters.slow_calls, 1);
    measure(l);
    w->is_slow = true;
    if (w->root != NULL)
        w->root->is_slow = true;
}

/* The oldest that has had its turn: slow_after, doubled with each eviction.  One that was evicted more often than `level`, who waits, has
 * no more than a first turn.  at_once: none has a turn. */
static struct work *evict_oldest(struct lane *l, int64_t now_us, unsigned level, bool at_once, const char *why) {
    struct work *w;

    TAILQ_FOREACH(w, &l->slow_calls, of_calls) {
        unsigned more;

        if (w->evicted || w->call == NULL || w->root == NULL)
            continue;
        more = w->root->evictions > level ? 0 : w->root->evictions > LONGEST ? LONGEST : w->root->evictions;
        if (at_once || now_us - w->call_since_us >= (l->set->limits.slow_after_ms * 1000) << more) {
            business_evict(w, why);
            return (w);
        }
    }
    return (NULL);
}

static int leaving(const struct lane *l) {
    const struct work *w;
    int n = 0;

    TAILQ_FOREACH(w, &l->slow_calls, of_calls)
    n += w->evicted;
    return (n);
}

/* Slow roots that wait for a turn, as far as one look cares. */
static int waiting(const struct lane *l) {
    const struct root *r;
    int level, n = 0;

    for (level = 0; level < SLOW_LEVELS; level++)
        TAILQ_FOREACH(r, &l->ready_slow[level], wait) {
            if (++n == TURNS)
                return (n);
        }
    return (n);
}

/* The fewest evictions of a root that waits for memory: for what its call takes, or for its records. */
static int memory_waiter(const struct lane *l, size_t records, size_t calls) {
    int level = SLOW_LEVELS, i;

    if (calls >= l->open_max && !TAILQ_EMPTY(&l->ready))
        return (0);
    for (i = 0; calls >= l->open_max && i < level; i++)
        if (!TAILQ_EMPTY(&l->ready_slow[i]))
            level = i;
    i = records >= l->open_max ? tails_level(l) : SLOW_LEVELS;
    return (i < level ? i : level);
}

/* Slow calls that hold memory which others wait for.  They go back to the log when they have ended (business.c). */
static void make_room(struct lane *l, int64_t now_us) {
    size_t records = l->open_bytes, calls = l->call_bytes;
    struct work *w;
    int level;

    TAILQ_FOREACH(w, &l->slow_calls, of_calls) {
        records -= w->evicted ? w->rec->bytes : 0;
        calls -= w->evicted ? w->call_bytes : 0;
    }
    while ((level = memory_waiter(l, records, calls)) < SLOW_LEVELS) {
        w = evict_oldest(l, now_us, (unsigned)level, false, "others wait for memory");
        if (w == NULL)
            return;
        records -= w->rec->bytes;
        calls -= w->call_bytes;
    }
}

/* Before any call has ended nobody can say what is usual: the older half of the places is then left in peace for much longer. */
static void find_slow(struct lane *l, int64_t now_us) {
    const int64_t limit = slow_us(l), most = USUAL_TIMES * l->set->limits.slow_after_ms * 1000;
    int spared = l->usual_us == 0 ? l->set->limits.calls / 2 : 0;
    struct work *w, *next;

    for (w = TAILQ_FIRST(&l->calls); w != NULL && now_us - w->call_since_us > limit; w = next) {
        next = TAILQ_NEXT(w, of_calls);
        if (spared-- <= 0 || now_us - w->call_since_us > most)
            now_slow(w);
    }
}

static void look(struct ang_timer *t) {
    struct lane *l = ANG_CONTAINER(t, struct lane, look);
    const int64_t now = ang_now_us();
    int over;

    l->looking = false;
    find_slow(l, now);
    /* A moment in which everything is slow is no reason to cancel what will answer soon. */
    for (over = l->n_slow_calls - leaving(l) - l->set->limits.slow_calls; over > 0; over--)
        if (evict_oldest(l, now, NOBODY, over > CROWD * l->set->limits.slow_calls,
                         "more calls became slow than limits.slow_calls") == NULL)
            break;
    for (over = waiting(l) - leaving(l); over > 0 && !is_free(l, true); over--)
        if (evict_oldest(l, now, NOBODY, false, "roots whose calls were slow before wait for their turn") == NULL)
            break;
    make_room(l, now);
    slots_serve(l);
    if (l->n_calls + l->n_slow_calls > 0)
        look_soon(l);
}
