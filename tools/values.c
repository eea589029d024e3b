/* What operands and options mean. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/uuid.h"
#include "proto/frame.h"
#include "proto/json.h"
#include "proto/types.h"
#include "tools/tool.h"

#define READ_MAX ((size_t)64 << 20)

bool tool_root(const char *text, struct ang_uuid *ret) {
    if (ang_uuid_parse(ang_slice_str(text), ret))
        return (true);
    (void)tool_misuse("\"%.80s\" is no root: expected a UUID like 0c1f0a52-6c3b-4b0e-9f0a-3d7f9a1c2b4d", text);
    return (false);
}

/* As protobuf's JSON mapping reads a Timestamp, and with the small letters and the space that RFC 3339 allows, too. */
bool tool_time(const char *text, int64_t *ret_us) {
    const struct ang_type *type = ang_types_message(ang_types_builtin(), ang_slice_str("google.protobuf.Timestamp"));
    struct ang_buf json = {NULL, 0, 0}, bytes = {NULL, 0, 0};
    struct ang_wire_timestamp at;
    struct ang_err *er;
    uint8_t *between, *last;

    ang_json_add_string(&json, ang_slice_str(text));
    between = json.p + sizeof("\"2026-01-31") - 1;
    last = json.p + json.n - sizeof("Z\"") + 1;
    if (last > between && (*between == 't' || *between == ' '))
        *between = 'T';
    if (*last == 'z')
        *last = 'Z';
    er = ang_json_parse(type, ang_buf_slice(&json), NULL, &bytes);
    if (er == NULL)
        er = ang_wire_parse_timestamp(ang_buf_slice(&bytes), &at);
    ang_buf_fini(&json);
    ang_buf_fini(&bytes);
    if (er != NULL || at.seconds < 0) {
        ang_err_free(&er);
        return (false);
    }
    *ret_us = at.seconds * 1000000 + at.nanos / 1000;
    return (true);
}

void tool_time_text(int64_t us, char out[32]) {
    const time_t s = (time_t)(us / 1000000);
    struct tm tm;
    char text[24];

    if (us < 0 || gmtime_r(&s, &tm) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        snprintf(out, 32, "?");
    else
        snprintf(out, 32, "%s.%03dZ", text, (int)(us / 1000 % 1000));
}

/* ---- files ---- */
static struct ang_err *failed(const char *path) {
    return (ang_err_new(ANG_E_CONFIG, "%s: cannot be read: %s", path, strerror(errno)));
}

static struct ang_err *read_all(int fd, const char *path, struct ang_buf *ret) {
    for (;;) {
        uint8_t *to = ang_buf_reserve(ret, 65536);
        const ssize_t n = read(fd, to, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return (failed(path));
        if (n == 0)
            return (NULL);
        ret->n += (size_t)n;
        if (ret->n > READ_MAX)
            return (ang_err_new(ANG_E_CONFIG, "%s: larger than %zu MiB", path, READ_MAX >> 20));
    }
}

struct ang_err *tool_read(const char *path, struct ang_buf *ret) {
    struct ang_err *er;
    int fd;

    if (strcmp(path, "-") == 0)
        return (read_all(STDIN_FILENO, "standard input", ret));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return (failed(path));
    er = read_all(fd, path, ret);
    close(fd);
    return (er);
}
