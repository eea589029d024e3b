/* The gateway in front of a worker in its own process: what reaches the log, and what the caller hears. */
#include "tests/unit/gateway/stage.h"

/* The worker: where its answers go, and what it was asked. */
struct ang_worker {
    char gateway[128];
    void (*deliver)(void *arg, struct ang_answer *list);
    void *arg;
    atomic_int books, streams;
};

void ang_worker_attach(struct ang_worker *w, const char *gateway, void (*deliver)(void *, struct ang_answer *),
                       void *arg) {
    snprintf(w->gateway, sizeof w->gateway, "%s", gateway);
    w->deliver = deliver;
    w->arg = arg;
}

void ang_worker_detach(struct ang_worker *w, const char *gateway, void *arg) {
    assert_string_equal(w->gateway, gateway);
    assert_ptr_equal(w->arg, arg);
    w->deliver = NULL;
}

void ang_worker_page(struct ang_worker *w, struct ang_paging *pg) {
    fail();
}

void ang_worker_query(struct ang_worker *w, struct ang_rpc *rpc, bool stream) {
    const struct ang_slice book = ang_slice_str("book");

    if (!stream) {
        w->books++;
        ang_rpc_reply(rpc, &book, 1);
        return;
    }
    w->streams++;
    assert_true(ang_rpc_send(rpc, &book, 1));
    ang_rpc_end(rpc);
}

void ang_answer_free(struct ang_answer **a) {
    ang_status_free(&(*a)->status);
    ang_blob_unref((*a)->response);
    free(*a);
    *a = NULL;
}

static struct ang_answer *answer_to(const struct stage *s, const struct ang_rec *rec, uint32_t code) {
    struct ang_answer *a = ANG_NEW(struct ang_answer);
    struct ang_uuid root;

    assert_true(ang_uuid_parse(ang_slice_of(rec->key.p, ANG_UUID_TEXT), &root));
    a->magic = ANG_ANSWER_MAGIC;
    a->domain = order(s);
    memcpy(a->root, root.b, 16);
    if (rec->key.n > ANG_UUID_TEXT)
        memcpy(a->edition, rec->key.p + ANG_UUID_TEXT + 1, rec->key.n - ANG_UUID_TEXT - 1);
    strcpy(a->command_id, hdr(rec, "command-id"));
    a->attempt = (uint32_t)atoi(hdr(rec, "attempt"));
    a->code = code;
    if (code == ANG_OK)
        a->response = ang_blob_copy(ang_slice_str("response"));
    else
        a->status = ang_status_new(code, "refused by the business");
    return (a);
}

static struct ang_worker worker;

static const struct {
    const char *what;
    bool cover;
    int root; /* bytes; -1: none */
    const char *domain, *correlation, *edition;
    uint32_t code;
    const char *text;
} invalid[] = {
    {"no cover", false, -1, NULL, NULL, NULL, ANG_INVALID_ARGUMENT, "CommandBook must have a cover"},
    {"no root", true, -1, "order", NULL, NULL, ANG_INVALID_ARGUMENT, "Cover must have a root UUID"},
    {"short root", true, 15, "order", NULL, NULL, ANG_INVALID_ARGUMENT, "Invalid UUID: "},
    {"empty root", true, 0, "order", NULL, NULL, ANG_INVALID_ARGUMENT, "Invalid UUID: "},
    {"long root", true, 17, "order", NULL, NULL, ANG_INVALID_ARGUMENT, "Invalid UUID: "},
    {"no domain", true, 16, NULL, NULL, NULL, ANG_INVALID_ARGUMENT, "domain"},
    {"empty domain", true, 16, "", NULL, NULL, ANG_INVALID_ARGUMENT, "domain"},
    {"capitals in the domain", true, 16, "Order", NULL, NULL, ANG_INVALID_ARGUMENT, "domain"},
    {"domain of 65", true, 16, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL, NULL,
     ANG_INVALID_ARGUMENT, "domain"},
    {"unknown domain", true, 16, "orders", NULL, NULL, ANG_NOT_FOUND, "orders"},
    {"space in the correlation id", true, 16, "order", "a b", NULL, ANG_INVALID_ARGUMENT, "correlation_id"},
    {"edition that is no name", true, 16, "order", NULL, "9lives", ANG_INVALID_ARGUMENT, "edition"},
};

static void test_validation(void **state) {
    static const uint8_t bytes[17] = {7};
    struct stage s;
    size_t i;

    stage_open(&s, &worker);
    for (i = 0; i < ANG_COUNT(invalid); i++) {
        struct ang_buf b = {0};
        struct answer *a;

        if (invalid[i].cover)
            put_cover(&b, invalid[i].root < 0 ? ANG_SLICE_NONE : ang_slice_of(bytes, (size_t)invalid[i].root),
                      invalid[i].domain, invalid[i].correlation, invalid[i].edition);
        print_message("%s\n", invalid[i].what);
        a = kit_call(EXECUTE, ang_buf_slice(&b));
        kit_run(&s.k, a);
        kit_expect(a, invalid[i].code, invalid[i].text);
        kit_free(&a);
        ang_buf_fini(&b);
    }
    assert_null(next_record(&s, 100));
    stage_close(&s);
}

/* Every way to send a command leads to the same record, and its answer back. */
static void test_record(void **state) {
    static const char *const paths[] = {EXECUTE, "/angzarr.CommandGateway/ExecuteSync",
                                        "/angzarr.BusinessCoordinator/Handle", "/angzarr.AggregateCoordinator/Handle",
                                        "/angzarr.AggregateCoordinator/HandleSync"};
    struct ang_buf book = {0}, request = {0}, expected = {0};
    struct ang_wire_command_book parsed;
    char text[ANG_UUID_TEXT + 1];
    struct ang_uuid id;
    struct stage s;
    size_t i;

    stage_open(&s, &worker);
    put_cover(&book, ang_slice_of(root_a, 16), "order", NULL, "whatif");
    put_page(&book, "type.googleapis.com/shop.Create", 10);
    put_page(&book, "type.googleapis.com/shop.Create", 10);
    put_page(&book, "shop.Pay", 10);
    put_page(&book, "bad,name", 10);
    ang_uuid_v5(&ang_uuid_ns_correlation, ang_buf_slice(&book), &id);
    ang_uuid_text(id.b, text);
    OK(ang_wire_parse_command_book(ang_buf_slice(&book), &parsed));
    ang_wire_add_command_book(&expected, &parsed, ang_slice_str(text));
    for (i = 0; i < ANG_COUNT(paths); i++) {
        const bool sync = strstr(paths[i], "Sync") != NULL;
        const int64_t before = ang_wall_ms();
        struct ang_rec *rec;
        struct answer *a;

        ang_buf_clear(&request);
        if (sync)
            ang_wire_put_bytes(&request, 1, ang_buf_slice(&book));
        a = kit_call(paths[i], sync ? ang_buf_slice(&request) : ang_buf_slice(&book));
        kit_start(&s.k, a);
        rec = record(&s);
        assert_int_equal(rec->key.n, 36 + 7);
        assert_memory_equal(rec->key.p, "a0010203-0405-0607-0809-0a0b0c0d0e0f@whatif", rec->key.n);
        assert_int_equal(rec->partition, ang_partition_of_root(root_a, PARTITIONS));
        assert_true(ang_slice_eq(rec->value, ang_buf_slice(&expected)));
        assert_string_equal(hdr(rec, "correlation-id"), text);
        assert_string_equal(hdr(rec, "types"), "shop.Create,shop.Pay");
        assert_string_equal(hdr(rec, "attempt"), "1");
        assert_string_equal(hdr(rec, "kind"), "(none)");
        assert_string_equal(hdr(rec, "reply-to"), worker.gateway);
        assert_int_equal(strncmp(worker.gateway, "gw-", 3), 0);
        assert_true(ang_uuid_parse(ang_slice_str(hdr(rec, "command-id")), &id));
        assert_in_range(atoll(hdr(rec, "start")), before, ang_wall_ms());
        assert_in_range(atoll(hdr(rec, "deadline")) - atoll(hdr(rec, "start")), DEADLINE_MS - 200, DEADLINE_MS);
        worker.deliver(worker.arg, answer_to(&s, rec, ANG_OK));
        kit_wait(a);
        kit_expect(a, ANG_OK, NULL);
        assert_true(ang_slice_is(ang_buf_slice(&a->response), "response"));
        ang_rec_free(&rec);
        kit_free(&a);
    }
    ang_buf_fini(&book);
    ang_buf_fini(&request);
    ang_buf_fini(&expected);
    stage_close(&s);
}

/* Facts become a command whose page holds them as they came. */
static void test_facts(void **state) {
    struct ang_buf book = {0}, page = {0}, cover = {0}, expected = {0};
    struct ang_wire_event_book parsed;
    char text[ANG_UUID_TEXT + 1];
    struct ang_uuid id;
    struct ang_rec *rec;
    struct answer *a;
    struct stage s;

    stage_open(&s, &worker);
    a = kit_call("/angzarr.BusinessCoordinator/Record", ang_slice_str(""));
    kit_run(&s.k, a);
    kit_expect(a, ANG_INVALID_ARGUMENT, "EventBook must have a cover");
    kit_free(&a);
    put_cover(&book, ang_slice_of(root_a, 16), "order", NULL, "whatif");
    ang_wire_put_any(&page, 4, ang_slice_str("type.googleapis.com/shop.Created"), ang_slice_str("payload"));
    ang_wire_put_bytes(&book, 3, ang_buf_slice(&page));
    ang_uuid_v5(&ang_uuid_ns_correlation, ang_buf_slice(&book), &id);
    ang_uuid_text(id.b, text);
    OK(ang_wire_parse_event_book(ang_buf_slice(&book), &parsed));
    ang_wire_add_cover(&cover, &parsed.cover, ang_slice_str(text));
    ang_wire_add_record(&expected, ang_buf_slice(&cover), ang_buf_slice(&book));
    a = kit_call("/angzarr.BusinessCoordinator/Record", ang_buf_slice(&book));
    kit_start(&s.k, a);
    rec = record(&s);
    assert_memory_equal(rec->key.p, "a0010203-0405-0607-0809-0a0b0c0d0e0f@whatif", rec->key.n);
    assert_int_equal(rec->partition, ang_partition_of_root(root_a, PARTITIONS));
    assert_true(ang_slice_eq(rec->value, ang_buf_slice(&expected)));
    assert_string_equal(hdr(rec, "kind"), "record");
    assert_string_equal(hdr(rec, "correlation-id"), text);
    assert_string_equal(hdr(rec, "types"), "shop.Created");
    assert_string_equal(hdr(rec, "attempt"), "1");
    worker.deliver(worker.arg, answer_to(&s, rec, ANG_OK));
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    ang_rec_free(&rec);
    kit_free(&a);
    ang_buf_fini(&book);
    ang_buf_fini(&page);
    ang_buf_fini(&cover);
    ang_buf_fini(&expected);
    stage_close(&s);
}

static void test_refusal_comes_whole(void **state) {
    struct stage s;
    struct ang_answer *w;
    struct ang_rec *rec;
    struct answer *a;

    stage_open(&s, &worker);
    a = execute(&s, "key-1", ANG_NEVER);
    rec = record(&s);
    assert_string_equal(hdr(rec, "command-id"), "key-1");
    assert_string_equal(hdr(rec, "correlation-id"), "corr-1");
    w = answer_to(&s, rec, ANG_FAILED_PRECONDITION);
    ang_status_add(w->status, "angzarr-event-book-bin", ang_slice_of("\0book", 5));
    worker.deliver(worker.arg, w);
    kit_wait(a);
    kit_expect(a, ANG_FAILED_PRECONDITION, "refused by the business");
    assert_non_null(kit_trailer(a, "angzarr-event-book-bin"));
    assert_int_equal(kit_trailer(a, "angzarr-event-book-bin")->value.n, 5);
    ang_rec_free(&rec);
    kit_free(&a);
    stage_close(&s);
}

static const struct {
    const char *path;
    int mode;
    uint32_t code;
    const char *text;
} modes[] = {
    {"/angzarr.CommandGateway/ExecuteSync", 1, ANG_UNIMPLEMENTED, "SIMPLE"},
    {"/angzarr.CommandGateway/ExecuteSync", 2, ANG_UNIMPLEMENTED, "CASCADE"},
    {"/angzarr.AggregateCoordinator/HandleSync", 2, ANG_UNIMPLEMENTED, "CASCADE"},
    {"/angzarr.CommandGateway/ExecuteSync", 3, ANG_INVALID_ARGUMENT, "sync_mode"},
    {"/angzarr.CommandGateway/ExecuteSync", 0, ANG_INVALID_ARGUMENT, "command"},
    {"/angzarr.CommandGateway/ExecuteStreams", 0, ANG_UNIMPLEMENTED, "ExecuteStreams"},
    {"/angzarr.SagaCoordinator/Handle", 0, ANG_UNIMPLEMENTED, "Handle"},
};

static void test_what_is_not_there(void **state) {
    struct stage s;
    size_t i;

    stage_open(&s, &worker);
    for (i = 0; i < ANG_COUNT(modes); i++) {
        struct ang_buf b = {0};
        struct answer *a;

        ang_wire_put_uint(&b, 2, (uint64_t)modes[i].mode);
        a = kit_call(modes[i].path, ang_buf_slice(&b));
        kit_run(&s.k, a);
        kit_expect(a, modes[i].code, modes[i].text);
        kit_free(&a);
        ang_buf_fini(&b);
    }
    stage_close(&s);
}

static void test_bad_bytes_and_keys(void **state) {
    static const char *const keys[] = {
        "", "with space",
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
        "89012345678901234567890123456789012345678"};
    struct stage s;
    struct answer *a;
    size_t i;

    stage_open(&s, &worker);
    a = kit_call(EXECUTE, ang_slice_of("\x0a\xff", 2));
    kit_run(&s.k, a);
    kit_expect(a, ANG_INVALID_ARGUMENT, "CommandBook");
    kit_free(&a);
    for (i = 0; i < ANG_COUNT(keys); i++) {
        a = execute(&s, keys[i], ANG_NEVER);
        kit_wait(a);
        kit_expect(a, ANG_INVALID_ARGUMENT, "idempotency-key");
        kit_free(&a);
    }
    stage_close(&s);
}

/* What was sent is not over the limit; the correlation id makes it larger, and the topics have room for that. */
static void test_largest(void **state) {
    struct ang_buf b = {0};
    struct ang_rec *rec;
    struct answer *a;
    struct stage s;

    stage_open(&s, &worker);
    put_cover(&b, ang_slice_of(root_a, 16), "order", NULL, NULL);
    put_page(&b, "t/x", MESSAGE_MAX - b.n - 30);
    assert_in_range(b.n, MESSAGE_MAX - 30, MESSAGE_MAX);
    a = kit_call(EXECUTE, ang_buf_slice(&b));
    kit_start(&s.k, a);
    rec = record(&s);
    assert_true(rec->value.n > MESSAGE_MAX);
    worker.deliver(worker.arg, answer_to(&s, rec, ANG_OK));
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    ang_rec_free(&rec);
    kit_free(&a);
    ang_buf_fini(&b);
    stage_close(&s);
}

static void test_in_flight(void **state) {
    struct answer *a[IN_FLIGHT], *more;
    struct ang_rec *rec;
    struct stage s;
    int i;

    stage_open(&s, &worker);
    for (i = 0; i < IN_FLIGHT; i++) {
        a[i] = execute(&s, NULL, ANG_NEVER);
        rec = record(&s);
        ang_rec_free(&rec);
    }
    more = execute(&s, NULL, ANG_NEVER);
    kit_wait(more);
    kit_expect(more, ANG_RESOURCE_EXHAUSTED, "gateway.in_flight");
    assert_non_null(kit_trailer(more, "grpc-retry-pushback-ms"));
    kit_free(&more);

    kit_cancel(&s.k, a[0]); /* who goes makes room */
    kit_wait(a[0]);
    do {
        more = execute(&s, NULL, ANG_NEVER);
        rec = next_record(&s, 100);
        if (rec == NULL) {
            kit_wait(more);
            kit_expect(more, ANG_RESOURCE_EXHAUSTED, NULL);
            kit_free(&more);
        }
    } while (rec == NULL);
    worker.deliver(worker.arg, answer_to(&s, rec, ANG_OK));
    kit_wait(more);
    kit_expect(more, ANG_OK, NULL);
    ang_rec_free(&rec);
    kit_free(&more);

    for (i = 1; i < IN_FLIGHT; i++) { /* nobody answers these */
        kit_wait(a[i]);
        kit_expect(a[i], ANG_DEADLINE_EXCEEDED, "order.commands");
    }
    for (i = 0; i < IN_FLIGHT; i++)
        kit_free(&a[i]);
    stage_close(&s);
}

/* The caller's deadline goes into the record, a little shortened so that the caller hears what an expired copy comes to. */
static uint32_t refused_at_the_deadline(struct stage *s) {
    struct answer *a = execute(s, NULL, ang_now_ms() + 2000);
    struct ang_rec *rec = record(s);
    uint32_t code;

    assert_in_range(atoll(hdr(rec, "deadline")) - atoll(hdr(rec, "start")), 1000, 2000);
    worker.deliver(worker.arg, answer_to(s, rec, ANG_UNAVAILABLE)); /* held back until then */
    pause_ms(100);
    assert_int_equal(a->n_done, 0);
    kit_wait(a);
    code = a->st->code;
    if (code == ANG_UNAVAILABLE)
        kit_expect(a, code, "refused by the business");
    assert_in_range(ang_wall_ms(), atoll(hdr(rec, "deadline")), INT64_MAX);
    ang_rec_free(&rec);
    kit_free(&a);
    return (code);
}

static void test_deadline(void **state) {
    uint32_t code = ANG_DEADLINE_EXCEEDED;
    struct stage s;
    int i;

    stage_open(&s, &worker);
    /* The caller's own clock wins where the machine stalls for the 100 ms that it was given: not every time. */
    for (i = 0; i < 10 && code == ANG_DEADLINE_EXCEEDED; i++)
        code = refused_at_the_deadline(&s);
    assert_int_equal(code, ANG_UNAVAILABLE);
    stage_close(&s);
}

static void test_queries(void **state) {
    struct ang_buf b = {0};
    struct stage s;
    struct answer *a;

    worker.books = worker.streams = 0;
    stage_open(&s, &worker);
    a = kit_call(BOOK, ang_buf_slice(&b));
    kit_run(&s.k, a);
    kit_expect(a, ANG_INVALID_ARGUMENT, "Query must have a cover");
    kit_free(&a);
    put_cover(&b, ANG_SLICE_NONE, "order", NULL, NULL);
    a = kit_call(BOOK, ang_buf_slice(&b));
    kit_run(&s.k, a);
    kit_expect(a, ANG_INVALID_ARGUMENT, "correlation_id");
    kit_free(&a);
    ang_buf_clear(&b);
    put_cover(&b, ANG_SLICE_NONE, "orders", "c", NULL);
    a = kit_call(BOOK, ang_buf_slice(&b));
    kit_run(&s.k, a);
    kit_expect(a, ANG_NOT_FOUND, "orders");
    kit_free(&a);
    assert_int_equal(worker.books, 0);
    ang_buf_clear(&b);
    put_cover(&b, ang_slice_of(root_a, 16), "order", NULL, NULL);
    a = kit_call(BOOK, ang_buf_slice(&b));
    kit_run(&s.k, a);
    kit_expect(a, ANG_OK, NULL);
    assert_true(ang_slice_is(ang_buf_slice(&a->response), "book"));
    kit_free(&a);
    a = kit_call(EVENTS, ang_buf_slice(&b));
    a->req.message = kit_message;
    kit_run(&s.k, a);
    kit_expect(a, ANG_OK, NULL);
    assert_int_equal(a->n_messages, 1);
    assert_int_equal(worker.books + worker.streams, 2);
    kit_free(&a);
    ang_buf_fini(&b);
    stage_close(&s);
}

static void *stop_soon(void *arg) {
    ang_gateway_stop(arg, 300);
    return (NULL);
}

/* What ends in time ends well, what does not is told, and nothing new is taken. */
static void test_stop(void **state) {
    struct ang_rec *rec, *late;
    struct answer *a, *b;
    pthread_t thread;
    struct stage s;

    stage_open(&s, &worker);
    a = execute(&s, NULL, ANG_NEVER);
    rec = record(&s);
    b = execute(&s, NULL, ANG_NEVER);
    late = record(&s);
    ANG_PT(pthread_create(&thread, NULL, stop_soon, s.g));
    worker.deliver(worker.arg, answer_to(&s, rec, ANG_OK));
    kit_wait(a);
    kit_expect(a, ANG_OK, NULL);
    kit_wait(b);
    kit_expect(b, ANG_UNAVAILABLE, "the gateway has stopped");
    ANG_PT(pthread_join(thread, NULL));
    assert_null(worker.deliver);
    s.g = NULL;
    ang_rec_free(&rec);
    ang_rec_free(&late);
    kit_free(&a);
    kit_free(&b);
    stage_close(&s);
}

static void test_a_taken_address(void **state) {
    struct ang_gateway_conf conf = {.local = &worker};
    struct ang_gateway *g = NULL;
    struct stage s;
    char *address;

    stage_open(&s, &worker);
    address = s.set->gateway.address;
    s.set->gateway.address = ang_strdup(ang_gateway_address(s.g));
    conf.settings = s.set;
    conf.log = s.log;
    conf.topology = s.t;
    conf.address = s.set->gateway.address;
    FAILS(ang_gateway_start(&conf, &g), ANG_E_RPC_BIND);
    assert_null(g);
    free(s.set->gateway.address);
    s.set->gateway.address = address;
    stage_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_refusal_comes_whole),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_bad_bytes_and_keys),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_in_flight),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_a_taken_address),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
