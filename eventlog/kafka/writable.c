/* Whether partitions can be written: what the cluster says of them, and whether their leaders answer us.
 *
 * The metadata alone would not do: a leader that stands still is in office until its session with the controller ends, and one that only
 * we cannot reach is in office for good. */
#include <stdlib.h>

#include "eventlog/kafka/kafka_priv.h"

#define ASK_MS 1000 /* one broker, before it is taken for silent */

static const rd_kafka_metadata_partition_t *find(const rd_kafka_metadata_t *md, const struct ang_writable *w) {
    for (int i = 0; i < md->topic_cnt; i++) {
        const rd_kafka_metadata_topic_t *t = &md->topics[i];
        for (int p = 0; p < t->partition_cnt && strcmp(t->topic, w->topic->name) == 0; p++) {
            if (t->partitions[p].id == w->partition)
                return (&t->partitions[p]);
        }
    }
    return (NULL);
}

/* Brokers ask for no more replicas in sync than there are. */
static const char *judge(const rd_kafka_metadata_partition_t *p, const struct ang_topic *t) {
    if (p == NULL || p->leader < 0)
        return ("it has no leader");
    int wanted = t->min_insync < p->replica_cnt ? t->min_insync : p->replica_cnt;
    return (p->isr_cnt < wanted ? "too few of its replicas are in sync" : NULL);
}

/* Not by rd_kafka_query_watermark_offsets, which waits for a leader that is away without end, whatever its time-out. */
static bool leader_answers(rd_kafka_t *rk, const struct ang_writable *w, int timeout_ms) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *tp = rd_kafka_topic_partition_list_add(list, w->topic->name, w->partition);
    tp->offset = RD_KAFKA_OFFSET_END;
    bool ok = rd_kafka_offsets_for_times(rk, list, timeout_ms) == RD_KAFKA_RESP_ERR_NO_ERROR &&
              tp->err == RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_topic_partition_list_destroy(list);
    return (ok);
}

/* Each leader is asked once, for the first of its partitions. */
static void ask_leaders(rd_kafka_t *rk, struct ang_writable *w, const int32_t *leaders, size_t n, int64_t until_ms) {
    for (size_t i = 0; i < n; i++) {
        size_t first = 0;
        if (leaders[i] < 0)
            continue;
        while (leaders[first] != leaders[i])
            first++;
        int left = ang_kafka_left(until_ms, ASK_MS);
        if (first < i)
            w[i].why = w[first].why;
        else if (!leader_answers(rk, &w[i], left > 1 ? left : 1))
            w[i].why = "its leader does not answer";
    }
}

static rd_kafka_resp_err_t metadata(rd_kafka_t *rk, int64_t until_ms, const rd_kafka_metadata_t **ret_md) {
    rd_kafka_resp_err_t err;
    do {
        int left = ang_kafka_left(until_ms, ASK_MS);
        /* All topics: a request that names one may create it. */
        err = rd_kafka_metadata(rk, 1, NULL, ret_md, left > 1 ? left : 1);
    } while (ang_kafka_transient(err) && ang_kafka_left(until_ms, 1) > 0);
    return (err);
}

struct ang_err *ang_kafka_writable(struct ang_log *log, struct ang_writable *w, size_t n, int timeout_ms) {
    struct ang_kafka *k = ang_kafka_of(log);
    int64_t until = ang_now_ms() + timeout_ms;
    rd_kafka_t *rk;
    struct ang_err *er = ang_kafka_admin(k, &rk);
    if (er != NULL)
        return (er);
    const rd_kafka_metadata_t *md;
    rd_kafka_resp_err_t err = metadata(rk, until, &md);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return (ang_kafka_err(NULL, err, NULL, ANG_RETRY, "asking which partitions can be written"));
    int32_t *leaders = ang_calloc(n, sizeof(int32_t));
    for (size_t i = 0; i < n; i++) {
        const rd_kafka_metadata_partition_t *p = find(md, &w[i]);
        w[i].why = judge(p, w[i].topic);
        leaders[i] = w[i].why == NULL ? p->leader : -1;
    }
    rd_kafka_metadata_destroy(md);
    ask_leaders(rk, w, leaders, n, until);
    free(leaders);
    return (NULL);
}
