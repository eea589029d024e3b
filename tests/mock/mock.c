#include "tests/mock/mock.h"

#include <stdlib.h>

static const struct ang_topic *topic(struct mock *m, const char *name) {
    AZ(rd_kafka_mock_topic_create(m->cluster, name, 4, 1));
    /* The mock cannot describe configurations, so what ang_log_ensure_topics would find out is filled in here. */
    struct ang_topic *t = ang_log_topic_mut(m->log, name);
    t->partitions = 4;
    t->max_message = 1024 * 1024;
    return (t);
}

void mock_start(struct mock *m, const char *txn_timeout_ms) {
    char text[512];
    memset(m, 0, sizeof(*m));
    m->rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof(text));
    AN(m->rk);
    m->cluster = rd_kafka_mock_cluster_new(m->rk, 3);
    AN(m->cluster);
    char key1[] = "bootstrap.servers", key2[] = "transaction.timeout.ms";
    char *servers = ang_strdup(rd_kafka_mock_cluster_bootstraps(m->cluster));
    char *timeout = ang_strdup(txn_timeout_ms != NULL ? txn_timeout_ms : "10000");
    struct ang_kv kv[] = {{key1, servers, 1}, {key2, timeout, 2}};
    struct ang_settings s = {.file = NULL};
    s.log.type = ANG_LOGTYPE_KAFKA;
    s.log.kafka = kv;
    s.log.n_kafka = ANG_COUNT(kv);
    struct ang_err *er = ang_log_open(&s, "mock", &m->log);
    AZ(er);
    free(servers);
    free(timeout);
    m->in = topic(m, "in");
    m->out = topic(m, "out");
    rd_kafka_consumer_group_metadata_t *meta =
        rd_kafka_consumer_group_metadata_new_with_genid("group", 1, "member", "instance");
    er = ang_kafka_token_new(m->log->ops, &meta, &m->token);
    AZ(er);
}

void mock_stop(struct mock *m) {
    ang_log_token_unref(m->token);
    ang_log_close(m->log);
    rd_kafka_mock_cluster_destroy(m->cluster);
    rd_kafka_destroy(m->rk);
}

void mock_errors(struct mock *m, int16_t api, rd_kafka_resp_err_t err, int times) {
    for (int i = 0; i < times; i++)
        rd_kafka_mock_push_request_errors(m->cluster, api, 1, err);
}

struct ang_err *mock_commit(struct mock *m, struct ang_log_writer *w, int64_t offset) {
    struct ang_out rec = {
        .topic = m->out, .partition = 0, .key = ang_slice_str("k"), .value = ang_slice_str("v"), .offset = 12345};
    const struct ang_pos pos = {m->in, 0, offset, ang_slice_str("meta")};
    const struct ang_batch batch = {&rec, 1, &pos, 1, m->token};
    struct ang_err *er = ang_log_writer_commit(w, &batch);
    if (er == NULL) {
        ANG_ASSERT(rec.offset >= 0 && rec.offset != 12345);
        ANG_ASSERT(rec.time_ms > 0);
    }
    return (er);
}
