/* Timestamp, Duration and the paths of a FieldMask as text, both ways. */
#include <stdio.h>
#include <time.h>

#include "proto/json_priv.h"

#define MIN_SECONDS  (-INT64_C(62135596800)) /* 0001-01-01T00:00:00Z */
#define MAX_SECONDS  INT64_C(253402300799)   /* 9999-12-31T23:59:59Z */
#define MAX_DURATION INT64_C(315576000000)   /* 10,000 years */
#define NANOS        1000000000

/* Nothing, or '.' and 3, 6 or 9 digits. */
static void add_fraction(struct ang_buf *b, int32_t nanos) {
    if (nanos == 0)
        return;
    if (nanos % 1000000 == 0)
        ang_buf_addf(b, ".%03d", nanos / 1000000);
    else if (nanos % 1000 == 0)
        ang_buf_addf(b, ".%06d", nanos / 1000);
    else
        ang_buf_addf(b, ".%09d", nanos);
}

const char *json_add_timestamp(struct ang_buf *b, int64_t seconds, int32_t nanos) {
    time_t t = (time_t)seconds;
    struct tm tm;

    if (seconds < MIN_SECONDS || seconds > MAX_SECONDS)
        return ("seconds outside the years 1 to 9999");
    if (nanos < 0 || nanos >= NANOS)
        return ("nanos outside 0 to 999999999");
    AN(gmtime_r(&t, &tm));
    ang_buf_addf(b, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                 tm.tm_min, tm.tm_sec);
    add_fraction(b, nanos);
    ang_buf_add_u8(b, 'Z');
    return (NULL);
}

const char *json_add_duration(struct ang_buf *b, int64_t seconds, int32_t nanos) {
    bool negative = seconds < 0 || nanos < 0;

    if (seconds < -MAX_DURATION || seconds > MAX_DURATION)
        return ("seconds outside 10,000 years");
    if (nanos <= -NANOS || nanos >= NANOS)
        return ("nanos outside -999999999 to 999999999");
    if (negative && (seconds > 0 || nanos > 0))
        return ("seconds and nanos of different signs");
    if (negative)
        ang_buf_add_u8(b, '-');
    json_add_i64(b, negative ? -seconds : seconds);
    add_fraction(b, negative ? -nanos : nanos);
    ang_buf_add_u8(b, 's');
    return (NULL);
}

/* ---- text: consumed from the front ---- */

static bool take(struct ang_slice *s, char c) {
    if (s->n == 0 || s->p[0] != (uint8_t)c)
        return (false);
    *s = ang_slice_of(s->p + 1, s->n - 1);
    return (true);
}

/* Exactly n digits. */
static bool take_number(struct ang_slice *s, size_t n, int *ret) {
    int v = 0;

    if (s->n < n)
        return (false);
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return (false);
        v = 10 * v + (s->p[i] - '0');
    }
    *s = ang_slice_of(s->p + n, s->n - n);
    *ret = v;
    return (true);
}

/* Nothing, or '.' and 1 to 9 digits. */
static bool take_fraction(struct ang_slice *s, int32_t *ret_nanos) {
    int32_t unit = NANOS;
    int digit;

    *ret_nanos = 0;
    if (!take(s, '.'))
        return (true);
    while (unit > 1 && take_number(s, 1, &digit)) {
        unit /= 10;
        *ret_nanos += digit * unit;
    }
    return (unit < NANOS);
}

/* Z, or +hh:mm, -hh:mm: what to subtract to come to UTC. */
static bool take_zone(struct ang_slice *s, int64_t *ret_offset) {
    int hours, minutes, sign = 1;

    *ret_offset = 0;
    if (take(s, 'Z'))
        return (true);
    if (take(s, '-'))
        sign = -1;
    else if (!take(s, '+'))
        return (false);
    if (!take_number(s, 2, &hours) || !take(s, ':') || !take_number(s, 2, &minutes) || hours > 23 || minutes > 59)
        return (false);
    *ret_offset = sign * (hours * 3600 + minutes * 60);
    return (true);
}

/* False also for a day that its month does not have. */
static bool take_date_time(struct ang_slice *s, int64_t *ret) {
    int year, month, day, hour, minute, second;
    struct tm tm = {0};

    if (!take_number(s, 4, &year) || !take(s, '-') || !take_number(s, 2, &month) || !take(s, '-') ||
        !take_number(s, 2, &day) || !take(s, 'T') || !take_number(s, 2, &hour) || !take(s, ':') ||
        !take_number(s, 2, &minute) || !take(s, ':') || !take_number(s, 2, &second))
        return (false);
    if (hour > 23 || minute > 59 || second > 59)
        return (false);
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day;
    tm.tm_hour = hour;
    tm.tm_min = minute;
    tm.tm_sec = second;
    *ret = (int64_t)timegm(&tm);
    return (tm.tm_mon == month - 1 && tm.tm_mday == day);
}

const char *json_to_timestamp(struct ang_slice text, int64_t *ret_seconds, int32_t *ret_nanos) {
    int64_t seconds, offset;
    int32_t nanos;

    if (!take_date_time(&text, &seconds) || !take_fraction(&text, &nanos) || !take_zone(&text, &offset) || text.n > 0)
        return ("not a time like 2006-01-02T15:04:05.999Z or 2006-01-02T15:04:05+01:00");
    seconds -= offset;
    if (seconds < MIN_SECONDS || seconds > MAX_SECONDS)
        return ("a time outside the years 1 to 9999");
    *ret_seconds = seconds;
    *ret_nanos = nanos;
    return (NULL);
}

const char *json_to_duration(struct ang_slice text, int64_t *ret_seconds, int32_t *ret_nanos) {
    static const char what[] = "not a duration like 1.5s";
    bool negative = take(&text, '-');
    uint64_t seconds;
    int32_t nanos;
    size_t n = 0;

    while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
        n++;
    if (!ang_slice_to_u64(ang_slice_of(text.p, n), &seconds))
        return (what);
    text = ang_slice_of(text.p + n, text.n - n);
    if (!take_fraction(&text, &nanos) || !take(&text, 's') || text.n > 0)
        return (what);
    if (seconds > MAX_DURATION)
        return ("a duration of more than 10,000 years");
    *ret_seconds = negative ? -(int64_t)seconds : (int64_t)seconds;
    *ret_nanos = negative ? -nanos : nanos;
    return (NULL);
}

/* ---- paths: what cannot be brought back is refused ---- */

const char *json_add_mask_path(struct ang_buf *b, struct ang_slice path) {
    bool capital = false;

    if (path.n == 0)
        return ("a path is empty");
    for (size_t i = 0; i < path.n; i++) {
        uint8_t c = path.p[i];

        if (capital && !(c >= 'a' && c <= 'z'))
            return ("a path has a '_' that no small letter follows");
        if ((c >= 'A' && c <= 'Z') || c == ',')
            return ("a path has a capital letter or a comma");
        if (c != '_')
            ang_buf_add_u8(b, capital ? (uint8_t)(c - 'a' + 'A') : c);
        capital = c == '_';
    }
    return (capital ? "a path ends with '_'" : NULL);
}

const char *json_to_mask_path(struct ang_buf *b, struct ang_slice text) {
    if (text.n == 0)
        return ("a path is empty");
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];

        if (c == '_')
            return ("a path has a '_': write it in lowerCamelCase");
        if (c >= 'A' && c <= 'Z') {
            ang_buf_add_u8(b, '_');
            c = (uint8_t)(c - 'A' + 'a');
        }
        ang_buf_add_u8(b, c);
    }
    return (NULL);
}
