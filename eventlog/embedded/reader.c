/* Readers: a cursor per partition, and one iterator per poll and partition.
 *
 * Nothing is read ahead: a poll takes from RocksDB what it hands out, at most conf.memory bytes of it, so a reader that is
 * not polled costs nothing.  What may be read ends at part->end, which is raised when a group is written; that, not RocksDB,
 * decides what is visible.  An iterator over a damaged block just ends early, so its error is asked for after every loop. */
#include <errno.h>
#include <stdlib.h>

#include "eventlog/embedded/embedded_priv.h"
#include "eventlog/embedded/records.h"

#define LOOK_EVERY_MS 100 /* while a poll of a log that is only looked at waits */

struct ang_emb_cursor {
    struct ang_emb_cursor *next; /* of the same partition: readers_lock */
    struct ang_emb_reader *r;
    struct ang_emb_part *part;
    int64_t offset;
    int64_t ended; /* conf.ends: the end that poll has returned for */
    bool dead;     /* cannot be read, and poll has said so */
};

struct ang_emb_reader {
    struct ang_log_reader base;
    /* set once */
    char *name;
    void (*wake)(void *arg);
    void *arg;
    size_t memory;
    bool ends;
    /* lock */
    pthread_mutex_t lock;
    struct ang_emb_cursor **cursors;
    size_t n, cap, turn; /* turn: whose turn it is in the next poll */
    rocksdb_readoptions_t *ropt;
    uint8_t upper[ANG_EMB_REC_KEY]; /* the iterator's bound, borrowed by ropt */
    /* wait_lock */
    pthread_mutex_t wait_lock;
    pthread_cond_t cond;
    bool woken;
};

static struct ang_emb_reader *reader_of(struct ang_log_reader *r) {
    ANG_CHECK(r, ANG_LOG_READER_MAGIC);
    return ((struct ang_emb_reader *)(void *)r);
}

struct ang_err *ang_emb_reader_open(struct ang_log *log, const struct ang_log_reader_conf *conf,
                                    struct ang_log_reader **ret_r) {
    struct ang_emb_reader *r = ANG_NEW(struct ang_emb_reader);
    pthread_condattr_t attr;

    (void)ang_emb_of(log);
    r->base = (struct ang_log_reader){.magic = ANG_LOG_READER_MAGIC, .log = log};
    r->name = ang_strdup(conf->name);
    r->wake = conf->wake;
    r->arg = conf->arg;
    r->ends = conf->ends;
    r->memory = conf->memory > 0 ? (size_t)conf->memory : 1;
    r->ropt = rocksdb_readoptions_create();
    ANG_PT(pthread_mutex_init(&r->lock, NULL));
    ANG_PT(pthread_mutex_init(&r->wait_lock, NULL));
    ANG_PT(pthread_condattr_init(&attr));
    ANG_PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    ANG_PT(pthread_cond_init(&r->cond, &attr));
    ANG_PT(pthread_condattr_destroy(&attr));
    *ret_r = &r->base;
    return (NULL);
}

/* ---- waking ---- */

static void wake(struct ang_emb_reader *r) {
    bool first;

    ANG_PT(pthread_mutex_lock(&r->wait_lock));
    first = !r->woken;
    r->woken = true;
    if (first)
        ANG_PT(pthread_cond_signal(&r->cond));
    ANG_PT(pthread_mutex_unlock(&r->wait_lock));
    if (first && r->wake != NULL)
        r->wake(r->arg);
}

void ang_emb_readers_wake(struct ang_emb *emb, struct ang_emb_part *touched) {
    ANG_PT(pthread_mutex_lock(&emb->readers_lock));
    for (; touched != NULL; touched = touched->touched_next)
        for (struct ang_emb_cursor *c = touched->cursors; c != NULL; c = c->next)
            wake(c->r);
    ANG_PT(pthread_mutex_unlock(&emb->readers_lock));
}

void ang_emb_readers_wake_all(struct ang_emb *emb) {
    ANG_PT(pthread_mutex_lock(&emb->readers_lock));
    for (struct ang_emb_topic *t = atomic_load(&emb->topics); t != NULL; t = t->next)
        for (int32_t p = 0; p < t->n_parts; p++)
            for (struct ang_emb_cursor *c = t->parts[p].cursors; c != NULL; c = c->next)
                wake(c->r);
    ANG_PT(pthread_mutex_unlock(&emb->readers_lock));
}

/* ---- which partitions ---- */

static size_t cursor_find(const struct ang_emb_reader *r, const struct ang_emb_part *part) {
    size_t i;

    for (i = 0; i < r->n && r->cursors[i]->part != part; i++)
        ;
    return (i);
}

struct ang_err *ang_emb_reader_add(struct ang_log_reader *base, const struct ang_topic *topic, int32_t partition,
                                   int64_t offset) {
    struct ang_emb_reader *r = reader_of(base);
    struct ang_emb *emb = ang_emb_of(base->log);
    struct ang_emb_cursor *c;
    struct ang_emb_part *part;
    struct ang_err *er = ang_emb_look(emb);

    if (er == NULL)
        er = ang_emb_part_find(emb, topic, partition, &part);
    if (er != NULL)
        return (er);
    if (offset < 0 && offset != ANG_OFFSET_BEGIN && offset != ANG_OFFSET_END)
        return (ang_err_new(ANG_E_LOG_POSITION, "reader %s: %s/%d cannot be read from offset %lld", r->name,
                            topic->name, partition, (long long)offset));
    c = ANG_NEW(struct ang_emb_cursor);
    c->r = r;
    c->part = part;
    c->ended = ANG_OFFSET_NONE;
    ANG_PT(pthread_mutex_lock(&emb->readers_lock));
    c->offset = offset == ANG_OFFSET_BEGIN ? atomic_load(&part->begin)
                : offset == ANG_OFFSET_END ? atomic_load(&part->end)
                                           : offset;
    c->next = part->cursors;
    part->cursors = c;
    ANG_PT(pthread_mutex_lock(&r->lock));
    ANG_ASSERT(cursor_find(r, part) == r->n); /* once per partition until removed */
    if (r->n == r->cap) {
        r->cap = r->cap == 0 ? 8 : r->cap * 2;
        r->cursors = ang_realloc(r->cursors, r->cap * sizeof *r->cursors);
    }
    r->cursors[r->n++] = c;
    ANG_PT(pthread_mutex_unlock(&r->lock));
    wake(r); /* for what is there already */
    ANG_PT(pthread_mutex_unlock(&emb->readers_lock));
    return (NULL);
}

/* @locks held: readers_lock, r->lock */
static void cursor_drop(struct ang_emb_reader *r, size_t i) {
    struct ang_emb_cursor *c = r->cursors[i], **pp;

    for (pp = &c->part->cursors; *pp != c; pp = &(*pp)->next)
        AN(*pp);
    *pp = c->next;
    r->cursors[i] = r->cursors[--r->n];
    free(c);
}

void ang_emb_reader_remove(struct ang_log_reader *base, const struct ang_topic *topic, int32_t partition) {
    struct ang_emb_reader *r = reader_of(base);
    struct ang_emb *emb = ang_emb_of(base->log);
    size_t i;

    ANG_PT(pthread_mutex_lock(&emb->readers_lock));
    ANG_PT(pthread_mutex_lock(&r->lock));
    for (i = 0; i < r->n; i++)
        if (r->cursors[i]->part->topic->handle == topic && r->cursors[i]->part->partition == partition)
            break;
    if (i < r->n)
        cursor_drop(r, i);
    ANG_PT(pthread_mutex_unlock(&r->lock));
    ANG_PT(pthread_mutex_unlock(&emb->readers_lock));
}

void ang_emb_reader_close(struct ang_log_reader *base) {
    struct ang_emb_reader *r;
    struct ang_emb *emb;

    if (base == NULL)
        return;
    r = reader_of(base);
    emb = ang_emb_of(base->log);
    /* wake() runs under readers_lock, so behind this it runs no more */
    ANG_PT(pthread_mutex_lock(&emb->readers_lock));
    ANG_PT(pthread_mutex_lock(&r->lock));
    while (r->n > 0)
        cursor_drop(r, r->n - 1);
    ANG_PT(pthread_mutex_unlock(&r->lock));
    ANG_PT(pthread_mutex_unlock(&emb->readers_lock));
    rocksdb_readoptions_destroy(r->ropt);
    ANG_PT(pthread_mutex_destroy(&r->lock));
    ANG_PT(pthread_mutex_destroy(&r->wait_lock));
    ANG_PT(pthread_cond_destroy(&r->cond));
    free(r->cursors);
    free(r->name);
    r->base.magic = 0;
    free(r);
}

/* ---- reading ---- */

struct take { /* what a poll has so far */
    struct ang_rec **recs;
    size_t max, n, bytes;
};

static struct ang_err *position_err(const struct ang_emb_cursor *c, int64_t end) {
    const struct ang_emb_part *part = c->part;

    return (ang_err_new(ANG_E_LOG_POSITION, "reader %s: offset %lld of %s/%d is not there, the log has %lld to %lld",
                        c->r->name, (long long)c->offset, part->topic->handle->name, part->partition,
                        (long long)atomic_load(&part->begin), (long long)end));
}

/* One record from the iterator; ends the loop with an error when it cannot be understood. */
static struct ang_err *take_one(struct ang_emb_cursor *c, rocksdb_iterator_t *it, struct take *t) {
    const struct ang_emb_part *part = c->part;
    size_t n_key, n;
    const uint8_t *key = (const uint8_t *)rocksdb_iter_key(it, &n_key);
    const char *value = rocksdb_iter_value(it, &n);
    struct ang_rec *rec = NULL;
    int64_t offset = c->offset;

    if (n_key == ANG_EMB_REC_KEY) {
        offset = (int64_t)ang_get_be64(key + ANG_EMB_PART_KEY);
        rec = ang_emb_rec_decode(part->topic->handle, part->partition, offset, ang_slice_of(value, n));
    }
    if (rec == NULL)
        return (ang_err_new(ANG_E_LOG_IO, "%s/%d: the record at offset %lld is damaged", part->topic->handle->name,
                            part->partition, (long long)offset));
    t->recs[t->n++] = rec;
    t->bytes += n;
    c->offset = offset + 1;
    return (NULL);
}

static struct ang_err *read_range(struct ang_emb_reader *r, struct ang_emb_cursor *c, int64_t end, struct take *t) {
    struct ang_emb *emb = ang_emb_of(r->base.log);
    const struct ang_emb_part *part = c->part;
    uint8_t from[ANG_EMB_REC_KEY];
    rocksdb_iterator_t *it;
    struct ang_err *er = NULL;
    char *msg = NULL;

    ang_emb_rec_key(from, part->topic->id, part->partition, c->offset);
    ang_emb_rec_key(r->upper, part->topic->id, part->partition, end);
    rocksdb_readoptions_set_iterate_upper_bound(r->ropt, (const char *)r->upper, sizeof r->upper);
    ANG_PT(pthread_rwlock_rdlock(&emb->db_lock));
    if (emb->db == NULL) { /* a full disk: when there is room again, readers are woken */
        ANG_PT(pthread_rwlock_unlock(&emb->db_lock));
        return (NULL);
    }
    it = rocksdb_create_iterator(emb->db, r->ropt);
    rocksdb_iter_seek(it, (const char *)from, sizeof from);
    while (er == NULL && rocksdb_iter_valid(it) && t->n < t->max && t->bytes < r->memory) {
        er = take_one(c, it, t);
        rocksdb_iter_next(it);
    }
    if (er == NULL) {
        bool ended = !rocksdb_iter_valid(it);

        rocksdb_iter_get_error(it, &msg);
        er = ang_emb_err(&msg, emb->path);
        if (er == NULL && ended)
            c->offset = end; /* the rest was replaced by newer records */
    }
    rocksdb_iter_destroy(it);
    ANG_PT(pthread_rwlock_unlock(&emb->db_lock));
    return (er);
}

/* An error is returned only when nothing has been taken yet, so that no record is lost by it. */
static struct ang_err *read_cursor(struct ang_emb_reader *r, struct ang_emb_cursor *c, struct take *t) {
    int64_t end = atomic_load_explicit(&c->part->end, memory_order_acquire), start = c->offset;
    struct ang_err *er;
    size_t before = t->n;

    if (c->dead || c->offset == end)
        return (NULL);
    if (c->offset > end || c->offset < atomic_load(&c->part->begin)) {
        er = position_err(c, end);
    } else {
        er = read_range(r, c, end, t);
        /* Retention may have overtaken us in between: then what is missing was not replaced, but removed unread. */
        if (er == NULL && start < atomic_load(&c->part->begin) &&
            (t->n == before || t->recs[before]->offset != start)) {
            while (t->n > before)
                ang_rec_free(&t->recs[--t->n]);
            c->offset = start;
            er = position_err(c, end);
        }
    }
    if (er != NULL && t->n > 0) {
        ang_err_free(&er); /* this cursor comes first the next time, and meets it again */
        t->max = t->n;
    } else if (er != NULL) {
        c->dead = true;
        er = er->code == ANG_E_LOG_POSITION ? er : ang_err_wrap(&er, "reader %s", r->name);
    }
    return (er);
}

static struct ang_err *read_all(struct ang_emb_reader *r, struct take *t) {
    struct ang_err *er = NULL;
    size_t first;

    ANG_PT(pthread_mutex_lock(&r->lock));
    first = r->turn;
    for (size_t i = 0; i < r->n && er == NULL && t->n < t->max && t->bytes < r->memory; i++) {
        size_t at = (first + i) % r->n, before = t->n;

        er = read_cursor(r, r->cursors[at], t);
        /* Who was read goes to the end of the row: a long backlog must not keep the other partitions waiting. */
        r->turn = t->n > before ? at + 1 : at;
    }
    ANG_PT(pthread_mutex_unlock(&r->lock));
    return (er);
}

/* With conf.ends: a partition has been read to an end at which poll has not returned yet. */
static bool came_to_end(struct ang_emb_reader *r) {
    bool came = false;

    ANG_PT(pthread_mutex_lock(&r->lock));
    for (size_t i = 0; r->ends && i < r->n; i++) {
        struct ang_emb_cursor *c = r->cursors[i];

        if (c->offset != c->ended && c->offset == atomic_load(&c->part->end)) {
            c->ended = c->offset;
            came = true;
        }
    }
    ANG_PT(pthread_mutex_unlock(&r->lock));
    return (came);
}

/* Waits for a wake; false: the time is up.  Nobody wakes those who only look. */
static bool wait_woken(struct ang_emb_reader *r, int64_t until_ms) {
    const int64_t look_ms = r->base.log->look ? ang_now_ms() + LOOK_EVERY_MS : ANG_NEVER;
    const bool again = look_ms < until_ms;
    const int64_t wait_ms = again ? look_ms : until_ms;
    struct timespec ts = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    bool woken;
    int rc = 0;

    ANG_PT(pthread_mutex_lock(&r->wait_lock));
    while (!r->woken && rc == 0)
        rc = pthread_cond_timedwait(&r->cond, &r->wait_lock, &ts);
    ANG_ASSERT(rc == 0 || rc == ETIMEDOUT);
    woken = r->woken;
    ANG_PT(pthread_mutex_unlock(&r->wait_lock));
    return (woken || again);
}

struct ang_err *ang_emb_reader_poll(struct ang_log_reader *base, struct ang_rec **recs, size_t max, int timeout_ms,
                                    size_t *ret_n) {
    struct ang_emb_reader *r = reader_of(base);
    int64_t until = ang_now_ms() + timeout_ms;

    for (;;) {
        struct take t = {.recs = recs, .max = max};
        struct ang_err *er;

        /* Before reading: what comes in behind the reading wakes again. */
        ANG_PT(pthread_mutex_lock(&r->wait_lock));
        r->woken = false;
        ANG_PT(pthread_mutex_unlock(&r->wait_lock));
        er = read_all(r, &t);
        if (er == NULL && t.n == 0 && base->log->look) {
            er = ang_emb_look(ang_emb_of(base->log));
            if (er == NULL)
                er = read_all(r, &t);
        }
        if (er != NULL || t.n > 0 || timeout_ms <= 0 || came_to_end(r) || !wait_woken(r, until)) {
            *ret_n = t.n;
            return (er);
        }
    }
}

int64_t ang_emb_reader_end(struct ang_log_reader *base, const struct ang_topic *topic, int32_t partition) {
    struct ang_emb_part *part;
    struct ang_err *er = ang_emb_part_find(ang_emb_of(reader_of(base)->base.log), topic, partition, &part);

    if (er != NULL) {
        ang_err_free(&er);
        return (ANG_OFFSET_NONE);
    }
    return (atomic_load_explicit(&part->end, memory_order_acquire));
}

int64_t ang_emb_reader_next(struct ang_log_reader *base, const struct ang_topic *topic, int32_t partition) {
    struct ang_emb_reader *r = reader_of(base);
    int64_t next = ANG_OFFSET_NONE;

    ANG_PT(pthread_mutex_lock(&r->lock));
    for (size_t i = 0; i < r->n; i++)
        if (r->cursors[i]->part->topic->handle == topic && r->cursors[i]->part->partition == partition)
            next = r->cursors[i]->offset;
    ANG_PT(pthread_mutex_unlock(&r->lock));
    return (next);
}

struct ang_err *ang_emb_end(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int timeout_ms,
                            int64_t *ret_offset) {
    struct ang_emb_part *part;
    struct ang_err *er = ang_emb_look(ang_emb_of(log));

    if (er == NULL)
        er = ang_emb_part_find(ang_emb_of(log), topic, partition, &part);
    if (er == NULL)
        *ret_offset = atomic_load_explicit(&part->end, memory_order_acquire);
    return (er);
}
