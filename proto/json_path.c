/* The place of an error as a path in JSON.  Keys are from outside: they are quoted, and long ones cut. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/json_priv.h"

#define MAX_KEY 64

static void add_key(struct ang_buf *b, struct ang_slice key) {
    if (key.n <= MAX_KEY) {
        ang_json_add_string(b, key);
        return;
    }
    key.n = MAX_KEY;
    while (key.n > 0 && (key.p[key.n] & 0xc0) == 0x80)
        key.n--; /* not in the middle of a character */
    ang_json_add_string(b, key);
    ang_buf_add_str(b, "…");
}

/* As deep as what is converted, which is bounded. */
static void add_path(struct ang_buf *b, const struct json_path *at) {
    if (at->step == AT_ROOT)
        return;
    add_path(b, at->up);
    switch (at->step) {
    case AT_ROOT:
        break;
    case AT_FIELD:
        if (at->up->step != AT_ROOT)
            ang_buf_add_u8(b, '.');
        ang_buf_add_slice(b, at->name);
        break;
    case AT_INDEX:
        ang_buf_addf(b, "[%zu]", at->index);
        break;
    case AT_KEY:
        ang_buf_add_u8(b, '[');
        add_key(b, at->name);
        ang_buf_add_u8(b, ']');
        break;
    }
}

struct json_path path_name(const struct json_path *up, struct ang_slice name) {
    char *s = ang_slice_dup_str(name);
    bool plain = strlen(s) == name.n && types_is_identifier(s);

    free(s);
    return (plain ? path_field(up, name) : path_key(up, name));
}

struct ang_err *json_error(const struct json_path *at, enum ang_ec code, const char *fmt, ...) {
    struct ang_buf b = {0};
    struct ang_err *er;
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    text[ang_utf8_len(ang_slice_str(text))] = '\0'; /* a name that was cut in the middle of a character */
    add_path(&b, at);
    if (b.n == 0 && at->step == AT_ROOT)
        ang_buf_add_slice(&b, at->name);
    er = ang_err_new(code, "%.*s: %s", (int)b.n, (const char *)b.p, text);
    ang_buf_fini(&b);
    return (er);
}
