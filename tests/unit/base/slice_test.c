#include "base/slice.h"

#include <pthread.h>
#include <stdlib.h>

#include "tests/unit/base/unit.h"

static void to_u64(void **state) {
    static const struct {
        const char *text;
        bool ok;
        uint64_t v;
    } rows[] = {
        {"0", true, 0},
        {"0000000000", true, 0},
        {"42", true, 42},
        {"9999999999999999999", true, 9999999999999999999u},
        {"10000000000000000000", false, 0}, /* 20 digits, though it would fit */
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"0x10", false, 0},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        uint64_t v = 77;

        assert_int_equal(ang_slice_to_u64(ang_slice_str(rows[i].text), &v), rows[i].ok);
        assert_int_equal(v, rows[i].ok ? rows[i].v : 77);
    }
}

static void equality(void **state) {
    assert_true(ang_slice_eq(ANG_SLICE_NONE, ang_slice_str("")));
    assert_true(ang_slice_eq(ang_slice_of("a\0b", 3), ang_slice_of("a\0b", 3)));
    assert_false(ang_slice_eq(ang_slice_of("a\0b", 3), ang_slice_of("a\0c", 3)));
    assert_false(ang_slice_is(ang_slice_of("ab", 2), "a"));
    assert_int_equal(ang_slice_str(NULL).n, 0);
}

static void dup_str(void **state) {
    char *a = ang_slice_dup_str(ang_slice_of("hello", 4)), *b = ang_slice_dup_str(ANG_SLICE_NONE);

    assert_string_equal(a, "hell");
    assert_string_equal(b, "");
    free(a);
    free(b);
}

static void buf_grows(void **state) {
    struct ang_buf b = {NULL, 0, 0};
    struct ang_slice s;

    for (int i = 0; i < 1000; i++) {
        ang_buf_add_u8(&b, (uint8_t)i);
        ang_buf_add_str(&b, "xy");
        ang_buf_add(&b, NULL, 0);
    }
    s = ang_buf_slice(&b);
    assert_int_equal(s.n, 3000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(s.p[i * 3], (uint8_t)i);
        assert_memory_equal(s.p + i * 3 + 1, "xy", 2);
    }
    ang_buf_clear(&b);
    assert_int_equal(b.n, 0);
    ang_buf_addf(&b, "%05d|%s", 42, "text");
    assert_true(ang_slice_is(ang_buf_slice(&b), "00042|text"));
    memcpy(ang_buf_reserve(&b, 100000), "!", 1);
    assert_true(ang_slice_is(ang_buf_slice(&b), "00042|text")); /* reserved, not counted */
    assert_true(b.cap >= 100010);
    ang_buf_fini(&b);
    assert_null(b.p);
    ang_buf_add_slice(&b, ang_slice_str("again"));
    assert_true(ang_slice_is(ang_buf_slice(&b), "again"));
    ang_buf_fini(&b);
}

static void *churn(void *arg) {
    for (int i = 0; i < 20000; i++)
        ang_blob_unref(ang_blob_ref(arg));
    ang_blob_unref(arg);
    return (NULL);
}

/* The last reference may be dropped by any thread; sanitizers see a double free or a leak. */
static void blob_is_shared(void **state) {
    struct ang_blob *b = ang_blob_copy(ang_slice_str("shared"));
    pthread_t t[4];

    assert_true(ang_slice_is(ang_blob_slice(b), "shared"));
    for (size_t i = 0; i < ANG_COUNT(t); i++)
        ANG_PT(pthread_create(&t[i], NULL, churn, ang_blob_ref(b)));
    ang_blob_unref(b);
    for (size_t i = 0; i < ANG_COUNT(t); i++)
        ANG_PT(pthread_join(t[i], NULL));
    ang_blob_unref(NULL);
    b = ang_blob_new(0);
    assert_int_equal(ang_blob_slice(b).n, 0);
    ang_blob_unref(b);
}

static void big_endian(void **state) {
    static const uint8_t expected[8] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    uint8_t p[8];

    ang_put_be64(p, 0x0123456789abcdefu);
    assert_memory_equal(p, expected, 8);
    assert_true(ang_get_be64(p) == 0x0123456789abcdefu);
    assert_int_equal(ang_get_be32(p + 4), 0x89abcdefu);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_u64),    cmocka_unit_test(equality),       cmocka_unit_test(dup_str),
        cmocka_unit_test(buf_grows), cmocka_unit_test(blob_is_shared), cmocka_unit_test(big_endian),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
