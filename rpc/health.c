/* grpc.health.v1.  Two tiny messages, so they are read and written here byte by byte:
 * request { string service = 1 }, response { enum status = 1 }.
 *
 * Lock order: health's lock, then an rpc's (send). Watches are ended outside of the lock. */
#include <stdlib.h>

#include "rpc/rpc_priv.h"

enum serving { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

struct service {
    struct service *next;
    bool serving;
    char name[];
};

struct watch {
    struct watch *next;
    struct ang_health *h;
    struct ang_rpc *rpc;
    char *name;
    enum serving told;
};

struct ang_health {
    unsigned magic;
#define ANG_HEALTH_MAGIC 0x4ea17401
    pthread_mutex_t lock;
    struct service *services;
    struct watch *watches;
    bool closed;
};

struct ang_health *ang_health_new(void) {
    struct ang_health *h = ANG_NEW(struct ang_health);
    h->magic = ANG_HEALTH_MAGIC;
    ANG_PT(pthread_mutex_init(&h->lock, NULL));
    return (h);
}

void ang_health_free(struct ang_health *h) {
    struct service *sv;

    AZ(h->watches);
    while ((sv = h->services) != NULL) {
        h->services = sv->next;
        free(sv);
    }
    ANG_PT(pthread_mutex_destroy(&h->lock));
    free(h);
}

/* Under the lock. */
static struct service *find(struct ang_health *h, const char *name) {
    struct service *sv = h->services;
    while (sv != NULL && strcmp(sv->name, name) != 0)
        sv = sv->next;
    return (sv);
}

static enum serving status_of(struct ang_health *h, const char *name) {
    const struct service *sv = find(h, name);
    if (sv == NULL)
        return (SERVICE_UNKNOWN);
    return (sv->serving && !h->closed ? SERVING : NOT_SERVING);
}

static struct ang_slice response(uint8_t mem[2], enum serving status) {
    mem[0] = 1 << 3; /* field 1, varint */
    mem[1] = (uint8_t)status;
    return (ang_slice_of(mem, 2));
}

/* Under the lock: sends the status when it is another than the last one sent. */
static void tell(struct watch *w) {
    uint8_t mem[2];
    enum serving now = status_of(w->h, w->name);
    if (now == w->told)
        return;
    w->told = now;
    struct ang_slice msg = response(mem, now);
    (void)ang_rpc_send(w->rpc, &msg, 1); /* false: the caller is gone, cancelled comes */
}

void ang_health_set(struct ang_health *h, const char *service, bool serving) {
    ANG_CHECK(h, ANG_HEALTH_MAGIC);
    ANG_PT(pthread_mutex_lock(&h->lock));
    struct service *sv = find(h, service);
    if (sv == NULL) {
        sv = ang_malloc(sizeof(*sv) + strlen(service) + 1);
        memcpy(sv->name, service, strlen(service) + 1);
        sv->next = h->services;
        h->services = sv;
    }
    sv->serving = serving;
    for (struct watch *w = h->watches; w != NULL; w = w->next)
        tell(w);
    ANG_PT(pthread_mutex_unlock(&h->lock));
}

static bool read_varint(struct ang_slice *in, uint64_t *ret_v) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && in->n != 0; shift += 7) {
        uint8_t b = *in->p++;
        in->n--;
        v |= (uint64_t)(b & 0x7f) << shift;
        if ((b & 0x80) == 0) {
            *ret_v = v;
            return (true);
        }
    }
    return (false);
}

/* The service named, the last one of several; unknown fields are skipped.  NULL when the bytes are no such message; the
 * caller frees it. */
static char *read_request(struct ang_slice in) {
    struct ang_slice name = ANG_SLICE_NONE;
    uint64_t key, n;

    while (in.n != 0) {
        if (!read_varint(&in, &key) || key >> 3 == 0)
            return (NULL);
        switch (key & 7) {
        case 0:
            if (!read_varint(&in, &n))
                return (NULL);
            continue;
        case 1:
            n = 8;
            break;
        case 2:
            if (!read_varint(&in, &n))
                return (NULL);
            break;
        case 5:
            n = 4;
            break;
        default:
            return (NULL);
        }
        if (n > in.n)
            return (NULL);
        if (key == (1 << 3 | 2))
            name = ang_slice_of(in.p, n);
        in.p += n;
        in.n -= n;
    }
    if (name.n != 0 && memchr(name.p, '\0', name.n) != NULL)
        return (NULL);
    return (ang_slice_dup_str(name));
}

static void fail_request(struct ang_rpc *rpc) {
    struct ang_status *st =
        ang_status_new(ANG_INVALID_ARGUMENT, "%s: the request is not a HealthCheckRequest", ang_rpc_path(rpc));
    ang_rpc_fail(rpc, &st);
}

static void check(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_health *h;
    uint8_t mem[2];
    char *name = read_request(request);

    ANG_CAST(h, arg, ANG_HEALTH_MAGIC);
    if (name == NULL) {
        fail_request(rpc);
        return;
    }
    ANG_PT(pthread_mutex_lock(&h->lock));
    enum serving status = status_of(h, name);
    ANG_PT(pthread_mutex_unlock(&h->lock));
    if (status == SERVICE_UNKNOWN) {
        struct ang_status *st = ang_status_new(ANG_NOT_FOUND, "no service \"%.200s\" here", name);
        ang_rpc_fail(rpc, &st);
    } else {
        struct ang_slice msg = response(mem, status);
        ang_rpc_reply(rpc, &msg, 1);
    }
    free(name);
}

static void watch_end(struct watch *w) {
    struct ang_status *st = ang_status_new(ANG_UNAVAILABLE, "the server stops");
    ang_rpc_fail(w->rpc, &st);
    free(w->name);
    free(w);
}

static void watch_cancelled(struct ang_rpc *rpc, void *user) {
    struct watch *w = user, **at;
    ANG_PT(pthread_mutex_lock(&w->h->lock));
    for (at = &w->h->watches; *at != w; at = &(*at)->next)
        AN(*at);
    *at = w->next;
    ANG_PT(pthread_mutex_unlock(&w->h->lock));
    watch_end(w);
}

static void watch(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_health *h;
    char *name = read_request(request);

    ANG_CAST(h, arg, ANG_HEALTH_MAGIC);
    if (name == NULL) {
        fail_request(rpc);
        return;
    }
    struct watch *w = ANG_NEW(struct watch);
    w->h = h;
    w->rpc = rpc;
    w->name = name;
    ang_rpc_set_user(rpc, w, watch_cancelled);
    ANG_PT(pthread_mutex_lock(&h->lock));
    bool closed = h->closed;
    tell(w);
    if (!closed) {
        w->next = h->watches;
        h->watches = w;
    }
    ANG_PT(pthread_mutex_unlock(&h->lock));
    if (closed)
        watch_end(w);
}

/* Loop thread, like watch_cancelled: a watch taken off the list here is not cancelled meanwhile. */
void ang_health_close(struct ang_health *h) {
    struct watch *w, *next;

    ANG_PT(pthread_mutex_lock(&h->lock));
    h->closed = true;
    for (w = h->watches; w != NULL; w = w->next)
        tell(w);
    w = h->watches;
    h->watches = NULL;
    ANG_PT(pthread_mutex_unlock(&h->lock));
    for (; w != NULL; w = next) {
        next = w->next;
        watch_end(w);
    }
}

const struct ang_rpc_method ang_health_methods[ANG_HEALTH_METHODS] = {
    {.path = "/grpc.health.v1.Health/Check", .kind = ANG_RPC_UNARY, .handle = check},
    {.path = "/grpc.health.v1.Health/Watch", .kind = ANG_RPC_SERVER_STREAM, .handle = watch},
};
