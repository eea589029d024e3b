/* Committed positions of a group.  Each round asks only for what is still missing, until the time is up.
 *
 * By a consumer of the group that never joins it, thrown away after a round that failed.  The admin call for the same
 * (ListConsumerGroupOffsets, 2.0.2 to 2.15.0) ends the process: by an assertion when the coordinator becomes known after its
 * time-out, by a NULL pointer when the coordinator has moved and the handle is a producer; and on a consumer it goes on asking the
 * one that has moved away. */
#include <stdlib.h>
#include <unistd.h>

#include "eventlog/kafka/kafka_priv.h"

#define ASK_AGAIN_MS 20
#define ROUND_MS     4000 /* librdkafka asks again by itself while positions are unstable, which looks like silence */

rd_kafka_event_t *ang_kafka_admin_wait(rd_kafka_queue_t *q, int64_t until_ms) {
    for (;;) {
        int left = ang_kafka_left(until_ms, 1000);
        rd_kafka_event_t *ev = rd_kafka_queue_poll(q, left);
        if (ev != NULL || left == 0)
            return (ev);
    }
}

struct query {
    struct ang_pos *pos;
    size_t n;
    bool *known;
    size_t *meta_at; /* where in mem each meta begins: mem may move while it grows */
    struct ang_buf mem;
    const char *group;
    char why[256]; /* it is not known yet */
};

static struct ang_err *take_partition(struct query *qu, const rd_kafka_topic_partition_t *tp) {
    for (size_t i = 0; i < qu->n; i++) {
        struct ang_pos *pos = &qu->pos[i];
        if (qu->known[i] || pos->partition != tp->partition || strcmp(pos->topic->name, tp->topic) != 0)
            continue;
        if (ang_kafka_transient(tp->err)) {
            (void)snprintf(qu->why, sizeof(qu->why), "%s/%d: %s", tp->topic, (int)tp->partition,
                           rd_kafka_err2str(tp->err));
            return (NULL);
        }
        if (tp->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            char what[512];
            (void)snprintf(what, sizeof(what), "position of group %s in %s/%d", qu->group, tp->topic,
                           (int)tp->partition);
            return (ang_kafka_err(NULL, tp->err, NULL, ANG_FATAL, what));
        }
        pos->offset = tp->offset >= 0 ? tp->offset : ANG_OFFSET_NONE;
        pos->meta.n = tp->metadata != NULL ? tp->metadata_size : 0;
        qu->meta_at[i] = qu->mem.n;
        ang_buf_add(&qu->mem, tp->metadata, pos->meta.n);
        qu->known[i] = true;
    }
    return (NULL);
}

static rd_kafka_topic_partition_list_t *missing(const struct query *qu) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)qu->n);
    for (size_t i = 0; i < qu->n; i++) {
        if (!qu->known[i] &&
            rd_kafka_topic_partition_list_find(list, qu->pos[i].topic->name, qu->pos[i].partition) == NULL)
            (void)rd_kafka_topic_partition_list_add(list, qu->pos[i].topic->name, qu->pos[i].partition);
    }
    return (list);
}

static struct ang_err *ask(rd_kafka_t *rk, struct query *qu, int timeout_ms) {
    rd_kafka_topic_partition_list_t *list = missing(qu);
    rd_kafka_resp_err_t err = rd_kafka_committed(rk, list, timeout_ms);
    struct ang_err *er = NULL;
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < list->cnt && er == NULL; i++)
            er = take_partition(qu, &list->elems[i]);
    } else if (ang_kafka_transient(err)) {
        (void)snprintf(qu->why, sizeof(qu->why), "%s%s", rd_kafka_err2str(err),
                       err == RD_KAFKA_RESP_ERR__TIMED_OUT ? " (an open transaction may hold them back)" : "");
    } else {
        char what[256];
        (void)snprintf(what, sizeof(what), "positions of group %s", qu->group);
        er = ang_kafka_err(NULL, err, NULL, ANG_FATAL, what);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return (er);
}

static bool all_known(const struct query *qu) {
    for (size_t i = 0; i < qu->n; i++) {
        if (!qu->known[i])
            return (false);
    }
    return (true);
}

static struct ang_err *open_asker(struct ang_kafka *k, struct ang_kafka_ctx *ctx, const char *group,
                                  rd_kafka_t **ret_rk) {
    const struct ang_kafka_prop props[] = {
        {"group.id", group, ANG_PROP_MUST},
        {"isolation.level", "read_committed", ANG_PROP_MUST}, /* else unstable positions are told */
        {"enable.auto.commit", "false", ANG_PROP_MUST},
        {"allow.auto.create.topics", "false", ANG_PROP_MUST},
        {"retry.backoff.ms", "20", ANG_PROP_TUNE},
        {"socket.timeout.ms", "4000", ANG_PROP_TUNE},
        {NULL, NULL, ANG_PROP_MUST},
    };
    rd_kafka_conf_t *conf;
    struct ang_err *er = ang_kafka_conf_new(k, ctx, props, &conf);
    return (er != NULL ? er : ang_kafka_handle_new(k, RD_KAFKA_CONSUMER, &conf, ret_rk));
}

static struct ang_err *round_of(struct ang_kafka *k, struct query *qu, int timeout_ms) {
    struct ang_kafka_ctx ctx = {ANG_KAFKA_CTX_MAGIC, k, "positions", NULL};
    rd_kafka_t *rk;
    struct ang_err *er = open_asker(k, &ctx, qu->group, &rk);
    if (er != NULL)
        return (er);
    er = ask(rk, qu, timeout_ms);
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return (er);
}

static struct ang_err *ask_until_known(struct ang_kafka *k, struct query *qu, int timeout_ms) {
    int64_t until = ang_now_ms() + timeout_ms;
    (void)snprintf(qu->why, sizeof(qu->why), "no answer");
    for (;;) {
        int left = ang_kafka_left(until, ROUND_MS);
        struct ang_err *er = round_of(k, qu, left > 1 ? left : 1);
        if (er != NULL || all_known(qu))
            return (er);
        if (ang_kafka_left(until, 1) == 0)
            return (ang_err_new(ANG_E_LOG_UNREACHABLE,
                                "the positions of group %s did not become known within %d ms: %s", qu->group,
                                timeout_ms, qu->why));
        (void)usleep((useconds_t)ang_kafka_left(until, ASK_AGAIN_MS) * 1000);
    }
}

struct ang_err *ang_kafka_positions(struct ang_log *log, const char *group, struct ang_pos *pos, size_t n,
                                    int timeout_ms, struct ang_buf *ret_mem) {
    struct query qu = {.pos = pos, .n = n, .group = group};
    qu.known = ang_calloc(n, sizeof(bool));
    qu.meta_at = ang_calloc(n, sizeof(size_t));
    struct ang_err *er = ask_until_known(ang_kafka_of(log), &qu, timeout_ms);
    if (er == NULL) {
        for (size_t i = 0; i < n; i++)
            pos[i].meta.p = pos[i].meta.n > 0 ? qu.mem.p + qu.meta_at[i] : NULL;
        *ret_mem = qu.mem;
    } else {
        ang_buf_fini(&qu.mem);
    }
    free(qu.known);
    free(qu.meta_at);
    return (er);
}
