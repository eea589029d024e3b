/* Business logic that does nothing: every command becomes one event with SIZE bytes of payload.  The answer is always the same
 * bytes, and the request is not looked at: what a command costs here is one gRPC call.
 *
 *     bench_logic ADDRESS [SIZE]      unix:/path or host:port; runs until SIGTERM or SIGINT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "proto/wire.h"
#include "rpc/rpc.h"

static struct ang_buf answer;

static void handle(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_slice part = ang_buf_slice(&answer);

    ang_rpc_reply(rpc, &part, 1);
}

static const struct ang_rpc_method methods[] = {{"/angzarr.BusinessLogic/Handle", ANG_RPC_UNARY, handle}};

/* EventBook{pages: [EventPage{event}]}: no number, so the next one is taken. */
static void make_answer(size_t size) {
    struct ang_buf payload = {NULL, 0, 0}, page = {NULL, 0, 0};

    memset(ang_buf_reserve(&payload, size), 'x', size);
    payload.n = size;
    ang_wire_put_any(&page, 4, ang_slice_str("type.googleapis.com/bench.Done"), ang_buf_slice(&payload));
    ang_wire_put_bytes(&answer, 3, ang_buf_slice(&page));
    ang_buf_fini(&payload);
    ang_buf_fini(&page);
}

int main(int argc, char **argv) {
    struct ang_rpc_server_conf conf = {.max_message = 16 << 20, .methods = methods, .n_methods = ANG_COUNT(methods)};
    struct ang_rpc_server *server;
    struct ang_err *er;
    sigset_t end;
    int got;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: bench_logic ADDRESS [SIZE]\n");
        return (2);
    }
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigaddset(&end, SIGINT);
    ANG_PT(pthread_sigmask(SIG_BLOCK, &end, NULL)); /* for every thread that follows */
    make_answer(argc == 3 ? strtoul(argv[2], NULL, 10) : 200);
    conf.address = argv[1];
    conf.loop = ang_loop_new("logic", NULL, NULL);
    er = ang_rpc_server_open(&conf, &server);
    if (er != NULL) {
        fprintf(stderr, "bench_logic: %s\n", er->msg);
        ang_err_free(&er);
        ang_loop_stop(conf.loop);
        return (1);
    }
    ang_loop_start(conf.loop);
    printf("ready %s\n", ang_rpc_server_address(server));
    fflush(stdout);
    ANG_PT(sigwait(&end, &got));
    ang_rpc_server_close(server, 100);
    ang_loop_stop(conf.loop);
    ang_buf_fini(&answer);
    return (0);
}
