/* RocksDB: opening it, and its errors as ours.  The only place that reads RocksDB's messages. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "eventlog/embedded/embedded_priv.h"

#define WRITE_BUFFER (16u << 20) /* also what is replayed after a crash, about */
#define BLOCK_CACHE  (16u << 20)

struct ang_err *ang_emb_err(char **errptr, const char *what) {
    enum ang_ec code = ANG_E_LOG_IO;
    struct ang_err *er;
    const char *msg = *errptr;

    if (msg == NULL)
        return (NULL);
    /* the C interface has no codes */
    if (strstr(msg, "No space left") != NULL || strstr(msg, "Disk quota exceeded") != NULL ||
        strstr(msg, "NoSpace") != NULL)
        code = ANG_E_LOG_NO_SPACE;
    else if (strstr(msg, "lock hold by current process") != NULL || strstr(msg, "While lock file") != NULL)
        code = ANG_E_STORE_LOCKED;
    er = ang_err_new(code, "%s: %s", what, msg);
    rocksdb_free(*errptr);
    *errptr = NULL;
    return (er);
}

struct ang_err *ang_emb_get(struct ang_emb *emb, struct ang_slice key, struct ang_buf *ret_val, bool *ret_found) {
    char *msg = NULL;
    rocksdb_pinnableslice_t *pin = rocksdb_get_pinned(emb->db, emb->ropt, (const char *)key.p, key.n, &msg);
    struct ang_err *er = ang_emb_err(&msg, emb->path);

    if (er != NULL)
        return (er);
    ang_buf_clear(ret_val);
    *ret_found = pin != NULL;
    if (pin != NULL) {
        size_t n;
        const char *p = rocksdb_pinnableslice_value(pin, &n);

        ang_buf_add(ret_val, p, n);
        rocksdb_pinnableslice_destroy(pin);
    }
    return (NULL);
}

static struct ang_err *make_folder(const char *path) {
    char *copy = ang_strdup(path);
    struct ang_err *er = NULL;

    for (char *p = copy + 1; er == NULL; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            er = ang_err_new(errno == ENOSPC ? ANG_E_LOG_NO_SPACE : ANG_E_LOG_IO,
                             "log.path: cannot create the folder %s: %s", copy, strerror(errno));
        *p = c;
        if (c == '\0')
            break;
    }
    free(copy);
    return (er);
}

static void make_options(struct ang_emb *emb) {
    emb->cache = rocksdb_cache_create_lru(BLOCK_CACHE);
    emb->table_opt = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(emb->table_opt, emb->cache);
    /* most look-ups in the index of keys find nothing */
    rocksdb_block_based_options_set_filter_policy(emb->table_opt, rocksdb_filterpolicy_create_bloom_full(10));
    emb->opt = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(emb->opt, 1);
    rocksdb_options_set_block_based_table_factory(emb->opt, emb->table_opt);
    rocksdb_options_set_write_buffer_size(emb->opt, WRITE_BUFFER);
    rocksdb_options_set_max_write_buffer_number(emb->opt, 4);
    rocksdb_options_set_compression(emb->opt, rocksdb_lz4_compression);
    rocksdb_options_set_max_background_jobs(emb->opt, 2);
    rocksdb_options_set_max_open_files(emb->opt, 256);
    rocksdb_options_set_keep_log_file_num(emb->opt, 2);
    rocksdb_options_set_info_log_level(emb->opt, 2); /* warnings */
    /* nothing of it wakes up by itself */
    rocksdb_options_set_stats_dump_period_sec(emb->opt, 0);
    rocksdb_options_set_stats_persist_period_sec(emb->opt, 0);
    rocksdb_options_set_wal_recovery_mode(emb->opt, rocksdb_point_in_time_recovery);
    emb->wopt = rocksdb_writeoptions_create();
    emb->ropt = rocksdb_readoptions_create();
}

struct ang_err *ang_emb_db_open(struct ang_emb *emb) {
    char *msg = NULL;
    struct ang_err *er = make_folder(emb->path);

    if (er != NULL)
        return (er);
    make_options(emb);
    emb->db = rocksdb_open(emb->opt, emb->path, &msg);
    er = ang_emb_err(&msg, emb->path);
    if (er != NULL && er->code == ANG_E_STORE_LOCKED) {
        ang_err_free(&er);
        er = ang_err_new(ANG_E_STORE_LOCKED,
                         "log.path %s is in use by another process: stop it, or give this one another log.path",
                         emb->path);
    }
    return (er);
}

void ang_emb_db_close(struct ang_emb *emb) {
    if (emb->db != NULL)
        rocksdb_close(emb->db);
    emb->db = NULL;
    if (emb->opt == NULL)
        return;
    rocksdb_readoptions_destroy(emb->ropt);
    rocksdb_writeoptions_destroy(emb->wopt);
    rocksdb_options_destroy(emb->opt);
    rocksdb_block_based_options_destroy(emb->table_opt);
    rocksdb_cache_destroy(emb->cache);
    emb->opt = NULL;
}
