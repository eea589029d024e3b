/* JSON text to tokens, by yajl.
 *
 * A flat array, 16 bytes a token, instead of a tree: what a text can make us allocate is bounded by its length, and nothing
 * has to be freed one by one.  Strings stay where they are in the text; only those with escapes are kept decoded.
 *
 * What yajl lets pass and JSON does not (bytes that are not UTF-8, halves of surrogate pairs) is looked for before. */
#include <stdlib.h>
#include <yajl/yajl_parse.h>

#include "proto/json_priv.h"

#define MAX_OPEN (2 * ANG_JSON_DEPTH + 8) /* a message can be in a list of a message, not deeper */

struct tokenizer {
    unsigned magic;
#define JSON_TOKENIZER_MAGIC 0x15a70e21
    struct json_text *text;
    uint32_t open[MAX_OPEN]; /* containers, by token */
    size_t n_open;
    bool too_deep;
};

/* ---- yajl's callbacks: 0 ends the parse ---- */

static uint32_t push(struct tokenizer *tk, enum json_token_kind kind) {
    struct json_text *text = tk->text;

    if (text->n == text->cap) {
        text->cap = text->cap == 0 ? 64 : 2 * text->cap;
        text->tokens = ang_realloc(text->tokens, text->cap * sizeof(*text->tokens));
    }
    text->tokens[text->n] = (struct json_token){.kind = kind, .end = (uint32_t)text->n + 1};
    return ((uint32_t)text->n++);
}

/* A value, not a key. */
static uint32_t push_value(struct tokenizer *tk, enum json_token_kind kind) {
    if (tk->n_open > 0)
        tk->text->tokens[tk->open[tk->n_open - 1]].n++;
    return (push(tk, kind));
}

static void set_text(struct tokenizer *tk, uint32_t token, const void *at, size_t n) {
    struct json_text *text = tk->text;
    struct json_token *t = &text->tokens[token];
    uintptr_t p = (uintptr_t)at, from = (uintptr_t)text->source.p;

    t->n = (uint32_t)n;
    if (p >= from && p + n <= from + text->source.n) {
        t->off = (uint32_t)(p - from);
        return;
    }
    t->decoded = 1;
    t->off = (uint32_t)text->decoded.n;
    ang_buf_add(&text->decoded, at, n);
}

static int on_null(void *ctx) {
    struct tokenizer *tk;

    ANG_CAST(tk, ctx, JSON_TOKENIZER_MAGIC);
    push_value(tk, TOKEN_NULL);
    return (1);
}

static int on_boolean(void *ctx, int v) {
    struct tokenizer *tk;

    ANG_CAST(tk, ctx, JSON_TOKENIZER_MAGIC);
    push_value(tk, v ? TOKEN_TRUE : TOKEN_FALSE);
    return (1);
}

static int on_number(void *ctx, const char *p, size_t n) {
    struct tokenizer *tk;

    ANG_CAST(tk, ctx, JSON_TOKENIZER_MAGIC);
    set_text(tk, push_value(tk, TOKEN_NUMBER), p, n);
    return (1);
}

static int on_string(void *ctx, const unsigned char *p, size_t n) {
    struct tokenizer *tk;

    ANG_CAST(tk, ctx, JSON_TOKENIZER_MAGIC);
    set_text(tk, push_value(tk, TOKEN_STRING), p, n);
    return (1);
}

static int on_key(void *ctx, const unsigned char *p, size_t n) {
    struct tokenizer *tk;

    ANG_CAST(tk, ctx, JSON_TOKENIZER_MAGIC);
    set_text(tk, push(tk, TOKEN_STRING), p, n);
    return (1);
}

static int open_container(void *ctx, enum json_token_kind kind) {
    struct tokenizer *tk;

    ANG_CAST(tk, ctx, JSON_TOKENIZER_MAGIC);
    if (tk->n_open == MAX_OPEN) {
        tk->too_deep = true;
        return (0);
    }
    tk->open[tk->n_open] = push_value(tk, kind); /* counts as a member of the one before */
    tk->n_open++;
    return (1);
}

static int on_object(void *ctx) {
    return (open_container(ctx, TOKEN_OBJECT));
}

static int on_array(void *ctx) {
    return (open_container(ctx, TOKEN_ARRAY));
}

static int on_end(void *ctx) {
    struct tokenizer *tk;

    ANG_CAST(tk, ctx, JSON_TOKENIZER_MAGIC);
    tk->n_open--;
    tk->text->tokens[tk->open[tk->n_open]].end = (uint32_t)tk->text->n;
    return (1);
}

/* ---- what is wrong, and where ---- */

static struct ang_err *error_at(struct ang_slice source, size_t offset, const char *what) {
    size_t line = 1, column = 1;

    for (size_t i = 0; i < offset && i < source.n; i++) {
        if (source.p[i] == '\n') {
            line++;
            column = 1;
        } else if ((source.p[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return (ang_err_new(ANG_E_JSON, "line %zu, column %zu: %s", line, column, what));
}

/* The four digits behind \u; false when they are none, which yajl says better. */
static bool hex4(struct ang_slice s, size_t i, unsigned *ret) {
    unsigned v = 0;

    if (i + 4 > s.n)
        return (false);
    for (size_t end = i + 4; i < end; i++) {
        uint8_t c = s.p[i];

        v <<= 4;
        if (c >= '0' && c <= '9')
            v |= (unsigned)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v |= (unsigned)((c | 0x20) - 'a' + 10);
        else
            return (false);
    }
    *ret = v;
    return (true);
}

/* i: behind the backslash, where the escape's letter is.  Its length after that; 0: half of a surrogate pair. */
static size_t escape_len(struct ang_slice s, size_t i) {
    unsigned high, low;

    if (i >= s.n || s.p[i] != 'u' || !hex4(s, i + 1, &high) || high < 0xd800 || high > 0xdfff)
        return (1);
    if (high >= 0xdc00 || i + 7 > s.n || s.p[i + 5] != '\\' || s.p[i + 6] != 'u' || !hex4(s, i + 7, &low) ||
        low < 0xdc00 || low > 0xdfff)
        return (0);
    return (11);
}

/* A backslash can only be in a string; anywhere else it is an error all the same. */
static struct ang_err *check_escapes(struct ang_slice s) {
    size_t i = 0;

    while (i < s.n) {
        const uint8_t *found = memchr(s.p + i, '\\', s.n - i);
        size_t n;

        if (found == NULL)
            return (NULL);
        i = (size_t)(found - s.p) + 1;
        n = escape_len(s, i);
        if (n == 0)
            return (error_at(s, i - 1, "half of a surrogate pair"));
        i += n;
    }
    return (NULL);
}

static struct ang_err *syntax_error(yajl_handle h, const struct tokenizer *tk, bool at_end) {
    struct ang_slice source = tk->text->source;
    size_t at = at_end ? source.n + 1 : yajl_get_bytes_consumed(h);
    unsigned char *text;
    struct ang_err *er;

    if (tk->too_deep)
        return (error_at(source, at, "more objects and lists inside each other than any message may have"));
    text = yajl_get_error(h, 0, source.p, source.n);
    text[strcspn((char *)text, "\n")] = '\0';
    er = error_at(source, at > 0 ? at - 1 : 0, (const char *)text);
    yajl_free_error(h, text);
    return (er);
}

/* ---- */

static void *y_malloc(void *ctx, size_t n) {
    return (ang_malloc(n));
}

static void *y_realloc(void *ctx, void *p, size_t n) {
    return (ang_realloc(p, n));
}

static void y_free(void *ctx, void *p) {
    free(p);
}

struct ang_err *json_text_init(struct json_text *text, struct ang_slice source) {
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_object,
        .yajl_map_key = on_key,
        .yajl_end_map = on_end,
        .yajl_start_array = on_array,
        .yajl_end_array = on_end,
    };
    struct tokenizer tk = {.magic = JSON_TOKENIZER_MAGIC, .text = text};
    yajl_alloc_funcs funcs = {y_malloc, y_realloc, y_free, NULL};
    size_t valid = ang_utf8_len(source);
    struct ang_err *er;
    yajl_handle h;

    memset(text, 0, sizeof(*text));
    text->source = source;
    if (valid < source.n)
        return (error_at(source, valid, "not UTF-8"));
    er = check_escapes(source);
    if (er != NULL)
        return (er);
    h = yajl_alloc(&callbacks, &funcs, &tk);
    AN(h);
    yajl_config(h, yajl_dont_validate_strings, 1);
    if (yajl_parse(h, source.p, source.n) != yajl_status_ok)
        er = syntax_error(h, &tk, false);
    else if (yajl_complete_parse(h) != yajl_status_ok)
        er = syntax_error(h, &tk, true);
    yajl_free(h);
    return (er);
}

void json_text_fini(struct json_text *text) {
    ang_buf_fini(&text->decoded);
    free(text->tokens);
    text->tokens = NULL;
    text->n = text->cap = 0;
}

const char *json_kind_name(enum json_token_kind kind) {
    static const char *const names[] = {"null", "false", "true", "a number", "a string", "an object", "a list"};

    return (names[kind]);
}
