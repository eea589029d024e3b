/* Pages: what a partition holds, a bounded part at a time, on the query thread.  Nothing stays open between two pages, neither here nor
 * with a worker that has lost the partition meanwhile. */
#include <stdlib.h>

#include "angzarr/ext/worker.pb-c.h"
#include "processor/lane_priv.h"
#include "proto/select.h"
#include "topology/check.h"

#define PAGE_BYTES   ((size_t)64 << 10) /* a page ends with the item that reaches it */
#define PAGE_ITEMS   1000
#define PAGE_VISITED 4000 /* records looked at, selected or not */

enum page_kind { PAGE_ROOTS, PAGE_OF_ROOT, PAGE_OF_CORRELATION };

struct page {
    struct asked a;
    struct ang_paging *pg;
    Angzarr__Ext__PageRequest *req;
    enum page_kind kind;
    const struct ang_domain *domain;
    int32_t partition;
    struct ang_select sel; /* borrows req */
    bool has_from;
    uint8_t from_root[16];
    struct ang_slice from_edition;
    uint32_t from_sequence;
    /* of one reading */
    const struct shard *sh;
    struct ang_buf out, item;
    size_t items, visited;
    struct ang_root root; /* whose books are walked */
    uint32_t next;        /* its next sequence */
    uint32_t at;          /* read up to here */
    bool more;
    struct ang_buf edition; /* of the root where the page ends */
    struct ang_err *er;
};

static void page_end(struct page *p, struct ang_status *st) {
    p->pg->done(p->pg, ang_buf_slice(&p->out), st);
    if (p->req != NULL)
        angzarr__ext__page_request__free_unpacked(p->req, NULL);
    ang_select_fini(&p->sel);
    ang_buf_fini(&p->out);
    ang_buf_fini(&p->item);
    ang_buf_fini(&p->edition);
    free(p);
}

static void refuse(struct asked *a, struct ang_status *st) {
    page_end(ANG_CONTAINER(a, struct page, a), st);
}

/* ---- reading ---- */

static void add_item(struct page *p) {
    ang_wire_put_bytes(&p->out, 1, ang_buf_slice(&p->item));
    p->items++;
}

static bool full(const struct page *p) {
    return (p->out.n >= PAGE_BYTES || p->items >= PAGE_ITEMS || p->visited >= PAGE_VISITED);
}

static bool see_root(void *arg, const struct ang_root *root) {
    struct page *p = arg;
    struct ang_buf id = {NULL, 0, 0};

    if (full(p)) {
        p->more = true;
        return (false);
    }
    p->visited++;
    ang_buf_clear(&p->item);
    ang_wire_put_str(&p->item, 1, p->domain->name);
    ang_wire_put_bytes(&id, 1, ang_slice_of(root->id, 16));
    ang_wire_put_bytes(&p->item, 2, ang_buf_slice(&id));
    ang_buf_fini(&id);
    add_item(p);
    memcpy(p->root.id, root->id, 16);
    return (true);
}

/* What the record has of what is asked for, as a book. */
static bool see_book(void *arg, const struct ang_store_book *sb) {
    struct page *p = arg;
    struct ang_wire_event_book book;
    size_t before;

    if (ang_select_past(&p->sel, sb->first))
        return (false);
    if (full(p)) {
        p->more = true;
        return (false);
    }
    p->visited++;
    p->er = ang_wire_parse_event_book(sb->book, &book);
    if (p->er != NULL)
        return (false);
    p->at = sb->first + sb->pages;
    if (p->kind == PAGE_OF_CORRELATION && !ang_slice_eq(book.cover.correlation_id, p->sel.q.cover.correlation_id))
        return (true);
    ang_buf_clear(&p->item);
    ang_wire_put_bytes(&p->item, 1, book.cover.raw);
    before = p->item.n;
    ang_select_add(&p->sel, &book, &p->item);
    if (p->item.n == before)
        return (true);
    ang_wire_put_uint(&p->item, 6, p->next > p->at ? p->next : p->at);
    add_item(p);
    return (true);
}

static bool read_root(struct page *p, uint32_t from) {
    const uint32_t first = ang_select_first(&p->sel);
    struct ang_err *er = ang_store_next_sequence(p->sh->store, &p->root, &p->next);

    p->at = from;
    if (er == NULL && p->next > from)
        er = ang_store_books(p->sh->store, &p->root, from > first ? from : first, see_book, p);
    if (er != NULL) {
        ang_err_free(&p->er);
        p->er = er;
    }
    /* Nothing was left out for want of room: all there is has been read, selected or not. */
    if (!p->more && p->next > p->at)
        p->at = p->next;
    return (p->er == NULL && !p->more);
}

static bool see_correlated(void *arg, const struct ang_root *root) {
    struct page *p = arg;
    const bool same =
        p->has_from && memcmp(root->id, p->from_root, 16) == 0 && ang_slice_eq(root->edition, p->from_edition);

    memcpy(p->root.id, root->id, 16);
    ang_buf_clear(&p->edition);
    ang_buf_add_slice(&p->edition, root->edition);
    p->root.edition = ang_buf_slice(&p->edition);
    return (read_root(p, same ? p->from_sequence : 0));
}

static struct ang_err *read_page(struct page *p) {
    const struct ang_wire_cover *c = &p->sel.q.cover;
    struct ang_root from;
    struct ang_err *er = NULL;

    switch (p->kind) {
    case PAGE_ROOTS:
        er = ang_store_booked_roots(p->sh->store, p->has_from ? p->from_root : NULL, see_root, p);
        break;
    case PAGE_OF_ROOT:
        memcpy(p->root.id, c->root.p, 16);
        p->root.edition = c->edition;
        (void)read_root(p, p->from_sequence);
        break;
    case PAGE_OF_CORRELATION:
        memcpy(from.id, p->from_root, 16);
        from.edition = p->from_edition;
        er = ang_store_by_correlation(p->sh->store, c->correlation_id, p->has_from ? &from : NULL, see_correlated, p);
        break;
    }
    if (p->er == NULL)
        return (er);
    ang_err_free(&er);
    er = p->er;
    p->er = NULL;
    return (er);
}

static void put_next(struct page *p) {
    ang_buf_clear(&p->item);
    ang_wire_put_bytes(&p->item, 1, ang_slice_of(p->root.id, 16));
    ang_wire_put_bytes(&p->item, 2, p->root.edition);
    ang_wire_put_uint(&p->item, 3, p->at);
    ang_wire_put_bytes(&p->out, 2, ang_buf_slice(&p->item));
    ang_wire_put_uint(&p->out, 3, p->more);
}

static void step(struct asked *a) {
    struct page *p = ANG_CONTAINER(a, struct page, a);
    struct shard *sh = worker_shard(a->worker, p->domain, p->partition);
    struct ang_err *er = NULL;
    enum shard_state ss;

    ang_buf_clear(&p->out);
    p->items = p->visited = 0;
    p->more = false;
    p->sh = sh;
    ANG_PT(pthread_rwlock_rdlock(&sh->lock));
    ss = sh->state;
    if (ss == SHARD_SERVING && p->req->settled && !shard_settled(sh, a))
        ss = SHARD_COMING;
    if (ss == SHARD_SERVING) {
        er = read_page(p);
        if (shard_damaged(sh, p->partition, er) || !shard_leased(sh)) {
            ang_err_free(&er);
            ss = SHARD_COMING;
        }
    }
    ANG_PT(pthread_rwlock_unlock(&sh->lock));
    if (ss != SHARD_SERVING) {
        queries_await_part(a, p->domain, p->partition, ss);
    } else if (er != NULL) {
        page_end(p, ang_status_from_err(&er));
    } else {
        put_next(p);
        page_end(p, NULL);
    }
}

/* ---- asking ---- */

static struct ang_status *invalid(const char *field) {
    return (ang_status_new(ANG_INVALID_ARGUMENT, "PageRequest.%s: not understood", field));
}

static struct ang_status *take_query(struct page *p, const struct ang_topology *t) {
    const struct ang_domain *named;
    struct ang_wire_query q;
    struct ang_status *st;
    struct ang_err *er;

    if (p->req->query.len == 0)
        return (NULL);
    er = ang_wire_parse_query(ang_slice_of(p->req->query.data, p->req->query.len), &q);
    if (er != NULL)
        return (ang_status_from_err(&er));
    st = ang_check_query(t, &q, &named);
    if (st != NULL)
        return (st);
    ang_select_init(&p->sel, &q);
    p->kind = q.cover.has_root ? PAGE_OF_ROOT : PAGE_OF_CORRELATION;
    return (NULL);
}

static struct ang_status *take_request(struct page *p, const struct ang_topology *t) {
    const Angzarr__Ext__Cursor *from;

    p->req = angzarr__ext__page_request__unpack(NULL, p->pg->request.n, p->pg->request.p);
    if (p->req == NULL)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "PageRequest: not a message of that type"));
    p->domain = ang_topology_domain(t, ang_slice_str(p->req->domain));
    if (p->domain == NULL)
        return (invalid("domain"));
    p->partition = p->req->partition;
    if (p->partition < 0 || p->partition >= p->domain->partitions)
        return (invalid("partition"));
    from = p->req->from;
    if (from != NULL && from->root.len == 16) {
        p->has_from = true;
        memcpy(p->from_root, from->root.data, 16);
    } else if (from != NULL && from->root.len != 0) {
        return (invalid("from.root"));
    }
    if (from != NULL) {
        p->from_edition = ang_slice_str(from->edition);
        p->from_sequence = from->sequence;
    }
    return (take_query(p, t));
}

void ang_worker_page(struct ang_worker *w, struct ang_paging *pg) {
    struct page *p = ANG_NEW(struct page);
    struct ang_status *st;

    ANG_CHECK(pg, ANG_PAGING_MAGIC);
    p->a = (struct asked){.magic = ASKED_MAGIC, .worker = w, .step = step, .refuse = refuse, .until_ms = pg->until_ms};
    p->pg = pg;
    st = take_request(p, worker_conf(w)->topology);
    if (st != NULL)
        page_end(p, st);
    else
        queries_ask(w, &p->a);
}
