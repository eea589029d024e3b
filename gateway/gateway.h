/* The gateway: takes commands and queries from clients.  Stateless: what it holds are the calls that wait for their answers.
 *
 *      client --Execute--> [pending] --append--> <domain>.commands
 *             <--answer--- [pending] <--sink / Attach stream--- worker (after its commit)
 *
 * One loop owns everything. */
#ifndef ANG_GATEWAY_H
#define ANG_GATEWAY_H

#include "base/err.h"
#include "base/settings.h"
#include "eventlog/eventlog.h"
#include "processor/processor.h"
#include "rpc/rpc.h"
#include "topology/topology.h"

struct ang_gateway;

struct ang_gateway_conf {
    const struct ang_settings *settings; /* borrowed for the gateway's life, as all of these */
    const struct ang_catalog *types;     /* for reflection; NULL: not served */
    struct ang_log *log;
    struct ang_topology *topology;
    const char *address; /* to listen on */
    bool streams_only;   /* EventQuery, EventStream and EventTail alone, no commands: the role `stream` */
    struct ang_worker *local; /* the worker of this process: answers and queries go straight to it; NULL: found through `owners` */
    void (*fatal)(void *arg, struct ang_err *er); /* only a new start can heal it; takes er; on the gateway's loop */
    void *arg;
};
/* What it serves; the caller frees it.  The handlers' arg is the gateway. */
struct ang_rpc_method *ang_gateway_methods(bool streams_only, size_t *ret_n);
/* Binds the address at once; commands and queries are taken from then on (health is set by the caller). */
struct ang_err *ang_gateway_start(const struct ang_gateway_conf *conf, struct ang_gateway **ret_g) ANG_MUST_USE;
const char *ang_gateway_address(const struct ang_gateway *g);
/* For health: "" and the service names. */
void ang_gateway_set_serving(struct ang_gateway *g, bool serving);
/* Takes no new calls, lets the ones under way end for up to grace_ms, then ends them UNAVAILABLE. */
void ang_gateway_stop(struct ang_gateway *g, int grace_ms); /* accepts NULL */

#endif
