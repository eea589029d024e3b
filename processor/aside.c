/* Partitions that cannot be written for now, because of their leader or their replicas (lane.md L10).
 *
 *      commit fails ──▶ aside_look ──▶ aside_put ──▶ takeover thread asks the log, 1 s, 2 s, … 30 s ──▶ aside_end
 *       (committer)     (committer)      (lane)                                                         (lane)
 *
 * Such a part is dropped from memory, as after any abort, and nothing is read for it, so that no transaction of the lane contains it: the
 * other parts go on.  Its commands wait in the log; its state can be read.
 *
 * A transaction that was begun for such a partition cannot end before the partition is back, and its transactional id with it; a second
 * one would leave the lane without any.  So all parts are looked at when one fails, not only those of the batch. */
#include "processor/lane_priv.h"

#include <stdlib.h>

#define LOOK_MS    1500
#define FIRST_MS   1000
#define MOST_MS    30000
#define RELAPSE_MS 60000 /* failing again so soon after it came back: it waits twice as long */

int aside_longer(int wait_ms) {
    return (wait_ms == 0 ? FIRST_MS : wait_ms < MOST_MS / 2 ? 2 * wait_ms : MOST_MS);
}

/* ---- committer thread ---- */
static void blame(struct batch *b, int32_t partition, const struct ang_out *rec) {
    struct ang_writable *s;

    if (!rec->undelivered)
        return;
    if (b->stuck == NULL)
        b->stuck = ang_calloc((size_t)b->lane->domain->partitions, sizeof *b->stuck);
    s = &b->stuck[partition];
    if (s->why == NULL)
        *s = (struct ang_writable){rec->topic, rec->partition, "a record was not delivered in time"};
}

/* A record belongs to the part whose work it is of, wherever it goes; those behind the works go to their own part. */
static void blame_parts(struct batch *b) {
    const struct ang_out *rec = b->recs, *end = b->recs + b->n_recs;
    const struct effect *e;
    const struct work *w;

    TAILQ_FOREACH(w, &b->works, link)
        STAILQ_FOREACH(e, &w->effects, link)
            blame(b, w->part->no, rec++);
    for (; rec < end; rec++)
        blame(b, rec->partition, rec);
}

void aside_look(struct batch *b) {
    const struct ang_domain *d = b->lane->domain;
    struct ang_writable *ws;
    struct ang_err *er;
    int32_t p;
    size_t i;

    blame_parts(b);
    if (b->stuck == NULL)
        return;
    ws = ang_calloc(2 * (size_t)d->partitions, sizeof *ws);
    for (p = 0; p < d->partitions; p++) {
        ws[2 * p] = (struct ang_writable){.topic = d->events, .partition = p};
        ws[2 * p + 1] = (struct ang_writable){.topic = d->snapshots, .partition = p};
    }
    er = ang_log_writable(b->lane->log, ws, 2 * (size_t)d->partitions, LOOK_MS);
    for (i = 0; er == NULL && i < 2 * (size_t)d->partitions; i++)
        if (ws[i].why != NULL)
            b->stuck[ws[i].partition] = ws[i];
    ang_err_free(&er); /* then only those whose records failed are known */
    free(ws);
}

/* ---- lane thread ---- */
bool aside_stuck(const struct batch *b, const struct part *p) {
    return (b->stuck != NULL && b->stuck[p->no].why != NULL);
}

static void put(struct part *p, const struct ang_writable *s) {
    const bool again = ang_now_ms() - p->back_ms < RELAPSE_MS;

    p->aside_wait_ms = aside_longer(again ? p->aside_wait_ms : 0);
    ANG_LOG(ANG_LOG_WARN, "PARTITION-ASIDE", "a partition cannot be written: its commands wait, other partitions go on",
            "domain", p->lane->domain->name, "topic", s->topic->name, "partition", ANG_F("%d", s->partition), "reason",
            s->why, "asked_again_after_ms", ANG_F("%d", p->aside_wait_ms));
    part_drop(p);
    p->phase = PART_ASIDE;
    takeover_watch(p->lane->takeover, p, s, p->aside_wait_ms);
}

void aside_put(struct lane *l, const struct batch *b) {
    int32_t i;

    for (i = 0; i < l->domain->partitions; i++)
        if (l->parts[i].phase == PART_SERVING && aside_stuck(b, &l->parts[i]))
            put(&l->parts[i], &b->stuck[i]);
}

void aside_end(struct part *p, uint32_t epoch) {
    struct ang_err *er;

    if (p->epoch != epoch || p->phase != PART_ASIDE || p->lane->draining)
        return;
    p->back_ms = ang_now_ms();
    er = part_serve(p);
    if (er != NULL)
        lane_fatal(p->lane, er);
}
