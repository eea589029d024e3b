/* The calls that wait for their answers, and when their commands are sent again.
 *
 *      key (domain, root, edition, command id) ──┬── call: last attempt 3
 *                                                └── call: last attempt 4
 *
 * A command may be in the log several times: each copy has an attempt number, counted per key over all its calls.
 *   - an OK answer to any copy ends every call of the key: it is committed;
 *   - a refusal ends only the call whose last copy it answers: a later copy may still run, on another state;
 *   - a status that leaves the command open (UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED) is held back until the copies of the
 *     call have expired: until then one of them may still run.
 * (lane.md L6, L13, L20.)  A copy is sent again when the way back from the partition's owner stands after it was in doubt, with a growing
 * pause between two copies, and slowly without any reason known.  Time is given by the caller; nothing here waits.
 *
 * One thread owns it.  Only the reference count and `stored` of a call are touched by others. */
#ifndef ANG_PENDING_H
#define ANG_PENDING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "rpc/rpc.h"
#include "topology/topology.h"

struct ang_pending;
struct ang_pending_key;
struct ang_mail;
struct ang_stream;

struct ang_call {
    unsigned magic;
#define ANG_CALL_MAGIC 0xca110001
    /* set by who adds it, before the start */
    struct ang_rpc *rpc;   /* whom to answer; not touched by the table */
    struct ang_slice book; /* the CommandBook or EventBook; borrowed from the rpc: not valid once the call has ended */
    bool is_record;        /* it is an EventBook: facts to be recorded */
    /* That it was made for, which is told instead of the rpc; NULL: none; not touched by the table. */
    struct ang_stream *stream;
    struct ang_mail *mail; /* where failed appends go; borrowed; not touched by the table */
    int64_t start_wall_ms, deadline_wall_ms; /* for the headers of every copy */
    int64_t copies_ms;                       /* monotonic: from then on no copy runs any more */
    int64_t expiry_ms;                       /* monotonic, not before copies_ms: from then on nobody waits */
    /* any thread */
    _Atomic int refs;    /* the table's, and one per append under way */
    _Atomic bool stored; /* a copy is in the log, or may be */
    /* the table's */
    struct ang_pending_key *key;
    struct ang_call *next; /* of the same key */
    uint32_t last_attempt; /* 0: none sent yet */
    uint32_t sends;
    uint32_t failures; /* appends that failed since the last one that did not */
    bool in_doubt;     /* an answer to the last copy may have found nobody */
    bool failed;       /* the last append failed: sent again whether or not the way back stands */
    int64_t started_ms, sent_ms, resend_ms;
    uint32_t slot;          /* place in the heap + 1 */
    int64_t at_ms;          /* min(resend_ms, expiry_ms) */
    struct ang_status *why; /* the last bad news: what to say at expiry */
    bool why_append;        /* it came from an append: void once a copy is stored */
};

/* What identifies a command; borrows. */
struct ang_pending_id {
    const struct ang_domain *domain;
    const uint8_t *root; /* 16 bytes */
    struct ang_slice edition, command_id;
};
const struct ang_domain *ang_call_domain(const struct ang_call *call);
int32_t ang_call_partition(const struct ang_call *call);
struct ang_pending_id ang_call_id(const struct ang_call *call); /* borrowed from the call's key */

struct ang_pending_conf {
    /* Appends a copy.  An error: this copy is not in the log.  Holds a reference to the call as long as the append is under way. */
    struct ang_err *(*send)(void *arg, struct ang_call *call, uint32_t attempt);
    /* The call is over: st NULL: OK with response (borrowed), else the status, taken.  The call is freed afterwards. */
    void (*end)(void *arg, struct ang_call *call, struct ang_slice response, struct ang_status *st);
    /* Answers from that partition find us now. */
    bool (*up)(void *arg, const struct ang_domain *domain, int32_t partition);
    /* Appends to b whom a call to that partition waits for. */
    void (*describe)(void *arg, const struct ang_domain *domain, int32_t partition, struct ang_buf *b);
    void *arg;
    uint64_t seed; /* of the hash and of the jitter */
};

struct ang_pending *ang_pending_new(const struct ang_pending_conf *conf);
void ang_pending_free(struct ang_pending *p); /* no call may be left; accepts NULL */

/* A call for that command; id is copied.  Nothing is sent before ang_pending_start.  client_id: the command id was chosen by the client
 * and may come again. Borrowed: valid until it ends or is dropped. */
struct ang_call *ang_pending_add(struct ang_pending *p, const struct ang_pending_id *id, bool client_id);
/* Sends the first copy.  The call may have ended when it returns. */
void ang_pending_start(struct ang_pending *p, struct ang_call *call, int64_t now_ms);
/* The caller has gone: the call is forgotten without `end`. */
void ang_pending_drop(struct ang_pending *p, struct ang_call *call, int64_t now_ms);
/* Every call ends with that status; code and text as in ang_status_new. */
void ang_pending_end_all(struct ang_pending *p, uint32_t code, const char *msg, int64_t now_ms);

size_t ang_pending_calls(const struct ang_pending *p);
size_t ang_pending_domain_calls(const struct ang_pending *p, const struct ang_domain *domain);
size_t ang_pending_keys(const struct ang_pending *p); /* with those kept for late answers */

struct ang_call *ang_call_ref(struct ang_call *call); /* any thread */
void ang_call_unref(struct ang_call *call);           /* any thread */
/* Takes the reference of an append and its error: that copy is not in the log.  The call may have ended before or end here. */
void ang_pending_append_failed(struct ang_pending *p, struct ang_call *call, struct ang_err **er, int64_t now_ms);

struct ang_pending_answer { /* borrows */
    struct ang_pending_id id;
    uint32_t attempt;
    uint32_t code;
    bool final;                      /* no copy will end otherwise, whatever the code says */
    struct ang_slice response;       /* code OK */
    const struct ang_status *status; /* any other code */
};
void ang_pending_answer(struct ang_pending *p, const struct ang_pending_answer *a, int64_t now_ms);
/* Answers from that partition may be lost from now on / find us again. */
void ang_pending_path_down(struct ang_pending *p, const struct ang_domain *domain, int32_t partition);
void ang_pending_path_up(struct ang_pending *p, const struct ang_domain *domain, int32_t partition, int64_t now_ms);

/* When ang_pending_run wants to be called next; ANG_NEVER. */
int64_t ang_pending_next_ms(const struct ang_pending *p);
/* Resends and expiries that are due. */
void ang_pending_run(struct ang_pending *p, int64_t now_ms);

#endif
