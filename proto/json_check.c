/* Strict also about what is not printed: a value that a later one replaces, in a singular field, a oneof or a map, is refused like any other
 * when its bytes are damaged.  Rare, so it is a walk of its own (the printer says when). */
#include "proto/json_priv.h"

static const char *check_packed(const struct ang_field *f, struct ang_slice packed) {
    struct ang_wire_iter it = ang_wire_iter_of(packed);
    struct json_entry e;

    while (json_next_packed(&it, f->kind, &e))
        ;
    return (it.what);
}

static const char *check_message(const struct ang_type *type, struct ang_slice message, unsigned depth);

static const char *check_field(const struct ang_field *f, const struct ang_wire_field *wf, unsigned depth) {
    if (wf->type != ANG_WIRE_BYTES)
        return (NULL);
    if (f->kind == KIND_MESSAGE)
        return (check_message(f->type, wf->bytes, depth));
    if (f->kind == KIND_STRING)
        return (ang_utf8_ok(wf->bytes) ? NULL : "a string that is not UTF-8");
    return (f->repeated && ang_kind_packs(f->kind) ? check_packed(f, wf->bytes) : NULL);
}

static const char *check_message(const struct ang_type *type, struct ang_slice message, unsigned depth) {
    struct ang_wire_iter it = ang_wire_iter_of(message);
    struct ang_wire_field wf;
    const char *what = NULL;

    if (depth > ANG_JSON_DEPTH + 1)
        return ("too many messages inside each other");
    while (what == NULL && ang_wire_next(&it, &wf)) {
        const struct ang_field *f = ang_type_field(type, wf.number);

        if (f != NULL && json_known(f, &wf))
            what = check_field(f, &wf, depth + 1);
    }
    return (what != NULL ? what : it.what);
}

struct ang_err *json_check(const struct ang_type *type, struct ang_slice message, const struct json_path *at) {
    const char *what = check_message(type, message, 0);

    return (what == NULL ? NULL : json_error(at, ANG_E_WIRE, "a value that a later one replaces is damaged: %s", what));
}
