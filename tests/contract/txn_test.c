/* Transactions: all of it or nothing, and only from who may. */
#include "contract.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct lane {
    const struct ang_topic *in, *out, *out2;
    struct ct_member *m;
    struct ang_log_token *tok;
    struct ang_log_writer *w;
};

static struct lane lane(struct ct *c) {
    struct lane l = {
        .in = ct_topic(c, "in", 2, false), .out = ct_topic(c, "out", 2, true), .out2 = ct_topic(c, "out2", 1, false)};

    l.m = ct_join(c, "g", l.in, "i");
    l.tok = ct_token(c, l.m);
    l.w = ct_writer(c, "w");
    return (l);
}

static void records_positions_and_metadata_commit_together(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_out recs[] = {ct_out(l.out, 0, "a", "1"), ct_out(l.out, 1, "b", "2"), ct_out(l.out2, 0, "c", "3"),
                             ct_out(l.out, 0, "d", "4")};
    struct ang_pos pos[] = {{.topic = l.in, .partition = 0, .offset = 17, .meta = ang_slice_str("done:3,5")},
                            {.topic = l.in, .partition = 1, .offset = 4, .meta = ANG_SLICE_NONE}};
    struct ang_batch batch = {recs, ANG_COUNT(recs), pos, ANG_COUNT(pos), l.tok};
    char meta[64];

    assert_int_equal(ct_position(c, "g", l.in, 0, meta, sizeof meta), ANG_OFFSET_NONE);
    ct_ok(ang_log_writer_commit(l.w, &batch));
    assert_int_equal(recs[0].offset, 0);
    assert_int_equal(recs[1].offset, 0);
    assert_int_equal(recs[2].offset, 0);
    assert_int_equal(recs[3].offset, 1);
    assert_true(recs[0].time_ms > 0);
    CT_EXPECT(ct_reader(c, l.out, 0, ANG_OFFSET_BEGIN), "1", "4");
    CT_EXPECT(ct_reader(c, l.out, 1, ANG_OFFSET_BEGIN), "2");
    CT_EXPECT(ct_reader(c, l.out2, 0, ANG_OFFSET_BEGIN), "3");
    assert_int_equal(ct_position(c, "g", l.in, 0, meta, sizeof meta), 17);
    assert_string_equal(meta, "done:3,5");
    assert_int_equal(ct_position(c, "g", l.in, 1, meta, sizeof meta), 4);
    assert_string_equal(meta, "");
    assert_int_equal(ct_position(c, "another", l.in, 0, meta, sizeof meta), ANG_OFFSET_NONE);
    assert_false(ang_log_writer_doubtful(l.w));
}

static void a_reader_waiting_sees_it_when_it_is_committed(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_log_reader *r = ct_reader(c, l.out, 0, ANG_OFFSET_BEGIN);

    for (int i = 0; i < 20; i++) {
        char value[16], key[16];
        struct ang_out rec = ct_out(l.out, 0, key, value);

        snprintf(key, sizeof key, "k%d", i);
        rec.key = ang_slice_str(key);
        rec.value.n = (size_t)snprintf(value, sizeof value, "%d", i);
        ct_ok(ct_commit(l.w, l.tok, &rec, 1, l.in, 0, i + 1));
        CT_EXPECT(r, value);
    }
}

static void offsets_alone_are_a_transaction(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);

    ct_ok(ct_commit(l.w, l.tok, NULL, 0, l.in, 0, 5));
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), 5);
    ct_ok(ct_commit(l.w, l.tok, NULL, 0, l.in, 0, 5)); /* unchanged */
    ct_ok(ct_commit(l.w, l.tok, NULL, 0, l.in, 0, 3)); /* back: what it means is not the log's business */
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), 3);
}

static void long_metadata_comes_back_whole(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    char meta[4000], got[4097];
    struct ang_pos pos[2] = {{.topic = l.in, .partition = 0, .offset = 1, .meta = ang_slice_of(meta, sizeof meta)},
                             {.topic = l.in, .partition = 1, .offset = 2, .meta = ang_slice_str("short")}};
    struct ang_batch batch = {NULL, 0, pos, 2, l.tok};
    struct ang_buf mem = {0};

    for (size_t i = 0; i < sizeof meta; i++)
        meta[i] = (char)(' ' + i % 94);
    ct_ok(ang_log_writer_commit(l.w, &batch));
    assert_int_equal(ct_position(c, "g", l.in, 0, got, sizeof got), 1);
    assert_int_equal(strlen(got), sizeof meta);
    assert_memory_equal(got, meta, sizeof meta);
    /* several at once */
    pos[0] = (struct ang_pos){.topic = l.in, .partition = 1};
    pos[1] = (struct ang_pos){.topic = l.in, .partition = 0};
    ct_ok(ang_log_positions(c->log, ct_name(c, "g"), pos, 2, CT_WAIT_MS, &mem));
    assert_true(ang_slice_is(pos[0].meta, "short"));
    assert_int_equal(pos[1].offset, 1);
    assert_int_equal(pos[1].meta.n, sizeof meta);
    assert_memory_equal(pos[1].meta.p, meta, sizeof meta);
    ang_buf_fini(&mem);
}

static void ten_thousand_records_at_once(void **state) {
    enum { N = 10000 };
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_out *recs = ang_calloc(N, sizeof *recs);
    struct ang_rec **got = ang_calloc(N, sizeof *got);
    char(*keys)[16] = ang_calloc(N, sizeof *keys);

    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "key-%d", i);
        recs[i] = ct_out(l.out, 0, keys[i], "value");
    }
    ct_ok(ct_commit(l.w, l.tok, recs, N, l.in, 0, N));
    ct_read(ct_reader(c, l.out, 0, ANG_OFFSET_BEGIN), got, N);
    for (int i = 0; i < N; i++) {
        assert_true(ang_slice_is(got[i]->key, keys[i]));
        assert_int_equal(got[i]->offset, recs[i].offset);
    }
    ct_free(got, N);
    free(got);
    free(recs);
    free(keys);
}

static void appends_and_commits_of_one_partition_keep_their_order(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_out a = ct_out(l.out2, 0, "k", "append 1"), b = ct_out(l.out2, 0, "k", "commit 1"),
                   d = ct_out(l.out2, 0, "k", "append 2"), e = ct_out(l.out2, 0, "k", "commit 2");
    struct ang_log_reader *r = ct_reader(c, l.out2, 0, ANG_OFFSET_BEGIN);

    ct_append(c, &a);
    ct_ok(ct_commit(l.w, l.tok, &b, 1, l.in, 0, 1));
    ct_append(c, &d);
    ct_ok(ct_commit(l.w, l.tok, &e, 1, l.in, 0, 2));
    CT_EXPECT(r, "append 1", "commit 1", "append 2", "commit 2");
}

static void tombstones_commit_too(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_out a = ct_out(l.out, 0, "k", "v"), tomb = ct_out(l.out, 0, "k", NULL);
    struct ang_rec *rec = NULL;
    struct ang_log_reader *r = ct_reader(c, l.out, 0, ANG_OFFSET_BEGIN);

    ct_ok(ct_commit(l.w, l.tok, &a, 1, l.in, 0, 1));
    CT_EXPECT(r, "v");
    ct_ok(ct_commit(l.w, l.tok, &tomb, 1, l.in, 0, 2));
    ct_read(r, &rec, 1);
    assert_true(rec->tombstone);
    assert_true(ang_slice_is(rec->key, "k"));
    assert_true(rec->offset > a.offset);
    ang_rec_free(&rec);
}

/* ---- who may not ---- */

static void a_token_of_a_past_generation_is_refused(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_out rec = ct_out(l.out2, 0, "k", "stale"), fresh = ct_out(l.out2, 0, "k", "fresh");
    struct ang_log_token *tok;
    struct ct_member *m;

    ct_ok(ct_commit(l.w, l.tok, NULL, 0, l.in, 0, 1));
    ct_leave(l.m, false);
    assert_int_equal(l.m->revoked, 1);
    assert_int_equal(l.m->lost, 0);
    m = ct_join(c, "g", l.in, "i2");
    tok = ct_token(c, m);
    assert_true(ang_log_token_generation(tok) > ang_log_token_generation(l.tok));
    assert_int_equal(ct_fails(ct_commit(l.w, l.tok, &rec, 1, l.in, 0, 99), LOG_ABORTED), ANG_ABORT_TXN);
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), 1);
    /* nothing of it is there, and the writer can go on */
    ct_ok(ct_commit(l.w, tok, &fresh, 1, l.in, 0, 2));
    CT_EXPECT(ct_reader(c, l.out2, 0, ANG_OFFSET_BEGIN), "fresh");
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), 2);
}

static void a_token_is_shared_and_outlives_its_member(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_log_token *again = ang_log_token_ref(l.tok);

    assert_ptr_equal(again, l.tok);
    assert_true(ang_log_token_generation(again) >= 0);
    ct_leave(l.m, false);
    assert_true(ang_log_token_generation(again) >= 0);
    ang_log_token_unref(again);
}

static void a_writer_whose_id_was_opened_again_is_fenced(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_out stale = ct_out(l.out2, 0, "k", "stale"), fresh = ct_out(l.out2, 0, "k", "fresh");
    struct ang_log_writer *w2;

    ct_ok(ct_commit(l.w, l.tok, NULL, 0, l.in, 0, 1));
    w2 = ct_writer(c, "w");
    ct_fails(ct_commit(l.w, l.tok, &stale, 1, l.in, 0, 50), LOG_FENCED);
    ct_ok(ct_commit(w2, l.tok, &fresh, 1, l.in, 0, 2));
    CT_EXPECT(ct_reader(c, l.out2, 0, ANG_OFFSET_BEGIN), "fresh");
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), 2);
}

static void a_fenced_writer_cannot_commit(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ang_out stale = ct_out(l.out2, 0, "k", "stale");

    ct_ok(ang_log_fence(c->log, ct_name(c, "w"), CT_WAIT_MS));
    ct_ok(ang_log_fence(c->log, ct_name(c, "nobody-has-it"), CT_WAIT_MS));
    ct_fails(ct_commit(l.w, l.tok, &stale, 1, l.in, 0, 50), LOG_FENCED);
    ct_expect_nothing(c, ct_reader(c, l.out2, 0, ANG_OFFSET_BEGIN), l.out2, 0);
    assert_int_equal(ct_position(c, "g", l.in, 0, NULL, 0), ANG_OFFSET_NONE);
}

static void a_batch_that_cannot_be_leaves_nothing(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    uint8_t *big = ang_calloc(2, CT_BIG);
    struct ang_out recs[] = {ct_out(l.out2, 0, "k", "first"), ct_out(l.out2, 0, "k", "too big")};
    struct ang_out after = ct_out(l.out2, 0, "k", "after");
    struct ang_err *er;

    recs[1].value = ang_slice_of(big, 2 * CT_BIG);
    er = ct_commit(l.w, l.tok, recs, 2, l.in, 0, 9);
    assert_non_null(er);
    assert_true(er->cls == ANG_ABORT_TXN || er->cls == ANG_RETIRE);
    if (er->cls == ANG_RETIRE)
        l.w = ct_writer(c, "w");
    ang_err_free(&er);
    ct_ok(ct_commit(l.w, l.tok, &after, 1, l.in, 0, 1));
    CT_EXPECT(ct_reader(c, l.out2, 0, ANG_OFFSET_BEGIN), "after");
    free(big);
}

static void leave_and_rejoin(void **state) {
    struct ct *c = *state;
    struct lane l = lane(c);
    struct ct_member *m;

    assert_int_equal(l.m->assigned, 1);
    assert_int_equal(l.m->n_parts, 2);
    ct_leave(l.m, false);
    assert_int_equal(l.m->revoked, 1);
    assert_int_equal(l.m->n_parts, 0);
    m = ct_join(c, "g", l.in, "i");
    assert_int_equal(m->n_parts, 2);
    ct_ok(ct_commit(l.w, ct_token(c, m), NULL, 0, l.in, 1, 8));
    assert_int_equal(ct_position(c, "g", l.in, 1, NULL, 0), 8);
}

/* ---- two lanes ---- */

enum { ROUNDS = 50 };
struct committer {
    struct ang_log_writer *w;
    struct ang_log_token *tok;
    const struct ang_topic *in, *shared, *own;
    int32_t partition;
    const char *name;
    struct ang_err *er;
};

static void *commit_rounds(void *arg) {
    struct committer *k = arg;

    for (int i = 0; i < ROUNDS && k->er == NULL; i++) {
        char value[32];
        struct ang_out recs[2];

        snprintf(value, sizeof value, "%s %d", k->name, i);
        recs[0] = ct_out(k->shared, 0, "k", value);
        recs[1] = ct_out(k->own, k->partition, "k", value);
        k->er = ct_commit(k->w, k->tok, recs, 2, k->in, k->partition, i + 1);
    }
    return (NULL);
}

static void two_lanes_commit_at_once(void **state) {
    struct ct *c = *state;
    const struct ang_topic *in = ct_topic(c, "in", 2, false), *shared = ct_topic(c, "shared", 1, false),
                           *own = ct_topic(c, "own", 2, false);
    struct ct_member *m = ct_join(c, "g", in, "i");
    struct ang_log_token *tok = ct_token(c, m);
    struct committer k[2] = {{ct_writer(c, "w0"), tok, in, shared, own, 0, "a", NULL},
                             {ct_writer(c, "w1"), tok, in, shared, own, 1, "b", NULL}};
    struct ang_rec *recs[2 * ROUNDS];
    int next[2] = {0, 0};
    pthread_t th[2];

    for (int i = 0; i < 2; i++)
        ANG_PT(pthread_create(&th[i], NULL, commit_rounds, &k[i]));
    /* a reader that runs along must see every record although the lanes' offsets interleave */
    ct_read(ct_reader(c, shared, 0, ANG_OFFSET_BEGIN), recs, 2 * ROUNDS);
    for (int i = 0; i < 2; i++) {
        ANG_PT(pthread_join(th[i], NULL));
        ct_ok(k[i].er);
        assert_int_equal(ct_position(c, "g", in, i, NULL, 0), ROUNDS);
    }
    for (int i = 0; i < 2 * ROUNDS; i++) {
        int who = recs[i]->value.p[0] == 'b';
        char value[32];

        snprintf(value, sizeof value, "%s %d", k[who].name, next[who]++);
        assert_true(ang_slice_is(recs[i]->value, value));
        assert_true(i == 0 || recs[i]->offset > recs[i - 1]->offset);
    }
    ct_free(recs, 2 * ROUNDS);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ct_setup, ct_teardown)
int ct_txn_tests(void) {
    const struct CMUnitTest tests[] = {
        T(records_positions_and_metadata_commit_together),
        T(a_reader_waiting_sees_it_when_it_is_committed),
        T(offsets_alone_are_a_transaction),
        T(long_metadata_comes_back_whole),
        T(ten_thousand_records_at_once),
        T(appends_and_commits_of_one_partition_keep_their_order),
        T(tombstones_commit_too),
        T(a_token_of_a_past_generation_is_refused),
        T(a_token_is_shared_and_outlives_its_member),
        T(a_writer_whose_id_was_opened_again_is_fenced),
        T(a_fenced_writer_cannot_commit),
        T(a_batch_that_cannot_be_leaves_nothing),
        T(leave_and_rejoin),
        T(two_lanes_commit_at_once),
    };

    return (cmocka_run_group_tests_name("transactions", tests, NULL, NULL));
}
