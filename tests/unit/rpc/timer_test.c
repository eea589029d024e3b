/* The heap against a plain list. */
#include "rpc/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"

#define N 200

static struct ang_timer timers[N];
static int64_t fired[10 * N];
static size_t n_fired;
static struct ang_timers ts;

static void note(struct ang_timer *t) {
    fired[n_fired++] = t->at_ms;
}

static void again(struct ang_timer *t) {
    n_fired++;
    ang_timers_set(&ts, t, 0);
}

static int setup(void **state) {
    n_fired = 0;
    for (size_t i = 0; i < N; i++)
        ang_timer_init(&timers[i], note);
    return (0);
}

static int teardown(void **state) {
    ang_timers_fini(&ts);
    return (0);
}

static void fires_in_order_whatever_was_moved_or_cancelled(void **state) {
    unsigned seed = 12345;
    for (int step = 0; step < 20000; step++) {
        struct ang_timer *t = &timers[rand_r(&seed) % N];
        if (rand_r(&seed) % 3 == 0)
            ang_timers_cancel(&ts, t);
        else
            ang_timers_set(&ts, t, rand_r(&seed) % 1000);
        uint32_t set = 0;
        int64_t first = ANG_NEVER;
        for (size_t i = 0; i < N; i++)
            if (timers[i].slot != 0) {
                set++;
                first = timers[i].at_ms < first ? timers[i].at_ms : first;
                assert_ptr_equal(ts.heap[timers[i].slot - 1], &timers[i]);
            }
        assert_int_equal(ts.n, set);
        assert_int_equal(ang_timers_next(&ts), first);
    }
    uint32_t set = ts.n, late = 0;
    for (size_t i = 0; i < N; i++)
        late += timers[i].slot != 0 && timers[i].at_ms > 500;
    ang_timers_run(&ts, 500);
    assert_int_equal(ts.n, late);
    ang_timers_run(&ts, 1000);
    assert_int_equal(n_fired, set);
    for (size_t i = 1; i < n_fired; i++)
        assert_true(fired[i - 1] <= fired[i]);
    assert_int_equal(ang_timers_next(&ts), ANG_NEVER);
}

static void one_that_sets_itself_runs_once_a_turn(void **state) {
    ang_timer_init(&timers[0], again);
    ang_timers_set(&ts, &timers[0], 0);
    ang_timers_run(&ts, 10);
    assert_int_equal(n_fired, 1);
    ang_timers_run(&ts, 10);
    assert_int_equal(n_fired, 2);
}

static void cancel_other(struct ang_timer *t) {
    n_fired++;
    ang_timers_cancel(&ts, &timers[1]);
}

static void a_timer_may_cancel_another_that_is_due(void **state) {
    ang_timer_init(&timers[0], cancel_other);
    ang_timers_set(&ts, &timers[0], 1);
    ang_timers_set(&ts, &timers[1], 2);
    ang_timers_run(&ts, 10);
    assert_int_equal(n_fired, 1);
    ang_timers_cancel(&ts, &timers[1]); /* not set: nothing */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fires_in_order_whatever_was_moved_or_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_sets_itself_runs_once_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_may_cancel_another_that_is_due, setup, teardown),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
