/* What is done with the calls that wait: sending copies, taking answers, expiry. */
#include "gateway/pending.h"

#include <stdlib.h>

#include "gateway/pending_priv.h"

#define SLOW_MS        5000 /* first resend without a known reason; doubles */
#define SLOW_DOUBLINGS 3
#define PAUSE_MS       1000 /* between two copies that have a reason; doubles */
#define PAUSE_MAX_MS   8000
#define APPEND_MS      200 /* after a failed append; doubles */
#define APPEND_MAX_MS  4000
#define KEPT_SLACK_MS  5000 /* an answer may take that long after its copy has expired */

/* ---- pauses ---- */

/* base doubled n times, at most max, and up to a quarter more so that many calls do not come back together. */
static int64_t pause_ms(struct ang_pending *p, int64_t base, uint32_t n, int64_t max) {
    int64_t ms = base;

    while (n-- > 0 && ms < max)
        ms *= 2;
    if (ms > max)
        ms = max;
    p->random ^= p->random << 13; /* xorshift64 */
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return (ms + (int64_t)(p->random % (uint64_t)(ms / 4 + 1)));
}

static int64_t due(const struct ang_call *call) {
    return (call->resend_ms < call->expiry_ms ? call->resend_ms : call->expiry_ms);
}

static void reschedule(struct ang_pending *p, struct ang_call *call) {
    call->at_ms = due(call);
    ang_pending_heap_move(p, call);
}

/* ---- calls ---- */

struct ang_pending *ang_pending_new(const struct ang_pending_conf *conf) {
    struct ang_pending *p = ANG_NEW(struct ang_pending);

    p->magic = ANG_PENDING_MAGIC;
    p->conf = *conf;
    p->random = conf->seed | 1;
    p->n_buckets = 1024;
    p->buckets = ang_calloc(p->n_buckets, sizeof(struct ang_pending_key *));
    return (p);
}

void ang_pending_free(struct ang_pending *p) {
    if (p == NULL)
        return;
    ANG_CHECK(p, ANG_PENDING_MAGIC);
    AZ(p->n_calls);
    ang_pending_sweep(p, ANG_NEVER);
    AZ(p->n_keys);
    free(p->buckets);
    free(p->heap);
    free(p->counters);
    p->magic = 0;
    free(p);
}

const struct ang_domain *ang_call_domain(const struct ang_call *call) {
    return (call->key->domain);
}

int32_t ang_call_partition(const struct ang_call *call) {
    return (call->key->partition);
}

struct ang_pending_id ang_call_id(const struct ang_call *call) {
    const struct ang_pending_key *k = call->key;

    return ((struct ang_pending_id){.domain = k->domain,
                                    .root = k->root,
                                    .edition = ang_pending_key_edition(k),
                                    .command_id = ang_pending_key_command_id(k)});
}

struct ang_call *ang_call_ref(struct ang_call *call) {
    ANG_CHECK(call, ANG_CALL_MAGIC);
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    return (call);
}

void ang_call_unref(struct ang_call *call) {
    ANG_CHECK(call, ANG_CALL_MAGIC);
    /* acq_rel: who frees, and the table when it finds itself alone, sees what the others did (`stored`) */
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1) {
        call->magic = 0;
        free(call);
    }
}

struct ang_call *ang_pending_add(struct ang_pending *p, const struct ang_pending_id *id, bool client_id) {
    struct ang_pending_key *k = ang_pending_key_get(p, id);
    struct ang_call *call = ANG_NEW(struct ang_call);

    ANG_CHECK(p, ANG_PENDING_MAGIC);
    k->client_id |= client_id;
    call->magic = ANG_CALL_MAGIC;
    atomic_init(&call->refs, 1);
    atomic_init(&call->stored, false);
    call->expiry_ms = call->copies_ms = call->resend_ms = call->at_ms = ANG_NEVER;
    call->key = k;
    call->next = k->calls;
    k->calls = call;
    p->counters[k->counter].calls++;
    ang_pending_heap_add(p, call);
    return (call);
}

/* Out of the table; the call itself lives on while appends refer to it. */
static struct ang_pending_key *detach(struct ang_pending *p, struct ang_call *call) {
    struct ang_pending_key *k = call->key;
    struct ang_call **at = &k->calls;

    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    p->counters[k->counter].calls--;
    ang_pending_heap_remove(p, call);
    return (k);
}

static void forget(struct ang_pending *p, struct ang_call *call, struct ang_pending_key *k, int64_t now_ms) {
    call->key = NULL;
    ang_status_free(&call->why);
    ang_call_unref(call);
    ang_pending_key_release(p, k, now_ms);
}

static void finish(struct ang_pending *p, struct ang_call *call, struct ang_slice response, struct ang_status *st,
                   int64_t now_ms) {
    struct ang_pending_key *k = detach(p, call);

    p->conf.end(p->conf.arg, call, response, st);
    forget(p, call, k, now_ms);
}

void ang_pending_drop(struct ang_pending *p, struct ang_call *call, int64_t now_ms) {
    ANG_CHECK(call, ANG_CALL_MAGIC);
    forget(p, call, detach(p, call), now_ms);
}

void ang_pending_end_all(struct ang_pending *p, uint32_t code, const char *msg, int64_t now_ms) {
    while (p->n_calls > 0)
        finish(p, p->heap[0], ANG_SLICE_NONE, ang_status_new(code, "%s", msg), now_ms);
}

size_t ang_pending_calls(const struct ang_pending *p) {
    return (p->n_calls);
}

size_t ang_pending_keys(const struct ang_pending *p) {
    return (p->n_keys);
}

size_t ang_pending_domain_calls(const struct ang_pending *p, const struct ang_domain *domain) {
    size_t i;

    for (i = 0; i < p->n_counters; i++)
        if (p->counters[i].domain == domain)
            return (p->counters[i].calls);
    return (0);
}

/* ---- copies ---- */

/* No copy of the call is in the log and none is on its way there. */
static bool nowhere(const struct ang_call *call) {
    return (atomic_load_explicit(&call->refs, memory_order_acquire) == 1 &&
            !atomic_load_explicit(&call->stored, memory_order_relaxed));
}

/* Takes er.  The call may have ended when it returns. */
static void append_failed(struct ang_pending *p, struct ang_call *call, struct ang_err *er, int64_t now_ms) {
    const bool again = er->cls == ANG_RETRY || er->cls == ANG_UNKNOWN;
    const bool full = er->code == ANG_E_LOG_NO_SPACE;

    if (er->cls == ANG_UNKNOWN)
        atomic_store_explicit(&call->stored, true, memory_order_relaxed);
    if (nowhere(call) && (!again || full)) {
        finish(p, call, ANG_SLICE_NONE, ang_status_from_err(&er), now_ms);
        return;
    }
    if (call->why == NULL || call->why_append) { /* what a worker said weighs more */
        ang_status_free(&call->why);
        call->why = ang_status_from_err(&er);
        call->why_append = true;
    }
    ang_err_free(&er);
    if (again) {
        call->failed = true;
        call->resend_ms = now_ms + pause_ms(p, APPEND_MS, call->failures++, APPEND_MAX_MS);
    }
    reschedule(p, call);
}

static void send_copy(struct ang_pending *p, struct ang_call *call, int64_t now_ms) {
    struct ang_pending_key *k = call->key;
    struct ang_err *er;

    if (now_ms >= call->copies_ms) { /* nobody would run it */
        call->resend_ms = ANG_NEVER;
        reschedule(p, call);
        return;
    }
    call->last_attempt = ++k->last_attempt;
    if (k->kept_until_ms < call->copies_ms + KEPT_SLACK_MS)
        k->kept_until_ms = call->copies_ms + KEPT_SLACK_MS;
    call->failed = false;
    call->in_doubt = !p->conf.up(p->conf.arg, k->domain, k->partition);
    call->sent_ms = now_ms;
    call->resend_ms = now_ms + pause_ms(p, SLOW_MS, call->sends++, (int64_t)SLOW_MS << SLOW_DOUBLINGS);
    reschedule(p, call);
    er = p->conf.send(p->conf.arg, call, call->last_attempt);
    if (er != NULL)
        append_failed(p, call, er, now_ms);
}

void ang_pending_start(struct ang_pending *p, struct ang_call *call, int64_t now_ms) {
    ANG_CHECK(p, ANG_PENDING_MAGIC);
    ANG_ASSERT(call->copies_ms <= call->expiry_ms);
    call->started_ms = now_ms;
    send_copy(p, call, now_ms);
}

void ang_pending_append_failed(struct ang_pending *p, struct ang_call *call, struct ang_err **er, int64_t now_ms) {
    struct ang_err *taken = *er;

    ANG_CHECK(call, ANG_CALL_MAGIC);
    *er = NULL;
    if (call->key == NULL) { /* it has ended */
        ang_err_free(&taken);
        ang_call_unref(call);
        return;
    }
    ang_call_unref(call); /* the table still has its own */
    append_failed(p, call, taken, now_ms);
}

/* ---- answers ---- */

static bool leaves_open(uint32_t code) {
    return (code == ANG_UNAVAILABLE || code == ANG_DEADLINE_EXCEEDED || code == ANG_CANCELLED);
}

void ang_pending_answer(struct ang_pending *p, const struct ang_pending_answer *a, int64_t now_ms) {
    struct ang_pending_key *k = ang_pending_key_find(p, &a->id);
    struct ang_call *call, *next;

    if (k == NULL)
        return;
    if (a->attempt >= 1 && a->attempt <= 32)
        k->answered |= 1U << (a->attempt - 1);
    for (call = k->calls; call != NULL; call = next) {
        next = call->next; /* with its last call the key goes, too */
        if (a->code == ANG_OK) {
            finish(p, call, a->response, NULL, now_ms);
        } else if (call->last_attempt != a->attempt) {
            continue;
        } else if (a->final || !leaves_open(a->code) || now_ms >= call->copies_ms) {
            finish(p, call, ANG_SLICE_NONE, ang_status_dup(a->status), now_ms);
            return; /* an attempt belongs to one call */
        } else {
            ang_status_free(&call->why);
            call->why = ang_status_dup(a->status);
            call->why_append = false;
            return;
        }
    }
}

/* ---- the way back ---- */

void ang_pending_path_down(struct ang_pending *p, const struct ang_domain *domain, int32_t partition) {
    size_t i;

    for (i = 0; i < p->n_calls; i++)
        if (p->heap[i]->key->domain == domain && p->heap[i]->key->partition == partition)
            p->heap[i]->in_doubt = true;
}

void ang_pending_path_up(struct ang_pending *p, const struct ang_domain *domain, int32_t partition, int64_t now_ms) {
    size_t i;

    for (i = 0; i < p->n_calls; i++) {
        struct ang_call *call = p->heap[i];
        int64_t at;

        if (!call->in_doubt || call->last_attempt == 0 || call->key->domain != domain ||
            call->key->partition != partition)
            continue;
        at = call->sends < 2 ? now_ms : call->sent_ms + pause_ms(p, PAUSE_MS, call->sends - 2, PAUSE_MAX_MS);
        if (at < now_ms)
            at = now_ms;
        if (at < call->resend_ms)
            call->resend_ms = at;
        call->at_ms = due(call);
    }
    ang_pending_heap_rebuild(p);
}

/* ---- time ---- */

int64_t ang_pending_next_ms(const struct ang_pending *p) {
    const int64_t first = p->n_calls > 0 ? p->heap[0]->at_ms : ANG_NEVER;

    return (p->kept != NULL && p->sweep_ms < first ? p->sweep_ms : first);
}

static void expire(struct ang_pending *p, struct ang_call *call, int64_t now_ms) {
    const struct ang_pending_key *k = call->key;
    const long long waited = (long long)(now_ms - call->started_ms);
    const bool stored = atomic_load_explicit(&call->stored, memory_order_relaxed);
    struct ang_status *st = call->why;
    struct ang_buf whom = {0};

    if (st != NULL && !(call->why_append && stored)) {
        call->why = NULL;
    } else if (!stored) {
        st = ang_status_new(ANG_UNAVAILABLE, "the log did not take the command within %lld ms: topic %s, partition %d",
                            waited, k->domain->commands->name, k->partition);
    } else {
        p->conf.describe(p->conf.arg, k->domain, k->partition, &whom);
        ang_buf_add_u8(&whom, '\0');
        st = ang_status_new(ANG_DEADLINE_EXCEEDED, "no answer within %lld ms: waited for %s", waited, (char *)whom.p);
        ang_buf_fini(&whom);
    }
    finish(p, call, ANG_SLICE_NONE, st, now_ms);
}

void ang_pending_run(struct ang_pending *p, int64_t now_ms) {
    ANG_CHECK(p, ANG_PENDING_MAGIC);
    if (p->kept != NULL && now_ms >= p->sweep_ms) {
        ang_pending_sweep(p, now_ms);
        p->sweep_ms = now_ms + ANG_PENDING_SWEEP_MS;
    }
    while (p->n_calls > 0 && p->heap[0]->at_ms <= now_ms) {
        struct ang_call *call = p->heap[0];

        if (now_ms >= call->expiry_ms) {
            expire(p, call, now_ms);
        } else if (atomic_load_explicit(&call->refs, memory_order_relaxed) > 1) {
            call->resend_ms =
                now_ms + PAUSE_MS; /* the log still has the last copy in hand: another one would not be faster */
            reschedule(p, call);
        } else if (call->failed || p->conf.up(p->conf.arg, call->key->domain, call->key->partition)) {
            send_copy(p, call, now_ms);
        } else {
            call->in_doubt = true; /* sent again when the way back stands */
            call->resend_ms = now_ms + SLOW_MS;
            reschedule(p, call);
        }
    }
}
