/* Damage that stops more than the part it is in.
 *
 * Reads that meet a damaged file fail, and only those.  Two others concern everybody: a damaged file that keeps the database
 * from opening, and one that compaction meets, whereupon RocksDB refuses all writes until it is opened anew.  In both its
 * message names the file; the list of live files says whose it is; that part is dropped and the others are kept.
 *
 * After the second kind the process has to end, for what was not flushed is lost with the reopening: lanes must begin at
 * their stored positions again.  A note beside the database tells the next start which file it was. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "statestore/store_priv.h"

static char *note_path(const struct ang_store *st) {
    return (ang_sprintf("%s/damaged", st->path));
}

void ang_repair_note(struct ang_store *st, const char *text) {
    char *path = note_path(st);
    FILE *f = fopen(path, "we");

    if (f == NULL || fputs(text, f) == EOF || fflush(f) != 0)
        ANG_LOG(ANG_LOG_WARN, "STORE-NOTE",
                "cannot note which file is damaged: remove the state store if writes fail again", "path", path, "error",
                strerror(errno));
    if (f != NULL)
        (void)fclose(f);
    free(path);
}

/* The numbers of files are the runs of six and more digits behind a slash. */
static bool names_file(const char *text, const char *file) {
    const char *slash = strrchr(file, '/');
    const long long number = strtoll(slash == NULL ? file : slash + 1, NULL, 10);

    for (const char *s = strchr(text, '/'); s != NULL; s = strchr(s + 1, '/')) {
        char *end;
        if (isdigit((unsigned char)s[1]) && strtoll(s + 1, &end, 10) == number && end - s > 6 && *end == '.')
            return (true);
    }
    return (false);
}

/* Name of the column family, to be freed; NULL = no live file is named. */
static char *owner_of(struct ang_store *st, const char *text) {
    const rocksdb_livefiles_t *files = rocksdb_livefiles(st->db);
    char *name = NULL;

    for (int i = 0; name == NULL && i < rocksdb_livefiles_count(files); i++)
        if (names_file(text, rocksdb_livefiles_name(files, i)))
            name = ang_strdup(rocksdb_livefiles_column_family_name(files, i));
    rocksdb_livefiles_destroy(files);
    return (name);
}

static bool drop_owner(struct ang_store *st, const char *text) {
    char *name = owner_of(st, text), *failed = NULL;
    bool dropped = false;

    for (struct ang_store_part *part = st->parts; name != NULL && part != NULL; part = part->next) {
        if (strcmp(part->name, name) != 0)
            continue;
        rocksdb_drop_column_family(st->db, part->cf, &failed);
        dropped = failed == NULL;
        ANG_LOG(ANG_LOG_WARN, "STORE-DROPPED", "what is stored of a partition is dropped and rebuilt from the log",
                "part", name, "reason", text, "error", failed == NULL ? "" : failed);
        rocksdb_free(failed);
        break;
    }
    free(name);
    return (dropped);
}

bool ang_repair_part(struct ang_store *st, const char *text) {
    bool dropped = false;
    struct ang_err *er;

    /* Leniently, and without compaction, which would meet the damage again. */
    rocksdb_options_set_paranoid_checks(st->options, 0);
    rocksdb_options_set_disable_auto_compactions(st->options, 1);
    er = ang_store_open_db(st);
    if (er == NULL)
        dropped = drop_owner(st, text);
    ang_err_free(&er);
    ang_store_close_db(st);
    rocksdb_options_set_paranoid_checks(st->options, 1);
    rocksdb_options_set_disable_auto_compactions(st->options, 0);
    return (dropped);
}

struct ang_err *ang_repair_noted(struct ang_store *st) {
    char *path = note_path(st), text[4096];
    struct ang_err *er = NULL;
    FILE *f = fopen(path, "re");
    size_t n;

    if (f != NULL) {
        n = fread(text, 1, sizeof(text) - 1, f);
        text[n] = '\0';
        (void)fclose(f);
        (void)ang_repair_part(st, text); /* false: the file is gone already */
        if (unlink(path) != 0)
            er = ang_err_new(ANG_E_STORE_IO, "state store %s: cannot remove %s: %s", st->path, path, strerror(errno));
    }
    free(path);
    return (er);
}
