/* Batches: the rows of one transaction, written in one step.
 *
 * Puts return nothing; the first thing that goes wrong is kept and returned by ang_store_write, which then writes nothing.
 * A batch knows the generation of each part it names.  RocksDB applies a batch row by row and stops the whole database when
 * it meets a column family that is gone: so a batch that has outlived one never gets there. */
#include <stdlib.h>

#include "statestore/bulk.h"
#include "statestore/store_priv.h"

struct target {
    struct ang_store_part *part;
    unsigned generation;
};

struct ang_store_batch {
    unsigned magic;
#define ANG_STORE_BATCH_MAGIC 0x57a7e503
    struct ang_store *st;
    rocksdb_writebatch_t *rows;
    struct ang_bulk *bulk; /* not NULL: rows are collected there */
    struct target *targets;
    size_t n_targets, cap_targets;
    struct ang_buf value; /* scratch */
    struct ang_buf
        indexed;        /* per book with a correlation id: part, its book's key, the id (both behind their length) */
    struct ang_err *er; /* the first failure */
};

struct ang_store_batch *ang_store_batch_new(struct ang_store *st) {
    struct ang_store_batch *b = ANG_NEW(struct ang_store_batch);

    ANG_CHECK(st, ANG_STORE_MAGIC);
    b->magic = ANG_STORE_BATCH_MAGIC;
    b->st = st;
    b->rows = rocksdb_writebatch_create();
    return (b);
}

struct ang_store_batch *ang_store_batch_new_bulk(struct ang_store *st) {
    struct ang_store_batch *b = ang_store_batch_new(st);

    b->bulk = ang_bulk_new();
    return (b);
}

void ang_store_batch_free(struct ang_store_batch *b) {
    if (b == NULL)
        return;
    ANG_CHECK(b, ANG_STORE_BATCH_MAGIC);
    rocksdb_writebatch_destroy(b->rows);
    ang_bulk_free(b->bulk);
    ang_buf_fini(&b->value);
    ang_buf_fini(&b->indexed);
    ang_err_free(&b->er);
    free(b->targets);
    b->magic = 0;
    free(b);
}

void ang_store_batch_clear(struct ang_store_batch *b) {
    ANG_CHECK(b, ANG_STORE_BATCH_MAGIC);
    rocksdb_writebatch_clear(b->rows);
    if (b->bulk != NULL)
        ang_bulk_clear(b->bulk);
    b->n_targets = 0;
    ang_buf_clear(&b->indexed);
    ang_err_free(&b->er);
}

size_t ang_store_batch_bytes(const struct ang_store_batch *b) {
    size_t n;

    ANG_CHECK(b, ANG_STORE_BATCH_MAGIC);
    if (b->bulk != NULL)
        return (ang_bulk_bytes(b->bulk));
    (void)rocksdb_writebatch_data(b->rows, &n);
    return (n);
}

static void fail(struct ang_store_batch *b, struct ang_err *er) {
    if (b->er == NULL)
        b->er = er;
    else
        ang_err_free(&er);
}

static struct ang_err *outlived(const struct ang_store_part *part) {
    return (
        ang_err_new(ANG_E_STORE_IO,
                    "state store %s: the part was reset while a batch for it was open; nothing of the batch is written",
                    part->name));
}

static struct target *target_of(struct ang_store_batch *b, struct ang_store_part *part) {
    for (size_t i = b->n_targets; i-- > 0;)
        if (b->targets[i].part == part)
            return (&b->targets[i]);
    if (b->n_targets == b->cap_targets) {
        b->cap_targets = 2 * b->cap_targets + 4;
        b->targets = ang_realloc(b->targets, b->cap_targets * sizeof(*b->targets));
    }
    b->targets[b->n_targets] = (struct target){part, part->generation};
    return (&b->targets[b->n_targets++]);
}

/* Enters the part; false when the batch has failed (and the part is not entered). */
static bool begin(struct ang_store_batch *b, struct ang_store_part *part) {
    struct ang_err *er;

    ANG_CHECK(b, ANG_STORE_BATCH_MAGIC);
    ANG_CHECK(part, ANG_STORE_PART_MAGIC);
    ANG_ASSERT(part->st == b->st);
    if (b->er != NULL)
        return (false);
    er = ang_part_enter(part);
    if (er != NULL) {
        fail(b, er);
        return (false);
    }
    if (target_of(b, part)->generation != part->generation) {
        fail(b, outlived(part));
        ang_part_leave(part);
        return (false);
    }
    return (true);
}

static void put(struct ang_store_batch *b, struct ang_store_part *part, struct ang_key *key, struct ang_slice value) {
    if (b->bulk != NULL)
        ang_bulk_add(b->bulk, part, ang_key_slice(key), value, false);
    else
        rocksdb_writebatch_put_cf(b->rows, part->cf, (const char *)key->p, key->n,
                                  value.n == 0 ? "" : (const char *)value.p, value.n);
    ang_key_fini(key);
}

static void del(struct ang_store_batch *b, struct ang_store_part *part, struct ang_key *key) {
    if (b->bulk != NULL)
        ang_bulk_add(b->bulk, part, ang_key_slice(key), ANG_SLICE_NONE, true);
    else
        rocksdb_writebatch_delete_cf(b->rows, part->cf, (const char *)key->p, key->n);
    ang_key_fini(key);
}

static void put_head(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                     uint32_t next) {
    struct ang_key key;

    ang_key_init_root(&key, ANG_KIND_HEAD, root);
    ang_buf_clear(&b->value);
    ang_add_u32(&b->value, next);
    put(b, part, &key, ang_buf_slice(&b->value));
}

static void put_index(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                      uint32_t first, struct ang_slice book_key, struct ang_slice correlation_id) {
    struct ang_key key;

    ang_key_init_correlation(&key, correlation_id);
    ang_key_add_root(&key, root);
    ang_key_add_u32(&key, first);
    put(b, part, &key, ANG_SLICE_NONE);
    ang_buf_add(&b->indexed, &part, sizeof(part));
    ang_add_text(&b->indexed, book_key);
    ang_add_text(&b->indexed, correlation_id);
}

void ang_store_put_book(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                        const struct ang_store_book *book, struct ang_slice correlation_id) {
    struct ang_key key;

    if (!begin(b, part))
        return;
    if ((uint64_t)book->first + book->pages > UINT32_MAX) {
        fail(b, ang_err_new(ANG_E_INVALID,
                            "state store %s: a book of %u pages from sequence %u goes past the last sequence",
                            part->name, book->pages, book->first));
        goto out;
    }
    ang_key_init_book(&key, root, book->first);
    if (correlation_id.n > 0)
        put_index(b, part, root, book->first, ang_key_slice(&key), correlation_id);
    ang_buf_clear(&b->value);
    ang_add_i64(&b->value, book->time_ms);
    ang_add_u32(&b->value, book->pages);
    ang_add_text(&b->value, correlation_id);
    ang_buf_add_slice(&b->value, book->book);
    put(b, part, &key, ang_buf_slice(&b->value));
    put_head(b, part, root, book->first + book->pages);
out:
    ang_part_leave(part);
}

static void del_index(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                      uint32_t first, struct ang_slice correlation_id) {
    struct ang_key key;

    if (correlation_id.n == 0)
        return;
    ang_key_init_correlation(&key, correlation_id);
    ang_key_add_root(&key, root);
    ang_key_add_u32(&key, first);
    del(b, part, &key);
}

/* The index row of a book that this very batch put: reading does not see it yet. */
static void del_index_in_batch(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                               uint32_t first, struct ang_slice book_key) {
    struct ang_slice rest = ang_buf_slice(&b->indexed), key, correlation_id;
    struct ang_store_part *of;

    while (rest.n > 0) {
        memcpy(&of, rest.p, sizeof(of));
        rest = ang_slice_of(rest.p + sizeof(of), rest.n - sizeof(of));
        AN(ang_take_text(&rest, &key));
        AN(ang_take_text(&rest, &correlation_id));
        if (of == part && ang_slice_eq(key, book_key))
            del_index(b, part, root, first, correlation_id);
    }
}

void ang_store_del_book(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                        uint32_t first) {
    struct ang_key key;
    struct ang_store_book book;
    struct ang_slice correlation_id;
    struct ang_err *er;
    rocksdb_pinnableslice_t *row = NULL;

    if (!begin(b, part))
        return;
    ang_key_init_book(&key, root, first);
    del_index_in_batch(b, part, root, first, ang_key_slice(&key));
    er = ang_row_get(part, ang_key_slice(&key), "look up a book to delete", &row);
    if (er == NULL && row != NULL) {
        if (ang_take_book(ang_row_value(row), &book, &correlation_id))
            del_index(b, part, root, first, correlation_id);
        else
            er = ang_store_bad_row(part, "look up a book to delete");
        rocksdb_pinnableslice_destroy(row);
    }
    del(b, part, &key);
    if (er != NULL)
        fail(b, er);
    ang_part_leave(part);
}

void ang_store_put_next(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                        uint32_t next) {
    if (!begin(b, part))
        return;
    put_head(b, part, root, next);
    ang_part_leave(part);
}

void ang_store_put_snapshot(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                            struct ang_slice snapshot) {
    struct ang_key key;

    if (!begin(b, part))
        return;
    ang_key_init_root(&key, ANG_KIND_SNAPSHOT, root);
    put(b, part, &key, snapshot);
    ang_part_leave(part);
}

void ang_store_del_snapshot(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root) {
    struct ang_key key;

    if (!begin(b, part))
        return;
    ang_key_init_root(&key, ANG_KIND_SNAPSHOT, root);
    del(b, part, &key);
    ang_part_leave(part);
}

void ang_store_put_done(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                        struct ang_slice command_id, const struct ang_store_done *done) {
    struct ang_key key;

    if (!begin(b, part))
        return;
    ang_key_init_root(&key, ANG_KIND_DONE, root);
    ang_key_add(&key, command_id);
    ang_buf_clear(&b->value);
    ang_add_i64(&b->value, done->time_ms);
    ang_add_u32(&b->value, done->first);
    ang_add_u32(&b->value, done->pages);
    put(b, part, &key, ang_buf_slice(&b->value));
    ang_part_leave(part);
}

void ang_store_forget_commands(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root) {
    static const enum ang_kind kinds[] = {ANG_KIND_DONE, ANG_KIND_REFUSAL};
    struct ang_key lower, upper;

    AN(b->bulk == NULL);
    if (!begin(b, part))
        return;
    for (size_t i = 0; i < ANG_COUNT(kinds); i++) {
        ang_key_init_root(&lower, kinds[i], root);
        ang_key_init_root(&upper, kinds[i], root);
        ang_key_add_end(&upper);
        rocksdb_writebatch_delete_range_cf(b->rows, part->cf, (const char *)lower.p, lower.n, (const char *)upper.p,
                                           upper.n);
        ang_key_fini(&lower);
        ang_key_fini(&upper);
    }
    ang_part_leave(part);
}

void ang_store_put_refusal(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                           struct ang_slice command_id, int64_t until_ms, struct ang_slice status) {
    struct ang_key key;

    if (!begin(b, part))
        return;
    ang_key_init_root(&key, ANG_KIND_REFUSAL, root);
    ang_key_add(&key, command_id);
    ang_buf_clear(&b->value);
    ang_add_i64(&b->value, until_ms);
    ang_buf_add_slice(&b->value, status);
    put(b, part, &key, ang_buf_slice(&b->value));
    ang_part_leave(part);
}

void ang_store_put_position(struct ang_store_batch *b, struct ang_store_part *part, const char *topic,
                            int64_t next_offset, struct ang_slice meta) {
    struct ang_key key;

    if (!begin(b, part))
        return;
    ang_key_init(&key, ANG_KIND_POSITION);
    ang_key_add(&key, ang_slice_str(topic));
    ang_buf_clear(&b->value);
    ang_add_i64(&b->value, next_offset);
    ang_buf_add_slice(&b->value, meta);
    put(b, part, &key, ang_buf_slice(&b->value));
    ang_part_leave(part);
}

/* The part is entered. */
static void put_stamp(struct ang_store_batch *b, struct ang_store_part *part, int64_t now) {
    struct ang_key key;

    ang_key_init(&key, ANG_KIND_STAMP);
    ang_buf_clear(&b->value);
    ang_add_i64(&b->value, now);
    put(b, part, &key, ang_buf_slice(&b->value));
}

struct ang_err *ang_store_write(struct ang_store_batch *b) {
    int64_t now = ang_wall_ms(), age;
    struct ang_err *er = NULL;
    size_t entered = 0;

    ANG_CHECK(b, ANG_STORE_BATCH_MAGIC);
    if (b->er != NULL)
        return (ang_err_dup(b->er));
    for (; entered < b->n_targets; entered++) {
        struct target *t = &b->targets[entered];
        er = ang_part_enter(t->part);
        if (er != NULL)
            goto out;
        if (t->generation != t->part->generation) {
            ang_part_leave(t->part);
            er = outlived(t->part);
            goto out;
        }
        age = now - atomic_load_explicit(&t->part->stamp_ms, memory_order_relaxed);
        if (age < 0 || age >= ANG_STORE_STAMP_MS)
            put_stamp(b, t->part, now);
    }
    if (b->bulk != NULL && ang_bulk_bytes(b->bulk) >= ANG_STORE_BULK_BYTES) {
        er = ang_bulk_write(b->bulk);
    } else {
        if (b->bulk != NULL)
            ang_bulk_put_into(b->bulk, b->rows);
        er = ang_rows_write(b->st, b->rows, b->n_targets > 0 ? b->targets[0].part->name : b->st->path, "write a batch");
    }
    if (er != NULL)
        goto out;
    for (size_t i = 0; i < b->n_targets; i++) {
        age = now - atomic_load_explicit(&b->targets[i].part->stamp_ms, memory_order_relaxed);
        if (age < 0 || age >= ANG_STORE_STAMP_MS)
            atomic_store_explicit(&b->targets[i].part->stamp_ms, now, memory_order_relaxed);
    }
out:
    while (entered-- > 0)
        ang_part_leave(b->targets[entered].part);
    return (er);
}
