/* The owners table: the newest entry of each (group, partition), from the compacted `owners` topic.
 *
 * "Newest" is the highest (generation, start_ms), not the last in the topic: an entry that a slow process writes late
 * must not win (lane.md, L22).  A release counts only for the entry it releases. */
#include "topology/owners.h"

#include <pthread.h>
#include <stdlib.h>

#include "angzarr/ext/worker.pb-c.h"
#include "base/base.h"
#include "base/uuid.h"

struct entry {
    char *key; /* "<group>/<partition>" */
    char *endpoint, *worker;
    char **ids;
    size_t n_ids;
    struct ang_owner owner;
};

struct ang_owners {
    unsigned magic;
#define ANG_OWNERS_MAGIC 0x07e25001
    struct ang_log *log;
    const struct ang_topic *topic;
    struct ang_log_reader *reader;
    struct entry *entries; /* a few per partition: a linear table */
    size_t n, cap;
    char *awaited; /* key of the marker that catch_up waits for */
    bool caught_up;
};

static void clear(struct entry *e) {
    size_t i;

    for (i = 0; i < e->n_ids; i++)
        free(e->ids[i]);
    free(e->ids);
    free(e->endpoint);
    free(e->worker);
}

static void fill(struct entry *e, const Angzarr__Ext__OwnerRecord *m, enum ang_owner_state state) {
    size_t i;

    e->endpoint = ang_strdup(m->endpoint);
    e->worker = ang_strdup(m->worker_id);
    e->n_ids = m->n_transactional_ids;
    e->ids = ang_calloc(e->n_ids + 1, sizeof *e->ids);
    for (i = 0; i < e->n_ids; i++)
        e->ids[i] = ang_strdup(m->transactional_ids[i]);
    e->owner = (struct ang_owner){.state = state,
                                  .endpoint = e->endpoint,
                                  .worker = e->worker,
                                  .generation = m->generation,
                                  .start_ms = m->start_ms,
                                  .percent = m->percent,
                                  .txn_ids = (const char *const *)e->ids,
                                  .n_txn_ids = e->n_ids};
}

static struct ang_err *open_with(struct ang_log *log, const struct ang_topology *t, const struct ang_log_reader_conf *conf,
                                 struct ang_owners **ret_o) {
    struct ang_owners *o = ANG_NEW(struct ang_owners);
    struct ang_err *er;

    o->magic = ANG_OWNERS_MAGIC;
    o->log = log;
    o->topic = ang_topology_owners_topic(t);
    er = ang_log_reader_open(log, conf, &o->reader);
    if (er == NULL)
        er = ang_log_reader_add(o->reader, o->topic, 0, ANG_OFFSET_BEGIN);
    if (er != NULL) {
        ang_owners_close(o);
        return (er);
    }
    *ret_o = o;
    return (NULL);
}

struct ang_err *ang_owners_open(struct ang_log *log, const struct ang_topology *t, void (*wake)(void *), void *arg,
                                struct ang_owners **ret_o) {
    const struct ang_log_reader_conf conf = {
        .name = "owners", .wake = wake, .arg = arg, .fetch_wait_ms = 500, .memory = 1 << 20};

    return (open_with(log, t, &conf, ret_o));
}

void ang_owners_close(struct ang_owners *o) {
    size_t i;

    if (o == NULL)
        return;
    ANG_CHECK(o, ANG_OWNERS_MAGIC);
    ang_log_reader_close(o->reader);
    for (i = 0; i < o->n; i++) {
        clear(&o->entries[i]);
        free(o->entries[i].key);
    }
    free(o->entries);
    free(o->awaited);
    o->magic = 0;
    free(o);
}

static struct entry *find(const struct ang_owners *o, struct ang_slice key) {
    size_t i;

    for (i = 0; i < o->n; i++)
        if (ang_slice_is(key, o->entries[i].key))
            return (&o->entries[i]);
    return (NULL);
}

static struct entry *add(struct ang_owners *o, struct ang_slice key) {
    struct entry *e;

    if (o->n == o->cap) {
        o->cap = o->cap == 0 ? 16 : o->cap * 2;
        o->entries = ang_realloc(o->entries, o->cap * sizeof *o->entries);
    }
    e = &o->entries[o->n++];
    memset(e, 0, sizeof *e);
    e->key = ang_slice_dup_str(key);
    return (e);
}

static enum ang_owner_state state_of(Angzarr__Ext__OwnerRecord__State s) {
    switch ((int)s) {
    case ANGZARR__EXT__OWNER_RECORD__STATE__SERVING:
        return (ANG_OWNER_SERVING);
    case ANGZARR__EXT__OWNER_RECORD__STATE__RELEASED:
        return (ANG_OWNER_RELEASED);
    default:
        return (ANG_OWNER_RESTORING); /* also what a newer version may send */
    }
}

static bool older(const Angzarr__Ext__OwnerRecord *m, const struct ang_owner *than) {
    return (m->generation < than->generation || (m->generation == than->generation && m->start_ms < than->start_ms));
}

static bool take(struct ang_owners *o, const struct ang_rec *rec) {
    Angzarr__Ext__OwnerRecord *m;
    struct entry *e = find(o, rec->key);

    if (rec->key.n > 0 && rec->key.p[0] == '!') {
        if (o->awaited != NULL && ang_slice_is(rec->key, o->awaited))
            o->caught_up = true;
        return (false);
    }
    m = rec->tombstone ? NULL : angzarr__ext__owner_record__unpack(NULL, rec->value.n, rec->value.p);
    if (m == NULL) {
        ANG_LOG_EVERY(10000, ANG_LOG_WARN, "OWNERS-BAD", "a record of the owners topic cannot be read and is skipped",
                      "topic", rec->topic->name, "offset", ANG_F("%lld", (long long)rec->offset));
        return (false);
    }
    if (e != NULL && older(m, &e->owner)) {
        e->owner.hidden = true;
        angzarr__ext__owner_record__free_unpacked(m, NULL);
        return (false);
    }
    if (e == NULL)
        e = add(o, rec->key);
    else
        clear(e);
    fill(e, m, state_of(m->state));
    angzarr__ext__owner_record__free_unpacked(m, NULL);
    return (true);
}

static struct ang_err *poll_some(struct ang_owners *o, int timeout_ms, size_t *ret_n, bool *changed) {
    struct ang_rec *recs[256];
    struct ang_err *er = ang_log_reader_poll(o->reader, recs, ANG_COUNT(recs), timeout_ms, ret_n);
    size_t i;

    if (er != NULL)
        return (ang_err_wrap(&er, "topic %s", o->topic->name));
    for (i = 0; i < *ret_n; i++) {
        *changed |= take(o, recs[i]);
        ang_rec_free(&recs[i]);
    }
    return (NULL);
}

struct ang_err *ang_owners_poll(struct ang_owners *o, bool *ret_changed) {
    bool changed = false;
    struct ang_err *er;
    size_t n;

    ANG_CHECK(o, ANG_OWNERS_MAGIC);
    do {
        er = poll_some(o, 0, &n, &changed);
    } while (er == NULL && n > 0);
    *ret_changed = changed;
    return (er);
}

struct marker { /* between append's callback, on a thread of the log, and catch_up */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    struct ang_err *er;
};

static void marker_done(void *arg, struct ang_err *er, int64_t offset) {
    struct marker *m = arg;

    (void)offset;
    ANG_PT(pthread_mutex_lock(&m->lock));
    m->done = true;
    m->er = er == NULL ? NULL : ang_err_dup(er);
    ANG_PT(pthread_cond_signal(&m->cond));
    ANG_PT(pthread_mutex_unlock(&m->lock));
}

/* Appends a marker of our own and reads until it comes back: what was there before has then been read. */
struct ang_err *ang_owners_catch_up(struct ang_owners *o, int timeout_ms) {
    struct marker m = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    const int64_t until = ang_now_ms() + timeout_ms;
    struct ang_out out = {.topic = o->topic, .partition = 0, .tombstone = true};
    struct ang_uuid id;
    char text[ANG_UUID_TEXT + 1];
    struct ang_err *er;
    bool changed = false;
    size_t n;

    ANG_CHECK(o, ANG_OWNERS_MAGIC);
    ang_uuid_v4(&id);
    ang_uuid_text(id.b, text);
    free(o->awaited);
    o->awaited = ang_sprintf("!reader/%s", text);
    o->caught_up = false;
    out.key = ang_slice_str(o->awaited);
    er = ang_log_append(o->log, &out, timeout_ms, marker_done, &m);
    if (er != NULL)
        return (ang_err_wrap(&er, "topic %s", o->topic->name));
    ANG_PT(pthread_mutex_lock(&m.lock));
    while (!m.done)
        ANG_PT(pthread_cond_wait(&m.cond, &m.lock));
    ANG_PT(pthread_mutex_unlock(&m.lock));
    if (m.er != NULL)
        return (ang_err_wrap(&m.er, "topic %s", o->topic->name));
    while (!o->caught_up) {
        if (ang_now_ms() > until)
            return (ang_err_new(ANG_E_TIMEOUT, "topic %s: what was appended did not come back within %d ms",
                                o->topic->name, timeout_ms));
        er = poll_some(o, 100, &n, &changed);
        if (er != NULL)
            return (er);
    }
    return (NULL);
}

/* Without a marker: the end is asked for, and the reader says when it has passed it. */
static struct ang_err *read_to_end(struct ang_owners *o, int timeout_ms) {
    const int64_t until = ang_now_ms() + timeout_ms;
    struct ang_range range = {.topic = o->topic, .partition = 0};
    struct ang_err *er = ang_log_ranges(o->log, &range, 1, timeout_ms);
    bool changed = false;
    size_t n;

    if (er == NULL && range.end == ANG_OFFSET_NONE)
        er = ang_err_new(ANG_E_LOG_UNREACHABLE, "topic %s cannot be read: %s", o->topic->name, range.why);
    while (er == NULL && range.begin < range.end && ang_log_reader_next(o->reader, o->topic, 0) < range.end) {
        if (ang_now_ms() > until)
            return (ang_err_new(ANG_E_LOG_UNREACHABLE, "topic %s could not be read to its end at offset %lld within %d ms",
                                o->topic->name, (long long)range.end, timeout_ms));
        er = poll_some(o, 100, &n, &changed);
    }
    return (er);
}

struct ang_err *ang_owners_open_look(struct ang_log *log, const struct ang_topology *t, int timeout_ms,
                                     struct ang_owners **ret_o) {
    const struct ang_log_reader_conf conf = {.name = "owners", .fetch_wait_ms = 100, .memory = 1 << 20, .ends = true};
    struct ang_owners *o = NULL;
    struct ang_err *er = open_with(log, t, &conf, &o);

    if (er == NULL)
        er = read_to_end(o, timeout_ms);
    if (er != NULL) {
        ang_owners_close(o);
        return (er);
    }
    *ret_o = o;
    return (NULL);
}

struct ang_owner ang_owners_get(const struct ang_owners *o, const char *group, int32_t partition) {
    char *key = ang_sprintf("%s/%d", group, partition);
    const struct entry *e = find(o, ang_slice_str(key));

    free(key);
    return (e == NULL ? (struct ang_owner){.state = ANG_OWNER_NONE, .endpoint = "", .worker = ""} : e->owner);
}

struct ang_err *ang_owners_publish(struct ang_log *log, const struct ang_topology *t, const char *group,
                                   int32_t partition, const struct ang_owner *entry, const char *const *txn_ids,
                                   size_t n_txn_ids, void (*done)(void *, struct ang_err *, int64_t), void *arg) {
    Angzarr__Ext__OwnerRecord m = ANGZARR__EXT__OWNER_RECORD__INIT;
    char *key = ang_sprintf("%s/%d", group, partition);
    char **ids = ang_calloc(n_txn_ids + 1, sizeof *ids);
    char *endpoint = ang_strdup(entry->endpoint), *worker = ang_strdup(entry->worker);
    struct ang_out out = {.topic = ang_topology_owners_topic(t), .key = ang_slice_str(key)};
    struct ang_err *er;
    uint8_t *bytes;
    size_t i;

    for (i = 0; i < n_txn_ids; i++)
        ids[i] = ang_strdup(txn_ids[i]);
    m.endpoint = endpoint;
    m.worker_id = worker;
    m.generation = entry->generation;
    m.start_ms = entry->start_ms;
    m.percent = entry->percent;
    m.n_transactional_ids = n_txn_ids;
    m.transactional_ids = ids;
    m.state = entry->state == ANG_OWNER_SERVING    ? ANGZARR__EXT__OWNER_RECORD__STATE__SERVING
              : entry->state == ANG_OWNER_RELEASED ? ANGZARR__EXT__OWNER_RECORD__STATE__RELEASED
                                                   : ANGZARR__EXT__OWNER_RECORD__STATE__RESTORING;
    bytes = ang_malloc(angzarr__ext__owner_record__get_packed_size(&m));
    out.value = ang_slice_of(bytes, angzarr__ext__owner_record__pack(&m, bytes));
    er = ang_log_append(log, &out, 10000, done, arg);
    for (i = 0; i < n_txn_ids; i++)
        free(ids[i]);
    free(ids);
    free(bytes);
    free(endpoint);
    free(worker);
    free(key);
    return (er);
}
