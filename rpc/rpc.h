/* gRPC without its headers: a server, and calls to others, on loops.  Messages are bytes; who needs their fields uses proto/.
 *
 * Callbacks run on the loop's thread, with no lock held.  An rpc handed to a handler lives until the handler's side has called
 * reply, fail or end exactly once; those three, and send, may be called from any thread. */
#ifndef ANG_RPC_H
#define ANG_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "rpc/loop.h"

/* gRPC's status codes. */
enum ang_code {
    ANG_OK = 0,
    ANG_CANCELLED = 1,
    ANG_UNKNOWN_STATUS = 2,
    ANG_INVALID_ARGUMENT = 3,
    ANG_DEADLINE_EXCEEDED = 4,
    ANG_NOT_FOUND = 5,
    ANG_ALREADY_EXISTS = 6,
    ANG_PERMISSION_DENIED = 7,
    ANG_RESOURCE_EXHAUSTED = 8,
    ANG_FAILED_PRECONDITION = 9,
    ANG_ABORTED = 10,
    ANG_OUT_OF_RANGE = 11,
    ANG_UNIMPLEMENTED = 12,
    ANG_INTERNAL = 13,
    ANG_UNAVAILABLE = 14,
    ANG_DATA_LOSS = 15,
    ANG_UNAUTHENTICATED = 16
};
#define ANG_CODES (ANG_UNAUTHENTICATED + 1)
/* Where to count one: those that gRPC does not know are UNKNOWN. */
static inline uint32_t ang_code_index(uint32_t code) {
    return (code < ANG_CODES ? code : ANG_UNKNOWN_STATUS);
}
const char *ang_code_name(uint32_t code); /* "FAILED_PRECONDITION"; "CODE(77)" is "UNKNOWN" */

struct ang_meta { /* one metadata entry: key lower case; value bytes when the key ends in -bin */
    const char *key;
    struct ang_slice value;
};

/* A status on its way to a caller; owned by whoever holds it. */
struct ang_status {
    uint32_t code;
    char *msg;          /* UTF-8; sent cut to 1 KiB on a character border */
    struct ang_buf mem; /* what the trailers point into, unless they point elsewhere */
    struct ang_meta *trailers;
    size_t n_trailers;
};
struct ang_status *ang_status_new(uint32_t code, const char *fmt, ...) ANG_PRINTF(2, 3);
/* Copies key and value.  Message (as sent: 3 bytes for one that is not printable ASCII) and trailers (base64 for -bin, 32
 * bytes for each entry) are kept under 4 KiB when sent: in order, an entry that does not fit any more is left out, and so is
 * one that HTTP/2 does not allow. */
void ang_status_add(struct ang_status *st, const char *key, struct ang_slice value);
struct ang_status *ang_status_dup(const struct ang_status *st);
void ang_status_free(struct ang_status **st);
/* Takes *er.  INVALID, WIRE -> INVALID_ARGUMENT; NO_DOMAIN -> NOT_FOUND; TOO_BIG -> RESOURCE_EXHAUSTED;
 * class RETRY -> UNAVAILABLE; the rest INTERNAL. */
struct ang_status *ang_status_from_err(struct ang_err **er);

/* ---- server ---- */
struct ang_catalog; /* proto/catalog.h */
struct ang_rpc_server;
struct ang_rpc; /* one call being served */

enum ang_rpc_kind { ANG_RPC_UNARY, ANG_RPC_SERVER_STREAM, ANG_RPC_BIDI_STREAM };

struct ang_rpc_method {
    const char *path; /* "/angzarr.CommandGateway/Execute" */
    enum ang_rpc_kind kind;
    /* A request has arrived, whole and not over max_message; request is borrowed until ang_rpc_request is no longer needed:
     * it lives as long as the rpc.  Bidirectional streams: the call has arrived, request is empty; ang_rpc_read asks for the
     * requests. */
    void (*handle)(void *arg, struct ang_rpc *rpc, struct ang_slice request);
};

struct ang_rpc_server_conf {
    struct ang_loop *loop;
    const char *address;                  /* "127.0.0.1:0", "unix:/path" */
    int64_t max_message;                  /* > 0; larger requests: RESOURCE_EXHAUSTED that names both sizes */
    const struct ang_rpc_method *methods; /* borrowed for the server's life */
    size_t n_methods;
    void *arg;                       /* for the handlers */
    const struct ang_catalog *types; /* what reflection tells of, borrowed for the server's life; NULL: not served */
};
/* Listens at once, answers when the loop runs.  Methods not in the table: UNIMPLEMENTED that names the method.  RPC_BIND
 * names the address.  Before ang_loop_start or while the loop runs; any thread. */
struct ang_err *ang_rpc_server_open(const struct ang_rpc_server_conf *conf, struct ang_rpc_server **ret_s) ANG_MUST_USE;
const char *ang_rpc_server_address(const struct ang_rpc_server *s); /* with the real port */
/* Accepts no more; waits up to grace_ms for the calls under way, cancels the rest, waits until their handlers have ended
 * them, frees.  Watches of health and streams of reflection are ended at once.  From another thread than the loop's, while
 * the loop runs. */
void ang_rpc_server_close(struct ang_rpc_server *s, int grace_ms); /* accepts NULL */

struct ang_slice ang_rpc_request(const struct ang_rpc *rpc);
const char *ang_rpc_path(const struct ang_rpc *rpc);
/* false when the caller sent no such entry; the first one of several. */
bool ang_rpc_meta(const struct ang_rpc *rpc, const char *key, struct ang_slice *ret_value);
/* Monotonic milliseconds; ANG_NEVER without a deadline. */
int64_t ang_rpc_deadline(const struct ang_rpc *rpc);
int64_t ang_rpc_began_us(const struct ang_rpc *rpc); /* monotonic: its request had come */
/* Whoever serves the call may hang something on it; cancelled (may be NULL) runs on the loop's thread, at most once, when the
 * caller goes away or the deadline passes before the call has ended (soon, when that was before this call); the rpc must
 * still be ended.  It does not start after the call was ended; ended on another thread, it may be running. */
void ang_rpc_set_user(struct ang_rpc *rpc, void *user, void (*cancelled)(struct ang_rpc *rpc, void *user));
void *ang_rpc_user(const struct ang_rpc *rpc);
/* Ends a unary call with the parts laid one after the other; they are copied. */
void ang_rpc_reply(struct ang_rpc *rpc, const struct ang_slice *parts, size_t n);
/* Ends any call.  Takes *st. */
void ang_rpc_fail(struct ang_rpc *rpc, struct ang_status **st);
/* The same, and what is queued is forgotten instead of sent: for a caller that does not take it. */
void ang_rpc_cut(struct ang_rpc *rpc, struct ang_status **st);
/* Streams: one message; false when the call is over or more than 4 MiB wait to be sent (then nothing was queued). */
bool ang_rpc_send(struct ang_rpc *rpc, const struct ang_slice *parts, size_t n);
/* The same without a copy: the bytes are shared until done(arg) runs, once, on any thread, with
 * locks held: it must not call into rpc/.  When it returns false, done does not run. */
bool ang_rpc_send_shared(struct ang_rpc *rpc, struct ang_slice bytes, void (*done)(void *arg), void *arg);
/* Streams: tells the caller that the call has begun, before there is a message (his initial metadata). */
void ang_rpc_begin(struct ang_rpc *rpc);
/* Bytes queued and not yet taken by the transport; drained (may be NULL) runs on the loop each time they fall below low, and
 * soon after ang_rpc_on_drained when they are below it already.  Not once the call has ended or is cancelled. */
size_t ang_rpc_queued(const struct ang_rpc *rpc);
void ang_rpc_on_drained(struct ang_rpc *rpc, size_t low, void (*drained)(struct ang_rpc *rpc, void *user));
/* Ends a stream with OK. */
void ang_rpc_end(struct ang_rpc *rpc);
/* Bidirectional streams: asks for the next request; nothing is read from the caller until then.  got runs once, on the loop's
 * thread and never from inside this: with the message, borrowed until it returns, or with NULL when the caller sends no more (or
 * is gone).  Not once the call has ended or is cancelled, and one that is over max_message cancels it: the caller gets
 * RESOURCE_EXHAUSTED.  One at a time: again only after got. */
void ang_rpc_read(struct ang_rpc *rpc, void (*got)(struct ang_rpc *rpc, void *user, const struct ang_slice *msg));

/* grpc.reflection.v1 and v1alpha: the server serves them by itself from conf.types; the services listed are those of its table,
 * health and reflection.
 *
 * grpc.health.v1: the server serves Check and Watch by itself.  service "" is the whole server; until a name is set it is
 * unknown, "" too.  Any thread. */
void ang_rpc_server_set_health(struct ang_rpc_server *s, const char *service, bool serving);

/* ---- client ---- */
struct ang_rpc_channel; /* connections to one address; reconnects by itself, 100 ms to 1 s back-off */
struct ang_rpc_call;

/* Connects with the first call.  INVALID: the address is neither host:port nor unix:/path.  Any thread. */
struct ang_err *ang_rpc_channel_open(struct ang_loop *loop, const char *address,
                                     struct ang_rpc_channel **ret_ch) ANG_MUST_USE;
/* Cancels what is under way: their done runs with CANCELLED before this returns, and starts no new call on ch.  Loop thread,
 * also from a done or message of ch.  Accepts NULL. */
void ang_rpc_channel_close(struct ang_rpc_channel *ch);
const char *ang_rpc_channel_address(const struct ang_rpc_channel *ch);
/* A connection stands.  When none does, the next call makes one, maybe to another program than before.  Loop thread. */
bool ang_rpc_channel_connected(const struct ang_rpc_channel *ch);

struct ang_rpc_result {
    uint32_t code;                   /* of the callee, or of the transport */
    struct ang_slice msg;            /* all borrowed until done returns */
    struct ang_slice response;       /* code OK: the message, whatever its size; empty messages are empty */
    const struct ang_meta *trailers; /* custom ones, grpc-status-details-bin among them (up to 64 KiB in all) */
    size_t n_trailers;
};
struct ang_rpc_req {
    const char *path;              /* must outlive the channel: a constant */
    const struct ang_slice *parts; /* copied */
    size_t n_parts;
    int64_t deadline_ms;         /* monotonic; ANG_NEVER */
    bool wait_for_ready;         /* false: UNAVAILABLE when connecting fails, at once while it backs off */
    const struct ang_meta *meta; /* copied; what HTTP/2 does not allow is left out */
    size_t n_meta;
    void (*done)(void *arg, const struct ang_rpc_result *res); /* exactly once, loop thread, never from inside start */
    void (*message)(void *arg, struct ang_slice msg);          /* server streams: each message; NULL for a unary call */
    void (*begun)(void *arg); /* server streams: the callee has begun to answer: at most once, before the first message; rarely also
                                 when it fails instead; may be NULL */
    void *arg;
};
/* Loop thread. The call is valid until done has run. */
struct ang_rpc_call *ang_rpc_call_start(struct ang_rpc_channel *ch, const struct ang_rpc_req *req);
void ang_rpc_call_cancel(struct ang_rpc_call *call); /* done still runs */

#endif
