/* What only a real broker can show: transactions whose owner died, rebalances, static members, an unreachable broker. */
#include "contract.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- an unreachable broker ---- */

struct late {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int calls;
    enum ang_class cls;
    bool failed;
};

static void late_done(void *arg, struct ang_err *er, int64_t offset) {
    struct late *l = arg;

    pthread_mutex_lock(&l->lock);
    l->calls++;
    l->failed = er != NULL;
    l->cls = er == NULL ? ANG_FATAL : er->cls;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
}

static struct ang_log *open_nowhere(void) {
    struct ang_kv kv = {.key = (char *)(uintptr_t) "bootstrap.servers", .value = (char *)(uintptr_t) "127.0.0.1:1"};
    struct ang_settings s = {.log = {.type = ANG_LOGTYPE_KAFKA, .kafka = &kv, .n_kafka = 1}, .limits.message = 1 << 20};
    struct ang_log *log = NULL;

    ct_ok(ang_log_open(&s, "nowhere", &log));
    return (log);
}

static void without_a_broker_appends_expire_and_calls_time_out(void **state) {
    struct ang_log *log = open_nowhere();
    struct ang_topic_spec spec = {
        .name = "t", .partitions = 1, .replication = 1, .retention_ms = -1, .max_message = 1 << 20};
    struct late l = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, ANG_FATAL, false};
    struct ang_out rec = ct_out(ang_log_topic(log, "t"), 0, "k", "v");
    int64_t start = ang_now_ms();
    const char *id = NULL;
    struct ang_err *er;

    assert_int_equal(ct_fails(ang_log_ensure_topics(log, &spec, 1, true, 300), LOG_UNREACHABLE), ANG_RETRY);
    assert_int_equal(ct_fails(ang_log_identity(log, 300, &id), LOG_UNREACHABLE), ANG_RETRY);
    er = ang_log_append(log, &rec, 1000, late_done, &l);
    if (er == NULL) {
        pthread_mutex_lock(&l.lock);
        while (l.calls == 0)
            pthread_cond_wait(&l.cond, &l.lock);
        assert_true(l.failed);
        assert_int_equal(l.cls, ANG_RETRY);
        pthread_mutex_unlock(&l.lock);
    }
    ang_err_free(&er);
    assert_true(ang_now_ms() - start < 10000);
    ang_log_close(log);
}

/* ---- a dead owner's transaction ---- */

#ifdef ANG_KILL_POINTS
static void must(struct ang_err *er) {
    if (er == NULL)
        return;
    fprintf(stderr, "child: %s: %s\n", ang_err_name(er->code), er->msg);
    exit(3);
}

static void child_assigned(void *arg, const int32_t *partitions, size_t n) {
}
static void child_revoked(void *arg, const int32_t *partitions, size_t n, bool lost) {
}

/* args: commit IN OUT GROUP INSTANCE WRITER; dies at the kill point that the environment names */
int ct_commit_child(int argc, char **argv) {
    struct ang_log *log = ct_open_log("child");
    struct ang_topic_spec specs[] = {{argv[1], 1, 1, false, 7 * 86400000LL, CT_BIG},
                                     {argv[2], 1, 1, false, 7 * 86400000LL, CT_BIG}};
    struct ang_log_member_conf conf = {.group = argv[3],
                                       .topic = argv[1],
                                       .instance = argv[4],
                                       .session_timeout_ms = 6000,
                                       .assigned = child_assigned,
                                       .revoked = child_revoked};
    struct ang_log_member *m = NULL;
    struct ang_log_token *tok = NULL;
    struct ang_log_writer *w = NULL;
    struct ang_out rec;
    struct ang_err *er;

    must(ang_log_ensure_topics(log, specs, 2, false, CT_WAIT_MS));
    must(ang_log_member_join(log, &conf, &m));
    while ((er = ang_log_member_token(m, &tok)) != NULL) {
        if (er->cls != ANG_RETRY)
            must(er);
        ang_err_free(&er);
        must(ang_log_member_poll(m, 100));
    }
    must(ang_log_writer_open(log, argv[5], CT_WAIT_MS, &w));
    rec = ct_out(ang_log_topic(log, argv[2]), 0, "k", "of the dead");
    must(ct_commit(w, tok, &rec, 1, ang_log_topic(log, argv[1]), 0, 77));
    return (0);
}

struct dead {
    const struct ang_topic *in, *out;
};

static bool is_written(struct ct *c, const struct dead *d) {
    struct ang_rec *got = NULL;
    bool found;

    ct_ok(ang_log_peek(c->log, d->out, 0, 0, 500, &got));
    found = got != NULL;
    ang_rec_free(&got);
    return (found);
}

/* A child that dies with its transaction open: records produced, positions sent. */
static struct dead die_once(struct ct *c, const char *env) {
    struct dead d = {ct_topic(c, "in", 1, false), ct_topic(c, "out", 1, false)};
    char group[128], instance[128], writer[128];
    const char *args[] = {"commit", d.in->name, d.out->name, group, instance, writer, NULL};
    int pid, fd, status;

    snprintf(group, sizeof group, "%s", ct_name(c, "g"));
    snprintf(instance, sizeof instance, "%s", ct_name(c, "i"));
    snprintf(writer, sizeof writer, "%s", ct_name(c, "w"));
    ct_spawn(env, args, &pid, &fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(fd);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return (d);
}

/* The positions may be sent before the records are: then there is nothing of it to hold anybody up, and another child dies. */
static struct dead die_in_transaction(struct ct *c, const char *env) {
    struct dead d = die_once(c, env);

    while (!is_written(c, &d))
        d = die_once(c, env);
    return (d);
}

static void a_dead_owners_transaction_blocks_readers_until_it_is_fenced(void **state) {
    struct ct *c = *state;
    struct dead d = die_in_transaction(c, "ANGZARR_KILL=after-offsets");
    struct ang_out rec = ct_out(d.out, 0, "k", "behind it");
    struct ang_log_reader *r = ct_reader(c, d.out, 0, ANG_OFFSET_BEGIN);
    struct ang_rec *got = NULL;
    size_t n = 1;

    ct_append(c, &rec);
    ct_ok(ang_log_reader_poll(r, &got, 1, 2000, &n));
    assert_int_equal(n, 0); /* nothing behind an open transaction is stable */
    ct_ok(ang_log_fence(c->log, ct_name(c, "w"), CT_WAIT_MS));
    CT_EXPECT(r, "behind it"); /* and the dead one's record never comes */
}

static void what_holds_readers_back_can_be_looked_at(void **state) {
    struct ct *c = *state;
    struct dead d = die_in_transaction(c, "ANGZARR_KILL=after-offsets");
    struct ang_out rec = ct_out(d.out, 0, "k", "behind it");
    struct ang_log_reader *r = ct_reader(c, d.out, 0, ANG_OFFSET_BEGIN);
    struct ang_rec *got = NULL;
    int64_t end = -1;
    size_t n = 1;

    ct_append(c, &rec);
    ct_ok(ang_log_reader_poll(r, &got, 1, 1000, &n));
    assert_int_equal(n, 0);
    assert_int_equal(ang_log_reader_end(r, d.out, 0), 2); /* there is something */
    ct_ok(ang_log_end(c->log, d.out, 0, CT_WAIT_MS, &end));
    assert_int_equal(end, 0); /* but nobody gets there */
    ct_ok(ang_log_peek(c->log, d.out, 0, end, CT_WAIT_MS, &got));
    assert_non_null(got);
    assert_int_equal(got->offset, 0);
    assert_true(ang_slice_is(got->value, "of the dead"));
    ang_rec_free(&got);
    ct_ok(ang_log_peek(c->log, d.out, 0, 2, 300, &got));
    assert_null(got);
    ct_ok(ang_log_fence(c->log, ct_name(c, "w"), CT_WAIT_MS));
    CT_EXPECT(r, "behind it");
    ct_ok(ang_log_end(c->log, d.out, 0, CT_WAIT_MS, &end));
    assert_int_equal(end, 3); /* with the marker */
}

static void positions_wait_for_an_open_transaction(void **state) {
    struct ct *c = *state;
    struct dead d = die_in_transaction(c, "ANGZARR_KILL=after-offsets");
    struct ang_pos pos = {.topic = d.in};
    struct ang_buf mem = {0};
    struct ang_err *er = ang_log_positions(c->log, ct_name(c, "g"), &pos, 1, 1500, &mem);

    assert_non_null(er); /* not "none": nobody knows yet */
    assert_int_equal(er->cls, ANG_RETRY);
    ang_err_free(&er);
    ct_ok(ang_log_fence(c->log, ct_name(c, "w"), CT_WAIT_MS));
    assert_int_equal(ct_position(c, "g", d.in, 0, NULL, 0), ANG_OFFSET_NONE);
}

static void the_next_holder_of_the_id_ends_the_transaction(void **state) {
    struct ct *c = *state;
    struct dead d = die_once(c, "ANGZARR_KILL=after-produce");
    struct ang_out rec = ct_out(d.out, 0, "k", "of the living");
    struct ang_log_writer *w = ct_writer(c, "w");
    struct ang_log_token *tok = ct_token(c, ct_join(c, "g", d.in, "i"));

    ct_ok(ct_commit(w, tok, &rec, 1, d.in, 0, 1));
    CT_EXPECT(ct_reader(c, d.out, 0, ANG_OFFSET_BEGIN), "of the living");
}
#else
int ct_commit_child(int argc, char **argv) {
    return (2);
}
#endif

/* ---- rebalances ---- */

static void poll_until(struct ct *c, struct ct_member *m, size_t n_parts) {
    int64_t until = ang_now_ms() + CT_WAIT_MS;

    while (m->n_parts != n_parts) {
        ct_poll_members(c, 50);
        assert_true(ang_now_ms() < until);
    }
}

static void two_members_share_the_partitions(void **state) {
    struct ct *c = *state;
    const struct ang_topic *in = ct_topic(c, "in", 4, false);
    struct ct_member *a = ct_join(c, "g", in, "a"), *b;
    struct ang_log_token *before = ct_token(c, a), *after;
    struct ang_log_writer *w = ct_writer(c, "w");

    assert_true(ang_log_token_generation(before) >= 0);
    b = ct_join_only(c, "g", in, "b");
    poll_until(c, b, 2);
    poll_until(c, a, 2);
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 2; k++)
            assert_int_not_equal(a->parts[i], b->parts[k]);
    assert_int_equal(a->lost, 0);
    after = ct_token(c, a);
    assert_true(ang_log_token_generation(after) > ang_log_token_generation(before));
    assert_int_equal(ct_fails(ct_commit(w, before, NULL, 0, in, a->parts[0], 5), LOG_ABORTED), ANG_ABORT_TXN);
    ct_ok(ct_commit(w, after, NULL, 0, in, a->parts[0], 5));
    ct_leave(b, false);
    poll_until(c, a, 4);
}

static void a_static_member_comes_back_to_its_partitions(void **state) {
    struct ct *c = *state;
    const struct ang_topic *in = ct_topic(c, "in", 4, false);
    struct ct_member *a = ct_join(c, "g", in, "a"), *b = ct_join_only(c, "g", in, "b");
    int32_t parts[2];
    int revoked;

    poll_until(c, b, 2);
    poll_until(c, a, 2);
    memcpy(parts, b->parts, sizeof parts);
    revoked = a->revoked;
    ct_leave(b, true); /* stays a member */
    b = ct_join_only(c, "g", in, "b");
    poll_until(c, b, 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(b->parts[i] == parts[0] || b->parts[i] == parts[1]);
    assert_int_equal(a->revoked, revoked);
    assert_int_equal(a->n_parts, 2);
}

static void the_same_instance_elsewhere_fences_the_first(void **state) {
    struct ct *c = *state;
    const struct ang_topic *in = ct_topic(c, "in", 1, false);
    struct ct_member *a = ct_join(c, "g", in, "same"), *b = ct_join_only(c, "g", in, "same");
    struct ang_err *er = NULL;
    int64_t until = ang_now_ms() + CT_WAIT_MS;

    while (er == NULL) {
        ct_ok(ang_log_member_poll(b->m, 50));
        er = ang_log_member_poll(a->m, 50);
        assert_true(ang_now_ms() < until);
    }
    assert_int_equal(ct_fails(er, LOG_FENCED), ANG_FATAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ct_setup, ct_teardown)
int ct_kafka_tests(void) {
    const struct CMUnitTest tests[] = {
        T(without_a_broker_appends_expire_and_calls_time_out),
#ifdef ANG_KILL_POINTS
        T(a_dead_owners_transaction_blocks_readers_until_it_is_fenced),
        T(what_holds_readers_back_can_be_looked_at),
        T(positions_wait_for_an_open_transaction),
        T(the_next_holder_of_the_id_ends_the_transaction),
#endif
        T(two_members_share_the_partitions),
        T(a_static_member_comes_back_to_its_partitions),
        T(the_same_instance_elsewhere_fences_the_first),
    };

    return (cmocka_run_group_tests_name("kafka only", tests, NULL, NULL));
}
