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

/* ---- ranges ---- */

static const char *no_leader(const rd_kafka_metadata_t *md, const char *topic, int32_t partition) {
    for (int i = 0; i < md->topic_cnt; i++) {
        const rd_kafka_metadata_topic_t *t = &md->topics[i];
        if (strcmp(t->topic, topic) == 0)
            return (partition < 0 || partition >= t->partition_cnt ? "it is not there"
                    : t->partitions[partition].leader < 0          ? "it has no leader"
                                                                   : NULL);
    }
    return ("it is not there");
}

/* One question per leader: to look times up takes many partitions at once, and the times -2 and -1 are the two ends.  Partitions that have
 * no leader are left out, the others would wait for them. */
static rd_kafka_resp_err_t ask_offsets(rd_kafka_t *rk, struct ang_range *r, size_t n, int64_t which, int timeout_ms) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; i < n; i++) {
        if (r[i].why == NULL)
            rd_kafka_topic_partition_list_add(list, r[i].topic->name, r[i].partition)->offset = which;
    }
    if (list->cnt > 0)
        err = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    for (size_t i = 0; i < n && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        const rd_kafka_topic_partition_t *tp =
            r[i].why != NULL ? NULL : rd_kafka_topic_partition_list_find(list, r[i].topic->name, r[i].partition);
        if (tp == NULL)
            continue;
        if (tp->err != RD_KAFKA_RESP_ERR_NO_ERROR || tp->offset < 0)
            r[i].why = tp->err != RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_err2str(tp->err) : "its leader did not say";
        else if (which == RD_KAFKA_OFFSET_BEGINNING)
            r[i].begin = tp->offset;
        else
            r[i].end = tp->offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return (err);
}

struct ang_err *ang_kafka_ranges(struct ang_log *log, struct ang_range *r, size_t n, int timeout_ms) {
    struct ang_kafka *k = ang_kafka_of(log);
    const int64_t until = ang_now_ms() + timeout_ms;
    const rd_kafka_metadata_t *md;
    rd_kafka_t *rk;
    struct ang_err *er = ang_kafka_admin(k, &rk);
    if (er != NULL)
        return (er);
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 1, NULL, &md, timeout_ms);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (size_t i = 0; i < n; i++)
            r[i].why = no_leader(md, r[i].topic->name, r[i].partition);
        rd_kafka_metadata_destroy(md);
        err = ask_offsets(rk, r, n, RD_KAFKA_OFFSET_BEGINNING, ang_kafka_left(until, timeout_ms) + 1);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
            err = ask_offsets(rk, r, n, RD_KAFKA_OFFSET_END, ang_kafka_left(until, timeout_ms) + 1);
    }
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return (NULL);
    if (!ang_kafka_transient(err))
        return (ang_kafka_err(NULL, err, NULL, ANG_FATAL, "asking for the ends of partitions"));
    return (ang_err_new(ANG_E_LOG_UNREACHABLE, "bootstrap.servers %s did not say where partitions end within %d ms: %s",
                        k->bootstrap, timeout_ms, rd_kafka_err2str(err)));
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
