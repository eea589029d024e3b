/* What people and machines are told of a lane (docs/health.md).
 *
 * The lane looks at itself once a second, and whenever a partition comes or goes; whoever asks reads what it saw last.  So asking
 * costs the lane nothing, and is answered also while the lane waits for a broker: then age_ms grows. */
#include <stdlib.h>

#include "processor/lane_priv.h"

/* So many records behind, and so long no nearer: something is stuck, or far too slow. */
#define LAG_MANY 1000
#define LAG_STILL_MS 10000

void health_init(struct lane *l) {
    l->view.parts = ang_calloc((size_t)l->domain->partitions, sizeof *l->view.parts);
    l->view.at_ms = ang_now_ms();
    ANG_PT(pthread_mutex_init(&l->view_lock, NULL));
}

void health_fini(struct lane *l) {
    ANG_PT(pthread_mutex_destroy(&l->view_lock));
    free(l->view.parts);
}

/* ---- looking: the lane's thread ---- */

void health_part_starts(struct part *p) {
    int i;

    for (i = 0; i < N_INPUTS; i++) {
        p->in[i].end = ANG_OFFSET_NONE;
        p->in[i].moved_to = p->in[i].committed;
        p->in[i].moved_ms = ang_now_ms();
    }
}

/* Where what there is to read ends; what is there may be held back. */
static int64_t end_of(struct part *p, struct input *in) {
    struct lane *l = p->lane;
    const int64_t end = in->reading ? ang_log_reader_end(l->reader, in->topic, p->no) : ANG_OFFSET_NONE;

    if (end > in->end)
        in->end = end;
    if (!in->reading || !l->dry)
        holds_forget(l, in->topic, p->no);
    else if (in->end != ANG_OFFSET_NONE && holds_note(l, in->topic, p->no, in->next, in->end))
        return (in->next);
    return (in->end);
}

static struct input_view input_view(struct part *p, struct input *in) {
    const int64_t base = ang_doneset_base(&in->done), end = end_of(p, in);

    if (in->committed != in->moved_to) {
        in->moved_to = in->committed;
        in->moved_ms = ang_now_ms();
    }
    return ((struct input_view){
        .committed = in->committed,
        .oldest_open = base < in->next ? base : ANG_OFFSET_NONE,
        .end = in->end,
        .lag = end == ANG_OFFSET_NONE ? ANG_OFFSET_NONE : end > in->committed ? end - in->committed : 0,
    });
}

static void warn_of_lag(const struct part *p, const struct input *in, const struct input_view *v) {
    const struct lane *l = p->lane;

    if (v->lag < LAG_MANY || ang_now_ms() - in->moved_ms < LAG_STILL_MS)
        return;
    ANG_LOG_EVERY(LAG_STILL_MS, ANG_LOG_WARN, "LAG", "a partition falls behind, and its oldest record does not end", "topic",
                  in->topic->name, "partition", ANG_F("%d", p->no), "lag", ANG_F("%lld", (long long)v->lag), "oldest",
                  ANG_F("%lld", (long long)(v->oldest_open == ANG_OFFSET_NONE ? v->committed : v->oldest_open)), "since_ms",
                  ANG_F("%lld", (long long)(ang_now_ms() - in->moved_ms)), "unfinished", ANG_F("%u", p->open), "calls",
                  ANG_F("%d", l->n_calls), "slow_calls", ANG_F("%d", l->n_slow_calls));
}

static void look_at(struct part *p, struct part_view *v) {
    int i;

    *v = (struct part_view){.phase = p->phase, .generation = p->generation, .unfinished = p->open};
    for (i = 0; p->phase == PART_SERVING && i < N_INPUTS; i++) {
        v->in[i] = input_view(p, &p->in[i]);
        warn_of_lag(p, &p->in[i], &v->in[i]);
    }
}

void health_look(struct lane *l) {
    struct lane_view *v = &l->view;
    int32_t i;

    ANG_PT(pthread_mutex_lock(&l->view_lock));
    v->at_ms = ang_now_ms();
    v->calls = l->n_calls;
    v->slow_calls = l->n_slow_calls;
    for (i = 0; i < l->domain->partitions; i++)
        look_at(&l->parts[i], &v->parts[i]);
    ANG_PT(pthread_mutex_unlock(&l->view_lock));
    meters_look(l);
}

/* ---- telling: any thread ---- */

static void add_number(struct ang_buf *b, const char *name, int64_t n) {
    if (n == ANG_OFFSET_NONE)
        ang_buf_addf(b, ",\"%s\":null", name);
    else
        ang_buf_addf(b, ",\"%s\":%lld", name, (long long)n);
}

static void add_input(struct ang_buf *b, const char *name, const struct input_view *v) {
    ang_buf_addf(b, ",\"%s\":{\"committed\":%lld", name, (long long)v->committed);
    add_number(b, "oldest_open", v->oldest_open);
    add_number(b, "end", v->end);
    add_number(b, "lag", v->lag);
    ang_buf_add_str(b, "}");
}

static void add_part(struct ang_buf *b, const struct part *p, const struct part_view *v) {
    const int percent = p->percent;

    ang_buf_addf(b, "%s{\"partition\":%d,\"phase\":", p->no == 0 ? "" : ",", p->no);
    switch (v->phase) {
    case PART_NONE:
        ang_buf_add_str(b, "\"away\"");
        break;
    case PART_TAKEOVER:
        if (percent < 0)
            ang_buf_add_str(b, "\"taking-over\"");
        else
            ang_buf_addf(b, "\"restoring\",\"percent\":%d", percent);
        break;
    case PART_SERVING:
        ang_buf_addf(b, "\"serving\",\"generation\":%d,\"unfinished\":%u", v->generation, v->unfinished);
        add_input(b, "commands", &v->in[INPUT_COMMANDS]);
        add_input(b, "reactions", &v->in[INPUT_REACTIONS]);
        break;
    case PART_ASIDE:
        ang_buf_addf(b, "\"aside\",\"generation\":%d", v->generation);
        break;
    }
    ang_buf_add_str(b, "}");
}

void health_tell(struct lane *l, struct ang_buf *b) {
    const struct lane_view *v = &l->view;
    int32_t i;

    ANG_PT(pthread_mutex_lock(&l->view_lock));
    ang_buf_addf(b, "{\"domain\":\"%s\",\"lane\":%d,\"age_ms\":%lld,\"calls\":%d,\"slow_calls\":%d", l->domain->name, l->index,
                 (long long)(ang_now_ms() - v->at_ms), v->calls, v->slow_calls);
    add_number(b, "aborted_commits", (int64_t)meters_aborted(l));
    add_number(b, "retired_producers", (int64_t)ang_counter_value(l->meters.retired));
    add_number(b, "dead_lettered", (int64_t)meters_dead(l));
    add_number(b, "forwarded", (int64_t)ang_counter_value(l->meters.forwarded));
    add_number(b, "skipped", (int64_t)ang_counter_value(l->meters.skipped));
    add_number(b, "escalated", (int64_t)ang_counter_value(l->meters.escalated));
    ang_buf_add_str(b, ",\"held\":");
    holds_tell(l, b);
    ang_buf_add_str(b, ",\"partitions\":[");
    for (i = 0; i < l->domain->partitions; i++)
        add_part(b, &l->parts[i], &v->parts[i]);
    ang_buf_add_str(b, "]}");
    ANG_PT(pthread_mutex_unlock(&l->view_lock));
}
