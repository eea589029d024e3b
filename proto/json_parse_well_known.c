/* The messages of google.protobuf that have a JSON form of their own: from that form to their bytes. */
#include "proto/json_priv.h"

static struct ang_slice text_of(const struct json_parser *ps, uint32_t token) {
    return (json_token_text(&ps->text, &ps->text.tokens[token]));
}

/* ---- Timestamp, Duration, FieldMask ---- */

static struct ang_err *parse_time(struct json_parser *ps, bool is_timestamp, uint32_t token,
                                  const struct json_path *at) {
    int64_t seconds;
    int32_t nanos;
    const char *what;

    if (ps->text.tokens[token].kind != TOKEN_STRING)
        return (json_expected(ps, is_timestamp ? "a time as a string" : "a duration as a string", token, at));
    what = is_timestamp ? json_to_timestamp(text_of(ps, token), &seconds, &nanos)
                        : json_to_duration(text_of(ps, token), &seconds, &nanos);
    if (what != NULL)
        return (json_error(at, ANG_E_JSON, "%s", what));
    if (seconds != 0)
        ang_wire_put_int(ps->b, 1, seconds);
    if (nanos != 0)
        ang_wire_put_int(ps->b, 2, nanos);
    return (NULL);
}

static struct ang_err *parse_mask(struct json_parser *ps, uint32_t token, const struct json_path *at) {
    const char *what = NULL;
    struct ang_slice text;

    if (ps->text.tokens[token].kind != TOKEN_STRING)
        return (json_expected(ps, "paths as one string", token, at));
    text = text_of(ps, token);
    while (what == NULL && text.n > 0) {
        const uint8_t *comma = memchr(text.p, ',', text.n);
        size_t n = comma == NULL ? text.n : (size_t)(comma - text.p);

        ang_buf_clear(&ps->scratch);
        what = json_to_mask_path(&ps->scratch, ang_slice_of(text.p, n));
        if (what == NULL && comma != NULL && n + 1 == text.n)
            what = "a path is empty";
        ang_wire_put_bytes(ps->b, 1, ang_buf_slice(&ps->scratch));
        text = comma == NULL ? ANG_SLICE_NONE : ang_slice_of(comma + 1, text.n - n - 1);
    }
    return (what == NULL ? NULL : json_error(at, ANG_E_JSON, "%s", what));
}

/* ---- Value ---- */

static struct ang_err *parse_number(struct json_parser *ps, uint32_t token, const struct json_path *at) {
    uint64_t bits;
    double v;

    if (!json_to_double(text_of(ps, token), &v))
        return (json_expected(ps, "a number that a double can hold", token, at));
    memcpy(&bits, &v, sizeof(bits));
    ang_wire_put_fixed64(ps->b, 2, bits);
    return (NULL);
}

static struct ang_err *parse_container(struct json_parser *ps, uint32_t number, const struct ang_type *type,
                                       uint32_t token, const struct json_path *at) {
    struct json_length len = json_length_begin(ps, number, ps->text.tokens[token].end - token);
    struct ang_err *er = json_parse_message(ps, type, token, at);

    if (er == NULL)
        json_length_end(ps, &len);
    return (er);
}

static struct ang_err *parse_value(struct json_parser *ps, uint32_t token, const struct json_path *at) {
    const struct json_token *t = &ps->text.tokens[token];

    switch (t->kind) {
    case TOKEN_NULL:
        ang_wire_put_uint(ps->b, 1, 0);
        return (NULL);
    case TOKEN_NUMBER:
        return (parse_number(ps, token, at));
    case TOKEN_STRING:
        ang_wire_put_bytes(ps->b, 3, text_of(ps, token));
        return (NULL);
    case TOKEN_FALSE:
    case TOKEN_TRUE:
        ang_wire_put_uint(ps->b, 4, t->kind == TOKEN_TRUE);
        return (NULL);
    case TOKEN_OBJECT:
        return (parse_container(ps, 5, &json_type_struct, token, at));
    case TOKEN_ARRAY:
        return (parse_container(ps, 6, &json_type_list, token, at));
    }
    return (NULL);
}

/* ---- wrappers ---- */

static struct ang_err *parse_wrapper(struct json_parser *ps, enum ang_kind kind, uint32_t token,
                                     const struct json_path *at) {
    const struct ang_field f = {.number = 1, .kind = kind};

    return (json_parse_value(ps, &f, token, at));
}

/* ---- Any ---- */

/* The token of the member's value; 0: none.  (Token 0 is the outermost value and no member of anything.) */
static struct ang_err *find_member(const struct json_parser *ps, uint32_t object, const char *name,
                                   const struct json_path *at, uint32_t *ret) {
    const struct json_token *tokens = ps->text.tokens;
    struct json_path here = path_name(at, ang_slice_str(name));

    *ret = 0;
    for (uint32_t i = object + 1; i < tokens[object].end; i = tokens[i + 1].end)
        if (ang_slice_is(text_of(ps, i), name)) {
            if (*ret != 0)
                return (json_error(&here, ANG_E_JSON, "the field comes twice"));
            *ret = i + 1;
        }
    return (NULL);
}

/* The object must be {"@type": …, "value": …}. */
static struct ang_err *only_value(const struct json_parser *ps, const struct ang_type *type, uint32_t object,
                                  const struct json_path *at, uint32_t *ret) {
    const struct json_token *tokens = ps->text.tokens;
    struct ang_err *er = find_member(ps, object, "value", at, ret);

    for (uint32_t i = object + 1; er == NULL && i < tokens[object].end; i = tokens[i + 1].end)
        if (!ang_slice_is(text_of(ps, i), "value") && !ang_slice_is(text_of(ps, i), "@type"))
            er = json_unknown(type, text_of(ps, i), at);
    return (er);
}

static struct ang_err *parse_unknown(struct json_parser *ps, uint32_t object, struct ang_slice url,
                                     const struct json_path *at) {
    static const struct ang_field f = {.number = 2, .kind = KIND_BYTES};
    struct json_path value_at = path_field(at, ang_slice_str("value"));
    const struct json_token *tokens = ps->text.tokens;
    uint32_t value;
    struct ang_err *er = find_member(ps, object, "value", at, &value);

    if (er != NULL)
        return (er);
    if (ps->opts->any == ANG_JSON_ANY_REFUSE || value == 0 || tokens[value].kind != TOKEN_STRING ||
        tokens[object].n != 2)
        return (
            json_error(at, ANG_E_JSON, "the type \"%.*s\" is not known%s", (int)url.n, (const char *)url.p,
                       ps->opts->any == ANG_JSON_ANY_REFUSE ? "" : ", and there is not just a \"value\" in base64"));
    return (json_parse_value(ps, &f, value, &value_at));
}

/* Forms of its own stand under "value"; for Empty some write one, too. */
static struct ang_err *parse_payload(struct json_parser *ps, const struct ang_type *type, uint32_t object,
                                     const struct json_path *at) {
    struct json_path value_at = path_field(at, ang_slice_str("value"));
    struct ang_err *er;
    uint32_t value;

    if (type->well_known == WK_NONE)
        return (json_parse_members(ps, type, object, true, at));
    er = only_value(ps, type, object, at, &value);
    if (er != NULL || (value == 0 && type->well_known == WK_EMPTY))
        return (er);
    if (value == 0)
        return (json_error(&value_at, ANG_E_JSON, "an Any with a %s requires the field", type->name));
    return (json_parse_message(ps, type, value, &value_at));
}

static struct ang_err *parse_known(struct json_parser *ps, const struct ang_type *type, uint32_t object,
                                   const struct json_path *at) {
    struct json_length len = json_length_begin(ps, 2, ps->text.tokens[object].end - object);
    struct ang_err *er;

    if (++ps->depth > ANG_JSON_DEPTH + 1)
        return (json_error(at, ANG_E_JSON, "more than %d messages inside each other", ANG_JSON_DEPTH));
    er = parse_payload(ps, type, object, at);
    ps->depth--;
    if (er != NULL)
        return (er);
    if (ps->b->n == len.start)
        ps->b->n = len.at; /* nothing in it */
    else
        json_length_end(ps, &len);
    return (NULL);
}

static struct ang_err *parse_any(struct json_parser *ps, const struct ang_type *any, uint32_t token,
                                 const struct json_path *at) {
    struct json_path url_at = path_name(at, ang_slice_str("@type"));
    const struct ang_type *type;
    struct ang_slice url;
    struct ang_err *er;
    uint32_t url_token;

    if (ps->text.tokens[token].kind != TOKEN_OBJECT)
        return (json_expected(ps, "an object", token, at));
    if (ps->text.tokens[token].n == 0)
        return (NULL);
    er = find_member(ps, token, "@type", at, &url_token);
    if (er != NULL)
        return (er);
    if (url_token == 0)
        return (json_error(&url_at, ANG_E_JSON, "an Any requires the field"));
    if (ps->text.tokens[url_token].kind != TOKEN_STRING)
        return (json_expected(ps, "a string", url_token, &url_at));
    url = text_of(ps, url_token);
    if (url.n > 0)
        ang_wire_put_bytes(ps->b, 1, url);
    type = ang_types_message_of_url(any->pool, url);
    return (type == NULL ? parse_unknown(ps, token, url, at) : parse_known(ps, type, token, at));
}

struct ang_err *json_parse_well_known(struct json_parser *ps, const struct ang_type *type, uint32_t token,
                                      const struct json_path *at) {
    switch (type->well_known) {
    case WK_NONE:
    case WK_EMPTY:
        break; /* as any other message */
    case WK_ANY:
        return (parse_any(ps, type, token, at));
    case WK_TIMESTAMP:
    case WK_DURATION:
        return (parse_time(ps, type->well_known == WK_TIMESTAMP, token, at));
    case WK_FIELD_MASK:
        return (parse_mask(ps, token, at));
    case WK_STRUCT:
        return (json_parse_map(ps, &json_type_struct.fields[0], token, at));
    case WK_VALUE:
        return (parse_value(ps, token, at));
    case WK_LIST_VALUE:
        return (json_parse_list(ps, &json_type_list.fields[0], token, at));
    case WK_WRAPPER:
        return (parse_wrapper(ps, type->wrapped, token, at));
    }
    ang_panic(__FILE__, __LINE__, __func__, "a type without a form of its own");
}
