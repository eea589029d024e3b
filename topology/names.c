/* Names that callers may use (contract: validation). */
#include "topology/topology.h"

static bool lower_or_underscore(uint8_t c) {
    return ((c >= 'a' && c <= 'z') || c == '_');
}

static bool digit(uint8_t c) {
    return (c >= '0' && c <= '9');
}

bool ang_name_ok(struct ang_slice s) {
    size_t i;

    if (s.n == 0 || s.n > 64 || !lower_or_underscore(s.p[0]))
        return (false);
    for (i = 1; i < s.n; i++)
        if (!lower_or_underscore(s.p[i]) && !digit(s.p[i]) && s.p[i] != '-')
            return (false);
    return (true);
}

bool ang_correlation_ok(struct ang_slice s) {
    size_t i;

    if (s.n > 128)
        return (false);
    for (i = 0; i < s.n; i++)
        if (!lower_or_underscore(s.p[i]) && !digit(s.p[i]) && s.p[i] != '-' && !(s.p[i] >= 'A' && s.p[i] <= 'Z'))
            return (false);
    return (true);
}

bool ang_command_id_ok(struct ang_slice s) {
    size_t i;

    if (s.n == 0 || s.n > 128)
        return (false);
    for (i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e)
            return (false);
    return (true);
}
