#include "contract.h"

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static bool use_kafka;
static char folder[64]; /* embedded: of the test under way */
static int serial;

void ct_use(bool kafka) {
    use_kafka = kafka;
}

const char *ct_folder(void) {
    return (folder);
}

const char *ct_bootstrap(void) {
    const char *b = getenv("ANG_TEST_KAFKA");

    if (b == NULL || *b == '\0') {
        print_error("ANG_TEST_KAFKA is not set: the suite needs a broker, ANG_TEST_KAFKA=host:port\n");
        exit(1);
    }
    return (b);
}

void ct_ok_(struct ang_err *er, const char *file, int line) {
    if (er == NULL)
        return;
    print_error("%s: %s: %s\n", ang_err_name(er->code), ang_class_name(er->cls), er->msg);
    ang_err_free(&er);
    _fail(file, line);
}

enum ang_class ct_fails_(struct ang_err *er, enum ang_ec code, const char *file, int line) {
    enum ang_class cls;

    if (er == NULL || er->code != code) {
        print_error("expected %s, got %s: %s\n", ang_err_name(code), er == NULL ? "success" : ang_err_name(er->code),
                    er == NULL ? "" : er->msg);
        ang_err_free(&er);
        _fail(file, line);
        return (ANG_FATAL);
    }
    cls = er->cls;
    assert_true(strlen(er->msg) > 0);
    ang_err_free(&er);
    return (cls);
}

/* ---- opening and closing ---- */

static struct ang_log *open_as(struct ang_err *(*open)(const struct ang_settings *, const char *, struct ang_log **),
                               const char *client) {
    struct ang_kv kv = {.key = (char *)(uintptr_t) "bootstrap.servers"};
    struct ang_settings s = {.file = (char *)(uintptr_t) "test"};
    struct ang_log *log = NULL;

    if (use_kafka) {
        kv.value = (char *)(uintptr_t)ct_bootstrap();
        s.log.type = ANG_LOGTYPE_KAFKA;
        s.log.kafka = &kv;
        s.log.n_kafka = 1;
    } else {
        s.log.type = ANG_LOGTYPE_EMBEDDED;
        s.log.path = folder;
    }
    s.limits.message = 1024 * 1024;
    ct_ok(open(&s, client, &log));
    return (log);
}

struct ang_log *ct_open_log(const char *client) {
    return (open_as(ang_log_open, client));
}

struct ang_log *ct_open_look(void) {
    return (open_as(ang_log_open_look, "look"));
}

int ct_setup(void **state) {
    struct ct *c = ANG_NEW(struct ct);

    c->kafka = use_kafka;
    snprintf(c->prefix, sizeof c->prefix, "ct-%d-%lld-%d.", (int)getpid(), (long long)(ang_wall_ms() % 100000000),
             ++serial);
    if (!use_kafka) {
        snprintf(folder, sizeof folder, "%s/ang-contract-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
        assert_non_null(mkdtemp(folder));
    }
    c->log = ct_open_log("contract");
    *state = c;
    return (0);
}

void ct_close_all(struct ct *c) {
    for (size_t i = 0; i < c->n_readers; i++)
        ang_log_reader_close(c->readers[i]);
    for (size_t i = 0; i < c->n_writers; i++)
        ang_log_writer_close(c->writers[i]);
    for (size_t i = 0; i < c->n_members; i++)
        ct_leave(&c->members[i], false);
    for (size_t i = 0; i < c->n_tokens; i++)
        ang_log_token_unref(c->tokens[i]);
    ang_log_close(c->log);
    c->n_readers = c->n_writers = c->n_members = c->n_tokens = 0;
    c->log = NULL;
}

void ct_reopen(struct ct *c) {
    ct_close_all(c);
    c->log = ct_open_log("contract-again");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return (remove(path));
}

int ct_teardown(void **state) {
    struct ct *c = *state;

    ct_close_all(c);
    free(c);
    if (!use_kafka)
        (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return (0);
}

void ct_spawn(const char *env, const char *const *args, int *ret_pid, int *ret_fd) {
    char *argv[16] = {(char *)(uintptr_t) "/proc/self/exe", (char *)(uintptr_t)(use_kafka ? "kafka" : "embedded"),
                      (char *)(uintptr_t) "--child"};
    int fds[2];

    for (size_t i = 0; args[i] != NULL; i++)
        argv[3 + i] = (char *)(uintptr_t)args[i];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    *ret_pid = fork();
    assert_true(*ret_pid >= 0);
    if (*ret_pid == 0) {
        if (env != NULL)
            putenv((char *)(uintptr_t)env);
        dup2(fds[1], STDOUT_FILENO);
        execv(argv[0], argv);
        _exit(127);
    }
    close(fds[1]);
    *ret_fd = fds[0];
}

/* ---- topics ---- */

const char *ct_name(struct ct *c, const char *name) {
    static char bufs[4][128];
    static unsigned at;
    char *b = bufs[at++ % 4];

    snprintf(b, sizeof bufs[0], "%s%s", c->prefix, name);
    return (b);
}

struct ang_topic_spec ct_spec(struct ct *c, const char *name, int32_t partitions, bool compact) {
    return ((struct ang_topic_spec){.name = ang_log_topic(c->log, ct_name(c, name))->name,
                                    .partitions = partitions,
                                    .replication = 1,
                                    .compact = compact,
                                    .retention_ms = compact ? -1 : 7 * 86400000LL,
                                    .max_message = CT_BIG});
}

const struct ang_topic *ct_topic(struct ct *c, const char *name, int32_t partitions, bool compact) {
    struct ang_topic_spec spec = ct_spec(c, name, partitions, compact);

    ct_ok(ang_log_ensure_topics(c->log, &spec, 1, true, CT_WAIT_MS));
    return (ang_log_topic(c->log, spec.name));
}

/* ---- writing ---- */

struct ang_out ct_out(const struct ang_topic *t, int32_t partition, const char *key, const char *value) {
    return ((struct ang_out){.topic = t,
                             .partition = partition,
                             .key = ang_slice_str(key),
                             .value = ang_slice_str(value),
                             .tombstone = value == NULL,
                             .offset = ANG_OFFSET_NONE});
}

struct done {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int calls;
    int64_t offset;
    struct ang_err *er;
};

static void append_done(void *arg, struct ang_err *er, int64_t offset) {
    struct done *d = arg;

    pthread_mutex_lock(&d->lock);
    d->calls++;
    d->offset = offset;
    d->er = er == NULL ? NULL : ang_err_dup(er);
    pthread_cond_signal(&d->cond);
    pthread_mutex_unlock(&d->lock);
}

int64_t ct_append(struct ct *c, const struct ang_out *rec) {
    struct done d = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, NULL};

    ct_ok(ang_log_append(c->log, rec, CT_WAIT_MS, append_done, &d));
    pthread_mutex_lock(&d.lock);
    while (d.calls == 0)
        pthread_cond_wait(&d.cond, &d.lock);
    pthread_mutex_unlock(&d.lock);
    ct_ok(d.er);
    assert_int_equal(d.calls, 1);
    assert_true(d.offset >= 0);
    return (d.offset);
}

struct ang_log_writer *ct_writer(struct ct *c, const char *id) {
    struct ang_log_writer *w = NULL;

    assert_true(c->n_writers < CT_MAX);
    ct_ok(ang_log_writer_open(c->log, ct_name(c, id), CT_WAIT_MS, &w));
    c->writers[c->n_writers++] = w;
    return (w);
}

static void assigned(void *arg, const int32_t *partitions, size_t n) {
    struct ct_member *m = arg;

    m->assigned++;
    for (size_t i = 0; i < n; i++)
        m->parts[m->n_parts++] = partitions[i];
}

static void revoked(void *arg, const int32_t *partitions, size_t n, bool lost) {
    struct ct_member *m = arg;

    m->revoked++;
    m->lost += lost;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m->n_parts; k++)
            if (m->parts[k] == partitions[i])
                m->parts[k--] = m->parts[--m->n_parts];
}

struct ct_member *ct_join_only(struct ct *c, const char *group, const struct ang_topic *t, const char *instance) {
    struct ct_member *m = &c->members[c->n_members++];
    struct ang_log_member_conf conf = {.group = ct_name(c, group),
                                       .topic = t->name,
                                       .instance = ct_name(c, instance),
                                       .session_timeout_ms = 6000,
                                       .assigned = assigned,
                                       .revoked = revoked,
                                       .arg = m};

    *m = (struct ct_member){0};
    ct_ok(ang_log_member_join(c->log, &conf, &m->m));
    return (m);
}

struct ct_member *ct_join(struct ct *c, const char *group, const struct ang_topic *t, const char *instance) {
    struct ct_member *m = ct_join_only(c, group, t, instance);
    int64_t until = ang_now_ms() + CT_WAIT_MS;

    while (m->n_parts < (size_t)t->partitions) {
        ct_ok(ang_log_member_poll(m->m, 100));
        assert_true(ang_now_ms() < until);
    }
    return (m);
}

struct ang_log_token *ct_token(struct ct *c, struct ct_member *m) {
    int64_t until = ang_now_ms() + CT_WAIT_MS;
    struct ang_log_token *tok = NULL;
    struct ang_err *er;

    assert_true(c->n_tokens < CT_MAX);
    while ((er = ang_log_member_token(m->m, &tok)) != NULL && er->cls == ANG_RETRY && ang_now_ms() < until) {
        ang_err_free(&er);
        ct_ok(ang_log_member_poll(m->m, 100));
    }
    ct_ok(er);
    c->tokens[c->n_tokens++] = tok;
    return (tok);
}

void ct_leave(struct ct_member *m, bool stay) {
    ang_log_member_leave(m->m, stay);
    m->m = NULL;
}

void ct_poll_members(struct ct *c, int ms) {
    for (size_t i = 0; i < c->n_members; i++)
        if (c->members[i].m != NULL)
            ct_ok(ang_log_member_poll(c->members[i].m, ms));
}

struct ang_err *ct_commit(struct ang_log_writer *w, struct ang_log_token *tok, struct ang_out *recs, size_t n,
                          const struct ang_topic *in, int32_t partition, int64_t offset) {
    struct ang_pos pos = {.topic = in, .partition = partition, .offset = offset, .meta = ang_slice_str("")};
    struct ang_batch batch = {.recs = recs, .n_recs = n, .positions = &pos, .n_positions = 1, .token = tok};

    return (ang_log_writer_commit(w, &batch));
}

/* ---- reading ---- */

struct ang_log_reader *ct_reader(struct ct *c, const struct ang_topic *t, int32_t partition, int64_t offset) {
    struct ang_log_reader_conf conf = {.name = "contract", .fetch_wait_ms = 10, .memory = 8 << 20};
    struct ang_log_reader *r = NULL;

    assert_true(c->n_readers < CT_MAX);
    ct_ok(ang_log_reader_open(c->log, &conf, &r));
    c->readers[c->n_readers++] = r;
    if (t != NULL)
        ct_ok(ang_log_reader_add(r, t, partition, offset));
    return (r);
}

void ct_read(struct ang_log_reader *r, struct ang_rec **recs, size_t n) {
    int64_t until = ang_now_ms() + CT_WAIT_MS;
    size_t got = 0;

    while (got < n) {
        size_t more = 0;

        ct_ok(ang_log_reader_poll(r, recs + got, n - got, 1000, &more));
        got += more;
        if (ang_now_ms() >= until) {
            print_error("%zu of %zu records came in time\n", got, n);
            ct_free(recs, got);
            fail();
        }
    }
}

void ct_free(struct ang_rec **recs, size_t n) {
    for (size_t i = 0; i < n; i++)
        ang_rec_free(&recs[i]);
}

void ct_expect(struct ang_log_reader *r, const char *const *values, size_t n) {
    struct ang_rec **recs = ang_calloc(n, sizeof *recs);

    ct_read(r, recs, n);
    for (size_t i = 0; i < n; i++) {
        char *got = ang_slice_dup_str(recs[i]->value);

        assert_string_equal(got, values[i]);
        free(got);
    }
    ct_free(recs, n);
    free(recs);
}

void ct_expect_nothing(struct ct *c, struct ang_log_reader *r, const struct ang_topic *t, int32_t partition) {
    struct ang_out marker = ct_out(t, partition, "!marker", "marker");

    ct_append(c, &marker);
    CT_EXPECT(r, "marker");
}

int64_t ct_position(struct ct *c, const char *group, const struct ang_topic *t, int32_t partition, char *ret_meta,
                    size_t size) {
    struct ang_pos pos = {.topic = t, .partition = partition};
    struct ang_buf mem = {0};

    ct_ok(ang_log_positions(c->log, ct_name(c, group), &pos, 1, CT_WAIT_MS, &mem));
    if (ret_meta != NULL) {
        assert_true(pos.meta.n < size);
        if (pos.meta.n > 0)
            memcpy(ret_meta, pos.meta.p, pos.meta.n);
        ret_meta[pos.meta.n] = '\0';
    }
    ang_buf_fini(&mem);
    return (pos.offset);
}
