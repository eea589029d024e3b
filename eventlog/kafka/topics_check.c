/* Whether topics are as they must be.  Each difference is said in words: what was found, what is expected, what mends it. */
#include <stdlib.h>

#include "eventlog/kafka/kafka_priv.h"

static struct ang_err *differs(const char *topic, const char *name, const char *found, const char *expected,
                               const char *set_to) {
    return (
        ang_err_new(ANG_E_LOG_TOPIC,
                    "topic %s: %s is %s, expected %s: kafka-configs.sh --alter --entity-type topics --entity-name %s "
                    "--add-config %s=%s",
                    topic, name, found, expected, topic, name, set_to));
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

static struct ang_err *check_text(const char *topic, const char *name, const char *found, const char *expected) {
    return (strcmp(found, expected) == 0 ? NULL : differs(topic, name, found, expected, expected));
}

static struct ang_err *check_least(const char *topic, const char *name, const char *found, int64_t least) {
    char number[24], expected[48];
    if (strtoll(found, NULL, 10) >= least)
        return (NULL);
    (void)snprintf(number, sizeof(number), "%lld", (long long)least);
    (void)snprintf(expected, sizeof(expected), "at least %s", number);
    return (differs(topic, name, found, expected, number));
}

static void warn_retention(const struct ang_topic_spec *s, const char *found) {
    long long ms = strtoll(found, NULL, 10);
    if (s->compact || ms < 0 || (s->retention_ms >= 0 && ms >= s->retention_ms))
        return;
    ANG_LOG(ANG_LOG_WARN, "LOG-RETENTION", "a topic keeps its records for a shorter time than planned", "topic",
            s->name, "retention.ms", found, "planned", ANG_F("%lld", (long long)s->retention_ms));
}

static struct ang_err *check_config(const rd_kafka_ConfigResource_t *res, const struct ang_topic_spec *s) {
    size_t n;
    const rd_kafka_ConfigEntry_t **e = rd_kafka_ConfigResource_configs(res, &n);
    struct ang_err *er =
        check_text(s->name, "cleanup.policy", value_of(e, n, "cleanup.policy"), s->compact ? "compact" : "delete");
    if (er == NULL)
        er = check_least(s->name, "max.message.bytes", value_of(e, n, "max.message.bytes"), s->max_message);
    if (er == NULL)
        er =
            check_least(s->name, "min.insync.replicas", value_of(e, n, "min.insync.replicas"), ang_kafka_min_insync(s));
    if (er == NULL)
        er = check_text(s->name, "unclean.leader.election.enable", value_of(e, n, "unclean.leader.election.enable"),
                        "false");
    if (er == NULL)
        er = check_text(s->name, "message.timestamp.type", value_of(e, n, "message.timestamp.type"), "LogAppendTime");
    if (er == NULL)
        warn_retention(s, value_of(e, n, "retention.ms"));
    return (er);
}

/* ---- shape ---- */

static struct ang_err *check_shape(const rd_kafka_metadata_topic_t *t, const struct ang_topic_spec *s) {
    if (t->partition_cnt < s->partitions)
        return (ang_err_new(
            ANG_E_LOG_TOPIC,
            "topic %s: %d partitions, expected %d: set topology.partitions to %d, or, while it holds nothing: "
            "kafka-topics.sh --alter --topic %s --partitions %d",
            s->name, t->partition_cnt, (int)s->partitions, t->partition_cnt, s->name, (int)s->partitions));
    if (t->partition_cnt > s->partitions)
        return (ang_err_new(
            ANG_E_LOG_TOPIC,
            "topic %s: %d partitions, expected %d: set topology.partitions to %d (partitions cannot be taken "
            "away), or, if it holds nothing: kafka-topics.sh --delete --topic %s",
            s->name, t->partition_cnt, (int)s->partitions, t->partition_cnt, s->name));
    int replicas = t->partition_cnt > 0 ? t->partitions[0].replica_cnt : 0;
    if (replicas < s->replication)
        return (ang_err_new(
            ANG_E_LOG_TOPIC,
            "topic %s: replication %d, expected at least %d: set topology.replication to %d, or move it with "
            "kafka-reassign-partitions.sh",
            s->name, replicas, s->replication, replicas));
    return (NULL);
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

static rd_kafka_event_t *describe(rd_kafka_t *rk, const struct ang_topic_spec *specs, size_t n, int64_t until_ms) {
    rd_kafka_ConfigResource_t **res = ang_calloc(n, sizeof(rd_kafka_ConfigResource_t *));
    for (size_t i = 0; i < n; i++)
        res[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, specs[i].name);
    char text[256];
    int left = ang_kafka_left(until_ms, 30000);
    rd_kafka_AdminOptions_t *opt = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    AZ(rd_kafka_AdminOptions_set_request_timeout(opt, left > 1 ? left : 1, text, sizeof(text)));
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_DescribeConfigs(rk, res, n, opt, q);
    rd_kafka_event_t *ev = ang_kafka_admin_wait(q, until_ms + 1000);
    rd_kafka_queue_destroy(q);
    rd_kafka_AdminOptions_destroy(opt);
    rd_kafka_ConfigResource_destroy_array(res, n);
    free(res);
    return (ev);
}

static const struct ang_topic_spec *spec_of(const struct ang_topic_spec *specs, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(specs[i].name, name) == 0)
            return (&specs[i]);
    }
    return (NULL);
}

static void note_min_insync(struct ang_kafka *k, const rd_kafka_ConfigResource_t *res) {
    size_t n;
    const rd_kafka_ConfigEntry_t **e = rd_kafka_ConfigResource_configs(res, &n);
    struct ang_topic *t = ang_log_topic_mut(&k->log, rd_kafka_ConfigResource_name(res));
    ANG_PT(pthread_mutex_lock(&k->log.topics_lock));
    t->min_insync = (int)strtol(value_of(e, n, "min.insync.replicas"), NULL, 10);
    ANG_PT(pthread_mutex_unlock(&k->log.topics_lock));
}

static struct ang_err *check_described(struct ang_kafka *k, rd_kafka_event_t *ev, const struct ang_topic_spec *specs,
                                       size_t n) {
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
        const struct ang_topic_spec *s = spec_of(specs, n, rd_kafka_ConfigResource_name(res[i]));
        err = rd_kafka_ConfigResource_error(res[i]);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            char what[512];
            (void)snprintf(what, sizeof(what), "asking for the configuration of topic %s",
                           rd_kafka_ConfigResource_name(res[i]));
            /* They are there: a broker that has not heard of it yet. */
            bool later = ang_kafka_transient(err) || err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
            er = ang_kafka_err(NULL, err, rd_kafka_ConfigResource_error_string(res[i]), later ? ANG_RETRY : ANG_FATAL,
                               what);
        } else if (s != NULL) {
            er = check_config(res[i], s);
            note_min_insync(k, res[i]);
        }
    }
    return (er);
}

struct ang_err *ang_kafka_check_topics(struct ang_kafka *k, rd_kafka_t *rk, const rd_kafka_metadata_t *md,
                                       const struct ang_topic_spec *specs, size_t n, int64_t until_ms) {
    struct ang_err *er = NULL;
    for (int i = 0; i < md->topic_cnt && er == NULL; i++) {
        const struct ang_topic_spec *s = spec_of(specs, n, md->topics[i].topic);
        if (s != NULL)
            er = check_shape(&md->topics[i], s);
    }
    if (er != NULL)
        return (er);
    warn_internal(md);
    rd_kafka_event_t *ev = describe(rk, specs, n, until_ms);
    if (ev == NULL)
        return (
            ang_err_new(ANG_E_LOG_UNREACHABLE, "%s did not say how the topics are configured in time", k->bootstrap));
    er = check_described(k, ev, specs, n);
    rd_kafka_event_destroy(ev);
    return (er);
}
