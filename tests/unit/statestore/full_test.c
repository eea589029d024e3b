/* A full disk: errors, no end of the process, and all is well when there is room.  This program's own write() stands in front of
 * libc's, also for RocksDB, and finds no room for tables and for RocksDB's own log file. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>

#include "scratch.h"

#define WAIT_MS 120000

static atomic_bool full;
static char big[20000];

static bool ends_in(const char *path, size_t n, const char *end) {
    const size_t k = strlen(end);

    return (n >= k && memcmp(path + n - k, end, k) == 0);
}

ssize_t write(int fd, const void *p, size_t n) {
    static ssize_t (*real)(int, const void *, size_t);
    char link[64], path[512];
    ssize_t k;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    if (atomic_load(&full)) {
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        k = readlink(link, path, sizeof(path));
        if (k > 0 && (ends_in(path, (size_t)k, ".sst") || ends_in(path, (size_t)k, "/LOG"))) {
            errno = ENOSPC;
            return (-1);
        }
    }
    return (real(fd, p, n));
}

static struct ang_err *write_one(struct ang_store *st, struct ang_store_part *part, uint32_t i) {
    struct ang_store_batch *b = ang_store_batch_new(st);
    const struct ang_root root = root_of(i, "");
    struct ang_err *er;

    put_book(b, part, &root, 0, 1, big, "c");
    er = ang_store_write(b);
    ang_store_batch_free(b);
    return (er);
}

/* What a worker does about an error, until it works; without room a reset may go either way. */
static bool reset(struct ang_store_part *part) {
    struct ang_err *er = ang_store_part_reset(part);
    const bool ok = er == NULL;

    if (!ok && er->code != ANG_E_STORE_IO)
        fail_msg("%s: %s", ang_err_name(er->code), er->msg);
    ang_err_free(&er);
    return (ok);
}

static void test_a_full_disk_and_room_again(void **state) {
    char *path = scratch_new();
    const struct ang_root root = root_of(0, "");
    struct ang_store *st;
    struct ang_store_part *part;
    struct ang_err *er = NULL;
    uint32_t next = 0;
    int64_t until;

    memset(big, 'x', sizeof(big) - 1);
    OK(ang_store_open(path, 1 << 20, &st));
    part = open_part(st, "order", 0);
    atomic_store(&full, true);
    for (uint32_t i = 0; er == NULL && i < 10000; i++)
        er = write_one(st, part, i);
    assert_non_null(er); /* else no table was written and the test proved nothing */
    assert_int_equal(er->code, ANG_E_STORE_IO);
    ang_err_free(&er);
    for (int i = 0; i < 40; i++)
        (void)reset(part);
    atomic_store(&full, false);
    for (until = ang_now_ms() + WAIT_MS; !reset(part); usleep(50000))
        assert_true(ang_now_ms() < until);
    OK(write_one(st, part, 0));
    OK(ang_store_next_sequence(part, &root, &next));
    assert_int_equal(next, 1);
    ang_store_part_close(part);
    ang_store_close(st);
    scratch_free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_full_disk_and_room_again)};
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
