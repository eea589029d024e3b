/* Looking at a log while others work on it: another handle sees what is committed, and can write nothing. */
#include "contract.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct ang_log_reader *look_reader(struct ang_log *log, const char *topic, int32_t partition) {
    const struct ang_log_reader_conf conf = {.name = "look", .fetch_wait_ms = 10, .memory = 8 << 20, .ends = true};
    struct ang_log_reader *r = NULL;

    ct_ok(ang_log_reader_open(log, &conf, &r));
    ct_ok(ang_log_reader_add(r, ang_log_topic(log, topic), partition, ANG_OFFSET_BEGIN));
    return (r);
}

static struct ang_range range_of(struct ang_log *log, const char *topic, int32_t partition) {
    struct ang_range r = {.topic = ang_log_topic(log, topic), .partition = partition};

    ct_ok(ang_log_ranges(log, &r, 1, CT_WAIT_MS));
    return (r);
}

/* Polls until the reader is past `end`; the number of records on the way. */
static size_t read_past(struct ang_log_reader *r, struct ang_log *log, const char *topic, int64_t end) {
    const int64_t until = ang_now_ms() + CT_WAIT_MS;
    struct ang_rec *recs[64];
    size_t total = 0, n;

    while (ang_log_reader_next(r, ang_log_topic(log, topic), 0) < end) {
        ct_ok(ang_log_reader_poll(r, recs, 64, 500, &n));
        ct_free(recs, n);
        total += n;
        assert_true(ang_now_ms() < until);
    }
    return (total);
}

static void what_is_written_later_is_seen(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 2, false);
    struct ang_out first = ct_out(t, 0, "a", "first"), second = ct_out(t, 0, "b", "second"),
                   third = ct_out(t, 0, "c", "third");
    struct ang_log_reader *r;
    struct ang_log *log;
    int64_t end;

    ct_append(c, &first);
    log = ct_open_look();
    r = look_reader(log, t->name, 0);
    CT_EXPECT(r, "first");
    ct_append(c, &second);
    CT_EXPECT(r, "second");
    ct_append(c, &third);
    ct_ok(ang_log_end(log, ang_log_topic(log, t->name), 0, CT_WAIT_MS, &end));
    assert_int_equal(end, 3);
    assert_int_equal(range_of(log, t->name, 0).end, 3);
    assert_int_equal(range_of(log, t->name, 1).end, 0);
    CT_EXPECT(r, "third");
    ang_log_reader_close(r);
    ang_log_close(log);
}

static void a_transaction_is_seen_whole_with_its_position(void **state) {
    struct ct *c = *state;
    const struct ang_topic *in = ct_topic(c, "in", 1, false), *out = ct_topic(c, "out", 1, true);
    struct ang_log_token *tok = ct_token(c, ct_join(c, "g", in, "i"));
    struct ang_log_writer *w = ct_writer(c, "w");
    struct ang_log *log = ct_open_look();
    struct ang_log_reader *r = look_reader(log, out->name, 0);
    struct ang_pos pos = {.topic = ang_log_topic(log, in->name)};
    struct ang_buf mem = {0};
    int64_t end;

    for (int i = 1; i <= 3; i++) {
        struct ang_out recs[] = {ct_out(out, 0, "a", "x"), ct_out(out, 0, i == 1 ? "1" : i == 2 ? "2" : "3", "y")};

        ct_ok(ct_commit(w, tok, recs, 2, in, 0, i));
        ct_ok(ang_log_positions(log, ct_name(c, "g"), &pos, 1, CT_WAIT_MS, &mem));
        assert_int_equal(pos.offset, i);
        ang_buf_fini(&mem);
        /* Kafka ends a transaction with a marker, at which there is no record: the reader gets past it all the same. */
        ct_ok(ang_log_end(log, ang_log_topic(log, out->name), 0, CT_WAIT_MS, &end));
        assert_int_equal(read_past(r, log, out->name, end), 2);
        assert_int_equal(ang_log_reader_next(r, ang_log_topic(log, out->name), 0), end);
    }
    ang_log_reader_close(r);
    ang_log_close(log);
}

static void topics_are_found_with_what_differs(void **state) {
    struct ct *c = *state;
    struct ang_topic_spec specs[] = {ct_spec(c, "t", 2, false), ct_spec(c, "none", 1, true)};
    struct ang_topic_found found[2];
    struct ang_log *log;

    ct_topic(c, "t", 2, false);
    log = ct_open_look();
    ct_ok(ang_log_find_topics(log, specs, 2, CT_WAIT_MS, found));
    assert_true(found[0].there);
    assert_int_equal(found[0].partitions, 2);
    assert_string_equal(found[0].cleanup, "delete");
    assert_int_equal(found[0].retention_ms, 7 * 86400000LL);
    assert_int_equal(found[0].max_message, CT_BIG);
    assert_int_equal(found[0].replication, c->kafka ? 1 : 0);
    assert_int_equal(found[0].differs.n, 0);
    assert_false(found[1].there);
    assert_true(found[1].differs.n > 0);
    ang_topic_found_fini(&found[1]);
    specs[0].partitions = 3;
    specs[0].compact = true;
    ct_ok(ang_log_find_topics(log, specs, 1, CT_WAIT_MS, found));
    ang_buf_add_u8(&found[0].differs, 0);
    assert_non_null(strstr((char *)found[0].differs.p, "2 partitions, expected 3"));
    assert_non_null(strstr((char *)found[0].differs.p, "expected compact"));
    ang_topic_found_fini(&found[0]);
    ang_log_close(log);
}

static void not_called(void *arg, struct ang_err *er, int64_t offset) {
    fail();
}

static void nothing_can_be_written(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct ang_topic_spec spec = ct_spec(c, "new", 1, false), there = ct_spec(c, "t", 1, false);
    struct ang_log_member_conf conf = {.group = "g", .topic = t->name, .instance = "i", .session_timeout_ms = 6000};
    struct ang_log *log = ct_open_look();
    struct ang_out rec = ct_out(ang_log_topic(log, t->name), 0, "k", "v");
    struct ang_log_member *m = NULL;
    struct ang_log_writer *w = NULL;

    ct_ok(ang_log_ensure_topics(log, &there, 1, false, CT_WAIT_MS)); /* the handle then knows its partitions */
    assert_int_equal(ang_log_topic(log, t->name)->partitions, 1);
    ct_fails(ang_log_ensure_topics(log, &spec, 1, true, CT_WAIT_MS), INVALID);
    ct_fails(ang_log_ensure_topics(log, &spec, 1, false, CT_WAIT_MS), LOG_TOPIC);
    ct_fails(ang_log_append(log, &rec, 1000, not_called, NULL), INVALID);
    ct_fails(ang_log_member_join(log, &conf, &m), INVALID);
    ct_fails(ang_log_writer_open(log, "w", 1000, &w), INVALID);
    ct_fails(ang_log_fence(log, "w", 1000), INVALID);
    assert_int_equal(range_of(log, t->name, 0).end, 0);
    ang_log_close(log);
}

static void what_is_not_there_is_said(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct ang_log *log = ct_open_look();
    struct ang_range r[] = {{.topic = ang_log_topic(log, t->name), .partition = 7},
                            {.topic = ang_log_topic(log, ct_name(c, "none")), .partition = 0},
                            {.topic = ang_log_topic(log, t->name), .partition = 0}};

    ct_ok(ang_log_ranges(log, r, 3, CT_WAIT_MS));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(r[i].end, ANG_OFFSET_NONE);
        assert_non_null(r[i].why);
    }
    assert_null(r[2].why);
    assert_int_equal(r[2].begin, 0);
    ang_log_close(log);
}

/* ---- the embedded folder ---- */

/* Names, sizes and times of change of all that is in the folder. */
static void fingerprint(struct ang_buf *b) {
    struct dirent **names = NULL;
    int n = scandir(ct_folder(), &names, NULL, alphasort);

    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        char path[1024];
        struct stat st;

        snprintf(path, sizeof path, "%s/%s", ct_folder(), names[i]->d_name);
        if (strcmp(names[i]->d_name, "..") != 0) {
            assert_int_equal(stat(path, &st), 0);
            ang_buf_addf(b, "%s %lld %lld.%ld\n", names[i]->d_name, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                         st.st_mtim.tv_nsec);
        }
        free(names[i]);
    }
    free(names);
    ang_buf_add_u8(b, 0);
}

static size_t spare_folders(void) {
    const char *tmp = getenv("TMPDIR");
    DIR *dir = opendir(tmp != NULL ? tmp : "/tmp");
    const struct dirent *e;
    size_t n = 0;

    while ((e = readdir(dir)) != NULL)
        n += strncmp(e->d_name, "angzarr-look-", 13) == 0;
    closedir(dir);
    return (n);
}

static void a_folder_at_rest_is_looked_at_and_left_as_it_was(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, false);
    struct ang_out rec = ct_out(t, 0, "k", "v");
    struct ang_buf before = {0}, after = {0};
    const size_t spare = spare_folders();
    struct ang_log_reader *r;
    struct ang_log *log;
    char name[128];

    snprintf(name, sizeof name, "%s", t->name);
    ct_append(c, &rec);
    ct_close_all(c);
    fingerprint(&before);
    log = ct_open_look();
    assert_int_equal(spare_folders(), spare);
    r = look_reader(log, name, 0);
    CT_EXPECT(r, "v");
    ang_log_reader_close(r);
    ang_log_close(log);
    fingerprint(&after);
    assert_string_equal((char *)before.p, (char *)after.p);
    ang_buf_fini(&before);
    ang_buf_fini(&after);
    c->log = ct_open_log("again"); /* nobody holds it */
}

static void a_folder_without_a_log_is_said_so(void **state) {
    struct ang_settings s = {.log.path = (char *)(uintptr_t) "/nowhere/at/all"};
    struct ang_log *log = NULL;

    (void)state;
    assert_int_equal(ct_fails(ang_log_open_look(&s, "look", &log), LOG_UNREACHABLE), ANG_RETRY);
}

/* Tables, retention and new starts of the process that has the folder, under the eyes of one who looks. */
static void the_process_may_start_anew(void **state) {
    struct ct *c = *state;
    const struct ang_topic *t = ct_topic(c, "t", 1, true);
    struct ang_log *log = ct_open_look();
    struct ang_log_reader *r = look_reader(log, t->name, 0);
    char key[16], value[16], name[128];

    snprintf(name, sizeof name, "%s", t->name);
    for (int i = 0; i < 60; i++) {
        struct ang_out rec;

        snprintf(key, sizeof key, "k%d", i % 7);
        snprintf(value, sizeof value, "v%d", i);
        rec = ct_out(ang_log_topic(c->log, name), 0, key, value);
        ct_append(c, &rec);
        {
            const char *const values[] = {value};

            ct_expect(r, values, 1);
        }
        if (i % 20 == 19) {
            ct_reopen(c); /* what was in memory becomes a table, and a new write-ahead file begins */
            ct_topic(c, "t", 1, true);
        }
    }
    assert_int_equal(range_of(log, name, 0).end, 60);
    ang_log_reader_close(r);
    r = look_reader(log, name, 0); /* of each key the last one is left */
    assert_int_equal(read_past(r, log, name, 60), 7);
    ang_log_reader_close(r);
    ang_log_close(log);
}

/* A child that commits in a loop and is killed: what is seen meanwhile has no gap, and nothing of it goes away. */
static void what_was_seen_survives_a_kill(void **state) {
    struct ct *c = *state;
    const char *args[] = {"loop", ct_folder(), NULL};
    struct ang_log_reader *r;
    struct ang_log *log;
    int64_t a, b;
    char line[16];
    int pid, fd;

    ct_close_all(c);
    ct_spawn(NULL, args, &pid, &fd);
    assert_true(read(fd, line, 1) == 1);
    log = ct_open_look();
    r = look_reader(log, "a", 0);
    for (int i = 0; i < 200; i++) {
        struct ang_pos pos = {.topic = ang_log_topic(log, "in")};
        struct ang_buf mem = {0};
        int64_t end;

        ct_ok(ang_log_end(log, ang_log_topic(log, "a"), 0, CT_WAIT_MS, &end));
        ct_ok(ang_log_positions(log, "g", &pos, 1, CT_WAIT_MS, &mem));
        assert_true(pos.offset >= end); /* as many transactions as positions, the later look sees as much or more */
        ang_buf_fini(&mem);
        read_past(r, log, "a", end);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(fd);
    a = range_of(log, "a", 0).end;
    b = range_of(log, "b", 0).end;
    assert_int_equal(b, 3 * a);
    ang_log_reader_close(r);
    ang_log_close(log);
    c->log = ct_open_log("after");
    assert_true(range_of(c->log, "a", 0).end >= a);
}

#define T(f) cmocka_unit_test_setup_teardown(f, ct_setup, ct_teardown)
int ct_look_tests(void) {
    const struct CMUnitTest tests[] = {
        T(what_is_written_later_is_seen),      T(a_transaction_is_seen_whole_with_its_position),
        T(topics_are_found_with_what_differs), T(nothing_can_be_written),
        T(what_is_not_there_is_said),
    };

    return (cmocka_run_group_tests_name("look", tests, NULL, NULL));
}

int ct_look_embedded_tests(void) {
    const struct CMUnitTest tests[] = {
        T(a_folder_at_rest_is_looked_at_and_left_as_it_was),
        T(a_folder_without_a_log_is_said_so),
        T(the_process_may_start_anew),
        T(what_was_seen_survives_a_kill),
    };

    return (cmocka_run_group_tests_name("look at a folder", tests, NULL, NULL));
}
