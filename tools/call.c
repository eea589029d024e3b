/* A call to a server, and waiting for what ends it: its answer, a signal, or the time. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tools/tool.h"

/* ---- signals: blocked in all threads, so they wait here ---- */
static int signals(void) {
    static int fd = -1;
    sigset_t set;

    if (fd >= 0)
        return (fd);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    AN(fd >= 0);
    return (fd);
}

/* Waits until fd (or a signal) is readable; which of the two. */
static void wait_for(int fd, int64_t timeout_ms, bool *ret_fd, bool *ret_signal) {
    struct pollfd fds[] = {{.fd = signals(), .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    int n;

    do
        n = poll(fds, 2, timeout_ms > INT32_MAX ? -1 : (int)timeout_ms);
    while (n < 0 && errno == EINTR);
    *ret_signal = n > 0 && fds[0].revents != 0;
    *ret_fd = n > 0 && fds[1].revents != 0;
}

bool tool_interrupted(int64_t timeout_ms) {
    bool fd, interrupted;

    wait_for(-1, timeout_ms, &fd, &interrupted);
    return (interrupted); /* the signal stays where it is: every later question has the same answer */
}

/* ---- the call ---- */
struct waiting {
    unsigned magic;
#define TOOL_WAITING_MAGIC 0x700ca110
    const struct tool_call *call;
    struct tool_answer *answer;
    struct ang_loop *loop;
    struct ang_rpc_channel *ch;
    struct ang_rpc_call *rpc; /* loop; NULL: over */
    struct ang_err *er;
    bool enough; /* loop; then read when it is over */
    int over;    /* eventfd */
};

static void tell_over(struct waiting *w) {
    const uint64_t one = 1;
    AN(write(w->over, &one, sizeof(one)) == sizeof(one));
}

static void done(void *arg, const struct ang_rpc_result *res) {
    struct waiting *w;
    ANG_CAST(w, arg, TOOL_WAITING_MAGIC);
    struct tool_answer *a = w->answer;

    w->rpc = NULL;
    a->code = res->code;
    ang_buf_add_slice(&a->msg, res->msg);
    ang_buf_add_slice(&a->response, res->response);
    if (res->n_trailers > 0)
        a->trailers = ang_status_new(res->code, "%s", "");
    for (size_t i = 0; i < res->n_trailers; i++)
        ang_status_add(a->trailers, res->trailers[i].key, res->trailers[i].value);
    tell_over(w);
}

static void message(void *arg, struct ang_slice msg) {
    struct waiting *w;

    ANG_CAST(w, arg, TOOL_WAITING_MAGIC);
    if (w->enough || w->call->message(w->call->arg, msg))
        return;
    w->enough = true;
    ang_rpc_call_cancel(w->rpc);
}

static void start(void *arg) {
    struct waiting *w;
    ANG_CAST(w, arg, TOOL_WAITING_MAGIC);
    const struct tool_call *c = w->call;

    w->er = ang_rpc_channel_open(w->loop, c->address, &w->ch);
    if (w->er != NULL)
        return;
    const struct ang_rpc_req req = {
        .path = c->path,
        .parts = &c->request,
        .n_parts = 1,
        .deadline_ms = c->timeout_ms == ANG_NEVER ? ANG_NEVER : ang_now_ms() + c->timeout_ms,
        .meta = c->meta,
        .n_meta = c->n_meta,
        .done = done,
        .message = c->message == NULL ? NULL : message,
        .arg = w,
    };
    w->rpc = ang_rpc_call_start(w->ch, &req);
}

static void stop(void *arg) {
    struct waiting *w;

    ANG_CAST(w, arg, TOOL_WAITING_MAGIC);
    if (w->rpc != NULL)
        ang_rpc_call_cancel(w->rpc);
}

static void close_channel(void *arg) {
    struct waiting *w;

    ANG_CAST(w, arg, TOOL_WAITING_MAGIC);
    ang_rpc_channel_close(w->ch);
}

/* True: a signal ended it. */
static bool await(struct waiting *w) {
    bool over, interrupted;

    do
        wait_for(w->over, ANG_NEVER, &over, &interrupted);
    while (!over && !interrupted);
    if (over)
        return (false);
    ang_loop_call(w->loop, stop, w);
    struct pollfd fd = {.fd = w->over, .events = POLLIN};
    while (poll(&fd, 1, -1) < 0)
        ;
    return (true);
}

/* ---- how it ended ---- */
static bool quiet(const struct tool_call *c, uint32_t code) {
    return (code < 32 && (c->quiet & 1u << code) != 0);
}

static int say_end(const struct tool_call *c, const struct tool_answer *a) {
    const bool unanswered = a->code == ANG_UNAVAILABLE || a->code == ANG_DEADLINE_EXCEEDED;

    if (!quiet(c, a->code))
        tool_say("%s: %s: %.*s%s%s", c->address, ang_code_name(a->code), (int)a->msg.n, (const char *)a->msg.p,
                 unanswered && c->doubt != NULL ? "\n  " : "", unanswered && c->doubt != NULL ? c->doubt : "");
    return (unanswered ? ANG_TOOL_NO_ANSWER : ANG_TOOL_FAILED);
}

static int result(const struct waiting *w, bool interrupted) {
    const struct tool_call *c = w->call;

    if (w->answer->code == ANG_OK || w->enough)
        return (ANG_TOOL_DONE);
    if (!interrupted)
        return (say_end(c, w->answer));
    if (c->watch)
        return (ANG_TOOL_DONE);
    tool_say("interrupted%s%s", c->doubt == NULL ? "" : ": ", c->doubt == NULL ? "" : c->doubt);
    return (ANG_TOOL_INTERRUPTED);
}

int tool_call(const struct tool_call *call, struct tool_answer *ret) {
    struct waiting w = {.magic = TOOL_WAITING_MAGIC, .call = call, .answer = ret, .over = eventfd(0, EFD_CLOEXEC)};
    int rc;

    AN(w.over >= 0);
    *ret = (struct tool_answer){.code = ANG_UNKNOWN_STATUS};
    w.loop = ang_loop_new("ang-tool", NULL, NULL);
    ang_loop_start(w.loop);
    ang_loop_call(w.loop, start, &w);
    if (w.er != NULL)
        rc = tool_fail(&w.er);
    else {
        rc = result(&w, await(&w));
        ang_loop_call(w.loop, close_channel, &w);
    }
    ang_loop_stop(w.loop);
    close(w.over);
    return (rc);
}

void tool_answer_fini(struct tool_answer *a) {
    ang_buf_fini(&a->msg);
    ang_buf_fini(&a->response);
    ang_status_free(&a->trailers);
}
