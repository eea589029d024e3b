/* What printing and parsing JSON have in common.
 *
 *     json_path.c        where we are, for errors
 *     json_scalar.c      numbers and base64, both ways
 *     json_well_known.c  Timestamp, Duration and FieldMask as text, both ways
 *     json_write.c       strings, and the lay-out of objects and lists
 *     json_print.c, json_print_map.c, json_print_well_known.c    a message's bytes to text
 *     json_text.c                                                text to tokens
 *     json_parse.c, json_parse_scalar.c, json_parse_map.c, json_parse_well_known.c    tokens to a message's bytes */
#ifndef ANG_JSON_PRIV_H
#define ANG_JSON_PRIV_H

#include "proto/json.h"
#include "proto/types_priv.h"
#include "proto/wire.h"

/* ---- where we are: linked from the inner to the outer place, on the C stack ----
 *
 *     (root)  <--up--  pages  <--up--  [3]  <--up--  command          "pages[3].command: …"  */
enum json_step { AT_ROOT, AT_FIELD, AT_INDEX, AT_KEY };

struct json_path {
    const struct json_path *up;
    enum json_step step;
    struct ang_slice name; /* AT_ROOT: of the type, which stands in for an empty path; AT_FIELD, AT_KEY */
    size_t index;          /* AT_INDEX */
};

static inline struct json_path path_root(const struct ang_type *type) {
    return ((struct json_path){NULL, AT_ROOT, ang_slice_str(type->name), 0});
}
static inline struct json_path path_field(const struct json_path *up, struct ang_slice name) {
    return ((struct json_path){up, AT_FIELD, name, 0});
}
static inline struct json_path path_index(const struct json_path *up, size_t index) {
    return ((struct json_path){up, AT_INDEX, ANG_SLICE_NONE, index});
}
static inline struct json_path path_key(const struct json_path *up, struct ang_slice key) {
    return ((struct json_path){up, AT_KEY, key, 0});
}
/* A member's name from outside: as a field when it could be one, else as a key. */
struct json_path path_name(const struct json_path *up, struct ang_slice name);
struct ang_err *json_error(const struct json_path *at, enum ang_ec code, const char *fmt, ...)
    ANG_PRINTF(3, 4) ANG_MUST_USE;

/* Bytes read and written at most; never more than fit a message's length. */
static inline size_t json_max(const struct ang_json_opts *opts) {
    const size_t max = opts->max == 0 ? ANG_JSON_MAX : opts->max;

    return (max > INT32_MAX ? INT32_MAX : max);
}

/* ---- scalars ---- */
void json_add_u64(struct ang_buf *b, uint64_t v);
void json_add_i64(struct ang_buf *b, int64_t v);
void json_add_double(struct ang_buf *b, double v); /* the shortest text that is v again; "NaN" and such in quotes */
void json_add_float(struct ang_buf *b, float v);
void json_add_base64(struct ang_buf *b, struct ang_slice s); /* without quotes */
/* Text of JSON's grammar for numbers, with any exponent as long as the value is an integer in range. */
bool json_to_i64(struct ang_slice text, int64_t min, int64_t max, int64_t *ret);
bool json_to_u64(struct ang_slice text, uint64_t max, uint64_t *ret);
bool json_to_double(struct ang_slice text, double *ret); /* false: no number, or beyond a double */
/* Either alphabet, padded or not; appends to b.  False: not base64 (b may have grown). */
bool json_from_base64(struct ang_buf *b, struct ang_slice text);

/* ---- well-known types as text: NULL, or what is wrong ---- */
const char *json_add_timestamp(struct ang_buf *b, int64_t seconds, int32_t nanos);
const char *json_add_duration(struct ang_buf *b, int64_t seconds, int32_t nanos);
const char *json_to_timestamp(struct ang_slice text, int64_t *ret_seconds, int32_t *ret_nanos);
const char *json_to_duration(struct ang_slice text, int64_t *ret_seconds, int32_t *ret_nanos);
const char *json_add_mask_path(struct ang_buf *b, struct ang_slice path); /* a_b.c to aB.c */
const char *json_to_mask_path(struct ang_buf *b, struct ang_slice text);  /* and back */

/* ---- lay-out ---- */
struct json_out {
    struct ang_buf *b;
    bool pretty;
    unsigned indent;
};
void json_open(struct json_out *out, char bracket);
/* Before every member of the innermost object or list; *first: of that. */
void json_next(struct json_out *out, bool *first);
void json_close(struct json_out *out, char bracket, bool empty);
void json_name(struct json_out *out, struct ang_slice quoted); /* with ':' */

/* ---- printing ---- */
#define JSON_NONE UINT32_MAX

/* One occurrence of a field on the wire. */
struct json_entry {
    const uint8_t *p; /* of ANG_WIRE_BYTES: n bytes */
    uint64_t v;       /* the value; of ANG_WIRE_BYTES: n */
    uint32_t next;    /* occurrence of the same field, or JSON_NONE */
    enum ang_wire_type type;
};

/* What a message holds of one field: a list of entries. */
struct json_slot {
    uint32_t first, last, count;
};

struct json_printer {
    const struct ang_json_opts *opts;
    struct json_out out;
    size_t max, limit; /* opts->max, and what it makes of out.b->n */
    unsigned depth;
    struct ang_arena *arena; /* messages that came in pieces, put together */
    bool replaced;           /* something of the message is not printed, since a later value takes its place */
    size_t joined;           /* bytes of them: pieces in pieces in pieces would take a hundred times the message */
    /* Two stacks: a message pushes what it holds and pops it at its end.  They move when they grow: keep indexes. */
    struct json_entry *entries;
    size_t n_entries, cap_entries;
    struct json_slot *slots;
    size_t n_slots, cap_slots;
};

struct json_frame {
    const struct ang_type *type;
    size_t entries, slots; /* where its own begin */
};

/* Sorts the fields of a message into slots, one per field of the type; json_leave pops them. */
struct ang_err *json_enter(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                           const struct json_path *at, struct json_frame *ret) ANG_MUST_USE;
void json_leave(struct json_printer *pr, const struct json_frame *frame);
/* Whether a field of the wire is the one that the type knows. */
bool json_known(const struct ang_field *f, const struct ang_wire_field *wf);
/* The next of packed values; false at the end and at an error, as ang_wire_next. */
bool json_next_packed(struct ang_wire_iter *it, enum ang_kind kind, struct json_entry *ret);
/* All that is in the message, printed or not. */
struct ang_err *json_check(const struct ang_type *type, struct ang_slice message, const struct json_path *at) ANG_MUST_USE;
/* The last occurrence of the type's field i; false: none. */
bool json_last(const struct json_printer *pr, const struct json_frame *frame, size_t i, struct json_entry *ret);
/* The whole of a singular message field: its pieces, put together. */
struct ang_err *json_whole(struct json_printer *pr, const struct json_slot *slot, const struct json_path *at,
                           struct ang_slice *ret) ANG_MUST_USE;
/* A number that a closed enum does not know: its field counts as unknown. */
static inline bool json_closed_to(const struct ang_field *f, uint64_t v) {
    return (f->kind == KIND_ENUM && f->enumeration->closed && ang_enum_of_number(f->enumeration, (int32_t)v) == NULL);
}
static inline int64_t json_zigzag(uint64_t v) {
    return ((int64_t)(v >> 1 ^ (0 - (v & 1))));
}
static inline struct ang_slice json_entry_bytes(const struct json_entry *e) {
    return (ang_slice_of(e->p, (size_t)e->v));
}
struct ang_err *json_print_message(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                                   const struct json_path *at) ANG_MUST_USE;
struct ang_err *json_print_whole(struct json_printer *pr, const struct ang_type *type, const struct json_slot *slot,
                                 const struct json_path *at) ANG_MUST_USE;
/* Members of the innermost object. */
struct ang_err *json_print_members(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                                   const struct json_path *at, bool *first) ANG_MUST_USE;
struct ang_err *json_print_scalar(struct json_printer *pr, enum ang_kind kind, const struct ang_enum *en,
                                  const struct json_entry *e, const struct json_path *at) ANG_MUST_USE;
/* No entry, or none that counts. */
bool json_map_is_empty(const struct json_printer *pr, const struct ang_field *f, const struct json_slot *slot);
/* Elements, with their brackets. */
struct ang_err *json_print_map(struct json_printer *pr, const struct ang_field *f, struct json_slot slot,
                               const struct json_path *at) ANG_MUST_USE;
struct ang_err *json_print_list(struct json_printer *pr, const struct ang_field *f, struct json_slot slot,
                                const struct json_path *at) ANG_MUST_USE;
struct ang_err *json_print_well_known(struct json_printer *pr, const struct ang_type *type, struct ang_slice message,
                                      const struct json_path *at) ANG_MUST_USE;
struct ang_err *json_check_size(const struct json_printer *pr, const struct json_path *at) ANG_MUST_USE;

/* ---- text to tokens: in the order of the text, a container before what is in it ---- */
enum json_token_kind { TOKEN_NULL, TOKEN_FALSE, TOKEN_TRUE, TOKEN_NUMBER, TOKEN_STRING, TOKEN_OBJECT, TOKEN_ARRAY };

struct json_token {
    uint32_t off, n;      /* NUMBER, STRING: where its text is; OBJECT, ARRAY: n members */
    uint32_t end : 31;    /* the index of the token behind it and all that is in it */
    uint32_t decoded : 1; /* its text is in json_text.decoded: it had escapes */
    enum json_token_kind kind;
};

struct json_text {
    struct ang_slice source;
    struct ang_buf decoded;
    struct json_token *tokens;
    size_t n, cap;
};

/* Members of an object are a STRING and a value each. */
struct ang_err *json_text_init(struct json_text *text, struct ang_slice source) ANG_MUST_USE;
void json_text_fini(struct json_text *text); /* also after an error */
static inline struct ang_slice json_token_text(const struct json_text *text, const struct json_token *t) {
    return (ang_slice_of((t->decoded ? text->decoded.p : text->source.p) + t->off, t->n));
}
const char *json_kind_name(enum json_token_kind kind); /* "a string" */

/* ---- parsing ---- */
struct json_parser {
    const struct ang_json_opts *opts;
    struct json_text text;
    struct ang_buf *b;
    size_t max, limit; /* opts->max, and what it makes of b->n */
    unsigned depth;
    struct ang_buf scratch; /* decoded base64 */
    struct ang_buf seen;    /* a stack: one byte for every field and oneof of the messages that are open */
};

/* A length whose value is not known yet: room is kept, and corrected when it was too much or too little. */
struct json_length {
    size_t at;    /* where the tag begins */
    size_t start; /* where the payload begins */
    size_t room;  /* for the length, before start */
};
/* tokens: how many the payload is made of, for a guess at its length. */
struct json_length json_length_begin(struct json_parser *ps, uint32_t number, uint32_t tokens);
void json_length_end(struct json_parser *ps, const struct json_length *len);

/* What a scalar field is on the wire. */
struct json_scalar {
    uint64_t v;             /* of numbers; zigzag is applied */
    struct ang_slice bytes; /* of strings and bytes; valid until the next scalar */
};
struct ang_err *json_read_scalar(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                                 const struct json_path *at, struct json_scalar *ret) ANG_MUST_USE;
/* A number of that kind from its text, quoted or not; false: it is none. */
bool json_read_number(enum ang_kind kind, struct ang_slice text, uint64_t *ret);
/* number 0: without a tag, as in a packed field. */
void json_put_scalar(struct json_parser *ps, uint32_t number, enum ang_kind kind, const struct json_scalar *s);

struct ang_err *json_parse_message(struct json_parser *ps, const struct ang_type *type, uint32_t token,
                                   const struct json_path *at) ANG_MUST_USE;
/* An object's members as fields; of an Any's payload without "@type". */
struct ang_err *json_parse_members(struct json_parser *ps, const struct ang_type *type, uint32_t token, bool in_any,
                                   const struct json_path *at) ANG_MUST_USE;
/* A value of the field, of a list's element or of a map's value, with its tag. */
struct ang_err *json_parse_value(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                                 const struct json_path *at) ANG_MUST_USE;
struct ang_err *json_parse_map(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                               const struct json_path *at) ANG_MUST_USE;
struct ang_err *json_parse_list(struct json_parser *ps, const struct ang_field *f, uint32_t token,
                                const struct json_path *at) ANG_MUST_USE;
struct ang_err *json_parse_well_known(struct json_parser *ps, const struct ang_type *type, uint32_t token,
                                      const struct json_path *at) ANG_MUST_USE;
/* "expected WHAT, got …" */
struct ang_err *json_expected(const struct json_parser *ps, const char *what, uint32_t token,
                              const struct json_path *at) ANG_MUST_USE;
struct ang_err *json_unknown(const struct ang_type *type, struct ang_slice name,
                             const struct json_path *at) ANG_MUST_USE;
/* null is a value of it, not its absence. */
static inline bool json_takes_null(const struct ang_field *f) {
    return ((f->kind == KIND_MESSAGE && f->type->well_known == WK_VALUE) ||
            (f->kind == KIND_ENUM && f->enumeration->null_value));
}

/* ---- Struct, Value and ListValue as types of ours, whatever a pool says they are ---- */
extern const struct ang_type json_type_struct, json_type_value, json_type_list;

#endif
