/* A checked walk over one message whose fields are known from a table: what a frame's parsers have in common.
 *
 * Walks of nested messages are linked from the inner to the outer one, on the C stack, only to name the path when
 * something is wrong:
 *
 *     EventBook  <--up--  pages[3]  <--up--  event           "EventBook.pages[3].event.type_url: …"  */
#ifndef ANG_WALK_PRIV_H
#define ANG_WALK_PRIV_H

#include "proto/wire.h"

enum kind { K_UINT32, K_INT32, K_INT64, K_BOOL, K_STRING, K_BYTES, K_MESSAGE };

struct shape;

struct row {
    const char *name; /* NULL: no such field */
    enum kind kind;
    bool repeated;
    uint32_t group; /* bits of the numbers of all members of its oneof; 0: in none */
    const struct shape *sub;
};

/* rows is indexed by the field's number; none of ours is above 31. */
struct shape {
    const char *name;
    const struct row *rows;
    uint32_t n_rows;
};

struct walk {
    const struct shape *shape;
    const struct walk *up;
    struct ang_slice message;
    struct ang_wire_iter it;
    const uint8_t *at; /* where the current field begins */
    uint32_t number;   /* of the current field; 0: none, or an unknown one */
    uint32_t seen;     /* bits of the numbers met so far */
};

static inline struct walk walk_of(const struct walk *up, const struct shape *shape, struct ang_slice message) {
    return ((struct walk){shape, up, message, ang_wire_iter_of(message), message.p, 0, 0});
}

/* The next field that the shape knows, checked against its row.  False at the end, or with *ret_er set. */
bool walk_next(struct walk *w, struct ang_wire_field *ret_f, struct ang_err **ret_er);
/* Checks a message to the bottom without taking anything out of it. */
struct ang_err *walk_check(const struct walk *up, const struct shape *shape, struct ang_slice message) ANG_MUST_USE;

extern const struct shape shape_uuid, shape_edition, shape_cover, shape_timestamp, shape_any;
extern const struct shape shape_event_page, shape_snapshot, shape_event_book;
extern const struct shape shape_saga_origin, shape_command_page, shape_command_book;
extern const struct shape shape_sync_command, shape_stream_count, shape_stream_time;
extern const struct shape shape_revocation, shape_business_response;
extern const struct shape shape_range, shape_sequences, shape_temporal, shape_query, shape_follow;

#endif
