/* What operands and options mean. */
#include "kit.h"

static const struct {
    const char *text;
    int64_t us; /* -1: it is no time */
} times[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"2026-01-31T12:00:00Z", INT64_C(1769860800000000)},
    {"2026-01-31t12:00:00z", INT64_C(1769860800000000)},
    {"2026-01-31 12:00:00Z", INT64_C(1769860800000000)},
    {"2026-01-31T12:00:00.5Z", INT64_C(1769860800500000)},
    {"2026-01-31T12:00:00.123456Z", INT64_C(1769860800123456)},
    {"2026-01-31T12:00:00.123456789Z", INT64_C(1769860800123456)},
    {"2026-01-31T13:30:00+01:30", INT64_C(1769860800000000)},
    {"2026-01-31T09:00:00-03:00", INT64_C(1769860800000000)},
    {"2024-02-29T00:00:00Z", INT64_C(1709164800000000)},
    {"", -1},
    {"now", -1},
    {"2026-01-31", -1},
    {"2026-01-31T12:00:00", -1}, /* of which zone? */
    {"2026-01-31T12:00Z", -1},
    {"2026-02-29T00:00:00Z", -1},
    {"2026-13-01T00:00:00Z", -1},
    {"2026-01-31T24:00:00Z", -1},
    {"2026-01-31T12:00:60Z", -1},
    {"2026-01-31T12:00:00.Z", -1},
    {"2026-01-31T12:00:00+1:00", -1},
    {"2026-01-31T12:00:00+24:00", -1},
    {"2026-01-31T12:00:00Z ", -1},
    {"1969-12-31T23:59:59Z", -1},
};

static void times_are_read(void **state) {
    (void)state;
    for (size_t i = 0; i < ANG_COUNT(times); i++) {
        int64_t us = -1;
        if (!tool_time(times[i].text, &us))
            us = -1;
        if (us != times[i].us)
            fail_msg("%s: %lld, expected %lld", times[i].text, (long long)us, (long long)times[i].us);
    }
}

static void times_are_shown(void **state) {
    static const struct {
        int64_t us;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {INT64_C(1769860800123999), "2026-01-31T12:00:00.123Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999Z"},
        {-1, "?"},
    };
    char text[32];

    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        tool_time_text(rows[i].us, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void root(void *arg) {
    struct ang_uuid id;

    assert_false(tool_root(arg, &id));
}

static void a_root_is_a_uuid(void **state) {
    static char wrong[][40] = {"", "new", "0c1f0a526c3b4b0e9f0a3d7f9a1c2b4d", "0c1f0a52-6c3b-4b0e-9f0a-3d7f9a1c2b4g"};
    struct ang_uuid id;

    (void)state;
    assert_true(tool_root("0C1F0A52-6c3b-4b0e-9f0a-3d7f9a1c2b4d", &id));
    assert_int_equal(id.b[0], 0x0c);
    for (size_t i = 0; i < ANG_COUNT(wrong); i++) {
        char *said = kit_printed(2, root, wrong[i]);
        assert_non_null(strstr(said, "is no root: expected a UUID"));
        free(said);
    }
}

static void what_a_terminal_would_obey_is_shown(void **state) {
    static const struct {
        const char *text, *shown;
    } rows[] = {
        {"plain", "plain"},           {"Zürich", "Zürich"},        {"a\x1b[2Jb", "a\\x1b[2Jb"},
        {"a\nb\x7f", "a\\x0ab\\x7f"}, {"\xc2\x9b!", "\\xc2\x9b!"}, {"\xc2\xa0!", "\xc2\xa0!"},
    };

    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_buf b = {NULL, 0, 0};
        tool_add_shown(&b, ang_slice_str(rows[i].text));
        if (!ang_slice_is(ang_buf_slice(&b), rows[i].shown))
            fail_msg("row %zu: \"%.*s\"", i, (int)b.n, (char *)b.p);
        ang_buf_fini(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(times_are_shown),
        cmocka_unit_test(a_root_is_a_uuid),
        cmocka_unit_test(what_a_terminal_would_obey_is_shown),
    };

    tool.usage = &kit_usage;
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
