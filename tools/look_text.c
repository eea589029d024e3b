/* Texts of the tools that look at the log: bytes that may be anything, and JSON. */
#include <stdio.h>

#include "tools/look.h"

void look_add_hex(struct ang_buf *b, struct ang_slice s) {
    for (size_t i = 0; i < s.n; i++)
        ang_buf_addf(b, "%02x", s.p[i]);
}

static void line(struct ang_buf *b, int depth, int indent) {
    ang_buf_addf(b, "\n%*s", indent + 2 * depth, "");
}

/* It is JSON that we have printed: a quote begins and ends texts, unless a backslash stands before it. */
void look_add_pretty(struct ang_buf *b, struct ang_slice json, int indent) {
    bool in_text = false;
    int depth = 0;

    for (size_t i = 0; i < json.n; i++) {
        const uint8_t c = json.p[i];
        const uint8_t next = i + 1 < json.n ? json.p[i + 1] : 0;

        if (in_text) {
            ang_buf_add_u8(b, c);
            if (c == '\\')
                ang_buf_add_u8(b, json.p[++i]);
            in_text = c != '"';
        } else if ((c == '{' && next == '}') || (c == '[' && next == ']')) {
            ang_buf_add_u8(b, c);
            ang_buf_add_u8(b, json.p[++i]);
        } else if (c == '{' || c == '[') {
            ang_buf_add_u8(b, c);
            line(b, ++depth, indent);
        } else if (c == '}' || c == ']') {
            line(b, --depth, indent);
            ang_buf_add_u8(b, c);
        } else if (c == ',') {
            ang_buf_add_u8(b, c);
            line(b, depth, indent);
        } else if (c == ':') {
            ang_buf_add_str(b, ": ");
        } else if (c != ' ' && c != '\n') {
            ang_buf_add_u8(b, c);
            in_text = c == '"';
        }
    }
}

const char *look_duration(int64_t ms, char out[32]) {
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;

    if (ms < 0)
        return ("for ever");
    while (i + 1 < ANG_COUNT(units) && (ms == 0 || ms % units[i].ms != 0))
        i++;
    (void)snprintf(out, 32, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
    return (out);
}

/* ---- JSON ---- */
void look_key(struct ang_buf *b, const char *name) {
    if (b->n > 0 && b->p[b->n - 1] != '{' && b->p[b->n - 1] != '[')
        ang_buf_add_str(b, ",");
    ang_buf_addf(b, "\"%s\":", name);
}

void look_put_slice(struct ang_buf *b, const char *name, struct ang_slice text) {
    look_key(b, name);
    ang_json_add_string(b, text);
}

void look_put_text(struct ang_buf *b, const char *name, const char *text) {
    if (text != NULL) {
        look_put_slice(b, name, ang_slice_str(text));
        return;
    }
    look_key(b, name);
    ang_buf_add_str(b, "null");
}

void look_put_number(struct ang_buf *b, const char *name, int64_t n) {
    look_key(b, name);
    ang_buf_addf(b, "%lld", (long long)n);
}

void look_put_offset(struct ang_buf *b, const char *name, int64_t offset) {
    if (offset == ANG_OFFSET_NONE)
        look_put_text(b, name, NULL);
    else
        look_put_number(b, name, offset);
}

void look_put_bool(struct ang_buf *b, const char *name, bool v) {
    look_key(b, name);
    ang_buf_add_str(b, v ? "true" : "false");
}

void look_put_lines(struct ang_buf *b, const char *name, struct ang_slice lines) {
    look_key(b, name);
    ang_buf_add_str(b, "[");
    while (lines.n > 0) {
        const uint8_t *end = memchr(lines.p, '\n', lines.n);
        const size_t n = end == NULL ? lines.n : (size_t)(end - lines.p);

        if (b->p[b->n - 1] != '[')
            ang_buf_add_str(b, ",");
        ang_json_add_string(b, ang_slice_of(lines.p, n));
        lines.p += end == NULL ? n : n + 1;
        lines.n -= end == NULL ? n : n + 1;
    }
    ang_buf_add_str(b, "]");
}
