/* What a lane tells machines that watch: making its series, and setting those that are looked at and not counted where it happens. */
#include "processor/meters.h"

#include <stdio.h>
#include <stdlib.h>

#include "processor/lane_priv.h"

#define WHOLE 1000000 /* a ratio of 1 */

/* ---- life ---- */
static void init_of_domain(struct lane_meters *m, const char *const *domain) {
    ang_counter_get_each(ANG_M_COMMANDS, domain, m->commands, ANG_CODES);
    ang_histogram_get_each(ANG_M_COMMAND_TIME, domain, m->command_time, ANG_CODES);
    m->copies = ang_counter_get(ANG_M_COPIES, domain);
    m->events = ang_counter_get(ANG_M_EVENTS, domain);
    m->snapshots = ang_counter_get(ANG_M_SNAPSHOTS, domain);
    m->foreign = ang_counter_get(ANG_M_FOREIGN, domain);
    ang_histogram_get_each(ANG_M_CALL_TIME, domain, m->call_time, ANG_CODES);
    m->slow_calls = ang_counter_get(ANG_M_SLOW_CALLS, domain);
    m->evicted_calls = ang_counter_get(ANG_M_EVICTED_CALLS, domain);
    m->retries = ang_counter_get(ANG_M_RETRIES, domain);
    m->commit_time = ang_histogram_get(ANG_M_COMMIT_TIME, domain);
    m->apply_time = ang_histogram_get(ANG_M_APPLY_TIME, domain);
    m->batch_commands = ang_histogram_get(ANG_M_BATCH_COMMANDS, domain);
    m->batch_records = ang_histogram_get(ANG_M_BATCH_RECORDS, domain);
    m->batch_bytes = ang_histogram_get(ANG_M_BATCH_BYTES, domain);
    m->takeovers = ang_counter_get(ANG_M_TAKEOVERS, domain);
    m->takeover_failures = ang_counter_get(ANG_M_TAKEOVER_FAILURES, domain);
    m->takeover_time = ang_histogram_get(ANG_M_TAKEOVER_TIME, domain);
    m->restore_time = ang_histogram_get(ANG_M_RESTORE_TIME, domain);
    m->restored_records = ang_counter_get(ANG_M_RESTORED_RECORDS, domain);
    ang_counter_get_each(ANG_M_FENCES, domain, m->fences, N_FENCES);
    m->rebuilds = ang_counter_get(ANG_M_STORE_REBUILDS, domain);
}

static void init_of_lane(struct lane_meters *m, const char *const *lane) {
    ang_counter_get_each(ANG_M_DEAD_LETTERS, lane, m->dead, N_DEAD);
    m->forwarded = ang_counter_get(ANG_M_FORWARDED, lane);
    m->escalated = ang_counter_get(ANG_M_ESCALATED, lane);
    m->skipped = ang_counter_get(ANG_M_SKIPPED, lane);
    m->bad_headers = ang_counter_get(ANG_M_BAD_HEADERS, lane);
    m->committed = ang_counter_get(ANG_M_COMMITTED, lane);
    ang_counter_get_each(ANG_M_ABORTED, lane, m->aborted, ANG_COUNT(m->aborted));
    m->retired = ang_counter_get(ANG_M_RETIRED, lane);
    ang_gauge_get_each(ANG_M_CALLS, lane, m->calls, N_SPEEDS);
    ang_gauge_get_each(ANG_M_PARTITIONS, lane, m->partitions, N_SHOWN);
    m->looked = ang_gauge_get(ANG_M_LOOKED, lane);
    m->held = ang_gauge_get(ANG_M_HELD, lane);
    m->tails = ang_gauge_get(ANG_M_TAILS, lane);
}

static void clear(struct part_meters *pm) {
    int i;

    for (i = 0; i < N_INPUTS; i++) {
        ang_gauge_set(pm->lag[i], ANG_GAUGE_NONE);
        ang_gauge_set(pm->stalled[i], ANG_GAUGE_NONE);
        ang_gauge_set(pm->ahead[i], ANG_GAUGE_NONE);
    }
    ang_gauge_set(pm->open, ANG_GAUGE_NONE);
    ang_gauge_set(pm->restored, ANG_GAUGE_NONE);
    pm->shown = false;
}

static void init_of_part(struct part_meters *pm, const char *domain, int32_t partition) {
    const char *const *labels;
    char no[16];

    snprintf(no, sizeof no, "%d", partition);
    labels = ANG_LABELS(domain, no);
    ang_gauge_get_each(ANG_M_LAG, labels, pm->lag, N_INPUTS);
    ang_gauge_get_each(ANG_M_STALLED, labels, pm->stalled, N_INPUTS);
    ang_gauge_get_each(ANG_M_AHEAD, labels, pm->ahead, N_INPUTS);
    pm->open = ang_gauge_get(ANG_M_OPEN, labels);
    pm->restored = ang_gauge_get(ANG_M_RESTORED, labels);
    clear(pm);
}

void meters_init(struct lane *l) {
    struct lane_meters *m = &l->meters;
    char no[16];
    int32_t i;

    snprintf(no, sizeof no, "%d", l->index);
    init_of_domain(m, ANG_LABELS(l->domain->name));
    init_of_lane(m, ANG_LABELS(l->domain->name, no));
    m->looked_ms = ang_now_ms();
    m->parts = ang_calloc((size_t)l->domain->partitions, sizeof *m->parts);
    for (i = 0; i < l->domain->partitions; i++)
        init_of_part(&m->parts[i], l->domain->name, i);
}

void meters_fini(struct lane *l) {
    free(l->meters.parts);
}

/* ---- looking ---- */
static enum shown_phase phase_of(const struct part *p) {
    switch (p->phase) {
    case PART_TAKEOVER:
        return (p->percent < 0 ? SHOWN_TAKING_OVER : SHOWN_RESTORING);
    case PART_SERVING:
        return (SHOWN_SERVING);
    case PART_ASIDE:
        return (SHOWN_ASIDE);
    case PART_NONE:
        break;
    }
    return (N_SHOWN);
}

static int64_t restored(const struct part *p) {
    const int percent = p->percent;

    return (part_readable(p) ? WHOLE : percent < 0 ? 0 : (int64_t)percent * WHOLE / 100);
}

/* What is done above the committed position is handled, too. */
static void look_at_input(const struct part *p, int i, struct part_meters *pm) {
    const struct input *in = &p->in[i];
    const struct input_view *v = &p->lane->view.parts[p->no].in[i];
    const int64_t ahead = (int64_t)ang_doneset_count(&in->done), now = ang_now_ms();
    const int64_t lag = v->lag > ahead ? v->lag - ahead : 0;

    ang_gauge_set(pm->ahead[i], ahead);
    if (v->lag == ANG_OFFSET_NONE) {
        ang_gauge_set(pm->lag[i], ANG_GAUGE_NONE);
        ang_gauge_set(pm->stalled[i], ANG_GAUGE_NONE);
        return;
    }
    if (lag == 0 || v->committed != pm->oldest[i]) {
        pm->oldest[i] = v->committed;
        pm->oldest_ms[i] = now;
    }
    ang_gauge_set(pm->lag[i], lag);
    ang_gauge_set(pm->stalled[i], (now - pm->oldest_ms[i]) * 1000);
}

static void look_at(const struct part *p, struct part_meters *pm) {
    int i;

    /* Only what was ours: another lane may have it now, and show it in the same series. */
    if (pm->shown && p->phase != PART_SERVING)
        clear(pm);
    if (p->phase == PART_NONE)
        return;
    pm->shown = true;
    ang_gauge_set(pm->restored, restored(p));
    if (p->phase != PART_SERVING)
        return;
    ang_gauge_set(pm->open, p->open);
    for (i = 0; i < N_INPUTS; i++)
        look_at_input(p, i, pm);
}

void meters_look(struct lane *l) {
    struct lane_meters *m = &l->meters;
    int64_t n[N_SHOWN + 1] = {0};
    int32_t i;

    for (i = 0; i < l->domain->partitions; i++) {
        n[phase_of(&l->parts[i])]++;
        look_at(&l->parts[i], &m->parts[i]);
    }
    for (i = 0; i < N_SHOWN; i++)
        ang_gauge_set(m->partitions[i], n[i]);
    atomic_store_explicit(&m->looked_ms, ang_now_ms(), memory_order_relaxed);
    atomic_store_explicit(&m->histories, l->idle_bytes, memory_order_relaxed);
    atomic_store_explicit(&m->records, l->open_bytes, memory_order_relaxed);
    atomic_store_explicit(&m->call_bytes, l->call_bytes, memory_order_relaxed);
}

/* ---- when somebody asks ---- */
enum { SHARE_HISTORIES, SHARE_RECORDS, SHARE_CALLS, SHARE_STORE_CACHE, SHARE_MEMTABLES, N_SHARES };

static void set_shares(enum ang_metric m, const int64_t *bytes, size_t n) {
    struct ang_gauge *g[N_SHARES];
    size_t i;

    ang_gauge_get_each(m, ANG_NO_LABELS, g, N_SHARES);
    for (i = 0; i < n; i++)
        ang_gauge_set(g[i], bytes[i]);
}

static void tell_limits(size_t n_lanes, const struct ang_worker *w) {
    const struct ang_settings *set = worker_conf(w)->settings;
    const int64_t open = (int64_t)(worker_open_share(w) * n_lanes), store = worker_store_share(w);
    const int64_t bytes[N_SHARES] = {(int64_t)(worker_cache_share(w) * n_lanes), open, open, store / 2, store / 2};
    struct ang_gauge *calls[N_SPEEDS];

    set_shares(ANG_M_MEMORY_LIMIT, bytes, N_SHARES);
    ang_gauge_get_each(ANG_M_CALLS_LIMIT, ANG_NO_LABELS, calls, N_SPEEDS);
    ang_gauge_set(calls[SPEED_USUAL], set->limits.calls);
    ang_gauge_set(calls[SPEED_SLOW], set->limits.slow_calls);
}

/* Figures of the store stay as they were while it is busy. */
static void tell_store(struct ang_store *st) {
    struct ang_store_stats stats;
    struct ang_gauge *used[N_SHARES];

    if (!ang_store_stats_now(st, &stats))
        return;
    ang_gauge_get_each(ANG_M_MEMORY_USED, ANG_NO_LABELS, used, N_SHARES);
    ang_gauge_set(used[SHARE_STORE_CACHE], (int64_t)stats.cache_bytes);
    ang_gauge_set(used[SHARE_MEMTABLES], (int64_t)stats.memtable_bytes);
    ang_gauge_set(ang_gauge_get(ANG_M_STORE_PARTS, ANG_NO_LABELS), (int64_t)stats.parts);
    ang_gauge_set(ang_gauge_get(ANG_M_STORE_DISK, ANG_NO_LABELS), (int64_t)stats.disk_bytes);
    ang_counter_raise(ang_counter_get(ANG_M_STORE_ERRORS, ANG_NO_LABELS), stats.background_errors);
}

void meters_tell(struct lane *const *lanes, size_t n, const struct ang_worker *w) {
    const int64_t now = ang_now_ms();
    int64_t bytes[SHARE_STORE_CACHE] = {0};
    size_t i;

    for (i = 0; i < n; i++) {
        const struct lane_meters *m = &lanes[i]->meters;

        bytes[SHARE_HISTORIES] += (int64_t)atomic_load_explicit(&m->histories, memory_order_relaxed);
        bytes[SHARE_RECORDS] += (int64_t)atomic_load_explicit(&m->records, memory_order_relaxed);
        bytes[SHARE_CALLS] += (int64_t)atomic_load_explicit(&m->call_bytes, memory_order_relaxed);
        ang_gauge_set(m->looked, (now - atomic_load_explicit(&m->looked_ms, memory_order_relaxed)) * 1000);
    }
    set_shares(ANG_M_MEMORY_USED, bytes, SHARE_STORE_CACHE);
    tell_limits(n, w);
    tell_store(worker_store(w));
}

/* ---- counting ---- */

/* A command has an answer; a record that was forwarded, skipped or dead-lettered unread has none. */
static bool is_command(const struct work *w) {
    return (w->status != NULL || w->response != NULL);
}

void meters_committed(struct lane *l, const struct batch *b) {
    struct lane_meters *m = &l->meters;
    const int64_t now_us = ang_wall_us();
    const struct work *w;
    uint64_t events = 0;

    TAILQ_FOREACH(w, &b->works, link) {
        const uint32_t code = ang_code_index(w->code);

        events += w->pages;
        if (w->is_dead)
            ang_counter_add(m->dead[w->dead], 1);
        if (!is_command(w))
            continue;
        ang_counter_add(m->commands[code], 1);
        ang_histogram_add(m->command_time[code], now_us - w->rec->time_ms * 1000);
    }
    ang_counter_add(m->events, events);
    if (b->n_works == 0)
        return;
    ang_histogram_add(m->batch_commands, (int64_t)b->n_works);
    ang_histogram_add(m->batch_records, (int64_t)b->n_recs);
    ang_histogram_add(m->batch_bytes, (int64_t)b->bytes);
}

static uint64_t sum(struct ang_counter *const *c, size_t n) {
    uint64_t all = 0;

    while (n > 0)
        all += ang_counter_value(c[--n]);
    return (all);
}

uint64_t meters_aborted(const struct lane *l) {
    return (sum(l->meters.aborted, ANG_COUNT(l->meters.aborted)));
}

uint64_t meters_dead(const struct lane *l) {
    return (sum(l->meters.dead, N_DEAD));
}
