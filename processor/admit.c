/* From a record to a work: the frame is checked, the root and its partition are computed from the cover, copies of what is
 * under way or done are found (lane.md L3, L6, L7, L13). */
#include "processor/lane_priv.h"

#include <stdio.h>

void work_free(struct work *w) {
    struct effect *e;
    struct work *c;
    struct lane *l;

    if (w == NULL)
        return;
    ANG_CHECK(w, WORK_MAGIC);
    l = w->part->lane;
    if (w->indexed)
        ang_table_remove(&l->ids, &w->by_id);
    while ((c = TAILQ_FIRST(&w->copies)) != NULL) {
        TAILQ_REMOVE(&w->copies, c, link);
        work_free(c);
    }
    while ((e = STAILQ_FIRST(&w->effects)) != NULL) {
        STAILQ_REMOVE_HEAD(&w->effects, link);
        effect_free(l, e);
    }
    ang_timer_cancel(l->loop, &w->retry);
    l->open_bytes -= sizeof *w + w->rec->bytes;
    ang_rec_free(&w->rec);
    ang_buf_fini(&w->rewritten);
    ang_status_free(&w->status);
    ang_blob_unref(w->response);
    w->magic = 0;
    if (l->n_spare_works + 1 > SPARES_MAX) {
        free(w);
        return;
    }
    TAILQ_INSERT_HEAD(&l->spare_works, w, link);
    l->n_spare_works++;
}

static struct work *work_alloc(struct lane *l) {
    struct work *w = TAILQ_FIRST(&l->spare_works);

    if (w == NULL)
        return (ANG_NEW(struct work));
    TAILQ_REMOVE(&l->spare_works, w, link);
    l->n_spare_works--;
    memset(w, 0, sizeof *w);
    return (w);
}

void spares_free(struct lane *l) {
    struct effect *e;
    struct work *w;

    while ((e = STAILQ_FIRST(&l->spare_effects)) != NULL) {
        STAILQ_REMOVE_HEAD(&l->spare_effects, link);
        free(e);
    }
    while ((w = TAILQ_FIRST(&l->spare_works)) != NULL) {
        TAILQ_REMOVE(&l->spare_works, w, link);
        free(w);
    }
}

static int64_t header_ms(struct lane *l, const struct ang_rec *rec, const char *name, int64_t absent) {
    struct ang_slice v;
    uint64_t n;

    if (!ang_rec_hdr(rec, name, &v))
        return (absent);
    if (ang_slice_to_u64(v, &n) && n < (uint64_t)1 << 52)
        return ((int64_t)n);
    ang_counter_add(l->meters.bad_headers, 1);
    return (absent);
}

static struct work *work_new(struct part *p, int input, struct ang_rec *rec) {
    struct lane *l = p->lane;
    struct work *w = work_alloc(l);
    struct ang_slice id;

    w->magic = WORK_MAGIC;
    w->part = p;
    w->epoch = p->epoch;
    w->input = input;
    w->offset = rec->offset;
    w->rec = rec;
    l->open_bytes += sizeof *w + rec->bytes;
    business_work_init(w);
    STAILQ_INIT(&w->effects);
    TAILQ_INIT(&w->copies);
    if (ang_rec_hdr(rec, "command-id", &id) && ang_command_id_ok(id)) {
        w->command_id = id;
    } else {
        snprintf(w->input_text, sizeof w->input_text, "%.40s/%d/%lld", rec->topic->name, rec->partition,
                 (long long)rec->offset);
        w->command_id = ang_slice_str(w->input_text);
    }
    if (!ang_rec_hdr(rec, "reply-to", &w->reply_to) || !ang_command_id_ok(w->reply_to))
        w->reply_to = ANG_SLICE_NONE;
    w->is_record = ang_rec_hdr(rec, "kind", &id) && ang_slice_is(id, "record");
    w->attempt = (uint32_t)header_ms(l, rec, "attempt", 1);
    w->start_ms = header_ms(l, rec, "start", rec->time_ms);
    w->deadline_ms = header_ms(l, rec, "deadline", rec->time_ms + l->set->limits.command_ttl_ms);
    if (rec->offset < p->in[input].replay_below) { /* its callers have gone; it is a new call, not a copy of theirs */
        w->reply_to = ANG_SLICE_NONE;
        w->start_ms = ang_wall_ms();
        w->deadline_ms = w->start_ms + l->set->limits.command_ttl_ms;
    }
    p->open++;
    return (w);
}

/* A record that can never be run: kept in the dead-letter topic, told once a while, and its input is done. */
static void reject(struct work *w, enum dead_reason why, const char *text) {
    struct lane *l = w->part->lane;

    dead_letter(w, why, text);
    ANG_LOG_EVERY(5000, ANG_LOG_WARN, "DEAD-LETTER", "a record cannot be processed and was put into the dead-letter topic",
                  "topic", w->rec->topic->name, "partition", ANG_F("%d", w->rec->partition), "offset",
                  ANG_F("%lld", (long long)w->offset), "reason", text, "dlq", l->domain->dlq->name);
    w->reply_to = ANG_SLICE_NONE;
    finish(w);
}

/* Why the book cannot be run here; NULL: it can.  In *buf when it had to be composed. */
static const char *refusal(struct work *w, char *buf, size_t n) {
    const struct ang_wire_cover *c = &w->book.cover;
    const char *domain = w->part->lane->domain->name;

    if (!c->present)
        return ("CommandBook must have a cover");
    if (!c->has_root)
        return ("Cover must have a root UUID");
    if (c->root.n != 16)
        return ("Invalid UUID: the root is not 16 bytes");
    if (!ang_slice_is(c->domain, domain)) {
        snprintf(buf, n, "the cover names the domain \"%.*s\", this topic is for \"%s\"",
                 (int)(c->domain.n > 64 ? 64 : c->domain.n), (const char *)c->domain.p, domain);
        return (buf);
    }
    if (c->edition.n > 0 && !ang_name_ok(c->edition))
        return ("Cover.edition.name is not a valid name");
    if (!ang_correlation_ok(c->correlation_id))
        return ("Cover.correlation_id is not valid");
    return (NULL);
}

/* Why the header `kind` is none that can be run; NULL: it is, or there is none. */
static const char *wrong_kind(const struct work *w) {
    struct ang_slice kind;

    if (w->is_record || !ang_rec_hdr(w->rec, "kind", &kind))
        return (NULL);
    return ("its header kind is none that is known: expected record, or no such header");
}

/* Why the book of a record holds no facts for its aggregate (contract 15); NULL: it does.  In *buf when it had to be composed. */
static const char *no_facts(const struct work *w, char *buf, size_t n) {
    const struct ang_wire_any *page = &w->book.first.command;
    const struct ang_topic *events = w->part->lane->domain->events;
    struct ang_wire_event_book book;
    const char *stray;
    struct ang_err *er;

    if (w->book.n_pages != 1 || !ang_slice_is(ang_wire_type_name(page->type_url), "angzarr.EventBook"))
        return ("a record must have one page, which holds an angzarr.EventBook");
    if (page->value.n + 4096 > (size_t)events->max_message) { /* nor would its events fit, were it one page */
        snprintf(buf, n, "the EventBook of a record has %zu bytes, topic %s takes %lld", page->value.n, events->name,
                 (long long)events->max_message);
        return (buf);
    }
    er = ang_wire_parse_event_book(page->value, &book);
    if (er != NULL) {
        snprintf(buf, n, "in a record: %s", er->msg);
        ang_err_free(&er);
        return (buf);
    }
    stray = cover_strays(w, &book.cover);
    if (stray == NULL)
        return (NULL);
    snprintf(buf, n, "the EventBook of a record has a cover that names %s than its CommandBook", stray);
    return (buf);
}

/* A client that partitions otherwise (or a foreign key): to the reactions of the partition where it belongs, once. */
static void forward(struct work *w, int32_t to) {
    struct lane *l = w->part->lane;
    const struct ang_rec *rec = w->rec;
    struct ang_slice had;
    struct effect *e;
    char from[160];

    if (rec->key.n + rec->value.n + 4096 > (size_t)l->domain->reactions->max_message) {
        reject(w, DEAD_MISROUTED, "in the wrong partition, and too large to be forwarded with its headers");
        return;
    }
    if (ang_rec_hdr(rec, "forwarded", &had)) {
        reject(w, DEAD_MISROUTED, "forwarded before, and still in the wrong partition: do the topics differ in their partition counts?");
        return;
    }
    ang_counter_add(l->meters.forwarded, 1);
    snprintf(from, sizeof from, "%s/%d/%lld", rec->topic->name, rec->partition, (long long)rec->offset);
    ANG_LOG_EVERY(5000, ANG_LOG_WARN, "MISROUTED",
                  "a command is in the wrong partition and was forwarded; its producer does not use murmur2 over the root",
                  "input", from, "to", ANG_F("%d", to), "total", ANG_F("%llu", (unsigned long long)ang_counter_value(l->meters.forwarded)),
                  LOG_CORRELATION(w));
    e = effect_new(l, EFFECT_OTHER, l->domain->reactions, to);
    e->out.key = rec->key;
    e->out.value = rec->value;
    effect_hdr(e, "command-id", w->command_id);
    effect_hdr(e, "forwarded", ang_slice_str(from));
    effect_hdrf(e, "start", "%lld", (long long)w->start_ms);
    effect_hdrf(e, "deadline", "%lld", (long long)w->deadline_ms);
    effect_hdrf(e, "attempt", "%u", w->attempt);
    if (w->reply_to.n > 0)
        effect_hdr(e, "reply-to", w->reply_to);
    if (w->is_record)
        effect_hdr(e, "kind", ang_slice_str("record"));
    if (ang_rec_hdr(rec, "traceparent", &had))
        effect_hdr(e, "traceparent", had);
    STAILQ_INSERT_TAIL(&w->effects, e, link);
    w->reply_to = ANG_SLICE_NONE; /* the partition that runs it answers */
    finish(w);
}

static uint64_t id_hash(const struct work *w) {
    return (ang_hash((uint64_t)(uintptr_t)w->root, w->command_id.p, w->command_id.n));
}

/* The open work of which w is a copy. */
static struct work *original(struct lane *l, const struct work *w) {
    const uint64_t h = id_hash(w);
    struct ang_node *n;

    for (n = ang_table_first(&l->ids, h); n != NULL; n = ang_table_more(n->next, h)) {
        struct work *o = ANG_CONTAINER(n, struct work, by_id);

        if (o->root == w->root && ang_slice_eq(o->command_id, w->command_id))
            return (o);
    }
    return (NULL);
}

/* Gives w, a copy, the outcome of o. */
static void same_outcome(struct work *w, const struct work *o) {
    w->code = o->code;
    w->status = o->status == NULL ? NULL : ang_status_dup(o->status);
    w->response = o->response == NULL ? NULL : ang_blob_ref(o->response);
    w->open_status = o->open_status;
    ang_counter_add(w->part->lane->meters.copies, 1);
    finish(w);
}

void finish_copies(struct work *o) {
    struct work *c;

    while ((c = TAILQ_FIRST(&o->copies)) != NULL) {
        TAILQ_REMOVE(&o->copies, c, link);
        same_outcome(c, o);
    }
}

static void copy_of(struct work *w, struct work *o) {
    if (o->finished)
        same_outcome(w, o);
    else
        TAILQ_INSERT_TAIL(&o->copies, w, link);
}

static struct ang_err *parse(struct work *w) {
    struct ang_uuid id;
    char text[ANG_UUID_TEXT + 1];
    struct ang_err *er = ang_wire_parse_command_book(w->rec->value, &w->book);

    if (er != NULL || w->book.cover.correlation_id.n > 0 || !w->book.cover.present)
        return (er);
    /* Came past the gateway without a correlation id: it gets the one the gateway would have given. */
    ang_uuid_v5(&ang_uuid_ns_correlation, w->rec->value, &id);
    ang_uuid_text(id.b, text);
    ang_wire_add_command_book(&w->rewritten, &w->book, ang_slice_str(text));
    return (ang_wire_parse_command_book(ang_buf_slice(&w->rewritten), &w->book));
}

/* again: it has waited its turn as an offset. */
static void enqueue(struct work *w, bool again) {
    struct lane *l = w->part->lane;
    struct work *o;

    w->root = part_root(w->part, &w->root_id);
    w->root->open++;
    o = original(l, w);
    if (o != NULL) {
        copy_of(w, o);
        return;
    }
    if (!again && tail_takes(w))
        return;
    ang_table_add(&l->ids, &w->by_id, id_hash(w));
    w->indexed = true;
    TAILQ_INSERT_TAIL(&w->root->queue, w, link);
    w->root->queued++;
    aggregate_next(w->root);
}

static int input_of(const struct lane *l, const struct ang_rec *rec) {
    return (rec->topic == l->domain->commands ? INPUT_COMMANDS : INPUT_REACTIONS);
}

/* What becomes of a record that is not done. */
static void classify(struct work *w, bool again) {
    struct part *p = w->part;
    struct ang_err *er;
    const char *why;
    char buf[192];
    int32_t to;

    if (poison_drop(w))
        return;
    why = wrong_kind(w);
    if (why != NULL) {
        reject(w, DEAD_INVALID, why);
        return;
    }
    er = parse(w);
    if (er != NULL) {
        reject(w, DEAD_UNREADABLE, er->msg);
        ang_err_free(&er);
        return;
    }
    why = refusal(w, buf, sizeof buf);
    if (why == NULL && w->is_record)
        why = no_facts(w, buf, sizeof buf);
    if (why != NULL) {
        reject(w, DEAD_INVALID, why);
        return;
    }
    memcpy(w->root_id.id, w->book.cover.root.p, 16);
    w->root_id.edition = w->book.cover.edition;
    if (poison_end(w))
        return;
    to = ang_partition_of_root(w->root_id.id, p->lane->domain->partitions);
    if (to != p->no)
        forward(w, to);
    else
        enqueue(w, again);
}

void admit_again(struct part *p, int input, struct ang_rec *rec) {
    classify(work_new(p, input, rec), true);
}

void admit(struct lane *l, struct ang_rec *rec) {
    struct part *p = &l->parts[rec->partition];
    const int i = input_of(l, rec);
    struct input *in = &p->in[i];
    struct work *w;

    ANG_CHECK(rec, ANG_REC_MAGIC);
    if (!in->reading || rec->offset < in->next) {
        ang_rec_free(&rec);
        return;
    }
    /* What lies between was never a record (markers, aborted work) or is deleted: nothing there will ever be done. */
    ang_doneset_mark_range(&in->done, in->next, rec->offset);
    in->next = rec->offset + 1;
    if (ang_doneset_contains(&in->done, rec->offset)) {
        ang_rec_free(&rec);
        return;
    }
    w = work_new(p, i, rec);
    if (rec->tombstone || (rec->key.n > 0 && rec->key.p[0] == '!')) {
        ang_counter_add(l->meters.skipped, 1);
        ANG_LOG_EVERY(5000, ANG_LOG_WARN, "SKIPPED", "a record without a value is no command and was skipped", "topic",
                      rec->topic->name, "partition", ANG_F("%d", rec->partition), "offset",
                      ANG_F("%lld", (long long)rec->offset), "total", ANG_F("%llu", (unsigned long long)ang_counter_value(l->meters.skipped)));
        w->reply_to = ANG_SLICE_NONE;
        finish(w);
        return;
    }
    classify(w, false);
}
