#include "rpc/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "base/base.h"

#define THREADS 4
#define EACH    20000

static struct ang_loop *l;
static atomic_int turns;

static void turn(void *arg) {
    atomic_fetch_add((atomic_int *)arg, 1);
}

static int setup(void **state) {
    turns = 0;
    l = ang_loop_new("test", turn, &turns);
    ang_loop_start(l);
    return (0);
}

static int teardown(void **state) {
    ang_loop_stop(l);
    return (0);
}

struct numbered {
    struct ang_op op;
    int from, nr;
};
static int last_nr[THREADS]; /* loop */
static bool order_ok;
static atomic_int n_run, n_shut;

static void numbered_run(struct ang_op *op, bool shutdown) {
    struct numbered *nu = ANG_CONTAINER(op, struct numbered, op);
    if (shutdown) {
        n_shut++;
    } else {
        order_ok = order_ok && ang_loop_here(l) && last_nr[nu->from] + 1 == nu->nr;
        last_nr[nu->from] = nu->nr;
        n_run++;
    }
    free(nu);
}

static void post(int from, int nr) {
    struct numbered *nu = ANG_NEW(struct numbered);
    nu->from = from;
    nu->nr = nr;
    ang_op_init(&nu->op, numbered_run);
    ang_loop_post(l, &nu->op);
}

static void *poster(void *arg) {
    int from = *(const int *)arg;
    for (int i = 1; i <= EACH; i++)
        post(from, i);
    return (NULL);
}

static void nothing(void *arg) {
}

static void ops_of_a_thread_run_in_order(void **state) {
    pthread_t t[THREADS];
    int from[THREADS];
    order_ok = true;
    n_run = n_shut = 0;
    for (int i = 0; i < THREADS; i++) {
        last_nr[i] = 0;
        from[i] = i;
        ANG_PT(pthread_create(&t[i], NULL, poster, &from[i]));
    }
    for (int i = 0; i < THREADS; i++)
        ANG_PT(pthread_join(t[i], NULL));
    ang_loop_call(l, nothing, NULL); /* behind them all */
    assert_int_equal(n_run, THREADS * EACH);
    assert_true(order_ok);
}

static void ops_posted_from_the_loop_run_without_another_wake(void *arg) {
    post(0, 1);
    post(0, 2);
}

static void ops_from_the_loop(void **state) {
    order_ok = true;
    n_run = last_nr[0] = 0;
    ang_loop_call(l, ops_posted_from_the_loop_run_without_another_wake, NULL);
    ang_loop_call(l, nothing, NULL);
    ang_loop_call(l, nothing, NULL);
    assert_int_equal(n_run, 2);
    assert_true(order_ok);
}

static void add_one(void *arg) {
    ++*(int *)arg; /* no lock: only the loop touches it, callers wait */
}

static void *caller(void *arg) {
    for (int i = 0; i < 2000; i++)
        ang_loop_call(l, add_one, arg);
    return (NULL);
}

static void call_waits_for_the_loop(void **state) {
    pthread_t t[THREADS];
    int sum = 0;
    for (int i = 0; i < THREADS; i++)
        ANG_PT(pthread_create(&t[i], NULL, caller, &sum));
    for (int i = 0; i < THREADS; i++)
        ANG_PT(pthread_join(t[i], NULL));
    assert_int_equal(sum, THREADS * 2000);
    assert_false(ang_loop_here(l));
}

/* Ping-pong by wake only: a lost wake-up hangs the test. */
static atomic_int ping, pong;
static void answer_ping(void *arg) {
    pong = atomic_load(&ping);
}
static void no_wake_is_lost(void **state) {
    struct ang_loop *w = ang_loop_new("wake", answer_ping, NULL);
    ang_loop_start(w);
    for (int i = 1; i <= 20000; i++) {
        ping = i;
        ang_loop_wake(w);
        int64_t limit = ang_now_ms() + 30000;
        while (pong != i)
            assert_true(ang_now_ms() < limit);
    }
    ang_loop_stop(w);
}

static void wakes_before_a_turn_count_once(void *arg) {
    for (int i = 0; i < 1000; i++)
        ang_loop_wake(l);
}
static void wake_is_cheap_when_pending(void **state) {
    ang_loop_call(l, nothing, NULL);
    int before = turns;
    ang_loop_call(l, wakes_before_a_turn_count_once, NULL);
    ang_loop_call(l, nothing, NULL);
    assert_in_range(turns - before, 1, 8);
}

/* ---- timers ---- */

static struct ang_timer t1, t2, t3;
static int64_t due;
static atomic_int order[3], n_order;
static atomic_int early;
static void fire(struct ang_timer *t) {
    if (ang_now_ms() < t->at_ms)
        early = 1;
    order[n_order++] = t == &t1 ? 1 : t == &t2 ? 2 : 3;
}
static void set_timers(void *arg) {
    due = ang_now_ms();
    ang_timer_init(&t1, fire);
    ang_timer_init(&t2, fire);
    ang_timer_init(&t3, fire);
    ang_timer_set(l, &t1, due + 40);
    ang_timer_set(l, &t2, due + 20);
    ang_timer_set(l, &t3, due + 10);
    ang_timer_set(l, &t3, due + 60); /* moved */
}
static void cancel_timers(void *arg) {
    ang_timer_cancel(l, &t1);
    ang_timer_cancel(l, &t2);
    ang_timer_cancel(l, &t3);
    ang_timer_cancel(l, &t3);
}
static void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}
static void timers_fire_in_order_and_never_early(void **state) {
    n_order = early = 0;
    ang_loop_call(l, set_timers, NULL);
    for (int64_t limit = ang_now_ms() + 30000; n_order < 3 && ang_now_ms() < limit;)
        pause_ms(1);
    assert_int_equal(n_order, 3);
    assert_int_equal(order[0], 2);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 3);
    assert_int_equal(early, 0);
}
static void cancelled_timers_do_not_fire(void **state) {
    n_order = 0;
    ang_loop_call(l, set_timers, NULL);
    ang_loop_call(l, cancel_timers, NULL);
    pause_ms(100);
    assert_true(n_order == 0 || ang_now_ms() > due + 1000 /* a stalled machine */);
}

/* ---- the end ---- */

static void a_loop_that_never_ran_shuts_its_ops_down(void **state) {
    struct ang_loop *saved = l;
    l = ang_loop_new("idle", NULL, NULL);
    n_run = n_shut = 0;
    post(0, 1);
    post(0, 2);
    ang_loop_stop(l);
    l = saved;
    assert_int_equal(n_run, 0);
    assert_int_equal(n_shut, 2);
    ang_loop_stop(NULL);
}

static void an_idle_loop_sleeps(void **state) {
    struct rusage a, b;
    ang_loop_call(l, nothing, NULL);
    int before = turns;
    getrusage(RUSAGE_SELF, &a);
    pause_ms(1000);
    getrusage(RUSAGE_SELF, &b);
    assert_in_range(turns - before, 0, 1);
    assert_in_range(b.ru_nvcsw - a.ru_nvcsw, 0,
                    25); /* other threads included; a sanitizer has one that wakes up 10 times */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ops_of_a_thread_run_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(ops_from_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(call_waits_for_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(no_wake_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(wake_is_cheap_when_pending, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_fire_in_order_and_never_early, setup, teardown),
        cmocka_unit_test_setup_teardown(cancelled_timers_do_not_fire, setup, teardown),
        cmocka_unit_test_setup_teardown(a_loop_that_never_ran_shuts_its_ops_down, setup, teardown),
        cmocka_unit_test_setup_teardown(an_idle_loop_sleeps, setup, teardown),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
