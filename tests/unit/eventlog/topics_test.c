/* The table of topics and what every implementation leaves to eventlog.c. */
#include "base/base.h"
#include "eventlog/log_priv.h"
/* cmocka needs the three before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>

static const struct ang_log_ops no_ops;

static void handles_are_equal_exactly_when_names_are(void **state) {
    static const char *const names[] = {"m", "a", "z", "b", "y", "a.b", "a", "m", "", "zz"};
    struct ang_log log;
    ang_log_init(&log, &no_ops);
    const struct ang_topic *seen[ANG_COUNT(names)];
    for (size_t i = 0; i < ANG_COUNT(names); i++)
        seen[i] = ang_log_topic(&log, names[i]);
    for (size_t i = 0; i < ANG_COUNT(names); i++) {
        assert_string_equal(seen[i]->name, names[i]);
        assert_int_equal(seen[i]->partitions, 0);
        for (size_t j = 0; j < ANG_COUNT(names); j++)
            assert_int_equal(seen[i] == seen[j], strcmp(names[i], names[j]) == 0);
    }
    assert_int_equal(log.n_topics, 8);
    ang_log_fini(&log);
}

static void a_handle_stays_where_it_is(void **state) {
    struct ang_log log;
    ang_log_init(&log, &no_ops);
    const struct ang_topic *first = ang_log_topic(&log, "t500");
    for (int i = 0; i < 1000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "t%d", i);
        (void)ang_log_topic(&log, name);
    }
    assert_ptr_equal(ang_log_topic(&log, "t500"), first);
    ang_log_fini(&log);
}

static void the_last_header_of_a_name_counts(void **state) {
    const struct ang_hdr hdrs[] = {{"a", ang_slice_of("1", 1)},
                                   {"b", ang_slice_of("2", 1)},
                                   {"a", ang_slice_of("3", 1)},
                                   {"empty", ANG_SLICE_NONE}};
    struct ang_rec rec = {.magic = ANG_REC_MAGIC, .n_hdrs = ANG_COUNT(hdrs), .hdrs = hdrs};
    struct ang_slice v;
    assert_true(ang_rec_hdr(&rec, "a", &v));
    assert_true(ang_slice_is(v, "3"));
    assert_true(ang_rec_hdr(&rec, "b", &v));
    assert_true(ang_slice_is(v, "2"));
    assert_true(ang_rec_hdr(&rec, "empty", &v));
    assert_int_equal(v.n, 0);
    v = ang_slice_str("untouched");
    assert_false(ang_rec_hdr(&rec, "c", &v));
    assert_true(ang_slice_is(v, "untouched"));
}

static int freed;

static void count_free(struct ang_log_token *t) {
    freed++;
}

static void a_token_lives_as_long_as_its_references(void **state) {
    const struct ang_log_ops ops = {.token_free = count_free};
    struct ang_log_token t = {.magic = ANG_LOG_TOKEN_MAGIC, .ops = &ops, .refs = 1, .generation = 5};
    freed = 0;
    assert_ptr_equal(ang_log_token_ref(&t), &t);
    ang_log_token_unref(&t);
    assert_int_equal(freed, 0);
    assert_int_equal(ang_log_token_generation(&t), 5);
    ang_log_token_unref(&t);
    assert_int_equal(freed, 1);
    ang_log_token_unref(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handles_are_equal_exactly_when_names_are),
        cmocka_unit_test(a_handle_stays_where_it_is),
        cmocka_unit_test(the_last_header_of_a_name_counts),
        cmocka_unit_test(a_token_lives_as_long_as_its_references),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
