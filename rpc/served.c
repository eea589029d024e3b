/* A call being served: from the request's arrival to its last reference.
 *
 *      new_done -> handle() -> [send]* -> reply | fail | end -> final batch -> last unref
 *                     |
 *                     +-- when the call has not ended by the time handle() returns: a batch that waits for its close.
 *                         Otherwise the close is part of the final batch, and the whole call is two completions.
 *
 * One send batch at a time; what waits behind it stands in `out`. */
#include <stdlib.h>

#include "rpc/rpc_priv.h"

#define QUEUE_MAX ((size_t)4 << 20)

void ang_rpc_ref(struct ang_rpc *rpc) {
    (void)atomic_fetch_add_explicit(&rpc->refs, 1, memory_order_relaxed);
}

static void out_pop(struct ang_rpc *rpc) {
    struct ang_rpc_out *out = rpc->out;
    rpc->out = out->next;
    if (rpc->out == NULL)
        rpc->out_tail = &rpc->out;
    grpc_byte_buffer_destroy(out->bb);
    if (out == &rpc->out_first)
        rpc->out_first_used = false;
    else
        free(out);
}

static void out_drop(struct ang_rpc *rpc) {
    while (rpc->out != NULL) {
        rpc->queued -= rpc->out->n;
        out_pop(rpc);
    }
}

static void clean(struct ang_rpc *rpc) {
    out_drop(rpc);
    ang_status_free(&rpc->st);
    grpc_slice_unref(rpc->request_mem);
    rpc->request_mem = grpc_empty_slice();
    if (rpc->payload != NULL)
        grpc_byte_buffer_destroy(rpc->payload);
    rpc->payload = NULL;
    if (rpc->incoming != NULL)
        grpc_byte_buffer_destroy(rpc->incoming);
    rpc->incoming = NULL;
    if (rpc->sm == NULL)
        grpc_call_details_destroy(&rpc->details);
    if (rpc->call != NULL)
        grpc_call_unref(rpc->call);
    rpc->call = NULL;
}

void ang_rpc_unref(struct ang_rpc *rpc) {
    /* acq_rel: the last one sees all that the others did */
    if (atomic_fetch_sub_explicit(&rpc->refs, 1, memory_order_acq_rel) != 1)
        return;
    clean(rpc);
    ang_rpc_give_back(rpc);
}

/* Callbacks that are due.  Loop thread, a reference held, no lock. */
static void run_callbacks(struct ang_rpc *rpc) {
    void (*cancelled)(struct ang_rpc *, void *) = NULL, (*drained)(struct ang_rpc *, void *) = NULL;

    ANG_PT(pthread_mutex_lock(&rpc->lock));
    void *user = rpc->user;
    if (!rpc->ended && rpc->gone && !rpc->told && rpc->cancelled != NULL) {
        rpc->told = true;
        cancelled = rpc->cancelled;
    } else if (!rpc->ended && !rpc->gone && rpc->drain_armed && rpc->queued < rpc->low) {
        rpc->drain_armed = false;
        drained = rpc->drained;
    }
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
    if (cancelled != NULL)
        cancelled(rpc, user);
    if (drained != NULL)
        drained(rpc, user);
}

void ang_rpc_late_run(struct ang_op *op, bool shutdown) {
    struct ang_rpc *rpc = ANG_CONTAINER(op, struct ang_rpc, op);
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    rpc->op_posted = false;
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
    if (!shutdown)
        run_callbacks(rpc);
    ang_rpc_unref(rpc);
}

/* Under the lock: callbacks have become due without a completion on its way. */
static void post_callbacks(struct ang_rpc *rpc) {
    if (rpc->op_posted)
        return;
    rpc->op_posted = true;
    ang_rpc_ref(rpc);
    ang_loop_post(rpc->s->loop, &rpc->op);
}

/* Under the lock: starts what can be sent next, if nothing is under way. */
static void pump(struct ang_rpc *rpc) {
    grpc_op ops[4] = {{0}};
    size_t n = 0;
    struct ang_status_wire w;

    const bool begin = rpc->begin && !rpc->begun;

    if (rpc->sending || rpc->final || (rpc->out == NULL && !rpc->ended && !begin))
        return;
    if (!rpc->begun)
        ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
    rpc->begun = true;
    if (rpc->out != NULL) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        /* More follows at once: let the transport collect. */
        ops[n].flags = rpc->out->next != NULL ? GRPC_WRITE_BUFFER_HINT : 0;
        ops[n++].data.send_message.send_message = rpc->out->bb;
        rpc->sending_n = rpc->out->n;
    }
    bool final = rpc->ended && (rpc->out == NULL || rpc->out->next == NULL);
    if (final) {
        ang_status_wire_init(&w, rpc->st);
        ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        ops[n].data.send_status_from_server.status = w.code;
        ops[n].data.send_status_from_server.status_details = &w.msg;
        ops[n].data.send_status_from_server.trailing_metadata_count = w.n_md;
        ops[n++].data.send_status_from_server.trailing_metadata = w.md;
        if (!rpc->close_started) {
            ops[n].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
            ops[n++].data.recv_close_on_server.cancelled = &rpc->close_cancelled;
            rpc->close_started = true;
        }
    }
    rpc->sending = true;
    rpc->final = final;
    ang_rpc_ref(rpc);
    ang_tag_start(rpc->call, ops, n, &rpc->tag_send);
    /* gRPC has taken its own references; rpc is kept by the lock's holder. */
    if (rpc->out != NULL)
        out_pop(rpc);
    if (final)
        ang_status_wire_fini(&w);
}

void ang_rpc_send_done(struct ang_tag *tag, bool ok) {
    struct ang_rpc *rpc = ANG_CONTAINER(tag, struct ang_rpc, tag_send);
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    rpc->sending = false;
    rpc->queued -= rpc->sending_n;
    rpc->sending_n = 0;
    if (!rpc->final && !ok)
        rpc->gone = true;
    if (rpc->gone)
        out_drop(rpc);
    pump(rpc);
    bool quiet = rpc->ended;
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
    if (!quiet)
        run_callbacks(rpc);
    ang_rpc_unref(rpc);
}

void ang_rpc_close_done(struct ang_tag *tag, bool ok) {
    struct ang_rpc *rpc = ANG_CONTAINER(tag, struct ang_rpc, tag_close);
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    if (rpc->close_cancelled || !ok) {
        rpc->gone = true;
        out_drop(rpc);
    }
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
    run_callbacks(rpc);
    ang_rpc_unref(rpc);
}

static void start_close(struct ang_rpc *rpc) {
    grpc_op op = {0};
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    if (!rpc->close_started) {
        rpc->close_started = true;
        op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        op.data.recv_close_on_server.cancelled = &rpc->close_cancelled;
        ang_rpc_ref(rpc);
        ang_tag_start(rpc->call, &op, 1, &rpc->tag_close);
    }
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
}

static void fail_unknown(struct ang_rpc *rpc) {
    struct ang_slice m = ang_slice_of_grpc(&rpc->details.method);
    struct ang_status *st = ang_status_new(ANG_UNIMPLEMENTED, "this server has no method %.*s",
                                           (int)(m.n < 512 ? m.n : 512), (const char *)m.p);
    ang_rpc_fail(rpc, &st);
}

static void handle(struct ang_rpc *rpc) {
    struct ang_status *st = NULL;

    if (rpc->sm == NULL) {
        fail_unknown(rpc);
        return;
    }
    if (rpc->sm->m->kind == ANG_RPC_BIDI_STREAM) {
        rpc->sm->m->handle(rpc->sm->arg, rpc, ANG_SLICE_NONE);
        return;
    }
    if (rpc->payload == NULL) {
        /* Far over the limit (gRPC has answered by itself), or closed without a message. */
        st = ang_status_new(ANG_INVALID_ARGUMENT, "%s: the call came without a request message", rpc->sm->m->path);
        ang_rpc_fail(rpc, &st);
        return;
    }
    rpc->request = ang_bytes_view(rpc->payload, &rpc->request_mem);
    if (rpc->request.n > (uint64_t)rpc->s->max_message) {
        st = ang_status_new(ANG_RESOURCE_EXHAUSTED, "%s: the request has %zu bytes, the limit is %lld (limits.message)",
                            rpc->sm->m->path, rpc->request.n, (long long)rpc->s->max_message);
        ang_rpc_fail(rpc, &st);
        return;
    }
    rpc->sm->m->handle(rpc->sm->arg, rpc, rpc->request);
}

void ang_rpc_new_done(struct ang_tag *tag, bool ok) {
    struct ang_rpc *rpc = ANG_CONTAINER(tag, struct ang_rpc, tag_new);
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    if (!ok) { /* the server shuts down */
        clean(rpc);
        ang_rpc_give_back(rpc);
        return;
    }
    ang_rpc_arm(rpc->s, rpc->sm);
    rpc->began_us = ang_now_us();
    if (rpc->sm == NULL)
        rpc->deadline = rpc->details.deadline;
    rpc->deadline_ms = ANG_NEVER;
    if (gpr_time_cmp(rpc->deadline, gpr_inf_future(rpc->deadline.clock_type)) != 0) {
        gpr_timespec at = gpr_convert_clock_type(rpc->deadline, GPR_CLOCK_MONOTONIC);
        rpc->deadline_ms = at.tv_sec * 1000 + at.tv_nsec / 1000000;
    }
    /* One for the handler's side, one for this function. */
    atomic_store_explicit(&rpc->refs, 2, memory_order_relaxed);
    handle(rpc);
    start_close(rpc);
    ang_rpc_unref(rpc);
}

/* ---- the handler's side ---- */

struct ang_slice ang_rpc_request(const struct ang_rpc *rpc) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    return (rpc->request);
}

const char *ang_rpc_path(const struct ang_rpc *rpc) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    return (rpc->sm->m->path);
}

bool ang_rpc_meta(const struct ang_rpc *rpc, const char *key, struct ang_slice *ret_value) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    for (size_t i = 0; i < rpc->meta.count; i++)
        if (ang_slice_is(ang_slice_of_grpc(&rpc->meta.metadata[i].key), key)) {
            *ret_value = ang_slice_of_grpc(&rpc->meta.metadata[i].value);
            return (true);
        }
    return (false);
}

int64_t ang_rpc_deadline(const struct ang_rpc *rpc) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    return (rpc->deadline_ms);
}

int64_t ang_rpc_began_us(const struct ang_rpc *rpc) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    return (rpc->began_us);
}

void ang_rpc_set_user(struct ang_rpc *rpc, void *user, void (*cancelled)(struct ang_rpc *rpc, void *user)) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    rpc->user = user;
    rpc->cancelled = cancelled;
    if (rpc->gone && !rpc->told && cancelled != NULL)
        post_callbacks(rpc);
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
}

void *ang_rpc_user(const struct ang_rpc *rpc) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    return (rpc->user);
}

/* Under the lock: out is appended; takes bb. */
static void push(struct ang_rpc *rpc, grpc_byte_buffer *bb, size_t n) {
    struct ang_rpc_out *out = &rpc->out_first;
    if (rpc->out_first_used)
        out = ang_malloc(sizeof(*out));
    else
        rpc->out_first_used = true;
    *out = (struct ang_rpc_out){.bb = bb, .n = n};
    *rpc->out_tail = out;
    rpc->out_tail = &out->next;
    rpc->queued += n;
    if (rpc->drained != NULL && rpc->queued >= rpc->low)
        rpc->drain_armed = true;
}

/* Takes bb (NULL = no last message) and *st (NULL = OK). */
static void end(struct ang_rpc *rpc, grpc_byte_buffer *bb, struct ang_status **st, bool cut) {
    if (rpc->sm != NULL)
        ang_histogram_add(rpc->sm->took[st == NULL ? ANG_OK : ang_code_index((*st)->code)], ang_now_us() - rpc->began_us);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    AZ(rpc->ended);
    if (cut)
        out_drop(rpc);
    rpc->ended = true;
    if (st != NULL) {
        rpc->st = *st;
        *st = NULL;
    }
    if (bb != NULL)
        push(rpc, bb, grpc_byte_buffer_length(bb));
    if (rpc->gone) /* nobody reads it, but the call is over only with a status */
        out_drop(rpc);
    pump(rpc);
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
    ang_rpc_unref(rpc);
}

void ang_rpc_reply(struct ang_rpc *rpc, const struct ang_slice *parts, size_t n) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_DIAG(rpc->sm->m->kind == ANG_RPC_UNARY);
    end(rpc, ang_bytes_new(parts, n), NULL, false);
}

void ang_rpc_fail(struct ang_rpc *rpc, struct ang_status **st) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    AN(*st);
    end(rpc, NULL, st, false);
}

void ang_rpc_cut(struct ang_rpc *rpc, struct ang_status **st) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    AN(*st);
    end(rpc, NULL, st, true);
}

void ang_rpc_end(struct ang_rpc *rpc) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_DIAG(rpc->sm->m->kind != ANG_RPC_UNARY);
    end(rpc, NULL, NULL, false);
}

bool ang_rpc_send(struct ang_rpc *rpc, const struct ang_slice *parts, size_t n) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    AZ(rpc->ended);
    bool ok = !rpc->gone && rpc->queued <= QUEUE_MAX;
    if (ok) {
        grpc_byte_buffer *bb = ang_bytes_new(parts, n);
        push(rpc, bb, grpc_byte_buffer_length(bb));
        pump(rpc);
    }
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
    return (ok);
}

bool ang_rpc_send_shared(struct ang_rpc *rpc, struct ang_slice bytes, void (*done)(void *arg), void *arg) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    AZ(rpc->ended);
    bool ok = !rpc->gone && rpc->queued <= QUEUE_MAX;
    if (ok) {
        push(rpc, ang_bytes_share(bytes, done, arg), bytes.n);
        pump(rpc);
    }
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
    return (ok);
}

void ang_rpc_begin(struct ang_rpc *rpc) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    AZ(rpc->ended);
    rpc->begin = true;
    if (!rpc->gone)
        pump(rpc);
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
}

size_t ang_rpc_queued(const struct ang_rpc *rpc) {
    struct ang_rpc *r;
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    memcpy(&r, &rpc, sizeof(r)); /* only its lock is written */
    ANG_PT(pthread_mutex_lock(&r->lock));
    size_t n = r->queued;
    ANG_PT(pthread_mutex_unlock(&r->lock));
    return (n);
}

void ang_rpc_on_drained(struct ang_rpc *rpc, size_t low, void (*drained)(struct ang_rpc *rpc, void *user)) {
    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    rpc->low = low;
    rpc->drained = drained;
    rpc->drain_armed = drained != NULL;
    if (rpc->drain_armed && rpc->queued < low)
        post_callbacks(rpc);
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
}
