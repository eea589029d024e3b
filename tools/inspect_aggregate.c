/* angzarr inspect aggregate DOMAIN ROOT: all that the log has of a root, and whether its numbers are whole.
 *
 * Records are kept as they come; a page is looked at when it is printed. */
#include <stdlib.h>

#include "proto/frame.h"
#include "tools/inspect.h"

struct numbering { /* over all records, in the order of the log */
    uint32_t next; /* the number that must come */
    size_t pages;
    struct ang_buf problems; /* lines */
};

struct history {
    const struct look *l;
    const struct inspect_range *range;
    struct ang_buf key; /* "<root>" or "<root>@<edition>" */
    struct ang_rec **recs;
    size_t n, cap;
    struct ang_rec *snapshot; /* the newest that fits */
    uint32_t snapshot_sequence;
    bool newer; /* there is one, but it is above --from */
    struct numbering num;
};

static bool in_range(const struct inspect_range *r, uint32_t num) {
    return ((!r->from.given || num >= r->from.value) && (!r->to.given || num <= r->to.value));
}

/* ---- numbers ---- */
static void note_number(struct numbering *n, uint32_t num, int64_t offset) {
    if (num < n->next)
        ang_buf_addf(&n->problems, "event %u is there again, at offset %lld\n", num, (long long)offset);
    else if (num == n->next + 1)
        ang_buf_addf(&n->problems, "event %u is missing: at offset %lld comes %u\n", n->next, (long long)offset, num);
    else if (num > n->next)
        ang_buf_addf(&n->problems, "events %u to %u are missing: at offset %lld comes %u\n", n->next, num - 1,
                     (long long)offset, num);
    if (num >= n->next)
        n->next = num + 1;
    n->pages++;
}

static void note_record(struct numbering *n, const struct ang_rec *rec) {
    struct ang_wire_event_book book;
    struct ang_wire_event_page page;
    struct ang_wire_iter it;
    struct ang_err *er;

    if (rec->tombstone)
        return; /* the numbers that it takes away are missing, which is said */
    er = ang_wire_parse_event_book(rec->value, &book);
    if (er != NULL) {
        ang_buf_addf(&n->problems, "the record at offset %lld cannot be read: %s\n", (long long)rec->offset, er->msg);
        ang_err_free(&er);
        return;
    }
    it = ang_wire_iter_of(book.pages);
    while (ang_wire_event_pages_next(&it, &page)) {
        if (page.has_num)
            note_number(n, page.num, rec->offset);
        else
            ang_buf_addf(&n->problems, "the record at offset %lld has an event without a number\n",
                         (long long)rec->offset);
    }
}

/* ---- reading ---- */

/* "<key>/0000000003" */
static bool is_of(const struct history *h, const struct ang_rec *rec) {
    return (rec->key.n > h->key.n && memcmp(rec->key.p, h->key.p, h->key.n) == 0 && rec->key.p[h->key.n] == '/');
}

static bool take_event(void *arg, struct ang_rec **rec) {
    struct history *h = arg;

    if (!is_of(h, *rec))
        return (true);
    if (h->n == h->cap) {
        h->cap = h->cap == 0 ? 64 : h->cap * 2;
        h->recs = ang_realloc(h->recs, h->cap * sizeof(*h->recs));
    }
    note_record(&h->num, *rec);
    h->recs[h->n++] = *rec;
    *rec = NULL;
    return (true);
}

static bool take_snapshot(void *arg, struct ang_rec **rec) {
    struct history *h = arg;
    struct ang_wire_snapshot snap;
    struct ang_err *er;

    if ((*rec)->tombstone || !ang_slice_eq((*rec)->key, ang_buf_slice(&h->key)))
        return (true);
    er = ang_wire_parse_snapshot((*rec)->value, &snap);
    if (er != NULL) {
        ang_buf_addf(&h->num.problems, "the snapshot at offset %lld cannot be read: %s\n", (long long)(*rec)->offset,
                     er->msg);
        ang_err_free(&er);
    } else if (h->range->from.given && snap.sequence > h->range->from.value) {
        h->newer = true;
    } else {
        ang_rec_free(&h->snapshot);
        h->snapshot = *rec;
        h->snapshot_sequence = snap.sequence;
        *rec = NULL;
    }
    return (true);
}

/* ---- printing ---- */

/* What a record tells, in words or as JSON. */
struct told {
    struct ang_buf command, correlation, pages;
    char time[32];
    uint32_t first, last;
    size_t n; /* pages in range */
};

static int tell_page(struct told *t, const struct ang_wire_event_page *page) {
    struct ang_buf json = {NULL, 0, 0};
    const int rc = tool_json("angzarr.EventPage", page->raw, &json);

    if (t->n == 0)
        t->first = page->num;
    t->last = page->num;
    if (tool.json)
        ang_buf_add_str(&t->pages, t->n == 0 ? "" : ",");
    else
        ang_buf_add_str(&t->pages, "    ");
    ang_buf_add_slice(&t->pages, ang_buf_slice(&json));
    if (!tool.json)
        ang_buf_add_str(&t->pages, "\n");
    t->n++;
    ang_buf_fini(&json);
    return (rc);
}

static int tell(const struct history *h, const struct ang_rec *rec, struct told *t) {
    struct ang_wire_event_book book;
    struct ang_wire_event_page page;
    struct ang_wire_iter it;
    struct ang_err *er = rec->tombstone ? NULL : ang_wire_parse_event_book(rec->value, &book);
    int rc = ANG_TOOL_DONE;

    *t = (struct told){.n = 0};
    tool_time_text(rec->time_ms * 1000, t->time);
    inspect_header(rec, "command-id", &t->command);
    inspect_header(rec, "correlation-id", &t->correlation);
    if (rec->tombstone || er != NULL) { /* which is among the problems */
        ang_err_free(&er);
        return (ANG_TOOL_DONE);
    }
    it = ang_wire_iter_of(book.pages);
    while (rc == ANG_TOOL_DONE && ang_wire_event_pages_next(&it, &page))
        if (page.has_num && in_range(h->range, page.num))
            rc = tell_page(t, &page);
    return (rc);
}

static void told_fini(struct told *t) {
    ang_buf_fini(&t->command);
    ang_buf_fini(&t->correlation);
    ang_buf_fini(&t->pages);
}

static void print_record_json(const struct ang_rec *rec, const struct told *t) {
    struct ang_buf b = {NULL, 0, 0};

    ang_buf_add_str(&b, "{");
    look_put_number(&b, "offset", rec->offset);
    look_put_text(&b, "time", t->time);
    look_put_slice(&b, "command_id", ang_buf_slice(&t->command));
    look_put_slice(&b, "correlation_id", ang_buf_slice(&t->correlation));
    look_put_number(&b, "first", t->first);
    look_put_number(&b, "last", t->last);
    look_key(&b, "events");
    ang_buf_addf(&b, "[%.*s]}", (int)t->pages.n, (const char *)t->pages.p);
    tool_line(ang_buf_slice(&b));
    ang_buf_fini(&b);
}

static void print_record_text(const struct ang_rec *rec, const struct told *t) {
    struct ang_buf b = {NULL, 0, 0};

    ang_buf_addf(&b, "offset %lld  events %u to %u  %s", (long long)rec->offset, t->first, t->last, t->time);
    if (t->command.n > 0)
        ang_buf_add_str(&b, "  command-id ");
    tool_add_shown(&b, ang_buf_slice(&t->command));
    if (t->correlation.n > 0)
        ang_buf_add_str(&b, "  correlation-id ");
    tool_add_shown(&b, ang_buf_slice(&t->correlation));
    printf("%.*s\n%.*s", (int)b.n, (const char *)b.p, (int)t->pages.n, (const char *)t->pages.p);
    ang_buf_fini(&b);
}

static int print_records(const struct history *h) {
    int rc = ANG_TOOL_DONE;

    for (size_t i = 0; i < h->n && rc == ANG_TOOL_DONE; i++) {
        struct told t;

        rc = tell(h, h->recs[i], &t);
        if (rc == ANG_TOOL_DONE && t.n > 0 && tool.json)
            print_record_json(h->recs[i], &t);
        else if (rc == ANG_TOOL_DONE && t.n > 0)
            print_record_text(h->recs[i], &t);
        told_fini(&t);
    }
    return (rc);
}

static int print_snapshot(const struct history *h) {
    struct ang_buf json = {NULL, 0, 0}, b = {NULL, 0, 0};
    int rc = ANG_TOOL_DONE;
    char time[32];

    if (h->snapshot == NULL) {
        if (!tool.json)
            printf("snapshot: none%s\n", h->newer ? " at or before --from any more, only a newer one" : "");
        return (rc);
    }
    rc = tool_json("angzarr.Snapshot", h->snapshot->value, &json);
    tool_time_text(h->snapshot->time_ms * 1000, time);
    if (tool.json) {
        ang_buf_add_str(&b, "{");
        look_put_number(&b, "offset", h->snapshot->offset);
        look_put_text(&b, "time", time);
        look_key(&b, "snapshot");
        ang_buf_add_slice(&b, ang_buf_slice(&json));
        ang_buf_add_str(&b, "}");
    } else {
        ang_buf_addf(&b, "snapshot: offset %lld  after event %u  %s\n    ", (long long)h->snapshot->offset,
                     h->snapshot_sequence, time);
        ang_buf_add_slice(&b, ang_buf_slice(&json));
    }
    if (rc == ANG_TOOL_DONE)
        tool_line(ang_buf_slice(&b));
    ang_buf_fini(&json);
    ang_buf_fini(&b);
    return (rc);
}

static void print_summary(const struct history *h, const struct ang_range *r) {
    struct ang_buf b = {NULL, 0, 0};

    if (!tool.json) {
        printf("%.*s: %zu records in %s/%d with %zu events, next is %u\n", (int)h->key.n, (const char *)h->key.p, h->n,
               r->topic->name, r->partition, h->num.pages, h->num.next);
        return;
    }
    ang_buf_add_str(&b, "{");
    look_put_slice(&b, "root", ang_buf_slice(&h->key));
    look_put_text(&b, "topic", r->topic->name);
    look_put_number(&b, "partition", r->partition);
    look_put_number(&b, "records", (int64_t)h->n);
    look_put_number(&b, "events", (int64_t)h->num.pages);
    look_put_number(&b, "next_sequence", h->num.next);
    look_put_lines(&b, "problems", ang_buf_slice(&h->num.problems));
    ang_buf_add_str(&b, "}");
    tool_line(ang_buf_slice(&b));
    ang_buf_fini(&b);
}

static int say_problems(const struct history *h) {
    struct ang_slice left = ang_buf_slice(&h->num.problems);

    while (left.n > 0) {
        const uint8_t *end = memchr(left.p, '\n', left.n);

        AN(end);
        tool_say("%.*s", (int)(end - left.p), (const char *)left.p);
        left = ang_slice_of(end + 1, left.n - (size_t)(end + 1 - left.p));
    }
    return (h->num.problems.n == 0 ? ANG_TOOL_DONE : ANG_TOOL_FAILED);
}

/* ---- the tool ---- */
static int print_all(const struct history *h, const struct ang_range *r) {
    int rc;

    if (h->n == 0 && h->snapshot == NULL && !h->newer && h->num.problems.n == 0) {
        tool_say("%s/%d has nothing of %.*s", r->topic->name, r->partition, (int)h->key.n, (const char *)h->key.p);
        return (ANG_TOOL_FAILED);
    }
    print_summary(h, r);
    rc = print_snapshot(h);
    if (rc == ANG_TOOL_DONE)
        rc = print_records(h);
    return (rc == ANG_TOOL_DONE ? say_problems(h) : rc);
}

static const struct ang_topic_spec *spec_of(const struct look *l, const struct ang_topic *topic) {
    for (size_t i = 0; i < l->n_specs; i++)
        if (strcmp(l->specs[i].name, topic->name) == 0)
            return (&l->specs[i]);
    ang_panic(__FILE__, __LINE__, __func__, "a topic of a domain that is not needed");
}

static int read_both(struct history *h, const struct ang_domain *d, int32_t partition, struct ang_range *ret_events) {
    struct ang_range snapshots;
    int rc = look_range(h->l, spec_of(h->l, d->events), partition, ret_events);

    if (rc == ANG_TOOL_DONE)
        rc = look_range(h->l, spec_of(h->l, d->snapshots), partition, &snapshots);
    if (rc == ANG_TOOL_DONE)
        rc = look_scan(h->l, ret_events, take_event, h);
    if (rc == ANG_TOOL_DONE)
        rc = look_scan(h->l, &snapshots, take_snapshot, h);
    return (rc);
}

int inspect_aggregate(const struct look *l, const char *domain, const char *root, const char *edition,
                      const struct inspect_range *range) {
    const struct ang_domain *d = look_domain(l, domain);
    struct history h = {.l = l, .range = range};
    struct ang_range events;
    struct ang_uuid id;
    int rc;

    if (d == NULL || !tool_root(root, &id))
        return (ANG_TOOL_USAGE);
    ang_root_text(&h.key, id.b, ang_slice_str(edition));
    rc = read_both(&h, d, ang_partition_of_root(id.b, d->partitions), &events);
    if (rc == ANG_TOOL_DONE)
        rc = print_all(&h, &events);
    for (size_t i = 0; i < h.n; i++)
        ang_rec_free(&h.recs[i]);
    free(h.recs);
    ang_rec_free(&h.snapshot);
    ang_buf_fini(&h.key);
    ang_buf_fini(&h.num.problems);
    return (rc);
}
