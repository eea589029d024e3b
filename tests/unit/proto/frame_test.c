/* Frames by example: what is read, and what is refused under which name.
 * Written as hex; 'text' stands for itself.  0a 22 10 are the usual tags: field << 3 | wire type. */
#include "test.h"

enum frame {
    COVER,
    EVENTS,
    COMMAND,
    SYNC,
    COUNT,
    TIME,
    ANSWER,
    QUERY,
    ANY,
    TIMESTAMP,
    SNAPSHOT,
    EVENT_PAGE,
    COMMAND_PAGE,
    TEMPORAL,
    FOLLOW
};

static struct ang_err *parse(enum frame frame, struct ang_slice s) {
    static union {
        struct ang_wire_cover cover;
        struct ang_wire_event_book events;
        struct ang_wire_command_book command;
        struct ang_wire_command_request request;
        struct ang_wire_business_response answer;
        struct ang_wire_query query;
        struct ang_wire_any any;
        struct ang_wire_timestamp timestamp;
        struct ang_wire_snapshot snapshot;
        struct ang_wire_event_page event_page;
        struct ang_wire_command_page command_page;
        struct ang_wire_temporal temporal;
    } u;

    switch (frame) {
    case COVER:
        return (ang_wire_parse_cover(s, &u.cover));
    case EVENTS:
        return (ang_wire_parse_event_book(s, &u.events));
    case COMMAND:
        return (ang_wire_parse_command_book(s, &u.command));
    case SYNC:
        return (ang_wire_parse_sync_command(s, &u.request));
    case COUNT:
        return (ang_wire_parse_stream_count(s, &u.request));
    case TIME:
        return (ang_wire_parse_stream_time(s, &u.request));
    case ANSWER:
        return (ang_wire_parse_business_response(s, &u.answer));
    case QUERY:
        return (ang_wire_parse_query(s, &u.query));
    case ANY:
        return (ang_wire_parse_any(s, &u.any));
    case TIMESTAMP:
        return (ang_wire_parse_timestamp(s, &u.timestamp));
    case SNAPSHOT:
        return (ang_wire_parse_snapshot(s, &u.snapshot));
    case EVENT_PAGE:
        return (ang_wire_parse_event_page(s, &u.event_page));
    case COMMAND_PAGE:
        return (ang_wire_parse_command_page(s, &u.command_page));
    case TEMPORAL:
        return (ang_wire_parse_temporal(s, &u.temporal));
    case FOLLOW:
        return (ang_wire_parse_follow(s, &u.cover));
    }
    return (NULL);
}

static const struct {
    const char *what;
    enum frame frame;
    const char *bytes, *says; /* says NULL: accepted */
} rows[] = {
    {"nothing is an empty message", EVENTS, "", NULL},
    {"an empty cover", COMMAND, "0a 00", NULL},
    {"unknown fields of every type", COMMAND, "78 01 79 0102030405060708 7a 01 'x' 7d 01020304", NULL},
    {"unknown fields may be repeated", COVER, "78 01 78 02", NULL},
    {"an unknown field's bytes are not text", COVER, "7a 01 ff", NULL},
    {"a page's payload is not looked into", EVENTS, "1a 08 22 06 0a 01 'T' 12 01 ff", NULL},
    {"bool 2 is true to every parser", EVENTS, "1a 02 10 02", NULL},
    {"negative count", COUNT, "10 ff ff ff ff ff ff ff ff ff 01", NULL},
    {"smallest int32", TIME, "10 80 80 80 80 f8 ff ff ff ff 01", NULL},
    {"unknown sync mode", SYNC, "10 63", NULL},
    {"uint32 at its end", EVENTS, "30 ff ff ff ff 0f", NULL},
    {"values packed and not", QUERY, "22 07 0a 02 01 02 08 05 0a 00", "Query.sequences: byte 6: truncated varint"},
    {"values packed, single, packed empty", QUERY, "22 08 0a 02 01 02 08 05 0a 00", NULL},
    {"text with a NUL", COVER, "12 03 'a' 00 'b'", NULL},
    {"text beyond ASCII", COVER, "12 02 c3 a9", NULL},
    {"every field of a follow", FOLLOW, "0a 01 'a' 12 02 0a 00 1a 01 'c' 22 01 'e'", NULL},

    {"cover twice", COMMAND, "0a 00 0a 00", "CommandBook.cover: given twice"},
    {"domain twice", COMMAND, "0a 06 12 01 'a' 12 01 'a'", "CommandBook.cover.domain: given twice"},
    {"root's value twice", COVER, "0a 04 0a 00 0a 00", "Cover.root.value: given twice"},
    {"next_sequence twice", EVENTS, "30 01 30 01", "EventBook.next_sequence: given twice"},
    {"seconds twice", TIMESTAMP, "08 01 08 01", "Timestamp.seconds: given twice"},
    {"invalid domain", COMMAND, "0a 04 12 02 c3 28", "CommandBook.cover.domain: invalid UTF-8"},
    {"invalid correlation id", QUERY, "0a 03 1a 01 80", "Query.cover.correlation_id: invalid UTF-8"},
    {"invalid edition", COVER, "22 03 0a 01 ff", "Cover.edition.name: invalid UTF-8"},
    {"surrogate", COVER, "12 03 ed a0 80", "Cover.domain: invalid UTF-8"},
    {"invalid type of the second page", EVENTS, "1a 00 1a 05 22 03 0a 01 ff",
     "EventBook.pages[1].event.type_url: invalid UTF-8"},
    {"pages counted past others", EVENTS, "1a 00 78 01 30 01 1a 00 1a 02 08 80",
     "EventBook.pages[2]: byte 0: truncated varint"},
    {"invalid type of a command", COMMAND, "12 05 1a 03 0a 01 ff",
     "CommandBook.pages[0].command.type_url: invalid UTF-8"},
    {"type of a snapshot's state", SNAPSHOT, "1a 03 0a 01 ff", "Snapshot.state.type_url: invalid UTF-8"},
    {"divergence inside a saga's cover", COMMAND, "22 09 12 07 22 05 12 03 0a 01 ff",
     "CommandBook.saga_origin.triggering_aggregate.edition.divergences[0].domain: invalid UTF-8"},
    {"second divergence", COVER, "22 07 12 00 12 03 0a 01 ff", "Cover.edition.divergences[1].domain: invalid UTF-8"},
    {"saga name", COMMAND, "22 03 0a 01 ff", "CommandBook.saga_origin.saga_name: invalid UTF-8"},
    {"cover as a number", COMMAND, "08 01", "CommandBook.cover: wire type is not that of bytes"},
    {"pages as a number", EVENTS, "18 01", "EventBook.pages[0]: wire type is not that of bytes"},
    {"sequence as bytes", COMMAND_PAGE, "0a 00", "CommandPage.sequence: wire type is not that of a number"},
    {"num as fixed32", EVENT_PAGE, "0d 01 02 03 04", "EventPage.num: wire type is not that of a number"},
    {"num above 32 bits", EVENT_PAGE, "08 80 80 80 80 10", "EventPage.num: does not fit in 32 bits"},
    {"packed value above 32 bits", QUERY, "22 07 0a 05 80 80 80 80 10",
     "Query.sequences.values[0]: does not fit in 32 bits"},
    {"packed value cut off", QUERY, "22 04 0a 02 01 80", "Query.sequences.values[0]: truncated varint"},
    {"nanos of 33 bits", TIMESTAMP, "10 80 80 80 80 08", "Timestamp.nanos: does not fit in 32 bits"},
    {"negative int32 without its sign drawn out", COUNT, "10 ff ff ff ff 0f",
     "ExecuteStreamCountRequest.count: does not fit in 32 bits"},
    {"num and force", EVENT_PAGE, "08 01 10 01", "EventPage.force: another field of its oneof is given too"},
    {"force and num", EVENT_PAGE, "10 01 08 01", "EventPage.num: another field of its oneof is given too"},
    {"num twice", EVENT_PAGE, "08 01 08 01", "EventPage.num: given twice"},
    {"events and revocation", ANSWER, "0a 00 12 00",
     "BusinessResponse.revocation: another field of its oneof is given too"},
    {"events twice", ANSWER, "0a 00 0a 00", "BusinessResponse.events: given twice"},
    {"events of an answer", ANSWER, "0a 06 1a 04 08 01 08 01", "BusinessResponse.events.pages[0].num: given twice"},
    {"reason", ANSWER, "12 03 2a 01 ff", "BusinessResponse.revocation.reason: invalid UTF-8"},
    {"domain of a follow twice", FOLLOW, "0a 01 'a' 0a 01 'a'", "FollowRequest.domain: given twice"},
    {"root of a follow as text", FOLLOW, "12 01 'a'", "FollowRequest.root: byte 0: truncated fixed-size value"},
    {"edition of a follow", FOLLOW, "22 01 ff", "FollowRequest.edition: invalid UTF-8"},
    {"two selections", QUERY, "1a 00 2a 00", "Query.temporal: another field of its oneof is given too"},
    {"two moments", TEMPORAL, "0a 00 10 01", "TemporalQuery.as_of_sequence: another field of its oneof is given too"},
    {"upper twice", QUERY, "1a 04 10 01 10 01", "Query.range.upper: given twice"},
    {"nested length past its message, inside the whole", COMMAND, "0a 03 12 02 'a' 'bcdef'",
     "CommandBook.cover: byte 0: length past the end"},
    {"length past the end", COMMAND, "0a 05 12", "CommandBook: byte 0: length past the end"},
    {"group in a cover", EVENTS, "0a 02 0b 0c", "EventBook.cover: byte 0: group"},
    {"unknown group", EVENTS, "30 01 7b 7c", "EventBook: byte 2: group"},
    {"field number 0", COMMAND, "12 02 00 00", "CommandBook.pages[0]: byte 0: field number 0"},
    {"command of a request", SYNC, "0a 02 08 01", "SyncCommandBook.command.cover: wire type is not that of bytes"},
    {"unknown field cut off", ANY, "78", "Any: byte 0: truncated varint"},
};

static void good_and_bad_rows(void **state) {
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_slice s = bytes_of(rows[i].bytes);
        struct ang_err *er = parse(rows[i].frame, s);

        if (rows[i].says == NULL && er != NULL)
            fail_msg("%s: refused: %s", rows[i].what, er->msg);
        if (rows[i].says != NULL && er == NULL)
            fail_msg("%s: accepted, wanted %s", rows[i].what, rows[i].says);
        if (er != NULL) {
            assert_int_equal(er->code, ANG_E_WIRE);
            if (strcmp(er->msg, rows[i].says) != 0)
                fail_msg("%s: got \"%s\", wanted \"%s\"", rows[i].what, er->msg, rows[i].says);
        }
        ang_err_free(&er);
        drop(s);
    }
}

static void a_command_book_is_read(void **state) {
    struct ang_slice s = bytes_of("12 0b 08 07 1a 07 0a 01 'T' 12 02 'pq' 12 02 08 08"
                                  "0a 11 0a 04 0a 02 'rt' 12 01 'd' 1a 01 'c' 22 03 0a 01 'e'"
                                  "22 09 0a 01 's' 12 02 12 00 18 05 7a 01 'u'");
    struct ang_wire_command_book b;
    struct ang_wire_command_page page;
    struct ang_wire_iter it;

    assert_null(ang_wire_parse_command_book(s, &b));
    assert_true(b.cover.present && b.cover.has_root);
    assert_true(ang_slice_is(b.cover.root, "rt"));
    assert_true(ang_slice_is(b.cover.domain, "d"));
    assert_true(ang_slice_is(b.cover.correlation_id, "c"));
    assert_true(ang_slice_is(b.cover.edition, "e"));
    assert_bytes("edition", b.cover.edition_raw, "0a 01 'e'");
    assert_bytes("before the id", b.cover.rest[0], "0a 04 0a 02 'rt' 12 01 'd'");
    assert_bytes("after the id", b.cover.rest[1], "22 03 0a 01 'e'");
    assert_int_equal(b.n_pages, 2);
    assert_int_equal(b.first.sequence, 7);
    assert_true(ang_slice_is(b.first.command.type_url, "T"));
    assert_true(ang_slice_is(b.first.command.value, "pq"));
    assert_true(b.pages_alone);
    assert_bytes("pages", b.pages, "12 0b 08 07 1a 07 0a 01 'T' 12 02 'pq' 12 02 08 08");
    assert_true(ang_slice_is(b.saga_origin.saga_name, "s"));
    assert_true(b.saga_origin.cover.present && !b.saga_origin.cover.has_root);
    assert_int_equal(b.saga_origin.sequence, 5);
    it = ang_wire_iter_of(b.pages);
    assert_true(ang_wire_command_pages_next(&it, &page));
    assert_true(ang_wire_command_pages_next(&it, &page));
    assert_int_equal(page.sequence, 8);
    assert_null(page.command.raw.p);
    assert_false(ang_wire_command_pages_next(&it, &page));
    drop(s);
}

static void an_event_book_is_read(void **state) {
    struct ang_slice s = bytes_of("1a 00 1a 02 08 04 30 09 1a 02 10 01 1a 08 08 05 1a 04 08 02 10 03"
                                  "12 09 10 03 1a 05 0a 01 'S' 12 00 2a 03 0a 01 'N'");
    struct ang_wire_event_book b;
    struct ang_wire_event_page page;
    struct ang_wire_iter it;

    assert_null(ang_wire_parse_event_book(s, &b));
    assert_false(b.cover.present);
    assert_int_equal(b.n_pages, 4);
    assert_int_equal(b.n_numbered, 2);
    assert_int_equal(b.first_num, 4);
    assert_int_equal(b.last_num, 5);
    assert_true(b.has_next_sequence);
    assert_int_equal(b.next_sequence, 9);
    assert_false(b.pages_alone);
    assert_int_equal(b.snapshot.sequence, 3);
    assert_true(ang_slice_is(b.snapshot.state.type_url, "S"));
    assert_true(b.snapshot.state.value.p != NULL && b.snapshot.state.value.n == 0);
    assert_true(ang_slice_is(b.snapshot_state.type_url, "N"));
    assert_null(b.snapshot_state.value.p);

    it = ang_wire_iter_of(b.pages);
    assert_true(ang_wire_event_pages_next(&it, &page));
    assert_true(!page.has_num && !page.has_force && page.event.raw.p == NULL && page.created_at.raw.p == NULL);
    assert_true(ang_wire_event_pages_next(&it, &page));
    assert_true(page.has_num && page.num == 4);
    assert_true(ang_wire_event_pages_next(&it, &page));
    assert_true(page.has_force && page.force && !page.has_num);
    assert_true(ang_wire_event_pages_next(&it, &page));
    assert_int_equal(page.created_at.seconds, 2);
    assert_int_equal(page.created_at.nanos, 3);
    assert_false(ang_wire_event_pages_next(&it, &page));
    drop(s);
}

static void a_query_is_read(void **state) {
    static const struct {
        const char *bytes;
        enum ang_wire_selection selection;
        uint32_t lower, upper;
        bool has_upper;
        const char *values;
        enum ang_wire_moment moment;
    } q[] = {
        {"0a 00", ANG_SELECT_ALL, 0, 0, false, "", ANG_MOMENT_NONE},
        {"1a 00", ANG_SELECT_RANGE, 0, 0, false, "", ANG_MOMENT_NONE},
        {"1a 02 10 00", ANG_SELECT_RANGE, 0, 0, true, "", ANG_MOMENT_NONE},
        {"1a 04 08 03 10 07", ANG_SELECT_RANGE, 3, 7, true, "", ANG_MOMENT_NONE},
        {"22 00", ANG_SELECT_SEQUENCES, 0, 0, false, "", ANG_MOMENT_NONE},
        {"22 0b 08 09 0a 03 ac 02 01 0a 00 08 01", ANG_SELECT_SEQUENCES, 0, 0, false, "9 300 1 1 ", ANG_MOMENT_NONE},
        {"2a 00", ANG_SELECT_TEMPORAL, 0, 0, false, "", ANG_MOMENT_NONE},
        {"2a 02 10 00", ANG_SELECT_TEMPORAL, 0, 0, false, "", ANG_MOMENT_SEQUENCE},
        {"2a 04 0a 02 08 05", ANG_SELECT_TEMPORAL, 0, 0, false, "", ANG_MOMENT_TIME},
    };

    for (size_t i = 0; i < ANG_COUNT(q); i++) {
        struct ang_slice s = bytes_of(q[i].bytes);
        struct ang_wire_sequences seq;
        struct ang_wire_query got;
        char values[64] = "";
        uint32_t v, n = 0;

        assert_null(ang_wire_parse_query(s, &got));
        assert_int_equal(got.selection, q[i].selection);
        assert_int_equal(got.lower, q[i].lower);
        assert_int_equal(got.upper, q[i].upper);
        assert_int_equal(got.has_upper, q[i].has_upper);
        assert_int_equal(got.temporal.moment, q[i].moment);
        for (seq = ang_wire_sequences_of(&got); ang_wire_sequences_next(&seq, &v); n++)
            snprintf(values + strlen(values), sizeof(values) - strlen(values), "%u ", v);
        assert_string_equal(values, q[i].values);
        assert_int_equal(got.n_sequences, n);
        drop(s);
    }
}

static void an_answer_is_read(void **state) {
    struct ang_slice none = ANG_SLICE_NONE, events = bytes_of("0a 02 1a 00"),
                     no = bytes_of("12 07 10 01 20 01 2a 01 'n'");
    struct ang_wire_business_response r;

    assert_null(ang_wire_parse_business_response(none, &r));
    assert_int_equal(r.result, ANG_RESULT_NONE);
    assert_null(ang_wire_parse_business_response(events, &r));
    assert_int_equal(r.result, ANG_RESULT_EVENTS);
    assert_int_equal(r.events.n_pages, 1);
    assert_null(ang_wire_parse_business_response(no, &r));
    assert_int_equal(r.result, ANG_RESULT_REVOCATION);
    assert_true(r.revocation.send_to_dead_letter_queue && r.revocation.abort);
    assert_false(r.revocation.emit_system_revocation || r.revocation.escalate);
    assert_true(ang_slice_is(r.revocation.reason, "n"));
    drop(events);
    drop(no);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_and_bad_rows),     cmocka_unit_test(a_command_book_is_read),
        cmocka_unit_test(an_event_book_is_read), cmocka_unit_test(a_query_is_read),
        cmocka_unit_test(an_answer_is_read),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
