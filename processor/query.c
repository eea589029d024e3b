/* Queries, on a thread of their own: large reads do not delay commands.  They read the store, which holds what was answered
 * before they came (the lane applies before it answers).
 *
 * A query is one op that goes round: it runs, and either ends its rpc, or waits for its partition to serve, or (a stream)
 * for the caller to take what was sent. */
#include <stdlib.h>

#include "processor/lane_priv.h"
#include "topology/check.h"

#define DEFAULT_DEADLINE_MS 30000
#define SEND_LOW (256 << 10)
#define FULL_POLL_MS 3
#define WAIT_POLL_MS 100

struct query {
    struct ang_op op;
    struct queries *qs;
    TAILQ_ENTRY(query) link; /* qs->waiting, qs->full */
    struct ang_rpc *rpc;
    bool stream;
    struct ang_wire_query q; /* borrows the request */
    const struct ang_domain *domain; /* NULL: all */
    int64_t until_ms;
    uint32_t *set; /* sequences asked for, sorted */
    size_t n_set;
    /* where a stream stands */
    size_t domain_at;
    int32_t partition; /* that is being read */
    int32_t partition_at;
    struct ang_buf roots; /* of this partition: struct ang_root, editions in `names` */
    struct ang_buf names;
    size_t root_at;
    uint32_t from;
    bool any;
};

struct queries {
    unsigned magic;
#define QUERIES_MAGIC 0x90e71e51
    struct ang_worker *worker;
    struct ang_opq q;
    pthread_t thread;
    bool stop; /* thread */
    TAILQ_HEAD(, query) waiting; /* for their partition */
    TAILQ_HEAD(, query) full;    /* for their caller to read */
    struct ang_op look;
    _Atomic bool looking;
};

static void query_free(struct query *q) {
    free(q->set);
    ang_buf_fini(&q->roots);
    ang_buf_fini(&q->names);
    free(q);
}

static void fail(struct query *q, struct ang_status *st) {
    ang_rpc_fail(q->rpc, &st);
    query_free(q);
}

static void fail_err(struct query *q, struct ang_err *er) {
    fail(q, ang_status_from_err(&er));
}

/* ---- what is asked for ---- */
static bool selected(const struct query *q, const struct ang_wire_event_page *page) {
    const struct ang_wire_query *w = &q->q;
    size_t lo = 0, hi = q->n_set;

    switch (w->selection) {
    case ANG_SELECT_ALL:
        return (true);
    case ANG_SELECT_RANGE:
        return (page->num >= w->lower && (!w->has_upper || page->num <= w->upper));
    case ANG_SELECT_SEQUENCES:
        while (lo < hi) {
            const size_t mid = (lo + hi) / 2;

            if (q->set[mid] < page->num)
                lo = mid + 1;
            else
                hi = mid;
        }
        return (lo < q->n_set && q->set[lo] == page->num);
    case ANG_SELECT_TEMPORAL:
        if (w->temporal.moment == ANG_MOMENT_SEQUENCE)
            return (page->num <= w->temporal.as_of_sequence);
        return (page->created_at.seconds < w->temporal.as_of_time.seconds ||
                (page->created_at.seconds == w->temporal.as_of_time.seconds &&
                 page->created_at.nanos <= w->temporal.as_of_time.nanos));
    }
    return (false);
}

static uint32_t first_wanted(const struct query *q) {
    if (q->q.selection == ANG_SELECT_RANGE)
        return (q->q.lower);
    if (q->q.selection == ANG_SELECT_SEQUENCES)
        return (q->n_set > 0 ? q->set[0] : 0);
    return (0);
}

static bool past_wanted(const struct query *q, uint32_t seq) {
    switch (q->q.selection) {
    case ANG_SELECT_RANGE:
        return (q->q.has_upper && seq > q->q.upper);
    case ANG_SELECT_SEQUENCES:
        return (q->n_set == 0 || seq > q->set[q->n_set - 1]);
    case ANG_SELECT_TEMPORAL:
        return (q->q.temporal.moment == ANG_MOMENT_SEQUENCE && seq > q->q.temporal.as_of_sequence);
    case ANG_SELECT_ALL:
        break;
    }
    return (false);
}

static void add_selected(const struct query *q, const struct ang_wire_event_book *book, struct ang_buf *out) {
    struct ang_wire_iter it = ang_wire_iter_of(book->pages);
    struct ang_wire_event_page page;

    if (q->q.selection == ANG_SELECT_ALL && book->pages_alone) {
        ang_buf_add_slice(out, book->pages);
        return;
    }
    while (ang_wire_event_pages_next(&it, &page))
        if (selected(q, &page))
            ang_wire_put_bytes(out, 3, page.raw);
}

static int by_number(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return ((x > y) - (x < y));
}

static void sequences(struct query *q) {
    struct ang_wire_sequences s;
    uint32_t v;

    if (q->q.selection != ANG_SELECT_SEQUENCES)
        return;
    q->set = ang_calloc(q->q.n_sequences + 1, sizeof *q->set);
    s = ang_wire_sequences_of(&q->q);
    while (ang_wire_sequences_next(&s, &v))
        q->set[q->n_set++] = v;
    qsort(q->set, q->n_set, sizeof *q->set, by_number);
}

/* ---- one aggregate, one answer ---- */
struct collect {
    const struct query *q;
    struct ang_buf pages;
    size_t max;
    bool too_big;
    struct ang_err *er;
};

static bool collect_book(void *arg, const struct ang_store_book *sb) {
    struct collect *c = arg;
    struct ang_wire_event_book book;

    if (past_wanted(c->q, sb->first))
        return (false);
    c->er = ang_wire_parse_event_book(sb->book, &book);
    if (c->er != NULL)
        return (false);
    add_selected(c->q, &book, &c->pages);
    c->too_big = c->pages.n > c->max;
    return (!c->too_big);
}

static struct ang_root root_of(const struct query *q) {
    struct ang_root r = {.edition = q->q.cover.edition};

    memcpy(r.id, q->q.cover.root.p, 16);
    return (r);
}

/* The owner may still think it is one while another serves already: only until its lease is over, which is asked after the read. */
static bool leased(const struct shard *sh) {
    return (sh->holder != NULL && ang_boot_ms() < atomic_load(&sh->holder->lease_ms));
}

/* The store cannot be read: its lane rebuilds it, and then it can (lane.md L19). */
static bool damaged(const struct shard *sh, const struct query *q, const struct ang_err *er) {
    if (er == NULL || (er->code != ANG_E_STORE_CORRUPT && er->code != ANG_E_STORE_IO))
        return (false);
    lane_store_doubted(sh->holder, q->partition, er);
    return (true);
}

/* False: whether it may be answered is not sure at the moment. */
static bool one_book(struct query *q, const struct shard *sh) {
    struct collect c = {.q = q, .max = (size_t)worker_conf(q->qs->worker)->settings->limits.message};
    const struct ang_root root = root_of(q);
    struct ang_buf head = {NULL, 0, 0}, tail = {NULL, 0, 0};
    struct ang_slice parts[3];
    uint32_t next = 0;
    struct ang_err *er;
    bool sure;

    er = ang_store_next_sequence(sh->store, &root, &next);
    if (er == NULL && next > 0)
        er = ang_store_books(sh->store, &root, first_wanted(q), collect_book, &c);
    if (er == NULL)
        er = c.er;
    ang_wire_put_bytes(&head, 1, q->q.cover.raw);
    ang_wire_put_uint(&tail, 6, next);
    parts[0] = ang_buf_slice(&head);
    parts[1] = ang_buf_slice(&c.pages);
    parts[2] = ang_buf_slice(&tail);
    sure = leased(sh) && !damaged(sh, q, er);
    if (!sure) {
        ang_err_free(&er);
    } else if (er != NULL) {
        fail_err(q, er);
    } else if (c.too_big || head.n + c.pages.n + tail.n > c.max) {
        fail(q, ang_status_new(ANG_RESOURCE_EXHAUSTED,
                               "the book is larger than limits.message (%zu bytes): use GetEvents, which streams it", c.max));
    } else {
        ang_rpc_reply(q->rpc, parts, ANG_COUNT(parts));
        query_free(q);
    }
    ang_buf_fini(&head);
    ang_buf_fini(&tail);
    ang_buf_fini(&c.pages);
    return (sure);
}

/* ---- stored records, one after the other ---- */
enum walk { WALK_ON, WALK_FULL, WALK_GONE, WALK_ENDED, WALK_FAILED, WALK_UNSURE };

struct walking {
    struct query *q;
    const struct shard *sh;
    uint32_t next; /* of the aggregate */
    enum walk state;
    struct ang_err *er;
};

/* EventBook{cover, selected pages, next_sequence} of a stored record; *ret_empty: nothing of it is asked for. */
static struct ang_err *record_book(const struct query *q, const struct ang_store_book *sb, uint32_t next, struct ang_buf *out,
                                   bool *ret_empty) {
    struct ang_wire_event_book book;
    struct ang_err *er = ang_wire_parse_event_book(sb->book, &book);
    size_t before;

    *ret_empty = true;
    if (er != NULL)
        return (er);
    if (q->q.cover.root.n == 0 && !ang_slice_eq(book.cover.correlation_id, q->q.cover.correlation_id))
        return (NULL);
    ang_wire_put_bytes(out, 1, book.cover.raw);
    before = out->n;
    add_selected(q, &book, out);
    *ret_empty = out->n == before;
    ang_wire_put_uint(out, 6, next);
    return (NULL);
}

static bool walk_book(void *arg, const struct ang_store_book *sb) {
    struct walking *wk = arg;
    struct query *q = wk->q;
    struct ang_buf out = {NULL, 0, 0};
    struct ang_slice part;
    bool empty;

    if (past_wanted(q, sb->first))
        return (false);
    wk->er = record_book(q, sb, wk->next, &out, &empty);
    part = ang_buf_slice(&out);
    if (wk->er != NULL) {
        wk->state = WALK_FAILED;
    } else if (!leased(wk->sh)) {
        wk->state = WALK_UNSURE;
    } else if (!empty && q->stream && !ang_rpc_send(q->rpc, &part, 1)) {
        wk->state = ang_rpc_queued(q->rpc) == 0 ? WALK_GONE : WALK_FULL; /* nothing queued: there is nobody any more */
    } else if (!empty && !q->stream) {
        ang_rpc_reply(q->rpc, &part, 1);
        wk->state = WALK_ENDED;
    }
    if (wk->state == WALK_ON)
        q->from = sb->first + sb->pages;
    q->any |= !empty && wk->state == WALK_ON;
    ang_buf_fini(&out);
    return (wk->state == WALK_ON);
}

static enum walk walk_root(struct query *q, const struct shard *sh, const struct ang_root *root, struct ang_err **er) {
    struct walking wk = {.q = q, .sh = sh, .state = WALK_ON};

    *er = ang_store_next_sequence(sh->store, root, &wk.next);
    if (*er == NULL)
        *er = ang_store_books(sh->store, root, q->from > first_wanted(q) ? q->from : first_wanted(q), walk_book, &wk);
    if (*er == NULL)
        *er = wk.er;
    return (*er != NULL ? WALK_FAILED : wk.state);
}

static bool note_root(void *arg, const struct ang_root *root) {
    struct query *q = arg;
    struct ang_root copy = *root;

    copy.edition = ang_slice_of((const void *)(uintptr_t)q->names.n, root->edition.n); /* an offset until all are there */
    ang_buf_add_slice(&q->names, root->edition);
    ang_buf_add(&q->roots, &copy, sizeof copy);
    return (true);
}

static struct ang_root noted_root(const struct query *q) {
    struct ang_root r;

    memcpy(&r, q->roots.p + q->root_at * sizeof r, sizeof r);
    r.edition.p = r.edition.n == 0 ? NULL : q->names.p + (uintptr_t)r.edition.p;
    return (r);
}

static enum walk walk_part(struct query *q, const struct shard *sh, struct ang_err **er) {
    enum walk state = WALK_ON;
    struct ang_root root;

    if (q->q.cover.root.n == 16) {
        root = root_of(q);
        state = walk_root(q, sh, &root, er);
        return (state == WALK_ON && !leased(sh) ? WALK_UNSURE : state);
    }
    if (q->roots.n == 0) {
        *er = ang_store_by_correlation(sh->store, q->q.cover.correlation_id, note_root, q);
        if (*er != NULL)
            return (WALK_FAILED);
    }
    while (state == WALK_ON && q->root_at < q->roots.n / sizeof root) {
        root = noted_root(q);
        state = walk_root(q, sh, &root, er);
        if (state == WALK_ON) {
            q->root_at++;
            q->from = 0;
        }
    }
    return (state == WALK_ON && !leased(sh) ? WALK_UNSURE : state);
}

/* ---- going round ---- */
static void query_run(struct ang_op *op, bool shutdown);

static void push(struct query *q) {
    ang_op_init(&q->op, query_run);
    ang_opq_push(&q->qs->q, &q->op);
}

static void wait_for_part(struct query *q, const struct ang_domain *d, int32_t partition, enum shard_state state) {
    const bool only = worker_conf(q->qs->worker)->endpoint[0] == '\0'; /* nobody else could serve it */

    if (state == SHARD_AWAY && !only)
        fail(q, ang_status_new(ANG_UNAVAILABLE, "%s partition %d is not served here", d->name, partition));
    else if (ang_now_ms() >= q->until_ms)
        fail(q, ang_status_new(ANG_UNAVAILABLE, "%s partition %d is still being taken over", d->name, partition));
    else
        TAILQ_INSERT_TAIL(&q->qs->waiting, q, link);
}

static void finish_walk(struct query *q) {
    struct ang_buf b = {NULL, 0, 0};
    struct ang_slice part;

    if (q->stream) {
        ang_rpc_end(q->rpc);
    } else { /* nothing matched: an empty book */
        ang_wire_put_bytes(&b, 1, q->q.cover.raw);
        ang_wire_put_uint(&b, 6, 0);
        part = ang_buf_slice(&b);
        ang_rpc_reply(q->rpc, &part, 1);
        ang_buf_fini(&b);
    }
    query_free(q);
}

/* The part the query stands at; false: there is none any more. */
static bool where(const struct query *q, const struct ang_domain **ret_d, int32_t *ret_p) {
    const struct ang_topology *t = worker_conf(q->qs->worker)->topology;

    if (q->q.cover.root.n == 16) {
        *ret_d = q->domain;
        *ret_p = ang_partition_of_root(q->q.cover.root.p, q->domain->partitions);
        return (q->domain_at == 0);
    }
    if (q->domain_at >= (q->domain != NULL ? 1 : ang_topology_domains(t)))
        return (false);
    *ret_d = q->domain != NULL ? q->domain : ang_topology_domain_at(t, q->domain_at);
    *ret_p = q->partition_at;
    return (true);
}

static void step_on(struct query *q, const struct ang_domain *d) {
    ang_buf_clear(&q->roots);
    ang_buf_clear(&q->names);
    q->root_at = 0;
    q->from = 0;
    if (q->q.cover.root.n == 16 || ++q->partition_at >= d->partitions) {
        q->domain_at++;
        q->partition_at = 0;
    }
}

/* Reads what can be read now. */
static void query_step(struct query *q) {
    const struct ang_domain *d;
    struct ang_err *er = NULL;
    enum walk state = WALK_ON;
    int32_t p;

    while (where(q, &d, &p)) {
        struct shard *sh = worker_shard(q->qs->worker, d, p);
        enum shard_state ss;

        q->partition = p;
        ANG_PT(pthread_rwlock_rdlock(&sh->lock));
        ss = sh->state;
        if (ss == SHARD_SERVING && q->q.cover.root.n == 16 && !q->stream) {
            if (!one_book(q, sh))
                wait_for_part(q, d, p, SHARD_COMING);
            ANG_PT(pthread_rwlock_unlock(&sh->lock));
            return;
        }
        if (ss == SHARD_SERVING)
            state = walk_part(q, sh, &er);
        if (state == WALK_FAILED)
            (void)damaged(sh, q, er);
        ANG_PT(pthread_rwlock_unlock(&sh->lock));
        if (ss == SHARD_AWAY && q->q.cover.root.n != 16 && worker_conf(q->qs->worker)->endpoint[0] != '\0') {
            step_on(q, d); /* another worker's: the gateway asks all of them */
            continue;
        }
        if (ss != SHARD_SERVING || state == WALK_UNSURE) {
            wait_for_part(q, d, p, ss == SHARD_SERVING ? SHARD_COMING : ss);
            return;
        }
        if (state != WALK_ON)
            break;
        step_on(q, d);
    }
    switch (state) {
    case WALK_ON:
        finish_walk(q);
        return;
    case WALK_FULL:
        TAILQ_INSERT_TAIL(&q->qs->full, q, link);
        return;
    case WALK_GONE:
        fail(q, ang_status_new(ANG_CANCELLED, "the caller is gone"));
        return;
    case WALK_ENDED:
        query_free(q);
        return;
    case WALK_FAILED:
        fail_err(q, er);
        return;
    case WALK_UNSURE:
        break; /* waits already */
    }
}

static void query_run(struct ang_op *op, bool shutdown) {
    struct query *q = ANG_CONTAINER(op, struct query, op);

    if (shutdown || q->qs->stop)
        fail(q, ang_status_new(ANG_UNAVAILABLE, "the worker is stopping"));
    else
        query_step(q);
}

void ang_worker_query(struct ang_worker *w, struct ang_rpc *rpc, bool stream) {
    struct query *q = ANG_NEW(struct query);
    const int64_t most = ang_now_ms() + DEFAULT_DEADLINE_MS, deadline = ang_rpc_deadline(rpc);
    struct ang_status *st;
    struct ang_err *er;

    q->qs = worker_queries(w);
    q->rpc = rpc;
    q->stream = stream;
    q->until_ms = deadline < most ? deadline : most;
    er = ang_wire_parse_query(ang_rpc_request(rpc), &q->q);
    if (er != NULL) {
        fail_err(q, er);
        return;
    }
    st = ang_check_query(worker_conf(q->qs->worker)->topology, &q->q, &q->domain);
    if (st != NULL) {
        fail(q, st);
        return;
    }
    sequences(q);
    push(q);
}

/* ---- the thread ---- */
static void look_run(struct ang_op *op, bool shutdown) {
    struct queries *qs = ANG_CONTAINER(op, struct queries, look);
    TAILQ_HEAD(, query) all;
    struct query *q;

    atomic_store(&qs->looking, false);
    TAILQ_INIT(&all);
    TAILQ_CONCAT(&all, &qs->waiting, link);
    while ((q = TAILQ_FIRST(&all)) != NULL) {
        TAILQ_REMOVE(&all, q, link);
        query_run(&q->op, shutdown);
    }
}

void queries_look(struct queries *qs) {
    if (!atomic_exchange(&qs->looking, true)) {
        ang_op_init(&qs->look, look_run);
        ang_opq_push(&qs->q, &qs->look);
    }
}

/* Streams whose caller has read on, or has gone.  Polled: a callback on the server's thread could meet a query that just ends. */
static void go_on(struct queries *qs) {
    struct query *q, *next;

    for (q = TAILQ_FIRST(&qs->full); q != NULL; q = next) {
        next = TAILQ_NEXT(q, link);
        if (ang_rpc_queued(q->rpc) > SEND_LOW)
            continue;
        TAILQ_REMOVE(&qs->full, q, link);
        query_run(&q->op, false);
    }
}

static int64_t next_look(const struct queries *qs) {
    if (!TAILQ_EMPTY(&qs->full))
        return (ang_now_ms() + FULL_POLL_MS);
    return (TAILQ_EMPTY(&qs->waiting) ? ANG_NEVER : ang_now_ms() + WAIT_POLL_MS);
}

static void *queries_main(void *arg) {
    struct queries *qs = arg;

    pthread_setname_np(pthread_self(), "ang-query");
    while (!qs->stop) {
        if (!ang_opq_wait(&qs->q, next_look(qs)) && !TAILQ_EMPTY(&qs->waiting))
            queries_look(qs); /* deadlines of those that wait */
        (void)ang_opq_run(&qs->q);
        go_on(qs);
    }
    return (NULL);
}

struct queries *queries_new(struct ang_worker *w) {
    struct queries *qs = ANG_NEW(struct queries);

    qs->magic = QUERIES_MAGIC;
    qs->worker = w;
    TAILQ_INIT(&qs->waiting);
    TAILQ_INIT(&qs->full);
    ang_opq_init(&qs->q, NULL, NULL);
    ANG_PT(pthread_create(&qs->thread, NULL, queries_main, qs));
    return (qs);
}

struct stop {
    struct ang_op op;
    struct queries *qs;
};

static void stop_run(struct ang_op *op, bool shutdown) {
    struct queries *qs = ANG_CONTAINER(op, struct stop, op)->qs;

    qs->stop = true;
    TAILQ_CONCAT(&qs->waiting, &qs->full, link);
    look_run(&qs->look, true);
    (void)shutdown;
}

void queries_stop(struct queries *qs) {
    struct stop s = {.qs = qs};

    if (qs == NULL)
        return;
    ANG_CHECK(qs, QUERIES_MAGIC);
    ang_op_init(&s.op, stop_run);
    ang_opq_push(&qs->q, &s.op);
    ANG_PT(pthread_join(qs->thread, NULL));
    ang_opq_close(&qs->q); /* what still comes is told at once that it is over */
}

void queries_free(struct queries *qs) {
    if (qs == NULL)
        return;
    ANG_CHECK(qs, QUERIES_MAGIC);
    ang_opq_fini(&qs->q);
    qs->magic = 0;
    free(qs);
}
