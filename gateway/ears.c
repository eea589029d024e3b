/* Who listens to which events. */
#include "gateway/ears.h"

#include <stdlib.h>

struct ang_ear {
    struct ang_node node;
    struct ang_table *table; /* that it stands in */
    TAILQ_HEAD(, ang_listener) listeners;
    size_t n;
    uint8_t key[];
};

/* Books may outlive the ears: gRPC lets them go when it likes. */
struct ang_held {
    _Atomic size_t bytes;
    _Atomic int refs;
};

struct ang_ears {
    unsigned magic;
#define ANG_EARS_MAGIC 0xea450001
    struct ang_table by_correlation, by_root, by_domain;
    struct ang_listener *next; /* to be told: moved on when that one is removed */
    struct ang_held *held;
    struct ang_buf scratch;
};

/* ---- books ---- */

static void held_unref(struct ang_held *held) {
    if (atomic_fetch_sub_explicit(&held->refs, 1, memory_order_acq_rel) == 1)
        free(held);
}

struct ang_shared *ang_shared_ref(struct ang_shared *sh) {
    ANG_CHECK(sh, ANG_SHARED_MAGIC);
    atomic_fetch_add_explicit(&sh->refs, 1, memory_order_relaxed);
    return (sh);
}

void ang_shared_unref(struct ang_shared *sh) {
    struct ang_held *held;

    if (sh == NULL)
        return;
    ANG_CHECK(sh, ANG_SHARED_MAGIC);
    if (atomic_fetch_sub_explicit(&sh->refs, 1, memory_order_acq_rel) != 1)
        return;
    held = sh->held;
    atomic_fetch_sub_explicit(&held->bytes, sizeof *sh + sh->n, memory_order_relaxed);
    held_unref(held);
    sh->magic = 0;
    free(sh);
}

static void let_go(void *arg) {
    ang_shared_unref(arg);
}

bool ang_shared_send(struct ang_shared *sh, struct ang_rpc *rpc) {
    if (ang_rpc_send_shared(rpc, ang_slice_of(sh->bytes, sh->n), let_go, ang_shared_ref(sh)))
        return (true);
    ang_shared_unref(sh);
    return (false);
}

struct ang_shared *ang_heard_share(struct ang_ears *e, struct ang_heard *h) {
    const struct ang_slice value = h->rec->value;
    const bool told = h->book.has_next_sequence;
    struct ang_shared *sh;
    size_t n;

    ANG_ASSERT(h->state == ANG_HEARD_READ);
    if (h->shared != NULL)
        return (h->shared);
    n = value.n + (told ? 0 : ang_wire_len_uint(6, h->book.last_num + 1));
    sh = ang_malloc(sizeof *sh + n);
    *sh = (struct ang_shared){.magic = ANG_SHARED_MAGIC,
                              .held = e->held,
                              .domain = h->domain,
                              .first = h->book.first_num,
                              .last = h->book.last_num,
                              .n = n};
    atomic_init(&sh->refs, 1);
    memcpy(sh->root, h->book.cover.root.p, sizeof sh->root);
    if (h->book.cover.edition.n > 0)
        memcpy(sh->edition, h->book.cover.edition.p, h->book.cover.edition.n);
    memcpy(sh->bytes, value.p, value.n);
    if (!told) {
        ang_buf_clear(&e->scratch);
        ang_wire_put_uint(&e->scratch, 6, h->book.last_num + 1);
        memcpy(sh->bytes + value.n, e->scratch.p, e->scratch.n);
    }
    atomic_fetch_add_explicit(&e->held->refs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->held->bytes, sizeof *sh + n, memory_order_relaxed);
    h->shared = sh;
    return (sh);
}

size_t ang_ears_held(const struct ang_ears *e) {
    return (atomic_load_explicit(&e->held->bytes, memory_order_relaxed));
}

/* ---- listening ---- */

struct ang_ears *ang_ears_new(void) {
    struct ang_ears *e = ANG_NEW(struct ang_ears);

    e->magic = ANG_EARS_MAGIC;
    e->held = ANG_NEW(struct ang_held);
    atomic_init(&e->held->refs, 1);
    return (e);
}

void ang_ears_free(struct ang_ears *e) {
    if (e == NULL)
        return;
    ANG_CHECK(e, ANG_EARS_MAGIC);
    AZ(e->by_correlation.n);
    AZ(e->by_root.n);
    AZ(e->by_domain.n);
    ang_table_fini(&e->by_correlation);
    ang_table_fini(&e->by_root);
    ang_table_fini(&e->by_domain);
    ang_buf_fini(&e->scratch);
    held_unref(e->held);
    e->magic = 0;
    free(e);
}

static struct ang_ear *find(const struct ang_table *t, struct ang_slice key, uint64_t hash) {
    struct ang_node *node;

    for (node = ang_table_first(t, hash); node != NULL; node = ang_table_more(node->next, hash)) {
        struct ang_ear *ear = ANG_CONTAINER(node, struct ang_ear, node);

        if (ang_slice_eq(ang_slice_of(ear->key, ear->n), key))
            return (ear);
    }
    return (NULL);
}

static void listen(struct ang_table *t, struct ang_listener *l, struct ang_slice key) {
    const uint64_t hash = ang_hash(0, key.p, key.n);
    struct ang_ear *ear = find(t, key, hash);

    AZ(l->ear);
    if (ear == NULL) {
        ear = ang_calloc(1, sizeof *ear + key.n);
        ear->table = t;
        ear->n = key.n;
        memcpy(ear->key, key.p, key.n);
        TAILQ_INIT(&ear->listeners);
        ang_table_add(t, &ear->node, hash);
    }
    TAILQ_INSERT_TAIL(&ear->listeners, l, link);
    l->ear = ear;
}

void ang_listen_correlation(struct ang_ears *e, struct ang_listener *l, struct ang_slice id) {
    ANG_CHECK(e, ANG_EARS_MAGIC);
    listen(&e->by_correlation, l, id);
}

static struct ang_slice root_key(struct ang_ears *e, const struct ang_domain *domain, const uint8_t *root,
                                 struct ang_slice edition) {
    ang_buf_clear(&e->scratch);
    ang_buf_add(&e->scratch, &domain, sizeof domain);
    ang_buf_add(&e->scratch, root, 16);
    ang_buf_add_slice(&e->scratch, edition);
    return (ang_buf_slice(&e->scratch));
}

/* Borrows it. */
static struct ang_slice domain_key(const struct ang_domain *const *domain) {
    return (ang_slice_of(domain, sizeof *domain));
}

void ang_listen_root(struct ang_ears *e, struct ang_listener *l, const struct ang_domain *domain,
                     const uint8_t root[16], struct ang_slice edition) {
    ANG_CHECK(e, ANG_EARS_MAGIC);
    listen(&e->by_root, l, root_key(e, domain, root, edition));
}

void ang_listen_domain(struct ang_ears *e, struct ang_listener *l, const struct ang_domain *domain) {
    ANG_CHECK(e, ANG_EARS_MAGIC);
    listen(&e->by_domain, l, domain_key(&domain));
}

void ang_listen_stop(struct ang_ears *e, struct ang_listener *l) {
    struct ang_ear *ear = l->ear;

    if (ear == NULL)
        return;
    if (e->next == l)
        e->next = TAILQ_NEXT(l, link);
    TAILQ_REMOVE(&ear->listeners, l, link);
    l->ear = NULL;
    if (!TAILQ_EMPTY(&ear->listeners))
        return;
    ang_table_remove(ear->table, &ear->node);
    free(ear);
}

/* ---- telling ---- */

static const char *read_book(struct ang_heard *h) {
    struct ang_err *er = ang_wire_parse_event_book(h->rec->value, &h->book);

    if (er != NULL) {
        ang_err_free(&er);
        return ("its value is no EventBook");
    }
    if (h->book.cover.root.n != 16 || h->book.cover.edition.n > 64)
        return ("its cover names no aggregate");
    if (h->book.n_pages == 0 || h->book.n_numbered != h->book.n_pages)
        return ("it has no pages, or some without a number");
    return (NULL);
}

static bool readable(struct ang_heard *h) {
    const char *why;

    if (h->state == ANG_HEARD_RAW) {
        why = read_book(h);
        h->state = why == NULL ? ANG_HEARD_READ : ANG_HEARD_BAD;
        if (why != NULL)
            ANG_LOG_EVERY(5000, ANG_LOG_WARN, "TAIL-SKIPPED", "a record that callers listen for cannot be passed on",
                          "topic", h->rec->topic->name, "partition", ANG_F("%d", h->rec->partition), "offset",
                          ANG_F("%lld", (long long)h->rec->offset), "reason", why);
    }
    return (h->state == ANG_HEARD_READ);
}

static void tell(struct ang_ears *e, const struct ang_table *t, struct ang_slice key, struct ang_heard *h) {
    struct ang_ear *ear = key.n == 0 ? NULL : find(t, key, ang_hash(0, key.p, key.n));
    struct ang_listener *l;

    if (ear == NULL || !readable(h))
        return;
    for (l = TAILQ_FIRST(&ear->listeners); l != NULL; l = e->next) {
        e->next = TAILQ_NEXT(l, link);
        l->hear(l, h);
    }
}

/* Of a record without the header: another producer's. */
static struct ang_slice cover_correlation(struct ang_slice book) {
    struct ang_wire_field cover, id;

    if (!ang_wire_find(book, 1, &cover) || cover.type != ANG_WIRE_BYTES || !ang_wire_find(cover.bytes, 3, &id) ||
        id.type != ANG_WIRE_BYTES)
        return (ANG_SLICE_NONE);
    return (id.bytes);
}

static void tell_root(struct ang_ears *e, struct ang_heard *h) {
    struct ang_slice edition;
    uint8_t root[16];
    uint32_t first;

    if (!ang_event_key_parse(h->rec->key, root, &edition, &first)) {
        if (!readable(h))
            return;
        memcpy(root, h->book.cover.root.p, sizeof root);
        edition = h->book.cover.edition;
    }
    tell(e, &e->by_root, root_key(e, h->domain, root, edition), h);
}

static void tell_domain(struct ang_ears *e, struct ang_heard *h) {
    const struct ang_domain *const all = NULL;

    tell(e, &e->by_domain, domain_key(&h->domain), h);
    tell(e, &e->by_domain, domain_key(&all), h);
}

void ang_ears_tell(struct ang_ears *e, const struct ang_domain *domain, const struct ang_rec *rec) {
    struct ang_heard h = {.domain = domain, .rec = rec, .state = ANG_HEARD_RAW};
    struct ang_slice id;

    ANG_CHECK(e, ANG_EARS_MAGIC);
    if (rec->tombstone || (rec->key.n > 0 && rec->key.p[0] == '!'))
        return;
    if (e->by_correlation.n > 0) {
        if (!ang_rec_hdr(rec, "correlation-id", &id))
            id = cover_correlation(rec->value);
        tell(e, &e->by_correlation, id, &h);
    }
    if (e->by_root.n > 0)
        tell_root(e, &h);
    if (e->by_domain.n > 0)
        tell_domain(e, &h);
    ang_shared_unref(h.shared);
}
