/* Who is told of which record, and what becomes of listeners that go while they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/ears.h"
#include "proto/wire.h"

static const struct ang_topic topic = {.magic = ANG_TOPIC_MAGIC, .name = "t.order.events"};
static const struct ang_domain order = {.magic = ANG_DOMAIN_MAGIC, .name = "order"},
                               box = {.magic = ANG_DOMAIN_MAGIC, .name = "box"};
static const uint8_t root_a[16] = {0xa0}, root_b[16] = {0xb0};
#define KEY_A "a0000000-0000-0000-0000-000000000000"
#define KEY_B "b0000000-0000-0000-0000-000000000000"

struct fixture {
    struct ang_ears *e;
    struct ang_buf book;
};

struct listener {
    struct ang_listener l;
    struct ang_ears *e;
    unsigned heard;
    uint32_t last;          /* number of the last page heard */
    struct listener *stops; /* this one, when it hears something; may be itself */
    struct ang_shared *keeps;
    bool keep;
};

static void hear(struct ang_listener *l, struct ang_heard *h) {
    struct listener *me = ANG_CONTAINER(l, struct listener, l);

    me->heard++;
    me->last = h->book.last_num;
    if (me->stops != NULL)
        ang_listen_stop(me->e, &me->stops->l);
    if (me->keep) {
        ang_shared_unref(me->keeps);
        me->keeps = ang_shared_ref(ang_heard_share(me->e, h));
    }
}

static struct listener listener_of(struct fixture *f) {
    return ((struct listener){.l = {.hear = hear}, .e = f->e});
}

static int setup(void **state) {
    struct fixture *f = ANG_NEW(struct fixture);

    f->e = ang_ears_new();
    *state = f;
    return (0);
}

static int teardown(void **state) {
    struct fixture *f = *state;

    ang_ears_free(f->e);
    ang_buf_fini(&f->book);
    free(f);
    return (0);
}

/* EventBook{cover{root, "order", correlation, edition}, one page}. */
static struct ang_slice book_of(struct fixture *f, const uint8_t *root, const char *correlation, const char *edition,
                                uint32_t num) {
    struct ang_buf cover = {0}, inner = {0};

    ang_wire_put_bytes(&inner, 1, ang_slice_of(root, 16));
    ang_wire_put_bytes(&cover, 1, ang_buf_slice(&inner));
    ang_wire_put_str(&cover, 2, "order");
    if (correlation != NULL)
        ang_wire_put_str(&cover, 3, correlation);
    ang_buf_clear(&inner);
    ang_wire_put_str(&inner, 1, edition);
    ang_wire_put_bytes(&cover, 4, ang_buf_slice(&inner));
    ang_buf_clear(&f->book);
    ang_wire_put_bytes(&f->book, 1, ang_buf_slice(&cover));
    ang_buf_clear(&inner);
    ang_wire_put_uint(&inner, 1, num);
    ang_wire_put_bytes(&f->book, 3, ang_buf_slice(&inner));
    ang_buf_fini(&cover);
    ang_buf_fini(&inner);
    return (ang_buf_slice(&f->book));
}

static void tell(struct fixture *f, const struct ang_domain *d, const char *key, const char *header,
                 struct ang_slice value) {
    const struct ang_hdr hdr = {.name = "correlation-id", .value = ang_slice_str(header == NULL ? "" : header)};
    const struct ang_rec rec = {.magic = ANG_REC_MAGIC,
                                .topic = &topic,
                                .key = ang_slice_str(key),
                                .value = value,
                                .hdrs = &hdr,
                                .n_hdrs = header != NULL};

    ang_ears_tell(f->e, d, &rec);
}

static void by_correlation_id(void **state) {
    struct fixture *f = *state;
    struct listener x = listener_of(f), y = listener_of(f);

    ang_listen_correlation(f->e, &x.l, ang_slice_str("x"));
    ang_listen_correlation(f->e, &y.l, ang_slice_str("y"));
    tell(f, &order, KEY_A "/0000000000", "x", book_of(f, root_a, "x", "", 0));
    tell(f, &box, KEY_B "/0000000004", "x", book_of(f, root_b, "x", "", 4)); /* any domain */
    assert_int_equal(x.heard, 2);
    assert_int_equal(x.last, 4);
    tell(f, &order, "any key", NULL, book_of(f, root_a, "y", "", 1)); /* a producer without our header */
    tell(f, &order, KEY_A "/0000000001", NULL, book_of(f, root_a, NULL, "", 1));
    tell(f, &order, KEY_A "/0000000001", "", book_of(f, root_a, NULL, "", 1));
    assert_int_equal(x.heard, 2);
    assert_int_equal(y.heard, 1);
    ang_listen_stop(f->e, &x.l);
    ang_listen_stop(f->e, &x.l);
    tell(f, &order, KEY_A "/0000000002", "x", book_of(f, root_a, "x", "", 2));
    assert_int_equal(x.heard, 2);
    ang_listen_stop(f->e, &y.l);
}

static void by_root(void **state) {
    struct fixture *f = *state;
    struct listener a = listener_of(f), draft = listener_of(f), elsewhere = listener_of(f);

    ang_listen_root(f->e, &a.l, &order, root_a, ANG_SLICE_NONE);
    ang_listen_root(f->e, &draft.l, &order, root_a, ang_slice_str("draft"));
    ang_listen_root(f->e, &elsewhere.l, &box, root_a, ANG_SLICE_NONE);
    tell(f, &order, KEY_A "/0000000003", "x", book_of(f, root_a, "x", "", 3));
    tell(f, &order, KEY_B "/0000000003", "x", book_of(f, root_b, "x", "", 3));
    assert_int_equal(a.heard, 1);
    tell(f, &order, KEY_A "@draft/0000000007", "x", book_of(f, root_a, "x", "draft", 7));
    assert_int_equal(draft.last, 7);
    tell(f, &order, "somebody else's key", "x", book_of(f, root_a, "x", "", 9)); /* then the cover tells */
    assert_int_equal(a.last, 9);
    assert_int_equal(draft.heard, 1);
    assert_int_equal(elsewhere.heard, 0);
    ang_listen_stop(f->e, &a.l);
    ang_listen_stop(f->e, &draft.l);
    ang_listen_stop(f->e, &elsewhere.l);
}

static void by_domain(void **state) {
    struct fixture *f = *state;
    struct listener orders = listener_of(f), boxes = listener_of(f), all = listener_of(f), x = listener_of(f);

    ang_listen_domain(f->e, &orders.l, &order);
    ang_listen_domain(f->e, &boxes.l, &box);
    ang_listen_domain(f->e, &all.l, NULL);
    ang_listen_correlation(f->e, &x.l, ang_slice_str("x"));
    tell(f, &order, KEY_A "/0000000003", "x", book_of(f, root_a, "x", "", 3));
    tell(f, &order, KEY_B "@draft/0000000004", "y", book_of(f, root_b, "y", "draft", 4));
    assert_int_equal(orders.heard, 2);
    assert_int_equal(orders.last, 4);
    assert_int_equal(boxes.heard, 0);
    tell(f, &box, "somebody else's key", NULL, book_of(f, root_a, NULL, "", 9));
    assert_int_equal(boxes.heard, 1);
    assert_int_equal(orders.heard, 2);
    assert_int_equal(all.heard, 3);
    assert_int_equal(x.heard, 1);
    orders.stops = &all; /* before it is all's turn */
    tell(f, &order, KEY_A "/0000000005", "x", book_of(f, root_a, "x", "", 5));
    assert_int_equal(orders.heard, 3);
    assert_int_equal(all.heard, 3);
    ang_listen_stop(f->e, &orders.l);
    ang_listen_stop(f->e, &boxes.l);
    ang_listen_stop(f->e, &x.l);
}

static void what_is_no_event_is_skipped(void **state) {
    static const char *const keys[] = {"!barrier", KEY_A "/0000000000", KEY_A "/0000000000", KEY_A "/0000000000"};
    const struct ang_slice values[] = {book_of(*state, root_a, "x", "", 0), ang_slice_str("\xff\xff"), ANG_SLICE_NONE,
                                       ang_slice_str("\x0a\x00")};
    struct fixture *f = *state;
    struct listener x = listener_of(f), a = listener_of(f), all = listener_of(f);

    ang_listen_correlation(f->e, &x.l, ang_slice_str("x"));
    ang_listen_root(f->e, &a.l, &order, root_a, ANG_SLICE_NONE);
    ang_listen_domain(f->e, &all.l, NULL);
    for (size_t i = 0; i < ANG_COUNT(keys); i++)
        tell(f, &order, keys[i], "x", values[i]);
    assert_int_equal(x.heard + a.heard + all.heard, 0);
    ang_listen_stop(f->e, &x.l);
    ang_listen_stop(f->e, &a.l);
    ang_listen_stop(f->e, &all.l);
}

/* Who is told when the i-th of three stops the j-th. */
static void listeners_may_go_while_they_are_told(void **state) {
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            struct listener l[3] = {listener_of(f), listener_of(f), listener_of(f)};

            for (int k = 0; k < 3; k++)
                ang_listen_correlation(f->e, &l[k].l, ang_slice_str("x"));
            l[i].stops = &l[j];
            tell(f, &order, KEY_A "/0000000000", "x", book_of(f, root_a, "x", "", 0));
            for (int k = 0; k < 3; k++)
                assert_int_equal(l[k].heard, k == j && j > i ? 0 : 1);
            tell(f, &order, KEY_A "/0000000000", "x", book_of(f, root_a, "x", "", 0));
            for (int k = 0; k < 3; k++) {
                assert_int_equal(l[k].heard, k == j ? (j > i ? 0 : 1) : 2);
                ang_listen_stop(f->e, &l[k].l);
            }
        }
    { /* the last one of an ear takes it along */
        struct listener only = listener_of(f);

        only.stops = &only;
        ang_listen_correlation(f->e, &only.l, ang_slice_str("x"));
        tell(f, &order, KEY_A "/0000000000", "x", book_of(f, root_a, "x", "", 0));
        assert_int_equal(only.heard, 1);
    }
}

static void bytes_are_shared_and_counted(void **state) {
    struct fixture *f = *state;
    struct listener x[2] = {listener_of(f), listener_of(f)};
    struct ang_wire_event_book book;
    struct ang_slice sent;
    size_t held;

    for (int i = 0; i < 2; i++) {
        x[i].keep = true;
        ang_listen_correlation(f->e, &x[i].l, ang_slice_str("x"));
    }
    sent = book_of(f, root_b, "x", "draft", 41);
    tell(f, &order, KEY_B "@draft/0000000041", "x", sent);
    assert_ptr_equal(x[0].keeps, x[1].keeps);
    held = ang_ears_held(f->e);
    assert_true(held >= sent.n);
    assert_memory_equal(x[0].keeps->root, root_b, 16);
    assert_string_equal(x[0].keeps->edition, "draft");
    assert_int_equal(x[0].keeps->first, 41);
    assert_null(ang_wire_parse_event_book(ang_slice_of(x[0].keeps->bytes, x[0].keeps->n), &book));
    assert_true(book.has_next_sequence);
    assert_int_equal(book.next_sequence, 42);
    ang_shared_unref(x[0].keeps);
    assert_int_equal(ang_ears_held(f->e), held);
    ang_listen_stop(f->e, &x[0].l);
    ang_listen_stop(f->e, &x[1].l);
    /* What gRPC holds may outlive the ears. */
    ang_ears_free(f->e);
    ang_shared_unref(x[1].keeps);
    f->e = ang_ears_new();
    assert_int_equal(ang_ears_held(f->e), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(by_correlation_id),
        T(by_root),
        T(by_domain),
        T(what_is_no_event_is_skipped),
        T(listeners_may_go_while_they_are_told),
        T(bytes_are_shared_and_counted),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
