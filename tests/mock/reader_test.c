/* Reading: transient trouble is retried inside, refusals come out, records outlive their reader. */
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

static void count(void *arg, struct ang_err *er, int64_t offset) {
    _Atomic int *n = arg;
    if (er == NULL)
        (*n)++;
}

static void fill(struct mock *m, int32_t partition, int n) {
    _Atomic int written = 0;
    for (int i = 0; i < n; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%d", i);
        const struct ang_out rec = {
            .topic = m->out, .partition = partition, .key = ang_slice_str(text), .value = ang_slice_str(text)};
        struct ang_err *er = ang_log_append(m->log, &rec, 10000, count, &written);
        assert_null(er);
    }
    for (int64_t until = ang_now_ms() + 20000; written < n && ang_now_ms() < until;)
        (void)usleep(1000);
    assert_int_equal(written, n);
}

static struct ang_log_reader *open_reader(struct mock *m) {
    const struct ang_log_reader_conf conf = {.name = "test", .fetch_wait_ms = 50, .memory = 1024 * 1024};
    struct ang_log_reader *r = NULL;
    struct ang_err *er = ang_log_reader_open(m->log, &conf, &r);
    assert_null(er);
    return (r);
}

/* Reads until n records or an error; checks the order. */
static struct ang_err *read_n(struct ang_log_reader *r, int64_t from, int n, struct ang_rec **ret_last) {
    int64_t next = from;
    for (int64_t until = ang_now_ms() + 20000; next < from + n && ang_now_ms() < until;) {
        struct ang_rec *recs[7];
        size_t got = 0;
        struct ang_err *er = ang_log_reader_poll(r, recs, ANG_COUNT(recs), 200, &got);
        if (er != NULL) {
            assert_int_equal(got, 0);
            return (er);
        }
        for (size_t i = 0; i < got; i++) {
            assert_int_equal(recs[i]->offset, next++);
            if (ret_last != NULL && next == from + n)
                *ret_last = recs[i];
            else
                ang_rec_free(&recs[i]);
        }
    }
    assert_int_equal(next, from + n);
    return (NULL);
}

static void trouble_is_retried_and_refusals_are_told(void **state) {
    static const struct {
        const char *what;
        rd_kafka_resp_err_t err;
        bool told;
        enum ang_ec code;
    } rows[] = {
        {"connection lost", RD_KAFKA_RESP_ERR__TRANSPORT, false, 0},
        {"leader moved", RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, false, 0},
        {"not there at the moment", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, false, 0},
        {"out of range right after a move", RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, false, 0},
        {"no rights", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, true, ANG_E_LOG_AUTH},
    };
    struct mock m;
    mock_start(&m, NULL);
    fill(&m, 0, 20);
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_log_reader *r = open_reader(&m);
        mock_errors(&m, MOCK_FETCH, rows[i].err, 1);
        struct ang_err *er = ang_log_reader_add(r, m.out, 0, 5);
        assert_null(er);
        er = read_n(r, 5, 15, NULL);
        if ((er != NULL) != rows[i].told || (er != NULL && er->code != rows[i].code))
            fail_msg("%s: %s", rows[i].what, er == NULL ? "not told" : er->msg);
        ang_err_free(&er);
        rd_kafka_mock_clear_request_errors(m.cluster, MOCK_FETCH);
        ang_log_reader_close(r);
    }
    mock_stop(&m);
}

static void a_position_that_is_not_there_is_named(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    fill(&m, 0, 3);
    struct ang_log_reader *r = open_reader(&m);
    struct ang_err *er = ang_log_reader_add(r, m.out, 0, 1000);
    assert_null(er);
    er = read_n(r, 1000, 1, NULL);
    assert_non_null(er);
    assert_int_equal(er->code, ANG_E_LOG_POSITION);
    assert_non_null(strstr(er->msg, "out/0: offset 1000"));
    assert_non_null(strstr(er->msg, "0 to 3"));
    ang_err_free(&er);
    /* Said once; removed and added where there is something, it reads on. */
    struct ang_rec *rec;
    size_t n = 0;
    er = ang_log_reader_poll(r, &rec, 1, 300, &n);
    assert_null(er);
    assert_int_equal(n, 0);
    ang_log_reader_remove(r, m.out, 0);
    er = ang_log_reader_add(r, m.out, 0, 1);
    assert_null(er);
    er = read_n(r, 1, 2, NULL);
    assert_null(er);
    ang_log_reader_close(r);
    mock_stop(&m);
}

static void records_outlive_their_reader(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    fill(&m, 2, 10);
    struct ang_log_reader *r = open_reader(&m);
    struct ang_err *er = ang_log_reader_add(r, m.out, 2, ANG_OFFSET_BEGIN);
    assert_null(er);
    struct ang_rec *last = NULL;
    er = read_n(r, 0, 10, &last);
    assert_null(er);
    ang_log_reader_close(r);
    assert_non_null(last);
    assert_true(ang_slice_is(last->value, "9"));
    assert_ptr_equal(last->topic, m.out);
    ang_rec_free(&last);
    mock_stop(&m);
}

static void removed_partitions_are_silent(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    fill(&m, 0, 200);
    fill(&m, 1, 200);
    struct ang_log_reader *r = open_reader(&m);
    for (int round = 0; round < 20; round++) {
        struct ang_err *er = ang_log_reader_add(r, m.out, 0, 100);
        assert_null(er);
        er = ang_log_reader_add(r, m.out, 1, 50);
        assert_null(er);
        int64_t next[2] = {100, 50};
        for (int removed = 0; next[1] < 200;) {
            struct ang_rec *recs[16];
            size_t n = 0;
            er = ang_log_reader_poll(r, recs, ANG_COUNT(recs), 1000, &n);
            assert_null(er);
            for (size_t i = 0; i < n; i++) {
                assert_false(removed && recs[i]->partition == 0);
                assert_int_equal(recs[i]->offset, next[recs[i]->partition]++);
                ang_rec_free(&recs[i]);
            }
            if (!removed && next[0] > 100 + round) {
                ang_log_reader_remove(r, m.out, 0);
                removed = 1;
            }
        }
        ang_log_reader_remove(r, m.out, 0);
        ang_log_reader_remove(r, m.out, 1);
    }
    ang_log_reader_close(r);
    mock_stop(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trouble_is_retried_and_refusals_are_told),
        cmocka_unit_test(a_position_that_is_not_there_is_named),
        cmocka_unit_test(records_outlive_their_reader),
        cmocka_unit_test(removed_partitions_are_silent),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
