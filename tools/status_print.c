/* A look at the system, as tables or as one JSON object. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/status.h"

static const char *const kinds[] = {"gateway", "process", "worker", "business"};

/* ---- JSON ---- */
static void put_input(struct ang_buf *b, const char *name, const struct status_input *in) {
    look_key(b, name);
    ang_buf_add_str(b, "{");
    look_put_offset(b, "committed", in->committed);
    look_put_offset(b, "end", in->end);
    look_put_offset(b, "lag", in->lag);
    look_put_offset(b, "unfinished", in->unfinished);
    ang_buf_add_str(b, "}");
}

static void put_part(struct ang_buf *b, const struct status_part *p) {
    ang_buf_add_str(b, "{");
    look_put_text(b, "domain", p->domain->name);
    look_put_number(b, "partition", p->no);
    look_put_text(b, "state", p->state);
    look_put_bool(b, "served", p->served);
    if (p->percent >= 0)
        look_put_number(b, "percent", p->percent);
    look_put_text(b, "owner", p->worker);
    look_put_text(b, "endpoint", p->endpoint);
    look_put_offset(b, "generation", p->generation); /* -1: null */
    put_input(b, "commands", &p->commands);
    put_input(b, "reactions", &p->reactions);
    if (p->why != NULL)
        look_put_text(b, "why", p->why);
    ang_buf_add_str(b, "}");
}

static void put_component(struct ang_buf *b, const struct status_component *c) {
    ang_buf_add_str(b, "{");
    look_put_text(b, "kind", kinds[c->kind]);
    look_put_text(b, "name", c->name);
    look_put_text(b, "address", c->address);
    look_put_bool(b, "answers", c->answers);
    look_put_bool(b, "serving", c->serving);
    look_put_text(b, "state", c->text);
    ang_buf_add_str(b, "}");
}

static void print_json(const struct status *s) {
    struct ang_buf b = {NULL, 0, 0};
    char time[32];
    size_t i;

    tool_time_text(s->at_us, time);
    ang_buf_add_str(&b, "{");
    look_put_text(&b, "time", time);
    look_put_bool(&b, "ok", s->problems.n == 0);
    look_put_text(&b, "log", tool.settings->log.type == ANG_LOGTYPE_KAFKA ? "kafka" : "embedded");
    look_put_number(&b, "served", (int64_t)s->served);
    look_put_number(&b, "lag", s->lag);
    look_key(&b, "components");
    ang_buf_add_str(&b, "[");
    for (i = 0; i < s->n_components; i++) {
        ang_buf_add_str(&b, i == 0 ? "" : ",");
        put_component(&b, &s->components[i]);
    }
    ang_buf_add_str(&b, "]");
    look_key(&b, "partitions");
    ang_buf_add_str(&b, "[");
    for (i = 0; i < s->n_parts; i++) {
        ang_buf_add_str(&b, i == 0 ? "" : ",");
        put_part(&b, &s->parts[i]);
    }
    ang_buf_add_str(&b, "]");
    look_put_lines(&b, "problems", ang_buf_slice(&s->problems));
    ang_buf_add_str(&b, "}");
    tool_line(ang_buf_slice(&b));
    ang_buf_fini(&b);
}

/* ---- tables ---- */
static void print_summary(const struct status *s) {
    size_t answer = 0;
    char time[32];

    for (size_t i = 0; i < s->n_components; i++)
        answer += s->components[i].serving;
    tool_time_text(s->at_us, time);
    printf("%s  %s: %zu of %zu partitions served, %zu of %zu components serving, lag %lld%s\n", time,
           s->problems.n == 0 ? "all is well" : "NOT WELL", s->served, s->n_parts, answer, s->n_components,
           (long long)s->lag, s->unknown_lag > 0 ? " and more (?)" : "");
}

static void print_components(const struct status *s) {
    static const char *const heads[] = {"COMPONENT", "NAME", "ADDRESS", "STATE"};
    struct tool_table *t = tool_table_new(heads, ANG_COUNT(heads));

    for (size_t i = 0; i < s->n_components; i++) {
        const struct status_component *c = &s->components[i];

        tool_table_add(t, kinds[c->kind], c->name[0] == '\0' ? "-" : c->name, c->address, c->text, (char *)0);
    }
    tool_table_print(t, 0);
    tool_table_free(t);
}

static const char *number(int64_t n, const char *unknown, char out[24]) {
    if (n < 0)
        return (unknown);
    (void)snprintf(out, 24, "%lld", (long long)n);
    return (out);
}

/* Commands, and reactions where there are some. */
static const char *both(int64_t commands, int64_t reactions, char out[64]) {
    char a[24], b[24];

    if (reactions == 0)
        (void)snprintf(out, 64, "%s", number(commands, "?", a));
    else
        (void)snprintf(out, 64, "%s+%s", number(commands, "?", a), number(reactions, "?", b));
    return (commands < 0 && reactions < 0 ? "?" : out);
}

static void print_parts(const struct status *s) {
    static const char *const heads[] = {"DOMAIN",    "PARTITION", "STATE", "OWNER",     "GENERATION",
                                        "COMMITTED", "END",       "LAG",   "UNFINISHED"};
    struct tool_table *t = tool_table_new(heads, ANG_COUNT(heads));

    for (size_t i = 0; i < s->n_parts; i++) {
        const struct status_part *p = &s->parts[i];
        char n[4][24], lag[64], open[64];
        char *owner = p->endpoint[0] == '\0' ? ang_strdup(p->worker[0] == '\0' ? "-" : p->worker)
                                             : ang_sprintf("%s at %s", p->worker, p->endpoint);

        tool_table_add(t, p->domain->name, number(p->no, "", n[0]), p->state, owner, number(p->generation, "-", n[1]),
                       number(p->commands.committed, p->commands.lag < 0 ? "?" : "-", n[2]),
                       number(p->commands.end, "?", n[3]), both(p->commands.lag, p->reactions.lag, lag),
                       both(p->commands.unfinished, p->reactions.unfinished, open), (char *)0);
        free(owner);
    }
    tool_table_print(t, 1u << 1 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8);
    tool_table_free(t);
}

static void print_problems(const struct status *s) {
    struct ang_slice left = ang_buf_slice(&s->problems);

    if (left.n > 0)
        printf("\n");
    while (left.n > 0) {
        const uint8_t *end = memchr(left.p, '\n', left.n);

        AN(end);
        printf("! %.*s\n", (int)(end - left.p), (const char *)left.p);
        left = ang_slice_of(end + 1, left.n - (size_t)(end + 1 - left.p));
    }
}

void status_print(const struct status *s) {
    if (tool.json) {
        print_json(s);
        return;
    }
    print_summary(s);
    printf("\n");
    print_components(s);
    printf("\n");
    print_parts(s);
    print_problems(s);
}

void status_print_error(const struct ang_err *er) {
    struct ang_buf b = {NULL, 0, 0};
    char time[32];

    tool_time_text(ang_wall_us(), time);
    if (!tool.json) {
        printf("%s  NOT WELL: the log cannot be reached\n\n! %s\n", time, er->msg);
        return;
    }
    ang_buf_add_str(&b, "{");
    look_put_text(&b, "time", time);
    look_put_bool(&b, "ok", false);
    look_put_lines(&b, "problems", ang_slice_str(er->msg));
    ang_buf_add_str(&b, "}");
    tool_line(ang_buf_slice(&b));
    ang_buf_fini(&b);
}
