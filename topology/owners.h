/* Who owns which partition: the `owners` topic, written by workers, followed by gateways and by workers at their start.
 * For routing and fencing only: no promise rests on it (lane.md L22). One thread owns the table: it calls poll when woken. */
#ifndef ANG_OWNERS_H
#define ANG_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "eventlog/eventlog.h"
#include "topology/topology.h"

struct ang_owners;

enum ang_owner_state { ANG_OWNER_NONE, ANG_OWNER_RESTORING, ANG_OWNER_SERVING, ANG_OWNER_RELEASED };

struct ang_owner { /* an entry; borrowed until the next poll */
    enum ang_owner_state state;
    const char *endpoint;
    const char *worker;
    int32_t generation;
    int64_t start_ms; /* wall clock at which that owner's process started */
    uint32_t percent; /* restoring */
    const char *const *txn_ids; /* that its transactions run under */
    size_t n_txn_ids;
    bool hidden; /* an older entry was written after it, and would be what compaction leaves */
};

/* Reads the topic from its beginning.  wake: call ang_owners_poll soon; any thread. */
struct ang_err *ang_owners_open(struct ang_log *log, const struct ang_topology *t, void (*wake)(void *arg), void *arg,
                                struct ang_owners **ret_o) ANG_MUST_USE;
/* For a look from outside: reads all that is there now, writes nothing.  ang_owners_poll takes in what comes later.  Blocks. */
struct ang_err *ang_owners_open_look(struct ang_log *log, const struct ang_topology *t, int timeout_ms,
                                     struct ang_owners **ret_o) ANG_MUST_USE;
void ang_owners_close(struct ang_owners *o); /* accepts NULL */
/* Takes in what has come; *ret_changed: an entry is not what it was. */
struct ang_err *ang_owners_poll(struct ang_owners *o, bool *ret_changed) ANG_MUST_USE;
/* Blocks until everything that was in the topic when it was called has been taken in. */
struct ang_err *ang_owners_catch_up(struct ang_owners *o, int timeout_ms) ANG_MUST_USE;
/* state ANG_OWNER_NONE when nobody ever owned it.  (group, partition): "angzarr.order.aggregate", 3 */
struct ang_owner ang_owners_get(const struct ang_owners *o, const char *group, int32_t partition);

/* Writes an entry; done as in ang_log_append.  @thread any */
struct ang_err *ang_owners_publish(struct ang_log *log, const struct ang_topology *t, const char *group, int32_t partition,
                                   const struct ang_owner *entry, const char *const *txn_ids, size_t n_txn_ids,
                                   void (*done)(void *arg, struct ang_err *er, int64_t offset), void *arg) ANG_MUST_USE;

#endif
