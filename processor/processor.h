/* The worker: lanes, the store beside them, and what gateways ask of it.
 *
 *      commands, reactions --reader--> lane --calls--> business logic
 *                                       | batches
 *                                    committer --transaction--> log
 *                                       | applied to the store
 *                                      lane --answers--> sinks (gateways)
 *      queries --> query thread --reads--> store
 */
#ifndef ANG_PROCESSOR_H
#define ANG_PROCESSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/settings.h"
#include "base/slice.h"
#include "eventlog/eventlog.h"
#include "rpc/rpc.h"
#include "topology/topology.h"

struct ang_worker;

struct ang_worker_conf {
    const struct ang_settings *settings; /* borrowed for the worker's life, as all of these */
    struct ang_log *log;
    struct ang_topology *topology;
    const char *endpoint; /* what goes into owners; "" for a process whose gateway is inside */
    void (*ready)(void *arg, bool ready); /* every assigned partition of every lane serves, or not; any thread; may repeat */
    /* A promise cannot be kept, or somebody else has our name: the process must stop.  Takes er.  Any thread, once. */
    void (*fatal)(void *arg, struct ang_err *er);
    void *arg;
};
/* Opens the store and starts the threads.  Does not wait for partitions. */
struct ang_err *ang_worker_start(const struct ang_worker_conf *conf, struct ang_worker **ret_w) ANG_MUST_USE;
/* Appends members of a JSON object: "worker" and "lanes" (docs/health.md).  Until ang_worker_stop.  Any thread; does not block. */
void ang_worker_health(struct ang_worker *w, struct ang_buf *body);
/* Finishes what is under way (up to 10 s) and leaves the groups.  Gateways may still be attached and queries may still come: they are
 * told that it is over.  Not from a lane's thread.  Accepts NULL. */
void ang_worker_stop(struct ang_worker *w);
void ang_worker_free(struct ang_worker *w); /* stopped, and nobody is attached any more; closes the store; accepts NULL */

/* ---- answers ---- */

/* The outcome of one copy of a command; owned by whoever holds it. */
struct ang_answer {
    unsigned magic;
#define ANG_ANSWER_MAGIC 0xa05e3001
    struct ang_answer *next;
    const struct ang_domain *domain;
    uint8_t root[16];
    char edition[65];
    char command_id[129]; /* as in the header; "" when the record had none */
    uint32_t attempt;     /* the header of the copy that this answers */
    int32_t partition;
    int64_t position;     /* of the commands topic: this record */
    uint32_t code;        /* ANG_OK: response holds an encoded CommandResponse; else status is set */
    bool final;           /* no copy of the command will end otherwise; false: its outcome is open */
    struct ang_status *status;
    struct ang_blob *response;
};
void ang_answer_free(struct ang_answer **a);

/* From now on the answers to commands whose `reply-to` is gateway come to deliver: called on a lane's thread with a list that the
 * callee takes; it must not block.  A second sink of the same name replaces the first. */
void ang_worker_attach(struct ang_worker *w, const char *gateway, void (*deliver)(void *arg, struct ang_answer *list), void *arg);
/* After it returns, deliver(arg) is not running and will not run again.  No-op when another sink has taken the name. */
void ang_worker_detach(struct ang_worker *w, const char *gateway, void *arg);

/* ---- queries ---- */

/* Serves EventQuery.GetEventBook (stream = false) or GetEvents (true) out of this worker's partitions and ends the rpc.  A partition that
 * is on its way is waited for, until the rpc's deadline or 30 s; one that is not ours: UNAVAILABLE, "… is not served here".
 * A query without a root reads all partitions of this worker (of the domain, when it names one). */
void ang_worker_query(struct ang_worker *w, struct ang_rpc *rpc, bool stream);

/* A page of what a partition holds (angzarr.ext.PageRequest, PageResponse), for those who read more than a caller takes at once. */
struct ang_paging {
    unsigned magic;
#define ANG_PAGING_MAGIC 0x9a6e0001
    struct ang_slice request; /* borrowed until done */
    int64_t until_ms;         /* as long as it may wait for the partition */
    /* Once, on any thread, perhaps before ang_worker_page returns.  st NULL: OK with response (borrowed), else the status, taken.
     * UNAVAILABLE: ask again, perhaps elsewhere. */
    void (*done)(struct ang_paging *pg, struct ang_slice response, struct ang_status *st);
};
void ang_worker_page(struct ang_worker *w, struct ang_paging *pg);

/* The methods a worker process serves to gateways (angzarr.ext.Worker, EventQuery): arg of the server is the worker. */
extern const struct ang_rpc_method ang_worker_methods[];
extern const size_t ang_worker_n_methods;

#endif
