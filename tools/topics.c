/* angzarr topics list|check|create */
#include <stdlib.h>

#include "tools/look.h"

static const struct tool_usage usage = {
    .name = "topics",
    .operands = "list|check|create",
    .about = "The topics that the configuration needs, as they are in the log.\n"
             "\n"
             "  list     each with what it is, and what it should be where that differs; RECORDS is between\n"
             "           the first and the last offset: markers of transactions and what compaction has\n"
             "           removed count too\n"
             "  check    says what differs and what mends it; 1 when something does\n"
             "  create   makes those that are missing, then checks; one that is there is never changed\n",
    .more = "Nothing that works on the log is disturbed.  `create` on the embedded log needs its folder: stop\n"
            "the process that has it, or let it make them (topology.create).\n",
    .with = TOOL_CONFIG | TOOL_OUTPUT | TOOL_TIMEOUT,
    .min = 1,
    .max = 1,
};

struct found { /* of all topics */
    const struct ang_topic_spec *specs;
    size_t n;
    struct ang_topic_found *topics;
    struct ang_range *ranges; /* of all partitions, topic by topic; NULL: not asked for */
    size_t *first;            /* of each topic, in ranges */
    size_t n_ranges;
};

/* ---- looking ---- */
static struct ang_err *find(struct ang_log *log, const struct look *l, struct found *f) {
    struct ang_err *er;

    *f = (struct found){.specs = l->specs, .n = l->n_specs};
    f->topics = ang_calloc(f->n, sizeof *f->topics);
    er = ang_log_find_topics(log, f->specs, f->n, (int)tool.timeout_ms, f->topics);
    if (er != NULL)
        memset(f->topics, 0, f->n * sizeof *f->topics);
    return (er);
}

static struct ang_err *find_ranges(struct ang_log *log, struct found *f) {
    size_t i;

    f->first = ang_calloc(f->n + 1, sizeof *f->first);
    for (i = 0; i < f->n; i++)
        f->first[i + 1] = f->first[i] + (size_t)f->topics[i].partitions;
    f->n_ranges = f->first[f->n];
    f->ranges = ang_calloc(f->n_ranges + 1, sizeof *f->ranges);
    for (i = 0; i < f->n; i++)
        for (size_t p = f->first[i]; p < f->first[i + 1]; p++)
            f->ranges[p] = (struct ang_range){.topic = ang_log_topic(log, f->specs[i].name),
                                              .partition = (int32_t)(p - f->first[i])};
    return (ang_log_ranges(log, f->ranges, f->n_ranges, (int)tool.timeout_ms));
}

static void found_fini(struct found *f) {
    for (size_t i = 0; i < f->n; i++)
        ang_topic_found_fini(&f->topics[i]);
    free(f->topics);
    free(f->ranges);
    free(f->first);
    *f = (struct found){NULL};
}

/* ---- JSON ---- */
static void put_shape(struct ang_buf *b, const char *name, int32_t partitions, int replication, const char *cleanup,
                      int64_t retention_ms, int64_t max_message) {
    look_key(b, name);
    ang_buf_add_str(b, "{");
    look_put_number(b, "partitions", partitions);
    look_put_number(b, "replication", replication);
    look_put_text(b, "cleanup", cleanup);
    look_put_number(b, "retention_ms", retention_ms);
    look_put_number(b, "max_message", max_message);
}

static void put_ranges(struct ang_buf *b, const struct found *f, size_t i) {
    look_key(b, "offsets");
    ang_buf_add_str(b, "[");
    for (size_t p = f->first[i]; p < f->first[i + 1]; p++) {
        ang_buf_add_str(b, p == f->first[i] ? "{" : ",{");
        look_put_number(b, "partition", f->ranges[p].partition);
        look_put_offset(b, "begin", f->ranges[p].begin);
        look_put_offset(b, "end", f->ranges[p].end);
        if (f->ranges[p].why != NULL)
            look_put_text(b, "why", f->ranges[p].why);
        ang_buf_add_str(b, "}");
    }
    ang_buf_add_str(b, "]");
}

static void print_json(const struct found *f, size_t i) {
    const struct ang_topic_found *t = &f->topics[i];
    const struct ang_topic_spec *s = &f->specs[i];
    struct ang_buf b = {NULL, 0, 0};

    ang_buf_add_str(&b, "{");
    look_put_text(&b, "topic", s->name);
    put_shape(&b, "wanted", s->partitions, s->replication, s->compact ? "compact" : "delete", s->retention_ms,
              s->max_message);
    ang_buf_add_str(&b, "}");
    if (t->there) {
        put_shape(&b, "found", t->partitions, t->replication, t->cleanup, t->retention_ms, t->max_message);
        look_put_number(&b, "min_insync", t->min_insync);
        ang_buf_add_str(&b, "}");
    } else {
        look_put_text(&b, "found", NULL);
    }
    if (f->ranges != NULL)
        put_ranges(&b, f, i);
    look_put_lines(&b, "differs", ang_buf_slice(&t->differs));
    look_put_lines(&b, "notes", ang_buf_slice(&t->notes));
    ang_buf_add_str(&b, "}");
    tool_line(ang_buf_slice(&b));
    ang_buf_fini(&b);
}

/* ---- the table ---- */

/* What is found, and what was wanted where it is not that. */
static const char *cell(struct ang_buf *b, const char *found, const char *wanted, bool fits) {
    ang_buf_clear(b);
    ang_buf_add_str(b, found);
    if (!fits)
        ang_buf_addf(b, " (want %s)", wanted);
    ang_buf_add_u8(b, '\0');
    return ((const char *)b->p);
}

static const char *records(const struct found *f, size_t i, char out[48]) {
    int64_t sum = 0;

    for (size_t p = f->first[i]; p < f->first[i + 1]; p++) {
        if (f->ranges[p].begin == ANG_OFFSET_NONE || f->ranges[p].end == ANG_OFFSET_NONE)
            return ("?");
        sum += f->ranges[p].end - f->ranges[p].begin;
    }
    (void)snprintf(out, 48, "%lld", (long long)sum);
    return (out);
}

static const char *number(int64_t n, char out[24]) {
    (void)snprintf(out, 24, "%lld", (long long)n);
    return (out);
}

static void add_row(struct tool_table *table, const struct found *f, size_t i) {
    const struct ang_topic_found *t = &f->topics[i];
    const struct ang_topic_spec *s = &f->specs[i];
    const bool kafka = tool.settings->log.type == ANG_LOGTYPE_KAFKA;
    const bool kept = s->compact || t->retention_ms < 0 || (s->retention_ms >= 0 && t->retention_ms >= s->retention_ms);
    struct ang_buf cells[4] = {{NULL, 0, 0}};
    char n[6][24], d[2][32], all[48];

    if (!t->there)
        tool_table_add(table, s->name, "-", "-", "-", "-", "-", "-", "missing", (char *)0);
    else
        tool_table_add(
            table, s->name,
            cell(&cells[0], number(t->partitions, n[0]), number(s->partitions, n[1]), t->partitions == s->partitions),
            kafka ? cell(&cells[1], number(t->replication, n[2]), number(s->replication, n[3]),
                         t->replication >= s->replication)
                  : "-",
            kafka ? number(t->min_insync, n[4]) : "-",
            cell(&cells[2], t->cleanup, s->compact ? "compact" : "delete",
                 strcmp(t->cleanup, s->compact ? "compact" : "delete") == 0),
            cell(&cells[3], look_duration(t->retention_ms, d[0]), look_duration(s->retention_ms, d[1]), kept),
            records(f, i, all), t->differs.n > 0 ? "differs" : "ok", (char *)0);
    for (size_t c = 0; c < ANG_COUNT(cells); c++)
        ang_buf_fini(&cells[c]);
}

static void print_table(const struct found *f) {
    static const char *const heads[] = {"TOPIC",   "PARTITIONS", "REPLICATION", "MIN.INSYNC",
                                        "CLEANUP", "RETENTION",  "RECORDS",     "STATE"};
    struct tool_table *table = tool_table_new(heads, ANG_COUNT(heads));

    for (size_t i = 0; i < f->n; i++)
        add_row(table, f, i);
    tool_table_print(table, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 6);
    tool_table_free(table);
}

/* ---- list, check ---- */
static int list(struct ang_log *log, struct found *f) {
    struct ang_err *er = find_ranges(log, f);

    if (er != NULL)
        return (tool_fail(&er));
    for (size_t i = 0; tool.json && i < f->n; i++)
        print_json(f, i);
    if (!tool.json)
        print_table(f);
    return (ANG_TOOL_DONE);
}

static int check(const struct found *f) {
    size_t differ = 0, missing = 0;

    for (size_t i = 0; i < f->n; i++) {
        const struct ang_topic_found *t = &f->topics[i];

        missing += !t->there;
        differ += t->there && t->differs.n > 0;
        if (tool.json) {
            print_json(f, i);
            continue;
        }
        printf("%.*s", (int)t->differs.n, t->differs.n == 0 ? "" : (const char *)t->differs.p);
        if (t->notes.n > 0)
            printf("note: %.*s", (int)t->notes.n, (const char *)t->notes.p);
    }
    if (!tool.json && missing + differ == 0)
        printf("%zu topics are as they should be\n", f->n);
    else if (!tool.json)
        printf("%zu topics: %zu missing%s, %zu different\n", f->n, missing,
               missing > 0 ? " (`angzarr topics create` makes them)" : "", differ);
    return (missing + differ == 0 ? ANG_TOOL_DONE : ANG_TOOL_FAILED);
}

/* ---- create ---- */

/* Only those: ensuring one that is there could change it. */
static struct ang_err *make_missing(struct ang_log *log, const struct found *f) {
    struct ang_topic_spec *missing = ang_calloc(f->n + 1, sizeof *missing);
    struct ang_err *er = NULL;
    size_t n = 0;

    for (size_t i = 0; i < f->n; i++)
        if (!f->topics[i].there)
            missing[n++] = f->specs[i];
    if (n > 0)
        er = ang_log_ensure_topics(log, missing, n, true, (int)tool.timeout_ms);
    for (size_t i = 0; er == NULL && !tool.json && i < n; i++)
        printf("created %s\n", missing[i].name);
    free(missing);
    return (er);
}

static int create(void) {
    struct look l = {NULL};
    struct found f = {NULL};
    struct ang_err *er = ang_log_open(tool.settings, "topics", &l.log);

    if (er != NULL)
        return (tool_fail(&er));
    l.topology = ang_topology_new(tool.settings, l.log);
    l.specs = ang_topology_specs(l.topology, &l.n_specs);
    er = find(l.log, &l, &f);
    if (er == NULL)
        er = make_missing(l.log, &f);
    found_fini(&f);
    if (er == NULL)
        er = find(l.log, &l, &f);
    const int rc = er == NULL ? check(&f) : tool_fail(&er);
    found_fini(&f);
    look_close(&l);
    return (rc);
}

/* ---- the tool ---- */
static int look_at(const char *what) {
    struct look l;
    struct found f;
    struct ang_err *er;
    int rc = look_open(&l);

    if (rc == ANG_TOOL_NO_ANSWER && tool.settings->log.type == ANG_LOGTYPE_EMBEDDED) {
        tool_say("none of its topics is there: `angzarr topics create` makes the log and them");
        rc = ANG_TOOL_FAILED;
    }
    if (rc != ANG_TOOL_DONE)
        return (rc);
    er = find(l.log, &l, &f);
    if (er != NULL)
        rc = tool_fail(&er);
    else
        rc = strcmp(what, "list") == 0 ? list(l.log, &f) : check(&f);
    found_fini(&f);
    look_close(&l);
    return (rc);
}

int tool_topics(int argc, char **argv) {
    const char *what;
    int rc;

    if (tool_begin(&usage, argc, argv, &rc))
        return (rc);
    what = tool.operands[0];
    if (strcmp(what, "list") != 0 && strcmp(what, "check") != 0 && strcmp(what, "create") != 0)
        return (tool_end(tool_misuse("expected list, check or create, got \"%.80s\"", what)));
    look_quit_at_signal(ANG_TOOL_INTERRUPTED);
    rc = tool_settings(true);
    if (rc == ANG_TOOL_DONE)
        rc = strcmp(what, "create") == 0 ? create() : look_at(what);
    return (tool_end(rc));
}
