/* Topics: what there is, and that it is as the configuration says. */
#include <stdio.h>
#include <stdlib.h>

#include "eventlog/embedded/embedded_priv.h"
#include "eventlog/embedded/records.h"

/* A topic's value: id 4, partitions 4, compact 1, retention 8, max_message 8. */
#define TOPIC_BYTES 25

struct ang_emb_topic *ang_emb_topic_find(struct ang_emb *emb, const struct ang_topic *handle) {
    struct ang_emb_topic *t = atomic_load_explicit(&emb->topics, memory_order_acquire);

    while (t != NULL && t->handle != handle)
        t = t->next;
    return (t);
}

struct ang_err *ang_emb_part_find(struct ang_emb *emb, const struct ang_topic *handle, int32_t partition,
                                  struct ang_emb_part **ret_part) {
    struct ang_emb_topic *t;

    ANG_CHECK(handle, ANG_TOPIC_MAGIC);
    t = ang_emb_topic_find(emb, handle);
    if (t == NULL)
        return (ang_err_new(ANG_E_LOG_TOPIC, "topic %s is not there; set topology.create, or correct the name",
                            handle->name));
    if (partition < 0 || partition >= t->n_parts)
        return (ang_err_new(ANG_E_LOG_TOPIC, "topic %s has no partition %d, it has %d", handle->name, partition,
                            t->n_parts));
    *ret_part = &t->parts[partition];
    return (NULL);
}

static struct ang_emb_topic *topic_new(struct ang_emb *emb, const char *name, uint32_t id, int32_t n_parts,
                                       bool compact) {
    struct ang_emb_topic *t = ang_calloc(1, sizeof *t + (size_t)n_parts * sizeof t->parts[0]);

    t->handle = ang_log_topic(&emb->base, name);
    t->id = id;
    t->n_parts = n_parts;
    t->compact = compact;
    for (int32_t p = 0; p < n_parts; p++) {
        t->parts[p].topic = t;
        t->parts[p].partition = p;
    }
    return (t);
}

static void topic_show(struct ang_emb *emb, struct ang_emb_topic *t) {
    t->next = atomic_load_explicit(&emb->topics, memory_order_relaxed);
    atomic_store_explicit(&emb->topics, t, memory_order_release);
}

/* ---- loading ---- */

/* Where the partition begins and ends.  Its last record is always there: compaction removes only older ones, and retention
 * notes how far it came. */
static struct ang_err *part_load(struct ang_emb *emb, struct ang_emb_part *part) {
    uint8_t key[ANG_EMB_PART_KEY], last[ANG_EMB_REC_KEY];
    struct ang_buf val = {0};
    char *msg = NULL;
    rocksdb_iterator_t *it;
    int64_t begin = 0, end;
    bool found;
    struct ang_err *er;

    ang_emb_part_key(key, 'b', part->topic->id, part->partition);
    er = ang_emb_get(emb, ang_slice_of(key, sizeof key), &val, &found);
    if (er == NULL && found && val.n != 8)
        er = ang_err_new(ANG_E_LOG_IO, "the first offset of %s/%d is damaged", part->topic->handle->name,
                         part->partition);
    if (er == NULL && found)
        begin = (int64_t)ang_get_be64(val.p);
    ang_buf_fini(&val);
    if (er != NULL)
        return (er);
    end = begin;
    ang_emb_rec_key(last, part->topic->id, part->partition, INT64_MAX);
    it = rocksdb_create_iterator(emb->db, emb->ropt);
    rocksdb_iter_seek_for_prev(it, (const char *)last, sizeof last);
    if (rocksdb_iter_valid(it)) {
        size_t n;
        const uint8_t *p = (const uint8_t *)rocksdb_iter_key(it, &n);

        if (n == ANG_EMB_REC_KEY && memcmp(p, last, ANG_EMB_PART_KEY) == 0)
            end = (int64_t)ang_get_be64(p + ANG_EMB_PART_KEY) + 1;
    }
    rocksdb_iter_get_error(it, &msg);
    rocksdb_iter_destroy(it);
    er = ang_emb_err(&msg, emb->path);
    if (er != NULL)
        return (er);
    part->next = end > begin ? end : begin;
    atomic_store(&part->begin, begin);
    atomic_store_explicit(&part->end, part->next, memory_order_release);
    return (NULL);
}

static struct ang_err *topic_load(struct ang_emb *emb, const char *name, struct ang_slice val) {
    struct ang_emb_topic *t = ang_emb_topic_find(emb, ang_log_topic(&emb->base, name));
    const bool known = t != NULL;
    struct ang_err *er = NULL;
    int32_t n_parts;

    n_parts = val.n == TOPIC_BYTES ? (int32_t)ang_get_be32(val.p + 4) : 0;
    if (n_parts <= 0 || (known && n_parts != t->n_parts))
        return (ang_err_new(ANG_E_LOG_IO, "%s: the entry of topic %s is damaged: restore the folder or remove it",
                            emb->path, name));
    if (!known)
        t = topic_new(emb, name, ang_get_be32(val.p), n_parts, val.p[8] != 0);
    atomic_store(&t->retention_ms, (int64_t)ang_get_be64(val.p + 9));
    atomic_store(&t->max_message, (int64_t)ang_get_be64(val.p + 17));
    for (int32_t p = 0; er == NULL && p < n_parts; p++)
        er = part_load(emb, &t->parts[p]);
    if (er == NULL && !known)
        topic_show(emb, t);
    else if (!known)
        free(t);
    return (er);
}

struct ang_err *ang_emb_topics_load(struct ang_emb *emb) {
    rocksdb_iterator_t *it = rocksdb_create_iterator(emb->db, emb->ropt);
    struct ang_err *er = NULL;
    char *msg = NULL;

    for (rocksdb_iter_seek(it, "t", 1); er == NULL && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t n_key, n;
        const char *key = rocksdb_iter_key(it, &n_key);
        const char *val = rocksdb_iter_value(it, &n);
        char *name;

        if (key[0] != 't')
            break;
        name = ang_slice_dup_str(ang_slice_of(key + 1, n_key - 1));
        er = topic_load(emb, name, ang_slice_of(val, n));
        free(name);
    }
    if (er == NULL) {
        rocksdb_iter_get_error(it, &msg);
        er = ang_emb_err(&msg, emb->path);
    }
    rocksdb_iter_destroy(it);
    return (er);
}

/* ---- making sure ---- */

struct ensure {
    struct ang_emb_job job;
    const struct ang_topic_spec *specs;
    size_t n;
    struct ang_emb_topic **found; /* of each spec; made here when it is new */
    uint32_t next_id;
};

static void topic_put(struct ang_emb_group *g, const struct ang_emb_topic *t, const struct ang_topic_spec *spec) {
    struct ang_buf key = {0};
    uint8_t val[TOPIC_BYTES];

    ang_put_be32(val, t->id);
    ang_put_be32(val + 4, (uint32_t)t->n_parts);
    val[8] = t->compact;
    ang_put_be64(val + 9, (uint64_t)spec->retention_ms);
    ang_put_be64(val + 17, (uint64_t)spec->max_message);
    ang_emb_group_put(g, ang_emb_name_key(&key, 't', spec->name), ang_slice_of(val, sizeof val));
    ang_buf_fini(&key);
}

static bool limits_differ(const struct ang_emb_topic *t, const struct ang_topic_spec *spec) {
    return ((!t->compact && atomic_load(&t->retention_ms) != spec->retention_ms) ||
            atomic_load(&t->max_message) != spec->max_message);
}

static struct ang_err *ensure_stage(struct ang_emb_job *job, struct ang_emb_group *g) {
    struct ensure *e = ANG_CONTAINER(job, struct ensure, job);
    struct ang_emb *emb = ang_emb_group_log(g);

    for (size_t i = 0; i < e->n; i++) {
        bool is_new = e->found[i] == NULL;

        if (is_new)
            e->found[i] = topic_new(emb, e->specs[i].name, e->next_id++, e->specs[i].partitions, e->specs[i].compact);
        if (is_new || limits_differ(e->found[i], &e->specs[i]))
            topic_put(g, e->found[i], &e->specs[i]);
    }
    return (NULL);
}

/* What is not as specified, a line each.  Retention and size are only the configuration's, so with `create` they follow it. */
static void compare(const struct ang_emb *emb, const struct ang_emb_topic *t, const struct ang_topic_spec *spec,
                    bool create, struct ang_buf *ret_lines) {
    if (spec->partitions <= 0)
        ang_buf_addf(ret_lines, "topic %s: %d partitions were asked for, expected at least one\n", spec->name,
                     spec->partitions);
    else if (t == NULL && !create)
        ang_buf_addf(ret_lines, "topic %s is not in %s; set topology.create to have it made\n", spec->name, emb->path);
    if (spec->partitions <= 0 || t == NULL)
        return;
    if (t->n_parts != spec->partitions)
        ang_buf_addf(ret_lines,
                     "topic %s has %d partitions, expected %d: set topology.partitions to %d, or use a new log.path\n",
                     spec->name, t->n_parts, spec->partitions, t->n_parts);
    if (t->compact != spec->compact)
        ang_buf_addf(ret_lines,
                     "topic %s has cleanup policy %s, expected %s: correct the topology, or use a new log.path\n",
                     spec->name, t->compact ? "compact" : "delete", spec->compact ? "compact" : "delete");
    else if (limits_differ(t, spec) && !create)
        ang_buf_addf(ret_lines,
                     "topic %s has retention %lld ms and at most %lld bytes a record, expected %lld and %lld: "
                     "set topology.create to have it changed\n",
                     spec->name, (long long)atomic_load(&t->retention_ms), (long long)atomic_load(&t->max_message),
                     (long long)spec->retention_ms, (long long)spec->max_message);
}

static struct ang_err *spec_check(const struct ang_emb *emb, const struct ang_emb_topic *t,
                                  const struct ang_topic_spec *spec, bool create) {
    struct ang_topic_found f = {0};
    struct ang_err *er;

    compare(emb, t, spec, create, &f.differs);
    er = ang_topic_first_difference(&f, 1);
    ang_topic_found_fini(&f);
    return (er);
}

static uint32_t next_topic_id(struct ang_emb *emb) {
    uint32_t id = 0;

    for (const struct ang_emb_topic *t = atomic_load(&emb->topics); t != NULL; t = t->next)
        if (t->id > id)
            id = t->id;
    return (id + 1);
}

/* After the write: what was found or made is what the handles say. */
static void topic_apply(struct ang_emb *emb, struct ang_emb_topic *t, const struct ang_topic_spec *spec) {
    struct ang_topic *handle = ang_log_topic_mut(&emb->base, spec->name);

    atomic_store(&t->retention_ms, spec->retention_ms);
    atomic_store(&t->max_message, spec->max_message);
    handle->partitions = t->n_parts;
    handle->max_message = spec->max_message;
    handle->compact = t->compact;
    if (ang_emb_topic_find(emb, t->handle) == NULL)
        topic_show(emb, t);
}

struct ang_err *ang_emb_ensure_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, bool create,
                                      int timeout_ms) {
    struct ang_emb *emb = ang_emb_of(log);
    struct ensure e = {.job = {.stage = ensure_stage, .sync = true}, .specs = specs, .n = n};
    struct ang_err *er = ang_emb_look(emb);

    e.found = ang_calloc(n + 1, sizeof *e.found);
    ANG_PT(pthread_mutex_lock(&emb->ensure_lock));
    for (size_t i = 0; er == NULL && i < n; i++) {
        e.found[i] = ang_emb_topic_find(emb, ang_log_topic(log, specs[i].name));
        er = spec_check(emb, e.found[i], &specs[i], create);
    }
    e.next_id = next_topic_id(emb);
    if (er == NULL && !log->look)
        er = ang_emb_run(emb, &e.job);
    for (size_t i = 0; i < n; i++) {
        if (er == NULL)
            topic_apply(emb, e.found[i], &specs[i]);
        else if (e.found[i] != NULL && ang_emb_topic_find(emb, e.found[i]->handle) == NULL)
            free(e.found[i]);
    }
    ANG_PT(pthread_mutex_unlock(&emb->ensure_lock));
    free(e.found);
    return (er);
}

/* ---- finding ---- */

struct ang_err *ang_emb_find_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, int timeout_ms,
                                    struct ang_topic_found *ret_found) {
    struct ang_emb *emb = ang_emb_of(log);
    struct ang_err *er = ang_emb_look(emb);

    for (size_t i = 0; er == NULL && i < n; i++) {
        const struct ang_emb_topic *t = ang_emb_topic_find(emb, ang_log_topic(log, specs[i].name));
        struct ang_topic_found *f = &ret_found[i];

        compare(emb, t, &specs[i], false, &f->differs);
        if (t == NULL)
            continue;
        f->there = true;
        f->partitions = t->n_parts;
        (void)snprintf(f->cleanup, sizeof f->cleanup, "%s", t->compact ? "compact" : "delete");
        f->retention_ms = t->compact ? -1 : atomic_load(&t->retention_ms);
        f->max_message = atomic_load(&t->max_message);
    }
    return (er);
}

struct ang_err *ang_emb_ranges(struct ang_log *log, struct ang_range *r, size_t n, int timeout_ms) {
    struct ang_emb *emb = ang_emb_of(log);
    struct ang_err *er = ang_emb_look(emb);

    for (size_t i = 0; er == NULL && i < n; i++) {
        const struct ang_emb_topic *t = ang_emb_topic_find(emb, r[i].topic);

        if (t == NULL || r[i].partition < 0 || r[i].partition >= t->n_parts) {
            r[i].why = "it is not there";
            continue;
        }
        r[i].begin = atomic_load(&t->parts[r[i].partition].begin);
        r[i].end = atomic_load_explicit(&t->parts[r[i].partition].end, memory_order_acquire);
    }
    return (er);
}
