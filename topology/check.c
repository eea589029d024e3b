/* What every request must satisfy before anything is done with it (the contract's validation; the texts are part of it).
 * A text names the field; it never repeats what was sent, which may be long or unprintable. */
#include "topology/check.h"

static struct ang_status *check_root(const struct ang_wire_cover *c) {
    if (c->root.n == 16)
        return (NULL);
    return (ang_status_new(ANG_INVALID_ARGUMENT, "Invalid UUID: root has %zu bytes, expected 16", c->root.n));
}

static struct ang_status *check_names(const struct ang_wire_cover *c) {
    if (c->domain.n > 0 && !ang_name_ok(c->domain))
        return (
            ang_status_new(ANG_INVALID_ARGUMENT, "Invalid domain: expected [a-z_][a-z0-9_-]*, at most 64 characters"));
    if (c->edition.n > 0 && !ang_name_ok(c->edition))
        return (
            ang_status_new(ANG_INVALID_ARGUMENT, "Invalid edition: expected [a-z_][a-z0-9_-]*, at most 64 characters"));
    if (!ang_correlation_ok(c->correlation_id))
        return (ang_status_new(ANG_INVALID_ARGUMENT,
                               "Invalid correlation_id: expected [A-Za-z0-9_-]*, at most 128 characters"));
    return (NULL);
}

static struct ang_status *find_domain(const struct ang_topology *t, struct ang_slice name,
                                      const struct ang_domain **ret_domain) {
    const struct ang_domain *d = ang_topology_domain(t, name);

    if (d == NULL)
        return (ang_status_new(ANG_NOT_FOUND, "domain %.*s is not known: no business_logic is configured for it",
                               (int)name.n, (const char *)name.p));
    *ret_domain = d;
    return (NULL);
}

static struct ang_status *no_domain(void) {
    return (ang_status_new(ANG_INVALID_ARGUMENT, "Cover must have a domain"));
}

struct ang_status *ang_check_command(const struct ang_topology *t, const char *message, const struct ang_wire_cover *c,
                                     const struct ang_domain **ret_domain) {
    struct ang_status *st;

    if (!c->present)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "%s must have a cover", message));
    if (!c->has_root)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "Cover must have a root UUID"));
    if ((st = check_root(c)) != NULL)
        return (st);
    if (c->domain.n == 0)
        return (no_domain());
    if ((st = check_names(c)) != NULL)
        return (st);
    return (find_domain(t, c->domain, ret_domain));
}

struct ang_status *ang_check_query(const struct ang_topology *t, const struct ang_wire_query *q,
                                   const struct ang_domain **ret_domain) {
    const struct ang_wire_cover *c = &q->cover;
    struct ang_status *st;

    if (!c->present)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "Query must have a cover"));
    if (!c->has_root && c->correlation_id.n == 0)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "Cover must have a root UUID or a correlation_id"));
    if (c->has_root && (st = check_root(c)) != NULL)
        return (st);
    if (c->has_root && c->domain.n == 0)
        return (no_domain());
    if ((st = check_names(c)) != NULL)
        return (st);
    if (q->selection == ANG_SELECT_TEMPORAL && q->temporal.moment == ANG_MOMENT_NONE)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "Query.temporal must have a point_in_time"));
    *ret_domain = NULL;
    return (c->domain.n == 0 ? NULL : find_domain(t, c->domain, ret_domain));
}

struct ang_status *ang_check_filter(const struct ang_topology *t, const struct ang_wire_cover *c,
                                    const struct ang_domain **ret_domain) {
    struct ang_status *st;

    if (c->has_root && (st = check_root(c)) != NULL)
        return (st);
    if ((st = check_names(c)) != NULL)
        return (st);
    *ret_domain = NULL;
    return (c->domain.n == 0 ? NULL : find_domain(t, c->domain, ret_domain));
}
