/* Damage is reported as damage: never as "not found", never as a wrong answer; and only its own part suffers. */
#include "scratch.h"
#include "tests/unit/rounds.h"

#define ROOTS 400
#define TRIES ROUNDS(80, 16)

static void fill(struct ang_store *st, struct ang_store_part *part) {
    struct ang_store_batch *b = ang_store_batch_new(st);
    char bytes[150], id[40];

    for (uint32_t i = 0; i < ROOTS; i++) {
        const struct ang_root root = root_of(i, "");
        const struct ang_store_done done = {0, 2, i};
        for (size_t j = 0; j < sizeof(bytes) - 1; j++)
            bytes[j] = (char)('!' + (i * 2654435761u >> (j % 24)) % 90);
        bytes[sizeof(bytes) - 1] = '\0';
        (void)snprintf(id, sizeof(id), "command-%u", i);
        put_book(b, part, &root, 0, 2, bytes, id);
        ang_store_put_done(b, part, &root, text(id), &done);
        ang_store_put_snapshot(b, part, &root, text(bytes));
    }
    ang_store_put_position(b, part, "log", ROOTS, ANG_SLICE_NONE);
    OK(ang_store_write(b));
    ang_store_batch_free(b);
}

static bool one_book(void *arg, const struct ang_store_book *book) {
    AN(book->first == 0 && book->pages == 2 && book->book.n == 149);
    (*(unsigned *)arg)++;
    return (true);
}

static bool one_root(void *arg, const struct ang_root *root) {
    (*(unsigned *)arg)++;
    return (true);
}

/* Counts reads that failed; one that says something other than what was written ends the test. */
static void damaged(struct ang_err *er, unsigned *errors) {
    assert_non_null(er);
    if (er->code != ANG_E_STORE_CORRUPT && er->code != ANG_E_STORE_IO)
        fail_msg("%s: %s", ang_err_name(er->code), er->msg);
    ang_err_free(&er);
    (*errors)++;
}

static unsigned read_everything(struct ang_store_part *part) {
    struct ang_buf snapshot = {0};
    struct ang_store_done done;
    struct ang_err *er;
    unsigned errors = 0, n;
    uint32_t next;
    int64_t position;
    char id[40];
    bool found;

    for (uint32_t i = 0; i < ROOTS; i++) {
        const struct ang_root root = root_of(i, "");
        (void)snprintf(id, sizeof(id), "command-%u", i);
        if ((er = ang_store_next_sequence(part, &root, &next)) != NULL)
            damaged(er, &errors);
        else
            assert_int_equal(next, 2);
        n = 0;
        if ((er = ang_store_books(part, &root, 0, one_book, &n)) != NULL)
            damaged(er, &errors);
        else
            assert_int_equal(n, 1);
        n = 0;
        if ((er = ang_store_books(part, &root, 1, one_book, &n)) != NULL)
            damaged(er, &errors);
        else
            assert_int_equal(n, 1);
        n = 0;
        if ((er = ang_store_by_correlation(part, text(id), NULL, one_root, &n)) != NULL)
            damaged(er, &errors);
        else
            assert_int_equal(n, 1);
        if ((er = ang_store_done(part, &root, text(id), &done, &found)) != NULL)
            damaged(er, &errors);
        else
            assert_true(found && done.time_ms == i);
        if ((er = ang_store_snapshot(part, &root, &snapshot, &found)) != NULL)
            damaged(er, &errors);
        else
            assert_true(found && snapshot.n == 149);
    }
    n = 0;
    if ((er = ang_store_roots(part, one_root, &n)) != NULL)
        damaged(er, &errors);
    else
        assert_int_equal(n, ROOTS);
    if ((er = ang_store_position(part, "log", &position, NULL)) != NULL)
        damaged(er, &errors);
    else
        assert_int_equal(position, ROOTS);
    ang_buf_fini(&snapshot);
    return (errors);
}

/* The largest table file below path/db. */
static char *table_file(const char *path, off_t *ret_size) {
    char *folder = ang_sprintf("%s/db", path), *best = NULL;
    DIR *d = opendir(folder);
    struct dirent *e;
    struct stat sb;

    *ret_size = 0;
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        char *file = ang_sprintf("%s/%s", folder, e->d_name);
        if (strstr(e->d_name, ".sst") != NULL && stat(file, &sb) == 0 && sb.st_size > *ret_size) {
            free(best);
            best = file;
            *ret_size = sb.st_size;
        } else {
            free(file);
        }
    }
    (void)closedir(d);
    free(folder);
    assert_non_null(best);
    return (best);
}

static void flip(const char *file, off_t at) {
    FILE *f = fopen(file, "r+b");
    int c;

    assert_non_null(f);
    AZ(fseeko(f, at, SEEK_SET));
    c = fgetc(f);
    AZ(fseeko(f, at, SEEK_SET));
    AN(fputc(c ^ 0x10, f) != EOF);
    AZ(fclose(f));
}

static char *filled_store(void) {
    char *path = scratch_new();
    struct ang_store *st;
    struct ang_store_part *part, *healthy;
    struct ang_store_batch *b;
    const struct ang_root root = root_of(1, "");

    OK(ang_store_open(path, MEMORY, &st));
    part = open_part(st, "order", 1);
    healthy = open_part(st, "order", 2);
    fill(st, part);
    b = ang_store_batch_new(st);
    put_book(b, healthy, &root, 0, 5, "x", "c");
    OK(ang_store_write(b));
    ang_store_batch_free(b);
    ang_store_part_close(part);
    ang_store_part_close(healthy);
    ang_store_close(st);
    return (path);
}

/* Opens, reads all of the damaged part, checks that the other one serves, heals the damaged one when `heal`. */
static unsigned errors_found(const char *path, bool heal, bool *ret_dropped) {
    const struct ang_root root = root_of(1, "");
    struct ang_store *st;
    struct ang_store_part *part, *healthy;
    unsigned errors = 0;
    uint32_t next;
    int64_t position = 0;
    struct ang_err *er;

    OK(ang_store_open(path, MEMORY, &st));
    healthy = open_part(st, "order", 2);
    OK(ang_store_next_sequence(healthy, &root, &next));
    assert_int_equal(next, 5);
    part = open_part(st, "order", 1);
    er = ang_store_position(part, "log", &position, NULL);
    *ret_dropped = er == NULL && position == -1; /* damaged where the identity lies: opening has dropped it */
    ang_err_free(&er);
    if (!*ret_dropped)
        errors = read_everything(part);
    if (heal) {
        OK(ang_store_part_reset(part));
        OK(ang_store_position(part, "log", &position, NULL));
        assert_int_equal(position, -1);
        fill(st, part);
        assert_int_equal(read_everything(part), 0);
    }
    OK(ang_store_next_sequence(healthy, &root, &next));
    assert_int_equal(next, 5);
    ang_store_part_close(part);
    ang_store_part_close(healthy);
    ang_store_close(st);
    return (errors);
}

static void test_a_flipped_bit_anywhere(void **state) {
    unsigned noticed = 0, dropped_at_open = 0;

    for (int i = 0; i < TRIES; i++) {
        char *path = filled_store();
        off_t size;
        char *file = table_file(path, &size);
        bool dropped;
        /* Half of them over the whole file, half over its end: index, filter, properties, footer. */
        const off_t at = i % 2 == 0 ? size * i / TRIES : size - 1 - (size / 8) * i / TRIES;

        flip(file, at);
        noticed += errors_found(path, true, &dropped) > 0;
        dropped_at_open += dropped;
        free(file);
        scratch_free(path);
    }
    print_message("%u of %d noticed by reads, %u when opened\n", noticed, TRIES, dropped_at_open);
    assert_true(noticed + dropped_at_open > TRIES / 2);
}

static void test_corrupt_by_name(void **state) {
    char *path = filled_store(), *file;
    const struct ang_root root = root_of(7, "");
    struct ang_store *st;
    struct ang_store_part *part;
    struct ang_buf snapshot = {0};
    unsigned n = 0, corrupt = 0;
    off_t size;
    uint32_t next;
    bool found;

    OK(ang_store_open(path, MEMORY, &st));
    part = open_part(st, "order", 1);
    file = table_file(path, &size);
    for (off_t at = 0; at < size * 3 / 4; at += 97) /* data blocks; index and identity are read already or stay whole */
        flip(file, at);
    struct ang_err *ers[] = {ang_store_books(part, &root, 0, one_book, &n), ang_store_roots(part, one_root, &n),
                             ang_store_prune(part, 0, 100000)};
    for (size_t i = 0; i < ANG_COUNT(ers); i++) {
        if (ers[i] == NULL || ers[i]->code != ANG_E_STORE_CORRUPT)
            fail_msg("read %zu: %s", i, ers[i] == NULL ? "no error" : ers[i]->msg);
        ang_err_free(&ers[i]);
    }
    for (uint32_t i = 0; i < ROOTS; i++) { /* a few lie in blocks that opening has read before the damage */
        const struct ang_root each = root_of(i, "");
        struct ang_err *er = ang_store_next_sequence(part, &each, &next);
        if (er == NULL)
            assert_int_equal(next, 2);
        else
            corrupt += er->code == ANG_E_STORE_CORRUPT;
        ang_err_free(&er);
        er = ang_store_snapshot(part, &each, &snapshot, &found);
        if (er == NULL)
            assert_true(found);
        else
            corrupt += er->code == ANG_E_STORE_CORRUPT;
        ang_err_free(&er);
    }
    assert_true(corrupt > ROOTS);
    OK(ang_store_part_reset(part));
    OK(ang_store_next_sequence(part, &root, &next));
    assert_int_equal(next, 0);
    fill(st, part);
    assert_int_equal(read_everything(part), 0);
    ang_store_part_close(part);
    ang_store_close(st);
    ang_buf_fini(&snapshot);
    free(file);
    scratch_free(path);
}

static void test_a_file_is_gone_or_short(void **state) {
    for (int i = 0; i < 3; i++) {
        char *path = filled_store();
        off_t size;
        char *file = table_file(path, &size);
        bool dropped;

        if (i == 0)
            AZ(unlink(file));
        else
            AZ(truncate(file, i == 1 ? 0 : size / 2));
        assert_true(errors_found(path, true, &dropped) > 0 || dropped);
        free(file);
        scratch_free(path);
    }
}

/* Compaction meets the damage first: then all writes stop, and the next start drops the damaged part and no other. */
static void test_compaction_meets_damage(void **state) {
    char *path = filled_store(), *file;
    struct ang_store *st;
    struct ang_store_part *part, *healthy;
    struct ang_store_batch *b;
    struct ang_err *er = NULL;
    const struct ang_root five = root_of(1, "");
    off_t size;
    uint32_t next;
    int64_t position;

    OK(ang_store_open(path, 1 << 20, &st));
    part = open_part(st, "order", 1);
    healthy = open_part(st, "order", 2);
    file = table_file(path, &size);
    for (off_t at = 0; at < size / 2; at += 97)
        flip(file, at);
    b = ang_store_batch_new(st);
    for (uint32_t i = 0; i < 40000 && er == NULL; i++) {
        const struct ang_root root = root_of(i % ROOTS, "");
        char bytes[400];
        for (size_t j = 0; j < sizeof(bytes) - 1; j++)
            bytes[j] = (char)('!' + (i * 2654435761u >> (j % 24)) % 90);
        bytes[sizeof(bytes) - 1] = '\0';
        put_book(b, part, &root, 2 + i / ROOTS, 1, bytes, "c");
        er = ang_store_write(b);
        ang_store_batch_clear(b);
    }
    assert_non_null(er); /* else compaction never met it and the test proved nothing */
    assert_int_equal(er->code, ANG_E_STORE_CORRUPT);
    assert_int_equal(er->cls, ANG_FATAL);
    ang_err_free(&er);
    put_book(b, healthy, &five, 5, 1, "after", "c");
    FAILS(ang_store_write(b), ANG_E_STORE_CORRUPT);
    OK(ang_store_next_sequence(healthy, &five, &next));
    assert_int_equal(next, 5);
    ang_store_batch_free(b);
    ang_store_part_close(part);
    ang_store_part_close(healthy);
    ang_store_close(st);

    OK(ang_store_open(path, MEMORY, &st));
    part = open_part(st, "order", 1);
    healthy = open_part(st, "order", 2);
    OK(ang_store_position(part, "log", &position, NULL));
    assert_int_equal(position, -1);
    fill(st, part);
    assert_int_equal(read_everything(part), 0);
    OK(ang_store_next_sequence(healthy, &five, &next));
    assert_int_equal(next, 5);
    ang_store_part_close(part);
    ang_store_part_close(healthy);
    ang_store_close(st);
    free(file);
    scratch_free(path);
}

static void test_a_database_that_does_not_open(void **state) {
    static const char *const bad[] = {"CURRENT with nonsense", "MANIFEST cut"};

    for (size_t i = 0; i < ANG_COUNT(bad); i++) {
        char *path = filled_store(), *current = ang_sprintf("%s/db/CURRENT", path), name[64] = "";
        struct ang_store *st;
        struct ang_store_part *part;
        int64_t position;
        bool aside = false;
        FILE *f;
        DIR *d;
        struct dirent *e;

        f = fopen(current, "r+");
        assert_non_null(f);
        assert_non_null(fgets(name, sizeof(name), f));
        if (i == 0) {
            rewind(f);
            AN(fputs("NONSENSE-1\n", f) >= 0);
        } else {
            char *manifest;
            name[strcspn(name, "\n")] = '\0';
            manifest = ang_sprintf("%s/db/%s", path, name);
            flip(manifest, 12);
            free(manifest);
        }
        AZ(fclose(f));
        OK(ang_store_open(path, MEMORY, &st));
        part = open_part(st, "order", 1);
        OK(ang_store_position(part, "log", &position, NULL));
        assert_int_equal(position, -1);
        ang_store_part_close(part);
        ang_store_close(st);
        d = opendir(path);
        assert_non_null(d);
        while ((e = readdir(d)) != NULL)
            aside |= strncmp(e->d_name, "db.damaged-", 11) == 0;
        (void)closedir(d);
        assert_true(aside);
        free(current);
        scratch_free(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_flipped_bit_anywhere),        cmocka_unit_test(test_corrupt_by_name),
        cmocka_unit_test(test_a_file_is_gone_or_short),       cmocka_unit_test(test_compaction_meets_damage),
        cmocka_unit_test(test_a_database_that_does_not_open),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
