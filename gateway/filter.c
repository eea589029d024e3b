/* Which events Subscribe and Follow ask for.
 *
 * A listener stands at one ear, where the fewest come by that are not for it: that of the correlation id if one is given, else that of
 * the domain, or of all.  The rest is looked at when it hears something. */
#include "gateway/gateway_priv.h"
#include "topology/check.h"

struct ang_status *ang_filter_parse_subscribe(struct ang_slice request, struct ang_filter *ret_f) {
    struct ang_wire_iter it = ang_wire_iter_of(request);
    struct ang_slice id = ANG_SLICE_NONE;
    struct ang_wire_field f;

    while (ang_wire_next(&it, &f)) {
        if (f.number != 1)
            continue;
        if (f.type != ANG_WIRE_BYTES)
            return (ang_status_new(ANG_INVALID_ARGUMENT, "EventStreamFilter.correlation_id: wrong wire type"));
        id = f.bytes;
    }
    if (it.what != NULL)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "EventStreamFilter: %s", it.what));
    if (id.n == 0)
        return (ang_status_new(ANG_INVALID_ARGUMENT, "EventStreamFilter must have a correlation_id"));
    if (!ang_correlation_ok(id))
        return (ang_status_new(ANG_INVALID_ARGUMENT,
                               "Invalid correlation_id: expected [A-Za-z0-9_-]*, at most 128 characters"));
    *ret_f = (struct ang_filter){.cover = {.correlation_id = id}};
    return (NULL);
}

struct ang_status *ang_filter_parse_follow(const struct ang_gateway *g, struct ang_slice request,
                                           struct ang_filter *ret_f) {
    struct ang_err *er = ang_wire_parse_follow(request, &ret_f->cover);

    if (er != NULL)
        return (ang_status_from_err(&er));
    return (ang_check_filter(g->conf.topology, &ret_f->cover, &ret_f->domain));
}

void ang_filter_listen(const struct ang_filter *f, struct ang_ears *ears, struct ang_listener *l) {
    if (f->cover.correlation_id.n > 0)
        ang_listen_correlation(ears, l, f->cover.correlation_id);
    else
        ang_listen_domain(ears, l, f->domain);
}

bool ang_filter_wants(const struct ang_filter *f, const struct ang_heard *h) {
    const struct ang_wire_cover *asked = &f->cover, *c = &h->book.cover;

    if (f->domain != NULL && f->domain != h->domain)
        return (false);
    if (asked->has_root && !ang_slice_eq(asked->root, c->root))
        return (false);
    return (asked->edition.n == 0 || ang_slice_eq(asked->edition, c->edition));
}
