/* A role from start to end: the log, its topics, the worker, the gateway, HTTP and health; and the way out.
 *
 * Until the log answers, the gateway's address is served by a stand-in that says so: health NOT_SERVING, every call UNAVAILABLE. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/metrics.h"
#include "cmd/cmd_priv.h"
#include "eventlog/eventlog.h"
#include "gateway/gateway.h"
#include "http/http.h"
#include "processor/processor.h"
#include "rpc/rpc.h"
#include "topology/topology.h"

#define TOPICS_TIMEOUT_MS 5000
#define GATEWAY_GRACE_MS 8000

static const char *const role_names[] = {"standalone", "aggregate", "gateway", "stream"};

struct app {
    enum role role;
    const struct ang_settings *set;
    const struct ang_catalog *types;
    struct ang_log *log;
    struct ang_topology *topology;
    struct ang_worker *worker;
    struct ang_gateway *gateway;
    struct ang_loop *loop;            /* of server */
    struct ang_rpc_server *server;    /* the stand-in; then, role aggregate, the worker's own */
    struct ang_rpc_method *stand_in;  /* its methods */
    struct ang_http *http;
    char *address;
    pthread_mutex_t lock;
    bool started, ready, told, stopping; /* lock */
    struct ang_err *fatal;            /* lock */
    _Atomic bool serving;
};

/* ---- HTTP ---- */
static void body_of(struct app *a, const char *status, struct ang_buf *body, const char **ret_type) {
    *ret_type = "application/json";
    ang_buf_addf(body, "{\"status\":\"%s\",\"role\":\"%s\"", status, role_names[a->role]);
    ANG_PT(pthread_mutex_lock(&a->lock));
    if (a->started && !a->stopping && a->worker != NULL) {
        ang_buf_add_str(body, ",");
        ang_worker_health(a->worker, body);
    }
    ANG_PT(pthread_mutex_unlock(&a->lock));
    ang_buf_add_str(body, "}\n");
}

static unsigned healthz(void *arg, struct ang_buf *body, const char **ret_type) {
    body_of(arg, "ok", body, ret_type);
    return (200);
}

static unsigned readyz(void *arg, struct ang_buf *body, const char **ret_type) {
    struct app *a = arg;
    const bool serving = a->serving;

    body_of(a, serving ? "ready" : "not ready", body, ret_type);
    return (serving ? 200 : 503);
}

/* Nothing of the app, whose lock others may hold: the numbers are the process's. */
static unsigned metrics(void *arg, struct ang_buf *body, const char **ret_type) {
    (void)arg;
    *ret_type = ANG_METRICS_TYPE;
    ang_metrics_print(body);
    return (200);
}

static void init_metrics(struct app *a) {
    const char *const log = a->set->log.type == ANG_LOGTYPE_KAFKA ? "kafka" : "embedded";
    size_t i;

    ang_gauge_set(ang_gauge_get(ANG_M_BUILD_INFO, ANG_LABELS(ANG_VERSION, role_names[a->role], log)), 1);
    ang_gauge_set(ang_gauge_get(ANG_M_READY, ANG_NO_LABELS), 0);
    for (i = 0; i < a->set->n_business; i++)
        ang_gauge_set(ang_gauge_get(ANG_M_CONFIGURED, ANG_LABELS(a->set->business[i].domain)), a->set->topology.partitions);
}

static struct ang_err *open_http(struct app *a) {
    const struct ang_http_route routes[] = {{"/healthz", healthz, a}, {"/readyz", readyz, a}, {"/metrics", metrics, NULL}};
    const char *address = a->role == ROLE_AGGREGATE ? a->set->worker.http
                          : a->role == ROLE_STREAM  ? a->set->stream.http
                                                    : a->set->gateway.http;

    if (address == NULL || address[0] == '\0')
        return (NULL);
    return (ang_http_open(address, routes, ANG_COUNT(routes), &a->http));
}

static const char *listens_on(const struct app *a) {
    switch (a->role) {
    case ROLE_AGGREGATE:
        return (a->set->worker.address);
    case ROLE_STREAM:
        return (a->set->stream.address);
    case ROLE_STANDALONE:
    case ROLE_GATEWAY:
        break;
    }
    return (a->set->gateway.address);
}

/* It takes commands or queries itself, and has no worker inside. */
static bool workers_elsewhere(const struct app *a) {
    return (a->role == ROLE_GATEWAY || a->role == ROLE_STREAM);
}

/* ---- health ---- */
static void tell_ready(struct app *a) {
    if (a->told)
        return;
    a->told = true;
    printf("ready");
    if (a->gateway != NULL)
        printf(" %s=%s", a->role == ROLE_STREAM ? "stream" : "gateway", ang_gateway_address(a->gateway));
    if (a->role == ROLE_AGGREGATE)
        printf(" worker=%s", ang_rpc_server_address(a->server));
    if (a->http != NULL)
        printf(" http=%s", ang_http_address(a->http));
    printf("\n");
    fflush(stdout);
}

/* Under the lock. */
static void show(struct app *a) {
    const bool serving = a->ready && !a->stopping && a->fatal == NULL;

    if (serving == a->serving)
        return;
    a->serving = serving;
    ang_gauge_set(ang_gauge_get(ANG_M_READY, ANG_NO_LABELS), serving);
    if (a->gateway != NULL)
        ang_gateway_set_serving(a->gateway, serving);
    if (a->role == ROLE_AGGREGATE && a->server != NULL)
        ang_rpc_server_set_health(a->server, "", serving);
    if (serving)
        tell_ready(a);
}

static void worker_ready(void *arg, bool ready) {
    struct app *a = arg;

    ANG_PT(pthread_mutex_lock(&a->lock));
    a->ready = ready;
    if (a->started)
        show(a);
    ANG_PT(pthread_mutex_unlock(&a->lock));
}

static void failed(void *arg, struct ang_err *er) {
    struct app *a = arg;

    ANG_PT(pthread_mutex_lock(&a->lock));
    if (a->fatal == NULL)
        a->fatal = er;
    else
        ang_err_free(&er);
    ANG_PT(pthread_mutex_unlock(&a->lock));
    kill(getpid(), SIGTERM);
}

/* ---- the stand-in ---- */
static void not_yet(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_status *st = ang_status_new(ANG_UNAVAILABLE, "starting: the log has not answered yet");

    (void)arg, (void)request;
    ang_rpc_fail(rpc, &st);
}

static struct ang_err *open_server(struct app *a, const char *address, const struct ang_rpc_method *methods, size_t n) {
    const struct ang_rpc_server_conf conf = {
        .loop = a->loop = ang_loop_new("ang-server", NULL, NULL),
        .address = address,
        .max_message = a->set->limits.message,
        .methods = methods,
        .n_methods = n,
        .arg = a->worker,
        .types = a->types,
    };
    struct ang_err *er = ang_rpc_server_open(&conf, &a->server);

    ang_loop_start(a->loop);
    if (er != NULL)
        return (er);
    ang_rpc_server_set_health(a->server, "", false);
    return (NULL);
}

/* What the role will serve, so that reflection lists it meanwhile. */
static struct ang_err *open_stand_in(struct app *a) {
    const bool worker = a->role == ROLE_AGGREGATE;
    size_t n = ang_worker_n_methods;
    struct ang_rpc_method *m = worker ? ang_calloc(n, sizeof *m) : ang_gateway_methods(a->role == ROLE_STREAM, &n);

    if (worker)
        memcpy(m, ang_worker_methods, n * sizeof *m);
    for (size_t i = 0; i < n; i++)
        m[i].handle = not_yet;
    a->stand_in = m;
    return (open_server(a, listens_on(a), m, n));
}

static void close_server(struct app *a, int grace_ms) {
    ang_rpc_server_close(a->server, grace_ms);
    ang_loop_stop(a->loop);
    a->server = NULL;
    a->loop = NULL;
}

/* ---- start ---- */
static bool asked_to_stop(int timeout_ms) {
    const struct timespec ts = {.tv_sec = timeout_ms / 1000, .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return (sigtimedwait(&set, NULL, &ts) > 0);
}

/* Topics are there and right; waits for a log that does not answer.  *ret_stop: a signal came first. */
static struct ang_err *await_log(struct app *a, bool *ret_stop) {
    struct ang_err *er;

    for (;;) {
        er = ang_topology_ensure(a->topology, TOPICS_TIMEOUT_MS);
        if (er == NULL || er->cls != ANG_RETRY)
            return (er);
        ANG_LOG_EVERY(3000, ANG_LOG_WARN, "LOG-UNREACHABLE", "the log cannot be reached; trying again", "error", er->msg);
        ang_err_free(&er);
        *ret_stop = asked_to_stop(500);
        if (*ret_stop)
            return (NULL);
    }
}

static struct ang_err *start_worker(struct app *a) {
    const char *advertise = a->set->worker.advertise;
    const bool named = advertise != NULL && advertise[0] != '\0';
    const struct ang_worker_conf conf = {.settings = a->set,
                                         .log = a->log,
                                         .topology = a->topology,
                                         .endpoint = a->role == ROLE_STANDALONE ? "" : named ? advertise : a->address,
                                         .ready = worker_ready,
                                         .fatal = failed,
                                         .arg = a};
    struct ang_err *er;

    er = ang_worker_start(&conf, &a->worker);
    if (er == NULL && a->role == ROLE_AGGREGATE)
        er = open_server(a, a->address, ang_worker_methods, ang_worker_n_methods);
    return (er);
}

static struct ang_err *start_gateway(struct app *a) {
    const struct ang_gateway_conf conf = {.settings = a->set,
                                          .types = a->types,
                                          .log = a->log,
                                          .topology = a->topology,
                                          .address = listens_on(a),
                                          .streams_only = a->role == ROLE_STREAM,
                                          .local = a->worker,
                                          .fatal = failed,
                                          .arg = a};

    return (ang_gateway_start(&conf, &a->gateway));
}

static struct ang_err *start(struct app *a, bool *ret_stop) {
    struct ang_err *er;

    er = ang_log_open(a->set, role_names[a->role], &a->log);
    if (er != NULL)
        return (er);
    a->topology = ang_topology_new(a->set, a->log);
    init_metrics(a);
    er = open_http(a);
    if (er == NULL)
        er = open_stand_in(a);
    if (er == NULL)
        er = await_log(a, ret_stop);
    if (a->server != NULL)
        a->address = ang_strdup(ang_rpc_server_address(a->server));
    close_server(a, 0);
    if (er != NULL || *ret_stop)
        return (er);
    if (!workers_elsewhere(a))
        er = start_worker(a);
    if (er == NULL && a->role != ROLE_AGGREGATE)
        er = start_gateway(a);
    if (er != NULL)
        return (er);
    ANG_PT(pthread_mutex_lock(&a->lock));
    a->started = true;
    if (workers_elsewhere(a))
        a->ready = true;
    show(a);
    ANG_PT(pthread_mutex_unlock(&a->lock));
    return (NULL);
}

/* ---- end ---- */
static void stop(struct app *a) {
    ANG_PT(pthread_mutex_lock(&a->lock));
    a->stopping = true;
    show(a);
    ANG_PT(pthread_mutex_unlock(&a->lock));
    ang_gateway_stop(a->gateway, GATEWAY_GRACE_MS);
    a->gateway = NULL;
    ang_worker_stop(a->worker);
    close_server(a, 0); /* after it: answers of the worker's end go over it */
    ang_worker_free(a->worker);
    ang_http_close(a->http);
    ang_topology_free(a->topology);
    ang_log_close(a->log);
    free(a->stand_in);
    free(a->address);
}

/* A second signal ends at once: what was open is open to the next start, as after a crash. */
static void end_at_once(int sig) {
    _exit(128 + sig);
}

static void unblock_signals(void) {
    sigset_t set;

    signal(SIGTERM, end_at_once);
    signal(SIGINT, end_at_once);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    ANG_PT(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
}

static int code_of(const struct ang_err *er) {
    switch (er->code) {
    case ANG_E_LOG_FENCED:
        return (EXIT_NAME_TAKEN);
    case ANG_E_CONFIG:
    case ANG_E_LOG_TOPIC:
    case ANG_E_STORE_LOCKED:
    case ANG_E_RPC_BIND:
        return (EXIT_USAGE);
    default:
        return (EXIT_FAILED);
    }
}

int role_run(enum role role, const struct ang_settings *set, const struct ang_catalog *types) {
    struct app a = {.role = role, .set = set, .types = types, .lock = PTHREAD_MUTEX_INITIALIZER};
    bool stop_asked = false;
    struct ang_err *er;
    int rc = EXIT_DONE;

    er = start(&a, &stop_asked);
    while (er == NULL && !stop_asked)
        stop_asked = asked_to_stop(3600 * 1000);
    unblock_signals();
    if (er == NULL)
        ANG_LOG(ANG_LOG_INFO, "STOPPING", "finishing what is under way", "role", role_names[role]);
    stop(&a);
    if (er == NULL)
        er = a.fatal;
    else
        ang_err_free(&a.fatal);
    if (er != NULL) {
        rc = code_of(er);
        ANG_LOG(ANG_LOG_ERROR, "STOPPED", er->msg, "code", ang_err_name(er->code), "exit", ANG_F("%d", rc));
        ang_err_free(&er);
    }
    return (rc);
}
