#include <stdlib.h>

#include "base/kill.h"
#include "eventlog/embedded/embedded_priv.h"
#include "eventlog/embedded/keymap.h"
#include "eventlog/embedded/records.h"

#define GROUP_BYTES    (8u << 20) /* a group takes no further job beyond this */
#define SYNC_WITHIN_MS 10

struct ang_emb_group {
    struct ang_emb *emb;
    rocksdb_writebatch_t *wb;
    struct ang_buf scratch, found;
    struct ang_emb_keymap keys;
    struct ang_emb_part *touched;
    int64_t now_ms;     /* wall clock */
    int64_t due_in_ms;  /* when retention will have something to do about what was added; ANG_NEVER: not at all */
    bool sync, commits; /* what the jobs ask for, what they are */
    bool wrote, synced; /* what was done */
    bool syncing;       /* a failure is one of the sync */
    bool full;          /* it failed for want of room */
    bool refused;       /* and that since an earlier group, so that nothing was tried */
    struct ang_err *er; /* fails the whole group */
};

struct ang_emb_group *ang_emb_group_new(struct ang_emb *emb) {
    struct ang_emb_group *g = ANG_NEW(struct ang_emb_group);

    g->emb = emb;
    g->wb = rocksdb_writebatch_create();
    return (g);
}

void ang_emb_group_free(struct ang_emb_group *g) {
    if (g == NULL)
        return;
    rocksdb_writebatch_destroy(g->wb);
    ang_buf_fini(&g->scratch);
    ang_buf_fini(&g->found);
    ang_emb_keymap_fini(&g->keys);
    free(g);
}

/* ---- what jobs add ---- */

struct ang_emb *ang_emb_group_log(struct ang_emb_group *g) {
    return (g->emb);
}

int64_t ang_emb_group_time(const struct ang_emb_group *g) {
    return (g->now_ms);
}

void ang_emb_group_put(struct ang_emb_group *g, struct ang_slice key, struct ang_slice value) {
    rocksdb_writebatch_put(g->wb, (const char *)key.p, key.n, (const char *)value.p, value.n);
}

void ang_emb_group_delete_range(struct ang_emb_group *g, struct ang_slice from, struct ang_slice to) {
    rocksdb_writebatch_delete_range(g->wb, (const char *)from.p, from.n, (const char *)to.p, to.n);
}

static void delete_record(struct ang_emb_group *g, const struct ang_emb_part *part, int64_t offset) {
    uint8_t key[ANG_EMB_REC_KEY];

    ang_emb_rec_key(key, part->topic->id, part->partition, offset);
    rocksdb_writebatch_delete(g->wb, (const char *)key, sizeof key);
}

/* Removes the record that this one replaces, and points the index at this one. */
static void replace_older(struct ang_emb_group *g, const struct ang_emb_part *part, struct ang_slice key,
                          int64_t offset) {
    struct ang_slice ikey = ang_emb_long_key(&g->scratch, 'i', part->topic->id, part->partition, key);
    int64_t before = ang_emb_keymap_swap(&g->keys, part, key, offset);
    uint8_t value[8];
    bool found = false;

    if (before < 0 && g->er == NULL) {
        g->er = ang_emb_get(g->emb, ikey, &g->found, &found);
        if (g->er == NULL && found && g->found.n != sizeof value)
            g->er = ang_err_new(ANG_E_LOG_IO,
                                "%s: the index entry of a key in %s/%d is damaged: restore the folder or remove it",
                                g->emb->path, part->topic->handle->name, part->partition);
        else if (g->er == NULL && found)
            before = (int64_t)ang_get_be64(g->found.p);
    }
    if (before >= 0)
        delete_record(g, part, before);
    ang_put_be64(value, (uint64_t)offset);
    ang_emb_group_put(g, ikey, ang_slice_of(value, sizeof value));
}

static void touch(struct ang_emb_group *g, struct ang_emb_part *part) {
    int64_t retention = atomic_load_explicit(&part->topic->retention_ms, memory_order_relaxed);

    if (part->touched)
        return;
    part->touched = true;
    part->touched_next = g->touched;
    g->touched = part;
    if (!part->topic->compact && retention >= 0 && retention < g->due_in_ms)
        g->due_in_ms = retention;
}

int64_t ang_emb_group_add(struct ang_emb_group *g, struct ang_emb_part *part, const struct ang_out *rec) {
    uint8_t key[ANG_EMB_REC_KEY];
    int64_t offset = part->next++;

    touch(g, part);
    if (part->topic->compact)
        replace_older(g, part, rec->key, offset);
    ang_emb_rec_key(key, part->topic->id, part->partition, offset);
    ang_emb_rec_encode(&g->scratch, rec, g->now_ms);
    ang_emb_group_put(g, ang_slice_of(key, sizeof key), ang_buf_slice(&g->scratch));
    return (offset);
}

/* ---- writing a group ---- */

static void group_reset(struct ang_emb_group *g) {
    rocksdb_writebatch_clear(g->wb);
    ang_emb_keymap_clear(&g->keys);
    g->touched = NULL;
    g->now_ms = ang_wall_ms();
    g->due_in_ms = ANG_NEVER;
    g->sync = g->commits = g->wrote = g->synced = g->syncing = g->full = g->refused = false;
    g->er = NULL;
}

static void stage(struct ang_emb_group *g, struct ang_emb_job *jobs) {
    const struct ang_err *broken = atomic_load(&g->emb->broken);

    for (struct ang_emb_job *job = jobs; job != NULL; job = job->next) {
        ANG_CHECK(job, ANG_EMB_JOB_MAGIC);
        if (broken != NULL)
            job->er = ang_err_dup(broken);
        else if (job->stage != NULL)
            job->er = job->stage(job, g);
        if (job->er != NULL)
            continue;
        g->sync |= job->sync;
        g->commits |= job->kind == ANG_EMB_COMMIT;
    }
}

static struct ang_err *broken_err(struct ang_emb *emb, const struct ang_err *why) {
    struct ang_err *er =
        ang_err_new(ANG_E_LOG_IO, "the log in %s refuses work since the disk failed; check it, then start again: %s",
                    emb->path, why->msg);

    ANG_LOG(ANG_LOG_ERROR, "LOG-BROKEN", "the log's disk failed", "path", emb->path, "error", why->msg);
    return (er);
}

/* unsynced: something of earlier groups is not yet on the disk. */
static void write_out(struct ang_emb_group *g, bool unsynced) {
    struct ang_emb *emb = g->emb;
    char *msg = NULL;

    if (rocksdb_writebatch_count(g->wb) > 0) {
        if (g->commits)
            ANG_KILL_POINT("after-produce"); /* nothing is written: nothing happened */
        rocksdb_write(emb->db, emb->wopt, g->wb, &msg);
        g->er = ang_emb_err(&msg, emb->path);
        if (g->er != NULL)
            return;
        g->wrote = true;
        if (g->commits)
            ANG_KILL_POINT("after-offsets"); /* written, not synced: survives the process, perhaps not the machine */
    }
    /* A file that a write has failed in takes no sync either: opening the database anew makes the rest of it durable. */
    if (!g->sync || (!g->wrote && (!unsynced || emb->full)))
        return;
    g->syncing = true;
    rocksdb_flush_wal(emb->db, 1, &msg);
    g->er = ang_emb_err(&msg, emb->path);
    g->synced = g->er == NULL;
}

static void publish(struct ang_emb_group *g) {
    for (struct ang_emb_part *part = g->touched; part != NULL; part = part->touched_next)
        atomic_store_explicit(&part->end, part->next, memory_order_release);
    if (g->touched != NULL)
        ang_emb_readers_wake(g->emb, g->touched);
}

/* What a group's failure means for one of its jobs. */
static struct ang_err *job_err(const struct ang_emb_job *job, const struct ang_err *er, bool wrote) {
    if (wrote)
        return (job->kind == ANG_EMB_COMMIT ? ang_err_new(ANG_E_LOG_UNKNOWN, "%s", er->msg)
                                            : ang_err_new(ANG_E_LOG_IO, "%s", er->msg));
    if (job->kind == ANG_EMB_COMMIT && er->code == ANG_E_LOG_NO_SPACE)
        return (ang_err_new_cls(er->code, ANG_ABORT_TXN, "%s", er->msg));
    return (ang_err_dup(er));
}

static void fail(struct ang_emb_group *g, struct ang_emb_job *jobs) {
    /* Out of room while writing is the one failure that is known to leave nothing behind. */
    bool doubtful = g->er->code != ANG_E_LOG_NO_SPACE || g->syncing;

    g->full = !doubtful;
    if (g->full && !g->refused)
        ang_emb_db_full(g->emb);
    if (doubtful && atomic_load(&g->emb->broken) == NULL)
        atomic_store(&g->emb->broken, broken_err(g->emb, g->er));
    for (struct ang_emb_part *part = g->touched; part != NULL; part = part->touched_next)
        part->next = atomic_load_explicit(&part->end, memory_order_relaxed);
    for (struct ang_emb_job *job = jobs; job != NULL; job = job->next)
        if (job->er == NULL && (job->stage != NULL || job->sync))
            job->er = job_err(job, g->er, doubtful);
    ang_err_free(&g->er);
}

static bool asks_to_write(const struct ang_emb_job *job) {
    while (job != NULL && job->stage == NULL)
        job = job->next;
    return (job != NULL);
}

static void run_group(struct ang_emb_group *g, struct ang_emb_job *jobs, bool unsynced) {
    group_reset(g);
    if (g->emb->full && asks_to_write(jobs))
        g->er = ang_emb_db_reopen(g->emb);
    g->refused = g->er != NULL;
    if (g->er == NULL)
        stage(g, jobs);
    if (g->er == NULL)
        write_out(g, unsynced);
    if (g->er == NULL)
        publish(g);
    else
        fail(g, jobs);
    for (struct ang_emb_part *part = g->touched; part != NULL; part = part->touched_next)
        part->touched = false;
    if (g->commits && g->synced)
        ANG_KILL_POINT("in-commit"); /* committed and visible, but nobody was told */
}

/* ---- leading ---- */

static struct ang_emb_job *take(struct ang_emb *emb) {
    struct ang_emb_job *first = emb->head, *last = first;
    size_t bytes = first->bytes;

    while (last->next != NULL && bytes + last->next->bytes <= GROUP_BYTES) {
        last = last->next;
        bytes += last->bytes;
    }
    emb->head = last->next;
    if (emb->head == NULL)
        emb->tail = &emb->head;
    last->next = NULL;
    return (first);
}

static void finish(struct ang_emb *emb, struct ang_emb_job *jobs) {
    while (jobs != NULL) {
        struct ang_emb_job *job = jobs;

        jobs = job->next;
        job->next = NULL;
        job->finished = true;
        if (job->kind == ANG_EMB_APPEND) {
            emb->append_bytes -= job->bytes;
            *emb->done_tail = job;
            emb->done_tail = &job->next;
        } else {
            ANG_PT(pthread_cond_signal(job->cond));
        }
    }
}

/* Notes what the log thread has to do later because of this group. */
static void plan(struct ang_emb *emb, const struct ang_emb_group *g) {
    int64_t now = ang_now_ms();

    emb->full = g->full || (emb->full && !g->wrote);
    if (g->synced) {
        emb->unsynced = false;
        emb->sync_at = ANG_NEVER;
    } else if (g->wrote) {
        emb->unsynced = true;
        if (emb->sync_at == ANG_NEVER)
            emb->sync_at = now + SYNC_WITHIN_MS;
    }
    if (g->wrote && g->due_in_ms < ANG_NEVER - now && now + g->due_in_ms < emb->retain_at)
        emb->retain_at = now + g->due_in_ms;
}

/* Somebody who waits for a job of his own leads next, wherever it stands in the queue: the log thread may be one of those, and
 * then hears only his job's condition.  With appended records alone it is the log thread. */
static void hand_on(struct ang_emb *emb) {
    const struct ang_emb_job *job = emb->head;

    while (job != NULL && job->cond == NULL)
        job = job->next;
    if (job != NULL)
        ANG_PT(pthread_cond_signal(job->cond));
    else if (emb->head != NULL)
        ang_emb_tell(emb);
}

void ang_emb_lead(struct ang_emb *emb) {
    struct ang_emb_job *jobs = take(emb);
    int64_t sync_at = emb->sync_at, retain_at = emb->retain_at;
    bool unsynced = emb->unsynced;

    AZ(emb->leading);
    emb->leading = true;
    ANG_PT(pthread_mutex_unlock(&emb->lock));
    run_group(emb->group, jobs, unsynced);
    ANG_PT(pthread_mutex_lock(&emb->lock));
    emb->leading = false;
    finish(emb, jobs);
    plan(emb, emb->group);
    hand_on(emb);
    if (emb->done_head != NULL || emb->sync_at < sync_at || emb->retain_at < retain_at)
        ang_emb_tell(emb);
}

void ang_emb_push(struct ang_emb *emb, struct ang_emb_job *job) {
    ANG_CHECK(job, ANG_EMB_JOB_MAGIC);
    job->next = NULL;
    *emb->tail = job;
    emb->tail = &job->next;
}

struct ang_err *ang_emb_run(struct ang_emb *emb, struct ang_emb_job *job) {
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

    job->magic = ANG_EMB_JOB_MAGIC;
    job->cond = &cond;
    ANG_PT(pthread_mutex_lock(&emb->lock));
    ang_emb_push(emb, job);
    while (!job->finished) {
        if (emb->leading)
            ANG_PT(pthread_cond_wait(&cond, &emb->lock));
        else
            ang_emb_lead(emb);
    }
    ANG_PT(pthread_mutex_unlock(&emb->lock));
    ANG_PT(pthread_cond_destroy(&cond));
    return (job->er);
}
