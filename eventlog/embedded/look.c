/* Looking at a folder that another process may be writing to: what it has committed, and when we know.
 *
 * A secondary instance of RocksDB reads the files of the folder: the tables, and of what is not in tables yet the write-ahead log.  A
 * transaction is one entry there, records and positions together, so it is seen whole or not at all.  But it is seen as soon as it is
 * written, while it counts only once it is synced: until then a loss of power takes it back, and the process itself shows it to nobody (its
 * part->end).  We cannot see how far that process has synced.  So we sync what we have read ourselves, before our part->end says that
 * it is there: whichever of the two syncs ended first, it is on the disk, and no restart takes it back.
 *
 * Two things follow.  We may show a commit some milliseconds before its own process does.  And when its sync fails, the process says that
 * nobody knows whether it is there (LOG_IO, until it is started anew), whereas we may show it: the next start tells. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "eventlog/embedded/embedded_priv.h"

#define TRIES 5 /* a file may go while it is looked for */

static struct ang_err *sync_err(const struct ang_emb *emb, const char *name) {
    /* A file that went: what it held is in tables, which were synced before.  A file system without sync has nothing to wait for. */
    if (errno == ENOENT || errno == EINVAL || errno == EROFS)
        return (NULL);
    return (ang_err_new(ANG_E_LOG_IO, "%s/%s: cannot be synced, so nobody knows whether what it holds will stay: %s",
                        emb->path, name, strerror(errno)));
}

static bool is_write_ahead(const char *name) {
    const size_t n = strlen(name);

    return (n > 4 && strcmp(name + n - 4, ".log") == 0);
}

static struct ang_err *sync_file(const struct ang_emb *emb, int dir, const char *name) {
    const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    struct ang_err *er = NULL;

    if (fd < 0 || fdatasync(fd) != 0)
        er = sync_err(emb, name);
    if (fd >= 0)
        (void)close(fd);
    return (er);
}

static struct ang_err *sync_folder(const struct ang_emb *emb) {
    DIR *dir = opendir(emb->path);
    struct ang_err *er = NULL;
    const struct dirent *e;

    if (dir == NULL)
        return (ang_err_new(ANG_E_LOG_IO, "log.path %s: %s", emb->path, strerror(errno)));
    while (er == NULL && (e = readdir(dir)) != NULL)
        if (is_write_ahead(e->d_name))
            er = sync_file(emb, dirfd(dir), e->d_name);
    if (er == NULL && fsync(dirfd(dir)) != 0)
        er = sync_err(emb, "");
    (void)closedir(dir);
    return (er);
}

static struct ang_err *catch_up(struct ang_emb *emb) {
    struct ang_err *er = NULL;
    char *msg = NULL;

    for (int i = 0; i < TRIES; i++) {
        ang_err_free(&er);
        rocksdb_try_catch_up_with_primary(emb->db, &msg);
        er = ang_emb_err(&msg, emb->path);
        if (er == NULL)
            break;
    }
    return (er);
}

struct ang_err *ang_emb_look(struct ang_emb *emb) {
    struct ang_err *er;
    uint64_t now;

    if (!emb->base.look)
        return (NULL);
    ANG_PT(pthread_rwlock_wrlock(&emb->look_lock));
    er = catch_up(emb);
    now = rocksdb_get_latest_sequence_number(emb->db);
    if (er == NULL && (now != emb->looked || now == 0)) {
        er = sync_folder(emb);
        if (er == NULL)
            er = ang_emb_topics_load(emb);
        if (er == NULL)
            emb->looked = now;
    }
    ANG_PT(pthread_rwlock_unlock(&emb->look_lock));
    return (er == NULL ? NULL : ang_err_wrap(&er, "looking at the log"));
}
