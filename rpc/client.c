/* Calls to others.  A unary call is one batch and one completion; a stream has three: what is sent (with the initial
 * metadata), the status, and one message at a time.  A call is over when none is under way.
 *
 * All on the loop's thread, gRPC's side excepted. */
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <limits.h>
#include <stdlib.h>

#include "rpc/rpc_priv.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const unsigned free_max = 0; /* a list would hide use after free */
#else
static const unsigned free_max = 1024;
#endif

/* Headers are sent by who begins and by who fails; in the second case the status is right behind them. */
#define BEGUN_MS 20

struct ang_rpc_call {
    unsigned magic;
#define ANG_RPC_CALL_MAGIC 0x7ca11e02
    struct ang_rpc_call *next, **prev; /* the channel's calls; next: its free list */
    struct ang_rpc_channel *ch;        /* NULL: the channel was closed; only completions are awaited */
    void (*done)(void *arg, const struct ang_rpc_result *res);
    void (*message)(void *arg, struct ang_slice msg);
    void (*begun)(void *arg);
    void *arg;
    bool over;               /* done has run, or runs */
    struct ang_timer begins; /* its headers have come: tells begun, unless the status is there too by then */
    unsigned under_way;
    struct ang_tag tag_call, tag_status, tag_message; /* a unary call uses the first only */
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *msg;
    grpc_status_code code;
    grpc_slice details;
    const char *error; /* gRPC's own account of a failed call, not used: details has what matters */
};

struct ang_rpc_channel {
    unsigned magic;
#define ANG_RPC_CHANNEL_MAGIC 0x7ca11e01
    struct ang_loop *loop;
    grpc_channel *grpc;
    char *address;
    struct ang_rpc_call *calls, *free;
    unsigned n_free;
    bool closing;
};

static grpc_arg int_arg(const char *key, int value) {
    grpc_arg a = {.type = GRPC_ARG_INTEGER};
    memcpy(&a.key, &key, sizeof(a.key)); /* gRPC only reads it */
    a.value.integer = value;
    return (a);
}

static grpc_channel *channel_create(const char *address) {
    grpc_arg args[] = {
        int_arg(GRPC_ARG_ENABLE_RETRIES, 0),
        int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
        int_arg(GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0),
        int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1), /* a connection and a back-off of its own */
        int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100),
        int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000),
        int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000), /* in truth: how long one attempt to connect may take */
        int_arg(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000),
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, (64 << 10) + 4096), /* 64 KiB of theirs, and what HTTP/2 counts on top */
        /* Many servers hang up on callers that ping more often than every 5 minutes.  What a call in between needs is a
         * deadline; unacknowledged data is noticed by TCP after the timeout below. */
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, 310000),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000),
    };
    grpc_channel_args all = {.num_args = ANG_COUNT(args), .args = args};
    grpc_channel_credentials *cr = grpc_insecure_credentials_create();
    grpc_channel *ch = grpc_channel_create(address, cr, &all);
    grpc_channel_credentials_release(cr);
    return (ch);
}

struct ang_err *ang_rpc_channel_open(struct ang_loop *loop, const char *address, struct ang_rpc_channel **ret_ch) {
    struct ang_rpc_channel *ch;

    if (!ang_address_ok(address))
        return (ang_err_new(ANG_E_INVALID, "address \"%s\": expected host:port or unix:/path", address));
    ch = ANG_NEW(struct ang_rpc_channel);
    ch->magic = ANG_RPC_CHANNEL_MAGIC;
    ch->loop = loop;
    ch->address = ang_strdup(address);
    ch->grpc = channel_create(address);
    *ret_ch = ch;
    return (NULL);
}

const char *ang_rpc_channel_address(const struct ang_rpc_channel *ch) {
    ANG_CHECK(ch, ANG_RPC_CHANNEL_MAGIC);
    return (ch->address);
}

bool ang_rpc_channel_connected(const struct ang_rpc_channel *ch) {
    ANG_CHECK(ch, ANG_RPC_CHANNEL_MAGIC);
    return (grpc_channel_check_connectivity_state(ch->grpc, 0) == GRPC_CHANNEL_READY);
}

/* ---- the end of a call ---- */

static void call_free(struct ang_rpc_call *call) {
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    call->magic = 0;
    free(call);
}

static void free_error(const char *s) {
    char *own;
    memcpy(&own, &s, sizeof(own)); /* ours, but gRPC hands it out const */
    gpr_free(own);
}

/* What gRPC gave, back; the struct to the channel's list while there is a channel. */
static void call_put(struct ang_rpc_call *call) {
    if (call->msg != NULL)
        grpc_byte_buffer_destroy(call->msg);
    call->msg = NULL;
    grpc_slice_unref(call->details);
    free_error(call->error);
    grpc_call_unref(call->call);
    struct ang_rpc_channel *ch = call->ch;
    if (ch != NULL) {
        *call->prev = call->next;
        if (call->next != NULL)
            call->next->prev = call->prev;
    }
    if (ch != NULL && ch->n_free < free_max) {
        ch->n_free++;
        call->next = ch->free;
        ch->free = call;
    } else {
        call_free(call);
    }
}

/* Trailers as our own entries; keys get their NUL.  One allocation, which the caller frees; NULL when there are none. */
static struct ang_meta *trailers_new(const grpc_metadata_array *md) {
    size_t size = 0;
    for (size_t i = 0; i < md->count; i++)
        size += sizeof(struct ang_meta) + GRPC_SLICE_LENGTH(md->metadata[i].key) + 1;
    if (size == 0)
        return (NULL);
    struct ang_meta *m = ang_malloc(size);
    char *key = (char *)(m + md->count);
    for (size_t i = 0; i < md->count; i++) {
        struct ang_slice k = ang_slice_of_grpc(&md->metadata[i].key);
        memcpy(key, k.p, k.n);
        key[k.n] = '\0';
        m[i] = (struct ang_meta){.key = key, .value = ang_slice_of_grpc(&md->metadata[i].value)};
        key += k.n + 1;
    }
    return (m);
}

static void finish(struct ang_rpc_call *call) {
    struct ang_meta *trailers;
    grpc_slice mem = grpc_empty_slice();

    if (call->ch != NULL)
        ang_timer_cancel(call->ch->loop, &call->begins);
    if (!call->over) {
        call->over = true;
        struct ang_rpc_result res = {.code = (uint32_t)call->code, .msg = ang_slice_of_grpc(&call->details)};
        trailers = trailers_new(&call->trailing);
        res.trailers = trailers;
        res.n_trailers = call->trailing.count;
        if (call->code == GRPC_STATUS_OK && call->message == NULL) {
            if (call->msg != NULL) {
                res.response = ang_bytes_view(call->msg, &mem);
            } else {
                res.code = ANG_INTERNAL;
                res.msg = ang_slice_str("the callee answered OK without a message");
            }
        }
        call->done(call->arg, &res); /* may close the channel */
        free(trailers);
        grpc_slice_unref(mem);
    }
    call_put(call);
}

/* ---- completions ---- */

static void completed(struct ang_rpc_call *call) {
    ANG_CHECK(call, ANG_RPC_CALL_MAGIC);
    if (--call->under_way == 0)
        finish(call);
}

/* Once, before the first message: gRPC may report that one first. */
static void tell_begun(struct ang_rpc_call *call) {
    void (*begun)(void *arg) = call->begun;

    call->begun = NULL;
    if (begun != NULL && !call->over)
        begun(call->arg);
}

static void begins(struct ang_timer *t) {
    tell_begun(ANG_CONTAINER(t, struct ang_rpc_call, begins));
}

static void call_done(struct ang_tag *tag, bool ok) {
    struct ang_rpc_call *call = ANG_CONTAINER(tag, struct ang_rpc_call, tag_call);

    ANG_CHECK(call, ANG_RPC_CALL_MAGIC);
    if (ok && call->begun != NULL && call->ch != NULL && call->under_way > 1)
        ang_timer_set(call->ch->loop, &call->begins, ang_now_ms() + BEGUN_MS);
    completed(call);
}

static void status_done(struct ang_tag *tag, bool ok) {
    completed(ANG_CONTAINER(tag, struct ang_rpc_call, tag_status));
}

static void ask_message(struct ang_rpc_call *call) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->msg;
    call->under_way++;
    ang_tag_start(call->call, &op, 1, &call->tag_message);
}

static void message_done(struct ang_tag *tag, bool ok) {
    struct ang_rpc_call *call = ANG_CONTAINER(tag, struct ang_rpc_call, tag_message);
    grpc_slice mem;

    ANG_CHECK(call, ANG_RPC_CALL_MAGIC);
    if (ok && call->msg != NULL) {
        struct ang_slice msg = ang_bytes_view(call->msg, &mem);
        tell_begun(call);
        if (!call->over)
            call->message(call->arg, msg);
        grpc_slice_unref(mem);
        grpc_byte_buffer_destroy(call->msg);
        call->msg = NULL;
        ask_message(call);
    }
    completed(call);
}

/* ---- the start ---- */

static struct ang_rpc_call *call_take(struct ang_rpc_channel *ch) {
    struct ang_rpc_call *call = ch->free;
    if (call != NULL) {
        ch->free = call->next;
        ch->n_free--;
        call->initial.count = call->trailing.count = 0;
    } else {
        call = ANG_NEW(struct ang_rpc_call);
        call->magic = ANG_RPC_CALL_MAGIC;
        grpc_metadata_array_init(&call->initial);
        grpc_metadata_array_init(&call->trailing);
        ang_tag_init(&call->tag_call, call_done);
        ang_tag_init(&call->tag_status, status_done);
        ang_tag_init(&call->tag_message, message_done);
        ang_timer_init(&call->begins, begins);
    }
    call->ch = ch;
    call->next = ch->calls;
    call->prev = &ch->calls;
    if (ch->calls != NULL)
        ch->calls->prev = &call->next;
    ch->calls = call;
    call->over = false;
    call->under_way = 0;
    call->error = NULL;
    call->details = grpc_empty_slice();
    return (call);
}

static gpr_timespec grpc_deadline(int64_t at_ms) {
    if (at_ms == ANG_NEVER)
        return (gpr_inf_future(GPR_CLOCK_MONOTONIC));
    return ((gpr_timespec){
        .tv_sec = at_ms / 1000, .tv_nsec = (int32_t)(at_ms % 1000 * 1000000), .clock_type = GPR_CLOCK_MONOTONIC});
}

static void start_batches(struct ang_rpc_call *call, grpc_byte_buffer *bb, uint32_t flags, grpc_metadata *md,
                          size_t n_md) {
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},  {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
                      {.op = GRPC_OP_RECV_STATUS_ON_CLIENT},  {.op = GRPC_OP_RECV_MESSAGE}};

    ops[0].flags = flags;
    ops[0].data.send_initial_metadata.count = n_md;
    ops[0].data.send_initial_metadata.metadata = md;
    ops[1].data.send_message.send_message = bb;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    ops[4].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[4].data.recv_status_on_client.status = &call->code;
    ops[4].data.recv_status_on_client.status_details = &call->details;
    ops[4].data.recv_status_on_client.error_string = &call->error;
    ops[5].data.recv_message.recv_message = &call->msg;
    /* Completions come on this thread, so the call lives until we return. */
    if (call->message == NULL) {
        call->under_way = 1;
        ang_tag_start(call->call, ops, 6, &call->tag_call);
    } else {
        call->under_way = 2;
        ang_tag_start(call->call, &ops[4], 1, &call->tag_status);
        ang_tag_start(call->call, ops, 4, &call->tag_call);
        ask_message(call);
    }
}

struct ang_rpc_call *ang_rpc_call_start(struct ang_rpc_channel *ch, const struct ang_rpc_req *req) {
    grpc_metadata few[8], *md = few;
    size_t n_md = 0;

    ANG_CHECK(ch, ANG_RPC_CHANNEL_MAGIC);
    ANG_DIAG(ang_loop_here(ch->loop));
    AZ(ch->closing);
    struct ang_rpc_call *call = call_take(ch);
    call->done = req->done;
    call->message = req->message;
    call->begun = req->begun;
    call->arg = req->arg;
    call->call =
        grpc_channel_create_call(ch->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, ang_loop_cq(ch->loop),
                                 grpc_slice_from_static_string(req->path), NULL, grpc_deadline(req->deadline_ms), NULL);
    if (req->n_meta > ANG_COUNT(few))
        md = ang_malloc(req->n_meta * sizeof(*md));
    for (size_t i = 0; i < req->n_meta; i++)
        n_md += ang_md_new(&req->meta[i], &md[n_md]);
    grpc_byte_buffer *bb = ang_bytes_new(req->parts, req->n_parts);
    uint32_t flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET |
                     (req->wait_for_ready ? GRPC_INITIAL_METADATA_WAIT_FOR_READY : 0);
    start_batches(call, bb, flags, md, n_md);
    grpc_byte_buffer_destroy(bb);
    ang_md_free(md, n_md);
    if (md != few)
        free(md);
    return (call);
}

void ang_rpc_call_cancel(struct ang_rpc_call *call) {
    ANG_CHECK(call, ANG_RPC_CALL_MAGIC);
    AZ(grpc_call_cancel(call->call, NULL));
}

void ang_rpc_channel_close(struct ang_rpc_channel *ch) {
    struct ang_rpc_call *call;

    if (ch == NULL)
        return;
    ANG_CHECK(ch, ANG_RPC_CHANNEL_MAGIC);
    AZ(ch->closing);
    ch->closing = true;
    while ((call = ch->calls) != NULL) {
        ch->calls = call->next;
        if (call->next != NULL)
            call->next->prev = &ch->calls;
        ang_timer_cancel(ch->loop, &call->begins);
        call->ch = NULL;
        /* gRPC still owes its completions; they only free the call. */
        (void)grpc_call_cancel(call->call, NULL);
        if (!call->over) {
            call->over = true;
            call->done(call->arg,
                       &(struct ang_rpc_result){.code = ANG_CANCELLED, .msg = ang_slice_str("the channel was closed")});
        }
    }
    while ((call = ch->free) != NULL) {
        ch->free = call->next;
        call_free(call);
    }
    grpc_channel_destroy(ch->grpc);
    free(ch->address);
    ch->magic = 0;
    free(ch);
}
