/* Start, stop, and what holds the parts together.
 *
 *      loop ── turn: owners ── timer: pending table ── ops: answers of the local worker, failed appends */
#include "gateway/gateway.h"

#include <stdlib.h>

#include "gateway/pages.h"

#define CLOSE_MS 1000 /* after the grace: for the last statuses to go out */

static const struct ang_rpc_method methods[] = {
    {"/angzarr.CommandGateway/Execute", ANG_RPC_UNARY, ang_command_handle},
    {"/angzarr.CommandGateway/ExecuteSync", ANG_RPC_UNARY, ang_command_handle_sync},
    {"/angzarr.BusinessCoordinator/Handle", ANG_RPC_UNARY, ang_command_handle},
    {"/angzarr.BusinessCoordinator/Record", ANG_RPC_UNARY, ang_command_record},
    {"/angzarr.AggregateCoordinator/Handle", ANG_RPC_UNARY, ang_command_handle},
    {"/angzarr.AggregateCoordinator/HandleSync", ANG_RPC_UNARY, ang_command_handle_sync},
    {"/angzarr.CommandGateway/ExecuteStream", ANG_RPC_SERVER_STREAM, ang_stream_execute},
    {"/angzarr.CommandGateway/ExecuteStreamResponseCount", ANG_RPC_SERVER_STREAM, ang_stream_execute_count},
    {"/angzarr.CommandGateway/ExecuteStreamResponseTime", ANG_RPC_SERVER_STREAM, ang_stream_execute_time},
    {"/angzarr.EventQuery/GetEventBook", ANG_RPC_UNARY, ang_query_book},
    {"/angzarr.EventQuery/GetEvents", ANG_RPC_SERVER_STREAM, ang_query_events},
    {"/angzarr.EventQuery/GetAggregateRoots", ANG_RPC_SERVER_STREAM, ang_roots_get},
    {"/angzarr.EventQuery/Synchronize", ANG_RPC_BIDI_STREAM, ang_sync_begin},
    {"/angzarr.EventStream/Subscribe", ANG_RPC_SERVER_STREAM, ang_stream_subscribe},
    {"/angzarr.ext.EventTail/Follow", ANG_RPC_SERVER_STREAM, ang_stream_follow},
};
static const char *const services[] = {"",
                                       "angzarr.CommandGateway",
                                       "angzarr.BusinessCoordinator",
                                       "angzarr.AggregateCoordinator",
                                       "angzarr.EventQuery",
                                       "angzarr.EventStream",
                                       "angzarr.ext.EventTail"};
/* What the role `stream` has of them. */
static const char *const stream_services[] = {"angzarr.EventQuery", "angzarr.EventStream", "angzarr.ext.EventTail"};

static bool serves(bool streams_only, const char *service, size_t n) {
    size_t i;

    if (!streams_only || n == 0)
        return (true);
    for (i = 0; i < ANG_COUNT(stream_services); i++)
        if (ang_slice_is(ang_slice_of(service, n), stream_services[i]))
            return (true);
    return (false);
}

struct ang_rpc_method *ang_gateway_methods(bool streams_only, size_t *ret_n) {
    struct ang_rpc_method *served = ang_calloc(ANG_COUNT(methods), sizeof *served);
    size_t i;

    *ret_n = 0;
    for (i = 0; i < ANG_COUNT(methods); i++) {
        const char *service = methods[i].path + 1;

        if (serves(streams_only, service, strcspn(service, "/")))
            served[(*ret_n)++] = methods[i];
    }
    return (served);
}

/* ---- mail ---- */

struct ang_mail *ang_mail_new(struct ang_gateway *g) {
    struct ang_mail *m = ANG_NEW(struct ang_mail);

    m->magic = ANG_MAIL_MAGIC;
    atomic_init(&m->refs, 1);
    m->g = g;
    ANG_PT(pthread_mutex_init(&m->lock, NULL));
    return (m);
}

struct ang_mail *ang_mail_ref(struct ang_mail *m) {
    ANG_CHECK(m, ANG_MAIL_MAGIC);
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return (m);
}

void ang_mail_unref(struct ang_mail *m) {
    ANG_CHECK(m, ANG_MAIL_MAGIC);
    if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    ANG_PT(pthread_mutex_destroy(&m->lock));
    m->magic = 0;
    free(m);
}

void ang_mail_post(struct ang_mail *m, struct ang_op *op) {
    bool closed;

    ANG_CHECK(m, ANG_MAIL_MAGIC);
    ANG_PT(pthread_mutex_lock(&m->lock));
    closed = m->closed;
    if (!closed)
        ang_loop_post(m->g->loop, op);
    ANG_PT(pthread_mutex_unlock(&m->lock));
    if (closed)
        op->run(op, true);
}

void ang_mail_close(struct ang_mail *m) {
    ANG_PT(pthread_mutex_lock(&m->lock));
    m->closed = true;
    ANG_PT(pthread_mutex_unlock(&m->lock));
}

/* ---- the pending table's time and ways ---- */

void ang_gateway_rearm(struct ang_gateway *g) {
    const int64_t next = ang_pending_next_ms(g->pending);

    /* A timer that fires too early costs less than moving it with every command. */
    if (g->tick.slot == 0 || next < g->tick.at_ms)
        ang_timer_set(g->loop, &g->tick, next);
}

static void tick(struct ang_timer *t) {
    struct ang_gateway *g = ANG_CONTAINER(t, struct ang_gateway, tick);

    ang_pending_run(g->pending, ang_now_ms());
    ang_gateway_rearm(g);
}

static bool up(void *arg, const struct ang_domain *domain, int32_t partition) {
    const struct ang_gateway *g = arg;

    return (g->workers == NULL || ang_workers_up(g->workers, domain, partition));
}

static void describe(void *arg, const struct ang_domain *domain, int32_t partition, struct ang_buf *b) {
    const struct ang_gateway *g = arg;

    if (g->workers != NULL)
        ang_workers_describe(g->workers, domain, partition, b);
    else
        ang_buf_addf(b, "this process's worker to answer from partition %d of %s", partition, domain->commands->name);
}

static void path(void *arg, const struct ang_domain *domain, int32_t partition, bool is_up) {
    struct ang_gateway *g = arg;

    if (!is_up) {
        ang_pending_path_down(g->pending, domain, partition);
        return;
    }
    ang_pending_path_up(g->pending, domain, partition, ang_now_ms());
    ang_gateway_rearm(g);
}

static void changed(void *arg) {
    ang_query_owners_changed(arg);
    ang_pages_owners_changed(arg);
}

/* ---- the tail ---- */

static bool tail_waits(void *arg) {
    const struct ang_gateway *g = arg;

    return (ang_pace_waits(&g->pace));
}

static void patience_over(struct ang_timer *t) {
    struct ang_gateway *g = ANG_CONTAINER(t, struct ang_gateway, patience);

    ang_pace_run(&g->pace, ang_now_ms());
}

static void tail_turn(struct ang_gateway *g) {
    ang_tail_turn(g->tail);
    if (ang_tail_at_end(g->tail))
        ang_pace_at_end(&g->pace);
    if (!ang_pace_waits(&g->pace))
        ang_timer_cancel(g->loop, &g->patience);
    else if (g->patience.at_ms != ang_pace_until(&g->pace) || g->patience.slot == 0)
        ang_timer_set(g->loop, &g->patience, ang_pace_until(&g->pace));
}

static void heard(void *arg, const struct ang_domain *domain, const struct ang_rec *rec) {
    const struct ang_gateway *g = arg;

    ang_ears_tell(g->ears, domain, rec);
}

static void tail_stands(void *arg, bool stands) {
    ang_streams_tail(arg, stands);
    ang_syncs_tail(arg, stands);
}

/* ---- answers ---- */

static void answer(void *arg, const struct ang_pending_answer *a) {
    struct ang_gateway *g;

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    ang_pending_answer(g->pending, a, ang_now_ms());
    ang_gateway_rearm(g);
}

struct delivery { /* a list of answers on its way from a lane to the loop */
    struct ang_op op;
    struct ang_gateway *g;
    struct ang_answer *list;
};

static void deliver_one(struct ang_gateway *g, const struct ang_answer *a) {
    const struct ang_pending_answer pa = {
        .id = {.domain = a->domain,
               .root = a->root,
               .edition = ang_slice_str(a->edition),
               .command_id = ang_slice_str(a->command_id)},
        .attempt = a->attempt,
        .code = a->code,
        .final = a->final,
        .response = a->response == NULL ? ANG_SLICE_NONE : ang_blob_slice(a->response),
        .status = a->status,
    };

    answer(g, &pa);
}

static void delivery_run(struct ang_op *op, bool shutdown) {
    struct delivery *d = ANG_CONTAINER(op, struct delivery, op);
    struct ang_answer *a;

    while ((a = d->list) != NULL) {
        d->list = a->next;
        if (!shutdown)
            deliver_one(d->g, a);
        ang_answer_free(&a);
    }
    free(d);
}

/* On a lane's thread. */
static void deliver(void *arg, struct ang_answer *list) {
    struct delivery *d = ANG_NEW(struct delivery);

    ang_op_init(&d->op, delivery_run);
    ANG_CAST(d->g, arg, ANG_GATEWAY_MAGIC);
    d->list = list;
    ang_loop_post(d->g->loop, &d->op);
}

/* ---- stop ---- */

static void end_all(struct ang_gateway *g) {
    static const char msg[] = "the gateway has stopped before the answer came";

    ang_pending_end_all(g->pending, ANG_UNAVAILABLE, msg, ang_now_ms());
    ang_query_end_all(g, ANG_UNAVAILABLE, msg);
    ang_roots_end_all(g, ANG_UNAVAILABLE, msg);
    ang_streams_end_all(g, true, ANG_UNAVAILABLE, msg);
    ang_syncs_end_all(g, ANG_UNAVAILABLE, msg);
}

static void grace_over(struct ang_timer *t) {
    end_all(ANG_CONTAINER(t, struct ang_gateway, grace));
}

struct stop {
    struct ang_gateway *g;
    int grace_ms;
};

static void stop_begin(void *arg) {
    const struct stop *s = arg;

    s->g->stopping = true;
    /* What would go on for ever does not hold up the end. */
    ang_streams_end_all(s->g, false, ANG_UNAVAILABLE, "the gateway is stopping");
    ang_syncs_end_all(s->g, ANG_UNAVAILABLE, "the gateway is stopping");
    ang_timer_set(s->g->loop, &s->g->grace, ang_now_ms() + s->grace_ms);
}

static void stop_end(void *arg) {
    struct ang_gateway *g = arg;

    end_all(g);
    ang_timer_cancel(g->loop, &g->grace);
    ang_timer_cancel(g->loop, &g->tick);
    ang_timer_cancel(g->loop, &g->patience);
    ang_pages_drop_all(g);
    ang_tail_close(g->tail);
    ang_workers_close(g->workers);
}

static void gateway_free(struct ang_gateway *g) {
    ang_workers_free(g->workers);
    ang_pending_free(g->pending);
    ang_tail_free(g->tail);
    ang_ears_free(g->ears);
    ang_mail_unref(g->mail);
    ang_buf_fini(&g->value);
    ang_buf_fini(&g->cover);
    ang_buf_fini(&g->types);
    ang_gateway_meters_close(g);
    free(g->methods);
    free(g->id);
    g->magic = 0;
    free(g);
}

void ang_gateway_stop(struct ang_gateway *g, int grace_ms) {
    if (g == NULL)
        return;
    ANG_CHECK(g, ANG_GATEWAY_MAGIC);
    ang_gateway_set_serving(g, false);
    ang_loop_call(g->loop, stop_begin, &(struct stop){.g = g, .grace_ms = grace_ms});
    ang_rpc_server_close(g->server, grace_ms + CLOSE_MS); /* the grace's timer ends what is left before that is over */
    if (g->conf.local != NULL)
        ang_worker_detach(g->conf.local, g->id, g);
    ang_mail_close(g->mail);
    ang_loop_call(g->loop, stop_end, g);
    ang_loop_stop(g->loop);
    gateway_free(g);
}

/* ---- start ---- */

static void turn(void *arg) {
    struct ang_gateway *g = arg;

    if (g->workers != NULL)
        ang_workers_turn(g->workers);
    tail_turn(g);
}

/* Another one after each start: a copy of an earlier life must not be answered to this one. */
static char *gateway_id(const struct ang_settings *s) {
    char text[ANG_UUID_TEXT + 1];
    struct ang_uuid id;

    ang_uuid_v4(&id);
    ang_uuid_text(id.b, text);
    if (s->gateway.id == NULL || s->gateway.id[0] == '\0')
        return (ang_strdup(text));
    return (ang_sprintf("%s-%.8s", s->gateway.id, text));
}

static struct ang_pending *pending_new(struct ang_gateway *g) {
    struct ang_pending_conf conf = {
        .send = ang_command_send, .end = ang_command_end, .up = up, .describe = describe, .arg = g};
    struct ang_uuid id;

    ang_uuid_v4(&id);
    memcpy(&conf.seed, id.b, sizeof conf.seed);
    return (ang_pending_new(&conf));
}

static void workers_failed(void *arg, struct ang_err *er) {
    const struct ang_gateway *g = arg;

    g->conf.fatal(g->conf.arg, er);
}

static struct ang_err *open_parts(struct ang_gateway *g) {
    const struct ang_workers_conf wc = {.loop = g->loop,
                                        .log = g->conf.log,
                                        .topology = g->conf.topology,
                                        .gateway = g->id,
                                        .answer = answer,
                                        .path = path,
                                        .changed = changed,
                                        .failed = workers_failed,
                                        .arg = g};
    const struct ang_rpc_server_conf sc = {.loop = g->loop,
                                           .address = g->conf.address,
                                           .max_message = g->conf.settings->limits.message,
                                           .methods = g->methods,
                                           .n_methods = g->n_methods,
                                           .types = g->conf.types,
                                           .arg = g};
    struct ang_err *er = ang_rpc_server_open(&sc, &g->server);

    if (er == NULL && g->conf.local == NULL)
        er = ang_workers_open(&wc, &g->workers);
    return (er);
}

struct ang_err *ang_gateway_start(const struct ang_gateway_conf *conf, struct ang_gateway **ret_g) {
    struct ang_gateway *g = ANG_NEW(struct ang_gateway);
    struct ang_err *er;

    g->magic = ANG_GATEWAY_MAGIC;
    g->conf = *conf;
    g->id = gateway_id(conf->settings);
    g->methods = ang_gateway_methods(conf->streams_only, &g->n_methods);
    g->loop = ang_loop_new("gateway", turn, g);
    g->mail = ang_mail_new(g);
    g->pending = pending_new(g);
    if (!conf->streams_only) /* it takes no commands */
        ang_gateway_meters_open(g);
    g->ears = ang_ears_new();
    g->tail = ang_tail_new(&(struct ang_tail_conf){.loop = g->loop,
                                                   .mail = g->mail,
                                                   .log = conf->log,
                                                   .topology = conf->topology,
                                                   .waits = tail_waits,
                                                   .record = heard,
                                                   .stands = tail_stands,
                                                   .arg = g});
    ang_timer_init(&g->tick, tick);
    ang_timer_init(&g->grace, grace_over);
    ang_pace_init(&g->pace);
    ang_timer_init(&g->patience, patience_over);
    er = open_parts(g);
    if (er == NULL && conf->local != NULL)
        ang_worker_attach(conf->local, g->id, deliver, g); /* before the first command can be taken */
    ang_loop_start(g->loop);                               /* also to close what was opened */
    if (er != NULL) {
        ang_rpc_server_close(g->server, 0);
        ang_loop_call(g->loop, stop_end, g);
        ang_loop_stop(g->loop);
        gateway_free(g);
        return (er);
    }
    *ret_g = g;
    return (NULL);
}

const char *ang_gateway_address(const struct ang_gateway *g) {
    ANG_CHECK(g, ANG_GATEWAY_MAGIC);
    return (ang_rpc_server_address(g->server));
}

void ang_gateway_set_serving(struct ang_gateway *g, bool serving) {
    size_t i;

    ANG_CHECK(g, ANG_GATEWAY_MAGIC);
    for (i = 0; i < ANG_COUNT(services); i++)
        if (serves(g->conf.streams_only, services[i], strlen(services[i])))
            ang_rpc_server_set_health(g->server, services[i], serving);
}
