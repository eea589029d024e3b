/* Stored events in words. */
#include "tools/events.h"

#include <stdlib.h>

#define UNKNOWN_MAX 32 /* types of which it is said that nobody knows them */

/* ---- what is asked about ---- */

void tool_put_cover(struct ang_buf *b, uint32_t number, const struct tool_cover *c) {
    struct ang_buf cover = {NULL, 0, 0}, inner = {NULL, 0, 0};

    if (c->root != NULL) {
        ang_wire_put_bytes(&inner, 1, ang_slice_of(c->root->b, sizeof c->root->b));
        ang_wire_put_bytes(&cover, 1, ang_buf_slice(&inner));
    }
    if (c->domain != NULL)
        ang_wire_put_str(&cover, 2, c->domain);
    if (c->correlation != NULL)
        ang_wire_put_str(&cover, 3, c->correlation);
    if (c->edition != NULL) {
        ang_buf_clear(&inner);
        ang_wire_put_str(&inner, 1, c->edition);
        ang_wire_put_bytes(&cover, 4, ang_buf_slice(&inner));
    }
    ang_wire_put_bytes(b, number, ang_buf_slice(&cover));
    ang_buf_fini(&cover);
    ang_buf_fini(&inner);
}

bool tool_cover_wants(const struct tool_cover *c, const struct ang_wire_cover *of_book) {
    return ((c->correlation == NULL || ang_slice_is(of_book->correlation_id, c->correlation)) &&
            (c->edition == NULL || ang_slice_is(of_book->edition, c->edition)));
}

/* ---- events ---- */

static void end_text(struct ang_buf *b) {
    ang_buf_add_u8(b, '\0');
}

void tool_aggregate(const struct ang_wire_cover *cover, struct ang_buf *ret) {
    char root[ANG_UUID_TEXT + 1] = "?";

    if (cover->root.n == 16)
        ang_uuid_text(cover->root.p, root);
    ang_buf_clear(ret);
    tool_add_shown(ret, cover->domain);
    ang_buf_addf(ret, "/%s", root);
    if (cover->edition.n > 0) {
        ang_buf_add_u8(ret, '@');
        tool_add_shown(ret, cover->edition);
    }
    end_text(ret);
}

/* Says once for each type that nobody knows it. */
static void say_unknown(const char *name) {
    static char *said[UNKNOWN_MAX];
    static size_t n;

    for (size_t i = 0; i < n; i++)
        if (strcmp(said[i], name) == 0)
            return;
    if (n == UNKNOWN_MAX)
        return;
    said[n++] = ang_strdup(name);
    tool_say("nobody knows the type %s (asked: %s)\n  --descriptors FILE names a set that has it", name,
             tool_types_asked());
}

int tool_payload(const struct ang_wire_any *any, struct ang_buf *ret_type, struct ang_buf *ret_json) {
    const struct ang_json_opts opts = {.any = ANG_JSON_ANY_SHOW};
    const struct ang_type *type = NULL;
    struct ang_err *er = NULL;
    int rc = ANG_TOOL_DONE;

    ang_buf_clear(ret_type);
    ang_buf_clear(ret_json);
    if (any->raw.p == NULL)
        ang_buf_add_str(ret_type, "-");
    else
        tool_add_shown(ret_type, ang_wire_type_name(any->type_url));
    end_text(ret_type);
    if (any->raw.p != NULL)
        rc = tool_type(any->type_url, &type);
    if (type != NULL)
        er = ang_json_print(type, any->value, &opts, ret_json);
    if (er != NULL)
        ang_buf_addf(ret_json, "(%zu bytes that are no %s)", any->value.n, ang_type_name(type));
    else if (type == NULL && any->raw.p != NULL)
        ang_buf_addf(ret_json, "(%zu bytes)", any->value.n);
    end_text(ret_json);
    if (rc == ANG_TOOL_DONE && type == NULL && any->raw.p != NULL)
        say_unknown((const char *)ret_type->p);
    ang_err_free(&er);
    return (rc);
}

void tool_created_at(const struct ang_wire_timestamp *at, char out[32]) {
    if (at->raw.p == NULL || at->seconds < 0 || at->seconds > INT64_C(253402300799) || at->nanos < 0)
        memcpy(out, "-", 2);
    else
        tool_time_text(at->seconds * 1000000 + at->nanos / 1000, out);
}

int tool_event_line(const char *aggregate, const struct ang_wire_event_page *page) {
    struct ang_buf line = {NULL, 0, 0}, type = {NULL, 0, 0}, json = {NULL, 0, 0};
    const int rc = tool_payload(&page->event, &type, &json);
    char time[32];

    if (rc == ANG_TOOL_DONE) {
        tool_created_at(&page->created_at, time);
        ang_buf_addf(&line, "%-24s  %s%s%3u  %s  ", time, aggregate == NULL ? "" : aggregate,
                     aggregate == NULL ? "" : "  ", page->num, (const char *)type.p);
        tool_add_shown(&line, ang_slice_of(json.p, json.n - 1));
        tool_line(ang_buf_slice(&line));
    }
    ang_buf_fini(&line);
    ang_buf_fini(&type);
    ang_buf_fini(&json);
    return (rc);
}

int tool_print_json(const char *type, struct ang_slice bytes) {
    struct ang_buf line = {NULL, 0, 0};
    const int rc = tool_json(type, bytes, &line);

    if (rc == ANG_TOOL_DONE)
        tool_line(ang_buf_slice(&line));
    ang_buf_fini(&line);
    return (rc);
}
