/* Where a group that never ran begins to read: a worker on an embedded log that has records already.  None of them is a command,
 * so each one that is read becomes a dead letter, and these can be counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "processor/lane_priv.h"
#include "tests/unit/statestore/scratch.h"

#define WAIT_MS 20000
#define OLD     3

struct stage {
    char *dir;
    struct ang_settings *set;
    struct ang_log *log;
    struct ang_topology *topology;
    const struct ang_domain *domain;
    struct ang_worker *worker;
    _Atomic bool ready;
};

static void ready(void *arg, bool is) {
    ((struct stage *)arg)->ready = is;
}

static void fatal(void *arg, struct ang_err *er) {
    (void)arg;
    fail_msg("the worker ends: %s", er->msg);
}

static void pause_10ms(void) {
    nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
}

static void open_log(struct stage *s, const char *start) {
    char *path;
    FILE *f;

    memset(s, 0, sizeof *s);
    s->dir = scratch_new();
    path = ang_sprintf("%s/angzarr.yaml", s->dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "log: { path: %s/log }\nstate: { path: %s }\ntopology: { partitions: 1 }\n"
            "business_logic: [{ domain: order, address: \"127.0.0.1:1\"%s }]\n",
            s->dir, s->dir, start);
    assert_int_equal(fclose(f), 0);
    OK(ang_settings_load(path, &s->set));
    free(path);
    OK(ang_log_open(s->set, "test", &s->log));
    s->topology = ang_topology_new(s->set, s->log);
    OK(ang_topology_ensure(s->topology, WAIT_MS));
    s->domain = ang_topology_domain_at(s->topology, 0);
}

static void start_worker(struct stage *s) {
    const struct ang_worker_conf conf = {.settings = s->set,
                                         .log = s->log,
                                         .topology = s->topology,
                                         .endpoint = "",
                                         .ready = ready,
                                         .fatal = fatal,
                                         .arg = s};
    const int64_t until = ang_now_ms() + WAIT_MS;

    OK(ang_worker_start(&conf, &s->worker));
    while (!s->ready && ang_now_ms() < until)
        pause_10ms();
    assert_true(s->ready);
}

static void stage_close(struct stage *s) {
    ang_worker_stop(s->worker);
    ang_worker_free(s->worker);
    ang_topology_free(s->topology);
    ang_log_close(s->log);
    ang_settings_free(s->set);
    scratch_remove(s->dir);
    free(s->dir);
}

static void written(void *arg, struct ang_err *er, int64_t offset) {
    (void)offset;
    assert_null(er);
    *(_Atomic bool *)arg = true;
}

static void append(struct stage *s, const struct ang_topic *topic) {
    const struct ang_out out = {.topic = topic, .key = ang_slice_str("k"), .value = ang_slice_str("\xff")};
    const int64_t until = ang_now_ms() + WAIT_MS;
    _Atomic bool is = false;

    OK(ang_log_append(s->log, &out, WAIT_MS, written, &is));
    while (!is && ang_now_ms() < until)
        pause_10ms();
    assert_true(is);
}

static void append_to_both(struct stage *s) {
    append(s, s->domain->commands);
    append(s, s->domain->reactions);
}

static int64_t position(struct stage *s, const struct ang_topic *topic) {
    struct ang_pos pos = {.topic = topic};
    struct ang_buf mem = {NULL, 0, 0};

    OK(ang_log_positions(s->log, s->domain->group, &pos, 1, WAIT_MS, &mem));
    ang_buf_fini(&mem);
    return (pos.offset);
}

static void await_position(struct stage *s, const struct ang_topic *topic, int64_t offset) {
    const int64_t until = ang_now_ms() + WAIT_MS;

    while (position(s, topic) != offset && ang_now_ms() < until)
        pause_10ms();
    assert_int_equal(position(s, topic), offset);
}

static void a_group_that_never_ran_begins_where_it_is_told_to(void **state) {
    static const struct {
        const char *start;
        int64_t read; /* in the end, of OLD + 1 in each of two inputs */
    } rows[] = {
        {"", 2 * (OLD + 1)},
        {", start: earliest", 2 * (OLD + 1)},
        {", start: latest", 2},
    };

    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct stage s;
        int64_t read;

        open_log(&s, rows[i].start);
        for (int k = 0; k < OLD; k++)
            append_to_both(&s);
        start_worker(&s);
        append_to_both(&s);
        await_position(&s, s.domain->commands, OLD + 1);
        await_position(&s, s.domain->reactions, OLD + 1);
        OK(ang_log_end(s.log, s.domain->dlq, 0, WAIT_MS, &read));
        if (read != rows[i].read)
            fail_msg("row %zu: %lld records were read, expected %lld", i, (long long)read, (long long)rows[i].read);
        stage_close(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_group_that_never_ran_begins_where_it_is_told_to)};

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
