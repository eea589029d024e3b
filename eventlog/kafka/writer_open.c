/* A writer is a transactional producer: how it is made, warmed up, watched and closed.  writer.c commits with it. */
#include <stdlib.h>

#include "base/kill.h"
#include "eventlog/kafka/kafka_priv.h"

enum { API_PRODUCE = 0, API_ADD_PARTITIONS = 24, API_ADD_OFFSETS = 25, API_END_TXN = 26, API_TXN_OFFSET_COMMIT = 28 };

/* ---- watching: runs on broker threads, must not call librdkafka ---- */

static rd_kafka_resp_err_t on_sent(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api, int16_t version,
                                   int32_t corr, size_t size, void *opaque) {
    struct ang_kafka_writer *w = opaque;
    if (api == API_END_TXN) {
        w->end_sent = true;
        if (w->committing)
            ANG_KILL_POINT("in-commit");
    }
    return (RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* A request of a transaction that ended without an answer may still be under way and be carried out in the middle of a later
 * transaction of the same epoch (KAFKA-17754), so this producer must not begin another one. */
static rd_kafka_resp_err_t on_answered(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api,
                                       int16_t version, int32_t corr, size_t size, int64_t rtt, rd_kafka_resp_err_t err,
                                       void *opaque) {
    struct ang_kafka_writer *w = opaque;
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return (RD_KAFKA_RESP_ERR_NO_ERROR);
    switch (api) {
    case API_PRODUCE:
    case API_ADD_PARTITIONS:
    case API_ADD_OFFSETS:
    case API_END_TXN:
    case API_TXN_OFFSET_COMMIT:
        w->doubtful = true;
        break;
    default:
        break;
    }
    return (RD_KAFKA_RESP_ERR_NO_ERROR);
}

bool ang_kafka_writer_doubtful(const struct ang_log_writer *writer) {
    const struct ang_kafka_writer *w = (const struct ang_kafka_writer *)(const void *)writer;
    return (w->doubtful);
}

/* ---- opening ---- */

static struct ang_err *open_producer(struct ang_kafka_writer *w) {
    struct ang_kafka *k = w->ctx.k;
    char socket[24], message[24], batch[24], txn[24], stuck[24];
    (void)snprintf(txn, sizeof(txn), "%d", w->txn_timeout_ms);
    (void)snprintf(stuck, sizeof(stuck), "%d", w->txn_timeout_ms < ANG_KAFKA_STUCK_MS ? w->txn_timeout_ms : ANG_KAFKA_STUCK_MS);
    (void)snprintf(socket, sizeof(socket), "%d", w->txn_timeout_ms < 5000 ? w->txn_timeout_ms : 5000);
    (void)snprintf(message, sizeof(message), "%lld", (long long)k->message + 2 * ANG_KAFKA_FRAMING);
    (void)snprintf(batch, sizeof(batch), "%lld", k->message < 1000000 ? (long long)k->message : 1000000LL);
    const struct ang_kafka_prop props[] = {
        {"transactional.id", w->id, ANG_PROP_MUST},
        {"transaction.timeout.ms", txn, ANG_PROP_MUST},
        {"message.timeout.ms", stuck, ANG_PROP_TUNE},
        {"linger.ms", "0", ANG_PROP_MUST},
        /* What a transaction waits for when the one before it is still being completed. */
        {"retry.backoff.ms", "1", ANG_PROP_TUNE},
        {"retry.backoff.max.ms", "100", ANG_PROP_NEWER},
        {"socket.timeout.ms", socket, ANG_PROP_TUNE},
        {"message.max.bytes", message, ANG_PROP_MUST},
        {"batch.size", batch, ANG_PROP_MUST}, /* a batch is what a topic's max.message.bytes limits */
        {"queue.buffering.max.kbytes", "65536", ANG_PROP_TUNE},
        {"queue.buffering.max.messages", "1000000", ANG_PROP_TUNE},
        {NULL, NULL, ANG_PROP_MUST},
    };
    rd_kafka_conf_t *conf;
    struct ang_err *er = ang_kafka_conf_new(k, &w->ctx, props, &conf);
    if (er != NULL)
        return (er);
    /* With a callback the flush inside commit is woken by each report; without one it polls every 10 ms. */
    rd_kafka_conf_set_dr_msg_cb(conf, ang_kafka_writer_delivered);
    w->watch = (struct ang_kafka_watch){on_sent, on_answered, w};
    ang_kafka_conf_watch(conf, &w->watch);
    return (ang_kafka_handle_new(k, RD_KAFKA_PRODUCER, &conf, &w->rk));
}

struct ang_err *ang_kafka_init_transactions(rd_kafka_t *rk, const char *id, int64_t until_ms) {
    for (;;) {
        int left = ang_kafka_left(until_ms, 5000);
        rd_kafka_error_t *ke = rd_kafka_init_transactions(rk, left > 1 ? left : 1);
        if (ke == NULL)
            return (NULL);
        enum ang_kafka_kind kind = ang_kafka_kind(ke);
        if (kind == ANG_KIND_TIMED_OUT && ang_kafka_left(until_ms, 1) > 0) {
            rd_kafka_error_destroy(ke);
            continue;
        }
        char what[256];
        (void)snprintf(what, sizeof(what), "initialising transactional id %s", id);
        return (ang_kafka_err_take(rk, &ke, ang_kafka_class(ANG_STEP_INIT, kind), what));
    }
}

rd_kafka_topic_t *ang_kafka_writer_topic(struct ang_kafka_writer *w, const char *name) {
    for (size_t i = 0; i < w->n_rkts; i++) {
        if (strcmp(rd_kafka_topic_name(w->rkts[i]), name) == 0)
            return (w->rkts[i]);
    }
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(w->rk, name, NULL);
    AN(rkt);
    w->rkts = ang_realloc(w->rkts, (w->n_rkts + 1) * sizeof(rd_kafka_topic_t *));
    w->rkts[w->n_rkts++] = rkt;
    return (rkt);
}

/* A fresh producer does not know the leaders of any topic and would find out about a second after its first record.
 * Best effort: what is not known yet is found out then. */
static void warm_up(struct ang_kafka_writer *w, int64_t until_ms) {
    struct ang_log *log = w->w.log;
    ANG_PT(pthread_mutex_lock(&log->topics_lock));
    for (size_t i = 0; i < log->n_topics; i++) {
        if (log->topics[i]->partitions > 0)
            (void)ang_kafka_writer_topic(w, log->topics[i]->name);
    }
    ANG_PT(pthread_mutex_unlock(&log->topics_lock));
    if (w->n_rkts == 0)
        return;
    const rd_kafka_metadata_t *md;
    rd_kafka_resp_err_t err = rd_kafka_metadata(w->rk, 0, NULL, &md, ang_kafka_left(until_ms, 5000));
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(md);
}

struct ang_err *ang_kafka_writer_open(struct ang_log *log, const char *transactional_id, int timeout_ms,
                                      struct ang_log_writer **ret_w) {
    int64_t until = ang_now_ms() + timeout_ms;
    struct ang_kafka_writer *w = ANG_NEW(struct ang_kafka_writer);
    w->w = (struct ang_log_writer){ANG_LOG_WRITER_MAGIC, log};
    w->id = ang_strdup(transactional_id);
    struct ang_kafka *k = ang_kafka_of(log);
    w->ctx = (struct ang_kafka_ctx){ANG_KAFKA_CTX_MAGIC, k, w->id, w};
    w->txn_timeout_ms = (int)ang_kafka_user_number(k, "transaction.timeout.ms", ANG_KAFKA_TXN_TIMEOUT_MS);
    struct ang_err *er = open_producer(w);
    if (er == NULL)
        er = ang_kafka_init_transactions(w->rk, w->id, until);
    if (er != NULL) {
        ang_kafka_writer_close(&w->w);
        return (er);
    }
    warm_up(w, until);
    *ret_w = &w->w;
    return (NULL);
}

void ang_kafka_writer_close(struct ang_log_writer *writer) {
    struct ang_kafka_writer *w = (struct ang_kafka_writer *)(void *)writer;
    w->recs = NULL;
    w->n_recs = 0;
    for (size_t i = 0; i < w->n_rkts; i++)
        rd_kafka_topic_destroy(w->rkts[i]);
    free(w->rkts);
    if (w->rk != NULL) {
        (void)rd_kafka_purge(w->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
        rd_kafka_destroy(w->rk);
    }
    free(w->id);
    w->w.magic = 0;
    free(w);
}
