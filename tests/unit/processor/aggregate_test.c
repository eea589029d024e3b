/* From the answer of business logic to records: numbering, splitting, snapshots, and what is refused leaves nothing behind. */
#include "play.h"

#define LARGE (1 << 20)

static size_t effects(const struct play *p) {
    const struct effect *e;
    size_t n = 0;

    STAILQ_FOREACH(e, &p->work.effects, link)
    n++;
    return (n);
}

static struct ang_wire_event_book book_of(const struct effect *e) {
    struct ang_wire_event_book book;

    OK(ang_wire_parse_event_book(e->out.value, &book));
    return (book);
}

static void nothing_is_left(const struct play *p, uint32_t next, uint32_t code, const char *what) {
    assert_int_equal(p->work.code, code);
    assert_non_null(p->work.status);
    if (strstr(p->work.status->msg, what) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", p->work.status->msg, what);
    assert_int_equal(effects(p), 0);
    assert_int_equal(p->root.next, next);
    assert_int_equal(p->root.pages.n, 0);
    assert_null(p->root.running);
}

/* ---- numbers ---- */
static void pages_are_numbered_and_timed(void **state) {
    static const struct {
        uint32_t next, nums[4], n, first, stored;
    } rows[] = {
        {0, {0, 1, 2}, 3, 0, 3}, /* as they should be */
        {5, {5, 6}, 2, 5, 2},
        {5, {NO_NUM, NO_NUM}, 2, 5, 2},    /* we number */
        {5, {NO_NUM, 6, NO_NUM}, 3, 5, 3}, /* mixed */
        {2, {0, 1, 2, 3}, 4, 2, 2},        /* the history echoed back is left out */
        {2, {0, 1}, 2, 2, 0},              /* nothing new */
        {2, {0, NO_NUM}, 2, 2, 1},
    };

    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_wire_event_page page;
        struct ang_wire_iter it;
        struct play p;
        uint32_t num = rows[i].first;

        play_open(&p, rows[i].next, LARGE);
        for (uint32_t k = 0; k < rows[i].n; k++)
            play_page(&p.answer, rows[i].nums[k], 10);
        play_answer(&p);
        assert_int_equal(p.work.code, ANG_OK);
        assert_int_equal(p.work.pages, rows[i].stored);
        assert_int_equal(p.root.next, rows[i].next + rows[i].stored);
        assert_int_equal(effects(&p), rows[i].stored > 0);
        it = ang_wire_iter_of(ang_buf_slice(&p.root.pages));
        while (ang_wire_event_pages_next(&it, &page)) {
            assert_int_equal(page.num, num++);
            assert_non_null(page.created_at.raw.p);
        }
        assert_int_equal(num, rows[i].first + rows[i].stored);
        play_close(&p);
    }
}

static void a_number_that_does_not_fit_is_named_and_leaves_nothing(void **state) {
    static const struct {
        uint32_t next, nums[3], n;
        const char *what;
    } rows[] = {
        {0, {1}, 1, "event 1 where 0"},
        {5, {5, 7}, 2, "event 7 where 6"},
        {5, {NO_NUM, 5}, 2, "event 5 where 6"},
        {5, {5, 5}, 2, "event 5 where 6"},
    };

    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct play p;

        play_open(&p, rows[i].next, LARGE);
        for (uint32_t k = 0; k < rows[i].n; k++)
            play_page(&p.answer, rows[i].nums[k], 10);
        play_answer(&p);
        nothing_is_left(&p, rows[i].next, ANG_INTERNAL, rows[i].what);
        play_close(&p);
    }
}

static void the_last_sequence_is_not_passed(void **state) {
    struct play p;

    (void)state;
    play_open(&p, UINT32_MAX - 1, LARGE);
    play_page(&p.answer, NO_NUM, 1);
    play_page(&p.answer, NO_NUM, 1);
    play_answer(&p);
    nothing_is_left(&p, UINT32_MAX - 1, ANG_INTERNAL, "full");
    play_close(&p);
}

/* ---- covers, sizes, bytes ---- */
static void events_of_somebody_else_are_refused(void **state) {
    static const uint8_t other[16] = {9};
    struct play p;

    (void)state;
    play_open(&p, 0, LARGE);
    play_cover(&p.answer, "order", other, "");
    play_page(&p.answer, 0, 1);
    play_answer(&p);
    nothing_is_left(&p, 0, ANG_INTERNAL, "another root");
    play_close(&p);
    play_open(&p, 0, LARGE);
    play_cover(&p.answer, "cart", play_root, "");
    play_page(&p.answer, 0, 1);
    play_answer(&p);
    nothing_is_left(&p, 0, ANG_INTERNAL, "another domain");
    play_close(&p);
}

static void an_answer_over_the_limit_is_refused_before_it_is_read(void **state) {
    struct play p;

    (void)state;
    play_open(&p, 0, LARGE);
    p.set.limits.message = 1000;
    play_page(&p.answer, 0, 990);
    play_answer(&p);
    nothing_is_left(&p, 0, ANG_INTERNAL, "limits.message is 1000");
    play_close(&p);
}

static void bytes_that_are_no_book_are_refused(void **state) {
    struct play p;

    (void)state;
    play_open(&p, 3, LARGE);
    ang_buf_add(&p.answer, "\x1a\x7f\x01", 3);
    play_answer(&p);
    nothing_is_left(&p, 3, ANG_INTERNAL, "cannot be read");
    play_close(&p);
}

/* ---- records ---- */
static void a_book_is_one_record(void **state) {
    struct play p;
    const struct effect *e;
    struct ang_wire_event_book book;
    struct ang_wire_field f;

    (void)state;
    play_open(&p, 4, LARGE);
    play_page(&p.answer, 4, 10);
    play_page(&p.answer, 5, 10);
    play_answer(&p);
    assert_int_equal(effects(&p), 1);
    e = STAILQ_FIRST(&p.work.effects);
    assert_true(ang_slice_is(e->out.key, "01020304-0506-0708-090a-0b0c0d0e0f10/0000000004"));
    assert_ptr_equal(e->out.topic, &p.events);
    assert_int_equal(e->out.partition, 2);
    assert_true(ang_slice_is(play_hdr(e, "command-id"), "the-id"));
    assert_true(ang_slice_is(play_hdr(e, "input"), "p.order.commands/2/77"));
    assert_true(ang_slice_is(play_hdr(e, "types"), "test.Done,test.Done"));
    assert_true(ang_slice_is(play_hdr(e, "correlation-id"), "corr"));
    assert_null(play_hdr(e, "part").p);
    book = book_of(e);
    assert_int_equal(book.n_pages, 2);
    assert_int_equal(book.first_num, 4);
    assert_true(ang_slice_is(book.cover.correlation_id, "corr"));
    /* What is answered is what is stored, and the next sequence. */
    assert_true(ang_wire_find(ang_blob_slice(p.work.response), 1, &f));
    OK(ang_wire_parse_event_book(f.bytes, &book));
    assert_int_equal(book.next_sequence, 6);
    assert_true(ang_slice_eq(book.pages, book_of(e).pages));
    play_close(&p);
}

/* Of every size, so that records end at, before and after their limit. */
static void a_large_book_is_split_between_pages_into_records_that_fit(void **state) {
    const int64_t record_max = 4096 + 2000;

    (void)state;
    for (size_t size = 1; size < 2600; size += 37) {
        struct ang_buf again = {NULL, 0, 0};
        const struct effect *e;
        struct play p;
        uint32_t next = 3;
        size_t part = 0;

        play_open(&p, 3, record_max);
        for (uint32_t k = 0; k < 20; k++)
            play_page(&p.answer, 3 + k, size);
        play_answer(&p);
        assert_int_equal(p.work.pages, 20);
        STAILQ_FOREACH(e, &p.work.effects, link) {
            char text[64];
            size_t bytes = e->out.key.n + e->out.value.n;

            for (size_t h = 0; h < e->out.n_hdrs; h++)
                bytes += strlen(e->out.hdrs[h].name) + e->out.hdrs[h].value.n;
            if (e->pages > 1 && (int64_t)bytes > record_max)
                fail_msg("pages of %zu bytes: a record of %zu, %lld fit", size, bytes, (long long)record_max);
            assert_int_equal(e->first, next);
            assert_int_equal(book_of(e).first_num, next);
            assert_int_equal(book_of(e).n_pages, e->pages);
            assert_true(ang_slice_is(book_of(e).cover.correlation_id, "corr"));
            (void)snprintf(text, sizeof text, "/%010u", next);
            assert_memory_equal(e->out.key.p + e->out.key.n - 11, text, 11);
            if (effects(&p) > 1) {
                (void)snprintf(text, sizeof text, "%zu/%zu", ++part, effects(&p));
                assert_true(ang_slice_is(play_hdr(e, "part"), text));
                assert_true(ang_slice_is(play_hdr(e, "span"), "3+20"));
            }
            next += e->pages;
            ang_buf_add_slice(&again, book_of(e).pages);
        }
        assert_int_equal(next, 23);
        assert_true(ang_slice_eq(ang_buf_slice(&again), ang_buf_slice(&p.root.pages)));
        assert_true(effects(&p) == 1 ? 20 * size < 2000 : 20 * size > 500);
        ang_buf_fini(&again);
        play_close(&p);
    }
}

/* ---- snapshots ---- */
static void a_snapshot_is_stored_when_it_is_due(void **state) {
    static const struct {
        int every;
        uint32_t next, pages;
        bool has;
        uint32_t since; /* sequence of the one that is there */
        bool stored;
    } rows[] = {
        {0, 0, 5, false, 0, false}, {1, 0, 1, false, 0, true}, {1, 7, 1, true, 6, true},
        {3, 0, 2, false, 0, false}, {3, 0, 3, false, 0, true}, {3, 3, 2, true, 2, false},
        {3, 3, 3, true, 2, true},   {3, 9, 0, true, 2, false}, /* no new event: none */
    };

    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        const struct effect *e, *last = NULL;
        struct ang_wire_snapshot snap;
        struct play p;

        play_open(&p, rows[i].next, LARGE);
        p.business.snapshots_every = rows[i].every;
        p.root.has_snapshot = rows[i].has;
        p.root.snapshot_seq = rows[i].since;
        play_snapshot(&p.answer);
        for (uint32_t k = 0; k < rows[i].pages; k++)
            play_page(&p.answer, NO_NUM, 10);
        play_answer(&p);
        STAILQ_FOREACH(e, &p.work.effects, link)
        last = e;
        if ((last != NULL && last->kind == EFFECT_SNAPSHOT) != rows[i].stored)
            fail_msg("row %zu: a snapshot is%s stored", i, rows[i].stored ? " not" : "");
        if (rows[i].stored) {
            OK(ang_wire_parse_snapshot(last->out.value, &snap));
            assert_int_equal(snap.sequence, rows[i].next + rows[i].pages - 1);
            assert_true(ang_slice_is(last->out.key, "01020304-0506-0708-090a-0b0c0d0e0f10"));
            assert_int_equal(p.root.pages.n, 0); /* it stands for them */
            assert_int_equal(p.root.snapshot_seq, snap.sequence);
        }
        play_close(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_numbered_and_timed),
        cmocka_unit_test(a_number_that_does_not_fit_is_named_and_leaves_nothing),
        cmocka_unit_test(the_last_sequence_is_not_passed),
        cmocka_unit_test(events_of_somebody_else_are_refused),
        cmocka_unit_test(an_answer_over_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(bytes_that_are_no_book_are_refused),
        cmocka_unit_test(a_book_is_one_record),
        cmocka_unit_test(a_large_book_is_split_between_pages_into_records_that_fit),
        cmocka_unit_test(a_snapshot_is_stored_when_it_is_due),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
