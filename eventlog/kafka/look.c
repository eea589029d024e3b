/* Looking at a partition from outside, without reading it. */
#include "eventlog/kafka/kafka_priv.h"

/* The handle reads committed records, so what the broker calls the latest offset is the last stable one. */
struct ang_err *ang_kafka_end(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int timeout_ms,
                              int64_t *ret_offset) {
    struct ang_kafka *k = ang_kafka_of(log);
    int64_t lo, hi;
    rd_kafka_t *rk;
    struct ang_err *er = ang_kafka_admin(k, &rk);
    if (er != NULL)
        return (er);
    rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(rk, topic->name, partition, &lo, &hi, timeout_ms);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        char what[512];
        (void)snprintf(what, sizeof(what), "the end of %s/%d", topic->name, (int)partition);
        return (ang_kafka_err(NULL, err, NULL, ang_kafka_transient(err) ? ANG_RETRY : ANG_FATAL, what));
    }
    *ret_offset = hi;
    return (NULL);
}
