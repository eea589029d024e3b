/* A server and a client on loops of their own, and calls that a test can wait for. */
#ifndef ANG_TEST_RPC_KIT_H
#define ANG_TEST_RPC_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "rpc/rpc.h"

#define KIT_WAIT_MS 60000

struct kit {
    struct ang_loop *sl, *cl;
    struct ang_rpc_server *s;
    struct ang_rpc_channel *ch;
};

static inline void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

#define KIT_UNTIL(cond)                                                                                                \
    do {                                                                                                               \
        int64_t limit_ = ang_now_ms() + KIT_WAIT_MS;                                                                   \
        while (!(cond)) {                                                                                              \
            if (ang_now_ms() > limit_)                                                                                 \
                fail_msg("%s:%d: never: %s", __FILE__, __LINE__, #cond);                                               \
            pause_ms(1);                                                                                               \
        }                                                                                                              \
    } while (0)

static inline void kit_ok(struct ang_err *er) {
    if (er != NULL)
        fail_msg("%s", er->msg);
}

static inline void kit_serve(struct kit *k, const char *address, int64_t max, const struct ang_rpc_method *m,
                             size_t n) {
    kit_ok(ang_rpc_server_open(
        &(struct ang_rpc_server_conf){
            .loop = k->sl, .address = address, .max_message = max, .methods = m, .n_methods = n, .arg = k},
        &k->s));
}

static inline void kit_open(struct kit *k, const char *address, int64_t max, const struct ang_rpc_method *m, size_t n) {
    k->sl = ang_loop_new("server", NULL, NULL);
    k->cl = ang_loop_new("client", NULL, NULL);
    kit_serve(k, address, max, m, n);
    kit_ok(ang_rpc_channel_open(k->cl, ang_rpc_server_address(k->s), &k->ch));
    ang_loop_start(k->sl);
    ang_loop_start(k->cl);
}

static inline void kit_close_channel(void *arg) {
    ang_rpc_channel_close(arg);
}

static inline void kit_close(struct kit *k) {
    ang_loop_call(k->cl, kit_close_channel, k->ch);
    ang_rpc_server_close(k->s, 0);
    ang_loop_stop(k->cl);
    ang_loop_stop(k->sl);
}

/* What came of a call.  Fill req's fields before kit_start; the rest is read after kit_wait. */
struct answer {
    struct ang_rpc_req req;
    struct ang_rpc_channel *ch;
    struct ang_rpc_call *call; /* client loop */
    struct ang_slice part;
    struct ang_status *st; /* code, message, trailers */
    struct ang_buf response;
    atomic_int n_messages, n_done;
    void (*on_message)(struct answer *a, struct ang_slice msg);
};

static inline void kit_done(void *arg, const struct ang_rpc_result *res) {
    struct answer *a = arg;
    AZ(a->n_done);
    a->st = ang_status_new(res->code, "%.*s", (int)res->msg.n, (const char *)res->msg.p);
    for (size_t i = 0; i < res->n_trailers; i++)
        ang_status_add(a->st, res->trailers[i].key, res->trailers[i].value);
    ang_buf_add_slice(&a->response, res->response);
    a->n_done++;
}

static inline void kit_message(void *arg, struct ang_slice msg) {
    struct answer *a = arg;
    if (a->on_message != NULL)
        a->on_message(a, msg);
    a->n_messages++;
}

static inline struct answer *kit_call(const char *path, struct ang_slice request) {
    struct answer *a = ANG_NEW(struct answer);
    a->part = request;
    a->req = (struct ang_rpc_req){
        .path = path, .parts = &a->part, .n_parts = 1, .deadline_ms = ANG_NEVER, .done = kit_done, .arg = a};
    return (a);
}

static inline void kit_start_on_loop(void *arg) {
    struct answer *a = arg;
    a->call = ang_rpc_call_start(a->ch, &a->req);
    AZ(a->n_done); /* never from inside start */
}

static inline void kit_start(struct kit *k, struct answer *a) {
    a->ch = k->ch;
    ang_loop_call(k->cl, kit_start_on_loop, a);
}

static inline void kit_cancel_on_loop(void *arg) {
    struct answer *a = arg;
    if (a->n_done == 0)
        ang_rpc_call_cancel(a->call);
}

static inline void kit_cancel(struct kit *k, struct answer *a) {
    ang_loop_call(k->cl, kit_cancel_on_loop, a);
}

static inline void kit_free(struct answer **a) {
    ang_status_free(&(*a)->st);
    ang_buf_fini(&(*a)->response);
    free(*a);
    *a = NULL;
}

static inline void kit_wait(struct answer *a) {
    KIT_UNTIL(a->n_done == 1);
}

static inline void kit_run(struct kit *k, struct answer *a) {
    kit_start(k, a);
    kit_wait(a);
}

static inline void kit_expect(const struct answer *a, uint32_t code, const char *has) {
    if (a->st->code != code || (has != NULL && strstr(a->st->msg, has) == NULL))
        fail_msg("%s: got %s \"%s\", expected %s \"%s\"", a->req.path, ang_code_name(a->st->code), a->st->msg,
                 ang_code_name(code), has == NULL ? "" : has);
}

static inline const struct ang_meta *kit_trailer(const struct answer *a, const char *key) {
    for (size_t i = 0; i < a->st->n_trailers; i++)
        if (strcmp(a->st->trailers[i].key, key) == 0)
            return (&a->st->trailers[i]);
    return (NULL);
}

#endif
