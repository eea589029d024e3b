/* The series, and how they are printed.
 *
 * A series is made under a lock, at start, and never freed; from then on it is only read and changed by atomics, so a scrape holds up
 * nobody.  What is read a moment apart may differ by what happened in between, but each number is right by itself, and a histogram is
 * whole: its count is the sum of the buckets as they were read. */
#include "base/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics_priv.h"

struct series {
    unsigned magic;
#define SERIES_MAGIC 0x3e771c01
    struct series *next;
    char *labels; /* as printed: domain="order",code="OK" */
    bool quiet;   /* a histogram that is left out until something was added */
    union {
        struct ang_counter counter;
        struct ang_gauge gauge;
        struct ang_histogram histogram;
    };
};

static struct {
    pthread_mutex_t lock; /* of the lists */
    struct series *series[ANG_M_COUNT], **tail[ANG_M_COUNT];
    pthread_mutex_t asking; /* held while somebody is told */
    struct ang_metrics_source *sources;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .asking = PTHREAD_MUTEX_INITIALIZER};

/* ---- labels ---- */

static void add_escaped(struct ang_buf *b, const char *s, bool quotes) {
    for (; *s != '\0'; s++) {
        if (*s == '\\')
            ang_buf_add_str(b, "\\\\");
        else if (*s == '\n')
            ang_buf_add_str(b, "\\n");
        else if (*s == '"' && quotes)
            ang_buf_add_str(b, "\\\"");
        else
            ang_buf_add_u8(b, (uint8_t)*s);
    }
}

/* The i-th of comma-separated values; n = 0: there are not so many. */
static struct ang_slice value_at(const char *values, size_t i) {
    for (; i > 0; i--) {
        values = strchr(values, ',');
        if (values == NULL)
            return (ANG_SLICE_NONE);
        values++;
    }
    return (ang_slice_of(values, strcspn(values, ",")));
}

static bool is_value(const char *values, const char *value) {
    struct ang_slice v;
    size_t i;

    for (i = 0; (v = value_at(values, i)).n > 0; i++)
        if (ang_slice_is(v, value))
            return (true);
    return (false);
}

/* One value for each label of the row, and only such as the table allows. */
static char *labels_of(const struct ang_metric_def *d, const char *const *values, bool *ret_quiet) {
    struct ang_buf b = {NULL, 0, 0};
    char *text;
    size_t i;

    *ret_quiet = false;
    for (i = 0; d->labels[i] != NULL; i++) {
        const char *known = ang_metrics_values(d->labels[i]);

        AN(values[i]);
        ANG_ASSERT(known == NULL || is_value(known, values[i]));
        ang_buf_addf(&b, "%s%s=\"", i == 0 ? "" : ",", d->labels[i]);
        add_escaped(&b, values[i], true);
        ang_buf_add_u8(&b, '"');
        *ret_quiet |= strcmp(d->labels[i], "code") == 0 && strcmp(values[i], "OK") != 0;
    }
    AZ(values[i]);
    text = ang_slice_dup_str(ang_buf_slice(&b));
    ang_buf_fini(&b);
    return (text);
}

/* ---- series ---- */

static struct series *get(enum ang_metric m, const char *const *values, enum ang_metric_kind kind) {
    const struct ang_metric_def *d = &ang_metric_defs[m];
    struct series *s;
    bool quiet;
    char *labels;

    ANG_ASSERT((unsigned)m < ANG_M_COUNT && d->kind == kind);
    labels = labels_of(d, values, &quiet);
    ANG_PT(pthread_mutex_lock(&all.lock));
    for (s = all.series[m]; s != NULL && strcmp(s->labels, labels) != 0; s = s->next)
        ;
    if (s == NULL) {
        s = ANG_NEW(struct series);
        s->magic = SERIES_MAGIC;
        s->labels = ang_strdup(labels);
        s->quiet = quiet;
        if (kind == ANG_KIND_HISTOGRAM) {
            s->histogram.bounds = ang_metric_bounds[d->buckets].at;
            s->histogram.n_bounds = ang_metric_bounds[d->buckets].n;
        }
        if (all.series[m] == NULL)
            all.tail[m] = &all.series[m];
        *all.tail[m] = s;
        all.tail[m] = &s->next;
    }
    ANG_PT(pthread_mutex_unlock(&all.lock));
    free(labels);
    return (s);
}

struct ang_counter *ang_counter_get(enum ang_metric m, const char *const *labels) {
    return (&get(m, labels, ANG_KIND_COUNTER)->counter);
}

struct ang_gauge *ang_gauge_get(enum ang_metric m, const char *const *labels) {
    return (&get(m, labels, ANG_KIND_GAUGE)->gauge);
}

struct ang_histogram *ang_histogram_get(enum ang_metric m, const char *const *labels) {
    return (&get(m, labels, ANG_KIND_HISTOGRAM)->histogram);
}

/* The series of the i-th value of the last label. */
static struct series *get_nth(enum ang_metric m, const char *const *labels, enum ang_metric_kind kind, size_t i,
                              size_t n) {
    const struct ang_metric_def *d = &ang_metric_defs[m];
    const char *values[ANG_METRIC_LABELS_MAX + 1] = {NULL}, *known;
    struct series *s;
    char *value;
    size_t k;

    for (k = 0; d->labels[k + 1] != NULL; k++)
        values[k] = labels[k];
    AZ(labels[k]);
    known = ang_metrics_values(d->labels[k]);
    AN(known);
    ANG_ASSERT(value_at(known, n - 1).n > 0 && value_at(known, n).n == 0); /* the caller knows them all */
    value = ang_slice_dup_str(value_at(known, i));
    values[k] = value;
    s = get(m, values, kind);
    free(value);
    return (s);
}

void ang_counter_get_each(enum ang_metric m, const char *const *labels, struct ang_counter **ret, size_t n) {
    for (size_t i = 0; i < n; i++)
        ret[i] = &get_nth(m, labels, ANG_KIND_COUNTER, i, n)->counter;
}

void ang_gauge_get_each(enum ang_metric m, const char *const *labels, struct ang_gauge **ret, size_t n) {
    for (size_t i = 0; i < n; i++)
        ret[i] = &get_nth(m, labels, ANG_KIND_GAUGE, i, n)->gauge;
}

void ang_histogram_get_each(enum ang_metric m, const char *const *labels, struct ang_histogram **ret, size_t n) {
    for (size_t i = 0; i < n; i++)
        ret[i] = &get_nth(m, labels, ANG_KIND_HISTOGRAM, i, n)->histogram;
}

/* ---- sources ---- */

void ang_metrics_source_add(struct ang_metrics_source *s) {
    AN(s->look);
    ANG_PT(pthread_mutex_lock(&all.asking));
    s->next = all.sources;
    all.sources = s;
    ANG_PT(pthread_mutex_unlock(&all.asking));
}

void ang_metrics_source_remove(struct ang_metrics_source *s) {
    struct ang_metrics_source **at;

    ANG_PT(pthread_mutex_lock(&all.asking));
    for (at = &all.sources; *at != NULL && *at != s; at = &(*at)->next)
        ;
    if (*at != NULL)
        *at = s->next;
    ANG_PT(pthread_mutex_unlock(&all.asking));
}

/* ---- printing ---- */

static void add_head(struct ang_buf *b, const struct ang_metric_def *d) {
    ang_buf_addf(b, "# HELP %s ", d->name);
    add_escaped(b, d->help, false);
    ang_buf_addf(b, "\n# TYPE %s %s\n", d->name, ang_metric_kind_name(d->kind));
}

/* name{labels,le="…"}; le NULL: none. */
static void add_name(struct ang_buf *b, const char *name, const char *suffix, const char *labels, const char *le) {
    ang_buf_add_str(b, name);
    ang_buf_add_str(b, suffix);
    if (labels[0] != '\0' || le != NULL) {
        ang_buf_add_u8(b, '{');
        ang_buf_add_str(b, labels);
        if (le != NULL)
            ang_buf_addf(b, "%sle=\"%s\"", labels[0] == '\0' ? "" : ",", le);
        ang_buf_add_u8(b, '}');
    }
    ang_buf_add_u8(b, ' ');
}

static void add_count(struct ang_buf *b, uint64_t n) {
    ang_buf_addf(b, "%llu\n", (unsigned long long)n);
}

static void add_histogram(struct ang_buf *b, const struct ang_metric_def *d, const struct series *s) {
    const struct ang_histogram *h = &s->histogram;
    struct ang_buf le = {NULL, 0, 0};
    uint64_t count = 0, sum;
    size_t i;

    /* Before the buckets: so the sum is never of more than they hold, but for what is added in this very moment. */
    sum = atomic_load_explicit(&h->sum, memory_order_relaxed);
    for (i = 0; i <= h->n_bounds; i++) {
        count += atomic_load_explicit(&h->n[i], memory_order_relaxed);
        ang_buf_clear(&le);
        if (i < h->n_bounds)
            ang_metric_add_number(&le, d->unit, h->bounds[i]);
        else
            ang_buf_add_str(&le, "+Inf");
        ang_buf_add_u8(&le, '\0');
        add_name(b, d->name, "_bucket", s->labels, (const char *)le.p);
        add_count(b, count);
    }
    add_name(b, d->name, "_sum", s->labels, NULL);
    ang_metric_add_number(b, d->unit, (int64_t)sum);
    ang_buf_add_u8(b, '\n');
    add_name(b, d->name, "_count", s->labels, NULL);
    add_count(b, count);
    ang_buf_fini(&le);
}

static bool is_left_out(const struct ang_metric_def *d, const struct series *s) {
    size_t i;

    if (d->kind == ANG_KIND_GAUGE)
        return (ang_gauge_value(&s->gauge) == ANG_GAUGE_NONE);
    if (d->kind == ANG_KIND_COUNTER || !s->quiet)
        return (false);
    for (i = 0; i <= s->histogram.n_bounds; i++)
        if (atomic_load_explicit(&s->histogram.n[i], memory_order_relaxed) > 0)
            return (false);
    return (true);
}

static void add_series(struct ang_buf *b, const struct ang_metric_def *d, const struct series *s) {
    switch (d->kind) {
    case ANG_KIND_COUNTER:
        add_name(b, d->name, "", s->labels, NULL);
        ang_metric_add_number(b, d->unit, (int64_t)ang_counter_value(&s->counter));
        ang_buf_add_u8(b, '\n');
        break;
    case ANG_KIND_GAUGE:
        add_name(b, d->name, "", s->labels, NULL);
        ang_metric_add_number(b, d->unit, ang_gauge_value(&s->gauge));
        ang_buf_add_u8(b, '\n');
        break;
    case ANG_KIND_HISTOGRAM:
        add_histogram(b, d, s);
        break;
    }
}

/* The lines of the log are counted where they are written. */
struct log_lines {
    struct ang_buf *b;
    bool any;
};

static void add_log_line(void *arg, enum ang_log_level lvl, const char *id, uint64_t n) {
    const struct ang_metric_def *d = &ang_metric_defs[ANG_M_LOG_MESSAGES];
    struct log_lines *ll = arg;
    struct ang_buf text = {NULL, 0, 0};

    if (!ll->any)
        add_head(ll->b, d);
    ll->any = true;
    ang_buf_addf(&text, "level=\"%s\",id=\"", lvl == ANG_LOG_ERROR ? "error" : "warn");
    add_escaped(&text, id, true);
    ang_buf_add(&text, "\"", 2);
    add_name(ll->b, d->name, "", (const char *)text.p, NULL);
    add_count(ll->b, n);
    ang_buf_fini(&text);
}

static void add_metric(struct ang_buf *b, enum ang_metric m) {
    const struct series *s;
    bool any = false;

    /* Who makes series has it, at start; who changes them does not. */
    ANG_PT(pthread_mutex_lock(&all.lock));
    for (s = all.series[m]; s != NULL; s = s->next) {
        ANG_CHECK(s, SERIES_MAGIC);
        if (is_left_out(&ang_metric_defs[m], s))
            continue;
        if (!any)
            add_head(b, &ang_metric_defs[m]);
        any = true;
        add_series(b, &ang_metric_defs[m], s);
    }
    ANG_PT(pthread_mutex_unlock(&all.lock));
}

void ang_metrics_print(struct ang_buf *b) {
    struct ang_metrics_source *s;
    unsigned m;

    ANG_PT(pthread_mutex_lock(&all.asking));
    ang_metrics_process_look();
    for (s = all.sources; s != NULL; s = s->next)
        s->look(s->arg);
    for (m = 0; m < ANG_M_COUNT; m++) {
        if (m == ANG_M_LOG_MESSAGES)
            ang_log_counted(add_log_line, &(struct log_lines){.b = b});
        else
            add_metric(b, (enum ang_metric)m);
    }
    ANG_PT(pthread_mutex_unlock(&all.asking));
}
