/* What the tests of the tools share: a tool whose name the words begin with, and what was printed. */
#ifndef ANG_TEST_TOOLS_KIT_H
#define ANG_TEST_TOOLS_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/tool.h"

static const struct tool_usage kit_usage = {.name = "test", .operands = "", .about = "Tests.\n"};

/* What fn() writes to fd (1 or 2), NUL-terminated; the caller frees it. */
static inline char *kit_printed(int fd, void (*fn)(void *arg), void *arg) {
    FILE *file = tmpfile();
    const int was = dup(fd);
    struct ang_buf text = {NULL, 0, 0};
    size_t n;

    fflush(stdout);
    assert_true(file != NULL && was >= 0 && dup2(fileno(file), fd) == fd);
    fn(arg);
    fflush(stdout);
    assert_true(dup2(was, fd) == fd);
    close(was);
    rewind(file);
    do {
        n = fread(ang_buf_reserve(&text, 4096), 1, 4096, file);
        text.n += n;
    } while (n > 0);
    fclose(file);
    ang_buf_add_u8(&text, '\0');
    return ((char *)text.p);
}

#endif
