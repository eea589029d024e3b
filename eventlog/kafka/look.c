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

struct ang_err *ang_kafka_peek(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int64_t offset,
                               int timeout_ms, struct ang_rec **ret_rec) {
    const struct ang_log_reader_conf conf = {.name = "look", .fetch_wait_ms = 10, .memory = 1 << 20};
    struct ang_rec *rec = NULL;
    struct ang_log_reader *r;
    size_t n = 0;
    struct ang_err *er = ang_kafka_reader_open_as(log, &conf, "read_uncommitted", &r);
    if (er != NULL)
        return (er);
    er = ang_kafka_reader_add(r, topic, partition, offset);
    if (er == NULL)
        er = ang_kafka_reader_poll(r, &rec, 1, timeout_ms, &n);
    if (n > 0 && rec->offset == offset)
        *ret_rec = rec;
    else if (n > 0)
        ang_rec_free(&rec);
    ang_kafka_reader_close(r);
    return (er);
}
