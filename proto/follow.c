/* FollowRequest, which is a Cover in all but its form: it is read into one. */
#include "proto/frame.h"
#include "proto/walk_priv.h"

static struct ang_err *read_root(const struct walk *up, struct ang_slice raw, struct ang_wire_cover *ret) {
    struct walk w = walk_of(up, &shape_uuid, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    ret->has_root = true;
    while (walk_next(&w, &f, &er))
        ret->root = f.bytes;
    return (er);
}

struct ang_err *ang_wire_parse_follow(struct ang_slice raw, struct ang_wire_cover *ret) {
    struct walk w = walk_of(NULL, &shape_follow, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_cover){.present = true};
    while (er == NULL && walk_next(&w, &f, &er))
        switch (f.number) {
        case 1:
            ret->domain = f.bytes;
            break;
        case 2:
            er = read_root(&w, f.bytes, ret);
            break;
        case 3:
            ret->correlation_id = f.bytes;
            break;
        case 4:
            ret->edition = f.bytes;
            break;
        }
    return (er);
}
