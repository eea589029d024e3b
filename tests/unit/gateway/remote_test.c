/* The gateway in front of workers in other processes: how it finds them, and what it does when they come and go. */
#include "tests/unit/gateway/stage.h"

/* The gateway here has no worker of its own. */
void ang_worker_attach(struct ang_worker *w, const char *gateway, void (*deliver)(void *, struct ang_answer *),
                       void *arg) {
    fail();
}
void ang_worker_detach(struct ang_worker *w, const char *gateway, void *arg) {
    fail();
}
void ang_worker_query(struct ang_worker *w, struct ang_rpc *rpc, bool stream) {
    fail();
}
void ang_worker_page(struct ang_worker *w, struct ang_paging *pg) {
    fail();
}
void ang_answer_free(struct ang_answer **a) {
    fail();
}

/* A worker: attaches gateways, and answers queries as it is told. */
struct fake {
    struct ang_loop *loop;
    struct ang_rpc_server *server;
    struct ang_rpc *attach; /* loop */
    atomic_int attached, queries;
    _Atomic uint32_t code; /* of queries */
    atomic_bool hang;      /* queries get no answer; not with others that do */
    struct ang_rpc *hanging;
    struct ang_buf book;
    struct ang_slice message; /* to send on the stream */
};

static void attach_gone(struct ang_rpc *rpc, void *user) {
    struct fake *f = user;
    struct ang_status *st = ang_status_new(ANG_CANCELLED, "gone");

    f->attach = NULL;
    f->attached = 0;
    ang_rpc_fail(rpc, &st);
}

static void on_attach(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct fake *f = arg;
    const struct ang_slice empty = ANG_SLICE_NONE;
    struct ang_wire_field id;

    assert_true(ang_wire_find(request, 1, &id));
    assert_memory_equal(id.bytes.p, "gw-", 3);
    f->attach = rpc;
    ang_rpc_set_user(rpc, f, attach_gone);
    assert_true(ang_rpc_send(rpc, &empty, 1));
    f->attached++;
}

static void query_gone(struct ang_rpc *rpc, void *user) {
    struct fake *f = user;
    struct ang_status *st = ang_status_new(ANG_CANCELLED, "gone");

    f->hanging = NULL;
    ang_rpc_fail(rpc, &st);
}

static bool refuses(struct fake *f, struct ang_rpc *rpc) {
    struct ang_status *st;

    f->queries++;
    if (f->hang) {
        f->hanging = rpc;
        ang_rpc_set_user(rpc, f, query_gone);
        return (true);
    }
    if (f->code == ANG_OK)
        return (false);
    st = ang_status_new(f->code, "said the worker");
    ang_status_add(st, "x-worker", ang_slice_str("yes"));
    ang_rpc_fail(rpc, &st);
    return (true);
}

static void on_book(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct fake *f = arg;
    const struct ang_slice book = ang_buf_slice(&f->book);

    if (!refuses(f, rpc))
        ang_rpc_reply(rpc, &book, 1);
}

static void on_events(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct fake *f = arg;
    const struct ang_slice book = ang_buf_slice(&f->book);

    if (refuses(f, rpc))
        return;
    assert_true(ang_rpc_send(rpc, &book, 1));
    assert_true(ang_rpc_send(rpc, &book, 1));
    ang_rpc_end(rpc);
}

static const struct ang_rpc_method methods[] = {{"/angzarr.ext.Worker/Attach", ANG_RPC_SERVER_STREAM, on_attach},
                                                {BOOK, ANG_RPC_UNARY, on_book},
                                                {EVENTS, ANG_RPC_SERVER_STREAM, on_events}};

static void fake_open(struct fake *f, size_t pages) {
    const struct ang_rpc_server_conf conf = {.address = "127.0.0.1:0",
                                             .max_message = 1 << 20,
                                             .methods = methods,
                                             .n_methods = ANG_COUNT(methods),
                                             .arg = f};
    struct ang_rpc_server_conf own = conf;

    memset(f, 0, sizeof *f);
    f->loop = own.loop = ang_loop_new("fake", NULL, NULL);
    OK(ang_rpc_server_open(&own, &f->server));
    ang_loop_start(f->loop);
    while (pages-- > 0) {
        ang_wire_put_header(&f->book, 3, 2);
        ang_wire_put_uint(&f->book, 1, (uint64_t)pages);
    }
}

static void fake_break(void *arg) {
    struct fake *f = arg;
    struct ang_rpc *rpc = f->attach;

    if (rpc == NULL)
        return;
    f->attach = NULL;
    f->attached = 0;
    ang_rpc_end(rpc);
}

static void fake_send(void *arg) {
    struct fake *f = arg;

    assert_non_null(f->attach);
    assert_true(ang_rpc_send(f->attach, &f->message, 1));
}

static void fake_close(struct fake *f) {
    ang_loop_call(f->loop, fake_break, f);
    ang_rpc_server_close(f->server, 0);
    ang_loop_stop(f->loop);
    ang_buf_fini(&f->book);
}

static void published(void *arg, struct ang_err *er, int64_t offset) {
    assert_null(er);
    (*(atomic_int *)arg)++;
}

static void own(struct stage *s, const char *domain, int32_t partition, const struct fake *f, int32_t generation,
                enum ang_owner_state state) {
    const struct ang_owner o = {.state = state,
                                .endpoint = ang_rpc_server_address(f->server),
                                .worker = "w",
                                .generation = generation,
                                .start_ms = 1};
    atomic_int done = 0;

    OK(ang_owners_publish(s->log, s->t, ang_topology_domain(s->t, ang_slice_str(domain))->group, partition, &o, NULL, 0,
                          published, &done));
    KIT_UNTIL(done == 1);
}

static void own_all(struct stage *s, const char *domain, const struct fake *f, int32_t generation) {
    for (int32_t p = 0; p < PARTITIONS; p++)
        own(s, domain, p, f, generation, ANG_OWNER_SERVING);
}

/* Answers a command of root_a over the worker's stream. */
static void answer(struct fake *f, const struct ang_rec *rec, uint32_t code) {
    struct ang_buf a = {0}, m = {0};

    ang_wire_put_str(&a, 1, "order");
    ang_wire_put_bytes(&a, 2, ang_slice_of(root_a, 16));
    ang_wire_put_str(&a, 4, hdr(rec, "command-id"));
    ang_wire_put_uint(&a, 5, (uint64_t)atoi(hdr(rec, "attempt")));
    ang_wire_put_uint(&a, 7, code);
    ang_wire_put_str(&a, code == ANG_OK ? 9 : 8, "from afar");
    ang_wire_put_bytes(&m, 1, ang_buf_slice(&a));
    f->message = ang_buf_slice(&m);
    ang_loop_call(f->loop, fake_send, f);
    ang_buf_fini(&a);
    ang_buf_fini(&m);
}

static struct answer *query(struct stage *s, const char *path, bool root, int64_t wait_ms) {
    struct ang_buf b = {0};
    struct answer *a = kit_call(path, ANG_SLICE_NONE);

    put_cover(&b, root ? ang_slice_of(root_a, 16) : ANG_SLICE_NONE, root ? "order" : NULL, root ? NULL : "corr-1",
              NULL);
    a->part = ang_buf_slice(&b);
    a->req.deadline_ms = ang_now_ms() + wait_ms;
    if (strcmp(path, EVENTS) == 0)
        a->req.message = kit_message;
    kit_start(&s->k, a); /* copies the request */
    ang_buf_fini(&b);
    return (a);
}

static int32_t partition_a(void) {
    return (ang_partition_of_root(root_a, PARTITIONS));
}

static void test_answers_come_by_the_stream(void **state) {
    struct ang_rec *rec;
    struct answer *a;
    struct stage s;
    struct fake f;

    fake_open(&f, 0);
    stage_open(&s, NULL);
    own(&s, "order", partition_a(), &f, 1, ANG_OWNER_SERVING);
    KIT_UNTIL(f.attached == 1);
    a = execute(&s, NULL, ANG_NEVER);
    rec = record(&s);
    answer(&f, rec, ANG_OK);
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    assert_true(ang_slice_is(ang_buf_slice(&a->response), "from afar"));
    ang_rec_free(&rec);
    kit_free(&a);
    stage_close(&s);
    fake_close(&f);
}

/* L20: sent before anybody could answer, and while the stream was broken: again once it stands, and only then. */
static void test_sent_again_when_the_stream_stands(void **state) {
    struct ang_rec *first, *second, *third;
    struct answer *a;
    struct stage s;
    struct fake f;

    fake_open(&f, 0);
    stage_open(&s, NULL);
    a = execute(&s, NULL, ANG_NEVER);
    first = record(&s);
    assert_null(next_record(&s, 100));
    own(&s, "order", partition_a(), &f, 1, ANG_OWNER_RESTORING);
    KIT_UNTIL(f.attached == 1);
    assert_null(next_record(&s, 100)); /* not yet: it may still find it in the log */
    own(&s, "order", partition_a(), &f, 1, ANG_OWNER_SERVING);
    second = record(&s);
    assert_string_equal(hdr(second, "attempt"), "2");
    assert_string_equal(hdr(second, "command-id"), hdr(first, "command-id"));
    assert_string_equal(hdr(second, "deadline"), hdr(first, "deadline"));
    assert_true(ang_slice_eq(first->value, second->value));
    ang_loop_call(f.loop, fake_break, &f);
    third = record(&s);
    assert_string_equal(hdr(third, "attempt"), "3");
    KIT_UNTIL(f.attached == 1);
    answer(&f, second, ANG_FAILED_PRECONDITION); /* not of the last attempt */
    pause_ms(50);
    assert_int_equal(a->n_done, 0);
    answer(&f, third, ANG_FAILED_PRECONDITION);
    kit_wait(a);
    kit_expect(a, ANG_FAILED_PRECONDITION, "from afar");
    ang_rec_free(&first);
    ang_rec_free(&second);
    ang_rec_free(&third);
    kit_free(&a);
    stage_close(&s);
    fake_close(&f);
}

static void test_a_new_owner(void **state) {
    struct ang_rec *first, *second;
    struct fake f1, f2;
    struct answer *a;
    struct stage s;

    fake_open(&f1, 0);
    fake_open(&f2, 0);
    stage_open(&s, NULL);
    own(&s, "order", partition_a(), &f1, 1, ANG_OWNER_SERVING);
    own(&s, "inventory", 0, &f2, 1, ANG_OWNER_SERVING);
    KIT_UNTIL(f1.attached == 1 && f2.attached == 1);
    a = execute(&s, NULL, ANG_NEVER);
    first = record(&s);
    own(&s, "order", partition_a(), &f2, 2, ANG_OWNER_SERVING);
    second = record(&s);
    assert_string_equal(hdr(second, "attempt"), "2");
    answer(&f1, first, ANG_OK); /* the old owner's last words still count */
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    ang_rec_free(&first);
    ang_rec_free(&second);
    kit_free(&a);
    stage_close(&s);
    fake_close(&f1);
    fake_close(&f2);
}

static void test_bad_answers_cost_the_stream(void **state) {
    struct ang_rec *rec;
    struct answer *a;
    struct stage s;
    struct fake f;

    fake_open(&f, 0);
    stage_open(&s, NULL);
    own(&s, "order", partition_a(), &f, 1, ANG_OWNER_SERVING);
    KIT_UNTIL(f.attached == 1);
    a = execute(&s, NULL, ANG_NEVER);
    rec = record(&s);
    ang_rec_free(&rec);
    f.message = ang_slice_str("\x0a\x7f");
    ang_loop_call(f.loop, fake_send, &f);
    rec = record(&s); /* a new stream, so a new copy */
    KIT_UNTIL(f.attached == 1);
    answer(&f, rec, ANG_OK);
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    ang_rec_free(&rec);
    kit_free(&a);
    stage_close(&s);
    fake_close(&f);
}

/* A partition on the move is waited for: nobody, then one that does not serve it any more, then one that hangs. */
static void test_query_of_a_root(void **state) {
    struct fake f1, f2, f3;
    struct answer *a;
    struct stage s;

    fake_open(&f1, 1);
    fake_open(&f2, 1);
    fake_open(&f3, 2);
    f1.code = ANG_UNAVAILABLE;
    f2.hang = true;
    stage_open(&s, NULL);
    a = query(&s, BOOK, true, 20000);
    own(&s, "order", partition_a(), &f1, 1, ANG_OWNER_SERVING);
    KIT_UNTIL(f1.queries > 1);
    own(&s, "order", partition_a(), &f2, 2, ANG_OWNER_SERVING);
    KIT_UNTIL(f2.queries > 0);
    assert_int_equal(a->n_done, 0);
    own(&s, "order", partition_a(), &f3, 3, ANG_OWNER_SERVING);
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(a->response.n, f3.book.n);
    kit_free(&a);

    a = query(&s, EVENTS, true, 20000);
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(a->n_messages, 2);
    kit_free(&a);

    f3.code = ANG_RESOURCE_EXHAUSTED; /* any other status is the caller's, as it came */
    a = query(&s, BOOK, true, 20000);
    kit_wait(a);
    kit_expect(a, ANG_RESOURCE_EXHAUSTED, "said the worker");
    assert_non_null(kit_trailer(a, "x-worker"));
    kit_free(&a);

    f3.code = ANG_UNAVAILABLE;
    a = query(&s, BOOK, true, 500);
    kit_wait(a);
    kit_expect(a, ANG_UNAVAILABLE, "order.commands");
    kit_free(&a);
    stage_close(&s);
    fake_close(&f1);
    fake_close(&f2);
    fake_close(&f3);
}

/* Without a root every partition counts: asked once all are served, each worker once. */
static void test_query_of_all(void **state) {
    struct fake empty, full;
    struct answer *a;
    struct stage s;

    fake_open(&empty, 0);
    fake_open(&full, 1);
    stage_open(&s, NULL);
    own_all(&s, "order", &empty, 1);
    for (int32_t p = 1; p < PARTITIONS; p++)
        own(&s, "inventory", p, &full, 1, ANG_OWNER_SERVING);
    a = query(&s, BOOK, false, 20000);
    pause_ms(300);
    assert_int_equal(a->n_done, 0);
    assert_int_equal(empty.queries + full.queries, 0);
    own(&s, "inventory", 0, &full, 1, ANG_OWNER_SERVING);
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(a->response.n, full.book.n);
    kit_free(&a);

    a = query(&s, EVENTS, false, 20000);
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(a->n_messages, 4);
    kit_free(&a);

    ang_buf_clear(&full.book); /* nobody has anything */
    a = query(&s, BOOK, false, 20000);
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(a->response.n, 0);
    kit_free(&a);

    full.code = ANG_INTERNAL;
    a = query(&s, EVENTS, false, 20000);
    kit_wait(a);
    kit_expect(a, ANG_INTERNAL, "said the worker");
    kit_free(&a);
    stage_close(&s);
    fake_close(&empty);
    fake_close(&full);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_come_by_the_stream),
        cmocka_unit_test(test_sent_again_when_the_stream_stands),
        cmocka_unit_test(test_a_new_owner),
        cmocka_unit_test(test_bad_answers_cost_the_stream),
        cmocka_unit_test(test_query_of_a_root),
        cmocka_unit_test(test_query_of_all),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
