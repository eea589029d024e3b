/* An object to the entries of a map.  Keys must differ as what they are, not as text: "1" and "1.0" are one. */
#include <stdlib.h>

#include "proto/json_priv.h"

/* A key, to be compared. */
struct key {
    struct json_scalar s;
    uint32_t token;
};

static struct ang_err *read_key(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                                const struct json_path *at, struct json_scalar *ret) {
    struct ang_slice text = json_token_text(&ps->text, &ps->text.tokens[token]);

    *ret = (struct json_scalar){0, ang_slice_str("")};
    if (f->kind == KIND_STRING)
        ret->bytes = text;
    else if (f->kind == KIND_BOOL && ang_slice_is(text, "true"))
        ret->v = 1;
    else if (!(f->kind == KIND_BOOL && ang_slice_is(text, "false")) && !json_read_number(f->kind, text, &ret->v))
        return (json_error(at, ANG_E_JSON, "the key is %s",
                           f->kind == KIND_BOOL ? "neither \"true\" nor \"false\"" : "no number that fits its type"));
    return (NULL);
}

static int by_key(const void *a, const void *b) {
    const struct key *x = a, *y = b;

    if (x->s.v != y->s.v)
        return (x->s.v > y->s.v ? 1 : -1);
    return (ang_slice_cmp(x->s.bytes, y->s.bytes));
}

static struct ang_err *parse_entry(struct json_parser *ps, const struct ang_field *f, struct key *key,
                                   const struct json_path *at) {
    const struct ang_field *fields = f->type->fields;
    uint32_t token = key->token, value = token + 1;
    struct json_path here = path_key(at, json_token_text(&ps->text, &ps->text.tokens[token]));
    struct json_length len;
    struct ang_err *er = read_key(ps, &fields[0], token, &here, &key->s);

    if (er != NULL)
        return (er);
    if (++ps->depth > ANG_JSON_DEPTH + 1)
        return (json_error(&here, ANG_E_JSON, "more than %d messages inside each other", ANG_JSON_DEPTH));
    len = json_length_begin(ps, f->number, ps->text.tokens[value].end - token);
    json_put_scalar(ps, fields[0].number, fields[0].kind, &key->s);
    er = json_parse_value(ps, &fields[1], value, &here);
    if (er == NULL)
        json_length_end(ps, &len);
    ps->depth--;
    return (er);
}

static struct ang_err *check_twice(const struct json_parser *ps, struct key *keys, size_t n,
                                   const struct json_path *at) {
    qsort(keys, n, sizeof(*keys), by_key);
    for (size_t i = 1; i < n; i++)
        if (by_key(&keys[i - 1], &keys[i]) == 0) {
            struct json_path here = path_key(at, json_token_text(&ps->text, &ps->text.tokens[keys[i].token]));

            return (json_error(&here, ANG_E_JSON, "the key comes twice"));
        }
    return (NULL);
}

struct ang_err *json_parse_map(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                               const struct json_path *at) {
    const struct json_token *t = &ps->text.tokens[token];
    struct ang_err *er = NULL;
    struct key *keys;
    size_t n = 0;

    if (t->kind != TOKEN_OBJECT)
        return (json_expected(ps, "an object", token, at));
    keys = ang_calloc((size_t)t->n + 1, sizeof(*keys));
    for (uint32_t i = token + 1; er == NULL && i < t->end; i = ps->text.tokens[i + 1].end) {
        keys[n].token = i;
        er = parse_entry(ps, f, &keys[n++], at);
    }
    if (er == NULL && n > 1)
        er = check_twice(ps, keys, n, at);
    free(keys);
    return (er);
}
