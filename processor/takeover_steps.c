/* One attempt to take partitions over, in the order of lane.md: our own ids fenced, stable positions of all inputs, a barrier record of our
 * own, the log read until it comes back (restore.c), then `serving` in owners, acknowledged. */
#include "processor/takeover_priv.h"

#include <stdlib.h>

#define SAY_MS 10000
/* A part that was last written longer ago than this may have missed tombstones: half of delete.retention.ms (7 d). */
#define PART_AGE_MS (84LL * 3600 * 1000)

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

/* ---- before the steps: nothing of ours is open ---- */
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
    return (ang_log_end(l->log, pos->topic, pos->partition, TAKEOVER_STEP_MS, &pos->offset));
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
    er = ang_log_positions(l->log, l->domain->group, pos, j->n * N_INPUTS, TAKEOVER_STEP_MS, mem);
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
        if (!takeover_current(t, &j->takes[i]))
            parts[n++] = j->takes[i].partition; /* has gone meanwhile, and nobody said so */
        else if (er == NULL)
            t->serving[j->takes[i].partition] = generation;
    }
    if (er == NULL && n > 0)
        er = owning_say(l, parts, (size_t)n, ANG_OWNER_RELEASED, generation, SAY_MS);
    free(parts);
    t->audit_ms = ang_now_ms() + TAKEOVER_AUDIT_MS;
    return (er);
}

/* ---- one attempt ---- */
struct ang_err *takeover_attempt(struct takeover *t, struct job *j) {
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
            er = ang_owners_catch_up(owners, TAKEOVER_STEP_MS);
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
        takeover_prune(t, j);
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
