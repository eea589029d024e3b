/* Peers (the workers) and routes (who serves which partition).
 *
 *      route: partition 0 --> peer a --channel, Attach--> 10.0.0.1:5000      up = serving, and attached
 *      route: partition 1 -----^
 *      route: partition 2 --> peer b
 *
 * A peer's memory lives until its Attach call is done and it has been closed, whichever is later. */
#include "gateway/workers.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "proto/wire.h"

#define ATTACH_PATH     "/angzarr.ext.Worker/Attach"
#define PROTOCOL        "1"
#define REOPEN_MS       100 /* pause before a stream is opened again; doubles */
#define REOPEN_MAX_MS   1000
#define OWNERS_RETRY_MS 1000

struct peer {
    unsigned magic;
#define PEER_MAGIC 0x6a7e0003
    struct ang_workers *w;
    struct peer *next;
    struct ang_rpc_channel *channel; /* NULL: closed */
    struct ang_rpc_call *call;       /* the Attach; NULL: none under way */
    struct ang_timer reopen;
    uint32_t failures; /* in a row */
    bool attached;     /* the stream's first message has come */
    bool wanted;       /* owns something */
    bool closing;      /* its channel is being closed, further up on the stack */
};

struct route {
    struct peer *peer; /* NULL: nobody */
    enum ang_owner_state state;
    uint32_t percent; /* restoring */
    int32_t generation;
    int64_t start_ms;
    bool up;
};

struct routes { /* of a domain */
    const struct ang_domain *domain;
    struct route *of; /* by partition */
    struct ang_gauge *unreachable; /* partitions that are not up */
};

struct ang_workers {
    unsigned magic;
#define ANG_WORKERS_MAGIC 0x6a7e0004
    /* set once */
    struct ang_workers_conf conf;
    struct routes *routes;
    size_t n_domains;
    struct ang_gauge *attached; /* peers */
    /* any thread */
    _Atomic bool woken;
    /* loop */
    struct ang_owners *owners;
    struct ang_timer retry; /* of the owners table, after an error */
    struct peer *peers;
    uint64_t version;
    bool reap; /* some peer may be closed */
    bool told; /* `owners` has been read: later errors leave us what is known */
};

static void peer_attach(struct peer *p);

/* ---- routes ---- */

static struct route *route_of(const struct ang_workers *w, const struct ang_domain *domain, int32_t partition) {
    size_t i;

    for (i = 0; i < w->n_domains; i++)
        if (w->routes[i].domain == domain) {
            ANG_ASSERT(partition >= 0 && partition < domain->partitions);
            return (&w->routes[i].of[partition]);
        }
    ang_panic(__FILE__, __LINE__, __func__, "a domain of another topology");
}

static void route_check(struct ang_workers *w, const struct ang_domain *domain, int32_t partition) {
    struct route *r = route_of(w, domain, partition);
    const bool up = r->state == ANG_OWNER_SERVING && r->peer != NULL && r->peer->attached;

    if (up == r->up)
        return;
    r->up = up;
    w->conf.path(w->conf.arg, domain, partition, up);
}

static void routes_check(struct ang_workers *w, const struct peer *of) {
    size_t i;
    int32_t n;

    for (i = 0; i < w->n_domains; i++)
        for (n = 0; n < w->routes[i].domain->partitions; n++)
            if (w->routes[i].of[n].peer == of)
                route_check(w, w->routes[i].domain, n);
}

/* After anything that may have changed a route or a stream. */
static void measure(const struct ang_workers *w) {
    const struct peer *p;
    int64_t n = 0;
    int32_t k;
    size_t i;

    for (p = w->peers; p != NULL; p = p->next)
        n += p->attached;
    ang_gauge_set(w->attached, n);
    for (i = 0; i < w->n_domains; i++) {
        n = 0;
        for (k = 0; k < w->routes[i].domain->partitions; k++)
            n += !w->routes[i].of[k].up;
        ang_gauge_set(w->routes[i].unreachable, n);
    }
}

/* ---- the stream of a peer ---- */

static void peer_free(struct peer *p) {
    p->magic = 0;
    free(p);
}

static void peer_message(void *arg, struct ang_slice msg) {
    struct peer *p;
    struct ang_err *er;

    ANG_CAST(p, arg, PEER_MAGIC);
    if (p->channel == NULL)
        return;
    if (!p->attached) { /* the worker says so with an empty message, before any answer */
        p->attached = true;
        p->failures = 0;
        routes_check(p->w, p);
        measure(p->w);
    }
    er = ang_answers_decode(msg, p->w->conf.topology, p->w->conf.answer, p->w->conf.arg);
    if (er != NULL) {
        ANG_LOG_EVERY(10000, ANG_LOG_ERROR, "GW-ANSWER-BAD",
                      "a worker's answers cannot be read; its stream is opened anew", "worker",
                      ang_rpc_channel_address(p->channel), "error", er->msg);
        ang_err_free(&er);
        ang_rpc_call_cancel(p->call);
    }
}

static void peer_done(void *arg, const struct ang_rpc_result *res) {
    const bool was = ((struct peer *)arg)->attached;
    int64_t pause = REOPEN_MS;
    struct peer *p;
    uint32_t i;

    ANG_CAST(p, arg, PEER_MAGIC);
    p->call = NULL;
    p->attached = false;
    if (p->channel == NULL) {
        if (!p->closing)
            peer_free(p);
        return;
    }
    if (was)
        ANG_LOG_EVERY(1000, ANG_LOG_WARN, "GW-STREAM",
                      "the stream from a worker ended; what waits for it is sent again", "worker",
                      ang_rpc_channel_address(p->channel), "status", ang_code_name(res->code), "error",
                      ANG_F("%.*s", (int)(res->msg.n > 400 ? 400 : res->msg.n), (const char *)res->msg.p));
    routes_check(p->w, p);
    measure(p->w);
    p->w->reap = true;
    for (i = 0; i < p->failures && pause < REOPEN_MAX_MS; i++)
        pause *= 2;
    p->failures++;
    if (pause > REOPEN_MAX_MS)
        pause = REOPEN_MAX_MS;
    ang_timer_set(p->w->conf.loop, &p->reopen, ang_now_ms() + pause);
}

static void peer_reopen(struct ang_timer *t) {
    struct peer *p = ANG_CONTAINER(t, struct peer, reopen);

    if (p->call == NULL)
        peer_attach(p);
}

static void peer_attach(struct peer *p) {
    struct ang_buf b = {0};
    struct ang_slice part;
    struct ang_rpc_req req = {.path = ATTACH_PATH,
                              .parts = &part,
                              .n_parts = 1,
                              .deadline_ms = ANG_NEVER,
                              .wait_for_ready = true,
                              .done = peer_done,
                              .message = peer_message,
                              .arg = p};

    ang_wire_put_str(&b, 1, p->w->conf.gateway);
    ang_wire_put_str(&b, 2, PROTOCOL);
    part = ang_buf_slice(&b);
    p->call = ang_rpc_call_start(p->channel, &req);
    ang_buf_fini(&b);
}

static struct peer *peer_find(const struct ang_workers *w, const char *endpoint) {
    struct peer *p;

    for (p = w->peers; p != NULL; p = p->next)
        if (strcmp(ang_rpc_channel_address(p->channel), endpoint) == 0)
            return (p);
    return (NULL);
}

/* NULL when the endpoint is no address. */
static struct peer *peer_get(struct ang_workers *w, const char *endpoint) {
    struct peer *p = peer_find(w, endpoint);
    struct ang_err *er;

    if (p != NULL)
        return (p);
    p = ANG_NEW(struct peer);
    p->magic = PEER_MAGIC;
    p->w = w;
    ang_timer_init(&p->reopen, peer_reopen);
    er = ang_rpc_channel_open(w->conf.loop, endpoint, &p->channel);
    if (er != NULL) {
        ANG_LOG_EVERY(10000, ANG_LOG_WARN, "GW-ENDPOINT", "an owner's endpoint cannot be used", "endpoint", endpoint,
                      "error", er->msg);
        ang_err_free(&er);
        peer_free(p);
        return (NULL);
    }
    p->next = w->peers;
    w->peers = p;
    peer_attach(p);
    return (p);
}

/* Out of the list; its calls end, and what is left of it goes with the last. */
static void peer_close(struct peer *p) {
    struct peer **at = &p->w->peers;
    struct ang_rpc_channel *ch = p->channel;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    ang_timer_cancel(p->w->conf.loop, &p->reopen);
    p->channel = NULL;
    p->closing = true;
    ang_rpc_channel_close(ch);
    p->closing = false;
    if (p->call == NULL)
        peer_free(p);
}

/* A peer that owns nothing goes once its stream has ended: until then answers may still come. */
static void reap(struct ang_workers *w) {
    struct peer *p, *next;

    w->reap = false;
    for (p = w->peers; p != NULL; p = next) {
        next = p->next;
        if (!p->wanted && !p->attached)
            peer_close(p);
    }
}

/* ---- owners ---- */

static bool route_refresh(struct ang_workers *w, const struct ang_domain *domain, int32_t partition) {
    struct route *r = route_of(w, domain, partition);
    const struct ang_owner o = ang_owners_get(w->owners, domain->group, partition);
    const bool owned = (o.state == ANG_OWNER_SERVING || o.state == ANG_OWNER_RESTORING) && o.endpoint[0] != '\0';
    struct peer *p = owned ? peer_get(w, o.endpoint) : NULL;
    const bool other = p != r->peer || o.generation != r->generation || o.start_ms != r->start_ms;
    const bool changed = other || o.state != r->state || o.percent != r->percent;

    if (p != NULL)
        p->wanted = true;
    if (!changed)
        return (false);
    if (other) { /* what the old owner had to say may be lost, even when the new one is attached already */
        r->up = false;
        w->conf.path(w->conf.arg, domain, partition, false);
    }
    r->peer = p;
    r->state = o.state;
    r->percent = o.percent;
    r->generation = o.generation;
    r->start_ms = o.start_ms;
    route_check(w, domain, partition);
    return (true);
}

static void refresh(struct ang_workers *w) {
    bool changed = false;
    struct peer *p;
    size_t i;
    int32_t n;

    for (p = w->peers; p != NULL; p = p->next)
        p->wanted = false;
    for (i = 0; i < w->n_domains; i++)
        for (n = 0; n < w->routes[i].domain->partitions; n++)
            changed |= route_refresh(w, w->routes[i].domain, n);
    w->reap = true;
    if (!changed)
        return;
    measure(w);
    w->version++;
    w->conf.changed(w->conf.arg);
}

static void owners_wake(void *arg) {
    struct ang_workers *w;

    ANG_CAST(w, arg, ANG_WORKERS_MAGIC);
    atomic_store(&w->woken, true);
    ang_loop_wake(w->conf.loop);
}

static void owners_retry(struct ang_timer *t) {
    atomic_store(&ANG_CONTAINER(t, struct ang_workers, retry)->woken, true);
}

void ang_workers_turn(struct ang_workers *w) {
    bool changed = false;
    struct ang_err *er;

    if (w->owners == NULL) /* closed: what woke us came before */
        return;
    if (atomic_load_explicit(&w->woken, memory_order_relaxed) && atomic_exchange(&w->woken, false)) {
        er = ang_owners_poll(w->owners, &changed);
        w->told |= changed;
        if (er != NULL && er->cls == ANG_FATAL && !w->told) {
            w->conf.failed(w->conf.arg, er);
        } else if (er != NULL) {
            ANG_LOG_EVERY(10000, ANG_LOG_WARN, "GW-OWNERS", "who owns what cannot be read; what is known is used",
                          "error", er->msg);
            ang_err_free(&er);
            ang_timer_set(w->conf.loop, &w->retry, ang_now_ms() + OWNERS_RETRY_MS);
        }
        if (changed)
            refresh(w);
    }
    if (w->reap)
        reap(w);
}

/* ---- for others ---- */

struct ang_err *ang_workers_open(const struct ang_workers_conf *conf, struct ang_workers **ret_w) {
    struct ang_workers *w = ANG_NEW(struct ang_workers);
    struct ang_err *er;
    size_t i;

    w->magic = ANG_WORKERS_MAGIC;
    w->conf = *conf;
    atomic_init(&w->woken, true); /* look once without being told */
    ang_timer_init(&w->retry, owners_retry);
    w->n_domains = ang_topology_domains(conf->topology);
    w->routes = ang_calloc(w->n_domains + 1, sizeof *w->routes);
    for (i = 0; i < w->n_domains; i++) {
        w->routes[i].domain = ang_topology_domain_at(conf->topology, i);
        w->routes[i].of = ang_calloc((size_t)w->routes[i].domain->partitions + 1, sizeof(struct route));
        w->routes[i].unreachable = ang_gauge_get(ANG_M_GW_UNREACHABLE, ANG_LABELS(w->routes[i].domain->name));
    }
    w->attached = ang_gauge_get(ANG_M_GW_WORKERS, ANG_NO_LABELS);
    measure(w);
    er = ang_owners_open(conf->log, conf->topology, owners_wake, w, &w->owners);
    if (er != NULL) {
        ang_workers_free(w);
        return (er);
    }
    *ret_w = w;
    return (NULL);
}

void ang_workers_close(struct ang_workers *w) {
    if (w == NULL)
        return;
    ANG_CHECK(w, ANG_WORKERS_MAGIC);
    ang_owners_close(w->owners); /* nobody wakes us from here on */
    w->owners = NULL;
    ang_timer_cancel(w->conf.loop, &w->retry);
    while (w->peers != NULL)
        peer_close(w->peers);
}

void ang_workers_free(struct ang_workers *w) {
    size_t i;

    if (w == NULL)
        return;
    ANG_CHECK(w, ANG_WORKERS_MAGIC);
    AZ(w->owners);
    AZ(w->peers);
    for (i = 0; i < w->n_domains; i++)
        free(w->routes[i].of);
    free(w->routes);
    w->magic = 0;
    free(w);
}

bool ang_workers_up(const struct ang_workers *w, const struct ang_domain *domain, int32_t partition) {
    return (route_of(w, domain, partition)->up);
}

struct ang_rpc_channel *ang_workers_channel(const struct ang_workers *w, const struct ang_domain *domain,
                                            int32_t partition) {
    const struct route *r = route_of(w, domain, partition);

    return (r->state == ANG_OWNER_SERVING && r->peer != NULL ? r->peer->channel : NULL);
}

static void add_once(struct ang_rpc_channel **chs, size_t *n, struct ang_rpc_channel *ch) {
    size_t i;

    for (i = 0; i < *n; i++)
        if (chs[i] == ch)
            return;
    chs[(*n)++] = ch;
}

bool ang_workers_cover(const struct ang_workers *w, const struct ang_domain *domain, struct ang_rpc_channel ***ret_chs,
                       size_t *ret_n, const struct ang_domain **ret_domain, int32_t *ret_partition) {
    size_t n_peers = 0, n = 0, i;
    struct ang_rpc_channel **chs, *ch;
    const struct peer *p;
    int32_t k;

    for (p = w->peers; p != NULL; p = p->next)
        n_peers++;
    chs = ang_calloc(n_peers + 1, sizeof(struct ang_rpc_channel *));
    for (i = 0; i < w->n_domains; i++) {
        if (domain != NULL && w->routes[i].domain != domain)
            continue;
        for (k = 0; k < w->routes[i].domain->partitions; k++) {
            ch = ang_workers_channel(w, w->routes[i].domain, k);
            if (ch == NULL) {
                free(chs);
                *ret_chs = NULL;
                *ret_domain = w->routes[i].domain;
                *ret_partition = k;
                return (false);
            }
            add_once(chs, &n, ch);
        }
    }
    *ret_chs = chs;
    *ret_n = n;
    return (true);
}

uint64_t ang_workers_version(const struct ang_workers *w) {
    return (w->version);
}

void ang_workers_describe(const struct ang_workers *w, const struct ang_domain *domain, int32_t partition,
                          struct ang_buf *b) {
    const struct route *r = route_of(w, domain, partition);

    ang_buf_addf(b, "the owner of partition %d of %s: ", partition, domain->commands->name);
    if (r->peer == NULL)
        ang_buf_add_str(b, "nobody owns it (is a worker of the domain running?)");
    else if (r->state == ANG_OWNER_RESTORING)
        ang_buf_addf(b, "%s is restoring it (%u %%)", ang_rpc_channel_address(r->peer->channel), r->percent);
    else if (!r->peer->attached)
        ang_buf_addf(b, "%s, which cannot be reached", ang_rpc_channel_address(r->peer->channel));
    else
        ang_buf_addf(b, "%s, which has not answered yet", ang_rpc_channel_address(r->peer->channel));
}
