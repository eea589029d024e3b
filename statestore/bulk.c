/* Many rows at once: sorted, made a file of the database, and taken in whole.
 *
 * Through memtables a row of a random root costs a search among all others, then its share of a flush.  A rebuild has nobody who
 * reads meanwhile, so its rows are collected, sorted and written once.
 *
 *      add … add ──▶ sort, the last of equal keys wins ──▶ one file per part ──▶ ingested: all of a part's rows, or none
 *
 * What is in memtables of the part is flushed first: a file is durable at once, and must not be so before older rows. */
#include <stdlib.h>
#include <unistd.h>

#include "statestore/bulk.h"
#include "statestore/store_priv.h"

struct row { /* small: they are moved when they are sorted */
    uint64_t head; /* the first bytes of the key, so that most comparisons need no more */
    uint32_t at;   /* in bytes: key, value; it also says which of two is the later one */
    uint32_t value_n;
    uint16_t key_n;
    uint16_t part : 15, deleted : 1;
};
_Static_assert(sizeof(struct row) == 24, "a row");

struct ang_bulk {
    struct ang_store_part **parts;
    size_t n_parts;
    struct row *rows;
    size_t n_rows, cap_rows;
    struct ang_buf bytes;
};

struct ang_bulk *ang_bulk_new(void) {
    return (ANG_NEW(struct ang_bulk));
}

void ang_bulk_free(struct ang_bulk *k) {
    if (k == NULL)
        return;
    ang_buf_fini(&k->bytes);
    free(k->rows);
    free(k->parts);
    free(k);
}

void ang_bulk_clear(struct ang_bulk *k) {
    k->n_rows = k->n_parts = 0;
    ang_buf_clear(&k->bytes);
}

size_t ang_bulk_bytes(const struct ang_bulk *k) {
    return (k->bytes.n + k->n_rows * sizeof *k->rows);
}

static uint16_t part_index(struct ang_bulk *k, struct ang_store_part *part) {
    size_t i;

    for (i = k->n_parts; i-- > 0;)
        if (k->parts[i] == part)
            return ((uint16_t)i);
    k->parts = ang_realloc(k->parts, (k->n_parts + 1) * sizeof *k->parts);
    k->parts[k->n_parts] = part;
    AN(k->n_parts < 1 << 15);
    return ((uint16_t)k->n_parts++);
}

static uint64_t head_of(struct ang_slice key) {
    uint8_t b[8] = {0};

    memcpy(b, key.p, key.n < sizeof b ? key.n : sizeof b);
    return (ang_get_be64(b));
}

void ang_bulk_add(struct ang_bulk *k, struct ang_store_part *part, struct ang_slice key, struct ang_slice value, bool deleted) {
    struct row *r;

    AN(key.n <= UINT16_MAX && k->bytes.n <= UINT32_MAX); /* of names and ids; and it is written long before */
    if (k->n_rows == k->cap_rows) {
        k->cap_rows = k->cap_rows == 0 ? 4096 : 2 * k->cap_rows;
        k->rows = ang_realloc(k->rows, k->cap_rows * sizeof *k->rows);
    }
    r = &k->rows[k->n_rows++];
    *r = (struct row){.head = head_of(key),
                      .part = part_index(k, part) & 0x7fff,
                      .at = (uint32_t)k->bytes.n,
                      .key_n = (uint16_t)key.n,
                      .value_n = (uint32_t)value.n,
                      .deleted = deleted};
    ang_buf_add_slice(&k->bytes, key);
    ang_buf_add_slice(&k->bytes, value);
}

static struct ang_slice key_of(const struct ang_bulk *k, const struct row *r) {
    return (ang_slice_of(k->bytes.p + r->at, r->key_n));
}

static bool same_key(const struct ang_bulk *k, const struct row *a, const struct row *b) {
    return (a->part == b->part && a->head == b->head && ang_slice_eq(key_of(k, a), key_of(k, b)));
}

static int by_key(const void *x, const void *y, void *arg) {
    const struct ang_bulk *k = arg;
    const struct row *a = x, *b = y;
    const size_t n = a->key_n < b->key_n ? a->key_n : b->key_n;
    int c;

    if (a->part != b->part)
        return (a->part < b->part ? -1 : 1);
    if (a->head != b->head)
        return (a->head < b->head ? -1 : 1);
    c = memcmp(k->bytes.p + a->at, k->bytes.p + b->at, n);
    if (c != 0)
        return (c);
    if (a->key_n != b->key_n)
        return (a->key_n < b->key_n ? -1 : 1);
    return (a->at < b->at ? -1 : 1);
}

/* Rows [from, to) are of one part. */
static void fill(const struct ang_bulk *k, size_t from, size_t to, rocksdb_sstfilewriter_t *w, char **text) {
    for (size_t i = from; i < to && *text == NULL; i++) {
        const struct row *r = &k->rows[i];
        const char *p = (const char *)k->bytes.p + r->at;

        if (i + 1 < to && same_key(k, r, r + 1))
            continue;
        if (r->deleted)
            rocksdb_sstfilewriter_delete(w, p, r->key_n, text);
        else
            rocksdb_sstfilewriter_put(w, p, r->key_n, p + r->key_n, r->value_n, text);
    }
    if (*text == NULL)
        rocksdb_sstfilewriter_finish(w, text);
}

static void flush(struct ang_store_part *part, char **text) {
    rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();

    rocksdb_flushoptions_set_wait(o, 1);
    rocksdb_flush_cf(part->st->db, o, part->cf, text);
    rocksdb_flushoptions_destroy(o);
}

static void ingest(struct ang_store_part *part, const char *path, char **text) {
    rocksdb_ingestexternalfileoptions_t *o = rocksdb_ingestexternalfileoptions_create();

    rocksdb_ingestexternalfileoptions_set_move_files(o, 1);
    rocksdb_ingest_external_file_cf(part->st->db, part->cf, &path, 1, o, text);
    rocksdb_ingestexternalfileoptions_destroy(o);
}

static char *path_of(const struct ang_store_part *part) {
    char *path = ang_sprintf("%s/bulk-%s", part->st->path, part->name);

    for (char *s = path + strlen(part->st->path) + 1; *s != '\0'; s++)
        if (*s == '/')
            *s = '-';
    return (path);
}

static struct ang_err *write_part(const struct ang_bulk *k, struct ang_store_part *part, size_t from, size_t to) {
    rocksdb_envoptions_t *env = rocksdb_envoptions_create();
    rocksdb_options_t *o = rocksdb_options_create_copy(part->st->options);
    rocksdb_sstfilewriter_t *w;
    char *path = path_of(part), *text = NULL;

    rocksdb_options_set_compression(o, rocksdb_no_compression); /* it is merged soon */
    w = rocksdb_sstfilewriter_create(env, o);
    (void)unlink(path); /* of a process that was killed */
    rocksdb_sstfilewriter_open(w, path, &text);
    if (text == NULL)
        fill(k, from, to, w, &text);
    rocksdb_sstfilewriter_destroy(w);
    rocksdb_options_destroy(o);
    rocksdb_envoptions_destroy(env);
    if (text == NULL)
        flush(part, &text);
    if (text == NULL)
        ingest(part, path, &text);
    if (text != NULL)
        (void)unlink(path);
    free(path);
    return (text == NULL ? NULL : ang_err_from_rocks(&text, part->name, "take in a file of rows"));
}

struct ang_err *ang_bulk_write(struct ang_bulk *k) {
    struct ang_err *er = NULL;
    size_t from, to;

    qsort_r(k->rows, k->n_rows, sizeof *k->rows, by_key, k);
    for (from = 0; er == NULL && from < k->n_rows; from = to) {
        for (to = from + 1; to < k->n_rows && k->rows[to].part == k->rows[from].part; to++)
            ;
        er = write_part(k, k->parts[k->rows[from].part], from, to);
    }
    return (er);
}

void ang_bulk_put_into(const struct ang_bulk *k, rocksdb_writebatch_t *rows) {
    for (size_t i = 0; i < k->n_rows; i++) {
        const struct row *r = &k->rows[i];
        const char *p = (const char *)k->bytes.p + r->at;

        if (r->deleted)
            rocksdb_writebatch_delete_cf(rows, k->parts[r->part]->cf, p, r->key_n);
        else
            rocksdb_writebatch_put_cf(rows, k->parts[r->part]->cf, p, r->key_n, p + r->key_n, r->value_n);
    }
}
