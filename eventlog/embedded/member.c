/* Membership.  There is one process, so a group has one member at a time: it gets all partitions.  Another join in the same
 * process takes them over: the generation rises, which makes the earlier member's tokens worthless at once, and the earlier
 * member learns at its next poll that it has lost them.  Generations outlive the process, so that they only grow. */
#include <errno.h>
#include <stdlib.h>

#include "eventlog/embedded/embedded_priv.h"
#include "eventlog/embedded/records.h"

struct ang_emb_member {
    struct ang_log_member base;
    struct ang_log_member_conf conf; /* strings are ours */
    struct ang_emb_cgroup *cgroup;
    int32_t n_parts;
    int32_t generation;
    /* members_lock */
    pthread_cond_t cond;
    bool assigned;      /* the callback ran */
    bool lost, told;    /* another one has joined; the callback ran */
    bool same_instance; /* and it uses our name */
};

struct ang_emb_token {
    struct ang_log_token base;
    struct ang_emb_cgroup *cgroup;
};

static struct ang_emb_member *member_of(struct ang_log_member *m) {
    ANG_CHECK(m, ANG_LOG_MEMBER_MAGIC);
    return ((struct ang_emb_member *)(void *)m);
}

/* ---- generations ---- */

struct raise {
    struct ang_emb_job job;
    struct ang_emb_cgroup *cgroup;
    int32_t generation;
};

static struct ang_err *raise_stage(struct ang_emb_job *job, struct ang_emb_group *g) {
    struct raise *r = ANG_CONTAINER(job, struct raise, job);
    struct ang_buf key = {0};
    uint8_t val[4];

    /* Holds for every commit behind this job, written or not; a number is never used twice. */
    r->generation = atomic_fetch_add(&r->cgroup->generation, 1) + 1;
    ang_put_be32(val, (uint32_t)r->generation);
    ang_emb_group_put(g, ang_emb_name_key(&key, 'g', r->cgroup->name), ang_slice_of(val, sizeof val));
    ang_buf_fini(&key);
    return (NULL);
}

static struct ang_err *generation_raise(struct ang_emb *emb, struct ang_emb_cgroup *cg, int32_t *ret_generation) {
    struct raise r = {.job = {.stage = raise_stage, .sync = true}, .cgroup = cg};
    struct ang_err *er = ang_emb_run(emb, &r.job);

    if (er == NULL)
        *ret_generation = r.generation;
    return (er);
}

/* @locks held: members_lock */
static struct ang_err *cgroup_find(struct ang_emb *emb, const char *name, struct ang_emb_cgroup **ret_cg) {
    struct ang_buf key = {0}, val = {0};
    struct ang_emb_cgroup *cg;
    struct ang_err *er;
    bool found;

    for (cg = emb->cgroups; cg != NULL; cg = cg->next)
        if (strcmp(cg->name, name) == 0) {
            *ret_cg = cg;
            return (NULL);
        }
    er = ang_emb_get(emb, ang_emb_name_key(&key, 'g', name), &val, &found);
    if (er == NULL && found && val.n != 4)
        er = ang_err_new(ANG_E_LOG_IO, "%s: the generation of group %s is damaged", emb->path, name);
    if (er == NULL) {
        cg = ANG_NEW(struct ang_emb_cgroup);
        cg->name = ang_strdup(name);
        atomic_init(&cg->generation, found ? (int32_t)ang_get_be32(val.p) : 0);
        cg->next = emb->cgroups;
        emb->cgroups = cg;
        *ret_cg = cg;
    }
    ang_buf_fini(&key);
    ang_buf_fini(&val);
    return (er);
}

void ang_emb_cgroups_free(struct ang_emb *emb) {
    struct ang_emb_cgroup *cg, *next;

    for (cg = emb->cgroups; cg != NULL; cg = next) {
        next = cg->next;
        AZ(cg->member); /* everything opened from the log must be closed */
        free(cg->name);
        free(cg);
    }
}

/* ---- joining and leaving ---- */

static void member_free(struct ang_emb_member *m) {
    ANG_PT(pthread_cond_destroy(&m->cond));
    free((void *)(uintptr_t)m->conf.group);
    free((void *)(uintptr_t)m->conf.topic);
    free((void *)(uintptr_t)m->conf.instance);
    m->base.magic = 0;
    free(m);
}

static struct ang_emb_member *member_new(struct ang_log *log, const struct ang_log_member_conf *conf, int32_t n_parts) {
    struct ang_emb_member *m = ANG_NEW(struct ang_emb_member);
    pthread_condattr_t attr;

    m->base = (struct ang_log_member){.magic = ANG_LOG_MEMBER_MAGIC, .log = log};
    m->conf = *conf;
    m->conf.group = ang_strdup(conf->group);
    m->conf.topic = ang_strdup(conf->topic);
    m->conf.instance = ang_strdup(conf->instance == NULL ? "" : conf->instance);
    m->n_parts = n_parts;
    ANG_PT(pthread_condattr_init(&attr));
    ANG_PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    ANG_PT(pthread_cond_init(&m->cond, &attr));
    ANG_PT(pthread_condattr_destroy(&attr));
    return (m);
}

/* @locks held: members_lock */
static void take_over(struct ang_emb_member *m) {
    struct ang_emb_member *old = m->cgroup->member;

    m->cgroup->member = m;
    if (old == NULL)
        return;
    old->lost = true;
    old->same_instance = m->conf.instance[0] != '\0' && strcmp(old->conf.instance, m->conf.instance) == 0;
    ANG_PT(pthread_cond_signal(&old->cond));
    if (old->conf.wake != NULL)
        old->conf.wake(old->conf.arg);
}

struct ang_err *ang_emb_member_join(struct ang_log *log, const struct ang_log_member_conf *conf,
                                    struct ang_log_member **ret_m) {
    struct ang_emb *emb = ang_emb_of(log);
    struct ang_emb_part *part;
    struct ang_emb_member *m;
    struct ang_err *er = ang_emb_part_find(emb, ang_log_topic(log, conf->topic), 0, &part);

    if (er != NULL)
        return (ang_err_wrap(&er, "joining group %s", conf->group));
    m = member_new(log, conf, part->topic->n_parts);
    ANG_PT(pthread_mutex_lock(&emb->members_lock));
    er = cgroup_find(emb, conf->group, &m->cgroup);
    if (er == NULL)
        er = generation_raise(emb, m->cgroup, &m->generation);
    if (er == NULL)
        take_over(m);
    ANG_PT(pthread_mutex_unlock(&emb->members_lock));
    if (er != NULL) {
        member_free(m);
        return (ang_err_wrap(&er, "joining group %s", conf->group));
    }
    if (m->conf.leased != NULL)
        m->conf.leased(m->conf.arg, ANG_NEVER);
    if (m->conf.wake != NULL)
        m->conf.wake(m->conf.arg);
    *ret_m = &m->base;
    return (NULL);
}

static void call_assigned(struct ang_emb_member *m) {
    int32_t *all = ang_calloc((size_t)m->n_parts, sizeof *all);

    for (int32_t p = 0; p < m->n_parts; p++)
        all[p] = p;
    m->conf.assigned(m->conf.arg, all, (size_t)m->n_parts);
    free(all);
}

static void call_revoked(struct ang_emb_member *m, bool lost) {
    int32_t *all = ang_calloc((size_t)m->n_parts, sizeof *all);

    for (int32_t p = 0; p < m->n_parts; p++)
        all[p] = p;
    m->conf.revoked(m->conf.arg, all, (size_t)m->n_parts, lost);
    free(all);
}

void ang_emb_member_leave(struct ang_log_member *base, bool stay) {
    struct ang_emb_member *m;
    struct ang_emb *emb;
    struct ang_err *er;
    bool revoke, lost;
    int32_t generation;

    if (base == NULL)
        return;
    m = member_of(base);
    emb = ang_emb_of(base->log);
    ANG_PT(pthread_mutex_lock(&emb->members_lock));
    lost = m->lost;
    revoke = m->assigned && !m->told;
    m->told = true;
    ANG_PT(pthread_mutex_unlock(&emb->members_lock));
    if (revoke)
        call_revoked(m, lost);
    ANG_PT(pthread_mutex_lock(&emb->members_lock));
    if (m->cgroup->member == m) {
        m->cgroup->member = NULL;
        /* In memory it has risen in any case, and the next join writes its own. */
        er = generation_raise(emb, m->cgroup, &generation);
        ang_err_free(&er);
    }
    ANG_PT(pthread_mutex_unlock(&emb->members_lock));
    member_free(m);
}

/* ---- polling ---- */

/* Waits until there is something to tell; @locks held: members_lock */
static void wait_news(struct ang_emb_member *m, int timeout_ms) {
    struct ang_emb *emb = ang_emb_of(m->base.log);
    int64_t until = ang_now_ms() + timeout_ms;
    struct timespec ts = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    int rc = 0;

    while (m->assigned && (!m->lost || m->told) && rc == 0 && timeout_ms > 0)
        rc = pthread_cond_timedwait(&m->cond, &emb->members_lock, &ts);
    ANG_ASSERT(rc == 0 || rc == ETIMEDOUT);
}

struct ang_err *ang_emb_member_poll(struct ang_log_member *base, int timeout_ms) {
    struct ang_emb_member *m = member_of(base);
    struct ang_emb *emb = ang_emb_of(base->log);
    bool assign = false, revoke = false, fenced;

    ANG_PT(pthread_mutex_lock(&emb->members_lock));
    if (!m->lost || !m->same_instance)
        wait_news(m, timeout_ms);
    if (m->lost) {
        revoke = m->assigned && !m->told;
        m->told = m->assigned = true; /* whoever lost before the first poll never had anything */
    } else if (!m->assigned) {
        assign = m->assigned = true;
    }
    fenced = m->lost && m->same_instance;
    ANG_PT(pthread_mutex_unlock(&emb->members_lock));
    if (assign)
        call_assigned(m);
    if (revoke)
        call_revoked(m, true);
    if (fenced)
        return (ang_err_new_cls(ANG_E_LOG_FENCED, ANG_FATAL,
                                "group %s: another member has joined as %s: give each its own worker.id", m->conf.group,
                                m->conf.instance));
    return (NULL);
}

/* ---- tokens ---- */

struct ang_err *ang_emb_member_token(struct ang_log_member *base, struct ang_log_token **ret_token) {
    struct ang_emb_member *m = member_of(base);
    struct ang_emb *emb = ang_emb_of(base->log);
    struct ang_emb_token *t;
    bool ok;

    ANG_PT(pthread_mutex_lock(&emb->members_lock));
    ok = m->assigned && !m->lost;
    ANG_PT(pthread_mutex_unlock(&emb->members_lock));
    if (!ok)
        return (ang_err_new_cls(ANG_E_LOG_ABORTED, ANG_RETRY, "group %s: not a member at the moment", m->conf.group));
    t = ANG_NEW(struct ang_emb_token);
    t->base.magic = ANG_LOG_TOKEN_MAGIC;
    t->base.ops = base->log->ops;
    t->base.generation = m->generation;
    atomic_init(&t->base.refs, 1);
    t->cgroup = m->cgroup;
    *ret_token = &t->base;
    return (NULL);
}

void ang_emb_token_free(struct ang_log_token *t) {
    ANG_CHECK(t, ANG_LOG_TOKEN_MAGIC);
    t->magic = 0;
    free(t);
}

const char *ang_emb_token_group(const struct ang_log_token *t) {
    return (((const struct ang_emb_token *)(const void *)t)->cgroup->name);
}

struct ang_err *ang_emb_token_check(const struct ang_log_token *t) {
    const struct ang_emb_cgroup *cg;
    int32_t now;

    ANG_CHECK(t, ANG_LOG_TOKEN_MAGIC);
    cg = ((const struct ang_emb_token *)(const void *)t)->cgroup;
    now = atomic_load(&cg->generation);
    if (now == t->generation)
        return (NULL);
    return (ang_err_new(ANG_E_LOG_ABORTED, "group %s: generation %d of the batch is over, it is %d now", cg->name,
                        t->generation, now));
}
