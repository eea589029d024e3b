/* What a Query selects. */
#include "tools/selection.h"

/* Fields of Query and of what is in it. */
#define RANGE     3
#define SEQUENCES 4
#define TEMPORAL  5

bool tool_selection_given(const struct tool_selection *s) {
    return (s->from.given || s->to.given || s->sequences != NULL || s->as_of != NULL);
}

void tool_put_from(struct ang_buf *query, uint32_t from) {
    struct ang_buf range = {NULL, 0, 0};

    ang_wire_put_uint(&range, 1, from);
    ang_wire_put_bytes(query, RANGE, ang_buf_slice(&range));
    ang_buf_fini(&range);
}

static int put_range(struct ang_buf *query, const struct tool_selection *s) {
    struct ang_buf range = {NULL, 0, 0};

    if (s->from.given && s->to.given && s->from.value > s->to.value)
        return (tool_misuse("--from %u is behind --to %u", s->from.value, s->to.value));
    ang_wire_put_uint(&range, 1, s->from.value);
    if (s->to.given)
        ang_wire_put_uint(&range, 2, s->to.value);
    ang_wire_put_bytes(query, RANGE, ang_buf_slice(&range));
    ang_buf_fini(&range);
    return (ANG_TOOL_DONE);
}

static bool sequence(struct ang_slice text, uint32_t *ret) {
    uint64_t v;

    if (!ang_slice_to_u64(text, &v) || v > UINT32_MAX)
        return (false);
    *ret = (uint32_t)v;
    return (true);
}

static int put_sequences(struct ang_buf *query, const char *text) {
    struct ang_buf values = {NULL, 0, 0}, set = {NULL, 0, 0};
    const char *at = text;
    uint32_t v = 0;
    bool ok;

    do {
        const size_t n = strcspn(at, ",");
        ok = sequence(ang_slice_of(at, n), &v);
        ang_wire_put_varint(&values, v);
        at += n;
    } while (ok && *at++ == ',');
    ang_wire_put_bytes(&set, 1, ang_buf_slice(&values));
    ang_wire_put_bytes(query, SEQUENCES, ang_buf_slice(&set));
    ang_buf_fini(&values);
    ang_buf_fini(&set);
    return (ok ? ANG_TOOL_DONE : tool_misuse("--sequences: expected numbers like 1,2,5, got \"%.80s\"", text));
}

/* A time is meant with all of its last unit: who copies it from a table, which shows milliseconds, means that event too. */
static int put_as_of(struct ang_buf *query, const char *text) {
    struct ang_buf temporal = {NULL, 0, 0};
    int64_t us;
    uint32_t v;

    if (sequence(ang_slice_str(text), &v))
        ang_wire_put_uint(&temporal, 2, v);
    else if (tool_time(text, &us))
        ang_wire_put_timestamp(&temporal, 1, us / 1000000,
                               (int32_t)(us % 1000000) * 1000 + (us % 1000 == 0 ? 999999 : 999));
    else
        return (tool_misuse("--as-of: expected a sequence, or a time like 2026-01-31T12:00:00Z, got \"%.80s\"", text));
    ang_wire_put_bytes(query, TEMPORAL, ang_buf_slice(&temporal));
    ang_buf_fini(&temporal);
    return (ANG_TOOL_DONE);
}

int tool_put_selection(struct ang_buf *query, const struct tool_selection *s) {
    const int kinds = (s->from.given || s->to.given) + (s->sequences != NULL) + (s->as_of != NULL);

    if (kinds > 1)
        return (tool_misuse("expected one of --from/--to, --sequences, --as-of"));
    if (s->sequences != NULL)
        return (put_sequences(query, s->sequences));
    if (s->as_of != NULL)
        return (put_as_of(query, s->as_of));
    return (kinds == 0 ? ANG_TOOL_DONE : put_range(query, s));
}
