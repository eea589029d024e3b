/* Group commit: everything that is written goes through here, in one order.
 *
 * A thread that wants something written makes a job and runs it (ang_emb_run).  Jobs queue; the first thread that finds
 * nobody leading becomes the leader: it takes what is queued, lets every job add itself to ONE WriteBatch, writes that,
 * syncs it once if any job asked for it, shows it to readers, and hands the lead on.  So:
 *
 *   - offsets are given in the order of the queue, and a record is never visible before one with a lower offset;
 *   - commits that arrive during a sync share the next one; a lone commit pays exactly one fdatasync and no change of thread;
 *   - a generation or epoch that a job raises holds for every job behind it, written or not.
 *
 * Write and sync are two calls, because they fail differently: a write that found no room has left nothing that a reopened
 * log would take for a record (RocksDB cuts a log file at its first incomplete entry); a sync that failed leaves open what
 * the disk holds, so from then on the log refuses everything until it is opened again. */
#ifndef ANG_EMB_GROUP_H
#define ANG_EMB_GROUP_H

#include <pthread.h>

#include "base/base.h"
#include "eventlog/eventlog.h"

struct ang_emb;
struct ang_emb_group;
struct ang_emb_part;

enum ang_emb_kind {
    ANG_EMB_PLAIN,  /* generations, epochs, topics, retention, or only waiting for what is under way */
    ANG_EMB_APPEND, /* heap; the log thread runs its done and frees it */
    ANG_EMB_COMMIT
};

struct ang_emb_job {
    unsigned magic;
#define ANG_EMB_JOB_MAGIC 0xe3b10b01
    enum ang_emb_kind kind;
    bool sync; /* must be durable before it is finished */
    /* Leader: adds to the group, or says why not, in which case it has added nothing.  NULL: nothing to write. */
    struct ang_err *(*stage)(struct ang_emb_job *job, struct ang_emb_group *g);
    size_t bytes; /* about */
    /* emb->lock */
    struct ang_emb_job *next;
    pthread_cond_t *cond; /* of the thread that waits; NULL for appended records */
    bool finished;
    struct ang_err *er;
};

/* Runs the job to its end.  Blocks. */
struct ang_err *ang_emb_run(struct ang_emb *emb, struct ang_emb_job *job) ANG_MUST_USE;
/* Queues an appended record.  @locks held: emb->lock */
void ang_emb_push(struct ang_emb *emb, struct ang_emb_job *job);
/* Leads one group.  Nobody else may be leading.  @locks held: emb->lock (released meanwhile) */
void ang_emb_lead(struct ang_emb *emb);

struct ang_emb_group *ang_emb_group_new(struct ang_emb *emb);
void ang_emb_group_free(struct ang_emb_group *g); /* accepts NULL */

/* ---- for stage functions ---- */
struct ang_emb *ang_emb_group_log(struct ang_emb_group *g);
int64_t ang_emb_group_time(const struct ang_emb_group *g); /* wall clock, the records' append time */
void ang_emb_group_put(struct ang_emb_group *g, struct ang_slice key, struct ang_slice value);
void ang_emb_group_delete_range(struct ang_emb_group *g, struct ang_slice from, struct ang_slice to);
/* Gives the record its offset.  rec's key must live until the group is written.  A failure here fails the whole group. */
int64_t ang_emb_group_add(struct ang_emb_group *g, struct ang_emb_part *part, const struct ang_out *rec);

#endif
