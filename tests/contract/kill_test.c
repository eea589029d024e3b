/* The embedded log under kill -9: a child appends and commits in a loop and prints what was acknowledged; after each kill
 * everything acknowledged is there, and no transaction is there by half. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contract.h"

enum { KILLS = 20, PER_TXN = 3 };

static void none_assigned(void *arg, const int32_t *partitions, size_t n) {
}
static void none_revoked(void *arg, const int32_t *partitions, size_t n, bool lost) {
}
static void none_done(void *arg, struct ang_err *er, int64_t offset) {
    if (er != NULL)
        abort();
}

static void must(struct ang_err *er) {
    if (er == NULL)
        return;
    fprintf(stderr, "child: %s: %s\n", ang_err_name(er->code), er->msg);
    exit(3);
}

static const struct ang_topic_spec specs[] = {
    {"in", 1, 1, false, -1, CT_BIG}, {"a", 1, 1, false, -1, CT_BIG}, {"b", 1, 1, true, -1, CT_BIG}};

static struct ang_log *open_folder(const char *path) {
    struct ang_settings s = {.log.path = (char *)(uintptr_t)path};
    struct ang_log *log = NULL;

    must(ang_log_open(&s, "kill", &log));
    must(ang_log_ensure_topics(log, specs, ANG_COUNT(specs), true, 1000));
    return (log);
}

/* Transaction n: record "n" in topic a, PER_TXN records "n" in topic b, position n + 1. */
static void commit_loop(const char *path) {
    struct ang_log *log = open_folder(path);
    const struct ang_topic *in = ang_log_topic(log, "in"), *a = ang_log_topic(log, "a"), *b = ang_log_topic(log, "b");
    struct ang_log_member_conf conf = {
        .group = "g", .topic = "in", .instance = "i", .assigned = none_assigned, .revoked = none_revoked};
    struct ang_pos pos = {.topic = in};
    struct ang_log_member *m = NULL;
    struct ang_log_token *tok = NULL;
    struct ang_log_writer *w = NULL;
    struct ang_buf mem = {0};

    must(ang_log_member_join(log, &conf, &m));
    must(ang_log_member_poll(m, 0));
    must(ang_log_member_token(m, &tok));
    must(ang_log_writer_open(log, "w", 1000, &w));
    must(ang_log_positions(log, "g", &pos, 1, 1000, &mem));
    for (long n = pos.offset < 0 ? 0 : pos.offset;; n++) {
        char value[32], keys[PER_TXN][48];
        struct ang_out recs[1 + PER_TXN], in_rec;
        struct ang_batch batch = {recs, ANG_COUNT(recs), &pos, 1, tok};

        snprintf(value, sizeof value, "%ld", n);
        in_rec = ct_out(in, 0, "k", value);
        must(ang_log_append(log, &in_rec, 1000, none_done, NULL));
        recs[0] = ct_out(a, 0, "k", value);
        for (int i = 0; i < PER_TXN; i++) {
            snprintf(keys[i], sizeof keys[i], "%ld/%d", n, i);
            recs[1 + i] = ct_out(b, 0, keys[i], value);
        }
        pos.offset = n + 1;
        must(ang_log_writer_commit(w, &batch));
        if (printf("%ld\n", n) < 0 || fflush(stdout) != 0)
            exit(4);
    }
}

int ct_kill_child(int argc, char **argv) {
    struct ang_settings s = {.log.path = argv[1]};
    struct ang_log *log = NULL;
    struct ang_err *er;

    if (strcmp(argv[0], "loop") == 0)
        commit_loop(argv[1]);
    er = ang_log_open(&s, "open", &log);
    printf("%s\n", er == NULL ? "OK" : ang_err_name(er->code));
    ang_err_free(&er);
    ang_log_close(log);
    return (0);
}

/* The number in the last whole line that comes out of fd; -1 for none.  Reads to the end. */
static long last_line(int fd, FILE **ret_in) {
    FILE *in = *ret_in == NULL ? fdopen(fd, "r") : *ret_in;
    char line[64];
    long last = -1;

    while (fgets(line, sizeof line, in) != NULL)
        if (strchr(line, '\n') != NULL)
            last = strtol(line, NULL, 10);
    fclose(in);
    *ret_in = NULL;
    return (last);
}

static long count(struct ct *c, const char *topic, long expected_per_txn) {
    const struct ang_topic *t = ang_log_topic(c->log, topic);
    struct ang_log_reader *r = ct_reader(c, t, 0, ANG_OFFSET_BEGIN);
    struct ang_rec *recs[256];
    size_t n = 0;
    long total = 0;

    do {
        ct_ok(ang_log_reader_poll(r, recs, 256, 0, &n));
        for (size_t i = 0; i < n; i++) {
            char *value = ang_slice_dup_str(recs[i]->value);

            assert_int_equal(strtol(value, NULL, 10),
                             total / expected_per_txn); /* none missing, none twice, in order */
            free(value);
            total++;
        }
        ct_free(recs, n);
    } while (n > 0);
    assert_int_equal(total % expected_per_txn, 0);
    return (total / expected_per_txn);
}

/* Returns how many transactions the log holds; acknowledged: the number of the last one that was, or -1. */
static long check(struct ct *c, long acknowledged) {
    long txns, position;

    c->log = open_folder(ct_folder());
    txns = count(c, "a", 1);
    assert_int_equal(count(c, "b", PER_TXN), txns);
    assert_true(txns >= acknowledged + 1);
    {
        struct ang_pos pos = {.topic = ang_log_topic(c->log, "in")};
        struct ang_buf mem = {0};

        ct_ok(ang_log_positions(c->log, "g", &pos, 1, 1000, &mem));
        position = pos.offset < 0 ? 0 : pos.offset;
        ang_buf_fini(&mem);
    }
    assert_int_equal(position, txns);
    ct_close_all(c);
    return (txns);
}

static void acknowledged_commits_survive_kill_9(void **state) {
    struct ct *c = *state;
    const char *args[] = {"loop", ct_folder(), NULL};
    unsigned seed = (unsigned)ang_wall_us();
    long acknowledged = -1;

    print_message("seed %u\n", seed);
    ang_log_close(c->log);
    c->log = NULL;
    for (int i = 0; i < KILLS; i++) {
        int pid, fd, status;
        FILE *in = NULL;
        long last;

        ct_spawn(NULL, args, &pid, &fd);
        /* a kill before the first commit now and then, most in the middle of the work */
        if (i % 5 != 0)
            assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, CT_WAIT_MS), 1);
        usleep((useconds_t)(rand_r(&seed) % 60000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        last = last_line(fd, &in);
        if (last > acknowledged)
            acknowledged = last;
        check(c, acknowledged);
    }
    assert_true(acknowledged > KILLS);
}

#ifdef ANG_KILL_POINTS
static void each_kill_point_is_a_state_of_its_own(void **state) {
    struct ct *c = *state;
    const char *args[] = {"loop", ct_folder(), NULL};
    static const struct {
        const char *env;
        long more; /* transactions that are there although nobody was told */
    } rows[] = {
        {"ANGZARR_KILL=after-produce:5", 0}, {"ANGZARR_KILL=after-offsets:5", 1}, {"ANGZARR_KILL=in-commit:5", 1}};

    ang_log_close(c->log);
    c->log = NULL;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        int pid, fd, status;
        FILE *in = NULL;
        long last;

        ct_spawn(rows[i].env, args, &pid, &fd);
        last = last_line(fd, &in);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(check(c, last), last + 1 + rows[i].more);
    }
}
#endif

#define T(f) cmocka_unit_test_setup_teardown(f, ct_setup, ct_teardown)
int ct_kill_tests(void) {
    const struct CMUnitTest tests[] = {
        T(acknowledged_commits_survive_kill_9),
#ifdef ANG_KILL_POINTS
        T(each_kill_point_is_a_state_of_its_own),
#endif
    };

    return (cmocka_run_group_tests_name("kill", tests, NULL, NULL));
}
