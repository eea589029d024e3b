/* What machines that watch are told: counters, gauges and histograms, in the text format of Prometheus.
 *
 * Every metric is a row of metrics.tbl.h, from which docs/metrics.md is printed, too.  A series is a row with values for its labels; it
 * is made at start, lives as long as the process, and may be changed by any thread: relaxed atomics, no lock, no allocation.  The same
 * labels give the same series.  Values of labels come from the table or from the configuration, never from callers.
 *
 *     struct ang_counter *done = ang_counter_get(ANG_M_EVENTS, ANG_LABELS("order"));
 *     ang_counter_add(done, 3);
 *
 * Numbers are whole: seconds are kept in microseconds, ratios in millionths, and printed as what they are. */
#ifndef ANG_METRICS_H
#define ANG_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/slice.h"

enum ang_metric {
#define ANG_METRIC_LABEL(name, values, help)
#define ANG_METRIC_GROUP(title, help)
#define ANG_METRIC(id, kind, name, unit, labels, buckets, roles, help, bad) ANG_M_##id,
#include "base/metrics.tbl.h"
#undef ANG_METRIC_LABEL
#undef ANG_METRIC_GROUP
#undef ANG_METRIC
    ANG_M_COUNT
};

/* ---- series ---- */

/* Values in the order of the row's labels. */
#define ANG_LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ANG_NO_LABELS   ((const char *const[]){NULL})

struct ang_counter {
    _Atomic uint64_t n;
};
struct ang_gauge {
    _Atomic int64_t n;
};
#define ANG_GAUGE_NONE INT64_MIN /* not known, or not ours: the series is left out */

#define ANG_BUCKETS_MAX 20
struct ang_histogram {
    const int64_t *bounds; /* inclusive, ascending */
    size_t n_bounds;
    _Atomic uint64_t sum, n[ANG_BUCKETS_MAX + 1]; /* n[i]: over bounds[i - 1], up to bounds[i] */
};

/* Found or made; borrowed, for the life of the process.  Gauges begin as 0. */
struct ang_counter *ang_counter_get(enum ang_metric m, const char *const *labels);
struct ang_gauge *ang_gauge_get(enum ang_metric m, const char *const *labels);
struct ang_histogram *ang_histogram_get(enum ang_metric m, const char *const *labels);
/* The n series of the values that the table has for the row's last label, in that order; labels has the others. */
void ang_counter_get_each(enum ang_metric m, const char *const *labels, struct ang_counter **ret, size_t n);
void ang_gauge_get_each(enum ang_metric m, const char *const *labels, struct ang_gauge **ret, size_t n);
void ang_histogram_get_each(enum ang_metric m, const char *const *labels, struct ang_histogram **ret, size_t n);

static inline void ang_counter_add(struct ang_counter *c, uint64_t n) {
    atomic_fetch_add_explicit(&c->n, n, memory_order_relaxed);
}
/* For what is counted elsewhere: never goes down. One thread at a time. */
static inline void ang_counter_raise(struct ang_counter *c, uint64_t to) {
    if (to > atomic_load_explicit(&c->n, memory_order_relaxed))
        atomic_store_explicit(&c->n, to, memory_order_relaxed);
}
static inline uint64_t ang_counter_value(const struct ang_counter *c) {
    return (atomic_load_explicit(&c->n, memory_order_relaxed));
}
static inline void ang_gauge_set(struct ang_gauge *g, int64_t n) {
    atomic_store_explicit(&g->n, n, memory_order_relaxed);
}
static inline void ang_gauge_add(struct ang_gauge *g, int64_t n) {
    atomic_fetch_add_explicit(&g->n, n, memory_order_relaxed);
}
static inline int64_t ang_gauge_value(const struct ang_gauge *g) {
    return (atomic_load_explicit(&g->n, memory_order_relaxed));
}
/* What is below 0, after a clock was set, counts as 0. */
static inline void ang_histogram_add(struct ang_histogram *h, int64_t v) {
    size_t low = 0, high = h->n_bounds;

    while (low < high) {
        const size_t mid = (low + high) / 2;

        if (v <= h->bounds[mid])
            high = mid;
        else
            low = mid + 1;
    }
    atomic_fetch_add_explicit(&h->n[low], 1, memory_order_relaxed);
    if (v > 0)
        atomic_fetch_add_explicit(&h->sum, (uint64_t)v, memory_order_relaxed);
}

/* ---- what is only known when somebody asks ---- */

/* Sets gauges, and must not block: whoever asks waits for it. */
struct ang_metrics_source {
    void (*look)(void *arg);
    void *arg;
    struct ang_metrics_source *next; /* of the list */
};
void ang_metrics_source_add(struct ang_metrics_source *s); /* borrowed until it is removed */
/* After it returns, look is not running and will not run again.  No-op for one that was not added. */
void ang_metrics_source_remove(struct ang_metrics_source *s);

/* ---- telling ---- */

#define ANG_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* Appends all of them as Prometheus reads them.  Any thread; two that ask wait for each other, nobody else does. */
void ang_metrics_print(struct ang_buf *b);
/* docs/metrics.md. */
void ang_metrics_print_reference(FILE *out);

/* One row, for tests and tools; false: there are no more. */
struct ang_metric_row {
    const char *id, *kind, *name, *unit;
    const char *labels[4]; /* NULL after the last */
    bool everywhere, worker, gateway, stream;
    const char *help, *bad;
};
bool ang_metrics_row(size_t i, struct ang_metric_row *ret_row);
/* The values of a label, comma-separated; NULL: named at start.  The label is in the table. */
const char *ang_metrics_values(const char *label);

#endif
