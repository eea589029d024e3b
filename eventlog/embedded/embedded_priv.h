/* The embedded log's own structures.
 *
 *      struct ang_emb ── topics ── parts            what there is; grows only
 *           │    ├────── group (emb_group.h)        how anything gets written
 *           │    ├────── readers ── cursors         who is woken by what was written
 *           │    └────── consumer groups, writers   generations and epochs, which refuse what is out of date
 *           └── db                                  one RocksDB; keys in records.h
 *
 * Locks, in the order in which they may nest:  members_lock < lock < readers_lock < a reader's lock < db_lock, a reader's wait_lock.
 * look_lock (look.c) is taken with none of them held; inside it db_lock.
 * `leader` in a comment: only by the thread that holds emb->leading (emb_group.h). */
#ifndef ANG_EMBEDDED_PRIV_H
#define ANG_EMBEDDED_PRIV_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "base/base.h"
#include "base/uuid.h"
#include "eventlog/embedded/emb_group.h"
#include "eventlog/log_priv.h"

#define ANG_EMB_META_MAX 4000

struct ang_emb;
struct ang_emb_cursor;
struct ang_emb_reader;
struct ang_emb_member;

struct ang_emb_part {
    struct ang_emb_topic *topic;
    int32_t partition;
    int64_t next;                      /* leader: the offset of the next record */
    struct ang_emb_part *touched_next; /* leader */
    bool touched;                      /* leader */
    int64_t oldest_ms;                 /* log thread: time of the first record; 0 = not looked up */
    _Atomic int64_t begin;             /* what is below was removed by retention; always 0 in compact topics */
    _Atomic int64_t end;               /* what readers may see: stored after the records are in the log */
    struct ang_emb_cursor *cursors;    /* readers_lock */
};

struct ang_emb_topic {
    struct ang_emb_topic *next;
    const struct ang_topic *handle;
    uint32_t id;
    int32_t n_parts;
    bool compact;
    _Atomic int64_t retention_ms, max_message;
    struct ang_emb_part parts[];
};

/* A consumer group: its generation, and the member it has at the moment.  Never freed before the log. */
struct ang_emb_cgroup {
    struct ang_emb_cgroup *next;
    char *name;
    _Atomic int32_t generation;    /* stored by the leader; what a commit's token must carry */
    struct ang_emb_member *member; /* members_lock */
};

struct ang_emb_epoch { /* of a transactional id; never freed before the log */
    struct ang_emb_epoch *next;
    char *id;
    uint32_t epoch; /* leader */
};

struct ang_emb {
    struct ang_log base;
    /* set once */
    char *path;
    char identity[ANG_UUID_TEXT + 1];
    rocksdb_options_t *opt;
    rocksdb_block_based_table_options_t *table_opt;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *wopt;
    rocksdb_readoptions_t *ropt;
    /* db_lock: read to use it, write to replace it; NULL between a full disk and there being room again */
    pthread_rwlock_t db_lock;
    rocksdb_t *db;
    /* look_lock, of a log that is only looked at (look.c) */
    pthread_rwlock_t look_lock; /* write: what we know of the folder changes */
    uint64_t looked;            /* RocksDB's number of the last write that was taken in */
    /* prepended only, read without a lock */
    struct ang_emb_topic *_Atomic topics;
    pthread_mutex_t ensure_lock; /* one ang_log_ensure_topics at a time */
    /* lock */
    pthread_mutex_t lock;
    pthread_cond_t log_cond; /* the log thread */
    struct ang_emb_job *head, **tail;
    struct ang_emb_job *done_head, **done_tail; /* appended records whose done must run */
    size_t append_bytes;                        /* of appended records not yet written */
    bool leading, closing;
    bool told;                                /* the log thread is awake, or has been signalled */
    bool unsynced;                            /* something written is not yet on the disk */
    bool full;                                /* the last write found no room; stored by the leader */
    int64_t sync_at, retain_at, retain_floor; /* monotonic ms; the log thread's next work; not before retain_floor */
    /* leader */
    struct ang_emb_group *group;
    struct ang_err *_Atomic broken; /* set once: the disk failed in a way that leaves open what it holds */
    struct ang_emb_epoch *epochs;
    int64_t reopen_at;   /* monotonic ms: when to try again after a full disk */
    int64_t reopen_room; /* bytes that must be free for that */
    /* readers_lock */
    pthread_mutex_t readers_lock;
    /* members_lock */
    pthread_mutex_t members_lock;
    struct ang_emb_cgroup *cgroups;
    pthread_t log_thread;
};

static inline struct ang_emb *ang_emb_of(struct ang_log *log) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    return ((struct ang_emb *)(void *)log);
}

/* ---- rocks.c ---- */
/* Takes *errptr (NULL = ok): what failed, as our error. */
struct ang_err *ang_emb_err(char **errptr, const char *what) ANG_MUST_USE;
/* Copies the value into ret_val; found = false leaves it empty. */
struct ang_err *ang_emb_get(struct ang_emb *emb, struct ang_slice key, struct ang_buf *ret_val,
                            bool *ret_found) ANG_MUST_USE;
struct ang_err *ang_emb_db_open(struct ang_emb *emb) ANG_MUST_USE;
void ang_emb_db_close(struct ang_emb *emb); /* accepts a half-built one */
/* A write has failed for want of room: nothing is tried for a while.  @thread leader */
void ang_emb_db_full(struct ang_emb *emb);
/* Opens the database anew when there is room; LOG_NO_SPACE: not yet.  @thread leader */
struct ang_err *ang_emb_db_reopen(struct ang_emb *emb) ANG_MUST_USE;

/* The same folder beside the process that has it, which may go on writing: RocksDB's secondary instance. */
struct ang_err *ang_emb_db_open_look(struct ang_emb *emb) ANG_MUST_USE;

/* ---- look.c ---- */
/* Of a log that is only looked at: takes in what has been committed since the last time.  Others: nothing to do. */
struct ang_err *ang_emb_look(struct ang_emb *emb) ANG_MUST_USE;

/* ---- topics.c ---- */
/* Also again, for what has changed since. */
struct ang_err *ang_emb_topics_load(struct ang_emb *emb) ANG_MUST_USE;
struct ang_err *ang_emb_ensure_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, bool create,
                                      int timeout_ms) ANG_MUST_USE;
struct ang_err *ang_emb_find_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, int timeout_ms,
                                    struct ang_topic_found *ret_found) ANG_MUST_USE;
struct ang_err *ang_emb_ranges(struct ang_log *log, struct ang_range *r, size_t n, int timeout_ms) ANG_MUST_USE;
struct ang_emb_topic *ang_emb_topic_find(struct ang_emb *emb, const struct ang_topic *handle); /* NULL: not there */
/* LOG_TOPIC when there is no such topic or partition. */
struct ang_err *ang_emb_part_find(struct ang_emb *emb, const struct ang_topic *handle, int32_t partition,
                                  struct ang_emb_part **ret_part) ANG_MUST_USE;

/* ---- append.c ---- */
struct ang_err *ang_emb_append(struct ang_log *log, const struct ang_out *rec, int expiry_ms,
                               void (*done)(void *, struct ang_err *, int64_t), void *arg) ANG_MUST_USE;
void *ang_emb_log_thread(void *priv);
/* There is something for the log thread. @locks held: emb->lock */
void ang_emb_tell(struct ang_emb *emb);
/* Is the record one that the log takes? (topic, partition, size) */
struct ang_err *ang_emb_out_check(struct ang_emb *emb, const struct ang_out *rec,
                                  struct ang_emb_part **ret_part) ANG_MUST_USE;

/* ---- retention.c ---- */
/* Removes what is older than its topic's retention at wall clock now_ms; ret_due_ms: wall clock of the next record that
 * will be, ANG_NEVER if there is none.  @thread log */
struct ang_err *ang_emb_retain(struct ang_emb *emb, int64_t now_ms, int64_t *ret_due_ms) ANG_MUST_USE;

/* ---- reader.c ---- */
struct ang_err *ang_emb_reader_open(struct ang_log *log, const struct ang_log_reader_conf *conf,
                                    struct ang_log_reader **ret_r) ANG_MUST_USE;
void ang_emb_reader_close(struct ang_log_reader *r);
struct ang_err *ang_emb_reader_add(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition,
                                   int64_t offset) ANG_MUST_USE;
void ang_emb_reader_remove(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition);
struct ang_err *ang_emb_reader_poll(struct ang_log_reader *r, struct ang_rec **recs, size_t max, int timeout_ms,
                                    size_t *ret_n) ANG_MUST_USE;
int64_t ang_emb_reader_end(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition);
int64_t ang_emb_reader_next(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition);
struct ang_err *ang_emb_end(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int timeout_ms,
                            int64_t *ret_offset) ANG_MUST_USE;
/* Wake who reads these partitions. @locks takes readers_lock */
void ang_emb_readers_wake(struct ang_emb *emb, struct ang_emb_part *touched);
void ang_emb_readers_wake_all(struct ang_emb *emb);

/* ---- member.c ---- */
struct ang_err *ang_emb_member_join(struct ang_log *log, const struct ang_log_member_conf *conf,
                                    struct ang_log_member **ret_m) ANG_MUST_USE;
struct ang_err *ang_emb_member_poll(struct ang_log_member *m, int timeout_ms) ANG_MUST_USE;
struct ang_err *ang_emb_member_token(struct ang_log_member *m, struct ang_log_token **ret_token) ANG_MUST_USE;
void ang_emb_member_leave(struct ang_log_member *m, bool stay);
void ang_emb_token_free(struct ang_log_token *t);
/* NULL when the token is of its group's present generation, else LOG_ABORTED. @thread leader */
struct ang_err *ang_emb_token_check(const struct ang_log_token *t) ANG_MUST_USE;
const char *ang_emb_token_group(const struct ang_log_token *t);
void ang_emb_cgroups_free(struct ang_emb *emb);

/* ---- positions.c ---- */
struct ang_err *ang_emb_positions(struct ang_log *log, const char *group, struct ang_pos *pos, size_t n, int timeout_ms,
                                  struct ang_buf *ret_mem) ANG_MUST_USE;
struct ang_err *ang_emb_position_check(struct ang_emb *emb, const struct ang_pos *pos) ANG_MUST_USE;
void ang_emb_position_put(struct ang_emb_group *g, const char *cgroup, const struct ang_pos *pos); /* @thread leader */

/* ---- writer.c ---- */
struct ang_err *ang_emb_writer_open(struct ang_log *log, const char *id, int timeout_ms,
                                    struct ang_log_writer **ret_w) ANG_MUST_USE;
void ang_emb_writer_close(struct ang_log_writer *w);
struct ang_err *ang_emb_writer_commit(struct ang_log_writer *w, const struct ang_batch *batch) ANG_MUST_USE;
bool ang_emb_writer_doubtful(const struct ang_log_writer *w);
struct ang_err *ang_emb_fence(struct ang_log *log, const char *id, int timeout_ms) ANG_MUST_USE;
void ang_emb_epochs_free(struct ang_emb *emb);

#endif
