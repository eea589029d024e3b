/* The state store: what a worker needs at hand of the log, in RocksDB, rebuildable from it at any time.
 *
 * One database per worker process, one column family per domain and partition ("part") which holds its data and the log
 * positions it reflects: both go in one write, so a part is a prefix of its own log, only ever behind it.  No WAL: the log is
 * the WAL, a crash costs the replay of a short tail.
 *
 *      heads      root, edition                 -> next sequence; stays when books are deleted
 *      books      root, edition, first sequence -> log time, page count, EventBook bytes as stored in the log
 *      snapshots  root, edition                 -> Snapshot bytes
 *      commands   root, edition, command id     -> log time, first sequence, page count   (dedupe, lane.md L6 L7)
 *      refusals   root, edition, command id     -> wall time, encoded status              (lane.md L13)
 *      by correlation id                        -> root, edition
 *      positions  topic                         -> next offset, metadata
 *
 * Any error of RocksDB is STORE_IO or STORE_CORRUPT, never "not found" (lane.md L19): its partition stops being served, is
 * dropped and rebuilt.  Reads may run on any thread, beside one writer per part. */
#ifndef ANG_STATESTORE_H
#define ANG_STATESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct ang_store;
struct ang_store_part;
struct ang_store_batch;

struct ang_root { /* one aggregate; edition is empty on the main timeline; borrows */
    uint8_t id[16];
    struct ang_slice edition;
};

/* path is created when it is not there and locked (STORE_LOCKED when another process has it); the database is in path/db.
 * memory bounds block cache and memtables together, in bytes (half each; at least 1 MiB).
 * Parts whose damaged files keep the database from opening are dropped; if it does not open even then, it is moved aside
 * (path/db.damaged-<ms since 1970>) and an empty one is made; both with a warning, for all of it can be rebuilt.
 * What an empty one would meet as well (a full disk, rights) is an error, and nothing is moved. */
struct ang_err *ang_store_open(const char *path, int64_t memory, struct ang_store **ret_st) ANG_MUST_USE;
/* Flushes, so that the next start replays little.  Parts are closed and batches freed before.  Accepts NULL. */
void ang_store_close(struct ang_store *st);
/* Drops parts that are not open and were last written longer than keep_ms ago (0: all that are not open). */
struct ang_err *ang_store_sweep(struct ang_store *st, int64_t keep_ms, unsigned *ret_dropped) ANG_MUST_USE;

struct ang_store_stats {
    uint64_t parts, cache_bytes, memtable_bytes, disk_bytes;
    uint64_t background_errors; /* flushes and compactions that failed; they are tried again */
};
/* Any thread.  Waits while a part is opened or made anew. */
void ang_store_stats(struct ang_store *st, struct ang_store_stats *ret_stats);
/* The same without waiting: false, and nothing is written, when it would have to. */
bool ang_store_stats_now(struct ang_store *st, struct ang_store_stats *ret_stats);

/* identity: what the part belongs to ("<cluster id> <topic prefix> <domain>/<partition>"); a part with another identity, or
 * last written longer than max_age_ms ago (wall clock; tombstones may be gone from the log: lane.md L18), is dropped and made
 * anew, empty, and so is one that cannot be read.  "Written" is any batch with a row for the part, to the minute: a position put
 * once an hour keeps a quiet part alive.  One handle per part at a time. */
struct ang_err *ang_store_part_open(struct ang_store *st, const char *domain, int32_t partition, const char *identity,
                                    int64_t max_age_ms, struct ang_store_part **ret_part) ANG_MUST_USE;
/* Everything in it is gone; positions are ANG_OFFSET_NONE again.  The handle stays valid.  Waits until calls
 * that read the part are over (so a visitor must not call it).  Batches that already have rows for the part can only be cleared:
 * writing them is an error. */
struct ang_err *ang_store_part_reset(struct ang_store_part *part) ANG_MUST_USE;
/* Whether its files are merged in the background, as they are from the opening on.  Off: for who writes a lot and reads little;
 * then reading costs a look at the filter of each file. */
struct ang_err *ang_store_part_merging(struct ang_store_part *part, bool on) ANG_MUST_USE;
void ang_store_part_close(struct ang_store_part *part); /* keeps the data; accepts NULL */

/* ---- writing: everything of one transaction in one batch, possibly over several parts ----
 * Puts and deletes do not fail: the first thing that goes wrong is kept and returned by ang_store_write.
 * A batch is used by one thread at a time and freed before its store is closed. */
struct ang_store_batch *ang_store_batch_new(struct ang_store *st);
/* For a rebuild: what it holds is best written when it is ANG_STORE_BULK_BYTES, for then it becomes files of the database, several times
 * as fast; less goes the usual way.  Parts that nobody else writes; all of a part's rows or none, part by part.  No
 * ang_store_forget_commands. */
#define ANG_STORE_BULK_BYTES (8 << 20)
struct ang_store_batch *ang_store_batch_new_bulk(struct ang_store *st);
void ang_store_batch_free(struct ang_store_batch *b); /* accepts NULL */
void ang_store_batch_clear(struct ang_store_batch *b);
size_t ang_store_batch_bytes(const struct ang_store_batch *b);

struct ang_store_book {
    uint32_t first, pages;
    int64_t time_ms;       /* log append time of its record */
    struct ang_slice book; /* EventBook bytes; when reading: borrowed until the visitor returns */
};
/* Raises the root's next sequence to first + pages: books of a root are put in the order of the log.  An empty correlation id
 * is not indexed. */
void ang_store_put_book(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                        const struct ang_store_book *book, struct ang_slice correlation_id);
/* The next sequence stays where it is: a root whose books were erased or archived goes on counting. */
void ang_store_del_book(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root, uint32_t first);
/* Sets the next sequence of a root without a book: for the marker that an erased root leaves in the log. */
void ang_store_put_next(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root, uint32_t next);
void ang_store_put_snapshot(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                            struct ang_slice snapshot);
void ang_store_del_snapshot(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root);

struct ang_store_done { /* what a command did */
    uint32_t first, pages;
    int64_t time_ms; /* log append time of its first event record; INT64_MAX: never pruned */
};
void ang_store_put_done(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                        struct ang_slice command_id, const struct ang_store_done *done);
/* status: opaque bytes of the caller; until_ms: wall clock after which it may be forgotten */
void ang_store_put_refusal(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                           struct ang_slice command_id, int64_t until_ms, struct ang_slice status);
/* All that is known of commands and refusals of a root, including what this batch put before: for erasure. */
void ang_store_forget_commands(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root);
void ang_store_put_position(struct ang_store_batch *b, struct ang_store_part *part, const char *topic, int64_t next_offset,
                            struct ang_slice meta);
/* Atomic over all parts in it, also over a crash (a bulk batch: each part of its own).  Readers see it when the call returns.  It does not clear the batch.
 * May wait up to 5 s for flushes.  STORE_CORRUPT with class ANG_FATAL: compaction has met damage, no part can be written until
 * the store is opened anew by a process that starts from the stored positions; that opening drops only the damaged part. */
struct ang_err *ang_store_write(struct ang_store_batch *b) ANG_MUST_USE;

/* ---- reading ---- */
/* Next sequence of a root: 0 when it never had a book.  One row. */
struct ang_err *ang_store_next_sequence(struct ang_store_part *part, const struct ang_root *root, uint32_t *ret_next) ANG_MUST_USE;
/* Books that hold a sequence >= from, in order (the first one may begin below it), until visit returns false. */
struct ang_err *ang_store_books(struct ang_store_part *part, const struct ang_root *root, uint32_t from,
                                bool (*visit)(void *arg, const struct ang_store_book *book), void *arg) ANG_MUST_USE;
/* Replaces what ret_snapshot holds; *ret_found = false leaves it empty. */
struct ang_err *ang_store_snapshot(struct ang_store_part *part, const struct ang_root *root, struct ang_buf *ret_snapshot,
                                   bool *ret_found) ANG_MUST_USE;
struct ang_err *ang_store_done(struct ang_store_part *part, const struct ang_root *root, struct ang_slice command_id,
                               struct ang_store_done *ret_done, bool *ret_found) ANG_MUST_USE;
struct ang_err *ang_store_refusal(struct ang_store_part *part, const struct ang_root *root, struct ang_slice command_id,
                                  struct ang_buf *ret_status, bool *ret_found) ANG_MUST_USE;
/* Roots that have a book with this correlation id, each once, in the order of ang_store_roots, beginning with `from` (NULL: the first),
 * until visit returns false.  The root is borrowed until the visitor returns; visitors may read the store. */
struct ang_err *ang_store_by_correlation(struct ang_store_part *part, struct ang_slice correlation_id, const struct ang_root *from,
                                         bool (*visit)(void *arg, const struct ang_root *root), void *arg) ANG_MUST_USE;
/* Every root that has a next sequence, each once, in the order of id, length of edition, edition; until visit returns false. */
struct ang_err *ang_store_roots(struct ang_store_part *part, bool (*visit)(void *arg, const struct ang_root *root),
                                void *arg) ANG_MUST_USE;
/* Every root that has a book on the main timeline, each once, in the order of their ids, beginning behind `after` (NULL: with the
 * first), until visit returns false. */
struct ang_err *ang_store_booked_roots(struct ang_store_part *part, const uint8_t *after,
                                       bool (*visit)(void *arg, const struct ang_root *root), void *arg) ANG_MUST_USE;
/* ANG_OFFSET_NONE (-1) when there is none. meta may be NULL. */
struct ang_err *ang_store_position(struct ang_store_part *part, const char *topic, int64_t *ret_next_offset,
                                   struct ang_buf *ret_meta) ANG_MUST_USE;
/* Forgets dedupe entries whose log time is before time_ms, and refusals that have run out; looks at no more than max rows a
 * call, going on where the last call stopped.  Called by the part's writer. */
struct ang_err *ang_store_prune(struct ang_store_part *part, int64_t time_ms, size_t max) ANG_MUST_USE;

#endif
