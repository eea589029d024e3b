/* The embedded log on a failing disk.  This program's own write() and fdatasync() stand in front of libc's, also for RocksDB,
 * and fail for the log's write-ahead files as a test wants. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contract.h"

static atomic_int write_errno; /* what writes fail with; 0 = they do not */
static atomic_long write_room; /* bytes that still fit before they fail */
static atomic_int write_slow;  /* ms that a write takes to fail */
static atomic_int sync_errno;
static atomic_bool only_new; /* write_errno holds for files in which nothing stands yet */

static bool is_wal(int fd) {
    char link[64], path[512];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    return (n > 4 && memcmp(path + n - 4, ".log", 4) == 0);
}

ssize_t write(int fd, const void *p, size_t n) {
    static ssize_t (*real)(int, const void *, size_t);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    if (atomic_load(&write_errno) != 0 && is_wal(fd) && (!atomic_load(&only_new) || lseek(fd, 0, SEEK_CUR) == 0)) {
        long room = atomic_load(&write_room);

        if (room <= 0) {
            usleep(1000 * (unsigned)atomic_load(&write_slow));
            errno = atomic_load(&write_errno);
            return (-1);
        }
        if ((size_t)room < n)
            n = (size_t)room;
        atomic_fetch_sub(&write_room, (long)n);
    }
    return (real(fd, p, n));
}

int fdatasync(int fd) {
    static int (*real)(int);

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    if (atomic_load(&sync_errno) != 0 && is_wal(fd)) {
        errno = atomic_load(&sync_errno);
        return (-1);
    }
    return (real(fd));
}

static int setup(void **state) {
    atomic_store(&write_errno, 0);
    atomic_store(&sync_errno, 0);
    atomic_store(&write_slow, 0);
    atomic_store(&only_new, false);
    return (ct_setup(state));
}

static int teardown(void **state) {
    atomic_store(&write_errno, 0);
    atomic_store(&sync_errno, 0);
    return (ct_teardown(state));
}

static void no_room(long bytes) {
    atomic_store(&write_room, bytes);
    atomic_store(&write_errno, ENOSPC);
}

struct lane {
    const struct ang_topic *in, *out;
    struct ang_log_token *tok;
    struct ang_log_writer *w;
};

static struct lane lane(struct ct *c) {
    struct lane l = {.in = ct_topic(c, "in", 1, false), .out = ct_topic(c, "out", 1, true)};

    l.tok = ct_token(c, ct_join(c, "g", l.in, "i"));
    l.w = ct_writer(c, "w");
    return (l);
}

static struct ang_err *commit(struct lane *l, const char *key, const char *value, int64_t position) {
    struct ang_out recs[2] = {ct_out(l->out, 0, key, value), ct_out(l->out, 0, "long", NULL)};
    static uint8_t filler[5000];

    recs[1].tombstone = false;
    recs[1].value = ang_slice_of(filler, sizeof filler);
    return (ct_commit(l->w, l->tok, recs, 2, l->in, 0, position));
}

/* Commits again until there is room; nothing else may go wrong. */
static void commit_when_possible(struct lane *l, const char *key, const char *value, int64_t position) {
    int64_t until = ang_now_ms() + CT_WAIT_MS;
    struct ang_err *er;

    while ((er = commit(l, key, value, position)) != NULL && ang_now_ms() < until) {
        assert_int_equal(er->code, ANG_E_LOG_NO_SPACE);
        assert_int_equal(er->cls, ANG_ABORT_TXN);
        ang_err_free(&er);
        usleep(50000);
    }
    ct_ok(er);
}

/* Values of all records but the filler. */
static void expect_log(struct ct *c, const struct ang_topic *out, const char *const *values, size_t n_values) {
    struct ang_log_reader *r = ct_reader(c, out, 0, ANG_OFFSET_BEGIN);
    struct ang_rec *recs[64];
    size_t n = 0, at = 0;

    ct_ok(ang_log_reader_poll(r, recs, 64, 0, &n));
    for (size_t i = 0; i < n; i++) {
        if (ang_slice_is(recs[i]->key, "long"))
            continue;
        assert_true(at < n_values);
        assert_true(ang_slice_is(recs[i]->value, values[at]));
        at++;
    }
    assert_int_equal(at, n_values);
    ct_free(recs, n);
}

/* With room for `bytes` of the transaction; then the disk has room again, or the process ends at once. */
static void out_of_room(void **state, long bytes, bool restart_at_once, bool fresh) {
    static const char *const before[] = {"one"}, *const after[] = {"one", "three", "four"};
    struct ct *c = *state;
    struct lane l = lane(c);

    ct_ok(commit(&l, "1", "one", 1));
    if (fresh) { /* so that RocksDB's memory is empty when the disk fills up */
        ct_reopen(c);
        l = lane(c);
    }
    no_room(bytes);
    assert_int_equal(ct_fails(commit(&l, "2", "two", 2), LOG_NO_SPACE), ANG_ABORT_TXN);
    expect_log(c, l.out, before, 1);
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), 1);
    if (restart_at_once) {
        ct_reopen(c);
        atomic_store(&write_errno, 0);
        l.in = ct_topic(c, "in", 1, false);
        l.out = ct_topic(c, "out", 1, true);
        expect_log(c, l.out, before, 1);
        assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), 1);
        l = lane(c);
    }
    atomic_store(&write_errno, 0);
    commit_when_possible(&l, "3", "three", 3);
    ct_ok(commit(&l, "4", "four", 4));
    expect_log(c, l.out, after, 3);
    ct_reopen(c);
    l = lane(c);
    expect_log(c, l.out, after, 3);
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), 4);
}

static void no_room_at_all(void **state) {
    out_of_room(state, 0, false, false);
}
static void room_for_half_a_transaction(void **state) {
    out_of_room(state, 3000, false, false);
}
static void room_for_half_with_nothing_in_memory(void **state) {
    out_of_room(state, 3000, false, true);
}
static void room_for_half_and_a_restart(void **state) {
    out_of_room(state, 3000, true, false);
}
static void room_for_none_and_a_restart(void **state) {
    out_of_room(state, 0, true, true);
}

/* RocksDB begins a new file each time its memory is full; this one has never been synced. */
static void no_room_for_a_new_file(void **state, bool restart_at_once) {
    struct ct *c = *state;
    struct lane l = lane(c);
    uint8_t *value = ang_calloc(1, 1 << 20);
    struct ang_err *er = NULL;
    int64_t n;

    atomic_store(&only_new, true);
    no_room(0);
    for (n = 0; er == NULL && n < 200; n++) {
        struct ang_out rec = ct_out(l.in, 0, "k", "");

        rec.value = ang_slice_of(value, 1 << 20);
        er = ct_commit(l.w, l.tok, &rec, 1, l.in, 0, n + 1);
    }
    free(value);
    assert_int_equal(ct_fails(er, LOG_NO_SPACE), ANG_ABORT_TXN);
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), n - 1);
    if (restart_at_once) {
        ct_reopen(c);
        atomic_store(&write_errno, 0);
        l = lane(c);
        assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), n - 1);
    } else {
        usleep(200000); /* what RocksDB does in the background meanwhile */
        atomic_store(&write_errno, 0);
    }
    commit_when_possible(&l, "k", "after", n + 1);
    ct_reopen(c);
    l = lane(c);
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), n + 1);
}

static void no_room_for_the_first_write_of_a_file(void **state) {
    no_room_for_a_new_file(state, false);
}
static void no_room_for_the_first_write_and_a_restart(void **state) {
    no_room_for_a_new_file(state, true);
}

static struct ang_err *append_er;
static atomic_int append_calls;
static void append_done(void *arg, struct ang_err *er, int64_t offset) {
    append_er = er == NULL ? NULL : ang_err_dup(er);
    atomic_fetch_add(&append_calls, 1);
}

static void appends_without_room_can_be_tried_again(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_out rec = ct_out(l.in, 0, "k", "lost"), again = ct_out(l.in, 0, "k", "found");
    int64_t until = ang_now_ms() + CT_WAIT_MS;
    bool ok = false;

    atomic_store(&append_calls, 0);
    no_room(10);
    ct_ok(ang_log_append(c->log, &rec, 5000, append_done, NULL));
    while (atomic_load(&append_calls) == 0)
        usleep(1000);
    assert_int_equal(ct_fails(append_er, LOG_NO_SPACE), ANG_RETRY);
    atomic_store(&write_errno, 0);
    while (!ok) {
        int calls = atomic_load(&append_calls);

        ct_ok(ang_log_append(c->log, &again, 5000, append_done, NULL));
        while (atomic_load(&append_calls) == calls)
            usleep(1000);
        ok = append_er == NULL;
        ang_err_free(&append_er);
        assert_true(ang_now_ms() < until);
        usleep(ok ? 0 : 50000);
    }
    CT_EXPECT(ct_reader(c, l.in, 0, ANG_OFFSET_BEGIN), "found");
    /* the sync in the background has not taken the want of room for a broken disk */
    usleep(50000);
    ct_ok(commit(&l, "1", "one", 1));
}

static void append_wait(struct ct *c, const struct ang_topic *tp) {
    struct ang_out rec = ct_out(tp, 0, "k", "v");
    int calls = atomic_load(&append_calls);

    ct_ok(ang_log_append(c->log, &rec, 5000, append_done, NULL));
    while (atomic_load(&append_calls) == calls)
        usleep(100);
}

/* The sync in the background comes due while a write is failing, in a file that was never synced. */
static void a_sync_that_finds_the_disk_full_waits_until_it_is_not(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);

    for (int round = 0; round < 3; round++) { /* a stalled machine may let the sync come first */
        int64_t until = ang_now_ms() + CT_WAIT_MS;

        ct_reopen(c);
        l.in = ct_topic(c, "in", 1, false);
        append_wait(c, l.in);
        ct_ok(append_er);
        no_room(0);
        atomic_store(&write_slow, 100);
        append_wait(c, l.in);
        assert_int_equal(ct_fails(append_er, LOG_NO_SPACE), ANG_RETRY);
        usleep(50000);
        atomic_store(&write_errno, 0);
        for (append_wait(c, l.in); append_er != NULL; append_wait(c, l.in)) {
            assert_int_equal(ct_fails(append_er, LOG_NO_SPACE), ANG_RETRY);
            assert_true(ang_now_ms() < until);
            usleep(50000);
        }
    }
    l = lane(c);
    ct_ok(commit(&l, "1", "one", 1));
}

static void a_failed_sync_leaves_the_outcome_open_and_stops_the_log(void **state) {
    static const char *const one[] = {"one"};
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_log_writer *w = NULL;
    struct ang_out rec;

    ct_ok(commit(&l, "1", "one", 1));
    atomic_store(&sync_errno, EIO);
    assert_int_equal(ct_fails(commit(&l, "2", "two", 2), LOG_UNKNOWN), ANG_UNKNOWN);
    expect_log(c, l.out, one, 1); /* nobody sees what may not be there */
    atomic_store(&sync_errno, 0);
    assert_int_equal(ct_fails(commit(&l, "3", "three", 3), LOG_IO), ANG_FATAL);
    ct_fails(ang_log_writer_open(c->log, "w2", 1000, &w), LOG_IO);
    rec = ct_out(l.in, 0, "k", "v");
    atomic_store(&append_calls, 0);
    ct_ok(ang_log_append(c->log, &rec, 5000, append_done, NULL));
    while (atomic_load(&append_calls) == 0)
        usleep(1000);
    ct_fails(append_er, LOG_IO);
    append_er = NULL;
    /* a restart settles it: the log says which of the two it is, records and position alike */
    ct_reopen(c);
    l = lane(c);
    {
        static const char *const two[] = {"one", "two"};
        int64_t position = ct_position(c, "g", l.in, 0, NULL, 0);

        assert_true(position == 1 || position == 2);
        expect_log(c, l.out, two, (size_t)position);
    }
    ct_ok(commit(&l, "4", "four", 4));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(no_room_at_all),
        T(room_for_half_a_transaction),
        T(room_for_half_with_nothing_in_memory),
        T(room_for_half_and_a_restart),
        T(room_for_none_and_a_restart),
        T(no_room_for_the_first_write_of_a_file),
        T(no_room_for_the_first_write_and_a_restart),
        T(appends_without_room_can_be_tried_again),
        T(a_sync_that_finds_the_disk_full_waits_until_it_is_not),
        T(a_failed_sync_leaves_the_outcome_open_and_stops_the_log),
    };
    struct ang_err *er = ang_log_setup("error,human");

    ang_err_free(&er);
    ct_use(false);
    return (cmocka_run_group_tests_name("embedded, failing disk", tests, NULL, NULL));
}
