/* Partitions that cannot be written, served before (aside.c) or still to be taken over: the log is asked, less and less often, until
 * they can. */
#include "processor/takeover_priv.h"

#include <stdlib.h>

#define LOOK_MS 3000 /* whether partitions can be written */

struct watch { /* a partition that cannot be written, served before or still to be taken over */
    struct ang_op op; /* lane -> takeover -> lane */
    STAILQ_ENTRY(watch) link;
    struct takeover *t;
    struct take take;
    bool taking;
    struct ang_writable out;
    int wait_ms;
    int64_t due_ms; /* monotonic */
};

static void watch(struct watch *wa) {
    wa->due_ms = ang_now_ms() + wa->wait_ms;
    STAILQ_INSERT_TAIL(&wa->t->watches, wa, link);
}

static void watch_run(struct ang_op *op, bool shutdown) {
    struct watch *wa = ANG_CONTAINER(op, struct watch, op);

    if (shutdown)
        free(wa);
    else
        watch(wa);
}

static struct watch *watch_new(struct takeover *t, const struct ang_writable *out, int wait_ms) {
    struct watch *wa = ANG_NEW(struct watch);

    wa->t = t;
    wa->out = *out;
    wa->wait_ms = wait_ms;
    return (wa);
}

void takeover_watch(struct takeover *t, const struct part *p, const struct ang_writable *out, int wait_ms) {
    struct watch *wa = watch_new(t, out, wait_ms);

    wa->take = (struct take){.partition = p->no, .epoch = p->epoch};
    ang_op_init(&wa->op, watch_run);
    ang_opq_push(&t->q, &wa->op);
}

static void end_run(struct ang_op *op, bool shutdown) {
    struct watch *wa = ANG_CONTAINER(op, struct watch, op);

    if (!shutdown)
        aside_end(&wa->t->lane->parts[wa->take.partition], wa->take.epoch);
    free(wa);
}

static void watch_end(struct watch *wa) {
    struct takeover *t = wa->t;

    ANG_LOG(ANG_LOG_INFO, "PARTITION-BACK", "a partition can be written again", "domain", t->lane->domain->name, "topic",
            wa->out.topic->name, "partition", ANG_F("%d", wa->out.partition));
    if (wa->taking) {
        takeover_push(t, &wa->take, 1);
        free(wa);
        return;
    }
    ang_op_init(&wa->op, end_run);
    ang_loop_post(t->lane->loop, &wa->op);
}

int64_t takeover_next_look(const struct takeover *t) {
    const struct watch *wa;
    int64_t at = ANG_NEVER;

    STAILQ_FOREACH(wa, &t->watches, link)
        if (wa->due_ms < at)
            at = wa->due_ms;
    return (at);
}

static void look(struct watch *wa) {
    struct ang_err *er;

    if (!takeover_current(wa->t, &wa->take)) {
        free(wa);
        return;
    }
    er = ang_log_writable(wa->t->lane->log, &wa->out, 1, LOOK_MS);
    if (er == NULL && wa->out.why == NULL) {
        watch_end(wa);
        return;
    }
    ang_err_free(&er); /* that nobody can be asked is told by whoever else tries */
    wa->wait_ms = aside_longer(wa->wait_ms);
    watch(wa);
}

void takeover_look(struct takeover *t) {
    const int64_t now = ang_now_ms();
    STAILQ_HEAD(, watch) all = STAILQ_HEAD_INITIALIZER(all);
    struct watch *wa;

    STAILQ_CONCAT(&all, &t->watches);
    while (!t->stop && (wa = STAILQ_FIRST(&all)) != NULL) {
        STAILQ_REMOVE_HEAD(&all, link);
        if (wa->due_ms <= now)
            look(wa);
        else
            STAILQ_INSERT_TAIL(&t->watches, wa, link);
    }
    STAILQ_CONCAT(&t->watches, &all);
}

/* A barrier that cannot be written would hold up all other partitions, of the job and of the lane. */
void takeover_set_apart(struct takeover *t, struct job *j) {
    const struct ang_domain *d = t->lane->domain;
    struct ang_writable *ws = ang_calloc(2 * j->n + 1, sizeof *ws);
    struct ang_err *er;
    struct watch *wa;
    size_t i, n = 0;

    for (i = 0; i < j->n; i++) {
        ws[2 * i] = (struct ang_writable){.topic = d->events, .partition = j->takes[i].partition};
        ws[2 * i + 1] = (struct ang_writable){.topic = d->snapshots, .partition = j->takes[i].partition};
    }
    er = ang_log_writable(t->lane->log, ws, 2 * j->n, LOOK_MS);
    for (i = 0; er == NULL && i < j->n; i++) {
        const struct ang_writable *bad = ws[2 * i].why != NULL ? &ws[2 * i] : &ws[2 * i + 1];

        if (bad->why == NULL) {
            j->takes[n++] = j->takes[i];
            continue;
        }
        ANG_LOG(ANG_LOG_WARN, "PARTITION-ASIDE", "a partition cannot be written and is not taken over yet; the others are",
                "domain", d->name, "topic", bad->topic->name, "partition", ANG_F("%d", bad->partition), "reason", bad->why);
        wa = watch_new(t, bad, aside_longer(0));
        wa->take = j->takes[i];
        wa->taking = true;
        watch(wa);
    }
    if (er == NULL)
        j->n = n;
    ang_err_free(&er); /* the attempt itself will say what is wrong */
    free(ws);
}

void takeover_look_no_more(struct takeover *t) {
    struct watch *wa;

    while ((wa = STAILQ_FIRST(&t->watches)) != NULL) {
        STAILQ_REMOVE_HEAD(&t->watches, link);
        free(wa);
    }
}
