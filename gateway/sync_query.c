/* Synchronize: one query. */
#include <stdlib.h>

#include "gateway/sync.h"
#include "topology/check.h"

#define ROOTS_MAX 100000 /* of one correlation id: their next sequences are kept */

struct seen_root { /* all of it below next was sent */
    struct ang_node node;
    const struct ang_domain *domain;
    uint8_t root[16];
    uint8_t edition_n;
    uint32_t next;
    uint8_t edition[];
};

/* ---- its partitions ---- */

static void set_mark(struct ang_sync_query *q, size_t i, enum ang_sync_mark mark) {
    q->n_marked += (mark != ANG_SYNC_CLEAN) - (size_t)(q->marks[i] != ANG_SYNC_CLEAN);
    q->marks[i] = (uint8_t)mark;
}

/* Of all domains, one after the other; or of the one it names. */
static size_t part_index(const struct ang_sync_query *q, const struct ang_domain *domain, int32_t partition) {
    const struct ang_topology *t = q->s->g->conf.topology;
    size_t i, n = 0;

    if (q->has_root)
        return (0);
    for (i = 0; q->domain == NULL && ang_topology_domain_at(t, i) != domain; i++)
        n += (size_t)ang_topology_domain_at(t, i)->partitions;
    return (n + (size_t)partition);
}

static void part_at(const struct ang_sync_query *q, size_t n, const struct ang_domain **ret_domain,
                    int32_t *ret_partition) {
    const struct ang_topology *t = q->s->g->conf.topology;
    const struct ang_domain *d = q->domain;
    size_t i;

    for (i = 0; q->domain == NULL; i++) {
        d = ang_topology_domain_at(t, i);
        if (n < (size_t)d->partitions)
            break;
        n -= (size_t)d->partitions;
    }
    *ret_domain = d;
    *ret_partition = q->has_root ? ang_partition_of_root(q->sel.q.cover.root.p, d->partitions) : (int32_t)n;
}

static size_t parts(const struct ang_sync_query *q) {
    const struct ang_topology *t = q->s->g->conf.topology;
    size_t i, n = 0;

    if (q->has_root)
        return (1);
    if (q->domain != NULL)
        return ((size_t)q->domain->partitions);
    for (i = 0; i < ang_topology_domains(t); i++)
        n += (size_t)ang_topology_domain_at(t, i)->partitions;
    return (n);
}

/* A part that was begun is not clean, whatever its mark says. */
static bool being_read(const struct ang_sync_query *q, size_t i) {
    return (q->at == i && (q->page != NULL || q->cursor.n > 0));
}

/* ---- where it stands in each root ---- */

static struct seen_root *root_find(const struct ang_sync_query *q, const struct ang_domain *domain,
                                   const struct ang_wire_cover *c, uint64_t hash) {
    struct ang_node *node;

    for (node = ang_table_first(&q->roots, hash); node != NULL; node = ang_table_more(node->next, hash)) {
        struct seen_root *r = ANG_CONTAINER(node, struct seen_root, node);

        if (r->domain == domain && memcmp(r->root, c->root.p, 16) == 0 &&
            ang_slice_eq(ang_slice_of(r->edition, r->edition_n), c->edition))
            return (r);
    }
    return (NULL);
}

static uint64_t root_hash(const struct ang_domain *domain, const struct ang_wire_cover *c) {
    return (ang_hash(ang_hash((uint64_t)(uintptr_t)domain, c->root.p, 16), c->edition.p, c->edition.n));
}

static uint32_t sent_below(const struct ang_sync_query *q, const struct ang_domain *domain,
                           const struct ang_wire_cover *c) {
    const struct seen_root *r;

    if (q->has_root)
        return (q->next);
    r = root_find(q, domain, c, root_hash(domain, c));
    return (r == NULL ? 0 : r->next);
}

static void note_sent(struct ang_sync_query *q, const struct ang_domain *domain, const struct ang_wire_cover *c,
                      uint32_t next) {
    const uint64_t hash = root_hash(domain, c);
    struct seen_root *r;

    if (q->has_root) {
        q->next = next;
        return;
    }
    r = root_find(q, domain, c, hash);
    if (r == NULL) {
        r = ang_calloc(1, sizeof *r + c->edition.n);
        r->domain = domain;
        memcpy(r->root, c->root.p, 16);
        r->edition_n = (uint8_t)c->edition.n;
        if (c->edition.n > 0)
            memcpy(r->edition, c->edition.p, c->edition.n);
        ang_table_add(&q->roots, &r->node, hash);
    }
    r->next = next;
}

static struct ang_status *too_many(void) {
    return (ang_status_new(ANG_RESOURCE_EXHAUSTED,
                           "%d aggregates have events of this correlation id: synchronize them by their roots",
                           ROOTS_MAX));
}

/* ---- what is heard ---- */

static void miss(struct ang_sync_query *q, size_t i, const struct ang_heard *h) {
    if (h->book.last_num + 1 > q->seen)
        q->seen = h->book.last_num + 1;
    if (q->marks[i] == ANG_SYNC_CLEAN)
        set_mark(q, i, ANG_SYNC_HEARD);
    ang_sync_todo(q);
    ang_sync_pump(q->s);
}

/* False: it could not be sent. */
static bool send_heard(struct ang_sync_query *q, struct ang_heard *h) {
    struct ang_buf b = {NULL, 0, 0};
    struct ang_slice part;
    size_t before;
    bool ok = true;

    if (q->sel.q.selection == ANG_SELECT_ALL)
        return (ang_shared_send(ang_heard_share(q->s->g->ears, h), q->s->rpc));
    ang_wire_put_bytes(&b, 1, h->book.cover.raw);
    before = b.n;
    ang_select_add(&q->sel, &h->book, &b);
    if (b.n > before) {
        ang_wire_put_uint(&b, 6, h->book.last_num + 1);
        part = ang_buf_slice(&b);
        ok = ang_rpc_send(q->s->rpc, &part, 1);
    }
    ang_buf_fini(&b);
    return (ok);
}

static bool is_over(const struct ang_sync_query *q) {
    return (q->has_root && q->live && q->page == NULL && ang_select_past(&q->sel, q->next));
}

static void hear(struct ang_listener *l, struct ang_heard *h) {
    struct ang_sync_query *q = ANG_CONTAINER(l, struct ang_sync_query, listener);
    uint32_t below;
    size_t i;

    ANG_CHECK(q, ANG_SYNC_QUERY_MAGIC);
    if (q->domain != NULL && h->domain != q->domain)
        return;
    i = part_index(q, h->domain, h->rec->partition);
    below = sent_below(q, h->domain, &h->book.cover);
    if (h->book.first_num < below)
        return; /* it was in the history */
    if (!q->live || q->marks[i] != ANG_SYNC_CLEAN || being_read(q, i) || ang_sync_full(q->s) ||
        (q->has_root && h->book.first_num > below) || !send_heard(q, h)) {
        miss(q, i, h);
        return;
    }
    note_sent(q, h->domain, &h->book.cover, h->book.last_num + 1);
    if (q->roots.n > ROOTS_MAX)
        ang_sync_fail(q->s, too_many());
    else if (is_over(q))
        (void)ang_sync_query_over(q);
}

/* ---- what is read ---- */

/* An item of a page.  *ret_refused: it could not be sent. */
static struct ang_status *take_item(struct ang_sync_query *q, const struct ang_domain *domain, struct ang_slice item,
                                    bool *ret_refused) {
    struct ang_wire_event_book book;
    struct ang_err *er = ang_wire_parse_event_book(item, &book);

    if (er != NULL)
        return (ang_status_from_err(&er));
    if (book.n_numbered == 0 || book.cover.root.n != 16 || book.cover.edition.n > 64)
        return (ang_status_new(ANG_INTERNAL, "a worker's page has a book without an aggregate or pages"));
    if (book.first_num < sent_below(q, domain, &book.cover))
        return (NULL); /* read again */
    if (q->roots.n >= ROOTS_MAX)
        return (too_many());
    *ret_refused = !ang_rpc_send(q->s->rpc, &item, 1);
    if (!*ret_refused)
        note_sent(q, domain, &book.cover, book.last_num + 1);
    return (NULL);
}

/* The owner has no more of it. */
static void part_read(struct ang_sync_query *q, const struct ang_page_end *pe) {
    ang_buf_clear(&q->cursor);
    if (!q->has_root)
        return;
    if (pe->sequence > q->next)
        q->next = pe->sequence;
    if (q->next < q->want) { /* heard before it was asked, and not there: nobody of ours has written it */
        ANG_LOG_EVERY(5000, ANG_LOG_WARN, "SYNC-FOREIGN",
                      "events were heard that their owner does not have; they are left out", "domain", q->domain->name,
                      "next", ANG_F("%u", q->next), "heard", ANG_F("%u", q->want));
        q->next = q->want;
    }
    if (q->marks[0] == ANG_SYNC_HEARD && q->seen <= q->next)
        set_mark(q, 0, ANG_SYNC_CLEAN);
}

static void came(void *arg, struct ang_slice response, struct ang_status *st) {
    struct ang_page_items items = ang_page_items_of(response);
    const struct ang_domain *domain;
    struct ang_page_end pe;
    struct ang_sync_query *q;
    struct ang_slice item;
    struct ang_sync *s;
    bool refused = false;
    int32_t partition;

    ANG_CAST(q, arg, ANG_SYNC_QUERY_MAGIC);
    s = q->s;
    q->page = NULL;
    s->reading--;
    part_at(q, q->at, &domain, &partition);
    if (st == NULL && !ang_page_end_of(response, &pe))
        st = ang_status_new(ANG_INTERNAL, "a worker's page of events cannot be read");
    while (st == NULL && !refused && ang_page_items_next(&items, &item))
        st = take_item(q, domain, item, &refused);
    if (st != NULL) {
        ang_sync_fail(s, st);
        return;
    }
    if (refused) { /* again, from where it stands */
        ang_buf_clear(&q->cursor);
        set_mark(q, q->at, ANG_SYNC_BLIND);
    } else if (pe.more) {
        ang_buf_clear(&q->cursor);
        ang_buf_add_slice(&q->cursor, pe.cursor);
        if (q->has_root && pe.sequence > q->next)
            q->next = pe.sequence;
    } else {
        part_read(q, &pe);
    }
    if (q->cursor.n > 0 || q->n_marked > 0)
        ang_sync_todo(q);
    else
        q->live = true;
    if (is_over(q) && ang_sync_query_over(q))
        return;
    ang_sync_pump(s);
}

static void put_cursor(struct ang_sync_query *q) {
    ang_buf_clear(&q->cursor);
    if (q->has_root && q->next > 0)
        ang_wire_put_uint(&q->cursor, 3, q->next);
}

void ang_sync_query_read(struct ang_sync_query *q) {
    struct ang_page_ask pa = {.query = ang_buf_slice(&q->raw), .until_ms = ANG_NEVER, .done = came, .arg = q};

    if (q->cursor.n == 0) { /* not in the middle of one */
        for (q->at = 0; q->marks[q->at] == ANG_SYNC_CLEAN; q->at++)
            ANG_ASSERT(q->at + 1 < q->n_marks);
        set_mark(q, q->at, ANG_SYNC_CLEAN);
        put_cursor(q);
        q->want = q->seen;
    }
    part_at(q, q->at, &pa.domain, &pa.partition);
    pa.cursor = ang_buf_slice(&q->cursor);
    q->s->reading++;
    q->page = ang_page_ask(q->s->g, &pa);
}

void ang_sync_query_blind(struct ang_sync_query *q) {
    size_t i;

    for (i = 0; i < q->n_marks; i++)
        set_mark(q, i, ANG_SYNC_BLIND);
    ang_sync_todo(q);
}

/* ---- coming and going ---- */

static void listen(struct ang_sync_query *q) {
    const struct ang_wire_cover *c = &q->sel.q.cover;

    q->listener.hear = hear;
    if (q->has_root)
        ang_listen_root(q->s->g->ears, &q->listener, q->domain, c->root.p, c->edition);
    else
        ang_listen_correlation(q->s->g->ears, &q->listener, c->correlation_id);
}

struct ang_status *ang_sync_query_add(struct ang_sync *s, struct ang_slice raw) {
    const struct ang_domain *domain = NULL;
    struct ang_sync_query *q;
    struct ang_wire_query wq;
    struct ang_status *st;
    struct ang_err *er = ang_wire_parse_query(raw, &wq);

    if (er != NULL)
        return (ang_status_from_err(&er));
    st = ang_check_query(s->g->conf.topology, &wq, &domain);
    if (st != NULL)
        return (st);
    q = ANG_NEW(struct ang_sync_query);
    q->magic = ANG_SYNC_QUERY_MAGIC;
    q->s = s;
    ang_buf_add_slice(&q->raw, raw);
    er = ang_wire_parse_query(ang_buf_slice(&q->raw), &wq); /* once more, so that it borrows our copy */
    AZ(er);
    ang_select_init(&q->sel, &wq);
    q->domain = domain;
    q->has_root = wq.cover.has_root;
    q->n_marks = parts(q);
    q->marks = q->n_marks == 1 ? &q->one_mark : ang_calloc(q->n_marks + 1, 1);
    TAILQ_INSERT_TAIL(&s->queries, q, all);
    s->n_queries++;
    listen(q);
    if (q->n_marks == 0)
        q->live = true;
    else
        ang_sync_query_blind(q);
    return (NULL);
}

void ang_sync_query_free(struct ang_sync_query *q) {
    struct ang_sync *s = q->s;
    size_t i;

    ANG_CHECK(q, ANG_SYNC_QUERY_MAGIC);
    ang_listen_stop(s->g->ears, &q->listener);
    if (q->page != NULL) {
        ang_page_drop(q->page);
        s->reading--;
    }
    if (q->queued)
        TAILQ_REMOVE(&s->todo, q, link);
    TAILQ_REMOVE(&s->queries, q, all);
    s->n_queries--;
    for (i = 0; q->roots.buckets != NULL && i <= q->roots.mask; i++)
        while (q->roots.buckets[i] != NULL) {
            struct seen_root *r = ANG_CONTAINER(q->roots.buckets[i], struct seen_root, node);

            q->roots.buckets[i] = r->node.next;
            free(r);
        }
    ang_table_fini(&q->roots);
    ang_select_fini(&q->sel);
    if (q->marks != &q->one_mark)
        free(q->marks);
    ang_buf_fini(&q->raw);
    ang_buf_fini(&q->cursor);
    q->magic = 0;
    free(q);
}
