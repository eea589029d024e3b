/* What there is of the topics, and where it is not as it must be.  Each difference is said in words: what was found, what is expected, what
 * mends it. */
#include <stdlib.h>

#include "eventlog/kafka/kafka_priv.h"

static void differs(struct ang_topic_found *f, const char *topic, const char *name, const char *found,
                    const char *expected, const char *set_to) {
    ang_buf_addf(&f->differs,
                 "topic %s: %s is %s, expected %s: kafka-configs.sh --alter --entity-type topics --entity-name %s "
                 "--add-config %s=%s\n",
                 topic, name, found, expected, topic, name, set_to);
}

/* ---- configuration of one topic ---- */

static const char *value_of(const rd_kafka_ConfigEntry_t **entries, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0) {
            const char *v = rd_kafka_ConfigEntry_value(entries[i]);
            return (v != NULL ? v : "");
        }
    }
    return ("");
}

static void compare_text(struct ang_topic_found *f, const char *topic, const char *name, const char *found,
                         const char *expected) {
    if (strcmp(found, expected) != 0)
        differs(f, topic, name, found, expected, expected);
}

static void compare_least(struct ang_topic_found *f, const char *topic, const char *name, const char *found,
                          int64_t least) {
    char number[24], expected[48];
    if (strtoll(found, NULL, 10) >= least)
        return;
    (void)snprintf(number, sizeof(number), "%lld", (long long)least);
    (void)snprintf(expected, sizeof(expected), "at least %s", number);
    differs(f, topic, name, found, expected, number);
}

static void compare_retention(struct ang_topic_found *f, const struct ang_topic_spec *s) {
    if (s->compact || f->retention_ms < 0 || (s->retention_ms >= 0 && f->retention_ms >= s->retention_ms))
        return;
    ang_buf_addf(
        &f->notes,
        "topic %s: retention.ms is %lld, shorter than the planned %lld: kafka-configs.sh --alter --entity-type "
        "topics --entity-name %s --add-config retention.ms=%lld\n",
        s->name, (long long)f->retention_ms, (long long)s->retention_ms, s->name, (long long)s->retention_ms);
}

static void compare_config(const rd_kafka_ConfigResource_t *res, const struct ang_topic_spec *s,
                           struct ang_topic_found *f) {
    size_t n;
    const rd_kafka_ConfigEntry_t **e = rd_kafka_ConfigResource_configs(res, &n);
    const char *max_message = value_of(e, n, "max.message.bytes"), *min_insync = value_of(e, n, "min.insync.replicas");

    (void)snprintf(f->cleanup, sizeof(f->cleanup), "%s", value_of(e, n, "cleanup.policy"));
    f->min_insync = (int)strtol(min_insync, NULL, 10);
    f->max_message = strtoll(max_message, NULL, 10);
    f->retention_ms = strstr(f->cleanup, "delete") == NULL ? -1 : strtoll(value_of(e, n, "retention.ms"), NULL, 10);
    compare_text(f, s->name, "cleanup.policy", f->cleanup, s->compact ? "compact" : "delete");
    compare_least(f, s->name, "max.message.bytes", max_message, s->max_message);
    compare_least(f, s->name, "min.insync.replicas", min_insync, ang_kafka_min_insync(s));
    compare_text(f, s->name, "unclean.leader.election.enable", value_of(e, n, "unclean.leader.election.enable"),
                 "false");
    compare_text(f, s->name, "message.timestamp.type", value_of(e, n, "message.timestamp.type"), "LogAppendTime");
    compare_retention(f, s);
}

/* ---- shape ---- */

static int fewest_replicas(const rd_kafka_metadata_topic_t *t) {
    int fewest = t->partition_cnt > 0 ? t->partitions[0].replica_cnt : 0;
    for (int p = 1; p < t->partition_cnt; p++) {
        if (t->partitions[p].replica_cnt < fewest)
            fewest = t->partitions[p].replica_cnt;
    }
    return (fewest);
}

static void compare_shape(const rd_kafka_metadata_topic_t *t, const struct ang_topic_spec *s,
                          struct ang_topic_found *f) {
    f->there = true;
    f->partitions = t->partition_cnt;
    f->replication = fewest_replicas(t);
    if (f->partitions < s->partitions)
        ang_buf_addf(&f->differs,
                     "topic %s: %d partitions, expected %d: set topology.partitions to %d, or, while it holds nothing: "
                     "kafka-topics.sh --alter --topic %s --partitions %d\n",
                     s->name, f->partitions, (int)s->partitions, f->partitions, s->name, (int)s->partitions);
    if (f->partitions > s->partitions)
        ang_buf_addf(&f->differs,
                     "topic %s: %d partitions, expected %d: set topology.partitions to %d (partitions cannot be taken "
                     "away), or, if it holds nothing: kafka-topics.sh --delete --topic %s\n",
                     s->name, f->partitions, (int)s->partitions, f->partitions, s->name);
    if (f->replication < s->replication)
        ang_buf_addf(&f->differs,
                     "topic %s: replication %d, expected at least %d: set topology.replication to %d, or move it with "
                     "kafka-reassign-partitions.sh\n",
                     s->name, f->replication, s->replication, f->replication);
}

static void warn_internal(const rd_kafka_metadata_t *md) {
    static const char *const names[] = {"__transaction_state", "__consumer_offsets"};
    for (int i = 0; i < md->topic_cnt; i++) {
        const rd_kafka_metadata_topic_t *t = &md->topics[i];
        for (size_t j = 0; j < ANG_COUNT(names); j++) {
            if (strcmp(t->topic, names[j]) != 0 || t->partition_cnt == 0 || md->broker_cnt < 2 ||
                t->partitions[0].replica_cnt > 1)
                continue;
            ANG_LOG(ANG_LOG_WARN, "LOG-REPLICATION",
                    "a topic that every commit rests on is on one broker only: the loss of "
                    "that broker loses answered commands",
                    "topic", t->topic, "replicas", ANG_F("%d", t->partitions[0].replica_cnt), "brokers",
                    ANG_F("%d", md->broker_cnt));
        }
    }
}

/* ---- asking ---- */

/* Only for those that are there. */
static rd_kafka_event_t *describe(rd_kafka_t *rk, const struct ang_topic_spec *specs,
                                  const struct ang_topic_found *found, size_t n, int64_t until_ms) {
    rd_kafka_ConfigResource_t **res = ang_calloc(n, sizeof(rd_kafka_ConfigResource_t *));
    size_t n_res = 0;
    for (size_t i = 0; i < n; i++) {
        if (found[i].there)
            res[n_res++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, specs[i].name);
    }
    char text[256];
    int left = ang_kafka_left(until_ms, 30000);
    rd_kafka_AdminOptions_t *opt = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    AZ(rd_kafka_AdminOptions_set_request_timeout(opt, left > 1 ? left : 1, text, sizeof(text)));
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_DescribeConfigs(rk, res, n_res, opt, q);
    rd_kafka_event_t *ev = ang_kafka_admin_wait(q, until_ms + 1000);
    rd_kafka_queue_destroy(q);
    rd_kafka_AdminOptions_destroy(opt);
    rd_kafka_ConfigResource_destroy_array(res, n_res);
    free(res);
    return (ev);
}

static void note_min_insync(struct ang_kafka *k, const char *topic, int min_insync) {
    struct ang_topic *t = ang_log_topic_mut(&k->log, topic);
    ANG_PT(pthread_mutex_lock(&k->log.topics_lock));
    t->min_insync = min_insync;
    ANG_PT(pthread_mutex_unlock(&k->log.topics_lock));
}

static struct ang_err *resource_err(const rd_kafka_ConfigResource_t *res) {
    rd_kafka_resp_err_t err = rd_kafka_ConfigResource_error(res);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return (NULL);
    char what[512];
    (void)snprintf(what, sizeof(what), "asking for the configuration of topic %s", rd_kafka_ConfigResource_name(res));
    /* They are there: a broker that has not heard of it yet. */
    bool later = ang_kafka_transient(err) || err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    return (ang_kafka_err(NULL, err, rd_kafka_ConfigResource_error_string(res), later ? ANG_RETRY : ANG_FATAL, what));
}

static struct ang_err *take_described(struct ang_kafka *k, rd_kafka_event_t *ev, const struct ang_topic_spec *specs,
                                      size_t n, struct ang_topic_found *found) {
    rd_kafka_resp_err_t err = rd_kafka_event_error(ev);
    const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(ev);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || result == NULL)
        return (ang_kafka_err(NULL, err, rd_kafka_event_error_string(ev),
                              ang_kafka_transient(err) ? ANG_RETRY : ANG_FATAL,
                              "asking for the configuration of the topics"));
    size_t n_res;
    const rd_kafka_ConfigResource_t **res = rd_kafka_DescribeConfigs_result_resources(result, &n_res);
    struct ang_err *er = NULL;
    for (size_t i = 0; i < n_res && er == NULL; i++) {
        const char *name = rd_kafka_ConfigResource_name(res[i]);
        er = resource_err(res[i]);
        for (size_t j = 0; er == NULL && j < n; j++) {
            if (strcmp(specs[j].name, name) != 0)
                continue;
            compare_config(res[i], &specs[j], &found[j]);
            note_min_insync(k, name, found[j].min_insync);
        }
    }
    return (er);
}

struct ang_err *ang_kafka_compare_topics(struct ang_kafka *k, rd_kafka_t *rk, const rd_kafka_metadata_t *md,
                                         const struct ang_topic_spec *specs, size_t n, int64_t until_ms,
                                         struct ang_topic_found *ret_found) {
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        for (int j = 0; j < md->topic_cnt; j++) {
            if (strcmp(md->topics[j].topic, specs[i].name) == 0)
                compare_shape(&md->topics[j], &specs[i], &ret_found[i]);
        }
        if (!ret_found[i].there)
            ang_kafka_topic_is_missing(&specs[i], &ret_found[i].differs);
        any = any || ret_found[i].there;
    }
    if (!any)
        return (NULL);
    rd_kafka_event_t *ev = describe(rk, specs, ret_found, n, until_ms);
    if (ev == NULL)
        return (
            ang_err_new(ANG_E_LOG_UNREACHABLE, "%s did not say how the topics are configured in time", k->bootstrap));
    struct ang_err *er = take_described(k, ev, specs, n, ret_found);
    rd_kafka_event_destroy(ev);
    return (er);
}

static void log_notes(const struct ang_topic_found *f, const struct ang_topic_spec *s) {
    if (f->notes.n > 0)
        ANG_LOG(ANG_LOG_WARN, "LOG-RETENTION", "a topic keeps its records for a shorter time than planned", "topic",
                s->name, "retention.ms", ANG_F("%lld", (long long)f->retention_ms), "planned",
                ANG_F("%lld", (long long)s->retention_ms));
}

struct ang_err *ang_kafka_check_topics(struct ang_kafka *k, rd_kafka_t *rk, const rd_kafka_metadata_t *md,
                                       const struct ang_topic_spec *specs, size_t n, int64_t until_ms) {
    struct ang_topic_found *found = ang_calloc(n, sizeof(*found));
    struct ang_err *er = ang_kafka_compare_topics(k, rk, md, specs, n, until_ms, found);
    if (er == NULL)
        er = ang_topic_first_difference(found, n);
    if (er == NULL)
        warn_internal(md);
    for (size_t i = 0; i < n; i++) {
        if (er == NULL)
            log_notes(&found[i], &specs[i]);
        ang_topic_found_fini(&found[i]);
    }
    free(found);
    return (er);
}
