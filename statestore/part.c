/* Parts: one column family each, with the identity and the age that say whether it may be used again. */
#include <stdio.h>
#include <stdlib.h>

#include "statestore/store_priv.h"

struct ang_store_part *ang_part_new(struct ang_store *st, const char *name, rocksdb_column_family_handle_t *cf) {
    struct ang_store_part *part = ANG_NEW(struct ang_store_part);

    part->magic = ANG_STORE_PART_MAGIC;
    part->st = st;
    part->name = ang_strdup(name);
    part->cf = cf;
    ANG_PT(pthread_rwlock_init(&part->use, NULL));
    part->next = st->parts;
    st->parts = part;
    return (part);
}

void ang_part_free(struct ang_store_part *part) {
    ANG_CHECK(part, ANG_STORE_PART_MAGIC);
    if (part->cf != NULL)
        rocksdb_column_family_handle_destroy(part->cf);
    ANG_PT(pthread_rwlock_destroy(&part->use));
    ang_buf_fini(&part->prune_from);
    free(part->identity);
    free(part->name);
    part->magic = 0;
    free(part);
}

struct ang_err *ang_part_enter(struct ang_store_part *part) {
    ANG_CHECK(part, ANG_STORE_PART_MAGIC);
    ANG_PT(pthread_rwlock_rdlock(&part->use));
    if (part->cf != NULL)
        return (NULL);
    ANG_PT(pthread_rwlock_unlock(&part->use));
    return (ang_err_new(ANG_E_STORE_IO, "state store %s: the part was dropped and could not be made anew: reset it",
                        part->name));
}

void ang_part_leave(struct ang_store_part *part) {
    ANG_PT(pthread_rwlock_unlock(&part->use));
}

/* ---- with `use` held exclusively ---- */

static struct ang_err *drop(struct ang_store_part *part) {
    char *text = NULL;

    if (part->cf == NULL)
        return (NULL);
    rocksdb_drop_column_family(part->st->db, part->cf, &text);
    if (text != NULL)
        return (ang_err_from_rocks(&text, part->name, "drop the part"));
    rocksdb_column_family_handle_destroy(part->cf);
    part->cf = NULL;
    part->generation++;
    ang_buf_clear(&part->prune_from);
    return (NULL);
}

static struct ang_err *create(struct ang_store_part *part) {
    const char identity_key[] = {ANG_KIND_IDENTITY}, stamp_key[] = {ANG_KIND_STAMP};
    const int64_t now = ang_wall_ms();
    struct ang_buf value = {0};
    rocksdb_writebatch_t *rows;
    struct ang_err *er;
    char *text = NULL;

    part->cf = rocksdb_create_column_family(part->st->db, part->st->options, part->name, &text);
    if (text != NULL) {
        part->cf = NULL;
        return (ang_err_from_rocks(&text, part->name, "make the part"));
    }
    rows = rocksdb_writebatch_create();
    ang_buf_addf(&value, "%s %s", ANG_KEY_LAYOUT, part->identity);
    rocksdb_writebatch_put_cf(rows, part->cf, identity_key, 1, (const char *)value.p, value.n);
    ang_buf_clear(&value);
    ang_add_i64(&value, now);
    rocksdb_writebatch_put_cf(rows, part->cf, stamp_key, 1, (const char *)value.p, value.n);
    er = ang_rows_write(part->st, rows, part->name, "write the identity of the part");
    rocksdb_writebatch_destroy(rows);
    ang_buf_fini(&value);
    atomic_store_explicit(&part->stamp_ms, now, memory_order_relaxed);
    return (er);
}

static struct ang_err *read_identity(struct ang_store_part *part, const char *expected, bool *ret_there, bool *ret_equal) {
    const uint8_t key[] = {ANG_KIND_IDENTITY};
    rocksdb_pinnableslice_t *row;
    struct ang_err *er = ang_row_get(part, ang_slice_of(key, 1), "read the identity of the part", &row);

    if (er != NULL)
        return (er);
    *ret_there = row != NULL;
    *ret_equal = row != NULL && ang_slice_is(ang_row_value(row), expected);
    rocksdb_pinnableslice_destroy(row);
    return (NULL);
}

/* *ret_ms = 0 when there is none. */
static struct ang_err *read_stamp(struct ang_store_part *part, int64_t *ret_ms) {
    const uint8_t key[] = {ANG_KIND_STAMP};
    struct ang_slice value;
    rocksdb_pinnableslice_t *row;
    struct ang_err *er = ang_row_get(part, ang_slice_of(key, 1), "read when the part was last written", &row);

    if (er != NULL)
        return (er);
    *ret_ms = 0;
    if (row != NULL) {
        value = ang_row_value(row);
        if (!ang_take_i64(&value, ret_ms))
            er = ang_store_bad_row(part, "read when the part was last written");
    }
    rocksdb_pinnableslice_destroy(row);
    return (er);
}

/* Whether the clock says that the stamp is too old.  A stamp from the future proves that a clock was wrong, and so nothing
 * about the age; a little of it is only clocks being set. */
static bool too_old(int64_t stamp_ms, int64_t max_age_ms) {
    const int64_t age = ang_wall_ms() - stamp_ms;

    return (age > max_age_ms || age < -3600 * 1000);
}

/* Why what is on disk cannot be used: text to be freed, NULL = it can. */
static char *unusable(struct ang_store_part *part, const char *identity, int64_t max_age_ms) {
    char *expected = ang_sprintf("%s %s", ANG_KEY_LAYOUT, identity), *why = NULL;
    bool there = false, same = false;
    int64_t stamp_ms = 0;
    struct ang_err *er;

    er = read_identity(part, expected, &there, &same);
    if (er == NULL)
        er = read_stamp(part, &stamp_ms);
    if (er != NULL)
        why = ang_strdup(er->msg);
    else if (!there) /* its first row */
        why = ang_sprintf("the process that made it was killed before anything was on the disk");
    else if (!same)
        why = ang_sprintf("it belongs to another cluster, topic or partition, or has another layout");
    else if (too_old(stamp_ms, max_age_ms))
        why = ang_sprintf("it was last written %lld s ago, allowed are %lld s",
                          (long long)(ang_wall_ms() - stamp_ms) / 1000, (long long)max_age_ms / 1000);
    else
        atomic_store_explicit(&part->stamp_ms, stamp_ms, memory_order_relaxed);
    ang_err_free(&er);
    free(expected);
    return (why);
}

static struct ang_err *prepare(struct ang_store_part *part, const char *identity, int64_t max_age_ms) {
    struct ang_err *er;
    char *why;

    if (part->cf != NULL) {
        why = unusable(part, identity, max_age_ms);
        if (why == NULL)
            return (NULL);
        ANG_LOG(ANG_LOG_WARN, "STORE-DROPPED", "what is stored of a partition is dropped and rebuilt from the log",
                "part", part->name, "reason", why);
        free(why);
        er = drop(part);
        if (er != NULL)
            return (er);
    }
    return (create(part));
}

/* ---- what others call ---- */

static struct ang_store_part *find(struct ang_store *st, const char *name) {
    for (struct ang_store_part *part = st->parts; part != NULL; part = part->next)
        if (strcmp(part->name, name) == 0)
            return (part);
    return (NULL);
}

struct ang_err *ang_store_part_open(struct ang_store *st, const char *domain, int32_t partition, const char *identity,
                                    int64_t max_age_ms, struct ang_store_part **ret_part) {
    struct ang_store_part *part;
    struct ang_err *er;
    char *name;

    ANG_CHECK(st, ANG_STORE_MAGIC);
    name = ang_sprintf("%s/%d", domain, (int)partition);
    ANG_PT(pthread_mutex_lock(&st->lock));
    part = find(st, name);
    if (part == NULL)
        part = ang_part_new(st, name, NULL);
    free(name);
    AZ(part->open);
    free(part->identity);
    part->identity = ang_strdup(identity);
    ANG_PT(pthread_rwlock_wrlock(&part->use));
    er = prepare(part, identity, max_age_ms);
    ANG_PT(pthread_rwlock_unlock(&part->use));
    if (er == NULL) {
        part->open = true;
        *ret_part = part;
    }
    ANG_PT(pthread_mutex_unlock(&st->lock));
    return (er);
}

struct ang_err *ang_store_part_reset(struct ang_store_part *part) {
    struct ang_err *er;

    ANG_CHECK(part, ANG_STORE_PART_MAGIC);
    ANG_PT(pthread_rwlock_wrlock(&part->use));
    er = drop(part);
    if (er == NULL)
        er = create(part);
    ANG_PT(pthread_rwlock_unlock(&part->use));
    return (er);
}

struct ang_err *ang_store_part_merging(struct ang_store_part *part, bool on) {
    const char *const key = "disable_auto_compactions", *const value = on ? "false" : "true";
    struct ang_err *er;
    char *text = NULL;

    ANG_CHECK(part, ANG_STORE_PART_MAGIC);
    er = ang_part_enter(part);
    if (er != NULL)
        return (er);
    rocksdb_set_options_cf(part->st->db, part->cf, 1, &key, &value, &text);
    ang_part_leave(part);
    return (text == NULL ? NULL : ang_err_from_rocks(&text, part->name, "switch the merging of its files"));
}

void ang_store_part_close(struct ang_store_part *part) {
    if (part == NULL)
        return;
    ANG_CHECK(part, ANG_STORE_PART_MAGIC);
    ANG_PT(pthread_mutex_lock(&part->st->lock));
    AN(part->open);
    part->open = false;
    ANG_PT(pthread_mutex_unlock(&part->st->lock));
}

struct ang_err *ang_store_sweep(struct ang_store *st, int64_t keep_ms, unsigned *ret_dropped) {
    struct ang_err *er = NULL;
    unsigned dropped = 0;
    int64_t stamp_ms;

    ANG_CHECK(st, ANG_STORE_MAGIC);
    ANG_PT(pthread_mutex_lock(&st->lock));
    for (struct ang_store_part *part = st->parts; part != NULL && er == NULL; part = part->next) {
        if (part->open)
            continue;
        ANG_PT(pthread_rwlock_wrlock(&part->use));
        if (part->cf != NULL) {
            struct ang_err *unread = read_stamp(part, &stamp_ms);
            if (unread != NULL || too_old(stamp_ms, keep_ms)) {
                er = drop(part);
                dropped += er == NULL;
            }
            ang_err_free(&unread); /* damaged: it goes as well */
        }
        ANG_PT(pthread_rwlock_unlock(&part->use));
    }
    ANG_PT(pthread_mutex_unlock(&st->lock));
    if (er == NULL)
        *ret_dropped = dropped;
    return (er);
}
