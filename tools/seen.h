/* How far each aggregate was printed: a stream that is taken up again begins before that, and nothing is printed twice. */
#ifndef ANG_TOOL_SEEN_H
#define ANG_TOOL_SEEN_H

#include "base/base.h"
#include "processor/table.h"
#include "proto/frame.h"

struct tool_seen { /* {0}; tool_seen_fini */
    struct ang_table table;
};
/* The first sequence of the cover's aggregate that was not printed.  Borrowed: until tool_seen_fini; for the caller to move on. */
uint32_t *tool_seen_next(struct tool_seen *s, const struct ang_wire_cover *cover);
void tool_seen_fini(struct tool_seen *s);

#endif
