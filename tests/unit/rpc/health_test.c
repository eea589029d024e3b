#include "kit.h"

#define CHECK "/grpc.health.v1.Health/Check"
#define WATCH "/grpc.health.v1.Health/Watch"

static struct kit k;

static int setup(void **state) {
    kit_open(&k, "127.0.0.1:0", 1000, NULL, 0);
    return (0);
}
static int teardown(void **state) {
    kit_close(&k);
    return (0);
}

static void check_answers(void **state) {
    static const struct {
        const char *what;
        struct ang_slice request;
        uint32_t code;
        const char *has, *response;
    } rows[] = {
#define R(s) {(const uint8_t *)(s), sizeof(s) - 1}
        {"the server", {NULL, 0}, ANG_OK, NULL, "\x08\x01"},
        {"the server, written out", R("\x0a\x00"), ANG_OK, NULL, "\x08\x01"},
        {"a service", R("\x0a\x03\x61.A"), ANG_OK, NULL, "\x08\x02"},
        {"the last of several", R("\x0a\x01x\x0a\x03\x61.A"), ANG_OK, NULL, "\x08\x02"},
        {"unknown fields", R("\x10\x96\x01\x19qrstuvwx\x0a\x03\x61.A\x25wxyz"), ANG_OK, NULL, "\x08\x02"},
        {"unknown service", R("\x0a\x03\x61.B"), ANG_NOT_FOUND, "\"a.B\"", NULL},
        {"a longer name", R("\x0a\x04\x61.AA"), ANG_NOT_FOUND, "\"a.AA\"", NULL},
        {"cut off", R("\x0a\x05\x61.A"), ANG_INVALID_ARGUMENT, CHECK, NULL},
        {"no length", R("\x0a"), ANG_INVALID_ARGUMENT, CHECK, NULL},
        {"endless varint", R("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), ANG_INVALID_ARGUMENT, CHECK, NULL},
        {"length beyond all", R("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ANG_INVALID_ARGUMENT, CHECK, NULL},
        {"group", R("\x0b"), ANG_INVALID_ARGUMENT, CHECK, NULL},
        {"field 0", R("\x02\x00"), ANG_INVALID_ARGUMENT, CHECK, NULL},
        {"NUL in the name", R("\x0a\x02\x61\x00"), ANG_INVALID_ARGUMENT, CHECK, NULL},
    };
    ang_rpc_server_set_health(k.s, "", true);
    ang_rpc_server_set_health(k.s, "a.A", false);
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct answer *a = kit_call(CHECK, rows[i].request);
        kit_run(&k, a);
        if (a->st->code != rows[i].code)
            fail_msg("%s: %s %s", rows[i].what, ang_code_name(a->st->code), a->st->msg);
        kit_expect(a, rows[i].code, rows[i].has);
        assert_true(rows[i].response == NULL || ang_slice_is(ang_buf_slice(&a->response), rows[i].response));
        kit_free(&a);
    }
}

static void before_anything_is_set(void **state) {
    struct answer *a = kit_call(CHECK, ANG_SLICE_NONE);
    kit_run(&k, a);
    kit_expect(a, ANG_NOT_FOUND, NULL);
    kit_free(&a);
}

static _Atomic int statuses[16];
static void note_status(struct answer *a, struct ang_slice msg) {
    statuses[a->n_messages] = msg.n == 2 && msg.p[0] == 8 ? msg.p[1] : -1;
}

static void watch_tells_every_change(void **state) {
    struct answer *a = kit_call(WATCH, ang_slice_str("\x0a\x01s"));
    a->req.message = kit_message;
    a->on_message = note_status;
    kit_start(&k, a);
    KIT_UNTIL(a->n_messages == 1);
    assert_int_equal(statuses[0], 3);
    ang_rpc_server_set_health(k.s, "other", true);
    ang_rpc_server_set_health(k.s, "s", true);
    KIT_UNTIL(a->n_messages == 2);
    assert_int_equal(statuses[1], 1);
    ang_rpc_server_set_health(k.s, "s", true); /* no change: nothing is sent */
    ang_rpc_server_set_health(k.s, "s", false);
    KIT_UNTIL(a->n_messages == 3);
    assert_int_equal(statuses[2], 2);
    kit_cancel(&k, a);
    kit_wait(a);
    kit_expect(a, ANG_CANCELLED, NULL);
    kit_free(&a);
    ang_rpc_server_set_health(k.s, "s", true); /* nobody watches */
}

static void closing_ends_watches_at_once(void **state) {
    ang_rpc_server_set_health(k.s, "s", true);
    struct answer *a = kit_call(WATCH, ang_slice_str("\x0a\x01s"));
    a->req.message = kit_message;
    a->on_message = note_status;
    kit_start(&k, a);
    KIT_UNTIL(a->n_messages == 1);
    int64_t start = ang_now_ms();
    ang_rpc_server_close(k.s, 20000);
    assert_true(ang_now_ms() - start < 5000);
    k.s = NULL;
    kit_wait(a);
    kit_expect(a, ANG_UNAVAILABLE, "stops");
    assert_int_equal(a->n_messages, 2);
    assert_int_equal(statuses[1], 2);
    kit_free(&a);
}

static void a_bad_watch_is_refused(void **state) {
    struct answer *a = kit_call(WATCH, ang_slice_str("\x0a"));
    a->req.message = kit_message;
    kit_run(&k, a);
    kit_expect(a, ANG_INVALID_ARGUMENT, WATCH);
    kit_free(&a);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(check_answers),
        T(before_anything_is_set),
        T(watch_tells_every_change),
        T(closing_ends_watches_at_once),
        T(a_bad_watch_is_refused),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
