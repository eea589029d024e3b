/* The configuration, for those who need one, and where the gateway is. */
#include <stdlib.h>
#include <unistd.h>

#include "tools/tool.h"

#define DEFAULT_GATEWAY "127.0.0.1:1316"

static bool named(void) {
    return (tool.config != NULL || getenv("ANGZARR_CONFIG") != NULL || access("angzarr.yaml", F_OK) == 0);
}

int tool_settings(bool needed) {
    struct ang_err *er;

    if (tool.settings != NULL || (!needed && !named()))
        return (ANG_TOOL_DONE);
    er = ang_settings_load(tool.config, &tool.settings);
    return (er == NULL ? ANG_TOOL_DONE : tool_fail(&er));
}

/* What a server listens at, as one of the same machine reaches it: "0.0.0.0:1316" -> "127.0.0.1:1316". */
static const char *reachable(const char *listen) {
    static const char *const every[] = {"0.0.0.0:", "[::]:", "*:"};
    static char *made; /* one per run */

    for (size_t i = 0; i < ANG_COUNT(every); i++)
        if (strncmp(listen, every[i], strlen(every[i])) == 0) {
            free(made);
            made = ang_sprintf("127.0.0.1:%s", listen + strlen(every[i]));
            return (made);
        }
    return (listen);
}

const char *tool_gateway(int *ret_rc) {
    *ret_rc = ANG_TOOL_DONE;
    if (tool.address != NULL)
        return (tool.address);
    *ret_rc = tool_settings(false);
    if (*ret_rc != ANG_TOOL_DONE)
        return (NULL);
    return (tool.settings == NULL ? DEFAULT_GATEWAY : reachable(tool.settings->gateway.address));
}
