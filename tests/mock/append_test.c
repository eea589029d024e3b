/* Records without a transaction: each gets exactly one report, whatever happens. */
#include "tests/mock/mock.h"
/* cmocka needs the three before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <unistd.h>

struct outcome {
    _Atomic int reports;
    _Atomic int cls; /* -1: written */
    _Atomic int code;
    _Atomic int64_t offset;
};

static void done(void *arg, struct ang_err *er, int64_t offset) {
    struct outcome *o = arg;
    o->cls = er == NULL ? -1 : (int)er->cls;
    o->code = er == NULL ? 0 : (int)er->code;
    o->offset = offset;
    o->reports++;
}

static void append(struct mock *m, struct outcome *o) {
    const struct ang_out rec = {
        .topic = m->out, .partition = 1, .key = ang_slice_str("k"), .value = ang_slice_str("v")};
    struct ang_err *er = ang_log_append(m->log, &rec, 10000, done, o);
    if (er != NULL)
        fail_msg("%s", er->msg);
}

static void wait_report(struct outcome *o) {
    for (int64_t until = ang_now_ms() + 20000; o->reports == 0 && ang_now_ms() < until;)
        (void)usleep(1000);
    assert_int_equal(o->reports, 1);
}

static void each_error_has_its_report(void **state) {
    static const struct {
        const char *what;
        rd_kafka_resp_err_t err;
        int times, cls;
        enum ang_ec code;
    } rows[] = {
        {"nothing", RD_KAFKA_RESP_ERR_NO_ERROR, 0, -1, 0},
        {"leader moved", RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 2, -1, 0},
        {"connection lost", RD_KAFKA_RESP_ERR__TRANSPORT, 2, -1, 0},
        {"too big", RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1, ANG_RETRY, ANG_E_TOO_BIG},
        {"no rights", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1, ANG_FATAL, ANG_E_LOG_AUTH},
    };
    struct mock m;
    mock_start(&m, NULL);
    int64_t last = -1;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct outcome o = {0};
        mock_errors(&m, MOCK_PRODUCE, rows[i].err, rows[i].times);
        append(&m, &o);
        wait_report(&o);
        if (o.cls != rows[i].cls || o.code != (int)rows[i].code)
            fail_msg("%s: class %d, code %d", rows[i].what, o.cls, o.code);
        if (o.cls == -1) {
            assert_int_equal(o.offset, last + 1); /* once each, in order */
            last = o.offset;
        }
        rd_kafka_mock_clear_request_errors(m.cluster, MOCK_PRODUCE);
    }
    mock_stop(&m);
}

/* An error that kills an idempotent producer: it is replaced, and appending goes on. */
static void a_dead_producer_is_replaced(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct outcome first = {0};
    append(&m, &first);
    wait_report(&first);
    struct ang_kafka *k = ang_kafka_of(m.log);
    AN(k->appender);
    struct outcome dead = {0};
    mock_errors(&m, MOCK_PRODUCE, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1);
    append(&m, &dead);
    wait_report(&dead);
    struct outcome after = {0};
    const struct ang_out rec = {.topic = m.out, .partition = 1, .value = ang_slice_str("v")};
    struct ang_err *er = NULL;
    for (int64_t until = ang_now_ms() + 10000; ang_now_ms() < until;) {
        er = ang_log_append(m.log, &rec, 10000, done, &after);
        if (er == NULL)
            break;
        assert_int_equal(er->cls, ANG_RETRY);
        ang_err_free(&er);
        (void)usleep(10000);
    }
    wait_report(&after);
    assert_int_equal(after.cls, -1);
    mock_stop(&m);
}

static void closing_reports_what_is_left(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct outcome first = {0}, left[50] = {{0}};
    append(&m, &first);
    wait_report(&first);
    for (int32_t b = 1; b <= 3; b++)
        AZ(rd_kafka_mock_broker_set_down(m.cluster, b));
    for (size_t i = 0; i < ANG_COUNT(left); i++)
        append(&m, &left[i]);
    int64_t start = ang_now_ms();
    mock_stop(&m);
    assert_true(ang_now_ms() - start < 12000);
    for (size_t i = 0; i < ANG_COUNT(left); i++) {
        assert_int_equal(left[i].reports, 1);
        assert_true(left[i].cls == ANG_RETRY || left[i].cls == ANG_UNKNOWN);
    }
}

static void what_cannot_be_written_is_not_taken(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct outcome o = {0};
    struct ang_out rec = {.topic = m.out, .partition = 4};
    struct ang_err *er = ang_log_append(m.log, &rec, 1000, done, &o);
    assert_non_null(er);
    assert_int_equal(er->code, ANG_E_LOG_TOPIC);
    ang_err_free(&er);
    rec = (struct ang_out){.topic = ang_log_topic(m.log, "unseen"), .partition = 0};
    er = ang_log_append(m.log, &rec, 1000, done, &o);
    assert_non_null(er);
    assert_int_equal(er->cls, ANG_RETRY);
    ang_err_free(&er);
    mock_stop(&m);
    assert_int_equal(o.reports, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_error_has_its_report),
        cmocka_unit_test(a_dead_producer_is_replaced),
        cmocka_unit_test(closing_reports_what_is_left),
        cmocka_unit_test(what_cannot_be_written_is_not_taken),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
