/* Tokens to a message's bytes.
 *
 * Written front to back into one buffer: a nested message goes to its place at once, behind room for its length. */
#include "proto/json_priv.h"

/* ---- lengths ---- */

struct json_length json_length_begin(struct json_parser *ps, uint32_t number, uint32_t tokens) {
    struct json_length len = {.at = ps->b->n, .room = ang_wire_len_varint(4 * (uint64_t)tokens)};

    ang_wire_put_tag(ps->b, number, ANG_WIRE_BYTES);
    ang_buf_reserve(ps->b, len.room);
    ps->b->n += len.room;
    len.start = ps->b->n;
    return (len);
}

void json_length_end(struct json_parser *ps, const struct json_length *len) {
    size_t n = ps->b->n - len->start, need = ang_wire_len_varint(n), end;

    if (need > len->room)
        ang_buf_reserve(ps->b, need - len->room);
    if (need != len->room)
        memmove(ps->b->p + len->start - len->room + need, ps->b->p + len->start, n);
    end = len->start - len->room + need + n;
    ps->b->n = len->start - len->room;
    ang_wire_put_varint(ps->b, n); /* may reserve ten bytes, but writes those it needs */
    ps->b->n = end;
}

static struct ang_err *check_size(const struct json_parser *ps, const struct json_path *at) {
    if (ps->b->n <= ps->limit)
        return (NULL);
    return (json_error(at, ANG_E_TOO_BIG, "a message of more than %zu bytes", ps->max));
}

/* ---- values ---- */

static struct ang_err *parse_nested(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                                    const struct json_path *at) {
    struct json_length len = json_length_begin(ps, f->number, ps->text.tokens[token].end - token);
    struct ang_err *er = json_parse_message(ps, f->type, token, at);

    if (er == NULL)
        json_length_end(ps, &len);
    return (er);
}

struct ang_err *json_parse_value(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                                 const struct json_path *at) {
    struct json_scalar s;
    struct ang_err *er;

    if (ps->text.tokens[token].kind == TOKEN_NULL && !json_takes_null(f))
        return (json_error(at, ANG_E_JSON, "null where a value must be"));
    if (f->kind == KIND_MESSAGE)
        return (parse_nested(ps, f, token, at));
    er = json_read_scalar(ps, f, token, at, &s);
    if (er != NULL)
        return (er);
    if (f->presence || f->repeated || s.v != 0 || s.bytes.n > 0)
        json_put_scalar(ps, f->number, f->kind, &s);
    return (NULL);
}

static struct ang_err *parse_packed(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                                    const struct json_path *at) {
    uint32_t end = ps->text.tokens[token].end;
    struct json_length len = json_length_begin(ps, f->number, end - token);
    struct json_path here = path_index(at, 0);
    struct ang_err *er = NULL;
    struct json_scalar s;

    for (uint32_t i = token + 1; er == NULL && i < end; i = ps->text.tokens[i].end, here.index++) {
        er = json_read_scalar(ps, f, i, &here, &s);
        if (er == NULL)
            json_put_scalar(ps, 0, f->kind, &s);
    }
    if (er == NULL)
        json_length_end(ps, &len);
    return (er);
}

struct ang_err *json_parse_list(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                                const struct json_path *at) {
    const struct json_token *t = &ps->text.tokens[token];
    struct json_path here = path_index(at, 0);
    struct ang_err *er = NULL;

    if (t->kind != TOKEN_ARRAY)
        return (json_expected(ps, "a list", token, at));
    if (f->packed && t->n > 0)
        return (parse_packed(ps, f, token, at));
    for (uint32_t i = token + 1; er == NULL && i < t->end; i = ps->text.tokens[i].end, here.index++)
        er = json_parse_value(ps, f, i, &here);
    return (er);
}

/* ---- members ---- */

struct ang_err *json_unknown(const struct ang_type *type, struct ang_slice name, const struct json_path *at) {
    struct json_path here = path_name(at, name);

    if (name.n > 0 && name.p[0] == '[')
        return (json_error(&here, ANG_E_JSON, "extensions are not supported"));
    return (json_error(&here, ANG_E_JSON, "%s has no such field", type->name));
}

/* Objects mostly have their fields in the order of the type: *hint is where the next one is looked for first. */
static const struct ang_field *find(const struct ang_type *type, struct ang_slice name, size_t *hint) {
    const struct ang_field *f = *hint < type->n_fields ? &type->fields[*hint] : NULL;

    if (f == NULL || !ang_slice_eq(f->json_name, name))
        f = ang_type_field_named(type, name);
    if (f != NULL)
        *hint = (size_t)(f - type->fields) + 1;
    return (f);
}

enum { UNSEEN, SEEN, SET };

/* Marks the field and its oneof.  seen: where the type's marks begin. */
static struct ang_err *mark(struct json_parser *ps, const struct ang_type *type, const struct ang_field *f, bool is_set,
                            size_t seen, const struct json_path *at) {
    uint8_t *marks = ps->seen.p + seen, *field = marks + (f - type->fields), *oneof;

    if (*field != UNSEEN)
        return (json_error(at, ANG_E_JSON, "the field comes twice"));
    *field = is_set ? SET : SEEN;
    if (f->oneof == 0 || !is_set)
        return (NULL);
    oneof = marks + type->n_fields + f->oneof - 1;
    if (*oneof != UNSEEN)
        return (json_error(at, ANG_E_JSON, "another field of the same oneof is there already"));
    *oneof = SET;
    return (NULL);
}

static struct ang_err *parse_field(struct json_parser *ps, const struct ang_type *type, const struct ang_field *f,
                                   uint32_t token, size_t seen, const struct json_path *at) {
    bool null = ps->text.tokens[token].kind == TOKEN_NULL && (f->repeated || !json_takes_null(f));
    struct ang_err *er = mark(ps, type, f, !null, seen, at);

    if (er != NULL || null)
        return (er);
    if (f->kind == KIND_GROUP)
        return (json_error(at, ANG_E_JSON, "a group, which is not supported"));
    if (f->map)
        return (json_parse_map(ps, f, token, at));
    if (f->repeated)
        return (json_parse_list(ps, f, token, at));
    return (json_parse_value(ps, f, token, at));
}

static struct ang_err *check_required(const struct json_parser *ps, const struct ang_type *type, size_t seen,
                                      const struct json_path *at) {
    for (size_t i = 0; type->n_required > 0 && i < type->n_fields; i++)
        if (type->fields[i].required && ps->seen.p[seen + i] != SET) {
            struct json_path here = path_field(at, type->fields[i].json_name);

            return (json_error(&here, ANG_E_JSON, "%s requires the field", type->name));
        }
    return (NULL);
}

struct ang_err *json_parse_members(struct json_parser *ps, const struct ang_type *type, uint32_t token, bool in_any,
                                   const struct json_path *at) {
    const struct json_token *tokens = ps->text.tokens;
    size_t seen = ps->seen.n, n = type->n_fields + type->n_oneofs, hint = 0;
    struct ang_err *er = NULL;

    memset(ang_buf_reserve(&ps->seen, n + 1), UNSEEN, n);
    ps->seen.n += n;
    for (uint32_t i = token + 1; er == NULL && i < tokens[token].end; i = tokens[i + 1].end) {
        struct ang_slice name = json_token_text(&ps->text, &tokens[i]);
        const struct ang_field *f = find(type, name, &hint);

        if (f != NULL) {
            struct json_path here = path_field(at, f->json_name);

            er = parse_field(ps, type, f, i + 1, seen, &here);
        } else if (!in_any || !ang_slice_is(name, "@type")) {
            er = json_unknown(type, name, at);
        }
    }
    if (er == NULL)
        er = check_required(ps, type, seen, at);
    ps->seen.n = seen;
    return (er);
}

struct ang_err *json_parse_message(struct json_parser *ps, const struct ang_type *type, uint32_t token,
                                   const struct json_path *at) {
    struct ang_err *er;

    if (++ps->depth > ANG_JSON_DEPTH + 1)
        er = json_error(at, ANG_E_JSON, "more than %d messages inside each other", ANG_JSON_DEPTH);
    else if (type->well_known != WK_NONE && type->well_known != WK_EMPTY)
        er = json_parse_well_known(ps, type, token, at);
    else if (ps->text.tokens[token].kind != TOKEN_OBJECT)
        er = json_expected(ps, "an object", token, at);
    else
        er = json_parse_members(ps, type, token, false, at);
    ps->depth--;
    return (er != NULL ? er : check_size(ps, at));
}

struct ang_err *ang_json_parse(const struct ang_type *type, struct ang_slice text, const struct ang_json_opts *opts,
                               struct ang_buf *ret) {
    static const struct ang_json_opts none = {0};
    struct json_path root = path_root(type);
    struct json_parser ps = {.opts = opts == NULL ? &none : opts, .b = ret};
    size_t before = ret->n;
    struct ang_err *er;

    ANG_CHECK(type, ANG_TYPE_MAGIC);
    ps.max = json_max(ps.opts);
    if (text.n > ps.max)
        return (json_error(&root, ANG_E_TOO_BIG, "%zu bytes of JSON; at most %zu are read", text.n, ps.max));
    ps.limit = before + ps.max;
    er = json_text_init(&ps.text, text);
    if (er == NULL)
        er = json_parse_message(&ps, type, 0, &root);
    if (er != NULL)
        ret->n = before;
    json_text_fini(&ps.text);
    ang_buf_fini(&ps.scratch);
    ang_buf_fini(&ps.seen);
    return (er);
}
