/* Parts: identity, age, reset, sweep; batches over several parts; one process at a time. */
#include <sys/wait.h>

#include "scratch.h"

static void write_one(struct ang_store *st, struct ang_store_part *part) {
    struct ang_store_batch *b = ang_store_batch_new(st);
    const struct ang_root root = root_of(1, "");

    put_book(b, part, &root, 0, 3, "x", "c");
    ang_store_put_position(b, part, "t", 7, ANG_SLICE_NONE);
    OK(ang_store_write(b));
    ang_store_batch_free(b);
}

static uint32_t next_of(struct ang_store_part *part) {
    const struct ang_root root = root_of(1, "");
    uint32_t next;
    int64_t offset;

    OK(ang_store_next_sequence(part, &root, &next));
    OK(ang_store_position(part, "t", &offset, NULL));
    assert_int_equal(offset, next == 0 ? -1 : 7);
    return (next);
}

static void test_what_is_kept(void **state) {
    static const struct {
        const char *what, *identity;
        int64_t max_age_ms;
        bool restart, kept;
    } rows[] = {
        {"the same", "cluster p order/1", A_DAY, false, true},
        {"the same after a restart", "cluster p order/1", A_DAY, true, true},
        {"any age", "cluster p order/1", INT64_MAX, true, true},
        {"another cluster", "other p order/1", A_DAY, true, false},
        {"longer identity", "cluster p order/10", A_DAY, false, false},
        {"shorter identity", "cluster p order/", A_DAY, false, false},
        {"empty identity", "", A_DAY, false, false},
        {"too old", "cluster p order/1", 20, true, false},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        char *path = scratch_new();
        struct ang_store *st;
        struct ang_store_part *part, *healthy;

        OK(ang_store_open(path, MEMORY, &st));
        OK(ang_store_part_open(st, "order", 1, "cluster p order/1", A_DAY, &part));
        healthy = open_part(st, "order", 2);
        write_one(st, part);
        write_one(st, healthy);
        ang_store_part_close(part);
        if (rows[i].restart) {
            ang_store_part_close(healthy);
            ang_store_close(st);
            OK(ang_store_open(path, MEMORY, &st));
            healthy = open_part(st, "order", 2);
        }
        if (rows[i].max_age_ms < 1000) /* age is what this row is about: it has to pass */
            usleep(2000 * (unsigned)rows[i].max_age_ms);
        OK(ang_store_part_open(st, "order", 1, rows[i].identity, rows[i].max_age_ms, &part));
        if (next_of(part) != (rows[i].kept ? 3 : 0))
            fail_msg("%s: %s", rows[i].what, rows[i].kept ? "dropped" : "kept");
        assert_int_equal(next_of(healthy), 3);
        write_one(st, part);
        assert_int_equal(next_of(part), 3);
        ang_store_part_close(part);
        ang_store_part_close(healthy);
        ang_store_close(st);
        scratch_free(path);
    }
}

static void test_reset(void **state) {
    char *path = scratch_new();
    struct ang_store *st;
    struct ang_store_part *part, *healthy;
    struct ang_store_batch *b;
    const struct ang_root root = root_of(1, "");

    OK(ang_store_open(path, MEMORY, &st));
    part = open_part(st, "order", 1);
    healthy = open_part(st, "order", 2);
    write_one(st, part);
    write_one(st, healthy);
    b = ang_store_batch_new(st);
    put_book(b, part, &root, 3, 1, "late", "c");
    put_book(b, healthy, &root, 3, 1, "late", "c");
    OK(ang_store_part_reset(part));
    assert_int_equal(next_of(part), 0);
    assert_int_equal(next_of(healthy), 3);

    /* What was gathered for the old one must not reach the new one, nor stop the store. */
    FAILS(ang_store_write(b), ANG_E_STORE_IO);
    put_book(b, part, &root, 4, 1, "late", "c");
    FAILS(ang_store_write(b), ANG_E_STORE_IO);
    assert_int_equal(next_of(part), 0);
    assert_int_equal(next_of(healthy), 3);
    ang_store_batch_clear(b);
    put_book(b, part, &root, 0, 3, "new", "c");
    ang_store_put_position(b, part, "t", 7, ANG_SLICE_NONE);
    OK(ang_store_write(b));
    ang_store_batch_free(b);
    for (int i = 0; i < 5; i++)
        OK(ang_store_part_reset(healthy));
    assert_int_equal(next_of(healthy), 0);
    ang_store_part_close(part);
    ang_store_part_close(healthy);
    ang_store_close(st);

    OK(ang_store_open(path, MEMORY, &st));
    part = open_part(st, "order", 1);
    healthy = open_part(st, "order", 2);
    assert_int_equal(next_of(part), 3);
    assert_int_equal(next_of(healthy), 0);
    ang_store_part_close(part);
    ang_store_part_close(healthy);
    ang_store_close(st);
    scratch_free(path);
}

static void test_sweep(void **state) {
    char *path = scratch_new();
    struct ang_store *st;
    struct ang_store_part *parts[3];
    struct ang_store_stats stats;
    unsigned dropped = 9;

    OK(ang_store_open(path, MEMORY, &st));
    for (int i = 0; i < 3; i++) {
        parts[i] = open_part(st, "order", i);
        write_one(st, parts[i]);
    }
    ang_store_part_close(parts[1]);
    ang_store_part_close(parts[2]);
    OK(ang_store_sweep(st, A_DAY, &dropped));
    assert_int_equal(dropped, 0);
    parts[2] = open_part(st, "order", 2);
    ang_store_stats(st, &stats);
    assert_int_equal(stats.parts, 3);
    usleep(5000);
    OK(ang_store_sweep(st, 0, &dropped));
    assert_int_equal(dropped, 1);
    ang_store_stats(st, &stats);
    assert_int_equal(stats.parts, 2);
    assert_int_equal(next_of(parts[0]), 3);
    assert_int_equal(next_of(parts[2]), 3);
    parts[1] = open_part(st, "order", 1);
    assert_int_equal(next_of(parts[1]), 0);
    for (int i = 0; i < 3; i++)
        ang_store_part_close(parts[i]);
    ang_store_close(st);
    scratch_free(path);
}

static void test_one_process(void **state) {
    char *path = scratch_new();
    struct ang_store *st, *second;
    struct ang_store_part *part;
    int status;
    pid_t child;

    OK(ang_store_open(path, MEMORY, &st));
    part = open_part(st, "order", 1);
    write_one(st, part);
    FAILS(ang_store_open(path, MEMORY, &second), ANG_E_STORE_LOCKED);
    child = fork();
    if (child == 0) {
        struct ang_err *er = ang_store_open(path, MEMORY, &second);
        _exit(er != NULL && er->code == ANG_E_STORE_LOCKED ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(next_of(part), 3);
    ang_store_part_close(part);
    ang_store_close(st);
    OK(ang_store_open(path, MEMORY, &st));
    ang_store_close(st);
    scratch_free(path);
}

static void test_folders(void **state) {
    char *path = scratch_new(), *deep = ang_sprintf("%s/a/b/c", path), *file = ang_sprintf("%s/file", path),
         *under_file = ang_sprintf("%s/file/x", path);
    struct ang_store *st;
    FILE *f;

    OK(ang_store_open(deep, 0, &st));
    ang_store_close(st);
    f = fopen(file, "w");
    assert_non_null(f);
    (void)fclose(f);
    FAILS(ang_store_open(under_file, MEMORY, &st), ANG_E_STORE_IO);
    free(deep);
    free(file);
    free(under_file);
    scratch_free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_kept), cmocka_unit_test(test_reset),   cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_one_process),  cmocka_unit_test(test_folders),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
