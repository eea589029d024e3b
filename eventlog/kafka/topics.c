/* Topics: see what is there, create what is missing if that is allowed, check the rest, and fill in the handles. */
#include <stdlib.h>
#include <unistd.h>

#include "eventlog/kafka/kafka_priv.h"

#define LED_MS 3000
#define ASK_AGAIN_MS     50
#define DELETE_RETENTION "604800000" /* 7 d: a reader that was away for less sees every tombstone */
#define ALREADY_THERE(e) ((e) == RD_KAFKA_RESP_ERR_NO_ERROR || (e) == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)

int ang_kafka_min_insync(const struct ang_topic_spec *spec) {
    return (spec->replication < 2 ? 1 : 2);
}

static const rd_kafka_metadata_topic_t *find(const rd_kafka_metadata_t *md, const char *name) {
    for (int i = 0; i < md->topic_cnt; i++) {
        if (strcmp(md->topics[i].topic, name) == 0)
            return (&md->topics[i]);
    }
    return (NULL);
}

/* ---- creating ---- */

struct setting {
    const char *name;
    char value[32];
};

static rd_kafka_NewTopic_t *new_topic(const struct ang_topic_spec *spec, char *text, size_t n_text) {
    rd_kafka_NewTopic_t *nt = rd_kafka_NewTopic_new(spec->name, spec->partitions, spec->replication, text, n_text);
    if (nt == NULL)
        return (NULL);
    struct setting set[8] = {
        {"unclean.leader.election.enable", "false"},
        {"message.timestamp.type", "LogAppendTime"},
    };
    size_t n = 2;
    (void)snprintf(set[n].value, sizeof(set[n].value), "%d", ang_kafka_min_insync(spec));
    set[n++].name = "min.insync.replicas";
    (void)snprintf(set[n].value, sizeof(set[n].value), "%lld", (long long)spec->max_message);
    set[n++].name = "max.message.bytes";
    (void)snprintf(set[n].value, sizeof(set[n].value), "%s", spec->compact ? "compact" : "delete");
    set[n++].name = "cleanup.policy";
    if (spec->compact) {
        set[n++] = (struct setting){"delete.retention.ms", DELETE_RETENTION};
    } else {
        (void)snprintf(set[n].value, sizeof(set[n].value), "%lld", (long long)spec->retention_ms);
        set[n++].name = "retention.ms";
    }
    for (size_t i = 0; i < n; i++)
        AZ(rd_kafka_NewTopic_set_config(nt, set[i].name, set[i].value));
    return (nt);
}

static struct ang_err *created(rd_kafka_event_t *ev) {
    const rd_kafka_CreateTopics_result_t *res = rd_kafka_event_CreateTopics_result(ev);
    rd_kafka_resp_err_t err = rd_kafka_event_error(ev);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || res == NULL)
        return (ang_kafka_transient(err)
                    ? NULL
                    : ang_kafka_err(NULL, err, rd_kafka_event_error_string(ev), ANG_FATAL, "creating topics"));
    size_t n;
    const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(res, &n);
    for (size_t i = 0; i < n; i++) {
        err = rd_kafka_topic_result_error(topics[i]);
        if (ALREADY_THERE(err) || ang_kafka_transient(err))
            continue;
        const char *text = rd_kafka_topic_result_error_string(topics[i]);
        if (ang_kafka_is_auth(err))
            return (ang_err_new(
                ANG_E_LOG_AUTH,
                "creating topic %s: %s: grant Create on it, or create it yourself and set topology.create: false",
                rd_kafka_topic_result_name(topics[i]), text != NULL ? text : rd_kafka_err2str(err)));
        return (ang_err_new(ANG_E_LOG_TOPIC, "creating topic %s: %s (%s)", rd_kafka_topic_result_name(topics[i]),
                            text != NULL ? text : rd_kafka_err2str(err), rd_kafka_err2name(err)));
    }
    return (NULL);
}

static struct ang_err *create_missing(rd_kafka_t *rk, const rd_kafka_metadata_t *md, const struct ang_topic_spec *specs,
                                      size_t n, int64_t until_ms) {
    rd_kafka_NewTopic_t **nts = ang_calloc(n, sizeof(rd_kafka_NewTopic_t *));
    size_t missing = 0;
    struct ang_err *er = NULL;
    char text[512];
    for (size_t i = 0; i < n && er == NULL; i++) {
        if (find(md, specs[i].name) != NULL)
            continue;
        nts[missing] = new_topic(&specs[i], text, sizeof(text));
        if (nts[missing] == NULL)
            er = ang_err_new(ANG_E_LOG_TOPIC, "topic %s cannot be created: %s", specs[i].name, text);
        else
            missing++;
    }
    if (er == NULL && missing > 0) {
        rd_kafka_AdminOptions_t *opt = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        int left = ang_kafka_left(until_ms, 30000);
        AZ(rd_kafka_AdminOptions_set_request_timeout(opt, left > 1 ? left : 1, text, sizeof(text)));
        rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
        rd_kafka_CreateTopics(rk, nts, missing, opt, q);
        rd_kafka_event_t *ev = ang_kafka_admin_wait(q, until_ms + 1000);
        if (ev != NULL) {
            er = created(ev);
            rd_kafka_event_destroy(ev);
        }
        rd_kafka_queue_destroy(q);
        rd_kafka_AdminOptions_destroy(opt);
    }
    rd_kafka_NewTopic_destroy_array(nts, missing);
    free(nts);
    return (er);
}

/* ---- what is there ---- */

void ang_kafka_topic_is_missing(const struct ang_topic_spec *s, struct ang_buf *ret_lines) {
    ang_buf_addf(ret_lines,
                 "topic %s: not found, expected %d partitions: kafka-topics.sh --create --topic %s --partitions %d "
                 "--replication-factor %d --config cleanup.policy=%s --config message.timestamp.type=LogAppendTime "
                 "--config max.message.bytes=%lld --config min.insync.replicas=%d, or set topology.create: true\n",
                 s->name, (int)s->partitions, s->name, (int)s->partitions, s->replication,
                 s->compact ? "compact" : "delete", (long long)s->max_message, ang_kafka_min_insync(s));
}

static struct ang_err *is_missing(const struct ang_topic_spec *s) {
    struct ang_topic_found f = {0};
    ang_kafka_topic_is_missing(s, &f.differs);
    struct ang_err *er = ang_topic_first_difference(&f, 1);
    ang_topic_found_fini(&f);
    return (er);
}

enum readiness { NOT_THERE, NOT_LED, LED };

/* Of all partitions; names the first that is not LED in why. */
static enum readiness readiness(const rd_kafka_metadata_t *md, const struct ang_topic_spec *specs, size_t n, char *why,
                                size_t n_why) {
    enum readiness r = LED;
    for (size_t i = 0; i < n; i++) {
        const rd_kafka_metadata_topic_t *t = find(md, specs[i].name);
        if (t == NULL || t->partition_cnt == 0) {
            (void)snprintf(why, n_why, "topic %s is not there yet", specs[i].name);
            return (NOT_THERE);
        }
        for (int p = 0; r == LED && p < t->partition_cnt; p++) {
            if (t->partitions[p].leader < 0) {
                (void)snprintf(why, n_why, "%s/%d has no leader", specs[i].name, p);
                r = NOT_LED;
            }
        }
    }
    return (r);
}

/* New topics get their leaders at once.  One that stays without concerns its partition alone, which others need not wait for. */
static bool go_on(enum readiness r, int64_t led_by_ms, const char *why) {
    if (r != NOT_LED || ang_now_ms() < led_by_ms)
        return (r == LED);
    ANG_LOG(ANG_LOG_WARN, "LOG-LEADERLESS", "a partition has no leader; going on with the others", "which", why);
    return (true);
}

static struct ang_err *missing_ones(rd_kafka_t *rk, const rd_kafka_metadata_t *md, const struct ang_topic_spec *specs,
                                    size_t n, bool create, int64_t until_ms) {
    for (size_t i = 0; i < n; i++) {
        if (find(md, specs[i].name) == NULL)
            return (create ? create_missing(rk, md, specs, n, until_ms) : is_missing(&specs[i]));
    }
    return (NULL);
}

static void fill_handles(struct ang_kafka *k, const struct ang_topic_spec *specs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct ang_topic *t = ang_log_topic_mut(&k->log, specs[i].name);
        ANG_PT(pthread_mutex_lock(&k->log.topics_lock));
        t->partitions = specs[i].partitions;
        t->max_message = specs[i].max_message;
        t->compact = specs[i].compact;
        ANG_PT(pthread_mutex_unlock(&k->log.topics_lock));
    }
}

struct ang_err *ang_kafka_ensure_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, bool create,
                                        int timeout_ms) {
    struct ang_kafka *k = ang_kafka_of(log);
    int64_t until = ang_now_ms() + timeout_ms, led_by = ang_now_ms() + LED_MS;
    char why[512] = "no broker answered";
    rd_kafka_t *rk;
    struct ang_err *er = ang_kafka_admin(k, &rk);
    for (bool done = false; er == NULL && !done;) {
        const rd_kafka_metadata_t *md;
        int left = ang_kafka_left(until, 5000);
        if (left == 0)
            return (ang_err_new(ANG_E_LOG_UNREACHABLE, "topics at %s were not ready within %d ms: %s", k->bootstrap,
                                timeout_ms, why));
        /* All topics: a request that names one may create it. */
        rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 1, NULL, &md, left);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            (void)snprintf(why, sizeof(why), "%s", rd_kafka_err2str(err));
            if (ang_kafka_is_auth(err))
                er = ang_kafka_err(NULL, err, NULL, ANG_FATAL, "listing topics");
            else
                (void)usleep(ASK_AGAIN_MS * 1000);
            continue;
        }
        er = missing_ones(rk, md, specs, n, create, until);
        if (er == NULL && go_on(readiness(md, specs, n, why, sizeof(why)), led_by, why)) {
            er = ang_kafka_check_topics(k, rk, md, specs, n, until);
            done = true;
        } else if (er == NULL) {
            (void)usleep(ASK_AGAIN_MS * 1000);
        }
        rd_kafka_metadata_destroy(md);
    }
    if (er == NULL)
        fill_handles(k, specs, n);
    if (er == NULL && !log->look)
        ang_kafka_appender_warm(k, specs, n, ang_kafka_left(until, 5000));
    return (er);
}

struct ang_err *ang_kafka_find_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, int timeout_ms,
                                      struct ang_topic_found *ret_found) {
    struct ang_kafka *k = ang_kafka_of(log);
    int64_t until = ang_now_ms() + timeout_ms;
    const rd_kafka_metadata_t *md = NULL;
    rd_kafka_t *rk;
    struct ang_err *er = ang_kafka_admin(k, &rk);
    while (er == NULL && md == NULL) {
        int left = ang_kafka_left(until, 5000);
        rd_kafka_resp_err_t err = left == 0 ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_metadata(rk, 1, NULL, &md, left);
        if (ang_kafka_is_auth(err))
            er = ang_kafka_err(NULL, err, NULL, ANG_FATAL, "listing topics");
        else if (err != RD_KAFKA_RESP_ERR_NO_ERROR && ang_kafka_left(until, ASK_AGAIN_MS) == 0)
            er = ang_err_new(ANG_E_LOG_UNREACHABLE, "no broker of bootstrap.servers %s listed its topics within %d ms: %s",
                             k->bootstrap, timeout_ms, rd_kafka_err2str(err));
        else if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
            (void)usleep(ASK_AGAIN_MS * 1000);
    }
    if (er == NULL)
        er = ang_kafka_compare_topics(k, rk, md, specs, n, until, ret_found);
    if (md != NULL)
        rd_kafka_metadata_destroy(md);
    return (er);
}
