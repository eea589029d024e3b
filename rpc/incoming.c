/* What a caller streams to us: read on demand, one message at a time, so that who is not read waits (flow control). */
#include "rpc/rpc_priv.h"

void ang_rpc_read(struct ang_rpc *rpc, void (*got)(struct ang_rpc *rpc, void *user, const struct ang_slice *msg)) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_DIAG(rpc->sm->m->kind == ANG_RPC_STREAMS);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    AZ(rpc->got);
    if (!rpc->ended && !rpc->gone) {
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
    grpc_byte_buffer *bb;
    struct ang_slice msg;
    grpc_slice mem;

    ANG_CHECK(rpc, ANG_RPC_MAGIC);
    ANG_PT(pthread_mutex_lock(&rpc->lock));
    got = rpc->ended || rpc->gone || !ok ? NULL : rpc->got; /* not ok: the cancellation comes by its own way */
    rpc->got = NULL;
    void *user = rpc->user;
    bb = rpc->incoming;
    rpc->incoming = NULL;
    ANG_PT(pthread_mutex_unlock(&rpc->lock));
    if (bb == NULL) {
        if (got != NULL)
            got(rpc, user, NULL);
    } else {
        msg = ang_bytes_view(bb, &mem);
        if (got != NULL)
            got(rpc, user, &msg);
        grpc_slice_unref(mem);
        grpc_byte_buffer_destroy(bb);
    }
    ang_rpc_unref(rpc);
}
