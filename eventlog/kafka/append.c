/* Records on their own: one idempotent producer for all of them, and a thread that serves its delivery reports.
 *
 * librdkafka's message timeout is per topic, not per record, so a record with a longer expiry than LIMIT_MS fails after
 * LIMIT_MS, and one with a shorter expiry may still be reported as written after it.  What matters is kept: a report says
 * that the record is in the log, that it never will be, or (class UNKNOWN) that nobody knows.
 *
 *      any thread ── producev ──▶ rk ──▶ broker
 *                     (shared lock)│
 *      appender thread ◀── reports ┘     replaces rk (exclusive lock) after a fatal error, once everything was reported */
#include <stdlib.h>
#include <unistd.h>

#include "eventlog/kafka/kafka_priv.h"

#define LIMIT_MS 30000
#define POLL_MS  1000
#define CLOSE_MS 5000

struct ang_kafka_appender {
    unsigned magic;
#define ANG_KAFKA_APPENDER_MAGIC 0x4afc0a01
    struct ang_kafka_ctx ctx;
    pthread_t thread;
    pthread_rwlock_t lock; /* of rk: held shared while producing */
    rd_kafka_t *rk;
    _Atomic bool stop;
    rd_kafka_topic_t **warm; /* of the first rk: kept, so that it keeps their metadata */
    size_t n_warm;
};

struct report {
    unsigned magic;
#define ANG_KAFKA_REPORT_MAGIC 0x4afc0a02
    void (*done)(void *arg, struct ang_err *er, int64_t offset);
    void *arg;
};

/* A producer that may not get an id is dead before it sent anything: what its records fail with says nothing of the rights. */
static rd_kafka_resp_err_t cause(rd_kafka_t *rk, rd_kafka_resp_err_t err) {
    rd_kafka_resp_err_t under;

    switch ((int)err) {
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
        under = rd_kafka_fatal_error(rk, NULL, 0);
        return (ang_kafka_is_auth(under) ? under : err);
    }
    return (err);
}

/* The code's own text: rd_kafka_message_errstr would take the record's value for one. */
static struct ang_err *report_error(rd_kafka_t *rk, const rd_kafka_message_t *m) {
    const rd_kafka_resp_err_t err = cause(rk, m->err);
    char what[512];
    (void)snprintf(what, sizeof(what), "%s/%d: the record was not written", rd_kafka_topic_name(m->rkt),
                   (int)m->partition);
    if (rd_kafka_message_status(m) == RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED) {
        (void)snprintf(what, sizeof(what), "%s/%d: the record may have been written", rd_kafka_topic_name(m->rkt),
                       (int)m->partition);
        return (ang_kafka_err(NULL, err, NULL, ANG_UNKNOWN, what));
    }
    return (ang_kafka_err(NULL, err, NULL, ANG_RETRY, what));
}

/* On the appender's thread. */
static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    struct report *r;
    ANG_CAST(r, m->_private, ANG_KAFKA_REPORT_MAGIC);
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        r->done(r->arg, NULL, m->offset >= 0 ? m->offset : ANG_OFFSET_NONE);
    } else {
        struct ang_err *er = report_error(rk, m);
        r->done(r->arg, er, ANG_OFFSET_NONE);
        ang_err_free(&er);
    }
    r->magic = 0;
    free(r);
}

static struct ang_err *open_producer(struct ang_kafka_appender *a, rd_kafka_t **ret_rk) {
    struct ang_kafka *k = a->ctx.k;
    char message[24], batch[24], limit[24];
    (void)snprintf(message, sizeof(message), "%lld", (long long)k->message + 2 * ANG_KAFKA_FRAMING);
    (void)snprintf(batch, sizeof(batch), "%lld", k->message < 1000000 ? (long long)k->message : 1000000LL);
    (void)snprintf(limit, sizeof(limit), "%d", LIMIT_MS);
    /* Two requests under way and no linger: a lone record leaves at once, and under load the records of one round trip share a
     * request.  With librdkafka's 5 a third more CPU goes into sending, ours and the broker's (256 in flight). */
    const struct ang_kafka_prop props[] = {
        {"enable.idempotence", "true", ANG_PROP_MUST},
        {"linger.ms", "0", ANG_PROP_TUNE},
        {"max.in.flight.requests.per.connection", "2", ANG_PROP_MUST},
        {"message.timeout.ms", limit, ANG_PROP_MUST},
        {"retry.backoff.ms", "20", ANG_PROP_TUNE},
        {"retry.backoff.max.ms", "500", ANG_PROP_NEWER},
        {"socket.timeout.ms", "5000", ANG_PROP_TUNE},
        {"message.max.bytes", message, ANG_PROP_MUST},
        {"batch.size", batch, ANG_PROP_MUST},
        {"queue.buffering.max.kbytes", "65536", ANG_PROP_TUNE},
        {NULL, NULL, ANG_PROP_MUST},
    };
    rd_kafka_conf_t *conf;
    struct ang_err *er = ang_kafka_conf_new(k, &a->ctx, props, &conf);
    if (er != NULL)
        return (er);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    return (ang_kafka_handle_new(k, RD_KAFKA_PRODUCER, &conf, ret_rk));
}

/* Every record still inside gets its report. */
static void drain(rd_kafka_t *rk) {
    while (rd_kafka_outq_len(rk) > 0) {
        (void)rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        (void)rd_kafka_poll(rk, 10);
    }
}

static void cool(struct ang_kafka_appender *a) {
    for (size_t i = 0; i < a->n_warm; i++)
        rd_kafka_topic_destroy(a->warm[i]);
    free(a->warm);
    a->warm = NULL;
    a->n_warm = 0;
}

static void replace(struct ang_kafka_appender *a) {
    char text[512];
    if (rd_kafka_fatal_error(a->rk, text, sizeof(text)) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    ANG_LOG(ANG_LOG_WARN, "LOG-APPENDER", "the appending producer failed and is replaced", "error", text);
    rd_kafka_t *fresh;
    struct ang_err *er = open_producer(a, &fresh);
    if (er != NULL) {
        ANG_LOG_EVERY(5000, ANG_LOG_ERROR, "LOG-APPENDER", "no new producer could be made", "error", er->msg);
        ang_err_free(&er);
        (void)usleep(100 * 1000);
        return;
    }
    /* First the reports: a dead producer takes no more records, so nothing overtakes what is still inside.  Not under the
     * lock, since a report may append again. */
    rd_kafka_t *old = a->rk;
    drain(old);
    ANG_PT(pthread_rwlock_wrlock(&a->lock));
    a->rk = fresh;
    ANG_PT(pthread_rwlock_unlock(&a->lock));
    cool(a);
    rd_kafka_destroy(old);
}

/* Only this thread replaces rk, so it reads it without the lock. */
static void *appender_main(void *arg) {
    struct ang_kafka_appender *a;
    ANG_CAST(a, arg, ANG_KAFKA_APPENDER_MAGIC);
    while (!a->stop) {
        (void)rd_kafka_poll(a->rk, POLL_MS);
        replace(a);
    }
    int64_t until = ang_now_ms() + CLOSE_MS;
    while (rd_kafka_outq_len(a->rk) > 0 && ang_now_ms() < until)
        (void)rd_kafka_poll(a->rk, 10);
    drain(a->rk);
    return (NULL);
}

void ang_kafka_appender_free(struct ang_kafka_appender *a) {
    if (a == NULL)
        return;
    ANG_CHECK(a, ANG_KAFKA_APPENDER_MAGIC);
    a->stop = true;
    rd_kafka_queue_t *q = rd_kafka_queue_get_main(a->rk);
    rd_kafka_queue_yield(q); /* ends the poll that is waiting */
    rd_kafka_queue_destroy(q);
    ANG_PT(pthread_join(a->thread, NULL));
    cool(a);
    rd_kafka_destroy(a->rk);
    ANG_PT(pthread_rwlock_destroy(&a->lock));
    a->magic = 0;
    free(a);
}

static struct ang_err *appender_of(struct ang_kafka *k, struct ang_kafka_appender **ret_a) {
    struct ang_err *er = NULL;
    ANG_PT(pthread_mutex_lock(&k->lock));
    if (k->appender == NULL) {
        struct ang_kafka_appender *a = ANG_NEW(struct ang_kafka_appender);
        a->magic = ANG_KAFKA_APPENDER_MAGIC;
        a->ctx = (struct ang_kafka_ctx){ANG_KAFKA_CTX_MAGIC, k, "append", a};
        er = open_producer(a, &a->rk);
        if (er == NULL) {
            ANG_PT(pthread_rwlock_init(&a->lock, NULL));
            ANG_PT(pthread_create(&a->thread, NULL, appender_main, a));
            k->appender = a;
        } else {
            free(a);
        }
    }
    if (er == NULL)
        *ret_a = k->appender;
    ANG_PT(pthread_mutex_unlock(&k->lock));
    return (er);
}

/* Without it the first record to a topic waits about a second for the topic's leaders.  Best effort. */
void ang_kafka_appender_warm(struct ang_kafka *k, const struct ang_topic_spec *specs, size_t n, int timeout_ms) {
    struct ang_kafka_appender *a;
    struct ang_err *er = appender_of(k, &a);
    if (er != NULL) {
        ang_err_free(&er); /* the first append says it again */
        return;
    }
    if (a->n_warm > 0)
        return;
    a->warm = ang_calloc(n, sizeof(rd_kafka_topic_t *));
    for (size_t i = 0; i < n; i++) {
        a->warm[a->n_warm] = rd_kafka_topic_new(a->rk, specs[i].name, NULL);
        AN(a->warm[a->n_warm++]);
    }
    const rd_kafka_metadata_t *md;
    if (rd_kafka_metadata(a->rk, 0, NULL, &md, timeout_ms) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(md);
}

static rd_kafka_resp_err_t produce(struct ang_kafka_appender *a, const struct ang_out *rec, struct report *r) {
    rd_kafka_headers_t *hdrs = ang_kafka_headers(rec);
    const void *value = rec->tombstone ? NULL : rec->value.n > 0 ? (const void *)rec->value.p : "";
    ANG_PT(pthread_rwlock_rdlock(&a->lock));
    rd_kafka_resp_err_t err = rd_kafka_producev(
        a->rk, RD_KAFKA_V_TOPIC(rec->topic->name), RD_KAFKA_V_PARTITION(rec->partition),
        RD_KAFKA_V_KEY((const void *)rec->key.p, rec->key.n),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)value, rec->tombstone ? 0 : rec->value.n), RD_KAFKA_V_HEADERS(hdrs),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(r), RD_KAFKA_V_END);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        err = cause(a->rk, err);
    ANG_PT(pthread_rwlock_unlock(&a->lock));
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR && hdrs != NULL)
        rd_kafka_headers_destroy(hdrs);
    return (err);
}

struct ang_err *ang_kafka_append(struct ang_log *log, const struct ang_out *rec, int expiry_ms,
                                 void (*done)(void *, struct ang_err *, int64_t), void *arg) {
    struct ang_err *er = ang_kafka_check_out(rec, rec->topic->partitions == 0 ? ANG_RETRY : ANG_BAD_INPUT);
    if (er != NULL)
        return (er);
    struct ang_kafka_appender *a;
    er = appender_of(ang_kafka_of(log), &a);
    if (er != NULL)
        return (er);
    struct report *r = ANG_NEW(struct report);
    *r = (struct report){ANG_KAFKA_REPORT_MAGIC, done, arg};
    rd_kafka_resp_err_t err = produce(a, rec, r);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return (NULL);
    free(r);
    char what[512];
    (void)snprintf(what, sizeof(what), "%s/%d: the record was not taken", rec->topic->name, (int)rec->partition);
    return (ang_kafka_err(NULL, err, NULL, ANG_RETRY, what));
}
