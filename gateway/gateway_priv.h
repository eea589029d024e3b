/* The parts of the gateway.  Everything here belongs to the loop's thread unless it says otherwise. */
#ifndef ANG_GATEWAY_PRIV_H
#define ANG_GATEWAY_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "gateway/ears.h"
#include "gateway/gateway.h"
#include "gateway/pace.h"
#include "gateway/pending.h"
#include "gateway/tail.h"
#include "gateway/workers.h"
#include "proto/frame.h"

struct ang_page;
struct ang_query;
struct ang_roots;
struct ang_stream;
struct ang_sync;

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
    char *id;                         /* the reply-to of our commands */
    struct ang_gateway_meter *meters; /* by the index of the domain, and one more */
    struct ang_rpc_method *methods;   /* that are served */
    size_t n_methods;
    /* loop */
    struct ang_pending *pending;
    struct ang_workers *workers; /* NULL with a local worker */
    struct ang_timer tick;       /* of the pending table */
    struct ang_timer grace;      /* of the stop */
    bool stopping;
    struct ang_query *queries;
    struct ang_page *pages;
    struct ang_roots *roots;
    struct ang_tail *tail;
    struct ang_pace pace;
    struct ang_timer patience; /* of pace */
    struct ang_ears *ears;
    struct ang_stream *streams;
    size_t n_streams;
    struct ang_sync *syncs;
    const struct ang_request *fresh;    /* while a first copy is sent: what it is of, already parsed */
    struct ang_buf value, cover, types; /* scratch of a copy */
};

/* ---- command.c ---- */
void ang_command_handle(void *arg, struct ang_rpc *rpc, struct ang_slice request);      /* a CommandBook */
void ang_command_handle_sync(void *arg, struct ang_rpc *rpc, struct ang_slice request); /* a SyncCommandBook */
void ang_command_record(void *arg, struct ang_rpc *rpc, struct ang_slice request);      /* an EventBook */
/* Sends it; stream NULL: answers the rpc, otherwise the stream is told. A status: nothing was sent, and the caller counts it.
 * *ret_domain stays as it is when the book names none of ours. */
struct ang_status *ang_command_take(struct ang_gateway *g, struct ang_rpc *rpc, const struct ang_request *rq,
                                    struct ang_stream *stream, const struct ang_domain **ret_domain) ANG_MUST_USE;
/* Nobody waits for its answer any more. */
void ang_command_drop(struct ang_gateway *g, struct ang_call *call);
/* Its correlation id, or the one that it is given, in text. */
struct ang_slice ang_command_correlation(const struct ang_request *rq, char text[ANG_UUID_TEXT + 1]);
/* The callbacks of the pending table; arg is the gateway. */
struct ang_err *ang_command_send(void *arg, struct ang_call *call, uint32_t attempt);
void ang_command_end(void *arg, struct ang_call *call, struct ang_slice response, struct ang_status *st);

/* ---- meters.c ---- */
void ang_gateway_meters_open(struct ang_gateway *g);
void ang_gateway_meters_close(struct ang_gateway *g);
struct ang_gateway_meter *ang_gateway_meter(struct ang_gateway *g, const struct ang_domain *domain); /* NULL: it named none */
/* A command has its answer, or its rpc is about to end, with st; NULL: OK. */
void ang_gateway_meter_end(struct ang_gateway *g, const struct ang_domain *domain, const struct ang_rpc *rpc,
                           const struct ang_status *st);

/* ---- query.c ---- */
void ang_query_book(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_query_events(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_query_owners_changed(struct ang_gateway *g); /* those that wait look again */
void ang_query_end_all(struct ang_gateway *g, uint32_t code, const char *msg);

/* ---- roots.c: GetAggregateRoots ---- */
void ang_roots_get(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_roots_end_all(struct ang_gateway *g, uint32_t code, const char *msg);

/* ---- filter.c: which events Subscribe and Follow ask for ---- */
struct ang_filter { /* borrows the request */
    struct ang_wire_cover cover;
    const struct ang_domain *domain; /* NULL: all */
};
/* A status: it is not understood. */
struct ang_status *ang_filter_parse_subscribe(struct ang_slice request, struct ang_filter *ret_f) ANG_MUST_USE;
struct ang_status *ang_filter_parse_follow(const struct ang_gateway *g, struct ang_slice request,
                                           struct ang_filter *ret_f) ANG_MUST_USE;
void ang_filter_listen(const struct ang_filter *f, struct ang_ears *ears, struct ang_listener *l);
/* Of what its listener hears. */
bool ang_filter_wants(const struct ang_filter *f, const struct ang_heard *h);

/* ---- stream.c: Subscribe, Follow, ExecuteStream ---- */
void ang_stream_subscribe(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_stream_follow(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_stream_execute(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_stream_execute_count(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_stream_execute_time(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_stream_executing(struct ang_stream *s, struct ang_call *call); /* its command is under way */
/* Its command's outcome: st NULL: OK with response (borrowed), else the status, taken. */
void ang_stream_answered(struct ang_stream *s, struct ang_slice response, struct ang_status *st);
void ang_streams_tail(struct ang_gateway *g, bool stands);
/* executing_too: also those whose command has not been answered. */
void ang_streams_end_all(struct ang_gateway *g, bool executing_too, uint32_t code, const char *msg);

/* ---- sync.c: Synchronize ---- */
void ang_sync_begin(void *arg, struct ang_rpc *rpc, struct ang_slice request);
void ang_syncs_tail(struct ang_gateway *g, bool stands);
void ang_syncs_end_all(struct ang_gateway *g, uint32_t code, const char *msg);

/* ---- gateway.c ---- */
/* The table may be due earlier than it was. */
void ang_gateway_rearm(struct ang_gateway *g);

#endif
