/* What only the embedded log can show: compaction at once, retention, its lock, its single member, its format. */
#include "contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "eventlog/embedded/embedded_priv.h"
#include "eventlog/embedded/records.h"

static int64_t next_offset(struct ct *c, struct ang_log_reader *r) {
    struct ang_rec *rec;
    int64_t offset;

    ct_read(r, &rec, 1);
    offset = rec->offset;
    ang_rec_free(&rec);
    return (offset);
}

static void a_newer_record_of_a_key_removes_the_older(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 2, true), *in = ct_topic(c, "in", 1, false);
    struct ang_out recs[] = {ct_out(t, 0, "a", "a0"), ct_out(t, 0, "b", "b1"), ct_out(t, 0, "a", "a2"),
                             ct_out(t, 1, "a", "other")};
    struct ang_out more[] = {ct_out(t, 0, "b", NULL), ct_out(t, 0, "b", "b4"), ct_out(t, 0, "a", NULL)};
    struct ang_log_token *tok = ct_token(c, ct_join(c, "g", in, "i"));
    struct ang_log_writer *w = ct_writer(c, "w");
    struct ang_log_reader *r;

    ct_ok(ct_commit(w, tok, recs, 4, in, 0, 1)); /* also within one transaction */
    r = ct_reader(c, t, 0, ANG_OFFSET_BEGIN);
    CT_EXPECT(r, "b1", "a2");
    ct_ok(ct_commit(w, tok, more, 3, in, 0, 2));
    ct_reopen(c);
    t = ct_topic(c, "t", 2, true);
    r = ct_reader(c, t, 0, ANG_OFFSET_BEGIN); /* the rest: b4, and a's tombstone */
    assert_int_equal(next_offset(c, r), 4);
    assert_int_equal(next_offset(c, r), 5);
    CT_EXPECT(ct_reader(c, t, 1, ANG_OFFSET_BEGIN), "other");
    /* a position in a gap is fine: it goes on with what is behind it */
    assert_int_equal(next_offset(c, ct_reader(c, t, 0, 1)), 4);
}

static void retention_removes_what_is_old(void **state) {
    struct ct *c = *state;
    struct ang_topic_spec spec = ct_spec(c, "t", 1, false);
    struct ang_emb *emb = (struct ang_emb *)(void *)c->log;
    const struct ang_topic *t = ang_log_topic(c->log, spec.name);
    struct ang_log_reader *r, *late;
    struct ang_rec *rec = NULL, *last;
    struct ang_err *er;
    int64_t due, first_ms, last_ms;
    size_t n;

    spec.retention_ms = 60000;
    ct_ok(ang_log_ensure_topics(c->log, &spec, 1, true, 0));
    for (int i = 0; i < 50; i++) {
        struct ang_out out = ct_out(t, 0, "k", "v");

        ct_append(c, &out);
    }
    r = ct_reader(c, t, 0, ANG_OFFSET_BEGIN);
    ct_read(r, &rec, 1);
    ct_read(ct_reader(c, t, 0, 49), &last, 1);
    first_ms = rec->time_ms;
    last_ms = last->time_ms;
    ct_ok(ang_emb_retain(emb, first_ms + 59999, &due)); /* nothing is old enough */
    assert_int_equal(due, first_ms + 60000);
    assert_int_equal(next_offset(c, r), 1);
    late = ct_reader(c, t, 0, 10);
    ct_ok(ang_emb_retain(emb, last_ms + 60000, &due)); /* everything is */
    assert_true(due == ANG_NEVER);
    er = ang_log_reader_poll(late, &last, 1, 0, &n);
    assert_non_null(er);
    assert_non_null(strstr(er->msg, "50 to 50"));
    ct_fails(er, LOG_POSITION);
    ang_rec_free(&rec);
    ang_rec_free(&last);
    /* offsets go on where they were, also after a restart */
    ct_reopen(c);
    spec = ct_spec(c, "t", 1, false);
    spec.retention_ms = 60000;
    ct_ok(ang_log_ensure_topics(c->log, &spec, 1, false, 0));
    t = ang_log_topic(c->log, spec.name);
    {
        struct ang_out out = ct_out(t, 0, "k", "after");

        assert_int_equal(ct_append(c, &out), 50);
    }
    CT_EXPECT(ct_reader(c, t, 0, ANG_OFFSET_BEGIN), "after");
}

static void the_folder_is_locked(void **state) {
    struct ang_settings s = {.log.path = (char *)(uintptr_t)ct_folder()};
    const char *args[] = {"open", ct_folder(), NULL};
    struct ang_log *log = NULL;
    int pid, fd;
    char line[64] = "";

    assert_int_equal(ct_fails(ang_log_open(&s, "second", &log), STORE_LOCKED), ANG_BAD_INPUT);
    ct_spawn(NULL, args, &pid, &fd);
    assert_true(read(fd, line, sizeof line - 1) > 0);
    assert_string_equal(line, "STORE_LOCKED\n");
    close(fd);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void another_join_takes_the_partitions_over(void **state) {
    struct ct *c = *state;
    const struct ang_topic *in = ct_topic(c, "in", 2, false);
    struct ct_member *a = ct_join(c, "g", in, "a"), *b;
    struct ang_log_token *stale = ct_token(c, a), *tok = NULL;
    struct ang_log_writer *w = ct_writer(c, "w");

    b = ct_join(c, "g", in, "b");
    ct_fails(ct_commit(w, stale, NULL, 0, in, 0, 1), LOG_ABORTED);
    assert_int_equal(ct_fails(ang_log_member_token(a->m, &tok), LOG_ABORTED), ANG_RETRY);
    ct_ok(ang_log_member_poll(a->m, 0));
    assert_int_equal(a->lost, 1);
    assert_int_equal(a->n_parts, 0);
    ct_ok(ang_log_member_poll(a->m, 0));
    assert_int_equal(a->revoked, 1);
    ct_ok(ct_commit(w, ct_token(c, b), NULL, 0, in, 0, 1));
    ct_leave(a, false); /* no longer of importance to b */
    assert_int_equal(a->revoked, 1);
    ct_ok(ct_commit(w, ct_token(c, b), NULL, 0, in, 0, 2));
}

static void the_same_instance_twice_is_fenced(void **state) {
    struct ct *c = *state;
    const struct ang_topic *in = ct_topic(c, "in", 1, false);
    struct ct_member *a = ct_join(c, "g", in, "same");

    ct_join(c, "g", in, "same");
    assert_int_equal(ct_fails(ang_log_member_poll(a->m, 0), LOG_FENCED), ANG_FATAL);
    assert_int_equal(a->lost, 1);
}

static void limits_of_a_topic_follow_the_configuration(void **state) {
    struct ct *c = *state;
    struct ang_topic_spec spec = ct_spec(c, "t", 1, false);

    ct_ok(ang_log_ensure_topics(c->log, &spec, 1, true, 0));
    spec.max_message = 100;
    ct_fails(ang_log_ensure_topics(c->log, &spec, 1, false, 0), LOG_TOPIC);
    ct_ok(ang_log_ensure_topics(c->log, &spec, 1, true, 0));
    ct_reopen(c);
    spec = ct_spec(c, "t", 1, false);
    spec.max_message = 100;
    ct_ok(ang_log_ensure_topics(c->log, &spec, 1, false, 0));
    assert_int_equal(ang_log_topic(c->log, spec.name)->max_message, 100);
}

static void never(void *arg, struct ang_err *er, int64_t offset) {
    abort(); /* an append that returned an error has no end to report */
}

static void what_is_not_there_is_an_error(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false), *no = ang_log_topic(c->log, ct_name(c, "no"));
    struct ang_out out = ct_out(no, 0, "k", "v"), part = ct_out(t, 1, "k", "v");
    struct ang_log_reader *r = ct_reader(c, NULL, 0, 0);
    struct ang_log_member_conf conf = {.group = "g", .topic = no->name};
    struct ang_log_member *m = NULL;

    ct_fails(ang_log_append(c->log, &out, 1000, never, NULL), LOG_TOPIC);
    ct_fails(ang_log_append(c->log, &part, 1000, never, NULL), LOG_TOPIC);
    ct_fails(ang_log_reader_add(r, no, 0, 0), LOG_TOPIC);
    ct_fails(ang_log_reader_add(r, t, -1, 0), LOG_TOPIC);
    ct_fails(ang_log_member_join(c->log, &conf, &m), LOG_TOPIC);
}

/* Every cut of an encoded record, and every flipped byte, is refused or decoded, never read beyond its end. */
static void damaged_records_do_not_decode(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ang_log_topic(c->log, "t");
    const struct ang_hdr hdrs[] = {{"name", {(const uint8_t *)"value", 5}}, {"", {NULL, 0}}};
    struct ang_out out = ct_out(t, 0, "key", "");
    struct ang_buf b = {0};
    struct ang_rec *rec;

    out.hdrs = hdrs;
    out.n_hdrs = 2;
    ang_emb_rec_encode(&b, &out, 12345);
    rec = ang_emb_rec_decode(t, 0, 7, ang_buf_slice(&b));
    assert_non_null(rec);
    assert_int_equal(rec->time_ms, 12345);
    ang_rec_free(&rec);
    for (size_t n = 0; n < b.n; n++) {
        uint8_t *cut = ang_malloc(n + 1); /* exact, so that the sanitizer sees one byte too far */

        memcpy(cut, b.p, n);
        rec = ang_emb_rec_decode(t, 0, 7, ang_slice_of(cut, n));
        assert_null(rec);
        free(cut);
    }
    for (size_t i = 0; i < b.n; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *copy = ang_malloc(b.n);

            memcpy(copy, b.p, b.n);
            copy[i] ^= (uint8_t)(1u << bit);
            rec = ang_emb_rec_decode(t, 0, 7, ang_slice_of(copy, b.n));
            ang_rec_free(&rec);
            free(copy);
        }
    ang_buf_fini(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ct_setup, ct_teardown)
int ct_embedded_tests(void) {
    const struct CMUnitTest tests[] = {
        T(a_newer_record_of_a_key_removes_the_older),
        T(retention_removes_what_is_old),
        T(the_folder_is_locked),
        T(another_join_takes_the_partitions_over),
        T(the_same_instance_twice_is_fenced),
        T(limits_of_a_topic_follow_the_configuration),
        T(what_is_not_there_is_an_error),
        T(damaged_records_do_not_decode),
    };

    return (cmocka_run_group_tests_name("embedded only", tests, NULL, NULL));
}
