/* The log: topics of partitions of records, transactions over them, positions of groups, and who reads which partition.
 * Two implementations behind one interface: kafka/ (librdkafka) and embedded/ (RocksDB, one process).  tests/contract holds
 * what both promise.
 *
 *      ang_log ──┬── topics            administration: create, check, what there is of them
 *                ├── append            a record on its own, no transaction (gateways)
 *                ├── reader            records of chosen partitions from chosen positions, committed ones only
 *                ├── member            membership in a group: which partitions are ours, and the proof of it (token)
 *                ├── positions         committed positions of a group, with their metadata
 *                └── writer            a transactional id: commit a batch of records and positions, all or nothing
 *
 * Reading and membership are apart on purpose: a member never delivers records, and a reader starts only where it is told to,
 * so a position is never "whatever the client library found".
 *
 * Errors: RETRY nothing happened; ABORT_TXN the transaction left nothing visible; UNKNOWN it may have been committed;
 * RETIRE the writer is dead and its transaction left nothing; FATAL stop.  Messages name topic, partition and offset. */
#ifndef ANG_EVENTLOG_H
#define ANG_EVENTLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/settings.h"
#include "base/slice.h"

struct ang_log;
struct ang_log_reader;
struct ang_log_member;
struct ang_log_token;
struct ang_log_writer;

/* Borrowed from the log, alive as long as it; two handles are equal exactly when the topics are. */
struct ang_topic {
    unsigned magic;
#define ANG_TOPIC_MAGIC 0x70b1c001
    const char *name;
    int32_t partitions;  /* 0 until ang_log_ensure_topics has seen the topic */
    int64_t max_message; /* bytes of one record, key and headers included */
    bool compact;
    int min_insync; /* replicas in sync without which a record is not taken, as ang_log_ensure_topics found it; 0: any number will do */
};

struct ang_hdr {
    const char *name;
    struct ang_slice value;
};

#define ANG_OFFSET_NONE (-1)  /* no position committed; or: the log did not say */
#define ANG_OFFSET_BEGIN (-2) /* the first record there is */
#define ANG_OFFSET_END (-3)   /* only what is appended from now on */

/* ---- opening ---- */

/* Opens the log that s names.  Kafka: returns at once, whether or not a broker answers; embedded: opens or creates the folder
 * (STORE_LOCKED when another process has it).  client: a short name for the broker's logs ("gateway-a"). */
struct ang_err *ang_log_open(const struct ang_settings *s, const char *client, struct ang_log **ret_log) ANG_MUST_USE;
/* The same log, only to be looked at, while others work on it: takes no lock, joins nothing, leaves nothing behind.  What would write (append,
 * join, writer, fence, ensure with create) fails as INVALID.  Embedded: works whether or not the process that has the folder runs; what is
 * committed from now on is seen by polls, ends, ranges, positions and findings.  LOG_UNREACHABLE: the folder holds no log (yet). */
struct ang_err *ang_log_open_look(const struct ang_settings *s, const char *client, struct ang_log **ret_log) ANG_MUST_USE;
/* Everything opened from it must be closed. Blocks until appended records are delivered or expired, at most 5 s. */
void ang_log_close(struct ang_log *log); /* accepts NULL */
/* Identity of this log: Kafka's cluster id, or a UUID of the embedded folder.  Needs the log to be reachable.  Borrowed. */
struct ang_err *ang_log_identity(struct ang_log *log, int timeout_ms, const char **ret_id) ANG_MUST_USE;

/* ---- topics ---- */

struct ang_topic_spec {
    const char *name;
    int32_t partitions;
    int replication;      /* ignored by the embedded log */
    bool compact;         /* else delete */
    int64_t retention_ms; /* delete only; -1 = for ever */
    int64_t max_message;
};
/* Makes sure that all of them are there as specified.  create = false, or a topic that is there and differs: LOG_TOPIC, which
 * says what was found, what was expected, and how to mend it.  LOG_UNREACHABLE after timeout_ms.  May be called again. */
struct ang_err *ang_log_ensure_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, bool create,
                                      int timeout_ms) ANG_MUST_USE;

struct ang_topic_found { /* what there is; ang_topic_found_fini */
    bool there;          /* false: only `differs` says anything */
    int32_t partitions;
    int replication;      /* of the partition that has the fewest; 0: the log makes no copies */
    int min_insync;       /* 0: any number will do */
    char cleanup[32];     /* "compact", "delete", or what else somebody has set */
    int64_t retention_ms; /* of what is deleted; -1 = for ever */
    int64_t max_message;
    struct ang_buf differs; /* what ang_log_ensure_topics would refuse: lines, each with what mends it */
    struct ang_buf notes;   /* what it would not refuse and somebody should know: lines */
};
/* Looks each of them up and compares it with what it should be; changes nothing.  LOG_UNREACHABLE after timeout_ms.  Blocks. */
struct ang_err *ang_log_find_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, int timeout_ms,
                                    struct ang_topic_found *ret_found) ANG_MUST_USE;
void ang_topic_found_fini(struct ang_topic_found *f);

struct ang_range {
    const struct ang_topic *topic;
    int32_t partition;
    /* out */
    int64_t begin, end; /* what a reader of committed records can reach, end not included; ANG_OFFSET_NONE: nobody could say */
    const char *why;    /* nobody could, static text */
};
/* The offsets between which partitions have their records, in as few questions as the log allows.  An error: of none of them.  Blocks. */
struct ang_err *ang_log_ranges(struct ang_log *log, struct ang_range *r, size_t n, int timeout_ms) ANG_MUST_USE;

/* The handle for a name; also before the topic is there.  @thread any */
const struct ang_topic *ang_log_topic(struct ang_log *log, const char *name);

/* ---- whether partitions can be written ---- */

struct ang_writable {
    const struct ang_topic *topic;
    int32_t partition;
    const char *why; /* out: why not, static text; NULL: it can */
};
/* Whether the log would take records for these partitions now: each has a leader that answers us, and enough replicas in sync.  An error:
 * nobody could say.  Embedded: always.  Blocks, about timeout_ms at most.  @thread any */
struct ang_err *ang_log_writable(struct ang_log *log, struct ang_writable *w, size_t n, int timeout_ms) ANG_MUST_USE;

/* ---- append without a transaction ---- */

struct ang_out { /* a record to write; borrows everything */
    const struct ang_topic *topic;
    int32_t partition;
    struct ang_slice key;
    struct ang_slice value;
    bool tombstone; /* no value at all; value is ignored */
    const struct ang_hdr *hdrs;
    size_t n_hdrs;
    /* filled in by a successful commit */
    int64_t offset;  /* ANG_OFFSET_NONE when the log did not say */
    int64_t time_ms; /* log append time; our wall clock when the log did not say */
    /* filled in by a commit that failed */
    bool refused;     /* the log will not take it, nor perhaps its neighbours of the same partition */
    bool undelivered; /* the log could not take it in time, for its partition's sake: what goes elsewhere may go on without it */
};

/* done runs exactly once, on a thread of the log, and must not block: er is NULL and offset valid, or er says why not
 * (borrowed by done): class RETRY, the record is not in the log and will not be; UNKNOWN, nobody knows.  It comes within 30 s; the
 * log may write a record after its expiry_ms, so a record that must not be used late says so itself.  The record is copied.  An error
 * returned here means that done never runs.  Order within a partition is kept; a copy is never written twice.
 * Embedded: the record is visible at once and durable with the next commit or within 10 ms, whichever is first (nothing
 * is answered from it before a commit).  @thread any */
struct ang_err *ang_log_append(struct ang_log *log, const struct ang_out *rec, int expiry_ms,
                               void (*done)(void *arg, struct ang_err *er, int64_t offset), void *arg) ANG_MUST_USE;

/* ---- reading ---- */

struct ang_rec {
    unsigned magic;
#define ANG_REC_MAGIC 0x7ec07d01
    const struct ang_topic *topic;
    int32_t partition;
    int64_t offset;
    int64_t time_ms; /* log append time */
    struct ang_slice key, value;
    bool tombstone;
    uint32_t n_hdrs;
    const struct ang_hdr *hdrs;
    size_t bytes;                         /* of memory that it holds */
    void (*release)(struct ang_rec *rec); /* of the implementation */
};
void ang_rec_free(struct ang_rec **rec);                                     /* accepts NULL in *rec; any thread */
bool ang_rec_hdr(const struct ang_rec *rec, const char *name, struct ang_slice *ret_value); /* the last of that name */

struct ang_log_reader_conf {
    const char *name;
    void (*wake)(void *arg); /* records or errors are waiting; any thread; must not block; may come too often. NULL: only blocking polls */
    void *arg;
    int fetch_wait_ms; /* how long a broker may hold back an empty answer; also the delay before an added partition is read */
    int64_t memory;    /* bytes of records held ahead of poll, about */
    bool ends;         /* ang_log_reader_next also gets past places without a record, and poll returns when it has come to an end */
};
struct ang_err *ang_log_reader_open(struct ang_log *log, const struct ang_log_reader_conf *conf,
                                    struct ang_log_reader **ret_r) ANG_MUST_USE;
void ang_log_reader_close(struct ang_log_reader *r); /* accepts NULL */
/* Read a partition from `offset` on (a record's offset, or one of ANG_OFFSET_BEGIN/END).  Once per partition until removed. */
struct ang_err *ang_log_reader_add(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition,
                                   int64_t offset) ANG_MUST_USE;
/* After it returns, no record of that partition comes out of poll. */
void ang_log_reader_remove(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition);
/* Up to max records, each the caller's; waits at most timeout_ms for the first one (0 = never waits).  Only records outside
 * transactions or of committed ones, in order within a partition, none twice, none below the position asked for; offsets may
 * have gaps.  ret_n is 0 and er set when a partition cannot be read (its offset was deleted: LOG_POSITION, naming the range
 * there is; authorisation); transient trouble is retried inside and logged. @thread one at a time */
struct ang_err *ang_log_reader_poll(struct ang_log_reader *r, struct ang_rec **recs, size_t max, int timeout_ms,
                                    size_t *ret_n) ANG_MUST_USE;

/* The end of a partition that r reads, as r last learnt it; ANG_OFFSET_NONE before that.  Asks nobody.  Records that are not committed yet
 * count, and so do the places in between at which there is no record. @thread as poll */
int64_t ang_log_reader_end(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition);
/* Where r goes on in a partition that it reads: all that is below has come out of poll, or is no record.  At the end of a partition that
 * ends with such places it may stay below them, unless conf.ends. @thread as poll */
int64_t ang_log_reader_next(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition);
/* Where readers of committed records get to at present: what is appended or committed from now on stands at this offset or above.
 * Blocks. */
struct ang_err *ang_log_end(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int timeout_ms,
                            int64_t *ret_offset) ANG_MUST_USE;

/* The record at an offset, whether or not it is committed: for people to look at, nothing may rest on it.  *ret_rec (the caller's) is NULL
 * when there is none, when it did not come in time, and from a log in which everything is committed.  Blocks. */
struct ang_err *ang_log_peek(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int64_t offset,
                             int timeout_ms, struct ang_rec **ret_rec) ANG_MUST_USE;

/* ---- membership ---- */

struct ang_log_member_conf {
    const char *group, *topic; /* partitions of this topic are shared out */
    const char *instance;      /* static member: the same name after a restart gets the same partitions without a rebalance */
    int session_timeout_ms;
    void (*wake)(void *arg); /* something to poll; any thread */
    /* Both run inside ang_log_member_poll (or leave), on the poller's thread.  assigned with n = 0: the group has answered, and has
     * nothing (more) for us.
     * revoked returns only when no open transaction of ours concerns these partitions; lost = it is too late to commit. */
    void (*assigned)(void *arg, const int32_t *partitions, size_t n);
    void (*revoked)(void *arg, const int32_t *partitions, size_t n, bool lost);
    /* Until then, by ang_boot_ms, nobody else is given our partitions: the last sign of life that the group has answered, plus the
     * session, less a second.  ANG_NEVER from a log of one process.  Any thread; must not block.  NULL: not asked for. */
    void (*leased)(void *arg, int64_t until_ms);
    void *arg;
};
struct ang_err *ang_log_member_join(struct ang_log *log, const struct ang_log_member_conf *conf,
                                    struct ang_log_member **ret_m) ANG_MUST_USE;
/* Must be called at least every 10 s.  LOG_FENCED (FATAL): another process joined under our instance name, or so the group says: a copy of
 * our own request to join that arrives late does the same.  All that can be done with m then is to leave. */
struct ang_err *ang_log_member_poll(struct ang_log_member *m, int timeout_ms) ANG_MUST_USE;
/* Proof of membership as of now, for the batches sealed now.  RETRY when we are not a full member at the moment (joining,
 * lost).  The token is immutable, shared, and keeps meaning "as of then": a commit with one that is out of date is refused. */
struct ang_err *ang_log_member_token(struct ang_log_member *m, struct ang_log_token **ret_token) ANG_MUST_USE;
struct ang_log_token *ang_log_token_ref(struct ang_log_token *t);
void ang_log_token_unref(struct ang_log_token *t);                /* accepts NULL */
int32_t ang_log_token_generation(const struct ang_log_token *t); /* grows with every rebalance of the group */
/* stay = false: tell the group that we go, so that the partitions move at once; true: keep the membership for a restart
 * within the session timeout.  revoked runs first.  Frees m. */
void ang_log_member_leave(struct ang_log_member *m, bool stay); /* accepts NULL */

/* ---- positions ---- */

struct ang_pos {
    const struct ang_topic *topic;
    int32_t partition;
    int64_t offset;        /* the next record to process; ANG_OFFSET_NONE: none committed */
    struct ang_slice meta; /* printable ASCII, at most 4,000 bytes; committed with the offset */
};
/* The committed positions of a group, after every transaction that touches them has ended (waits for that, to timeout_ms).
 * In: topic and partition.  Out: offset and meta; the metas are in *ret_mem, which the caller finishes. Blocks. */
struct ang_err *ang_log_positions(struct ang_log *log, const char *group, struct ang_pos *pos, size_t n, int timeout_ms,
                                  struct ang_buf *ret_mem) ANG_MUST_USE;

/* ---- transactions ---- */

/* A batch is sealed by its maker: from then on it is not changed, only committed once or dropped. */
struct ang_batch {
    struct ang_out *recs;
    size_t n_recs;
    const struct ang_pos *positions; /* at least one: there is no transaction without input positions */
    size_t n_positions;
    struct ang_log_token *token; /* borrowed */
};

/* A writer is one transactional id.  open makes it and fences every earlier holder of that id: their open transaction is aborted, their next
 * commit fails as LOG_FENCED.  Also warms it up, so that the first commit is not slow.  Blocks up to timeout_ms. */
struct ang_err *ang_log_writer_open(struct ang_log *log, const char *transactional_id, int timeout_ms,
                                    struct ang_log_writer **ret_w) ANG_MUST_USE;
/* Does not wait for the log: an open transaction is left to the next holder of the id.  May still take some ms, for its threads. */
void ang_log_writer_close(struct ang_log_writer *w); /* accepts NULL */
/* One transaction: begin, records, positions, commit.  Blocks, at most about the transaction timeout.
 * NULL: committed; every recs[i].offset and time_ms is filled.  ABORT_TXN: nothing is visible, the writer can go on.
 * RETIRE: nothing is visible, close the writer.  UNKNOWN: close the writer, open one with the same id (which settles it),
 * then read the log.  One writer at a time per lane may be in commit (lane.md, L14).  @thread the committer */
struct ang_err *ang_log_writer_commit(struct ang_log_writer *w, const struct ang_batch *batch) ANG_MUST_USE;
/* One transaction over no more than a position that is not committed: it ends whatever the log still holds pending of earlier
 * transactions of this id.  Kafka's group coordinator can lose the end of a transaction when its broker is killed between the end and
 * its markers (seen with 4.3.1): the positions then stay unstable for ever, though the transaction is over.  topic, partition 0: any
 * topic that is there.  For a writer that was just opened.  Embedded: nothing to do. */
struct ang_err *ang_log_writer_settle(struct ang_log_writer *w, struct ang_log_token *token,
                                      const struct ang_topic *topic) ANG_MUST_USE;
/* Something went wrong underneath that makes this writer doubtful though its last commit succeeded: replace it before the
 * next begin. */
bool ang_log_writer_doubtful(const struct ang_log_writer *w);

/* Makes sure that no transaction of this id is open and that its holder cannot commit any more.  Blocks. */
struct ang_err *ang_log_fence(struct ang_log *log, const char *transactional_id, int timeout_ms) ANG_MUST_USE;

#endif
