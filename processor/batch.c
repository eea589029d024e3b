/* Batches: sealing what is finished into a transaction, and bringing it into the store once it is committed.
 *
 * Sealed by the lane between two polls (lane.md L4): the token, the epochs of the parts, and for every part it writes for
 * the positions of all its inputs.  After that nothing in it changes; it is committed once, or dropped. */
#include "processor/lane_priv.h"

#include <stdio.h>

/* A transaction is not made larger than this; the rest waits for the next one. */
#define BATCH_BYTES_MAX (8 << 20)
#define PRUNE_EVERY_MS 10000
#define PRUNE_ROWS 2000
/* Clocks of two brokers may differ by this. */
#define CLOCK_SLACK_MS 60000

static struct batch *batch_new(struct lane *l, struct ang_log_token *token) {
    struct batch *b = ANG_NEW(struct batch);

    b->magic = BATCH_MAGIC;
    b->lane = l;
    b->token = token;
    TAILQ_INIT(&b->works);
    b->parts = ang_calloc((size_t)l->domain->partitions, sizeof *b->parts);
    return (b);
}

void batch_free(struct batch *b) {
    size_t i;

    if (b == NULL)
        return;
    ANG_CHECK(b, BATCH_MAGIC);
    AN(TAILQ_EMPTY(&b->works));
    for (i = 0; i < b->n_pos; i++) {
        ang_buf_fini(&b->metas[i]);
        ang_buf_fini(&b->elsewhere[i]);
    }
    ang_log_token_unref(b->token);
    ang_err_free(&b->er);
    free(b->stuck);
    free(b->recs);
    ang_buf_fini(&b->keys);
    free(b->pos);
    free(b->metas);
    free(b->elsewhere);
    free(b->parts);
    b->magic = 0;
    free(b);
}

static void touch(struct batch *b, struct part *p) {
    if (p->sealed_in == b)
        return;
    p->sealed_in = b;
    b->parts[b->n_parts++] = (struct batch_part){.part = p, .epoch = p->epoch, .refusals_floor_ms = p->refusals_until_ms};
}

static struct ang_out *add_rec(struct batch *b, const struct ang_out *out) {
    if (b->n_recs == b->cap_recs) {
        b->cap_recs = b->cap_recs == 0 ? 64 : b->cap_recs * 2;
        b->recs = ang_realloc(b->recs, b->cap_recs * sizeof *b->recs);
    }
    b->recs[b->n_recs] = *out;
    return (&b->recs[b->n_recs++]);
}

static size_t take_works(struct batch *b) {
    struct lane *l = b->lane;
    struct work *w;
    struct effect *e;
    size_t n = 0, bytes = 0;

    while (n < l->batch_max && bytes < BATCH_BYTES_MAX && (w = TAILQ_FIRST(&l->done)) != NULL) {
        TAILQ_REMOVE(&l->done, w, link);
        l->n_done--;
        TAILQ_INSERT_TAIL(&b->works, w, link);
        touch(b, w->part);
        ang_doneset_mark(&w->part->in[w->input].done, w->offset);
        STAILQ_FOREACH(e, &w->effects, link) {
            add_rec(b, &e->out);
            bytes += e->out.value.n;
        }
        n++;
    }
    b->n_works = n;
    b->bytes = bytes;
    return (n);
}

/* The barrier record, in both topics that a takeover reads. */
static void take_barrier(struct batch *b) {
    struct lane *l = b->lane;
    struct barrier *ba = l->barriers;
    const struct ang_topic *topics[2] = {l->domain->events, l->domain->snapshots};
    struct ang_out out = {.tombstone = true, .hdrs = b->barrier_hdrs, .n_hdrs = ANG_COUNT(b->barrier_hdrs)};
    size_t i, k;

    if (ba == NULL)
        return;
    l->barriers = ba->next;
    b->barrier = ba;
    snprintf(b->barrier_text[0], sizeof b->barrier_text[0], "!owner/%.140s", l->domain->group);
    snprintf(b->barrier_text[1], sizeof b->barrier_text[1], "%d", ang_log_token_generation(b->token));
    b->barrier_hdrs[0] = (struct ang_hdr){"barrier", ang_slice_str(ba->id)};
    b->barrier_hdrs[1] = (struct ang_hdr){"generation", ang_slice_str(b->barrier_text[1])};
    b->barrier_hdrs[2] = (struct ang_hdr){"worker", ang_slice_str(l->instance)};
    out.key = ang_slice_str(b->barrier_text[0]);
    for (i = 0; i < ba->n; i++) {
        struct part *p = &l->parts[ba->takes[i].partition];

        ba->takes[i].barrier[0] = ba->takes[i].barrier[1] = ANG_OFFSET_NONE;
        if (p->epoch != ba->takes[i].epoch)
            continue;
        touch(b, p);
        for (k = 0; k < ANG_COUNT(topics); k++) {
            out.topic = topics[k];
            out.partition = p->no;
            ba->takes[i].barrier[k] = (int64_t)b->n_recs; /* its offset once it is committed */
            add_rec(b, &out);
        }
    }
}

/* A set that is too long for the metadata of its position: a record in the same transaction. */
static void add_done_record(struct batch *b, const struct part *p, const struct ang_topic *input, const struct ang_buf *set) {
    struct ang_out out = {.topic = b->lane->domain->snapshots, .partition = p->no};

    ang_buf_addf(&b->keys, DONE_KEY "%s", input->name);
    out.value = ang_buf_slice(set);
    out.key.n = strlen(DONE_KEY) + strlen(input->name); /* where it stands is known when all are there */
    add_rec(b, &out);
}

static void take_position(struct batch *b, size_t n, const struct part *p, const struct input *in) {
    struct ang_buf *set = &b->metas[n];
    struct ang_pos *pos = &b->pos[n];

    *pos = (struct ang_pos){.topic = in->topic, .partition = p->no, .offset = in->committed};
    if (p->phase != PART_SERVING) { /* as it is committed already, with its record if it has one */
        ang_buf_add_slice(set, ang_buf_slice(&in->meta));
    } else {
        pos->offset = ang_doneset_base(&in->done);
        if (ang_doneset_count(&in->done) > 0 && !ang_doneset_encode(&in->done, ANG_DONESET_MAX_TEXT, set)) {
            AN(ang_doneset_encode(&in->done, SIZE_MAX, set));
            add_done_record(b, p, in->topic, set);
        }
    }
    pos->meta = ang_buf_slice(set);
    if (set->n > ANG_DONESET_MAX_TEXT) {
        ang_doneset_encode_elsewhere(pos->offset, &b->elsewhere[n]);
        pos->meta = ang_buf_slice(&b->elsewhere[n]);
    }
}

static void take_positions(struct batch *b) {
    const size_t first = b->n_recs;
    size_t i, n = 0, at = 0;
    int k;

    b->n_pos = b->n_parts * N_INPUTS;
    b->pos = ang_calloc(b->n_pos, sizeof *b->pos);
    b->metas = ang_calloc(b->n_pos, sizeof *b->metas);
    b->elsewhere = ang_calloc(b->n_pos, sizeof *b->elsewhere);
    for (i = 0; i < b->n_parts; i++)
        for (k = 0; k < N_INPUTS; k++, n++)
            take_position(b, n, b->parts[i].part, &b->parts[i].part->in[k]);
    for (i = first; i < b->n_recs; at += b->recs[i++].key.n)
        b->recs[i].key.p = b->keys.p + at;
}

static struct batch_part *part_of(struct batch *b, const struct part *p) {
    size_t i;

    for (i = 0; i < b->n_parts; i++)
        if (b->parts[i].part == p)
            return (&b->parts[i]);
    ang_panic(__FILE__, __LINE__, __func__, "a work of a part that is not in its batch");
}

/* Once a while, when nothing read so far is open any more. */
static void plan_prune(struct batch *b) {
    const int64_t now = ang_now_ms();
    struct work *w;
    int k;

    TAILQ_FOREACH(w, &b->works, link) {
        struct part *p = w->part;

        if (now < p->prune_ms)
            continue;
        for (k = 0; k < N_INPUTS && ang_doneset_base(&p->in[k].done) == p->in[k].next; k++)
            ;
        if (k < N_INPUTS)
            continue;
        p->prune_ms = now + PRUNE_EVERY_MS;
        part_of(b, p)->prune_before_ms = w->rec->time_ms - b->lane->set->limits.dedupe_window_ms - CLOCK_SLACK_MS;
    }
}

struct batch *batch_seal(struct lane *l, struct ang_log_token *token) {
    struct batch *b = batch_new(l, token);
    size_t i;

    if (l->barriers != NULL)
        take_barrier(b);
    else
        take_works(b);
    if (l->recommit && b->barrier == NULL) { /* positions are kept alive although nothing moves (lane.md L5) */
        for (i = 0; i < (size_t)l->domain->partitions; i++)
            if (part_readable(&l->parts[i]))
                touch(b, &l->parts[i]);
        l->recommit = false;
    }
    for (i = 0; i < b->n_parts; i++)
        b->parts[i].part->sealed_in = NULL;
    take_positions(b);
    plan_prune(b);
    return (b);
}

/* ---- after the commit: committer thread ---- */
static void note(int64_t *next, int64_t offset) {
    if (offset >= *next)
        *next = offset + 1;
}

static void apply_work(struct batch *b, struct ang_store_batch *sb, struct work *w, const struct ang_out **rec) {
    struct batch_part *bp = part_of(b, w->part);
    struct ang_store_part *store = w->part->shard->store;
    struct ang_store_done done = {.first = w->first, .pages = w->pages, .time_ms = 0};
    struct effect *e;

    STAILQ_FOREACH(e, &w->effects, link) {
        const struct ang_out *out = (*rec)++;

        if (e->kind == EFFECT_EVENTS) {
            const struct ang_store_book book = {
                .first = e->first, .pages = e->pages, .time_ms = out->time_ms, .book = out->value};

            ang_store_put_book(sb, store, &w->root_id, &book, w->book.cover.correlation_id);
            note(&bp->next_event, out->offset);
            if (out->offset + 1 == bp->next_event)
                bp->last_event = out->key;
            if (done.time_ms == 0)
                done.time_ms = out->time_ms;
        } else if (e->kind == EFFECT_SNAPSHOT) {
            ANG_KILL_POINT("snapshot");
            ang_counter_add(b->lane->meters.snapshots, 1);
            ang_store_put_snapshot(sb, store, &w->root_id, out->value);
            note(&bp->next_snapshot, out->offset);
        } else if (e->kind == EFFECT_REFUSAL) {
            ang_store_put_refusal(sb, store, &w->root_id, w->command_id, w->deadline_ms, out->value);
            note(&bp->next_snapshot, out->offset);
            if (w->deadline_ms > bp->refusals_until_ms)
                bp->refusals_until_ms = w->deadline_ms;
        }
    }
    if (done.time_ms != 0)
        ang_store_put_done(sb, store, &w->root_id, w->command_id, &done);
}

/* Forgets what no copy can ask for any more.  A copy that is still in the log was appended after everything that is done, so the
 * window counts from there (lane.md L7). */
static void prune(struct batch *b) {
    size_t i;

    for (i = 0; i < b->n_parts; i++) {
        struct batch_part *bp = &b->parts[i];
        struct ang_err *er;

        if (bp->prune_before_ms <= 0)
            continue;
        er = ang_store_prune(bp->part->shard->store, bp->prune_before_ms, PRUNE_ROWS);
        if (er != NULL) {
            ANG_LOG_EVERY(10000, ANG_LOG_WARN, "PRUNE-FAILED", "old entries could not be removed from the state store", "error",
                          er->msg);
            ang_err_free(&er);
        }
    }
}

void batch_apply(struct batch *b) {
    struct lane *l = b->lane;
    struct ang_store_batch *sb = ang_store_batch_new(worker_store(l->worker));
    const struct ang_out *rec = b->recs;
    struct ang_buf mark = {NULL, 0, 0};
    struct ang_err *er;
    struct work *w;
    size_t i, n;

    if (b->barrier != NULL) { /* the takeover reads it itself */
        ang_store_batch_free(sb);
        return;
    }
    TAILQ_FOREACH(w, &b->works, link)
        apply_work(b, sb, w, &rec);
    for (i = 0; i < b->n_parts; i++) {
        struct batch_part *bp = &b->parts[i];
        struct ang_store_part *store = bp->part->shard->store;

        if (bp->next_event > 0) {
            restore_mark(&mark, bp->next_event - 1, bp->last_event);
            ang_store_put_position(sb, store, l->domain->events->name, bp->next_event, ang_buf_slice(&mark));
        }
        if (bp->refusals_until_ms > 0)
            ang_store_put_position(
                sb, store, REFUSALS_ROW,
                bp->refusals_until_ms > bp->refusals_floor_ms ? bp->refusals_until_ms : bp->refusals_floor_ms,
                ANG_SLICE_NONE);
        if (bp->next_snapshot > 0)
            ang_store_put_position(sb, store, l->domain->snapshots->name, bp->next_snapshot, ANG_SLICE_NONE);
    }
    for (n = 0; n < b->n_pos; n++)
        ang_store_put_position(sb, b->parts[n / N_INPUTS].part->shard->store, b->pos[n].topic->name, b->pos[n].offset,
                               ang_buf_slice(&b->metas[n]));
    er = ang_store_write(sb);
    if (er != NULL) { /* it is committed: the answers stand, the parts are rebuilt from the log (lane.md L19) */
        ANG_LOG(ANG_LOG_ERROR, "STORE-FAILED", "the state store could not be written; its partitions are rebuilt", "domain",
                l->domain->name, "error", er->msg);
        if (er->cls == ANG_FATAL) /* no part can be written: only a new start heals it */
            lane_fatal(l, er);
        else
            ang_err_free(&er);
        for (i = 0; i < b->n_parts; i++)
            b->parts[i].store_failed = true;
    } else {
        prune(b);
    }
    ang_buf_fini(&mark);
    ang_store_batch_free(sb);
}
