#include "base/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "tests/unit/base/unit.h"

/* ---- the table ---- */

static bool ends(const char *s, const char *with) {
    const size_t n = strlen(s), m = strlen(with);

    return (n >= m && strcmp(s + n - m, with) == 0);
}

static bool is_name(const char *s) {
    return (strncmp(s, "angzarr_", 8) == 0 && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0');
}

static const char *wrong(const struct ang_metric_row *row) {
    const bool counter = strcmp(row->kind, "counter") == 0, gauge = strcmp(row->kind, "gauge") == 0;
    const size_t n = strlen(row->name) - (ends(row->name, "_total") ? 6 : 0), m = strlen(row->unit);

    if (!is_name(row->name))
        return ("a name has other characters, or does not begin with angzarr_");
    if (counter != ends(row->name, "_total"))
        return ("counters and no others end with _total");
    if (gauge && (ends(row->name, "_count") || ends(row->name, "_sum") || ends(row->name, "_bucket")))
        return ("it ends as a part of a histogram does");
    if (m > 0 && (n < m + 1 || strncmp(row->name + n - m, row->unit, m) != 0 || row->name[n - m - 1] != '_'))
        return ("the name does not end with the unit");
    if (m == 0 && (strstr(row->name, "_seconds") != NULL || strstr(row->name, "_bytes") != NULL))
        return ("the name ends with a unit that it has not");
    if (row->help[0] == '\0' || ends(row->help, "."))
        return ("the help is a sentence without its period");
    if (row->bad[0] != '\0' && !ends(row->bad, ".") && !ends(row->bad, "?"))
        return ("what to do is a sentence");
    if (strchr(row->help, '|') != NULL || strchr(row->bad, '|') != NULL)
        return ("a bar would end a cell of the page");
    return (NULL);
}

static void rows_are_well_formed(void **state) {
    struct ang_metric_row row, other;

    for (size_t i = 0; ang_metrics_row(i, &row); i++) {
        if (wrong(&row) != NULL)
            fail_msg("%s: %s", row.name, wrong(&row));
        for (size_t k = 0; k < i && ang_metrics_row(k, &other); k++)
            assert_string_not_equal(row.name, other.name);
        for (size_t k = 0; row.labels[k] != NULL; k++)
            (void)ang_metrics_values(row.labels[k]); /* panics when there is no such label */
    }
}

/* What the code indexes by its own enums. */
static void values_are_in_the_order_of_the_code(void **state) {
    struct ang_buf b = {0};

    for (enum ang_class c = ANG_RETRY; c <= ANG_FATAL; c++)
        ang_buf_addf(&b, "%s%s", c == ANG_RETRY ? "" : ",", ang_class_name(c));
    ang_buf_add_u8(&b, '\0');
    assert_string_equal(ang_metrics_values("class"), (char *)b.p);
    assert_null(ang_metrics_values("domain"));
    ang_buf_fini(&b);
}

/* ---- printing ---- */

/* All that is told, as a string. */
static char *told(void) {
    struct ang_buf b = {0};

    ang_metrics_print(&b);
    ang_buf_add_u8(&b, '\0');
    return ((char *)b.p);
}

static void assert_told(const char *line, bool expected) {
    char *text = told();

    if ((strstr(text, line) != NULL) != expected)
        fail_msg("%s: %s", expected ? "is not told" : "is told", line);
    free(text);
}

static void a_series_is_made_once(void **state) {
    struct ang_counter *a = ang_counter_get(ANG_M_EVENTS, ANG_LABELS("a")),
                       *b = ang_counter_get(ANG_M_EVENTS, ANG_LABELS("b"));

    assert_ptr_not_equal(a, b);
    assert_ptr_equal(a, ang_counter_get(ANG_M_EVENTS, ANG_LABELS("a")));
    ang_counter_add(a, 3);
    ang_counter_add(a, 0);
    ang_counter_raise(b, 9000000000000000000);
    ang_counter_raise(b, 1);
    assert_told("# HELP angzarr_worker_events_total Events that were committed\n"
                "# TYPE angzarr_worker_events_total counter\n"
                "angzarr_worker_events_total{domain=\"a\"} 3\n"
                "angzarr_worker_events_total{domain=\"b\"} 9000000000000000000\n",
                true);
}

static void what_has_no_series_is_not_told(void **state) {
    assert_told("angzarr_worker_snapshots_total", false);
}

static void labels_are_escaped(void **state) {
    ang_gauge_set(ang_gauge_get(ANG_M_BUILD_INFO, ANG_LABELS("1\\2\"3\n4", "r", "")), 1);
    assert_told("angzarr_build_info{version=\"1\\\\2\\\"3\\n4\",role=\"r\",log=\"\"} 1\n", true);
}

static void gauges_have_units_and_may_be_unknown(void **state) {
    static const struct {
        int64_t v;
        const char *text;
    } rows[] = {
        {0, " 0\n"},           {1, " 0.000001\n"},  {1500000, " 1.5\n"}, {60000000, " 60\n"},
        {-2500, " -0.0025\n"}, {10000000, " 10\n"}, {100, " 0.0001\n"},  {INT64_MAX, " 9223372036854.775807\n"}};
    struct ang_gauge *g = ang_gauge_get(ANG_M_LOOKED, ANG_LABELS("d", "0"));
    char line[128];

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        ang_gauge_set(g, rows[i].v);
        snprintf(line, sizeof line, "angzarr_lane_looked_seconds{domain=\"d\",lane=\"0\"}%s", rows[i].text);
        assert_told(line, true);
    }
    ang_gauge_set(g, ANG_GAUGE_NONE);
    assert_told("angzarr_lane_looked_seconds", false);
    ang_gauge_set(g, 0);
    ang_gauge_add(g, -1000000);
    assert_told("angzarr_lane_looked_seconds{domain=\"d\",lane=\"0\"} -1\n", true);
}

static void histograms_are_cumulative(void **state) {
    struct ang_histogram *h = ang_histogram_get(ANG_M_COMMIT_TIME, ANG_LABELS("d"));

    for (size_t i = 0; i < h->n_bounds; i++)
        assert_true(i == 0 || h->bounds[i] > h->bounds[i - 1]);
    ang_histogram_add(h, -5);  /* a clock was set back */
    ang_histogram_add(h, 500); /* bounds are inclusive */
    ang_histogram_add(h, 501);
    ang_histogram_add(h, 30000000);
    ang_histogram_add(h, 30000001);
    assert_told("# TYPE angzarr_commit_duration_seconds histogram\n"
                "angzarr_commit_duration_seconds_bucket{domain=\"d\",le=\"0.0005\"} 2\n"
                "angzarr_commit_duration_seconds_bucket{domain=\"d\",le=\"0.001\"} 3\n",
                true);
    assert_told("angzarr_commit_duration_seconds_bucket{domain=\"d\",le=\"10\"} 3\n"
                "angzarr_commit_duration_seconds_bucket{domain=\"d\",le=\"30\"} 4\n"
                "angzarr_commit_duration_seconds_bucket{domain=\"d\",le=\"+Inf\"} 5\n"
                "angzarr_commit_duration_seconds_sum{domain=\"d\"} 60.001002\n"
                "angzarr_commit_duration_seconds_count{domain=\"d\"} 5\n",
                true);
}

static void statuses_are_told_when_they_happen(void **state) {
    struct ang_histogram *h[17];

    ang_histogram_get_each(ANG_M_CALL_TIME, ANG_LABELS("d"), h, ANG_COUNT(h));
    assert_told("angzarr_business_call_duration_seconds_count{domain=\"d\",code=\"OK\"} 0\n", true);
    assert_told("code=\"ABORTED\",le=", false);
    ang_histogram_add(h[10], 7);
    assert_told("angzarr_business_call_duration_seconds_count{domain=\"d\",code=\"ABORTED\"} 1\n", true);
    assert_ptr_equal(h[10], ang_histogram_get(ANG_M_CALL_TIME, ANG_LABELS("d", "ABORTED")));
}

static void set_gauge(void *arg) {
    ang_gauge_add(arg, 1);
}

static void sources_are_asked_until_they_are_removed(void **state) {
    struct ang_gauge *g = ang_gauge_get(ANG_M_STORE_PARTS, ANG_NO_LABELS);
    struct ang_metrics_source a = {.look = set_gauge, .arg = g}, b = a;

    ang_metrics_source_add(&a);
    ang_metrics_source_add(&b);
    assert_told("\nangzarr_store_parts 2\n", true);
    ang_metrics_source_remove(&a);
    assert_told("\nangzarr_store_parts 3\n", true);
    ang_metrics_source_remove(&b);
    ang_metrics_source_remove(&b);
    assert_told("\nangzarr_store_parts 3\n", true);
}

static void the_process_is_told(void **state) {
    static const char *const names[] = {"start_time_seconds", "uptime_seconds", "cpu_seconds_total",
                                        "resident_memory_bytes", "open_fds"};
    char *text = told(), name[128];

    for (size_t i = 0; i < ANG_COUNT(names); i++) {
        snprintf(name, sizeof name, "\nangzarr_process_%s ", names[i]);
        const char *at = strstr(text, name);
        assert_non_null(at);
        assert_true(atof(at + strlen(name)) > 0 || i == 1);
    }
    free(text);
}

/* ---- the log ---- */

static void errors_and_warnings_are_counted(void **state) {
    assert_null(ang_log_setup("error"));
    for (int i = 0; i < 3; i++) {
        ANG_LOG(ANG_LOG_WARN, "TEST-QUIET", "not written at this level");
        ANG_LOG_EVERY(60000, ANG_LOG_ERROR, "TEST-OFTEN", "written once");
        ANG_LOG(ANG_LOG_INFO, "TEST-INFO", "not counted");
    }
    ANG_LOG(ANG_LOG_WARN, "TEST-OFTEN", "the same id");
    assert_told("{level=\"warn\",id=\"TEST-QUIET\"} 3\n", true);
    assert_told("{level=\"error\",id=\"TEST-OFTEN\"} 3\n", true);
    assert_told("{level=\"warn\",id=\"TEST-OFTEN\"} 1\n", true);
    assert_told("TEST-INFO", false);
    assert_told("# TYPE angzarr_log_messages_total counter\nangzarr_log_messages_total{", true);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS  20000

static void *add_many(void *arg) {
    struct ang_histogram *h = ang_histogram_get(ANG_M_BATCH_BYTES, ANG_LABELS("threads"));
    struct ang_counter *c = ang_counter_get(ANG_M_COPIES, ANG_LABELS("threads"));

    for (int i = 0; i < ROUNDS; i++) {
        ang_histogram_add(h, 1000);
        ang_counter_add(c, 1);
        ang_log_count(ANG_LOG_WARN, "TEST-THREADS");
    }
    return (NULL);
}

static void nothing_is_lost_between_threads(void **state) {
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        ANG_PT(pthread_create(&threads[i], NULL, add_many, NULL));
    for (int i = 0; i < 20; i++)
        free(told());
    for (int i = 0; i < THREADS; i++)
        ANG_PT(pthread_join(threads[i], NULL));
    assert_told("angzarr_worker_copies_total{domain=\"threads\"} 80000\n", true);
    assert_told("angzarr_batch_bytes_count{domain=\"threads\"} 80000\n", true);
    assert_told("angzarr_batch_bytes_sum{domain=\"threads\"} 80000000\n", true);
    assert_told("{level=\"warn\",id=\"TEST-THREADS\"} 80000\n", true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_well_formed),
        cmocka_unit_test(values_are_in_the_order_of_the_code),
        cmocka_unit_test(what_has_no_series_is_not_told),
        cmocka_unit_test(a_series_is_made_once),
        cmocka_unit_test(labels_are_escaped),
        cmocka_unit_test(gauges_have_units_and_may_be_unknown),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(statuses_are_told_when_they_happen),
        cmocka_unit_test(sources_are_asked_until_they_are_removed),
        cmocka_unit_test(the_process_is_told),
        cmocka_unit_test(errors_and_warnings_are_counted),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
