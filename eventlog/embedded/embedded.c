/* The embedded log: opening, identity, closing. */
#include <stdlib.h>

#include "eventlog/embedded/embedded_priv.h"
#include "eventlog/embedded/records.h"

static struct ang_err *identity(struct ang_log *log, int timeout_ms, const char **ret_id) {
    *ret_id = ang_emb_of(log)->identity;
    return (NULL);
}

static void emb_free(struct ang_emb *emb) {
    struct ang_emb_topic *t, *next;
    struct ang_err *broken = atomic_load(&emb->broken);

    ang_emb_group_free(emb->group);
    ang_emb_db_close(emb);
    ang_emb_cgroups_free(emb);
    ang_emb_epochs_free(emb);
    for (t = atomic_load(&emb->topics); t != NULL; t = next) {
        next = t->next;
        free(t);
    }
    ang_err_free(&broken);
    ANG_PT(pthread_rwlock_destroy(&emb->db_lock));
    ANG_PT(pthread_rwlock_destroy(&emb->look_lock));
    ANG_PT(pthread_mutex_destroy(&emb->ensure_lock));
    ANG_PT(pthread_mutex_destroy(&emb->lock));
    ANG_PT(pthread_mutex_destroy(&emb->readers_lock));
    ANG_PT(pthread_mutex_destroy(&emb->members_lock));
    ANG_PT(pthread_cond_destroy(&emb->log_cond));
    ang_log_fini(&emb->base);
    free(emb->path);
    free(emb);
}

static void close_log(struct ang_log *log) {
    struct ang_emb *emb = ang_emb_of(log);

    if (!log->look) { /* else it has no thread */
        ANG_PT(pthread_mutex_lock(&emb->lock));
        emb->closing = true;
        ang_emb_tell(emb);
        ANG_PT(pthread_mutex_unlock(&emb->lock));
        ANG_PT(pthread_join(emb->log_thread, NULL));
    }
    emb_free(emb);
}

static const struct ang_log_ops ops = {
    .close = close_log,
    .identity = identity,
    .ensure_topics = ang_emb_ensure_topics,
    .find_topics = ang_emb_find_topics,
    .ranges = ang_emb_ranges,
    .append = ang_emb_append,
    .reader_open = ang_emb_reader_open,
    .reader_close = ang_emb_reader_close,
    .reader_add = ang_emb_reader_add,
    .reader_remove = ang_emb_reader_remove,
    .reader_poll = ang_emb_reader_poll,
    .reader_end = ang_emb_reader_end,
    .reader_next = ang_emb_reader_next,
    .end = ang_emb_end,
    .member_join = ang_emb_member_join,
    .member_poll = ang_emb_member_poll,
    .member_token = ang_emb_member_token,
    .member_leave = ang_emb_member_leave,
    .token_free = ang_emb_token_free,
    .positions = ang_emb_positions,
    .writer_open = ang_emb_writer_open,
    .writer_close = ang_emb_writer_close,
    .writer_commit = ang_emb_writer_commit,
    .writer_doubtful = ang_emb_writer_doubtful,
    .fence = ang_emb_fence,
};

static struct ang_emb *emb_new(const char *path) {
    struct ang_emb *emb = ANG_NEW(struct ang_emb);
    pthread_condattr_t attr;

    ang_log_init(&emb->base, &ops);
    emb->path = ang_strdup(path);
    emb->tail = &emb->head;
    emb->done_tail = &emb->done_head;
    emb->sync_at = ANG_NEVER;
    emb->told = true; /* it starts awake */
    ANG_PT(pthread_rwlock_init(&emb->db_lock, NULL));
    ANG_PT(pthread_rwlock_init(&emb->look_lock, NULL));
    ANG_PT(pthread_mutex_init(&emb->ensure_lock, NULL));
    ANG_PT(pthread_mutex_init(&emb->lock, NULL));
    ANG_PT(pthread_mutex_init(&emb->readers_lock, NULL));
    ANG_PT(pthread_mutex_init(&emb->members_lock, NULL));
    ANG_PT(pthread_condattr_init(&attr));
    ANG_PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    ANG_PT(pthread_cond_init(&emb->log_cond, &attr));
    ANG_PT(pthread_condattr_destroy(&attr));
    emb->group = ang_emb_group_new(emb);
    return (emb);
}

/* ---- what the folder says of itself ---- */

struct found {
    struct ang_emb_job job;
    const char *identity;
};

static struct ang_err *found_stage(struct ang_emb_job *job, struct ang_emb_group *g) {
    struct found *f = ANG_CONTAINER(job, struct found, job);
    struct ang_buf key = {0};
    uint8_t format[4];

    ang_put_be32(format, ANG_EMB_FORMAT);
    ang_emb_group_put(g, ang_emb_name_key(&key, 'm', "format"), ang_slice_of(format, sizeof format));
    ang_emb_group_put(g, ang_emb_name_key(&key, 'm', "identity"), ang_slice_str(f->identity));
    ang_buf_fini(&key);
    return (NULL);
}

static struct ang_err *folder_found(struct ang_emb *emb) {
    struct found f = {.job = {.stage = found_stage, .sync = true}, .identity = emb->identity};
    struct ang_uuid id;

    ang_uuid_v4(&id);
    ang_uuid_text(id.b, emb->identity);
    return (ang_emb_run(emb, &f.job));
}

static struct ang_err *folder_check(struct ang_emb *emb) {
    struct ang_buf key = {0}, val = {0};
    bool found;
    struct ang_err *er = ang_emb_get(emb, ang_emb_name_key(&key, 'm', "format"), &val, &found);

    if (er == NULL && !found) {
        /* Who looks may have come before the one who makes it has written this. */
        er = emb->base.look ? ang_err_new(ANG_E_LOG_UNREACHABLE, "log.path %s holds no log yet", emb->path)
                            : folder_found(emb);
        goto out;
    }
    if (er == NULL && (val.n != 4 || ang_get_be32(val.p) != ANG_EMB_FORMAT))
        er =
            ang_err_new(ANG_E_CONFIG, "log.path %s holds a log of another format, expected format %d: use a new folder",
                        emb->path, ANG_EMB_FORMAT);
    if (er == NULL)
        er = ang_emb_get(emb, ang_emb_name_key(&key, 'm', "identity"), &val, &found);
    if (er == NULL && (!found || val.n != ANG_UUID_TEXT))
        er = ang_err_new(ANG_E_LOG_IO, "log.path %s: its identity is damaged: restore the folder or remove it",
                         emb->path);
    if (er == NULL)
        memcpy(emb->identity, val.p, ANG_UUID_TEXT);
out:
    ang_buf_fini(&key);
    ang_buf_fini(&val);
    return (er);
}

struct ang_err *ang_embedded_open(const struct ang_settings *s, const char *client, struct ang_log **ret_log) {
    struct ang_emb *emb = emb_new(s->log.path);
    struct ang_err *er = ang_emb_db_open(emb);

    if (er == NULL)
        er = folder_check(emb);
    if (er == NULL)
        er = ang_emb_topics_load(emb);
    if (er != NULL) {
        emb_free(emb);
        return (er);
    }
    /* retention looks once at what was left by earlier runs: retain_at is 0 */
    ANG_PT(pthread_create(&emb->log_thread, NULL, ang_emb_log_thread, emb));
    *ret_log = &emb->base;
    return (NULL);
}

struct ang_err *ang_embedded_open_look(const struct ang_settings *s, struct ang_log **ret_log) {
    struct ang_emb *emb = emb_new(s->log.path);
    struct ang_err *er;

    emb->base.look = true;
    er = ang_emb_db_open_look(emb);
    if (er == NULL)
        er = folder_check(emb);
    if (er == NULL)
        er = ang_emb_look(emb);
    if (er != NULL) {
        emb_free(emb);
        return (er);
    }
    *ret_log = &emb->base;
    return (NULL);
}
