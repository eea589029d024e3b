/* RocksDB: opening it, and its errors as ours.  The only place that reads RocksDB's messages. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "eventlog/embedded/embedded_priv.h"

#define WRITE_BUFFER    (16u << 20) /* also what is replayed after a crash, about */
#define BLOCK_CACHE     (16u << 20)
#define SPARE_ROOM      (4 << 20) /* beyond what opening writes */
#define REOPEN_EVERY_MS 500
#define INFO_LOG_FATAL  4
#define LOOK_TRIES      5

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

static struct ang_err *no_room(const struct ang_emb *emb) {
    return (ang_err_new(ANG_E_LOG_NO_SPACE, "%s: the disk is full, it takes %lld MiB of room to go on", emb->path,
                        (long long)(emb->reopen_room >> 20)));
}

struct ang_err *ang_emb_get(struct ang_emb *emb, struct ang_slice key, struct ang_buf *ret_val, bool *ret_found) {
    char *msg = NULL;
    rocksdb_pinnableslice_t *pin = NULL;
    struct ang_err *er;

    ang_buf_clear(ret_val);
    ANG_PT(pthread_rwlock_rdlock(&emb->db_lock));
    if (emb->db == NULL) {
        er = no_room(emb);
    } else {
        pin = rocksdb_get_pinned(emb->db, emb->ropt, (const char *)key.p, key.n, &msg);
        er = ang_emb_err(&msg, emb->path);
    }
    if (er == NULL)
        *ret_found = pin != NULL;
    if (pin != NULL) {
        size_t n;
        const char *p = rocksdb_pinnableslice_value(pin, &n);

        ang_buf_add(ret_val, p, n);
        rocksdb_pinnableslice_destroy(pin);
    }
    ANG_PT(pthread_rwlock_unlock(&emb->db_lock));
    return (er);
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
    /* Only what it writes at every opening: a log file of RocksDB that meets a full disk ends the process where RocksDB was
     * built with asserts, as Debian's is. */
    rocksdb_options_set_info_log_level(emb->opt, INFO_LOG_FATAL);
    /* nothing of it wakes up by itself */
    rocksdb_options_set_stats_dump_period_sec(emb->opt, 0);
    rocksdb_options_set_stats_persist_period_sec(emb->opt, 0);
    rocksdb_options_set_wal_recovery_mode(emb->opt, rocksdb_point_in_time_recovery);
    emb->wopt = rocksdb_writeoptions_create();
    emb->ropt = rocksdb_readoptions_create();
}

static bool room_is_there(const struct ang_emb *emb) {
    struct statvfs vfs;

    /* When nobody knows, opening will tell. */
    return (statvfs(emb->path, &vfs) != 0 || (int64_t)(vfs.f_bavail * vfs.f_frsize) >= emb->reopen_room);
}

struct ang_err *ang_emb_db_open(struct ang_emb *emb) {
    char *msg = NULL;
    struct ang_err *er = make_folder(emb->path);

    if (er != NULL)
        return (er);
    emb->reopen_room = SPARE_ROOM;
    if (!room_is_there(emb))
        return (no_room(emb));
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

/* ---- looking ---- */

/* RocksDB wants a folder for the log lines of the secondary instance.  It opens its file there once, at the start, so the folder is taken
 * away again at once: nothing is left behind, however the process ends. */
static struct ang_err *make_spare_folder(char *ret_path, size_t size) {
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(ret_path, size, "%s/angzarr-look-XXXXXX", tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
    if (mkdtemp(ret_path) == NULL)
        return (ang_err_new(ANG_E_IO, "cannot create the folder %s, which looking at a log needs: %s", ret_path,
                            strerror(errno)));
    return (NULL);
}

static void remove_spare_folder(const char *path) {
    DIR *dir = opendir(path);
    const struct dirent *e;

    while (dir != NULL && (e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.')
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(path);
}

/* Without it there is no database, whatever else is in the folder. */
static struct ang_err *find_folder(const char *path) {
    char *name = ang_sprintf("%s/CURRENT", path);
    struct ang_err *er = NULL;

    if (access(name, R_OK) != 0)
        er = errno == ENOENT || errno == ENOTDIR
                 ? ang_err_new(ANG_E_LOG_UNREACHABLE, "log.path %s holds no log: correct it, or start what works on it",
                               path)
                 : ang_err_new(ANG_E_LOG_IO, "log.path: %s: %s", name, strerror(errno));
    free(name);
    return (er);
}

struct ang_err *ang_emb_db_open_look(struct ang_emb *emb) {
    char spare[4096];
    char *msg = NULL;
    struct ang_err *er = find_folder(emb->path);

    if (er == NULL)
        er = make_spare_folder(spare, sizeof spare);
    if (er != NULL)
        return (er);
    make_options(emb);
    rocksdb_options_set_create_if_missing(emb->opt, 0);
    /* The process that has the folder removes files that it no longer needs; those that are open can still be read. */
    rocksdb_options_set_max_open_files(emb->opt, -1);
    for (int i = 0; i < LOOK_TRIES && emb->db == NULL; i++) { /* a file may go while the list of files is read */
        ang_err_free(&er);
        emb->db = rocksdb_open_as_secondary(emb->opt, emb->path, spare, &msg);
        er = ang_emb_err(&msg, emb->path);
    }
    remove_spare_folder(spare);
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

/* ---- a full disk ----
 *
 * RocksDB resumes by itself after background work found no room, but not after its write-ahead file did: when its memory
 * happens to be empty it goes on with the file whose last entry is incomplete, at which a restart would stop reading (and
 * builds with its own asserts abort).  So after any write without room the database is closed and opened anew, which cuts
 * that entry off.  Opening writes out what was in memory, so it waits until there is room for that: until then readers go on. */

void ang_emb_db_full(struct ang_emb *emb) {
    emb->reopen_at = ang_now_ms() + REOPEN_EVERY_MS;
}

/* Asked each time: what RocksDB has meanwhile written out by itself needs no room any more. */
static int64_t room_needed(const struct ang_emb *emb) {
    uint64_t mem = 0;

    if (emb->db == NULL)
        return (emb->reopen_room);
    if (rocksdb_property_int(emb->db, "rocksdb.cur-size-all-mem-tables", &mem) != 0)
        mem = WRITE_BUFFER;
    return ((int64_t)mem + SPARE_ROOM);
}

struct ang_err *ang_emb_db_reopen(struct ang_emb *emb) {
    int64_t now = ang_now_ms();
    struct ang_err *er;
    char *msg = NULL;

    emb->reopen_room = room_needed(emb);
    if (now < emb->reopen_at || !room_is_there(emb))
        return (no_room(emb));
    emb->reopen_at = now + REOPEN_EVERY_MS;
    ANG_PT(pthread_rwlock_wrlock(&emb->db_lock));
    if (emb->db != NULL)
        rocksdb_close(emb->db);
    emb->db = rocksdb_open(emb->opt, emb->path, &msg);
    er = ang_emb_err(&msg, emb->path);
    ANG_PT(pthread_rwlock_unlock(&emb->db_lock));
    if (er == NULL) {
        ANG_LOG(ANG_LOG_INFO, "LOG-ROOM", "there is room on the disk of the log again", "path", emb->path);
        ang_emb_readers_wake_all(emb);
    }
    return (er);
}
