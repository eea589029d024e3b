/* What a Query selects of an aggregate's events, told page by page: the same for what is stored and for what comes later. */
#ifndef ANG_SELECT_H
#define ANG_SELECT_H

#include "proto/frame.h"

struct ang_select { /* borrows the query's bytes */
    struct ang_wire_query q;
    uint32_t *set; /* of ANG_SELECT_SEQUENCES, sorted */
    size_t n_set;
};
/* Takes what ang_wire_parse_query has accepted. */
void ang_select_init(struct ang_select *s, const struct ang_wire_query *q);
void ang_select_fini(struct ang_select *s);

bool ang_select_has(const struct ang_select *s, const struct ang_wire_event_page *page);
/* No page below it is selected. */
uint32_t ang_select_first(const struct ang_select *s);
/* Neither the page of that number is selected nor any behind it. */
bool ang_select_past(const struct ang_select *s, uint32_t num);
/* Appends the selected pages of the book as pages of another one. */
void ang_select_add(const struct ang_select *s, const struct ang_wire_event_book *book, struct ang_buf *out);

#endif
