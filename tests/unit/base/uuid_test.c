#include "base/uuid.h"

#include <stdlib.h>

#include "tests/unit/base/unit.h"

static void text_and_back(void **state) {
    struct ang_uuid u;
    char text[ANG_UUID_TEXT + 1];

    assert_true(ang_uuid_parse(ang_slice_str("404F3BDA-578a-5c4d-A7F4-2751b843698a"), &u));
    assert_memory_equal(u.b, ang_uuid_ns_correlation.b, 16);
    ang_uuid_text(u.b, text);
    assert_string_equal(text, "404f3bda-578a-5c4d-a7f4-2751b843698a");
    ang_uuid_text(ang_uuid_ns_oid.b, text);
    assert_string_equal(text, "6ba7b812-9dad-11d1-80b4-00c04fd430c8");
}

static void bad_text(void **state) {
    static const char *const rows[] = {
        "",
        "404f3bda-578a-5c4d-a7f4-2751b843698",
        "404f3bda-578a-5c4d-a7f4-2751b843698aa",
        "404f3bda578a5c4da7f42751b843698a",
        "404f3bda578a5c4da7f42751b843698a----",
        "{404f3bda-578a-5c4d-a7f4-2751b84369}",
        "404f3bda-578a-5c4d-a7f4-2751b843698g",
        "404f3bda-578a-5c4d-a7f4_2751b843698a",
        "404f3bda -578a-5c4d-a7f4-2751b843698",
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_uuid u = {{7}};

        assert_false(ang_uuid_parse(ang_slice_str(rows[i]), &u));
        assert_int_equal(u.b[0], 7);
    }
    assert_false(ang_uuid_parse(ang_slice_of("404f3bda-578a-5c4d-a7f4-2751b84369\0a", 36), &(struct ang_uuid){{0}}));
}

/* Values of Python's uuid.uuid5. */
static void named(void **state) {
    static const struct ang_uuid dns = {
        {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}};
    static const struct {
        const struct ang_uuid *ns;
        const char *name;
        size_t n;
        const char *text;
    } rows[] = {
        {&dns, "www.example.com", 15, "2ed6657d-e927-568b-95e1-2665a8aea6a2"},
        {&ang_uuid_ns_correlation, "", 0, "38e223b5-df00-5d37-910f-feb5fe6aa1d8"},
        {&ang_uuid_ns_correlation, NULL, 0, "38e223b5-df00-5d37-910f-feb5fe6aa1d8"},
        {&ang_uuid_ns_correlation, "order-1", 7, "f7d26ed9-8c3d-51fd-9550-615726cb4836"},
        {&ang_uuid_ns_correlation, "\0\1\377\0", 4, "c35ab447-87ea-57b0-9333-69d859600df8"},
        {&ang_uuid_ns_oid, "order-1", 7, "430afe98-a0f2-5625-9189-88a1127b427f"},
        {&ang_uuid_ns_oid, "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", 9, "9a06f624-4d4d-5881-80da-d4e936ebff32"},
    };
    char text[ANG_UUID_TEXT + 1], *big = ang_malloc(1000);
    struct ang_uuid u;

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        ang_uuid_v5(rows[i].ns, ang_slice_of(rows[i].name, rows[i].n), &u);
        ang_uuid_text(u.b, text);
        assert_string_equal(text, rows[i].text);
    }
    memset(big, 'x', 1000);
    ang_uuid_v5(&ang_uuid_ns_oid, ang_slice_of(big, 1000), &u);
    ang_uuid_text(u.b, text);
    assert_string_equal(text, "0ee7e31f-a49b-55bf-a896-2c72533f360c");
    free(big);
}

static void random_ones_differ(void **state) {
    struct ang_uuid a, b;

    for (int i = 0; i < 100; i++) {
        ang_uuid_v4(&a);
        ang_uuid_v4(&b);
        assert_int_equal(a.b[6] >> 4, 4);
        assert_int_equal(a.b[8] >> 6, 2);
        assert_memory_not_equal(a.b, b.b, 16);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(bad_text),
        cmocka_unit_test(named),
        cmocka_unit_test(random_ones_differ),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
