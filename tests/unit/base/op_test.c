#include "base/op.h"

#include <stdlib.h>

#include "base/clock.h"
#include "tests/unit/base/unit.h"

struct item {
    struct ang_op op;
    int from, number;
    int *log;
    size_t *n_log;
    struct ang_opq *close; /* closes this queue when it runs */
    int ran, shut_down;
};

static void item_run(struct ang_op *op, bool shutdown) {
    struct item *it = ANG_CONTAINER(op, struct item, op);

    it->ran++;
    it->shut_down += shutdown;
    if (it->log != NULL)
        it->log[(*it->n_log)++] = it->number;
    if (it->close != NULL)
        ang_opq_close(it->close);
}

static void item_init(struct item *it, int number, int *log, size_t *n_log) {
    *it = (struct item){.number = number, .log = log, .n_log = n_log};
    ang_op_init(&it->op, item_run);
}

static void count_wake(void *arg) {
    (*(int *)arg)++;
}

static void in_order_and_woken_once(void **state) {
    struct item items[5];
    struct ang_opq q;
    int log[6], wakes = 0;
    size_t n_log = 0;

    ang_opq_init(&q, count_wake, &wakes);
    assert_int_equal(ang_opq_run(&q), 0);
    for (int i = 0; i < 5; i++) {
        item_init(&items[i], i, log, &n_log);
        ang_opq_push(&q, &items[i].op);
    }
    assert_int_equal(wakes, 1);
    assert_int_equal(ang_opq_run(&q), 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(log[i], i);
        assert_int_equal(items[i].ran, 1);
        assert_int_equal(items[i].shut_down, 0);
    }
    ang_opq_push(&q, &items[0].op); /* an op may travel again */
    assert_int_equal(wakes, 2);
    ang_opq_fini(&q);
    assert_int_equal(items[0].shut_down, 1);
}

static void closed_queue_shuts_ops_down(void **state) {
    struct item items[4];
    struct ang_opq q;

    ang_opq_init(&q, NULL, NULL);
    for (int i = 0; i < 4; i++)
        item_init(&items[i], i, NULL, NULL);
    items[0].close = &q;
    ang_opq_push(&q, &items[0].op);
    ang_opq_push(&q, &items[1].op);
    ang_opq_push(&q, &items[2].op);
    assert_int_equal(ang_opq_run(&q), 3);
    assert_int_equal(items[0].shut_down, 0);
    assert_int_equal(items[1].shut_down, 1);
    assert_int_equal(items[2].shut_down, 1);
    ang_opq_push(&q, &items[3].op);
    assert_int_equal(items[3].ran, 1);
    assert_int_equal(items[3].shut_down, 1);
    assert_false(ang_opq_wait(&q, ANG_NEVER)); /* nothing can come any more */
    ang_opq_fini(&q);
}

/* ---- threads ---- */

#define PUSHERS 4
#define EACH    5000

struct pusher {
    struct ang_opq *q;
    struct item *items;
};

static void *push_all(void *arg) {
    struct pusher *p = arg;

    for (int i = 0; i < EACH; i++)
        ang_opq_push(p->q, &p->items[i].op);
    return (NULL);
}

static int next_of[PUSHERS];
static int total; /* owner's thread */

static void ordered_run(struct ang_op *op, bool shutdown) {
    struct item *it = ANG_CONTAINER(op, struct item, op);

    assert_false(shutdown);
    assert_int_equal(it->number, next_of[it->from]++); /* one pusher's ops stay in order */
    total++;
}

static void many_threads_push(void **state) {
    struct pusher p[PUSHERS];
    pthread_t t[PUSHERS];
    struct ang_opq q;

    ang_opq_init(&q, NULL, NULL);
    for (int i = 0; i < PUSHERS; i++) {
        p[i] = (struct pusher){&q, calloc(EACH, sizeof(struct item))};
        for (int k = 0; k < EACH; k++) {
            p[i].items[k].from = i;
            p[i].items[k].number = k;
            ang_op_init(&p[i].items[k].op, ordered_run);
        }
        ANG_PT(pthread_create(&t[i], NULL, push_all, &p[i]));
    }
    while (total < PUSHERS * EACH) {
        assert_true(ang_opq_wait(&q, ang_now_ms() + 60000));
        ang_opq_run(&q);
    }
    for (int i = 0; i < PUSHERS; i++) {
        ANG_PT(pthread_join(t[i], NULL));
        free(p[i].items);
    }
    ang_opq_fini(&q);
}

static atomic_int ends;

static void end_run(struct ang_op *op, bool shutdown) {
    atomic_fetch_add(&ends, 1);
}

/* Each op ends exactly once, whichever side of the close its push falls on. */
static void close_while_threads_push(void **state) {
    struct pusher p[PUSHERS];
    pthread_t t[PUSHERS];
    struct ang_opq q;

    ang_opq_init(&q, NULL, NULL);
    for (int i = 0; i < PUSHERS; i++) {
        p[i] = (struct pusher){&q, calloc(EACH, sizeof(struct item))};
        for (int k = 0; k < EACH; k++)
            ang_op_init(&p[i].items[k].op, end_run);
        ANG_PT(pthread_create(&t[i], NULL, push_all, &p[i]));
    }
    assert_true(ang_opq_wait(&q, ang_now_ms() + 60000));
    ang_opq_run(&q);
    ang_opq_close(&q);
    for (int i = 0; i < PUSHERS; i++) {
        ANG_PT(pthread_join(t[i], NULL));
        free(p[i].items);
    }
    assert_int_equal(atomic_load(&ends), PUSHERS * EACH);
    ang_opq_fini(&q);
}

static void wait_ends_in_time(void **state) {
    struct ang_opq q;
    int64_t start = ang_now_ms();

    ang_opq_init(&q, NULL, NULL);
    assert_false(ang_opq_wait(&q, start + 30));
    assert_true(ang_now_ms() >= start + 30);
    assert_false(ang_opq_wait(&q, start - 1000)); /* past: does not wait */
    ang_opq_fini(&q);
}

static void *wake_it(void *arg) {
    ang_opq_wake(arg);
    return (NULL);
}

/* A wake that comes before the wait counts, once; it queues nothing. */
static void a_wake_ends_a_wait(void **state) {
    struct ang_opq q;
    pthread_t t;
    int wakes = 0;

    ang_opq_init(&q, count_wake, &wakes);
    ang_opq_wake(&q);
    assert_int_equal(wakes, 1);
    assert_false(ang_opq_wait(&q, ang_now_ms() + 60000));
    assert_false(ang_opq_wait(&q, ang_now_ms() + 10));
    ANG_PT(pthread_create(&t, NULL, wake_it, &q));
    assert_false(ang_opq_wait(&q, ANG_NEVER));
    ANG_PT(pthread_join(t, NULL));
    assert_int_equal(ang_opq_run(&q), 0);
    ang_opq_fini(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_and_woken_once), cmocka_unit_test(closed_queue_shuts_ops_down),
        cmocka_unit_test(many_threads_push),       cmocka_unit_test(close_while_threads_push),
        cmocka_unit_test(wait_ends_in_time),       cmocka_unit_test(a_wake_ends_a_wait),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
