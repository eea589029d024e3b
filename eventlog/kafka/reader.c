/* Reading chosen partitions: librdkafka's simple consumer, which knows no group.  So there is no coordinator, no rebalance,
 * no poll interval to keep and no committed offset that could become a start position; nothing but Fetch and ListOffsets.
 *
 *      broker threads ── messages ──▶ [queue] ── event ──▶ wake, and whoever waits in poll
 *                                        └── poll takes them out, under the lock
 *
 * The next offset of each partition is kept here: what is below it, or of a partition that was removed, is dropped.
 * A record is a copy: a message of librdkafka keeps the whole answer of the broker in memory, up to a MiB, and one that waits for
 * a slow call would hold it for long. */
#include <stdlib.h>

#include "eventlog/kafka/kafka_priv.h"
#include "eventlog/kafka/nudge.h"

#define RESTARTS 3    /* of a partition whose position the broker denies although it is inside the range */
#define RANGE_MS 1000 /* to ask for the range of a partition, once it cannot be read */
#define LEARN_MS 200  /* to learn the leaders of a topic before BEGIN or END is looked up there */

struct source {
    struct ang_kafka_ctx ctx;
    rd_kafka_t *rk;
    char *duty;
};

struct part {
    enum { PART_OFF, PART_ON, PART_FAILED } state;
    int64_t start; /* where to start again: as asked for, then the next offset */
    int64_t next;  /* the lowest offset that may come out */
    int restarts;
    struct ang_err *er; /* why it failed, until poll has said so */
};

struct rtopic {
    unsigned magic;
#define ANG_KAFKA_RTOPIC_MAGIC 0x4afc0b01
    const struct ang_topic *topic;
    rd_kafka_topic_t *rkt;
    struct part *parts;
    int32_t n_parts;
    bool learnt; /* its leaders were known once */
};

struct reader {
    struct ang_log_reader r;
    struct source *src;
    rd_kafka_queue_t *q;
    void (*wake)(void *arg);
    void *arg;
    /* wait_lock: taken inside librdkafka's queue lock, so nothing of librdkafka is called while it is held */
    pthread_mutex_t wait_lock;
    pthread_cond_t wait_cond;
    uint64_t events;
    /* lock */
    pthread_mutex_t lock;
    struct rtopic **topics;
    size_t n_topics;
    size_t untold; /* partitions whose er is to be returned by the next poll */
    bool ended;    /* conf.ends: some partition has come to an end since the last poll returned */
    rd_kafka_message_t **batch;
    size_t cap;
    /* who polls */
    struct ang_kafka_nudge nudge;
};

static struct reader *reader_of(struct ang_log_reader *r) {
    ANG_CHECK(r, ANG_LOG_READER_MAGIC);
    return ((struct reader *)(void *)r);
}

static void source_free(struct source *s) {
    if (s->rk != NULL)
        rd_kafka_destroy(s->rk);
    free(s->duty);
    free(s);
}

/* ---- records ---- */

static void rec_release(struct ang_rec *rec) {
    rec->magic = 0;
    free(rec);
}

static struct ang_slice put(uint8_t **at, const void *p, size_t n) {
    struct ang_slice s = ang_slice_of(*at, n);
    if (n > 0)
        memcpy(*at, p, n);
    *at += n;
    return (s);
}

/* One piece of memory: the record, its headers, its bytes. */
static struct ang_rec *rec_new(const struct ang_topic *topic, const rd_kafka_message_t *msg) {
    rd_kafka_headers_t *list = NULL;
    size_t n = rd_kafka_message_headers(msg, &list) == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_header_cnt(list) : 0;
    size_t bytes = msg->key_len + msg->len;
    const char *name;
    const void *value;
    size_t len;
    for (size_t i = 0; i < n; i++) {
        AZ(rd_kafka_header_get_all(list, i, &name, &value, &len));
        bytes += strlen(name) + 1 + len;
    }
    struct ang_rec *rec = ang_malloc(sizeof(*rec) + n * sizeof(struct ang_hdr) + bytes);
    struct ang_hdr *hdrs = (struct ang_hdr *)(rec + 1);
    uint8_t *at = (uint8_t *)(hdrs + n);
    *rec = (struct ang_rec){
        .magic = ANG_REC_MAGIC,
        .topic = topic,
        .partition = msg->partition,
        .offset = msg->offset,
        .time_ms = rd_kafka_message_timestamp(msg, NULL),
        .tombstone = msg->payload == NULL,
        .n_hdrs = (uint32_t)n,
        .hdrs = hdrs,
        .bytes = sizeof(*rec) + n * sizeof(struct ang_hdr) + bytes,
        .release = rec_release,
    };
    for (size_t i = 0; i < n; i++) {
        AZ(rd_kafka_header_get_all(list, i, &name, &value, &len));
        hdrs[i].name = (const char *)at;
        (void)put(&at, name, strlen(name) + 1);
        hdrs[i].value = put(&at, value, value != NULL ? len : 0);
    }
    rec->key = msg->key != NULL ? put(&at, msg->key, msg->key_len) : ANG_SLICE_NONE;
    rec->value = put(&at, msg->payload, msg->len);
    return (rec);
}

/* ---- opening and closing ---- */

static void on_event(rd_kafka_t *rk, void *opaque) {
    struct reader *r = opaque;
    ANG_PT(pthread_mutex_lock(&r->wait_lock));
    r->events++;
    ANG_PT(pthread_cond_signal(&r->wait_cond));
    ANG_PT(pthread_mutex_unlock(&r->wait_lock));
    if (r->wake != NULL)
        r->wake(r->arg);
}

static struct ang_err *open_consumer(struct ang_kafka *k, struct source *src, const struct ang_log_reader_conf *rc,
                                     const char *isolation) {
    char wait[24], kbytes[24];
    (void)snprintf(wait, sizeof(wait), "%d", rc->fetch_wait_ms > 0 ? rc->fetch_wait_ms : 1);
    int64_t kb = rc->memory / 1024;
    (void)snprintf(kbytes, sizeof(kbytes), "%lld", (long long)(kb < 64 ? 64 : kb > 2000000 ? 2000000 : kb));
    const struct ang_kafka_prop props[] = {
        {"isolation.level", isolation, ANG_PROP_MUST},
        {"check.crcs", "true", ANG_PROP_MUST},
        {"auto.offset.reset", "error", ANG_PROP_MUST},
        {"enable.auto.commit", "false", ANG_PROP_MUST},
        {"enable.auto.offset.store", "false", ANG_PROP_MUST},
        {"enable.partition.eof", rc->ends ? "true" : "false", ANG_PROP_MUST},
        {"allow.auto.create.topics", "false", ANG_PROP_MUST},
        {"fetch.wait.max.ms", wait, ANG_PROP_MUST},
        {"fetch.error.backoff.ms", "20", ANG_PROP_TUNE},
        {"fetch.queue.backoff.ms", "10", ANG_PROP_NEWER},
        {"retry.backoff.ms", "10", ANG_PROP_TUNE},
        {"retry.backoff.max.ms", "500", ANG_PROP_NEWER},
        {"queued.max.messages.kbytes", kbytes, ANG_PROP_MUST},
        {"socket.timeout.ms", "10000", ANG_PROP_TUNE},
        {NULL, NULL, ANG_PROP_MUST},
    };
    rd_kafka_conf_t *conf;
    struct ang_err *er = ang_kafka_conf_new(k, &src->ctx, props, &conf);
    return (er != NULL ? er : ang_kafka_handle_new(k, RD_KAFKA_CONSUMER, &conf, &src->rk));
}

struct ang_err *ang_kafka_reader_open_as(struct ang_log *log, const struct ang_log_reader_conf *conf, const char *isolation,
                                         struct ang_log_reader **ret_r) {
    struct source *src = ANG_NEW(struct source);
    src->duty = ang_sprintf("reader %s", conf->name);
    src->ctx = (struct ang_kafka_ctx){ANG_KAFKA_CTX_MAGIC, ang_kafka_of(log), src->duty, src};
    struct ang_err *er = open_consumer(ang_kafka_of(log), src, conf, isolation);
    if (er != NULL) {
        source_free(src);
        return (er);
    }
    struct reader *r = ANG_NEW(struct reader);
    r->r = (struct ang_log_reader){ANG_LOG_READER_MAGIC, log};
    r->src = src;
    r->wake = conf->wake;
    r->arg = conf->arg;
    ANG_PT(pthread_mutex_init(&r->lock, NULL));
    ANG_PT(pthread_mutex_init(&r->wait_lock, NULL));
    pthread_condattr_t attr;
    ANG_PT(pthread_condattr_init(&attr));
    ANG_PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    ANG_PT(pthread_cond_init(&r->wait_cond, &attr));
    ANG_PT(pthread_condattr_destroy(&attr));
    ang_kafka_nudge_init(&r->nudge, conf->memory);
    r->q = rd_kafka_queue_new(src->rk);
    rd_kafka_queue_cb_event_enable(r->q, on_event, r);
    *ret_r = &r->r;
    return (NULL);
}

struct ang_err *ang_kafka_reader_open(struct ang_log *log, const struct ang_log_reader_conf *conf,
                                      struct ang_log_reader **ret_r) {
    return (ang_kafka_reader_open_as(log, conf, "read_committed", ret_r));
}

void ang_kafka_reader_close(struct ang_log_reader *reader) {
    struct reader *r = reader_of(reader);
    rd_kafka_queue_cb_event_enable(r->q, NULL, NULL);
    ang_kafka_nudge_fini(&r->nudge);
    for (size_t i = 0; i < r->n_topics; i++) {
        struct rtopic *t = r->topics[i];
        for (int32_t p = 0; p < t->n_parts; p++) {
            if (t->parts[p].state != PART_OFF)
                (void)rd_kafka_consume_stop(t->rkt, p);
            ang_err_free(&t->parts[p].er);
        }
        rd_kafka_topic_destroy(t->rkt);
        t->magic = 0;
        free(t->parts);
        free(t);
    }
    free(r->topics);
    rd_kafka_queue_destroy(r->q);
    source_free(r->src);
    free(r->batch);
    ANG_PT(pthread_cond_destroy(&r->wait_cond));
    ANG_PT(pthread_mutex_destroy(&r->wait_lock));
    ANG_PT(pthread_mutex_destroy(&r->lock));
    r->r.magic = 0;
    free(r);
}

/* ---- which partitions ---- */

static struct rtopic *topic_of(struct reader *r, const struct ang_topic *topic) {
    for (size_t i = 0; i < r->n_topics; i++) {
        if (r->topics[i]->topic == topic)
            return (r->topics[i]);
    }
    struct rtopic *t = ANG_NEW(struct rtopic);
    t->magic = ANG_KAFKA_RTOPIC_MAGIC;
    t->topic = topic;
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(r->src->rk);
    rd_kafka_topic_conf_set_opaque(conf, t);
    t->rkt = rd_kafka_topic_new(r->src->rk, topic->name, conf);
    AN(t->rkt);
    r->topics = ang_realloc(r->topics, (r->n_topics + 1) * sizeof(struct rtopic *));
    r->topics[r->n_topics++] = t;
    return (t);
}

static struct part *part_of(struct rtopic *t, int32_t partition) {
    ANG_ASSERT(partition >= 0);
    if (partition >= t->n_parts) {
        t->parts = ang_realloc(t->parts, ((size_t)partition + 1) * sizeof(struct part));
        memset(t->parts + t->n_parts, 0, (size_t)(partition + 1 - t->n_parts) * sizeof(struct part));
        t->n_parts = partition + 1;
    }
    return (&t->parts[partition]);
}

static int64_t kafka_offset(int64_t offset) {
    return (offset == ANG_OFFSET_BEGIN ? RD_KAFKA_OFFSET_BEGINNING
            : offset == ANG_OFFSET_END ? RD_KAFKA_OFFSET_END
                                       : offset);
}

/* BEGIN and END are looked up at the leader, and librdkafka looks again only after 500 ms when it does not know it yet.
 * Best effort. */
static void learn_leaders(struct reader *r, struct rtopic *t) {
    const rd_kafka_metadata_t *md;
    if (t->learnt)
        return;
    if (rd_kafka_metadata(r->src->rk, 0, t->rkt, &md, LEARN_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(md);
        t->learnt = true;
    }
}

static struct ang_err *start(struct reader *r, struct rtopic *t, int32_t partition, int64_t offset) {
    if (rd_kafka_consume_start_queue(t->rkt, partition, kafka_offset(offset), r->q) == 0)
        return (NULL);
    char what[512];
    (void)snprintf(what, sizeof(what), "reading %s/%d", t->topic->name, (int)partition);
    return (ang_kafka_err(NULL, rd_kafka_last_error(), NULL, ANG_FATAL, what));
}

struct ang_err *ang_kafka_reader_add(struct ang_log_reader *reader, const struct ang_topic *topic, int32_t partition,
                                     int64_t offset) {
    struct reader *r = reader_of(reader);
    if (partition < 0 || (topic->partitions > 0 && partition >= topic->partitions))
        return (ang_err_new(ANG_E_LOG_TOPIC, "%s/%d: no such partition, the topic has %d", topic->name, (int)partition,
                            (int)topic->partitions));
    ANG_PT(pthread_mutex_lock(&r->lock));
    struct rtopic *t = topic_of(r, topic);
    struct part *p = part_of(t, partition);
    ANG_ASSERT(p->state == PART_OFF);
    *p = (struct part){.state = PART_ON, .start = offset, .next = offset >= 0 ? offset : 0};
    if (offset < 0)
        learn_leaders(r, t);
    struct ang_err *er = start(r, t, partition, offset);
    if (er != NULL)
        p->state = PART_OFF;
    ANG_PT(pthread_mutex_unlock(&r->lock));
    return (er);
}

void ang_kafka_reader_remove(struct ang_log_reader *reader, const struct ang_topic *topic, int32_t partition) {
    struct reader *r = reader_of(reader);
    ANG_PT(pthread_mutex_lock(&r->lock));
    struct rtopic *t = topic_of(r, topic);
    struct part *p = part_of(t, partition);
    if (p->state != PART_OFF) {
        p->state = PART_OFF;
        if (p->er != NULL)
            r->untold--;
        ang_err_free(&p->er);
        (void)rd_kafka_consume_stop(t->rkt, partition); /* what is queued of it is outdated from now on */
    }
    ANG_PT(pthread_mutex_unlock(&r->lock));
}

/* ---- errors of a partition ---- */

/* The broker says that the position is not in the log.  Right after a change of leader that can be wrong. */
static struct ang_err *out_of_range(struct reader *r, struct rtopic *t, int32_t partition, struct part *p,
                                    const rd_kafka_message_t *msg) {
    int64_t lo = 0, hi = 0;
    rd_kafka_resp_err_t err =
        rd_kafka_query_watermark_offsets(r->src->rk, t->topic->name, partition, &lo, &hi, RANGE_MS);
    bool inside = err != RD_KAFKA_RESP_ERR_NO_ERROR || p->start < 0 || (p->start >= lo && p->start <= hi);
    if (inside && p->restarts < RESTARTS) {
        p->restarts++;
        ANG_LOG(ANG_LOG_WARN, "LOG-READ-RESTART", "a position was refused although it is in the log, reading again",
                "topic", t->topic->name, "partition", ANG_F("%d", (int)partition), "offset",
                ANG_F("%lld", (long long)p->start), "error", rd_kafka_message_errstr(msg));
        (void)rd_kafka_consume_stop(t->rkt, partition);
        return (start(r, t, partition, p->start));
    }
    return (ang_err_new(ANG_E_LOG_POSITION, "%s/%d: offset %lld is not in the log, which holds %lld to %lld: %s",
                        t->topic->name, (int)partition, (long long)p->start, (long long)lo, (long long)hi,
                        rd_kafka_message_errstr(msg)));
}

/* NULL: librdkafka tries again by itself. */
static struct ang_err *partition_error(struct reader *r, struct rtopic *t, int32_t partition, struct part *p,
                                       const rd_kafka_message_t *msg) {
    char what[512];
    (void)snprintf(what, sizeof(what), "reading %s/%d from offset %lld", t->topic->name, (int)partition,
                   (long long)p->start);
    if (msg->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || msg->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
        return (out_of_range(r, t, partition, p, msg));
    if (ang_kafka_is_auth(msg->err) || msg->err == RD_KAFKA_RESP_ERR__BAD_MSG ||
        msg->err == RD_KAFKA_RESP_ERR__BAD_COMPRESSION || msg->err == RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED)
        return (ang_kafka_err(NULL, msg->err, rd_kafka_message_errstr(msg), ANG_FATAL, what));
    ANG_LOG_EVERY(5000, ANG_LOG_WARN, "LOG-READ", "trouble with reading, trying again", "where", what, "error",
                  rd_kafka_message_errstr(msg));
    return (NULL);
}

/* ---- polling ---- */

/* Takes msg; returns the record that comes out, if one does. */
static struct ang_rec *sort_out(struct reader *r, rd_kafka_message_t *msg) {
    struct ang_rec *rec = NULL;
    struct rtopic *t = msg->rkt != NULL ? rd_kafka_topic_opaque(msg->rkt) : NULL;
    if (t == NULL) {
        ANG_LOG_EVERY(5000, ANG_LOG_WARN, "LOG-READ", "trouble with reading, trying again", "error",
                      rd_kafka_message_errstr(msg));
        goto out;
    }
    ANG_CHECK(t, ANG_KAFKA_RTOPIC_MAGIC);
    struct part *p = msg->partition >= 0 && msg->partition < t->n_parts ? &t->parts[msg->partition] : NULL;
    if (p == NULL || p->state != PART_ON)
        goto out;
    if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (msg->offset > p->next)
            p->next = p->start = msg->offset;
        r->ended = true;
        goto out;
    }
    if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        p->er = partition_error(r, t, msg->partition, p, msg);
        if (p->er != NULL) {
            p->state = PART_FAILED;
            r->untold++;
        }
        goto out;
    }
    if (msg->offset < p->next)
        goto out;
    p->next = p->start = msg->offset + 1;
    p->restarts = 0;
    rec = rec_new(t->topic, msg);
out:
    rd_kafka_message_destroy(msg);
    return (rec);
}

static struct ang_err *take_error(struct reader *r) {
    for (size_t i = 0; i < r->n_topics; i++) {
        struct rtopic *t = r->topics[i];
        for (int32_t p = 0; p < t->n_parts; p++) {
            struct ang_err *er = t->parts[p].er;
            if (er == NULL)
                continue;
            t->parts[p].er = NULL;
            r->untold--;
            return (er);
        }
    }
    return (NULL);
}

/* Fills recs without waiting.  Under the lock, so that no partition is removed between taking its messages out of the queue
 * and sorting them.  An error comes out before the next records: those in front of it have come out already. */
static size_t take(struct reader *r, struct ang_rec **recs, size_t max, struct ang_err **ret_er, bool *ret_ended, bool *ret_more) {
    size_t n = 0;
    ANG_PT(pthread_mutex_lock(&r->lock));
    if (r->cap < max) {
        r->batch = ang_realloc(r->batch, max * sizeof(rd_kafka_message_t *));
        r->cap = max;
    }
    while (n < max && r->untold == 0) {
        ssize_t got = rd_kafka_consume_batch_queue(r->q, 0, r->batch, max - n);
        if (got <= 0)
            break;
        for (ssize_t i = 0; i < got; i++) {
            ang_kafka_nudge_note(&r->nudge, r->batch[i]);
            struct ang_rec *rec = sort_out(r, r->batch[i]);
            if (rec != NULL)
                recs[n++] = rec;
        }
    }
    *ret_er = n == 0 && r->untold > 0 ? take_error(r) : NULL;
    *ret_ended = r->ended;
    r->ended = false;
    *ret_more = n == max || r->untold > 0 || *ret_er != NULL;
    ANG_PT(pthread_mutex_unlock(&r->lock));
    return (n);
}

/* False when until_ms passed without an event after `seen`. */
static bool wait_event(struct reader *r, uint64_t seen, int64_t until_ms) {
    struct timespec ts = {until_ms / 1000, (until_ms % 1000) * 1000000};
    bool in_time = true;
    ANG_PT(pthread_mutex_lock(&r->wait_lock));
    while (r->events == seen && in_time)
        in_time = pthread_cond_timedwait(&r->wait_cond, &r->wait_lock, &ts) == 0;
    bool event = r->events != seen;
    ANG_PT(pthread_mutex_unlock(&r->wait_lock));
    return (event);
}

struct ang_err *ang_kafka_reader_poll(struct ang_log_reader *reader, struct ang_rec **recs, size_t max, int timeout_ms,
                                      size_t *ret_n) {
    struct reader *r = reader_of(reader);
    int64_t until = ang_now_ms() + timeout_ms;
    struct ang_err *er;
    size_t n;
    bool ended, more;
    for (;;) {
        ANG_PT(pthread_mutex_lock(&r->wait_lock));
        uint64_t seen = r->events;
        ANG_PT(pthread_mutex_unlock(&r->wait_lock));
        n = take(r, recs, max, &er, &ended, &more);
        if (n > 0 || er != NULL || ended || timeout_ms <= 0 || !wait_event(r, seen, until))
            break;
    }
    if (timeout_ms > 0)
        ang_kafka_nudge_run(&r->nudge, r->src->rk);
    /* The queue calls only when it stops being empty: what is left in it, or an error behind these records, would wait. */
    if (more && r->wake != NULL)
        r->wake(r->arg);
    *ret_n = n;
    return (er);
}

/* ---- the end ---- */

/* As the last answer to a Fetch had it. */
int64_t ang_kafka_reader_end(struct ang_log_reader *reader, const struct ang_topic *topic, int32_t partition) {
    struct reader *r = reader_of(reader);
    int64_t lo, hi;
    if (rd_kafka_get_watermark_offsets(r->src->rk, topic->name, partition, &lo, &hi) != RD_KAFKA_RESP_ERR_NO_ERROR || hi < 0)
        return (ANG_OFFSET_NONE);
    return (hi);
}

int64_t ang_kafka_reader_next(struct ang_log_reader *reader, const struct ang_topic *topic, int32_t partition) {
    struct reader *r = reader_of(reader);
    int64_t next = ANG_OFFSET_NONE;
    ANG_PT(pthread_mutex_lock(&r->lock));
    for (size_t i = 0; i < r->n_topics; i++) {
        const struct rtopic *t = r->topics[i];
        if (t->topic == topic && partition >= 0 && partition < t->n_parts && t->parts[partition].state != PART_OFF)
            next = t->parts[partition].next;
    }
    ANG_PT(pthread_mutex_unlock(&r->lock));
    return (next);
}
