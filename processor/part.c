/* Parts and roots: what the lane holds in memory of a partition that is ours. */
#include "processor/lane_priv.h"

#include <stdio.h>

/* A history larger than this is not kept once its root is idle. */
#define IDLE_ROOT_MAX (256 << 10)
/* So that the done set always fits into a record, however what is open ends: run lengths take less than this of it for an open one. */
#define RUN_CHARS 16

void part_init(struct part *p, struct lane *l, int32_t no) {
    memset(p, 0, sizeof *p);
    p->magic = PART_MAGIC;
    p->lane = l;
    p->no = no;
    p->phase = PART_NONE;
    p->percent = -1;
    p->epoch = 1;
    p->in[INPUT_COMMANDS].topic = l->domain->commands;
    p->in[INPUT_REACTIONS].topic = l->domain->reactions;
    ang_doneset_init(&p->in[INPUT_COMMANDS].done, 0);
    ang_doneset_init(&p->in[INPUT_REACTIONS].done, 0);
    p->shard = worker_shard(l->worker, l->domain, no);
}

void part_fini(struct part *p) {
    int i;

    ANG_CHECK(p, PART_MAGIC);
    part_drop(p);
    ang_table_fini(&p->roots);
    for (i = 0; i < N_INPUTS; i++) {
        ang_doneset_fini(&p->in[i].done);
        ang_buf_fini(&p->in[i].meta);
    }
    p->magic = 0;
}

static size_t root_bytes(const struct root *r) {
    return (sizeof *r + r->pages.cap + r->snapshot.cap + r->older.cap + r->id.edition.n);
}

static void root_unidle(struct root *r) {
    if (!r->is_idle)
        return;
    TAILQ_REMOVE(&r->part->lane->idle, r, lru);
    r->part->lane->idle_bytes -= root_bytes(r);
    r->is_idle = false;
}

void root_free(struct root *r) {
    ANG_CHECK(r, ROOT_MAGIC);
    AZ(r->open);
    root_unidle(r);
    slots_forget(r);
    ang_table_remove(&r->part->roots, &r->node);
    ang_buf_fini(&r->snapshot);
    ang_buf_fini(&r->pages);
    ang_buf_fini(&r->older);
    r->magic = 0;
    free(r);
}

static uint64_t root_hash(const struct ang_root *id) {
    uint64_t h = ang_hash(0, id->id, sizeof id->id);

    return (id->edition.n == 0 ? h : ang_hash(h, id->edition.p, id->edition.n));
}

static struct root *find(const struct part *p, const struct ang_root *id, uint64_t h) {
    struct ang_node *n;

    for (n = ang_table_first(&p->roots, h); n != NULL; n = ang_table_more(n->next, h)) {
        struct root *r = ANG_CONTAINER(n, struct root, node);

        if (memcmp(r->id.id, id->id, 16) == 0 && ang_slice_eq(r->id.edition, id->edition))
            return (r);
    }
    return (NULL);
}

struct root *part_find(const struct part *p, const struct ang_root *id) {
    return (find(p, id, root_hash(id)));
}

struct root *part_root(struct part *p, const struct ang_root *id) {
    const uint64_t h = root_hash(id);
    struct root *r = find(p, id, h);

    if (r != NULL) {
        root_unidle(r);
        return (r);
    }
    r = ang_calloc(1, sizeof *r + id->edition.n);
    r->magic = ROOT_MAGIC;
    r->part = p;
    memcpy(r->id.id, id->id, 16);
    if (id->edition.n > 0) {
        memcpy(r + 1, id->edition.p, id->edition.n);
        r->id.edition = ang_slice_of(r + 1, id->edition.n);
    }
    TAILQ_INIT(&r->queue);
    ang_table_add(&p->roots, &r->node, h);
    return (r);
}

/* Frees idle roots, the least recently used first, until they fit. */
void lane_evict(struct lane *l) {
    struct root *r;

    while (l->idle_bytes > l->idle_max && (r = TAILQ_FIRST(&l->idle)) != NULL)
        root_free(r);
}

/* The root's last work has ended: it may stay as a cache of its history. */
void root_rest(struct root *r) {
    struct lane *l = r->part->lane;

    if (r->open > 0 || r->is_idle)
        return;
    if (root_bytes(r) > IDLE_ROOT_MAX) {
        root_free(r);
        return;
    }
    r->is_idle = true;
    TAILQ_INSERT_TAIL(&l->idle, r, lru);
    l->idle_bytes += root_bytes(r);
}

/* Works of lane->done that belong to p. */
static void drop_finished(struct part *p) {
    struct lane *l = p->lane;
    struct work *w, *next;

    for (w = TAILQ_FIRST(&l->done); w != NULL; w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->part != p)
            continue;
        TAILQ_REMOVE(&l->done, w, link);
        l->n_done--;
        work_free(w);
    }
}

static void drop_root(struct root *r) {
    struct work *w;

    if (r->running != NULL)
        business_cancel(r->running); /* freed when its call has ended */
    r->running = NULL;
    while ((w = TAILQ_FIRST(&r->queue)) != NULL) {
        TAILQ_REMOVE(&r->queue, w, link);
        work_free(w);
    }
    tail_drop(r);
    r->open = 0;
    root_free(r);
}

void part_drop(struct part *p) {
    struct lane *l = p->lane;
    size_t i;

    ANG_CHECK(p, PART_MAGIC);
    for (i = 0; i < N_INPUTS; i++)
        if (p->in[i].reading) {
            ang_log_reader_remove(l->reader, p->in[i].topic, p->no);
            p->in[i].reading = false;
            holds_forget(l, p->in[i].topic, p->no);
        }
    tails_drop(p);
    drop_finished(p);
    if (l->committing != NULL) { /* those are the committer's: they lose sight of their roots */
        struct work *w;

        TAILQ_FOREACH(w, &l->committing->works, link)
            if (w->part == p && w->root != NULL) {
                if (w->indexed)
                    ang_table_remove(&l->ids, &w->by_id);
                w->indexed = false;
                w->root = NULL;
            }
    }
    for (i = 0; p->roots.buckets != NULL && i <= p->roots.mask; i++)
        while (p->roots.buckets[i] != NULL)
            drop_root(ANG_CONTAINER(p->roots.buckets[i], struct root, node));
    p->open = 0;
    p->epoch++;
    slots_serve(l);
}

/* ---- replay ---- */

static const char *replay_row(char buf[300], const struct ang_topic *topic) {
    snprintf(buf, 300, "!replay/%.280s", topic->name);
    return (buf);
}

static struct ang_err *replayed_below(struct part *p, const struct ang_topic *topic, int64_t *ret_offset) {
    char row[300];

    return (ang_store_position(p->shard->store, replay_row(row, topic), ret_offset, NULL));
}

struct ang_err *part_note_replay(struct part *p, const struct ang_topic *topic, int64_t below) {
    struct ang_store_batch *sb;
    char row[300];
    int64_t noted;
    struct ang_err *er = replayed_below(p, topic, &noted);

    if (er != NULL || noted >= below)
        return (er);
    sb = ang_store_batch_new(worker_store(p->lane->worker));
    ang_store_put_position(sb, p->shard->store, replay_row(row, topic), below, ANG_SLICE_NONE);
    er = ang_store_write(sb);
    ang_store_batch_free(sb);
    return (er);
}

static struct ang_err *input_read(struct part *p, struct input *in) {
    struct ang_err *er;

    if (in->reading)
        return (NULL);
    /* 0 is also the position of a group that never ran: then the log begins where retention has left it. */
    er = ang_log_reader_add(p->lane->reader, in->topic, p->no, in->next == 0 ? ANG_OFFSET_BEGIN : in->next);
    if (er == NULL)
        in->reading = true;
    return (er);
}

/* A set that did not fit into the metadata of the position is in the store, from its own commit or from the log. */
static struct ang_err *find_set(struct part *p, struct input *in) {
    struct ang_buf set = {NULL, 0, 0};
    int64_t applied = ANG_OFFSET_NONE;
    struct ang_err *er = ang_store_position(p->shard->store, in->topic->name, &applied, &set);

    if (er == NULL && applied == in->committed) {
        ang_buf_clear(&in->meta);
        ang_buf_add_slice(&in->meta, ang_buf_slice(&set));
    }
    ang_buf_fini(&set);
    return (er);
}

struct ang_err *part_serve(struct part *p) {
    struct ang_err *er = NULL;
    int i;

    p->phase = PART_SERVING;
    for (i = 0; er == NULL && i < N_INPUTS; i++) {
        struct input *in = &p->in[i];
        enum ang_doneset_result rc;

        rc = ang_doneset_decode(&in->done, ang_buf_slice(&in->meta), in->committed);
        if (rc == ANG_DONESET_ELSEWHERE) {
            er = find_set(p, in);
            if (er != NULL)
                break;
            rc = ang_doneset_decode(&in->done, ang_buf_slice(&in->meta), in->committed);
        }
        if (rc != ANG_DONESET_OK && rc != ANG_DONESET_NONE)
            ANG_LOG(ANG_LOG_WARN, "DONE-SET-IGNORED",
                    "the set of done records does not belong to the committed offset; records after it run again",
                    "topic", in->topic->name, "partition", ANG_F("%d", p->no), "offset",
                    ANG_F("%lld", (long long)in->committed), "metadata",
                    ANG_F("%.*s", (int)(in->meta.n > 60 ? 60 : in->meta.n), (const char *)in->meta.p));
        in->next = in->committed;
        if (p->lane->set->replay.commands == ANG_REPLAY_ALLOW)
            er = replayed_below(p, in->topic, &in->replay_below);
        if (er == NULL)
            er = input_read(p, in);
    }
    return (er);
}

void part_balance(struct part *p) {
    const int64_t room = p->lane->domain->snapshots->max_message / RUN_CHARS, wanted = p->lane->set->limits.max_unfinished;
    const int64_t most = wanted < room ? wanted : room;
    struct ang_err *er;
    int i;

    if (p->phase != PART_SERVING)
        return;
    for (i = 0; i < N_INPUTS; i++) {
        struct input *in = &p->in[i];

        if (in->reading && p->open > most) {
            ang_log_reader_remove(p->lane->reader, in->topic, p->no);
            in->reading = false;
            ANG_LOG(ANG_LOG_WARN, "PARTITION-FULL", "too many open records: the partition admits no more for now",
                    "topic", in->topic->name, "partition", ANG_F("%d", p->no), "open", ANG_F("%u", p->open), "oldest",
                    ANG_F("%lld", (long long)ang_doneset_base(&in->done)), "newest",
                    ANG_F("%lld", (long long)in->next - 1));
        } else if (!in->reading && !p->lane->draining && p->open <= most / 2) {
            er = input_read(p, in);
            if (er != NULL)
                lane_fatal(p->lane, er);
        }
    }
}
