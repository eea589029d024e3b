/* Small pieces of the lane: the newest pages of a history, refusals as they are kept, the hash table. */
#include "play.h"

static void the_newest_pages_that_fit(void **state) {
    struct play p;

    (void)state;
    play_open(&p, 0, 1 << 20);
    for (uint32_t k = 0; k < 10; k++)
        play_page(&p.root.pages, k, 60);
    for (size_t max = 0; max < p.root.pages.n + 10; max++) {
        const size_t one = p.root.pages.n / 10;
        struct ang_buf out = {NULL, 0, 0};
        struct ang_wire_event_page page;
        uint32_t n = 0, first = UINT32_MAX;
        struct ang_wire_iter it;

        OK(root_newest(&p.root, max, &out));
        assert_true(out.n <= max);
        if (out.n > 0)
            assert_memory_equal(out.p, p.root.pages.p + p.root.pages.n - out.n, out.n);
        it = ang_wire_iter_of(ang_buf_slice(&out));
        while (ang_wire_event_pages_next(&it, &page)) {
            first = first == UINT32_MAX ? page.num : first;
            n++;
        }
        assert_int_equal(n, max / one > 10 ? 10 : max / one);
        if (n > 0)
            assert_int_equal(first, 10 - n);
        ang_buf_fini(&out);
    }
    play_close(&p);
}

/* Whenever it is taken, and however much of what it stands for is too much to be kept. */
static void a_snapshot_takes_no_newest_page_away(void **state) {
    (void)state;
    for (size_t size = 10; size < 2000; size = size * 3 / 2) {
        for (uint32_t at = 0; at <= 20; at++) {
            struct ang_buf with = {NULL, 0, 0}, without = {NULL, 0, 0};
            struct play p, q;

            play_open(&p, 0, 1 << 20);
            play_open(&q, 0, 1 << 20);
            for (uint32_t k = 0; k < 20; k++) {
                if (k == at || k == at / 2)
                    root_snapshot(&p.root, ang_slice_str("state"), k);
                play_page(&p.root.pages, k, size);
                play_page(&q.root.pages, k, size);
            }
            for (size_t max = 0; max <= ROOT_NEWEST_MAX; max += 100) {
                ang_buf_clear(&with);
                ang_buf_clear(&without);
                OK(root_newest(&p.root, max, &with));
                OK(root_newest(&q.root, max, &without));
                assert_int_equal(with.n, without.n);
                assert_true(with.n == 0 || memcmp(with.p, without.p, with.n) == 0);
            }
            ang_buf_fini(&with);
            ang_buf_fini(&without);
            play_close(&p);
            play_close(&q);
        }
    }
}

static void a_refusal_is_read_as_it_was_kept(void **state) {
    struct ang_status *st = ang_status_new(ANG_FAILED_PRECONDITION, "not so: \xc3\xbc"), *again = NULL;
    struct ang_buf b = {NULL, 0, 0};
    int64_t at = 0;

    (void)state;
    ang_status_add(st, "grpc-status-details-bin", ang_slice_of("\0\1\2", 3));
    ang_status_add(st, "other-bin", ANG_SLICE_NONE);
    refusal_encode(&b, st, 1234567890123);
    OK(refusal_decode(ang_buf_slice(&b), &again, &at));
    assert_int_equal(again->code, st->code);
    assert_string_equal(again->msg, st->msg);
    assert_int_equal(at, 1234567890123);
    assert_int_equal(again->n_trailers, 2);
    assert_string_equal(again->trailers[0].key, "grpc-status-details-bin");
    assert_memory_equal(again->trailers[0].value.p, "\0\1\2", 3);
    ang_status_free(&again);
    ang_buf_fini(&b);
    ang_status_free(&st);
}

/* What is cut off is either an error or misses trailers only; it is never another refusal. */
static void a_refusal_that_is_cut_is_no_other_refusal(void **state) {
    struct ang_status *st = ang_status_new(ANG_ABORTED, "why"), *again;
    struct ang_buf b = {NULL, 0, 0};
    struct ang_err *er;
    int64_t at;

    (void)state;
    ang_status_add(st, "grpc-status-details-bin", ang_slice_str("details"));
    refusal_encode(&b, st, 77);
    for (size_t n = 0; n < b.n; n++) {
        er = refusal_decode(ang_slice_of(b.p, n), &again, &at);
        if (er != NULL) {
            assert_int_equal(er->code, ANG_E_STORE_CORRUPT);
            ang_err_free(&er);
            continue;
        }
        assert_int_equal(again->code, ANG_ABORTED);
        assert_string_equal(again->msg, "why");
        assert_int_equal(at, 77);
        ang_status_free(&again);
    }
    ang_buf_fini(&b);
    ang_status_free(&st);
}

struct thing {
    struct ang_node node;
    unsigned key;
    bool in;
};

static void the_table_finds_what_is_in_it(void **state) {
    static struct thing things[1000];
    struct ang_table t = {NULL, 0, 0};
    uint64_t seed = 88172645463325252ULL;
    size_t in = 0;

    (void)state;
    for (unsigned i = 0; i < ANG_COUNT(things); i++)
        things[i].key = i;
    for (int step = 0; step < 40000; step++) {
        struct thing *th;
        uint64_t h;
        struct ang_node *n;
        bool found = false;

        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        th = &things[seed % ANG_COUNT(things)];
        h = ang_hash(0, &th->key, sizeof th->key) & 0xff; /* many with one hash */
        for (n = ang_table_first(&t, h); n != NULL; n = ang_table_more(n->next, h))
            found |= ANG_CONTAINER(n, struct thing, node) == th;
        assert_int_equal(found, th->in);
        if (th->in)
            ang_table_remove(&t, &th->node);
        else
            ang_table_add(&t, &th->node, h);
        th->in = !th->in;
        in = th->in ? in + 1 : in - 1;
        assert_int_equal(t.n, in);
    }
    ang_table_fini(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_pages_that_fit),        cmocka_unit_test(a_snapshot_takes_no_newest_page_away),
        cmocka_unit_test(a_refusal_is_read_as_it_was_kept), cmocka_unit_test(a_refusal_that_is_cut_is_no_other_refusal),
        cmocka_unit_test(the_table_finds_what_is_in_it),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
