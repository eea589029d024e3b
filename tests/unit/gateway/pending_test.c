/* The pending table against scripts of what may happen: which copies are sent when, and which answer ends which call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/pending.h"

#define START_MS  1000000
#define COPIES_MS 29900 /* after the start; copies expire then ... */
#define EXPIRY_MS 30000 /* ... and calls then */
#define MAX       64

enum verb {
    END_OF_SCRIPT,
    CALL,     /* call n begins, for key b */
    STORED,   /* the append of call n under way succeeds */
    LOST,     /* the append of call n under way fails with error b */
    REFUSING, /* appends fail at once with error b (0: no more) */
    ANSWER,   /* for key n: to attempt a, with code b */
    DOWN,
    UP,
    TIME, /* it is now b milliseconds after the start */
    GONE, /* the caller of call n goes away */
    /* what must have happened since, in order: */
    SENT, /* a copy of call n, attempt b */
    ENDS, /* call n, with code b */
    KEYS  /* so many keys are in the table */
};

struct step {
    enum verb v;
    int n, b, a;
};

#define STEP(v, n, b, a, ...)                                                                                          \
    { v, n, b, a }
#define S(...) STEP(__VA_ARGS__, 0, 0, 0)

#define OK          ANG_OK
#define REFUSED     ANG_FAILED_PRECONDITION
#define UNAVAILABLE ANG_UNAVAILABLE
#define DEADLINE    ANG_DEADLINE_EXCEEDED

static const struct {
    const char *what;
    struct step script[24];
} rows[] = {
    {"an answer ends its call, and nothing is left",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(ANSWER, 0, OK, 1), S(ENDS, 0, OK), S(KEYS, 0), S(TIME, 0, 40000)}},
    {"the answer may come before the append has succeeded",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(ANSWER, 0, OK, 1), S(ENDS, 0, OK), S(STORED, 0)}},
    {"the answer may come before the append is said to have failed",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(ANSWER, 0, OK, 1), S(ENDS, 0, OK), S(LOST, 0, ANG_E_LOG_UNREACHABLE)}},
    {"a refusal ends its call",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(ANSWER, 0, REFUSED, 1), S(ENDS, 0, REFUSED)}},
    {"answers to other keys end nothing",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(ANSWER, 1, OK, 1), S(ANSWER, 2, OK, 1), S(ANSWER, 3, OK, 1),
      S(ANSWER, 4, OK, 1), S(ANSWER, 0, OK, 1), S(ENDS, 0, OK)}},

    /* L13, L20 */
    {"an OK of an earlier attempt ends the call",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(DOWN), S(UP), S(SENT, 0, 2), S(STORED, 0), S(ANSWER, 0, OK, 1),
      S(ENDS, 0, OK)}},
    {"a refusal of an earlier attempt does not: a later copy may still succeed",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(DOWN), S(UP), S(SENT, 0, 2), S(STORED, 0), S(ANSWER, 0, REFUSED, 1),
      S(ANSWER, 0, OK, 2), S(ENDS, 0, OK)}},
    {"a refusal of the last attempt does, whatever became of the others",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(DOWN), S(UP), S(SENT, 0, 2), S(STORED, 0), S(ANSWER, 0, REFUSED, 2),
      S(ENDS, 0, REFUSED)}},
    {"an OK ends every call of the key",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(CALL, 1, 0), S(SENT, 1, 2), S(STORED, 0), S(STORED, 1), S(ANSWER, 0, OK, 1),
      S(ENDS, 1, OK), S(ENDS, 0, OK), S(KEYS, 1), S(ANSWER, 0, OK, 2)}},
    {"a refusal ends only the call whose last copy it answers",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(CALL, 1, 0), S(SENT, 1, 2), S(STORED, 0), S(STORED, 1), S(ANSWER, 0, REFUSED, 2),
      S(ENDS, 1, REFUSED), S(ANSWER, 0, OK, 1), S(ENDS, 0, OK)}},
    {"attempts are counted per key, over its calls",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(CALL, 1, 0), S(SENT, 1, 2), S(STORED, 0), S(STORED, 1), S(DOWN), S(UP),
      S(SENT, 0, 3), S(SENT, 1, 4), S(STORED, 0), S(STORED, 1), S(ANSWER, 0, REFUSED, 1), S(ANSWER, 0, REFUSED, 2),
      S(ANSWER, 0, REFUSED, 3), S(ENDS, 0, REFUSED), S(ANSWER, 0, REFUSED, 4), S(ENDS, 1, REFUSED)}},
    {"a late refusal of a copy whose caller went away does not end a new call of the key",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(GONE, 0), S(KEYS, 1), S(CALL, 1, 0), S(SENT, 1, 2), S(STORED, 1),
      S(ANSWER, 0, REFUSED, 1), S(ANSWER, 0, OK, 2), S(ENDS, 1, OK), S(TIME, 0, 2000), S(KEYS, 0)}},
    {"a key with an unanswered copy is kept until that has expired",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(GONE, 0), S(TIME, 0, COPIES_MS), S(KEYS, 1), S(TIME, 0, 40000),
      S(KEYS, 0)}},
    {"a key that we chose ourselves cannot come again, and is not kept",
     {S(CALL, 0, 5), S(SENT, 0, 1), S(STORED, 0), S(GONE, 0), S(KEYS, 0)}},

    /* statuses that leave the command open */
    {"an open status is held back while a copy may still run",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(ANSWER, 0, UNAVAILABLE, 1), S(TIME, 0, 4000), S(ANSWER, 0, OK, 1),
      S(ENDS, 0, OK)}},
    {"an open status is the answer once the copies have expired",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(DOWN), S(TIME, 0, COPIES_MS), S(ANSWER, 0, UNAVAILABLE, 1),
      S(ENDS, 0, UNAVAILABLE)}},
    {"an open status held back is what the caller hears at expiry",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(DOWN), S(ANSWER, 0, UNAVAILABLE, 1), S(TIME, 0, EXPIRY_MS),
      S(ENDS, 0, UNAVAILABLE)}},

    /* resends */
    {"nothing is sent again while the way is down; once it stands, at once",
     {S(DOWN), S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(TIME, 0, 20000), S(UP), S(SENT, 0, 2), S(STORED, 0),
      S(ANSWER, 0, OK, 1), S(ENDS, 0, OK)}},
    {"without a reason it is sent again slowly, and more and more so",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(TIME, 0, 4999), S(TIME, 0, 6250), S(SENT, 0, 2), S(STORED, 0),
      S(TIME, 0, 16249), S(TIME, 0, 18750), S(SENT, 0, 3), S(STORED, 0), S(ANSWER, 0, OK, 2), S(ENDS, 0, OK)}},
    {"an owner that flaps does not get a copy each time",
     {S(CALL, 0, 0),
      S(SENT, 0, 1),
      S(STORED, 0),
      S(DOWN),
      S(UP),
      S(SENT, 0, 2),
      S(STORED, 0),
      S(DOWN),
      S(UP),
      S(DOWN),
      S(UP),
      S(TIME, 0, 999),
      S(TIME, 0, 1250),
      S(SENT, 0, 3),
      S(STORED, 0),
      S(DOWN),
      S(UP),
      S(TIME, 0, 2999),
      S(TIME, 0, 3750),
      S(SENT, 0, 4),
      S(STORED, 0),
      S(ANSWER, 0, OK, 4),
      S(ENDS, 0, OK)}},
    {"no second copy while the log has the first in hand",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(TIME, 0, 10000), S(STORED, 0), S(TIME, 0, 11500), S(SENT, 0, 2), S(STORED, 0),
      S(ANSWER, 0, OK, 1), S(ENDS, 0, OK)}},
    {"a path that comes up without having been in doubt sends nothing",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(UP), S(TIME, 0, 100), S(ANSWER, 0, OK, 1), S(ENDS, 0, OK)}},
    {"nothing is sent once copies would have expired",
     {S(DOWN), S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(TIME, 0, COPIES_MS), S(UP), S(TIME, 0, EXPIRY_MS - 1),
      S(TIME, 0, EXPIRY_MS), S(ENDS, 0, DEADLINE)}},
    {"nothing is sent for a caller that has gone",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(GONE, 0), S(DOWN), S(UP), S(TIME, 0, 20000)}},

    /* the log */
    {"a failed append is tried again, also while the way is down",
     {S(DOWN), S(CALL, 0, 0), S(SENT, 0, 1), S(LOST, 0, ANG_E_LOG_UNREACHABLE), S(TIME, 0, 199), S(TIME, 0, 250),
      S(SENT, 0, 2), S(LOST, 0, ANG_E_LOG_UNREACHABLE), S(TIME, 0, 800), S(SENT, 0, 3), S(STORED, 0),
      S(ANSWER, 0, OK, 3), S(ENDS, 0, OK)}},
    {"an append refused at once is tried again",
     {S(REFUSING, 0, ANG_E_LOG_UNREACHABLE), S(CALL, 0, 0), S(SENT, 0, 1), S(REFUSING, 0, 0), S(TIME, 0, 250),
      S(SENT, 0, 2), S(STORED, 0), S(ANSWER, 0, OK, 2), S(ENDS, 0, OK)}},
    {"a log that cannot be reached is UNAVAILABLE at expiry",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(LOST, 0, ANG_E_LOG_UNREACHABLE), S(TIME, 0, 250), S(SENT, 0, 2),
      S(TIME, 0, EXPIRY_MS), S(ENDS, 0, UNAVAILABLE)}},
    {"a log that says nothing is UNAVAILABLE at expiry",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(TIME, 0, EXPIRY_MS), S(ENDS, 0, UNAVAILABLE), S(STORED, 0)}},
    {"a stored command without an answer is DEADLINE_EXCEEDED at expiry, also after a later append failed",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(DOWN), S(UP), S(SENT, 0, 2), S(LOST, 0, ANG_E_LOG_UNREACHABLE),
      S(TIME, 0, 250), S(SENT, 0, 3), S(TIME, 0, EXPIRY_MS), S(ENDS, 0, DEADLINE)}},
    {"a full disk is told at once when nothing was stored",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(LOST, 0, ANG_E_LOG_NO_SPACE), S(ENDS, 0, UNAVAILABLE)}},
    {"a full disk is not told while an earlier copy may run",
     {S(CALL, 0, 0), S(SENT, 0, 1), S(STORED, 0), S(DOWN), S(UP), S(SENT, 0, 2), S(LOST, 0, ANG_E_LOG_NO_SPACE),
      S(ANSWER, 0, OK, 1), S(ENDS, 0, OK)}},
    {"what is too big is told at once",
     {S(REFUSING, 0, ANG_E_TOO_BIG), S(CALL, 0, 0), S(SENT, 0, 1), S(ENDS, 0, ANG_RESOURCE_EXHAUSTED)}},
};

struct event {
    bool sent; /* else: ended */
    int call;
    int value;
};

struct world {
    struct ang_pending *p;
    struct ang_topic commands;
    struct ang_domain domains[2];
    bool up;
    int refusing;
    struct ang_call *calls[MAX], *flying[MAX];
    struct event events[MAX];
    int n_events, n_seen;
    int64_t now;
};

static int index_of(const struct world *w, const struct ang_call *call) {
    int i;

    for (i = 0; w->calls[i] != call; i++)
        assert_in_range(i, 0, MAX - 2);
    return (i);
}

static struct ang_err *fake_send(void *arg, struct ang_call *call, uint32_t attempt) {
    struct world *w = arg;
    const int i = index_of(w, call);

    w->events[w->n_events++] = (struct event){true, i, (int)attempt};
    if (w->refusing != 0)
        return (ang_err_new((enum ang_ec)w->refusing, "no"));
    assert_null(w->flying[i]);
    w->flying[i] = ang_call_ref(call);
    return (NULL);
}

static void fake_end(void *arg, struct ang_call *call, struct ang_slice response, struct ang_status *st) {
    struct world *w = arg;
    const int i = index_of(w, call);

    assert_int_equal(response.n, st == NULL ? 4 : 0);
    w->events[w->n_events++] = (struct event){false, i, st == NULL ? ANG_OK : (int)st->code};
    w->calls[i] = NULL;
    ang_status_free(&st);
}

static bool fake_up(void *arg, const struct ang_domain *domain, int32_t partition) {
    return (((struct world *)arg)->up);
}

static void fake_describe(void *arg, const struct ang_domain *domain, int32_t partition, struct ang_buf *b) {
    ang_buf_add_str(b, "nobody");
}

/* Keys 0 to 4 differ in one part each, and so does 5. */
static struct ang_pending_id key(const struct world *w, int n) {
    static const uint8_t roots[2][16] = {{1, 2, 3}, {1, 2, 4}};

    return ((struct ang_pending_id){.domain = &w->domains[n == 1],
                                    .root = roots[n == 2],
                                    .edition = ang_slice_str(n == 3 ? "e" : ""),
                                    .command_id = ang_slice_str(n == 4   ? "id-4"
                                                                : n == 5 ? "id-5"
                                                                         : "id-0")});
}

static void call(struct world *w, const struct step *s) {
    struct ang_pending_id id = key(w, s->b);

    w->calls[s->n] = ang_pending_add(w->p, &id, s->b != 5);
    w->calls[s->n]->copies_ms = w->now + COPIES_MS;
    w->calls[s->n]->expiry_ms = w->now + EXPIRY_MS;
    ang_pending_start(w->p, w->calls[s->n], w->now);
}

static struct ang_call *land(struct world *w, int n) {
    struct ang_call *c = w->flying[n];

    assert_non_null(c);
    w->flying[n] = NULL;
    return (c);
}

static void stored(struct world *w, int n) {
    struct ang_call *c = land(w, n);

    atomic_store(&c->stored, true);
    ang_call_unref(c);
}

static void lost(struct world *w, const struct step *s) {
    struct ang_err *er = ang_err_new((enum ang_ec)s->b, "no");

    ang_pending_append_failed(w->p, land(w, s->n), &er, w->now);
    assert_null(er);
}

static void answer(struct world *w, const struct step *s) {
    struct ang_status *st = s->b == OK ? NULL : ang_status_new((uint32_t)s->b, "no");
    const struct ang_pending_answer a = {.id = key(w, s->n),
                                         .attempt = (uint32_t)s->a,
                                         .code = (uint32_t)s->b,
                                         .response = s->b == OK ? ang_slice_str("done") : ANG_SLICE_NONE,
                                         .status = st};

    ang_pending_answer(w->p, &a, w->now);
    ang_status_free(&st);
}

static void path(struct world *w, bool up) {
    const struct ang_pending_id id = key(w, 0);
    const int32_t partition = ang_partition_of_root(id.root, id.domain->partitions);

    w->up = up;
    if (up)
        ang_pending_path_up(w->p, id.domain, partition, w->now);
    else
        ang_pending_path_down(w->p, id.domain, partition);
    ang_pending_run(w->p, w->now);
}

/* As the gateway's timer would: whenever the table asks for it. */
static void run_until(struct world *w, int64_t until) {
    int64_t next;

    while ((next = ang_pending_next_ms(w->p)) <= until) {
        w->now = next > w->now ? next : w->now;
        ang_pending_run(w->p, w->now);
        assert_true(ang_pending_next_ms(w->p) > w->now);
    }
    w->now = until;
}

static void expect(struct world *w, const char *what, const struct step *s) {
    const struct event *e = &w->events[w->n_seen];

    if (w->n_seen == w->n_events)
        fail_msg("%s: expected call %d to %s with %d, nothing happened", what, s->n, s->v == SENT ? "be sent" : "end",
                 s->b);
    if (e->sent != (s->v == SENT) || e->call != s->n || e->value != s->b)
        fail_msg("%s: expected call %d to %s with %d, but call %d did %s with %d", what, s->n,
                 s->v == SENT ? "be sent" : "end", s->b, e->call, e->sent ? "be sent" : "end", e->value);
    w->n_seen++;
}

static void quiet(const struct world *w, const char *what, int step) {
    const struct event *e = &w->events[w->n_seen];

    if (w->n_seen != w->n_events)
        fail_msg("%s: before step %d: call %d was not expected to %s with %d", what, step, e->call,
                 e->sent ? "be sent" : "end", e->value);
}

static void do_step(struct world *w, const char *what, const struct step *s, int i) {
    if (s->v < SENT)
        quiet(w, what, i);
    switch (s->v) {
    case END_OF_SCRIPT:
        break;
    case CALL:
        call(w, s);
        break;
    case STORED:
        stored(w, s->n);
        break;
    case LOST:
        lost(w, s);
        break;
    case REFUSING:
        w->refusing = s->b;
        break;
    case ANSWER:
        answer(w, s);
        break;
    case DOWN:
        path(w, false);
        break;
    case UP:
        path(w, true);
        break;
    case TIME:
        run_until(w, START_MS + s->b);
        break;
    case GONE:
        ang_pending_drop(w->p, w->calls[s->n], w->now);
        w->calls[s->n] = NULL;
        break;
    case SENT:
    case ENDS:
        expect(w, what, s);
        break;
    case KEYS:
        if (ang_pending_keys(w->p) != (size_t)s->n)
            fail_msg("%s: step %d: expected %d keys, got %zu", what, i, s->n, ang_pending_keys(w->p));
        break;
    }
}

static void world_init(struct world *w) {
    const struct ang_pending_conf conf = {
        .send = fake_send, .end = fake_end, .up = fake_up, .describe = fake_describe, .arg = w, .seed = 42};
    int i;

    memset(w, 0, sizeof *w);
    w->commands = (struct ang_topic){.magic = ANG_TOPIC_MAGIC, .name = "t.commands", .partitions = 4};
    for (i = 0; i < 2; i++)
        w->domains[i] =
            (struct ang_domain){.magic = ANG_DOMAIN_MAGIC, .name = "d", .commands = &w->commands, .partitions = 4};
    w->up = true;
    w->now = START_MS;
    w->p = ang_pending_new(&conf);
}

static void world_fini(struct world *w) {
    int i;

    ang_pending_end_all(w->p, ANG_UNAVAILABLE, "over", w->now);
    for (i = 0; i < MAX; i++)
        if (w->flying[i] != NULL)
            stored(w, i);
    ang_pending_free(w->p);
}

static void test_scripts(void **state) {
    struct world w;
    size_t i;
    int k;

    for (i = 0; i < ANG_COUNT(rows); i++) {
        world_init(&w);
        for (k = 0; rows[i].script[k].v != END_OF_SCRIPT; k++)
            do_step(&w, rows[i].what, &rows[i].script[k], k);
        quiet(&w, rows[i].what, k);
        if (ang_pending_calls(w.p) != 0)
            fail_msg("%s: %zu calls are left", rows[i].what, ang_pending_calls(w.p));
        world_fini(&w);
    }
}

static struct ang_err *send_nothing(void *arg, struct ang_call *c, uint32_t attempt) {
    return (NULL);
}

static void count_end(void *arg, struct ang_call *c, struct ang_slice response, struct ang_status *st) {
    (*(size_t *)arg)++;
    ang_status_free(&st);
}

static bool always_up(void *arg, const struct ang_domain *domain, int32_t partition) {
    return (true);
}

/* Many keys, ended in another order than they came: hash and heap stay whole while they grow and shrink. */
static void test_many(void **state) {
    enum { N = 20000 };
    struct world w;
    size_t ended = 0, i, k;
    struct ang_pending_conf conf = {
        .send = send_nothing, .end = count_end, .up = always_up, .describe = fake_describe, .arg = &ended, .seed = 7};
    struct ang_pending_answer a = {.code = ANG_OK, .attempt = 1};
    struct ang_call *c;
    uint8_t root[16] = {0};
    int64_t last = 0;

    world_init(&w);
    ang_pending_free(w.p);
    w.p = ang_pending_new(&conf);
    a.id = key(&w, 5);
    a.id.root = root;
    for (i = 0; i < N; i++) {
        ang_put_be32(root, (uint32_t)i);
        c = ang_pending_add(w.p, &a.id, false);
        c->copies_ms = c->expiry_ms = START_MS + (int64_t)((i * 7919) % N);
        ang_pending_start(w.p, c, START_MS - 1);
    }
    assert_int_equal(ang_pending_domain_calls(w.p, a.id.domain), N);
    for (i = 0; i < N / 2; i++) { /* every second one, backwards */
        ang_put_be32(root, (uint32_t)(N - 2 * (i + 1)));
        ang_pending_answer(w.p, &a, START_MS);
        assert_int_equal(ended, i + 1);
    }
    for (k = 0; ang_pending_calls(w.p) > 0; k++) { /* the others by their times */
        assert_true(ang_pending_next_ms(w.p) >= last);
        last = ang_pending_next_ms(w.p);
        ang_pending_run(w.p, last);
        assert_true(k < 2 * N);
    }
    assert_int_equal(ended, N);
    assert_int_equal(ang_pending_keys(w.p), 0);
    assert_int_equal(ang_pending_domain_calls(w.p, a.id.domain), 0);
    ang_pending_free(w.p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scripts), cmocka_unit_test(test_many)};

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
