/* Retention: records of `delete` topics go when they are older than the topic says.
 *
 * Append times grow with the offsets (but for steps of the clock), so the first record to keep is found by bisection. */
#include "eventlog/embedded/embedded_priv.h"
#include "eventlog/embedded/records.h"

struct cut {
    struct ang_emb_job job;
    struct ang_emb_part *part;
    int64_t keep; /* the first offset that stays */
};

/* The time of the first record at `offset` or above; ANG_NEVER when there is none below `end`. */
static struct ang_err *time_at(struct ang_emb *emb, const struct ang_emb_part *part, int64_t offset, int64_t end,
                               int64_t *ret_ms) {
    uint8_t from[ANG_EMB_REC_KEY], to[ANG_EMB_REC_KEY];
    rocksdb_readoptions_t *ropt = rocksdb_readoptions_create();
    rocksdb_iterator_t *it;
    struct ang_err *er;
    char *msg = NULL;

    ang_emb_rec_key(from, part->topic->id, part->partition, offset);
    ang_emb_rec_key(to, part->topic->id, part->partition, end);
    rocksdb_readoptions_set_iterate_upper_bound(ropt, (const char *)to, sizeof to);
    ANG_PT(pthread_rwlock_rdlock(&emb->db_lock));
    if (emb->db == NULL) {
        ANG_PT(pthread_rwlock_unlock(&emb->db_lock));
        rocksdb_readoptions_destroy(ropt);
        return (ang_err_new(ANG_E_LOG_NO_SPACE, "%s: the disk is full", emb->path));
    }
    it = rocksdb_create_iterator(emb->db, ropt);
    rocksdb_iter_seek(it, (const char *)from, sizeof from);
    *ret_ms = ANG_NEVER;
    if (rocksdb_iter_valid(it)) {
        size_t n;
        const char *p = rocksdb_iter_value(it, &n);

        /* A damaged record never expires here: whoever reads it will say so. */
        (void)ang_emb_rec_time(ang_slice_of(p, n), ret_ms);
    }
    rocksdb_iter_get_error(it, &msg);
    er = ang_emb_err(&msg, emb->path);
    rocksdb_iter_destroy(it);
    ANG_PT(pthread_rwlock_unlock(&emb->db_lock));
    rocksdb_readoptions_destroy(ropt);
    return (er);
}

/* The first offset in [begin, end) whose time is above `old_ms`, or end; and that record's time. */
static struct ang_err *first_kept(struct ang_emb *emb, const struct ang_emb_part *part, int64_t begin, int64_t end,
                                  int64_t old_ms, int64_t *ret_keep, int64_t *ret_ms) {
    int64_t lo = begin, hi = end; /* below lo: goes; from hi on: stays */

    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2, ms;
        struct ang_err *er = time_at(emb, part, mid, end, &ms);

        if (er != NULL)
            return (er);
        if (ms > old_ms)
            hi = mid;
        else
            lo = mid + 1;
    }
    *ret_keep = lo;
    return (time_at(emb, part, lo, end, ret_ms));
}

static struct ang_err *cut_stage(struct ang_emb_job *job, struct ang_emb_group *g) {
    struct cut *c = ANG_CONTAINER(job, struct cut, job);
    struct ang_emb_part *part = c->part;
    uint8_t from[ANG_EMB_REC_KEY], to[ANG_EMB_REC_KEY], key[ANG_EMB_PART_KEY], val[8];

    ang_emb_rec_key(from, part->topic->id, part->partition, 0);
    ang_emb_rec_key(to, part->topic->id, part->partition, c->keep);
    ang_emb_part_key(key, 'b', part->topic->id, part->partition);
    ang_put_be64(val, (uint64_t)c->keep);
    ang_emb_group_delete_range(g, ang_slice_of(from, sizeof from), ang_slice_of(to, sizeof to));
    ang_emb_group_put(g, ang_slice_of(key, sizeof key), ang_slice_of(val, sizeof val));
    /* Before the records go: a reader that finds nothing where it stood looks at this again. */
    atomic_store(&part->begin, c->keep);
    return (NULL);
}

static struct ang_err *retain_part(struct ang_emb *emb, struct ang_emb_part *part, int64_t old_ms) {
    int64_t begin = atomic_load(&part->begin), end = atomic_load(&part->end);
    struct cut c = {.job = {.stage = cut_stage}, .part = part};
    struct ang_err *er;

    if (begin == end || (part->oldest_ms != 0 && part->oldest_ms > old_ms))
        return (NULL);
    er = first_kept(emb, part, begin, end, old_ms, &c.keep, &part->oldest_ms);
    if (part->oldest_ms == ANG_NEVER)
        part->oldest_ms = 0;
    if (er == NULL && c.keep > begin) {
        er = ang_emb_run(emb, &c.job);
        ANG_LOG(ANG_LOG_DEBUG, "LOG-RETAINED", "old records removed", "topic", part->topic->handle->name, "partition",
                ANG_F("%d", part->partition), "from", ANG_F("%lld", (long long)begin), "to",
                ANG_F("%lld", (long long)c.keep));
    }
    return (er == NULL ? NULL : ang_err_wrap(&er, "retention of %s/%d", part->topic->handle->name, part->partition));
}

struct ang_err *ang_emb_retain(struct ang_emb *emb, int64_t now_ms, int64_t *ret_due_ms) {
    int64_t due = ANG_NEVER;

    for (struct ang_emb_topic *t = atomic_load(&emb->topics); t != NULL; t = t->next) {
        int64_t retention = atomic_load(&t->retention_ms);

        if (t->compact || retention < 0)
            continue;
        for (int32_t p = 0; p < t->n_parts; p++) {
            struct ang_emb_part *part = &t->parts[p];
            struct ang_err *er = retain_part(emb, part, now_ms - retention);

            if (er != NULL)
                return (er);
            if (part->oldest_ms != 0 && part->oldest_ms + retention < due)
                due = part->oldest_ms + retention;
        }
    }
    *ret_due_ms = due;
    return (NULL);
}
