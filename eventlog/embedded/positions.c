/* Committed positions: where a group goes on reading, with what it wants to remember about it. */
#include "eventlog/embedded/embedded_priv.h"
#include "eventlog/embedded/records.h"

static struct ang_slice position_key(struct ang_buf *b, const struct ang_emb_part *part, const char *cgroup) {
    return (ang_emb_long_key(b, 'p', part->topic->id, part->partition, ang_slice_str(cgroup)));
}

struct ang_err *ang_emb_position_check(struct ang_emb *emb, const struct ang_pos *pos) {
    struct ang_emb_part *part;
    struct ang_err *er = ang_emb_part_find(emb, pos->topic, pos->partition, &part);

    if (er != NULL)
        return (er);
    if (pos->meta.n > ANG_EMB_META_MAX)
        return (ang_err_new(ANG_E_TOO_BIG, "position of %s/%d: metadata of %zu bytes, at most %d are allowed",
                            pos->topic->name, pos->partition, pos->meta.n, ANG_EMB_META_MAX));
    if (pos->offset < 0)
        return (ang_err_new(ANG_E_INVALID, "position of %s/%d: offset %lld cannot be committed", pos->topic->name,
                            pos->partition, (long long)pos->offset));
    return (NULL);
}

void ang_emb_position_put(struct ang_emb_group *g, const char *cgroup, const struct ang_pos *pos) {
    struct ang_buf key = {0}, val = {0};
    struct ang_emb_part *part;
    uint8_t offset[8];

    AZ(ang_emb_part_find(ang_emb_group_log(g), pos->topic, pos->partition,
                         &part)); /* ang_emb_position_check found it */
    ang_put_be64(offset, (uint64_t)pos->offset);
    ang_buf_add(&val, offset, sizeof offset);
    ang_buf_add_slice(&val, pos->meta);
    ang_emb_group_put(g, position_key(&key, part, cgroup), ang_buf_slice(&val));
    ang_buf_fini(&key);
    ang_buf_fini(&val);
}

static struct ang_err *read_one(struct ang_emb *emb, const char *cgroup, struct ang_pos *pos, struct ang_buf *mem) {
    struct ang_buf key = {0}, val = {0};
    struct ang_emb_part *part;
    struct ang_err *er = ang_emb_part_find(emb, pos->topic, pos->partition, &part);
    bool found = false;

    if (er == NULL)
        er = ang_emb_get(emb, position_key(&key, part, cgroup), &val, &found);
    if (er == NULL && found && val.n < 8)
        er = ang_err_new(ANG_E_LOG_IO, "%s: the position of group %s in %s/%d is damaged", emb->path, cgroup,
                         pos->topic->name, pos->partition);
    if (er == NULL) {
        pos->offset = found ? (int64_t)ang_get_be64(val.p) : ANG_OFFSET_NONE;
        /* the buffer may still move: for now only the length, ang_emb_positions sets the pointers */
        pos->meta = ang_slice_of(NULL, found ? val.n - 8 : 0);
        if (found)
            ang_buf_add(mem, val.p + 8, val.n - 8);
    }
    ang_buf_fini(&key);
    ang_buf_fini(&val);
    return (er);
}

struct ang_err *ang_emb_positions(struct ang_log *log, const char *group, struct ang_pos *pos, size_t n, int timeout_ms,
                                  struct ang_buf *ret_mem) {
    struct ang_emb *emb = ang_emb_of(log);
    struct ang_emb_job wait = {0}; /* behind every commit that is under way */
    struct ang_buf mem = {0};
    struct ang_err *er = log->look ? ang_emb_look(emb) : ang_emb_run(emb, &wait);
    size_t at = 0;

    ANG_PT(pthread_rwlock_rdlock(&emb->look_lock));
    for (size_t i = 0; er == NULL && i < n; i++)
        er = read_one(emb, group, &pos[i], &mem);
    ANG_PT(pthread_rwlock_unlock(&emb->look_lock));
    if (er != NULL) {
        ang_buf_fini(&mem);
        return (ang_err_wrap(&er, "positions of group %s", group));
    }
    for (size_t i = 0; i < n; i++) {
        if (pos[i].meta.n > 0)
            pos[i].meta.p = mem.p + at;
        at += pos[i].meta.n;
    }
    *ret_mem = mem;
    return (NULL);
}
