/* The server: listening, requests asked for in advance, shutting down.
 *
 * Every method is registered with gRPC, which then reads the request by itself: one completion brings the call with its
 * message (of a method whose caller streams, without).  ARMED requests per method are outstanding; gRPC queues what comes faster. */
#include <errno.h>
#include <grpc/grpc_security.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "rpc/rpc_priv.h"

#define ARMED         4
#define ARMED_UNKNOWN 1
#define SLACK         ((int64_t)64 << 10) /* requests over the limit by less are answered by us, in our words */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const unsigned free_max = 0; /* a list would hide use after free */
#else
static const unsigned free_max = 1024;
#endif

/* ---- struct ang_rpc: making, giving back ---- */

static struct ang_rpc *rpc_new(struct ang_rpc_server *s) {
    struct ang_rpc *rpc = ANG_NEW(struct ang_rpc);
    rpc->magic = ANG_RPC_MAGIC;
    rpc->s = s;
    ang_tag_init(&rpc->tag_new, ang_rpc_new_done);
    ang_tag_init(&rpc->tag_close, ang_rpc_close_done);
    ang_tag_init(&rpc->tag_send, ang_rpc_send_done);
    ang_tag_init(&rpc->tag_read, ang_rpc_read_done);
    ang_op_init(&rpc->op, ang_rpc_late_run);
    grpc_metadata_array_init(&rpc->meta);
    rpc->request_mem = grpc_empty_slice();
    ANG_PT(pthread_mutex_init(&rpc->lock, NULL));
    return (rpc);
}

static void rpc_free(struct ang_rpc *rpc) {
    grpc_metadata_array_destroy(&rpc->meta);
    ANG_PT(pthread_mutex_destroy(&rpc->lock));
    rpc->magic = 0;
    free(rpc);
}

struct ang_rpc *ang_rpc_take(struct ang_rpc_server *s, const struct ang_served_method *sm) {
    ANG_PT(pthread_mutex_lock(&s->lock));
    if (s->closing) {
        ANG_PT(pthread_mutex_unlock(&s->lock));
        return (NULL);
    }
    struct ang_rpc *rpc = s->free;
    if (rpc != NULL) {
        s->free = rpc->next;
        s->n_free--;
    }
    s->live++;
    ANG_PT(pthread_mutex_unlock(&s->lock));
    if (rpc == NULL)
        rpc = rpc_new(s);
    rpc->sm = sm;
    rpc->meta.count = 0;
    rpc->out = NULL;
    rpc->out_tail = &rpc->out;
    rpc->request = ANG_SLICE_NONE;
    rpc->queued = rpc->sending_n = rpc->low = 0;
    rpc->user = NULL;
    rpc->cancelled = rpc->drained = NULL;
    rpc->begun = rpc->sending = rpc->ended = rpc->final = rpc->close_started = rpc->gone = rpc->told = false;
    rpc->drain_armed = rpc->op_posted = rpc->out_first_used = rpc->begin = false;
    rpc->got = NULL;
    rpc->close_cancelled = 0;
    return (rpc);
}

void ang_rpc_give_back(struct ang_rpc *rpc) {
    struct ang_rpc_server *s = rpc->s;
    ANG_PT(pthread_mutex_lock(&s->lock));
    bool keep = s->n_free < free_max;
    if (keep) {
        rpc->next = s->free;
        s->free = rpc;
        s->n_free++;
    } else {
        rpc_free(rpc);
    }
    if (--s->live == 0)
        ANG_PT(pthread_cond_signal(&s->cond));
    ANG_PT(pthread_mutex_unlock(&s->lock));
}

void ang_rpc_arm(struct ang_rpc_server *s, const struct ang_served_method *sm) {
    grpc_call_error e;
    struct ang_rpc *rpc = ang_rpc_take(s, sm);

    if (rpc == NULL)
        return;
    ANG_TAG_GIVE(&rpc->tag_new);
    if (sm == NULL) {
        grpc_call_details_init(&rpc->details);
        e = grpc_server_request_call(s->grpc, &rpc->call, &rpc->details, &rpc->meta, ang_loop_cq(s->loop),
                                     ang_loop_cq(s->loop), &rpc->tag_new);
    } else {
        e = grpc_server_request_registered_call(s->grpc, sm->handle, &rpc->call, &rpc->deadline, &rpc->meta,
                                                sm->m->kind == ANG_RPC_BIDI_STREAM ? NULL : &rpc->payload,
                                                ang_loop_cq(s->loop), ang_loop_cq(s->loop), &rpc->tag_new);
    }
    AZ(e);
}

/* ---- listening ---- */

/* Why an address cannot be listened on, which gRPC only logs.  Into text. */
static void bind_reason(const char *address, char *text, size_t n) {
    const char *colon = strrchr(address, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *ai;
    char host[256];

    if ((size_t)(colon - address) >= sizeof(host)) {
        (void)snprintf(text, n, "the host name is too long");
        return;
    }
    const char *from = address[0] == '[' ? address + 1 : address;
    size_t len = (size_t)(colon - from) - (address[0] == '[' && colon > from ? 1 : 0);
    memcpy(host, from, len);
    host[len] = '\0';
    int e = getaddrinfo(len == 0 ? NULL : host, colon + 1, &hints, &ai);
    if (e != 0) {
        (void)snprintf(text, n, "%s", gai_strerror(e));
        return;
    }
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, 0), on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, 1) != 0)
        (void)snprintf(text, n, "%s", strerror(errno));
    else
        (void)snprintf(text, n, "gRPC refuses it; ANGZARR_LOG=info,debug=rpc shows why");
    if (fd >= 0)
        (void)close(fd);
    freeaddrinfo(ai);
}

/* gRPC removes whatever socket is at the path before it listens there, also one that is in use: find out first. */
static struct ang_err *check_unix(const char *path) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(sa.sun_path))
        return (
            ang_err_new(ANG_E_RPC_BIND, "unix:%s: the path may have %zu bytes at most", path, sizeof(sa.sun_path) - 1));
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return (ang_err_new(ANG_E_RPC_BIND, "unix:%s: %s", path, strerror(errno)));
    /* EAGAIN: somebody listens, its backlog is full. */
    bool used = connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0 || errno == EAGAIN;
    (void)close(fd);
    if (used)
        return (ang_err_new(ANG_E_RPC_BIND, "unix:%s: %s", path, strerror(EADDRINUSE)));
    return (NULL);
}

static struct ang_err *listen_on(struct ang_rpc_server *s, const char *address) {
    char reason[256];

    if (!ang_address_ok(address))
        return (
            ang_err_new(ANG_E_RPC_BIND, "%s: expected host:port, the port from 0 to 65535, or unix:/path", address));
    if (strncmp(address, "unix:", 5) == 0) {
        struct ang_err *er = check_unix(address + 5);
        if (er != NULL)
            return (er);
        s->unix_path = ang_strdup(address + 5);
    }
    grpc_server_credentials *cr = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(s->grpc, address, cr);
    grpc_server_credentials_release(cr);
    if (port == 0) {
        if (s->unix_path != NULL)
            (void)snprintf(reason, sizeof(reason), "%s",
                           access(s->unix_path, F_OK) == 0 ? "the file exists and is no socket"
                                                           : "the folder is missing or closed to us");
        else
            bind_reason(address, reason, sizeof(reason));
        return (ang_err_new(ANG_E_RPC_BIND, "%s: %s", address, reason));
    }
    if (s->unix_path != NULL)
        s->address = ang_strdup(address);
    else
        s->address = ang_sprintf("%.*s:%d", (int)(strrchr(address, ':') - address), address, port);
    return (NULL);
}

static grpc_arg int_arg(const char *key, int64_t value) {
    grpc_arg a = {.type = GRPC_ARG_INTEGER};
    memcpy(&a.key, &key, sizeof(a.key)); /* gRPC only reads it */
    a.value.integer = value > INT_MAX ? INT_MAX : (int)value;
    return (a);
}

static grpc_server *server_create(int64_t max_message) {
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, max_message + SLACK), int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0), int_arg(GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0),
        /* A caller whose machine is gone is noticed within 20 s, while it has calls here. */
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, 10000), int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0), /* 0 = no limit */
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),       /* callers ping as often as they like */
    };
    grpc_channel_args all = {.num_args = ANG_COUNT(args), .args = args};
    return (grpc_server_create(&all, NULL));
}

static void add_table(struct ang_rpc_server *s, const struct ang_rpc_method *methods, size_t n, void *arg) {
    for (size_t i = 0; i < n; i++) {
        struct ang_served_method *sm = &s->methods[s->n_methods++];
        sm->m = &methods[i];
        sm->arg = arg;
        /* The requests of a bidirectional stream are read when they are asked for. */
        sm->handle = grpc_server_register_method(
            s->grpc, sm->m->path, NULL,
            sm->m->kind == ANG_RPC_BIDI_STREAM ? GRPC_SRM_PAYLOAD_NONE : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
        AN(sm->handle); /* NULL: the table names it twice */
        ang_histogram_get_each(ANG_M_RPC_TIME, ANG_LABELS(sm->m->path), sm->took, ANG_CODES);
    }
}

static void add_methods(struct ang_rpc_server *s, const struct ang_rpc_server_conf *conf) {
    s->methods = ang_calloc(conf->n_methods + ANG_HEALTH_METHODS + ANG_REFLECTION_METHODS, sizeof(*s->methods));
    add_table(s, conf->methods, conf->n_methods, conf->arg);
    add_table(s, ang_health_methods, ANG_HEALTH_METHODS, s->health);
    if (s->reflection != NULL)
        add_table(s, ang_reflection_methods, ANG_REFLECTION_METHODS, s->reflection);
}

static void shutdown_done(struct ang_tag *tag, bool ok) {
    struct ang_rpc_server *s = ANG_CONTAINER(tag, struct ang_rpc_server, tag_shutdown);
    ANG_CHECK(s, ANG_RPC_SERVER_MAGIC);
    ANG_PT(pthread_mutex_lock(&s->lock));
    s->shut = true;
    ANG_PT(pthread_cond_signal(&s->cond));
    ANG_PT(pthread_mutex_unlock(&s->lock));
}

static void server_free(struct ang_rpc_server *s) {
    struct ang_rpc *rpc;

    grpc_server_destroy(s->grpc);
    while ((rpc = s->free) != NULL) {
        s->free = rpc->next;
        rpc_free(rpc);
    }
    ang_health_free(s->health);
    ang_reflection_free(s->reflection);
    ANG_PT(pthread_cond_destroy(&s->cond));
    ANG_PT(pthread_mutex_destroy(&s->lock));
    free(s->methods);
    free(s->address);
    free(s->unix_path);
    s->magic = 0;
    free(s);
}

struct ang_err *ang_rpc_server_open(const struct ang_rpc_server_conf *conf, struct ang_rpc_server **ret_s) {
    struct ang_rpc_server *s = ANG_NEW(struct ang_rpc_server);
    pthread_condattr_t attr;

    ANG_ASSERT(conf->max_message > 0);
    s->magic = ANG_RPC_SERVER_MAGIC;
    s->loop = conf->loop;
    s->max_message = conf->max_message;
    ANG_PT(pthread_mutex_init(&s->lock, NULL));
    ANG_PT(pthread_condattr_init(&attr));
    ANG_PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    ANG_PT(pthread_cond_init(&s->cond, &attr));
    ANG_PT(pthread_condattr_destroy(&attr));
    ang_tag_init(&s->tag_shutdown, shutdown_done);
    s->health = ang_health_new();
    if (conf->types != NULL)
        s->reflection = ang_reflection_new(conf->types, conf->methods, conf->n_methods);
    s->grpc = server_create(conf->max_message);
    struct ang_err *er = listen_on(s, conf->address);
    if (er != NULL) {
        server_free(s); /* never started: gRPC needs no shutdown */
        return (er);
    }
    add_methods(s, conf);
    grpc_server_register_completion_queue(s->grpc, ang_loop_cq(s->loop), NULL);
    grpc_server_start(s->grpc);
    for (size_t i = 0; i < s->n_methods; i++)
        for (int k = 0; k < ARMED; k++)
            ang_rpc_arm(s, &s->methods[i]);
    for (int k = 0; k < ARMED_UNKNOWN; k++)
        ang_rpc_arm(s, NULL);
    *ret_s = s;
    return (NULL);
}

const char *ang_rpc_server_address(const struct ang_rpc_server *s) {
    ANG_CHECK(s, ANG_RPC_SERVER_MAGIC);
    return (s->address);
}

void ang_rpc_server_set_health(struct ang_rpc_server *s, const char *service, bool serving) {
    ANG_CHECK(s, ANG_RPC_SERVER_MAGIC);
    ang_health_set(s->health, service, serving);
}

/* ---- closing ---- */

static void close_on_loop(void *arg) {
    struct ang_rpc_server *s;
    ANG_CAST(s, arg, ANG_RPC_SERVER_MAGIC);
    ANG_PT(pthread_mutex_lock(&s->lock));
    s->closing = true;
    ANG_PT(pthread_mutex_unlock(&s->lock));
    ANG_TAG_GIVE(&s->tag_shutdown);
    grpc_server_shutdown_and_notify(s->grpc, ang_loop_cq(s->loop), &s->tag_shutdown);
    ang_health_close(s->health);
    ang_reflection_close(s->reflection);
}

void ang_rpc_server_close(struct ang_rpc_server *s, int grace_ms) {
    struct timespec until;

    if (s == NULL)
        return;
    ANG_CHECK(s, ANG_RPC_SERVER_MAGIC);
    ang_loop_call(s->loop, close_on_loop, s);
    int64_t at = ang_now_ms() + grace_ms;
    until.tv_sec = at / 1000;
    until.tv_nsec = at % 1000 * 1000000;
    ANG_PT(pthread_mutex_lock(&s->lock));
    int e = 0;
    while ((s->live != 0 || !s->shut) && e != ETIMEDOUT) {
        e = pthread_cond_timedwait(&s->cond, &s->lock, &until);
        ANG_ASSERT(e == 0 || e == ETIMEDOUT);
    }
    ANG_PT(pthread_mutex_unlock(&s->lock));
    if (e == ETIMEDOUT)
        grpc_server_cancel_all_calls(s->grpc);
    /* Their handlers end them; whoever serves a call must. */
    ANG_PT(pthread_mutex_lock(&s->lock));
    while (s->live != 0 || !s->shut)
        ANG_PT(pthread_cond_wait(&s->cond, &s->lock));
    ANG_PT(pthread_mutex_unlock(&s->lock));
    server_free(s);
}
