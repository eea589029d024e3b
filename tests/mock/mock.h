/* A mock cluster of three brokers and a log on it, for one test program. */
#ifndef ANG_TEST_MOCK_H
#define ANG_TEST_MOCK_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "eventlog/kafka/kafka_priv.h"

enum {
    MOCK_PRODUCE = 0,
    MOCK_FETCH = 1,
    MOCK_JOIN_GROUP = 11,
    MOCK_HEARTBEAT = 12,
    MOCK_INIT_PRODUCER_ID = 22,
    MOCK_ADD_PARTITIONS = 24,
    MOCK_ADD_OFFSETS = 25,
    MOCK_END_TXN = 26,
    MOCK_TXN_OFFSET_COMMIT = 28,
};

struct mock {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;
    struct ang_log *log;
    const struct ang_topic *in, *out; /* four partitions each */
    struct ang_log_token *token;      /* as of a member of generation 1 */
};

/* txn_timeout_ms: NULL, or transaction.timeout.ms of the log's writers. */
void mock_start(struct mock *m, const char *txn_timeout_ms);
void mock_stop(struct mock *m);
void mock_errors(struct mock *m, int16_t api, rd_kafka_resp_err_t err, int times);
/* One record to out/0 and the position `offset` of in/0. */
struct ang_err *mock_commit(struct mock *m, struct ang_log_writer *w, int64_t offset);

#endif
