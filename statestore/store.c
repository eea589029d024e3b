/* The database: options, lock, opening, closing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "statestore/store_priv.h"

#define MIN_MEMORY     (1 << 20)
#define INFO_LOG_FATAL 4

/* ---- options: README.md has the reasons in one place ---- */

static int64_t clamp(int64_t v, int64_t low, int64_t high) {
    return (v < low ? low : v > high ? high : v);
}

static void set_memory(rocksdb_options_t *o, int64_t memory) {
    const int64_t memtables = memory / 2;

    /* A column family may have one memtable that is being flushed beside the one in use: each gets at most half.  Small arena
     * blocks, or a quiet part would take a megabyte of the bound for a few rows. */
    rocksdb_options_set_db_write_buffer_size(o, (size_t)memtables);
    rocksdb_options_set_write_buffer_size(o, (size_t)(memtables / 2));
    rocksdb_options_set_arena_block_size(o, (size_t)clamp(memtables / 256, 4096, 65536));
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.02);
    rocksdb_options_set_memtable_whole_key_filtering(o, 1);
}

static void set_tables(rocksdb_options_t *o, rocksdb_cache_t *cache) {
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_whole_key_filtering(t, 1);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
    rocksdb_options_set_prefix_extractor(o, rocksdb_slicetransform_create_fixed_prefix(ANG_KEY_PREFIX));
}

static rocksdb_options_t *make_options(int64_t memory, rocksdb_cache_t *cache) {
    rocksdb_options_t *o = rocksdb_options_create();

    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_atomic_flush(o, 1);
    set_memory(o, memory);
    set_tables(o, cache);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_max_open_files(o, 256);
    rocksdb_options_set_paranoid_checks(o, 1); /* without it a flush that failed on a full disk is never tried again */
    rocksdb_options_set_level0_file_num_compaction_trigger(
        o, 8); /* files are small, and roots come in any order: merged seldom */
    rocksdb_options_set_level0_slowdown_writes_trigger(o, 1 << 20); /* writes wait for memtables, not for compaction: */
    rocksdb_options_set_level0_stop_writes_trigger(o, 1 << 20);     /* a rebuild is one long burst */
    rocksdb_options_set_soft_pending_compaction_bytes_limit(o, 0);
    rocksdb_options_set_hard_pending_compaction_bytes_limit(o, 0);
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    /* A log file of RocksDB that meets a full disk ends the process where RocksDB was built with asserts, as Debian's is: so
     * nothing goes there.  A limit of its size would bring back the lines that no level keeps out. */
    rocksdb_options_set_info_log_level(o, INFO_LOG_FATAL);
    rocksdb_options_set_keep_log_file_num(o, 2);
    return (o);
}

/* ---- folder and lock ---- */

static struct ang_err *make_folder(const char *path) {
    char *p = ang_strdup(path);
    struct ang_err *er = NULL;

    for (char *s = p + 1; er == NULL; s++) {
        const char c = *s;
        if (c != '/' && c != '\0')
            continue;
        *s = '\0';
        if (mkdir(p, 0750) != 0 && errno != EEXIST)
            er = ang_err_new(ANG_E_STORE_IO, "state store %s: cannot make the folder %s: %s", path, p, strerror(errno));
        *s = c;
        if (c == '\0')
            break;
    }
    free(p);
    return (er);
}

/* Our own lock beside that of RocksDB: it must be held before anything is read, for a database that somebody else is writing
 * can look damaged. */
static struct ang_err *take_lock(struct ang_store *st) {
    char *file = ang_sprintf("%s/lock", st->path);
    struct ang_err *er = NULL;

    st->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (st->lock_fd < 0)
        er = ang_err_new(ANG_E_STORE_IO, "state store %s: cannot open %s: %s", st->path, file, strerror(errno));
    else if (flock(st->lock_fd, LOCK_EX | LOCK_NB) != 0)
        er = errno == EWOULDBLOCK
                 ? ang_err_new(ANG_E_STORE_LOCKED, "state store %s: another process holds %s", st->path, file)
                 : ang_err_new(ANG_E_STORE_IO, "state store %s: cannot lock %s: %s", st->path, file, strerror(errno));
    free(file);
    return (er);
}

/* ---- opening ---- */

/* The names of the column families; a database that is not there yet has just the one RocksDB insists on. */
static struct ang_err *list_families(struct ang_store *st, char ***ret_names, size_t *ret_n) {
    char *current = ang_sprintf("%s/CURRENT", st->db_path), *text = NULL;
    const bool there = access(current, F_OK) == 0;
    char **names;
    size_t n = 0;

    free(current);
    *ret_names = NULL;
    *ret_n = 0;
    if (!there)
        return (NULL);
    names = rocksdb_list_column_families(st->options, st->db_path, &n, &text);
    if (text != NULL) {
        if (names != NULL)
            rocksdb_list_column_families_destroy(names, n); /* of no length, but allocated */
        return (ang_err_from_rocks(&text, st->db_path, "list what is stored"));
    }
    *ret_names = names;
    *ret_n = n;
    return (NULL);
}

static void open_families(struct ang_store *st, const char *const *names, size_t n, char **ret_text) {
    const rocksdb_options_t **options = ang_calloc(n, sizeof(*options));
    rocksdb_column_family_handle_t **handles = ang_calloc(n, sizeof(rocksdb_column_family_handle_t *));

    for (size_t i = 0; i < n; i++)
        options[i] = st->options;
    st->db = rocksdb_open_column_families(st->options, st->db_path, (int)n, names, options, handles, ret_text);
    if (*ret_text == NULL) {
        for (size_t i = 0; i < n; i++) {
            if (strcmp(names[i], "default") == 0)
                st->unused = handles[i];
            else
                (void)ang_part_new(st, names[i], handles[i]);
        }
    } else {
        st->db = NULL;
    }
    free(handles);
    free(options);
}

struct ang_err *ang_store_open_db(struct ang_store *st) {
    static const char *const only_default[] = {"default"};
    struct ang_err *er;
    char **names, *text = NULL;
    size_t n;

    er = list_families(st, &names, &n);
    if (er != NULL)
        return (er);
    for (int compressed = 1; compressed >= 0; compressed--) {
        rocksdb_options_set_compression(st->options, compressed ? rocksdb_lz4_compression : rocksdb_no_compression);
        open_families(st, n == 0 ? only_default : (const char *const *)names, n == 0 ? 1 : n, &text);
        if (text == NULL || !compressed || strstr(text, "not linked") == NULL)
            break;
        rocksdb_free(text);
        text = NULL;
    }
    if (names != NULL)
        rocksdb_list_column_families_destroy(names, n);
    return (text == NULL ? NULL : ang_err_from_rocks(&text, st->db_path, "open"));
}

void ang_store_close_db(struct ang_store *st) {
    struct ang_store_part *part;

    while ((part = st->parts) != NULL) {
        AZ(part->open);
        st->parts = part->next;
        ang_part_free(part);
    }
    if (st->unused != NULL)
        rocksdb_column_family_handle_destroy(st->unused);
    if (st->db != NULL)
        rocksdb_close(st->db); /* flushes all memtables in one step, as their writes had no WAL */
    st->unused = NULL;
    st->db = NULL;
}

/* Whether an empty database would open where this one does not: not when the disk, rights or limits are the trouble. */
static bool is_damage(const struct ang_err *er) {
    static const char *const texts[] = {"No such file", "Invalid argument", "Not implemented", "NotFound"};

    if (er->code == ANG_E_STORE_CORRUPT)
        return (true);
    for (size_t i = 0; i < ANG_COUNT(texts); i++)
        if (er->code == ANG_E_STORE_IO && strstr(er->msg, texts[i]) != NULL)
            return (true);
    return (false);
}

/* Takes *er. */
static struct ang_err *move_aside(struct ang_store *st, struct ang_err **er) {
    char *to = ang_sprintf("%s.damaged-%lld", st->db_path, (long long)ang_wall_ms());
    struct ang_err *failed = NULL;

    if (rename(st->db_path, to) == 0) {
        ANG_LOG(ANG_LOG_WARN, "STORE-DAMAGED",
                "the state store does not open: it was moved aside and is rebuilt from the log", "path", st->db_path,
                "moved_to", to, "error", (*er)->msg);
        ang_err_free(er);
    } else {
        failed = ang_err_wrap(er, "cannot move the damaged state store to %s (%s)", to, strerror(errno));
    }
    free(to);
    return (failed);
}

/* Opens; drops parts whose files are what keeps it from opening; at last moves all of it aside. */
static struct ang_err *open_or_repair(struct ang_store *st) {
    struct ang_err *er = ang_repair_noted(st);
    bool repaired = true;

    if (er == NULL)
        er = ang_store_open_db(st);
    while (er != NULL && is_damage(er) && repaired) {
        repaired = ang_repair_part(st, er->msg);
        if (repaired) {
            ang_err_free(&er);
            er = ang_store_open_db(st);
        }
    }
    if (er != NULL && is_damage(er)) {
        er = move_aside(st, &er);
        if (er == NULL)
            er = ang_store_open_db(st);
    }
    return (er);
}

struct ang_err *ang_store_open(const char *path, int64_t memory, struct ang_store **ret_st) {
    struct ang_store *st = ANG_NEW(struct ang_store);
    struct ang_err *er;

    if (memory < MIN_MEMORY)
        memory = MIN_MEMORY;
    st->magic = ANG_STORE_MAGIC;
    st->path = ang_strdup(path);
    st->db_path = ang_sprintf("%s/db", path);
    st->lock_fd = -1;
    ANG_PT(pthread_mutex_init(&st->lock, NULL));
    st->cache = rocksdb_cache_create_lru((size_t)(memory / 2));
    st->options = make_options(memory, st->cache);
    st->point = rocksdb_readoptions_create();
    st->writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(st->writing, 1);
    rocksdb_writeoptions_set_no_slowdown(st->writing, 1);
    er = make_folder(st->db_path);
    if (er == NULL)
        er = take_lock(st);
    if (er == NULL)
        er = open_or_repair(st);
    if (er != NULL) {
        ang_store_close(st);
        return (er);
    }
    *ret_st = st;
    return (NULL);
}

void ang_store_close(struct ang_store *st) {
    if (st == NULL)
        return;
    ANG_CHECK(st, ANG_STORE_MAGIC);
    ang_store_close_db(st);
    rocksdb_writeoptions_destroy(st->writing);
    rocksdb_readoptions_destroy(st->point);
    rocksdb_options_destroy(st->options);
    rocksdb_cache_destroy(st->cache);
    if (st->lock_fd >= 0)
        AZ(close(st->lock_fd));
    ANG_PT(pthread_mutex_destroy(&st->lock));
    free(st->db_path);
    free(st->path);
    st->magic = 0;
    free(st);
}

static uint64_t property(struct ang_store *st, rocksdb_column_family_handle_t *cf, const char *name) {
    uint64_t v;

    return (rocksdb_property_int_cf(st->db, cf, name, &v) == 0 ? v : 0);
}

/* Adds what the part has; its column family is held in place. */
static void add_part(struct ang_store_part *part, struct ang_store_stats *s) {
    if (part->cf == NULL)
        return;
    s->parts++;
    s->memtable_bytes += property(part->st, part->cf, "rocksdb.size-all-mem-tables");
    s->disk_bytes += property(part->st, part->cf, "rocksdb.total-sst-files-size");
}

static void add_whole(struct ang_store *st, struct ang_store_stats *s) {
    s->cache_bytes = rocksdb_cache_get_usage(st->cache);
    s->background_errors = property(st, st->unused, "rocksdb.background-errors");
}

void ang_store_stats(struct ang_store *st, struct ang_store_stats *ret_stats) {
    struct ang_store_stats s = {0};

    ANG_CHECK(st, ANG_STORE_MAGIC);
    add_whole(st, &s);
    ANG_PT(pthread_mutex_lock(&st->lock));
    for (struct ang_store_part *part = st->parts; part != NULL; part = part->next) {
        ANG_PT(pthread_rwlock_rdlock(&part->use));
        add_part(part, &s);
        ANG_PT(pthread_rwlock_unlock(&part->use));
    }
    ANG_PT(pthread_mutex_unlock(&st->lock));
    *ret_stats = s;
}

bool ang_store_stats_now(struct ang_store *st, struct ang_store_stats *ret_stats) {
    struct ang_store_stats s = {0};
    bool all = true;

    ANG_CHECK(st, ANG_STORE_MAGIC);
    if (pthread_mutex_trylock(&st->lock) != 0)
        return (false);
    for (struct ang_store_part *part = st->parts; part != NULL && all; part = part->next) {
        all = pthread_rwlock_tryrdlock(&part->use) == 0;
        if (!all)
            break;
        add_part(part, &s);
        ANG_PT(pthread_rwlock_unlock(&part->use));
    }
    ANG_PT(pthread_mutex_unlock(&st->lock));
    if (!all)
        return (false);
    add_whole(st, &s);
    *ret_stats = s;
    return (true);
}
