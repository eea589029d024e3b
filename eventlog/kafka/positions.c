/* Committed positions of a group.  "Unstable" (a transaction that touches them is open) and a coordinator that moves are
 * asked again until the time is up; each round asks only for what is still missing. */
#include <stdlib.h>
#include <unistd.h>

#include "eventlog/kafka/kafka_priv.h"

#define ASK_AGAIN_MS 20

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

static struct ang_err *take_answer(struct query *qu, rd_kafka_event_t *ev) {
    const rd_kafka_ListConsumerGroupOffsets_result_t *res = rd_kafka_event_ListConsumerGroupOffsets_result(ev);
    rd_kafka_resp_err_t err = rd_kafka_event_error(ev);
    const char *text = rd_kafka_event_error_string(ev);
    const rd_kafka_group_result_t *group = NULL;
    size_t n = 0;
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR && res != NULL) {
        const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(res, &n);
        if (n > 0)
            group = groups[0];
        const rd_kafka_error_t *ke = group != NULL ? rd_kafka_group_result_error(group) : NULL;
        if (ke != NULL) {
            err = rd_kafka_error_code(ke);
            text = rd_kafka_error_string(ke);
        }
    }
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)snprintf(qu->why, sizeof(qu->why), "%s", text != NULL ? text : rd_kafka_err2str(err));
        if (ang_kafka_transient(err))
            return (NULL);
        char what[256];
        (void)snprintf(what, sizeof(what), "positions of group %s", qu->group);
        return (ang_kafka_err(NULL, err, text, ANG_FATAL, what));
    }
    const rd_kafka_topic_partition_list_t *list = group != NULL ? rd_kafka_group_result_partitions(group) : NULL;
    struct ang_err *er = NULL;
    for (int i = 0; list != NULL && i < list->cnt && er == NULL; i++)
        er = take_partition(qu, &list->elems[i]);
    return (er);
}

static void ask(rd_kafka_t *rk, const struct query *qu, rd_kafka_queue_t *q, int timeout_ms) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)qu->n);
    for (size_t i = 0; i < qu->n; i++) {
        if (!qu->known[i] &&
            rd_kafka_topic_partition_list_find(list, qu->pos[i].topic->name, qu->pos[i].partition) == NULL)
            (void)rd_kafka_topic_partition_list_add(list, qu->pos[i].topic->name, qu->pos[i].partition);
    }
    rd_kafka_ListConsumerGroupOffsets_t *req = rd_kafka_ListConsumerGroupOffsets_new(qu->group, list);
    rd_kafka_AdminOptions_t *opt = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    char text[256];
    AZ(rd_kafka_AdminOptions_set_request_timeout(opt, timeout_ms, text, sizeof(text)));
    rd_kafka_error_t *ke = rd_kafka_AdminOptions_set_require_stable_offsets(opt, 1);
    AZ(ke);
    rd_kafka_ListConsumerGroupOffsets(rk, &req, 1, opt, q);
    rd_kafka_AdminOptions_destroy(opt);
    rd_kafka_ListConsumerGroupOffsets_destroy(req);
    rd_kafka_topic_partition_list_destroy(list);
}

static bool all_known(const struct query *qu) {
    for (size_t i = 0; i < qu->n; i++) {
        if (!qu->known[i])
            return (false);
    }
    return (true);
}

static struct ang_err *ask_until_known(rd_kafka_t *rk, struct query *qu, int timeout_ms) {
    int64_t until = ang_now_ms() + timeout_ms;
    struct ang_err *er = NULL;
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    (void)snprintf(qu->why, sizeof(qu->why), "no answer");
    for (;;) {
        int left = ang_kafka_left(until, 10000);
        ask(rk, qu, q, left > 1 ? left : 1);
        /* The request itself ends at its timeout: leave it the time to say so. */
        rd_kafka_event_t *ev = ang_kafka_admin_wait(q, ang_now_ms() + left + 1000);
        if (ev != NULL) {
            er = take_answer(qu, ev);
            rd_kafka_event_destroy(ev);
        }
        if (er != NULL || all_known(qu))
            break;
        if (ang_kafka_left(until, 1) == 0) {
            er = ang_err_new(ANG_E_LOG_UNREACHABLE, "the positions of group %s did not become known within %d ms: %s",
                             qu->group, timeout_ms, qu->why);
            break;
        }
        (void)usleep((useconds_t)ang_kafka_left(until, ASK_AGAIN_MS) * 1000);
    }
    rd_kafka_queue_destroy(q);
    return (er);
}

struct ang_err *ang_kafka_positions(struct ang_log *log, const char *group, struct ang_pos *pos, size_t n,
                                    int timeout_ms, struct ang_buf *ret_mem) {
    rd_kafka_t *rk;
    struct ang_err *er = ang_kafka_admin(ang_kafka_of(log), &rk);
    if (er != NULL)
        return (er);
    struct query qu = {.pos = pos, .n = n, .group = group};
    qu.known = ang_calloc(n, sizeof(bool));
    qu.meta_at = ang_calloc(n, sizeof(size_t));
    er = ask_until_known(rk, &qu, timeout_ms);
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
