/* A small HTTP server beside gRPC: /healthz (the process lives), /readyz (it serves), /metrics (numbers). */
#ifndef ANG_HTTP_H
#define ANG_HTTP_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

struct ang_http;

struct ang_http_route {
    const char *path; /* exact */
    /* Fills body, sets *ret_type (a constant) and returns the HTTP status.  Any thread of the server. */
    unsigned (*get)(void *arg, struct ang_buf *body, const char **ret_type);
    void *arg;
};
/* address "host:port", port 0 = any free one.  routes are copied.  RPC_BIND names the address. GET and HEAD; anything else 405; unknown path 404. */
struct ang_err *ang_http_open(const char *address, const struct ang_http_route *routes, size_t n,
                              struct ang_http **ret_h) ANG_MUST_USE;
const char *ang_http_address(const struct ang_http *h);
void ang_http_close(struct ang_http *h); /* accepts NULL */

#endif
