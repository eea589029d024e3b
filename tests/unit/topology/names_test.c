/* Names that callers may use: each rule on both sides of its border. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "topology/topology.h"

struct row {
    const char *text;
    bool name, correlation, id;
};

static const struct row rows[] = {
    {"", false, true, false},      {"order", true, true, true},  {"_", true, true, true},
    {"a-1_z", true, true, true},   {"Order", false, true, true}, {"1st", false, true, true},
    {"-a", false, true, true},     {"a b", false, false, false}, {"a.b", false, false, true},
    {"a/b", false, false, true},   {"a@b", false, false, true},  {"!", false, false, true},
    {"~", false, false, true},     {" ", false, false, false},   {"\x1f", false, false, false},
    {"\x7f", false, false, false}, {"a\n", false, false, false}, {"\xc3\xbc", false, false, false}, /* ü */
    {"`", false, false, true},                                                                      /* beside 'a' */
    {"{", false, false, true},                                                                      /* beside 'z' */
    {"[", false, false, true},                                                                      /* beside 'Z' */
    {":", false, false, true},                                                                      /* beside '9' */
};

static void each_name(void **state) {
    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        const struct ang_slice s = ang_slice_str(rows[i].text);

        if (ang_name_ok(s) != rows[i].name || ang_correlation_ok(s) != rows[i].correlation ||
            ang_command_id_ok(s) != rows[i].id)
            fail_msg("\"%s\": name %d, correlation id %d, command id %d", rows[i].text, ang_name_ok(s),
                     ang_correlation_ok(s), ang_command_id_ok(s));
    }
}

static void a_zero_byte_is_no_letter(void **state) {
    (void)state;
    assert_false(ang_name_ok(ang_slice_of("a\0b", 3)));
    assert_false(ang_correlation_ok(ang_slice_of("a\0b", 3)));
    assert_false(ang_command_id_ok(ang_slice_of("a\0b", 3)));
}

static void lengths(void **state) {
    char text[130];

    (void)state;
    memset(text, 'a', sizeof text);
    assert_true(ang_name_ok(ang_slice_of(text, 64)));
    assert_false(ang_name_ok(ang_slice_of(text, 65)));
    assert_true(ang_correlation_ok(ang_slice_of(text, 128)));
    assert_false(ang_correlation_ok(ang_slice_of(text, 129)));
    assert_true(ang_command_id_ok(ang_slice_of(text, 128)));
    assert_false(ang_command_id_ok(ang_slice_of(text, 129)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_name),
        cmocka_unit_test(a_zero_byte_is_no_letter),
        cmocka_unit_test(lengths),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
