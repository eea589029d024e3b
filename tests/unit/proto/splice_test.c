#include "test.h"

static const struct {
    const char *what, *in, *id, *out;
} covers[] = {
    {"replaced where it stood", "12 01 'd' 1a 01 'x' 22 00", "'new'", "12 01 'd' 1a 03 'new' 22 00"},
    {"added at the end", "12 01 'd' 78 05", "'c'", "12 01 'd' 78 05 1a 01 'c'"},
    {"taken away", "12 01 'd' 1a 01 'x' 78 05", "", "12 01 'd' 78 05"},
    {"unknown fields stay", "78 01 1a 01 'x' 7a 01 ff", "'c'", "78 01 1a 01 'c' 7a 01 ff"},
    {"of an empty cover", "", "'c'", "1a 01 'c'"},
};

static void a_cover_gets_another_id(void **state) {
    for (size_t i = 0; i < ANG_COUNT(covers); i++) {
        struct ang_slice in = bytes_of(covers[i].in), id = bytes_of(covers[i].id);
        struct ang_wire_cover cover;
        struct ang_wire_field f;
        struct ang_buf b = {0};

        assert_null(ang_wire_parse_cover(in, &cover));
        ang_wire_add_cover(&b, &cover, id);
        assert_bytes(covers[i].what, ang_buf_slice(&b), covers[i].out);
        ang_buf_clear(&b);
        ang_wire_put_cover(&b, 7, &cover, id);
        assert_true(ang_wire_find(ang_buf_slice(&b), 7, &f));
        assert_int_equal(f.raw.n, b.n);
        assert_bytes(covers[i].what, f.bytes, covers[i].out);
        ang_buf_fini(&b);
        drop(in);
        drop(id);
    }
}

static const struct {
    const char *what, *in, *id, *out;
} books[] = {
    {"cover first, the rest in order", "78 01 0a 03 12 01 'd' 12 00 7a 01 'u'", "'c'",
     "0a 06 12 01 'd' 1a 01 'c' 78 01 12 00 7a 01 'u'"},
    {"no cover", "12 00", "'c'", "0a 03 1a 01 'c' 12 00"},
    {"no cover, no id", "12 00", "", "12 00"},
    {"same id", "0a 03 1a 01 'c'", "'c'", "0a 03 1a 01 'c'"},
};

static void a_command_book_gets_an_id(void **state) {
    for (size_t i = 0; i < ANG_COUNT(books); i++) {
        struct ang_slice in = bytes_of(books[i].in), id = bytes_of(books[i].id);
        struct ang_wire_command_book book;
        struct ang_buf b = {0};

        assert_null(ang_wire_parse_command_book(in, &book));
        ang_wire_add_command_book(&b, &book, id);
        assert_bytes(books[i].what, ang_buf_slice(&b), books[i].out);
        ang_buf_fini(&b);
        drop(in);
        drop(id);
    }
}

static void facts_travel_as_a_command_book(void **state) {
    struct ang_slice cover = bytes_of("12 01 'd'"), events = bytes_of("1a 02 08 05");
    struct ang_wire_command_book book;
    struct ang_wire_event_book inside;
    struct ang_buf b = {0};

    ang_wire_add_record(&b, cover, events);
    assert_null(ang_wire_parse_command_book(ang_buf_slice(&b), &book));
    assert_true(ang_slice_eq(book.cover.raw, cover));
    assert_int_equal(book.n_pages, 1);
    assert_true(ang_slice_is(ang_wire_type_name(book.first.command.type_url), "angzarr.EventBook"));
    assert_true(ang_slice_eq(book.first.command.value, events));
    assert_null(ang_wire_parse_event_book(book.first.command.value, &inside));
    assert_int_equal(inside.first_num, 5);
    ang_buf_fini(&b);
    drop(cover);
    drop(events);
}

static const struct {
    const char *what, *in, *out;
} pages[] = {
    {"bare event", "22 00", "1a 08 08 2a 1a 02 08 05 22 00"},
    {"another number", "08 07 22 00", "1a 08 08 2a 1a 02 08 05 22 00"},
    {"force becomes a number", "22 00 10 01", "1a 08 08 2a 1a 02 08 05 22 00"},
    {"its own time stays", "1a 02 08 01 22 00", "1a 08 08 2a 1a 02 08 01 22 00"},
    {"an empty time is a time", "1a 00", "1a 04 08 2a 1a 00"},
    {"unknown fields stay", "78 01 08 07 7a 01 'u'", "1a 0b 08 2a 1a 02 08 05 78 01 7a 01 'u'"},
    {"empty page", "", "1a 06 08 2a 1a 02 08 05"},
};

static void a_page_is_numbered_and_dated(void **state) {
    const struct ang_wire_stamp stamp = {42, 5, 0};

    for (size_t i = 0; i < ANG_COUNT(pages); i++) {
        struct ang_slice in = bytes_of(pages[i].in);
        struct ang_wire_event_page page;
        struct ang_buf b = {0};

        assert_null(ang_wire_parse_event_page(in, &page));
        ang_wire_put_event_page(&b, 3, &page, &stamp);
        assert_bytes(pages[i].what, ang_buf_slice(&b), pages[i].out);
        ang_buf_fini(&b);
        drop(in);
    }
}

static void number_0_is_written(void **state) {
    const struct ang_wire_stamp stamp = {0, 0, 0};
    struct ang_wire_event_page page;
    struct ang_buf b = {0};

    assert_null(ang_wire_parse_event_page(ANG_SLICE_NONE, &page));
    ang_wire_put_event_page(&b, 3, &page, &stamp);
    assert_bytes("page", ang_buf_slice(&b), "1a 04 08 00 1a 00");
    ang_buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cover_gets_another_id),
        cmocka_unit_test(a_command_book_gets_an_id),
        cmocka_unit_test(facts_travel_as_a_command_book),
        cmocka_unit_test(a_page_is_numbered_and_dated),
        cmocka_unit_test(number_0_is_written),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
