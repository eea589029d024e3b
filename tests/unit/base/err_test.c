#include "base/err.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/base/unit.h"

static void new_and_wrap(void **state) {
    struct ang_err *er = ang_err_new(ANG_E_STORE_CORRUPT, "block %d", 7), *outer, *copy;

    assert_int_equal(er->code, ANG_E_STORE_CORRUPT);
    assert_int_equal(er->cls, ANG_RETRY);
    outer = ang_err_wrap(&er, "snapshot %s", "a/b%s");
    assert_null(er);
    assert_string_equal(outer->msg, "snapshot a/b%s: block 7");
    copy = ang_err_dup(outer);
    ang_err_free(&outer);
    assert_null(outer);
    ang_err_free(&outer); /* NULL is fine */
    assert_string_equal(copy->msg, "snapshot a/b%s: block 7");
    assert_int_equal(copy->code, ANG_E_STORE_CORRUPT);
    ang_err_free(&copy);
}

static void class_can_be_given(void **state) {
    struct ang_err *er = ang_err_new_cls(ANG_E_IO, ANG_FATAL, "disk"), *copy = ang_err_dup(er);

    assert_int_equal(er->cls, ANG_FATAL);
    assert_int_equal(copy->cls, ANG_FATAL);
    ang_err_free(&er);
    ang_err_free(&copy);
}

static void every_code_has_a_name(void **state) {
    for (unsigned a = 0; a < ANG_E_COUNT; a++) {
        assert_true(strlen(ang_err_name((enum ang_ec)a)) > 0);
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(ang_err_name((enum ang_ec)a), ang_err_name((enum ang_ec)b));
    }
    assert_string_equal(ang_err_name(ANG_E_LOG_FENCED), "LOG_FENCED");
    assert_string_equal(ang_class_name(ANG_BAD_INPUT), "bad-input");
}

static void hook(void) {
    if (write(STDERR_FILENO, "HOOK", 4) < 0)
        _exit(3);
}

static void use_freed_magic(void) {
    struct ang_err er = {.magic = 1, .msg = NULL}, *copy = ang_err_dup(&er);

    ang_err_free(&copy);
}

static void failing_assert(void) {
    AZ(1);
}

/* What dies, in a child: returns its stderr. */
static void dies(void (*f)(void), char *out, size_t size) {
    int fd[2], status;
    ssize_t n, sum = 0;
    pid_t pid;

    AZ(pipe(fd));
    pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        ang_panic_hook = hook;
        f();
        _exit(0);
    }
    close(fd[1]);
    while ((n = read(fd[0], out + sum, size - 1 - (size_t)sum)) > 0)
        sum += n;
    out[sum] = '\0';
    close(fd[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void asserts_say_where_and_abort(void **state) {
    char out[4096];

    dies(failing_assert, out, sizeof out);
    assert_non_null(strstr(out, "assert failed: (1) == 0, in failing_assert at "));
    assert_non_null(strstr(out, "err_test.c:"));
    assert_non_null(strstr(out, "HOOK"));
    dies(use_freed_magic, out, sizeof out);
    assert_non_null(strstr(out, "in ang_err_dup at "));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_and_wrap),
        cmocka_unit_test(class_can_be_given),
        cmocka_unit_test(every_code_has_a_name),
        cmocka_unit_test(asserts_say_where_and_abort),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
