/* What the log says of the partitions: who owns them, how far they are.
 *
 * Positions are asked for group by group, each on a thread of its own: a transaction that hangs keeps those of its group from becoming
 * known, and only those. */
#include <stdlib.h>

#include "processor/doneset.h"
#include "tools/status.h"

#define INPUTS 2 /* commands, reactions */

struct group { /* of a domain */
    const struct status *s;
    const struct ang_domain *domain;
    struct ang_pos *pos; /* commands of all partitions, then reactions */
    size_t n;
    struct ang_buf mem;
    struct ang_err *er;
    pthread_t thread;
};

/* ---- positions ---- */
static void *ask_positions(void *arg) {
    struct group *g = arg;

    g->er = ang_log_positions(g->s->look.log, g->domain->group, g->pos, g->n, (int)g->s->timeout_ms, &g->mem);
    return (NULL);
}

static struct group *start_groups(const struct status *s) {
    const size_t n = ang_topology_domains(s->look.topology);
    struct group *groups = ang_calloc(n + 1, sizeof *groups);

    for (size_t i = 0; i < n; i++) {
        struct group *g = &groups[i];
        const struct ang_domain *d = ang_topology_domain_at(s->look.topology, i);

        *g = (struct group){.s = s, .domain = d, .n = (size_t)d->partitions * INPUTS};
        g->pos = ang_calloc(g->n, sizeof *g->pos);
        for (size_t k = 0; k < g->n; k++)
            g->pos[k] = (struct ang_pos){.topic = k < (size_t)d->partitions ? d->commands : d->reactions,
                                         .partition = (int32_t)(k % (size_t)d->partitions),
                                         .offset = ANG_OFFSET_NONE};
        ANG_PT(pthread_create(&g->thread, NULL, ask_positions, g));
    }
    return (groups);
}

static void await_groups(const struct status *s, struct group *groups) {
    for (size_t i = 0; i < ang_topology_domains(s->look.topology); i++)
        ANG_PT(pthread_join(groups[i].thread, NULL));
}

static void free_groups(const struct status *s, struct group *groups) {
    for (size_t i = 0; i < ang_topology_domains(s->look.topology); i++) {
        free(groups[i].pos);
        ang_buf_fini(&groups[i].mem);
        ang_err_free(&groups[i].er);
    }
    free(groups);
}

/* ---- one input ---- */

/* Records that others have overtaken: those below the highest that is done.  What comes behind it is only lag. */
static int64_t unfinished(const struct ang_pos *pos) {
    struct ang_doneset ds;
    int64_t n = ANG_OFFSET_NONE;

    ang_doneset_init(&ds, pos->offset);
    switch (ang_doneset_decode(&ds, pos->meta, pos->offset)) {
    case ANG_DONESET_OK:
        n = ang_doneset_runs(&ds) == 0 ? 0 : ds.runs[ds.n - 1].to - ds.base - (int64_t)ang_doneset_count(&ds);
        break;
    case ANG_DONESET_NONE:
        n = 0;
        break;
    case ANG_DONESET_ELSEWHERE: /* too many to stand here */
    case ANG_DONESET_OTHER_BASE:
    case ANG_DONESET_MALFORMED:
        break;
    }
    ang_doneset_fini(&ds);
    return (n);
}

static void fill_input(struct status *s, struct status_input *in, const struct ang_pos *pos, bool known,
                       const struct ang_range *range) {
    *in = (struct status_input){known ? pos->offset : ANG_OFFSET_NONE, range->end, ANG_OFFSET_NONE, ANG_OFFSET_NONE};
    if (known && range->end != ANG_OFFSET_NONE) {
        /* Without a position all that is there is to come. */
        const int64_t from = pos->offset == ANG_OFFSET_NONE ? range->begin : pos->offset;

        in->lag = range->end > from ? range->end - from : 0;
        s->lag += in->lag;
    } else {
        s->unknown_lag++;
    }
    if (known)
        in->unfinished = pos->offset == ANG_OFFSET_NONE ? 0 : unfinished(pos);
}

static void fill_inputs(struct status *s, const struct group *groups, const struct ang_range *ranges) {
    size_t at = 0, i;

    for (i = 0; i < s->n_parts; i++, at += INPUTS) {
        struct status_part *p = &s->parts[i];
        const struct group *g = &groups[p->domain->index];
        const struct ang_range *r = &ranges[at];

        fill_input(s, &p->commands, &g->pos[p->no], g->er == NULL, &r[0]);
        fill_input(s, &p->reactions, &g->pos[p->domain->partitions + p->no], g->er == NULL, &r[1]);
        if (r[0].why != NULL || r[1].why != NULL)
            p->why = ang_sprintf("%s/%d: %s", r[0].why != NULL ? r[0].topic->name : r[1].topic->name, p->no,
                                 r[0].why != NULL ? r[0].why : r[1].why);
        else if (g->er != NULL)
            p->why = ang_strdup(g->er->msg);
        /* Positions that are not known are that for the same reason in all of the group. */
        if (p->why != NULL && !s->topics_missing && (r[0].why != NULL || r[1].why != NULL || p->no == 0))
            status_problem(s, "%s", p->why);
    }
}

/* ---- owners ---- */
static struct ang_err *read_owners(struct status *s) {
    struct ang_err *er;
    bool changed;

    if (s->owners == NULL)
        return (ang_owners_open_look(s->look.log, s->look.topology, (int)s->timeout_ms, &s->owners));
    er = ang_owners_poll(s->owners, &changed);
    if (er != NULL) { /* what failed stays failed: the next look begins anew */
        ang_owners_close(s->owners);
        s->owners = NULL;
    }
    return (er);
}

static void fill_owner(struct status_part *p, const struct ang_owner *o) {
    p->percent = -1;
    p->generation = o->state == ANG_OWNER_NONE ? -1 : o->generation;
    p->worker = ang_strdup(o->worker);
    p->endpoint = ang_strdup(o->endpoint);
    switch (o->state) {
    case ANG_OWNER_NONE:
        (void)snprintf(p->state, sizeof p->state, "none");
        break;
    case ANG_OWNER_RELEASED:
        (void)snprintf(p->state, sizeof p->state, "released");
        break;
    case ANG_OWNER_RESTORING:
        p->percent = (int)o->percent;
        (void)snprintf(p->state, sizeof p->state, "restoring %u%%", o->percent);
        break;
    case ANG_OWNER_SERVING:
        (void)snprintf(p->state, sizeof p->state, "serving");
        p->served = true; /* if its owner answers, which is seen later */
        break;
    }
}

/* ---- all of it ---- */
static void make_parts(struct status *s) {
    for (size_t i = 0; i < ang_topology_domains(s->look.topology); i++) {
        const struct ang_domain *d = ang_topology_domain_at(s->look.topology, i);

        s->parts = ang_realloc(s->parts, (s->n_parts + (size_t)d->partitions + 1) * sizeof *s->parts);
        for (int32_t p = 0; p < d->partitions; p++) {
            struct status_part *part = &s->parts[s->n_parts++];
            const struct ang_owner o = s->owners == NULL
                                           ? (struct ang_owner){.state = ANG_OWNER_NONE, .endpoint = "", .worker = ""}
                                           : ang_owners_get(s->owners, d->group, p);

            *part = (struct status_part){.domain = d, .no = p};
            fill_owner(part, &o);
        }
    }
}

static struct ang_range *make_ranges(const struct status *s) {
    struct ang_range *r = ang_calloc(s->n_parts * INPUTS + 1, sizeof *r);

    for (size_t i = 0; i < s->n_parts; i++) {
        r[i * INPUTS] = (struct ang_range){.topic = s->parts[i].domain->commands, .partition = s->parts[i].no};
        r[i * INPUTS + 1] = (struct ang_range){.topic = s->parts[i].domain->reactions, .partition = s->parts[i].no};
    }
    return (r);
}

/* The first question, which tells whether the log is there at all. */
static struct ang_err *find_topics(struct status *s, bool *ret_owners) {
    struct ang_topic_found *found = ang_calloc(s->look.n_specs, sizeof *found);
    struct ang_err *er = ang_log_find_topics(s->look.log, s->look.specs, s->look.n_specs, (int)s->timeout_ms, found);
    size_t missing = 0, differ = 0;

    *ret_owners = er == NULL && found[s->look.n_specs - 1].there; /* the last one */
    for (size_t i = 0; er == NULL && i < s->look.n_specs; i++) {
        missing += !found[i].there;
        differ += found[i].there && found[i].differs.n > 0;
        ang_topic_found_fini(&found[i]);
    }
    free(found);
    s->topics_missing = missing > 0;
    if (missing + differ > 0)
        status_problem(s, "topics: %zu missing, %zu different: `angzarr topics check` tells more", missing, differ);
    return (er);
}

struct ang_err *status_look_log(struct status *s) {
    const bool kafka = tool.settings->log.type == ANG_LOGTYPE_KAFKA;
    bool owners;
    struct ang_err *er = find_topics(s, &owners);
    struct ang_range *ranges;
    struct group *groups;

    if (er == NULL && kafka && owners)
        er = read_owners(s);
    if (er != NULL)
        return (er);
    make_parts(s);
    ranges = make_ranges(s);
    groups = start_groups(s);
    er = ang_log_ranges(s->look.log, ranges, s->n_parts * INPUTS, (int)s->timeout_ms);
    await_groups(s, groups);
    if (er == NULL)
        fill_inputs(s, groups, ranges);
    free_groups(s, groups);
    free(ranges);
    return (er);
}
