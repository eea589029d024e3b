/* Which tools there are. */
#include "tools/tool.h"

const struct ang_tool ang_tools[] = {
    {NULL, NULL, NULL}, /* ends it */
};
const size_t ang_n_tools = ANG_COUNT(ang_tools) - 1;
