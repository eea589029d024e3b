/* Reading: from where it was told, in order, nothing twice. */
#include "contract.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static void write_n(struct ct *c, const struct ang_topic *t, int32_t partition, int from, int to) {
    for (int i = from; i < to; i++) {
        char key[16], value[16];
        struct ang_out rec;

        snprintf(key, sizeof key, "k%d", i);
        snprintf(value, sizeof value, "%d", i);
        rec = ct_out(t, partition, key, value);
        ct_append(c, &rec);
    }
}

static void from_begin_from_an_offset_and_from_the_end(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct ang_log_reader *begin, *two, *at_end, *end;
    struct ang_rec *rec = NULL;
    size_t n = 1;

    write_n(c, t, 0, 0, 4);
    begin = ct_reader(c, t, 0, ANG_OFFSET_BEGIN);
    two = ct_reader(c, t, 0, 2);
    at_end = ct_reader(c, t, 0, 4);
    end = ct_reader(c, t, 0, ANG_OFFSET_END);
    /* A Kafka reader looks up where the end is when it gets to it, so let it get there. */
    ct_ok(ang_log_reader_poll(end, &rec, 1, 1500, &n));
    assert_int_equal(n, 0);
    write_n(c, t, 0, 4, 5);
    CT_EXPECT(begin, "0", "1", "2", "3", "4");
    CT_EXPECT(two, "2", "3", "4");
    CT_EXPECT(at_end, "4");
    CT_EXPECT(end, "4");
}

static void partitions_are_apart_and_each_in_order(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 3, false);
    struct ang_log_reader *r = ct_reader(c, NULL, 0, 0);
    int64_t next[3] = {0, 0, 0};
    struct ang_rec *recs[60];

    for (int32_t p = 0; p < 3; p++)
        write_n(c, t, p, 0, 20);
    for (int32_t p = 0; p < 3; p++)
        ct_ok(ang_log_reader_add(r, t, p, ANG_OFFSET_BEGIN));
    ct_read(r, recs, 60);
    for (size_t i = 0; i < 60; i++) {
        assert_in_range(recs[i]->partition, 0, 2);
        assert_int_equal(recs[i]->offset, next[recs[i]->partition]);
        next[recs[i]->partition]++;
    }
    ct_free(recs, 60);
}

static void a_removed_partition_is_silent_and_can_be_added_again(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 2, false);
    struct ang_log_reader *r = ct_reader(c, t, 0, ANG_OFFSET_BEGIN);

    ct_ok(ang_log_reader_add(r, t, 1, ANG_OFFSET_BEGIN));
    write_n(c, t, 0, 0, 3);
    CT_EXPECT(r, "0", "1", "2");
    write_n(c, t, 0, 3, 6); /* perhaps fetched already, but not handed out any more */
    ang_log_reader_remove(r, t, 0);
    ct_expect_nothing(c, r, t, 1);
    ct_ok(ang_log_reader_add(r, t, 0, 4));
    CT_EXPECT(r, "4", "5");
    ang_log_reader_remove(r, t, 1);
    ang_log_reader_remove(r, t, 1); /* not there: nothing happens */
    ct_expect_nothing(c, r, t, 0);
}

static void one_at_a_time_gives_all_once(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct ang_log_reader *r = ct_reader(c, t, 0, ANG_OFFSET_BEGIN);

    write_n(c, t, 0, 0, 100);
    for (int i = 0; i < 100; i++) {
        struct ang_rec *rec;

        ct_read(r, &rec, 1);
        assert_int_equal(rec->offset, i);
        ang_rec_free(&rec);
    }
    ct_expect_nothing(c, r, t, 0);
}

static void records_outlive_their_reader(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct ang_log_reader *r = ct_reader(c, t, 0, ANG_OFFSET_BEGIN);
    struct ang_rec *rec;

    write_n(c, t, 0, 7, 8);
    ct_read(r, &rec, 1);
    ang_log_reader_close(r);
    c->n_readers--;
    assert_true(ang_slice_is(rec->value, "7"));
    ang_rec_free(&rec);
}

static void a_small_memory_bound_still_reads_everything(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct ang_log_reader_conf conf = {.name = "small", .fetch_wait_ms = 10, .memory = 1000};
    struct ang_log_reader *r = NULL;
    char value[700];

    memset(value, 'v', sizeof value);
    for (int i = 0; i < 50; i++) {
        struct ang_out rec = ct_out(t, 0, "k", "");

        rec.value = ang_slice_of(value, sizeof value);
        ct_append(c, &rec);
    }
    ct_ok(ang_log_reader_open(c->log, &conf, &r));
    c->readers[c->n_readers++] = r;
    ct_ok(ang_log_reader_add(r, t, 0, ANG_OFFSET_BEGIN));
    for (int i = 0; i < 50; i++) {
        struct ang_rec *rec;

        ct_read(r, &rec, 1);
        assert_int_equal(rec->offset, i);
        ang_rec_free(&rec);
    }
}

static void count_wake(void *arg) {
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void wait_wake(atomic_int *wakes, int more_than) {
    int64_t until = ang_now_ms() + CT_WAIT_MS;

    while (atomic_load(wakes) <= more_than) {
        assert_true(ang_now_ms() < until);
        sched_yield();
    }
}

static void wake_comes_with_records(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 2, false);
    atomic_int wakes = 0;
    struct ang_log_reader_conf conf = {
        .name = "wake", .wake = count_wake, .arg = &wakes, .fetch_wait_ms = 10, .memory = 1 << 20};
    struct ang_log_reader *r = NULL;

    write_n(c, t, 0, 0, 1);
    ct_ok(ang_log_reader_open(c->log, &conf, &r));
    c->readers[c->n_readers++] = r;
    ct_ok(ang_log_reader_add(r, t, 0, ANG_OFFSET_BEGIN));
    wait_wake(&wakes, 0); /* for what was there before it was added */
    for (int i = 1; i < 20; i++) {
        struct ang_rec *recs[8];
        size_t n = 1;
        int before;

        do { /* wait for the record before, then drain, without ever blocking in poll */
            ct_ok(ang_log_reader_poll(r, recs, 8, 0, &n));
            for (size_t k = 0; k < n; k++)
                assert_int_equal(recs[k]->offset, i - 1);
            ct_free(recs, n);
        } while (n == 0);
        before = atomic_load(&wakes);
        write_n(c, t, 0, i, i + 1);
        wait_wake(&wakes, before);
    }
}

static void a_position_that_is_not_there_is_named(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct ang_log_reader *r;
    struct ang_rec *rec = NULL;
    struct ang_err *er = NULL;
    int64_t until = ang_now_ms() + CT_WAIT_MS;
    size_t n = 0;

    write_n(c, t, 0, 0, 3);
    r = ct_reader(c, t, 0, 1000);
    while (er == NULL) {
        er = ang_log_reader_poll(r, &rec, 1, 500, &n);
        assert_int_equal(n, 0);
        assert_true(ang_now_ms() < until);
    }
    assert_int_equal(er->code, ANG_E_LOG_POSITION);
    assert_non_null(strstr(er->msg, t->name));
    assert_non_null(strstr(er->msg, "1000"));
    ang_err_free(&er);
    /* the reader goes on with others */
    ang_log_reader_remove(r, t, 0);
    ct_ok(ang_log_reader_add(r, t, 0, 2));
    CT_EXPECT(r, "2");
}

static void the_end_is_known_to_a_reader(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 2, false);
    struct ang_log_reader *r = ct_reader(c, t, 1, ANG_OFFSET_BEGIN);

    write_n(c, t, 1, 0, 3);
    CT_EXPECT(r, "0", "1", "2");
    assert_int_equal(ang_log_reader_end(r, t, 1), 3);
    write_n(c, t, 1, 3, 5);
    CT_EXPECT(r, "3", "4");
    assert_int_equal(ang_log_reader_end(r, t, 1), 5);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ct_setup, ct_teardown)
int ct_reader_tests(void) {
    const struct CMUnitTest tests[] = {
        T(from_begin_from_an_offset_and_from_the_end),
        T(partitions_are_apart_and_each_in_order),
        T(a_removed_partition_is_silent_and_can_be_added_again),
        T(one_at_a_time_gives_all_once),
        T(records_outlive_their_reader),
        T(a_small_memory_bound_still_reads_everything),
        T(the_end_is_known_to_a_reader),
        T(wake_comes_with_records),
        T(a_position_that_is_not_there_is_named),
    };

    return (cmocka_run_group_tests_name("reader", tests, NULL, NULL));
}
