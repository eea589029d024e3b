/* Every kind of row: written, read, kept over a restart; roots, editions and parts stay apart. */
#include "scratch.h"

struct fixture {
    char *path;
    struct ang_store *st;
    struct ang_store_part *part, *other;
    struct ang_store_batch *b;
};

static void open_all(struct fixture *f) {
    OK(ang_store_open(f->path, MEMORY, &f->st));
    f->part = open_part(f->st, "order", 3);
    f->other = open_part(f->st, "order", 4);
    f->b = ang_store_batch_new(f->st);
}

static void close_all(struct fixture *f) {
    ang_store_batch_free(f->b);
    ang_store_part_close(f->part);
    ang_store_part_close(f->other);
    ang_store_close(f->st);
}

static void write_and_clear(struct fixture *f) {
    OK(ang_store_write(f->b));
    ang_store_batch_clear(f->b);
}

static int setup(void **state) {
    struct fixture *f = ANG_NEW(struct fixture);

    f->path = scratch_new();
    open_all(f);
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

/* ---- books ---- */

/* "0+2:ab 2+1:c" */
static bool list_book(void *arg, const struct ang_store_book *book) {
    ang_buf_addf(arg, "%s%u+%u:%.*s", ((struct ang_buf *)arg)->n > 0 ? " " : "", book->first, book->pages,
                 (int)book->book.n, (const char *)book->book.p);
    assert_int_equal(book->time_ms, 1000 + book->first);
    return (true);
}

static bool first_book(void *arg, const struct ang_store_book *book) {
    (void)list_book(arg, book);
    return (false);
}

static void assert_books(struct ang_store_part *part, const struct ang_root *root, uint32_t from,
                         const char *expected) {
    struct ang_buf list = {0};

    OK(ang_store_books(part, root, from, list_book, &list));
    ang_buf_add_u8(&list, 0);
    assert_string_equal((const char *)list.p, expected);
    ang_buf_fini(&list);
}

static void assert_next(struct ang_store_part *part, const struct ang_root *root, uint32_t expected) {
    uint32_t next = 77;

    OK(ang_store_next_sequence(part, root, &next));
    assert_int_equal(next, expected);
}

/* Several roots in several editions, each with books at 0, 2, 3, 10; then what each of them answers. */
static void test_books(void **state) {
    static const struct {
        uint32_t from;
        const char *expected;
    } rows[] = {
        {0, "0+2:ab 2+1:c 3+7:defghij 10+1:k"},
        {1, "0+2:ab 2+1:c 3+7:defghij 10+1:k"},
        {2, "2+1:c 3+7:defghij 10+1:k"},
        {3, "3+7:defghij 10+1:k"},
        {9, "3+7:defghij 10+1:k"},
        {10, "10+1:k"},
        {11, ""},
        {UINT32_MAX, ""},
    };
    static const char *const editions[] = {"", "a", "ab", "b", "a_very-long_edition", "\xff", "\xff\xff"};
    struct fixture *f = *state;
    char *long_edition = ang_calloc(1, 1001);

    memset(long_edition, 'x', 1000);
    for (int reopened = 0; reopened < 2; reopened++) {
        for (uint32_t n = 0; n < 8; n++) {
            for (size_t e = 0; e <= ANG_COUNT(editions); e++) {
                struct ang_root root = root_of(n, e < ANG_COUNT(editions) ? editions[e] : long_edition);
                if (n == 6)
                    memset(root.id, 0xff, 16);
                if (n == 7)
                    memset(root.id, 0, 16);
                if (n == 1 || e == 3) { /* absent between present ones */
                    assert_next(f->part, &root, 0);
                    assert_books(f->part, &root, 0, "");
                    assert_books(f->part, &root, 5, "");
                    continue;
                }
                if (reopened == 0) {
                    put_book(f->b, f->part, &root, 0, 2, "ab", "");
                    put_book(f->b, f->part, &root, 2, 1, "c", "");
                    write_and_clear(f);
                    assert_next(f->part, &root, 3);
                    put_book(f->b, f->part, &root, 3, 7, "defghij", "c1");
                    put_book(f->b, f->part, &root, 10, 1, "k", "c1");
                    write_and_clear(f);
                }
                assert_next(f->part, &root, 11);
                assert_next(f->other, &root, 0);
                for (size_t i = 0; i < ANG_COUNT(rows); i++)
                    assert_books(f->part, &root, rows[i].from, rows[i].expected);
            }
        }
        if (reopened == 0) {
            close_all(f);
            open_all(f);
        }
    }
    free(long_edition);
}

static void test_books_stop_and_holes(void **state) {
    struct fixture *f = *state;
    const struct ang_root root = root_of(1, "");
    struct ang_buf list = {0};

    put_book(f->b, f->part, &root, 5, 2, "ab", "");
    put_book(f->b, f->part, &root, 20, 1, "c", "");
    write_and_clear(f);
    assert_books(f->part, &root, 0, "5+2:ab 20+1:c");
    assert_books(f->part, &root, 3, "5+2:ab 20+1:c");
    assert_books(f->part, &root, 7, "20+1:c");
    OK(ang_store_books(f->part, &root, 0, first_book, &list));
    assert_true(ang_slice_is(ang_buf_slice(&list), "5+2:ab"));
    ang_buf_fini(&list);
    put_book(f->b, f->part, &root, UINT32_MAX, 1, "x", "");
    FAILS(ang_store_write(f->b), ANG_E_INVALID);
    ang_store_batch_clear(f->b);
    put_book(f->b, f->part, &root, UINT32_MAX - 1, 1, "x", "");
    write_and_clear(f);
    assert_next(f->part, &root, UINT32_MAX);
    assert_books(f->part, &root, 4000000000u, "4294967294+1:x");
}

static bool check_big(void *arg, const struct ang_store_book *book) {
    assert_true(ang_slice_eq(book->book, *(struct ang_slice *)arg));
    return (true);
}

static void test_big_values(void **state) {
    struct fixture *f = *state;
    const struct ang_root root = root_of(1, "");
    const size_t n = 3 << 20;
    uint8_t *bytes = ang_malloc(n);
    struct ang_buf snapshot = {0};
    bool found = false;

    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    struct ang_slice big = ang_slice_of(bytes, n);
    for (uint32_t i = 0; i < 4; i++) {
        const struct ang_store_book book = {.first = i, .pages = 1, .book = big};
        ang_store_put_book(f->b, f->part, &root, &book, ANG_SLICE_NONE);
    }
    ang_store_put_snapshot(f->b, f->part, &root, big);
    assert_true(ang_store_batch_bytes(f->b) > 5 * n);
    write_and_clear(f);
    assert_true(ang_store_batch_bytes(f->b) < 100);
    for (int reopened = 0; reopened < 2; reopened++) {
        OK(ang_store_books(f->part, &root, 0, check_big, &big));
        OK(ang_store_snapshot(f->part, &root, &snapshot, &found));
        assert_true(found && ang_slice_eq(ang_buf_slice(&snapshot), big));
        if (reopened == 0) {
            close_all(f);
            open_all(f);
        }
    }
    ang_buf_fini(&snapshot);
    free(bytes);
}

/* ---- deleting ---- */

static bool list_root(void *arg, const struct ang_root *root) {
    char id[17];

    (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)ang_get_be64(root->id));
    ang_buf_addf(arg, "%s@%.*s ", id, (int)root->edition.n, root->edition.n == 0 ? "" : (const char *)root->edition.p);
    return (true);
}

static bool one_root(void *arg, const struct ang_root *root) {
    (void)list_root(arg, root);
    return (false);
}

static void assert_correlated(struct ang_store_part *part, const char *id, const struct ang_root *roots, size_t n) {
    struct ang_buf list = {0}, expected = {0};

    OK(ang_store_by_correlation(part, text(id), NULL, list_root, &list));
    for (size_t i = 0; i < n; i++)
        (void)list_root(&expected, &roots[i]);
    ang_buf_add_u8(&list, 0);
    ang_buf_add_u8(&expected, 0);
    assert_string_equal((const char *)list.p, (const char *)expected.p);
    ang_buf_fini(&list);
    ang_buf_fini(&expected);
}

static void test_correlation(void **state) {
    struct fixture *f = *state;
    const struct ang_root roots[] = {root_of(1, ""), root_of(1, "a"), root_of(1, "ab")}, far = root_of(9, "");
    struct ang_root behind;
    char *huge = ang_calloc(1, 2001);
    struct ang_buf list = {0};

    memset(huge, 'c', 2000);
    for (size_t i = 0; i < 3; i++) {
        put_book(f->b, f->part, &roots[i], 0, 1, "x", "c");
        put_book(f->b, f->part, &roots[i], 1, 1, "y", "c");
        put_book(f->b, f->part, &roots[i], 2, 1, "z", "cc");
    }
    put_book(f->b, f->part, &far, 0, 1, "x", huge);
    put_book(f->b, f->part, &far, 1, 1, "x", "");
    write_and_clear(f);
    assert_correlated(f->part, "c", roots, 3);
    assert_correlated(f->part, "cc", roots, 3);
    assert_correlated(f->part, huge, &far, 1);
    assert_correlated(f->part, "ccc", NULL, 0);
    assert_correlated(f->part, "", NULL, 0);
    assert_correlated(f->other, "c", NULL, 0);
    OK(ang_store_by_correlation(f->part, text("c"), NULL, one_root, &list));
    assert_int_equal(list.n, 18);
    for (size_t i = 0; i < 3; i++) { /* from one of them on, it included */
        struct ang_buf expected = {0};

        ang_buf_clear(&list);
        OK(ang_store_by_correlation(f->part, text("c"), &roots[i], list_root, &list));
        for (size_t j = i; j < 3; j++)
            (void)list_root(&expected, &roots[j]);
        assert_true(ang_slice_eq(ang_buf_slice(&list), ang_buf_slice(&expected)));
        ang_buf_fini(&expected);
    }
    ang_buf_clear(&list);
    behind = root_of(1, "b");
    memset(behind.id, 0xff, sizeof(behind.id));
    OK(ang_store_by_correlation(f->part, text("c"), &behind, list_root, &list));
    assert_int_equal(list.n, 0);
    ang_buf_fini(&list);

    /* A root leaves the index with the last of its books that has the id. */
    ang_store_del_book(f->b, f->part, &roots[0], 0);
    write_and_clear(f);
    assert_correlated(f->part, "c", roots, 3);
    ang_store_del_book(f->b, f->part, &roots[0], 1);
    write_and_clear(f);
    assert_correlated(f->part, "c", roots + 1, 2);
    assert_books(f->part, &roots[0], 0, "2+1:z");

    /* Put and deleted in one batch, as replay meets it. */
    put_book(f->b, f->part, &far, 2, 1, "x", "gone");
    put_book(f->b, f->other, &far, 2, 1, "x", "gone");
    ang_store_del_book(f->b, f->part, &far, 2);
    write_and_clear(f);
    assert_correlated(f->part, "gone", NULL, 0);
    assert_correlated(f->other, "gone", &far, 1);
    free(huge);
}

static void test_erasure(void **state) {
    struct fixture *f = *state;
    const struct ang_root root = root_of(1, ""), near = root_of(1, "a");
    const struct ang_store_done done = {0, 2, 5};
    struct ang_store_done ret;
    struct ang_buf buf = {0};
    bool found;

    for (int i = 0; i < 2; i++) {
        const struct ang_root *r = i == 0 ? &root : &near;
        put_book(f->b, f->part, r, 0, 2, "ab", "");
        ang_store_put_snapshot(f->b, f->part, r, text("s"));
        ang_store_put_done(f->b, f->part, r, text("id"), &done);
        ang_store_put_refusal(f->b, f->part, r, text("no"), INT64_MAX, text("status"));
    }
    write_and_clear(f);
    ang_store_put_done(f->b, f->part, &root, text("id2"), &done);
    ang_store_del_book(f->b, f->part, &root, 0);
    ang_store_del_snapshot(f->b, f->part, &root);
    ang_store_forget_commands(f->b, f->part, &root);
    write_and_clear(f);
    for (int i = 0; i < 2; i++) {
        const struct ang_root *r = i == 0 ? &root : &near;
        assert_books(f->part, r, 0, i == 0 ? "" : "0+2:ab");
        assert_next(f->part, r, 2); /* never begins again */
        OK(ang_store_snapshot(f->part, r, &buf, &found));
        assert_int_equal(found, i);
        OK(ang_store_done(f->part, r, text("id"), &ret, &found));
        assert_int_equal(found, i);
        OK(ang_store_done(f->part, r, text("id2"), &ret, &found));
        assert_false(found);
        OK(ang_store_refusal(f->part, r, text("no"), &buf, &found));
        assert_int_equal(found, i);
    }
    ang_store_put_next(f->b, f->part, &root, 40);
    write_and_clear(f);
    assert_next(f->part, &root, 40);
    ang_buf_fini(&buf);
}

static void test_roots(void **state) {
    struct fixture *f = *state;
    struct ang_root roots[40];
    struct ang_buf list = {0}, expected = {0};

    for (uint32_t i = 0; i < 40; i++) {
        static const char *const editions[] = {"", "a", "b", "ab"};
        roots[i] = root_of(0, editions[i % 4]);
        ang_put_be32(roots[i].id, i / 4);
        for (uint32_t j = 0; j < 1 + i % 3; j++)
            put_book(f->b, f->part, &roots[i], j, 1, "x", "c");
        (void)list_root(&expected, &roots[i]);
    }
    write_and_clear(f);
    OK(ang_store_roots(f->part, list_root, &list));
    assert_true(ang_slice_eq(ang_buf_slice(&list), ang_buf_slice(&expected)));
    ang_buf_clear(&list);
    OK(ang_store_roots(f->part, one_root, &list));
    assert_int_equal(list.n, 18);
    ang_buf_clear(&list);
    OK(ang_store_roots(f->other, list_root, &list));
    assert_int_equal(list.n, 0);
    ang_buf_fini(&list);
    ang_buf_fini(&expected);
}

/* Those with a book on the main timeline, from behind any of them. */
static void test_booked_roots(void **state) {
    static const struct {
        uint32_t id;
        const char *edition;
        bool booked;
    } rows[] = {{0, "", true},  {1, "a", true}, {2, "", true},  {2, "a", true},        {3, "", false},
                {4, "b", true}, {5, "", true},  {5, "z", true}, {0xffffffff, "", true}};
    struct fixture *f = *state;
    struct ang_buf list = {0}, expected = {0};
    struct ang_root root;

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        root = root_of(0, rows[i].edition);
        memset(root.id, 0xff, sizeof root.id);
        ang_put_be32(root.id, rows[i].id);
        for (uint32_t j = 0; j < 3 && rows[i].booked; j++)
            put_book(f->b, f->part, &root, j, 1, "x", "c");
        ang_store_put_next(f->b, f->part, &root, 3);
    }
    write_and_clear(f);
    for (size_t after = 0; after <= ANG_COUNT(rows); after++) {
        ang_buf_clear(&list);
        ang_buf_clear(&expected);
        for (size_t i = 0; i < ANG_COUNT(rows); i++) {
            root = root_of(0, "");
            memset(root.id, 0xff, sizeof root.id);
            ang_put_be32(root.id, rows[i].id);
            if (rows[i].booked && rows[i].edition[0] == '\0' && (after == 0 || rows[i].id > rows[after - 1].id))
                (void)list_root(&expected, &root);
        }
        if (after > 0) {
            memset(root.id, 0xff, sizeof root.id);
            ang_put_be32(root.id, rows[after - 1].id);
        }
        OK(ang_store_booked_roots(f->part, after == 0 ? NULL : root.id, list_root, &list));
        assert_true(ang_slice_eq(ang_buf_slice(&list), ang_buf_slice(&expected)));
    }
    ang_buf_clear(&list);
    OK(ang_store_booked_roots(f->part, NULL, one_root, &list));
    assert_int_equal(list.n, 18);
    ang_buf_clear(&list);
    OK(ang_store_booked_roots(f->other, NULL, list_root, &list));
    assert_int_equal(list.n, 0);
    ang_buf_fini(&list);
    ang_buf_fini(&expected);
}

/* ---- snapshots, dedupe, positions ---- */

static void test_snapshots(void **state) {
    struct fixture *f = *state;
    const struct ang_root root = root_of(1, ""), near = root_of(1, "a");
    struct ang_buf buf = {0};
    bool found = true;

    ang_buf_add_str(&buf, "old");
    OK(ang_store_snapshot(f->part, &root, &buf, &found));
    assert_false(found);
    assert_int_equal(buf.n, 0);
    ang_store_put_snapshot(f->b, f->part, &root, text("one"));
    ang_store_put_snapshot(f->b, f->part, &near, ANG_SLICE_NONE);
    ang_store_put_snapshot(f->b, f->part, &root, text("two"));
    write_and_clear(f);
    OK(ang_store_snapshot(f->part, &root, &buf, &found));
    assert_true(found && ang_slice_is(ang_buf_slice(&buf), "two"));
    OK(ang_store_snapshot(f->part, &near, &buf, &found));
    assert_true(found && buf.n == 0);
    ang_store_del_snapshot(f->b, f->part, &root);
    write_and_clear(f);
    OK(ang_store_snapshot(f->part, &root, &buf, &found));
    assert_false(found);
    ang_buf_fini(&buf);
}

static void test_commands(void **state) {
    static const struct {
        const char *edition, *id;
    } rows[] = {{"", "k"}, {"", "kk"}, {"k", ""}, {"k", "k"}, {"", ""}, {"kk", "k"}, {"", "\x01k"}};
    struct fixture *f = *state;
    struct ang_buf status = {0}, expected = {0};
    struct ang_store_done done;
    bool found;

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        const struct ang_root root = root_of(1, rows[i].edition);
        const struct ang_store_done in = {(uint32_t)i, (uint32_t)i + 1, (int64_t)i * 1000000000000};
        OK(ang_store_done(f->part, &root, text(rows[i].id), &done, &found));
        assert_false(found);
        OK(ang_store_refusal(f->part, &root, text(rows[i].id), &status, &found));
        assert_false(found);
        ang_buf_clear(&expected);
        ang_buf_addf(&expected, "status %zu", i);
        ang_store_put_done(f->b, f->part, &root, text(rows[i].id), &in);
        ang_store_put_refusal(f->b, f->part, &root, text(rows[i].id), INT64_MAX, ang_buf_slice(&expected));
        write_and_clear(f);
    }
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        const struct ang_root root = root_of(1, rows[i].edition), another = root_of(2, rows[i].edition);
        OK(ang_store_done(f->part, &root, text(rows[i].id), &done, &found));
        assert_true(found && done.first == i && done.pages == i + 1 && done.time_ms == (int64_t)i * 1000000000000);
        OK(ang_store_refusal(f->part, &root, text(rows[i].id), &status, &found));
        ang_buf_clear(&expected);
        ang_buf_addf(&expected, "status %zu", i);
        assert_true(found && ang_slice_eq(ang_buf_slice(&status), ang_buf_slice(&expected)));
        OK(ang_store_done(f->part, &another, text(rows[i].id), &done, &found));
        assert_false(found);
        OK(ang_store_done(f->other, &root, text(rows[i].id), &done, &found));
        assert_false(found);
    }
    ang_buf_fini(&status);
    ang_buf_fini(&expected);
}

static void assert_position(struct ang_store_part *part, const char *topic, int64_t expected,
                            const char *expected_meta) {
    struct ang_buf meta = {0};
    int64_t offset = 77;

    OK(ang_store_position(part, topic, &offset, &meta));
    assert_int_equal(offset, expected);
    assert_true(ang_slice_is(ang_buf_slice(&meta), expected_meta));
    offset = 77;
    OK(ang_store_position(part, topic, &offset, NULL));
    assert_int_equal(offset, expected);
    ang_buf_fini(&meta);
}

static void test_positions(void **state) {
    struct fixture *f = *state;

    assert_position(f->part, "angzarr.order.events", -1, "");
    ang_store_put_position(f->b, f->part, "angzarr.order.events", 0, ANG_SLICE_NONE);
    ang_store_put_position(f->b, f->part, "angzarr.order.events2", INT64_MAX, text("1:9:b"));
    ang_store_put_position(f->b, f->other, "angzarr.order.events", 5, text("x"));
    write_and_clear(f);
    assert_position(f->part, "angzarr.order.events", 0, "");
    assert_position(f->part, "angzarr.order.events2", INT64_MAX, "1:9:b");
    assert_position(f->part, "angzarr.order.event", -1, "");
    assert_position(f->other, "angzarr.order.events", 5, "x");
    close_all(f);
    open_all(f);
    assert_position(f->part, "angzarr.order.events2", INT64_MAX, "1:9:b");
}

/* ---- pruning ---- */

static unsigned count_left(struct ang_store_part *part, unsigned n, const char *prefix, bool refusals) {
    struct ang_buf id = {0}, status = {0};
    struct ang_store_done done;
    unsigned left = 0;
    bool found;

    for (unsigned i = 0; i < n; i++) {
        const struct ang_root root = root_of(i, "");
        ang_buf_clear(&id);
        ang_buf_addf(&id, "%s%u", prefix, i);
        if (refusals)
            OK(ang_store_refusal(part, &root, ang_buf_slice(&id), &status, &found));
        else
            OK(ang_store_done(part, &root, ang_buf_slice(&id), &done, &found));
        left += found;
    }
    ang_buf_fini(&id);
    ang_buf_fini(&status);
    return (left);
}

static void test_prune(void **state) {
    enum { N = 300 };
    struct fixture *f = *state;
    struct ang_buf id = {0};

    for (unsigned i = 0; i < N; i++) {
        const struct ang_root root = root_of(i, "");
        const struct ang_store_done done = {0, 1, i};
        ang_buf_clear(&id);
        ang_buf_addf(&id, "k%u", i);
        ang_store_put_done(f->b, f->part, &root, ang_buf_slice(&id), &done);
        ang_store_put_refusal(f->b, f->part, &root, ang_buf_slice(&id), i % 3 == 0 ? 1 : ang_wall_ms() + A_DAY,
                              text("s"));
        put_book(f->b, f->part, &root, 0, 1, "x", "c");
    }
    write_and_clear(f);
    ang_buf_fini(&id);
    OK(ang_store_prune(f->part, 0, 100000));
    assert_int_equal(count_left(f->part, N, "k", false), N);
    assert_int_equal(count_left(f->part, N, "k", true), N - N / 3);
    /* 500 rows are left: ten calls of 50 see each of them once. */
    for (int i = 0; i < 3; i++)
        OK(ang_store_prune(f->part, 200, 50));
    const unsigned half_way = count_left(f->part, N, "k", false);
    assert_true(half_way > 100 && half_way < N);
    for (int i = 3; i < 11; i++)
        OK(ang_store_prune(f->part, 200, 50));
    assert_int_equal(count_left(f->part, N, "k", false), 100);
    assert_int_equal(count_left(f->part, N, "k", true), N - N / 3);
    OK(ang_store_prune(f->part, 200, 0));
    for (int i = 0; i < 20; i++)
        OK(ang_store_prune(f->part, INT64_MAX, 50));
    assert_int_equal(count_left(f->part, N, "k", false), 0);
    const struct ang_root root = root_of(5, "");
    assert_next(f->part, &root, 1);
    assert_books(f->part, &root, 0, "0+1:x");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_books),        TEST(test_books_stop_and_holes),
        TEST(test_big_values),   TEST(test_correlation),
        TEST(test_erasure),      TEST(test_roots),
        TEST(test_booked_roots), TEST(test_snapshots),
        TEST(test_commands),     TEST(test_positions),
        TEST(test_prune),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
