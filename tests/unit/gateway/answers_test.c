/* Decoding the messages of an Attach stream: what a worker writes is read, and nothing else is taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "angzarr/ext/worker.pb-c.h"
#include "gateway/workers.h"
#include "proto/wire.h"

/* The topology of these tests: one domain. */
static const struct ang_domain orders = {.magic = ANG_DOMAIN_MAGIC, .name = "order", .partitions = 4};

const struct ang_domain *ang_topology_domain(const struct ang_topology *t, struct ang_slice name) {
    return (ang_slice_is(name, "order") ? &orders : NULL);
}

static struct {
    int n;
    struct ang_pending_answer last;
    char text[1024]; /* response or message, edition, command id, trailers: what is borrowed */
} seen;

static void take(void *arg, const struct ang_pending_answer *a) {
    const struct ang_status *st = a->status;
    const struct ang_slice body = st == NULL ? a->response : ang_slice_str(st->msg);
    size_t i;
    int n;

    seen.n++;
    seen.last = *a;
    n = snprintf(seen.text, sizeof seen.text, "%.*s|%.*s|%.*s", (int)body.n, (const char *)body.p, (int)a->id.edition.n,
                 (const char *)a->id.edition.p, (int)a->id.command_id.n, (const char *)a->id.command_id.p);
    for (i = 0; st != NULL && i < st->n_trailers; i++)
        n += snprintf(seen.text + n, sizeof seen.text - (size_t)n, "|%s=%.*s", st->trailers[i].key,
                      (int)st->trailers[i].value.n, (const char *)st->trailers[i].value.p);
}

static char s_order[] = "order", s_other[] = "other", s_edition[] = "whatif", s_id[] = "id-1", s_refused[] = "refused",
            s_key[] = "x-key", s_value[] = "v", s_key2[] = "x-two-bin", s_response[] = "response",
            s_topic[] = "o.commands";
static uint8_t root[16] = {1, 2, 3};

static struct ang_err *decode(struct ang_slice bytes) {
    memset(&seen, 0, sizeof seen);
    return (ang_answers_decode(bytes, NULL, take, NULL));
}

static void test_what_a_worker_writes(void **state) {
    Angzarr__Ext__Trailer one = ANGZARR__EXT__TRAILER__INIT, two = ANGZARR__EXT__TRAILER__INIT;
    Angzarr__Ext__Trailer *trailers[] = {&one, &two};
    Angzarr__Ext__Answer a = ANGZARR__EXT__ANSWER__INIT, other = ANGZARR__EXT__ANSWER__INIT;
    Angzarr__Ext__Answer *list[] = {&other, &a};
    Angzarr__Ext__Answers m = ANGZARR__EXT__ANSWERS__INIT;
    uint8_t bytes[1024];

    one.key = s_key;
    one.value = (ProtobufCBinaryData){1, (uint8_t *)s_value};
    two.key = s_key2;
    a.domain = s_order;
    other.domain = s_other;
    a.root = other.root = (ProtobufCBinaryData){16, root};
    a.edition = s_edition;
    a.command_id = s_id;
    a.attempt = 7;
    a.final = true;
    a.topic = s_topic;
    a.partition = 3;
    a.position = 1234567890123;
    m.answers = list;
    m.n_answers = 2;

    a.response = (ProtobufCBinaryData){8, (uint8_t *)s_response};
    assert_null(decode(ang_slice_of(bytes, angzarr__ext__answers__pack(&m, bytes))));
    assert_int_equal(seen.n, 1); /* a domain that we do not know is somebody else's */
    assert_ptr_equal(seen.last.id.domain, &orders);
    assert_int_equal(seen.last.attempt, 7);
    assert_true(seen.last.final);
    assert_int_equal(seen.last.code, ANG_OK);
    assert_string_equal(seen.text, "response|whatif|id-1");

    a.response.len = 0;
    a.final = false;
    a.code = ANG_FAILED_PRECONDITION;
    a.message = s_refused;
    a.trailers = trailers;
    a.n_trailers = 2;
    assert_null(decode(ang_slice_of(bytes, angzarr__ext__answers__pack(&m, bytes))));
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.last.code, ANG_FAILED_PRECONDITION);
    assert_false(seen.last.final);
    assert_string_equal(seen.text, "refused|whatif|id-1|x-key=v|x-two-bin=");

    assert_null(decode(ANG_SLICE_NONE)); /* "attached" */
    assert_int_equal(seen.n, 0);
}

/* A good answer, with one field replaced or added. */
static const struct {
    const char *what;
    uint32_t number;
    struct {
        const void *p;
        size_t n;
    } bytes; /* p NULL: a varint */
    uint64_t value;
    const char *error;
} bad[] = {
    {"short root", 2, {"123", 3}, 0, ".root"},
    {"root as a number", 2, {NULL, 0}, 5, ".root"},
    {"domain as a number", 1, {NULL, 0}, 5, ".domain"},
    {"edition too long",
     3,
     {"0123456789012345678901234567890123456789012345678901234567890123456789", 70},
     0,
     ".edition"},
    {"attempt as bytes", 5, {"x", 1}, 0, ".attempt"},
    {"attempt out of range", 5, {NULL, 0}, 1ULL << 32, ".attempt"},
    {"code out of range", 7, {NULL, 0}, 1ULL << 40, ".code"},
    {"message that is no text", 8, {"\xff\xfe", 2}, 0, ".message"},
    {"trailer without a key", 10, {"\x12\x01v", 3}, 0, ".trailers"},
    {"trailer with a NUL in its key",
     10,
     {"\x0a\x03"
      "a\0b",
      5},
     0,
     ".trailers"},
    {"trailer as a number", 10, {NULL, 0}, 1, ".trailers"},
};

static void test_what_is_none(void **state) {
    size_t i;

    for (i = 0; i < ANG_COUNT(bad); i++) {
        struct ang_buf a = {0}, m = {0};
        struct ang_err *er;

        ang_wire_put_str(&a, 1, "order");
        ang_wire_put_bytes(&a, 2, ang_slice_of(root, 16));
        ang_wire_put_str(&a, 4, "id-1");
        ang_wire_put_uint(&a, 7, 9);
        if (bad[i].bytes.p != NULL)
            ang_wire_put_bytes(&a, bad[i].number, ang_slice_of(bad[i].bytes.p, bad[i].bytes.n));
        else
            ang_wire_put_uint(&a, bad[i].number, bad[i].value);
        ang_wire_put_bytes(&m, 1, ang_buf_slice(&a));
        er = decode(ang_buf_slice(&m));
        if (er == NULL || er->code != ANG_E_WIRE || strstr(er->msg, bad[i].error) == NULL)
            fail_msg("%s: got %s, expected an error about %s", bad[i].what, er == NULL ? "no error" : er->msg,
                     bad[i].error);
        assert_int_equal(seen.n, 0);
        ang_err_free(&er);
        ang_buf_fini(&a);
        ang_buf_fini(&m);
    }
}

/* Every prefix of a good message, and every byte of it changed: an error or answers, never a read outside. */
static void test_damage(void **state) {
    struct ang_buf a = {0}, m = {0}, t = {0};
    uint8_t *copy;
    struct ang_err *er;
    size_t i;
    int v;

    ang_wire_put_str(&t, 1, "k");
    ang_wire_put_str(&a, 1, "order");
    ang_wire_put_bytes(&a, 2, ang_slice_of(root, 16));
    ang_wire_put_str(&a, 4, "id-1");
    ang_wire_put_uint(&a, 7, 9);
    ang_wire_put_bytes(&a, 10, ang_buf_slice(&t));
    ang_wire_put_bytes(&m, 1, ang_buf_slice(&a));
    for (i = 0; i < m.n; i++) {
        copy = ang_malloc(i + 1); /* exact, so that a sanitizer sees the end */
        memcpy(copy, m.p, i);
        er = decode(ang_slice_of(copy, i));
        assert_true(i == 0 || er != NULL);
        ang_err_free(&er);
        free(copy);
        copy = ang_malloc(m.n);
        for (v = 0; v < 256; v++) {
            memcpy(copy, m.p, m.n);
            copy[i] = (uint8_t)v;
            er = decode(ang_slice_of(copy, m.n));
            ang_err_free(&er);
        }
        free(copy);
    }
    ang_buf_fini(&a);
    ang_buf_fini(&m);
    ang_buf_fini(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_a_worker_writes), cmocka_unit_test(test_what_is_none),
                                       cmocka_unit_test(test_damage)};

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
