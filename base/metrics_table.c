/* The table of metrics.tbl.h, its buckets, and what is derived from both. */
#include "base/metrics_priv.h"

#include <string.h>

#define BY(...)                                                                                                        \
    { __VA_ARGS__ }
#define ALONE                                                                                                          \
    { NULL }

const struct ang_metric_def ang_metric_defs[ANG_M_COUNT] = {
#define ANG_METRIC_LABEL(name, values, help)
#define ANG_METRIC_GROUP(title, help)
#define ANG_METRIC(ident, type, text, what, by, bounds, where, says, todo)                                             \
    {.id = #ident,                                                                                                     \
     .name = (text),                                                                                                   \
     .kind = ANG_KIND_##type,                                                                                          \
     .unit = ANG_UNIT_##what,                                                                                          \
     .labels = by,                                                                                                     \
     .buckets = ANG_BUCKETS_##bounds,                                                                                  \
     .roles = ANG_ROLES_##where,                                                                                       \
     .help = (says),                                                                                                   \
     .bad = (todo)},
#include "base/metrics.tbl.h"
#undef ANG_METRIC_LABEL
#undef ANG_METRIC_GROUP
#undef ANG_METRIC
};

/* Seconds in microseconds.  Up to half a minute, which is as long as callers wait by default. */
static const int64_t times[] = {500,    1000,   2500,    5000,    10000,   25000,    50000,   100000,
                                250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};
static const int64_t long_times[] = {100000,   500000,    1000000,   5000000,   15000000,
                                     60000000, 300000000, 900000000, 3600000000};
static const int64_t numbers[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};
static const int64_t sizes[] = {256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216};

#define BOUNDS(name, array)                                                                                            \
    { name, array, ANG_COUNT(array) }
const struct ang_metric_bounds ang_metric_bounds[ANG_BUCKETS_COUNT] = {
    [ANG_BUCKETS_NONE] = {"", NULL, 0},
    [ANG_BUCKETS_TIMES] = BOUNDS("times", times),
    [ANG_BUCKETS_LONG_TIMES] = BOUNDS("long times", long_times),
    [ANG_BUCKETS_NUMBERS] = BOUNDS("numbers", numbers),
    [ANG_BUCKETS_SIZES] = BOUNDS("sizes", sizes),
};
_Static_assert(ANG_COUNT(times) <= ANG_BUCKETS_MAX && ANG_COUNT(numbers) <= ANG_BUCKETS_MAX, "room in a histogram");

const char *ang_metric_kind_name(enum ang_metric_kind k) {
    switch (k) {
    case ANG_KIND_COUNTER:
        return ("counter");
    case ANG_KIND_GAUGE:
        return ("gauge");
    case ANG_KIND_HISTOGRAM:
        return ("histogram");
    }
    ang_panic(__FILE__, __LINE__, __func__, "kind out of range");
}

static const char *unit_name(enum ang_metric_unit u) {
    switch (u) {
    case ANG_UNIT_COUNT:
        return ("");
    case ANG_UNIT_BYTES:
        return ("bytes");
    case ANG_UNIT_SECONDS:
        return ("seconds");
    case ANG_UNIT_RATIO:
        return ("ratio");
    }
    ang_panic(__FILE__, __LINE__, __func__, "unit out of range");
}

void ang_metric_add_number(struct ang_buf *b, enum ang_metric_unit u, int64_t v) {
    const uint64_t n = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    char part[8];
    size_t i;

    ang_buf_add_str(b, v < 0 ? "-" : "");
    if (u == ANG_UNIT_COUNT || u == ANG_UNIT_BYTES) {
        ang_buf_addf(b, "%llu", (unsigned long long)n);
        return;
    }
    ang_buf_addf(b, "%llu", (unsigned long long)(n / 1000000));
    snprintf(part, sizeof part, ".%06u", (unsigned)(n % 1000000));
    for (i = strlen(part); i > 0 && (part[i - 1] == '0' || part[i - 1] == '.'); i--)
        if (part[i - 1] == '.') {
            i--;
            break;
        }
    ang_buf_add(b, part, i);
}

bool ang_metrics_row(size_t i, struct ang_metric_row *ret_row) {
    const struct ang_metric_def *d;
    size_t k;

    if (i >= ANG_M_COUNT)
        return (false);
    d = &ang_metric_defs[i];
    *ret_row = (struct ang_metric_row){
        .id = d->id,
        .kind = ang_metric_kind_name(d->kind),
        .name = d->name,
        .unit = unit_name(d->unit),
        .everywhere = d->roles == ANG_ROLES_EVERYWHERE,
        .worker = d->roles == ANG_ROLES_EVERYWHERE || d->roles == ANG_ROLES_WORKER,
        .gateway =
            d->roles == ANG_ROLES_EVERYWHERE || d->roles == ANG_ROLES_GATEWAY || d->roles == ANG_ROLES_WORKERLESS,
        .stream = d->roles == ANG_ROLES_EVERYWHERE || d->roles == ANG_ROLES_WORKERLESS,
        .help = d->help,
        .bad = d->bad,
    };
    for (k = 0; d->labels[k] != NULL; k++)
        ret_row->labels[k] = d->labels[k];
    return (true);
}

const char *ang_metrics_values(const char *label) {
    static const struct {
        const char *name, *values;
    } rows[] = {
#define ANG_METRIC_LABEL(name, values, help) {name, values},
#define ANG_METRIC_GROUP(title, help)
#define ANG_METRIC(id, kind, name, unit, labels, buckets, roles, help, bad)
#include "base/metrics.tbl.h"
#undef ANG_METRIC_LABEL
#undef ANG_METRIC_GROUP
#undef ANG_METRIC
    };
    size_t i;

    for (i = 0; i < ANG_COUNT(rows); i++)
        if (strcmp(rows[i].name, label) == 0)
            return (rows[i].values);
    ang_panic(__FILE__, __LINE__, __func__, "a label that is not in the table");
}
