/* One builder of configurations, and where librdkafka's own log lines go.
 *
 * No error_cb is set: librdkafka then logs what it would have passed to it ("all brokers are down"), at once and on its own
 * threads, so it is seen also while nobody polls that handle. */
#include <stdlib.h>
#include <strings.h>
#include <syslog.h>

#include "eventlog/kafka/kafka_priv.h"

#define UNREACHABLE_EVERY_MS 5000
#define CLIENT_ID_MAX        90 /* librdkafka before 2.5 crashes on long ones */

static bool is_one_of(const char *fac, const char *const *set) {
    for (; *set != NULL; set++) {
        if (strcmp(fac, *set) == 0)
            return (true);
    }
    return (false);
}

/* Called by librdkafka's threads. */
static void log_line(const rd_kafka_t *rk, int level, const char *fac, const char *text) {
    static const char *const hidden[] = {
        "CONFWARN",  /* one conf builder serves producers and consumers: each sees properties of the other kind */
        "TERMINATE", /* closing a writer with an open transaction is how a transaction is given up */
        NULL,
    };
    /* Said again by the call that fails of it. */
    static const char *const returned[] = {"TXNERR", "ADDPARTS", "ADDOFFSETS", "GETPID", "FATAL", NULL};
    static const char *const connection[] = {"FAIL", "ERROR", "REQTMOUT", "FINDBROKER", NULL};
    const struct ang_kafka_ctx *ctx = rd_kafka_opaque(rk);
    if (ctx == NULL || is_one_of(fac, hidden))
        return;
    ANG_CHECK(ctx, ANG_KAFKA_CTX_MAGIC);
    bool fatal = strstr(text, "Fatal ") != NULL;
    if (level <= LOG_ERR && !fatal && is_one_of(fac, connection)) {
        ANG_LOG_EVERY(UNREACHABLE_EVERY_MS, ANG_LOG_WARN, "LOG-UNREACHABLE",
                      "a Kafka broker cannot be reached, trying again", "bootstrap.servers", ctx->k->bootstrap, "duty",
                      ctx->duty, "cause", text);
        return;
    }
    if (fatal || is_one_of(fac, returned))
        level = LOG_DEBUG;
    enum ang_log_level lvl = level <= LOG_WARNING ? ANG_LOG_WARN : level <= LOG_INFO ? ANG_LOG_INFO : ANG_LOG_DEBUG;
    ANG_LOG(lvl, "LOG-KAFKA", text, "duty", ctx->duty, "facility", fac);
}

static const char *user_value(const struct ang_kafka *k, const char *name) {
    const char *value = NULL;
    for (size_t i = 0; i < k->n_props; i++) {
        if (strcmp(k->props[i].key, name) == 0)
            value = k->props[i].value;
    }
    return (value);
}

int64_t ang_kafka_user_number(const struct ang_kafka *k, const char *name, int64_t def) {
    const char *v = user_value(k, name);
    uint64_t n;
    return (v != NULL && ang_slice_to_u64(ang_slice_str(v), &n) && n <= INT32_MAX ? (int64_t)n : def);
}

static struct ang_err *set_user(struct ang_kafka *k, rd_kafka_conf_t *conf) {
    char text[512];
    for (size_t i = 0; i < k->n_props; i++) {
        const struct ang_kv *kv = &k->props[i];
        if (rd_kafka_conf_set(conf, kv->key, kv->value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
            return (ang_err_new(ANG_E_CONFIG, "%s:%d: log.kafka.%s: %s", k->file, kv->line, kv->key, text));
    }
    return (NULL);
}

static struct ang_err *set_ours(struct ang_kafka *k, rd_kafka_conf_t *conf, const struct ang_kafka_prop *p) {
    char text[512];
    for (; p->name != NULL; p++) {
        if (p->kind != ANG_PROP_MUST && user_value(k, p->name) != NULL)
            continue;
        rd_kafka_conf_res_t res = rd_kafka_conf_set(conf, p->name, p->value, text, sizeof(text));
        if (res == RD_KAFKA_CONF_UNKNOWN && p->kind == ANG_PROP_NEWER)
            continue;
        if (res != RD_KAFKA_CONF_OK)
            return (ang_err_new(ANG_E_INTERNAL, "librdkafka %s refuses %s=%s: %s", rd_kafka_version_str(), p->name,
                                p->value, text));
    }
    return (NULL);
}

struct ang_err *ang_kafka_conf_new(struct ang_kafka *k, const struct ang_kafka_ctx *ctx,
                                   const struct ang_kafka_prop *props, rd_kafka_conf_t **ret_conf) {
    char client[CLIENT_ID_MAX + 1];
    (void)snprintf(client, sizeof(client), "%s", k->client);
    const struct ang_kafka_prop common[] = {
        {"client.id", client, ANG_PROP_TUNE},
        {"socket.nagle.disable", "true", ANG_PROP_MUST},
        {"reconnect.backoff.ms", "20", ANG_PROP_TUNE},
        {"reconnect.backoff.max.ms", "1000", ANG_PROP_TUNE},
        {"log.connection.close", "false", ANG_PROP_TUNE},
        {"topic.metadata.refresh.fast.interval.ms", "50", ANG_PROP_TUNE},
        {NULL, NULL, ANG_PROP_MUST},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    /* Not const for the callbacks' sake only; nobody writes through it. */
    rd_kafka_conf_set_opaque(conf, (void *)(uintptr_t)ctx);
    rd_kafka_conf_set_log_cb(conf, log_line);
    struct ang_err *er = set_user(k, conf);
    if (er == NULL)
        er = set_ours(k, conf, common);
    if (er == NULL)
        er = set_ours(k, conf, props);
    if (er != NULL) {
        rd_kafka_conf_destroy(conf);
        return (er);
    }
    *ret_conf = conf;
    return (NULL);
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *text, size_t n) {
    const struct ang_kafka_watch *w = opaque;
    rd_kafka_resp_err_t err = rd_kafka_interceptor_add_on_request_sent(rk, "angzarr", w->sent, w->owner);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        err = rd_kafka_interceptor_add_on_response_received(rk, "angzarr", w->answered, w->owner);
    return (err);
}

void ang_kafka_conf_watch(rd_kafka_conf_t *conf, struct ang_kafka_watch *w) {
    AZ(rd_kafka_conf_interceptor_add_on_new(conf, "angzarr", on_new, w));
}

struct ang_err *ang_kafka_handle_new(struct ang_kafka *k, rd_kafka_type_t type, rd_kafka_conf_t **conf,
                                     rd_kafka_t **ret_rk) {
    char text[512];
    rd_kafka_t *rk = rd_kafka_new(type, *conf, text, sizeof(text));
    if (rk == NULL) {
        rd_kafka_conf_destroy(*conf);
        *conf = NULL;
        /* Properties that do not fit together, a certificate that cannot be read: from the user's file. */
        return (ang_err_new_cls(ANG_E_CONFIG, ANG_FATAL, "%s: log.kafka: %s", k->file, text));
    }
    *conf = NULL;
    *ret_rk = rk;
    return (NULL);
}
