/* What operands and options mean. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/uuid.h"
#include "tools/tool.h"

#define READ_MAX ((size_t)64 << 20)

bool tool_root(const char *text, struct ang_uuid *ret) {
    if (ang_uuid_parse(ang_slice_str(text), ret))
        return (true);
    (void)tool_misuse("\"%.80s\" is no root: expected a UUID like 0c1f0a52-6c3b-4b0e-9f0a-3d7f9a1c2b4d", text);
    return (false);
}

/* ---- RFC 3339 ---- */

/* Digits at *p, `n` of them. */
static bool digits(const char **p, int n, int *ret) {
    *ret = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return (false);
        *ret = *ret * 10 + (**p - '0');
    }
    return (true);
}

static bool sign(const char **p, char c) {
    if (**p != c)
        return (false);
    (*p)++;
    return (true);
}

/* ".123456789": what is below a microsecond is cut. */
static bool fraction(const char **p, int64_t *ret_us) {
    int64_t unit = 100000;

    *ret_us = 0;
    if (!sign(p, '.'))
        return (true);
    if (**p < '0' || **p > '9')
        return (false);
    for (; **p >= '0' && **p <= '9'; (*p)++, unit /= 10)
        *ret_us += unit * (**p - '0');
    return (true);
}

/* "Z" or "+01:00", to seconds. */
static bool zone(const char **p, int *ret_s) {
    int h, m;
    const char c = **p;

    *ret_s = 0;
    if (sign(p, 'Z') || sign(p, 'z'))
        return (true);
    if (!(sign(p, '+') || sign(p, '-')) || !digits(p, 2, &h) || !sign(p, ':') || !digits(p, 2, &m) || h > 23 || m > 59)
        return (false);
    *ret_s = (c == '-' ? -1 : 1) * (h * 3600 + m * 60);
    return (true);
}

static bool date_and_time(const char **p, struct tm *tm) {
    return (digits(p, 4, &tm->tm_year) && sign(p, '-') && digits(p, 2, &tm->tm_mon) && sign(p, '-') &&
            digits(p, 2, &tm->tm_mday) && (sign(p, 'T') || sign(p, 't') || sign(p, ' ')) &&
            digits(p, 2, &tm->tm_hour) && sign(p, ':') && digits(p, 2, &tm->tm_min) && sign(p, ':') &&
            digits(p, 2, &tm->tm_sec));
}

/* timegm makes the 2nd of March of the 30th of February: what comes back must be what went in. */
static bool exists(const struct tm *tm) {
    struct tm copy = *tm;
    const time_t t = timegm(&copy);
    struct tm back;

    return (gmtime_r(&t, &back) != NULL && back.tm_mon == tm->tm_mon && back.tm_mday == tm->tm_mday &&
            back.tm_hour == tm->tm_hour && back.tm_min == tm->tm_min && back.tm_sec == tm->tm_sec);
}

bool tool_time(const char *text, int64_t *ret_us) {
    struct tm tm = {.tm_isdst = 0};
    int64_t us;
    int offset;

    if (!date_and_time(&text, &tm) || !fraction(&text, &us) || !zone(&text, &offset) || *text != '\0')
        return (false);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (tm.tm_year < 70 || !exists(&tm))
        return (false);
    *ret_us = ((int64_t)timegm(&tm) - offset) * 1000000 + us;
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
