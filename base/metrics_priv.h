/* What the files of the metrics share: the table, as data. */
#ifndef ANG_METRICS_PRIV_H
#define ANG_METRICS_PRIV_H

#include "base/metrics.h"

enum ang_metric_kind { ANG_KIND_COUNTER, ANG_KIND_GAUGE, ANG_KIND_HISTOGRAM };
enum ang_metric_unit { ANG_UNIT_COUNT, ANG_UNIT_BYTES, ANG_UNIT_SECONDS, ANG_UNIT_RATIO };
enum ang_metric_buckets {
    ANG_BUCKETS_NONE,
    ANG_BUCKETS_TIMES,
    ANG_BUCKETS_LONG_TIMES,
    ANG_BUCKETS_NUMBERS,
    ANG_BUCKETS_SIZES,
    ANG_BUCKETS_COUNT
};
enum ang_metric_roles { ANG_ROLES_EVERYWHERE, ANG_ROLES_WORKER, ANG_ROLES_GATEWAY, ANG_ROLES_WORKERLESS };

#define ANG_METRIC_LABELS_MAX 3

struct ang_metric_def {
    const char *id, *name;
    enum ang_metric_kind kind;
    enum ang_metric_unit unit;
    const char *labels[ANG_METRIC_LABELS_MAX + 1]; /* NULL after the last */
    enum ang_metric_buckets buckets;
    enum ang_metric_roles roles;
    const char *help, *bad;
};
extern const struct ang_metric_def ang_metric_defs[ANG_M_COUNT];

struct ang_metric_bounds {
    const char *name; /* as the page calls them */
    const int64_t *at;
    size_t n;
};
extern const struct ang_metric_bounds ang_metric_bounds[ANG_BUCKETS_COUNT];

const char *ang_metric_kind_name(enum ang_metric_kind k);
/* A number as it is kept, as the unit has it: "0.0025". */
void ang_metric_add_number(struct ang_buf *b, enum ang_metric_unit u, int64_t v);

/* The process as the system sees it: sets the gauges of the first group. */
void ang_metrics_process_look(void);

#endif
