/* angzarr status: what is looked at, and how it is shown.
 *
 *      status_new ── status_look ── status_print … status_look ── status_print … status_free
 *
 * Main thread; health checks run on a loop of their own while it waits. */
#ifndef ANG_TOOL_STATUS_H
#define ANG_TOOL_STATUS_H

#include "tools/look.h"
#include "topology/owners.h"

/* ---- does it answer? (status_health.c) ---- */
struct status_check {
    const char *address;
    bool answers; /* something that speaks gRPC is there */
    bool serving; /* and says so, or has no health service */
    char text[160];
};
/* Asks all of them at once; takes timeout_ms at most. */
void status_check(struct status_check *checks, size_t n, int64_t timeout_ms);

/* /readyz of an address: its status code, 0 when nobody answers (why in ret_why); the body. (status_http.c) */
int status_readyz(const char *address, int64_t timeout_ms, struct ang_buf *ret_body, char ret_why[160]);

/* ---- what was seen ---- */
enum status_kind { STATUS_GATEWAY, STATUS_PROCESS, STATUS_WORKER, STATUS_BUSINESS };

struct status_component {
    enum status_kind kind;
    char *name;    /* domain, worker id */
    char *address; /* as it is reached */
    bool answers, serving;
    char *text; /* "serving", "no answer: …" */
};

struct status_input {
    int64_t committed, end;
    int64_t lag;        /* ANG_OFFSET_NONE: not known */
    int64_t unfinished; /* below what is done already; ANG_OFFSET_NONE: not known */
};

struct status_part {
    const struct ang_domain *domain;
    int32_t no;
    bool served;
    char state[40]; /* "serving", "restoring 40%" */
    int percent;    /* -1: not restoring */
    char *worker, *endpoint;
    int32_t generation; /* -1: nobody has it */
    struct status_input commands, reactions;
    char *why; /* what is not known of it and why; NULL: all is */
};

struct status {
    struct look look;
    struct ang_owners *owners; /* Kafka; NULL until the log has answered */
    int64_t timeout_ms;
    /* of the last look */
    int64_t at_us;
    struct status_component *components;
    size_t n_components;
    struct status_part *parts;
    size_t n_parts;
    struct ang_buf problems; /* lines */
    bool topics_missing; /* which is one problem, not one for each partition */
    size_t served;
    int64_t lag; /* of all that is known */
    size_t unknown_lag;
};

/* ---- status_look.c ---- */
/* An error: the log could not be reached, and nothing of it is known. */
struct ang_err *status_look(struct status *s) ANG_MUST_USE;
void status_forget(struct status *s); /* the last look */
void status_problem(struct status *s, const char *fmt, ...) ANG_PRINTF(2, 3);

/* ---- status_log.c: the partitions ---- */
struct ang_err *status_look_log(struct status *s) ANG_MUST_USE;

/* ---- status_print.c ---- */
void status_print(const struct status *s);
void status_print_error(const struct ang_err *er); /* in place of a look, with --watch */

#endif
