#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yajl/yajl_tree.h>

#include "base/slice.h"
#include "tests/unit/base/unit.h"

/* ---- what a few lines wrote to stderr ---- */

static int real_stderr;
static FILE *caught;

static void catch_stderr(void) {
    caught = tmpfile();
    assert_non_null(caught);
    real_stderr = dup(STDERR_FILENO);
    dup2(fileno(caught), STDERR_FILENO);
}

static char *caught_text(void) {
    static char text[16384];
    ssize_t n;

    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    n = pread(fileno(caught), text, sizeof text - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    fclose(caught);
    return (text);
}

static void set(const char *spec) {
    assert_null(ang_log_setup(spec));
}

static const char *field(yajl_val v, const char *key) {
    const char *path[] = {key, NULL};
    yajl_val f = yajl_tree_get(v, path, yajl_t_string);

    return (f == NULL ? "(none)" : YAJL_GET_STRING(f));
}

static const char nasty[] = "quote \" backslash \\ newline \n tab \t bell \a del \x7f";

static const struct {
    const char *what, *value, *as_json, *as_human;
} values[] = {
    {"word", "plain", "plain", "plain"},
    {"number", "-42", "-42", "-42"},
    {"topic", "angzarr.order.events/3@17", "angzarr.order.events/3@17", "angzarr.order.events/3@17"},
    {"empty", "", "", "\"\""},
    {"space", "two words", "two words", "\"two words\""},
    {"equals", "a=b", "a=b", "\"a=b\""},
    {"nasty", nasty, nasty, "\"quote \\\" backslash \\\\ newline \\n tab \\x09 bell \\x07 del \\x7f\""},
    {"utf8", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80",
     "\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\""},
    {"stray byte", "a\xff.", "a\xef\xbf\xbd.", "\"a\xef\xbf\xbd.\""},
    {"cut off", "a\xe2\x82", "a\xef\xbf\xbd\xef\xbf\xbd", "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
    {"overlong", "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    {"surrogate", "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"too high", "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
     "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
};

static void json_lines(void **state) {
    for (size_t i = 0; i < ANG_COUNT(values); i++) {
        char error[200], *text;
        yajl_val v;

        set("info,json");
        catch_stderr();
        ANG_LOG(ANG_LOG_WARN, "TEST-ID", values[i].value, "key", values[i].value, "n", ANG_F("%d", 7));
        text = caught_text();
        assert_int_equal(strcspn(text, "\n"), strlen(text) - 1); /* one line */
        v = yajl_tree_parse(text, error, sizeof error);
        if (v == NULL)
            fail_msg("%s: %s: %s", values[i].what, text, error);
        assert_int_equal(strlen(field(v, "ts")), strlen("2025-01-01T00:00:00.000Z"));
        assert_string_equal(field(v, "level"), "warn");
        assert_string_equal(field(v, "id"), "TEST-ID");
        assert_string_equal(field(v, "msg"), values[i].as_json);
        assert_string_equal(field(v, "key"), values[i].as_json);
        assert_string_equal(field(v, "n"), "7");
        yajl_tree_free(v);
    }
}

static void human_lines(void **state) {
    for (size_t i = 0; i < ANG_COUNT(values); i++) {
        char expected[400], *text;

        set("info,human");
        catch_stderr();
        ANG_LOG(ANG_LOG_INFO, "TEST-ID", "it happened", "key", values[i].value, "n", ANG_F("%d", 7));
        text = caught_text();
        snprintf(expected, sizeof expected, "Z info  TEST-ID: it happened key=%s n=7\n", values[i].as_human);
        assert_non_null(strchr(text, 'Z'));
        assert_string_equal(strchr(text, 'Z'), expected);
    }
    catch_stderr();
    ANG_LOG(ANG_LOG_INFO, "TEST-ID", "one\nline");
    assert_non_null(strstr(caught_text(), "TEST-ID: one line\n"));
}

static void levels_and_contexts(void **state) {
    static const struct {
        const char *spec;
        bool error, warn, info, debug, txn, rpc;
    } rows[] = {
        {NULL, true, true, true, false, false, false},
        {"", true, true, true, false, false, false},
        {"error", true, false, false, false, false, false},
        {"warn,json", true, true, false, false, false, false},
        {"debug", true, true, true, true, true, true},
        {"json,debug", true, true, true, true, true, true},
        {"info,debug=txn", true, true, true, true, true, false},
        {"error,human,debug=txn,rpc", true, false, false, true, true, true},
        {"debug,debug=rpc", true, true, true, true, false, true},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        set(rows[i].spec);
        assert_int_equal(ang_log_on(ANG_LOG_ERROR), rows[i].error);
        assert_int_equal(ang_log_on(ANG_LOG_WARN), rows[i].warn);
        assert_int_equal(ang_log_on(ANG_LOG_INFO), rows[i].info);
        assert_int_equal(ang_log_on(ANG_LOG_DEBUG), rows[i].debug);
        assert_int_equal(ang_log_debugs("txn"), rows[i].txn);
        assert_int_equal(ang_log_debugs("rpc"), rows[i].rpc);
    }
    set("info,human,debug=txn");
    catch_stderr();
    ANG_DEBUG("txn", "A", "seen");
    ANG_DEBUG("rpc", "B", "not seen");
    ANG_LOG(ANG_LOG_INFO, "C", "seen too");
    assert_non_null(strstr(caught_text(), "debug A: seen\n"));
}

static void bad_specs(void **state) {
    static const struct {
        const char *spec, *msg;
    } rows[] = {
        {"loud", "ANGZARR_LOG=loud: expected error, warn, info, debug, json, human or debug=CONTEXT,…, got \"loud\""},
        {"info,,json",
         "ANGZARR_LOG=info,,json: expected error, warn, info, debug, json, human or debug=CONTEXT,…, got \"\""},
        {"debug=txn,foo",
         "ANGZARR_LOG=debug=txn,foo: expected a debug context (txn, store, rpc, lane, gateway, log), got \"foo\""},
        {"debug=", "ANGZARR_LOG=debug=: expected a debug context (txn, store, rpc, lane, gateway, log), got \"\""},
        {"info,", "ANGZARR_LOG=info,: expected a word after the last comma, got \"\""},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_err *er = ang_log_setup(rows[i].spec);

        assert_non_null(er);
        assert_int_equal(er->code, ANG_E_CONFIG);
        assert_string_equal(er->msg, rows[i].msg);
        ang_err_free(&er);
    }
}

static void repeats_are_counted(void **state) {
    char *text;
    int lines = 0;

    set("info,human");
    catch_stderr();
    for (int i = 0; i < 100; i++)
        ANG_LOG_EVERY(60000, ANG_LOG_WARN, "AGAIN", "it fails");
    text = caught_text();
    for (char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, 1);
    assert_non_null(strstr(text, "AGAIN: it fails left_out=0\n"));
}

static void gate_says_what_it_left_out(void **state) {
    struct ang_log_gate gate = {0, 0};
    uint64_t left = 77;

    assert_true(ang_log_gate_pass(&gate, 1000000, &left));
    assert_int_equal(left, 0);
    for (int i = 0; i < 5; i++)
        assert_false(ang_log_gate_pass(&gate, 1000000, &left));
    gate.next_ms = 0; /* the time is over */
    assert_true(ang_log_gate_pass(&gate, 1000000, &left));
    assert_int_equal(left, 5);
}

/* Runs last: there is no way to take a context back. */
static void context_is_on_every_line(void **state) {
    int saved;
    yajl_val v;

    ang_log_context("role", "worker");
    set("json");
    catch_stderr();
    errno = ENOENT;
    ANG_LOG(ANG_LOG_ERROR, "X", "m");
    saved = errno;
    v = yajl_tree_parse(caught_text(), NULL, 0);
    assert_int_equal(saved, ENOENT);
    assert_string_equal(field(v, "role"), "worker");
    yajl_tree_free(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines),
        cmocka_unit_test(human_lines),
        cmocka_unit_test(levels_and_contexts),
        cmocka_unit_test(bad_specs),
        cmocka_unit_test(repeats_are_counted),
        cmocka_unit_test(gate_says_what_it_left_out),
        cmocka_unit_test(context_is_on_every_line),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
