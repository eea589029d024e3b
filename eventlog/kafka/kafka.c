/* Opening and closing of the Kafka log, the handle for administration, and what several duties share. */
#include "eventlog/kafka/kafka_priv.h"

#include <stdlib.h>

static void kafka_close(struct ang_log *log);
static struct ang_err *kafka_identity(struct ang_log *log, int timeout_ms, const char **ret_id);

static const struct ang_log_ops kafka_ops = {
    .close = kafka_close,
    .identity = kafka_identity,
    .ensure_topics = ang_kafka_ensure_topics,
    .find_topics = ang_kafka_find_topics,
    .ranges = ang_kafka_ranges,
    .writable = ang_kafka_writable,
    .append = ang_kafka_append,
    .reader_open = ang_kafka_reader_open,
    .reader_close = ang_kafka_reader_close,
    .reader_add = ang_kafka_reader_add,
    .reader_remove = ang_kafka_reader_remove,
    .reader_poll = ang_kafka_reader_poll,
    .reader_end = ang_kafka_reader_end,
    .reader_next = ang_kafka_reader_next,
    .end = ang_kafka_end,
    .peek = ang_kafka_peek,
    .member_join = ang_kafka_member_join,
    .member_poll = ang_kafka_member_poll,
    .member_token = ang_kafka_member_token,
    .member_leave = ang_kafka_member_leave,
    .token_free = ang_kafka_token_free,
    .positions = ang_kafka_positions,
    .writer_open = ang_kafka_writer_open,
    .writer_close = ang_kafka_writer_close,
    .writer_commit = ang_kafka_writer_commit,
    .writer_settle = ang_kafka_writer_settle,
    .writer_doubtful = ang_kafka_writer_doubtful,
    .fence = ang_kafka_fence,
};

int ang_kafka_left(int64_t until_ms, int max) {
    int64_t left = until_ms - ang_now_ms();
    return (left <= 0 ? 0 : left < max ? (int)left : max);
}

/* So that a wrong property is an error at start, not at the first command. */
static struct ang_err *check_properties(struct ang_kafka *k) {
    static const struct ang_kafka_prop none[] = {{NULL, NULL, ANG_PROP_MUST}};
    rd_kafka_conf_t *conf;
    struct ang_err *er = ang_kafka_conf_new(k, &k->admin_ctx, none, &conf);
    if (er != NULL)
        return (er);
    rd_kafka_conf_destroy(conf);
    if (k->bootstrap == NULL || *k->bootstrap == '\0')
        return (ang_err_new(ANG_E_CONFIG, "%s: log.kafka.bootstrap.servers is missing: expected host:port", k->file));
    return (ang_kafka_token_check_format());
}

static void kafka_free(struct ang_kafka *k) {
    for (size_t i = 0; i < k->n_props; i++) {
        free(k->props[i].key);
        free(k->props[i].value);
    }
    free(k->props);
    free(k->client);
    free(k->bootstrap);
    free(k->file);
    free(k->cluster_id);
    ANG_PT(pthread_mutex_destroy(&k->lock));
    ang_log_fini(&k->log);
    free(k);
}

struct ang_err *ang_kafka_open(const struct ang_settings *s, const char *client, struct ang_log **ret_log) {
    struct ang_kafka *k = ANG_NEW(struct ang_kafka);
    ang_log_init(&k->log, &kafka_ops);
    ANG_PT(pthread_mutex_init(&k->lock, NULL));
    k->client = ang_strdup(client);
    k->file = ang_strdup(s->file != NULL ? s->file : "configuration");
    k->message = s->limits.message > 0 ? s->limits.message : 1024 * 1024;
    k->props = ang_calloc(s->log.n_kafka + 1, sizeof(struct ang_kv));
    for (size_t i = 0; i < s->log.n_kafka; i++) {
        const struct ang_kv *kv = &s->log.kafka[i];
        k->props[i] = (struct ang_kv){ang_strdup(kv->key), ang_strdup(kv->value), kv->line};
        k->n_props++;
        if (strcmp(kv->key, "bootstrap.servers") == 0) {
            free(k->bootstrap);
            k->bootstrap = ang_strdup(kv->value);
        }
    }
    k->admin_ctx = (struct ang_kafka_ctx){ANG_KAFKA_CTX_MAGIC, k, "administration", k};
    struct ang_err *er = check_properties(k);
    if (er != NULL) {
        kafka_free(k);
        return (er);
    }
    *ret_log = &k->log;
    return (NULL);
}

static void kafka_close(struct ang_log *log) {
    struct ang_kafka *k = ang_kafka_of(log);
    ang_kafka_appender_free(k->appender);
    if (k->admin != NULL)
        rd_kafka_destroy(k->admin);
    kafka_free(k);
}

struct ang_err *ang_kafka_admin(struct ang_kafka *k, rd_kafka_t **ret_rk) {
    static const struct ang_kafka_prop props[] = {
        {"socket.timeout.ms", "10000", ANG_PROP_TUNE},
        {NULL, NULL, ANG_PROP_MUST},
    };
    struct ang_err *er = NULL;
    ANG_PT(pthread_mutex_lock(&k->lock));
    if (k->admin == NULL) {
        rd_kafka_conf_t *conf;
        er = ang_kafka_conf_new(k, &k->admin_ctx, props, &conf);
        if (er == NULL)
            er = ang_kafka_handle_new(k, RD_KAFKA_PRODUCER, &conf, &k->admin);
    }
    if (er == NULL)
        *ret_rk = k->admin;
    ANG_PT(pthread_mutex_unlock(&k->lock));
    return (er);
}

static struct ang_err *kafka_identity(struct ang_log *log, int timeout_ms, const char **ret_id) {
    struct ang_kafka *k = ang_kafka_of(log);
    rd_kafka_t *rk;
    struct ang_err *er = ang_kafka_admin(k, &rk);
    if (er != NULL)
        return (er);
    char *id = rd_kafka_clusterid(rk, timeout_ms);
    if (id == NULL)
        return (ang_err_new(ANG_E_LOG_UNREACHABLE, "no broker of %s named its cluster within %d ms", k->bootstrap,
                            timeout_ms));
    ANG_PT(pthread_mutex_lock(&k->lock));
    if (k->cluster_id == NULL)
        k->cluster_id = ang_strdup(id);
    *ret_id = k->cluster_id;
    ANG_PT(pthread_mutex_unlock(&k->lock));
    rd_kafka_mem_free(rk, id);
    return (NULL);
}

struct ang_err *ang_kafka_check_out(const struct ang_out *rec, enum ang_class cls) {
    const struct ang_topic *t = rec->topic;
    ANG_CHECK(t, ANG_TOPIC_MAGIC);
    if (t->partitions == 0)
        return (
            ang_err_new_cls(ANG_E_LOG_TOPIC, cls, "%s: not written to: the topic has not been checked yet", t->name));
    if (rec->partition < 0 || rec->partition >= t->partitions)
        return (ang_err_new_cls(ANG_E_LOG_TOPIC, cls, "%s/%d: no such partition, the topic has %d", t->name,
                                (int)rec->partition, (int)t->partitions));
    size_t size = rec->key.n + (rec->tombstone ? 0 : rec->value.n);
    for (size_t i = 0; i < rec->n_hdrs; i++)
        size += strlen(rec->hdrs[i].name) + rec->hdrs[i].value.n;
    if ((int64_t)size > t->max_message)
        return (ang_err_new_cls(ANG_E_TOO_BIG, cls, "%s/%d: a record of %zu bytes, the topic takes %lld", t->name,
                                (int)rec->partition, size, (long long)t->max_message));
    return (NULL);
}

rd_kafka_headers_t *ang_kafka_headers(const struct ang_out *rec) {
    if (rec->n_hdrs == 0)
        return (NULL);
    rd_kafka_headers_t *hdrs = rd_kafka_headers_new(rec->n_hdrs);
    for (size_t i = 0; i < rec->n_hdrs; i++) {
        const struct ang_hdr *h = &rec->hdrs[i];
        /* A NULL value would be written as "no value", which reads back differently. */
        AZ(rd_kafka_header_add(hdrs, h->name, -1, h->value.n > 0 ? (const void *)h->value.p : "", (ssize_t)h->value.n));
    }
    return (hdrs);
}
