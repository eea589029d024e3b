/* Subscribe, Follow and the ExecuteStream family: books as they come; those of one correlation id, but for Follow.
 *
 *      Subscribe, Follow         WAITING ── the tail stands ──▶ FOLLOWING
 *      ExecuteStream   WAITING ── the tail stands ──▶ EXECUTING ── the command's book ──▶ FOLLOWING ── time, count, silence ──▶ OK
 *
 * A command is executed only when its events will be heard.  What is heard before its own book has gone out is held back, and its own
 * book, which is heard as well, is left out.
 *
 * The tail goes at the pace of callers who take what they are sent (pace.h).  One who does not is cut off: when more than STREAM_MAX waits
 * for him, or when stream.memory is used up and he is the one with the most. */
#include <stdlib.h>

#include "gateway/gateway_priv.h"
#include "topology/check.h"

#define STREAM_MAX ((size_t)1 << 20)

enum stream_state { WAITING, EXECUTING, FOLLOWING };

struct held { /* a book that came before the command's own */
    STAILQ_ENTRY(held) link;
    struct ang_shared *book;
};

struct ang_stream {
    unsigned magic;
#define ANG_STREAM_MAGIC 0x6a7e0008
    struct ang_gateway *g;
    struct ang_stream *next, **prev;
    struct ang_rpc *rpc;
    struct ang_filter filter; /* of one that does not execute */
    struct ang_listener listener;
    struct ang_paced paced;
    enum stream_state state;
    bool executes;
    struct ang_timer timer; /* WAITING: until when; FOLLOWING: the end */
    /* of one that executes */
    struct ang_wire_command_book command; /* borrows the request */
    const struct ang_domain *domain;      /* its */
    struct ang_call *call;                /* EXECUTING */
    int32_t count;                        /* messages; 0: no limit */
    int32_t sent;
    int64_t time_ms, silence_ms; /* when it ends; ANG_NEVER */
    STAILQ_HEAD(, held) held;
    size_t held_n;
    const struct ang_domain *own_domain; /* FOLLOWING: what its own book was; NULL: nothing was stored */
    uint32_t own_last;
};

/* ---- the end ---- */

static void forget_held(struct ang_stream *s) {
    struct held *h;

    while ((h = STAILQ_FIRST(&s->held)) != NULL) {
        STAILQ_REMOVE_HEAD(&s->held, link);
        ang_shared_unref(h->book);
        free(h);
    }
    s->held_n = 0;
}

/* Takes the rpc away from it, which is about to end with st (NULL: OK), and frees it. */
static struct ang_rpc *end(struct ang_stream *s, const struct ang_status *st) {
    struct ang_gateway *g = s->g;
    struct ang_rpc *rpc = s->rpc;

    ang_rpc_set_user(rpc, NULL, NULL);
    ang_listen_stop(g->ears, &s->listener);
    ang_pace_drained(&g->pace, &s->paced, ang_now_ms());
    ang_timer_cancel(g->loop, &s->timer);
    if (s->call != NULL)
        ang_command_drop(g, s->call);
    if (s->executes && s->state != FOLLOWING) /* its command has no other answer */
        ang_gateway_meter_end(g, s->domain, rpc, st);
    forget_held(s);
    *s->prev = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    g->n_streams--;
    ang_tail_unwant(g->tail);
    s->magic = 0;
    free(s);
    return (rpc);
}

static void fail(struct ang_stream *s, struct ang_status *st) {
    ang_rpc_fail(end(s, st), &st);
}

static void done(struct ang_stream *s) {
    ang_rpc_end(end(s, NULL));
}

static void cancelled(struct ang_rpc *rpc, void *user) {
    struct ang_stream *s;

    (void)rpc;
    ANG_CAST(s, user, ANG_STREAM_MAGIC);
    fail(s, ang_status_new(ANG_CANCELLED, "the caller has gone"));
}

/* ---- callers that are too slow ---- */

static void cut(struct ang_stream *s, size_t waiting) {
    struct ang_status *st;

    st = ang_status_new(
        ANG_RESOURCE_EXHAUSTED,
        "the caller takes the stream too slowly: %zu bytes wait for him%s; what was stored can be read with GetEvents",
        waiting, s->state == EXECUTING ? " and the command has not been answered yet" : "");
    ANG_LOG_EVERY(1000, ANG_LOG_INFO, "STREAM-CUT", "a caller that takes its stream too slowly was cut off", "bytes",
                  ANG_F("%zu", waiting));
    ang_rpc_cut(end(s, st), &st);
}

static size_t waiting_for(const struct ang_stream *s) {
    return (s->held_n + ang_rpc_queued(s->rpc));
}

/* Whoever has the most lets the others go on. */
static void make_room(struct ang_gateway *g) {
    struct ang_stream *s, *most = NULL;
    size_t n, most_n = 0;

    if (ang_ears_held(g->ears) <= (size_t)g->conf.settings->stream.memory)
        return;
    for (s = g->streams; s != NULL; s = s->next) {
        n = waiting_for(s);
        if (n > most_n) {
            most = s;
            most_n = n;
        }
    }
    if (most != NULL)
        cut(most, most_n);
}

/* ---- books ---- */

static void arm(struct ang_stream *s) {
    const int64_t at = s->time_ms < s->silence_ms ? s->time_ms : s->silence_ms;

    /* A timer that fires too early costs less than moving it with every book. */
    if (s->executes && (s->timer.slot == 0 || at < s->timer.at_ms))
        ang_timer_set(s->g->loop, &s->timer, at);
}

/* One message has gone out. False: it was the last one. */
static bool counted(struct ang_stream *s) {
    s->silence_ms = ang_now_ms() + s->g->conf.settings->stream.timeout_ms;
    s->sent++;
    if (s->count > 0 && s->sent >= s->count) {
        done(s);
        return (false);
    }
    arm(s);
    return (true);
}

static bool is_own(const struct ang_stream *s, const struct ang_shared *book) {
    const struct ang_wire_cover *c = &s->command.cover;

    return (book->domain == s->own_domain && book->first <= s->own_last && memcmp(book->root, c->root.p, 16) == 0 &&
            ang_slice_is(c->edition, book->edition));
}

static void drained(struct ang_rpc *rpc, void *user) {
    struct ang_stream *s;

    (void)rpc;
    ANG_CAST(s, user, ANG_STREAM_MAGIC);
    ang_pace_drained(&s->g->pace, &s->paced, ang_now_ms());
}

/* The stream may be over when it returns; false: it is. */
static bool pass_on(struct ang_stream *s, struct ang_shared *book) {
    const size_t queued = ang_rpc_queued(s->rpc);

    if (is_own(s, book))
        return (true);
    if (queued > STREAM_MAX) {
        cut(s, queued);
        return (false);
    }
    (void)ang_shared_send(book, s->rpc); /* refused: the caller has gone, and cancelled is on its way */
    if (ang_pace_sent(&s->g->pace, &s->paced, queued + book->n, ang_now_ms()))
        ang_rpc_on_drained(s->rpc, ANG_PACE_LOW, drained);
    return (counted(s));
}

static void hold(struct ang_stream *s, struct ang_shared *book) {
    struct held *h = ANG_NEW(struct held);

    h->book = ang_shared_ref(book);
    STAILQ_INSERT_TAIL(&s->held, h, link);
    s->held_n += book->n;
    if (s->held_n > STREAM_MAX + book->n)
        cut(s, s->held_n);
}

static void hear(struct ang_listener *l, struct ang_heard *h) {
    struct ang_stream *s = ANG_CONTAINER(l, struct ang_stream, listener);
    struct ang_gateway *g = s->g;
    struct ang_shared *book;

    ANG_CHECK(s, ANG_STREAM_MAGIC);
    if (!ang_filter_wants(&s->filter, h))
        return;
    switch (s->state) {
    case WAITING:
        return;
    case EXECUTING:
        book = ang_heard_share(g->ears, h);
        hold(s, book);
        break;
    case FOLLOWING:
        book = ang_heard_share(g->ears, h);
        (void)pass_on(s, book);
        break;
    }
    make_room(g);
}

/* ---- the command ---- */

/* Its own book, which goes out as the answer has it. */
static struct ang_err *send_own(struct ang_stream *s, struct ang_slice response) {
    struct ang_wire_event_book book;
    struct ang_wire_field f;
    struct ang_err *er;

    if (!ang_wire_find(response, 1, &f) || f.type != ANG_WIRE_BYTES)
        return (ang_err_new(ANG_E_WIRE, "CommandResponse.events: missing"));
    er = ang_wire_parse_event_book(f.bytes, &book);
    if (er != NULL)
        return (ang_err_wrap(&er, "CommandResponse.events"));
    if (book.n_numbered > 0) {
        s->own_domain = s->domain;
        s->own_last = book.last_num;
    }
    (void)ang_rpc_send(s->rpc, &f.bytes, 1);
    return (NULL);
}

void ang_stream_answered(struct ang_stream *s, struct ang_slice response, struct ang_status *st) {
    struct ang_err *er;
    struct held *h;
    bool on;

    ANG_CHECK(s, ANG_STREAM_MAGIC);
    s->call = NULL;
    s->state = FOLLOWING;
    if (st != NULL) {
        fail(s, st);
        return;
    }
    er = send_own(s, response);
    if (er != NULL) {
        fail(s, ang_status_from_err(&er));
        return;
    }
    on = counted(s);
    while (on && (h = STAILQ_FIRST(&s->held)) != NULL) {
        struct ang_shared *book = h->book;

        STAILQ_REMOVE_HEAD(&s->held, link);
        s->held_n -= book->n;
        free(h);
        on = pass_on(s, book);
        ang_shared_unref(book);
    }
    if (on && s->g->stopping)
        fail(s, ang_status_new(ANG_UNAVAILABLE, "the gateway is stopping; the command was executed"));
}

void ang_stream_executing(struct ang_stream *s, struct ang_call *call) {
    s->call = call;
}

static void begin(struct ang_stream *s) {
    struct ang_status *st;

    ang_timer_cancel(s->g->loop, &s->timer);
    ang_rpc_begin(s->rpc); /* from here on nothing is missed */
    if (!s->executes) {
        s->state = FOLLOWING;
        return;
    }
    s->state = EXECUTING;
    st = ang_command_take(s->g, s->rpc, &(struct ang_request){.command = &s->command}, s, &s->domain);
    if (st != NULL)
        fail(s, st);
}

static void timed(struct ang_timer *t) {
    struct ang_stream *s = ANG_CONTAINER(t, struct ang_stream, timer);
    struct ang_buf b = {0};

    if (s->state == WAITING) {
        ang_tail_describe(s->g->tail, &b);
        ang_buf_add_u8(&b, '\0');
        fail(s, ang_status_new(ANG_UNAVAILABLE, "not executed: its events could not be listened for in time: %s",
                               (char *)b.p));
        ang_buf_fini(&b);
    } else if (ang_now_ms() >= s->time_ms || ang_now_ms() >= s->silence_ms) {
        done(s);
    } else {
        arm(s);
    }
}

/* ---- the rpcs ---- */

static struct ang_stream *stream_new(struct ang_gateway *g, struct ang_rpc *rpc) {
    struct ang_stream *s = ANG_NEW(struct ang_stream);

    s->magic = ANG_STREAM_MAGIC;
    s->g = g;
    s->rpc = rpc;
    s->listener.hear = hear;
    s->time_ms = s->silence_ms = ANG_NEVER;
    STAILQ_INIT(&s->held);
    ang_timer_init(&s->timer, timed);
    s->next = g->streams;
    s->prev = &g->streams;
    if (s->next != NULL)
        s->next->prev = &s->next;
    g->streams = s;
    g->n_streams++;
    ang_rpc_set_user(rpc, s, cancelled);
    ang_tail_want(g->tail);
    return (s);
}

static struct ang_status *stopping(const struct ang_gateway *g) {
    return (g->stopping ? ang_status_new(ANG_UNAVAILABLE, "the gateway is stopping") : NULL);
}

/* Takes st: why it is refused. */
static void follow(struct ang_gateway *g, struct ang_rpc *rpc, struct ang_status *st, const struct ang_filter *filter) {
    struct ang_stream *s;

    if (st == NULL)
        st = stopping(g);
    if (st != NULL) {
        ang_rpc_fail(rpc, &st);
        return;
    }
    s = stream_new(g, rpc);
    s->filter = *filter;
    ang_filter_listen(&s->filter, g->ears, &s->listener);
    if (ang_tail_stands(g->tail))
        begin(s);
}

void ang_stream_subscribe(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_filter filter;
    struct ang_gateway *g;
    struct ang_status *st = ang_filter_parse_subscribe(request, &filter);

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    follow(g, rpc, st, &filter);
}

void ang_stream_follow(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_filter filter;
    struct ang_gateway *g;
    struct ang_status *st;

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    st = ang_filter_parse_follow(g, request, &filter);
    follow(g, rpc, st, &filter);
}

/* Takes er.  count, time_ms: 0 is none. */
static void execute(struct ang_gateway *g, struct ang_rpc *rpc, struct ang_err *er,
                    const struct ang_wire_command_book *book, int32_t count, int32_t time_ms) {
    const int64_t now_ms = ang_now_ms(), callers = ang_rpc_deadline(rpc),
                  most = now_ms + g->conf.settings->gateway.deadline_ms;
    const struct ang_domain *domain = NULL;
    char text[ANG_UUID_TEXT + 1];
    struct ang_status *st = er != NULL ? ang_status_from_err(&er) : stopping(g);
    struct ang_stream *s;

    if (st == NULL)
        st = ang_check_command(g->conf.topology, "CommandBook", &book->cover, &domain);
    if (st != NULL) {
        ang_gateway_meter_end(g, domain, rpc, st);
        ang_rpc_fail(rpc, &st);
        return;
    }
    s = stream_new(g, rpc);
    ang_listen_correlation(g->ears, &s->listener,
                           ang_command_correlation(&(struct ang_request){.command = book}, text));
    s->executes = true;
    s->command = *book;
    s->domain = domain;
    s->count = count;
    s->time_ms = time_ms > 0 ? now_ms + time_ms : ANG_NEVER;
    if (ang_tail_stands(g->tail))
        begin(s);
    else
        ang_timer_set(g->loop, &s->timer,
                      callers < most ? callers - (callers - now_ms) / 10 : most); /* so that he still hears why */
}

static struct ang_err *lacking(struct ang_err *er, const struct ang_wire_command_request *r, const char *message,
                               const char *arg) {
    if (er != NULL)
        return (er);
    if (!r->has_command)
        return (ang_err_new(ANG_E_INVALID, "%s must have a command", message));
    if (r->arg < 0)
        return (ang_err_new(ANG_E_INVALID, "Invalid %s: %d, expected 0 or more", arg, (int)r->arg));
    return (NULL);
}

void ang_stream_execute(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_wire_command_book book;
    struct ang_gateway *g;

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    execute(g, rpc, ang_wire_parse_command_book(request, &book), &book, 0, 0);
}

void ang_stream_execute_count(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_wire_command_request r;
    struct ang_gateway *g;
    struct ang_err *er = ang_wire_parse_stream_count(request, &r);

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    er = lacking(er, &r, "ExecuteStreamCountRequest", "count");
    execute(g, rpc, er, &r.command, r.arg, 0);
}

void ang_stream_execute_time(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_wire_command_request r;
    struct ang_gateway *g;
    struct ang_err *er = ang_wire_parse_stream_time(request, &r);

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    er = lacking(er, &r, "ExecuteStreamTimeRequest", "timeout_ms");
    execute(g, rpc, er, &r.command, 0, r.arg);
}

/* ---- for others ---- */

void ang_streams_tail(struct ang_gateway *g, bool stands) {
    struct ang_stream *s, *next;

    for (s = g->streams; s != NULL; s = next) {
        next = s->next;
        if (stands && s->state == WAITING)
            begin(s);
        else if (!stands && s->state != WAITING)
            fail(s, ang_status_new(ANG_UNAVAILABLE, "events may have been missed: the log could not be read%s",
                                   s->state == EXECUTING ? "; whether the command was executed is open" : ""));
    }
}

void ang_streams_end_all(struct ang_gateway *g, bool executing_too, uint32_t code, const char *msg) {
    struct ang_stream *s, *next;

    for (s = g->streams; s != NULL; s = next) {
        next = s->next;
        if (executing_too || s->state != EXECUTING)
            fail(s, ang_status_new(code, "%s", msg));
    }
}
