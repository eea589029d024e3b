/* What runs a command: its turn, its checks, and what becomes of the answer of the business logic (contract 2 to 5). */
#include "processor/lane_priv.h"

#include <stdio.h>

/* An EventBook in a trailer: two of them and a message have to fit into 4 KiB, in base64. */
#define TRAILER_BOOK_MAX ROOT_NEWEST_MAX

/* ---- refusals that copies get again ---- */
static bool refused_before(struct work *w, struct ang_err **er) {
    struct part *p = w->part;
    struct ang_buf b = {NULL, 0, 0};
    struct ang_status *st;
    bool found = false, same = false;
    int64_t at;

    if (ang_wall_ms() >= p->refusals_until_ms)
        return (false);
    *er = ang_store_refusal(p->shard->store, &w->root_id, w->command_id, &b, &found);
    if (*er == NULL && found) {
        *er = refusal_decode(ang_buf_slice(&b), &st, &at);
        /* Only a copy of the same call: what the caller sends after having been told is a command of its own. */
        same = *er == NULL && w->start_ms < at;
        if (same) {
            ang_counter_add(p->lane->meters.copies, 1);
            finish_status(w, &st);
        } else if (*er == NULL) {
            ang_status_free(&st);
        }
    }
    ang_buf_fini(&b);
    return (same);
}

static bool done_before(struct work *w, struct ang_err **er) {
    struct ang_store_done d;
    bool found;

    *er = ang_store_done(w->part->shard->store, &w->root_id, w->command_id, &d, &found);
    if (*er != NULL || !found || w->rec->time_ms - d.time_ms >= w->part->lane->set->limits.dedupe_window_ms)
        return (false);
    finish_done(w, &d);
    return (true);
}

/* The cover as it came; one that would fill a trailer by itself: what names the aggregate. */
static void trailer_cover(struct ang_buf *b, const struct ang_wire_cover *c) {
    struct ang_buf part = {NULL, 0, 0}, cover = {NULL, 0, 0};

    if (c->raw.n <= TRAILER_BOOK_MAX / 2) {
        ang_wire_put_cover(b, 1, c, c->correlation_id);
        return;
    }
    ang_wire_put_bytes(&part, 1, c->root);
    ang_wire_put_bytes(&cover, 1, ang_buf_slice(&part));
    ang_wire_put_bytes(&cover, 2, c->domain);
    ang_wire_put_bytes(&cover, 3, c->correlation_id);
    ang_buf_clear(&part);
    ang_wire_put_bytes(&part, 1, c->edition);
    if (c->edition.n > 0)
        ang_wire_put_bytes(&cover, 4, ang_buf_slice(&part));
    ang_wire_put_bytes(b, 1, ang_buf_slice(&cover));
    ang_buf_fini(&part);
    ang_buf_fini(&cover);
}

/* st, FAILED_PRECONDITION, with the current book, so that the caller can decide again (contract 2). */
static void mismatch(struct work *w, struct ang_status *st) {
    struct root *r = w->root;
    struct ang_buf book = {NULL, 0, 0}, details = {NULL, 0, 0};
    struct ang_err *er;

    trailer_cover(&book, &w->book.cover);
    er = root_newest(r, TRAILER_BOOK_MAX - 8 - book.n, &book);
    if (er != NULL) {
        ang_buf_fini(&book);
        ang_status_free(&st);
        lane_store_failed(w->part, er);
        return;
    }
    ang_wire_put_uint(&book, 6, r->next);
    ang_wire_put_uint(&details, 1, st->code);
    ang_wire_put_str(&details, 2, st->msg);
    ang_wire_put_any(&details, 3, ang_slice_str("type.googleapis.com/angzarr.EventBook"), ang_buf_slice(&book));
    ang_status_add(st, "grpc-status-details-bin", ang_buf_slice(&details));
    ang_status_add(st, "angzarr-event-book-bin", ang_buf_slice(&book));
    ang_buf_fini(&book);
    ang_buf_fini(&details);
    finish_status(w, &st);
}

/* Its time is up before it ran: it is not run (contract 9).  Nobody waits for one that came without a gateway. */
static void expired(struct work *w) {
    struct ang_status *st;

    if (w->reply_to.n == 0)
        dead_letter(w, DEAD_EXPIRED, "not run within its time to live");
    st = ang_status_new(ANG_DEADLINE_EXCEEDED, "the deadline passed before the command was run");
    finish_open(w, &st);
}

static void answered_events(struct work *w, const struct ang_wire_event_book *book);

/* Events that are told, not asked for: the command's one page holds them (contract 15).  A number below the next one is no echo of
 * the history here, but taken.  Who tells facts does not know the state that follows from them: a snapshot is left out. */
static void record_facts(struct work *w) {
    struct ang_wire_event_book book;
    struct ang_wire_event_page page;
    struct ang_wire_iter it;
    struct ang_err *er;
    uint32_t n;

    er = ang_wire_parse_event_book(w->book.first.command.value, &book);
    AZ(er); /* it parsed when it was admitted */
    it = ang_wire_iter_of(book.pages);
    for (n = 0; ang_wire_event_pages_next(&it, &page); n++) {
        if (!page.has_num || page.num == (uint64_t)w->root->next + n)
            continue;
        mismatch(w, ang_status_new(ANG_FAILED_PRECONDITION,
                                   "Sequence mismatch: page %u has number %u where %llu comes next, aggregate at %u", n,
                                   page.num, (unsigned long long)w->root->next + n, w->root->next));
        return;
    }
    memset(&book.snapshot, 0, sizeof book.snapshot);
    memset(&book.snapshot_state, 0, sizeof book.snapshot_state);
    answered_events(w, &book);
}

static void start(struct work *w) {
    struct root *r = w->root;
    struct part *p = w->part;
    struct ang_err *er = NULL;
    uint32_t expects;

    r->running = w;
    if (ang_wall_ms() >= w->deadline_ms) {
        expired(w);
        return;
    }
    if (done_before(w, &er))
        return;
    if (er == NULL && refused_before(w, &er))
        return;
    if (er == NULL)
        er = root_load(r);
    if (er != NULL) {
        lane_store_failed(p, er);
        return;
    }
    if (w->is_record) {
        record_facts(w);
        return;
    }
    expects = w->book.n_pages == 0 ? 0 : w->book.first.sequence;
    if (expects != r->next)
        mismatch(w, ang_status_new(ANG_FAILED_PRECONDITION, "Sequence mismatch: command expects %u, aggregate at %u",
                                   expects, r->next));
    else
        business_call(w);
}

void aggregate_next(struct root *r) {
    struct lane *l = r->part->lane;
    struct part *p = r->part;
    const uint32_t epoch = p->epoch;
    struct work *w;

    if (r->stepping || l->draining)
        return;
    r->stepping = true;
    while (r->running == NULL && (w = TAILQ_FIRST(&r->queue)) != NULL) {
        if (!w->is_record && !slots_take(r)) /* facts need no call */
            break;
        TAILQ_REMOVE(&r->queue, w, link);
        r->queued--;
        start(w);
        if (p->epoch != epoch)
            return; /* the store failed: the part was dropped, r is gone */
    }
    r->stepping = false;
    tail_wants(r);
}

/* ---- what the business answered ---- */

/* The new pages of an answer, numbered and timed, appended to out; what is below `next` is history echoed back. */
static struct ang_status *number_pages(const struct ang_wire_event_book *book, uint32_t next, struct ang_buf *out,
                                       uint32_t *ret_count) {
    struct ang_wire_iter it = ang_wire_iter_of(book->pages);
    struct ang_wire_event_page page;
    const int64_t now = ang_wall_us();
    struct ang_wire_stamp stamp = {.num = next, .seconds = now / 1000000, .nanos = (int32_t)(now % 1000000) * 1000};

    while (ang_wire_event_pages_next(&it, &page)) {
        if (page.has_num && page.num < next)
            continue;
        if (page.has_num && page.num != stamp.num)
            return (ang_status_new(ANG_INTERNAL, "the business logic numbered an event %u where %u comes next", page.num,
                                   stamp.num));
        if (stamp.num == UINT32_MAX)
            return (ang_status_new(ANG_INTERNAL, "the aggregate is full: no sequence is left"));
        ang_wire_put_event_page(out, 3, &page, &stamp);
        stamp.num++;
    }
    *ret_count = stamp.num - next;
    return (NULL);
}

/* The names of the event types, for the header. */
static void type_names(struct ang_slice pages, char *out, size_t size) {
    struct ang_wire_iter it = ang_wire_iter_of(pages);
    struct ang_wire_event_page page;
    size_t n = 0;

    out[0] = '\0';
    while (ang_wire_event_pages_next(&it, &page)) {
        const struct ang_slice name = ang_wire_type_name(page.event.type_url);

        if (n + name.n + 2 > size)
            break;
        n += (size_t)snprintf(out + n, size - n, "%s%.*s", n == 0 ? "" : ",", (int)name.n, (const char *)name.p);
    }
}

static struct effect *events_effect(struct work *w, uint32_t first, uint32_t pages, struct ang_slice value,
                                    struct ang_slice page_fields, struct ang_blob *blob) {
    struct part *p = w->part;
    struct effect *e = effect_new(p->lane, EFFECT_EVENTS, p->lane->domain->events, p->no);
    struct ang_slice trace;
    char types[384];

    e->first = first;
    e->pages = pages;
    e->blob = ang_blob_ref(blob);
    e->out.value = value;
    effect_key(e, &w->root_id, &first);
    effect_hdr(e, "command-id", w->command_id);
    effect_hdrf(e, "input", "%s/%d/%lld", w->rec->topic->name, w->rec->partition, (long long)w->offset);
    type_names(page_fields, types, sizeof types);
    effect_hdr(e, "types", ang_slice_str(types));
    effect_hdr(e, "correlation-id", w->book.cover.correlation_id);
    if (ang_rec_hdr(w->rec, "traceparent", &trace))
        effect_hdr(e, "traceparent", trace);
    STAILQ_INSERT_TAIL(&w->effects, e, link);
    return (e);
}

/* Bytes of pages, from `from` on, that fit into one record; *ret_pages counts them. */
static struct ang_slice take_pages(struct ang_slice from, size_t max, uint32_t *ret_pages) {
    struct ang_wire_iter it = ang_wire_iter_of(from);
    struct ang_wire_field f;
    size_t n = 0;

    *ret_pages = 0;
    while (ang_wire_next(&it, &f) && (*ret_pages == 0 || n + f.raw.n <= max)) {
        n += f.raw.n;
        ++*ret_pages;
    }
    return (ang_slice_of(from.p, n));
}

/* A book too large for one record: several, split between pages, all in one transaction. */
static void split_events(struct work *w, struct ang_slice cover, struct ang_slice pages, uint32_t first, size_t max) {
    struct ang_slice rest = pages, some;
    unsigned parts = 0, i = 0;
    uint32_t n, seq = first;

    for (; rest.n > 0; rest = ang_slice_of(rest.p + some.n, rest.n - some.n), parts++)
        some = take_pages(rest, max, &n);
    for (rest = pages; rest.n > 0; rest = ang_slice_of(rest.p + some.n, rest.n - some.n), seq += n) {
        struct ang_buf b = {NULL, 0, 0};
        struct ang_blob *blob;
        struct effect *e;

        some = take_pages(rest, max, &n);
        ang_wire_put_bytes(&b, 1, cover);
        ang_buf_add_slice(&b, some);
        blob = ang_blob_copy(ang_buf_slice(&b));
        e = events_effect(w, seq, n, ang_blob_slice(blob), some, blob);
        effect_hdrf(e, "part", "%u/%u", ++i, parts);
        effect_hdrf(e, "span", "%u+%u", w->first, w->pages);
        ang_blob_unref(blob);
        ang_buf_fini(&b);
    }
}

static bool due(const struct root *r, uint32_t last, int every) {
    const uint32_t since = r->has_snapshot ? last - r->snapshot_seq : last + 1;

    return (every > 0 && since >= (uint32_t)every);
}

static void store_snapshot(struct work *w, const struct ang_wire_event_book *book, uint32_t last) {
    struct part *p = w->part;
    const struct ang_domain *d = p->lane->domain;
    struct ang_slice state = book->snapshot.raw.p != NULL ? book->snapshot.state.raw : book->snapshot_state.raw;
    struct ang_buf b = {NULL, 0, 0};
    struct effect *e;

    if (state.p == NULL)
        state = book->snapshot_state.raw;
    if (state.p == NULL || !due(w->root, last, d->business->snapshots_every))
        return;
    ang_wire_put_uint(&b, 2, last);
    ang_wire_put_bytes(&b, 3, state);
    if (b.n + 4096 > (size_t)d->snapshots->max_message) {
        ANG_LOG_EVERY(10000, ANG_LOG_WARN, "SNAPSHOT-TOO-BIG", "a snapshot is over limits.message and was not stored", "domain",
                      d->name, "bytes", ANG_F("%zu", b.n), LOG_CORRELATION(w));
        ang_buf_fini(&b);
        return;
    }
    e = effect_new(p->lane, EFFECT_SNAPSHOT, d->snapshots, p->no);
    e->blob = ang_blob_copy(ang_buf_slice(&b));
    e->out.value = ang_blob_slice(e->blob);
    effect_key(e, &w->root_id, NULL);
    STAILQ_INSERT_TAIL(&w->effects, e, link);
    root_snapshot(w->root, e->out.value, last);
    ang_buf_fini(&b);
}

const char *cover_strays(const struct work *w, const struct ang_wire_cover *c) {
    const struct ang_wire_cover *own = &w->book.cover;

    if (!c->present)
        return (NULL);
    if (c->domain.n > 0 && !ang_slice_eq(c->domain, own->domain))
        return ("another domain");
    if (c->has_root && !ang_slice_eq(c->root, own->root))
        return ("another root");
    if (c->edition.n > 0 && !ang_slice_eq(c->edition, own->edition))
        return ("another edition");
    return (NULL);
}

static struct ang_status *wrong_cover(const struct work *w, const struct ang_wire_cover *c) {
    const char *what = cover_strays(w, c);

    if (what == NULL)
        return (NULL);
    return (ang_status_new(ANG_INTERNAL, "the business logic answered with events of another aggregate: its cover names %s",
                           what));
}

static void answered_events(struct work *w, const struct ang_wire_event_book *book) {
    struct lane *l = w->part->lane;
    struct root *r = w->root;
    const size_t max = (size_t)l->domain->events->max_message - 4096;
    struct ang_buf *pages = &l->scratch, *cover = &l->scratch2;
    struct ang_slice value;
    struct ang_status *st;
    uint32_t n = 0;

    ang_buf_clear(pages);
    ang_buf_clear(cover);
    st = wrong_cover(w, &book->cover);
    if (st == NULL)
        st = number_pages(book, r->next, pages, &n);
    if (st != NULL) {
        finish_status(w, &st);
        return;
    }
    ang_wire_add_cover(cover, &w->book.cover, w->book.cover.correlation_id);
    w->code = ANG_OK;
    w->first = r->next;
    w->pages = n;
    w->response = response_of(ang_buf_slice(cover), ang_buf_slice(pages), r->next + n, &value);
    if (n > 0 && value.n <= max)
        events_effect(w, r->next, n, value, ang_buf_slice(pages), w->response);
    else if (n > 0)
        split_events(w, ang_buf_slice(cover), ang_buf_slice(pages), r->next, max - cover->n);
    if (n > 0) {
        root_append(r, ang_buf_slice(pages), r->next + n);
        store_snapshot(w, book, r->next - 1);
    }
    finish(w);
}

static void answered_revocation(struct work *w, const struct ang_wire_revocation *rv) {
    struct lane *l = w->part->lane;
    const int n = (int)(rv->reason.n > WORDS_MAX ? WORDS_MAX : rv->reason.n);
    const char *reason = rv->reason.n == 0 ? "" : (const char *)rv->reason.p;
    struct ang_status *st = ang_status_new(ANG_FAILED_PRECONDITION, "Command revoked: %.*s", n, reason);
    char root[ANG_UUID_TEXT + 1];

    ang_uuid_text(w->root_id.id, root);
    if (rv->send_to_dead_letter_queue)
        dead_letter(w, DEAD_REVOKED, st->msg);
    if (rv->escalate) {
        ang_counter_add(l->meters.escalated, 1);
        ANG_LOG(ANG_LOG_ERROR, "ESCALATE", st->msg, "domain", l->domain->name, "root", root, "command",
                ANG_F("%.*s", (int)w->command_id.n, (const char *)w->command_id.p), LOG_CORRELATION(w));
    }
    if (rv->emit_system_revocation)
        compensation_failed(w, rv);
    finish_status(w, &st);
}

void aggregate_answered(struct work *w, struct ang_slice response, bool business_response) {
    const int64_t max = w->part->lane->set->limits.message;
    struct ang_wire_business_response br = {.result = ANG_RESULT_EVENTS};
    struct ang_status *st;
    struct ang_err *er;

    if ((int64_t)response.n > max) {
        st = ang_status_new(ANG_INTERNAL, "the answer of the business logic has %zu bytes, limits.message is %lld",
                            response.n, (long long)max);
        finish_status(w, &st);
        return;
    }
    er = business_response ? ang_wire_parse_business_response(response, &br)
                           : ang_wire_parse_event_book(response, &br.events);
    if (er != NULL) {
        st = ang_status_new(ANG_INTERNAL, "the answer of the business logic cannot be read: %s", er->msg);
        ang_err_free(&er);
        finish_status(w, &st);
        return;
    }
    switch (br.result) {
    case ANG_RESULT_EVENTS:
        answered_events(w, &br.events);
        return;
    case ANG_RESULT_REVOCATION:
        answered_revocation(w, &br.revocation);
        return;
    case ANG_RESULT_NONE: /* no result: no event, a success that stores nothing */
        memset(&br.events, 0, sizeof br.events);
        answered_events(w, &br.events);
        return;
    }
}
