/* A call to a server, and waiting for what ends it: its answer, a signal, or the time. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tools/tool.h"

/* ---- signals: blocked in all threads, so they wait here ---- */
static bool interrupted; /* every later question has the same answer */

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

/* From now on they end the process: it may be that somebody does not take what we print. */
static void take_signal(void) {
    struct signalfd_siginfo info;
    sigset_t set;

    AN(read(signals(), &info, sizeof(info)) == sizeof(info));
    interrupted = true;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    ANG_PT(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
}

/* Waits until fd is readable, or a signal has come; true: fd is.  Or until nobody reads standard output any more, when out is that. */
static bool wait_for(int fd, int out, int64_t timeout_ms) {
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = signals(), .events = POLLIN}, {.fd = out}};
    int n;

    if (interrupted) {
        timeout_ms = 0;
        fds[1].fd = -1;
    }
    do
        n = poll(fds, 3, timeout_ms > INT32_MAX ? -1 : timeout_ms < 0 ? 0 : (int)timeout_ms);
    while (n < 0 && errno == EINTR);
    if (n > 0 && fds[1].revents != 0)
        take_signal();
    return (n > 0 && fds[0].revents != 0);
}

bool tool_interrupted(int64_t timeout_ms) {
    (void)wait_for(-1, -1, timeout_ms);
    return (interrupted);
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
    /* Streams; written on the loop's thread, read by who waits: nothing else hangs on them. */
    _Atomic int64_t last_ms; /* something came */
    atomic_bool begun, busy; /* busy: with a message, maybe because what we print is not taken */
};

enum end { END_OVER, END_SIGNAL, END_TIME, END_UNREAD, END_SILENCE };

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

static void begun(void *arg) {
    struct waiting *w;

    ANG_CAST(w, arg, TOOL_WAITING_MAGIC);
    w->last_ms = ang_now_ms();
    if (w->enough || w->call->begun == NULL)
        return;
    w->begun = true;
    w->call->begun(w->call->arg);
}

static void message(void *arg, struct ang_slice msg) {
    struct waiting *w;

    ANG_CAST(w, arg, TOOL_WAITING_MAGIC);
    if (w->enough)
        return;
    w->busy = true;
    if (!w->call->message(w->call->arg, msg)) {
        w->enough = true;
        ang_rpc_call_cancel(w->rpc);
    }
    w->last_ms = ang_now_ms();
    w->begun = true;
    w->busy = false;
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
        .deadline_ms = c->timeout_ms == ANG_NEVER || c->message != NULL ? ANG_NEVER : ang_now_ms() + c->timeout_ms,
        .meta = c->meta,
        .n_meta = c->n_meta,
        .done = done,
        .message = c->message == NULL ? NULL : message,
        .begun = c->message == NULL ? NULL : begun,
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

/* When nothing has come for too long. */
static int64_t silent_at(const struct waiting *w) {
    const struct tool_call *c = w->call;

    if (c->message == NULL || c->timeout_ms == ANG_NEVER || (c->watch && w->begun))
        return (ANG_NEVER);
    return ((w->busy ? ang_now_ms() : w->last_ms) + c->timeout_ms);
}

static enum end watch(struct waiting *w) {
    const int64_t end_at = w->call->until_ms == 0 ? ANG_NEVER : w->call->until_ms;
    const int out = w->call->watch ? STDOUT_FILENO : -1;

    for (;;) {
        const int64_t silent = silent_at(w), next = silent < end_at ? silent : end_at;
        if (wait_for(w->over, out, next == ANG_NEVER ? ANG_NEVER : next - ang_now_ms()))
            return (END_OVER);
        if (interrupted)
            return (END_SIGNAL);
        if (ang_now_ms() >= end_at)
            return (END_TIME);
        if (w->call->watch && tool_unread())
            return (END_UNREAD);
        if (ang_now_ms() >= silent_at(w))
            return (END_SILENCE);
    }
}

static enum end await(struct waiting *w) {
    struct pollfd fd = {.fd = w->over, .events = POLLIN};
    const enum end end = watch(w);

    if (end == END_OVER)
        return (end);
    ang_loop_call(w->loop, stop, w);
    while (poll(&fd, 1, -1) < 0)
        ;
    return (end);
}

/* ---- how it ended ---- */

/* gRPC's words for a connection that was never made: nothing has reached anybody. */
static bool unreached(const struct tool_answer *a) {
    static const char *const starts[] = {"failed to connect to all addresses", "DNS resolution failed"};

    for (size_t i = 0; a->code == ANG_UNAVAILABLE && i < ANG_COUNT(starts); i++)
        if (a->msg.n >= strlen(starts[i]) && memcmp(a->msg.p, starts[i], strlen(starts[i])) == 0)
            return (true);
    return (false);
}

static bool unanswered(const struct tool_answer *a) {
    return (a->code == ANG_UNAVAILABLE || a->code == ANG_DEADLINE_EXCEEDED || a->code == ANG_CANCELLED);
}

void tool_say_answer(const struct tool_call *c, const struct tool_answer *a) {
    struct ang_buf words = {NULL, 0, 0};

    tool_add_shown(&words, ang_buf_slice(&a->msg));
    ang_buf_add_u8(&words, '\0');
    if (unreached(a))
        tool_say(
            "nobody answers at %s (%s)\n"
            "  Is angzarr running, and is this the gateway.address of its configuration?  --address names another one.",
            c->address, (const char *)words.p);
    else
        tool_say("%s: %s: %s%s%s", c->address, ang_code_name(a->code), (const char *)words.p,
                 unanswered(a) && c->doubt != NULL ? "\n  " : "", unanswered(a) && c->doubt != NULL ? c->doubt : "");
    ang_buf_fini(&words);
}

static int say_end(const struct waiting *w) {
    const struct tool_answer *a = w->answer;
    struct tool_call c = *w->call;

    if (w->begun) /* it was: we have seen what came of it */
        c.doubt = NULL;
    if (a->code >= 32 || (c.quiet & 1u << a->code) == 0)
        tool_say_answer(&c, a);
    return (unanswered(a) ? ANG_TOOL_NO_ANSWER : ANG_TOOL_FAILED);
}

static void note_silence(const struct waiting *w) {
    struct tool_answer *a = w->answer;

    a->code = ANG_DEADLINE_EXCEEDED;
    ang_buf_clear(&a->msg);
    ang_buf_addf(&a->msg, "%s within %g s (--timeout)", w->begun ? "nothing more came" : "it has not begun to answer",
                 (double)w->call->timeout_ms / 1000);
}

static int result(const struct waiting *w, enum end end) {
    const struct tool_call *c = w->call;

    if (w->answer->code == ANG_OK || w->enough || end == END_TIME || end == END_UNREAD)
        return (ANG_TOOL_DONE);
    if (end == END_SILENCE)
        note_silence(w);
    if (end != END_SIGNAL)
        return (say_end(w));
    if (c->watch && (w->begun || c->doubt == NULL))
        return (ANG_TOOL_DONE);
    tool_say("interrupted%s%s", c->doubt == NULL ? "" : ": ", c->doubt == NULL ? "" : c->doubt);
    return (ANG_TOOL_INTERRUPTED);
}

int tool_call(const struct tool_call *call, struct tool_answer *ret) {
    struct waiting w = {.magic = TOOL_WAITING_MAGIC, .call = call, .answer = ret, .over = eventfd(0, EFD_CLOEXEC)};
    enum end end = END_OVER;
    int rc;

    AN(w.over >= 0);
    *ret = (struct tool_answer){.code = ANG_UNKNOWN_STATUS};
    w.last_ms = ang_now_ms();
    w.loop = ang_loop_new("ang-tool", NULL, NULL);
    ang_loop_start(w.loop);
    ang_loop_call(w.loop, start, &w);
    if (w.er == NULL) {
        end = await(&w);
        ang_loop_call(w.loop, close_channel, &w);
    }
    ang_loop_stop(w.loop); /* what its thread wrote is ours from here on */
    rc = w.er != NULL ? tool_misuse("%s", w.er->msg) : result(&w, end);
    ang_err_free(&w.er);
    close(w.over);
    return (rc);
}

void tool_answer_fini(struct tool_answer *a) {
    ang_buf_fini(&a->msg);
    ang_buf_fini(&a->response);
    ang_status_free(&a->trailers);
}
