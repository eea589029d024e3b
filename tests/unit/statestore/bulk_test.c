/* A bulk batch leaves what the same calls leave through memtables, also for who comes after a kill. */
#include <stdlib.h>

#include "scratch.h"

#define ROOTS 6000
#define BOOKS 5

struct fixture {
    char *path;
    struct ang_store *st;
    struct ang_store_part *usual, *bulk;
};

static void open_all(struct fixture *f, const char *path) {
    OK(ang_store_open(path, MEMORY, &f->st));
    f->usual = open_part(f->st, "order", 0);
    f->bulk = open_part(f->st, "order", 1);
}

static void close_all(struct fixture *f) {
    ang_store_part_close(f->usual);
    ang_store_part_close(f->bulk);
    ang_store_close(f->st);
}

static struct ang_root nth(unsigned i) {
    return (root_of(i, i % 3 == 0 ? "what-if" : ""));
}

/* What a restore does: books in the order of the log, dedupe entries, snapshots, some taken away again, positions. */
static void fill(struct ang_store_batch *b, struct ang_store_part *part, unsigned from, unsigned to) {
    char bytes[200], text[40];
    unsigned i, k;

    for (k = 0; k < BOOKS; k++)
        for (i = from; i < to; i++) {
            const struct ang_root root = nth(i);
            const struct ang_store_done done = {.first = k, .pages = 1, .time_ms = i};
            struct ang_store_book book = {.first = k, .pages = 1, .time_ms = i};

            memset(bytes, (int)('a' + (i + k) % 26), sizeof bytes);
            book.book = ang_slice_of(bytes, 20 + (i * 7 + k) % 180);
            snprintf(text, sizeof text, "correlation-%u", i % 100);
            ang_store_put_book(b, part, &root, &book, ang_slice_str(text));
            snprintf(text, sizeof text, "command-%u-%u", i, k);
            ang_store_put_done(b, part, &root, ang_slice_str(text), &done);
            ang_store_put_snapshot(b, part, &root, ang_slice_of(bytes, k + 1));
            if (i % 50 == 0 && k == 2)
                ang_store_del_book(b, part, &root, 1);
            if (i % 70 == 0 && k == BOOKS - 1)
                ang_store_del_snapshot(b, part, &root);
        }
    ang_store_put_position(b, part, "events", to, ang_slice_str("set"));
}

static bool add_book(void *arg, const struct ang_store_book *book) {
    ang_buf_addf(arg, "%u+%u@%lld:%.*s ", book->first, book->pages, (long long)book->time_ms, (int)book->book.n,
                 (const char *)book->book.p);
    return (true);
}

static bool add_root(void *arg, const struct ang_root *root) {
    ang_buf_add(arg, root->id, sizeof root->id);
    ang_buf_add_slice(arg, root->edition);
    return (true);
}

static bool count_root(void *arg, const struct ang_root *root) {
    (void)root;
    ++*(unsigned *)arg;
    return (true);
}

/* All that can be asked, as one text. */
static void tell(struct ang_store_part *part, struct ang_buf *out) {
    struct ang_buf snapshot = {0}, meta = {0};
    struct ang_store_done done;
    unsigned i, n = 0;
    int64_t position;
    uint32_t next;
    char text[40];
    bool found;

    OK(ang_store_roots(part, add_root, out));
    for (i = 0; i < ROOTS; i++) {
        const struct ang_root root = nth(i);

        OK(ang_store_next_sequence(part, &root, &next));
        OK(ang_store_books(part, &root, 0, add_book, out));
        OK(ang_store_snapshot(part, &root, &snapshot, &found));
        ang_buf_addf(out, "next %u snapshot %d %zu ", next, found, snapshot.n);
        snprintf(text, sizeof text, "command-%u-%u", i, i % BOOKS);
        OK(ang_store_done(part, &root, ang_slice_str(text), &done, &found));
        ang_buf_addf(out, "done %d %u\n", found, found ? done.first : 0);
    }
    OK(ang_store_by_correlation(part, ang_slice_str("correlation-50"), NULL, count_root, &n));
    OK(ang_store_position(part, "events", &position, &meta));
    ang_buf_addf(out, "%u at %lld %.*s\n", n, (long long)position, (int)meta.n, (const char *)meta.p);
    ang_buf_fini(&snapshot);
    ang_buf_fini(&meta);
}

static void assert_same(struct fixture *f) {
    struct ang_buf a = {0}, b = {0};

    tell(f->usual, &a);
    tell(f->bulk, &b);
    assert_true(a.n > 100000);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    ang_buf_fini(&a);
    ang_buf_fini(&b);
}

static void write_both(struct fixture *f, unsigned from, unsigned to, bool big) {
    struct ang_store_batch *usual = ang_store_batch_new(f->st), *bulk = ang_store_batch_new_bulk(f->st);

    fill(usual, f->usual, from, to);
    fill(bulk, f->bulk, from, to);
    assert_true((ang_store_batch_bytes(bulk) >= ANG_STORE_BULK_BYTES) == big);
    OK(ang_store_write(usual));
    OK(ang_store_write(bulk));
    ang_store_batch_free(usual);
    ang_store_batch_free(bulk);
}

static int setup(void **state) {
    struct fixture *f = ANG_NEW(struct fixture);

    f->path = scratch_new();
    open_all(f, f->path);
    *state = f;
    return (0);
}

static int teardown(void **state) {
    struct fixture *f = *state;

    close_all(f);
    scratch_free(f->path);
    free(f);
    return (0);
}

static void test_the_same_as_through_memtables(void **state) {
    struct fixture *f = *state;

    write_both(f, 0, 10, false);
    write_both(f, 0, ROOTS, true); /* over what is there */
    write_both(f, 5, 20, false);   /* and over that again */
    assert_same(f);
    close_all(f);
    open_all(f, f->path);
    assert_same(f);
}

/* What stood in memtables when the process was killed is not missing below what the file brought, though no key of it lies between those
 * of the file. */
static void test_a_kill_after_it(void **state) {
    struct fixture *f = *state, after;
    char *copy = scratch_new(), *command;
    const struct ang_root first = nth(ROOTS + 1), last = nth(0);
    struct ang_store_batch *b = ang_store_batch_new(f->st);
    struct ang_buf snapshot = {0};
    char bytes[2000] = {0};
    uint32_t next;
    unsigned i;
    bool found;

    ang_store_put_snapshot(b, f->bulk, &first, ang_slice_str("first"));
    OK(ang_store_write(b));
    ang_store_batch_free(b);
    b = ang_store_batch_new_bulk(f->st);
    for (i = ROOTS; i-- > 0;) {
        const struct ang_root root = nth(i);
        const struct ang_store_book book = {.first = 0, .pages = 1, .time_ms = 1, .book = ang_slice_of(bytes, sizeof bytes)};

        ang_store_put_book(b, f->bulk, &root, &book, ANG_SLICE_NONE);
    }
    assert_true(ang_store_batch_bytes(b) >= ANG_STORE_BULK_BYTES);
    OK(ang_store_write(b));
    ang_store_batch_free(b);
    command = ang_sprintf("cp -r %s/. %s", f->path, copy); /* as a killed process leaves it */
    assert_int_equal(system(command), 0);
    open_all(&after, copy);
    OK(ang_store_snapshot(after.bulk, &first, &snapshot, &found));
    assert_true(found);
    OK(ang_store_next_sequence(after.bulk, &last, &next));
    assert_int_equal(next, 1);
    close_all(&after);
    ang_buf_fini(&snapshot);
    free(command);
    scratch_free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_same_as_through_memtables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_kill_after_it, setup, teardown),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
