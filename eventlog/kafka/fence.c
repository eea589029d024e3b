/* Fencing: initialise a transactional id once, and forget it. */
#include "eventlog/kafka/kafka_priv.h"

struct ang_err *ang_kafka_fence(struct ang_log *log, const char *transactional_id, int timeout_ms) {
    struct ang_kafka *k = ang_kafka_of(log);
    int64_t until = ang_now_ms() + timeout_ms;
    const struct ang_kafka_prop props[] = {
        {"transactional.id", transactional_id, ANG_PROP_MUST},
        {"retry.backoff.ms", "1", ANG_PROP_TUNE},
        {"retry.backoff.max.ms", "100", ANG_PROP_NEWER},
        {"transaction.timeout.ms", "10000", ANG_PROP_TUNE},
        {NULL, NULL, ANG_PROP_MUST},
    };
    struct ang_kafka_ctx ctx = {ANG_KAFKA_CTX_MAGIC, k, "fence", NULL};
    rd_kafka_conf_t *conf;
    struct ang_err *er = ang_kafka_conf_new(k, &ctx, props, &conf);
    if (er != NULL)
        return (er);
    rd_kafka_t *rk;
    er = ang_kafka_handle_new(k, RD_KAFKA_PRODUCER, &conf, &rk);
    if (er != NULL)
        return (er);
    er = ang_kafka_init_transactions(rk, transactional_id, until);
    rd_kafka_destroy(rk);
    return (er);
}
