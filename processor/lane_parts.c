/* Which partitions the lane has: given to it by the group, taken over, rebuilt, and given back.  Lane thread. */
#include "processor/lane_priv.h"

#include <stdlib.h>

#define RELEASE_MS 1000
#define FENCED_AGAIN_MS 60000

static void report_ready(struct lane *l) {
    bool ready = l->assigned_once && !l->draining;
    int32_t i;

    for (i = 0; i < l->domain->partitions; i++)
        if (l->parts[i].phase == PART_TAKEOVER)
            ready = false;
    health_look(l); /* before it: who is told that we are ready sees it */
    worker_lane_ready(l->worker, l, ready);
}

static void show(struct part *p, enum shard_state state) {
    ANG_PT(pthread_rwlock_wrlock(&p->shard->lock));
    p->shard->state = state;
    ANG_PT(pthread_rwlock_unlock(&p->shard->lock));
    worker_shard_changed(p->lane->worker);
}

/* ---- taking over ---- */
void lane_take(struct lane *l, struct part *const *parts, size_t n, bool reset) {
    struct take *takes = ang_calloc(n, sizeof *takes);
    size_t i;

    for (i = 0; i < n; i++) {
        struct part *p = parts[i];

        show(p, SHARD_COMING);
        part_drop(p);
        p->phase = PART_TAKEOVER;
        p->taken_ms = ang_now_ms();
        takes[i] = (struct take){.partition = p->no, .epoch = p->epoch, .reset = reset};
    }
    takeover_push(l->takeover, takes, n);
    if (reset)
        ang_counter_add(l->meters.rebuilds, n);
    free(takes);
    report_ready(l);
}

/* The batch under way, if there is one, is in the store. */
static void await_commit(struct lane *l) {
    if (l->committing == NULL)
        return;
    ANG_PT(pthread_mutex_lock(&l->lock));
    while (!l->commit_over)
        ANG_PT(pthread_cond_wait(&l->cond, &l->lock));
    ANG_PT(pthread_mutex_unlock(&l->lock));
}

void lane_store_failed(struct part *p, struct ang_err *er) {
    ANG_LOG(ANG_LOG_ERROR, "STORE-FAILED", "the state store could not be read; the partition is rebuilt from the log", "domain",
            p->lane->domain->name, "partition", ANG_F("%d", p->no), "error", er->msg);
    ang_err_free(&er);
    /* Applied to a store that was reset meanwhile, it would leave a position there without what lies before it. */
    await_commit(p->lane);
    lane_take(p->lane, &p, 1, true);
}

struct doubt {
    struct ang_op op;
    struct part *part;
    uint32_t epoch;
    struct ang_err *er;
};

static void doubt_run(struct ang_op *op, bool shutdown) {
    struct doubt *d = ANG_CONTAINER(op, struct doubt, op);

    if (!shutdown && d->part->epoch == d->epoch && part_readable(d->part))
        lane_store_failed(d->part, d->er);
    else
        ang_err_free(&d->er);
    free(d);
}

void lane_store_doubted(struct lane *l, int32_t partition, const struct ang_err *er) {
    struct doubt *d = ANG_NEW(struct doubt);

    d->part = &l->parts[partition];
    d->epoch = d->part->epoch;
    d->er = ang_err_dup(er);
    ang_op_init(&d->op, doubt_run);
    ang_loop_post(l->loop, &d->op);
}

void lane_barrier_asked(struct barrier *b) {
    struct lane *l = b->lane;
    size_t i, live = 0;
    int k;

    for (i = 0; i < b->n; i++) {
        struct part *p = &l->parts[b->takes[i].partition];

        if (p->epoch != b->takes[i].epoch)
            continue;
        live++;
        for (k = 0; k < N_INPUTS; k++) {
            struct input *in = &p->in[k];
            const struct ang_pos *pos = &b->pos[i * N_INPUTS + (size_t)k];

            in->committed = pos->offset;
            ang_buf_clear(&in->meta);
            ang_buf_add_slice(&in->meta, pos->meta);
        }
    }
    if (live == 0 || l->draining) {
        b->er = ang_err_new(ANG_E_SHUTDOWN, "the partitions have gone elsewhere");
        takeover_barrier_done(b);
        return;
    }
    b->next = l->barriers;
    l->barriers = b;
    ang_loop_wake(l->loop);
}

void lane_taken_over(struct lane *l, const struct take *takes, size_t n, struct ang_err *er) {
    size_t i;

    if (er != NULL && er->cls == ANG_FATAL) {
        lane_fatal(l, er);
        return;
    }
    for (i = 0; i < n; i++) {
        struct part *p = &l->parts[takes[i].partition];

        if (p->epoch != takes[i].epoch)
            continue;
        p->refusals_until_ms = takes[i].refusals_until_ms;
        p->generation = takes[i].generation;
        health_part_starts(p);
        p->refusal_slot = (uint32_t)ang_wall_ms(); /* far from the slots that were used last */
        p->committed_ms = ang_now_ms();
        ang_counter_add(l->meters.takeovers, 1);
        ang_histogram_add(l->meters.takeover_time, (ang_now_ms() - p->taken_ms) * 1000);
        show(p, SHARD_SERVING);
        er = part_serve(p);
        if (er != NULL) {
            lane_fatal(l, er);
            return;
        }
    }
    report_ready(l);
}

/* ---- membership ---- */
static void assigned(void *arg, const int32_t *partitions, size_t n) {
    struct lane *l;
    struct part **parts;
    size_t i;

    ANG_CAST(l, arg, LANE_MAGIC);
    l->assigned_once = true;
    if (n == 0) {
        report_ready(l);
        return;
    }
    parts = ang_calloc(n, sizeof(struct part *));
    ANG_LOG(ANG_LOG_INFO, "ASSIGNED", "partitions are ours", "domain", l->domain->name, "partitions", ANG_F("%zu", n));
    for (i = 0; i < n; i++) {
        ANG_ASSERT(partitions[i] >= 0 && partitions[i] < l->domain->partitions);
        parts[i] = &l->parts[partitions[i]];
        parts[i]->claimed = false;
    }
    lane_take(l, parts, n, false);
    free(parts);
}

/* So that the next owner need not fence us, which would hurt the partitions that stay (lane.md L16). */
static void release(struct lane *l, const int32_t *partitions, size_t n) {
    int32_t *claimed = ang_calloc(n + 1, sizeof *claimed);
    struct ang_err *er;
    size_t i, k = 0;

    for (i = 0; i < n; i++)
        if (l->parts[partitions[i]].claimed)
            claimed[k++] = partitions[i];
    er = owning_say(l, claimed, k, ANG_OWNER_RELEASED, l->generation, RELEASE_MS);
    if (er != NULL)
        ANG_LOG(ANG_LOG_WARN, "RELEASE", "the next owner is not told that partitions were released, and will fence us", "domain",
                l->domain->name, "error", er->msg);
    ang_err_free(&er);
    free(claimed);
}

static void revoked(void *arg, const int32_t *partitions, size_t n, bool lost) {
    struct lane *l;
    size_t i;

    ANG_CAST(l, arg, LANE_MAGIC);
    ANG_LOG(ANG_LOG_INFO, lost ? "LOST" : "REVOKED", "partitions go elsewhere", "domain", l->domain->name, "partitions",
            ANG_F("%zu", n));
    await_commit(l);
    if (lost)
        l->renew = true;
    else
        release(l, partitions, n);
    for (i = 0; i < n; i++) {
        struct part *p = &l->parts[partitions[i]];

        show(p, SHARD_AWAY);
        part_drop(p);
        p->phase = PART_NONE;
        takeover_release(l->takeover, p->no);
    }
    report_ready(l);
}

static void leased(void *arg, int64_t until_ms) {
    struct lane *l = arg;

    atomic_store(&l->lease_ms, until_ms);
}

/* ---- joining ---- */
struct ang_err *lane_join(struct lane *l) {
    const struct ang_log_member_conf mc = {.group = l->domain->group,
                                           .topic = l->domain->commands->name,
                                           .instance = l->instance,
                                           .session_timeout_ms = (int)l->set->worker.session_timeout_ms,
                                           .wake = lane_wake,
                                           .assigned = assigned,
                                           .revoked = revoked,
                                           .leased = leased,
                                           .arg = l};

    return (ang_log_member_join(l->log, &mc, &l->member));
}

/* The group says that another process has joined under our name.  When connections break, that can be a late copy of our own request
 * to join; so we join again, which takes the name back.  If it is somebody else who does the same, the second time tells (lane.md L16).
 * Takes er, or returns it. */
static struct ang_err *join_again(struct lane *l, struct ang_err *er) {
    const int64_t now = ang_now_ms();

    if (l->fenced_ms != 0 && now - l->fenced_ms < FENCED_AGAIN_MS)
        return (er);
    l->fenced_ms = now;
    ANG_LOG(ANG_LOG_WARN, "MEMBER-FENCED", "the group takes us for replaced; joining again, once", "domain", l->domain->name, "error",
            er->msg);
    ang_err_free(&er);
    ang_log_member_leave(l->member, true);
    l->member = NULL;
    return (lane_join(l));
}

struct ang_err *lane_poll_member(struct lane *l) {
    struct ang_err *er = ang_log_member_poll(l->member, 0);

    return (er != NULL && er->code == ANG_E_LOG_FENCED ? join_again(l, er) : er);
}
