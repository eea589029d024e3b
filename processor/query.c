/* GetEventBook and GetEvents, on the query thread.  They read the store, which holds what was answered before they came (the lane
 * applies before it answers). */
#include <stdlib.h>

#include "processor/lane_priv.h"
#include "proto/select.h"
#include "topology/check.h"

#define DEFAULT_DEADLINE_MS 30000
#define SEND_LOW            (256 << 10)

struct query {
    struct asked a;
    struct ang_rpc *rpc;
    bool stream;
    struct ang_select sel; /* borrows the request */
    const struct ang_domain *domain; /* NULL: all */
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

static void query_free(struct query *q) {
    ang_select_fini(&q->sel);
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

    if (ang_select_past(&c->q->sel, sb->first))
        return (false);
    c->er = ang_wire_parse_event_book(sb->book, &book);
    if (c->er != NULL)
        return (false);
    ang_select_add(&c->q->sel, &book, &c->pages);
    c->too_big = c->pages.n > c->max;
    return (!c->too_big);
}

static struct ang_root root_of(const struct query *q) {
    struct ang_root r = {.edition = q->sel.q.cover.edition};

    memcpy(r.id, q->sel.q.cover.root.p, 16);
    return (r);
}

/* False: whether it may be answered is not sure at the moment. */
static bool one_book(struct query *q, const struct shard *sh) {
    struct collect c = {.q = q, .max = (size_t)worker_conf(q->a.worker)->settings->limits.message};
    const struct ang_root root = root_of(q);
    struct ang_buf head = {NULL, 0, 0}, tail = {NULL, 0, 0};
    struct ang_slice parts[3];
    uint32_t next = 0;
    struct ang_err *er;
    bool sure;

    er = ang_store_next_sequence(sh->store, &root, &next);
    if (er == NULL && next > 0)
        er = ang_store_books(sh->store, &root, ang_select_first(&q->sel), collect_book, &c);
    if (er == NULL)
        er = c.er;
    ang_wire_put_bytes(&head, 1, q->sel.q.cover.raw);
    ang_wire_put_uint(&tail, 6, next);
    parts[0] = ang_buf_slice(&head);
    parts[1] = ang_buf_slice(&c.pages);
    parts[2] = ang_buf_slice(&tail);
    sure = shard_leased(sh) && !shard_damaged(sh, q->partition, er);
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
    if (q->sel.q.cover.root.n == 0 && !ang_slice_eq(book.cover.correlation_id, q->sel.q.cover.correlation_id))
        return (NULL);
    ang_wire_put_bytes(out, 1, book.cover.raw);
    before = out->n;
    ang_select_add(&q->sel, &book, out);
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

    if (ang_select_past(&q->sel, sb->first))
        return (false);
    wk->er = record_book(q, sb, wk->next, &out, &empty);
    part = ang_buf_slice(&out);
    if (wk->er != NULL) {
        wk->state = WALK_FAILED;
    } else if (!shard_leased(wk->sh)) {
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
        *er = ang_store_books(sh->store, root, q->from > ang_select_first(&q->sel) ? q->from : ang_select_first(&q->sel), walk_book, &wk);
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

    if (q->sel.q.cover.root.n == 16) {
        root = root_of(q);
        state = walk_root(q, sh, &root, er);
        return (state == WALK_ON && !shard_leased(sh) ? WALK_UNSURE : state);
    }
    if (q->roots.n == 0) {
        *er = ang_store_by_correlation(sh->store, q->sel.q.cover.correlation_id, NULL, note_root, q);
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
    return (state == WALK_ON && !shard_leased(sh) ? WALK_UNSURE : state);
}

/* ---- going round ---- */
static void finish_walk(struct query *q) {
    struct ang_buf b = {NULL, 0, 0};
    struct ang_slice part;

    if (q->stream) {
        ang_rpc_end(q->rpc);
    } else { /* nothing matched: an empty book */
        ang_wire_put_bytes(&b, 1, q->sel.q.cover.raw);
        ang_wire_put_uint(&b, 6, 0);
        part = ang_buf_slice(&b);
        ang_rpc_reply(q->rpc, &part, 1);
        ang_buf_fini(&b);
    }
    query_free(q);
}

/* The part the query stands at; false: there is none any more. */
static bool where(const struct query *q, const struct ang_domain **ret_d, int32_t *ret_p) {
    const struct ang_topology *t = worker_conf(q->a.worker)->topology;

    if (q->sel.q.cover.root.n == 16) {
        *ret_d = q->domain;
        *ret_p = ang_partition_of_root(q->sel.q.cover.root.p, q->domain->partitions);
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
    if (q->sel.q.cover.root.n == 16 || ++q->partition_at >= d->partitions) {
        q->domain_at++;
        q->partition_at = 0;
    }
}

/* Reads what can be read now. */
static void step(struct asked *a) {
    struct query *q = ANG_CONTAINER(a, struct query, a);
    const struct ang_domain *d;
    struct ang_err *er = NULL;
    enum walk state = WALK_ON;
    int32_t p;

    while (where(q, &d, &p)) {
        struct shard *sh = worker_shard(q->a.worker, d, p);
        enum shard_state ss;

        q->partition = p;
        ANG_PT(pthread_rwlock_rdlock(&sh->lock));
        ss = sh->state;
        if (ss == SHARD_SERVING && q->sel.q.cover.root.n == 16 && !q->stream) {
            if (!one_book(q, sh))
                queries_await_part(&q->a, d, p, SHARD_COMING);
            ANG_PT(pthread_rwlock_unlock(&sh->lock));
            return;
        }
        if (ss == SHARD_SERVING)
            state = walk_part(q, sh, &er);
        if (state == WALK_FAILED)
            (void)shard_damaged(sh, q->partition, er);
        ANG_PT(pthread_rwlock_unlock(&sh->lock));
        if (ss == SHARD_AWAY && q->sel.q.cover.root.n != 16 && worker_conf(q->a.worker)->endpoint[0] != '\0') {
            step_on(q, d); /* another worker's: the gateway asks all of them */
            continue;
        }
        if (ss != SHARD_SERVING || state == WALK_UNSURE) {
            queries_await_part(&q->a, d, p, ss == SHARD_SERVING ? SHARD_COMING : ss);
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
        queries_await_caller(&q->a);
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

static void refuse(struct asked *a, struct ang_status *st) {
    fail(ANG_CONTAINER(a, struct query, a), st);
}

static bool may_go_on(struct asked *a) {
    return (ang_rpc_queued(ANG_CONTAINER(a, struct query, a)->rpc) <= SEND_LOW);
}

void ang_worker_query(struct ang_worker *w, struct ang_rpc *rpc, bool stream) {
    struct query *q = ANG_NEW(struct query);
    struct ang_wire_query wq;
    const int64_t most = ang_now_ms() + DEFAULT_DEADLINE_MS, deadline = ang_rpc_deadline(rpc);
    struct ang_status *st;
    struct ang_err *er;

    q->a = (struct asked){
        .magic = ASKED_MAGIC, .worker = w, .step = step, .refuse = refuse, .may_go_on = may_go_on, .until_ms = deadline < most ? deadline : most};
    q->rpc = rpc;
    q->stream = stream;
    er = ang_wire_parse_query(ang_rpc_request(rpc), &wq);
    if (er != NULL) {
        fail_err(q, er);
        return;
    }
    st = ang_check_query(worker_conf(w)->topology, &wq, &q->domain);
    if (st != NULL) {
        fail(q, st);
        return;
    }
    ang_select_init(&q->sel, &wq);
    queries_ask(w, &q->a);
}
