/* Whom the tail waits for, and how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "gateway/pace.h"

#define MUCH (ANG_PACE_HIGH + 1)

static void who_takes_is_awaited(void **state) {
    struct ang_pace p;
    struct ang_paced a = {0}, b = {0};

    (void)state;
    ang_pace_init(&p);
    assert_false(ang_pace_sent(&p, &a, ANG_PACE_HIGH, 1000));
    assert_false(ang_pace_waits(&p));
    assert_true(ang_pace_sent(&p, &a, MUCH, 1000));
    assert_true(ang_pace_sent(&p, &b, MUCH, 1010));
    assert_false(ang_pace_sent(&p, &b, 2 * MUCH, 1010)); /* once */
    assert_int_equal(ang_pace_until(&p), 1000 + ANG_PACE_PATIENCE);
    ang_pace_drained(&p, &b, 1020);
    ang_pace_drained(&p, &b, 1020);
    assert_true(ang_pace_waits(&p));
    ang_pace_run(&p, 1100);
    assert_true(ang_pace_waits(&p));
    ang_pace_drained(&p, &a, 1100);
    assert_false(ang_pace_waits(&p));
    assert_int_equal(p.spent_ms, 100);
    ang_pace_run(&p, 1000000);
    assert_true(ang_pace_sent(&p, &a, MUCH, 1200)); /* again */
    assert_true(ang_pace_waits(&p));
}

static void who_takes_nothing_is_not_awaited_twice(void **state) {
    struct ang_pace p;
    struct ang_paced slow = {0}, fast = {0};

    (void)state;
    ang_pace_init(&p);
    assert_true(ang_pace_sent(&p, &slow, MUCH, 0));
    ang_pace_run(&p, ANG_PACE_PATIENCE - 1);
    assert_true(ang_pace_waits(&p));
    ang_pace_run(&p, ANG_PACE_PATIENCE);
    assert_false(ang_pace_waits(&p));
    ang_pace_at_end(&p);
    assert_false(ang_pace_sent(&p, &slow, 3 * MUCH, 600)); /* not before he has taken it */
    assert_false(ang_pace_waits(&p));
    assert_true(ang_pace_sent(&p, &fast, MUCH, 700));
    ang_pace_drained(&p, &slow, 710);
    assert_true(ang_pace_waits(&p)); /* for the other one */
    ang_pace_drained(&p, &fast, 720);
    assert_true(ang_pace_sent(&p, &slow, MUCH, 800));
    assert_true(ang_pace_waits(&p));
}

/* Callers who take just fast enough to be awaited each time do not hold up the others for ever. */
static void there_is_an_end_to_waiting(void **state) {
    struct ang_pace p;
    struct ang_paced a = {0};
    int64_t now = 0, waited = 0;

    (void)state;
    ang_pace_init(&p);
    while (ang_pace_sent(&p, &a, MUCH, now) && ang_pace_waits(&p)) {
        const int64_t began = now;

        now += ANG_PACE_PATIENCE * 9 / 10;
        if (now < ang_pace_until(&p)) {
            ang_pace_drained(&p, &a, now);
        } else {
            now = ang_pace_until(&p);
            ang_pace_run(&p, now);
            ang_pace_drained(&p, &a, now);
        }
        waited += now - began;
    }
    assert_int_equal(waited, ANG_PACE_ENOUGH);
    assert_int_equal(a.state, ANG_PACE_LATE);
    ang_pace_drained(&p, &a, now);
    ang_pace_at_end(&p);
    assert_true(ang_pace_sent(&p, &a, MUCH, now));
    assert_true(ang_pace_waits(&p));
}

static void who_goes_is_not_awaited(void **state) {
    struct ang_pace p;
    struct ang_paced a = {0}, b = {0};

    (void)state;
    ang_pace_init(&p);
    assert_true(ang_pace_sent(&p, &a, MUCH, 0));
    assert_true(ang_pace_sent(&p, &b, MUCH, 0));
    ang_pace_drained(&p, &a, 1);
    ang_pace_drained(&p, &b, 1);
    assert_false(ang_pace_waits(&p));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_takes_is_awaited),
        cmocka_unit_test(who_takes_nothing_is_not_awaited_twice),
        cmocka_unit_test(there_is_an_end_to_waiting),
        cmocka_unit_test(who_goes_is_not_awaited),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
