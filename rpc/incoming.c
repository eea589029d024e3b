/* What a caller streams to us: read on demand, one message at a time, so that who is not read waits (flow control). */
#include <stdlib.h>

#include "rpc/rpc_priv.h"

static void cancel_too_big(struct ang_rpc *rpc, size_t n) {
    char *text = ang_sprintf("%s: the request has %zu bytes, the limit is %lld (limits.message)", rpc->sm->m->path, n,
                             (long long)rpc->s->max_message);
    /* Its close comes, and with it `cancelled`. */
    AZ(grpc_call_cancel_with_status(rpc->call, GRPC_STATUS_RESOURCE_EXHAUSTED, text, NULL));
    free(text);
}

void ang_rpc_read(struct ang_rpc *rpc, void (*got)(struct ang_rpc *rpc, void *user, const struct ang_slice *msg)) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_DIAG(rpc->sm->m->kind == ANG_RPC_BIDI_STREAM);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    AZ(rpc->ended);
    AZ(rpc->got);
    if (!rpc->gone) {
        rpc->got = got;
        op.data.recv_message.recv_message = &rpc->incoming;
        ang_rpc_ref(rpc);
        ang_tag_start(rpc->call, &op, 1, &rpc->tag_read);
    }
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
}

void ang_rpc_read_done(struct ang_tag *tag, bool ok) {
    struct ang_rpc *rpc = ANG_CONTAINER(tag, struct ang_rpc, tag_read);
    void (*got)(struct ang_rpc *, void *, const struct ang_slice *);
    grpc_slice mem = grpc_empty_slice();
    struct ang_slice msg = ANG_SLICE_NONE;

    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    got = rpc->ended || rpc->gone || !ok ? NULL : rpc->got; /* not ok: the cancellation comes by its own way */
    rpc->got = NULL;
    void *user = rpc->user;
    grpc_byte_buffer *bb = rpc->incoming;
    rpc->incoming = NULL;
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
    if (bb != NULL)
        msg = ang_bytes_view(bb, &mem);
    if (got != NULL && bb != NULL && msg.n > (uint64_t)rpc->s->max_message)
        cancel_too_big(rpc, msg.n);
    else if (got != NULL)
        got(rpc, user, bb == NULL ? NULL : &msg);
    grpc_slice_unref(mem);
    if (bb != NULL)
        grpc_byte_buffer_destroy(bb);
    ang_rpc_unref(rpc);
}
