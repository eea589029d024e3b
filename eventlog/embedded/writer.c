/* Writers: a transactional id has an epoch, which outlives the process; opening or fencing the id raises it, and a commit
 * under an older one is refused. */
#include <stdlib.h>

#include "eventlog/embedded/embedded_priv.h"
#include "eventlog/embedded/records.h"

struct ang_emb_writer {
    struct ang_log_writer base;
    struct ang_emb_epoch *id;
    uint32_t epoch;
};

/* ---- epochs ---- */

struct raise {
    struct ang_emb_job job;
    const char *id;
    /* results */
    struct ang_emb_epoch *e;
    uint32_t epoch;
};

static struct ang_err *epoch_find(struct ang_emb *emb, const char *id, struct ang_emb_epoch **ret_e) {
    struct ang_buf key = {0}, val = {0};
    struct ang_emb_epoch *e;
    struct ang_err *er;
    bool found;

    for (e = emb->epochs; e != NULL; e = e->next)
        if (strcmp(e->id, id) == 0) {
            *ret_e = e;
            return (NULL);
        }
    er = ang_emb_get(emb, ang_emb_name_key(&key, 'w', id), &val, &found);
    if (er == NULL && found && val.n != 4)
        er = ang_err_new(ANG_E_LOG_IO, "%s: the epoch of transactional id %s is damaged", emb->path, id);
    if (er == NULL) {
        e = ANG_NEW(struct ang_emb_epoch);
        e->id = ang_strdup(id);
        e->epoch = found ? ang_get_be32(val.p) : 0;
        e->next = emb->epochs;
        emb->epochs = e;
        *ret_e = e;
    }
    ang_buf_fini(&key);
    ang_buf_fini(&val);
    return (er);
}

static struct ang_err *raise_stage(struct ang_emb_job *job, struct ang_emb_group *g) {
    struct raise *r = ANG_CONTAINER(job, struct raise, job);
    struct ang_err *er = epoch_find(ang_emb_group_log(g), r->id, &r->e);
    struct ang_buf key = {0};
    uint8_t val[4];

    if (er != NULL)
        return (er);
    r->epoch = ++r->e->epoch; /* also if the write fails: never the same epoch twice */
    ang_put_be32(val, r->epoch);
    ang_emb_group_put(g, ang_emb_name_key(&key, 'w', r->id), ang_slice_of(val, sizeof val));
    ang_buf_fini(&key);
    return (NULL);
}

static struct ang_err *epoch_raise(struct ang_emb *emb, const char *id, struct raise *ret_r) {
    *ret_r = (struct raise){.job = {.stage = raise_stage, .sync = true}, .id = id};
    return (ang_emb_run(emb, &ret_r->job));
}

void ang_emb_epochs_free(struct ang_emb *emb) {
    struct ang_emb_epoch *e, *next;

    for (e = emb->epochs; e != NULL; e = next) {
        next = e->next;
        free(e->id);
        free(e);
    }
}

struct ang_err *ang_emb_fence(struct ang_log *log, const char *id, int timeout_ms) {
    struct raise r;
    struct ang_err *er = epoch_raise(ang_emb_of(log), id, &r);

    return (er == NULL ? NULL : ang_err_wrap(&er, "fencing %s", id));
}

struct ang_err *ang_emb_writer_open(struct ang_log *log, const char *id, int timeout_ms,
                                    struct ang_log_writer **ret_w) {
    struct ang_emb_writer *w;
    struct raise r;
    struct ang_err *er = epoch_raise(ang_emb_of(log), id, &r);

    if (er != NULL)
        return (ang_err_wrap(&er, "opening writer %s", id));
    w = ANG_NEW(struct ang_emb_writer);
    w->base = (struct ang_log_writer){.magic = ANG_LOG_WRITER_MAGIC, .log = log};
    w->id = r.e;
    w->epoch = r.epoch;
    *ret_w = &w->base;
    return (NULL);
}

void ang_emb_writer_close(struct ang_log_writer *w) {
    if (w == NULL)
        return;
    ANG_CHECK(w, ANG_LOG_WRITER_MAGIC);
    w->magic = 0;
    free(w);
}

bool ang_emb_writer_doubtful(const struct ang_log_writer *w) {
    return (false); /* a commit's outcome is known when it returns, or the whole log is broken */
}

/* ---- commit ---- */

struct commit {
    struct ang_emb_job job;
    struct ang_emb_writer *w;
    const struct ang_batch *batch;
    struct ang_emb_part **parts; /* of each record */
};

static struct ang_err *commit_stage(struct ang_emb_job *job, struct ang_emb_group *g) {
    struct commit *c = ANG_CONTAINER(job, struct commit, job);
    const struct ang_batch *b = c->batch;
    struct ang_err *er;

    if (c->w->epoch != c->w->id->epoch)
        return (ang_err_new(ANG_E_LOG_FENCED,
                            "writer %s: epoch %u was replaced by %u: another writer has opened this id", c->w->id->id,
                            c->w->epoch, c->w->id->epoch));
    er = ang_emb_token_check(b->token);
    if (er != NULL)
        return (er);
    for (size_t i = 0; i < b->n_recs; i++) {
        b->recs[i].offset = ang_emb_group_add(g, c->parts[i], &b->recs[i]);
        b->recs[i].time_ms = ang_emb_group_time(g);
    }
    for (size_t i = 0; i < b->n_positions; i++)
        ang_emb_position_put(g, ang_emb_token_group(b->token), &b->positions[i]);
    return (NULL);
}

/* What is wrong with the batch itself loses it, however often it is tried. */
static struct ang_err *commit_check(struct ang_emb *emb, struct commit *c) {
    const struct ang_batch *b = c->batch;
    struct ang_err *er = NULL;

    for (size_t i = 0; er == NULL && i < b->n_recs; i++) {
        er = ang_emb_out_check(emb, &b->recs[i], &c->parts[i]);
        c->job.bytes += b->recs[i].key.n + b->recs[i].value.n + 64;
    }
    for (size_t i = 0; er == NULL && i < b->n_positions; i++)
        er = ang_emb_position_check(emb, &b->positions[i]);
    if (er != NULL && er->cls == ANG_BAD_INPUT)
        er->cls = ANG_ABORT_TXN;
    return (er);
}

struct ang_err *ang_emb_writer_commit(struct ang_log_writer *base, const struct ang_batch *batch) {
    struct ang_emb *emb;
    struct commit c = {.job = {.kind = ANG_EMB_COMMIT, .sync = true, .stage = commit_stage}, .batch = batch};
    struct ang_err *er;

    ANG_CHECK(base, ANG_LOG_WRITER_MAGIC);
    AN(batch->n_positions);
    AN(batch->token);
    emb = ang_emb_of(base->log);
    c.w = (struct ang_emb_writer *)(void *)base;
    c.parts = ang_calloc(batch->n_recs + 1, sizeof *c.parts);
    er = commit_check(emb, &c);
    if (er == NULL)
        er = ang_emb_run(emb, &c.job);
    free(c.parts);
    return (er == NULL ? NULL : ang_err_wrap(&er, "commit of %s", c.w->id->id));
}
