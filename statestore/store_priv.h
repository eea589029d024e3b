/* What the files of the state store share.
 *
 *      ang_store ──parts──> ang_store_part ──> ang_store_part ──> …     one per column family, until the store is closed
 *
 * A part's memory stays until the store is closed, also when its handle is closed: a batch that still names it then gets an
 * error and no dangling pointer. */
#ifndef ANG_STORE_PRIV_H
#define ANG_STORE_PRIV_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "base/base.h"
#include "statestore/key.h"
#include "statestore/statestore.h"

struct ang_store {
    unsigned magic;
#define ANG_STORE_MAGIC 0x57a7e501
    /* set once */
    char *path, *db_path;
    int lock_fd;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *writing;
    rocksdb_readoptions_t *point; /* for single rows; shared by all threads, never changed */
    rocksdb_t *db;
    rocksdb_column_family_handle_t *unused; /* RocksDB insists on a column family named "default" */
    /* lock */
    pthread_mutex_t lock;
    struct ang_store_part *parts;
};

struct ang_store_part {
    unsigned magic;
#define ANG_STORE_PART_MAGIC 0x57a7e502
    /* set once */
    struct ang_store *st;
    char *name; /* "order/3": also the name of the column family */
    /* st->lock */
    struct ang_store_part *next;
    bool open;
    char *identity;
    /* `use`: held shared by everybody who touches the column family, exclusively by who replaces it */
    pthread_rwlock_t use;
    rocksdb_column_family_handle_t *cf; /* NULL: dropped, and could not be made anew */
    unsigned generation;                /* raised when the column family is replaced */
    /* the part's writer, under `use` */
    struct ang_buf prune_from;
    /* any thread */
    _Atomic int64_t stamp_ms; /* what the stamp row says */
};

/* Accuracy of the stamp row: a batch renews it when it is older. */
#define ANG_STORE_STAMP_MS 60000

/* Opening as it is, and closing again (parts' memory with it). */
struct ang_err *ang_store_open_db(struct ang_store *st) ANG_MUST_USE;
void ang_store_close_db(struct ang_store *st);

/* Damage that stops more than the part it is in; repair.c says when. */
void ang_repair_note(struct ang_store *st, const char *text);        /* for the next start: text names the file */
struct ang_err *ang_repair_noted(struct ang_store *st) ANG_MUST_USE; /* before opening: does what was noted */
bool ang_repair_part(struct ang_store *st, const char *text);        /* closed: drops the part whose file text names */

/* Takes *text, an error of RocksDB: STORE_CORRUPT, STORE_LOCKED or STORE_IO.  where: path, or name of the part. */
struct ang_err *ang_err_from_rocks(char **text, const char *where, const char *what) ANG_MUST_USE;
/* A row whose bytes are not what we write, though its checksum is right. */
struct ang_err *ang_store_bad_row(const struct ang_store_part *part, const char *what) ANG_MUST_USE;

/* Between enter and leave part->cf is not NULL and does not change.  Shared; may be nested. */
struct ang_err *ang_part_enter(struct ang_store_part *part) ANG_MUST_USE;
void ang_part_leave(struct ang_store_part *part);
/* A part for a column family; takes cf. */
struct ang_store_part *ang_part_new(struct ang_store *st, const char *name, rocksdb_column_family_handle_t *cf);
void ang_part_free(struct ang_store_part *part);

/* How long a write waits for flushes before it fails. */
#define ANG_STORE_STALL_MS 5000
/* All rows or none. */
struct ang_err *ang_rows_write(struct ang_store *st, rocksdb_writebatch_t *rows, const char *where,
                               const char *what) ANG_MUST_USE;

/* One row; *ret_row = NULL: not there.  The caller destroys it.  The part is entered. */
struct ang_err *ang_row_get(struct ang_store_part *part, struct ang_slice key, const char *what,
                            rocksdb_pinnableslice_t **ret_row) ANG_MUST_USE;
struct ang_slice ang_row_value(const rocksdb_pinnableslice_t *row);

/* A walk over rows of an entered part, from lower to below upper (both borrowed until the end of the walk). */
struct ang_walk {
    struct ang_store_part *part;
    const char *what; /* for errors */
    rocksdb_readoptions_t *options;
    rocksdb_iterator_t *it;
};
enum ang_walk_kind {
    ANG_WALK_ROOT, /* all keys share kind and root: bloom filters skip files without it */
    ANG_WALK_RANGE /* any keys; does not push others' blocks out of the cache */
};
void ang_walk_init(struct ang_walk *w, struct ang_store_part *part, enum ang_walk_kind kind, struct ang_slice lower,
                   struct ang_slice upper, const char *what);
void ang_walk_fini(struct ang_walk *w);
void ang_walk_seek(struct ang_walk *w, struct ang_slice key);
void ang_walk_seek_back(struct ang_walk *w, struct ang_slice key); /* to the last row <= key */
bool ang_walk_row(const struct ang_walk *w, struct ang_slice *ret_key,
                  struct ang_slice *ret_value); /* false = no row */
void ang_walk_next(struct ang_walk *w);
/* To be asked whenever a walk finds no row: an iterator over damage just ends early. */
struct ang_err *ang_walk_error(struct ang_walk *w) ANG_MUST_USE;

#endif
