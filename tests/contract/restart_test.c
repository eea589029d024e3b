/* After a restart everything is as it was. */
#include "contract.h"

static void records_and_positions_are_found_again(void **state) {
    struct ct *c = *state;
    const struct ang_topic *in = ct_topic(c, "in", 1, false), *out = ct_topic(c, "out", 1, true);
    struct ang_out a = ct_out(in, 0, "k", "appended"), b = ct_out(out, 0, "k1", "one"), d = ct_out(out, 0, "k2", "two"),
                   e = ct_out(out, 0, "k3", "three");
    struct ang_pos pos = {.topic = in, .offset = 1, .meta = ang_slice_str("m")};
    struct ang_batch batch = {&b, 1, &pos, 1, NULL};
    struct ang_log_writer *w;
    char meta[16];

    ct_append(c, &a);
    batch.token = ct_token(c, ct_join(c, "g", in, "i"));
    w = ct_writer(c, "w");
    ct_ok(ang_log_writer_commit(w, &batch));
    ct_append(c, &d);
    ct_reopen(c);

    in = ct_topic(c, "in", 1, false);
    out = ct_topic(c, "out", 1, true);
    CT_EXPECT(ct_reader(c, in, 0, ANG_OFFSET_BEGIN), "appended");
    CT_EXPECT(ct_reader(c, out, 0, ANG_OFFSET_BEGIN), "one", "two");
    assert_int_equal(ct_position(c, "g", in, 0, meta, sizeof meta), 1);
    assert_string_equal(meta, "m");
    /* and it goes on behind what is there */
    pos.topic = in;
    pos.offset = 2;
    e.topic = out;
    batch = (struct ang_batch){&e, 1, &pos, 1, ct_token(c, ct_join(c, "g", in, "i"))};
    w = ct_writer(c, "w");
    ct_ok(ang_log_writer_commit(w, &batch));
    assert_true(e.offset > b.offset + 1);
    CT_EXPECT(ct_reader(c, out, 0, ANG_OFFSET_BEGIN), "one", "two", "three");
}

static void generations_only_grow(void **state) {
    struct ct *c = *state;
    const struct ang_topic *in = ct_topic(c, "in", 1, false);
    int32_t last = -1;

    for (int i = 0; i < 3; i++) {
        int32_t generation = ang_log_token_generation(ct_token(c, ct_join(c, "g", in, "i")));

        assert_true(generation >= 0);
        if (!c->kafka || i == 0) /* a static member that comes back may keep the group's generation */
            assert_true(generation > last);
        assert_true(generation >= last);
        last = generation;
        ct_reopen(c);
        in = ct_topic(c, "in", 1, false);
    }
}

static void topics_are_checked_against_what_is_there(void **state) {
    struct ct *c = *state;
    struct ang_topic_spec spec;

    ct_topic(c, "t", 2, true);
    ct_reopen(c);
    spec = ct_spec(c, "t", 2, true);
    ct_ok(ang_log_ensure_topics(c->log, &spec, 1, false, CT_WAIT_MS));
    spec.partitions = 4;
    ct_fails(ang_log_ensure_topics(c->log, &spec, 1, true, CT_WAIT_MS), LOG_TOPIC);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ct_setup, ct_teardown)
int ct_restart_tests(void) {
    const struct CMUnitTest tests[] = {
        T(records_and_positions_are_found_again),
        T(generations_only_grow),
        T(topics_are_checked_against_what_is_there),
    };

    return (cmocka_run_group_tests_name("restart", tests, NULL, NULL));
}
