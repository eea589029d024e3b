/* Pages of the owners.
 *
 *      ask ──▶ asked of the local worker, or of the owner's channel ──▶ done
 *       ▲                     │ UNAVAILABLE, the owner changed
 *       └──── pause ◀─────────┘
 *
 * A page that was dropped while it is asked for is freed when its answer comes. */
#include "gateway/pages.h"

#include <stdlib.h>

#define PATH         "/angzarr.ext.Worker/Page"
#define ATTEMPT_MS   30000 /* one asking; an owner that hangs is asked again, or another one */
#define PAUSE_MS     20    /* before it asks again; doubles */
#define PAUSE_MAX_MS 200

struct ang_page {
    unsigned magic;
#define ANG_PAGE_MAGIC 0x6a7e0006
    struct ang_gateway *g;
    struct ang_page *next, **prev; /* of the gateway's; not once it is over */
    const struct ang_domain *domain;
    int32_t partition;
    struct ang_buf request;
    int64_t until_ms;
    void (*done)(void *arg, struct ang_slice response, struct ang_status *st);
    void *arg;
    struct ang_timer retry;
    uint32_t pauses;
    bool under_way, over; /* over: nobody waits any more */
    bool again;           /* what comes does not count: ask again */
    /* remote */
    struct ang_rpc_call *call;
    struct ang_rpc_channel *asked; /* only compared */
    /* local */
    struct ang_paging paging;
    struct ang_mail *mail;
    struct ang_op op;
    struct ang_blob *response;
    struct ang_status *st;
};

static void ask(struct ang_page *p);

static void page_free(struct ang_page *p) {
    ang_blob_unref(p->response);
    ang_status_free(&p->st);
    ang_buf_fini(&p->request);
    p->magic = 0;
    free(p);
}

/* Nobody waits any more. */
static void leave(struct ang_page *p) {
    p->over = true;
    *p->prev = p->next;
    if (p->next != NULL)
        p->next->prev = p->prev;
    ang_timer_cancel(p->g->loop, &p->retry);
}

static void end(struct ang_page *p, struct ang_slice response, struct ang_status *st) {
    leave(p);
    p->done(p->arg, response, st);
    page_free(p);
}

void ang_page_drop(struct ang_page *p) {
    ANG_CHECK(p, ANG_PAGE_MAGIC);
    leave(p);
    if (!p->under_way)
        page_free(p);
    else if (p->call != NULL)
        ang_rpc_call_cancel(p->call);
}

/* ---- waiting ---- */

static struct ang_status *in_vain(const struct ang_page *p) {
    struct ang_buf b = {0};
    struct ang_status *st;

    if (p->g->workers != NULL)
        ang_workers_describe(p->g->workers, p->domain, p->partition, &b);
    else
        ang_buf_addf(&b, "this process's worker to serve partition %d of %s", p->partition, p->domain->commands->name);
    ang_buf_add_u8(&b, '\0');
    st = ang_status_new(ANG_UNAVAILABLE, "it could not be read in time: waited for %s", (char *)b.p);
    ang_buf_fini(&b);
    return (st);
}

static void wait_more(struct ang_page *p) {
    const int64_t now_ms = ang_now_ms();
    int64_t pause = PAUSE_MS;
    uint32_t i;

    if (now_ms >= p->until_ms) {
        end(p, ANG_SLICE_NONE, in_vain(p));
        return;
    }
    for (i = 0; i < p->pauses && pause < PAUSE_MAX_MS; i++)
        pause *= 2;
    p->pauses++;
    ang_timer_set(p->g->loop, &p->retry, now_ms + pause < p->until_ms ? now_ms + pause : p->until_ms);
}

static void retry(struct ang_timer *t) {
    ask(ANG_CONTAINER(t, struct ang_page, retry));
}

/* An answer; takes st. */
static void answered(struct ang_page *p, struct ang_slice response, struct ang_status *st) {
    p->under_way = false;
    if (p->over) {
        ang_status_free(&st);
        page_free(p);
        return;
    }
    if (st == NULL && !p->again) {
        end(p, response, NULL);
        return;
    }
    if (p->again || st->code == ANG_UNAVAILABLE || st->code == ANG_CANCELLED || st->code == ANG_DEADLINE_EXCEEDED) {
        p->again = false;
        ang_status_free(&st);
        wait_more(p);
        return;
    }
    end(p, ANG_SLICE_NONE, st);
}

/* ---- the worker of this process ---- */

static void local_run(struct ang_op *op, bool shutdown) {
    struct ang_page *p = ANG_CONTAINER(op, struct ang_page, op);
    struct ang_blob *response = p->response;
    struct ang_status *st = p->st;

    p->response = NULL;
    p->st = NULL;
    if (shutdown) {
        ang_status_free(&st);
        page_free(p);
    } else {
        answered(p, response == NULL ? ANG_SLICE_NONE : ang_blob_slice(response), st);
    }
    ang_blob_unref(response);
}

/* On the query thread. */
static void local_done(struct ang_paging *pg, struct ang_slice response, struct ang_status *st) {
    struct ang_page *p = ANG_CONTAINER(pg, struct ang_page, paging);
    struct ang_mail *mail = p->mail;

    p->response = st == NULL ? ang_blob_copy(response) : NULL;
    p->st = st;
    ang_mail_post(mail, &p->op);
    ang_mail_unref(mail);
}

static void ask_local(struct ang_page *p) {
    const int64_t most = ang_now_ms() + ATTEMPT_MS;

    ang_op_init(&p->op, local_run);
    p->mail = ang_mail_ref(p->g->mail);
    p->paging = (struct ang_paging){.magic = ANG_PAGING_MAGIC,
                                    .request = ang_buf_slice(&p->request),
                                    .until_ms = p->until_ms < most ? p->until_ms : most,
                                    .done = local_done};
    ang_worker_page(p->g->conf.local, &p->paging);
}

/* ---- workers elsewhere ---- */

static void remote_done(void *arg, const struct ang_rpc_result *res) {
    struct ang_page *p;
    struct ang_status *st = NULL;

    ANG_CAST(p, arg, ANG_PAGE_MAGIC);
    p->call = NULL;
    if (res->code != ANG_OK)
        st = ang_status_new(res->code, "%.*s", (int)res->msg.n, (const char *)res->msg.p);
    answered(p, res->response, st);
}

static void ask_remote(struct ang_page *p, struct ang_rpc_channel *ch) {
    const struct ang_slice request = ang_buf_slice(&p->request);
    const int64_t most = ang_now_ms() + ATTEMPT_MS;
    const struct ang_rpc_req req = {.path = PATH,
                                    .parts = &request,
                                    .n_parts = 1,
                                    .deadline_ms = p->until_ms < most ? p->until_ms : most,
                                    .done = remote_done,
                                    .arg = p};

    p->asked = ch;
    p->call = ang_rpc_call_start(ch, &req);
}

static void ask(struct ang_page *p) {
    struct ang_rpc_channel *ch;

    ANG_CHECK(p, ANG_PAGE_MAGIC);
    ang_timer_cancel(p->g->loop, &p->retry);
    if (p->g->workers == NULL) {
        p->under_way = true;
        ask_local(p);
        return;
    }
    ch = ang_workers_channel(p->g->workers, p->domain, p->partition);
    if (ch == NULL) {
        wait_more(p);
    } else {
        p->under_way = true;
        ask_remote(p, ch);
    }
}

/* ---- for others ---- */

static void start(struct ang_timer *t) {
    struct ang_page *p = ANG_CONTAINER(t, struct ang_page, retry);

    ang_timer_init(&p->retry, retry);
    ask(p);
}

struct ang_page *ang_page_ask(struct ang_gateway *g, const struct ang_page_ask *a) {
    struct ang_page *p = ANG_NEW(struct ang_page);

    p->magic = ANG_PAGE_MAGIC;
    p->g = g;
    p->domain = a->domain;
    p->partition = a->partition;
    p->until_ms = a->until_ms;
    p->done = a->done;
    p->arg = a->arg;
    ang_wire_put_str(&p->request, 1, a->domain->name);
    ang_wire_put_uint(&p->request, 2, (uint32_t)a->partition);
    if (a->query.n > 0)
        ang_wire_put_bytes(&p->request, 3, a->query);
    if (a->cursor.n > 0)
        ang_wire_put_bytes(&p->request, 4, a->cursor);
    ang_wire_put_uint(&p->request, 5, a->query.n > 0);
    p->next = g->pages;
    p->prev = &g->pages;
    if (p->next != NULL)
        p->next->prev = &p->next;
    g->pages = p;
    ang_timer_init(&p->retry, start);
    ang_timer_set(g->loop, &p->retry, ang_now_ms()); /* this turn, but not from inside */
    return (p);
}

void ang_pages_owners_changed(struct ang_gateway *g) {
    struct ang_page *p, *next;

    for (p = g->pages; p != NULL; p = next) {
        next = p->next;
        if (p->call != NULL && !p->again && p->asked != ang_workers_channel(g->workers, p->domain, p->partition)) {
            p->again = true; /* who was asked may hang instead of saying that it lost the partition */
            ang_rpc_call_cancel(p->call);
        } else if (!p->under_way) {
            p->pauses = 0;
            ang_timer_set(g->loop, &p->retry, ang_now_ms());
        }
    }
}

void ang_pages_drop_all(struct ang_gateway *g) {
    while (g->pages != NULL)
        ang_page_drop(g->pages);
}

/* ---- responses ---- */

struct ang_page_items ang_page_items_of(struct ang_slice response) {
    return ((struct ang_page_items){.it = ang_wire_iter_of(response)});
}

bool ang_page_items_next(struct ang_page_items *i, struct ang_slice *ret_item) {
    struct ang_wire_field f;

    while (ang_wire_next(&i->it, &f))
        if (f.number == 1 && f.type == ANG_WIRE_BYTES) {
            *ret_item = f.bytes;
            return (true);
        }
    return (false);
}

bool ang_page_end_of(struct ang_slice response, struct ang_page_end *ret) {
    struct ang_wire_iter it = ang_wire_iter_of(response);
    struct ang_page_end end = {.more = false};
    struct ang_wire_field f;

    while (ang_wire_next(&it, &f)) {
        if (f.number == 2 && f.type == ANG_WIRE_BYTES)
            end.cursor = f.bytes;
        else if (f.number == 3 && f.type == ANG_WIRE_VARINT)
            end.more = f.value != 0;
    }
    if (it.what != NULL || end.cursor.p == NULL)
        return (false);
    if (ang_wire_find(end.cursor, 3, &f) && f.type == ANG_WIRE_VARINT && f.value <= UINT32_MAX)
        end.sequence = (uint32_t)f.value;
    *ret = end;
    return (true);
}
