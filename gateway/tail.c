/* The tail: one reader over all partitions of all event topics. */
#include "gateway/tail.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "gateway/gateway_priv.h"

#define LINGER_MS     60000 /* after the last one has left: opening costs more than keeping it for a while */
#define REOPEN_MS     1000  /* after a partition could not be read */
#define END_MS        2000  /* for the end of one partition */
#define END_RETRY_MS  200
#define FETCH_WAIT_MS 500
#define READ_AHEAD    ((int64_t)8 << 20)
#define RECORDS_TURN  256

enum tail_state { CLOSED, OPENING, STANDS, CLOSING };

struct job { /* what its thread is told, and what comes of it */
    struct ang_op op;
    struct ang_tail *tail;
    pthread_t thread;
    struct ang_log_reader *reader; /* opened; or to be closed */
};

struct ang_tail {
    unsigned magic;
#define ANG_TAIL_MAGIC 0x7a11e001
    /* set once */
    struct ang_tail_conf conf;
    struct ang_mail *mail;
    /* any thread */
    _Atomic bool woken, stop;
    /* lock: why it is not open yet, written by the opening */
    pthread_mutex_t lock;
    pthread_cond_t cond; /* stop */
    char *why;
    /* loop */
    enum tail_state state;
    unsigned wanted;
    struct job *job; /* OPENING, CLOSING */
    struct ang_log_reader *reader;
    struct ang_rec *recs[RECORDS_TURN]; /* STANDS: from `at` on to be passed on */
    size_t n, at;
    struct ang_timer timer; /* CLOSED: to open again; STANDS: to close */
};

static void go_on(struct ang_tail *t);

static void wake(void *arg) {
    struct ang_tail *t;

    ANG_CAST(t, arg, ANG_TAIL_MAGIC);
    atomic_store(&t->woken, true);
    ang_loop_wake(t->conf.loop);
}

/* ---- its thread ---- */

static void set_why(struct ang_tail *t, const char *why) {
    ANG_PT(pthread_mutex_lock(&t->lock));
    free(t->why);
    t->why = why == NULL ? NULL : ang_strdup(why);
    ANG_PT(pthread_mutex_unlock(&t->lock));
}

/* False: it is to stop. */
static bool pause_ms(struct ang_tail *t, int64_t ms) {
    const int64_t until = ang_now_ms() + ms;
    const struct timespec ts = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    int rc = 0;

    ANG_PT(pthread_mutex_lock(&t->lock));
    while (!t->stop && rc == 0)
        rc = pthread_cond_timedwait(&t->cond, &t->lock, &ts);
    ANG_PT(pthread_mutex_unlock(&t->lock));
    return (!t->stop);
}

static struct ang_err *add_from_end(struct job *j, const struct ang_topic *topic, int32_t partition) {
    int64_t end;
    struct ang_err *er = ang_log_end(j->tail->conf.log, topic, partition, END_MS, &end);

    return (er != NULL ? er : ang_log_reader_add(j->reader, topic, partition, end));
}

/* Where a partition has no leader nobody can say where its end is: all wait until somebody can, for what is heard has no gaps. */
static bool add_all(struct job *j) {
    const struct ang_topology *topology = j->tail->conf.topology;
    size_t i;
    int32_t p;

    for (i = 0; i < ang_topology_domains(topology); i++) {
        const struct ang_domain *d = ang_topology_domain_at(topology, i);

        for (p = 0; p < d->partitions;) {
            struct ang_err *er =
                j->tail->stop ? ang_err_new(ANG_E_SHUTDOWN, "the process stops") : add_from_end(j, d->events, p);

            if (er == NULL) {
                p++;
                continue;
            }
            ANG_LOG_EVERY(5000, ANG_LOG_WARN, "TAIL-OPEN", "the end of an event topic is not known yet, trying again",
                          "topic", d->events->name, "partition", ANG_F("%d", p), "error", er->msg);
            set_why(j->tail, er->msg);
            ang_err_free(&er);
            if (!pause_ms(j->tail, END_RETRY_MS))
                return (false);
        }
    }
    return (true);
}

static void job_run(struct ang_op *op, bool shutdown);

static void *open_main(void *arg) {
    struct job *j = arg;
    struct ang_tail *t = j->tail;
    const struct ang_log_reader_conf conf = {
        .name = "tail", .wake = wake, .arg = t, .fetch_wait_ms = FETCH_WAIT_MS, .memory = READ_AHEAD};
    struct ang_err *er = NULL;

    pthread_setname_np(pthread_self(), "ang-tail");
    do {
        ang_err_free(&er);
        er = ang_log_reader_open(t->conf.log, &conf, &j->reader);
        if (er != NULL)
            set_why(t, er->msg);
    } while (er != NULL && pause_ms(t, REOPEN_MS));
    ang_err_free(&er);
    if (j->reader != NULL && add_all(j))
        set_why(t, NULL);
    ang_mail_post(t->mail, &j->op);
    return (NULL);
}

static void *close_main(void *arg) {
    struct job *j = arg;

    pthread_setname_np(pthread_self(), "ang-tail");
    ang_log_reader_close(j->reader);
    j->reader = NULL;
    ang_mail_post(j->tail->mail, &j->op);
    return (NULL);
}

static void forget(struct ang_tail *t) {
    for (; t->at < t->n; t->at++)
        ang_rec_free(&t->recs[t->at]);
}

static void job_start(struct ang_tail *t, enum tail_state state) {
    struct job *j = ANG_NEW(struct job);

    forget(t);
    ang_op_init(&j->op, job_run);
    j->tail = t;
    j->reader = t->reader;
    t->reader = NULL;
    t->job = j;
    t->state = state;
    ANG_PT(pthread_create(&j->thread, NULL, state == OPENING ? open_main : close_main, j));
}

/* shutdown: the gateway is gone as far as its mail goes, and ang_tail_close sees to the job. */
static void job_run(struct ang_op *op, bool shutdown) {
    struct job *j = ANG_CONTAINER(op, struct job, op);
    struct ang_tail *t = j->tail;

    if (shutdown)
        return;
    ANG_PT(pthread_join(j->thread, NULL));
    t->job = NULL;
    t->reader = j->reader;
    t->state = j->reader == NULL ? CLOSED : STANDS;
    free(j);
    if (t->state == STANDS) {
        atomic_store(&t->woken, true);
        ang_loop_wake(t->conf.loop);
        t->conf.stands(t->conf.arg, true);
    }
    go_on(t);
}

/* ---- the loop ---- */

static void go_on(struct ang_tail *t) {
    if (t->stop)
        return;
    switch (t->state) {
    case CLOSED:
        if (t->wanted > 0 && t->timer.slot == 0)
            job_start(t, OPENING);
        break;
    case STANDS:
        if (t->wanted == 0)
            ang_timer_set(t->conf.loop, &t->timer, ang_now_ms() + LINGER_MS);
        else
            ang_timer_cancel(t->conf.loop, &t->timer);
        break;
    case OPENING:
    case CLOSING:
        break;
    }
}

static void timed(struct ang_timer *timer) {
    struct ang_tail *t = ANG_CONTAINER(timer, struct ang_tail, timer);

    if (t->state == STANDS && t->wanted == 0) {
        t->conf.stands(t->conf.arg, false);
        job_start(t, CLOSING);
    }
    go_on(t);
}

static void broken(struct ang_tail *t, struct ang_err *er) {
    ANG_LOG_EVERY(5000, ANG_LOG_WARN, "TAIL-BROKEN", "events cannot be read as they come, reading from the end again",
                  "error", er->msg);
    set_why(t, er->msg);
    ang_err_free(&er);
    job_start(t, CLOSING);
    ang_timer_set(t->conf.loop, &t->timer, ang_now_ms() + REOPEN_MS);
    t->conf.stands(t->conf.arg, false);
}

static const struct ang_domain *domain_of(const struct ang_tail *t, const struct ang_topic *topic) {
    size_t i;

    for (i = 0; i < ang_topology_domains(t->conf.topology); i++)
        if (ang_topology_domain_at(t->conf.topology, i)->events == topic)
            return (ang_topology_domain_at(t->conf.topology, i));
    ang_panic(__FILE__, __LINE__, __func__, "a record of a topic that was not asked for");
}

/* False: there is more, but not now. */
static bool pass_on(struct ang_tail *t) {
    for (; t->at < t->n; t->at++) {
        const struct ang_rec *rec = t->recs[t->at];

        if (t->wanted > 0 && t->conf.waits(t->conf.arg))
            return (false);
        if (t->wanted > 0)
            t->conf.record(t->conf.arg, domain_of(t, rec->topic), rec);
        ang_rec_free(&t->recs[t->at]);
    }
    return (true);
}

void ang_tail_turn(struct ang_tail *t) {
    struct ang_err *er;

    if (t->state != STANDS || !pass_on(t) || !atomic_load_explicit(&t->woken, memory_order_relaxed) ||
        !atomic_exchange(&t->woken, false))
        return;
    er = ang_log_reader_poll(t->reader, t->recs, RECORDS_TURN, 0, &t->n);
    t->at = 0;
    if (er != NULL) {
        t->n = 0;
        broken(t, er);
        return;
    }
    if (t->n == RECORDS_TURN)
        wake(t);
    (void)pass_on(t);
}

bool ang_tail_at_end(const struct ang_tail *t) {
    return (t->at == t->n && !atomic_load_explicit(&t->woken, memory_order_relaxed));
}

struct ang_tail *ang_tail_new(const struct ang_tail_conf *conf) {
    struct ang_tail *t = ANG_NEW(struct ang_tail);
    pthread_condattr_t attr;

    t->magic = ANG_TAIL_MAGIC;
    t->conf = *conf;
    t->mail = conf->mail;
    ANG_PT(pthread_mutex_init(&t->lock, NULL));
    ANG_PT(pthread_condattr_init(&attr));
    ANG_PT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    ANG_PT(pthread_cond_init(&t->cond, &attr));
    ANG_PT(pthread_condattr_destroy(&attr));
    ang_timer_init(&t->timer, timed);
    return (t);
}

void ang_tail_close(struct ang_tail *t) {
    struct job *j;

    if (t == NULL)
        return;
    ANG_CHECK(t, ANG_TAIL_MAGIC);
    ANG_PT(pthread_mutex_lock(&t->lock));
    atomic_store(&t->stop, true);
    ANG_PT(pthread_cond_broadcast(&t->cond));
    ANG_PT(pthread_mutex_unlock(&t->lock));
    ang_timer_cancel(t->conf.loop, &t->timer);
    j = t->job;
    t->job = NULL;
    if (j != NULL) {
        ANG_PT(pthread_join(j->thread, NULL));
        ang_log_reader_close(j->reader);
        free(j);
    }
    forget(t);
    ang_log_reader_close(t->reader);
    t->reader = NULL;
    t->state = CLOSED;
}

void ang_tail_free(struct ang_tail *t) {
    if (t == NULL)
        return;
    ANG_CHECK(t, ANG_TAIL_MAGIC);
    AZ(t->reader);
    AZ(t->job);
    ANG_PT(pthread_cond_destroy(&t->cond));
    ANG_PT(pthread_mutex_destroy(&t->lock));
    free(t->why);
    t->magic = 0;
    free(t);
}

void ang_tail_want(struct ang_tail *t) {
    t->wanted++;
    go_on(t);
}

void ang_tail_unwant(struct ang_tail *t) {
    AN(t->wanted);
    t->wanted--;
    go_on(t);
}

bool ang_tail_stands(const struct ang_tail *t) {
    return (t->state == STANDS);
}

void ang_tail_describe(const struct ang_tail *t, struct ang_buf *b) {
    struct ang_tail *lockable;

    memcpy(&lockable, &t, sizeof lockable); /* only its lock is written */
    ANG_PT(pthread_mutex_lock(&lockable->lock));
    ang_buf_add_str(b, t->why == NULL ? "the ends of the event topics" : t->why);
    ANG_PT(pthread_mutex_unlock(&lockable->lock));
}
