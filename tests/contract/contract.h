/* The contract suite: what both logs promise, as tests.  One program, run once per log: `contract embedded`, `contract kafka`.
 *
 * Every test gets a struct ct with an open log and a topic prefix of its own; what it opens through ct_* is closed by the
 * teardown.  Helpers fail the test with the log's error; none of them sleeps to wait for something. */
#ifndef ANG_TEST_CONTRACT_H
#define ANG_TEST_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "eventlog/eventlog.h"

#define CT_WAIT_MS 30000 /* for what must happen; never reached when all is well */
#define CT_BIG     (1024 * 1024 + 64 * 1024)
#define CT_MAX     16

struct ct_member {
    struct ang_log_member *m;
    int32_t parts[16];
    size_t n_parts;
    int assigned, revoked, lost; /* calls */
};

struct ct {
    bool kafka;
    char prefix[64];
    struct ang_log *log;
    struct ang_log_reader *readers[CT_MAX];
    size_t n_readers;
    struct ct_member members[CT_MAX];
    size_t n_members;
    struct ang_log_writer *writers[CT_MAX];
    size_t n_writers;
    struct ang_log_token *tokens[CT_MAX];
    size_t n_tokens;
};

/* Fails the test with the error's own words. */
#define ct_ok(er) ct_ok_((er), __FILE__, __LINE__)
/* The call must have failed with this code; returns its class. */
#define ct_fails(er, code) ct_fails_((er), ANG_E_##code, __FILE__, __LINE__)
void ct_ok_(struct ang_err *er, const char *file, int line);
enum ang_class ct_fails_(struct ang_err *er, enum ang_ec code, const char *file, int line);

/* ---- harness ---- */
void ct_use(bool kafka); /* which log this run is about */
int ct_setup(void **state);
int ct_teardown(void **state);
struct ang_log *
ct_open_log(const char *client); /* another handle on the same Kafka; the embedded folder must be closed */
struct ang_log *ct_open_look(void); /* the same log, only to be looked at; the caller closes it */
void ct_close_all(struct ct *c); /* everything, the log too */
void ct_reopen(struct ct *c);    /* as a new process would */
const char *ct_folder(void);     /* of the embedded log */
const char *ct_bootstrap(void);
/* A child process of this program: argv[0] --child name args...; stdout through the pipe. ret_pid, ret_fd are the caller's. */
void ct_spawn(const char *env, const char *const *args, int *ret_pid, int *ret_fd);

/* ---- topics ---- */
struct ang_topic_spec ct_spec(struct ct *c, const char *name, int32_t partitions,
                              bool compact); /* its name lives as long as c->log */
const struct ang_topic *ct_topic(struct ct *c, const char *name, int32_t partitions, bool compact);
const char *ct_name(struct ct *c, const char *name); /* with the prefix; static buffers, four at a time */

/* ---- writing ---- */
struct ang_out ct_out(const struct ang_topic *t, int32_t partition, const char *key, const char *value);
int64_t ct_append(struct ct *c, const struct ang_out *rec); /* waits for done */
struct ang_log_writer *ct_writer(struct ct *c, const char *id);
struct ct_member *ct_join(struct ct *c, const char *group, const struct ang_topic *t, const char *instance);
struct ct_member *ct_join_only(struct ct *c, const char *group, const struct ang_topic *t, const char *instance);
struct ang_log_token *ct_token(struct ct *c, struct ct_member *m);
void ct_leave(struct ct_member *m, bool stay);
struct ang_err *ct_commit(struct ang_log_writer *w, struct ang_log_token *tok, struct ang_out *recs, size_t n,
                          const struct ang_topic *in, int32_t partition, int64_t offset);
void ct_poll_members(struct ct *c, int ms);

/* ---- reading ---- */
struct ang_log_reader *ct_reader(struct ct *c, const struct ang_topic *t, int32_t partition,
                                 int64_t offset); /* t may be NULL */
/* Exactly n records, each the caller's (ct_free); fails when they do not come. */
void ct_read(struct ang_log_reader *r, struct ang_rec **recs, size_t n);
void ct_free(struct ang_rec **recs, size_t n);
/* Reads n records and compares their values in order. */
void ct_expect(struct ang_log_reader *r, const char *const *values, size_t n);
#define CT_EXPECT(r, ...)                                                                                              \
    do {                                                                                                               \
        const char *const values_[] = {__VA_ARGS__};                                                                   \
        ct_expect((r), values_, sizeof values_ / sizeof values_[0]);                                                   \
    } while (0)
/* Nothing comes although there was time for it: a marker appended behind is the next record. */
void ct_expect_nothing(struct ct *c, struct ang_log_reader *r, const struct ang_topic *t, int32_t partition);
int64_t ct_position(struct ct *c, const char *group, const struct ang_topic *t, int32_t partition, char *ret_meta,
                    size_t size);

/* ---- the groups of tests; each returns the number of failures ---- */
int ct_topics_tests(void);
int ct_append_tests(void);
int ct_reader_tests(void);
int ct_txn_tests(void);
int ct_restart_tests(void);
int ct_look_tests(void);
int ct_look_embedded_tests(void);
int ct_kafka_tests(void);
int ct_embedded_tests(void);
int ct_kill_tests(void);
/* --child: returns the exit status */
int ct_kill_child(int argc, char **argv);
int ct_commit_child(int argc, char **argv);

#endif
