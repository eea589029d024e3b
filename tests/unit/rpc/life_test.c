/* Addresses, restarts, closing. */
#include "kit.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* c-ares, which gRPC resolves names with, loses one copy of the name per lookup of "localhost". */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return ("leak:libcares");
}

static struct kit k;
static _Atomic(struct ang_rpc *) held;
static atomic_int n_cancelled;

static void echo(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_reply(rpc, &request, 1);
}
static void hold_cancelled(struct ang_rpc *rpc, void *user) {
    struct ang_status *st = ang_status_new(ANG_CANCELLED, "cancelled");
    n_cancelled++;
    ang_rpc_fail(rpc, &st);
}
static void hold(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_set_user(rpc, NULL, hold_cancelled);
    held = rpc;
}
static const struct ang_rpc_method methods[] = {{"/t.S/Echo", ANG_RPC_UNARY, echo}, {"/t.S/Hold", ANG_RPC_UNARY, hold}};

static void open_at(const char *address) {
    held = NULL;
    n_cancelled = 0;
    kit_open(&k, address, 1000, methods, ANG_COUNT(methods));
}

static struct answer *call(const char *path, bool wait, int64_t timeout_ms) {
    struct answer *a = kit_call(path, ang_slice_str("x"));
    a->req.wait_for_ready = wait;
    a->req.deadline_ms = ang_now_ms() + timeout_ms;
    return (a);
}

static uint32_t echo_once(bool wait, int64_t timeout_ms) {
    struct answer *a = call("/t.S/Echo", wait, timeout_ms);
    kit_run(&k, a);
    uint32_t code = a->st->code;
    kit_free(&a);
    return (code);
}

static void addresses(void **state) {
    static const char *const rows[] = {"127.0.0.1:0", "localhost:0", "unix:ang-rpc-life.sock"};
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        open_at(rows[i]);
        const char *address = ang_rpc_server_address(k.s);
        size_t n = strlen(rows[i]) - 1;
        assert_memory_equal(address, rows[i], n);
        assert_true(strncmp(address, "unix:", 5) == 0 || atoi(strrchr(address, ':') + 1) > 0);
        assert_string_equal(ang_rpc_channel_address(k.ch), address);
        assert_int_equal(echo_once(false, KIT_WAIT_MS), ANG_OK);
        kit_close(&k);
    }
    assert_int_equal(access("ang-rpc-life.sock", F_OK), -1);
}

static struct ang_err *second_server(const char *address) {
    struct ang_rpc_server *s = NULL;
    struct ang_err *er = ang_rpc_server_open(
        &(struct ang_rpc_server_conf){
            .loop = k.sl, .address = address, .max_message = 1000, .methods = methods, .n_methods = ANG_COUNT(methods)},
        &s);
    assert_true((er == NULL) == (s != NULL));
    if (er == NULL)
        ang_rpc_server_close(s, 0);
    return (er);
}

static void an_address_in_use_is_refused(void **state) {
    static const char *const rows[] = {"127.0.0.1:0", "unix:ang-rpc-life2.sock"};
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        open_at(rows[i]);
        struct ang_err *er = second_server(ang_rpc_server_address(k.s));
        assert_non_null(er);
        assert_int_equal(er->code, ANG_E_RPC_BIND);
        if (strstr(er->msg, ang_rpc_server_address(k.s)) == NULL || strstr(er->msg, "Address already in use") == NULL)
            fail_msg("%s", er->msg);
        ang_err_free(&er);
        assert_int_equal(echo_once(false, KIT_WAIT_MS), ANG_OK); /* the first one is not harmed */
        kit_close(&k);
    }
}

static void bad_addresses(void **state) {
    static const char *const rows[] = {"nonsense",
                                       "127.0.0.1",
                                       "127.0.0.1:x",
                                       "127.0.0.1:70000",
                                       "192.0.2.77:0",
                                       "[::1:5",
                                       "unix:",
                                       "unix:/nowhere/at/all.sock",
                                       "unix:/tmp",
                                       "no.such.host.invalid:0",
                                       "unix:/tmp/"
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    open_at("127.0.0.1:0");
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_err *er = second_server(rows[i]);
        if (er == NULL || er->code != ANG_E_RPC_BIND || strstr(er->msg, rows[i]) == NULL)
            fail_msg("%s: %s", rows[i], er == NULL ? "no error" : er->msg);
        ang_err_free(&er);
    }
    static const char *const channels[] = {"", "host", "host:", ":1", "unix:"};
    for (size_t i = 0; i < ANG_COUNT(channels); i++) {
        struct ang_rpc_channel *ch = NULL;
        struct ang_err *er = ang_rpc_channel_open(k.cl, channels[i], &ch);
        assert_non_null(er);
        assert_int_equal(er->code, ANG_E_INVALID);
        ang_err_free(&er);
    }
    kit_close(&k);
}

static void a_stale_socket_file_is_replaced(void **state) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "ang-rpc-life3.sock"};
    unlink(sa.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_return_code(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
    close(fd); /* the file stays, nobody listens */
    open_at("unix:ang-rpc-life3.sock");
    assert_int_equal(echo_once(false, KIT_WAIT_MS), ANG_OK);
    kit_close(&k);
}

static void a_file_is_not_replaced(void **state) {
    struct stat sb;
    FILE *f = fopen("ang-rpc-life4.sock", "w");
    fclose(f);
    open_at("127.0.0.1:0");
    struct ang_err *er = second_server("unix:ang-rpc-life4.sock");
    assert_non_null(er);
    ang_err_free(&er);
    assert_return_code(stat("ang-rpc-life4.sock", &sb), 0);
    assert_true(S_ISREG(sb.st_mode));
    unlink("ang-rpc-life4.sock");
    kit_close(&k);
}

/* A port that was free a moment ago. */
static void free_port(char *address, size_t n) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_return_code(bind(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_return_code(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    close(fd);
    snprintf(address, n, "127.0.0.1:%d", ntohs(sa.sin_port));
}

static void the_client_reconnects_after_a_restart(void **state) {
    for (int wait = 0; wait <= 1; wait++) {
        open_at("127.0.0.1:0");
        char *address = ang_strdup(ang_rpc_server_address(k.s));
        assert_int_equal(echo_once(wait, KIT_WAIT_MS), ANG_OK);
        ang_rpc_server_close(k.s, 1000);
        /* Down long enough for the back-off to reach its top. */
        for (int64_t until = ang_now_ms() + 2500; ang_now_ms() < until; pause_ms(20))
            assert_int_equal(echo_once(false, KIT_WAIT_MS), ANG_UNAVAILABLE);
        struct answer *a = call("/t.S/Echo", true, KIT_WAIT_MS); /* waits over the restart */
        kit_start(&k, a);
        kit_serve(&k, address, 1000, methods, ANG_COUNT(methods));
        int64_t up = ang_now_ms();
        while (echo_once(wait, KIT_WAIT_MS) != ANG_OK)
            pause_ms(5);
        assert_true(ang_now_ms() - up <= 1500);
        kit_wait(a);
        kit_expect(a, ANG_OK, NULL);
        kit_free(&a);
        free(address);
        kit_close(&k);
    }
}

static void nobody_listens(void **state) {
    char address[64];
    open_at("127.0.0.1:0");
    ang_loop_call(k.cl, kit_close_channel, k.ch);
    free_port(address, sizeof(address));
    kit_ok(ang_rpc_channel_open(k.cl, address, &k.ch));
    int64_t start = ang_now_ms();
    assert_int_equal(echo_once(false, KIT_WAIT_MS), ANG_UNAVAILABLE);
    assert_true(ang_now_ms() - start < 5000);
    start = ang_now_ms();
    assert_int_equal(echo_once(true, 400), ANG_DEADLINE_EXCEEDED);
    assert_true(ang_now_ms() - start >= 399);
    kit_close(&k);
}

static void *close_thread(void *arg) {
    ang_rpc_server_close(k.s, *(const int *)arg);
    return (NULL);
}

static void closing_waits_for_calls_under_way(void **state) {
    int grace = 30000;
    pthread_t t;
    open_at("127.0.0.1:0");
    struct answer *a = call("/t.S/Hold", false, KIT_WAIT_MS);
    kit_start(&k, a);
    KIT_UNTIL(held != NULL);
    ANG_PT(pthread_create(&t, NULL, close_thread, &grace));
    pause_ms(200);
    assert_int_equal(a->n_done, 0);
    struct ang_slice s = ang_slice_str("at last");
    ang_rpc_reply(held, &s, 1);
    ANG_PT(pthread_join(t, NULL));
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    assert_true(ang_slice_is(ang_buf_slice(&a->response), "at last"));
    assert_int_equal(n_cancelled, 0);
    kit_free(&a);
    k.s = NULL;
    kit_close(&k);
}

static void closing_cancels_what_outlasts_the_grace(void **state) {
    open_at("127.0.0.1:0");
    struct answer *a[20];
    for (size_t i = 0; i < ANG_COUNT(a); i++) {
        a[i] = call("/t.S/Hold", false, KIT_WAIT_MS);
        kit_start(&k, a[i]);
    }
    KIT_UNTIL(held != NULL);
    struct answer *last = call("/t.S/Echo", false, KIT_WAIT_MS); /* behind the others on the connection */
    kit_run(&k, last);
    kit_expect(last, ANG_OK, NULL);
    kit_free(&last);
    int64_t start = ang_now_ms();
    ang_rpc_server_close(k.s, 200);
    assert_in_range(ang_now_ms() - start, 199, 20000);
    assert_int_equal(n_cancelled, ANG_COUNT(a));
    k.s = NULL;
    for (size_t i = 0; i < ANG_COUNT(a); i++) {
        kit_wait(a[i]);
        assert_true(a[i]->st->code == ANG_UNAVAILABLE || a[i]->st->code == ANG_CANCELLED);
        kit_free(&a[i]);
    }
    ang_rpc_server_close(NULL, 0);
    kit_close(&k);
}

static void closing_without_calls_is_quick(void **state) {
    open_at("127.0.0.1:0");
    assert_int_equal(echo_once(false, KIT_WAIT_MS), ANG_OK);
    int64_t start = ang_now_ms();
    ang_rpc_server_close(k.s, 20000);
    assert_true(ang_now_ms() - start < 5000);
    k.s = NULL;
    kit_close(&k);
}

struct closing {
    struct answer **a;
    size_t n;
    bool all_done;
};
static void close_channel_and_look(void *arg) {
    struct closing *c = arg;
    ang_rpc_channel_close(k.ch);
    c->all_done = true;
    for (size_t i = 0; i < c->n; i++)
        c->all_done = c->all_done && c->a[i]->n_done == 1;
}
static void closing_a_channel_finishes_its_calls_before_it_returns(void **state) {
    struct answer *a[10];
    open_at("127.0.0.1:0");
    for (size_t i = 0; i < ANG_COUNT(a); i++) {
        a[i] = call("/t.S/Hold", true, KIT_WAIT_MS);
        kit_start(&k, a[i]);
    }
    KIT_UNTIL(held != NULL);
    struct closing c = {.a = a, .n = ANG_COUNT(a)};
    ang_loop_call(k.cl, close_channel_and_look, &c);
    assert_true(c.all_done);
    for (size_t i = 0; i < ANG_COUNT(a); i++) {
        kit_expect(a[i], ANG_CANCELLED, "channel was closed");
        kit_free(&a[i]);
    }
    k.ch = NULL;
    kit_close(&k);
}

static void a_connection_at_rest_costs_nothing(void **state) {
    struct rusage before, after;
    open_at("127.0.0.1:0");
    assert_int_equal(echo_once(false, KIT_WAIT_MS), ANG_OK);
    pause_ms(300);
    getrusage(RUSAGE_SELF, &before);
    pause_ms(1000);
    getrusage(RUSAGE_SELF, &after);
    assert_in_range(after.ru_nvcsw - before.ru_nvcsw, 0, 30);
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(an_address_in_use_is_refused),
        cmocka_unit_test(bad_addresses),
        cmocka_unit_test(a_stale_socket_file_is_replaced),
        cmocka_unit_test(a_file_is_not_replaced),
        cmocka_unit_test(the_client_reconnects_after_a_restart),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(closing_waits_for_calls_under_way),
        cmocka_unit_test(closing_cancels_what_outlasts_the_grace),
        cmocka_unit_test(closing_without_calls_is_quick),
        cmocka_unit_test(closing_a_channel_finishes_its_calls_before_it_returns),
        cmocka_unit_test(a_connection_at_rest_costs_nothing),
    };
    char dir[] = "/tmp/ang-life-XXXXXX"; /* socket files are named relative to it */
    AN(mkdtemp(dir));
    AZ(chdir(dir));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    AZ(chdir("/"));
    AZ(rmdir(dir)); /* nothing was left behind */
    return (failed);
}
