/* The error object.  A function that can fail returns struct ang_err *, NULL = ok.
 *
 *     er = ang_store_put(st, key, val);
 *     if (er != NULL)
 *         return (ang_err_wrap(&er, "snapshot %s", id));
 *
 * Codes, their classes and what a user should do stand in errors.tbl.h, from which docs/errors.md is printed.
 * The class says what may be done about an error; ang_err_action() is the one place that decides it.
 * An error is owned by whoever holds it: returned, wrapped (taken), logged-and-freed or freed; never two of these. */
#ifndef ANG_ERR_H
#define ANG_ERR_H

#include "base/assert.h"

enum ang_class {
    ANG_RETRY,     /* transient: the same call may work later, nothing has happened */
    ANG_ABORT_TXN, /* this transaction is lost and nothing of it is visible: what was in it runs again */
    ANG_UNKNOWN,   /* nobody knows whether it happened: resolve by reading the log before going on */
    ANG_RETIRE,    /* the writer that reported it must be closed and opened anew; the transaction did not happen */
    ANG_BAD_INPUT, /* what came from outside is wrong: answer, dead-letter or skip just that */
    ANG_FATAL      /* our own name is in use elsewhere, a promise cannot be kept: stop, exit non-zero */
};

enum ang_ec {
#define ANG_ERROR(code, cls, text, todo) ANG_E_##code,
#include "base/errors.tbl.h"
#undef ANG_ERROR
    ANG_E_COUNT
};

struct ang_err {
    unsigned magic;
#define ANG_ERR_MAGIC 0x61e55a01
    enum ang_ec code;
    enum ang_class cls; /* from the table, unless ang_err_new_cls gave another */
    char *msg;          /* what happened and where: topic/partition/offset, file:line, setting, rpc */
};

/* A new error; fmt is the whole message ("what happened, where"). */
struct ang_err *ang_err_new(enum ang_ec code, const char *fmt, ...) ANG_PRINTF(2, 3) ANG_MUST_USE;
struct ang_err *ang_err_new_cls(enum ang_ec code, enum ang_class cls, const char *fmt, ...) ANG_PRINTF(3, 4) ANG_MUST_USE;
/* Takes *er, puts "<fmt>: " before its message, returns it. */
struct ang_err *ang_err_wrap(struct ang_err **er, const char *fmt, ...) ANG_PRINTF(2, 3) ANG_MUST_USE;
struct ang_err *ang_err_dup(const struct ang_err *er);
void ang_err_free(struct ang_err **er); /* accepts NULL in *er, leaves NULL */

const char *ang_err_name(enum ang_ec code);   /* "STORE_CORRUPT" */
const char *ang_err_todo(enum ang_ec code);   /* what a user should do, a sentence */
const char *ang_class_name(enum ang_class c); /* "retry" */
/* docs/errors.md to stdout. */
void ang_err_print_reference(void);

#endif
