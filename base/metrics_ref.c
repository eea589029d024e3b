/* docs/metrics.md, from the table. */
#include <string.h>

#include "base/metrics_priv.h"

static const char head[] =
    "# Metrics\n\n"
    "<!-- Printed by the program from base/metrics.tbl.h: change that file, then print this one again. -->\n\n"
    "`/metrics`, at `worker.http` of an `aggregate` process, at `stream.http` of a `stream` process and at "
    "`gateway.http` of the\n"
    "others, answers in the text format of Prometheus (version 0.0.4). Names are stable; new ones may come. Counters "
    "begin at 0\n"
    "with the process. Values of labels come from the configuration or from the lists below, so the number of series "
    "does not grow\n"
    "with use.\n\n"
    "    curl -s localhost:8080/metrics | promtool check metrics\n\n"
    "[alerts.yml](alerts.yml) has rules to begin with. Some questions, and what answers them:\n\n"
    "```promql\n"
    "# is it healthy\n"
    "min(angzarr_ready)\n"
    "sum by (domain) (angzarr_partitions{phase=\"serving\"}) < max by (domain) (angzarr_partitions_configured)\n"
    "# how fast\n"
    "sum by (domain, code) (rate(angzarr_gateway_commands_total[1m]))\n"
    "histogram_quantile(0.99, sum by (domain, le) (rate(angzarr_gateway_command_duration_seconds_bucket[5m])))\n"
    "# where the time goes: the business logic, or the log\n"
    "histogram_quantile(0.99, sum by (domain, le) (rate(angzarr_business_call_duration_seconds_bucket[5m])))\n"
    "histogram_quantile(0.99, sum by (domain, le) (rate(angzarr_commit_duration_seconds_bucket[5m])))\n"
    "# what is behind\n"
    "topk(10, angzarr_partition_lag_records)\n"
    "max by (domain) (angzarr_partition_stalled_seconds)\n"
    "# why was I paged\n"
    "topk(10, increase(angzarr_log_messages_total[15m]))\n"
    "```\n";

static const char labels_head[] = "\n## Labels\n\n| label | values | what it says |\n|---|---|---|\n";

static void print_label(FILE *out, const char *name, const char *values, const char *help) {
    fprintf(out, "| `%s` | ", name);
    if (values == NULL)
        fputs("named at start", out);
    for (; values != NULL && *values != '\0'; values += strspn(values, ",")) {
        const size_t n = strcspn(values, ",");

        fprintf(out, "`%.*s`%s", (int)n, values, values[n] == ',' ? ", " : "");
        values += n;
    }
    fprintf(out, " | %s |\n", help);
}

static void print_labels(FILE *out) {
    fputs(labels_head, out);
#define ANG_METRIC_LABEL(name, values, help) print_label(out, name, values, help);
#define ANG_METRIC_GROUP(title, help)
#define ANG_METRIC(id, kind, name, unit, labels, buckets, roles, help, bad)
#include "base/metrics.tbl.h"
#undef ANG_METRIC_LABEL
#undef ANG_METRIC_GROUP
#undef ANG_METRIC
}

static void print_buckets(FILE *out) {
    struct ang_buf b = {NULL, 0, 0};
    size_t i, k;

    fputs("\n## Buckets\n\nUpper bounds of histograms; the last is always `+Inf`.\n\n| of | bounds |\n|---|---|\n",
          out);
    for (i = ANG_BUCKETS_NONE + 1; i < ANG_BUCKETS_COUNT; i++) {
        const bool time = i == ANG_BUCKETS_TIMES || i == ANG_BUCKETS_LONG_TIMES;

        ang_buf_clear(&b);
        for (k = 0; k < ang_metric_bounds[i].n; k++) {
            ang_buf_add_str(&b, k == 0 ? "" : ", ");
            ang_metric_add_number(&b, time ? ANG_UNIT_SECONDS : ANG_UNIT_COUNT, ang_metric_bounds[i].at[k]);
        }
        fprintf(out, "| %s | %.*s |\n", ang_metric_bounds[i].name, (int)b.n, (const char *)b.p);
    }
    ang_buf_fini(&b);
}

static const char *roles_name(enum ang_metric_roles r) {
    switch (r) {
    case ANG_ROLES_EVERYWHERE:
        return ("all");
    case ANG_ROLES_WORKER:
        return ("aggregate, standalone");
    case ANG_ROLES_GATEWAY:
        return ("gateway, standalone");
    case ANG_ROLES_WORKERLESS:
        return ("gateway, stream");
    }
    ang_panic(__FILE__, __LINE__, __func__, "roles out of range");
}

static void print_group(FILE *out, const char *title, const char *help) {
    fprintf(out,
            "\n## %s\n\n%s\n\n| name | type | labels | roles | what it says | when it looks bad "
            "|\n|---|---|---|---|---|---|\n",
            title, help);
}

static void print_metric(FILE *out, const struct ang_metric_def *d) {
    size_t i;

    fprintf(out, "| `%s` | %s", d->name, ang_metric_kind_name(d->kind));
    if (d->kind == ANG_KIND_HISTOGRAM)
        fprintf(out, " of %s", ang_metric_bounds[d->buckets].name);
    fputs(" | ", out);
    for (i = 0; d->labels[i] != NULL; i++)
        fprintf(out, "%s`%s`", i == 0 ? "" : ", ", d->labels[i]);
    fprintf(out, " | %s | %s | %s |\n", roles_name(d->roles), d->help, d->bad);
}

void ang_metrics_print_reference(FILE *out) {
    fputs(head, out);
#define ANG_METRIC_LABEL(name, values, help)
#define ANG_METRIC_GROUP(title, help) print_group(out, title, help);
#define ANG_METRIC(id, kind, name, unit, labels, buckets, roles, help, bad)                                            \
    print_metric(out, &ang_metric_defs[ANG_M_##id]);
#include "base/metrics.tbl.h"
#undef ANG_METRIC_LABEL
#undef ANG_METRIC_GROUP
#undef ANG_METRIC
    print_labels(out);
    print_buckets(out);
}
