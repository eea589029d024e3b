/* One value: from text to a field, with its checks. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/settings_priv.h"

/* ---- messages ---- */

const char *ang_set_at_text(struct ang_set_at at, char buf[ANG_SET_AT_MAX]) {
    if (at.line > 0)
        snprintf(buf, ANG_SET_AT_MAX, "%s:%d", at.file, at.line);
    else
        snprintf(buf, ANG_SET_AT_MAX, "%s", at.file);
    return (buf);
}

struct ang_err *ang_set_err(struct ang_set_at at, const char *key, const char *fmt, ...) {
    struct ang_err *er;
    char where[ANG_SET_AT_MAX];
    char *msg;
    va_list ap;

    va_start(ap, fmt);
    ANG_ASSERT(vasprintf(&msg, fmt, ap) >= 0);
    va_end(ap);
    er = ang_err_new(ANG_E_CONFIG, "%s: %s%s%s", ang_set_at_text(at, where), key, *key == '\0' ? "" : ": ", msg);
    free(msg);
    return (er);
}

struct ang_err *ang_set_expected(struct ang_set_at at, const char *key, const struct ang_set_row *row,
                                 const char *got) {
    char *takes = ang_set_describe(row);
    struct ang_err *er = ang_set_err(at, key, "expected %s, got %s", takes, got);

    free(takes);
    return (er);
}

/* The value in quotes, shortened, without what would spoil a terminal. */
static struct ang_err *expected_text(struct ang_set_at at, const char *key, const struct ang_set_row *row,
                                     const char *text) {
    char got[100], *p = got;

    p += snprintf(got, sizeof got, "\"%.60s%s\"", text, strlen(text) > 60 ? "..." : "");
    while (p-- > got)
        if (iscntrl((unsigned char)*p))
            *p = '?';
    return (ang_set_expected(at, key, row, got));
}

/* ---- checks ---- */

static bool only(const char *s, const char *first, const char *rest, size_t max) {
    return (*s != '\0' && strchr(first, *s) != NULL && s[strspn(s, rest)] == '\0' && strlen(s) <= max);
}

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool matches(enum ang_set_match match, const char *s) {
    switch (match) {
    case ANG_MATCH_ANY:
    case ANG_MATCH_OR_EMPTY:
        return (true);
    case ANG_MATCH_FILLED:
        return (*s != '\0');
    case ANG_MATCH_DOMAIN:
        return (only(s, LOWER "_", LOWER DIGITS "_-", 64));
    case ANG_MATCH_PREFIX:
        return (*s == '\0' || only(s, LOWER UPPER DIGITS "._-", LOWER UPPER DIGITS "._-", 64));
    case ANG_MATCH_ID:
        return (*s == '\0' || only(s, LOWER UPPER DIGITS, LOWER UPPER DIGITS "._-", 128));
    }
    ang_panic(__FILE__, __LINE__, __func__, "match out of range");
}

/* name:port, 1.2.3.4:port, [v6]:port */
static bool host_port(const char *s, uint64_t low_port) {
    const char *colon = strrchr(s, ':');
    size_t n = colon == NULL ? 0 : (size_t)(colon - s);
    uint64_t port;

    if (n == 0 || n > 255 || !ang_slice_to_u64(ang_slice_str(colon + 1), &port) || port < low_port || port > 65535)
        return (false);
    if (s[0] == '[')
        return (n > 3 && s[n - 1] == ']' && strspn(s + 1, DIGITS "abcdefABCDEF:.") == n - 2);
    return (strspn(s, LOWER UPPER DIGITS "._-") == n);
}

static bool address(const struct ang_set_row *row, const char *s) {
    if (*s == '\0')
        return (row->match == ANG_MATCH_OR_EMPTY);
    if (row->type == ANG_SET_TARGET && strncmp(s, "unix:", 5) == 0)
        return (s[5] == '/' && strlen(s + 5) < 108); /* what fits into sun_path */
    return (host_port(s, row->type == ANG_SET_LISTEN ? 0 : 1));
}

/* Digits and a unit; at most 9 digits, so that no unit overflows. */
static bool number(const struct ang_set_row *row, const char *s, int64_t *ret_v) {
    static const struct {
        enum ang_set_type type;
        const char *unit;
        int64_t size;
    } units[] = {
        {ANG_SET_INT, "", 1},
        {ANG_SET_DURATION, "ms", 1},
        {ANG_SET_DURATION, "s", ANG_SECOND},
        {ANG_SET_DURATION, "m", ANG_MINUTE},
        {ANG_SET_DURATION, "h", ANG_HOUR},
        {ANG_SET_DURATION, "d", ANG_DAY},
        {ANG_SET_SIZE, "", 1},
        {ANG_SET_SIZE, "KiB", ANG_KIB},
        {ANG_SET_SIZE, "MiB", ANG_MIB},
        {ANG_SET_SIZE, "GiB", 1024 * ANG_MIB},
    };
    _Static_assert(INT64_MAX / (1024 * ANG_MIB) > 999999999, "9 digits times any unit");
    size_t digits = strspn(s, DIGITS);
    uint64_t v;

    if (digits > 9 || !ang_slice_to_u64(ang_slice_of(s, digits), &v))
        return (false);
    for (size_t i = 0; i < ANG_COUNT(units); i++) {
        if (units[i].type == row->type && strcmp(units[i].unit, s + digits) == 0) {
            int64_t n = (int64_t)v * units[i].size;

            if (n < row->low || n > row->high)
                return (false);
            *ret_v = n;
            return (true);
        }
    }
    return (false);
}

static bool word(const struct ang_set_row *row, const char *s, unsigned *ret_i) {
    for (unsigned i = 0; row->words[i] != NULL; i++) {
        if (strcmp(row->words[i], s) == 0) {
            *ret_i = i;
            return (true);
        }
    }
    return (false);
}

static void set_string(void *field, const char *text) {
    char **s = field;

    free(*s);
    *s = ang_strdup(text);
}

static bool store(const struct ang_set_row *row, void *field, const char *text) {
    int64_t v;

    switch (row->type) {
    case ANG_SET_STRING:
        if (!matches(row->match, text))
            return (false);
        set_string(field, text);
        return (true);
    case ANG_SET_LISTEN:
    case ANG_SET_TARGET:
        if (!address(row, text))
            return (false);
        set_string(field, text);
        return (true);
    case ANG_SET_INT:
        if (!number(row, text, &v))
            return (false);
        *(int *)field = (int)v;
        return (true);
    case ANG_SET_DURATION:
    case ANG_SET_SIZE:
        return (number(row, text, field));
    case ANG_SET_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return (false);
        *(bool *)field = (text[0] == 't');
        return (true);
    case ANG_SET_ENUM:
        return (word(row, text, field));
    }
    ang_panic(__FILE__, __LINE__, __func__, "type out of range");
}

struct ang_err *ang_set_store(const struct ang_set_row *row, void *base, struct ang_set_at at, const char *key,
                              const char *text) {
    if (!store(row, (char *)base + row->offset, text))
        return (expected_text(at, key, row, text));
    return (NULL);
}

/* ---- ${VAR} ---- */

/* One ${VAR}; *p stands behind the brace. */
static struct ang_err *expand_one(const char **p, struct ang_set_at at, const char *key, struct ang_buf *out) {
    size_t n = strspn(*p, LOWER UPPER DIGITS "_");
    const char *value;
    char *name;
    struct ang_err *er = NULL;

    if (n == 0 || (*p)[n] != '}' || strchr(DIGITS, **p) != NULL)
        return (ang_set_err(at, key, "expected ${NAME} with the name of an environment variable (write $${ for ${)"));
    name = ang_slice_dup_str(ang_slice_of(*p, n));
    value = getenv(name);
    if (value == NULL)
        er = ang_set_err(at, key, "${%s}: the environment variable %s is not set", name, name);
    else
        ang_buf_add_str(out, value);
    free(name);
    *p += n + 1;
    return (er);
}

struct ang_err *ang_set_expand(const char *text, struct ang_set_at at, const char *key, char **ret_text) {
    struct ang_buf out = {NULL, 0, 0};
    struct ang_err *er;
    const char *p = text;

    while (*p != '\0') {
        if (strncmp(p, "$${", 3) == 0) {
            ang_buf_add_str(&out, "${");
            p += 3;
        } else if (strncmp(p, "${", 2) == 0) {
            p += 2;
            er = expand_one(&p, at, key, &out);
            if (er != NULL) {
                ang_buf_fini(&out);
                return (er);
            }
        } else {
            ang_buf_add_u8(&out, (uint8_t)*p++);
        }
    }
    ang_buf_add_u8(&out, '\0');
    *ret_text = (char *)out.p;
    return (NULL);
}
