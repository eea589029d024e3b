/* Refusals that copies of the same call get again (lane.md L13), and what a revocation asks for beside its refusal.
 *
 * A refusal is a record in the snapshots topic, in the transaction that marks its input done, and a row of the store; both
 * hold the same bytes. */
#include "processor/lane_priv.h"

enum { F_CODE = 1, F_MESSAGE = 2, F_AT = 3, F_TRAILER = 4 };

/* Statuses are bounded by what fits into HTTP/2 trailers; only business logic that ignores this comes near it. */
#define REFUSAL_MAX 32768

void refusal_encode(struct ang_buf *b, const struct ang_status *st, int64_t at_ms) {
    struct ang_buf t = {NULL, 0, 0};
    size_t i;

    ang_wire_put_uint(b, F_CODE, st->code);
    ang_wire_put_str(b, F_MESSAGE, st->msg);
    ang_wire_put_uint(b, F_AT, (uint64_t)at_ms);
    for (i = 0; i < st->n_trailers; i++) {
        ang_buf_clear(&t);
        ang_wire_put_str(&t, 1, st->trailers[i].key);
        ang_wire_put_bytes(&t, 2, st->trailers[i].value);
        ang_wire_put_bytes(b, F_TRAILER, ang_buf_slice(&t));
    }
    ang_buf_fini(&t);
}

void refusal_record(struct work *w) {
    struct lane *l = w->part->lane;
    struct effect *e = effect_new(l, EFFECT_REFUSAL, l->domain->snapshots, w->part->no);
    const int64_t now = ang_wall_ms();
    struct ang_buf b = {NULL, 0, 0}, root = {NULL, 0, 0};
    struct ang_status *brief;

    /* Copies of one call have the same start, which may be this very millisecond. */
    refusal_encode(&b, w->status, now > w->start_ms ? now : w->start_ms + 1);
    if (b.n > REFUSAL_MAX) {
        brief = ang_status_new(w->status->code, "%.*s", WORDS_MAX, w->status->msg);
        ang_buf_clear(&b);
        refusal_encode(&b, brief, now > w->start_ms ? now : w->start_ms + 1);
        ang_status_free(&brief);
    }
    e->blob = ang_blob_copy(ang_buf_slice(&b));
    e->out.value = ang_blob_slice(e->blob);
    ang_root_text(&root, w->root_id.id, w->root_id.edition);
    effect_keyf(e, REFUSAL_KEY "%u", w->part->refusal_slot++ % REFUSAL_SLOTS);
    effect_hdr(e, "root", ang_buf_slice(&root));
    effect_hdr(e, "command-id", w->command_id);
    effect_hdrf(e, "until", "%lld", (long long)w->deadline_ms);
    STAILQ_INSERT_TAIL(&w->effects, e, link);
    ang_buf_fini(&root);
    ang_buf_fini(&b);
}

bool refusal_restore(struct ang_store_batch *sb, struct ang_store_part *store, const struct ang_rec *rec,
                     int64_t *ret_until_ms) {
    struct ang_slice text, id, until;
    struct ang_root root;
    uint64_t until_ms;

    if (rec->tombstone || !ang_rec_hdr(rec, "root", &text) || !restore_key(text, &root, NULL) ||
        !ang_rec_hdr(rec, "command-id", &id) || !ang_command_id_ok(id) || !ang_rec_hdr(rec, "until", &until) ||
        !ang_slice_to_u64(until, &until_ms) || until_ms > INT64_MAX)
        return (false);
    *ret_until_ms = (int64_t)until_ms;
    if ((int64_t)until_ms > ang_wall_ms())
        ang_store_put_refusal(sb, store, &root, id, (int64_t)until_ms, rec->value);
    return (true);
}

static void trailer_decode(struct ang_slice s, struct ang_status *st) {
    struct ang_wire_field key, value;
    char *name;

    if (!ang_wire_find(s, 1, &key) || !ang_wire_find(s, 2, &value))
        return;
    name = ang_slice_dup_str(key.bytes);
    ang_status_add(st, name, value.bytes);
    free(name);
}

struct ang_err *refusal_decode(struct ang_slice s, struct ang_status **ret_st, int64_t *ret_at_ms) {
    struct ang_wire_field code, msg, at, f;
    struct ang_wire_iter it = ang_wire_iter_of(s);
    struct ang_status *st;

    if (!ang_wire_find(s, F_CODE, &code) || !ang_wire_find(s, F_MESSAGE, &msg) || !ang_wire_find(s, F_AT, &at))
        return (ang_err_new(ANG_E_STORE_CORRUPT, "a stored refusal cannot be read"));
    st = ang_status_new((uint32_t)code.value, "%.*s", (int)msg.bytes.n, (const char *)msg.bytes.p);
    while (ang_wire_next(&it, &f))
        if (f.number == F_TRAILER)
            trailer_decode(f.bytes, st);
    *ret_st = st;
    *ret_at_ms = (int64_t)at.value;
    return (NULL);
}

/* SagaCompensationFailed, as bytes: what the book's saga_origin says, and the refused command itself. */
static void failed_event(const struct work *w, const struct ang_wire_revocation *rv, struct ang_buf *b) {
    const struct ang_wire_saga_origin *o = &w->book.saga_origin;
    const int64_t now = ang_wall_ms();

    if (o->cover.raw.p != NULL)
        ang_wire_put_bytes(b, 1, o->cover.raw);
    ang_wire_put_uint(b, 2, o->sequence);
    ang_wire_put_bytes(b, 3, o->saga_name);
    ang_wire_put_bytes(b, 5, rv->reason);
    ang_wire_put_bytes(b, 6, w->book.raw);
    ang_wire_put_timestamp(b, 7, now / 1000, (int32_t)(now % 1000) * 1000000);
}

/* To the reactions of the compensation domain, as a fact (kind: record) about the root that was revoked. */
void compensation_failed(struct work *w, const struct ang_wire_revocation *rv) {
    struct lane *l = w->part->lane;
    const char *name = l->set->compensation.domain;
    const struct ang_domain *d = ang_topology_domain(worker_conf(l->worker)->topology, ang_slice_str(name));
    struct ang_buf event = {NULL, 0, 0}, page = {NULL, 0, 0}, book = {NULL, 0, 0}, any = {NULL, 0, 0}, cover = {NULL, 0, 0},
                   record = {NULL, 0, 0};
    struct effect *e;

    if (d == NULL) {
        ANG_LOG_EVERY(5000, ANG_LOG_ERROR, "COMPENSATION-DOMAIN",
                      "a revocation asks for a system event, but compensation.domain is not in business_logic: it is not stored",
                      "compensation.domain", name, "domain", l->domain->name, LOG_CORRELATION(w));
        return;
    }
    ang_wire_put_bytes(&any, 1, ang_slice_of(w->root_id.id, 16));
    ang_wire_put_bytes(&cover, 1, ang_buf_slice(&any));
    ang_wire_put_str(&cover, 2, d->name);
    ang_wire_put_bytes(&cover, 3, w->book.cover.correlation_id);
    failed_event(w, rv, &event);
    ang_wire_put_any(&page, 4, ang_slice_str("type.googleapis.com/angzarr.SagaCompensationFailed"), ang_buf_slice(&event));
    ang_wire_put_bytes(&book, 1, ang_buf_slice(&cover));
    ang_wire_put_bytes(&book, 3, ang_buf_slice(&page));
    ang_wire_add_record(&record, ang_buf_slice(&cover), ang_buf_slice(&book));
    if (record.n + 4096 > (size_t)d->reactions->max_message) {
        ANG_LOG(ANG_LOG_ERROR, "COMPENSATION-TOO-BIG", "a system event is over limits.message and was not stored", "domain",
                l->domain->name, "bytes", ANG_F("%zu", record.n), LOG_CORRELATION(w));
    } else {
        e = effect_new(l, EFFECT_OTHER, d->reactions, ang_partition_of_root(w->root_id.id, d->partitions));
        e->blob = ang_blob_copy(ang_buf_slice(&record));
        e->out.value = ang_blob_slice(e->blob);
        effect_key(e, &w->root_id, NULL);
        effect_hdr(e, "kind", ang_slice_str("record"));
        effect_hdrf(e, "command-id", "revoked/%.*s", (int)(w->command_id.n > 119 ? 119 : w->command_id.n),
                    (const char *)w->command_id.p);
        STAILQ_INSERT_TAIL(&w->effects, e, link);
    }
    ang_buf_fini(&event);
    ang_buf_fini(&page);
    ang_buf_fini(&book);
    ang_buf_fini(&any);
    ang_buf_fini(&cover);
    ang_buf_fini(&record);
}
