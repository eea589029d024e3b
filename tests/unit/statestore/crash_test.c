/* A child writes and is killed, again and again: what is found then is a prefix of what was written, the same in both parts. */
#include <signal.h>
#include <sys/wait.h>

#include "scratch.h"
#include "tests/unit/rounds.h"

#define ROOTS     97
#define PER_BATCH 20
#define TINY      (1 << 20)
#define KILLS     ROUNDS(10, 4)

/* Record o of the log: book o / ROOTS of root o % ROOTS, in each part. */
static void put_record(struct ang_store_batch *b, struct ang_store_part *part, int64_t o) {
    const struct ang_root root = root_of((uint32_t)(o % ROOTS), "");
    const struct ang_store_done done = {(uint32_t)(o / ROOTS), 1, o};
    char bytes[200], id[32];

    memset(bytes, 'a' + (int)(o % 26), sizeof(bytes) - 1);
    bytes[sizeof(bytes) - 1] = '\0';
    (void)snprintf(id, sizeof(id), "command-%lld", (long long)o);
    put_book(b, part, &root, (uint32_t)(o / ROOTS), 1, bytes, id);
    ang_store_put_done(b, part, &root, text(id), &done);
}

static int64_t position_of(struct ang_store_part *part) {
    int64_t offset;

    OK(ang_store_position(part, "log", &offset, NULL));
    return (offset < 0 ? 0 : offset);
}

static bool count_book(void *arg, const struct ang_store_book *book) {
    uint32_t *n = arg;

    assert_int_equal(book->first, *n);
    (*n)++;
    return (true);
}

static void assert_prefix(struct ang_store_part *part, int64_t position) {
    for (int64_t r = 0; r < ROOTS; r++) {
        const struct ang_root root = root_of((uint32_t)r, "");
        const uint32_t expected = (uint32_t)(position / ROOTS + (r < position % ROOTS));
        uint32_t next, books = 0;

        OK(ang_store_next_sequence(part, &root, &next));
        assert_int_equal(next, expected);
        OK(ang_store_books(part, &root, 0, count_book, &books));
        assert_int_equal(books, expected);
    }
    for (int64_t o = position > 50 ? position - 50 : 0; o < position + 50; o++) {
        const struct ang_root root = root_of((uint32_t)(o % ROOTS), "");
        struct ang_store_done done;
        char id[32];
        bool found;

        (void)snprintf(id, sizeof(id), "command-%lld", (long long)o);
        OK(ang_store_done(part, &root, text(id), &done, &found));
        assert_int_equal(found, o < position);
    }
}

/* Goes on where the store is; tells the parent the position after each write. */
static void write_until_killed(const char *path, int report) {
    struct ang_store *st;
    struct ang_store_part *parts[2];
    struct ang_store_batch *b;
    int64_t o;

    AZ(ang_store_open(path, TINY, &st));
    for (int i = 0; i < 2; i++)
        AZ(ang_store_part_open(st, "order", i, "cluster angzarr. test", A_DAY, &parts[i]));
    b = ang_store_batch_new(st);
    for (o = position_of(parts[0]);;) {
        for (int i = 0; i < 2; i++) {
            for (int j = 0; j < PER_BATCH; j++)
                put_record(b, parts[i], o + j);
            ang_store_put_position(b, parts[i], "log", o + PER_BATCH, ANG_SLICE_NONE);
        }
        o += PER_BATCH;
        AZ(ang_store_write(b));
        ang_store_batch_clear(b);
        AN(write(report, &o, sizeof(o)) == sizeof(o));
    }
}

static void test_killed_again_and_again(void **state) {
    char *path = scratch_new();
    int64_t before = 0, grown = 0;

    for (int round = 0; round < KILLS; round++) {
        struct ang_store *st;
        struct ang_store_part *parts[2];
        int64_t written = 0, found[2];
        int fds[2], status;
        pid_t child;

        AZ(pipe(fds));
        child = fork();
        if (child == 0) {
            char report[16];
            (void)snprintf(report, sizeof(report), "%d", fds[1]);
            (void)execl("/proc/self/exe", "crash_test", path, report, (char *)NULL);
            _exit(127);
        }
        (void)close(fds[1]);
        while (written < before + 4000 + 313 * round) /* some flushes of the tiny memtables lie in between */
            if (read(fds[0], &written, sizeof(written)) != sizeof(written))
                fail_msg("the writer ended by itself");
        AZ(kill(child, SIGKILL));
        assert_int_equal(waitpid(child, &status, 0), child);
        while (read(fds[0], &written, sizeof(written)) == sizeof(written))
            continue;
        (void)close(fds[0]);

        OK(ang_store_open(path, TINY, &st));
        for (int i = 0; i < 2; i++) {
            parts[i] = open_part(st, "order", i);
            found[i] = position_of(parts[i]);
            assert_true(found[i] >= before && found[i] <= written + PER_BATCH);
            assert_int_equal(found[i] % PER_BATCH, 0);
            assert_prefix(parts[i], found[i]);
        }
        assert_int_equal(found[0], found[1]);
        grown += found[0] > before;
        before = found[0];
        for (int i = 0; i < 2; i++)
            ang_store_part_close(parts[i]);
        ang_store_close(st);
    }
    assert_true(grown >= KILLS - KILLS / 4); /* else nothing was flushed and the test proved nothing */
    scratch_free(path);
}

/* With arguments it is the writer: a process of its own, since threads of RocksDB do not survive a fork. */
int main(int argc, char **argv) {
    if (argc == 3)
        write_until_killed(argv[1], atoi(argv[2]));
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed_again_and_again)};
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
