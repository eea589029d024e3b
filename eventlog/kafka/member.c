/* Membership: a group consumer that is told which partitions are its own and never reads one.
 *
 * The rebalance callback answers each assignment with an empty incremental assign.  librdkafka keeps what the group gave us
 * (and reports it as owned when it joins again) apart from what it reads, so nothing is fetched and no offset is looked up,
 * while heartbeats, revocation, loss and static membership work as for any member.
 *
 * Thread: all calls from the poller; only wake is called by librdkafka's threads. */
#include <stdlib.h>

#include "eventlog/kafka/kafka_priv.h"

#define MAX_POLL_INTERVAL_MS 15000
#define FIRST_ASSIGN_MS      2000 /* librdkafka before 2.3 crashes when closed before its first assignment */
#define CLOSE_MS             5000
#define LEASE_MARGIN_MS      1000

enum { API_JOIN = 11, API_HEARTBEAT = 12, API_SYNC = 14 };

struct member {
    struct ang_log_member m;
    struct ang_kafka_ctx ctx;
    struct ang_kafka_watch watch;
    struct ang_log_member_conf conf;
    char *group, *topic, *instance, *duty;
    rd_kafka_t *rk;
    rd_kafka_queue_t *q;
    rd_kafka_topic_partition_list_t *nothing;
    _Atomic int64_t joined_ms; /* boot time: the last SyncGroup was sent */
    /* broker threads, one at a time: a group has one coordinator */
    _Atomic int64_t beat_ms, answered_ms; /* boot time: the last heartbeat was sent; the last answered one was */
    /* poller */
    int32_t *mine; /* what assigned said and revoked did not take back */
    size_t n_mine;
    bool answered; /* the group has assigned something, perhaps nothing, at least once */
    bool leaving;  /* revoked has run for everything: the rest is between librdkafka and the broker */
    bool revoked;  /* while leaving: the last revocation was served */
};

static struct member *member_of(struct ang_log_member *m) {
    ANG_CHECK(m, ANG_LOG_MEMBER_MAGIC);
    return ((struct member *)(void *)m);
}

/* ---- the lease (lane.md L15) ----
 * An answer says only that one came; whether it was a good one shows when the next heartbeat goes out, since librdkafka sends none
 * to a group that has refused it. */

static void lease(const struct member *m, int64_t since_ms) {
    if (m->conf.leased != NULL && since_ms > 0)
        m->conf.leased(m->conf.arg, since_ms + m->conf.session_timeout_ms - LEASE_MARGIN_MS);
}

static rd_kafka_resp_err_t on_sent(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api, int16_t version,
                                   int32_t corr, size_t size, void *opaque) {
    struct member *m = opaque;
    switch (api) {
    case API_JOIN:
        m->answered_ms = 0; /* a membership of its own begins */
        break;
    case API_SYNC:
        m->joined_ms = ang_boot_ms();
        break;
    case API_HEARTBEAT:
        lease(m, m->answered_ms);
        m->beat_ms = ang_boot_ms();
        break;
    default:
        break;
    }
    return (RD_KAFKA_RESP_ERR_NO_ERROR);
}

static rd_kafka_resp_err_t on_answered(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api,
                                       int16_t version, int32_t corr, size_t size, int64_t rtt, rd_kafka_resp_err_t err,
                                       void *opaque) {
    struct member *m = opaque;
    if (api == API_HEARTBEAT)
        m->answered_ms = err == RD_KAFKA_RESP_ERR_NO_ERROR ? m->beat_ms : 0;
    return (RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* ---- rebalance ---- */

static int32_t *numbers_of(const rd_kafka_topic_partition_list_t *list, const char *topic, size_t *ret_n) {
    int32_t *parts = ang_calloc((size_t)list->cnt + 1, sizeof(int32_t));
    size_t n = 0;
    for (int i = 0; i < list->cnt; i++) {
        if (strcmp(list->elems[i].topic, topic) == 0)
            parts[n++] = list->elems[i].partition;
    }
    *ret_n = n;
    return (parts);
}

static bool mine_drop(struct member *m, int32_t partition) {
    for (size_t i = 0; i < m->n_mine; i++) {
        if (m->mine[i] == partition) {
            m->mine[i] = m->mine[--m->n_mine];
            return (true);
        }
    }
    return (false);
}

static void given(struct member *m, const int32_t *parts, size_t n) {
    m->answered = true;
    lease(m, m->joined_ms);
    if (m->leaving)
        return;
    m->mine = ang_realloc(m->mine, (m->n_mine + n + 1) * sizeof(int32_t));
    memcpy(m->mine + m->n_mine, parts, n * sizeof(int32_t));
    m->n_mine += n;
    m->conf.assigned(m->conf.arg, parts, n);
}

static void on_revoked(struct member *m, int32_t *parts, size_t n, bool lost) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (mine_drop(m, parts[i]))
            parts[kept++] = parts[i];
    }
    if (kept > 0 && !m->leaving)
        m->conf.revoked(m->conf.arg, parts, kept, lost);
    m->revoked = m->leaving;
}

/* Inside rd_kafka_consumer_poll, on the poller's thread. */
static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque) {
    struct ang_kafka_ctx *ctx;
    ANG_CAST(ctx, opaque, ANG_KAFKA_CTX_MAGIC);
    struct member *m = ctx->owner;
    size_t n;
    int32_t *parts = numbers_of(list, m->topic, &n);
    rd_kafka_error_t *ke = NULL;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        ke = rd_kafka_incremental_assign(rk, m->nothing);
        given(m, parts, n);
    } else if (err == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        on_revoked(m, parts, n, rd_kafka_assignment_lost(rk) != 0);
        ke = rd_kafka_incremental_unassign(rk, m->nothing);
    } else {
        on_revoked(m, parts, n, true);
        (void)rd_kafka_assign(rk, NULL);
    }
    if (ke != NULL) {
        ANG_LOG(ANG_LOG_ERROR, "LOG-REBALANCE", "librdkafka refused to go on with a rebalance", "group", m->group,
                "error", rd_kafka_error_string(ke));
        rd_kafka_error_destroy(ke);
    }
    free(parts);
    rd_kafka_yield(rk); /* the poller has something new to look at */
}

static void on_event(rd_kafka_t *rk, void *opaque) {
    struct member *m = opaque;
    m->conf.wake(m->conf.arg);
}

/* ---- joining ---- */

static void member_free(struct member *m) {
    if (m->q != NULL)
        rd_kafka_queue_destroy(m->q);
    if (m->rk != NULL)
        rd_kafka_destroy_flags(m->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (m->nothing != NULL)
        rd_kafka_topic_partition_list_destroy(m->nothing);
    free(m->mine);
    free(m->group);
    free(m->topic);
    free(m->instance);
    free(m->duty);
    m->m.magic = 0;
    free(m);
}

static struct ang_err *open_consumer(struct member *m) {
    char session[24], heartbeat[24], interval[24];
    /* A rebalance reaches a member with its next heartbeat: this is what most of a move of partitions waits for. */
    int s = m->conf.session_timeout_ms, h = s / 10 < 1000 ? s / 10 : 1000;
    (void)snprintf(session, sizeof(session), "%d", s);
    (void)snprintf(heartbeat, sizeof(heartbeat), "%d", h > 0 ? h : 1);
    (void)snprintf(interval, sizeof(interval), "%d", s > MAX_POLL_INTERVAL_MS ? s : MAX_POLL_INTERVAL_MS);
    const struct ang_kafka_prop props[] = {
        {"group.id", m->group, ANG_PROP_MUST},
        {"group.instance.id", m->instance, ANG_PROP_MUST},
        {"partition.assignment.strategy", "cooperative-sticky", ANG_PROP_MUST},
        {"session.timeout.ms", session, ANG_PROP_MUST},
        {"heartbeat.interval.ms", heartbeat, ANG_PROP_MUST},
        {"max.poll.interval.ms", interval, ANG_PROP_MUST},
        {"enable.auto.commit", "false", ANG_PROP_MUST},
        {"enable.auto.offset.store", "false", ANG_PROP_MUST},
        {"auto.offset.reset", "error", ANG_PROP_MUST},
        {"allow.auto.create.topics", "false", ANG_PROP_MUST},
        {"socket.timeout.ms", "10000", ANG_PROP_TUNE},
        {NULL, NULL, ANG_PROP_MUST},
    };
    struct ang_kafka *k = m->ctx.k;
    rd_kafka_conf_t *conf;
    struct ang_err *er = ang_kafka_conf_new(k, &m->ctx, props, &conf);
    if (er != NULL)
        return (er);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    m->watch = (struct ang_kafka_watch){on_sent, on_answered, m};
    ang_kafka_conf_watch(conf, &m->watch);
    return (ang_kafka_handle_new(k, RD_KAFKA_CONSUMER, &conf, &m->rk));
}

struct ang_err *ang_kafka_member_join(struct ang_log *log, const struct ang_log_member_conf *conf,
                                      struct ang_log_member **ret_m) {
    struct member *m = ANG_NEW(struct member);
    m->m = (struct ang_log_member){ANG_LOG_MEMBER_MAGIC, log};
    m->group = ang_strdup(conf->group);
    m->topic = ang_strdup(conf->topic);
    m->instance = ang_strdup(conf->instance);
    m->duty = ang_sprintf("member of %s", conf->group);
    m->conf = *conf;
    m->conf.group = m->group;
    m->conf.topic = m->topic;
    m->conf.instance = m->instance;
    m->ctx = (struct ang_kafka_ctx){ANG_KAFKA_CTX_MAGIC, ang_kafka_of(log), m->duty, m};
    m->nothing = rd_kafka_topic_partition_list_new(1);
    struct ang_err *er = open_consumer(m);
    if (er != NULL) {
        member_free(m);
        return (er);
    }
    AZ(rd_kafka_poll_set_consumer(m->rk));
    m->q = rd_kafka_queue_get_consumer(m->rk);
    if (m->conf.wake != NULL)
        rd_kafka_queue_cb_event_enable(m->q, on_event, m);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    (void)rd_kafka_topic_partition_list_add(topics, m->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(m->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        char what[256];
        (void)snprintf(what, sizeof(what), "subscribing group %s to %s", m->group, m->topic);
        er = ang_kafka_err(m->rk, err, NULL, ANG_FATAL, what);
        member_free(m);
        return (er);
    }
    *ret_m = &m->m;
    return (NULL);
}

/* ---- polling ---- */

static struct ang_err *fatal_error(struct member *m) {
    char text[512];
    rd_kafka_resp_err_t err = rd_kafka_fatal_error(m->rk, text, sizeof(text));
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return (NULL);
    if (err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        return (ang_err_new_cls(ANG_E_LOG_FENCED, ANG_FATAL, "group %s: another process joined as %s: %s", m->group,
                                m->instance, text));
    char what[256];
    (void)snprintf(what, sizeof(what), "group %s as %s", m->group, m->instance);
    return (ang_kafka_err(NULL, err, text, ANG_FATAL, what));
}

/* Errors that will not go away by waiting are returned, the others logged: librdkafka tries again by itself. */
static struct ang_err *consumer_error(struct member *m, const rd_kafka_message_t *msg) {
    struct ang_err *er = fatal_error(m);
    if (er != NULL)
        return (er);
    bool refused = ang_kafka_is_auth(msg->err) || msg->err == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT ||
                   msg->err == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL ||
                   msg->err == RD_KAFKA_RESP_ERR_INVALID_GROUP_ID;
    if (refused) {
        char what[256];
        (void)snprintf(what, sizeof(what), "joining group %s as %s", m->group, m->instance);
        return (ang_kafka_err(NULL, msg->err, rd_kafka_message_errstr(msg), ANG_FATAL, what));
    }
    ANG_LOG_EVERY(5000, ANG_LOG_WARN, "LOG-MEMBER", "trouble with the group, trying again", "group", m->group, "topic",
                  m->topic, "error", rd_kafka_message_errstr(msg));
    return (NULL);
}

struct ang_err *ang_kafka_member_poll(struct ang_log_member *member, int timeout_ms) {
    struct member *m = member_of(member);
    rd_kafka_message_t *msg = rd_kafka_consumer_poll(m->rk, timeout_ms);
    struct ang_err *er = NULL;
    if (msg != NULL) {
        if (msg->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            er = consumer_error(m, msg);
        rd_kafka_message_destroy(msg);
    }
    return (er != NULL ? er : fatal_error(m));
}

struct ang_err *ang_kafka_member_token(struct ang_log_member *member, struct ang_log_token **ret_token) {
    struct member *m = member_of(member);
    rd_kafka_consumer_group_metadata_t *meta = NULL;
    struct ang_err *er = fatal_error(m);
    bool replaced = er != NULL && er->code == ANG_E_LOG_FENCED; /* poll says so */
    if (er != NULL && !replaced)
        return (er);
    ang_err_free(&er);
    if (!replaced && !rd_kafka_assignment_lost(m->rk))
        meta = rd_kafka_consumer_group_metadata(m->rk);
    if (meta == NULL)
        return (
            ang_err_new_cls(ANG_E_LOG_ABORTED, ANG_RETRY, "group %s: membership was lost, joining again", m->group));
    er = ang_kafka_token_new(m->m.log->ops, &meta, ret_token);
    return (er != NULL ? ang_err_wrap(&er, "group %s as %s", m->group, m->instance) : NULL);
}

/* ---- leaving ---- */

static void serve_until(struct member *m, const bool *flag, int limit_ms) {
    int64_t until = ang_now_ms() + limit_ms;
    while (!*flag && ang_now_ms() < until && rd_kafka_fatal_error(m->rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_message_t *msg = rd_kafka_consumer_poll(m->rk, ang_kafka_left(until, 100));
        if (msg != NULL)
            rd_kafka_message_destroy(msg);
    }
}

static void close_consumer(struct member *m) {
    rd_kafka_queue_t *q = rd_kafka_queue_new(m->rk);
    rd_kafka_error_t *ke = rd_kafka_consumer_close_queue(m->rk, q);
    int64_t until = ang_now_ms() + CLOSE_MS;
    while (ke == NULL && !rd_kafka_consumer_closed(m->rk) && ang_now_ms() < until)
        (void)rd_kafka_queue_poll_callback(q, ang_kafka_left(until, 100));
    if (ke != NULL)
        rd_kafka_error_destroy(ke);
    rd_kafka_queue_destroy(q);
}

void ang_kafka_member_leave(struct ang_log_member *member, bool stay) {
    struct member *m = member_of(member);
    size_t had = m->n_mine;
    bool lost = rd_kafka_assignment_lost(m->rk) || rd_kafka_fatal_error(m->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
    if (had > 0)
        m->conf.revoked(m->conf.arg, m->mine, had, lost);
    m->leaving = true;
    rd_kafka_queue_cb_event_enable(m->q, NULL, NULL);
    serve_until(m, &m->answered, FIRST_ASSIGN_MS);
    /* Closing alone sends no LeaveGroup for a static member; unsubscribing does, once its revocation is served. */
    if (!stay && rd_kafka_unsubscribe(m->rk) == RD_KAFKA_RESP_ERR_NO_ERROR && had > 0)
        serve_until(m, &m->revoked, CLOSE_MS);
    close_consumer(m);
    member_free(m);
}
