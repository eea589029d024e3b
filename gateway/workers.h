/* The workers that `owners` names: a channel to each, a stream for its answers, and which of them serves a partition.
 *
 *      owners --> route per (domain, partition) --> worker --channel--> queries
 *                                                     ^------Attach---- answers
 *
 * A route is up when its owner serves it and that owner's stream stands (its first message has come): only then do answers find us.
 * A worker that owns nothing any more is kept while its stream stands: answers may still be on the way.
 * Loop thread, except that the owners table wakes from any. */
#ifndef ANG_GATEWAY_WORKERS_H
#define ANG_GATEWAY_WORKERS_H

#include "eventlog/eventlog.h"
#include "gateway/pending.h"
#include "rpc/rpc.h"
#include "topology/owners.h"
#include "topology/topology.h"

struct ang_workers;

struct ang_workers_conf {
    struct ang_loop *loop;
    struct ang_log *log;
    const struct ang_topology *topology;
    const char *gateway; /* our id; borrowed */
    void (*answer)(void *arg, const struct ang_pending_answer *a);
    void (*path)(void *arg, const struct ang_domain *domain, int32_t partition, bool up);
    void (*changed)(void *arg); /* some route is not what it was */
    void (*failed)(void *arg, struct ang_err *er); /* `owners` cannot be read at all; takes er */
    void *arg;
};
struct ang_err *ang_workers_open(const struct ang_workers_conf *conf,
                                 struct ang_workers **ret_w) ANG_MUST_USE; /* before the loop starts */
/* Calls on its channels end, some of them only while the loop stops.  Accepts NULL. */
void ang_workers_close(struct ang_workers *w);
void ang_workers_free(struct ang_workers *w); /* closed, and its loop stopped; accepts NULL */
/* Once per turn: takes in what `owners` has. */
void ang_workers_turn(struct ang_workers *w);

bool ang_workers_up(const struct ang_workers *w, const struct ang_domain *domain, int32_t partition);
/* The channel to the worker that serves the partition; NULL: nobody does, as far as we know.  Valid until the loop's next turn. */
struct ang_rpc_channel *ang_workers_channel(const struct ang_workers *w, const struct ang_domain *domain,
                                            int32_t partition);
/* All workers that serve partitions of the domain (NULL: of any), each once, appended to *ret_chs, which the caller frees.  False when a
 * partition has no owner that serves it: *ret_domain, *ret_partition name it, and *ret_chs is NULL. */
bool ang_workers_cover(const struct ang_workers *w, const struct ang_domain *domain, struct ang_rpc_channel ***ret_chs,
                       size_t *ret_n, const struct ang_domain **ret_domain, int32_t *ret_partition);
/* Changes whenever a partition's serving owner changes. */
uint64_t ang_workers_version(const struct ang_workers *w);
/* Appends what is known of the partition's owner, for people. */
void ang_workers_describe(const struct ang_workers *w, const struct ang_domain *domain, int32_t partition,
                          struct ang_buf *b);

/* answers.c: the messages of an Attach stream.  Decodes an encoded angzarr.ext.Answers, calling `answer` for each; what it gives is
 * borrowed until it returns.  Answers to domains we do not know are skipped.  Returns WIRE, naming the field, and then the rest of the
 * message has been left out. */
struct ang_err *ang_answers_decode(struct ang_slice message, const struct ang_topology *t,
                                   void (*answer)(void *arg, const struct ang_pending_answer *a),
                                   void *arg) ANG_MUST_USE;

#endif
