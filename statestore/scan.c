/* Reading over all roots of a part, and pruning. */
#include "statestore/store_priv.h"

struct ang_err *ang_store_by_correlation(struct ang_store_part *part, struct ang_slice correlation_id,
                                         const struct ang_root *from,
                                         bool (*visit)(void *arg, const struct ang_root *root), void *arg) {
    static const char *what = "read the index by correlation id";
    struct ang_key lower, upper, first;
    struct ang_buf last = {0};
    struct ang_root root;
    struct ang_slice key, value, rest;
    struct ang_walk w;
    struct ang_err *er;

    if (correlation_id.n == 0)
        return (NULL);
    er = ang_part_enter(part);
    if (er != NULL)
        return (er);
    ang_key_init_correlation(&lower, correlation_id);
    ang_key_init_correlation(&upper, correlation_id);
    ang_key_add_end(&upper);
    ang_key_init_correlation(&first, correlation_id);
    if (from != NULL)
        ang_key_add_root(&first, from);
    ang_walk_init(&w, part, ANG_WALK_RANGE, ang_key_slice(&lower), ang_key_slice(&upper), what);
    for (ang_walk_seek(&w, ang_key_slice(&first)); ang_walk_row(&w, &key, &value); ang_walk_next(&w)) {
        rest = ang_slice_of(key.p + lower.n, key.n - lower.n);
        if (!ang_take_root(&rest, &root) || rest.n != 4) {
            er = ang_store_bad_row(part, what);
            break;
        }
        /* A root has one row per book, and they lie side by side. */
        key.n -= rest.n;
        if (ang_slice_eq(key, ang_buf_slice(&last)))
            continue;
        ang_buf_clear(&last);
        ang_buf_add_slice(&last, key);
        if (!visit(arg, &root))
            break;
    }
    if (er == NULL)
        er = ang_walk_error(&w);
    ang_walk_fini(&w);
    ang_buf_fini(&last);
    ang_key_fini(&first);
    ang_key_fini(&lower);
    ang_key_fini(&upper);
    ang_part_leave(part);
    return (er);
}

struct ang_err *ang_store_roots(struct ang_store_part *part, bool (*visit)(void *arg, const struct ang_root *root),
                                void *arg) {
    static const char *what = "read the roots";
    const uint8_t lower[] = {ANG_KIND_HEAD}, upper[] = {ANG_KIND_HEAD + 1};
    struct ang_root root;
    struct ang_slice key, value;
    struct ang_walk w;
    struct ang_err *er = ang_part_enter(part);

    if (er != NULL)
        return (er);
    ang_walk_init(&w, part, ANG_WALK_RANGE, ang_slice_of(lower, 1), ang_slice_of(upper, 1), what);
    for (ang_walk_seek(&w, ang_slice_of(lower, 1)); ang_walk_row(&w, &key, &value); ang_walk_next(&w)) {
        struct ang_slice rest = ang_slice_of(key.p + 1, key.n - 1);
        if (!ang_take_root(&rest, &root) || rest.n != 0) {
            er = ang_store_bad_row(part, what);
            break;
        }
        if (!visit(arg, &root))
            break;
    }
    if (er == NULL)
        er = ang_walk_error(&w);
    ang_walk_fini(&w);
    ang_part_leave(part);
    return (er);
}

/* Moves to the first book of the root behind that one. */
static void seek_next_root(struct ang_walk *w, const uint8_t id[16]) {
    struct ang_key key;

    ang_key_init(&key, ANG_KIND_BOOK);
    ang_key_add(&key, ang_slice_of(id, 16));
    ang_key_add_end(&key);
    ang_walk_seek(w, ang_key_slice(&key));
    ang_key_fini(&key);
}

struct ang_err *ang_store_booked_roots(struct ang_store_part *part, const uint8_t *after,
                                       bool (*visit)(void *arg, const struct ang_root *root), void *arg) {
    static const char *what = "read the roots that have books";
    const uint8_t lower[] = {ANG_KIND_BOOK}, upper[] = {ANG_KIND_BOOK + 1};
    struct ang_root root;
    struct ang_slice key, value;
    struct ang_walk w;
    struct ang_err *er = ang_part_enter(part);

    if (er != NULL)
        return (er);
    ang_walk_init(&w, part, ANG_WALK_RANGE, ang_slice_of(lower, 1), ang_slice_of(upper, 1), what);
    if (after == NULL)
        ang_walk_seek(&w, ang_slice_of(lower, 1));
    else
        seek_next_root(&w, after);
    for (; ang_walk_row(&w, &key, &value); seek_next_root(&w, root.id)) {
        struct ang_slice rest = ang_slice_of(key.p + 1, key.n - 1);
        if (!ang_take_root(&rest, &root) || rest.n != 4) {
            er = ang_store_bad_row(part, what);
            break;
        }
        /* The main timeline is the first of a root's editions: when another one comes first, it has no book. */
        if (root.edition.n == 0 && !visit(arg, &root))
            break;
    }
    if (er == NULL)
        er = ang_walk_error(&w);
    ang_walk_fini(&w);
    ang_part_leave(part);
    return (er);
}

struct ang_err *ang_store_prune(struct ang_store_part *part, int64_t time_ms, size_t max) {
    static const char *what = "prune";
    const uint8_t lower[] = {ANG_KIND_DONE}, upper[] = {ANG_KIND_REFUSAL + 1};
    const int64_t wall_ms = ang_wall_ms();
    int64_t until;
    size_t n = 0;
    struct ang_slice key, value;
    struct ang_walk w;
    rocksdb_writebatch_t *gone;
    struct ang_err *er = ang_part_enter(part);

    if (er != NULL)
        return (er);
    gone = rocksdb_writebatch_create();
    ang_walk_init(&w, part, ANG_WALK_RANGE, ang_slice_of(lower, 1), ang_slice_of(upper, 1), what);
    if (part->prune_from.n == 0)
        ang_buf_add(&part->prune_from, lower, 1);
    for (ang_walk_seek(&w, ang_buf_slice(&part->prune_from)); ang_walk_row(&w, &key, &value); ang_walk_next(&w)) {
        if (n++ == max)
            break;
        if (!ang_take_i64(&value, &until)) {
            er = ang_store_bad_row(part, what);
            goto out;
        }
        if (until < (key.p[0] == ANG_KIND_DONE ? time_ms : wall_ms))
            rocksdb_writebatch_delete_cf(gone, part->cf, (const char *)key.p, key.n);
    }
    er = ang_walk_error(&w);
    if (er != NULL)
        goto out;
    ang_buf_clear(&part->prune_from); /* at the end: the next call begins anew */
    if (ang_walk_row(&w, &key, &value))
        ang_buf_add_slice(&part->prune_from, key);
    if (rocksdb_writebatch_count(gone) > 0)
        er = ang_rows_write(part->st, gone, part->name, what);
out:
    ang_walk_fini(&w);
    rocksdb_writebatch_destroy(gone);
    ang_part_leave(part);
    return (er);
}
