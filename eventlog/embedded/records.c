#include "eventlog/embedded/records.h"

#include <stdlib.h>

/* A record's value:
 *
 *   flags 1 | time 8 | number of headers v | key length v | key
 *         | for each header: name length v, name, NUL, value length v, value | the record's value, to the end
 *
 * v: 7 bits a byte, low ones first.  The names keep a NUL so that a reader borrows them as they are. */
#define FLAG_TOMBSTONE 1u
#define FLAGS_KNOWN    FLAG_TOMBSTONE

void ang_emb_part_key(uint8_t out[ANG_EMB_PART_KEY], char kind, uint32_t topic, int32_t partition) {
    out[0] = (uint8_t)kind;
    ang_put_be32(out + 1, topic);
    ang_put_be32(out + 5, (uint32_t)partition);
}

void ang_emb_rec_key(uint8_t out[ANG_EMB_REC_KEY], uint32_t topic, int32_t partition, int64_t offset) {
    ang_emb_part_key(out, 'r', topic, partition);
    ang_put_be64(out + ANG_EMB_PART_KEY, (uint64_t)offset);
}

struct ang_slice ang_emb_name_key(struct ang_buf *b, char kind, const char *name) {
    ang_buf_clear(b);
    ang_buf_add_u8(b, (uint8_t)kind);
    ang_buf_add_str(b, name);
    return (ang_buf_slice(b));
}

struct ang_slice ang_emb_long_key(struct ang_buf *b, char kind, uint32_t topic, int32_t partition,
                                  struct ang_slice tail) {
    uint8_t head[ANG_EMB_PART_KEY];

    ang_emb_part_key(head, kind, topic, partition);
    ang_buf_clear(b);
    ang_buf_add(b, head, sizeof head);
    ang_buf_add_slice(b, tail);
    return (ang_buf_slice(b));
}

static void add_varint(struct ang_buf *b, uint64_t v) {
    for (; v >= 0x80; v >>= 7)
        ang_buf_add_u8(b, (uint8_t)(v | 0x80));
    ang_buf_add_u8(b, (uint8_t)v);
}

void ang_emb_rec_encode(struct ang_buf *b, const struct ang_out *rec, int64_t time_ms) {
    uint8_t head[9];

    head[0] = rec->tombstone ? FLAG_TOMBSTONE : 0;
    ang_put_be64(head + 1, (uint64_t)time_ms);
    ang_buf_clear(b);
    ang_buf_add(b, head, sizeof head);
    add_varint(b, rec->n_hdrs);
    add_varint(b, rec->key.n);
    ang_buf_add_slice(b, rec->key);
    for (size_t i = 0; i < rec->n_hdrs; i++) {
        size_t n = strlen(rec->hdrs[i].name);

        add_varint(b, n);
        ang_buf_add(b, rec->hdrs[i].name, n + 1);
        add_varint(b, rec->hdrs[i].value.n);
        ang_buf_add_slice(b, rec->hdrs[i].value);
    }
    if (!rec->tombstone)
        ang_buf_add_slice(b, rec->value);
}

/* ---- decoding: the bytes come from a disk, so every length is checked ---- */

struct in {
    const uint8_t *p, *end;
};

static bool get_varint(struct in *in, uint64_t *ret_v) {
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 63 && in->p < in->end; shift += 7) {
        uint8_t c = *in->p++;

        v |= (uint64_t)(c & 0x7f) << shift;
        if ((c & 0x80) == 0) {
            *ret_v = v;
            return (true);
        }
    }
    return (false);
}

static bool get_bytes(struct in *in, struct ang_slice *ret_s) {
    uint64_t n;

    if (!get_varint(in, &n) || n > (uint64_t)(in->end - in->p))
        return (false);
    *ret_s = ang_slice_of(n == 0 ? NULL : in->p, (size_t)n);
    in->p += n;
    return (true);
}

static bool get_hdr(struct in *in, struct ang_hdr *ret_h) {
    struct ang_slice name;
    const uint8_t *start;

    if (!get_bytes(in, &name))
        return (false);
    start = in->p - name.n;
    if (in->p == in->end || *in->p != 0)
        return (false);
    in->p++;
    ret_h->name = (const char *)start;
    return (get_bytes(in, &ret_h->value));
}

bool ang_emb_rec_time(struct ang_slice bytes, int64_t *ret_ms) {
    if (bytes.n < 9 || (bytes.p[0] & ~FLAGS_KNOWN) != 0)
        return (false);
    *ret_ms = (int64_t)ang_get_be64(bytes.p + 1);
    return (true);
}

static void rec_release(struct ang_rec *rec) {
    rec->magic = 0;
    free(rec);
}

/* One piece of memory: the record, its headers, its bytes. */
struct ang_rec *ang_emb_rec_decode(const struct ang_topic *topic, int32_t partition, int64_t offset,
                                   struct ang_slice bytes) {
    struct in in = {bytes.p, bytes.p + bytes.n};
    uint64_t n_hdrs;
    struct ang_rec *rec;
    struct ang_hdr *hdrs;
    uint8_t *copy;
    int64_t time_ms;

    if (!ang_emb_rec_time(bytes, &time_ms))
        return (NULL);
    in.p += 9;
    /* a header takes three bytes at least, which bounds what damaged bytes make us allocate */
    if (!get_varint(&in, &n_hdrs) || n_hdrs > bytes.n / 3)
        return (NULL);
    rec = ang_malloc(sizeof *rec + n_hdrs * sizeof *hdrs + bytes.n);
    hdrs = (struct ang_hdr *)(rec + 1);
    copy = (uint8_t *)(hdrs + n_hdrs);
    memcpy(copy, bytes.p, bytes.n);
    in = (struct in){copy + (in.p - bytes.p), copy + bytes.n};
    *rec = (struct ang_rec){.magic = ANG_REC_MAGIC,
                            .topic = topic,
                            .partition = partition,
                            .offset = offset,
                            .time_ms = time_ms,
                            .tombstone = (bytes.p[0] & FLAG_TOMBSTONE) != 0,
                            .n_hdrs = (uint32_t)n_hdrs,
                            .hdrs = hdrs,
                            .bytes = sizeof *rec + n_hdrs * sizeof *hdrs + bytes.n,
                            .release = rec_release};
    if (!get_bytes(&in, &rec->key))
        goto damaged;
    for (uint64_t i = 0; i < n_hdrs; i++)
        if (!get_hdr(&in, &hdrs[i]))
            goto damaged;
    rec->value = ang_slice_of(in.p == in.end ? NULL : in.p, (size_t)(in.end - in.p));
    return (rec);
damaged:
    rec_release(rec);
    return (NULL);
}
