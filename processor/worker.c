/* The worker: the store, the lanes, the sinks for their answers, and whether all of it is ready. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "processor/lane_priv.h"

struct sink {
    struct sink *next;
    char *gateway;
    void (*deliver)(void *arg, struct ang_answer *list);
    void *arg;
};

struct ang_worker {
    unsigned magic;
#define ANG_WORKER_MAGIC 0x304be201
    /* set once */
    struct ang_worker_conf conf;
    struct ang_store *store;
    const char *cluster;
    int64_t started_ms;
    struct lane **lanes; /* of the first domain, of the second, … */
    size_t n_lanes;
    struct shard **shards; /* [domain][partition] */
    struct queries *queries;
    struct ang_metrics_source source;
    /* lock */
    pthread_mutex_t lock;
    struct sink *sinks;
    bool *ready; /* per lane */
    bool was_ready, fatal;
    pthread_mutex_t telling; /* held while `ready` is told, so that what is told last is what is true */
};

/* state.memory is shared: a quarter for histories in memory, an eighth each for records that are open and for calls under way, the
 * rest for RocksDB. */
#define CACHE_PART 4
#define OPEN_PART  8

size_t worker_cache_share(const struct ang_worker *w) {
    return ((size_t)w->conf.settings->state.memory / CACHE_PART / w->n_lanes);
}

size_t worker_open_share(const struct ang_worker *w) {
    const size_t share = (size_t)w->conf.settings->state.memory / OPEN_PART / w->n_lanes;
    const size_t least = 2 * (size_t)w->conf.settings->limits.message;

    return (share > least ? share : least);
}

int64_t worker_store_share(const struct ang_worker *w) {
    return (w->conf.settings->state.memory / 2);
}

struct ang_store *worker_store(const struct ang_worker *w) {
    return (w->store);
}

const struct ang_worker_conf *worker_conf(const struct ang_worker *w) {
    return (&w->conf);
}

const char *worker_cluster(const struct ang_worker *w) {
    return (w->cluster);
}

int64_t worker_started_ms(const struct ang_worker *w) {
    return (w->started_ms);
}

const char *worker_id(const struct ang_worker *w) {
    return (w->conf.settings->worker.id);
}

struct queries *worker_queries(struct ang_worker *w) {
    return (w->queries);
}

struct shard *worker_shard(struct ang_worker *w, const struct ang_domain *d, int32_t partition) {
    size_t i;

    for (i = 0; i < ang_topology_domains(w->conf.topology); i++)
        if (ang_topology_domain_at(w->conf.topology, i) == d)
            return (&w->shards[i][partition]);
    ang_panic(__FILE__, __LINE__, __func__, "a domain that is not in the topology");
}

void worker_shard_changed(struct ang_worker *w) {
    if (w->queries != NULL)
        queries_look(w->queries);
}

void worker_commit_over(struct ang_worker *w) {
    if (w->queries != NULL)
        queries_commit_over(w->queries);
}

/* ---- readiness and the end ---- */
void worker_lane_ready(struct ang_worker *w, struct lane *l, bool ready) {
    bool all = true, changed;
    size_t i;

    ANG_PT(pthread_mutex_lock(&w->telling));
    ANG_PT(pthread_mutex_lock(&w->lock));
    for (i = 0; i < w->n_lanes; i++) {
        if (w->lanes[i] == l)
            w->ready[i] = ready;
        all &= w->ready[i];
    }
    changed = all != w->was_ready;
    w->was_ready = all;
    ANG_PT(pthread_mutex_unlock(&w->lock));
    if (changed)
        w->conf.ready(w->conf.arg, all);
    ANG_PT(pthread_mutex_unlock(&w->telling));
}

void worker_fatal(struct ang_worker *w, struct ang_err *er) {
    bool first;

    ANG_PT(pthread_mutex_lock(&w->lock));
    first = !w->fatal;
    w->fatal = true;
    ANG_PT(pthread_mutex_unlock(&w->lock));
    if (first)
        w->conf.fatal(w->conf.arg, er);
    else
        ang_err_free(&er);
}

void ang_worker_health(struct ang_worker *w, struct ang_buf *body) {
    size_t i;

    ANG_CHECK(w, ANG_WORKER_MAGIC);
    ang_buf_addf(body, "\"worker\":\"%s\",\"lanes\":[", worker_id(w));
    for (i = 0; i < w->n_lanes; i++) {
        ang_buf_add_str(body, i == 0 ? "" : ",");
        health_tell(w->lanes[i], body);
    }
    ang_buf_add_str(body, "]");
}

static void look(void *arg) {
    const struct ang_worker *w = arg;

    ANG_CHECK(w, ANG_WORKER_MAGIC);
    meters_tell(w->lanes, w->n_lanes, w);
}

/* ---- answers ---- */
static void free_list(struct ang_answer *list) {
    struct ang_answer *next;

    for (; list != NULL; list = next) {
        next = list->next;
        ang_answer_free(&list);
    }
}

void worker_deliver(struct ang_worker *w, const char *gateway, struct ang_answer *list) {
    struct sink *s;

    ANG_PT(pthread_mutex_lock(&w->lock));
    for (s = w->sinks; s != NULL && strcmp(s->gateway, gateway) != 0; s = s->next)
        ;
    if (s != NULL)
        s->deliver(s->arg, list);
    ANG_PT(pthread_mutex_unlock(&w->lock));
    if (s == NULL) /* its stream is broken: it sends again when it is back, and is answered from the store */
        free_list(list);
}

static void sink_remove(struct ang_worker *w, const char *gateway, const void *arg) {
    struct sink **at, *s;

    for (at = &w->sinks; (s = *at) != NULL; at = &s->next)
        if (strcmp(s->gateway, gateway) == 0 && (arg == NULL || s->arg == arg)) {
            *at = s->next;
            free(s->gateway);
            free(s);
            return;
        }
}

void ang_worker_attach(struct ang_worker *w, const char *gateway, void (*deliver)(void *, struct ang_answer *), void *arg) {
    struct sink *s = ANG_NEW(struct sink);

    ANG_CHECK(w, ANG_WORKER_MAGIC);
    s->gateway = ang_strdup(gateway);
    s->deliver = deliver;
    s->arg = arg;
    ANG_PT(pthread_mutex_lock(&w->lock));
    sink_remove(w, gateway, NULL);
    s->next = w->sinks;
    w->sinks = s;
    ANG_PT(pthread_mutex_unlock(&w->lock));
}

void ang_worker_detach(struct ang_worker *w, const char *gateway, void *arg) {
    ANG_CHECK(w, ANG_WORKER_MAGIC);
    ANG_PT(pthread_mutex_lock(&w->lock));
    sink_remove(w, gateway, arg);
    ANG_PT(pthread_mutex_unlock(&w->lock));
}

/* ---- life ---- */
static struct ang_err *make_folder(const char *path) {
    char *p = ang_strdup(path), *slash;
    struct ang_err *er = NULL;

    for (slash = strchr(p + 1, '/'); er == NULL; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(p, 0777) != 0 && errno != EEXIST)
            er = ang_err_new(ANG_E_IO, "state.path: cannot make the folder %s: %s", p, strerror(errno));
        if (slash == NULL)
            break;
        *slash = '/';
    }
    free(p);
    return (er);
}

static struct ang_err *open_store(struct ang_worker *w) {
    const struct ang_settings *set = w->conf.settings;
    char *folder = ang_sprintf("%s/%s", set->state.path, set->worker.id);
    char *path = ang_sprintf("%s/store", folder);
    struct ang_err *er = make_folder(folder);

    if (er == NULL)
        er = ang_store_open(path, worker_store_share(w), &w->store);
    free(folder);
    free(path);
    return (er);
}

static void make_shards(struct ang_worker *w) {
    const size_t n = ang_topology_domains(w->conf.topology);
    size_t i;
    int32_t p;

    w->shards = ang_calloc(n, sizeof(struct shard *));
    for (i = 0; i < n; i++) {
        const struct ang_domain *d = ang_topology_domain_at(w->conf.topology, i);

        w->shards[i] = ang_calloc((size_t)d->partitions, sizeof(struct shard));
        for (p = 0; p < d->partitions; p++)
            ANG_PT(pthread_rwlock_init(&w->shards[i][p].lock, NULL));
    }
}

struct ang_err *ang_worker_start(const struct ang_worker_conf *conf, struct ang_worker **ret_w) {
    struct ang_worker *w = ANG_NEW(struct ang_worker);
    /* 0 chooses one: two on two cores are 15 % slower, with smaller batches and more transactions. */
    const bool several = conf->settings->worker.lanes > 0 && conf->settings->log.type == ANG_LOGTYPE_KAFKA;
    const size_t each = several ? (size_t)conf->settings->worker.lanes : 1;
    struct ang_err *er;
    size_t i;

    w->magic = ANG_WORKER_MAGIC;
    w->conf = *conf;
    w->started_ms = ang_wall_ms();
    w->n_lanes = ang_topology_domains(conf->topology) * each;
    w->lanes = ang_calloc(w->n_lanes, sizeof(struct lane *));
    w->ready = ang_calloc(w->n_lanes, sizeof(bool));
    ANG_PT(pthread_mutex_init(&w->lock, NULL));
    ANG_PT(pthread_mutex_init(&w->telling, NULL));
    make_shards(w);
    er = ang_log_identity(conf->log, 10000, &w->cluster);
    if (er == NULL)
        er = open_store(w);
    if (er != NULL) {
        w->n_lanes = 0;
        ang_worker_free(w);
        return (er);
    }
    w->queries = queries_new();
    for (i = 0; i < w->n_lanes; i++)
        w->lanes[i] = lane_new(w, ang_topology_domain_at(conf->topology, i / each), (int)(i % each));
    for (i = 0; i < w->n_lanes; i++)
        lane_start(w->lanes[i]);
    w->source = (struct ang_metrics_source){.look = look, .arg = w};
    ang_metrics_source_add(&w->source);
    *ret_w = w;
    return (NULL);
}

static void *stop_lane(void *arg) {
    lane_stop(arg);
    return (NULL);
}

void ang_worker_stop(struct ang_worker *w) {
    pthread_t *threads;
    size_t i;

    if (w == NULL)
        return;
    ANG_CHECK(w, ANG_WORKER_MAGIC);
    ang_metrics_source_remove(&w->source); /* it looks at the lanes */
    /* All at once: one after the other, each would hand its partitions to those that go next. */
    threads = ang_calloc(w->n_lanes + 1, sizeof *threads);
    for (i = 0; i < w->n_lanes; i++)
        ANG_PT(pthread_create(&threads[i], NULL, stop_lane, w->lanes[i]));
    for (i = 0; i < w->n_lanes; i++)
        ANG_PT(pthread_join(threads[i], NULL));
    free(threads);
    queries_stop(w->queries);
}

void ang_worker_free(struct ang_worker *w) {
    size_t i;
    int32_t p;

    if (w == NULL)
        return;
    ANG_CHECK(w, ANG_WORKER_MAGIC);
    queries_free(w->queries);
    ang_store_close(w->store);
    for (i = 0; i < ang_topology_domains(w->conf.topology); i++) {
        for (p = 0; p < ang_topology_domain_at(w->conf.topology, i)->partitions; p++)
            ANG_PT(pthread_rwlock_destroy(&w->shards[i][p].lock));
        free(w->shards[i]);
    }
    free(w->shards);
    while (w->sinks != NULL)
        sink_remove(w, w->sinks->gateway, NULL);
    free(w->lanes);
    free(w->ready);
    ANG_PT(pthread_mutex_destroy(&w->telling));
    ANG_PT(pthread_mutex_destroy(&w->lock));
    w->magic = 0;
    free(w);
}
