/* What of an aggregate is asked for: from the command line to the bytes of a Query, read back by the server's own parser. */
#include "kit.h"

#include "proto/select.h"
#include "tools/selection.h"

#define NO                                                                                                             \
    { 0, false }
#define N(n)                                                                                                           \
    { n, true }
#define NOON 1769860800 /* 2026-01-31T12:00:00Z */

/* Pages 0 to 9; in row.pages an x stands for each that is selected, NULL: it is refused with these words.  Page n was made at noon and n
 * times 250 microseconds. */
static const struct {
    struct tool_selection s;
    const char *pages, *words;
} rows[] = {
    {{NO, NO, NULL, NULL}, "xxxxxxxxxx", NULL},
    {{N(3), NO, NULL, NULL}, "   xxxxxxx", NULL},
    {{NO, N(0), NULL, NULL}, "x         ", NULL},
    {{N(3), N(5), NULL, NULL}, "   xxx    ", NULL},
    {{N(4), N(4), NULL, NULL}, "    x     ", NULL},
    {{NO, NO, "7", NULL}, "       x  ", NULL},
    {{NO, NO, "5,1,1,4294967295", NULL}, " x   x    ", NULL},
    {{NO, NO, NULL, "2"}, "xxx       ", NULL},
    {{NO, NO, NULL, "2026-01-31T12:00:00Z"}, "xxxx      ", NULL},
    {{NO, NO, NULL, "2026-01-31T12:00:00.001Z"}, "xxxxxxxx  ", NULL},
    {{NO, NO, NULL, "2026-01-31T12:00:00.000500Z"}, "xxx       ", NULL},
    {{NO, NO, NULL, "2026-01-31T11:59:59Z"}, "          ", NULL},
    {{N(5), N(3), NULL, NULL}, NULL, "--from 5 is behind --to 3"},
    {{N(5), NO, "1", NULL}, NULL, "expected one of"},
    {{NO, NO, "1", "1"}, NULL, "expected one of"},
    {{NO, NO, "", NULL}, NULL, "--sequences: expected numbers"},
    {{NO, NO, "1,,2", NULL}, NULL, "--sequences: expected numbers"},
    {{NO, NO, "1,2,", NULL}, NULL, "--sequences: expected numbers"},
    {{NO, NO, "4294967296", NULL}, NULL, "--sequences: expected numbers"},
    {{NO, NO, NULL, "yesterday"}, NULL, "--as-of: expected a sequence, or a time"},
    {{NO, NO, NULL, "-1"}, NULL, "--as-of: expected a sequence, or a time"},
};

static bool selected(const struct ang_select *s, uint32_t n) {
    const struct ang_wire_event_page page = {
        .has_num = true,
        .num = n,
        .created_at = {.raw = ang_slice_str("x"), .seconds = NOON, .nanos = (int32_t)n * 250000}};

    return (ang_select_has(s, &page));
}

static void check_pages(size_t i, struct ang_slice raw) {
    struct ang_wire_query q;
    struct ang_select s;
    struct ang_err *er = ang_wire_parse_query(raw, &q);

    if (er != NULL)
        fail_msg("row %zu: %s", i, er->msg);
    ang_select_init(&s, &q);
    for (uint32_t n = 0; n < 10; n++)
        if (selected(&s, n) != (rows[i].pages[n] == 'x'))
            fail_msg("row %zu: page %u", i, n);
    ang_select_fini(&s);
}

struct attempt {
    size_t i;
    struct ang_buf query;
    int rc;
};

static void put(void *arg) {
    struct attempt *a = arg;

    a->rc = tool_put_selection(&a->query, &rows[a->i].s);
}

static void selections(void **state) {
    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct attempt a = {.i = i};
        char *said = kit_printed(2, put, &a);
        if (rows[i].pages != NULL) {
            if (a.rc != ANG_TOOL_DONE)
                fail_msg("row %zu: %s", i, said);
            check_pages(i, ang_buf_slice(&a.query));
        } else if (a.rc != ANG_TOOL_USAGE || strstr(said, rows[i].words) == NULL) {
            fail_msg("row %zu: %d, %s", i, a.rc, said);
        }
        assert_true(tool_selection_given(&rows[i].s) == (i > 0));
        free(said);
        ang_buf_fini(&a.query);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(selections)};

    tool.usage = &kit_usage;
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
