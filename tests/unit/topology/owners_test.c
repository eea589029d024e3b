/* The owners table on an embedded log: the highest (generation, start) counts, whatever the order in the topic. */
#include "topology/owners.h"

#include <stdatomic.h>

#include "tests/unit/statestore/scratch.h"

struct stage {
    char *dir;
    struct ang_settings *set;
    struct ang_log *log;
    struct ang_topology *t;
    struct ang_owners *o;
};

static void stage_open(struct stage *s) {
    char *path;
    FILE *f;

    s->dir = scratch_new();
    path = ang_sprintf("%s/angzarr.yaml", s->dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "log: { type: embedded, path: %s/log }\nbusiness_logic:\n  - { domain: order, address: \"127.0.0.1:1\" }\n",
            s->dir);
    assert_int_equal(fclose(f), 0);
    OK(ang_settings_load(path, &s->set));
    OK(ang_log_open(s->set, "test", &s->log));
    s->t = ang_topology_new(s->set, s->log);
    OK(ang_topology_ensure(s->t, 10000));
    OK(ang_owners_open(s->log, s->t, NULL, NULL, &s->o));
    free(path);
}

static void stage_close(struct stage *s) {
    ang_owners_close(s->o);
    ang_topology_free(s->t);
    ang_log_close(s->log);
    ang_settings_free(s->set);
    scratch_remove(s->dir);
    free(s->dir);
}

static void written(void *arg, struct ang_err *er, int64_t offset) {
    (void)offset;
    if (er != NULL)
        fail_msg("%s", er->msg);
    atomic_store((_Atomic bool *)arg, true);
}

static void publish(const struct stage *s, int32_t partition, enum ang_owner_state state, const char *worker,
                    int32_t generation, int64_t start_ms) {
    const struct ang_owner o = {.state = state,
                                .endpoint = "127.0.0.1:7",
                                .worker = worker,
                                .generation = generation,
                                .start_ms = start_ms,
                                .percent = 40};
    const char *ids[] = {"a", "b"};
    _Atomic bool done = false;

    OK(ang_owners_publish(s->log, s->t, "angzarr.order.aggregate", partition, &o, ids, 2, written, &done));
    OK(ang_owners_catch_up(s->o, 10000)); /* what was appended before has then been written */
    assert_true(atomic_load(&done));
}

static struct ang_owner get(const struct stage *s, int32_t partition) {
    return (ang_owners_get(s->o, "angzarr.order.aggregate", partition));
}

static void an_entry_comes_back_as_it_was_written(void **state) {
    struct stage s;
    struct ang_owner o;

    (void)state;
    stage_open(&s);
    publish(&s, 3, ANG_OWNER_RESTORING, "w0", 5, 1000);
    o = get(&s, 3);
    assert_int_equal(o.state, ANG_OWNER_RESTORING);
    assert_string_equal(o.endpoint, "127.0.0.1:7");
    assert_string_equal(o.worker, "w0");
    assert_int_equal(o.generation, 5);
    assert_int_equal(o.start_ms, 1000);
    assert_int_equal(o.percent, 40);
    stage_close(&s);
}

static void nobody_owns_what_was_never_written(void **state) {
    struct stage s;

    (void)state;
    stage_open(&s);
    publish(&s, 3, ANG_OWNER_SERVING, "w0", 5, 1000);
    assert_int_equal(get(&s, 4).state, ANG_OWNER_NONE);
    assert_int_equal(ang_owners_get(s.o, "angzarr.cart.aggregate", 3).state, ANG_OWNER_NONE);
    stage_close(&s);
}

static void the_highest_generation_and_start_count(void **state) {
    static const struct {
        int32_t generation;
        int64_t start_ms;
        const char *counts; /* afterwards */
    } rows[] = {
        {5, 1000, "0"}, {4, 9000, "0"}, {5, 999, "0"}, {5, 1000, "3"}, {5, 1001, "4"}, {6, 1, "5"}, {5, 9999, "5"},
    };
    struct stage s;
    char name[2] = "0";

    (void)state;
    stage_open(&s);
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        name[0] = (char)('0' + i);
        publish(&s, 0, ANG_OWNER_SERVING, name, rows[i].generation, rows[i].start_ms);
        assert_string_equal(get(&s, 0).worker, rows[i].counts);
    }
    stage_close(&s);
}

static void a_release_counts_for_the_entry_it_releases_only(void **state) {
    struct stage s;

    (void)state;
    stage_open(&s);
    publish(&s, 0, ANG_OWNER_SERVING, "w0", 5, 1000);
    publish(&s, 0, ANG_OWNER_SERVING, "w1", 6, 1000);
    publish(&s, 0, ANG_OWNER_RELEASED, "w0", 5, 1000); /* late */
    assert_int_equal(get(&s, 0).state, ANG_OWNER_SERVING);
    assert_string_equal(get(&s, 0).worker, "w1");
    publish(&s, 0, ANG_OWNER_RELEASED, "w1", 6, 1000);
    assert_int_equal(get(&s, 0).state, ANG_OWNER_RELEASED);
    stage_close(&s);
}

static void foreign_records_are_skipped(void **state) {
    struct stage s;
    struct ang_out out = {.key = ang_slice_str("angzarr.order.aggregate/0"), .value = ang_slice_str("\xff\xff")};
    _Atomic bool done = false;

    (void)state;
    stage_open(&s);
    publish(&s, 0, ANG_OWNER_SERVING, "w0", 5, 1000);
    out.topic = ang_topology_owners_topic(s.t);
    OK(ang_log_append(s.log, &out, 10000, written, &done));
    out.tombstone = true;
    OK(ang_log_append(s.log, &out, 10000, written, &done));
    OK(ang_owners_catch_up(s.o, 10000));
    assert_string_equal(get(&s, 0).worker, "w0");
    stage_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_comes_back_as_it_was_written),
        cmocka_unit_test(nobody_owns_what_was_never_written),
        cmocka_unit_test(the_highest_generation_and_start_count),
        cmocka_unit_test(a_release_counts_for_the_entry_it_releases_only),
        cmocka_unit_test(foreign_records_are_skipped),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
