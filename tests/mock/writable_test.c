/* Which partitions can be written, and what a transaction says of one that cannot. */
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

static void start(struct mock *m) {
    mock_start(m, NULL);
    for (int32_t p = 0; p < 4; p++)
        AZ(rd_kafka_mock_partition_set_leader(m->cluster, "out", p, p == 2 ? 2 : 1));
}

static bool is_so(const char *got, const char *wanted) {
    return (wanted == NULL ? got == NULL : got != NULL && strstr(got, wanted) != NULL);
}

/* Asked again for a while: a connection that was refused is tried again after a pause that grows. */
static void expect(struct mock *m, const char *const *why) {
    int32_t wrong = 0;
    struct ang_writable w[4];
    for (int64_t until = ang_now_ms() + 20000; wrong < 4 && ang_now_ms() < until;) {
        for (int32_t p = 0; p < 4; p++)
            w[p] = (struct ang_writable){m->out, p, "unset"};
        struct ang_err *er = ang_log_writable(m->log, w, 4, 5000);
        if (er != NULL)
            fail_msg("%s", er->msg);
        for (wrong = 0; wrong < 4 && is_so(w[wrong].why, why[wrong]); wrong++)
            ;
        if (wrong < 4)
            usleep(20000);
    }
    if (wrong < 4)
        fail_msg("partition %d: %s, expected %s", (int)wrong, w[wrong].why == NULL ? "can be written" : w[wrong].why,
                 why[wrong] == NULL ? "that it can be written" : why[wrong]);
}

static void leaders_are_looked_at_one_by_one(void **state) {
    struct mock m;
    start(&m);
    expect(&m, (const char *const[]){NULL, NULL, NULL, NULL});
    AZ(rd_kafka_mock_partition_set_leader(m.cluster, "out", 1, -1));
    expect(&m, (const char *const[]){NULL, "no leader", NULL, NULL});
    AZ(rd_kafka_mock_broker_set_down(m.cluster, 2));
    expect(&m, (const char *const[]){NULL, "no leader", "does not answer", NULL});
    AZ(rd_kafka_mock_broker_set_up(m.cluster, 2));
    AZ(rd_kafka_mock_partition_set_leader(m.cluster, "out", 1, 3));
    expect(&m, (const char *const[]){NULL, NULL, NULL, NULL});
    mock_stop(&m);
}

static struct ang_err *commit_two(struct mock *m, struct ang_log_writer *w, struct ang_out recs[2]) {
    for (int32_t p = 0; p < 2; p++)
        recs[p] = (struct ang_out){.topic = m->out, .partition = p, .key = ang_slice_str("k"), .undelivered = true};
    const struct ang_pos pos = {m->in, 0, 1, ANG_SLICE_NONE};
    const struct ang_batch batch = {recs, 2, &pos, 1, m->token};
    return (ang_log_writer_commit(w, &batch));
}

/* Bounded by the records' time-out, not by the transaction's, and nobody waits for an abort. */
static void a_partition_whose_leader_is_away_is_named(void **state) {
    struct mock m;
    struct ang_out recs[2];
    start(&m);
    /* Not without a leader at all: librdkafka's mock broker (2.4 to 2.8) ends the process when something is produced to such a one. */
    AZ(rd_kafka_mock_partition_set_leader(m.cluster, "out", 1, 2));
    AZ(rd_kafka_mock_coordinator_set(m.cluster, "transaction", "stuck", 1));
    AZ(rd_kafka_mock_coordinator_set(m.cluster, "group", "group", 1));
    struct ang_log_writer *w = NULL;
    struct ang_err *er = ang_log_writer_open(m.log, "stuck", 10000, &w);
    assert_null(er);
    er = commit_two(&m, w, recs);
    assert_null(er);
    assert_false(recs[0].undelivered || recs[1].undelivered);
    AZ(rd_kafka_mock_broker_set_down(m.cluster, 2));
    int64_t began = ang_now_ms();
    er = commit_two(&m, w, recs);
    int64_t took = ang_now_ms() - began;
    assert_non_null(er);
    if (er->cls != ANG_RETIRE || strstr(er->msg, "out/1") == NULL)
        fail_msg("%s: %s", ang_class_name(er->cls), er->msg);
    assert_false(recs[0].undelivered || recs[0].refused || recs[1].refused);
    assert_true(recs[1].undelivered);
    assert_true(ang_log_writer_doubtful(w));
    if (took < ANG_KAFKA_STUCK_MS - 500 || took > ANG_KAFKA_STUCK_MS + 3000)
        fail_msg("it took %lld ms", (long long)took);
    ang_err_free(&er);
    ang_log_writer_close(w);
    mock_stop(&m);
}

/* A coordinator that is away holds all records back: no partition is to blame. */
static void a_coordinator_that_is_silent_is_not_taken_for_a_partition(void **state) {
    struct mock m;
    struct ang_out recs[2];
    start(&m);
    struct ang_log_writer *w = NULL;
    struct ang_err *er = ang_log_writer_open(m.log, "silent", 10000, &w);
    assert_null(er);
    er = commit_two(&m, w, recs);
    assert_null(er);
    for (int32_t b = 1; b <= 3; b++) {
        for (int i = 0; i < 4; i++) {
            AZ(rd_kafka_mock_broker_push_request_error_rtts(m.cluster, b, MOCK_ADD_PARTITIONS, 1, RD_KAFKA_RESP_ERR_NO_ERROR, 60000));
            AZ(rd_kafka_mock_broker_push_request_error_rtts(m.cluster, b, MOCK_ADD_OFFSETS, 1, RD_KAFKA_RESP_ERR_NO_ERROR, 60000));
        }
    }
    er = commit_two(&m, w, recs);
    assert_non_null(er);
    assert_false(recs[0].undelivered || recs[1].undelivered);
    ang_err_free(&er);
    ang_log_writer_close(w);
    mock_stop(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaders_are_looked_at_one_by_one),
        cmocka_unit_test(a_partition_whose_leader_is_away_is_named),
        cmocka_unit_test(a_coordinator_that_is_silent_is_not_taken_for_a_partition),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
