/* What a Query selects of an aggregate's events, as the command line says it. */
#ifndef ANG_TOOL_SELECTION_H
#define ANG_TOOL_SELECTION_H

#include "tools/events.h"

struct tool_selection {
    struct tool_number from, to;
    const char *sequences; /* "1,2,5" */
    const char *as_of;     /* "17" or "2026-01-31T12:00:00Z" */
};
bool tool_selection_given(const struct tool_selection *s);
/* As fields of a Query.  An exit code, and words, when it is no selection, or more than one. */
int tool_put_selection(struct ang_buf *query, const struct tool_selection *s);
/* Events from that sequence on. */
void tool_put_from(struct ang_buf *query, uint32_t from);

#endif
