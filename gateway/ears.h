/* Who listens to which events, and telling them.
 *
 *      record --correlation-id header--> ear --> listener, listener        Subscribe, ExecuteStream, Synchronize by correlation id
 *             --root in its key--------> ear --> listener                  Synchronize of an aggregate
 *             --its topic--------------> ear --> listener                  Follow
 *
 * A record is looked up by what stands beside its value; only one that somebody listens to is decoded, once for all of them, and its bytes
 * are shared by those who pass it on.  Loop thread; the bytes are let go on any. */
#ifndef ANG_GATEWAY_EARS_H
#define ANG_GATEWAY_EARS_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "eventlog/eventlog.h"
#include "processor/table.h"
#include "proto/frame.h"
#include "rpc/rpc.h"
#include "topology/topology.h"

struct ang_ears;
struct ang_ear;
struct ang_held;

/* An event book on its way to callers: EventBook{cover, pages, next_sequence}. */
struct ang_shared {
    unsigned magic;
#define ANG_SHARED_MAGIC 0x5a4ed001
    _Atomic int refs;
    struct ang_held *held; /* counts the bytes of all books that are on their way */
    const struct ang_domain *domain;
    uint8_t root[16];
    char edition[65];
    uint32_t first, last; /* numbers of its pages */
    size_t n;
    uint8_t bytes[];
};
struct ang_shared *ang_shared_ref(struct ang_shared *sh);
void ang_shared_unref(struct ang_shared *sh); /* any thread; accepts NULL */
/* Sends it without copying; false as ang_rpc_send. */
bool ang_shared_send(struct ang_shared *sh, struct ang_rpc *rpc);

/* A record that somebody listens to; valid while they are told. */
struct ang_heard {
    const struct ang_domain *domain;
    const struct ang_rec *rec;
    struct ang_wire_event_book book; /* of rec->value; at least one page, all numbered, and a whole root */
    struct ang_shared *shared;       /* by ang_heard_share */
    enum { ANG_HEARD_RAW, ANG_HEARD_READ, ANG_HEARD_BAD } state;
};
/* Borrowed. */
struct ang_shared *ang_heard_share(struct ang_ears *ears, struct ang_heard *h);

struct ang_listener {    /* embedded */
    struct ang_ear *ear; /* NULL: it listens to nothing */
    TAILQ_ENTRY(ang_listener) link;
    void (*hear)(struct ang_listener *l, struct ang_heard *h); /* may remove any listener */
};

struct ang_ears *ang_ears_new(void);
void ang_ears_free(struct ang_ears *e); /* nobody listens; accepts NULL */
void ang_listen_correlation(struct ang_ears *e, struct ang_listener *l, struct ang_slice id);
void ang_listen_root(struct ang_ears *e, struct ang_listener *l, const struct ang_domain *domain,
                     const uint8_t root[16], struct ang_slice edition);
void ang_listen_domain(struct ang_ears *e, struct ang_listener *l, const struct ang_domain *domain); /* NULL: all */
void ang_listen_stop(struct ang_ears *e, struct ang_listener *l); /* no-op when it listens to nothing */
/* Tells of a record of the domain's event topic. */
void ang_ears_tell(struct ang_ears *e, const struct ang_domain *domain, const struct ang_rec *rec);
/* Bytes of books that callers have not taken yet. */
size_t ang_ears_held(const struct ang_ears *e);

#endif
