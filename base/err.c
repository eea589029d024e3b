#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"

static const struct {
    const char *name;
    enum ang_class cls;
    const char *text, *todo;
} rows[] = {
#define ANG_ERROR(code, cls, text, todo) {#code, cls, text, todo},
#include "base/errors.tbl.h"
#undef ANG_ERROR
};
_Static_assert(ANG_COUNT(rows) == ANG_E_COUNT, "one row per code");

static struct ang_err *err_new(enum ang_ec code, enum ang_class cls, const char *fmt, va_list ap) {
    struct ang_err *er = ANG_NEW(struct ang_err);

    ANG_ASSERT((unsigned)code < ANG_E_COUNT);
    er->magic = ANG_ERR_MAGIC;
    er->code = code;
    er->cls = cls;
    ANG_ASSERT(vasprintf(&er->msg, fmt, ap) >= 0);
    return (er);
}

struct ang_err *ang_err_new(enum ang_ec code, const char *fmt, ...) {
    struct ang_err *er;
    va_list ap;

    ANG_ASSERT((unsigned)code < ANG_E_COUNT);
    va_start(ap, fmt);
    er = err_new(code, rows[code].cls, fmt, ap);
    va_end(ap);
    return (er);
}

struct ang_err *ang_err_new_cls(enum ang_ec code, enum ang_class cls, const char *fmt, ...) {
    struct ang_err *er;
    va_list ap;

    va_start(ap, fmt);
    er = err_new(code, cls, fmt, ap);
    va_end(ap);
    return (er);
}

struct ang_err *ang_err_wrap(struct ang_err **erp, const char *fmt, ...) {
    struct ang_err *er = *erp;
    char *where, *msg;
    va_list ap;

    ANG_CHECK(er, ANG_ERR_MAGIC);
    *erp = NULL;
    va_start(ap, fmt);
    ANG_ASSERT(vasprintf(&where, fmt, ap) >= 0);
    va_end(ap);
    msg = ang_sprintf("%s: %s", where, er->msg);
    free(where);
    free(er->msg);
    er->msg = msg;
    return (er);
}

struct ang_err *ang_err_dup(const struct ang_err *er) {
    ANG_CHECK(er, ANG_ERR_MAGIC);
    return (ang_err_new_cls(er->code, er->cls, "%s", er->msg));
}

void ang_err_free(struct ang_err **erp) {
    struct ang_err *er = *erp;

    if (er == NULL)
        return;
    ANG_CHECK(er, ANG_ERR_MAGIC);
    *erp = NULL;
    er->magic = 0;
    free(er->msg);
    free(er);
}

const char *ang_err_name(enum ang_ec code) {
    ANG_ASSERT((unsigned)code < ANG_E_COUNT);
    return (rows[code].name);
}

const char *ang_err_todo(enum ang_ec code) {
    ANG_ASSERT((unsigned)code < ANG_E_COUNT);
    return (rows[code].todo);
}

const char *ang_class_name(enum ang_class c) {
    switch (c) {
    case ANG_RETRY:
        return ("retry");
    case ANG_ABORT_TXN:
        return ("abort-txn");
    case ANG_UNKNOWN:
        return ("unknown");
    case ANG_RETIRE:
        return ("retire");
    case ANG_BAD_INPUT:
        return ("bad-input");
    case ANG_FATAL:
        return ("fatal");
    }
    ang_panic(__FILE__, __LINE__, __func__, "class out of range");
}

static const char *class_means(enum ang_class c) {
    switch (c) {
    case ANG_RETRY:
        return ("Passing: the same call may work later, nothing has happened.");
    case ANG_ABORT_TXN:
        return ("This transaction is lost and nothing of it is visible; what was in it runs again.");
    case ANG_UNKNOWN:
        return ("Nobody knows whether it happened; the log is read to find out before work goes on.");
    case ANG_RETIRE:
        return ("The writer that reported it is closed and opened anew; the transaction did not happen.");
    case ANG_BAD_INPUT:
        return ("What came from outside is wrong; just that is refused, dead-lettered or skipped.");
    case ANG_FATAL:
        return ("A promise cannot be kept: the process stops with a non-zero exit code.");
    }
    ang_panic(__FILE__, __LINE__, __func__, "class out of range");
}

void ang_err_print_reference(void) {
    printf("# Errors\n\n"
           "<!-- Printed by the program from base/errors.tbl.h: change that file, then print this one again. -->\n\n"
           "Every error carries a code, a class and a message that says what happened and where. The class says what\n"
           "is done about it; the code says what you can do.\n\n"
           "## Classes\n\n| class | what it means |\n|---|---|\n");
    for (enum ang_class c = ANG_RETRY; c <= ANG_FATAL; c++)
        printf("| %s | %s |\n", ang_class_name(c), class_means(c));
    printf("\n## Codes\n\n| code | class | what it means | what to do |\n|---|---|---|---|\n");
    for (size_t i = 0; i < ANG_COUNT(rows); i++)
        printf("| `%s` | %s | %s | %s |\n", rows[i].name, ang_class_name(rows[i].cls), rows[i].text, rows[i].todo);
}
