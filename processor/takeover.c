/* Takeover of partitions, in the order of lane.md: our own ids fenced, stable positions of all inputs, a barrier record of our own, the log read
 * until it comes back, then `serving` in owners, acknowledged, and only then the lane serves.  On a thread of its own: all
 * of it blocks, and partitions already served go on meanwhile. */
#include "processor/lane_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define STEP_TIMEOUT_MS 15000
#define RETRY_MS 300
#define SAY_MS 10000
#define LOOK_MS 3000 /* whether partitions can be written */
/* An entry that an earlier owner wrote late comes soon after the takeover, if at all. */
#define AUDIT_FIRST_MS 5000
#define AUDIT_MS (600 * 1000)
/* A part that was last written longer ago than this may have missed tombstones: half of delete.retention.ms (7 d). */
#define PART_AGE_MS (84LL * 3600 * 1000)

struct takeover {
    unsigned magic;
#define TAKEOVER_MAGIC 0x7a3e0e01
    struct lane *lane;
    struct ang_opq q;
    pthread_t thread;
    int32_t *serving; /* [partition]: generation under which we serve it, 0: we do not */
    int64_t audit_ms; /* monotonic: when to look whether `owners` still says so */
    STAILQ_HEAD(, watch) watches; /* partitions that cannot be written */
    _Atomic bool stop;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

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

struct job {
    struct ang_op op;
    struct takeover *t;
    struct take *takes;
    size_t n;
    struct ang_err *er;
};

static bool current(const struct takeover *t, const struct take *k) {
    return (t->lane->parts[k->partition].epoch == k->epoch);
}

/* Leaves only what is still ours to take. */
static void prune(struct takeover *t, struct job *j) {
    size_t i, n = 0;

    for (i = 0; i < j->n; i++)
        if (current(t, &j->takes[i]))
            j->takes[n++] = j->takes[i];
    j->n = n;
}

/* ---- partitions that cannot be written (aside.c) ---- */
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

static int64_t next_watch(const struct takeover *t) {
    const struct watch *wa;
    int64_t at = ANG_NEVER;

    STAILQ_FOREACH(wa, &t->watches, link)
        if (wa->due_ms < at)
            at = wa->due_ms;
    return (at);
}

static void look(struct watch *wa) {
    struct ang_err *er;

    if (!current(wa->t, &wa->take)) {
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

static void look_all(struct takeover *t) {
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
static void set_apart(struct takeover *t, struct job *j) {
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

/* ---- step 0: the stores ---- */
static struct ang_err *refusals_until(struct lane *l, struct take *k) {
    return (ang_store_position(l->parts[k->partition].shard->store, REFUSALS_ROW, &k->refusals_until_ms, NULL));
}

static struct ang_err *open_store(struct takeover *t, struct take *k) {
    struct lane *l = t->lane;
    struct shard *sh = l->parts[k->partition].shard;
    struct ang_err *er = NULL;
    char *identity;

    ANG_PT(pthread_rwlock_wrlock(&sh->lock));
    if (sh->holder != NULL && sh->holder != l)
        er = ang_err_new_cls(ANG_E_STORE_LOCKED, ANG_RETRY, "partition %d is still being released by another lane", k->partition);
    else
        sh->holder = l;
    if (er == NULL && sh->store == NULL) {
        identity = ang_sprintf("%s %s%s/%d", worker_cluster(l->worker), l->set->topology.prefix, l->domain->name,
                               k->partition);
        er = ang_store_part_open(worker_store(l->worker), l->domain->name, k->partition, identity, PART_AGE_MS, &sh->store);
        free(identity);
    }
    if (er == NULL && k->reset) {
        er = ang_store_part_reset(sh->store);
        k->reset = er != NULL;
    }
    if (er == NULL)
        er = refusals_until(l, k);
    ANG_PT(pthread_rwlock_unlock(&sh->lock));
    return (er);
}

/* ---- before them: nothing of ours is open ---- */
struct token_ask {
    struct lane *l;
    struct ang_log_token *token;
    struct ang_err *er;
};

static void token_here(void *arg) {
    struct token_ask *a = arg;

    if (a->l->member == NULL)
        a->er = ang_err_new(ANG_E_SHUTDOWN, "the lane has left its group");
    else
        a->er = ang_log_member_token(a->l->member, &a->token);
}

static struct ang_err *token_of(struct lane *l, struct ang_log_token **ret_token) {
    struct token_ask a = {.l = l};

    ang_loop_call(l->loop, token_here, &a);
    *ret_token = a.token;
    return (a.er);
}

/* Nothing is open under our own ids, nor under those of earlier owners that did not release: else what they left open holds
 * our positions back until it times out. */
static struct ang_err *clear_way(struct takeover *t, const struct job *j, struct ang_owners *owners, const char **step) {
    struct lane *l = t->lane;
    struct ang_log_token *token;
    struct ang_err *er = token_of(l, &token);

    if (er != NULL)
        return (er);
    if (l->renew) {
        *step = "initialising the transactional ids";
        er = committer_renew(l->committer, token);
        l->renew = er != NULL;
    }
    if (er == NULL) {
        *step = "fencing earlier owners";
        er = owning_fence(l, owners, j->takes, j->n, ang_log_token_generation(token));
    }
    ang_log_token_unref(token);
    return (er);
}

/* ---- step 1: positions ---- */

static struct ang_err *allow_replay(struct lane *l, const struct ang_pos *pos, int64_t applied) {
    ANG_LOG(ANG_LOG_WARN, "REPLAY", "the committed position was set back; commands are run again from there", "topic",
            pos->topic->name, "partition", ANG_F("%d", pos->partition), "committed",
            ANG_F("%lld", (long long)pos->offset), "applied", ANG_F("%lld", (long long)applied));
    return (part_note_replay(&l->parts[pos->partition], pos->topic, applied));
}

/* What the store knows beside what is committed.  Lower than applied: somebody has reset the offsets of commands; they are not
 * run again unless that is allowed.  The same without a set of done records: a reset to where it stood has erased it (lane.md L11). */
static struct ang_err *compare(struct takeover *t, struct ang_pos *pos, struct ang_buf *meta) {
    struct shard *sh = t->lane->parts[pos->partition].shard;
    int64_t applied = ANG_OFFSET_NONE;
    struct ang_err *er = ang_store_position(sh->store, pos->topic->name, &applied, meta);

    if (er != NULL || applied < pos->offset || (applied == pos->offset && pos->meta.n > 0))
        return (er);
    if (applied > pos->offset && t->lane->set->replay.commands == ANG_REPLAY_ALLOW)
        return (allow_replay(t->lane, pos, applied));
    if (applied > pos->offset)
        ANG_LOG(ANG_LOG_WARN, "REPLAY-REFUSED",
                "the committed position was set back; commands are not run again (replay.commands), the lane goes on where it was",
                "topic", pos->topic->name, "partition", ANG_F("%d", pos->partition), "committed",
                ANG_F("%lld", (long long)pos->offset), "applied", ANG_F("%lld", (long long)applied));
    pos->offset = applied;
    pos->meta = ang_buf_slice(meta);
    return (NULL);
}

/* Nobody ever owned it. */
static struct ang_err *first_position(struct lane *l, struct ang_pos *pos) {
    pos->offset = 0;
    if (l->domain->business->start == ANG_START_EARLIEST)
        return (NULL);
    return (ang_log_end(l->log, pos->topic, pos->partition, STEP_TIMEOUT_MS, &pos->offset));
}

static struct ang_err *positions(struct takeover *t, const struct job *j, const struct ang_owners *owners, struct ang_pos *pos,
                                 struct ang_buf *metas, struct ang_buf *mem) {
    struct lane *l = t->lane;
    struct ang_err *er;
    size_t i;

    for (i = 0; i < j->n; i++) {
        pos[i * N_INPUTS + INPUT_COMMANDS] = (struct ang_pos){.topic = l->domain->commands, .partition = j->takes[i].partition};
        pos[i * N_INPUTS + INPUT_REACTIONS] =
            (struct ang_pos){.topic = l->domain->reactions, .partition = j->takes[i].partition};
    }
    er = ang_log_positions(l->log, l->domain->group, pos, j->n * N_INPUTS, STEP_TIMEOUT_MS, mem);
    if (er != NULL)
        return (er);
    for (i = 0; i < j->n * N_INPUTS; i++) {
        if (pos[i].offset != ANG_OFFSET_NONE) {
            er = compare(t, &pos[i], &metas[i]);
            if (er != NULL)
                return (er);
            continue;
        }
        if (ang_owners_get(owners, l->domain->group, pos[i].partition).state != ANG_OWNER_NONE)
            return (ang_err_new_cls(ANG_E_LOG_POSITION, ANG_RETRY,
                                    "%s partition %d: the group %s has run before, but no position is committed; asking again. "
                                    "If this stays, name one with `kafka-consumer-groups.sh --reset-offsets`",
                                    pos[i].topic->name, pos[i].partition, l->domain->group));
        er = first_position(l, &pos[i]);
        if (er != NULL)
            return (er);
    }
    return (NULL);
}

/* ---- step 2: the barrier ---- */
static void barrier_ask(struct ang_op *op, bool shutdown) {
    struct barrier *b = ANG_CONTAINER(op, struct barrier, op);

    if (shutdown) {
        b->er = ang_err_new(ANG_E_SHUTDOWN, "the lane stops");
        takeover_barrier_done(b);
        return;
    }
    lane_barrier_asked(b);
}

void takeover_barrier_done(struct barrier *b) {
    struct takeover *t = b->takeover;

    ANG_PT(pthread_mutex_lock(&t->lock));
    b->done = true;
    ANG_PT(pthread_cond_broadcast(&t->cond));
    ANG_PT(pthread_mutex_unlock(&t->lock));
}

static struct ang_err *barrier(struct takeover *t, struct job *j, struct ang_pos *pos, char id[37]) {
    struct barrier b = {.lane = t->lane, .takeover = t, .takes = j->takes, .n = j->n, .pos = pos};
    struct ang_uuid u;

    ang_uuid_v4(&u);
    ang_uuid_text(u.b, b.id);
    memcpy(id, b.id, sizeof b.id);
    ang_op_init(&b.op, barrier_ask);
    ang_loop_post(t->lane->loop, &b.op);
    ANG_PT(pthread_mutex_lock(&t->lock));
    while (!b.done)
        ANG_PT(pthread_cond_wait(&t->cond, &t->lock));
    ANG_PT(pthread_mutex_unlock(&t->lock));
    return (b.er);
}

/* ---- step 4: owners ---- */
static struct ang_err *say_serving(struct takeover *t, const struct job *j) {
    struct lane *l = t->lane;
    const int32_t generation = l->generation;
    int32_t *parts = ang_calloc(j->n + 1, sizeof *parts), n = 0;
    struct ang_err *er;
    size_t i;

    for (i = 0; i < j->n; i++) {
        parts[i] = j->takes[i].partition;
        l->parts[parts[i]].claimed = true;
        j->takes[i].generation = generation;
    }
    er = owning_say(l, parts, j->n, ANG_OWNER_SERVING, generation, SAY_MS);
    for (i = 0; i < j->n; i++) {
        if (!current(t, &j->takes[i]))
            parts[n++] = j->takes[i].partition; /* has gone meanwhile, and nobody said so */
        else if (er == NULL)
            t->serving[j->takes[i].partition] = generation;
    }
    if (er == NULL && n > 0)
        er = owning_say(l, parts, (size_t)n, ANG_OWNER_RELEASED, generation, SAY_MS);
    free(parts);
    t->audit_ms = ang_now_ms() + AUDIT_FIRST_MS;
    return (er);
}

/* A late entry of an earlier owner is found and ours written again. */
static void audit(struct takeover *t) {
    struct lane *l = t->lane;
    struct ang_owners *owners = NULL;
    struct ang_err *er;
    int32_t p;

    t->audit_ms = ang_now_ms() + AUDIT_MS;
    for (p = 0; p < l->domain->partitions && t->serving[p] == 0; p++)
        ;
    if (p == l->domain->partitions)
        return;
    er = ang_owners_open(l->log, worker_conf(l->worker)->topology, NULL, NULL, &owners);
    if (er == NULL)
        er = ang_owners_catch_up(owners, STEP_TIMEOUT_MS);
    if (er == NULL)
        er = owning_audit(l, owners, t->serving);
    ang_owners_close(owners);
    if (er == NULL)
        return;
    ANG_LOG_EVERY(60000, ANG_LOG_WARN, "OWNERS-AUDIT", "the owners topic could not be looked through, trying again", "error",
                  er->msg);
    ang_err_free(&er);
    t->audit_ms = ang_now_ms() + AUDIT_FIRST_MS;
}

/* ---- one attempt ---- */
static struct ang_err *attempt(struct takeover *t, struct job *j) {
    struct lane *l = t->lane;
    const size_t n_pos = j->n * N_INPUTS;
    struct ang_buf mem = {NULL, 0, 0}, *metas = ang_calloc(n_pos, sizeof *metas);
    struct ang_pos *pos = ang_calloc(n_pos, sizeof *pos);
    struct ang_owners *owners = NULL;
    const char *step = "opening the state store";
    struct ang_err *er = NULL;
    char id[37];
    size_t i;

    for (i = 0; er == NULL && i < j->n; i++)
        er = open_store(t, &j->takes[i]);
    ANG_KILL_POINT("takeover-store");
    if (er == NULL) {
        step = "reading the owners topic";
        er = ang_owners_open(l->log, worker_conf(l->worker)->topology, NULL, NULL, &owners);
        if (er == NULL)
            er = ang_owners_catch_up(owners, STEP_TIMEOUT_MS);
    }
    if (er == NULL)
        er = clear_way(t, j, owners, &step);
    if (er == NULL) {
        step = "fetching committed positions";
        er = positions(t, j, owners, pos, metas, &mem);
        ANG_KILL_POINT("takeover-positions");
    }
    if (er == NULL) {
        step = "committing the barrier";
        er = barrier(t, j, pos, id);
        ANG_KILL_POINT("takeover-barrier");
    }
    if (er == NULL) { /* what went elsewhere before the barrier was sealed has none that could come back */
        prune(t, j);
        if (j->n == 0)
            er = ang_err_new(ANG_E_SHUTDOWN, "the partitions have gone elsewhere");
    }
    if (er == NULL) {
        step = "reading the log";
        er = restore(l, j->takes, j->n, id);
        ANG_KILL_POINT("takeover-restored");
        if (er != NULL && (er->code == ANG_E_LOG_POSITION || er->code == ANG_E_STORE_CORRUPT || er->code == ANG_E_STORE_IO)) {
            er->cls = ANG_RETRY;
            for (i = 0; i < j->n; i++) /* the store is ahead of the log, too old, or damaged */
                j->takes[i].reset = true;
        }
    }
    for (i = 0; er == NULL && i < j->n; i++)
        er = refusals_until(l, &j->takes[i]);
    if (er == NULL) {
        step = "writing the owners topic";
        er = say_serving(t, j);
        ANG_KILL_POINT("takeover-serving");
    }
    ang_owners_close(owners); /* kept open it would cost 0.1 % of a core and its memory */
    for (i = 0; i < n_pos; i++)
        ang_buf_fini(&metas[i]);
    free(metas);
    ang_buf_fini(&mem);
    free(pos);
    return (er == NULL ? NULL : ang_err_wrap(&er, "takeover in %s, %s", l->domain->name, step));
}

static void pause_ms(struct takeover *t, int ms) {
    const int64_t until = ang_wall_ms() + ms;
    const struct timespec ts = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

    ANG_PT(pthread_mutex_lock(&t->lock));
    while (!t->stop && pthread_cond_timedwait(&t->cond, &t->lock, &ts) == 0)
        ;
    ANG_PT(pthread_mutex_unlock(&t->lock));
}

static void job_over(struct ang_op *op, bool shutdown) {
    struct job *j = ANG_CONTAINER(op, struct job, op);

    if (!shutdown)
        lane_taken_over(j->t->lane, j->takes, j->n, j->er);
    else
        ang_err_free(&j->er);
    free(j->takes);
    free(j);
}

static void job_run(struct ang_op *op, bool shutdown) {
    struct job *j = ANG_CONTAINER(op, struct job, op);
    struct takeover *t = j->t;

    while (!shutdown && !t->stop) {
        prune(t, j);
        set_apart(t, j);
        if (j->n == 0)
            break;
        ang_err_free(&j->er);
        j->er = attempt(t, j);
        prune(t, j);
        if (j->er == NULL || j->n == 0 || j->er->cls == ANG_FATAL)
            break;
        ang_counter_add(t->lane->meters.takeover_failures, 1);
        ANG_LOG_EVERY(3000, ANG_LOG_WARN, "TAKEOVER", "partitions cannot be served yet, trying again", "domain",
                      t->lane->domain->name, "partitions", ANG_F("%zu", j->n), "error", j->er->msg);
        holds_look(t->lane);
        pause_ms(t, RETRY_MS);
    }
    if (j->n == 0 || shutdown || t->stop) {
        ang_err_free(&j->er);
        free(j->takes);
        free(j);
        return;
    }
    ang_op_init(&j->op, job_over);
    ang_loop_post(t->lane->loop, &j->op);
}

void takeover_push(struct takeover *t, const struct take *takes, size_t n) {
    struct job *j = ANG_NEW(struct job);

    j->t = t;
    j->n = n;
    j->takes = ang_calloc(n, sizeof *takes);
    memcpy(j->takes, takes, n * sizeof *takes);
    ang_op_init(&j->op, job_run);
    ang_opq_push(&t->q, &j->op);
}

/* ---- closing ---- */
struct release {
    struct ang_op op;
    struct takeover *t;
    int32_t partition;
};

static void close_store(struct takeover *t, int32_t partition) {
    struct shard *sh = t->lane->parts[partition].shard;

    ANG_PT(pthread_rwlock_wrlock(&sh->lock));
    if (sh->holder == t->lane) {
        ang_store_part_close(sh->store);
        sh->store = NULL;
        sh->holder = NULL;
    }
    ANG_PT(pthread_rwlock_unlock(&sh->lock));
}

static void release_run(struct ang_op *op, bool shutdown) {
    struct release *r = ANG_CONTAINER(op, struct release, op);
    (void)shutdown;

    r->t->serving[r->partition] = 0;
    close_store(r->t, r->partition);
    free(r);
}

void takeover_release(struct takeover *t, int32_t partition) {
    struct release *r = ANG_NEW(struct release);

    r->t = t;
    r->partition = partition;
    ang_op_init(&r->op, release_run);
    ang_opq_push(&t->q, &r->op);
}

void takeover_wake(struct takeover *t) {
    ang_opq_wake(&t->q);
}

static void *takeover_main(void *arg) {
    struct takeover *t = arg;

    pthread_setname_np(pthread_self(), "ang-takeover");
    while (!t->stop) {
        const int64_t due_ms = next_watch(t);

        (void)ang_opq_wait(&t->q, due_ms < t->audit_ms ? due_ms : t->audit_ms);
        (void)ang_opq_run(&t->q);
        look_all(t);
        if (!t->stop)
            holds_look(t->lane);
        if (!t->stop && ang_now_ms() >= t->audit_ms)
            audit(t);
    }
    return (NULL);
}

struct takeover *takeover_new(struct lane *l) {
    struct takeover *t = ANG_NEW(struct takeover);

    t->magic = TAKEOVER_MAGIC;
    t->lane = l;
    t->serving = ang_calloc((size_t)l->domain->partitions, sizeof *t->serving);
    t->audit_ms = ANG_NEVER;
    STAILQ_INIT(&t->watches);
    ang_opq_init(&t->q, NULL, NULL);
    ANG_PT(pthread_mutex_init(&t->lock, NULL));
    ANG_PT(pthread_cond_init(&t->cond, NULL));
    ANG_PT(pthread_create(&t->thread, NULL, takeover_main, t));
    return (t);
}

void takeover_stop(struct takeover *t) {
    int32_t i;

    if (t == NULL)
        return;
    ANG_CHECK(t, TAKEOVER_MAGIC);
    ANG_PT(pthread_mutex_lock(&t->lock));
    t->stop = true;
    ANG_PT(pthread_cond_broadcast(&t->cond));
    ANG_PT(pthread_mutex_unlock(&t->lock));
    ang_opq_wake(&t->q);
    ANG_PT(pthread_join(t->thread, NULL));
    ang_opq_fini(&t->q);
    while (!STAILQ_EMPTY(&t->watches)) {
        struct watch *wa = STAILQ_FIRST(&t->watches);

        STAILQ_REMOVE_HEAD(&t->watches, link);
        free(wa);
    }
    for (i = 0; i < t->lane->domain->partitions; i++)
        close_store(t, i);
    ANG_PT(pthread_mutex_destroy(&t->lock));
    ANG_PT(pthread_cond_destroy(&t->cond));
    t->magic = 0;
    free(t->serving);
    free(t);
}
