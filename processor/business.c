/* Calls to the business logic of the domain: one ContextualCommand per command, laid together from stored bytes; which of the
 * two services it serves is found out by asking (contract 16); what may be retried is retried until the deadline (contract 3). */
#include "processor/lane_priv.h"

#include <stdlib.h>

#define PATH_BUSINESS_LOGIC "/angzarr.BusinessLogic/Handle"
#define PATH_AGGREGATE "/angzarr.Aggregate/Handle"
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 1000

struct ang_err *business_open(struct lane *l) {
    l->variant = l->domain->business->contract == ANG_CONTRACT_AGGREGATE        ? VARIANT_AGGREGATE
                 : l->domain->business->contract == ANG_CONTRACT_BUSINESS_LOGIC ? VARIANT_BUSINESS_LOGIC
                                                                                : VARIANT_UNKNOWN;
    return (ang_rpc_channel_open(l->loop, l->domain->business->address, &l->business));
}

void business_close(struct lane *l) {
    ang_rpc_channel_close(l->business);
    l->business = NULL;
}

static bool pinned(const struct lane *l) {
    return (l->domain->business->contract != ANG_CONTRACT_AUTO);
}

/* What is known of the logic is known of a connection: the next one may lead to another program. */
static void look_at_connection(struct lane *l) {
    if (ang_rpc_channel_connected(l->business))
        return;
    l->connection++;
    if (!pinned(l))
        l->variant_seen = false, l->variant = VARIANT_UNKNOWN;
}

/* ---- retries ---- */
static void retry_fire(struct ang_timer *t) {
    struct work *w = ANG_CONTAINER(t, struct work, retry);

    ANG_CHECK(w, WORK_MAGIC);
    if (slots_take(w->root))
        business_call(w);
}

/* After an answer that may be different next time: again, unless the caller's time would be over by then. */
static void retry(struct work *w, const char *what, struct ang_slice why) {
    struct lane *l = w->part->lane;
    const unsigned shift = w->tries > 5 ? 5 : w->tries;
    const int64_t back_off = (RETRY_MIN_MS << shift) > RETRY_MAX_MS ? RETRY_MAX_MS : RETRY_MIN_MS << shift;
    const int64_t wait = back_off / 2 + (int64_t)((uint64_t)random() % (uint64_t)(back_off / 2 + 1));
    struct ang_status *st;

    if (ang_wall_ms() + wait + 20 < w->deadline_ms) {
        ang_counter_add(l->meters.retries, 1);
        ANG_LOG_EVERY(5000, ANG_LOG_WARN, "BUSINESS-UNAVAILABLE", "the business logic is not available; calls are retried", "domain",
                      l->domain->name, "address", l->domain->business->address, "status", what, "error",
                      ANG_F("%.*s", (int)(why.n > 200 ? 200 : why.n), (const char *)why.p), LOG_CORRELATION(w));
        if (tails_starve(l))
            tail_unload(w->root, wait);
        else
            ang_timer_set(l->loop, &w->retry, ang_now_ms() + wait);
        return;
    }
    if (w->reply_to.n == 0)
        dead_letter(w, DEAD_UNAVAILABLE, "the business logic was not available within its time to live");
    st = ang_status_new(ANG_UNAVAILABLE, "the business logic of %s at %s is not available: %s %.*s", l->domain->name,
                        l->domain->business->address, what, (int)(why.n > WORDS_MAX ? WORDS_MAX : why.n), (const char *)why.p);
    finish_open(w, &st);
}

/* ---- one call ---- */
static void timed_out(struct work *w) {
    struct lane *l = w->part->lane;
    struct ang_status *st =
        ang_status_new(ANG_DEADLINE_EXCEEDED, "the business logic of %s at %s did not answer in time", l->domain->name,
                       l->domain->business->address);

    if (w->reply_to.n == 0 && ang_wall_ms() < w->deadline_ms) { /* nobody waits: it has time */
        ang_status_free(&st);
        retry(w, "DEADLINE_EXCEEDED", ang_slice_str("no answer within limits.call_timeout"));
        return;
    }
    finish_open(w, &st);
}

void business_evict(struct work *w, const char *why) {
    struct lane *l = w->part->lane;

    ANG_LOG_EVERY(5000, ANG_LOG_WARN, "SLOW-CALLS",
                  "too many calls to the business logic are slow: the oldest are cancelled and made again later", "domain",
                  l->domain->name, "address", l->domain->business->address, "why", why, "slow", ANG_F("%d", l->n_slow_calls), LOG_CORRELATION(w));
    ang_counter_add(l->meters.evicted_calls, 1);
    w->evicted = true;
    w->root->evictions++;
    ang_rpc_call_cancel(w->call);
}

static void again(struct work *w) {
    if (ang_wall_ms() + 2 * RETRY_MAX_MS >= w->deadline_ms)
        timed_out(w);
    else
        retry(w, "DEADLINE_EXCEEDED", ang_slice_str("it takes far longer than other calls"));
}

static void refused(struct work *w, const struct ang_rpc_result *res) {
    struct ang_status *st = ang_status_new(res->code, "%.*s", (int)res->msg.n, (const char *)res->msg.p);
    size_t i;

    for (i = 0; i < res->n_trailers; i++)
        ang_status_add(st, res->trailers[i].key, res->trailers[i].value);
    finish_status(w, &st);
}

static void unimplemented(struct work *w, const struct ang_rpc_result *res) {
    struct lane *l = w->part->lane;

    if (pinned(l) || (l->variant_seen && w->connection == l->connection) || w->tried_both) {
        refused(w, res);
        return;
    }
    if (l->variant != VARIANT_UNKNOWN && l->variant != w->variant) { /* found out meanwhile */
        business_call(w);
        return;
    }
    w->tried_both = w->variant == VARIANT_AGGREGATE;
    if (w->tried_both) {
        refused(w, res);
        return;
    }
    w->variant = VARIANT_AGGREGATE;
    business_call(w);
}

/* A gRPC server with too many calls waiting ends some of them at random, unseen by its handlers, with this status and no more than its name
 * (RequestMatcher in gRPC's server.cc).  What a handler means by CANCELLED it says in words. */
static bool overloaded(const struct ang_rpc_result *res) {
    return (res->code == ANG_CANCELLED && (res->msg.n == 0 || ang_slice_is(res->msg, "CANCELLED")));
}

static void answered(struct work *w, const struct ang_rpc_result *res) {
    struct lane *l = w->part->lane;

    if (overloaded(res)) {
        retry(w, "CANCELLED", ang_slice_str("cancelled by the server; is it overloaded?"));
        return;
    }
    switch (res->code) {
    case ANG_UNAVAILABLE: /* said by the logic, or its connection has broken */
        look_at_connection(l);
        retry(w, "UNAVAILABLE", res->msg);
        return;
    case ANG_RESOURCE_EXHAUSTED:
        retry(w, "RESOURCE_EXHAUSTED", res->msg);
        return;
    case ANG_UNIMPLEMENTED:
        unimplemented(w, res);
        return;
    }
    if (res->code == ANG_DEADLINE_EXCEEDED && ang_now_ms() >= w->call_until_ms) {
        timed_out(w);
        return;
    }
    if (w->connection == l->connection) {
        l->variant_seen = true;
        l->variant = w->variant;
    }
    ANG_KILL_POINT("after-invoke");
    if (res->code == ANG_OK)
        aggregate_answered(w, res->response, w->variant == VARIANT_AGGREGATE);
    else
        refused(w, res);
}

static bool has_answered(uint32_t code) {
    return (code != ANG_UNAVAILABLE && code != ANG_DEADLINE_EXCEEDED && code != ANG_CANCELLED);
}

static void call_done(void *arg, const struct ang_rpc_result *res) {
    struct work *w;
    struct lane *l;
    int64_t took_us;

    ANG_CAST(w, arg, WORK_MAGIC);
    l = w->part->lane;
    w->call = NULL;
    took_us = ang_now_us() - w->call_since_us;
    ang_histogram_add(l->meters.call_time[ang_code_index(res->code)], took_us);
    slots_end(w, has_answered(res->code) ? took_us : 0);
    if (w->root == NULL)
        work_free(w); /* its part was dropped meanwhile */
    else if (w->evicted && res->code != ANG_OK)
        again(w);
    else
        answered(w, res);
    slots_serve(l);
}

/* ContextualCommand{events: EventBook{cover, snapshot, pages, next_sequence}, command}: the history as slices of what is
 * in memory, framed by what stands in `frame`. */
static size_t lay_out(const struct work *w, struct ang_buf *frame, struct ang_slice parts[6]) {
    const struct root *r = w->root;
    const struct ang_slice cover = w->book.cover.raw, command = w->book.raw;
    size_t book = ang_wire_len_bytes(1, cover.n) + r->pages.n + ang_wire_len_uint(6, r->next);
    size_t a, b, c, n = 0;

    if (r->snapshot.n > 0)
        book += ang_wire_len_bytes(2, r->snapshot.n);
    ang_buf_clear(frame);
    ang_wire_put_header(frame, 1, book);
    ang_wire_put_bytes(frame, 1, cover);
    if (r->snapshot.n > 0)
        ang_wire_put_header(frame, 2, r->snapshot.n);
    a = frame->n;
    ang_wire_put_uint(frame, 6, r->next);
    b = frame->n;
    ang_wire_put_header(frame, 2, command.n);
    c = frame->n;
    parts[n++] = ang_slice_of(frame->p, a);
    parts[n++] = ang_buf_slice(&r->snapshot);
    parts[n++] = ang_buf_slice(&r->pages);
    parts[n++] = ang_slice_of(frame->p + a, b - a);
    parts[n++] = ang_slice_of(frame->p + b, c - b);
    parts[n++] = command;
    return (n);
}

void business_call(struct work *w) {
    struct lane *l = w->part->lane;
    const int64_t left = w->deadline_ms - ang_wall_ms(), most = l->set->limits.call_timeout_ms;
    struct ang_meta meta[2];
    struct ang_slice parts[6], trace;
    struct ang_rpc_req req = {.parts = parts, .meta = meta, .done = call_done, .arg = w};
    size_t i;

    w->tries++;
    look_at_connection(l);
    w->connection = l->connection;
    if (w->variant == VARIANT_UNKNOWN || l->variant != VARIANT_UNKNOWN)
        w->variant = l->variant == VARIANT_UNKNOWN ? VARIANT_BUSINESS_LOGIC : l->variant;
    w->call_until_ms = ang_now_ms() + (left < most ? left : most);
    req.path = w->variant == VARIANT_AGGREGATE ? PATH_AGGREGATE : PATH_BUSINESS_LOGIC;
    req.n_parts = lay_out(w, &l->scratch, parts);
    w->call_bytes = w->root->pages.n + w->root->snapshot.n;
    for (i = 0; i < req.n_parts; i++) /* the history in memory, and all of it once more in the call */
        w->call_bytes += parts[i].n;
    req.deadline_ms = w->call_until_ms;
    meta[req.n_meta++] = (struct ang_meta){"x-correlation-id", w->book.cover.correlation_id};
    if (ang_rec_hdr(w->rec, "traceparent", &trace))
        meta[req.n_meta++] = (struct ang_meta){"traceparent", trace};
    w->evicted = false;
    slots_begin(w);
    w->call = ang_rpc_call_start(l->business, &req);
}

void business_cancel(struct work *w) {
    w->root = NULL;
    if (w->indexed)
        ang_table_remove(&w->part->lane->ids, &w->by_id);
    w->indexed = false;
    ang_timer_cancel(w->part->lane->loop, &w->retry);
    if (w->call != NULL)
        ang_rpc_call_cancel(w->call);
    else
        work_free(w);
}

void business_work_init(struct work *w) {
    ang_timer_init(&w->retry, retry_fire);
}
