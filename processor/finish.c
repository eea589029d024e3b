/* How works end: with effects, an answer, or both; all of them go into the next batch, so that the input is marked done in
 * the transaction that makes the outcome final, and only then the answer is given (lane.md L2).  Only a status that leaves the
 * command open is told at once. */
#include "processor/lane_priv.h"

#include <stdarg.h>
#include <stdio.h>

/* A header longer than this is cut: they are for people and tools. */
#define HEADER_MAX 512

/* ---- effects ---- */
struct effect *effect_new(struct lane *l, enum effect_kind kind, const struct ang_topic *topic, int32_t partition) {
    struct effect *e = STAILQ_FIRST(&l->spare_effects);

    if (e != NULL) {
        STAILQ_REMOVE_HEAD(&l->spare_effects, link);
        l->n_spare_effects--;
    } else {
        e = ang_malloc(sizeof *e);
    }
    memset(e, 0, offsetof(struct effect, text));
    e->kind = kind;
    e->out.topic = topic;
    e->out.partition = partition;
    e->out.hdrs = e->hdrs;
    e->out.offset = ANG_OFFSET_NONE;
    return (e);
}

void effect_free(struct lane *l, struct effect *e) {
    ang_blob_unref(e->blob);
    if (l->n_spare_effects + 1 > SPARES_MAX) {
        free(e);
        return;
    }
    STAILQ_INSERT_HEAD(&l->spare_effects, e, link);
    l->n_spare_effects++;
}

/* Copies s into the effect, as much as fits. */
static struct ang_slice keep(struct effect *e, struct ang_slice s) {
    uint8_t *to = e->text + e->n_text;

    if (s.n > sizeof e->text - e->n_text)
        s.n = sizeof e->text - e->n_text;
    if (s.n > 0)
        memcpy(to, s.p, s.n);
    e->n_text += s.n;
    return (ang_slice_of(to, s.n));
}

void effect_hdr(struct effect *e, const char *name, struct ang_slice value) {
    ANG_ASSERT(e->out.n_hdrs < ANG_COUNT(e->hdrs));
    if (value.n > HEADER_MAX)
        value.n = HEADER_MAX;
    e->hdrs[e->out.n_hdrs++] = (struct ang_hdr){name, keep(e, value)};
}

void effect_hdrf(struct effect *e, const char *name, const char *fmt, ...) {
    char text[HEADER_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    effect_hdr(e, name, ang_slice_str(text));
}

void effect_key(struct effect *e, const struct ang_root *id, const uint32_t *first) {
    struct ang_buf b = {NULL, 0, 0};

    ang_root_text(&b, id->id, id->edition);
    if (first != NULL)
        ang_buf_addf(&b, "/%010u", *first);
    e->out.key = keep(e, ang_buf_slice(&b));
    ang_buf_fini(&b);
}

void effect_keyf(struct effect *e, const char *fmt, ...) {
    char text[HEADER_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    e->out.key = keep(e, ang_slice_str(text));
}

/* The failed record as it was, and why.  One that would not fit with its new headers is kept by its digest. */
void dead_letter(struct work *w, enum dead_reason why, const char *text) {
    const struct ang_domain *d = w->part->lane->domain;
    struct effect *e = effect_new(w->part->lane, EFFECT_OTHER, d->dlq, w->part->no);
    struct ang_slice kind;
    struct ang_uuid digest;
    char uuid[ANG_UUID_TEXT + 1];

    w->is_dead = true;
    w->dead = why;
    e->out.key = w->rec->key;
    e->out.value = w->rec->value;
    e->out.tombstone = w->rec->tombstone;
    effect_hdrf(e, "component", "%s", d->group);
    effect_hdrf(e, "reason", "%s", text);
    effect_hdrf(e, "attempts", "%u", w->tries);
    effect_hdrf(e, "source", "%s/%d/%lld", w->rec->topic->name, w->rec->partition, (long long)w->offset);
    effect_hdr(e, "command-id", w->command_id);
    if (ang_rec_hdr(w->rec, "kind", &kind)) /* without it, it would be something else when it is sent again */
        effect_hdr(e, "kind", kind);
    if (w->rec->key.n + w->rec->value.n + 4096 > (size_t)d->dlq->max_message) {
        ang_uuid_v5(&ang_uuid_ns_oid, w->rec->value, &digest);
        ang_uuid_text(digest.b, uuid);
        effect_hdr(e, "value-uuid5", ang_slice_str(uuid));
        e->out.value = ANG_SLICE_NONE;
        if (e->out.key.n > 4096)
            e->out.key.n = 4096;
    }
    STAILQ_INSERT_TAIL(&w->effects, e, link);
}

/* ---- outcomes ---- */
void finish(struct work *w) {
    struct lane *l = w->part->lane;
    struct root *r = w->root;

    AZ(w->finished);
    w->finished = true;
    if (w->status != NULL && !w->open_status && w->reply_to.n > 0)
        refusal_record(w);
    TAILQ_INSERT_TAIL(&l->done, w, link);
    l->n_done++;
    finish_copies(w);
    if (r != NULL && r->running == w) {
        r->running = NULL;
        aggregate_next(r);
    }
}

void finish_status(struct work *w, struct ang_status **st) {
    w->code = (*st)->code;
    w->status = *st;
    *st = NULL;
    finish(w);
}

static struct ang_answer *answer_of(struct work *w) {
    struct ang_answer *a = ANG_NEW(struct ang_answer);

    a->magic = ANG_ANSWER_MAGIC;
    a->domain = w->part->lane->domain;
    memcpy(a->root, w->root_id.id, 16);
    if (w->root_id.edition.n > 0)
        memcpy(a->edition, w->root_id.edition.p, w->root_id.edition.n);
    if (w->command_id.n < sizeof a->command_id)
        memcpy(a->command_id, w->command_id.p, w->command_id.n);
    a->attempt = w->attempt;
    a->partition = w->part->no;
    a->position = w->offset;
    a->code = w->code;
    a->final = !w->open_status;
    a->status = w->status == NULL ? NULL : ang_status_dup(w->status);
    a->response = w->response == NULL ? NULL : ang_blob_ref(w->response);
    return (a);
}

void ang_answer_free(struct ang_answer **ap) {
    struct ang_answer *a = *ap;

    *ap = NULL;
    if (a == NULL)
        return;
    ANG_CHECK(a, ANG_ANSWER_MAGIC);
    ang_status_free(&a->status);
    ang_blob_unref(a->response);
    a->magic = 0;
    free(a);
}

void answers_add(struct answers *as, struct work *w) {
    if (w->reply_to.n == 0 || w->answered)
        return;
    w->answered = true;
    if (as->head != NULL && !ang_slice_is(w->reply_to, as->gateway))
        answers_send(as);
    if (as->head == NULL) {
        ANG_ASSERT(w->reply_to.n < sizeof as->gateway);
        memcpy(as->gateway, w->reply_to.p, w->reply_to.n);
        as->gateway[w->reply_to.n] = '\0';
        as->tail = &as->head;
    }
    *as->tail = answer_of(w);
    as->tail = &(*as->tail)->next;
}

void answers_send(struct answers *as) {
    if (as->head != NULL)
        worker_deliver(as->worker, as->gateway, as->head);
    as->head = NULL;
}

void finish_open(struct work *w, struct ang_status **st) {
    struct answers as = {.worker = w->part->lane->worker};
    struct work *c;

    w->open_status = true;
    w->code = (*st)->code;
    w->status = *st;
    *st = NULL;
    answers_add(&as, w);
    TAILQ_FOREACH(c, &w->copies, link) {
        c->code = w->code;
        c->status = ang_status_dup(w->status);
        answers_add(&as, c);
        ang_status_free(&c->status);
    }
    answers_send(&as);
    finish(w);
}

/* ---- answers from the store ---- */
struct again { /* a command's books, laid together once more */
    struct ang_buf pages;
    struct ang_buf cover;
    uint32_t end;
    struct ang_err *er;
};

static bool again_book(void *arg, const struct ang_store_book *sb) {
    struct again *a = arg;
    struct ang_wire_event_book book;

    if (sb->first >= a->end)
        return (false);
    a->er = ang_wire_parse_event_book(sb->book, &book);
    if (a->er != NULL)
        return (false);
    if (a->cover.n == 0)
        ang_buf_add_slice(&a->cover, book.cover.raw);
    ang_buf_add_slice(&a->pages, book.pages);
    return (true);
}

struct ang_blob *response_of(struct ang_slice cover, struct ang_slice pages, uint32_t next_sequence,
                             struct ang_slice *ret_book) {
    const size_t book = ang_wire_len_bytes(1, cover.n) + pages.n;
    const size_t events = book + ang_wire_len_uint(6, next_sequence);
    struct ang_buf b = {NULL, 0, 0};
    struct ang_blob *blob;
    size_t at;

    ang_buf_reserve(&b, ang_wire_len_bytes(1, events));
    ang_wire_put_header(&b, 1, events);
    at = b.n;
    ang_wire_put_bytes(&b, 1, cover);
    ang_buf_add_slice(&b, pages);
    AZ(b.n - at != book);
    ang_wire_put_uint(&b, 6, next_sequence);
    blob = ang_blob_copy(ang_buf_slice(&b));
    ang_buf_fini(&b);
    if (ret_book != NULL)
        *ret_book = ang_slice_of(ang_blob_bytes(blob) + at, book);
    return (blob);
}

void finish_done(struct work *w, const struct ang_store_done *d) {
    struct again a = {.end = d->first + d->pages};
    struct ang_err *er;
    struct ang_status *st;

    er = ang_store_books(w->part->shard->store, &w->root_id, d->first, again_book, &a);
    if (er == NULL)
        er = a.er;
    if (er == NULL && a.cover.n == 0)
        er = ang_err_new(ANG_E_STORE_CORRUPT, "the events %u to %u of a command that was done are not in the store", d->first,
                         a.end - 1);
    if (er != NULL) {
        st = ang_status_from_err(&er);
        finish_open(w, &st);
    } else {
        ang_counter_add(w->part->lane->meters.copies, 1);
        w->code = ANG_OK;
        w->response = response_of(ang_buf_slice(&a.cover), ang_buf_slice(&a.pages), a.end, NULL);
        finish(w);
    }
    ang_buf_fini(&a.pages);
    ang_buf_fini(&a.cover);
}
