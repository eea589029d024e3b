/* Queries.  With a worker in this process they are its own; otherwise they are passed on to the owner of the root's partition or, without
 * a root, to all workers, and what comes back is passed through.
 *
 *      query --leg--> worker a          one leg with a root,
 *            --leg--> worker b          one per worker without
 *
 * While nobody serves a partition that matters, and whenever a worker says UNAVAILABLE (it does not serve it any more, or cannot be
 * reached), the query waits and asks again, until its deadline: a partition that moves is not the caller's business.  Once messages of a
 * stream have been passed on it cannot be asked again, and ends UNAVAILABLE. */
#include <stdlib.h>

#include "gateway/gateway_priv.h"
#include "topology/check.h"

#define PATH_BOOK   "/angzarr.EventQuery/GetEventBook"
#define PATH_EVENTS "/angzarr.EventQuery/GetEvents"

#define DEADLINE_MS  30000 /* when the caller has none */
#define MARGIN_MS    50    /* before the caller's deadline, so that he still hears why */
#define PAUSE_MS     50    /* before it asks again; doubles */
#define PAUSE_MAX_MS 200
#define BACKLOG_MAX  ((size_t)16 << 20) /* bytes of a stream that the caller has not taken, beyond what the rpc holds */
#define BACKLOG_LOW  ((size_t)1 << 20)

struct leg {
    struct leg *next;
    struct ang_query *q;
    struct ang_rpc_call *call;
};

struct part { /* a message that waits for the caller */
    struct part *next;
    struct ang_blob *blob;
};

struct ang_query {
    unsigned magic;
#define ANG_QUERY_MAGIC 0x6a7e0005
    struct ang_gateway *g;
    struct ang_query *next, **prev;
    struct ang_rpc *rpc; /* NULL: it has ended; the legs are still to come home */
    bool stream, has_root;
    const struct ang_domain *domain; /* NULL: all */
    int32_t partition;               /* has_root */
    int64_t wait_until_ms;           /* as long as it may wait for owners */
    int64_t deadline_ms;             /* of the legs */
    struct ang_timer retry;
    bool waiting; /* for an owner */
    uint32_t pauses;
    uint64_t version; /* of the routes when the legs went out */
    struct leg *legs;
    struct ang_rpc_channel *asked; /* has_root: whom the leg went to; only compared */
    bool again;                    /* when the legs are home, ask again */
    bool forwarded;
    struct part *backlog, **backlog_tail;
    size_t backlog_n;
    bool complete; /* all legs ended well; the backlog is still to go */
};

static void ask(struct ang_query *q);

/* ---- ends ---- */

static void release(struct ang_query *q) {
    struct part *part;

    if (q->rpc != NULL || q->legs != NULL)
        return;
    while ((part = q->backlog) != NULL) {
        q->backlog = part->next;
        ang_blob_unref(part->blob);
        free(part);
    }
    q->magic = 0;
    free(q);
}

static void cancel_legs(struct ang_query *q) {
    struct leg *leg;

    for (leg = q->legs; leg != NULL; leg = leg->next)
        ang_rpc_call_cancel(leg->call); /* its done comes later */
}

/* The caller has what he gets: takes the rpc away from the query, whose legs are called back. */
static struct ang_rpc *end(struct ang_query *q) {
    struct ang_rpc *rpc = q->rpc;

    *q->prev = q->next;
    if (q->next != NULL)
        q->next->prev = q->prev;
    ang_timer_cancel(q->g->loop, &q->retry);
    ang_rpc_set_user(rpc, NULL, NULL);
    q->rpc = NULL;
    cancel_legs(q);
    return (rpc);
}

static void fail(struct ang_query *q, struct ang_status *st) {
    struct ang_rpc *rpc = end(q);

    ang_rpc_fail(rpc, &st);
    release(q);
}

static void reply(struct ang_query *q, struct ang_slice book) {
    struct ang_rpc *rpc = end(q);

    ang_rpc_reply(rpc, &book, 1);
    release(q);
}

static void end_stream(struct ang_query *q) {
    if (q->backlog != NULL) {
        q->complete = true;
        return;
    }
    ang_rpc_end(end(q));
    release(q);
}

static void cancelled(struct ang_rpc *rpc, void *user) {
    struct ang_query *q;

    (void)rpc;
    ANG_CAST(q, user, ANG_QUERY_MAGIC);
    fail(q, ang_status_new(ANG_CANCELLED, "the caller has gone"));
}

/* A callee's status as it came. */
static struct ang_status *pass(const struct ang_rpc_result *res) {
    struct ang_status *st = ang_status_new(res->code, "%.*s", (int)res->msg.n, (const char *)res->msg.p);
    size_t i;

    for (i = 0; i < res->n_trailers; i++)
        ang_status_add(st, res->trailers[i].key, res->trailers[i].value);
    return (st);
}

/* ---- streams: what the caller does not take yet ---- */

static void drained(struct ang_rpc *rpc, void *user) {
    struct ang_query *q;
    struct ang_slice msg;
    struct part *part;

    ANG_CAST(q, user, ANG_QUERY_MAGIC);
    while ((part = q->backlog) != NULL) {
        msg = ang_blob_slice(part->blob);
        if (!ang_rpc_send(rpc, &msg, 1)) {
            ang_rpc_on_drained(rpc, BACKLOG_LOW, drained);
            return;
        }
        q->backlog = part->next;
        if (q->backlog == NULL)
            q->backlog_tail = &q->backlog;
        q->backlog_n -= msg.n;
        ang_blob_unref(part->blob);
        free(part);
    }
    if (q->complete)
        end_stream(q);
}

static void leg_message(void *arg, struct ang_slice msg) {
    struct ang_query *q = ((struct leg *)arg)->q;
    struct part *part;

    ANG_CHECK(q, ANG_QUERY_MAGIC);
    if (q->rpc == NULL || q->again)
        return;
    q->forwarded = true;
    if (q->backlog == NULL && ang_rpc_send(q->rpc, &msg, 1))
        return;
    if (q->backlog_n + msg.n > BACKLOG_MAX) {
        fail(q, ang_status_new(
                    ANG_RESOURCE_EXHAUSTED,
                    "the caller takes the stream too slowly: %zu bytes wait; ask for a range of sequences at a time",
                    q->backlog_n));
        return;
    }
    part = ANG_NEW(struct part);
    part->blob = ang_blob_copy(msg);
    *q->backlog_tail = part;
    q->backlog_tail = &part->next;
    q->backlog_n += msg.n;
    if (q->backlog->next == NULL)
        ang_rpc_on_drained(q->rpc, BACKLOG_LOW, drained);
}

/* ---- asking ---- */

static struct ang_status *waited_in_vain(const struct ang_query *q) {
    struct ang_buf b = {0};
    const struct ang_domain *d = q->domain;
    int32_t partition = q->partition;
    struct ang_rpc_channel **chs;
    struct ang_status *st;
    size_t n;

    if (q->has_root)
        ang_workers_describe(q->g->workers, d, partition, &b);
    else if (!ang_workers_cover(q->g->workers, q->domain, &chs, &n, &d, &partition))
        ang_workers_describe(q->g->workers, d, partition, &b);
    else
        ang_buf_add_str(&b, "workers that say UNAVAILABLE");
    if (!q->has_root)
        free(chs);
    ang_buf_add_u8(&b, '\0');
    st = ang_status_new(ANG_UNAVAILABLE, "the query could not be served in time: waited for %s", (char *)b.p);
    ang_buf_fini(&b);
    return (st);
}

static void wait_more(struct ang_query *q) {
    const int64_t now_ms = ang_now_ms();
    int64_t pause = PAUSE_MS;
    uint32_t i;

    if (now_ms >= q->wait_until_ms) {
        fail(q, waited_in_vain(q));
        return;
    }
    for (i = 0; i < q->pauses && pause < PAUSE_MAX_MS; i++)
        pause *= 2;
    q->pauses++;
    q->waiting = true;
    ang_timer_set(q->g->loop, &q->retry, now_ms + pause < q->wait_until_ms ? now_ms + pause : q->wait_until_ms);
}

static void retry(struct ang_timer *t) {
    ask(ANG_CONTAINER(t, struct ang_query, retry));
}

/* What the legs bring home does not count any more. */
static void ask_again(struct ang_query *q) {
    q->again = true;
    cancel_legs(q);
}

static void leg_remove(struct leg *leg) {
    struct leg **at = &leg->q->legs;

    while (*at != leg)
        at = &(*at)->next;
    *at = leg->next;
    free(leg);
}

/* A stored record without a page does not exist, so a book without pages is one of nothing. */
static bool has_pages(struct ang_slice book) {
    struct ang_wire_field f;

    return (ang_wire_find(book, 3, &f));
}

/* A worker had nothing, or the last of them has ended its stream. */
static void all_home(struct ang_query *q) {
    if (q->again) {
        q->again = false;
        wait_more(q);
    } else if (!q->has_root && q->version != ang_workers_version(q->g->workers)) {
        /* A partition moved while we asked: it may have been asked for at the wrong one each time. */
        if (q->forwarded)
            fail(q, ang_status_new(ANG_UNAVAILABLE, "partitions moved while the events were read: ask again"));
        else
            wait_more(q);
    } else if (q->stream) {
        end_stream(q);
    } else {
        reply(q, ANG_SLICE_NONE);
    }
}

static void leg_done(void *arg, const struct ang_rpc_result *res) {
    struct ang_query *q = ((struct leg *)arg)->q;
    /* CANCELLED was not by us: that worker or our channel to it is going down. */
    const bool elsewhere = res->code == ANG_UNAVAILABLE || res->code == ANG_CANCELLED;

    ANG_CHECK(q, ANG_QUERY_MAGIC);
    leg_remove(arg);
    if (q->rpc == NULL) {
        release(q);
        return;
    }
    if (res->code == ANG_OK && !q->stream && (q->has_root || has_pages(res->response))) {
        reply(q, res->response);
        return;
    }
    if (res->code != ANG_OK && (!elsewhere || q->forwarded)) {
        fail(q, pass(res));
        return;
    }
    if (res->code != ANG_OK && !q->again)
        ask_again(q);
    if (q->legs == NULL)
        all_home(q);
}

static void leg_start(struct ang_query *q, struct ang_rpc_channel *ch) {
    const struct ang_slice request = ang_rpc_request(q->rpc);
    struct leg *leg = ANG_NEW(struct leg);
    struct ang_rpc_req req = {.path = q->stream ? PATH_EVENTS : PATH_BOOK,
                              .parts = &request,
                              .n_parts = 1,
                              .deadline_ms = q->deadline_ms,
                              .wait_for_ready = false,
                              .done = leg_done,
                              .message = q->stream ? leg_message : NULL,
                              .arg = leg};

    leg->q = q;
    leg->next = q->legs;
    q->legs = leg;
    leg->call = ang_rpc_call_start(ch, &req);
}

static void ask_all(struct ang_query *q) {
    const struct ang_domain *missing;
    struct ang_rpc_channel **chs;
    int32_t partition;
    size_t n, i;

    if (!ang_workers_cover(q->g->workers, q->domain, &chs, &n, &missing, &partition)) {
        wait_more(q);
        return;
    }
    q->version = ang_workers_version(q->g->workers);
    for (i = 0; i < n; i++)
        leg_start(q, chs[i]);
    free(chs);
    if (n == 0) /* no domain is configured */
        all_home(q);
}

static void ask(struct ang_query *q) {
    struct ang_rpc_channel *ch;

    ANG_CHECK(q, ANG_QUERY_MAGIC);
    ANG_ASSERT(q->legs == NULL);
    q->waiting = false;
    ang_timer_cancel(q->g->loop, &q->retry);
    if (!q->has_root) {
        ask_all(q);
        return;
    }
    ch = ang_workers_channel(q->g->workers, q->domain, q->partition);
    q->asked = ch;
    if (ch == NULL)
        wait_more(q);
    else
        leg_start(q, ch);
}

/* ---- for others ---- */

/* It was asked of workers that do not serve it any more, and that may hang instead of saying so. */
static bool stale(const struct ang_query *q) {
    if (q->has_root)
        return (q->asked != ang_workers_channel(q->g->workers, q->domain, q->partition));
    return (q->version != ang_workers_version(q->g->workers));
}

void ang_query_owners_changed(struct ang_gateway *g) {
    struct ang_query *q, *next;

    for (q = g->queries; q != NULL; q = next) {
        next = q->next;
        if (q->waiting)
            ask(q);
        else if (q->legs != NULL && !q->forwarded && !q->again && stale(q))
            ask_again(q);
    }
}

void ang_query_end_all(struct ang_gateway *g, uint32_t code, const char *msg) {
    while (g->queries != NULL)
        fail(g->queries, ang_status_new(code, "%s", msg));
}

static void start(struct ang_gateway *g, struct ang_rpc *rpc, bool stream, const struct ang_wire_query *wq,
                  const struct ang_domain *domain) {
    const int64_t now_ms = ang_now_ms(), callers = ang_rpc_deadline(rpc);
    struct ang_query *q = ANG_NEW(struct ang_query);

    q->magic = ANG_QUERY_MAGIC;
    q->g = g;
    q->rpc = rpc;
    q->stream = stream;
    q->has_root = wq->cover.has_root;
    q->domain = domain;
    if (q->has_root)
        q->partition = ang_partition_of_root(wq->cover.root.p, domain->partitions);
    q->wait_until_ms = now_ms + DEADLINE_MS;
    if (callers != ANG_NEVER && callers - MARGIN_MS < q->wait_until_ms)
        q->wait_until_ms = callers - MARGIN_MS;
    /* A stream may take as long as the caller likes, a book not. */
    q->deadline_ms = callers != ANG_NEVER || stream ? callers : now_ms + DEADLINE_MS;
    q->backlog_tail = &q->backlog;
    ang_timer_init(&q->retry, retry);
    q->next = g->queries;
    q->prev = &g->queries;
    if (q->next != NULL)
        q->next->prev = &q->next;
    g->queries = q;
    ang_rpc_set_user(rpc, q, cancelled);
    ask(q);
}

static void query(struct ang_gateway *g, struct ang_rpc *rpc, struct ang_slice request, bool stream) {
    const struct ang_domain *domain = NULL;
    struct ang_wire_query wq;
    struct ang_err *er = ang_wire_parse_query(request, &wq);
    struct ang_status *st;

    if (er != NULL)
        st = ang_status_from_err(&er);
    else if (g->stopping)
        st = ang_status_new(ANG_UNAVAILABLE, "the gateway is stopping");
    else
        st = ang_check_query(g->conf.topology, &wq, &domain);
    if (st != NULL)
        ang_rpc_fail(rpc, &st);
    else if (g->conf.local != NULL)
        ang_worker_query(g->conf.local, rpc, stream);
    else
        start(g, rpc, stream, &wq, domain);
}

void ang_query_book(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_gateway *g;

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    query(g, rpc, request, false);
}

void ang_query_events(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_gateway *g;

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    query(g, rpc, request, true);
}
