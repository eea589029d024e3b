/* JSON text: strings with their escapes, and where objects and lists break into lines. */
#include "proto/json.h"
#include "proto/json_priv.h"

/* 0: as it is; 'u': \u00xx; else the letter behind the backslash. */
static const char escapes[256] = {
    [0 ... 7] = 'u', ['\b'] = 'b',      ['\t'] = 't', ['\n'] = 'n',  [11] = 'u',  ['\f'] = 'f',
    ['\r'] = 'r',    [14 ... 31] = 'u', ['"'] = '"',  ['\\'] = '\\', [127] = 'u',
};

static void add_escape(struct ang_buf *b, uint8_t c) {
    if (escapes[c] == 'u')
        ang_buf_addf(b, "\\u%04x", c);
    else
        ang_buf_add(b, (const uint8_t[]){'\\', (uint8_t)escapes[c]}, 2);
}

/* s is UTF-8. */
static void add_text(struct ang_buf *b, struct ang_slice s) {
    size_t from = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (escapes[s.p[i]] == 0)
            continue;
        ang_buf_add(b, s.p + from, i - from);
        add_escape(b, s.p[i]);
        from = i + 1;
    }
    if (from < s.n)
        ang_buf_add(b, s.p + from, s.n - from);
}

void ang_json_add_string(struct ang_buf *b, struct ang_slice s) {
    ang_buf_reserve(b, s.n + 2);
    ang_buf_add_u8(b, '"');
    for (;;) {
        size_t n = ang_utf8_len(s);

        add_text(b, ang_slice_of(s.p, n));
        if (n == s.n)
            break;
        ang_buf_add_str(b, "\xef\xbf\xbd"); /* U+FFFD */
        s = ang_slice_of(s.p + n + 1, s.n - n - 1);
    }
    ang_buf_add_u8(b, '"');
}

static void new_line(struct json_out *out) {
    uint8_t *p;

    if (!out->pretty)
        return;
    p = ang_buf_reserve(out->b, 1 + 2 * (size_t)out->indent);
    *p = '\n';
    memset(p + 1, ' ', 2 * (size_t)out->indent);
    out->b->n += 1 + 2 * (size_t)out->indent;
}

void json_open(struct json_out *out, char bracket) {
    ang_buf_add_u8(out->b, (uint8_t)bracket);
    out->indent++;
}

void json_next(struct json_out *out, bool *first) {
    if (!*first)
        ang_buf_add_u8(out->b, ',');
    *first = false;
    new_line(out);
}

void json_close(struct json_out *out, char bracket, bool empty) {
    out->indent--;
    if (!empty)
        new_line(out);
    ang_buf_add_u8(out->b, (uint8_t)bracket);
}

void json_name(struct json_out *out, struct ang_slice quoted) {
    ang_buf_add_slice(out->b, quoted);
    ang_buf_add(out->b, ": ", out->pretty ? 2 : 1);
}
