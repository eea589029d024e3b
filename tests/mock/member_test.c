/* Membership: joining, the token, being replaced, and leaving in every state. */
#include "tests/mock/mock.h"
/* cmocka needs the three before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>

struct seen {
    size_t mine;
    int lost;
};

static void assigned(void *arg, const int32_t *partitions, size_t n) {
    struct seen *s = arg;
    s->mine += n;
}

static void revoked(void *arg, const int32_t *partitions, size_t n, bool lost) {
    struct seen *s = arg;
    s->mine -= n;
    s->lost += lost;
}

static struct ang_log_member *join(struct mock *m, const char *group, struct seen *s) {
    const struct ang_log_member_conf conf = {.group = group,
                                             .topic = "in",
                                             .instance = "i-0",
                                             .session_timeout_ms = 6000,
                                             .assigned = assigned,
                                             .revoked = revoked,
                                             .arg = s};
    struct ang_log_member *member = NULL;
    struct ang_err *er = ang_log_member_join(m->log, &conf, &member);
    assert_null(er);
    return (member);
}

static struct ang_err *poll_until_assigned(struct ang_log_member *member, const struct seen *s) {
    struct ang_err *er = NULL;
    for (int64_t until = ang_now_ms() + 20000; s->mine < 4 && er == NULL && ang_now_ms() < until;)
        er = ang_log_member_poll(member, 100);
    return (er);
}

static void a_member_gets_partitions_and_proof(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct seen s = {0, 0};
    struct ang_log_member *member = join(&m, "g1", &s);
    struct ang_log_token *t = NULL;
    struct ang_err *er = ang_log_member_token(member, &t);
    assert_non_null(er); /* not before it has joined */
    assert_int_equal(er->cls, ANG_RETRY);
    ang_err_free(&er);
    er = poll_until_assigned(member, &s);
    assert_null(er);
    assert_int_equal(s.mine, 4);
    er = ang_log_member_token(member, &t);
    assert_null(er);
    assert_true(ang_log_token_generation(t) >= 0);
    ang_log_token_unref(t);
    ang_log_member_leave(member, false);
    assert_int_equal(s.mine, 0);
    assert_int_equal(s.lost, 0);
    mock_stop(&m);
}

static void trouble_with_the_coordinator_passes(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct seen s = {0, 0};
    mock_errors(&m, MOCK_JOIN_GROUP, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 1);
    mock_errors(&m, MOCK_JOIN_GROUP, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 1);
    struct ang_log_member *member = join(&m, "g2", &s);
    struct ang_err *er = poll_until_assigned(member, &s);
    assert_null(er);
    assert_int_equal(s.mine, 4);
    ang_log_member_leave(member, true);
    assert_int_equal(s.mine, 0);
    mock_stop(&m);
}

static void somebody_else_under_our_name_is_fatal(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct seen s = {0, 0};
    struct ang_log_member *member = join(&m, "g3", &s);
    struct ang_err *er = poll_until_assigned(member, &s);
    assert_null(er);
    mock_errors(&m, MOCK_HEARTBEAT, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, 1);
    for (int64_t until = ang_now_ms() + 20000; er == NULL && ang_now_ms() < until;)
        er = ang_log_member_poll(member, 100);
    assert_non_null(er);
    assert_int_equal(er->code, ANG_E_LOG_FENCED);
    assert_int_equal(er->cls, ANG_FATAL);
    assert_non_null(strstr(er->msg, "i-0"));
    ang_err_free(&er);
    struct ang_log_token *t = NULL;
    er = ang_log_member_token(member, &t);
    assert_non_null(er);
    ang_err_free(&er);
    ang_log_member_leave(member, false);
    assert_int_equal(s.mine, 0);
    assert_int_equal(s.lost, 1);
    mock_stop(&m);
}

static void no_rights_is_told(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct seen s = {0, 0};
    mock_errors(&m, MOCK_JOIN_GROUP, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, 5);
    struct ang_log_member *member = join(&m, "g4", &s);
    struct ang_err *er = poll_until_assigned(member, &s);
    assert_non_null(er);
    assert_int_equal(er->code, ANG_E_LOG_AUTH);
    assert_non_null(strstr(er->msg, "g4"));
    ang_err_free(&er);
    ang_log_member_leave(member, false);
    mock_stop(&m);
}

static void leaving_is_bounded_when_no_broker_answers(void **state) {
    struct mock m;
    mock_start(&m, NULL);
    struct seen s = {0, 0};
    struct ang_log_member *member = join(&m, "g5", &s);
    struct ang_err *er = poll_until_assigned(member, &s);
    assert_null(er);
    for (int32_t b = 1; b <= 3; b++)
        AZ(rd_kafka_mock_broker_set_down(m.cluster, b));
    int64_t start = ang_now_ms();
    ang_log_member_leave(member, false);
    assert_int_equal(s.mine, 0);
    assert_true(ang_now_ms() - start < 15000);
    mock_stop(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_gets_partitions_and_proof),
        cmocka_unit_test(trouble_with_the_coordinator_passes),
        cmocka_unit_test(somebody_else_under_our_name_is_fatal),
        cmocka_unit_test(no_rights_is_told),
        cmocka_unit_test(leaving_is_bounded_when_no_broker_answers),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
