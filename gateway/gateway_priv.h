/* The parts of the gateway.  Everything here belongs to the loop's thread unless it says otherwise. */
#ifndef ANG_GATEWAY_PRIV_H
#define ANG_GATEWAY_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "base/metrics.h"
#include "gateway/gateway.h"
#include "gateway/pending.h"
#include "gateway/workers.h"
#include "proto/frame.h"

struct ang_query;

/* What a client has sent, parsed: one of the two. */
struct ang_request {
    const struct ang_wire_command_book *command;
    const struct ang_wire_event_book *record; /* facts (contract 15) */
};

/* The way from the log's threads back to the loop.  It outlives the gateway while appends are under way. */
struct ang_mail {
    unsigned magic;
#define ANG_MAIL_MAGIC 0x6a7e0002
    _Atomic int refs;
    struct ang_gateway *g; /* set once; not there any more when closed */
    pthread_mutex_t lock;
    bool closed; /* lock */
};
struct ang_mail *ang_mail_new(struct ang_gateway *g);
struct ang_mail *ang_mail_ref(struct ang_mail *m);
void ang_mail_unref(struct ang_mail *m);
void ang_mail_post(struct ang_mail *m, struct ang_op *op); /* any thread; shuts the op down when the gateway is gone */
void ang_mail_close(struct ang_mail *m);

/* What is counted of a domain's commands. */
struct ang_gateway_meter {
    struct ang_counter *commands[ANG_CODES];
    struct ang_histogram *took[ANG_CODES];
    /* not of calls that name no domain */
    struct ang_gauge *in_flight;
    struct ang_counter *full, *resends, *append_failures;
};

struct ang_gateway {
    unsigned magic;
#define ANG_GATEWAY_MAGIC 0x6a7e0001
    /* set once */
    struct ang_gateway_conf conf;
    struct ang_loop *loop;
    struct ang_rpc_server *server;
    struct ang_mail *mail;
    char *id; /* the reply-to of our commands */
    struct ang_gateway_meter *meters; /* by the index of the domain, and one more */
    /* loop */
    struct ang_pending *pending;
    struct ang_workers *workers; /* NULL with a local worker */
    struct ang_timer tick;       /* of the pending table */
    struct ang_timer grace;      /* of the stop */
    bool stopping;
    struct ang_query *queries;
    const struct ang_request *fresh;    /* while a first copy is sent: what it is of, already parsed */
    struct ang_buf value, cover, types; /* scratch of a copy */
};

/* ---- command.c ---- */
void ang_command_handle(void *arg, struct ang_rpc *rpc, struct ang_slice request);      /* a CommandBook */
void ang_command_handle_sync(void *arg, struct ang_rpc *rpc, struct ang_slice request); /* a SyncCommandBook */
void ang_command_record(void *arg, struct ang_rpc *rpc, struct ang_slice request);      /* an EventBook */
/* The callbacks of the pending table; arg is the gateway. */
struct ang_err *ang_command_send(void *arg, struct ang_call *call, uint32_t attempt);
void ang_command_end(void *arg, struct ang_call *call, struct ang_slice response, struct ang_status *st);

/* ---- meters.c ---- */
void ang_gateway_meters_open(struct ang_gateway *g);
void ang_gateway_meters_close(struct ang_gateway *g);
struct ang_gateway_meter *ang_gateway_meter(struct ang_gateway *g, const struct ang_domain *domain); /* NULL: it named none */
/* A command's rpc is about to end with st; NULL: OK. */
void ang_gateway_meter_end(struct ang_gateway *g, const struct ang_domain *domain, const struct ang_rpc *rpc,
                           const struct ang_status *st);

/* ---- query.c ---- */
void ang_query_book(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_query_events(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_query_owners_changed(struct ang_gateway *g); /* those that wait look again */
void ang_query_end_all(struct ang_gateway *g, uint32_t code, const char *msg);

/* ---- gateway.c ---- */
/* The table may be due earlier than it was. */
void ang_gateway_rearm(struct ang_gateway *g);

#endif
