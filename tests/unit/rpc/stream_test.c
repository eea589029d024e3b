/* Server streams: order, back-pressure, ends from both sides. */
#include "kit.h"

#include <pthread.h>

#define MAX  (1 << 20)
#define LOW  ((size_t)64 << 10)
#define HIGH ((size_t)4 << 20)

static struct kit k;

/* Sends `count` messages of `size` bytes, each starting with its number, as fast as the caller takes them. */
struct source {
    struct ang_rpc *rpc;
    uint32_t sent, count, size;
    uint8_t *bytes;
};
static atomic_int n_cancelled, n_drained, n_refused, n_sources;
static _Atomic size_t most_queued;

static void source_free(struct source *so) {
    free(so->bytes);
    free(so);
    n_sources--;
}
static void more(struct ang_rpc *rpc, void *user) {
    struct source *so = user;
    while (so->sent < so->count) {
        ang_put_be32(so->bytes, so->sent);
        struct ang_slice parts[2] = {{so->bytes, 4}, {so->bytes + 4, so->size - 4}};
        if (!ang_rpc_send(rpc, parts, 2)) {
            n_refused++;
            return;
        }
        so->sent++;
        size_t queued = ang_rpc_queued(rpc);
        most_queued = queued > most_queued ? queued : most_queued;
    }
    source_free(so);
    ang_rpc_end(rpc);
}
static void drained(struct ang_rpc *rpc, void *user) {
    n_drained++;
    if (ang_rpc_queued(rpc) >= LOW || !ang_loop_here(k.sl))
        n_drained = -1000000;
    more(rpc, user);
}
static void source_cancelled(struct ang_rpc *rpc, void *user) {
    struct ang_status *st = ang_status_new(ANG_CANCELLED, "gone");
    n_cancelled++;
    source_free(user);
    ang_rpc_fail(rpc, &st);
}
static void stream(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct source *so = ANG_NEW(struct source);
    n_sources++;
    so->rpc = rpc;
    so->count = ang_get_be32(request.p);
    so->size = ang_get_be32(request.p + 4);
    so->bytes = ang_calloc(1, so->size);
    ang_rpc_set_user(rpc, so, source_cancelled);
    ang_rpc_on_drained(rpc, LOW, drained); /* runs soon: nothing is queued */
}

/* Messages, then a status. */
static void fails_later(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    for (int i = 0; i < 3; i++) {
        struct ang_slice s = ang_slice_str("msg");
        assert_true(ang_rpc_send(rpc, &s, 1));
    }
    struct ang_status *st = ang_status_new(ANG_OUT_OF_RANGE, "no more");
    ang_status_add(st, "note", ang_slice_str("trailer"));
    ang_rpc_fail(rpc, &st);
}

static void *from_thread(void *arg) {
    struct ang_rpc *rpc = arg;
    for (int i = 0; i < 1000; i++) {
        struct ang_slice s = ang_slice_str("x");
        (void)ang_rpc_send(rpc, &s, 1);
    }
    ang_rpc_end(rpc);
    return (NULL);
}
static void by_thread(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    pthread_t t;
    ANG_PT(pthread_create(&t, NULL, from_thread, rpc));
    ANG_PT(pthread_detach(t));
}

static void ends_at_once(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_end(rpc);
}

static void empty_messages(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    for (int i = 0; i < 5; i++)
        assert_true(ang_rpc_send(rpc, NULL, 0));
    ang_rpc_end(rpc);
}

/* Has begun, and ends with the first message when it is told to. */
static _Atomic(struct ang_rpc *) held;
static void held_cancelled(struct ang_rpc *rpc, void *user) {
    struct ang_status *st = ang_status_new(ANG_CANCELLED, "gone");
    ang_rpc_fail(rpc, &st);
}
static void begins(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_set_user(rpc, NULL, held_cancelled);
    ang_rpc_begin(rpc);
    held = rpc;
}

/* What the caller streams comes back doubled; it ends when he has sent all. */
static atomic_int n_read;
static void echo(struct ang_rpc *rpc, void *user, const struct ang_slice *msg) {
    assert_ptr_equal(user, &n_read);
    if (msg == NULL) {
        ang_rpc_end(rpc);
        return;
    }
    n_read++;
    struct ang_slice parts[2] = {*msg, *msg};
    assert_true(ang_rpc_send(rpc, parts, 2));
    ang_rpc_read(rpc, echo);
}
static void echo_cancelled(struct ang_rpc *rpc, void *user) {
    struct ang_status *st = ang_status_new(ANG_CANCELLED, "gone");
    n_cancelled++;
    ang_rpc_fail(rpc, &st);
}
static void both(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    assert_int_equal(request.n, 0);
    ang_rpc_set_user(rpc, &n_read, echo_cancelled);
    ang_rpc_begin(rpc);
    ang_rpc_begin(rpc);
    ang_rpc_read(rpc, echo);
}

/* 64 messages that share their bytes. */
#define SHARED_N 64
static const char shared_bytes[100000];
static atomic_int n_let_go;
static void let_go(void *arg) {
    assert_ptr_equal(arg, &n_let_go);
    n_let_go++;
}
static int send_all_shared(struct ang_rpc *rpc) {
    int sent = 0;
    while (sent < SHARED_N &&
           ang_rpc_send_shared(rpc, ang_slice_of(shared_bytes, sizeof(shared_bytes)), let_go, &n_let_go))
        sent++;
    return (sent);
}
static void shares(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    n_refused = SHARED_N - send_all_shared(rpc);
    ang_rpc_end(rpc);
}
static void cuts(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_status *st = ang_status_new(ANG_RESOURCE_EXHAUSTED, "too slow");
    n_refused = SHARED_N - send_all_shared(rpc);
    ang_rpc_cut(rpc, &st);
}

static const struct ang_rpc_method methods[] = {
    {"/t.S/Stream", ANG_RPC_SERVER_STREAM, stream},    {"/t.S/Fails", ANG_RPC_SERVER_STREAM, fails_later},
    {"/t.S/Thread", ANG_RPC_SERVER_STREAM, by_thread}, {"/t.S/Nothing", ANG_RPC_SERVER_STREAM, ends_at_once},
    {"/t.S/Begins", ANG_RPC_SERVER_STREAM, begins},    {"/t.S/Empty", ANG_RPC_SERVER_STREAM, empty_messages},
    {"/t.S/Both", ANG_RPC_BIDI_STREAM, both},          {"/t.S/Shares", ANG_RPC_SERVER_STREAM, shares},
    {"/t.S/Cuts", ANG_RPC_SERVER_STREAM, cuts},
};

static int setup(void **state) {
    n_cancelled = n_drained = n_refused = n_sources = n_read = n_let_go = 0;
    most_queued = 0;
    kit_open(&k, "127.0.0.1:0", MAX, methods, ANG_COUNT(methods));
    return (0);
}
static int teardown(void **state) {
    kit_close(&k);
    assert_int_equal(n_sources, 0);
    return (0);
}

static atomic_int wrong;
static void check_number(struct answer *a, struct ang_slice msg) {
    if (msg.n < 4 || ang_get_be32(msg.p) != (uint32_t)a->n_messages)
        wrong++;
}
static struct answer *call_stream(const char *path, uint8_t request[8], uint32_t count, uint32_t size) {
    ang_put_be32(request, count);
    ang_put_be32(request + 4, size);
    struct answer *a = kit_call(path, ang_slice_of(request, 8));
    a->req.message = kit_message;
    return (a);
}

static void messages_in_order_with_back_pressure(void **state) {
    static const struct { uint32_t count, size; } rows[] = {{1, 4}, {10000, 10}, {3000, 10000}, {30, 2000000}};
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        uint8_t request[8];
        struct answer *a = call_stream("/t.S/Stream", request, rows[i].count, rows[i].size);
        a->on_message = check_number;
        wrong = 0;
        kit_run(&k, a);
        kit_expect(a, ANG_OK, NULL);
        assert_int_equal(a->n_messages, rows[i].count);
        assert_int_equal(wrong, 0);
        kit_free(&a);
    }
    assert_true(n_refused > 0);
    assert_true(n_drained > n_refused);
    assert_true(most_queued <= HIGH + 2000000);
}

static void ends(void **state) {
    static const struct {
        const char *path;
        int n;
        uint32_t code;
        const char *msg;
    } rows[] = {{"/t.S/Nothing", 0, ANG_OK, ""},
                {"/t.S/Empty", 5, ANG_OK, ""},
                {"/t.S/Thread", 1000, ANG_OK, ""},
                {"/t.S/Fails", 3, ANG_OUT_OF_RANGE, "no more"},
                {"/t.S/Unknown", 0, ANG_UNIMPLEMENTED, "/t.S/Unknown"}};
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        uint8_t request[8];
        struct answer *a = call_stream(rows[i].path, request, 0, 0);
        kit_run(&k, a);
        kit_expect(a, rows[i].code, rows[i].msg);
        assert_int_equal(a->n_messages, rows[i].n);
        assert_true((kit_trailer(a, "note") != NULL) == (rows[i].code == ANG_OUT_OF_RANGE));
        kit_free(&a);
    }
}

/* ---- the caller hears that the callee has begun ---- */
static atomic_int n_begun, begun_late;
static void count_begun(void *arg) {
    struct answer *a = arg;
    n_begun++;
    begun_late += a->n_messages > 0 || a->n_done > 0;
}
static struct answer *call_begun(const char *path, uint8_t request[8]) {
    struct answer *a = call_stream(path, request, 3, 10);
    n_begun = begun_late = 0;
    a->req.begun = count_begun;
    return (a);
}

static void the_caller_hears_that_it_has_begun(void **state) {
    static const struct {
        const char *path;
        int least, most;
    } rows[] = {{"/t.S/Stream", 1, 1}, {"/t.S/Empty", 1, 1}, {"/t.S/Fails", 1, 1}, {"/t.S/Unknown", 0, 1}};
    uint8_t request[8];
    struct answer *a;

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        a = call_begun(rows[i].path, request);
        kit_run(&k, a);
        if (n_begun < rows[i].least || n_begun > rows[i].most || begun_late != 0)
            fail_msg("%s: begun %d times, %d times too late", rows[i].path, n_begun, begun_late);
        kit_free(&a);
    }
    a = call_begun("/t.S/Begins", request); /* without a message */
    kit_start(&k, a);
    KIT_UNTIL(n_begun == 1);
    assert_int_equal(a->n_messages + a->n_done, 0);
    ang_rpc_end(held);
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(n_begun, 1);
    kit_free(&a);
}

static void nobody_begins_where_nobody_is(void **state) {
    uint8_t request[8];
    struct answer *a = call_begun("/t.S/Stream", request);

    ang_loop_call(k.cl, kit_close_channel, k.ch);
    kit_ok(ang_rpc_channel_open(k.cl, "127.0.0.1:1", &k.ch));
    kit_run(&k, a);
    kit_expect(a, ANG_UNAVAILABLE, NULL);
    assert_int_equal(n_begun, 0);
    kit_free(&a);
}

static void cancel_me(struct answer *a, struct ang_slice msg) {
    if (a->n_messages == 2)
        ang_rpc_call_cancel(a->call);
}
static void the_caller_cancels_in_the_middle(void **state) {
    uint8_t request[8];
    struct answer *a = call_stream("/t.S/Stream", request, 1000000, 10000);
    a->on_message = cancel_me;
    kit_run(&k, a);
    kit_expect(a, ANG_CANCELLED, NULL);
    assert_true(a->n_messages >= 3);
    kit_free(&a);
    KIT_UNTIL(n_cancelled == 1 && n_sources == 0);
}

static void a_deadline_ends_a_stream(void **state) {
    uint8_t request[8];
    struct answer *a = call_stream("/t.S/Stream", request, 100000000, 1000);
    a->req.deadline_ms = ang_now_ms() + 300;
    kit_run(&k, a);
    kit_expect(a, ANG_DEADLINE_EXCEEDED, NULL);
    kit_free(&a);
    KIT_UNTIL(n_sources == 0);
}

static void close_here(struct answer *a, struct ang_slice msg) {
    if (a->n_messages == 2)
        ang_rpc_channel_close(a->ch);
}
static void the_channel_may_be_closed_from_a_message(void **state) {
    uint8_t request[8];
    struct answer *a = call_stream("/t.S/Stream", request, 1000000, 1000);
    a->on_message = close_here;
    kit_run(&k, a);
    k.ch = NULL;
    kit_expect(a, ANG_CANCELLED, "channel was closed");
    KIT_UNTIL(n_cancelled == 1 && n_sources == 0);
    assert_int_equal(a->n_messages, 3);
    kit_free(&a);
}

static void many_streams_at_once(void **state) {
    enum { N = 50 };
    struct answer *a[N];
    uint8_t request[8];
    wrong = 0;
    for (int i = 0; i < N; i++) {
        a[i] = call_stream("/t.S/Stream", request, 500, 1000);
        a[i]->on_message = check_number;
        kit_start(&k, a[i]);
    }
    for (int i = 0; i < N; i++) {
        kit_wait(a[i]);
        kit_expect(a[i], ANG_OK, NULL);
        assert_int_equal(a[i]->n_messages, 500);
        kit_free(&a[i]);
    }
    assert_int_equal(wrong, 0);
}

static void both_sides_stream(void **state) {
    struct answer *a = kit_call("/t.S/Both", ang_slice_str("ab"));
    a->req.message = kit_message;
    kit_run(&k, a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(a->n_messages, 1);
    assert_int_equal(n_read, 1);
    kit_free(&a);
}

static void bytes_are_shared_until_they_are_sent(void **state) {
    struct answer *a = kit_call("/t.S/Shares", ang_slice_str(""));
    a->req.message = kit_message;
    kit_run(&k, a);
    kit_expect(a, ANG_OK, NULL);
    assert_true(n_refused > 0); /* more than 4 MiB */
    assert_int_equal(a->n_messages, SHARED_N - n_refused);
    KIT_UNTIL(n_let_go == SHARED_N - n_refused);
    kit_free(&a);
}

static void what_waits_is_forgotten_when_it_is_cut(void **state) {
    struct answer *a = kit_call("/t.S/Cuts", ang_slice_str(""));
    a->req.message = kit_message;
    kit_run(&k, a);
    kit_expect(a, ANG_RESOURCE_EXHAUSTED, "too slow");
    assert_int_equal(a->n_messages, 1); /* the one that was with the transport already */
    KIT_UNTIL(n_let_go == SHARED_N - n_refused);
    kit_free(&a);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(messages_in_order_with_back_pressure),
        T(ends),
        T(the_caller_hears_that_it_has_begun),
        T(nobody_begins_where_nobody_is),
        T(the_caller_cancels_in_the_middle),
        T(a_deadline_ends_a_stream),
        T(the_channel_may_be_closed_from_a_message),
        T(many_streams_at_once),
        T(both_sides_stream),
        T(bytes_are_shared_until_they_are_sent),
        T(what_waits_is_forgotten_when_it_is_cut),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
