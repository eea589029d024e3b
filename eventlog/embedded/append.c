/* Records on their own, and the log thread.
 *
 * A caller of ang_emb_append writes the record itself when nobody leads, else leaves it to the next group.  The log thread
 * does what callers must not wait for: it runs their done functions, syncs what no commit has synced within 10 ms, applies
 * retention, and leads when an appended record is first in the queue.  With nothing to do it sleeps without a time limit. */
#include <errno.h>
#include <stdlib.h>

#include "eventlog/embedded/embedded_priv.h"

#define QUEUE_BYTES     (64u << 20)
#define RETAIN_EVERY_MS 60000
#define REC_OVERHEAD    64 /* encoding, about */

struct append {
    struct ang_emb_job job;
    struct ang_emb_part *part;
    int64_t expires_ms; /* monotonic */
    int64_t offset;
    void (*done)(void *arg, struct ang_err *er, int64_t offset);
    void *arg;
    struct ang_out rec; /* everything it borrows lies behind it */
    struct ang_hdr hdrs[];
};

static size_t out_size(const struct ang_out *rec) {
    size_t n = rec->key.n + (rec->tombstone ? 0 : rec->value.n);

    for (size_t i = 0; i < rec->n_hdrs; i++)
        n += strlen(rec->hdrs[i].name) + 1 + rec->hdrs[i].value.n;
    return (n);
}

struct ang_err *ang_emb_out_check(struct ang_emb *emb, const struct ang_out *rec, struct ang_emb_part **ret_part) {
    struct ang_emb_part *part;
    struct ang_err *er = ang_emb_part_find(emb, rec->topic, rec->partition, &part);
    int64_t max;

    if (er != NULL)
        return (er);
    max = atomic_load_explicit(&part->topic->max_message, memory_order_relaxed);
    if (out_size(rec) > (uint64_t)max)
        return (ang_err_new(ANG_E_TOO_BIG, "record for %s/%d has %zu bytes, the topic takes %lld", rec->topic->name,
                            rec->partition, out_size(rec), (long long)max));
    *ret_part = part;
    return (NULL);
}

static struct ang_slice copy_slice(uint8_t **at, struct ang_slice s) {
    struct ang_slice copy = {s.n == 0 ? NULL : *at, s.n};

    if (s.n > 0)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return (copy);
}

static struct ang_err *append_stage(struct ang_emb_job *job, struct ang_emb_group *g) {
    struct append *a = ANG_CONTAINER(job, struct append, job);

    if (ang_now_ms() > a->expires_ms)
        return (ang_err_new(ANG_E_TIMEOUT, "record for %s/%d expired before the log came to it", a->rec.topic->name,
                            a->rec.partition));
    a->offset = ang_emb_group_add(g, a->part, &a->rec);
    return (NULL);
}

static struct append *append_new(const struct ang_out *rec) {
    size_t n = out_size(rec);
    struct append *a = ang_calloc(1, sizeof *a + rec->n_hdrs * sizeof a->hdrs[0] + n);
    uint8_t *at = (uint8_t *)&a->hdrs[rec->n_hdrs];

    a->job = (struct ang_emb_job){
        .magic = ANG_EMB_JOB_MAGIC, .kind = ANG_EMB_APPEND, .stage = append_stage, .bytes = n + REC_OVERHEAD};
    a->rec = *rec;
    a->rec.hdrs = a->hdrs;
    a->rec.key = copy_slice(&at, rec->key);
    a->rec.value = rec->tombstone ? ANG_SLICE_NONE : copy_slice(&at, rec->value);
    for (size_t i = 0; i < rec->n_hdrs; i++) {
        a->hdrs[i].name =
            (const char *)copy_slice(&at, ang_slice_of(rec->hdrs[i].name, strlen(rec->hdrs[i].name) + 1)).p;
        a->hdrs[i].value = copy_slice(&at, rec->hdrs[i].value);
    }
    return (a);
}

struct ang_err *ang_emb_append(struct ang_log *log, const struct ang_out *rec, int expiry_ms,
                               void (*done)(void *, struct ang_err *, int64_t), void *arg) {
    struct ang_emb *emb = ang_emb_of(log);
    struct ang_emb_part *part;
    struct append *a;
    struct ang_err *er = ang_emb_out_check(emb, rec, &part);
    bool full;

    if (er != NULL)
        return (er);
    a = append_new(rec);
    a->part = part;
    a->expires_ms = ang_now_ms() + expiry_ms;
    a->done = done;
    a->arg = arg;
    ANG_PT(pthread_mutex_lock(&emb->lock));
    full = emb->append_bytes + a->job.bytes > QUEUE_BYTES && emb->append_bytes > 0;
    if (!full) {
        bool idle = emb->head == NULL && !emb->leading && emb->done_head == NULL;

        emb->append_bytes += a->job.bytes;
        ang_emb_push(emb, &a->job);
        /* A record on its own saves the change of thread.  In a burst the log thread is awake from the first one on and
         * takes the others together; and to lead with commits in the queue would be to wait for their sync. */
        if (idle)
            ang_emb_lead(emb);
        else if (!emb->leading)
            ang_emb_tell(emb);
    }
    ANG_PT(pthread_mutex_unlock(&emb->lock));
    if (full) {
        free(a);
        return (ang_err_new(ANG_E_TIMEOUT, "%s/%d: %u MiB of appended records wait for the disk", rec->topic->name,
                            rec->partition, QUEUE_BYTES >> 20));
    }
    return (NULL);
}

/* ---- the log thread ---- */

static void run_done(struct ang_emb_job *jobs) {
    while (jobs != NULL) {
        struct append *a = ANG_CONTAINER(jobs, struct append, job);

        jobs = jobs->next;
        a->done(a->arg, a->job.er, a->job.er == NULL ? a->offset : ANG_OFFSET_NONE);
        ang_err_free(&a->job.er);
        free(a);
    }
}

static void sync_now(struct ang_emb *emb) {
    struct ang_emb_job job = {.sync = true};
    struct ang_err *er = ang_emb_run(emb, &job);

    ang_err_free(&er); /* the group has marked the log as broken and said so */
}

static void retain_now(struct ang_emb *emb) {
    int64_t wall = ang_wall_ms(), due = ANG_NEVER, now;
    struct ang_err *er;

    ANG_PT(pthread_mutex_lock(&emb->lock));
    emb->retain_at = ANG_NEVER; /* from here on new records lower it again */
    ANG_PT(pthread_mutex_unlock(&emb->lock));
    er = ang_emb_retain(emb, wall, &due);
    if (er != NULL) {
        ANG_LOG(ANG_LOG_WARN, "LOG-RETENTION", "old records could not be removed, tried again later", "error", er->msg);
        ang_err_free(&er);
        due = wall;
    }
    now = ang_now_ms();
    ANG_PT(pthread_mutex_lock(&emb->lock));
    emb->retain_floor = now + RETAIN_EVERY_MS;
    if (due != ANG_NEVER && due - wall < ANG_NEVER - now && now + (due - wall) < emb->retain_at)
        emb->retain_at = now + (due - wall);
    ANG_PT(pthread_mutex_unlock(&emb->lock));
}

static int64_t later(int64_t a, int64_t b) {
    return (a > b ? a : b);
}

void ang_emb_tell(struct ang_emb *emb) {
    if (emb->told)
        return;
    emb->told = true;
    ANG_PT(pthread_cond_signal(&emb->log_cond));
}

/* @locks held: emb->lock */
static void sleep_until(struct ang_emb *emb, int64_t until_ms) {
    struct timespec ts = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    int rc = 0;

    emb->told = false;
    if (until_ms == ANG_NEVER)
        ANG_PT(pthread_cond_wait(&emb->log_cond, &emb->lock));
    else
        rc = pthread_cond_timedwait(&emb->log_cond, &emb->lock, &ts);
    ANG_ASSERT(rc == 0 || rc == ETIMEDOUT);
    emb->told = true; /* awake, and looks at everything before it sleeps again */
}

/* @locks held: emb->lock */
static bool can_sync(struct ang_emb *emb) {
    return (emb->unsynced && !emb->full && atomic_load(&emb->broken) == NULL);
}

void *ang_emb_log_thread(void *priv) {
    struct ang_emb *emb = priv;

    ANG_CHECK(&emb->base, ANG_LOG_MAGIC);
    ANG_PT(pthread_mutex_lock(&emb->lock));
    for (;;) {
        int64_t now = ang_now_ms(), retain_at = later(emb->retain_at, emb->retain_floor);
        struct ang_emb_job *done = emb->done_head;

        if (done != NULL) {
            emb->done_head = NULL;
            emb->done_tail = &emb->done_head;
            ANG_PT(pthread_mutex_unlock(&emb->lock));
            run_done(done);
            ANG_PT(pthread_mutex_lock(&emb->lock));
        } else if (emb->head != NULL && !emb->leading) {
            ang_emb_lead(emb);
        } else if (can_sync(emb) && (emb->sync_at <= now || emb->closing)) {
            ANG_PT(pthread_mutex_unlock(&emb->lock));
            sync_now(emb);
            ANG_PT(pthread_mutex_lock(&emb->lock));
        } else if (emb->closing && emb->head == NULL && !emb->leading) {
            break;
        } else if (retain_at <= now && !emb->closing) {
            ANG_PT(pthread_mutex_unlock(&emb->lock));
            retain_now(emb);
            ANG_PT(pthread_mutex_lock(&emb->lock));
        } else {
            int64_t until = can_sync(emb) ? emb->sync_at : ANG_NEVER;

            sleep_until(emb, until < retain_at ? until : retain_at);
        }
    }
    ANG_PT(pthread_mutex_unlock(&emb->lock));
    return (NULL);
}
