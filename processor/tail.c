/* What waits of a root as offsets only (lane.md L12).
 *
 *      admit ──▶ queue, so many of a root ──▶ call
 *        └─────▶ tail, offsets ──[a reader of its own]──▶ queue, when the root has nothing else in memory
 *                 ▲
 *                 └── a call that was cancelled or failed while others wait for memory, and what is queued behind it
 *
 * So neither a stuck root with a million commands nor a thousand with large ones take the memory of the others.  Order is kept: as long as
 * a root has a tail, what comes for it goes there.  Everything here is of the lane's thread. */
#include "processor/lane_priv.h"

#include <stdlib.h>

#define QUEUE_MAX   100 /* works of a root in memory, not counting the one that runs */
#define REFILL      50  /* so many are loaded at once; of one whose calls are slow, only the one to be called */
#define SKIP_MAX    100 /* records between two that are wanted: more, and the reader is set anew */
#define RECS        256
#define QUIET_MS    10000 /* without a tail: the reader is closed */
#define READER_MEMORY (1 << 20)

struct offsets { /* ascending */
    int64_t *at;
    size_t first, n, cap; /* at[first .. n) */
};

struct tail {
    TAILQ_ENTRY(tail) link; /* again->waiting[level], while it waits to be loaded */
    struct root *root;
    int level; /* -1: it does not wait */
    int64_t not_before_ms;
    int turn; /* the input to be read next */
    struct offsets in[N_INPUTS];
};
TAILQ_HEAD(tail_list, tail);

struct again {
    struct lane *lane;
    struct ang_log_reader *reader; /* NULL: not needed for a while */
    struct tail_list waiting[SLOW_LEVELS];
    size_t n_tails, n_waiting;
    struct ang_timer timer; /* the first one that may be loaded */
    int64_t quiet_ms;       /* monotonic: since when there is no tail */
    /* being read */
    struct part *part; /* NULL: nothing */
    int input;
    bool from_begin; /* what is wanted is no longer in the log: the first record that there is tells how much */
    struct root *root; /* for whom; NULL: it has what it wants, or is gone */
    unsigned starts;   /* how often reading began or ended: what was polled before is void */
};

/* ---- offsets ---- */
static bool none(const struct offsets *o) {
    return (o->first == o->n);
}

static void push(struct offsets *o, int64_t offset) {
    if (o->n == o->cap && o->first > o->cap / 2) {
        memmove(o->at, o->at + o->first, (o->n - o->first) * sizeof *o->at);
        o->n -= o->first;
        o->first = 0;
    } else if (o->n == o->cap) {
        o->cap = o->cap == 0 ? 16 : o->cap * 2;
        o->at = ang_realloc(o->at, o->cap * sizeof *o->at);
    }
    o->at[o->n++] = offset;
}

static int ascending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return ((x > y) - (x < y));
}

static void sort(struct offsets *o) {
    if (!none(o))
        qsort(o->at + o->first, o->n - o->first, sizeof *o->at, ascending);
}

/* ---- life ---- */
void tails_init(struct lane *l) {
    struct again *g = ANG_NEW(struct again);
    int level;

    g->lane = l;
    for (level = 0; level < SLOW_LEVELS; level++)
        TAILQ_INIT(&g->waiting[level]);
    ang_timer_init(&g->timer, lane_turn);
    l->again = g;
}

void tails_close(struct lane *l) {
    ang_timer_cancel(l->loop, &l->again->timer);
    ang_log_reader_close(l->again->reader);
    l->again->reader = NULL;
}

void tails_fini(struct lane *l) {
    AZ(l->again->n_tails);
    free(l->again);
    l->again = NULL;
}

static void measure(const struct again *g) {
    ang_gauge_set(g->lane->meters.tails, (int64_t)g->n_tails);
}

static struct tail *tail_of(struct root *r) {
    if (r->tail != NULL)
        return (r->tail);
    r->tail = ANG_NEW(struct tail);
    r->tail->root = r;
    r->tail->level = -1;
    r->part->lane->again->n_tails++;
    measure(r->part->lane->again);
    return (r->tail);
}

static void unlist(struct tail *t) {
    struct again *g = t->root->part->lane->again;

    if (t->level < 0)
        return;
    TAILQ_REMOVE(&g->waiting[t->level], t, link);
    g->n_waiting--;
    t->level = -1;
}

static void tail_free(struct tail *t) {
    struct again *g = t->root->part->lane->again;
    int k;

    unlist(t);
    for (k = 0; k < N_INPUTS; k++)
        free(t->in[k].at);
    t->root->tail = NULL;
    if (--g->n_tails == 0)
        g->quiet_ms = ang_now_ms();
    measure(g);
    free(t);
}

/* ---- reading ---- */
static void stop(struct again *g) {
    if (g->part != NULL)
        ang_log_reader_remove(g->reader, g->part->in[g->input].topic, g->part->no);
    g->part = NULL;
    g->root = NULL;
    g->from_begin = false;
    g->starts++;
}

static bool room(const struct lane *l) {
    return (l->open_bytes < l->open_max);
}

bool tails_starve(const struct lane *l) {
    return (l->again->n_waiting > 0 && !room(l));
}

int tails_level(const struct lane *l) {
    int level;

    for (level = 0; level < SLOW_LEVELS && TAILQ_EMPTY(&l->again->waiting[level]); level++)
        ;
    return (level);
}

/* Who may be loaded; else when somebody may. */
static struct tail *choose(struct again *g, int64_t *ret_ms) {
    const int64_t now = ang_now_ms();
    struct tail *t;
    int level;

    *ret_ms = INT64_MAX;
    for (level = 0; level < SLOW_LEVELS; level++)
        TAILQ_FOREACH(t, &g->waiting[level], link) {
            if (t->not_before_ms <= now)
                return (t);
            if (t->not_before_ms < *ret_ms)
                *ret_ms = t->not_before_ms;
        }
    return (NULL);
}

static struct ang_err *read_from(struct again *g, struct root *r, int input, int64_t offset) {
    struct lane *l = g->lane;
    const struct ang_log_reader_conf conf = {
        .name = "again", .wake = lane_wake, .arg = l, .fetch_wait_ms = 20, .memory = READER_MEMORY};
    struct ang_err *er = NULL;

    stop(g);
    if (g->reader == NULL) /* some milliseconds, and only when a root is stuck */
        er = ang_log_reader_open(l->log, &conf, &g->reader);
    if (er == NULL)
        er = ang_log_reader_add(g->reader, r->part->in[input].topic, r->part->no, offset);
    if (er != NULL)
        return (er);
    g->part = r->part;
    g->input = input;
    g->root = r;
    g->from_begin = offset == ANG_OFFSET_BEGIN;
    return (NULL);
}

static struct ang_err *begin(struct again *g, struct tail *t) {
    int k = t->turn;

    if (none(&t->in[k]))
        k = 1 - k;
    t->turn = 1 - k;
    unlist(t);
    return (read_from(g, t->root, k, t->in[k].at[t->in[k].first]));
}

/* Whether the tail went with it. */
static bool shrunk(struct root *r) {
    if (!none(&r->tail->in[0]) || !none(&r->tail->in[1]))
        return (false);
    tail_free(r->tail);
    return (true);
}

/* They have been deleted before their turn came: retention is shorter than the wait. */
static void gone(struct root *r, int input, int64_t before) {
    struct part *p = r->part;
    struct offsets *o = &r->tail->in[input];
    const int64_t first = o->at[o->first];
    unsigned n = 0;

    for (; !none(o) && o->at[o->first] < before; n++) {
        ang_doneset_mark(&p->in[input].done, o->at[o->first++]);
        p->open--;
        r->open--;
    }
    ANG_LOG(ANG_LOG_ERROR, "COMMANDS-GONE", "commands that waited for their turn have been deleted from the log",
            "topic", p->in[input].topic->name, "partition", ANG_F("%d", p->no), "from", ANG_F("%lld", (long long)first),
            "number", ANG_F("%u", n), "retention_of", p->in[input].topic->name);
}

static bool has_enough(const struct root *r) {
    return (r->queued + (r->running != NULL) >= (r->evictions == 0 ? REFILL : 1));
}

/* Who takes rec, the root that is read for or another one on the way; NULL: nobody. */
static struct root *wanted_by(struct again *g, const struct ang_rec *rec) {
    struct ang_wire_command_book book;
    struct ang_err *er = ang_wire_parse_command_book(rec->value, &book);
    struct root *r = NULL;
    struct ang_root id;

    if (er == NULL && book.cover.root.n == 16) {
        memcpy(id.id, book.cover.root.p, 16);
        id.edition = book.cover.edition;
        r = part_find(g->part, &id);
    }
    ang_err_free(&er);
    if (r == NULL || r->tail == NULL || none(&r->tail->in[g->input]) ||
        r->tail->in[g->input].at[r->tail->in[g->input].first] != rec->offset)
        return (NULL);
    return (r == g->root || (!has_enough(r) && r->tail->not_before_ms <= ang_now_ms()) ? r : NULL);
}

/* Takes rec. */
static void load(struct again *g, struct root *r, struct ang_rec *rec) {
    struct offsets *o = &r->tail->in[g->input];

    unlist(r->tail);
    o->first++;
    r->open--;
    r->part->open--;
    (void)shrunk(r);
    admit_again(g->part, g->input, rec); /* may drop the part, and with it stop the reading */
}

/* Somebody else whose turn it is, and whose record is not far behind. */
static bool next_one(struct again *g, int64_t offset) {
    int64_t ms, ahead;
    struct tail *t = room(g->lane) ? choose(g, &ms) : NULL;

    if (t == NULL || t->root->part != g->part || none(&t->in[g->input]))
        return (false);
    ahead = t->in[g->input].at[t->in[g->input].first] - offset;
    if (ahead <= 0 || ahead > SKIP_MAX)
        return (false);
    unlist(t);
    g->root = t->root;
    return (true);
}

/* After a record at `offset`: whether reading goes on, and for whom.  While something is read for a root, its tail has an offset of this
 * input. */
static void go_on(struct again *g, int64_t offset) {
    const struct offsets *o;
    struct root *r = g->root;
    struct ang_err *er;

    if (r == NULL || r->tail == NULL || has_enough(r) || !room(g->lane) || none(&r->tail->in[g->input])) {
        g->root = NULL;
        if (r != NULL)
            tail_wants(r);
        if (!next_one(g, offset))
            stop(g);
        return;
    }
    o = &r->tail->in[g->input];
    if (o->at[o->first] - offset <= SKIP_MAX)
        return;
    er = read_from(g, r, g->input, o->at[o->first]);
    if (er != NULL)
        lane_fatal(g->lane, er);
}

/* Takes rec. */
static void take(struct again *g, struct ang_rec *rec) {
    const int64_t offset = rec->offset;
    struct root *r = g->root;

    if (r->tail->in[g->input].at[r->tail->in[g->input].first] < offset) {
        gone(r, g->input, offset);
        if (shrunk(r)) {
            g->root = NULL;
            root_rest(r);
        }
    }
    g->from_begin = false;
    r = wanted_by(g, rec);
    if (r != NULL && (r == g->root || room(g->lane)))
        load(g, r, rec);
    else
        ang_rec_free(&rec);
    if (g->part != NULL)
        go_on(g, offset);
}

static void poll(struct again *g) {
    const unsigned starts = g->starts;
    struct ang_rec *recs[RECS];
    struct ang_err *er;
    size_t i, n;

    er = ang_log_reader_poll(g->reader, recs, RECS, 0, &n);
    if (er != NULL && er->code == ANG_E_LOG_POSITION && g->root != NULL && !g->from_begin) {
        ang_err_free(&er);
        er = read_from(g, g->root, g->input, ANG_OFFSET_BEGIN);
    }
    if (er != NULL) {
        lane_fatal(g->lane, er);
        return;
    }
    for (i = 0; i < n; i++) {
        if (g->starts == starts)
            take(g, recs[i]);
        else
            ang_rec_free(&recs[i]);
    }
}

void tails_serve(struct lane *l) {
    struct again *g = l->again;
    const unsigned starts = g->starts;
    struct ang_err *er;
    struct tail *t;
    int64_t ms;

    if (g->n_tails == 0 && g->part == NULL) {
        if (g->reader != NULL && ang_now_ms() - g->quiet_ms > QUIET_MS)
            tails_close(l);
        return;
    }
    if (g->part != NULL)
        poll(g);
    if (g->part != NULL || !room(l))
        goto out; /* what ends wakes the loop */
    t = choose(g, &ms);
    if (t == NULL) {
        if (ms != INT64_MAX)
            ang_timer_set(l->loop, &g->timer, ms);
        return;
    }
    er = begin(g, t);
    if (er != NULL)
        lane_fatal(l, er);
out:
    /* What is left in the reader of an earlier start would keep it from telling that there is more. */
    if (g->starts != starts)
        ang_loop_wake(l->loop);
}

/* ---- into the tail, and out of memory ---- */
void tail_wants(struct root *r) {
    struct tail *t = r->tail;
    struct again *g;

    if (t == NULL || t->level >= 0 || r->running != NULL || r->queued > 0)
        return;
    g = r->part->lane->again;
    if (r == g->root)
        return;
    t->level = (int)(r->evictions < SLOW_LEVELS ? r->evictions : SLOW_LEVELS - 1);
    TAILQ_INSERT_TAIL(&g->waiting[t->level], t, link);
    g->n_waiting++;
    ang_loop_wake(g->lane->loop);
}

static void leave(struct work *w) {
    push(&tail_of(w->root)->in[w->input], w->offset);
    work_free(w);
}

bool tail_takes(struct work *w) {
    struct root *r = w->root;
    struct lane *l = r->part->lane;
    const bool nothing_else = r->running == NULL && r->queued == 0;

    if (r->tail == NULL && r->queued < QUEUE_MAX && (!l->parking || (nothing_else && room(l))))
        return (false);
    leave(w);
    tail_wants(r);
    return (true);
}

/* Its copies are works of the log as well. */
static void leave_all(struct work *w) {
    struct work *c;

    while ((c = TAILQ_FIRST(&w->copies)) != NULL) {
        TAILQ_REMOVE(&w->copies, c, link);
        leave(c);
    }
    leave(w);
}

/* Nothing of it stands on what is not committed yet. */
static bool is_unstaged(const struct root *r) {
    return (r->open == r->tail->in[0].n - r->tail->in[0].first + r->tail->in[1].n - r->tail->in[1].first);
}

void tail_unload(struct root *r, int64_t wait_ms) {
    struct work *w;
    int k;

    if (r->running != NULL)
        leave_all(r->running);
    r->running = NULL;
    while ((w = TAILQ_FIRST(&r->queue)) != NULL) {
        TAILQ_REMOVE(&r->queue, w, link);
        r->queued--;
        leave_all(w);
    }
    for (k = 0; k < N_INPUTS; k++)
        sort(&r->tail->in[k]);
    r->tail->not_before_ms = ang_now_ms() + wait_ms;
    if (is_unstaged(r))
        root_unload(r);
    slots_forget(r);
    tail_wants(r);
}

void tail_drop(struct root *r) {
    if (r->tail != NULL)
        tail_free(r->tail);
}

void tails_drop(const struct part *p) {
    struct again *g = p->lane->again;

    if (g->part == p)
        stop(g);
}
