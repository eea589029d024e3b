/* RocksDB as we use it: errors, single rows, walks.  The only place that reads error texts of RocksDB. */
#include <stdlib.h>
#include <unistd.h>

#include "statestore/store_priv.h"

struct ang_err *ang_err_from_rocks(char **text, const char *where, const char *what) {
    enum ang_ec code = ANG_E_STORE_IO;
    const char *hint = "";
    struct ang_err *er;

    AN(*text);
    if (strncmp(*text, "Corruption", 10) == 0)
        code = ANG_E_STORE_CORRUPT;
    else if (strstr(*text, "lock ") != NULL && strstr(*text, "LOCK") != NULL)
        code = ANG_E_STORE_LOCKED;
    else if (strstr(*text, "No space left") != NULL || strstr(*text, "NoSpace") != NULL)
        hint = "no room on the disk of the state store: ";
    er = ang_err_new(code, "state store %s: %s: %s%s", where, what, hint, *text);
    rocksdb_free(*text);
    *text = NULL;
    return (er);
}

struct ang_err *ang_store_bad_row(const struct ang_store_part *part, const char *what) {
    return (ang_err_new(ANG_E_STORE_CORRUPT, "state store %s: %s: a row has not the layout it should have", part->name,
                        what));
}

/* A write never blocks inside RocksDB, where a full disk would hold the lane for ever.  Memtables that wait for their flush
 * are ordinary in a burst: then the same write, of which nothing has happened, is tried again for a while. */
struct ang_err *ang_rows_write(struct ang_store *st, rocksdb_writebatch_t *rows, const char *where, const char *what) {
    const int64_t until_ms = ang_now_ms() + ANG_STORE_STALL_MS;
    char *text = NULL;

    for (unsigned pause_us = 200;; pause_us = pause_us < 20000 ? 2 * pause_us : pause_us) {
        rocksdb_write(st->db, st->writing, rows, &text);
        if (text == NULL)
            return (NULL);
        if (strncmp(text, "Corruption", 10) == 0) {
            struct ang_err *er;
            ang_repair_note(st, text);
            er = ang_err_new_cls(
                ANG_E_STORE_CORRUPT, ANG_FATAL,
                "state store %s: %s: compaction has met a damaged file and nothing can be written until the "
                "next start, which drops only the part it belongs to: %s",
                where, what, text);
            rocksdb_free(text);
            return (er);
        }
        if (strncmp(text, "Result incomplete", 17) != 0)
            return (ang_err_from_rocks(&text, where, what));
        rocksdb_free(text);
        text = NULL;
        if (ang_now_ms() >= until_ms)
            return (ang_err_new(
                ANG_E_STORE_IO,
                "state store %s: %s: memtables are full and could not be flushed for %d s: the disk of %s is "
                "full or does not answer",
                where, what, ANG_STORE_STALL_MS / 1000, st->path));
        (void)usleep(pause_us);
    }
}

struct ang_err *ang_row_get(struct ang_store_part *part, struct ang_slice key, const char *what,
                            rocksdb_pinnableslice_t **ret_row) {
    char *text = NULL;
    rocksdb_pinnableslice_t *row;

    row = rocksdb_get_pinned_cf(part->st->db, part->st->point, part->cf, (const char *)key.p, key.n, &text);
    if (text != NULL) {
        rocksdb_pinnableslice_destroy(row);
        return (ang_err_from_rocks(&text, part->name, what));
    }
    *ret_row = row;
    return (NULL);
}

struct ang_slice ang_row_value(const rocksdb_pinnableslice_t *row) {
    size_t n;
    const char *p = rocksdb_pinnableslice_value(row, &n);

    return (ang_slice_of(p, n));
}

void ang_walk_init(struct ang_walk *w, struct ang_store_part *part, enum ang_walk_kind kind, struct ang_slice lower,
                   struct ang_slice upper, const char *what) {
    w->part = part;
    w->what = what;
    w->options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_lower_bound(w->options, (const char *)lower.p, lower.n);
    rocksdb_readoptions_set_iterate_upper_bound(w->options, (const char *)upper.p, upper.n);
    switch (kind) {
    case ANG_WALK_ROOT:
        rocksdb_readoptions_set_prefix_same_as_start(w->options, 1);
        break;
    case ANG_WALK_RANGE:
        rocksdb_readoptions_set_total_order_seek(w->options, 1);
        rocksdb_readoptions_set_fill_cache(w->options, 0);
        break;
    }
    w->it = rocksdb_create_iterator_cf(part->st->db, w->options, part->cf);
}

void ang_walk_fini(struct ang_walk *w) {
    rocksdb_iter_destroy(w->it);
    rocksdb_readoptions_destroy(w->options);
}

void ang_walk_seek(struct ang_walk *w, struct ang_slice key) {
    rocksdb_iter_seek(w->it, (const char *)key.p, key.n);
}

void ang_walk_seek_back(struct ang_walk *w, struct ang_slice key) {
    rocksdb_iter_seek_for_prev(w->it, (const char *)key.p, key.n);
}

bool ang_walk_row(const struct ang_walk *w, struct ang_slice *ret_key, struct ang_slice *ret_value) {
    size_t n;
    const char *p;

    if (!rocksdb_iter_valid(w->it))
        return (false);
    p = rocksdb_iter_key(w->it, &n);
    *ret_key = ang_slice_of(p, n);
    p = rocksdb_iter_value(w->it, &n);
    *ret_value = ang_slice_of(p, n);
    return (true);
}

void ang_walk_next(struct ang_walk *w) {
    rocksdb_iter_next(w->it);
}

struct ang_err *ang_walk_error(struct ang_walk *w) {
    char *text = NULL;

    rocksdb_iter_get_error(w->it, &text);
    return (text == NULL ? NULL : ang_err_from_rocks(&text, w->part->name, w->what));
}
