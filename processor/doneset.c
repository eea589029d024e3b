#include "processor/doneset.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define VERSION "1:"

void ang_doneset_init(struct ang_doneset *ds, int64_t base) {
    memset(ds, 0, sizeof(*ds));
    ds->magic = ANG_DONESET_MAGIC;
    ds->base = base;
}

void ang_doneset_fini(struct ang_doneset *ds) {
    free(ds->runs);
    memset(ds, 0, sizeof(*ds));
}

void ang_doneset_reset(struct ang_doneset *ds, int64_t base) {
    ANG_CHECK(ds, ANG_DONESET_MAGIC);
    ds->head = ds->n = 0;
    ds->count = 0;
    ds->base = base;
}

/* The first run that ends at or behind offset: the one that holds it, touches it, or lies above it. */
static size_t find(const struct ang_doneset *ds, int64_t offset) {
    size_t low = ds->head, high = ds->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (ds->runs[mid].to < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return (low);
}

static void insert(struct ang_doneset *ds, size_t at, struct ang_doneset_run run) {
    if (ds->n == ds->cap && ds->head > 0) {
        memmove(ds->runs, ds->runs + ds->head, (ds->n - ds->head) * sizeof(*ds->runs));
        ds->n -= ds->head;
        at -= ds->head;
        ds->head = 0;
    }
    if (ds->n == ds->cap) {
        ds->cap = ds->cap == 0 ? 16 : 2 * ds->cap;
        ds->runs = ang_realloc(ds->runs, ds->cap * sizeof(*ds->runs));
    }
    memmove(ds->runs + at + 1, ds->runs + at, (ds->n - at) * sizeof(*ds->runs));
    ds->runs[at] = run;
    ds->n++;
}

static void advance(struct ang_doneset *ds, int64_t to) {
    ds->base = to;
    while (ds->head < ds->n && ds->runs[ds->head].from <= ds->base) {
        struct ang_doneset_run run = ds->runs[ds->head++];
        ds->count -= (uint64_t)(run.to - run.from);
        if (run.to > ds->base)
            ds->base = run.to;
    }
    if (ds->head == ds->n)
        ds->head = ds->n = 0;
}

void ang_doneset_mark(struct ang_doneset *ds, int64_t offset) {
    AN(offset < INT64_MAX);
    ang_doneset_mark_range(ds, offset, offset + 1);
}

void ang_doneset_mark_range(struct ang_doneset *ds, int64_t from, int64_t to) {
    struct ang_doneset_run run;
    size_t first, last;

    ANG_CHECK(ds, ANG_DONESET_MAGIC);
    if (to <= from || to <= ds->base)
        return;
    if (from <= ds->base) {
        advance(ds, to);
        return;
    }
    run = (struct ang_doneset_run){from, to};
    first = find(ds, from);
    for (last = first; last < ds->n && ds->runs[last].from <= run.to; last++) {
        ds->count -= (uint64_t)(ds->runs[last].to - ds->runs[last].from);
        if (ds->runs[last].from < run.from)
            run.from = ds->runs[last].from;
        if (ds->runs[last].to > run.to)
            run.to = ds->runs[last].to;
    }
    ds->count += (uint64_t)(run.to - run.from);
    if (last == first) {
        insert(ds, first, run);
        return;
    }
    ds->runs[first] = run;
    memmove(ds->runs + first + 1, ds->runs + last, (ds->n - last) * sizeof(*ds->runs));
    ds->n -= last - first - 1;
}

bool ang_doneset_contains(const struct ang_doneset *ds, int64_t offset) {
    size_t i;

    ANG_CHECK(ds, ANG_DONESET_MAGIC);
    if (offset < ds->base)
        return (true);
    i = find(ds, offset);
    if (i < ds->n && ds->runs[i].to == offset)
        i++; /* ends right before it */
    return (i < ds->n && ds->runs[i].from <= offset);
}

/* ---- text ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint64_t base64_length(uint64_t n) {
    return ((n + 2) / 3 * 4);
}

static void add_base64(struct ang_buf *out, const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i += 3) {
        const size_t k = n - i < 3 ? n - i : 3;
        const uint32_t v = (uint32_t)p[i] << 16 | (k > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (k > 2 ? p[i + 2] : 0);
        ang_buf_add_u8(out, (uint8_t)digits[v >> 18]);
        ang_buf_add_u8(out, (uint8_t)digits[v >> 12 & 63]);
        ang_buf_add_u8(out, k > 1 ? (uint8_t)digits[v >> 6 & 63] : '=');
        ang_buf_add_u8(out, k > 2 ? (uint8_t)digits[v & 63] : '=');
    }
}

static bool take_base64(struct ang_slice text, struct ang_buf *out) {
    if (text.n % 4 != 0)
        return (false);
    for (size_t i = 0; i < text.n; i += 4) {
        uint32_t v = 0;
        int pad = 0;
        for (size_t j = 0; j < 4; j++) {
            const uint8_t c = text.p[i + j];
            const char *digit = c == '\0' ? NULL : strchr(digits, c);
            if (c == '=' && i + 4 == text.n && j >= 2)
                pad++;
            else if (digit == NULL || pad > 0)
                return (false);
            v = v << 6 | (c == '=' ? 0 : (uint32_t)(digit - digits));
        }
        if ((v & ((1u << (8 * pad)) - 1)) != 0)
            return (false);
        for (int j = 0; j < 3 - pad; j++)
            ang_buf_add_u8(out, (uint8_t)(v >> (16 - 8 * j)));
    }
    return (true);
}

static size_t leb_length(uint64_t v) {
    size_t n = 1;

    for (; v >= 128; v >>= 7)
        n++;
    return (n);
}

static void add_leb(struct ang_buf *b, uint64_t v) {
    for (; v >= 128; v >>= 7)
        ang_buf_add_u8(b, (uint8_t)(v | 128));
    ang_buf_add_u8(b, (uint8_t)v);
}

/* A number from 1 to INT64_MAX. */
static bool take_leb(struct ang_slice *s, int64_t *ret_v) {
    uint64_t v = 0;

    for (unsigned shift = 0; s->n > 0 && shift < 63; shift += 7) {
        const uint8_t c = *s->p++;
        s->n--;
        v |= (uint64_t)(c & 127) << shift;
        if (c < 128) {
            *ret_v = (int64_t)v;
            return (v > 0);
        }
    }
    return (false);
}

static uint64_t runs_length(const struct ang_doneset *ds) {
    int64_t at = ds->base;
    uint64_t n = 0;

    for (size_t i = ds->head; i < ds->n; i++) {
        n += leb_length((uint64_t)(ds->runs[i].from - at)) + leb_length((uint64_t)(ds->runs[i].to - ds->runs[i].from));
        at = ds->runs[i].to;
    }
    return (n);
}

static void add_runs(const struct ang_doneset *ds, struct ang_buf *b) {
    int64_t at = ds->base;

    for (size_t i = ds->head; i < ds->n; i++) {
        add_leb(b, (uint64_t)(ds->runs[i].from - at));
        add_leb(b, (uint64_t)(ds->runs[i].to - ds->runs[i].from));
        at = ds->runs[i].to;
    }
}

static uint64_t bitmap_length(const struct ang_doneset *ds) {
    return (ds->head == ds->n ? 0 : ((uint64_t)(ds->runs[ds->n - 1].to - ds->base) + 7) / 8);
}

static void add_bitmap(const struct ang_doneset *ds, struct ang_buf *b, size_t n) {
    uint8_t *p;

    if (n == 0)
        return;
    p = ang_buf_reserve(b, n);
    memset(p, 0, n);
    b->n += n;
    for (size_t i = ds->head; i < ds->n; i++)
        for (int64_t o = ds->runs[i].from - ds->base; o < ds->runs[i].to - ds->base; o++)
            p[o / 8] |= (uint8_t)(1 << (o % 8));
}

bool ang_doneset_encode(const struct ang_doneset *ds, size_t max, struct ang_buf *ret_text) {
    char header[32];
    struct ang_buf bytes = {0};
    uint64_t bitmap, runs;
    int n;

    ANG_CHECK(ds, ANG_DONESET_MAGIC);
    bitmap = bitmap_length(ds);
    runs = runs_length(ds);
    n = snprintf(header, sizeof(header), VERSION "%" PRId64 ":%c", ds->base, bitmap <= runs ? 'b' : 'r');
    if ((uint64_t)n + base64_length(bitmap <= runs ? bitmap : runs) > max)
        return (false);
    if (bitmap <= runs)
        add_bitmap(ds, &bytes, (size_t)bitmap);
    else
        add_runs(ds, &bytes);
    ang_buf_clear(ret_text);
    ang_buf_add(ret_text, header, (size_t)n);
    add_base64(ret_text, bytes.p, bytes.n);
    ang_buf_fini(&bytes);
    return (true);
}

static bool take_number(struct ang_slice *s, char end, int64_t *ret_v) {
    const uint8_t *stop = s->n == 0 ? NULL : memchr(s->p, end, s->n);
    uint64_t v;

    if (stop == NULL || !ang_slice_to_u64(ang_slice_of(s->p, (size_t)(stop - s->p)), &v) || v > INT64_MAX)
        return (false);
    s->n -= (size_t)(stop - s->p) + 1;
    s->p = stop + 1;
    *ret_v = (int64_t)v;
    return (true);
}

static bool set_bitmap(struct ang_doneset *ds, struct ang_slice bytes, int64_t committed) {
    if ((uint64_t)(INT64_MAX - committed) <= 8 * (uint64_t)bytes.n)
        return (false);
    if (bytes.n > 0 && ((bytes.p[0] & 1) != 0 || bytes.p[bytes.n - 1] == 0))
        return (false); /* the position itself is never done; we write no empty bytes at the end */
    for (size_t i = 0; i < bytes.n; i++)
        for (unsigned bit = 0; bit < 8; bit++)
            if ((bytes.p[i] >> bit & 1) != 0)
                ang_doneset_mark(ds, committed + (int64_t)(8 * i + bit));
    return (true);
}

static bool set_runs(struct ang_doneset *ds, struct ang_slice bytes, int64_t committed) {
    int64_t at = committed, open, done;

    while (bytes.n > 0) {
        if (!take_leb(&bytes, &open) || !take_leb(&bytes, &done) || open > INT64_MAX - at ||
            done > INT64_MAX - at - open)
            return (false);
        ang_doneset_mark_range(ds, at + open, at + open + done);
        at += open + done;
    }
    return (true);
}

void ang_doneset_encode_elsewhere(int64_t base, struct ang_buf *ret_text) {
    ang_buf_clear(ret_text);
    ang_buf_addf(ret_text, VERSION "%" PRId64 ":@", base);
}

/* Leaves the form and what follows it in *text. */
static bool take_base(struct ang_slice *text, int64_t *ret_base) {
    if (text->n < 2 || memcmp(text->p, VERSION, 2) != 0)
        return (false);
    *text = ang_slice_of(text->p + 2, text->n - 2);
    return (take_number(text, ':', ret_base) && text->n > 0);
}

bool ang_doneset_text_base(struct ang_slice text, int64_t *ret_base) {
    return (take_base(&text, ret_base));
}

enum ang_doneset_result ang_doneset_decode(struct ang_doneset *ds, struct ang_slice text, int64_t committed) {
    struct ang_buf bytes = {0};
    int64_t base;
    bool ok = false;

    ang_doneset_reset(ds, committed);
    if (text.n == 0)
        return (ANG_DONESET_NONE);
    if (!take_base(&text, &base))
        return (ANG_DONESET_MALFORMED);
    if (base != committed)
        return (ANG_DONESET_OTHER_BASE);
    if (text.p[0] == '@')
        return (ANG_DONESET_ELSEWHERE);
    if (take_base64(ang_slice_of(text.p + 1, text.n - 1), &bytes)) {
        if (text.p[0] == 'b')
            ok = set_bitmap(ds, ang_buf_slice(&bytes), committed);
        else if (text.p[0] == 'r')
            ok = set_runs(ds, ang_buf_slice(&bytes), committed);
    }
    ang_buf_fini(&bytes);
    if (!ok)
        ang_doneset_reset(ds, committed);
    return (ok ? ANG_DONESET_OK : ANG_DONESET_MALFORMED);
}
