/* The components of the configuration and their topics. */
#include "topology/topology.h"

#include <stdlib.h>

struct ang_topology {
    unsigned magic;
#define ANG_TOPOLOGY_MAGIC 0x70b01001
    const struct ang_settings *set;
    struct ang_log *log;
    struct ang_domain *domains;
    size_t n_domains;
    const struct ang_topic *owners;
    struct ang_topic_spec *specs;
    size_t n_specs;
};

#define DAY_MS (24LL * 3600 * 1000)
/* What a record carries beside the message itself: key, headers, framing. */
#define RECORD_SLACK (64 * 1024)

static const struct ang_topic *topic(const struct ang_topology *t, const char *domain, const char *kind) {
    char *name = ang_sprintf("%s%s.%s", t->set->topology.prefix, domain, kind);
    const struct ang_topic *tp = ang_log_topic(t->log, name);

    free(name);
    return (tp);
}

static void fill_specs(struct ang_topology *t) {
    const int64_t max = t->set->limits.message + RECORD_SLACK;
    size_t i, n = 0;

    t->specs = ang_calloc(t->n_domains * 5 + 1, sizeof *t->specs);
    for (i = 0; i < t->n_domains; i++) {
        const struct ang_domain *d = &t->domains[i];
        const struct {
            const struct ang_topic *topic;
            bool compact;
            int64_t retention_ms;
        } rows[] = {
            {d->commands, false, 7 * DAY_MS}, {d->reactions, false, 30 * DAY_MS}, {d->events, true, -1},
            {d->snapshots, true, -1},         {d->dlq, false, 30 * DAY_MS},
        };
        size_t k;

        for (k = 0; k < ANG_COUNT(rows); k++)
            t->specs[n++] = (struct ang_topic_spec){.name = rows[k].topic->name,
                                                    .partitions = d->partitions,
                                                    .replication = t->set->topology.replication,
                                                    .compact = rows[k].compact,
                                                    .retention_ms = rows[k].retention_ms,
                                                    .max_message = max};
    }
    t->specs[n++] = (struct ang_topic_spec){.name = t->owners->name,
                                            .partitions = 1,
                                            .replication = t->set->topology.replication,
                                            .compact = true,
                                            .retention_ms = -1,
                                            .max_message = max};
    t->n_specs = n;
}

struct ang_topology *ang_topology_new(const struct ang_settings *s, struct ang_log *log) {
    struct ang_topology *t = ANG_NEW(struct ang_topology);
    char *name;
    size_t i;

    t->magic = ANG_TOPOLOGY_MAGIC;
    t->set = s;
    t->log = log;
    t->n_domains = s->n_business;
    t->domains = ang_calloc(s->n_business, sizeof *t->domains);
    for (i = 0; i < s->n_business; i++) {
        struct ang_domain *d = &t->domains[i];

        d->magic = ANG_DOMAIN_MAGIC;
        d->index = i;
        d->business = &s->business[i];
        d->name = d->business->domain;
        d->group = ang_sprintf("%s%s.aggregate", s->topology.prefix, d->name);
        d->partitions = s->topology.partitions;
        d->commands = topic(t, d->name, "commands");
        d->reactions = topic(t, d->name, "reactions");
        d->events = topic(t, d->name, "events");
        d->snapshots = topic(t, d->name, "snapshots");
        d->dlq = topic(t, d->name, "dlq");
    }
    name = ang_sprintf("%sowners", s->topology.prefix);
    t->owners = ang_log_topic(log, name);
    free(name);
    fill_specs(t);
    return (t);
}

void ang_topology_free(struct ang_topology *t) {
    size_t i;

    if (t == NULL)
        return;
    ANG_CHECK(t, ANG_TOPOLOGY_MAGIC);
    for (i = 0; i < t->n_domains; i++)
        free((void *)(uintptr_t)t->domains[i].group);
    free(t->domains);
    free(t->specs);
    free(t);
}

const struct ang_topic_spec *ang_topology_specs(const struct ang_topology *t, size_t *ret_n) {
    ANG_CHECK(t, ANG_TOPOLOGY_MAGIC);
    *ret_n = t->n_specs;
    return (t->specs);
}

struct ang_err *ang_topology_ensure(struct ang_topology *t, int timeout_ms) {
    ANG_CHECK(t, ANG_TOPOLOGY_MAGIC);
    return (ang_log_ensure_topics(t->log, t->specs, t->n_specs, t->set->topology.create, timeout_ms));
}

const struct ang_domain *ang_topology_domain(const struct ang_topology *t, struct ang_slice name) {
    size_t i;

    ANG_CHECK(t, ANG_TOPOLOGY_MAGIC);
    for (i = 0; i < t->n_domains; i++)
        if (ang_slice_is(name, t->domains[i].name))
            return (&t->domains[i]);
    return (NULL);
}

size_t ang_topology_domains(const struct ang_topology *t) {
    return (t->n_domains);
}

const struct ang_domain *ang_topology_domain_at(const struct ang_topology *t, size_t i) {
    ANG_ASSERT(i < t->n_domains);
    return (&t->domains[i]);
}

const struct ang_topic *ang_topology_owners_topic(const struct ang_topology *t) {
    return (t->owners);
}

const char *ang_topology_prefix(const struct ang_topology *t) {
    return (t->set->topology.prefix);
}
