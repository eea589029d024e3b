/* The command line. */
#include "kit.h"

static struct {
    bool flag;
    const char *text;
    struct tool_list list;
    struct tool_number number;
    int64_t ms;
} got;

static const struct tool_opt opts[] = {
    {"flag", 'f', NULL, "a flag", TOOL_FLAG, &got.flag},   {"text", 0, "TEXT", "a text", TOOL_TEXT, &got.text},
    {"list", 'l', "ITEM", "items", TOOL_LIST, &got.list},  {"number", 0, "N", "a number", TOOL_NUMBER, &got.number},
    {"time", 0, "TIME", "a time", TOOL_DURATION, &got.ms},
};
static const struct tool_usage usage = {.name = "test",
                                        .operands = "ONE [TWO]",
                                        .about = "Tests.\n",
                                        .with = TOOL_OUTPUT | TOOL_ADDRESS,
                                        .opts = opts,
                                        .n_opts = ANG_COUNT(opts),
                                        .min = 1,
                                        .max = 2};

struct run {
    const char *args; /* separated by spaces */
    int rc;
    bool ended;
};

static void run(void *arg) {
    static char words[256];
    struct run *r = arg;
    char *argv[32] = {words}, *rest = words;
    int argc = 0;

    snprintf(words, sizeof words, "test %s", r->args);
    while ((argv[argc] = strsep(&rest, " ")) != NULL)
        if (argv[argc][0] != '\0')
            argc++;
    memset(&got, 0, sizeof got);
    r->ended = tool_begin(&usage, argc, argv, &r->rc);
}

static void wrong_ones_are_told(void **state) {
    static const struct {
        const char *args, *words;
    } rows[] = {
        {"", "too few operands: expected ONE [TWO]"},
        {"a b c", "too many operands"},
        {"a --nope", "no option --nope"},
        {"a -x", "no option -x"},
        {"a --flag=yes", "takes no value"},
        {"a --text", "expects a value"},
        {"a --number x", "--number: expected a whole number from 0 to 4294967295, got \"x\""},
        {"a --number 4294967296", "--number: expected"},
        {"a --number -1", "--number: expected"},
        {"a --time 5x", "--time: expected a time like 500ms"},
        {"a --time 0", "--time: expected a time like 500ms"},
        {"a -o yaml", "--output: expected table or json, got \"yaml\""},
    };

    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct run r = {.args = rows[i].args};
        char *said = kit_printed(2, run, &r);
        if (!r.ended || r.rc != ANG_TOOL_USAGE || strstr(said, rows[i].words) == NULL ||
            strstr(said, "`angzarr test --help`") == NULL)
            fail_msg("%s: %d, %s", rows[i].args, r.rc, said);
        free(said);
        assert_int_equal(got.list.n, 0);
        (void)tool_end(0);
    }
}

static void all_kinds_in_any_order(void **state) {
    struct run r = {.args = "a --number 7 -f --text=t -l 1 b --list 2 --time 2m -o json --address x:1"};

    (void)state;
    run(&r);
    assert_false(r.ended);
    assert_true(got.flag && tool.json && got.number.given);
    assert_int_equal(got.number.value, 7);
    assert_string_equal(got.text, "t");
    assert_int_equal(got.list.n, 2);
    assert_string_equal(got.list.items[1], "2");
    assert_int_equal(got.ms, 120000);
    assert_string_equal(tool.address, "x:1");
    assert_int_equal(tool.n_operands, 2);
    assert_string_equal(tool.operands[1], "b");
    free(got.list.items);
    assert_int_equal(tool_end(0), 0);
}

static void two_dashes_end_the_options(void **state) {
    struct run r = {.args = "-- -f"};

    (void)state;
    run(&r);
    assert_false(r.ended || got.flag);
    assert_string_equal(tool.operands[0], "-f");
    assert_int_equal(tool_end(0), 0);
}

static void help_names_every_option(void **state) {
    struct run r = {.args = "--help"};
    char *text = kit_printed(1, run, &r);

    (void)state;
    assert_true(r.ended && r.rc == ANG_TOOL_DONE);
    for (size_t i = 0; i < ANG_COUNT(opts); i++)
        assert_non_null(strstr(text, opts[i].name));
    assert_non_null(strstr(text, "usage: angzarr test"));
    assert_non_null(strstr(text, "--output table|json"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_ones_are_told),
        cmocka_unit_test(all_kinds_in_any_order),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(help_names_every_option),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
