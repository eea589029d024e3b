/* GetAggregateRoots: partition by partition, a page at a time.  The next page is asked for when the caller has taken the last one, so that
 * neither we nor a worker hold more than a page, whatever there is and however slow he is. */
#include <stdlib.h>

#include "gateway/pages.h"

#define STALL_MS  30000              /* as long as a partition may have no owner, when the caller has no deadline */
#define MARGIN_MS 50                 /* before the caller's deadline, so that he still hears why */
#define LOW       ((size_t)32 << 10) /* bytes that the caller may still have to take when more is asked for */

struct ang_roots {
    unsigned magic;
#define ANG_ROOTS_MAGIC 0x6a7e0007
    struct ang_gateway *g;
    struct ang_roots *next, **prev;
    struct ang_rpc *rpc;
    size_t domain_at;
    int32_t partition;
    struct ang_buf cursor;
    struct ang_page *page; /* asked for */
};

static void ask(struct ang_roots *r);

/* Takes the rpc away from it and frees it. */
static struct ang_rpc *end(struct ang_roots *r) {
    struct ang_rpc *rpc = r->rpc;

    ang_rpc_set_user(rpc, NULL, NULL);
    if (r->page != NULL)
        ang_page_drop(r->page);
    *r->prev = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    ang_buf_fini(&r->cursor);
    r->magic = 0;
    free(r);
    return (rpc);
}

static void fail(struct ang_roots *r, struct ang_status *st) {
    ang_rpc_fail(end(r), &st);
}

static void cancelled(struct ang_rpc *rpc, void *user) {
    struct ang_roots *r;

    (void)rpc;
    ANG_CAST(r, user, ANG_ROOTS_MAGIC);
    fail(r, ang_status_new(ANG_CANCELLED, "the caller has gone"));
}

static void drained(struct ang_rpc *rpc, void *user) {
    struct ang_roots *r;

    (void)rpc;
    ANG_CAST(r, user, ANG_ROOTS_MAGIC);
    if (r->page == NULL)
        ask(r);
}

static void came(void *arg, struct ang_slice response, struct ang_status *st) {
    struct ang_page_items items = ang_page_items_of(response);
    struct ang_page_end pe;
    struct ang_slice item;
    struct ang_roots *r;

    ANG_CAST(r, arg, ANG_ROOTS_MAGIC);
    r->page = NULL;
    if (st == NULL && !ang_page_end_of(response, &pe))
        st = ang_status_new(ANG_INTERNAL, "a worker's page of aggregates cannot be read");
    if (st != NULL) {
        fail(r, st);
        return;
    }
    while (ang_page_items_next(&items, &item))
        (void)ang_rpc_send(r->rpc, &item, 1); /* there is room for a page: the caller took the last one */
    ang_buf_clear(&r->cursor);
    if (pe.more)
        ang_buf_add_slice(&r->cursor, pe.cursor);
    else
        r->partition++;
    ang_rpc_on_drained(r->rpc, LOW, drained);
}

static void ask(struct ang_roots *r) {
    const struct ang_topology *t = r->g->conf.topology;
    const int64_t callers = ang_rpc_deadline(r->rpc), most = ang_now_ms() + STALL_MS;
    struct ang_page_ask pa = {.cursor = ang_buf_slice(&r->cursor), .done = came, .arg = r};

    if (r->domain_at < ang_topology_domains(t) && r->partition == ang_topology_domain_at(t, r->domain_at)->partitions) {
        r->domain_at++;
        r->partition = 0;
    }
    if (r->domain_at == ang_topology_domains(t)) {
        ang_rpc_end(end(r));
        return;
    }
    pa.domain = ang_topology_domain_at(t, r->domain_at);
    pa.partition = r->partition;
    pa.until_ms = callers != ANG_NEVER && callers - MARGIN_MS < most ? callers - MARGIN_MS : most;
    r->page = ang_page_ask(r->g, &pa);
}

void ang_roots_get(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_gateway *g;
    struct ang_status *st;
    struct ang_roots *r;

    (void)request;
    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    if (g->stopping) {
        st = ang_status_new(ANG_UNAVAILABLE, "the gateway is stopping");
        ang_rpc_fail(rpc, &st);
        return;
    }
    r = ANG_NEW(struct ang_roots);
    r->magic = ANG_ROOTS_MAGIC;
    r->g = g;
    r->rpc = rpc;
    r->next = g->roots;
    r->prev = &g->roots;
    if (r->next != NULL)
        r->next->prev = &r->next;
    g->roots = r;
    ang_rpc_set_user(rpc, r, cancelled);
    ask(r);
}

void ang_roots_end_all(struct ang_gateway *g, uint32_t code, const char *msg) {
    while (g->roots != NULL)
        fail(g->roots, ang_status_new(code, "%s", msg));
}
