/* Unary calls. */
#include "kit.h"

#include <pthread.h>

#define MAX 100000

static struct kit k;

static void echo(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_reply(rpc, &request, 1);
}

static void echo_meta(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_slice v = ang_slice_str("none"), parts[3], got;
    parts[0] = ang_rpc_meta(rpc, "x-text", &got) ? got : v;
    parts[1] = ang_slice_str("|");
    parts[2] = ang_rpc_meta(rpc, "x-bytes-bin", &got) ? got : v;
    ang_rpc_reply(rpc, parts, 3);
}

/* The code is the first byte, the rest goes to message and trailers. */
static void fail_as_told(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_status *st = ang_status_new(request.p[0], "%.*s", (int)request.n - 1, (const char *)request.p + 1);
    ang_status_add(st, "grpc-status-details-bin", ang_slice_of("\0\1\2\xff", 4));
    ang_status_add(st, "note", ang_slice_str("text"));
    ang_rpc_fail(rpc, &st);
    assert_null(st);
}

static void *reply_thread(void *arg) {
    struct ang_rpc *rpc = arg;
    struct ang_slice parts[2] = {ang_slice_str("from a thread: "), ang_rpc_request(rpc)};
    ang_rpc_reply(rpc, parts, 2);
    return (NULL);
}
static void by_thread(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    pthread_t t;
    ANG_PT(pthread_create(&t, NULL, reply_thread, rpc));
    ANG_PT(pthread_detach(t));
}

static void big_trailer(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    uint64_t n;
    AN(ang_slice_to_u64(request, &n));
    uint8_t *p = ang_calloc(1, n);
    struct ang_status *st = ang_status_new(ANG_ABORTED, "m");
    ang_status_add(st, "big-bin", ang_slice_of(p, n));
    ang_status_add(st, "small", ang_slice_str("x"));
    free(p);
    ang_rpc_fail(rpc, &st);
}

static void give_size(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    uint64_t n;
    AN(ang_slice_to_u64(request, &n));
    uint8_t *p = ang_calloc(1, n == 0 ? 1 : n);
    ang_rpc_reply(rpc, &(struct ang_slice){p, n}, 1);
    free(p);
}

static void deadline(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    char text[32];
    int64_t at = ang_rpc_deadline(rpc);
    assert_string_equal(ang_rpc_path(rpc), "/t.S/Deadline");
    snprintf(text, sizeof(text), "%lld", at == ANG_NEVER ? -1LL : (long long)(at - ang_now_ms()));
    struct ang_slice s = ang_slice_str(text);
    ang_rpc_reply(rpc, &s, 1);
}

/* ---- calls that are held until the test says so ---- */

static _Atomic(struct ang_rpc *) held;
static atomic_int n_cancelled, on_loop, let_go;

static void hold_cancelled(struct ang_rpc *rpc, void *user) {
    struct kit *kit = user;
    on_loop = ang_loop_here(kit->sl);
    assert_ptr_equal(ang_rpc_user(rpc), user);
    n_cancelled++;
}
static void release(void) {
    struct ang_rpc *rpc = atomic_exchange(&held, NULL);
    if (rpc == NULL)
        return;
    struct ang_status *st = ang_status_new(ANG_ABORTED, "released");
    ang_rpc_fail(rpc, &st);
}
static void hold_quietly(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    held = rpc;
    if (let_go) /* came too late for the test */
        release();
}
static void hold(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_set_user(rpc, arg, hold_cancelled);
    hold_quietly(arg, rpc, request);
}

static const struct ang_rpc_method methods[] = {
    {"/t.S/Echo", ANG_RPC_UNARY, echo},
    {"/t.S/Meta", ANG_RPC_UNARY, echo_meta},
    {"/t.S/Fail", ANG_RPC_UNARY, fail_as_told},
    {"/t.S/Thread", ANG_RPC_UNARY, by_thread},
    {"/t.S/BigTrailer", ANG_RPC_UNARY, big_trailer},
    {"/t.S/Size", ANG_RPC_UNARY, give_size},
    {"/t.S/Deadline", ANG_RPC_UNARY, deadline},
    {"/t.S/Hold", ANG_RPC_UNARY, hold},
    {"/t.S/HoldQuietly", ANG_RPC_UNARY, hold_quietly},
};

static int setup(void **state) {
    held = NULL;
    n_cancelled = on_loop = let_go = 0;
    kit_open(&k, "127.0.0.1:0", MAX, methods, ANG_COUNT(methods));
    return (0);
}
static int teardown(void **state) {
    let_go = 1;
    release();
    kit_close(&k);
    return (0);
}

static void sizes_up_to_the_limit(void **state) {
    static const struct {
        size_t n;
        bool ok;
        const char *has;
    } rows[] = {
        {0, true, NULL},
        {1, true, NULL},
        {23, true, NULL},
        {24, true, NULL},
        {9000, true, NULL},
        {MAX - 1, true, NULL},
        {MAX, true, NULL},
        {MAX + 1, false, "the request has 100001 bytes, the limit is 100000"},
        {MAX + 65536, false, "165536 bytes, the limit is 100000"},
        {MAX + 65537, false, "larger than max"},
        {3000000, false, "larger than max"},
        {5, true, NULL},
    };
    uint8_t *p = ang_malloc(3000000);
    for (size_t i = 0; i < 3000000; i++)
        p[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct answer *a = kit_call("/t.S/Echo", ang_slice_of(p, rows[i].n));
        kit_run(&k, a);
        kit_expect(a, rows[i].ok ? ANG_OK : ANG_RESOURCE_EXHAUSTED, rows[i].has);
        assert_int_equal(a->response.n, rows[i].ok ? rows[i].n : 0);
        assert_true(!rows[i].ok || ang_slice_eq(ang_buf_slice(&a->response), a->part));
        kit_free(&a);
    }
    free(p);
}

static void parts_are_joined(void **state) {
    struct ang_slice parts[] = {ang_slice_str("a"), ANG_SLICE_NONE, ang_slice_str("bc")};
    struct answer *a = kit_call("/t.S/Echo", ANG_SLICE_NONE);
    a->req.parts = parts;
    a->req.n_parts = 3;
    kit_run(&k, a);
    assert_true(ang_slice_is(ang_buf_slice(&a->response), "abc"));
    kit_free(&a);
}

static void large_answers_arrive(void **state) {
    struct answer *a = kit_call("/t.S/Size", ang_slice_str("20000000"));
    kit_run(&k, a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(a->response.n, 20000000);
    kit_free(&a);
}

static void metadata(void **state) {
    static const struct {
        struct ang_meta meta[3];
        size_t n, n_want;
        const char *want;
    } rows[] = {
        {{{0}}, 0, 9, "none|none"},
        {{{"x-text", {(const uint8_t *)"t", 1}}}, 1, 6, "t|none"},
        {{{"x-bytes-bin", {(const uint8_t *)"\0\xff\n", 3}},
          {"x-text", {(const uint8_t *)"first", 5}},
          {"x-text", {(const uint8_t *)"second", 6}}},
         3,
         9,
         "first|\0\xff\n"},
        {{{"x-text", {(const uint8_t *)"a\nb", 3}}, {"X Y", {(const uint8_t *)"1", 1}}},
         2,
         9,
         "none|none"}, /* not allowed: left out */
    };
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct answer *a = kit_call("/t.S/Meta", ANG_SLICE_NONE);
        a->req.meta = rows[i].meta;
        a->req.n_meta = rows[i].n;
        kit_run(&k, a);
        kit_expect(a, ANG_OK, NULL);
        if (!ang_slice_eq(ang_buf_slice(&a->response), ang_slice_of(rows[i].want, rows[i].n_want)))
            fail_msg("row %zu: %.*s", i, (int)a->response.n, (const char *)a->response.p);
        kit_free(&a);
    }
}

static void statuses_and_trailers(void **state) {
    for (uint8_t code = 1; code <= 16; code++) {
        char request[64];
        snprintf(request, sizeof(request), "%cnot this: ж 100%%\n", code);
        struct answer *a = kit_call("/t.S/Fail", ang_slice_str(request));
        kit_run(&k, a);
        kit_expect(a, code, NULL);
        assert_string_equal(a->st->msg, request + 1);
        assert_int_equal(a->response.n, 0);
        assert_int_equal(a->st->n_trailers, 2);
        assert_true(ang_slice_eq(kit_trailer(a, "grpc-status-details-bin")->value, ang_slice_of("\0\1\2\xff", 4)));
        assert_true(ang_slice_is(kit_trailer(a, "note")->value, "text"));
        kit_free(&a);
    }
}

static void messages_are_cut(void **state) {
    char *request = ang_malloc(3001);
    request[0] = ANG_ABORTED;
    for (size_t i = 0; i < 1000; i++)
        memcpy(request + 1 + 3 * i, "語", 3);
    struct answer *a = kit_call("/t.S/Fail", ang_slice_of(request, 3001));
    kit_run(&k, a);
    kit_expect(a, ANG_ABORTED, NULL);
    assert_int_equal(strlen(a->st->msg), 1023);
    assert_memory_equal(a->st->msg, request + 1, 1023);
    kit_free(&a);
    free(request);
}

static void large_trailers_are_left_out(void **state) {
    static const struct {
        const char *n;
        bool fits;
    } rows[] = {{"2900", true}, {"3100", false}, {"100000", false}};
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct answer *a = kit_call("/t.S/BigTrailer", ang_slice_str(rows[i].n));
        kit_run(&k, a);
        kit_expect(a, ANG_ABORTED, "m");
        assert_true((kit_trailer(a, "big-bin") != NULL) == rows[i].fits);
        assert_true(ang_slice_is(kit_trailer(a, "small")->value, "x"));
        kit_free(&a);
    }
}

static void unknown_methods_are_named(void **state) {
    static const char *const paths[] = {"/t.S/Nope", "/other/Echo", "/t.S/echo"};
    for (size_t i = 0; i < ANG_COUNT(paths); i++) {
        struct answer *a = kit_call(paths[i], ang_slice_str("x"));
        kit_run(&k, a);
        kit_expect(a, ANG_UNIMPLEMENTED, paths[i]);
        kit_free(&a);
    }
}

static void answers_from_other_threads(void **state) {
    enum { N = 200 };
    struct answer *a[N];
    for (int i = 0; i < N; i++) {
        a[i] = kit_call("/t.S/Thread", ang_slice_str("x"));
        kit_start(&k, a[i]);
    }
    for (int i = 0; i < N; i++) {
        kit_wait(a[i]);
        kit_expect(a[i], ANG_OK, NULL);
        assert_true(ang_slice_is(ang_buf_slice(&a[i]->response), "from a thread: x"));
        kit_free(&a[i]);
    }
}

static void deadlines_travel(void **state) {
    struct answer *a = kit_call("/t.S/Deadline", ANG_SLICE_NONE);
    kit_run(&k, a);
    assert_true(ang_slice_is(ang_buf_slice(&a->response), "-1"));
    kit_free(&a);
    a = kit_call("/t.S/Deadline", ANG_SLICE_NONE);
    a->req.deadline_ms = ang_now_ms() + 60000;
    kit_run(&k, a);
    ang_buf_add_u8(&a->response, 0);
    assert_in_range(atoi((const char *)a->response.p), 30000, 61000); /* gRPC sends it rounded up */
    kit_free(&a);
}

static void passed_deadlines(void **state) {
    struct answer *a = kit_call("/t.S/Echo", ANG_SLICE_NONE);
    a->req.deadline_ms = ang_now_ms() - 1000;
    kit_run(&k, a);
    kit_expect(a, ANG_DEADLINE_EXCEEDED, NULL);
    kit_free(&a);

    a = kit_call("/t.S/Hold", ANG_SLICE_NONE);
    int64_t start = ang_now_ms();
    a->req.deadline_ms = start + 200;
    kit_run(&k, a);
    kit_expect(a, ANG_DEADLINE_EXCEEDED, NULL);
    assert_true(ang_now_ms() - start >= 199);
    kit_free(&a);
    if (held != NULL) { /* a stalled machine may never have brought it to the handler */
        KIT_UNTIL(n_cancelled == 1);
        assert_true(on_loop);
        release();
    }
}

static void cancelled_by_the_caller(void **state) {
    struct answer *a = kit_call("/t.S/Hold", ANG_SLICE_NONE);
    kit_start(&k, a);
    KIT_UNTIL(held != NULL);
    assert_int_equal(n_cancelled, 0);
    kit_cancel(&k, a);
    kit_wait(a);
    kit_expect(a, ANG_CANCELLED, NULL);
    kit_free(&a);
    KIT_UNTIL(n_cancelled == 1);
    assert_true(on_loop);
    release();
    pause_ms(20);
    assert_int_equal(n_cancelled, 1);
}

static void cancelled_is_told_to_who_comes_late(void **state) {
    struct answer *a = kit_call("/t.S/HoldQuietly", ANG_SLICE_NONE);
    kit_start(&k, a);
    KIT_UNTIL(held != NULL);
    kit_cancel(&k, a);
    kit_wait(a);
    kit_free(&a);
    pause_ms(50);
    ang_rpc_set_user(held, &k, hold_cancelled);
    KIT_UNTIL(n_cancelled == 1);
    assert_true(on_loop);
    release();
}

static void no_cancelled_after_the_end(void **state) {
    struct answer *a = kit_call("/t.S/Hold", ANG_SLICE_NONE);
    kit_start(&k, a);
    KIT_UNTIL(held != NULL);
    release();
    kit_wait(a);
    kit_expect(a, ANG_ABORTED, "released");
    kit_free(&a);
    pause_ms(20);
    assert_int_equal(n_cancelled, 0);
}

/* ---- many at once ---- */

#define MANY      10000
#define IN_FLIGHT 256

static int n_started, n_ok; /* client loop */
static atomic_int n_over;
struct one {
    char text[24];
    struct ang_slice part;
};
static void one_done(void *arg, const struct ang_rpc_result *res);
static void one_start(void) {
    struct one *o = ANG_NEW(struct one);
    snprintf(o->text, sizeof(o->text), "call %d", n_started++);
    o->part = ang_slice_str(o->text);
    (void)ang_rpc_call_start(k.ch, &(struct ang_rpc_req){.path = "/t.S/Echo",
                                                         .parts = &o->part,
                                                         .n_parts = 1,
                                                         .deadline_ms = ANG_NEVER,
                                                         .done = one_done,
                                                         .arg = o});
}
static void one_done(void *arg, const struct ang_rpc_result *res) {
    struct one *o = arg;
    n_ok += res->code == ANG_OK && ang_slice_is(res->response, o->text);
    free(o);
    n_over++;
    if (n_started < MANY)
        one_start();
}
static void start_many(void *arg) {
    for (int i = 0; i < IN_FLIGHT; i++)
        one_start();
}
static void ten_thousand_calls_256_in_flight(void **state) {
    n_started = n_ok = n_over = 0;
    ang_loop_call(k.cl, start_many, NULL);
    KIT_UNTIL(n_over == MANY);
    pause_ms(20);
    assert_int_equal(n_over, MANY);
    assert_int_equal(n_ok, MANY);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(sizes_up_to_the_limit),
        T(parts_are_joined),
        T(large_answers_arrive),
        T(metadata),
        T(statuses_and_trailers),
        T(messages_are_cut),
        T(large_trailers_are_left_out),
        T(unknown_methods_are_named),
        T(answers_from_other_threads),
        T(deadlines_travel),
        T(passed_deadlines),
        T(cancelled_by_the_caller),
        T(cancelled_is_told_to_who_comes_late),
        T(no_cancelled_after_the_end),
        T(ten_thousand_calls_256_in_flight),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
