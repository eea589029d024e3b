/* Books as tables: of each aggregate its events, and its next sequence.
 *
 * Any number of events: a table is printed when it has ROWS of them, and goes on under new heads. */
#include <stdlib.h>

#include "tools/events.h"

#define ROWS 500

static const char *const heads[] = {"SEQ", "TIME", "TYPE", "PAYLOAD"};

static void print_rows(struct tool_books *b) {
    if (b->rows > 0)
        tool_table_print(b->table, 1);
    b->rows = 0;
}

static void end_aggregate(struct tool_books *b) {
    if (b->aggregate.n == 0)
        return;
    print_rows(b);
    printf("next sequence %u\n", b->next);
    fflush(stdout);
}

static void begin_aggregate(struct tool_books *b, const char *name) {
    if (b->headings)
        printf("%s%s\n", b->aggregate.n == 0 ? "" : "\n", name);
    ang_buf_clear(&b->aggregate);
    ang_buf_add(&b->aggregate, name, strlen(name) + 1);
}

static int add_page(struct tool_books *b, const struct ang_wire_event_page *page) {
    struct ang_buf type = {NULL, 0, 0}, json = {NULL, 0, 0};
    const int rc = tool_payload(&page->event, &type, &json);
    char num[16], time[32];

    if (rc == ANG_TOOL_DONE) {
        snprintf(num, sizeof num, "%u", page->num);
        tool_created_at(&page->created_at, time);
        tool_table_add(b->table, num, time, (const char *)type.p, (const char *)json.p, (char *)0);
        b->events++;
        if (++b->rows == ROWS)
            print_rows(b);
    }
    ang_buf_fini(&type);
    ang_buf_fini(&json);
    return (rc);
}

int tool_books_add(struct tool_books *b, const struct ang_wire_event_book *book) {
    struct ang_wire_iter it = ang_wire_iter_of(book->pages);
    struct ang_wire_event_page page;
    struct ang_buf name = {NULL, 0, 0};
    int rc = ANG_TOOL_DONE;

    if (b->table == NULL)
        b->table = tool_table_new(heads, ANG_COUNT(heads));
    tool_aggregate(&book->cover, &name);
    if (b->aggregate.n == 0 || strcmp((const char *)b->aggregate.p, (const char *)name.p) != 0) {
        end_aggregate(b);
        begin_aggregate(b, (const char *)name.p);
    }
    ang_buf_fini(&name);
    b->next = book->next_sequence;
    while (rc == ANG_TOOL_DONE && ang_wire_event_pages_next(&it, &page))
        rc = add_page(b, &page);
    return (rc);
}

void tool_books_end(struct tool_books *b) {
    end_aggregate(b);
    tool_table_free(b->table);
    ang_buf_fini(&b->aggregate);
    *b = (struct tool_books){.headings = b->headings, .events = b->events};
}
