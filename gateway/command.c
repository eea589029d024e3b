/* The command path: check, name, append; the pending table does the rest.  Facts to be recorded go the same way, as a command
 * whose one page holds them (header `kind: record`).
 *
 * A copy is built when it is sent, from the request that the rpc holds anyway: a command that waits costs no copy of its bytes, and
 * the rare resend parses again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/gateway_priv.h"
#include "topology/check.h"

#define SYNC_NONE    0
#define SYNC_SIMPLE  1
#define SYNC_CASCADE 2

#define PUSHBACK_MS "100"
#define MARGIN_MS   100 /* copies end that much before the caller does, so that he still hears why */
#define TYPES_MAX   512 /* bytes of the `types` header */
#define HDR_MAX     9

/* ---- taking a command ---- */

static void fail(struct ang_gateway *g, const struct ang_domain *domain, struct ang_rpc *rpc, struct ang_status *st) {
    ang_gateway_meter_end(g, domain, rpc, st);
    ang_rpc_fail(rpc, &st);
}

/* One call of the domain more, or less. */
static void in_flight(struct ang_gateway *g, const struct ang_domain *domain, int64_t n) {
    ang_gauge_add(ang_gateway_meter(g, domain)->in_flight, n);
}

void ang_command_drop(struct ang_gateway *g, struct ang_call *call) {
    in_flight(g, ang_call_domain(call), -1);
    ang_pending_drop(g->pending, call, ang_now_ms());
    ang_gateway_rearm(g);
}

static void cancelled(struct ang_rpc *rpc, void *user) {
    const struct ang_domain *domain;
    struct ang_call *call;
    struct ang_gateway *g;

    ANG_CAST(call, user, ANG_CALL_MAGIC);
    g = call->mail->g;
    domain = ang_call_domain(call);
    ang_command_drop(g, call);
    fail(g, domain, rpc, ang_status_new(ANG_CANCELLED, "the caller has gone"));
}

/* The command's id: the caller's, so that he may send it again, or a fresh one in text[]. */
static struct ang_status *command_id(struct ang_rpc *rpc, char text[ANG_UUID_TEXT + 1], struct ang_slice *ret_id,
                                     bool *ret_client) {
    struct ang_uuid id;

    *ret_client = ang_rpc_meta(rpc, "idempotency-key", ret_id);
    if (*ret_client) {
        if (!ang_command_id_ok(*ret_id))
            return (ang_status_new(ANG_INVALID_ARGUMENT,
                                   "Invalid idempotency-key: expected 1 to 128 visible ASCII characters, got %zu bytes",
                                   ret_id->n));
        return (NULL);
    }
    ang_uuid_v4(&id);
    ang_uuid_text(id.b, text);
    *ret_id = ang_slice_of(text, ANG_UUID_TEXT);
    return (NULL);
}

static struct ang_status *too_many(const struct ang_domain *d, int limit) {
    struct ang_status *st =
        ang_status_new(ANG_RESOURCE_EXHAUSTED,
                       "domain %s: %d commands are in flight (gateway.in_flight); this attempt was not stored, send it "
                       "again in " PUSHBACK_MS " ms",
                       d->name, limit);

    ang_status_add(st, "grpc-retry-pushback-ms", ang_slice_str(PUSHBACK_MS));
    return (st);
}

/* Until when: the caller's deadline, at most gateway.deadline, which bounds how long a copy may lie in the log and still run. */
static struct ang_status *set_times(const struct ang_gateway *g, struct ang_rpc *rpc, int64_t now_ms,
                                    struct ang_call *call) {
    const int64_t limit = now_ms + g->conf.settings->gateway.deadline_ms;
    const int64_t callers = ang_rpc_deadline(rpc);
    const int64_t until = callers < limit ? callers : limit;
    int64_t margin = (until - now_ms) / 10;

    if (until <= now_ms)
        return (ang_status_new(ANG_DEADLINE_EXCEEDED, "the deadline had passed when the command arrived"));
    if (margin > MARGIN_MS)
        margin = MARGIN_MS;
    call->copies_ms = until - margin;
    call->expiry_ms = until - margin / 2;
    call->start_wall_ms = ang_wall_ms();
    call->deadline_wall_ms = call->start_wall_ms + (call->copies_ms - now_ms);
    return (NULL);
}

static const struct ang_wire_cover *cover_of(const struct ang_request *rq) {
    return (rq->record != NULL ? &rq->record->cover : &rq->command->cover);
}

static struct ang_slice raw_of(const struct ang_request *rq) {
    return (rq->record != NULL ? rq->record->raw : rq->command->raw);
}

struct ang_status *ang_command_take(struct ang_gateway *g, struct ang_rpc *rpc, const struct ang_request *rq,
                                    struct ang_stream *stream, const struct ang_domain **ret_domain) {
    const int64_t now_ms = ang_now_ms();
    const int limit = g->conf.settings->gateway.in_flight;
    const struct ang_wire_cover *cover = cover_of(rq);
    struct ang_pending_id id = {.root = cover->root.p, .edition = cover->edition};
    char text[ANG_UUID_TEXT + 1];
    struct ang_status *st;
    struct ang_call *call;
    bool client_id;

    if (g->stopping)
        return (ang_status_new(ANG_UNAVAILABLE, "the gateway is stopping"));
    st = ang_check_command(g->conf.topology, rq->record != NULL ? "EventBook" : "CommandBook", cover, &id.domain);
    if (st != NULL)
        return (st);
    *ret_domain = id.domain;
    if ((st = command_id(rpc, text, &id.command_id, &client_id)) != NULL)
        return (st);
    if (ang_pending_domain_calls(g->pending, id.domain) >= (size_t)limit) {
        ang_counter_add(ang_gateway_meter(g, id.domain)->full, 1);
        return (too_many(id.domain, limit));
    }
    call = ang_pending_add(g->pending, &id, client_id);
    call->rpc = rpc;
    call->book = raw_of(rq);
    call->is_record = rq->record != NULL;
    call->mail = g->mail;
    if ((st = set_times(g, rpc, now_ms, call)) != NULL) {
        ang_pending_drop(g->pending, call, now_ms);
        return (st);
    }
    call->stream = stream;
    in_flight(g, id.domain, 1);
    if (stream != NULL)
        ang_stream_executing(stream, call);
    else
        ang_rpc_set_user(rpc, call, cancelled);
    g->fresh = rq;
    ang_pending_start(g->pending, call, now_ms);
    g->fresh = NULL;
    ang_gateway_rearm(g);
    return (NULL);
}

/* Takes st: what is already known to be wrong with it. */
static void take(struct ang_gateway *g, struct ang_rpc *rpc, struct ang_status *st, const struct ang_request *rq) {
    const struct ang_domain *domain = NULL;

    if (st == NULL)
        st = ang_command_take(g, rpc, rq, NULL, &domain);
    if (st != NULL)
        fail(g, domain, rpc, st);
}

static struct ang_status *unread(struct ang_err *er) {
    return (er == NULL ? NULL : ang_status_from_err(&er));
}

void ang_command_handle(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_wire_command_book book;
    struct ang_gateway *g;

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    struct ang_status *st = unread(ang_wire_parse_command_book(request, &book));
    take(g, rpc, st, &(struct ang_request){.command = &book});
}

void ang_command_record(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_wire_event_book book;
    struct ang_gateway *g;

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    struct ang_status *st = unread(ang_wire_parse_event_book(request, &book));
    take(g, rpc, st, &(struct ang_request){.record = &book});
}

static struct ang_status *check_mode(const struct ang_wire_command_request *r) {
    if (r->arg == SYNC_SIMPLE || r->arg == SYNC_CASCADE)
        return (ang_status_new(ANG_UNIMPLEMENTED, "sync_mode %s is not implemented: use SYNC_MODE_NONE",
                               r->arg == SYNC_SIMPLE ? "SYNC_MODE_SIMPLE" : "SYNC_MODE_CASCADE"));
    if (r->arg != SYNC_NONE)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "Invalid sync_mode: %d is none of SyncMode", (int)r->arg));
    if (!r->has_command)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "SyncCommandBook must have a command"));
    return (NULL);
}

void ang_command_handle_sync(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_wire_command_request r;
    struct ang_gateway *g;

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    struct ang_status *st = unread(ang_wire_parse_sync_command(request, &r));
    if (st == NULL)
        st = check_mode(&r);
    take(g, rpc, st, &(struct ang_request){.command = &r.command});
}

/* ---- appending a copy ---- */

struct failure { /* a failed append on its way to the loop */
    struct ang_op op;
    struct ang_gateway *g;
    struct ang_call *call;
    struct ang_err *er;
};

static void failure_run(struct ang_op *op, bool shutdown) {
    struct failure *f = ANG_CONTAINER(op, struct failure, op);

    if (shutdown) {
        ang_err_free(&f->er);
        ang_call_unref(f->call);
    } else {
        if (f->call->key != NULL) /* it has not ended */
            ang_counter_add(ang_gateway_meter(f->g, ang_call_domain(f->call))->append_failures, 1);
        ang_pending_append_failed(f->g->pending, f->call, &f->er, ang_now_ms());
        ang_gateway_rearm(f->g);
    }
    free(f);
}

/* On a thread of the log.  A success goes nowhere: it is only noted, for the answer tells all. */
static void appended(void *arg, struct ang_err *er, int64_t offset) {
    struct ang_mail *mail;
    struct ang_call *call;
    struct failure *f;

    (void)offset;
    ANG_CAST(call, arg, ANG_CALL_MAGIC);
    mail = call->mail;
    if (er == NULL) {
        atomic_store_explicit(&call->stored, true, memory_order_relaxed); /* published by the unref */
        ang_call_unref(call);
    } else {
        f = ANG_NEW(struct failure);
        ang_op_init(&f->op, failure_run);
        f->g = mail->g;
        f->call = call;
        f->er = ang_err_dup(er);
        ang_mail_post(mail, &f->op);
    }
    ang_mail_unref(mail);
}

/* The type in the next page, of a command or of an event. */
static bool next_type(const struct ang_request *rq, struct ang_wire_iter *it, struct ang_slice *ret_name) {
    struct ang_wire_command_page command;
    struct ang_wire_event_page event;

    if (rq->record != NULL) {
        if (!ang_wire_event_pages_next(it, &event))
            return (false);
        *ret_name = ang_wire_type_name(event.event.type_url);
    } else {
        if (!ang_wire_command_pages_next(it, &command))
            return (false);
        *ret_name = ang_wire_type_name(command.command.type_url);
    }
    return (true);
}

/* The names of the pages' types for the `types` header: those that a header can carry, each once in a row, as many as fit. */
static struct ang_slice types_of(const struct ang_request *rq, struct ang_buf *b) {
    struct ang_wire_iter it = ang_wire_iter_of(rq->record != NULL ? rq->record->pages : rq->command->pages);
    struct ang_slice name, last = ANG_SLICE_NONE;
    size_t i;

    ang_buf_clear(b);
    while (b->n < TYPES_MAX && next_type(rq, &it, &name)) {
        for (i = 0; i < name.n && name.p[i] > ' ' && name.p[i] <= '~' && name.p[i] != ','; i++)
            ;
        if (name.n == 0 || i < name.n || ang_slice_eq(name, last))
            continue;
        if (b->n + 1 + name.n > TYPES_MAX)
            break;
        if (b->n > 0)
            ang_buf_add_u8(b, ',');
        ang_buf_add_slice(b, name);
        last = name;
    }
    return (ang_buf_slice(b));
}

struct copy { /* a record under construction, with the texts that its headers point to */
    struct ang_out rec;
    struct ang_hdr hdrs[HDR_MAX];
    char correlation[ANG_UUID_TEXT + 1];
    char start[24], deadline[24], attempt[12];
};

static void put_hdr(struct copy *c, const char *name, struct ang_slice value) {
    ANG_ASSERT(c->rec.n_hdrs < HDR_MAX);
    c->hdrs[c->rec.n_hdrs++] = (struct ang_hdr){.name = name, .value = value};
}

struct ang_slice ang_command_correlation(const struct ang_request *rq, char text[ANG_UUID_TEXT + 1]) {
    struct ang_uuid uuid;

    if (cover_of(rq)->correlation_id.n > 0)
        return (cover_of(rq)->correlation_id);
    ang_uuid_v5(&ang_uuid_ns_correlation, raw_of(rq), &uuid);
    ang_uuid_text(uuid.b, text);
    return (ang_slice_of(text, ANG_UUID_TEXT));
}

/* The command book with a correlation id in its cover, which the copy's header repeats. */
static void put_value(struct ang_gateway *g, struct copy *c, const struct ang_request *rq) {
    const struct ang_wire_cover *cover = cover_of(rq);
    const struct ang_slice id = ang_command_correlation(rq, c->correlation);

    ang_buf_clear(&g->value);
    ang_buf_clear(&g->cover);
    if (rq->record != NULL) {
        ang_wire_add_cover(&g->cover, cover, id);
        ang_wire_add_record(&g->value, ang_buf_slice(&g->cover), rq->record->raw);
    } else if (cover->correlation_id.n == 0) {
        ang_wire_add_command_book(&g->value, rq->command, id);
    }
    c->rec.value = g->value.n > 0 ? ang_buf_slice(&g->value) : rq->command->raw;
    put_hdr(c, "correlation-id", id);
}

static void put_headers(struct ang_gateway *g, struct copy *c, const struct ang_call *call, uint32_t attempt,
                        const struct ang_request *rq) {
    struct ang_slice types = types_of(rq, &g->types), trace;

    snprintf(c->start, sizeof c->start, "%" PRId64, call->start_wall_ms);
    snprintf(c->deadline, sizeof c->deadline, "%" PRId64, call->deadline_wall_ms);
    snprintf(c->attempt, sizeof c->attempt, "%" PRIu32, attempt);
    put_hdr(c, "command-id", ang_call_id(call).command_id);
    put_hdr(c, "start", ang_slice_str(c->start));
    put_hdr(c, "deadline", ang_slice_str(c->deadline));
    put_hdr(c, "reply-to", ang_slice_str(g->id));
    put_hdr(c, "attempt", ang_slice_str(c->attempt));
    if (call->is_record)
        put_hdr(c, "kind", ang_slice_str("record"));
    if (types.n > 0)
        put_hdr(c, "types", types);
    if (ang_rpc_meta(call->rpc, "traceparent", &trace) && ang_command_id_ok(trace))
        put_hdr(c, "traceparent", trace);
}

/* Bytes of the record as the log counts them, or a little more. */
static size_t record_size(const struct ang_out *rec) {
    size_t n = 64 + rec->key.n + rec->value.n, i;

    for (i = 0; i < rec->n_hdrs; i++)
        n += 10 + strlen(rec->hdrs[i].name) + rec->hdrs[i].value.n;
    return (n);
}

/* A record is larger than what was sent, which had the right size, by a correlation id, or by a cover and some frames: topics have
 * room for that. */
static struct ang_err *check_size(const struct copy *c) {
    const struct ang_topic *tp = c->rec.topic;

    if (tp->max_message > 0 && (int64_t)record_size(&c->rec) > tp->max_message)
        return (ang_err_new(ANG_E_TOO_BIG, "the command's record has %zu bytes, topic %s takes %lld",
                            record_size(&c->rec), tp->name, (long long)tp->max_message));
    return (NULL);
}

struct parsed { /* of what a call sends, once more */
    struct ang_request rq;
    union {
        struct ang_wire_command_book command;
        struct ang_wire_event_book record;
    } u;
};

static void parse_again(const struct ang_call *call, struct parsed *p) {
    struct ang_err *er;

    p->rq = (struct ang_request){NULL, NULL};
    if (call->is_record) {
        er = ang_wire_parse_event_book(call->book, &p->u.record);
        p->rq.record = &p->u.record;
    } else {
        er = ang_wire_parse_command_book(call->book, &p->u.command);
        p->rq.command = &p->u.command;
    }
    AZ(er); /* it parsed when it came */
}

struct ang_err *ang_command_send(void *arg, struct ang_call *call, uint32_t attempt) {
    const struct ang_pending_id id = ang_call_id(call);
    const struct ang_request *rq;
    struct parsed parsed;
    struct ang_gateway *g;
    struct ang_buf key = {0};
    int64_t expiry_ms = call->copies_ms - ang_now_ms();
    struct ang_err *er;
    struct copy c;

    ANG_CAST(g, arg, ANG_GATEWAY_MAGIC);
    rq = g->fresh;
    if (rq == NULL) {
        parse_again(call, &parsed);
        rq = &parsed.rq;
    }
    ang_root_text(&key, id.root, id.edition);
    c.rec = (struct ang_out){.topic = id.domain->commands, .partition = ang_call_partition(call)};
    c.rec.key = ang_buf_slice(&key);
    c.rec.hdrs = c.hdrs;
    put_value(g, &c, rq);
    put_headers(g, &c, call, attempt, rq);
    er = check_size(&c);
    if (er == NULL) {
        /* Its references are taken first: done may run before append returns. */
        ang_call_ref(call);
        ang_mail_ref(g->mail);
        er = ang_log_append(g->conf.log, &c.rec, expiry_ms < 1 ? 1 : (int)expiry_ms, appended, call);
        if (er != NULL) {
            ang_counter_add(ang_gateway_meter(g, id.domain)->append_failures, 1);
            ang_mail_unref(g->mail);
            ang_call_unref(call);
        }
    }
    if (call->sends > 1)
        ang_counter_add(ang_gateway_meter(g, id.domain)->resends, 1);
    ang_buf_fini(&key);
    return (er);
}

void ang_command_end(void *arg, struct ang_call *call, struct ang_slice response, struct ang_status *st) {
    const struct ang_domain *domain = ang_call_domain(call);

    in_flight(arg, domain, -1);
    ang_gateway_meter_end(arg, domain, call->rpc, st);
    if (call->stream != NULL) {
        call->rpc = NULL;
        ang_stream_answered(call->stream, response, st);
        return;
    }
    ang_rpc_set_user(call->rpc, NULL, NULL);
    if (st == NULL)
        ang_rpc_reply(call->rpc, &response, 1);
    else
        ang_rpc_fail(call->rpc, &st);
    call->rpc = NULL;
}
