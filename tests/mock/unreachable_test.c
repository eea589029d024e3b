/* No broker at all: opening returns at once, everything else says so within its time. */
#include "eventlog/kafka/kafka_priv.h"
/* cmocka needs the three before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>

#define SERVERS "127.0.0.1:1"

static struct ang_err *call_identity(struct ang_log *log) {
    const char *id;
    return (ang_log_identity(log, 500, &id));
}

static struct ang_err *call_topics(struct ang_log *log) {
    const struct ang_topic_spec spec = {"t", 4, 1, true, -1, 1000};
    return (ang_log_ensure_topics(log, &spec, 1, true, 500));
}

static struct ang_err *call_positions(struct ang_log *log) {
    struct ang_pos pos = {.topic = ang_log_topic(log, "t"), .partition = 0};
    struct ang_buf mem = {0};
    return (ang_log_positions(log, "g", &pos, 1, 500, &mem));
}

static struct ang_err *call_writer(struct ang_log *log) {
    struct ang_log_writer *w;
    return (ang_log_writer_open(log, "id", 500, &w));
}

static struct ang_err *call_fence(struct ang_log *log) {
    return (ang_log_fence(log, "id", 500));
}

static struct ang_err *call_writable(struct ang_log *log) {
    struct ang_writable w = {.topic = ang_log_topic(log, "t"), .partition = 0};
    return (ang_log_writable(log, &w, 1, 500));
}

static void each_call_is_bounded(void **state) {
    static const struct {
        const char *what;
        struct ang_err *(*call)(struct ang_log *);
    } rows[] = {
        {"identity", call_identity}, {"topics", call_topics}, {"positions", call_positions},
        {"writer", call_writer},     {"fence", call_fence},   {"writable", call_writable},
    };
    char key[] = "bootstrap.servers", value[] = SERVERS;
    struct ang_kv kv = {key, value, 1};
    struct ang_settings s = {.file = NULL};
    s.log.type = ANG_LOGTYPE_KAFKA;
    s.log.kafka = &kv;
    s.log.n_kafka = 1;
    struct ang_log *log = NULL;
    int64_t start = ang_now_ms();
    struct ang_err *er = ang_log_open(&s, "test", &log);
    assert_null(er);
    assert_true(ang_now_ms() - start < 2000);
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        start = ang_now_ms();
        er = rows[i].call(log);
        int64_t took = ang_now_ms() - start;
        if (er == NULL || er->code != ANG_E_LOG_UNREACHABLE || er->cls != ANG_RETRY || took > 5000)
            fail_msg("%s: %s after %lld ms: %s", rows[i].what, er == NULL ? "ok" : ang_err_name(er->code),
                     (long long)took, er == NULL ? "" : er->msg);
        ang_err_free(&er);
    }
    ang_log_close(log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_is_bounded),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
