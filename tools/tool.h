/* What the tools share: the command line, the configuration, a call to a server, types of payloads, and how things are printed.
 *
 *      int tool_query(int argc, char **argv) {
 *          …
 *          if (tool_begin(&usage, argc, argv, &rc))        options; --help and mistakes end here
 *              return (rc);
 *          …
 *          rc = tool_call(&call, &answer);                 waits; says what went wrong, in words
 *          if (rc == ANG_TOOL_DONE)
 *              …
 *          return (tool_end(rc));
 *      }
 *
 * One tool runs in a process, and then the process ends: what belongs to the whole run stands in `tool`.  A function that returns an exit
 * code has said on stderr what went wrong when it is not 0.  Results go to stdout, all else to stderr.  Main thread, unless it says so. */
#ifndef ANG_TOOL_H
#define ANG_TOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "base/settings.h"
#include "base/uuid.h"
#include "proto/json.h"
#include "proto/types.h"
#include "rpc/rpc.h"
#include "tools/tools.h"

/* ---- the command line (options.c) ---- */
enum tool_kind {
    TOOL_FLAG,    /* bool * */
    TOOL_TEXT,    /* const char **; NULL: not given */
    TOOL_LIST,    /* struct tool_list *: may be given several times */
    TOOL_NUMBER,  /* struct tool_number *: 0 to 4294967295 */
    TOOL_DURATION /* int64_t *: milliseconds; "500ms", "5s", "2m", "5" is seconds */
};
struct tool_list {
    const char **items;
    size_t n;
};
struct tool_number {
    uint32_t value;
    bool given;
};
struct tool_opt {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    const char *arg;  /* as --help shows it; NULL: takes none */
    const char *help; /* may have several lines */
    enum tool_kind kind;
    void *to;
};

/* Options that several tools have in the same way. */
enum {
    TOOL_OUTPUT = 1,  /* -o, --output table|json */
    TOOL_CONFIG = 2,  /* --config FILE */
    TOOL_ADDRESS = 4, /* --address HOST:PORT of a gateway */
    TOOL_TIMEOUT = 8, /* --timeout TIME */
    TOOL_TYPES = 16   /* --descriptors FILE, several times */
};

struct tool_usage {
    const char *name;     /* "query" */
    const char *operands; /* "DOMAIN ROOT" */
    const char *about;    /* what it does: a paragraph of whole lines */
    const char *more;     /* after the options: exit codes of its own, examples; may be NULL */
    unsigned with;        /* TOOL_OUTPUT | … */
    const struct tool_opt *opts;
    size_t n_opts;
    size_t min, max; /* operands */
};

struct tool { /* of this run */
    const struct tool_usage *usage;
    const char **operands;
    size_t n_operands;
    bool json; /* -o json: one JSON value per line */
    const char *config, *address;
    int64_t timeout_ms;
    struct tool_list descriptors;
    struct ang_settings *settings; /* by tool_settings */
};
extern struct tool tool;

/* Reads the command line into `tool` and what the options point to.  True: the tool ends with *ret_rc (0 after --help).  Operands and
 * options may stand in any order; "--" ends the options. */
bool tool_begin(const struct tool_usage *usage, int argc, char **argv, int *ret_rc);
/* Frees what belongs to the run, flushes stdout: FAILED, and words, when it cannot be written; a reader that has seen enough (`| head -1`)
 * is no failure.  Returns rc otherwise. */
int tool_end(int rc);

/* ---- mistakes and errors (say.c) ---- */
/* "angzarr query: <fmt>" on stderr. */
void tool_say(const char *fmt, ...) ANG_PRINTF(1, 2);
/* The same, and where help is to be found; returns ANG_TOOL_USAGE. */
int tool_misuse(const char *fmt, ...) ANG_PRINTF(1, 2);
/* Says an error, and what docs/errors.md says to do about it unless it is about what came from outside: then its message does.  Takes it;
 * returns the exit code: USAGE for CONFIG, JSON, TYPES and INVALID, NO_ANSWER for class RETRY, else FAILED. */
int tool_fail(struct ang_err **er);

/* ---- the configuration (config.c) ---- */
/* tool.settings from --config, $ANGZARR_CONFIG or ./angzarr.yaml.  needed = false: none of them is no error, and tool.settings stays
 * NULL. */
int tool_settings(bool needed);
/* The gateway to ask: --address, else gateway.address of the configuration (0.0.0.0 and [::] are this machine), else 127.0.0.1:1316.
 * Borrowed.  Reads the configuration when it has to; an exit code in *ret_rc, and NULL, when that fails. */
const char *tool_gateway(int *ret_rc);

/* ---- calls (call.c) ---- */
struct tool_answer { /* tool_answer_fini */
    uint32_t code;
    struct ang_buf msg, response;
    struct ang_status *trailers; /* its entries are the answer's; NULL: none */
};
struct tool_call {
    const char *address;
    const char *path; /* a constant */
    struct ang_slice request;
    const struct ang_meta *meta;
    size_t n_meta;
    /* Unary: the call's deadline.  Streams: for how long nothing may come; one that is watched: until it has begun, which is when its
     * first message has come, or before that when `begun` is given.  ANG_NEVER: no limit */
    int64_t timeout_ms;
    /* Streams: each message, on another thread than the caller's, one at a time, while the caller waits.  NULL: unary.  False: enough, the
     * call is cancelled and counts as done. */
    bool (*message)(void *arg, struct ang_slice msg);
    /* Streams: the server has begun to answer, maybe long before there is a message; on that other thread too.  May be NULL */
    void (*begun)(void *arg);
    void *arg;
    int64_t until_ms; /* streams: it is ended then, and that is DONE; monotonic, 0: never */
    /* A stream that is watched: SIGINT, SIGTERM and a reader of standard output who goes away are its proper end, DONE.  If there is a
     * doubt, signals are that only once it has begun. */
    bool watch;
    /* What else to say when it was interrupted or nobody answered: "it may have been stored: …"; NULL: nothing */
    const char *doubt;
    /* Answers to these are not said here: bit 1 << code.  0: all are */
    uint32_t quiet;
};
/* Calls and waits.  DONE: the answer has code OK (or the stream was ended by us).  Else it has said, e.g., "angzarr send:
 * 127.0.0.1:1316: FAILED_PRECONDITION: …" and returns FAILED; NO_ANSWER for UNAVAILABLE, DEADLINE_EXCEEDED and CANCELLED; INTERRUPTED.
 * The answer is filled in every case.  A second signal ends the process at once. */
int tool_call(const struct tool_call *call, struct tool_answer *ret);
/* The same words, for who has kept them quiet. */
void tool_say_answer(const struct tool_call *call, const struct tool_answer *a);
void tool_answer_fini(struct tool_answer *a);
/* True once SIGINT or SIGTERM has come; waits up to timeout_ms for it.  For loops of one's own. */
bool tool_interrupted(int64_t timeout_ms);

/* ---- types of payloads (types.c): any thread, one at a time ---- */
/* A message type by its full name or by a type_url.  Looked for in our own types, --descriptors, the configuration's `descriptors`, and
 * then asked of the reflection of the gateway and of each business_logic address, in this order; what nobody knew is not asked for again
 * for 5 s.  *ret_type is NULL when nobody knows it; an exit code when a file that was named cannot be used. */
int tool_type(struct ang_slice name, const struct ang_type **ret_type);
/* Reads the files that were named, before anything is asked or sent; tool_type would at its first call. */
int tool_types_load(void);
/* Where the last tool_type looked, for the message that it is not there: "orders.pb, reflection of 127.0.0.1:1316 (UNIMPLEMENTED …)" */
const char *tool_types_asked(void);
/* A server that it asked did not answer: it may know the type. */
bool tool_types_unanswered(void);
/* Appends a message of ours ("angzarr.EventBook") as one line of JSON, after the types of all Anys in it were looked for: those that nobody
 * knows are {"@type": …, "value": base64}.  An exit code when the bytes are no such message. */
int tool_json(const char *type, struct ang_slice bytes, struct ang_buf *ret);

/* ---- values (values.c) ---- */
/* The root an operand means: a UUID in canonical form.  False: said, as a misuse. */
bool tool_root(const char *text, struct ang_uuid *ret);
/* RFC 3339 with a zone ("2026-01-31T12:00:00Z", "…+01:00", fractions), to microseconds since 1970. */
bool tool_time(const char *text, int64_t *ret_us);
/* "2026-01-31T12:00:00.123Z" */
void tool_time_text(int64_t us, char out[32]);
/* A whole file, or standard input for "-"; at most 64 MiB. */
struct ang_err *tool_read(const char *path, struct ang_buf *ret) ANG_MUST_USE;

/* ---- printing (table.c) ---- */
/* A table: cells are text (control characters are shown as \xNN); columns as wide as their widest cell, the last one not padded. */
struct tool_table;
struct tool_table *tool_table_new(const char *const *heads, size_t n);
void tool_table_add(struct tool_table *t, ...) __attribute__((sentinel)); /* n texts, then (char *)0; copied */
/* Prints and empties it; a table without rows prints nothing but its heads.  Right: bit i set = column i is right-aligned. */
void tool_table_print(struct tool_table *t, uint32_t right);
void tool_table_free(struct tool_table *t);
/* A line on stdout, flushed: for streams, also into a pipe. */
void tool_line(struct ang_slice line);
/* Appends text from outside; what a terminal would obey, and all from the first byte that is no UTF-8, becomes \xNN. */
void tool_add_shown(struct ang_buf *b, struct ang_slice text);
/* Nobody reads standard output any more, or it cannot be written: there is no use in going on. */
bool tool_unread(void);

/* ---- the tools ---- */
int tool_send(int argc, char **argv);
int tool_query(int argc, char **argv);
int tool_tail(int argc, char **argv);
int tool_topics(int argc, char **argv);
int tool_inspect(int argc, char **argv);
int tool_status(int argc, char **argv);

#endif
