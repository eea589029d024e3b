#include "base/assert.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void (*ang_panic_hook)(void);

void ang_panic(const char *file, int line, const char *func, const char *what) {
    static atomic_flag hooked = ATOMIC_FLAG_INIT;
    char text[1024];
    int saved = errno, n;

    /* Neither malloc nor stdio: the heap may be what is broken. */
    n = snprintf(text, sizeof text, "angzarr: PANIC: assert failed: %s, in %s at %s:%d (errno %d)\n", what, func, file,
                 line, saved);
    if (n >= (int)sizeof text)
        n = (int)sizeof text - 1;
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0) {
        /* Nowhere left to say it. */
    }
    if (ang_panic_hook != NULL && !atomic_flag_test_and_set(&hooked))
        ang_panic_hook();
    abort();
}
