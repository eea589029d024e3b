/* What the gateway counts of commands (base/metrics.tbl.h).  A call is counted before its caller hears of its end. */
#include <stdlib.h>

#include "gateway/gateway_priv.h"

/* What no domain of ours is called, for calls that name none. */
#define NO_DOMAIN "-"

static void meter_init(struct ang_gateway_meter *m, const char *domain) {
    const char *const *labels = ANG_LABELS(domain);

    ang_counter_get_each(ANG_M_GW_COMMANDS, labels, m->commands, ANG_CODES);
    ang_histogram_get_each(ANG_M_GW_COMMAND_TIME, labels, m->took, ANG_CODES);
}

void ang_gateway_meters_open(struct ang_gateway *g) {
    const size_t n = ang_topology_domains(g->conf.topology);
    size_t i;

    g->meters = ang_calloc(n + 1, sizeof *g->meters);
    meter_init(&g->meters[n], NO_DOMAIN);
    for (i = 0; i < n; i++) {
        struct ang_gateway_meter *m = &g->meters[i];
        const char *const *labels = ANG_LABELS(ang_topology_domain_at(g->conf.topology, i)->name);

        meter_init(m, labels[0]);
        m->in_flight = ang_gauge_get(ANG_M_GW_IN_FLIGHT, labels);
        m->full = ang_counter_get(ANG_M_GW_FULL, labels);
        m->resends = ang_counter_get(ANG_M_GW_RESENDS, labels);
        m->append_failures = ang_counter_get(ANG_M_GW_APPEND_FAILURES, labels);
    }
    ang_gauge_set(ang_gauge_get(ANG_M_GW_IN_FLIGHT_LIMIT, ANG_NO_LABELS), g->conf.settings->gateway.in_flight);
}

void ang_gateway_meters_close(struct ang_gateway *g) {
    free(g->meters);
}

struct ang_gateway_meter *ang_gateway_meter(struct ang_gateway *g, const struct ang_domain *domain) {
    return (&g->meters[domain == NULL ? ang_topology_domains(g->conf.topology) : domain->index]);
}

void ang_gateway_meter_end(struct ang_gateway *g, const struct ang_domain *domain, const struct ang_rpc *rpc,
                           const struct ang_status *st) {
    struct ang_gateway_meter *m = ang_gateway_meter(g, domain);
    const uint32_t code = st == NULL ? ANG_OK : ang_code_index(st->code);

    ang_counter_add(m->commands[code], 1);
    ang_histogram_add(m->took[code], ang_now_us() - ang_rpc_began_us(rpc));
}
