/* Records outside transactions. */
#include "contract.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MANY 2000

struct many {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int calls, errors;
    int64_t last;
    bool in_order;
};

static void many_done(void *arg, struct ang_err *er, int64_t offset) {
    struct many *m = arg;

    pthread_mutex_lock(&m->lock);
    m->calls++;
    m->errors += er != NULL;
    m->in_order &= offset > m->last;
    m->last = offset;
    pthread_cond_signal(&m->cond);
    pthread_mutex_unlock(&m->lock);
}

static void order_is_kept_and_done_runs_once(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct many m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, -1, true};
    struct ang_log_reader *r = ct_reader(c, t, 0, ANG_OFFSET_BEGIN);
    struct ang_rec **recs = ang_calloc(MANY, sizeof *recs);

    for (int i = 0; i < MANY; i++) {
        char value[16];
        struct ang_out rec = ct_out(t, 0, "k", value);

        rec.value.n = (size_t)snprintf(value, sizeof value, "%d", i);
        ct_ok(ang_log_append(c->log, &rec, CT_WAIT_MS, many_done, &m));
    }
    ct_read(r, recs, MANY);
    for (int i = 0; i < MANY; i++) {
        char value[16];

        snprintf(value, sizeof value, "%d", i);
        assert_true(ang_slice_is(recs[i]->value, value));
        assert_int_equal(recs[i]->offset, i);
    }
    pthread_mutex_lock(&m.lock);
    while (m.calls < MANY)
        pthread_cond_wait(&m.cond, &m.lock);
    assert_int_equal(m.calls, MANY);
    assert_int_equal(m.errors, 0);
    assert_true(m.in_order);
    pthread_mutex_unlock(&m.lock);
    ct_free(recs, MANY);
    free(recs);
}

static void a_record_that_is_done_is_there_to_read(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);

    for (int i = 0; i < 20; i++) {
        struct ang_out rec = ct_out(t, 0, "k", "v");
        int64_t offset = ct_append(c, &rec);
        struct ang_log_reader *r = ct_reader(c, t, 0, offset);
        struct ang_rec *got;

        ct_read(r, &got, 1);
        assert_int_equal(got->offset, offset);
        ang_rec_free(&got);
        ang_log_reader_close(r);
        c->n_readers--;
    }
}

static void everything_comes_back_as_it_was_written(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    static const uint8_t binary[] = {0, 1, 0xff, 0x80, 0, '\n', 0};
    const struct ang_hdr hdrs[] = {{"a", {(const uint8_t *)"1", 1}},
                                   {"empty", {(const uint8_t *)"", 0}},
                                   {"a", {(const uint8_t *)"2", 1}},
                                   {"binary", {binary, sizeof binary}}};
    struct ang_out out = ct_out(t, 0, NULL, "value");
    int64_t before = ang_wall_ms();
    struct ang_slice v;
    struct ang_rec *rec;

    out.key = ang_slice_of(binary, sizeof binary);
    out.hdrs = hdrs;
    out.n_hdrs = ANG_COUNT(hdrs);
    ct_append(c, &out);
    ct_read(ct_reader(c, t, 0, ANG_OFFSET_BEGIN), &rec, 1);
    assert_true(ang_slice_eq(rec->key, out.key));
    assert_true(ang_slice_is(rec->value, "value"));
    assert_false(rec->tombstone);
    assert_ptr_equal(rec->topic, t);
    assert_int_equal(rec->partition, 0);
    assert_in_range(rec->time_ms, (uintmax_t)before - 1000, (uintmax_t)ang_wall_ms() + 1000);
    assert_int_equal(rec->n_hdrs, ANG_COUNT(hdrs));
    for (size_t i = 0; i < ANG_COUNT(hdrs); i++) {
        assert_string_equal(rec->hdrs[i].name, hdrs[i].name);
        assert_true(ang_slice_eq(rec->hdrs[i].value, hdrs[i].value));
    }
    assert_true(ang_rec_hdr(rec, "a", &v));
    assert_true(ang_slice_is(v, "2"));
    assert_false(ang_rec_hdr(rec, "b", &v));
    ang_rec_free(&rec);
}

static void an_empty_value_is_not_a_tombstone(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct ang_out empty = ct_out(t, 0, "k", ""), tomb = ct_out(t, 0, "k", NULL);
    struct ang_rec *recs[2];

    ct_append(c, &empty);
    ct_append(c, &tomb);
    ct_read(ct_reader(c, t, 0, ANG_OFFSET_BEGIN), recs, 2);
    assert_false(recs[0]->tombstone);
    assert_int_equal(recs[0]->value.n, 0);
    assert_true(recs[1]->tombstone);
    ct_free(recs, 2);
}

static void big_records_pass_and_bigger_ones_are_refused(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    size_t n = CT_BIG - 1024; /* room for key and framing */
    uint8_t *bytes = ang_malloc(CT_BIG * 2);
    struct ang_out out = ct_out(t, 0, "big", NULL);
    struct many m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, -1, true};
    struct ang_err *er;
    struct ang_rec *rec;

    for (size_t i = 0; i < CT_BIG * 2; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    out.tombstone = false;
    out.value = ang_slice_of(bytes, n);
    ct_append(c, &out);
    ct_read(ct_reader(c, t, 0, ANG_OFFSET_BEGIN), &rec, 1);
    assert_int_equal(rec->value.n, n);
    assert_memory_equal(rec->value.p, bytes, n);
    ang_rec_free(&rec);
    out.value = ang_slice_of(bytes, CT_BIG * 2);
    er = ang_log_append(c->log, &out, CT_WAIT_MS, many_done, &m);
    if (er == NULL) {
        pthread_mutex_lock(&m.lock);
        while (m.calls == 0)
            pthread_cond_wait(&m.cond, &m.lock);
        assert_int_equal(m.errors, 1);
        pthread_mutex_unlock(&m.lock);
    } else {
        assert_int_equal(er->code, ANG_E_TOO_BIG);
        ang_err_free(&er);
    }
    free(bytes);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ct_setup, ct_teardown)
int ct_append_tests(void) {
    const struct CMUnitTest tests[] = {
        T(order_is_kept_and_done_runs_once),
        T(a_record_that_is_done_is_there_to_read),
        T(everything_comes_back_as_it_was_written),
        T(an_empty_value_is_not_a_tombstone),
        T(big_records_pass_and_bigger_ones_are_refused),
    };

    return (cmocka_run_group_tests_name("append", tests, NULL, NULL));
}
