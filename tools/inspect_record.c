/* angzarr inspect record TOPIC PARTITION OFFSET */
#include <stdlib.h>

#include "tools/inspect.h"

#define PEEK_MS 1000 /* for what is there and does not count */

struct wanted {
    const struct look *l;
    int64_t offset;
    int64_t next; /* the first record behind it, when it is not there; ANG_OFFSET_NONE: none */
    bool found;
    int rc;
};

/* ---- printing ---- */
static void print_text(const char *name, struct ang_slice value) {
    struct ang_buf b = {NULL, 0, 0};

    ang_buf_addf(&b, "%-10s ", name);
    tool_add_shown(&b, value);
    tool_line(ang_buf_slice(&b));
    ang_buf_fini(&b);
}

static void print_head(const struct ang_rec *rec) {
    struct ang_buf b = {NULL, 0, 0};
    char time[32];

    tool_time_text(rec->time_ms * 1000, time);
    printf("%-10s %s\n%-10s %d\n%-10s %lld\n%-10s %s\n", "topic", rec->topic->name, "partition", rec->partition,
           "offset", (long long)rec->offset, "time", time);
    print_text("key", rec->key);
    for (uint32_t i = 0; i < rec->n_hdrs; i++) {
        ang_buf_clear(&b);
        ang_buf_addf(&b, "%s: ", rec->hdrs[i].name);
        ang_buf_add_slice(&b, rec->hdrs[i].value);
        print_text("header", ang_buf_slice(&b));
    }
    ang_buf_fini(&b);
}

static void print_value(const struct ang_rec *rec, const struct inspect_value *v) {
    struct ang_buf b = {NULL, 0, 0};

    switch (v->form) {
    case INSPECT_JSON:
        ang_buf_addf(&b, "%-10s %s, %zu bytes\n", "value", v->type == NULL ? "a refusal" : v->type, rec->value.n);
        look_add_pretty(&b, ang_buf_slice(&v->shown), 0);
        break;
    case INSPECT_TEXT:
        ang_buf_addf(&b, "%-10s %.*s", "value", (int)v->shown.n, (const char *)v->shown.p);
        break;
    case INSPECT_HEX:
        ang_buf_addf(&b, "%-10s %zu bytes that are no %s: ", "value", rec->value.n, v->type == NULL ? "mark" : v->type);
        tool_add_shown(&b, ang_buf_slice(&v->why));
        ang_buf_add_str(&b, "\n");
        ang_buf_add_slice(&b, ang_buf_slice(&v->shown));
        break;
    case INSPECT_NOTHING:
        ang_buf_addf(&b, "%-10s none: a tombstone", "value");
        break;
    }
    tool_line(ang_buf_slice(&b));
    ang_buf_fini(&b);
}

static void put_headers(struct ang_buf *b, const struct ang_rec *rec) {
    look_key(b, "headers");
    ang_buf_add_str(b, "[");
    for (uint32_t i = 0; i < rec->n_hdrs; i++) {
        ang_buf_add_str(b, i == 0 ? "{" : ",{");
        look_put_text(b, "name", rec->hdrs[i].name);
        look_put_slice(b, "value", rec->hdrs[i].value);
        ang_buf_add_str(b, "}");
    }
    ang_buf_add_str(b, "]");
}

static void print_json(const struct ang_rec *rec, const struct inspect_value *v) {
    struct ang_buf b = {NULL, 0, 0};
    char time[32];

    tool_time_text(rec->time_ms * 1000, time);
    ang_buf_add_str(&b, "{");
    look_put_text(&b, "topic", rec->topic->name);
    look_put_number(&b, "partition", rec->partition);
    look_put_number(&b, "offset", rec->offset);
    look_put_text(&b, "time", time);
    look_put_slice(&b, "key", rec->key);
    put_headers(&b, rec);
    look_put_text(&b, "type", v->type);
    look_put_bool(&b, "tombstone", rec->tombstone);
    switch (v->form) {
    case INSPECT_JSON:
        look_key(&b, "value");
        ang_buf_add_slice(&b, ang_buf_slice(&v->shown));
        break;
    case INSPECT_TEXT:
        look_put_slice(&b, "value", ang_buf_slice(&v->shown));
        break;
    case INSPECT_HEX:
        look_put_slice(&b, "hex", ang_buf_slice(&v->shown));
        look_put_slice(&b, "error", ang_buf_slice(&v->why));
        break;
    case INSPECT_NOTHING:
        look_put_text(&b, "value", NULL);
        break;
    }
    ang_buf_add_str(&b, "}");
    tool_line(ang_buf_slice(&b));
    ang_buf_fini(&b);
}

static int show(const struct look *l, const struct ang_rec *rec) {
    struct inspect_value v;
    int rc = inspect_value(l, rec, &v);

    if (rc == ANG_TOOL_DONE && tool.json) {
        print_json(rec, &v);
    } else if (rc == ANG_TOOL_DONE) {
        print_head(rec);
        print_value(rec, &v);
    }
    if (rc == ANG_TOOL_DONE && rec->tombstone) {
        tool_say("%s/%d: offset %lld is a tombstone: it has no value", rec->topic->name, rec->partition,
                 (long long)rec->offset);
        rc = ANG_TOOL_FAILED;
    }
    inspect_value_fini(&v);
    return (rc);
}

/* ---- finding ---- */
static bool take(void *arg, struct ang_rec **recp) {
    const struct ang_rec *rec = *recp;
    struct wanted *w = arg;

    w->found = rec->offset == w->offset;
    if (w->found)
        w->rc = show(w->l, rec);
    else
        w->next = rec->offset;
    return (false);
}

/* Whether something stands there that is not committed; nothing rests on it. */
static bool is_written(const struct look *l, const struct ang_range *range, int64_t offset) {
    struct ang_rec *rec = NULL;
    struct ang_err *er = ang_log_peek(l->log, range->topic, range->partition, offset, PEEK_MS, &rec);
    const bool written = er == NULL && rec != NULL;

    ang_err_free(&er);
    ang_rec_free(&rec);
    return (written);
}

static int say_outside(const struct look *l, const struct ang_range *r, int64_t offset) {
    char here[512];

    (void)snprintf(here, sizeof here, "%s/%d", r->topic->name, r->partition);
    if (offset >= r->end && is_written(l, r, offset))
        tool_say("%s: at offset %lld stands a record of a transaction that is open, or behind one: committed is what "
                 "is below "
                 "%lld",
                 here, (long long)offset, (long long)r->end);
    else if (r->begin == r->end)
        tool_say("%s: there is no offset %lld: the partition is empty, its next record gets %lld", here,
                 (long long)offset, (long long)r->end);
    else if (offset >= r->end)
        tool_say("%s: offset %lld is beyond the end: there are %lld to %lld", here, (long long)offset,
                 (long long)r->begin, (long long)r->end - 1);
    else
        tool_say("%s: offset %lld was removed by retention: there are %lld to %lld", here, (long long)offset,
                 (long long)r->begin, (long long)r->end - 1);
    return (ANG_TOOL_FAILED);
}

static int say_gap(const struct look *l, const struct ang_range *r, const struct wanted *w) {
    char next[64];

    if (w->next == ANG_OFFSET_NONE)
        (void)snprintf(next, sizeof next, "none comes behind it");
    else
        (void)snprintf(next, sizeof next, "the next one is %lld", (long long)w->next);
    if (is_written(l, r, w->offset))
        tool_say("%s/%d: the record at offset %lld belongs to a transaction that was aborted; %s", r->topic->name,
                 r->partition, (long long)w->offset, next);
    else
        tool_say(
            "%s/%d: there is no record at offset %lld: the marker of a transaction, or compaction has removed it; %s",
            r->topic->name, r->partition, (long long)w->offset, next);
    return (ANG_TOOL_FAILED);
}

int inspect_record(const struct look *l, const char *topic, const char *partition, const char *offset) {
    const struct ang_topic_spec *spec = look_topic(l, topic);
    struct wanted w = {.l = l, .next = ANG_OFFSET_NONE};
    struct ang_range range;
    uint64_t p, o;
    int rc;

    if (spec == NULL)
        return (ANG_TOOL_USAGE);
    if (!ang_slice_to_u64(ang_slice_str(partition), &p) || p > INT32_MAX)
        return (tool_misuse("PARTITION: expected a whole number, got \"%.80s\"", partition));
    if (!ang_slice_to_u64(ang_slice_str(offset), &o) || o > INT64_MAX - 1)
        return (tool_misuse("OFFSET: expected a whole number, got \"%.80s\"", offset));
    rc = look_range(l, spec, (int32_t)p, &range);
    if (rc != ANG_TOOL_DONE)
        return (rc);
    w.offset = (int64_t)o;
    if (w.offset < range.begin || w.offset >= range.end)
        return (say_outside(l, &range, w.offset));
    const struct ang_range from = {
        .topic = range.topic, .partition = range.partition, .begin = w.offset, .end = range.end};
    rc = look_scan(l, &from, take, &w);
    return (rc != ANG_TOOL_DONE ? rc : w.found ? w.rc : say_gap(l, &range, &w));
}
