/* Asking the owner of a partition for a page of what it holds, whoever that is at the time: the worker of this process, or the one that
 * `owners` names.  While nobody serves the partition, and when who was asked does not any more, it waits and asks again; nothing of a page
 * is lost or read twice by that, for a page comes whole or not at all.  Loop thread. */
#ifndef ANG_GATEWAY_PAGES_H
#define ANG_GATEWAY_PAGES_H

#include "gateway/gateway_priv.h"

struct ang_page;

struct ang_page_ask {
    const struct ang_domain *domain;
    int32_t partition;
    struct ang_slice query;  /* encoded Query: events; none: aggregates */
    struct ang_slice cursor; /* encoded Cursor of the page before; none: from the beginning */
    int64_t until_ms;        /* as long as it may wait for an owner; ANG_NEVER */
    /* Once, unless it is dropped; never from inside ang_page_ask.  response: an encoded PageResponse, borrowed; st: NULL or taken. */
    void (*done)(void *arg, struct ang_slice response, struct ang_status *st);
    void *arg;
};
struct ang_page *ang_page_ask(struct ang_gateway *g,
                              const struct ang_page_ask *ask); /* copies what it needs; valid until done */
void ang_page_drop(struct ang_page *p);                        /* done does not run any more */
void ang_pages_owners_changed(struct ang_gateway *g);
void ang_pages_drop_all(struct ang_gateway *g); /* the gateway stops, and who asked is gone */

/* A PageResponse, piece by piece. */
struct ang_page_items {
    struct ang_wire_iter it;
};
struct ang_page_items ang_page_items_of(struct ang_slice response);
bool ang_page_items_next(struct ang_page_items *i, struct ang_slice *ret_item); /* false: the end */
struct ang_page_end {
    struct ang_slice cursor;
    uint32_t sequence; /* of the cursor */
    bool more;
};
/* False: it is none. */
bool ang_page_end_of(struct ang_slice response, struct ang_page_end *ret);

#endif
