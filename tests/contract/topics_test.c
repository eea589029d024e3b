/* Topics: created, found again, and not accepted when they differ. */
#include "contract.h"

static void created_once_and_found_again(void **state) {
    struct ct *c = *state;
    struct ang_topic_spec specs[] = {ct_spec(c, "a", 3, false), ct_spec(c, "b", 1, true)};
    const struct ang_topic *a = ang_log_topic(c->log, specs[0].name);

    assert_int_equal(a->partitions, 0);
    ct_ok(ang_log_ensure_topics(c->log, specs, 2, true, CT_WAIT_MS));
    assert_int_equal(a->partitions, 3);
    assert_false(a->compact);
    assert_int_equal(a->max_message, CT_BIG);
    assert_true(ang_log_topic(c->log, specs[1].name)->compact);
    ct_ok(ang_log_ensure_topics(c->log, specs, 2, true, CT_WAIT_MS));
    ct_ok(ang_log_ensure_topics(c->log, specs, 2, false, CT_WAIT_MS));
    assert_ptr_equal(a, ang_log_topic(c->log, specs[0].name));
    assert_ptr_not_equal(a, ang_log_topic(c->log, specs[1].name));
}

static void missing_is_an_error_unless_created(void **state) {
    struct ct *c = *state;
    struct ang_topic_spec spec = ct_spec(c, "missing", 1, false);

    ct_fails(ang_log_ensure_topics(c->log, &spec, 1, false, CT_WAIT_MS), LOG_TOPIC);
    assert_int_equal(ang_log_topic(c->log, spec.name)->partitions, 0);
}

static void a_topic_that_differs_is_refused(void **state) {
    struct ct *c = *state;
    static const struct {
        const char *what;
        int32_t partitions;
        bool compact, create;
    } rows[] = {
        {"fewer partitions", 1, false, true},
        {"more partitions", 3, false, true},
        {"more partitions, only checked", 3, false, false},
        {"another policy", 2, true, true},
    };

    ct_topic(c, "t", 2, false);
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_topic_spec spec = ct_spec(c, "t", rows[i].partitions, rows[i].compact);
        struct ang_err *er = ang_log_ensure_topics(c->log, &spec, 1, rows[i].create, CT_WAIT_MS);

        if (er == NULL || er->code != ANG_E_LOG_TOPIC || strstr(er->msg, spec.name) == NULL)
            fail_msg("%s: got %s", rows[i].what, er == NULL ? "success" : er->msg);
        ang_err_free(&er);
    }
    /* and nothing was changed */
    ct_topic(c, "t", 2, false);
}

static void each_partition_can_be_written(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 3, true);
    const int64_t until = ang_now_ms() + CT_WAIT_MS;
    struct ang_writable w[3];
    int32_t bad;

    do { /* a leader that is asked while the machine is busy may answer too late */
        for (int32_t p = 0; p < 3; p++)
            w[p] = (struct ang_writable){t, p, "unset"};
        ct_ok(ang_log_writable(c->log, w, 3, CT_WAIT_MS));
        for (bad = 0; bad < 3 && w[bad].why == NULL; bad++)
            ;
    } while (bad < 3 && ang_now_ms() < until);
    if (bad < 3)
        fail_msg("partition %d: %s", (int)bad, w[bad].why);
    assert_int_equal(t->min_insync, c->kafka ? 1 : 0);
}

static void identity_is_there_and_stays(void **state) {
    struct ct *c = *state;
    const char *id = NULL, *again = NULL;
    char first[128];

    ct_ok(ang_log_identity(c->log, CT_WAIT_MS, &id));
    assert_true(strlen(id) > 8 && strlen(id) < sizeof first);
    memcpy(first, id, strlen(id) + 1);
    ct_reopen(c);
    ct_ok(ang_log_identity(c->log, CT_WAIT_MS, &again));
    assert_string_equal(first, again);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ct_setup, ct_teardown)
int ct_topics_tests(void) {
    const struct CMUnitTest tests[] = {
        T(created_once_and_found_again),
        T(missing_is_an_error_unless_created),
        T(a_topic_that_differs_is_refused),
        T(each_partition_can_be_written),
        T(identity_is_there_and_stays),
    };

    return (cmocka_run_group_tests_name("topics", tests, NULL, NULL));
}
