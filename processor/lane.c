/* The lane: one loop that reads, runs, seals and answers.  What blocks is elsewhere (committer.c, takeover.c). */
#include "processor/lane_priv.h"

#include <stdlib.h>

#define READ_MAX 1024
/* More than the lane may hold for so long: it is stuck, and what comes is left to the log (tail.c). */
#define FULL_MS 250
#define DONE_MAX 10000
#define TICK_MS 1000
#define RECOMMIT_MS (3600 * 1000)
#define DRAIN_MS 8000

void lane_fatal(struct lane *l, struct ang_err *er) {
    worker_fatal(l->worker, er);
}

/* ---- after a commit ---- */
static void settle_work(struct lane *l, struct work *w) {
    struct root *r = w->root;

    if (w->part->epoch == w->epoch) {
        w->part->open--;
        if (r != NULL) {
            r->open--;
            if (w->indexed)
                ang_table_remove(&l->ids, &w->by_id);
            w->indexed = false;
            root_rest(r);
        }
    }
    work_free(w);
}

static void committed(struct lane *l, struct batch *b) {
    struct answers as = {.worker = l->worker};
    struct part *failed[1];
    struct work *w;
    size_t i;
    int k;

    poison_committed(l, b);
    meters_committed(l, b);
    for (i = 0; i < b->n_parts; i++) {
        struct part *p = b->parts[i].part;

        if (p->epoch != b->parts[i].epoch)
            continue;
        p->committed_ms = ang_now_ms();
        for (k = 0; k < N_INPUTS; k++) {
            p->in[k].committed = b->pos[i * N_INPUTS + (size_t)k].offset;
            ang_buf_clear(&p->in[k].meta);
            ang_buf_add_slice(&p->in[k].meta, ang_buf_slice(&b->metas[i * N_INPUTS + (size_t)k]));
        }
        if (b->parts[i].refusals_until_ms > p->refusals_until_ms)
            p->refusals_until_ms = b->parts[i].refusals_until_ms;
    }
    TAILQ_FOREACH(w, &b->works, link)
        answers_add(&as, w);
    answers_send(&as);
    while ((w = TAILQ_FIRST(&b->works)) != NULL) {
        TAILQ_REMOVE(&b->works, w, link);
        settle_work(l, w);
    }
    for (i = 0; i < b->n_parts; i++)
        if (b->parts[i].store_failed && b->parts[i].part->epoch == b->parts[i].epoch) {
            failed[0] = b->parts[i].part;
            lane_take(l, failed, 1, true);
        }
}

/* Nothing of it is visible: what was in it, and what stood on it, is read and run again from the committed positions. */
static void aborted(struct lane *l, struct batch *b, bool unknown) {
    struct ang_err *er;
    struct work *w;
    size_t i;

    ANG_LOG_EVERY(1000, ANG_LOG_WARN, unknown ? "COMMIT-UNKNOWN" : "COMMIT-ABORTED",
                  unknown ? "the outcome of a transaction is unknown: it is read from the log"
                          : "a transaction was aborted: its commands run again",
                  "domain", l->domain->name, "error", b->er->msg);
    if (!unknown)
        poison_aborted(l, b);
    l->committing = b; /* part_drop looks there */
    for (i = 0; i < b->n_parts; i++) {
        struct part *p = b->parts[i].part;

        if (p->epoch != b->parts[i].epoch)
            continue;
        if (p->phase == PART_SERVING && unknown) {
            lane_take(l, &p, 1, false);
        } else if (p->phase == PART_SERVING && !aside_stuck(b, p)) {
            part_drop(p);
            er = part_serve(p);
            if (er != NULL)
                lane_fatal(l, er);
        }
    }
    aside_put(l, b);
    l->committing = NULL;
    while ((w = TAILQ_FIRST(&b->works)) != NULL) {
        TAILQ_REMOVE(&b->works, w, link);
        settle_work(l, w);
    }
    l->pause_until_ms = ang_now_ms() + 20;
}

void lane_batch_settled(struct batch *b) {
    struct lane *l = b->lane;

    ANG_CHECK(b, BATCH_MAGIC);
    l->committing = NULL;
    ang_counter_add(b->er == NULL ? l->meters.committed : l->meters.aborted[b->er->cls], 1);
    if (b->barrier != NULL) {
        for (size_t i = 0; b->er == NULL && i < 2 * b->barrier->n; i++) {
            int64_t *at = &b->barrier->takes[i / 2].barrier[i % 2];
            if (*at != ANG_OFFSET_NONE)
                *at = b->recs[*at].offset;
        }
        b->barrier->er = b->er;
        b->er = NULL;
        aside_put(l, b);
        takeover_barrier_done(b->barrier);
    } else if (b->er == NULL) {
        committed(l, b);
    } else if (b->er->cls == ANG_FATAL) {
        lane_fatal(l, ang_err_dup(b->er));
        aborted(l, b, false);
    } else {
        aborted(l, b, b->er->cls == ANG_UNKNOWN);
    }
    batch_free(b);
    atomic_fetch_add(&l->commits_over, 1); /* what it left in doubt is not served any more */
    worker_commit_over(l->worker);
}

/* ---- the turn ---- */

/* Memory for more records; or else more is read only to be left to the log. */
static bool may_read(struct lane *l) {
    const int64_t now = l->open_bytes > l->open_max ? ang_now_ms() : 0;

    if (l->open_bytes < l->open_max / 2)
        l->parking = false;
    if (now == 0)
        l->full_ms = 0;
    else if (l->full_ms == 0)
        l->full_ms = now;
    if (now == 0 || l->parking)
        return (true);
    l->parking = now - l->full_ms >= FULL_MS;
    if (!l->parking)
        ang_timer_set(l->loop, &l->full, l->full_ms + FULL_MS); /* and what ends wakes the loop */
    return (l->parking);
}

static void read_inputs(struct lane *l) {
    struct ang_rec *recs[READ_MAX];
    struct ang_err *er;
    size_t i, n;
    int round;

    l->dry = false;
    for (round = 0; round < 4; round++) {
        if (!may_read(l) || l->n_done > DONE_MAX)
            return;
        er = ang_log_reader_poll(l->reader, recs, READ_MAX, 0, &n);
        if (er != NULL && er->code == ANG_E_LOG_POSITION) {
            ANG_LOG(ANG_LOG_ERROR, "POSITION-GONE", "records that were not processed have been deleted from the log", "domain",
                    l->domain->name, "error", er->msg);
            lane_fatal(l, er);
            return;
        }
        if (er != NULL) {
            lane_fatal(l, er);
            return;
        }
        for (i = 0; i < n; i++)
            admit(l, recs[i]);
        if (n < READ_MAX) {
            l->dry = true;
            return;
        }
    }
    ang_loop_wake(l->loop);
}

static void drop_stale_barriers(struct lane *l) {
    struct barrier **at = &l->barriers, *b;

    while ((b = *at) != NULL) {
        size_t i, live = 0;

        for (i = 0; i < b->n; i++)
            live += l->parts[b->takes[i].partition].epoch == b->takes[i].epoch;
        if (live > 0 && !l->draining) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        b->er = ang_err_new(ANG_E_SHUTDOWN, "the partitions have gone elsewhere");
        takeover_barrier_done(b);
    }
}

static void seal(struct lane *l) {
    struct ang_log_token *token;
    struct ang_err *er;

    drop_stale_barriers(l);
    if (l->committing != NULL || (l->n_done == 0 && l->barriers == NULL && !l->recommit))
        return;
    if (ang_now_ms() < l->pause_until_ms) {
        ang_timer_set(l->loop, &l->poll_timer, l->pause_until_ms);
        return;
    }
    er = ang_log_member_token(l->member, &token);
    if (er != NULL) { /* joining: soon */
        if (er->cls == ANG_FATAL) {
            lane_fatal(l, er);
            return;
        }
        ang_err_free(&er);
        ang_timer_set(l->loop, &l->poll_timer, ang_now_ms() + 20);
        return;
    }
    l->generation = ang_log_token_generation(token);
    l->committing = batch_seal(l, token);
    if (l->committing->n_parts == 0) {
        batch_free(l->committing);
        l->committing = NULL;
        return;
    }
    l->committing->began_ms = ang_now_ms();
    atomic_fetch_add(&l->commits_begun, 1);
    committer_push(l->committer, l->committing);
}

static void turn(void *arg) {
    struct lane *l;
    struct ang_err *er;
    int32_t i;

    ANG_CAST(l, arg, LANE_MAGIC);
    if (l->stopped)
        return;
    er = lane_poll_member(l);
    if (er != NULL) {
        l->stopped = true;
        lane_fatal(l, er);
        return;
    }
    if (!l->draining) {
        read_inputs(l);
        tails_serve(l);
    }
    for (i = 0; i < l->domain->partitions; i++)
        part_balance(&l->parts[i]);
    lane_evict(l);
    seal(l);
}

void lane_turn(struct ang_timer *t) {
    (void)t; /* the turn that follows does it */
}

static void tick(struct ang_timer *t) {
    struct lane *l = ANG_CONTAINER(t, struct lane, tick);
    const int64_t now = ang_now_ms();
    int32_t i;

    for (i = 0; i < l->domain->partitions; i++)
        if (part_readable(&l->parts[i]) && now - l->parts[i].committed_ms > RECOMMIT_MS)
            l->recommit = true;
    if (l->lease_over && ang_boot_ms() < l->lease_ms)
        worker_shard_changed(l->worker); /* reads that wait go on */
    l->lease_over = ang_boot_ms() >= l->lease_ms;
    health_look(l);
    ang_timer_set(l->loop, &l->tick, now + TICK_MS);
}

/* ---- life ---- */
void lane_wake(void *arg) {
    ang_loop_wake(((struct lane *)arg)->loop);
}

struct lane *lane_new(struct ang_worker *w, const struct ang_domain *d, int index) {
    struct lane *l = ANG_NEW(struct lane);
    const struct ang_worker_conf *wc = worker_conf(w);
    int32_t i;
    int k;

    l->magic = LANE_MAGIC;
    l->worker = w;
    l->domain = d;
    l->set = wc->settings;
    l->log = wc->log;
    l->index = index;
    l->idle_max = worker_cache_share(w);
    l->open_max = worker_open_share(w);
    l->batch_max = BATCH_WORKS_MAX;
    STAILQ_INIT(&l->poisons);
    l->instance = ang_sprintf("%s%s-%s-%d", l->set->topology.prefix, d->name, worker_id(w), index);
    for (k = 0; k < 2; k++)
        l->txn_id[k] = ang_sprintf("%s-%d", l->instance, k);
    slots_init(l);
    tails_init(l);
    TAILQ_INIT(&l->idle);
    TAILQ_INIT(&l->done);
    STAILQ_INIT(&l->spare_effects);
    TAILQ_INIT(&l->spare_works);
    ang_timer_init(&l->poll_timer, lane_turn);
    ang_timer_init(&l->full, lane_turn);
    ang_timer_init(&l->tick, tick);
    ANG_PT(pthread_mutex_init(&l->lock, NULL));
    ANG_PT(pthread_cond_init(&l->cond, NULL));
    l->loop = ang_loop_new("ang-lane", turn, l);
    l->parts = ang_calloc((size_t)d->partitions, sizeof *l->parts);
    for (i = 0; i < d->partitions; i++)
        part_init(&l->parts[i], l, i);
    meters_init(l);
    health_init(l);
    holds_init(l);
    return (l);
}

static struct ang_err *open_all(struct lane *l) {
    const struct ang_log_reader_conf rc = {
        .name = l->instance, .wake = lane_wake, .arg = l, .fetch_wait_ms = 100, .memory = (int64_t)l->open_max};
    struct ang_err *er = business_open(l);

    if (er == NULL)
        er = ang_log_reader_open(l->log, &rc, &l->reader);
    if (er == NULL)
        er = lane_join(l);
    return (er);
}

static void start_here(void *arg) {
    struct lane *l = arg;
    struct ang_err *er = open_all(l);

    if (er != NULL) {
        l->stopped = true;
        lane_fatal(l, er);
        return;
    }
    l->stopped = false;
    tick(&l->tick);
}

void lane_start(struct lane *l) {
    l->stopped = true; /* until open_all */
    l->renew = true;   /* an earlier process of our name may have been killed in a transaction */
    l->committer = committer_new(l);
    l->takeover = takeover_new(l);
    ang_loop_start(l->loop);
    ang_loop_call(l->loop, start_here, l);
}

static void drain_here(void *arg) {
    struct lane *l = arg;
    int32_t i;
    int k;

    l->draining = true;
    for (i = 0; i < l->domain->partitions; i++)
        for (k = 0; k < N_INPUTS; k++)
            if (l->parts[i].in[k].reading) {
                ang_log_reader_remove(l->reader, l->parts[i].in[k].topic, i);
                l->parts[i].in[k].reading = false;
            }
    drop_stale_barriers(l);
}

struct look {
    struct lane *l;
    bool busy;
};

static void look_here(void *arg) {
    struct look *lk = arg;

    lk->busy = lk->l->committing != NULL || lk->l->n_done > 0 || lk->l->n_calls + lk->l->n_slow_calls > 0;
}

static void leave_here(void *arg) {
    struct lane *l = arg;

    ang_log_member_leave(l->member, false);
    l->member = NULL;
    l->stopped = true;
    ang_timer_cancel(l->loop, &l->tick);
    ang_timer_cancel(l->loop, &l->poll_timer);
    ang_timer_cancel(l->loop, &l->full);
    ang_timer_cancel(l->loop, &l->look);
    drop_stale_barriers(l);
}

static void close_here(void *arg) {
    struct lane *l = arg;
    int32_t i;

    for (i = 0; i < l->domain->partitions; i++)
        part_drop(&l->parts[i]);
    business_close(l);
    tails_close(l);
    ang_log_reader_close(l->reader);
    l->reader = NULL;
}

void lane_stop(struct lane *l) {
    const int64_t until = ang_now_ms() + DRAIN_MS;
    struct look lk = {.l = l, .busy = true};
    int32_t i;

    if (l == NULL)
        return;
    ANG_CHECK(l, LANE_MAGIC);
    ang_loop_call(l->loop, drain_here, l);
    while (lk.busy && ang_now_ms() < until) {
        ang_loop_call(l->loop, look_here, &lk);
        if (lk.busy)
            nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
    ang_loop_call(l->loop, leave_here, l);
    committer_stop(l->committer);
    takeover_stop(l->takeover);
    committer_free(l->committer);
    ang_loop_call(l->loop, close_here, l);
    ang_loop_stop(l->loop);
    for (i = 0; i < l->domain->partitions; i++)
        part_fini(&l->parts[i]);
    meters_fini(l);
    health_fini(l);
    holds_fini(l);
    spares_free(l);
    poison_free(l);
    tails_fini(l);
    ang_table_fini(&l->ids);
    free(l->parts);
    free(l->instance);
    free(l->txn_id[0]);
    free(l->txn_id[1]);
    ang_buf_fini(&l->scratch);
    ang_buf_fini(&l->scratch2);
    ANG_PT(pthread_mutex_destroy(&l->lock));
    ANG_PT(pthread_cond_destroy(&l->cond));
    l->magic = 0;
    free(l);
}
