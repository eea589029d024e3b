/* Reading what belongs to one root, and positions.  Any thread, beside the part's writer. */
#include "statestore/store_priv.h"

/* One row of a part: *ret_row = NULL when it is not there, and then the part is left again.  Takes key. */
static struct ang_err *get(struct ang_store_part *part, struct ang_key *key, const char *what,
                           rocksdb_pinnableslice_t **ret_row) {
    struct ang_err *er = ang_part_enter(part);

    *ret_row = NULL;
    if (er == NULL) {
        er = ang_row_get(part, ang_key_slice(key), what, ret_row);
        if (*ret_row == NULL)
            ang_part_leave(part);
    }
    ang_key_fini(key);
    return (er);
}

static void done_with(struct ang_store_part *part, rocksdb_pinnableslice_t *row) {
    rocksdb_pinnableslice_destroy(row);
    ang_part_leave(part);
}

struct ang_err *ang_store_next_sequence(struct ang_store_part *part, const struct ang_root *root, uint32_t *ret_next) {
    static const char *what = "read the next sequence of a root";
    struct ang_key key;
    struct ang_err *er;
    struct ang_slice value;
    rocksdb_pinnableslice_t *row;

    ang_key_init_root(&key, ANG_KIND_HEAD, root);
    er = get(part, &key, what, &row);
    if (er != NULL)
        return (er);
    if (row == NULL) {
        *ret_next = 0;
        return (NULL);
    }
    value = ang_row_value(row);
    if (!ang_take_u32(&value, ret_next) || value.n != 0)
        er = ang_store_bad_row(part, what);
    done_with(part, row);
    return (er);
}

/* Moves to the first book that holds a sequence >= from. */
static void seek_book(struct ang_walk *w, const struct ang_root *root, struct ang_slice lower, uint32_t from) {
    struct ang_key key;

    if (from > 0) {
        ang_key_init_book(&key, root, from);
        ang_walk_seek_back(w, ang_key_slice(&key));
        ang_key_fini(&key);
        if (rocksdb_iter_valid(w->it))
            return;
        /* Nothing at or before it; or an error, which stays until it is asked for, so do not seek over it. */
        char *text = NULL;
        rocksdb_iter_get_error(w->it, &text);
        if (text != NULL) {
            rocksdb_free(text);
            return;
        }
    }
    ang_walk_seek(w, lower);
}

struct ang_err *ang_store_books(struct ang_store_part *part, const struct ang_root *root, uint32_t from,
                                bool (*visit)(void *arg, const struct ang_store_book *book), void *arg) {
    static const char *what = "read the books of a root";
    struct ang_key lower, upper;
    struct ang_store_book book;
    struct ang_slice key, value, correlation_id;
    struct ang_walk w;
    struct ang_err *er = ang_part_enter(part);

    if (er != NULL)
        return (er);
    ang_key_init_root(&lower, ANG_KIND_BOOK, root);
    ang_key_init_root(&upper, ANG_KIND_BOOK, root);
    ang_key_add_end(&upper);
    ang_walk_init(&w, part, ANG_WALK_ROOT, ang_key_slice(&lower), ang_key_slice(&upper), what);
    for (seek_book(&w, root, ang_key_slice(&lower), from); ang_walk_row(&w, &key, &value); ang_walk_next(&w)) {
        if (key.n != lower.n + 4 || !ang_take_book(value, &book, &correlation_id)) {
            er = ang_store_bad_row(part, what);
            break;
        }
        book.first = ang_get_be32(key.p + lower.n);
        if (from > 0 && (uint64_t)book.first + book.pages <= from)
            continue;
        if (!visit(arg, &book))
            break;
    }
    if (er == NULL)
        er = ang_walk_error(&w);
    ang_walk_fini(&w);
    ang_key_fini(&lower);
    ang_key_fini(&upper);
    ang_part_leave(part);
    return (er);
}

struct ang_err *ang_store_snapshot(struct ang_store_part *part, const struct ang_root *root,
                                   struct ang_buf *ret_snapshot, bool *ret_found) {
    struct ang_key key;
    struct ang_err *er;
    rocksdb_pinnableslice_t *row;

    ang_key_init_root(&key, ANG_KIND_SNAPSHOT, root);
    er = get(part, &key, "read a snapshot", &row);
    if (er != NULL)
        return (er);
    ang_buf_clear(ret_snapshot);
    *ret_found = row != NULL;
    if (row != NULL) {
        ang_buf_add_slice(ret_snapshot, ang_row_value(row));
        done_with(part, row);
    }
    return (NULL);
}

struct ang_err *ang_store_done(struct ang_store_part *part, const struct ang_root *root, struct ang_slice command_id,
                               struct ang_store_done *ret_done, bool *ret_found) {
    static const char *what = "look up what a command did";
    struct ang_store_done done;
    struct ang_key key;
    struct ang_err *er;
    struct ang_slice value;
    rocksdb_pinnableslice_t *row;

    ang_key_init_root(&key, ANG_KIND_DONE, root);
    ang_key_add(&key, command_id);
    er = get(part, &key, what, &row);
    if (er != NULL)
        return (er);
    if (row == NULL) {
        *ret_found = false;
        return (NULL);
    }
    value = ang_row_value(row);
    if (ang_take_i64(&value, &done.time_ms) && ang_take_u32(&value, &done.first) && ang_take_u32(&value, &done.pages)) {
        *ret_done = done;
        *ret_found = true;
    } else {
        er = ang_store_bad_row(part, what);
    }
    done_with(part, row);
    return (er);
}

/* A row of a number and the bytes behind it.  ret_bytes may be NULL. */
static struct ang_err *get_number(struct ang_store_part *part, struct ang_key *key, const char *what,
                                  int64_t *ret_number, struct ang_buf *ret_bytes, bool *ret_found) {
    struct ang_err *er;
    struct ang_slice value;
    rocksdb_pinnableslice_t *row;

    er = get(part, key, what, &row);
    if (er != NULL)
        return (er);
    if (row == NULL) {
        *ret_found = false;
        if (ret_bytes != NULL)
            ang_buf_clear(ret_bytes);
        return (NULL);
    }
    value = ang_row_value(row);
    if (!ang_take_i64(&value, ret_number)) {
        er = ang_store_bad_row(part, what);
    } else {
        *ret_found = true;
        if (ret_bytes != NULL) {
            ang_buf_clear(ret_bytes);
            ang_buf_add_slice(ret_bytes, value);
        }
    }
    done_with(part, row);
    return (er);
}

struct ang_err *ang_store_refusal(struct ang_store_part *part, const struct ang_root *root, struct ang_slice command_id,
                                  struct ang_buf *ret_status, bool *ret_found) {
    struct ang_key key;
    int64_t until_ms;

    ang_key_init_root(&key, ANG_KIND_REFUSAL, root);
    ang_key_add(&key, command_id);
    return (get_number(part, &key, "look up a refusal", &until_ms, ret_status, ret_found));
}

struct ang_err *ang_store_position(struct ang_store_part *part, const char *topic, int64_t *ret_next_offset,
                                   struct ang_buf *ret_meta) {
    struct ang_key key;
    struct ang_err *er;
    int64_t offset = -1; /* ANG_OFFSET_NONE */
    bool found;

    ang_key_init(&key, ANG_KIND_POSITION);
    ang_key_add(&key, ang_slice_str(topic));
    er = get_number(part, &key, "read a position", &offset, ret_meta, &found);
    if (er == NULL)
        *ret_next_offset = offset;
    return (er);
}
