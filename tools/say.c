/* What went wrong, in words. */
#include <stdarg.h>
#include <stdlib.h>

#include "tools/tool.h"

static void say(const char *fmt, va_list ap) ANG_PRINTF(1, 0);
static void say(const char *fmt, va_list ap) {
    fflush(stdout); /* in the order in which things happened, also where both go to one place */
    fprintf(stderr, "angzarr %s: ", tool.usage->name);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

void tool_say(const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
}

int tool_misuse(const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    fprintf(stderr, "`angzarr %s --help` tells how it is used.\n", tool.usage->name);
    return (ANG_TOOL_USAGE);
}

static int code_of(const struct ang_err *er) {
    switch (er->code) {
    case ANG_E_CONFIG:
    case ANG_E_JSON:
    case ANG_E_TYPES:
    case ANG_E_INVALID:
        return (ANG_TOOL_USAGE);
    default:
        return (er->cls == ANG_RETRY ? ANG_TOOL_NO_ANSWER : ANG_TOOL_FAILED);
    }
}

int tool_fail(struct ang_err **er) {
    const int rc = code_of(*er);

    if ((*er)->cls == ANG_BAD_INPUT) /* the message names what is wrong */
        tool_say("%s", (*er)->msg);
    else
        tool_say("%s\n  %s", (*er)->msg, ang_err_todo((*er)->code));
    ang_err_free(er);
    return (rc);
}
