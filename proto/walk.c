/* The checks of a walk, and the path in its errors.  The good path is a table look-up and a comparison or two per field;
 * everything about paths is worked out only once something is wrong. */
#include "proto/walk_priv.h"

/* How many fields with w's current number stand before the current one. */
static unsigned current_index(const struct walk *w) {
    struct ang_wire_iter it = ang_wire_iter_of(w->message);
    struct ang_wire_field f;
    unsigned n = 0;

    while (it.p != w->at && ang_wire_next(&it, &f))
        n += f.number == w->number;
    return (n);
}

static void add_path(struct ang_buf *b, const struct walk *w) {
    const struct row *row = &w->shape->rows[w->number];

    if (w->up != NULL)
        add_path(b, w->up);
    else
        ang_buf_add_str(b, w->shape->name);
    if (w->number == 0)
        return;
    ang_buf_addf(b, ".%s", row->name);
    if (row->repeated)
        ang_buf_addf(b, "[%u]", current_index(w));
}

static struct ang_err *fail(const struct walk *w, const char *what) {
    struct ang_buf path = {0};
    struct ang_err *er;

    add_path(&path, w);
    if (w->number == 0)
        ang_buf_addf(&path, ": byte %zu", (size_t)(w->at - w->message.p));
    er = ang_err_new(ANG_E_WIRE, "%.*s: %s", (int)path.n, (const char *)path.p, what);
    ang_buf_fini(&path);
    return (er);
}

static const char *check_packed(struct ang_slice s) {
    struct ang_wire_iter it = ang_wire_iter_of(s);
    uint64_t v;

    while (ang_wire_next_varint(&it, &v))
        if (v > UINT32_MAX)
            return ("does not fit in 32 bits");
    return (it.what);
}

static const char *check_type(const struct row *row, enum ang_wire_type type) {
    enum ang_wire_type want = ANG_WIRE_VARINT;

    switch (row->kind) {
    case K_STRING:
    case K_BYTES:
    case K_MESSAGE:
        want = ANG_WIRE_BYTES;
        break;
    case K_UINT32:
        if (row->repeated && type == ANG_WIRE_BYTES)
            return (NULL);
        break;
    case K_INT32:
    case K_INT64:
    case K_BOOL:
        break;
    }
    if (type == want)
        return (NULL);
    return (want == ANG_WIRE_BYTES ? "wire type is not that of bytes" : "wire type is not that of a number");
}

static const char *check_value(const struct row *row, const struct ang_wire_field *f) {
    const char *what = check_type(row, f->type);

    if (what != NULL)
        return (what);
    switch (row->kind) {
    case K_UINT32:
        if (f->type == ANG_WIRE_BYTES)
            return (check_packed(f->bytes));
        return (f->value > UINT32_MAX ? "does not fit in 32 bits" : NULL);
    case K_INT32:
        /* A negative one is sent with its sign drawn out to 64 bits. */
        return (f->value + (UINT64_C(1) << 31) > UINT32_MAX ? "does not fit in 32 bits" : NULL);
    case K_STRING:
        return (ang_utf8_ok(f->bytes) ? NULL : "invalid UTF-8");
    case K_INT64:
    case K_BOOL:
    case K_BYTES:
    case K_MESSAGE:
        break;
    }
    return (NULL);
}

static const char *check_once(struct walk *w, const struct row *row) {
    uint32_t bit = 1u << w->number;
    const char *what = NULL;

    if (!row->repeated && (w->seen & bit) != 0)
        what = "given twice";
    else if ((w->seen & row->group) != 0)
        what = "another field of its oneof is given too";
    w->seen |= bit;
    return (what);
}

bool walk_next(struct walk *w, struct ang_wire_field *ret_f, struct ang_err **ret_er) {
    const struct row *row;
    const char *what;

    for (;;) {
        w->at = w->it.p;
        w->number = 0;
        if (!ang_wire_next(&w->it, ret_f)) {
            if (w->it.what != NULL)
                *ret_er = fail(w, w->it.what);
            return (false);
        }
        if (ret_f->number < w->shape->n_rows && w->shape->rows[ret_f->number].name != NULL)
            break;
    }
    w->number = ret_f->number;
    row = &w->shape->rows[w->number];
    what = check_once(w, row);
    if (what == NULL)
        what = check_value(row, ret_f);
    if (what != NULL)
        *ret_er = fail(w, what);
    return (what == NULL);
}

struct ang_err *walk_check(const struct walk *up, const struct shape *shape, struct ang_slice message) {
    struct walk w = walk_of(up, shape, message);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    while (er == NULL && walk_next(&w, &f, &er))
        if (shape->rows[f.number].kind == K_MESSAGE)
            er = walk_check(&w, shape->rows[f.number].sub, f.bytes);
    return (er);
}
