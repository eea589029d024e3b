/* One transaction: begin → produce → offsets → commit, in one burst.
 *
 *      begin ── produce ── offsets ── commit ── NULL
 *        │         │          │          ├── doubtful ────────────────▶ UNKNOWN
 *        │         └──────────┴──────────┼── lost ──▶ abort ── done ──▶ ABORT_TXN
 *        │                               ├── not delivered in time ───▶ RETIRE
 *        └── producer is dead ──────────────────────────── failed ──▶ RETIRE
 *
 * The records go first: librdkafka registers their partitions a millisecond later, meanwhile the offsets are under way on
 * another connection.  Which outcome an error stands for is decided by the table in error.c.
 * Thread: the committer; delivery reports are served inside these calls, on the same thread. */
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "base/kill.h"
#include "eventlog/kafka/kafka_priv.h"

_Static_assert(sizeof(void *) == 8, "a delivery report's opaque holds two 32-bit numbers");

#define SLICE_MS      5000 /* of a blocking call that can be resumed */
#define COMMIT_MIN_MS 2000 /* a commit is given at least this long, however late it is */

/* ---- delivery reports ---- */

static void *opaque_of(uint32_t txn, size_t index) {
    return ((void *)((uintptr_t)txn << 32 | (uint32_t)index));
}

void ang_kafka_writer_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    struct ang_kafka_ctx *ctx;
    ANG_CAST(ctx, opaque, ANG_KAFKA_CTX_MAGIC);
    struct ang_kafka_writer *w = ctx->owner;
    uintptr_t id = (uintptr_t)m->_private;
    size_t index = (uint32_t)id;
    if ((uint32_t)(id >> 32) != w->txn || index >= w->n_recs)
        return; /* of a transaction that was given up; its records belong to somebody else by now */
    struct ang_out *rec = &w->recs[index];
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        bool purged = m->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || m->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
        if (!purged && w->failed == RD_KAFKA_RESP_ERR_NO_ERROR) { /* purged ones follow from another error */
            w->failed = m->err;
            w->failed_rec = index;
        }
        bool later = m->err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT || ang_kafka_transient(m->err);
        rec->refused = !purged && !later;
        rec->undelivered = !purged && later;
        return;
    }
    rd_kafka_timestamp_type_t type;
    int64_t at = rd_kafka_message_timestamp(m, &type);
    rec->offset = m->offset >= 0 ? m->offset : ANG_OFFSET_NONE;
    rec->time_ms = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME && at >= 0 ? at : ang_wall_ms();
}

/* ---- the calls ---- */

static struct ang_err *step_failed(struct ang_kafka_writer *w, rd_kafka_error_t **ke, enum ang_kafka_step step,
                                   const char *call) {
    char what[256];
    (void)snprintf(what, sizeof(what), "transaction of %s: %s", w->id, call);
    return (ang_kafka_err_take(w->rk, ke, ang_kafka_class(step, ang_kafka_kind(*ke)), what));
}

static struct ang_err *begin(struct ang_kafka_writer *w) {
    rd_kafka_error_t *ke = rd_kafka_begin_transaction(w->rk);
    return (ke == NULL ? NULL : step_failed(w, &ke, ANG_STEP_BEGIN, "begin"));
}

static struct ang_err *record_failed(struct ang_kafka_writer *w, rd_kafka_resp_err_t err, const struct ang_out *rec) {
    char what[512];
    (void)snprintf(what, sizeof(what), "transaction of %s: %s/%d", w->id, rec->topic->name, (int)rec->partition);
    bool dead = err == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_fatal_error(w->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
    return (ang_kafka_err(dead ? w->rk : NULL, dead ? RD_KAFKA_RESP_ERR__FATAL : err, NULL,
                          ang_kafka_class(ANG_STEP_PRODUCE, dead ? ANG_KIND_FATAL : ANG_KIND_OTHER), what));
}

static rd_kafka_resp_err_t produce_one(struct ang_kafka_writer *w, const struct ang_out *rec, void *opaque) {
    rd_kafka_headers_t *hdrs = ang_kafka_headers(rec);
    /* No value and an empty value are different things: only the pointer tells them apart. */
    const void *value = rec->tombstone ? NULL : rec->value.n > 0 ? (const void *)rec->value.p : "";
    rd_kafka_resp_err_t err = rd_kafka_producev(
        w->rk, RD_KAFKA_V_RKT(ang_kafka_writer_topic(w, rec->topic->name)), RD_KAFKA_V_PARTITION(rec->partition),
        RD_KAFKA_V_KEY((const void *)rec->key.p, rec->key.n),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)value, rec->tombstone ? 0 : rec->value.n), RD_KAFKA_V_HEADERS(hdrs),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR && hdrs != NULL)
        rd_kafka_headers_destroy(hdrs);
    return (err);
}

static struct ang_err *produce_all(struct ang_kafka_writer *w, const struct ang_batch *batch, int64_t until_ms) {
    for (size_t i = 0; i < batch->n_recs; i++) {
        rd_kafka_resp_err_t err = produce_one(w, &batch->recs[i], opaque_of(w->txn, i));
        while (err == RD_KAFKA_RESP_ERR__QUEUE_FULL && ang_kafka_left(until_ms, 1) > 0) {
            (void)rd_kafka_poll(w->rk, 1);
            err = produce_one(w, &batch->recs[i], opaque_of(w->txn, i));
        }
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            batch->recs[i].refused = err != RD_KAFKA_RESP_ERR__QUEUE_FULL;
            return (record_failed(w, err, &batch->recs[i]));
        }
    }
    return (NULL);
}

static rd_kafka_topic_partition_list_t *offsets_of(const struct ang_batch *batch) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)batch->n_positions);
    for (size_t i = 0; i < batch->n_positions; i++) {
        const struct ang_pos *pos = &batch->positions[i];
        rd_kafka_topic_partition_t *tp = rd_kafka_topic_partition_list_add(list, pos->topic->name, pos->partition);
        tp->offset = pos->offset;
        if (pos->meta.n > 0) {
            tp->metadata = ang_slice_dup_str(pos->meta); /* the list frees it */
            tp->metadata_size = pos->meta.n;
        }
    }
    return (list);
}

/* librdkafka (2.0.2 to 2.15.0) forgets the request, some 300 bytes, when a producer is closed while a TxnOffsetCommit is
 * under way: rd_kafka_txn_handle_TxnOffsetCommit returns early on _DESTROY.  All of it is allocated inside this call, by
 * this thread; what it returns is not. */
static rd_kafka_error_t *send_offsets_once(struct ang_kafka_writer *w, const rd_kafka_topic_partition_list_t *list,
                                           const rd_kafka_consumer_group_metadata_t *meta, int timeout_ms) {
    rd_kafka_error_t *ke;
#ifdef __SANITIZE_ADDRESS__
    __lsan_disable();
#endif
    ke = rd_kafka_send_offsets_to_transaction(w->rk, list, meta, timeout_ms);
#ifdef __SANITIZE_ADDRESS__
    __lsan_enable();
#endif
    return (ke);
}

static struct ang_err *send_offsets(struct ang_kafka_writer *w, const struct ang_batch *batch, int64_t until_ms) {
    const struct ang_kafka_token *token = (const struct ang_kafka_token *)(const void *)batch->token;
    rd_kafka_topic_partition_list_t *list = offsets_of(batch);
    rd_kafka_error_t *ke;
    /* Not resumable: the same offsets with the same proof are sent again. */
    do {
        int left = ang_kafka_left(until_ms, SLICE_MS);
        ke = send_offsets_once(w, list, token->meta, left > 1 ? left : 1);
        if (ke == NULL || ang_kafka_kind(ke) != ANG_KIND_TIMED_OUT || ang_kafka_left(until_ms, 1) == 0)
            break;
        rd_kafka_error_destroy(ke);
    } while (true);
    rd_kafka_topic_partition_list_destroy(list);
    return (ke == NULL ? NULL : step_failed(w, &ke, ANG_STEP_OFFSETS, "positions"));
}

/* The record whose delivery failed says more than librdkafka's "one message failed". */
static struct ang_err *commit_failed(struct ang_kafka_writer *w, rd_kafka_error_t **ke) {
    enum ang_class cls = ang_kafka_class(ANG_STEP_COMMIT, ang_kafka_kind(*ke));
    if (cls == ANG_ABORT_TXN && w->end_sent && w->doubtful) {
        /* EndTxn was sent more than once, and only the last copy was refused. */
        char what[256];
        (void)snprintf(what, sizeof(what), "transaction of %s: commit, sent more than once", w->id);
        return (ang_kafka_err_take(w->rk, ke, ANG_UNKNOWN, what));
    }
    if (cls == ANG_ABORT_TXN && w->failed != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_error_destroy(*ke);
        *ke = NULL;
        return (record_failed(w, w->failed, &w->recs[w->failed_rec]));
    }
    return (step_failed(w, ke, ANG_STEP_COMMIT, "commit"));
}

static struct ang_err *commit(struct ang_kafka_writer *w, int64_t until_ms) {
    int64_t least = ang_now_ms() + COMMIT_MIN_MS;
    if (until_ms < least)
        until_ms = least;
    w->committing = true;
    rd_kafka_error_t *ke;
    do {
        int left = ang_kafka_left(until_ms, SLICE_MS);
        ke = rd_kafka_commit_transaction(w->rk, left > 1 ? left : 1);
        if (ke == NULL || ang_kafka_kind(ke) != ANG_KIND_TIMED_OUT || ang_kafka_left(until_ms, 1) == 0)
            break;
        rd_kafka_error_destroy(ke);
    } while (true);
    w->committing = false;
    return (ke == NULL ? NULL : commit_failed(w, &ke));
}

static rd_kafka_error_t *abort_txn(struct ang_kafka_writer *w) {
    int64_t until = ang_now_ms() + SLICE_MS;
    rd_kafka_error_t *ke;
    do {
        int left = ang_kafka_left(until, SLICE_MS);
        ke = rd_kafka_abort_transaction(w->rk, left > 1 ? left : 1);
        if (ke == NULL || ang_kafka_kind(ke) != ANG_KIND_TIMED_OUT || ang_kafka_left(until, 1) == 0)
            break;
        rd_kafka_error_destroy(ke);
    } while (true);
    return (ke);
}

/* Takes *er, which is what went wrong before; returns it with what is true after the abort. */
static struct ang_err *abort_after(struct ang_kafka_writer *w, struct ang_err **er) {
    rd_kafka_error_t *ke = abort_txn(w);
    struct ang_err *was = *er;
    *er = NULL;
    if (ke == NULL)
        return (was);
    enum ang_ec code = was->code == ANG_E_LOG_ABORTED ? ANG_E_LOG_RETIRE : was->code;
    if (ang_kafka_is_fenced(rd_kafka_error_code(ke)))
        code = ANG_E_LOG_FENCED;
    enum ang_class cls = was->cls == ANG_FATAL ? ANG_FATAL : ang_kafka_class(ANG_STEP_ABORT, ang_kafka_kind(ke));
    struct ang_err *now =
        ang_err_new_cls(code, cls, "%s; and it could not be aborted: %s", was->msg, rd_kafka_error_string(ke));
    rd_kafka_error_destroy(ke);
    ang_err_free(&was);
    return (now);
}

/* ---- the transaction ---- */

static struct ang_err *check_batch(const struct ang_batch *batch) {
    for (size_t i = 0; i < batch->n_recs; i++) {
        struct ang_err *er = ang_kafka_check_out(&batch->recs[i], ANG_ABORT_TXN);
        if (er != NULL)
            return (er);
    }
    return (NULL);
}

static void set_batch(struct ang_kafka_writer *w, const struct ang_batch *batch) {
    w->txn++;
    w->failed = RD_KAFKA_RESP_ERR_NO_ERROR;
    w->recs = batch != NULL ? batch->recs : NULL;
    w->n_recs = batch != NULL ? batch->n_recs : 0;
    w->end_sent = false;
    for (size_t i = 0; i < w->n_recs; i++) {
        w->recs[i].offset = ANG_OFFSET_NONE;
        w->recs[i].refused = false;
        w->recs[i].undelivered = false;
        w->recs[i].time_ms = 0;
    }
}

/* A report can fail to come for a record that is committed (a duplicate of one that was stored before a reconnect). */
static void fill_times(struct ang_kafka_writer *w) {
    for (size_t i = 0; i < w->n_recs; i++) {
        if (w->recs[i].time_ms == 0)
            w->recs[i].time_ms = ang_wall_ms();
    }
}

/* A record that is refused while the offsets are under way fails those, as "erroneous state": the record's own error says more, and
 * may be one that no new attempt mends. */
static struct ang_err *why_lost(struct ang_kafka_writer *w, struct ang_err **er) {
    struct ang_err *was = *er;
    *er = NULL;
    (void)rd_kafka_poll(w->rk, 0);
    bool of_record = was->code == ANG_E_LOG_ABORTED || was->code == ANG_E_TOO_BIG;
    if (!of_record || was->cls != ANG_ABORT_TXN || w->failed == RD_KAFKA_RESP_ERR_NO_ERROR)
        return (was);
    ang_err_free(&was);
    return (record_failed(w, w->failed, &w->recs[w->failed_rec]));
}

/* Whether a partition is to blame.  While the coordinators have not taken the positions, it is they who hold the records back. */
static bool any_undelivered(struct ang_kafka_writer *w, bool positions) {
    bool any = false;
    (void)rd_kafka_poll(w->rk, 0);
    for (size_t i = 0; i < w->n_recs; i++) {
        w->recs[i].undelivered = w->recs[i].undelivered && positions;
        any = any || w->recs[i].undelivered;
    }
    return (any);
}

/* Takes *er.  An abort would not be complete before the partition that held the records up has taken its end, so it is left to the next
 * holder of the id, whom nobody has to wait for. */
static struct ang_err *give_up(struct ang_err **er) {
    struct ang_err *was = *er;
    *er = NULL;
    struct ang_err *now = ang_err_new_cls(ANG_E_LOG_RETIRE, ANG_RETIRE, "%s", was->msg);
    ang_err_free(&was);
    return (now);
}

struct ang_err *ang_kafka_writer_commit(struct ang_log_writer *writer, const struct ang_batch *batch) {
    struct ang_kafka_writer *w = (struct ang_kafka_writer *)(void *)writer;
    struct ang_err *er = check_batch(batch);
    if (er != NULL)
        return (er);
    int64_t until = ang_now_ms() + w->txn_timeout_ms;
    bool positions = false;
    set_batch(w, batch);
    er = begin(w);
    if (er != NULL)
        goto out;
    er = produce_all(w, batch, until);
    if (er == NULL) {
        ANG_KILL_POINT("after-produce");
        er = send_offsets(w, batch, until);
    }
    positions = er == NULL;
    if (er == NULL) {
        ANG_KILL_POINT("after-offsets");
        er = commit(w, until);
    }
    if (er == NULL)
        fill_times(w);
    else if (any_undelivered(w, positions) && er->cls == ANG_ABORT_TXN)
        er = give_up(&er);
    else if (er->cls == ANG_ABORT_TXN || er->cls == ANG_FATAL)
        er = abort_after(w, &er);
    if (er != NULL)
        er = why_lost(w, &er);
out:
    /* A refused record's sequence number stays used: librdkafka's next transaction would be refused for the gap. */
    if (w->failed != RD_KAFKA_RESP_ERR_NO_ERROR || (er != NULL && er->cls != ANG_ABORT_TXN && er->cls != ANG_FATAL))
        w->doubtful = true;
    set_batch(w, NULL);
    return (er);
}

/* Its abort marker reaches the group's partition of __consumer_offsets, where it removes all that is pending of this
 * producer id. */
struct ang_err *ang_kafka_writer_settle(struct ang_log_writer *writer, struct ang_log_token *token,
                                        const struct ang_topic *topic) {
    struct ang_kafka_writer *w = (struct ang_kafka_writer *)(void *)writer;
    const struct ang_pos pos = {.topic = topic, .partition = 0, .offset = 0};
    const struct ang_batch batch = {.positions = &pos, .n_positions = 1, .token = token};
    set_batch(w, NULL);
    struct ang_err *er = begin(w);
    if (er != NULL)
        return (er);
    er = send_offsets(w, &batch, ang_now_ms() + SLICE_MS);
    if (er != NULL)
        return (abort_after(w, &er));
    rd_kafka_error_t *ke = abort_txn(w);
    return (ke == NULL ? NULL : step_failed(w, &ke, ANG_STEP_ABORT, "abort"));
}
