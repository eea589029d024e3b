/* What a worker process serves to gateways: the stream on which answers go back, and queries for what it owns. */
#include <stdlib.h>

#include "angzarr/ext/worker.pb-c.h"
#include "processor/lane_priv.h"

struct attached { /* one gateway's stream */
    struct ang_worker *worker;
    struct ang_rpc *rpc;
    char *gateway;
    bool broken; /* it did not read: nothing more is sent.  Under the sinks' lock */
};

static void put_answer(struct ang_buf *b, struct ang_buf *tmp, const struct ang_answer *a) {
    size_t i;

    ang_wire_put_str(b, 1, a->domain->name);
    ang_wire_put_bytes(b, 2, ang_slice_of(a->root, 16));
    ang_wire_put_str(b, 3, a->edition);
    ang_wire_put_str(b, 4, a->command_id);
    ang_wire_put_uint(b, 5, a->attempt);
    ang_wire_put_uint(b, 6, a->final);
    ang_wire_put_uint(b, 7, a->code);
    if (a->status != NULL)
        ang_wire_put_str(b, 8, a->status->msg);
    if (a->response != NULL)
        ang_wire_put_bytes(b, 9, ang_blob_slice(a->response));
    for (i = 0; a->status != NULL && i < a->status->n_trailers; i++) {
        ang_buf_clear(tmp);
        ang_wire_put_str(tmp, 1, a->status->trailers[i].key);
        ang_wire_put_bytes(tmp, 2, a->status->trailers[i].value);
        ang_wire_put_bytes(b, 10, ang_buf_slice(tmp));
    }
    ang_wire_put_str(b, 11, a->domain->commands->name);
    ang_wire_put_uint(b, 12, (uint32_t)a->partition);
    ang_wire_put_int(b, 13, a->position);
}

/* Answers were left out: the gateway attaches again and sends again what it still waits for. */
static void cut(struct ang_rpc *rpc, void *user) {
    struct attached *at = user;
    struct ang_status *st = ang_status_new(ANG_RESOURCE_EXHAUSTED, "answers are not taken fast enough");

    ang_worker_detach(at->worker, at->gateway, at);
    ang_rpc_fail(rpc, &st);
    free(at->gateway);
    free(at);
}

static void deliver(void *arg, struct ang_answer *list) {
    struct attached *at = arg;
    struct ang_buf out = {NULL, 0, 0}, one = {NULL, 0, 0}, tmp = {NULL, 0, 0};
    struct ang_answer *next;
    struct ang_slice part;

    for (; list != NULL; list = next) {
        next = list->next;
        ang_buf_clear(&one);
        put_answer(&one, &tmp, list);
        ang_wire_put_bytes(&out, 1, ang_buf_slice(&one));
        ang_answer_free(&list);
    }
    part = ang_buf_slice(&out);
    if (!at->broken && !ang_rpc_send(at->rpc, &part, 1)) {
        at->broken = true;
        ang_rpc_on_drained(at->rpc, 1, cut);
    }
    ang_buf_fini(&out);
    ang_buf_fini(&one);
    ang_buf_fini(&tmp);
}

static void gone(struct ang_rpc *rpc, void *user) {
    struct attached *at = user;

    ang_worker_detach(at->worker, at->gateway, at);
    ang_rpc_end(rpc);
    free(at->gateway);
    free(at);
}

static void attach(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    Angzarr__Ext__AttachRequest *m = angzarr__ext__attach_request__unpack(NULL, request.n, request.p);
    struct ang_status *st;
    struct attached *at;
    uint8_t nothing = 0;
    struct ang_slice empty = ang_slice_of(&nothing, 0);

    if (m == NULL || !ang_command_id_ok(ang_slice_str(m->gateway_id))) {
        st = ang_status_new(ANG_INVALID_ARGUMENT, "AttachRequest.gateway_id: expected 1 to 128 visible ASCII characters");
        ang_rpc_fail(rpc, &st);
    } else {
        at = ANG_NEW(struct attached);
        at->worker = arg;
        at->rpc = rpc;
        at->gateway = ang_strdup(m->gateway_id);
        ang_rpc_set_user(rpc, at, gone);
        ang_worker_attach(arg, at->gateway, deliver, at);
        (void)ang_rpc_send(rpc, &empty, 1); /* attached: what is sent from now on is answered here */
    }
    if (m != NULL)
        angzarr__ext__attach_request__free_unpacked(m, NULL);
}

static void get_event_book(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    (void)request;
    ang_worker_query(arg, rpc, false);
}

static void get_events(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    (void)request;
    ang_worker_query(arg, rpc, true);
}

struct page_call {
    struct ang_paging pg;
    struct ang_rpc *rpc;
};

static void page_done(struct ang_paging *pg, struct ang_slice response, struct ang_status *st) {
    struct page_call *c = ANG_CONTAINER(pg, struct page_call, pg);

    if (st == NULL)
        ang_rpc_reply(c->rpc, &response, 1);
    else
        ang_rpc_fail(c->rpc, &st);
    free(c);
}

static void get_page(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct page_call *c = ANG_NEW(struct page_call);

    c->rpc = rpc;
    c->pg = (struct ang_paging){
        .magic = ANG_PAGING_MAGIC, .request = request, .until_ms = ang_rpc_deadline(rpc), .done = page_done};
    ang_worker_page(arg, &c->pg);
}

const struct ang_rpc_method ang_worker_methods[] = {
    {"/angzarr.ext.Worker/Attach", ANG_RPC_SERVER_STREAM, attach},
    {"/angzarr.ext.Worker/Page", ANG_RPC_UNARY, get_page},
    {"/angzarr.EventQuery/GetEventBook", ANG_RPC_UNARY, get_event_book},
    {"/angzarr.EventQuery/GetEvents", ANG_RPC_SERVER_STREAM, get_events},
};
const size_t ang_worker_n_methods = ANG_COUNT(ang_worker_methods);
