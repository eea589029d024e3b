/* Batches that the log refuses (lane.md L10).
 *
 * Sizes and destinations are checked before a record is staged, against what was read at start; a topic can be changed after that.  A
 * refused transaction is made again with half the works, until one stands alone.  That one ends with a named error and a dead letter, and if
 * the log does not take that either, with nothing but its position.  A commit that takes too long also halves what comes next: a batch
 * that meets its transaction time-out would meet it again. */
#include "processor/lane_priv.h"

#include <stdlib.h>

#define LONE_TRIES 2
#define LONG_MS    2500 /* a quarter of the transaction time-out */

static bool any_refused(const struct batch *b) {
    size_t i;

    for (i = 0; i < b->n_recs; i++)
        if (b->recs[i].refused)
            return (true);
    return (false);
}

static void shrink(struct lane *l, const struct batch *b) {
    const size_t most = b->n_works < l->batch_max ? b->n_works : l->batch_max;

    l->batch_max = most > 1 ? most / 2 : 1;
}

static struct poison *find(const struct lane *l, const struct work *w) {
    struct poison *p;

    STAILQ_FOREACH(p, &l->poisons, link)
    if (p->partition == w->part->no && p->input == w->input && p->offset == w->offset)
        return (p);
    return (NULL);
}

static void forget(struct lane *l, struct poison *p) {
    STAILQ_REMOVE(&l->poisons, p, poison, link);
    free(p->why);
    free(p);
}

void poison_committed(struct lane *l, const struct batch *b) {
    const struct work *w;
    struct poison *p;

    l->lone_failures = 0;
    if (!STAILQ_EMPTY(&l->poisons))
        TAILQ_FOREACH(w, &b->works, link)
    if ((p = find(l, w)) != NULL)
        forget(l, p);
    if (b->n_works > 0 && ang_now_ms() - b->began_ms > LONG_MS) {
        shrink(l, b);
        ANG_LOG_EVERY(5000, ANG_LOG_WARN, "COMMIT-SLOW", "a transaction took long: the next ones hold fewer commands",
                      "domain", l->domain->name, "ms", ANG_F("%lld", (long long)(ang_now_ms() - b->began_ms)),
                      "commands", ANG_F("%zu", b->n_works), "now_at_most", ANG_F("%zu", l->batch_max));
    } else if (l->batch_max < BATCH_WORKS_MAX) {
        l->batch_max += l->batch_max / 4 + 1;
    }
}

static void convict(struct lane *l, const struct work *w, const struct ang_err *er) {
    struct poison *p = find(l, w);

    if (p == NULL) {
        p = ANG_NEW(struct poison);
        p->partition = w->part->no;
        p->input = w->input;
        p->offset = w->offset;
        p->why = ang_strdup(er->msg);
        STAILQ_INSERT_TAIL(&l->poisons, p, link);
    }
    p->tries++;
    ANG_LOG(ANG_LOG_ERROR, "POISON",
            p->tries == 1 ? "the outcome of a record cannot be written: it ends with an error and a dead letter"
                          : "the dead letter of a record cannot be written either: it ends without one",
            "topic", w->rec->topic->name, "partition", ANG_F("%d", p->partition), "offset",
            ANG_F("%lld", (long long)p->offset), "error", er->msg);
}

void poison_aborted(struct lane *l, const struct batch *b) {
    if (!any_refused(b))
        return;
    shrink(l, b);
    if (b->n_works != 1) {
        l->lone_failures = 0;
    } else if (++l->lone_failures >= LONE_TRIES) {
        l->lone_failures = 0;
        convict(l, TAILQ_FIRST(&b->works), b->er);
    }
}

bool poison_drop(struct work *w) {
    const struct poison *p = find(w->part->lane, w);

    if (p == NULL || p->tries < 2)
        return (false);
    w->reply_to = ANG_SLICE_NONE; /* a caller that waits is told by its deadline */
    finish(w);
    return (true);
}

bool poison_end(struct work *w) {
    const struct poison *p = find(w->part->lane, w);
    struct ang_status *st;

    if (p == NULL)
        return (false);
    dead_letter(w, DEAD_UNWRITABLE, p->why);
    st = ang_status_new(ANG_INTERNAL, "the outcome of the command cannot be written to the log: %s", p->why);
    finish_status(w, &st);
    return (true);
}

void poison_free(struct lane *l) {
    while (!STAILQ_EMPTY(&l->poisons))
        forget(l, STAILQ_FIRST(&l->poisons));
}
