/* How far each aggregate was printed. */
#include "kit.h"

#include "tools/seen.h"

static struct ang_wire_cover cover(const char *domain, const uint8_t root[16], const char *edition) {
    return ((struct ang_wire_cover){.present = true,
                                    .domain = ang_slice_str(domain),
                                    .has_root = true,
                                    .root = ang_slice_of(root, 16),
                                    .edition = ang_slice_str(edition)});
}

static void each_aggregate_has_its_own(void **state) {
    static const uint8_t a[16] = {1}, b[16] = {2};
    const struct ang_wire_cover covers[] = {cover("x", a, NULL), cover("x", b, NULL), cover("y", a, NULL),
                                            cover("x", a, "e"), cover("xe", a, NULL)};
    const struct ang_wire_cover same = cover("x", a, "");
    struct tool_seen s = {0};

    (void)state;
    for (uint32_t i = 0; i < ANG_COUNT(covers); i++) {
        assert_int_equal(*tool_seen_next(&s, &covers[i]), 0);
        *tool_seen_next(&s, &covers[i]) = i + 1;
    }
    for (uint32_t i = 0; i < ANG_COUNT(covers); i++)
        assert_int_equal(*tool_seen_next(&s, &covers[i]), i + 1);
    assert_int_equal(*tool_seen_next(&s, &same), 1); /* absent and empty are one edition */
    tool_seen_fini(&s);
}

static void many(void **state) {
    struct tool_seen s = {0};
    uint8_t root[16] = {0};

    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        ang_put_be32(root + 12, i % 10000);
        const struct ang_wire_cover c = cover("x", root, NULL);
        assert_int_equal(*tool_seen_next(&s, &c), i < 10000 ? 0 : i % 10000 + 7);
        *tool_seen_next(&s, &c) = i % 10000 + 7;
    }
    tool_seen_fini(&s);
    tool_seen_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_aggregate_has_its_own), cmocka_unit_test(many)};

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
