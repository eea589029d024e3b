/* grpc.health.v1 of several addresses at once.  Who has no such service but says so speaks gRPC, which is an answer too. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/status.h"

#define SERVING      1 /* HealthCheckResponse { status = 1 } */
#define WORD_OF(b)   ((b).n == 2 && (b).p[0] == 0x08 ? (b).p[1] : 0)
#define MESSAGE_SHOW 100

struct asked {
    unsigned magic;
#define STATUS_ASKED_MAGIC 0x57a75a5c
    struct status_check *check;
    struct asking *asking;
    struct ang_rpc_channel *ch;
};

struct asking {
    unsigned magic;
#define STATUS_ASKING_MAGIC 0x57a75a50
    struct ang_loop *loop;
    struct asked *asked;
    size_t n;
    int64_t deadline_ms;
    /* lock */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t open;
};

/* "failed to connect to all addresses; last error: UNKNOWN: …: Connection refused" has its point at its end. */
static struct ang_slice point_of(struct ang_slice msg) {
    static const char known[] = "failed to connect";
    const uint8_t *colon;

    if (msg.n < sizeof known - 1 || memcmp(msg.p, known, sizeof known - 1) != 0)
        return (msg);
    colon = memrchr(msg.p, ':', msg.n);
    if (colon == NULL || colon + 2 >= msg.p + msg.n)
        return (msg);
    return (ang_slice_of(colon + 2, (size_t)(msg.p + msg.n - colon - 2)));
}

static void judge(struct status_check *c, const struct ang_rpc_result *res) {
    const struct ang_slice why = point_of(res->msg);

    c->answers = res->code != ANG_UNAVAILABLE && res->code != ANG_DEADLINE_EXCEEDED && res->code != ANG_CANCELLED;
    if (!c->answers)
        (void)snprintf(c->text, sizeof c->text, "no answer: %.*s", (int)(why.n > MESSAGE_SHOW ? MESSAGE_SHOW : why.n),
                       why.n == 0 ? "" : (const char *)why.p);
    else if (res->code != ANG_OK)
        (void)snprintf(c->text, sizeof c->text, "answers (no health service)");
    else
        (void)snprintf(c->text, sizeof c->text, "%s", WORD_OF(res->response) == SERVING ? "serving" : "not serving");
    c->serving = c->answers && (res->code != ANG_OK || WORD_OF(res->response) == SERVING);
}

static void one_less(struct asking *a) {
    ANG_PT(pthread_mutex_lock(&a->lock));
    if (--a->open == 0)
        ANG_PT(pthread_cond_signal(&a->cond));
    ANG_PT(pthread_mutex_unlock(&a->lock));
}

static void done(void *arg, const struct ang_rpc_result *res) {
    struct asked *q;

    ANG_CAST(q, arg, STATUS_ASKED_MAGIC);
    judge(q->check, res);
    one_less(q->asking);
}

static void start_all(void *arg) {
    struct asking *a;

    ANG_CAST(a, arg, STATUS_ASKING_MAGIC);
    for (size_t i = 0; i < a->n; i++) {
        struct asked *q = &a->asked[i];
        struct ang_err *er = ang_rpc_channel_open(a->loop, q->check->address, &q->ch);
        const struct ang_rpc_req req = {
            .path = "/grpc.health.v1.Health/Check", .deadline_ms = a->deadline_ms, .done = done, .arg = q};

        if (er == NULL) {
            (void)ang_rpc_call_start(q->ch, &req);
            continue;
        }
        (void)snprintf(q->check->text, sizeof q->check->text, "no answer: %s", er->msg);
        ang_err_free(&er);
        one_less(a);
    }
}

static void close_all(void *arg) {
    struct asking *a;

    ANG_CAST(a, arg, STATUS_ASKING_MAGIC);
    for (size_t i = 0; i < a->n; i++)
        ang_rpc_channel_close(a->asked[i].ch);
}

void status_check(struct status_check *checks, size_t n, int64_t timeout_ms) {
    struct asking a = {.magic = STATUS_ASKING_MAGIC,
                       .n = n,
                       .open = n,
                       .deadline_ms = ang_now_ms() + timeout_ms,
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .cond = PTHREAD_COND_INITIALIZER};

    if (n == 0)
        return;
    a.asked = ang_calloc(n, sizeof *a.asked);
    for (size_t i = 0; i < n; i++)
        a.asked[i] = (struct asked){.magic = STATUS_ASKED_MAGIC, .check = &checks[i], .asking = &a};
    a.loop = ang_loop_new("ang-health", NULL, NULL);
    ang_loop_start(a.loop);
    ang_loop_call(a.loop, start_all, &a);
    ANG_PT(pthread_mutex_lock(&a.lock));
    while (a.open > 0) /* each has a deadline */
        ANG_PT(pthread_cond_wait(&a.cond, &a.lock));
    ANG_PT(pthread_mutex_unlock(&a.lock));
    ang_loop_call(a.loop, close_all, &a);
    ang_loop_stop(a.loop);
    free(a.asked);
}
