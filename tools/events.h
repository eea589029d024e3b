/* Stored events in words, for the tools that show them: as lines, one by one, or as tables, aggregate by aggregate; and the covers that
 * requests name aggregates by.
 *
 * What stands in events comes from outside: nothing in it reaches the terminal that it would obey. */
#ifndef ANG_TOOL_EVENTS_H
#define ANG_TOOL_EVENTS_H

#include "base/uuid.h"
#include "proto/frame.h"
#include "tools/tool.h"

/* ---- what is asked about ---- */
struct tool_cover { /* NULL: not given */
    const char *domain;
    const struct ang_uuid *root;
    const char *correlation, *edition;
};
/* As field `number` of a message. */
void tool_put_cover(struct ang_buf *b, uint32_t number, const struct tool_cover *c);
/* A server that is given a root looks at that alone: what else was asked for is judged here, by the cover of a book. */
bool tool_cover_wants(const struct tool_cover *c, const struct ang_wire_cover *of_book);

/* ---- events ---- */
/* "customer/0c1f0a52-…", "customer/0c1f0a52-…@draft"; NUL-terminated, replaces what is in ret. */
void tool_aggregate(const struct ang_wire_cover *cover, struct ang_buf *ret);
/* Its type's name and its JSON, NUL-terminated, in place of what is in them.  A payload of which nobody knows the type is told by its
 * size, and that its type is not known is said once for each type. */
int tool_payload(const struct ang_wire_any *any, struct ang_buf *ret_type, struct ang_buf *ret_json);
/* "2026-01-31T12:00:00.123Z", or "-". */
void tool_created_at(const struct ang_wire_timestamp *at, char out[32]);
/* Prints an event as a line; the aggregate may be NULL. */
int tool_event_line(const char *aggregate, const struct ang_wire_event_page *page);
/* Prints a message of ours ("angzarr.EventBook") as a line of JSON. */
int tool_print_json(const char *type, struct ang_slice bytes);

/* ---- books as tables ---- */
struct tool_books { /* {.headings = …}; tool_books_end */
    bool headings;  /* set once: name the aggregates */
    struct tool_table *table;
    size_t rows;
    uint64_t events; /* so far */
    struct ang_buf aggregate;
    uint32_t next; /* of that aggregate */
};
/* Books of one aggregate come one after the other; prints what is complete. */
int tool_books_add(struct tool_books *b, const struct ang_wire_event_book *book);
/* Prints the rest. */
void tool_books_end(struct tool_books *b);

#endif
