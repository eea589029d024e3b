/* What the files of rpc/ share.  The only headers of the project that include gRPC's. */
#ifndef ANG_RPC_PRIV_H
#define ANG_RPC_PRIV_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "base/metrics.h"
#include "rpc/loop.h"
#include "rpc/rpc.h"

/* ---- tags: what a completion calls ---- */

/* Embedded in what a batch belongs to.  `done` runs on the loop's thread; ok = the batch succeeded. */
struct ang_tag {
    unsigned magic;
#define ANG_TAG_MAGIC 0x7a6c0de1
    void (*done)(struct ang_tag *tag, bool ok);
};

static inline void ang_tag_init(struct ang_tag *tag, void (*done)(struct ang_tag *, bool)) {
    tag->magic = ANG_TAG_MAGIC;
    tag->done = done;
}

/* The completion queue orders the thread that starts a batch before the one that gets its tag, but ThreadSanitizer does
 * not see inside gRPC: tell it. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define ANG_TAG_GIVE(tag) __tsan_release(tag)
#define ANG_TAG_TAKE(tag) __tsan_acquire(tag)
#else
#define ANG_TAG_GIVE(tag) ((void)(tag))
#define ANG_TAG_TAKE(tag) ((void)(tag))
#endif

/* Starts a batch that reports to tag.  From here on the loop may complete it and free what holds the tag: the caller
 * touches neither again, unless a lock or a reference of its own keeps them. */
void ang_tag_start(grpc_call *call, const grpc_op *ops, size_t n, struct ang_tag *tag);

/* "host:port" with a number for port, or "unix:/path": gRPC itself takes a missing port for 443. */
bool ang_address_ok(const char *address);

grpc_completion_queue *ang_loop_cq(struct ang_loop *l);

/* ---- bytes ---- */

/* One slice with a copy of all parts. */
grpc_byte_buffer *ang_bytes_new(const struct ang_slice *parts, size_t n);
/* The bytes themselves; done(arg) when nobody needs them any more, on any thread. */
grpc_byte_buffer *ang_bytes_share(struct ang_slice bytes, void (*done)(void *arg), void *arg);
/* The message in one piece, borrowed from bb, or from *mem where gRPC holds it in several pieces.  The caller unrefs *mem
 * with bb. */
struct ang_slice ang_bytes_view(grpc_byte_buffer *bb, grpc_slice *mem);
static inline struct ang_slice
ang_slice_of_grpc(const grpc_slice *s) { /* borrowed: small slices hold their bytes inside */
    return (ang_slice_of(GRPC_SLICE_START_PTR(*s), GRPC_SLICE_LENGTH(*s)));
}
/* Copies an entry into *ret_md; false (nothing to free) when HTTP/2 does not allow its key or value. */
bool ang_md_new(const struct ang_meta *m, grpc_metadata *ret_md);
void ang_md_free(grpc_metadata *md, size_t n);

/* ---- status ---- */

#define ANG_STATUS_MSG_MAX   1024
#define ANG_STATUS_BLOCK_MAX 4096 /* message and trailers, as HTTP/2 counts them */

struct ang_status_wire {
    grpc_status_code code;
    grpc_slice msg;
    grpc_metadata *md;
    size_t n_md;
};
/* What goes to the caller: message cut, trailers that fit. st NULL = OK. */
void ang_status_wire_init(struct ang_status_wire *w, const struct ang_status *st);
void ang_status_wire_fini(struct ang_status_wire *w);

/* ---- server ---- */

struct ang_health;
struct ang_reflection;
struct ang_rpc_server;

/* One row of the server's table: a method of the user's, of health or of reflection. */
struct ang_served_method {
    const struct ang_rpc_method *m;
    void *handle; /* gRPC's */
    void *arg;
    struct ang_histogram *took[ANG_CODES];
};

struct ang_rpc_out { /* one message that waits to be sent */
    struct ang_rpc_out *next;
    grpc_byte_buffer *bb;
    size_t n;
};

/* A call being served.  References: the handler's side, until reply, fail or end; each batch that is under way; the loop
 * while it runs a callback; an op on its way.  The last one gives it back to the server, on whatever thread. */
struct ang_rpc {
    unsigned magic;
#define ANG_RPC_MAGIC 0x7b1e90c4
    struct ang_rpc *next; /* free list */
    struct ang_rpc_server *s;
    const struct ang_served_method *sm; /* NULL: the catcher of unknown methods */
    struct ang_tag tag_new, tag_close, tag_send, tag_read;
    struct ang_op op; /* callbacks that are due without a completion */
    atomic_int refs;

    /* filled by gRPC before tag_new */
    grpc_call *call;
    grpc_call_details details; /* unknown methods only */
    gpr_timespec deadline;
    grpc_metadata_array meta;
    grpc_byte_buffer *payload;
    grpc_byte_buffer *incoming; /* before tag_read */
    int close_cancelled;        /* before tag_close, or before tag_send when that batch holds the close */

    /* set once, before the handler runs */
    grpc_slice request_mem;
    struct ang_slice request;
    int64_t deadline_ms;
    int64_t began_us;

    /* lock: reply, fail, end and send come from any thread */
    pthread_mutex_t lock;
    struct ang_rpc_out *out, **out_tail, out_first;
    size_t queued, sending_n, low;
    struct ang_status *st;
    void *user;
    void (*cancelled)(struct ang_rpc *rpc, void *user);
    void (*drained)(struct ang_rpc *rpc, void *user);
    void (*got)(struct ang_rpc *rpc, void *user, const struct ang_slice *msg); /* tag_read is under way */
    bool out_first_used;
    bool begin;         /* initial metadata is to go out without waiting for a message */
    bool begun;         /* initial metadata is sent, or in the batch under way */
    bool sending;       /* tag_send is under way */
    bool ended;         /* by the handler's side */
    bool final;         /* the status is sent, or in the batch under way */
    bool close_started; /* a RECV_CLOSE_ON_SERVER is under way or done */
    bool gone;          /* cancelled, or the transport failed */
    bool told;          /* cancelled has run */
    bool drain_armed;
    bool op_posted;
};

struct ang_rpc_server {
    unsigned magic;
#define ANG_RPC_SERVER_MAGIC 0x5e4fe401
    /* set once */
    struct ang_loop *loop;
    grpc_server *grpc;
    char *address, *unix_path;
    int64_t max_message;
    struct ang_served_method *methods;
    size_t n_methods;
    struct ang_health *health;
    struct ang_reflection *reflection; /* NULL: not served */
    struct ang_tag tag_shutdown;
    /* lock */
    pthread_mutex_t lock;
    pthread_cond_t cond; /* live is 0, or shut became true */
    struct ang_rpc *free;
    unsigned n_free, live; /* live: armed or being served */
    bool closing, shut;
};

/* server.c */
struct ang_rpc *ang_rpc_take(struct ang_rpc_server *s, const struct ang_served_method *sm);
void ang_rpc_give_back(struct ang_rpc *rpc); /* a clean one */
void ang_rpc_arm(struct ang_rpc_server *s, const struct ang_served_method *sm);
/* served.c */
void ang_rpc_new_done(struct ang_tag *tag, bool ok);
void ang_rpc_close_done(struct ang_tag *tag, bool ok);
void ang_rpc_send_done(struct ang_tag *tag, bool ok);
void ang_rpc_ref(struct ang_rpc *rpc);
void ang_rpc_unref(struct ang_rpc *rpc);
void ang_rpc_late_run(struct ang_op *op, bool shutdown);

/* ---- incoming.c ---- */
void ang_rpc_read_done(struct ang_tag *tag, bool ok);
void ang_rpc_late_run(struct ang_op *op, bool shutdown);

/* ---- health.c ---- */
#define ANG_HEALTH_METHODS 2
extern const struct ang_rpc_method ang_health_methods[ANG_HEALTH_METHODS]; /* their arg is the struct ang_health */
struct ang_health *ang_health_new(void);
void ang_health_free(struct ang_health *h);
void ang_health_set(struct ang_health *h, const char *service, bool serving);
void ang_health_close(struct ang_health *h); /* ends the watches; later ones are refused */

/* ---- reflection.c ---- */
#define ANG_REFLECTION_METHODS 2
/* Their arg is the struct ang_reflection. */
extern const struct ang_rpc_method ang_reflection_methods[ANG_REFLECTION_METHODS];
/* types is borrowed; methods are those of the server's user. */
struct ang_reflection *ang_reflection_new(const struct ang_catalog *types, const struct ang_rpc_method *methods,
                                          size_t n_methods);
void ang_reflection_free(struct ang_reflection *r); /* accepts NULL */
/* Ends the streams; later ones are refused.  Loop thread.  Accepts NULL. */
void ang_reflection_close(struct ang_reflection *r);

#endif
