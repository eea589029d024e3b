#include "test.h"

#include "proto/select.h"

/* Page n of ten was made at n seconds; in row.pages an x stands for each that is selected. */
static const struct {
    const char *what, *query, *pages;
    uint32_t first, past; /* past: the lowest number behind which nothing is selected; 10: there is none */
} rows[] = {
    {"all", "", "xxxxxxxxxx", 0, 10},
    {"a range", "1a 04 08 03 10 05", "   xxx    ", 3, 6},
    {"a range to the end", "1a 02 08 07", "       xxx", 7, 10},
    {"the wrong way round", "1a 04 08 05 10 03", "          ", 5, 4},
    {"upper 0", "1a 02 10 00", "x         ", 0, 1},
    {"a set", "22 05 0a 03 08 01 05", " x   x  x ", 1, 9},
    {"a set, a number twice", "22 05 0a 03 03 63 03", "   x      ", 3, 10},
    {"an empty set", "22 00", "          ", 0, 0},
    {"as of a sequence", "2a 02 10 02", "xxx       ", 0, 3},
    {"as of a time", "2a 04 0a 02 08 04", "xxxxx     ", 0, 10},
    {"as of a time in between", "2a 06 0a 04 08 04 10 01", "xxxxx     ", 0, 10},
};

static void put_page(struct ang_buf *b, uint32_t num) {
    struct ang_buf page = {0};

    ang_wire_put_uint(&page, 1, num);
    ang_wire_put_timestamp(&page, 3, num, 0);
    ang_wire_put_bytes(b, 3, ang_buf_slice(&page));
    ang_buf_fini(&page);
}

static void selections(void **state) {
    struct ang_buf all = {0};
    struct ang_wire_event_book book;

    for (uint32_t n = 0; n < 10; n++)
        put_page(&all, n);
    assert_null(ang_wire_parse_event_book(ang_buf_slice(&all), &book));
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_slice raw = bytes_of(rows[i].query);
        struct ang_buf got = {0}, want = {0};
        struct ang_wire_query q;
        struct ang_select s;

        assert_null(ang_wire_parse_query(raw, &q));
        ang_select_init(&s, &q);
        ang_select_add(&s, &book, &got);
        for (uint32_t n = 0; n < 10; n++) {
            if (rows[i].pages[n] == 'x')
                put_page(&want, n);
            if (ang_select_past(&s, n) != (n >= rows[i].past))
                fail_msg("%s: past %u", rows[i].what, n);
        }
        if (!ang_slice_eq(ang_buf_slice(&got), ang_buf_slice(&want)))
            fail_msg("%s", rows[i].what);
        assert_int_equal(ang_select_first(&s), rows[i].first);
        ang_select_fini(&s);
        ang_buf_fini(&got);
        ang_buf_fini(&want);
        drop(raw);
    }
    ang_buf_fini(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(selections)};

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
