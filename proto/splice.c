/* Changing one thing in an encoded message and copying the rest: nothing is decoded, so nothing is lost. */
#include "proto/frame.h"

enum { COVER_CORRELATION_ID = 3, COMMAND_BOOK_COVER = 1, COMMAND_BOOK_PAGES = 2, COMMAND_PAGE_COMMAND = 3 };
enum { PAGE_NUM = 1, PAGE_CREATED_AT = 3 };
enum { ANY_TYPE_URL = 1, ANY_VALUE = 2 };

#define EVENT_BOOK_URL "type.googleapis.com/angzarr.EventBook"

static void add_rest(struct ang_buf *b, const struct ang_slice rest[2]) {
    ang_buf_add_slice(b, rest[0]);
    ang_buf_add_slice(b, rest[1]);
}

static size_t cover_len(const struct ang_wire_cover *cover, struct ang_slice id) {
    return (cover->rest[0].n + cover->rest[1].n + (id.n == 0 ? 0 : ang_wire_len_bytes(COVER_CORRELATION_ID, id.n)));
}

void ang_wire_add_cover(struct ang_buf *b, const struct ang_wire_cover *cover, struct ang_slice correlation_id) {
    ang_buf_add_slice(b, cover->rest[0]);
    if (correlation_id.n > 0)
        ang_wire_put_bytes(b, COVER_CORRELATION_ID, correlation_id);
    ang_buf_add_slice(b, cover->rest[1]);
}

void ang_wire_put_cover(struct ang_buf *b, uint32_t number, const struct ang_wire_cover *cover,
                        struct ang_slice correlation_id) {
    ang_wire_put_header(b, number, cover_len(cover, correlation_id));
    ang_wire_add_cover(b, cover, correlation_id);
}

void ang_wire_add_command_book(struct ang_buf *b, const struct ang_wire_command_book *book,
                               struct ang_slice correlation_id) {
    if (book->cover.present || correlation_id.n > 0)
        ang_wire_put_cover(b, COMMAND_BOOK_COVER, &book->cover, correlation_id);
    add_rest(b, book->rest);
}

void ang_wire_add_record(struct ang_buf *b, struct ang_slice cover, struct ang_slice event_book) {
    const struct ang_slice url = ang_slice_str(EVENT_BOOK_URL);
    const size_t any = ang_wire_len_bytes(ANY_TYPE_URL, url.n) + ang_wire_len_bytes(ANY_VALUE, event_book.n);

    ang_wire_put_bytes(b, COMMAND_BOOK_COVER, cover);
    ang_wire_put_header(b, COMMAND_BOOK_PAGES, ang_wire_len_bytes(COMMAND_PAGE_COMMAND, any));
    ang_wire_put_any(b, COMMAND_PAGE_COMMAND, url, event_book);
}

void ang_wire_put_event_page(struct ang_buf *b, uint32_t number, const struct ang_wire_event_page *page,
                             const struct ang_wire_stamp *stamp) {
    bool dated = page->created_at.raw.p != NULL;
    size_t n = ang_wire_len_uint(PAGE_NUM, stamp->num) + page->rest[0].n + page->rest[1].n;

    if (!dated)
        n += ang_wire_len_timestamp(PAGE_CREATED_AT, stamp->seconds, stamp->nanos);
    ang_wire_put_header(b, number, n);
    ang_wire_put_uint(b, PAGE_NUM, stamp->num);
    if (!dated)
        ang_wire_put_timestamp(b, PAGE_CREATED_AT, stamp->seconds, stamp->nanos);
    add_rest(b, page->rest);
}
