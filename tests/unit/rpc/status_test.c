#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"
#include "rpc/rpc_priv.h"

static void names(void **state) {
    assert_string_equal(ang_code_name(ANG_OK), "OK");
    assert_string_equal(ang_code_name(ANG_FAILED_PRECONDITION), "FAILED_PRECONDITION");
    assert_string_equal(ang_code_name(ANG_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(ang_code_name(77), "UNKNOWN");
}

/* Series are told apart by these names, and found by the numbers. */
static void metrics_have_the_same_names(void **state) {
    struct ang_buf b = {NULL, 0, 0};
    uint32_t code;

    for (code = 0; code < ANG_CODES; code++)
        ang_buf_addf(&b, "%s%s", code == 0 ? "" : ",", ang_code_name(code));
    ang_buf_add_u8(&b, '\0');
    assert_string_equal(ang_metrics_values("code"), (const char *)b.p);
    ang_buf_fini(&b);
    assert_int_equal(ang_code_index(ANG_UNAUTHENTICATED), ANG_UNAUTHENTICATED);
    assert_int_equal(ang_code_index(77), ANG_UNKNOWN_STATUS);
}

static void errors_become_codes(void **state) {
    static const struct {
        enum ang_ec ec;
        enum ang_code code;
    } rows[] = {
        {ANG_E_INVALID, ANG_INVALID_ARGUMENT},   {ANG_E_WIRE, ANG_INVALID_ARGUMENT}, {ANG_E_NO_DOMAIN, ANG_NOT_FOUND},
        {ANG_E_TOO_BIG, ANG_RESOURCE_EXHAUSTED}, {ANG_E_SHUTDOWN, ANG_UNAVAILABLE},  {ANG_E_TIMEOUT, ANG_UNAVAILABLE},
        {ANG_E_STORE_IO, ANG_UNAVAILABLE},       {ANG_E_INTERNAL, ANG_INTERNAL},     {ANG_E_LOG_TOPIC, ANG_INTERNAL},
        {ANG_E_LOG_AUTH, ANG_UNAVAILABLE},
    };
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_err *er = ang_err_new(rows[i].ec, "what %d", 1);
        struct ang_status *st = ang_status_from_err(&er);
        assert_null(er);
        assert_int_equal(st->code, rows[i].code);
        assert_non_null(strstr(st->msg, "what 1"));
        ang_status_free(&st);
        assert_null(st);
    }
}

static void trailers_survive_growth_and_dup(void **state) {
    struct ang_status *st = ang_status_new(ANG_ABORTED, "x");
    char key[32], value[300];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        memset(value, 'a' + i % 26, sizeof(value));
        ang_status_add(st, key, ang_slice_of(value, (size_t)i * 3));
    }
    struct ang_status *dup = ang_status_dup(st);
    ang_status_free(&st);
    assert_int_equal(dup->n_trailers, 100);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        memset(value, 'a' + i % 26, sizeof(value));
        assert_string_equal(dup->trailers[i].key, key);
        assert_true(ang_slice_eq(dup->trailers[i].value, ang_slice_of(value, (size_t)i * 3)));
    }
    ang_status_free(&dup);
}

/* n times s */
static char *times(const char *s, size_t n) {
    char *all = ang_malloc(strlen(s) * n + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(all + i * strlen(s), s, strlen(s));
    all[strlen(s) * n] = '\0';
    return (all);
}

static void messages_are_cut_on_a_border(void **state) {
    static const struct {
        const char *what, *s;
        size_t n, want;
    } rows[] = {
        {"short", "a", 10, 10},         {"exact", "a", 1024, 1024},
        {"ascii", "a", 1025, 1024},     {"two bytes, fits", "ж", 512, 1024},
        {"two bytes", "ж", 600, 1024},  {"three bytes", "語", 400, 1023},
        {"four bytes", "😀", 300, 1024}, {"not UTF-8", "\x80", 2000, 1024},
    };
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        char *msg = times(rows[i].s, rows[i].n);
        struct ang_status *st = ang_status_new(ANG_ABORTED, "%s", msg);
        struct ang_status_wire w;
        ang_status_wire_init(&w, st);
        struct ang_slice got = ang_slice_of_grpc(&w.msg);
        if (got.n != rows[i].want || memcmp(got.p, msg, got.n) != 0)
            fail_msg("%s: %zu bytes, expected %zu", rows[i].what, got.n, rows[i].want);
        ang_status_wire_fini(&w);
        ang_status_free(&st);
        free(msg);
    }
}

static void shifted_border(void **state) {
    char *tail = times("語", 400);
    struct ang_status *st = ang_status_new(ANG_ABORTED, "a%s", tail); /* 1 + 341 * 3 = 1024 */
    struct ang_status_wire w;
    ang_status_wire_init(&w, st);
    assert_int_equal(ang_slice_of_grpc(&w.msg).n, 1024);
    ang_status_wire_fini(&w);
    ang_status_free(&st);
    free(tail);
}

static void trailers_that_do_not_fit_are_left_out(void **state) {
    static const struct {
        const char *what, *key;
        size_t n;
        bool fits;
    } rows[] = {
        {"text that fits", "note", 3900, true},
        {"text that does not", "note", 4000, false},
        {"bytes count as base64", "note-bin", 2900, true},
        {"bytes that do not fit", "note-bin", 3000, false},
        {"a bad key", "no te", 1, false},
        {"bad text", "note", 0, true},
    };
    static uint8_t value[5000];
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_status *st = ang_status_new(ANG_ABORTED, "m");
        struct ang_status_wire w;
        ang_status_add(st, rows[i].key, ang_slice_of(value, rows[i].n));
        ang_status_add(st, "last", ang_slice_str("x"));
        ang_status_add(st, "illegal", ang_slice_str("a\nb"));
        ang_status_wire_init(&w, st);
        if (w.n_md != (rows[i].fits ? 2 : 1))
            fail_msg("%s: %zu trailers", rows[i].what, w.n_md);
        ang_status_wire_fini(&w);
        ang_status_free(&st);
    }
}

static int init(void **state) {
    grpc_init();
    return (0);
}
static int fini(void **state) {
    grpc_shutdown_blocking();
    return (0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(metrics_have_the_same_names),
        cmocka_unit_test(errors_become_codes),
        cmocka_unit_test(trailers_survive_growth_and_dup),
        cmocka_unit_test(messages_are_cut_on_a_border),
        cmocka_unit_test(shifted_border),
        cmocka_unit_test(trailers_that_do_not_fit_are_left_out),
    };
    return (cmocka_run_group_tests(tests, init, fini));
}
