/* Values of records, for people. */
#include "proto/wire.h"
#include "tools/inspect.h"

void inspect_header(const struct ang_rec *rec, const char *name, struct ang_buf *ret) {
    struct ang_slice value;

    ang_buf_clear(ret);
    if (ang_rec_hdr(rec, name, &value))
        ang_buf_add_slice(ret, value);
}

static bool has_prefix(struct ang_slice s, const char *prefix) {
    return (s.n >= strlen(prefix) && memcmp(s.p, prefix, strlen(prefix)) == 0);
}

static void as_hex(const struct ang_rec *rec, struct inspect_value *v, const char *why) {
    v->form = INSPECT_HEX;
    look_add_hex(&v->shown, rec->value);
    ang_buf_add_str(&v->why, why);
}

/* A refusal that copies of the same call get again: code, message, when.  What else it has is left out. */
static void refusal(const struct ang_rec *rec, struct inspect_value *v) {
    struct ang_wire_iter it = ang_wire_iter_of(rec->value);
    struct ang_wire_field f;
    char at[32];

    ang_buf_add_str(&v->shown, "{");
    while (ang_wire_next(&it, &f)) {
        if (f.number == 1 && f.type == ANG_WIRE_VARINT)
            look_put_text(&v->shown, "code", ang_code_name(f.value > UINT32_MAX ? UINT32_MAX : (uint32_t)f.value));
        else if (f.number == 2 && f.type == ANG_WIRE_BYTES)
            look_put_slice(&v->shown, "message", f.bytes);
        else if (f.number == 3 && f.type == ANG_WIRE_VARINT && f.value < INT64_MAX / 1000) {
            tool_time_text((int64_t)f.value * 1000, at);
            look_put_text(&v->shown, "at", at);
        }
    }
    ang_buf_add_str(&v->shown, "}");
    v->form = INSPECT_JSON;
    if (it.what == NULL)
        return;
    ang_buf_clear(&v->shown);
    as_hex(rec, v, it.what);
}

static void mark(const struct ang_rec *rec, struct inspect_value *v) {
    if (has_prefix(rec->key, "!refused/")) {
        refusal(rec, v);
    } else if (has_prefix(rec->key, "!done/")) {
        v->form = INSPECT_TEXT;
        tool_add_shown(&v->shown, rec->value);
    } else {
        as_hex(rec, v, "the key is not one of a mark that has a value");
    }
}

int inspect_value(const struct look *l, const struct ang_rec *rec, struct inspect_value *ret) {
    const struct ang_json_opts opts = {.any = ANG_JSON_ANY_SHOW};
    const struct ang_types *types = ang_types_builtin();
    struct ang_buf trial = {NULL, 0, 0};
    const struct ang_type *type;
    struct ang_err *er;
    int rc;

    *ret = (struct inspect_value){.form = INSPECT_NOTHING, .type = look_type(l, rec)};
    if (rec->tombstone)
        return (ANG_TOOL_DONE);
    if (ret->type == NULL) {
        mark(rec, ret);
        return (ANG_TOOL_DONE);
    }
    /* First whether it is such a message at all: if it is not, that is an answer, not an error. */
    type = ang_types_message(types, ang_slice_str(ret->type));
    AN(type);
    er = ang_json_print(type, rec->value, &opts, &trial);
    ang_buf_fini(&trial);
    if (er != NULL) {
        as_hex(rec, ret, er->msg);
        ang_err_free(&er);
        return (ANG_TOOL_DONE);
    }
    ret->form = INSPECT_JSON;
    rc = tool_json(ret->type, rec->value, &ret->shown);
    return (rc);
}

void inspect_value_fini(struct inspect_value *v) {
    ang_buf_fini(&v->shown);
    ang_buf_fini(&v->why);
}
