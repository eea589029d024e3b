/* Reflection as a server and as a client; bidirectional streams, on which it rests. */
#include "kit.h"

#include "proto/catalog.h"
#include "proto/wire.h"
#include "rpc/reflection.h"

#define V1      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define V1ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
#define MAX     100000

static struct kit k;
static struct ang_catalog *types;

/* ---- a bidirectional stream of the test's own ---- */

static atomic_int n_got, n_ends, n_cancelled;

static void echo(struct ang_rpc *rpc, void *user, const struct ang_slice *msg) {
    assert_true(ang_loop_here(k.sl));
    if (msg == NULL) {
        n_ends++;
        ang_rpc_end(rpc);
        return;
    }
    n_got++;
    (void)ang_rpc_send(rpc, msg, 1);
    if (!ang_slice_is(*msg, "stay"))
        ang_rpc_read(rpc, echo);
}
static void echo_cancelled(struct ang_rpc *rpc, void *user) {
    struct ang_status *st = ang_status_new(ANG_CANCELLED, "gone");
    n_cancelled++;
    ang_rpc_fail(rpc, &st);
}
static void begin_echo(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    assert_int_equal(request.n, 0);
    ang_rpc_set_user(rpc, arg, echo_cancelled);
    ang_rpc_read(rpc, echo);
}
/* Asks for a request and ends without waiting for it. */
static void begin_and_end(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_read(rpc, echo);
    ang_rpc_end(rpc);
}
static void unary(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_reply(rpc, &request, 1);
}

static const struct ang_rpc_method methods[] = {
    {"/angzarr.EventQuery/Echo", ANG_RPC_BIDI_STREAM, begin_echo},
    {"/angzarr.EventQuery/End", ANG_RPC_BIDI_STREAM, begin_and_end},
    {"/angzarr.EventQuery/Unary", ANG_RPC_UNARY, unary},
};

static void serve(const struct ang_rpc_method *m, size_t n, const struct ang_catalog *c) {
    n_got = n_ends = n_cancelled = 0;
    k.sl = ang_loop_new("server", NULL, NULL);
    k.cl = ang_loop_new("client", NULL, NULL);
    kit_ok(ang_rpc_server_open(
        &(struct ang_rpc_server_conf){
            .loop = k.sl, .address = "127.0.0.1:0", .max_message = MAX, .methods = m, .n_methods = n, .types = c},
        &k.s));
    kit_ok(ang_rpc_channel_open(k.cl, ang_rpc_server_address(k.s), &k.ch));
    ang_loop_start(k.sl);
    ang_loop_start(k.cl);
}

static int setup(void **state) {
    serve(methods, ANG_COUNT(methods), types);
    return (0);
}
static int teardown(void **state) {
    kit_close(&k);
    return (0);
}
static int make_types(void **state) {
    types = ang_catalog_new();
    return (0);
}
static int free_types(void **state) {
    ang_catalog_free(types);
    return (0);
}

static struct answer *stream_call(const char *path, struct ang_slice request) {
    struct answer *a = kit_call(path, request);
    a->req.message = kit_message;
    return (a);
}

static void requests_are_read(void **state) {
    struct answer *a = stream_call("/angzarr.EventQuery/Echo", ang_slice_str("once"));
    kit_run(&k, a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(a->n_messages, 1);
    assert_int_equal(n_got, 1);
    assert_int_equal(n_ends, 1);
    kit_free(&a);
}

static void a_call_that_nobody_reads_is_cancelled(void **state) {
    struct answer *a = stream_call("/angzarr.EventQuery/Echo", ang_slice_str("stay"));
    kit_start(&k, a);
    KIT_UNTIL(a->n_messages == 1);
    kit_cancel(&k, a);
    kit_wait(a);
    kit_expect(a, ANG_CANCELLED, NULL);
    KIT_UNTIL(n_cancelled == 1);
    assert_int_equal(n_ends, 0);
    kit_free(&a);
}

static void ended_while_it_reads(void **state) {
    for (int i = 0; i < 50; i++) {
        struct answer *a = stream_call("/angzarr.EventQuery/End", ang_slice_str("x"));
        kit_run(&k, a);
        kit_expect(a, ANG_OK, NULL);
        kit_free(&a);
    }
    assert_int_equal(n_got + n_ends + n_cancelled, 0);
}

static void a_request_over_the_limit(void **state) {
    static uint8_t big[MAX + 200000];
    static const size_t sizes[] = {MAX + 1, sizeof(big)}; /* refused by us, by gRPC */
    for (size_t i = 0; i < ANG_COUNT(sizes); i++) {
        struct answer *a = stream_call("/angzarr.EventQuery/Echo", ang_slice_of(big, sizes[i]));
        kit_run(&k, a);
        kit_expect(a, ANG_RESOURCE_EXHAUSTED, i == 0 ? "limits.message" : NULL);
        KIT_UNTIL(n_cancelled == (int)i + 1);
        assert_int_equal(n_got, 0);
        kit_free(&a);
    }
    struct answer *a = stream_call("/angzarr.EventQuery/Echo", ang_slice_of(big, MAX));
    kit_run(&k, a);
    kit_expect(a, ANG_OK, NULL);
    kit_free(&a);
}

/* ---- the server ---- */

static void bad_requests(void **state) {
#define R(s)                                                                                                           \
    { (const uint8_t *)(s), sizeof(s) - 1 }
    static const struct ang_slice rows[] = {R("\xff"),     R("\x22\x05x"),        R("\x22\x01\xff"),
                                            R("\x20\x01"), R("\x2a\x02\x0a\x05"), R("\x2a\x02\x12\x00"),
                                            R("\x0b"),     R("\x0a\x01\xff"),     R("\x02\x00")};
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct answer *a = stream_call(i % 2 == 0 ? V1 : V1ALPHA, rows[i]);
        kit_run(&k, a);
        kit_expect(a, ANG_INVALID_ARGUMENT, "ServerReflectionRequest");
        assert_int_equal(a->n_messages, 0);
        kit_free(&a);
    }
}

static void no_types_no_reflection(void **state) {
    struct ang_buf set = {NULL, 0, 0};
    struct ang_err *er;
    serve(methods, ANG_COUNT(methods), NULL);
    er = ang_reflection_fetch(ang_rpc_server_address(k.s), NULL, 0, 10000, &set);
    assert_int_equal(er->code, ANG_E_INVALID);
    assert_non_null(strstr(er->msg, "no server reflection"));
    ang_err_free(&er);
    kit_close(&k);
}

/* ---- the client ---- */

/* Names of the files of a set, in order, each with a blank behind it. */
static void names_of(const struct ang_buf *set, char *out, size_t size) {
    struct ang_wire_iter it = ang_wire_iter_of(ang_buf_slice(set));
    struct ang_wire_field file, name;
    size_t n = 0;
    out[0] = '\0';
    while (ang_wire_next(&it, &file)) {
        assert_true(ang_wire_find(file.bytes, 1, &name));
        n += (size_t)snprintf(out + n, size - n, "%.*s ", (int)name.bytes.n, (const char *)name.bytes.p);
    }
    assert_null(it.what);
}

static void fetch_of_services(void **state) {
    struct ang_buf set = {NULL, 0, 0};
    struct ang_catalog *c = ang_catalog_new();
    char names[4096];
    kit_ok(ang_reflection_fetch(ang_rpc_server_address(k.s), NULL, 0, 10000, &set));
    names_of(&set, names, sizeof(names));
    /* EventQuery's file, after what it imports; nothing of grpc. */
    assert_non_null(strstr(names, "angzarr/query.proto "));
    assert_non_null(strstr(names, "google/protobuf/any.proto "));
    assert_true(strstr(names, "angzarr/types.proto ") < strstr(names, "angzarr/query.proto "));
    assert_true(strstr(names, "google/protobuf/any.proto ") < strstr(names, "angzarr/types.proto "));
    assert_null(strstr(names, "grpc/"));
    kit_ok(ang_catalog_add(c, ang_buf_slice(&set)));
    ang_catalog_free(c);
    ang_buf_fini(&set);
}

static void fetch_of_symbols(void **state) {
    const struct ang_slice symbols[] = {ang_slice_str("google.protobuf.Any"), ang_slice_str("no.such.Message"),
                                        ang_slice_str("grpc.health.v1.HealthCheckRequest.service")};
    struct ang_buf set = {NULL, 0, 0};
    char names[4096];
    kit_ok(ang_reflection_fetch(ang_rpc_server_address(k.s), symbols, ANG_COUNT(symbols), 10000, &set));
    names_of(&set, names, sizeof(names));
    assert_string_equal(names, "google/protobuf/any.proto grpc/health/v1/health.proto ");
    ang_buf_fini(&set);
}

/* A server that knows v1alpha only, sends no imports along, and sends one that nobody asked for again and again: a.proto
 * imports b.proto, which imports a.proto. */
static void put_file(struct ang_buf *answer, const char *name, const char *import) {
    struct ang_buf f = {NULL, 0, 0}, files = {NULL, 0, 0};
    ang_wire_put_str(&f, 1, name);
    ang_wire_put_str(&f, 3, import);
    ang_wire_put_bytes(&files, 1, ang_buf_slice(&f));
    ang_wire_put_bytes(answer, 4, ang_buf_slice(&files));
    ang_buf_fini(&f);
    ang_buf_fini(&files);
}
static void old_got(struct ang_rpc *rpc, void *user, const struct ang_slice *msg) {
    struct ang_buf b = {NULL, 0, 0};
    struct ang_wire_field f;
    if (msg == NULL) {
        ang_rpc_end(rpc);
        return;
    }
    n_got++;
    if (ang_wire_find(*msg, 7, &f))
        ang_buf_add(&b, "\x32\x0a\x0a\x03\x0a\x01S\x0a\x03\x0a\x01T", 12);
    else if (ang_wire_find(*msg, 4, &f) && ang_slice_is(f.bytes, "S"))
        put_file(&b, "a.proto", "b.proto");
    else if (ang_wire_find(*msg, 3, &f) && ang_slice_is(f.bytes, "b.proto"))
        put_file(&b, "b.proto", "a.proto");
    else
        ang_buf_add(&b, "\x3a\x02\x08\x05", 4);
    struct ang_slice part = ang_buf_slice(&b);
    (void)ang_rpc_send(rpc, &part, 1);
    ang_buf_fini(&b);
    ang_rpc_read(rpc, old_got);
}
static void old_begin(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_set_user(rpc, NULL, echo_cancelled);
    ang_rpc_read(rpc, old_got);
}

static void fetch_from_an_older_server(void **state) {
    static const struct ang_rpc_method old[] = {{V1ALPHA, ANG_RPC_BIDI_STREAM, old_begin}};
    struct ang_buf set = {NULL, 0, 0};
    char names[100];
    serve(old, 1, NULL);
    kit_ok(ang_reflection_fetch(ang_rpc_server_address(k.s), NULL, 0, 10000, &set));
    names_of(&set, names, sizeof(names));
    assert_string_equal(names, "b.proto a.proto ");
    assert_int_equal(n_got, 4); /* the services, S, T, b.proto */
    ang_buf_fini(&set);
    kit_close(&k);
}

/* Answers with what was asked for as a symbol. */
static void mirror_got(struct ang_rpc *rpc, void *user, const struct ang_slice *msg) {
    struct ang_wire_field f;
    if (msg == NULL) {
        ang_rpc_end(rpc);
        return;
    }
    assert_true(ang_wire_find(*msg, 4, &f));
    (void)ang_rpc_send(rpc, &f.bytes, 1);
    ang_rpc_read(rpc, mirror_got);
}
static void mirror_begin(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    ang_rpc_set_user(rpc, NULL, echo_cancelled);
    ang_rpc_read(rpc, mirror_got);
}

static void fetch_of_nonsense(void **state) {
    static const struct ang_slice rows[] = {R("\x20\x01"), R("\x22\x05x"),
                                            R("\x22\x05\x0a\x03\x12\x01p"),             /* a file without a name */
                                            R("\x22\x05\x0a\x03\x0a\x01\x01\x0b"),      /* a group behind it */
                                            R("\x32\x05\x0a\x03\x0a\x01\x7f\x32\x7f")}; /* cut off */
    static const struct ang_rpc_method mirror[] = {{V1, ANG_RPC_BIDI_STREAM, mirror_begin}};
    serve(mirror, 1, NULL);
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_buf set = {NULL, 0, 0};
        struct ang_err *er = ang_reflection_fetch(ang_rpc_server_address(k.s), &rows[i], 1, 10000, &set);
        if (er == NULL || er->code != ANG_E_WIRE)
            fail_msg("row %zu: %s", i, er == NULL ? "no error" : er->msg);
        ang_err_free(&er);
        assert_int_equal(set.n, 0);
    }
    kit_close(&k);
}

static void fetch_from_nobody(void **state) {
    struct ang_buf set = {NULL, 0, 0};
    struct ang_err *er = ang_reflection_fetch("127.0.0.1:1", NULL, 0, 100, &set);
    assert_int_equal(er->code, ANG_E_TIMEOUT);
    assert_non_null(strstr(er->msg, "127.0.0.1:1: server reflection: DEADLINE_EXCEEDED"));
    ang_err_free(&er);
    er = ang_reflection_fetch("nowhere", NULL, 0, 100, &set);
    assert_int_equal(er->code, ANG_E_INVALID);
    ang_err_free(&er);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_that_nobody_reads_is_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(ended_while_it_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(a_request_over_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_requests, setup, teardown),
        cmocka_unit_test(no_types_no_reflection),
        cmocka_unit_test_setup_teardown(fetch_of_services, setup, teardown),
        cmocka_unit_test_setup_teardown(fetch_of_symbols, setup, teardown),
        cmocka_unit_test(fetch_from_an_older_server),
        cmocka_unit_test(fetch_of_nonsense),
        cmocka_unit_test(fetch_from_nobody),
    };
    return (cmocka_run_group_tests(tests, make_types, free_types));
}
