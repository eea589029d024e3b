/* Which tools there are. */
#include "tools/tool.h"

const struct ang_tool ang_tools[] = {
    {"send", "sends a command", tool_send},
    {"query", "shows stored events", tool_query},
    {"tail", "shows events as they come", tool_tail},
    {"topics", "the topics in the log: list, check, create", tool_topics},
    {"inspect", "a record, or all records of an aggregate, decoded", tool_inspect},
    {"status", "who is there, who serves which partition, and how far they are", tool_status},
    {NULL, NULL, NULL}, /* ends it */
};
const size_t ang_n_tools = ANG_COUNT(ang_tools) - 1;
