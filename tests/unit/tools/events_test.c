/* Stored events in words: our own types stand in for users' payloads. */
#include "kit.h"

#include "tools/events.h"

static const struct ang_uuid root = {
    {0x0c, 0x1f, 0x0a, 0x52, 0x6c, 0x3b, 0x4b, 0x0e, 0x9f, 0x0a, 0x3d, 0x7f, 0x9a, 0x1c, 0x2b, 0x4d}};
#define ROOT "0c1f0a52-6c3b-4b0e-9f0a-3d7f9a1c2b4d"
#define NOON 1769860800

static void put_page(struct ang_buf *book, uint32_t num, const char *type, struct ang_slice value) {
    struct ang_buf page = {NULL, 0, 0};

    ang_wire_put_uint(&page, 1, num);
    ang_wire_put_timestamp(&page, 3, NOON, 123456789);
    if (type != NULL)
        ang_wire_put_any(&page, 4, ang_slice_str(type), value);
    ang_wire_put_bytes(book, 3, ang_buf_slice(&page));
    ang_buf_fini(&page);
}

/* Events 5 (a Cover of the domain "x"), 6 (bytes that are none), 7 (no payload). */
static struct ang_buf book_of(const char *domain, const char *edition, const char *correlation) {
    struct ang_buf book = {NULL, 0, 0};

    tool_put_cover(&book, 1, &(struct tool_cover){domain, &root, correlation, edition});
    put_page(&book, 5, "type.googleapis.com/angzarr.Cover", ang_slice_str("\x12\x01x"));
    put_page(&book, 6, "type.googleapis.com/angzarr.Cover", ang_slice_str("\xff"));
    put_page(&book, 7, NULL, ANG_SLICE_NONE);
    ang_wire_put_uint(&book, 6, 9);
    return (book);
}

static struct ang_wire_event_book frame_of(const struct ang_buf *bytes) {
    struct ang_wire_event_book book;
    struct ang_err *er = ang_wire_parse_event_book(ang_buf_slice(bytes), &book);

    if (er != NULL)
        fail_msg("%s", er->msg);
    return (book);
}

static void a_cover_is_written_and_judged(void **state) {
    static const struct {
        struct tool_cover c;
        bool wanted;
    } rows[] = {
        {{"other", NULL, NULL, NULL}, true}, /* domain and root are the server's to look at */
        {{NULL, NULL, "c-1", NULL}, true},   {{NULL, NULL, "c-2", NULL}, false}, {{NULL, NULL, NULL, "e"}, true},
        {{NULL, NULL, NULL, "f"}, false},    {{NULL, NULL, "c-1", "e"}, true},
    };
    struct ang_buf bytes = book_of("x", "e", "c-1");
    const struct ang_wire_event_book book = frame_of(&bytes);
    struct ang_buf name = {NULL, 0, 0};

    (void)state;
    assert_memory_equal(book.cover.root.p, root.b, 16);
    assert_true(ang_slice_is(book.cover.domain, "x") && ang_slice_is(book.cover.edition, "e"));
    assert_true(ang_slice_is(book.cover.correlation_id, "c-1"));
    for (size_t i = 0; i < ANG_COUNT(rows); i++)
        if (tool_cover_wants(&rows[i].c, &book.cover) != rows[i].wanted)
            fail_msg("row %zu", i);
    tool_aggregate(&book.cover, &name);
    assert_string_equal((char *)name.p, "x/" ROOT "@e");
    ang_buf_fini(&name);
    ang_buf_fini(&bytes);
}

static void print_lines(void *arg) {
    const struct ang_wire_event_book *book = arg;
    struct ang_wire_iter it = ang_wire_iter_of(book->pages);
    struct ang_wire_event_page page;

    while (ang_wire_event_pages_next(&it, &page))
        assert_int_equal(tool_event_line(page.num == 5 ? "x/y" : NULL, &page), ANG_TOOL_DONE);
}

static void events_as_lines(void **state) {
    struct ang_buf bytes = book_of("x", NULL, NULL);
    struct ang_wire_event_book book = frame_of(&bytes);
    char *lines = kit_printed(1, print_lines, &book);

    (void)state;
    assert_string_equal(lines, "2026-01-31T12:00:00.123Z  x/y    5  angzarr.Cover  {\"domain\":\"x\"}\n"
                               "2026-01-31T12:00:00.123Z    6  angzarr.Cover  (1 bytes that are no angzarr.Cover)\n"
                               "2026-01-31T12:00:00.123Z    7  -  \n");
    free(lines);
    ang_buf_fini(&bytes);
}

static void print_tables(void *arg) {
    struct tool_books books = {.headings = true};
    struct ang_buf *bytes = arg;

    for (int i = 0; i < 2; i++) {
        const struct ang_wire_event_book book = frame_of(&bytes[i]);
        assert_int_equal(tool_books_add(&books, &book), ANG_TOOL_DONE);
        assert_int_equal(tool_books_add(&books, &book), ANG_TOOL_DONE); /* more of the same */
    }
    tool_books_end(&books);
    assert_int_equal(books.events, 12);
}

static size_t count(const char *text, const char *what) {
    size_t n = 0;

    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return (n);
}

static void books_as_tables(void **state) {
    struct ang_buf bytes[] = {book_of("x", NULL, NULL), book_of("y", "e", NULL)};
    char *text = kit_printed(1, print_tables, bytes);

    (void)state;
    assert_true(strncmp(text, "x/" ROOT "\nSEQ  TIME ", strlen("x/" ROOT "\nSEQ  TIME ")) == 0);
    assert_int_equal(count(text, "\nSEQ "), 2);
    assert_int_equal(count(text, "\n  5  2026-01-31T12:00:00.123Z  angzarr.Cover  {\"domain\":\"x\"}\n"), 4);
    assert_int_equal(count(text, "next sequence 9\n\ny/" ROOT "@e\n"), 1);
    assert_int_equal(count(text, "next sequence 9\n"), 2);
    free(text);
    ang_buf_fini(&bytes[0]);
    ang_buf_fini(&bytes[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cover_is_written_and_judged),
        cmocka_unit_test(events_as_lines),
        cmocka_unit_test(books_as_tables),
    };

    tool.usage = &kit_usage;
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
