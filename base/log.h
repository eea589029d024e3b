/* Structured log: one line per event, on stderr, human or JSON.
 *
 *     ANG_LOG(ANG_LOG_WARN, "TXN-ABORTED", "transaction aborted, its commands run again", "partition", ANG_F("%d", p), "error", er->msg);
 *
 * The id is stable and short: operators alert on it.  After the message come pairs of key and value; the macro ends
 * them.  Repeating failures go through ANG_LOG_EVERY, which counts what it leaves out and says how many.
 * A function logs an error or returns it, never both.  Thread-safe; one write(2) per line. */
#ifndef ANG_LOG_H
#define ANG_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/err.h"

enum ang_log_level { ANG_LOG_ERROR, ANG_LOG_WARN, ANG_LOG_INFO, ANG_LOG_DEBUG };

/* spec: "[level][,json|human][,debug=ctx,ctx…]", as ANGZARR_LOG holds it: "info", "debug,json", "info,debug=txn,rpc".
 * NULL = info, human on a terminal and JSON otherwise.  Contexts: txn, store, rpc, lane, gateway, log.
 * Called once before any thread starts; a bad spec is a CONFIG error that names ANGZARR_LOG. */
struct ang_err *ang_log_setup(const char *spec) ANG_MUST_USE;
bool ang_log_on(enum ang_log_level lvl); /* DEBUG: level debug, or any debug context */
/* Debug lines belong to a context and ask for it (ANG_DEBUG does): level debug without a list has all of them. */
bool ang_log_debugs(const char *ctx);
/* Adds `key=value` to every line from now on ("role", "worker"). Before threads start. */
void ang_log_context(const char *key, const char *value);

/* Counts an error or a warning, whether or not it is written; id is a constant.  The macros do. */
void ang_log_count(enum ang_log_level lvl, const char *id);
/* How often each has happened that has happened, in no order. */
void ang_log_counted(void (*visit)(void *arg, enum ang_log_level lvl, const char *id, uint64_t n), void *arg);

void ang_log_line(enum ang_log_level lvl, const char *id, const char *msg, ...) __attribute__((sentinel));

/* Values are formatted strings: write ANG_F("%d", x) for each. */
struct ang_log_fmt {
    char s[512];
};
const char *ang_log_f(struct ang_log_fmt *f, const char *fmt, ...) ANG_PRINTF(2, 3);
#define ANG_F(...) ang_log_f(&(struct ang_log_fmt){{0}}, __VA_ARGS__)

/* ANG_LOG(level, id, msg, "key", ANG_F("%d", v), "key2", str, …): keys and values are const char *, never NULL, any bytes.
 * ts, level, id and msg are names of the line itself. */
#define ANG_LOG(lvl, id, ...)                                    \
    do {                                                         \
        ang_log_count((lvl), (id));                              \
        if (ang_log_on(lvl))                                     \
            ang_log_line((lvl), (id), __VA_ARGS__, (char *)0);   \
    } while (0)

/* A debug line of one context: ANG_DEBUG("txn", "TXN-BEGIN", "transaction begins", "partition", ANG_F("%d", p)). */
#define ANG_DEBUG(ctx, id, ...)                                        \
    do {                                                               \
        if (ang_log_debugs(ctx))                                       \
            ang_log_line(ANG_LOG_DEBUG, (id), __VA_ARGS__, (char *)0); \
    } while (0)

/* Token for a place that may repeat: at most one line per `every_ms`, the next line says how many were left out. */
struct ang_log_gate {
    _Atomic int64_t next_ms;
    _Atomic uint64_t left_out;
};
bool ang_log_gate_pass(struct ang_log_gate *g, int64_t every_ms, uint64_t *ret_left_out);
#define ANG_LOG_EVERY(every_ms, lvl, id, ...)                                                                         \
    do {                                                                                                              \
        static struct ang_log_gate gate_;                                                                             \
        uint64_t left_;                                                                                               \
        ang_log_count((lvl), (id));                                                                                   \
        if (ang_log_on(lvl) && ang_log_gate_pass(&gate_, (every_ms), &left_))                                         \
            ang_log_line((lvl), (id), __VA_ARGS__, "left_out", ANG_F("%llu", (unsigned long long)left_), (char *)0);  \
    } while (0)

#endif
