/* What both logs share: the table of topics, records' headers, tokens' references, and the way to the implementation. */
#include "eventlog/eventlog.h"

#include <stdlib.h>

#include "base/base.h"
#include "eventlog/log_priv.h"

struct ang_err *ang_log_open(const struct ang_settings *s, const char *client, struct ang_log **ret_log) {
    switch (s->log.type) {
    case ANG_LOGTYPE_KAFKA:
        return (ang_kafka_open(s, client, ret_log));
    case ANG_LOGTYPE_EMBEDDED:
        return (ang_embedded_open(s, client, ret_log));
    }
    return (ang_err_new(ANG_E_INTERNAL, "log.type has the value %d", (int)s->log.type));
}

struct ang_err *ang_log_open_look(const struct ang_settings *s, const char *client, struct ang_log **ret_log) {
    struct ang_err *er = NULL;

    switch (s->log.type) {
    case ANG_LOGTYPE_KAFKA:
        er = ang_kafka_open(s, client, ret_log);
        if (er == NULL)
            (*ret_log)->look = true;
        return (er);
    case ANG_LOGTYPE_EMBEDDED:
        return (ang_embedded_open_look(s, ret_log));
    }
    return (ang_err_new(ANG_E_INTERNAL, "log.type has the value %d", (int)s->log.type));
}

/* For what writes. */
static struct ang_err *only_looks(const struct ang_log *log, const char *what, const char *name) {
    if (!log->look)
        return (NULL);
    return (ang_err_new(ANG_E_INVALID, "%s %s: the log was opened only to be looked at", what, name));
}

void ang_log_close(struct ang_log *log) {
    if (log == NULL)
        return;
    ANG_CHECK(log, ANG_LOG_MAGIC);
    log->ops->close(log);
}

struct ang_err *ang_log_identity(struct ang_log *log, int timeout_ms, const char **ret_id) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    return (log->ops->identity(log, timeout_ms, ret_id));
}

/* ---- topics ---- */

void ang_log_init(struct ang_log *log, const struct ang_log_ops *ops) {
    log->magic = ANG_LOG_MAGIC;
    log->ops = ops;
    log->look = false;
    log->topics = NULL;
    log->n_topics = 0;
    ANG_PT(pthread_mutex_init(&log->topics_lock, NULL));
}

void ang_log_fini(struct ang_log *log) {
    for (size_t i = 0; i < log->n_topics; i++) {
        free((char *)(uintptr_t)log->topics[i]->name);
        log->topics[i]->magic = 0;
        free(log->topics[i]);
    }
    free(log->topics);
    log->topics = NULL;
    log->n_topics = 0;
    ANG_PT(pthread_mutex_destroy(&log->topics_lock));
    log->magic = 0;
}

/* The table is sorted by name.  Returns where the name is or belongs. */
static size_t topic_slot(const struct ang_log *log, const char *name, bool *ret_found) {
    size_t lo = 0, hi = log->n_topics;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(name, log->topics[mid]->name);
        if (c == 0) {
            *ret_found = true;
            return (mid);
        }
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    *ret_found = false;
    return (lo);
}

struct ang_topic *ang_log_topic_mut(struct ang_log *log, const char *name) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    ANG_PT(pthread_mutex_lock(&log->topics_lock));
    bool found;
    size_t i = topic_slot(log, name, &found);
    if (!found) {
        struct ang_topic *t = ANG_NEW(struct ang_topic);
        t->magic = ANG_TOPIC_MAGIC;
        t->name = ang_strdup(name);
        log->topics = ang_realloc(log->topics, (log->n_topics + 1) * sizeof(struct ang_topic *));
        memmove(&log->topics[i + 1], &log->topics[i], (log->n_topics - i) * sizeof(struct ang_topic *));
        log->topics[i] = t;
        log->n_topics++;
    }
    struct ang_topic *t = log->topics[i];
    ANG_PT(pthread_mutex_unlock(&log->topics_lock));
    return (t);
}

const struct ang_topic *ang_log_topic(struct ang_log *log, const char *name) {
    return (ang_log_topic_mut(log, name));
}

struct ang_err *ang_log_ensure_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, bool create,
                                      int timeout_ms) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    struct ang_err *er = create && n > 0 ? only_looks(log, "creating topic", specs[0].name) : NULL;
    if (er != NULL || n == 0)
        return (er);
    return (log->ops->ensure_topics(log, specs, n, create, timeout_ms));
}

struct ang_err *ang_log_find_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, int timeout_ms,
                                    struct ang_topic_found *ret_found) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    memset(ret_found, 0, n * sizeof(*ret_found));
    if (n == 0)
        return (NULL);
    struct ang_err *er = log->ops->find_topics(log, specs, n, timeout_ms, ret_found);
    for (size_t i = 0; er != NULL && i < n; i++)
        ang_topic_found_fini(&ret_found[i]);
    return (er);
}

void ang_topic_found_fini(struct ang_topic_found *f) {
    ang_buf_fini(&f->differs);
    ang_buf_fini(&f->notes);
}

struct ang_err *ang_topic_first_difference(const struct ang_topic_found *found, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct ang_buf *b = &found[i].differs;
        const uint8_t *end = b->n == 0 ? NULL : memchr(b->p, '\n', b->n);
        if (end != NULL)
            return (ang_err_new(ANG_E_LOG_TOPIC, "%.*s", (int)(end - b->p), (const char *)b->p));
    }
    return (NULL);
}

struct ang_err *ang_log_ranges(struct ang_log *log, struct ang_range *r, size_t n, int timeout_ms) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    for (size_t i = 0; i < n; i++) {
        ANG_CHECK(r[i].topic, ANG_TOPIC_MAGIC);
        r[i].begin = r[i].end = ANG_OFFSET_NONE;
        r[i].why = NULL;
    }
    return (n == 0 ? NULL : log->ops->ranges(log, r, n, timeout_ms));
}

struct ang_err *ang_log_writable(struct ang_log *log, struct ang_writable *w, size_t n, int timeout_ms) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    for (size_t i = 0; i < n; i++) {
        ANG_CHECK(w[i].topic, ANG_TOPIC_MAGIC);
        w[i].why = NULL;
    }
    return (log->ops->writable == NULL || n == 0 ? NULL : log->ops->writable(log, w, n, timeout_ms));
}

/* ---- append ---- */

struct ang_err *ang_log_append(struct ang_log *log, const struct ang_out *rec, int expiry_ms,
                               void (*done)(void *arg, struct ang_err *er, int64_t offset), void *arg) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    ANG_CHECK(rec->topic, ANG_TOPIC_MAGIC);
    AN(done);
    struct ang_err *er = only_looks(log, "appending to", rec->topic->name);
    return (er != NULL ? er : log->ops->append(log, rec, expiry_ms, done, arg));
}

/* ---- records ---- */

void ang_rec_free(struct ang_rec **rec) {
    struct ang_rec *r = *rec;
    *rec = NULL;
    if (r == NULL)
        return;
    ANG_CHECK(r, ANG_REC_MAGIC);
    r->release(r);
}

bool ang_rec_hdr(const struct ang_rec *rec, const char *name, struct ang_slice *ret_value) {
    ANG_CHECK(rec, ANG_REC_MAGIC);
    for (uint32_t i = rec->n_hdrs; i > 0; i--) {
        if (strcmp(rec->hdrs[i - 1].name, name) == 0) {
            *ret_value = rec->hdrs[i - 1].value;
            return (true);
        }
    }
    return (false);
}

/* ---- reader ---- */

struct ang_err *ang_log_reader_open(struct ang_log *log, const struct ang_log_reader_conf *conf,
                                    struct ang_log_reader **ret_r) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    return (log->ops->reader_open(log, conf, ret_r));
}

void ang_log_reader_close(struct ang_log_reader *r) {
    if (r == NULL)
        return;
    ANG_CHECK(r, ANG_LOG_READER_MAGIC);
    r->log->ops->reader_close(r);
}

struct ang_err *ang_log_reader_add(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition,
                                   int64_t offset) {
    ANG_CHECK(r, ANG_LOG_READER_MAGIC);
    ANG_CHECK(topic, ANG_TOPIC_MAGIC);
    ANG_ASSERT(offset >= 0 || offset == ANG_OFFSET_BEGIN || offset == ANG_OFFSET_END);
    return (r->log->ops->reader_add(r, topic, partition, offset));
}

void ang_log_reader_remove(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition) {
    ANG_CHECK(r, ANG_LOG_READER_MAGIC);
    ANG_CHECK(topic, ANG_TOPIC_MAGIC);
    r->log->ops->reader_remove(r, topic, partition);
}

struct ang_err *ang_log_reader_poll(struct ang_log_reader *r, struct ang_rec **recs, size_t max, int timeout_ms,
                                    size_t *ret_n) {
    ANG_CHECK(r, ANG_LOG_READER_MAGIC);
    return (r->log->ops->reader_poll(r, recs, max, timeout_ms, ret_n));
}

int64_t ang_log_reader_end(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition) {
    ANG_CHECK(r, ANG_LOG_READER_MAGIC);
    ANG_CHECK(topic, ANG_TOPIC_MAGIC);
    return (r->log->ops->reader_end(r, topic, partition));
}

int64_t ang_log_reader_next(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition) {
    ANG_CHECK(r, ANG_LOG_READER_MAGIC);
    ANG_CHECK(topic, ANG_TOPIC_MAGIC);
    return (r->log->ops->reader_next(r, topic, partition));
}

struct ang_err *ang_log_end(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int timeout_ms,
                            int64_t *ret_offset) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    ANG_CHECK(topic, ANG_TOPIC_MAGIC);
    return (log->ops->end(log, topic, partition, timeout_ms, ret_offset));
}

struct ang_err *ang_log_peek(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int64_t offset,
                             int timeout_ms, struct ang_rec **ret_rec) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    ANG_CHECK(topic, ANG_TOPIC_MAGIC);
    *ret_rec = NULL;
    return (log->ops->peek == NULL ? NULL : log->ops->peek(log, topic, partition, offset, timeout_ms, ret_rec));
}

/* ---- member ---- */

struct ang_err *ang_log_member_join(struct ang_log *log, const struct ang_log_member_conf *conf,
                                    struct ang_log_member **ret_m) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    struct ang_err *er = only_looks(log, "joining group", conf->group);
    return (er != NULL ? er : log->ops->member_join(log, conf, ret_m));
}

struct ang_err *ang_log_member_poll(struct ang_log_member *m, int timeout_ms) {
    ANG_CHECK(m, ANG_LOG_MEMBER_MAGIC);
    return (m->log->ops->member_poll(m, timeout_ms));
}

struct ang_err *ang_log_member_token(struct ang_log_member *m, struct ang_log_token **ret_token) {
    ANG_CHECK(m, ANG_LOG_MEMBER_MAGIC);
    return (m->log->ops->member_token(m, ret_token));
}

void ang_log_member_leave(struct ang_log_member *m, bool stay) {
    if (m == NULL)
        return;
    ANG_CHECK(m, ANG_LOG_MEMBER_MAGIC);
    m->log->ops->member_leave(m, stay);
}

struct ang_log_token *ang_log_token_ref(struct ang_log_token *t) {
    ANG_CHECK(t, ANG_LOG_TOKEN_MAGIC);
    t->refs++;
    return (t);
}

void ang_log_token_unref(struct ang_log_token *t) {
    if (t == NULL)
        return;
    ANG_CHECK(t, ANG_LOG_TOKEN_MAGIC);
    if (--t->refs == 0)
        t->ops->token_free(t);
}

int32_t ang_log_token_generation(const struct ang_log_token *t) {
    ANG_CHECK(t, ANG_LOG_TOKEN_MAGIC);
    return (t->generation);
}

/* ---- positions ---- */

struct ang_err *ang_log_positions(struct ang_log *log, const char *group, struct ang_pos *pos, size_t n, int timeout_ms,
                                  struct ang_buf *ret_mem) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    for (size_t i = 0; i < n; i++)
        ANG_CHECK(pos[i].topic, ANG_TOPIC_MAGIC);
    if (n == 0)
        return (NULL);
    return (log->ops->positions(log, group, pos, n, timeout_ms, ret_mem));
}

/* ---- writer ---- */

struct ang_err *ang_log_writer_open(struct ang_log *log, const char *transactional_id, int timeout_ms,
                                    struct ang_log_writer **ret_w) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    struct ang_err *er = only_looks(log, "opening writer", transactional_id);
    return (er != NULL ? er : log->ops->writer_open(log, transactional_id, timeout_ms, ret_w));
}

void ang_log_writer_close(struct ang_log_writer *w) {
    if (w == NULL)
        return;
    ANG_CHECK(w, ANG_LOG_WRITER_MAGIC);
    w->log->ops->writer_close(w);
}

struct ang_err *ang_log_writer_commit(struct ang_log_writer *w, const struct ang_batch *batch) {
    ANG_CHECK(w, ANG_LOG_WRITER_MAGIC);
    ANG_CHECK(batch->token, ANG_LOG_TOKEN_MAGIC);
    /* Only positions prove to the group that the committer is still a member. */
    AN(batch->n_positions);
    for (size_t i = 0; i < batch->n_positions; i++) {
        ANG_CHECK(batch->positions[i].topic, ANG_TOPIC_MAGIC);
        ANG_ASSERT(batch->positions[i].offset >= 0);
    }
    for (size_t i = 0; i < batch->n_recs; i++)
        ANG_CHECK(batch->recs[i].topic, ANG_TOPIC_MAGIC);
    return (w->log->ops->writer_commit(w, batch));
}

struct ang_err *ang_log_writer_settle(struct ang_log_writer *w, struct ang_log_token *token,
                                      const struct ang_topic *topic) {
    ANG_CHECK(w, ANG_LOG_WRITER_MAGIC);
    return (w->log->ops->writer_settle == NULL ? NULL : w->log->ops->writer_settle(w, token, topic));
}

bool ang_log_writer_doubtful(const struct ang_log_writer *w) {
    ANG_CHECK(w, ANG_LOG_WRITER_MAGIC);
    return (w->log->ops->writer_doubtful(w));
}

struct ang_err *ang_log_fence(struct ang_log *log, const char *transactional_id, int timeout_ms) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    struct ang_err *er = only_looks(log, "fencing", transactional_id);
    return (er != NULL ? er : log->ops->fence(log, transactional_id, timeout_ms));
}
