/* Frames: what we must know of a book, a query or an answer, read from its encoded form.  The payloads (the `value` of
 * every Any) stay bytes that nobody looks into.
 *
 * A parser checks everything that the schema knows, to the bottom: wire types, ranges of uint32, int32 and enum, UTF-8 of
 * strings, and that a singular field or a oneof is given once (common parsers would merge or take the last, each a bit
 * differently, so that two readers of one record could disagree).  What it accepts, protobuf-c and the other parsers accept and
 * read alike.  Fields the schema does not know are skipped, and kept in every `raw`.
 *
 * The error is ANG_E_WIRE and names the path: "EventBook.pages[3].event.type_url: invalid UTF-8".
 *
 * Everything in a frame is borrowed from the bytes given to the parser.  An absent field is a slice with p == NULL; one
 * that is present and empty has p != NULL and n == 0.  On an error *ret is undefined.
 *
 * Thread-safe: no state. */
#ifndef ANG_FRAME_H
#define ANG_FRAME_H

#include "proto/wire.h"

struct ang_wire_any {
    struct ang_slice raw; /* the encoded Any; p == NULL: absent */
    struct ang_slice type_url, value;
};

struct ang_wire_timestamp {
    struct ang_slice raw; /* p == NULL: absent */
    int64_t seconds;
    int32_t nanos; /* as sent: may be outside 0 to 999999999 */
};

struct ang_wire_cover {
    struct ang_slice raw; /* the encoded Cover */
    bool present;
    bool has_root;         /* a UUID was given; its value may still have any length */
    struct ang_slice root; /* the UUID's bytes */
    struct ang_slice domain, correlation_id;
    struct ang_slice edition;     /* the name; absent and empty both mean the main timeline */
    struct ang_slice edition_raw; /* the encoded Edition, divergences included */
    struct ang_slice rest[2];     /* raw without the correlation id: what stands before and after it */
};

/* ---- events ---- */
struct ang_wire_event_page {
    struct ang_slice raw; /* the encoded EventPage */
    bool has_num, has_force;
    uint32_t num;
    bool force;
    struct ang_slice rest[2]; /* raw without num or force */
    struct ang_wire_timestamp created_at;
    struct ang_wire_any event;
};

struct ang_wire_snapshot {
    struct ang_slice raw; /* the encoded Snapshot; p == NULL: absent */
    uint32_t sequence;
    struct ang_wire_any state;
};

struct ang_wire_event_book {
    struct ang_slice raw;
    struct ang_wire_cover cover;
    struct ang_wire_snapshot snapshot;
    struct ang_wire_any snapshot_state;
    bool has_next_sequence;
    uint32_t next_sequence;
    uint32_t n_pages, n_numbered;
    uint32_t first_num, last_num; /* of the first and the last page that has a num; valid when n_numbered > 0 */
    struct ang_slice pages;       /* from the first page's tag to the end of the last one; p == NULL: no page */
    bool pages_alone;             /* nothing but pages in `pages`: it can be laid into another book as it is */
};

/* ---- commands ---- */
struct ang_wire_command_page {
    struct ang_slice raw; /* the encoded CommandPage */
    uint32_t sequence;
    struct ang_wire_any command;
};

struct ang_wire_saga_origin {
    struct ang_slice raw; /* the encoded SagaCommandOrigin; p == NULL: absent */
    struct ang_slice saga_name;
    struct ang_wire_cover cover; /* triggering_aggregate */
    uint32_t sequence;           /* triggering_event_sequence */
};

struct ang_wire_command_book {
    struct ang_slice raw;
    struct ang_wire_cover cover;
    uint32_t n_pages;
    struct ang_wire_command_page first; /* valid when n_pages > 0 */
    struct ang_slice pages;             /* as in an event book */
    bool pages_alone;
    struct ang_wire_saga_origin saga_origin;
    struct ang_slice rest[2]; /* raw without the cover */
};

/* SyncCommandBook, ExecuteStreamCountRequest, ExecuteStreamTimeRequest: a command and one number. */
struct ang_wire_command_request {
    struct ang_slice raw;
    bool has_command;
    struct ang_wire_command_book command;
    int32_t arg; /* sync_mode, count or timeout_ms; 0 when absent */
};

/* ---- answers of business logic ---- */
enum ang_wire_result { ANG_RESULT_NONE, ANG_RESULT_EVENTS, ANG_RESULT_REVOCATION };

struct ang_wire_revocation {
    struct ang_slice raw;
    bool emit_system_revocation, send_to_dead_letter_queue, escalate, abort;
    struct ang_slice reason;
};

struct ang_wire_business_response {
    enum ang_wire_result result;
    struct ang_wire_event_book events;     /* valid with ANG_RESULT_EVENTS */
    struct ang_wire_revocation revocation; /* valid with ANG_RESULT_REVOCATION */
};

/* ---- queries ---- */
enum ang_wire_selection { ANG_SELECT_ALL, ANG_SELECT_RANGE, ANG_SELECT_SEQUENCES, ANG_SELECT_TEMPORAL };
enum ang_wire_moment { ANG_MOMENT_NONE, ANG_MOMENT_TIME, ANG_MOMENT_SEQUENCE };

struct ang_wire_temporal {
    struct ang_slice raw; /* p == NULL: absent */
    enum ang_wire_moment moment;
    struct ang_wire_timestamp as_of_time;
    uint32_t as_of_sequence;
};

struct ang_wire_query {
    struct ang_slice raw;
    struct ang_wire_cover cover;
    enum ang_wire_selection selection;
    uint32_t lower, upper; /* ANG_SELECT_RANGE */
    bool has_upper;
    struct ang_slice sequences; /* ANG_SELECT_SEQUENCES: the encoded SequenceSet; see ang_wire_sequences_next */
    uint32_t n_sequences;
    struct ang_wire_temporal temporal; /* ANG_SELECT_TEMPORAL */
};

struct ang_err *ang_wire_parse_cover(struct ang_slice raw, struct ang_wire_cover *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_any(struct ang_slice raw, struct ang_wire_any *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_timestamp(struct ang_slice raw, struct ang_wire_timestamp *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_snapshot(struct ang_slice raw, struct ang_wire_snapshot *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_event_page(struct ang_slice raw, struct ang_wire_event_page *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_event_book(struct ang_slice raw, struct ang_wire_event_book *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_command_page(struct ang_slice raw, struct ang_wire_command_page *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_command_book(struct ang_slice raw, struct ang_wire_command_book *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_sync_command(struct ang_slice raw, struct ang_wire_command_request *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_stream_count(struct ang_slice raw, struct ang_wire_command_request *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_stream_time(struct ang_slice raw, struct ang_wire_command_request *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_business_response(struct ang_slice raw,
                                                 struct ang_wire_business_response *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_temporal(struct ang_slice raw, struct ang_wire_temporal *ret) ANG_MUST_USE;
struct ang_err *ang_wire_parse_query(struct ang_slice raw, struct ang_wire_query *ret) ANG_MUST_USE;
/* A FollowRequest, as the cover that it describes; without anything raw, and so not to be spliced. */
struct ang_err *ang_wire_parse_follow(struct ang_slice raw, struct ang_wire_cover *ret) ANG_MUST_USE;

/* ---- walking the repeated parts of a frame that was parsed: nothing can be wrong any more, and bytes that did not go
 * through the parser of their frame must not come here (a malformed page is a failed assert) ----
 *
 *     struct ang_wire_iter it = ang_wire_iter_of(book.pages);
 *     while (ang_wire_event_pages_next(&it, &page)) … */
bool ang_wire_event_pages_next(struct ang_wire_iter *it, struct ang_wire_event_page *ret_page);
bool ang_wire_command_pages_next(struct ang_wire_iter *it, struct ang_wire_command_page *ret_page);

/* Values of a SequenceSet, packed or not, as sent: neither sorted nor unique.
 *     struct ang_wire_sequences s = ang_wire_sequences_of(&q); */
struct ang_wire_sequences {
    struct ang_wire_iter fields, packed;
};
struct ang_wire_sequences ang_wire_sequences_of(const struct ang_wire_query *q);
bool ang_wire_sequences_next(struct ang_wire_sequences *s, uint32_t *ret_v);

/* ---- splicing: append to b, keeping what is not named byte for byte, unknown fields too ---- */

/* The cover with another correlation id (empty: none), as field `number` of an enclosing message; or its bytes alone.
 * An absent cover gives one that has only the id. */
void ang_wire_put_cover(struct ang_buf *b, uint32_t number, const struct ang_wire_cover *cover,
                        struct ang_slice correlation_id);
void ang_wire_add_cover(struct ang_buf *b, const struct ang_wire_cover *cover, struct ang_slice correlation_id);
/* The command book's bytes with that correlation id in its cover; the cover comes first. */
void ang_wire_add_command_book(struct ang_buf *b, const struct ang_wire_command_book *book,
                               struct ang_slice correlation_id);
/* A CommandBook that tells facts (kind: record): that encoded cover, and one page whose command is the encoded EventBook. */
void ang_wire_add_record(struct ang_buf *b, struct ang_slice cover, struct ang_slice event_book);
/* An EventPage as field `number` (3 in an EventBook), numbered stamp->num in place of its num or
 * force.  A created_at that is there stays; a missing one is filled in from the stamp. */
struct ang_wire_stamp {
    uint32_t num;
    int64_t seconds;
    int32_t nanos;
};
void ang_wire_put_event_page(struct ang_buf *b, uint32_t number, const struct ang_wire_event_page *page,
                             const struct ang_wire_stamp *stamp);

#endif
