/* Synchronize: the call. */
#include "gateway/sync.h"

#include <stdlib.h>

#define READS       16                  /* pages of one call under way at once */
#define HIGH        ((size_t)256 << 10) /* bytes on their way to the caller: no more than that, and what is coming already */
#define LOW         ((size_t)64 << 10)
#define QUERIES_MAX 100000

static void drained(struct ang_rpc *rpc, void *user);

/* Takes the rpc away from it and frees it. */
static struct ang_rpc *end(struct ang_sync *s) {
    struct ang_rpc *rpc = s->rpc;

    ang_rpc_set_user(rpc, NULL, NULL);
    while (!TAILQ_EMPTY(&s->queries))
        ang_sync_query_free(TAILQ_FIRST(&s->queries));
    *s->prev = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    ang_tail_unwant(s->g->tail);
    s->magic = 0;
    free(s);
    return (rpc);
}

void ang_sync_fail(struct ang_sync *s, struct ang_status *st) {
    ang_rpc_fail(end(s), &st);
}

static void cancelled(struct ang_rpc *rpc, void *user) {
    struct ang_sync *s;

    (void)rpc;
    ANG_CAST(s, user, ANG_SYNC_MAGIC);
    ang_sync_fail(s, ang_status_new(ANG_CANCELLED, "the caller has gone"));
}

/* The caller sends no more, and nothing can come of what he asked. */
static bool all_over(struct ang_sync *s) {
    if (!s->half_closed || s->n_queries > 0)
        return (false);
    ang_rpc_end(end(s));
    return (true);
}

bool ang_sync_query_over(struct ang_sync_query *q) {
    struct ang_sync *s = q->s;

    ang_sync_query_free(q);
    return (all_over(s));
}

/* ---- reading ---- */

bool ang_sync_full(struct ang_sync *s) {
    if (!s->full && ang_rpc_queued(s->rpc) > HIGH) {
        s->full = true;
        ang_rpc_on_drained(s->rpc, LOW, drained);
    }
    return (s->full);
}

void ang_sync_todo(struct ang_sync_query *q) {
    if (q->queued || q->page != NULL)
        return;
    q->queued = true;
    TAILQ_INSERT_TAIL(&q->s->todo, q, link);
}

void ang_sync_pump(struct ang_sync *s) {
    struct ang_sync_query *q;

    if (!ang_tail_stands(s->g->tail))
        return;
    while (s->reading < READS && !ang_sync_full(s) && (q = TAILQ_FIRST(&s->todo)) != NULL) {
        TAILQ_REMOVE(&s->todo, q, link);
        q->queued = false;
        ang_sync_query_read(q);
    }
}

static void drained(struct ang_rpc *rpc, void *user) {
    struct ang_sync *s;

    (void)rpc;
    ANG_CAST(s, user, ANG_SYNC_MAGIC);
    s->full = false;
    ang_sync_pump(s);
}

/* ---- what the caller asks ---- */

static struct ang_status *take(struct ang_sync *s, struct ang_slice raw) {
    if (s->n_queries >= QUERIES_MAX)
        return (ang_status_new(ANG_RESOURCE_EXHAUSTED, "%d queries are open on this stream: open another one",
                               QUERIES_MAX));
    return (ang_sync_query_add(s, raw));
}

static void got(struct ang_rpc *rpc, void *user, const struct ang_slice *msg) {
    struct ang_status *st;
    struct ang_sync *s;

    ANG_CAST(s, user, ANG_SYNC_MAGIC);
    if (msg == NULL) {
        s->half_closed = true;
        (void)all_over(s);
        return;
    }
    st = take(s, *msg);
    if (st != NULL) {
        ang_sync_fail(s, st);
        return;
    }
    ang_rpc_read(rpc, got);
    ang_sync_pump(s);
}

void ang_sync_begin(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_gateway *g;
    struct ang_status *st;
    struct ang_sync *s;

    (void)request;
    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    if (g->stopping) {
        st = ang_status_new(ANG_UNAVAILABLE, "the gateway is stopping");
        ang_rpc_fail(rpc, &st);
        return;
    }
    s = ANG_NEW(struct ang_sync);
    s->magic = ANG_SYNC_MAGIC;
    s->g = g;
    s->rpc = rpc;
    TAILQ_INIT(&s->queries);
    TAILQ_INIT(&s->todo);
    s->next = g->syncs;
    s->prev = &g->syncs;
    if (s->next != NULL)
        s->next->prev = &s->next;
    g->syncs = s;
    ang_tail_want(g->tail);
    ang_rpc_set_user(rpc, s, cancelled);
    ang_rpc_begin(rpc);
    ang_rpc_read(rpc, got);
}

/* ---- for others ---- */

void ang_syncs_tail(struct ang_gateway *g, bool stands) {
    struct ang_sync_query *q;
    struct ang_sync *s;

    for (s = g->syncs; s != NULL; s = s->next) {
        if (!stands)
            TAILQ_FOREACH(q, &s->queries, all)
        ang_sync_query_blind(q);
        ang_sync_pump(s);
    }
}

void ang_syncs_end_all(struct ang_gateway *g, uint32_t code, const char *msg) {
    while (g->syncs != NULL)
        ang_sync_fail(g->syncs, ang_status_new(code, "%s", msg));
}
