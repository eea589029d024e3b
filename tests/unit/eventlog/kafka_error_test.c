/* What librdkafka's errors become. */
#include "eventlog/kafka/kafka_priv.h"
/* cmocka needs the three before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>

/* The rule behind the table: before commit nothing can be visible, after it nobody knows, unless librdkafka says "abort". */
static void the_class_depends_on_the_call(void **state) {
    static const struct {
        enum ang_kafka_step step;
        enum ang_kafka_kind kind;
        enum ang_class want;
    } rows[] = {
        {ANG_STEP_INIT, ANG_KIND_TIMED_OUT, ANG_RETRY},        {ANG_STEP_INIT, ANG_KIND_FATAL, ANG_RETIRE},
        {ANG_STEP_BEGIN, ANG_KIND_FATAL, ANG_RETIRE},          {ANG_STEP_BEGIN, ANG_KIND_OTHER, ANG_RETIRE},
        {ANG_STEP_PRODUCE, ANG_KIND_FATAL, ANG_RETIRE},        {ANG_STEP_PRODUCE, ANG_KIND_OTHER, ANG_ABORT_TXN},
        {ANG_STEP_OFFSETS, ANG_KIND_FATAL, ANG_RETIRE},        {ANG_STEP_OFFSETS, ANG_KIND_ABORT, ANG_ABORT_TXN},
        {ANG_STEP_OFFSETS, ANG_KIND_TIMED_OUT, ANG_ABORT_TXN}, {ANG_STEP_OFFSETS, ANG_KIND_OTHER, ANG_RETIRE},
        {ANG_STEP_COMMIT, ANG_KIND_FATAL, ANG_UNKNOWN},        {ANG_STEP_COMMIT, ANG_KIND_TIMED_OUT, ANG_UNKNOWN},
        {ANG_STEP_COMMIT, ANG_KIND_OTHER, ANG_UNKNOWN},        {ANG_STEP_COMMIT, ANG_KIND_ABORT, ANG_ABORT_TXN},
        {ANG_STEP_ABORT, ANG_KIND_FATAL, ANG_RETIRE},          {ANG_STEP_ABORT, ANG_KIND_TIMED_OUT, ANG_RETIRE},
        {ANG_STEP_ABORT, ANG_KIND_ABORT, ANG_RETIRE},          {ANG_STEP_ABORT, ANG_KIND_OTHER, ANG_RETIRE},
    };
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        enum ang_class got = ang_kafka_class(rows[i].step, rows[i].kind);
        if (got != rows[i].want)
            fail_msg("row %zu: %s, expected %s", i, ang_class_name(got), ang_class_name(rows[i].want));
    }
}

static void codes_keep_their_meaning(void **state) {
    static const struct {
        rd_kafka_resp_err_t from;
        enum ang_class cls;
        enum ang_ec want;
        enum ang_class want_cls;
    } rows[] = {
        {RD_KAFKA_RESP_ERR__FENCED, ANG_UNKNOWN, ANG_E_LOG_FENCED, ANG_UNKNOWN},
        {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, ANG_RETIRE, ANG_E_LOG_FENCED, ANG_RETIRE},
        {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, ANG_ABORT_TXN, ANG_E_LOG_ABORTED, ANG_ABORT_TXN},
        {RD_KAFKA_RESP_ERR__TIMED_OUT, ANG_RETRY, ANG_E_LOG_UNREACHABLE, ANG_RETRY},
        {RD_KAFKA_RESP_ERR__TIMED_OUT, ANG_UNKNOWN, ANG_E_LOG_UNKNOWN, ANG_UNKNOWN},
        {RD_KAFKA_RESP_ERR__STATE, ANG_RETIRE, ANG_E_LOG_RETIRE, ANG_RETIRE},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ANG_ABORT_TXN, ANG_E_TOO_BIG, ANG_ABORT_TXN},
        {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ANG_ABORT_TXN, ANG_E_LOG_TOPIC, ANG_ABORT_TXN},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ANG_ABORT_TXN, ANG_E_LOG_AUTH, ANG_FATAL},
        {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, ANG_UNKNOWN, ANG_E_LOG_AUTH, ANG_UNKNOWN},
        {RD_KAFKA_RESP_ERR__BAD_MSG, ANG_FATAL, ANG_E_LOG_IO, ANG_FATAL},
    };
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_err *er = ang_kafka_err(NULL, rows[i].from, NULL, rows[i].cls, "orders/3");
        if (er->code != rows[i].want || er->cls != rows[i].want_cls)
            fail_msg("%s: %s %s, expected %s %s", rd_kafka_err2name(rows[i].from), ang_err_name(er->code),
                     ang_class_name(er->cls), ang_err_name(rows[i].want), ang_class_name(rows[i].want_cls));
        assert_non_null(strstr(er->msg, "orders/3"));
        assert_non_null(strstr(er->msg, rd_kafka_err2name(rows[i].from)));
        ang_err_free(&er);
    }
}

static struct ang_err *open_with(const char *key, const char *value, const char *servers) {
    struct ang_kv kv[] = {{(char *)(uintptr_t) "bootstrap.servers", (char *)(uintptr_t)servers, 2},
                          {(char *)(uintptr_t)key, (char *)(uintptr_t)value, 3}};
    struct ang_settings s = {.file = (char *)(uintptr_t) "angzarr.yaml"};
    s.log.type = ANG_LOGTYPE_KAFKA;
    s.log.kafka = kv;
    s.log.n_kafka = ANG_COUNT(kv);
    struct ang_log *log = NULL;
    struct ang_err *er = ang_log_open(&s, "test", &log);
    if (er == NULL)
        ang_log_close(log);
    return (er);
}

static void wrong_properties_are_named_with_their_line(void **state) {
    static const struct {
        const char *key, *value, *servers, *says;
    } rows[] = {
        {"compression.type", "lz4", "127.0.0.1:1", NULL},
        {"compression.typ", "lz4", "127.0.0.1:1",
         "angzarr.yaml:3: log.kafka.compression.typ: No such configuration property"},
        {"compression.type", "lz5", "127.0.0.1:1", "angzarr.yaml:3: log.kafka.compression.type: Invalid value"},
        {"socket.keepalive.enable", "true", "", "log.kafka.bootstrap.servers is missing"},
    };
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_err *er = open_with(rows[i].key, rows[i].value, rows[i].servers);
        if (rows[i].says == NULL) {
            assert_null(er);
            continue;
        }
        assert_non_null(er);
        assert_int_equal(er->code, ANG_E_CONFIG);
        if (strstr(er->msg, rows[i].says) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", er->msg, rows[i].says);
        ang_err_free(&er);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_class_depends_on_the_call),
        cmocka_unit_test(codes_keep_their_meaning),
        cmocka_unit_test(wrong_properties_are_named_with_their_line),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
