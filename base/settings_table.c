/* settings.tbl.h as data. */
#include <stdio.h>
#include <stdlib.h>

#include "base/settings_priv.h"

#define C_STRING   char *
#define C_INT      int
#define C_BOOL     bool
#define C_DURATION int64_t
#define C_SIZE     int64_t
#define C_LISTEN   char *
#define C_TARGET   char *

/* The C type of the field fits the type of the row.  Enums are compared by size: each has a type of its own. */
#define FITS(object, field, type)                                                                                      \
    _Static_assert(ANG_SET_##type == ANG_SET_ENUM                                                                      \
                       ? sizeof(((object *)0)->field) == sizeof(unsigned)                                              \
                       : __builtin_types_compatible_p(__typeof__(((object *)0)->field), C_##type),                     \
                   #field)
#define C_ENUM unsigned

#define ANG_SECTION(name, help)
#define ANG_SETTING(section, key, type, field, dflt, limits, env, help) FITS(struct ang_settings, field, type);
#define ANG_BUSINESS(key, type, field, dflt, limits, help)              FITS(struct ang_set_business, field, type);
#include "base/settings.tbl.h"
#undef ANG_SECTION
#undef ANG_SETTING
#undef ANG_BUSINESS

#define IN(from, to) .low = (from), .high = (to)
#define WORDS(...)                                                                                                     \
    .words = (const char *const[]) {                                                                                   \
        __VA_ARGS__, NULL                                                                                              \
    }
#define MATCH(what) .match = (what)
#define NOTHING     .match = ANG_MATCH_ANY

const struct ang_set_row ang_set_rows[] = {
#define ANG_SECTION(name, help)
#define ANG_SETTING(sec, name, kind, field, deflt, limits, short_name, text)                                           \
    {.section = #sec,                                                                                                  \
     .key = #name,                                                                                                     \
     .type = ANG_SET_##kind,                                                                                           \
     .offset = offsetof(struct ang_settings, field),                                                                   \
     .dflt = (deflt),                                                                                                  \
     limits,                                                                                                           \
     .env = (short_name),                                                                                              \
     .help = (text)},
#define ANG_BUSINESS(key, type, field, dflt, limits, help)
#include "base/settings.tbl.h"
#undef ANG_SECTION
#undef ANG_SETTING
#undef ANG_BUSINESS
};
const size_t ang_set_n_rows = ANG_COUNT(ang_set_rows);
_Static_assert(ANG_COUNT(ang_set_rows) <= ANG_SET_ROWS_MAX, "room to remember where each row was set");

const struct ang_set_row ang_set_business_rows[] = {
#define ANG_SECTION(name, help)
#define ANG_SETTING(section, key, type, field, dflt, limits, env, help)
#define ANG_BUSINESS(name, kind, field, deflt, limits, text)                                                           \
    {.section = "business_logic",                                                                                      \
     .key = #name,                                                                                                     \
     .type = ANG_SET_##kind,                                                                                           \
     .offset = offsetof(struct ang_set_business, field),                                                               \
     .dflt = (deflt),                                                                                                  \
     limits,                                                                                                           \
     .help = (text)},
#include "base/settings.tbl.h"
#undef ANG_SECTION
#undef ANG_SETTING
#undef ANG_BUSINESS
};
const size_t ang_set_n_business_rows = ANG_COUNT(ang_set_business_rows);

const struct ang_set_section ang_set_sections[] = {
#define ANG_SECTION(name, help) {#name, help},
#define ANG_SETTING(section, key, type, field, dflt, limits, env, help)
#define ANG_BUSINESS(key, type, field, dflt, limits, help)
#include "base/settings.tbl.h"
#undef ANG_SECTION
#undef ANG_SETTING
#undef ANG_BUSINESS
};
const size_t ang_set_n_sections = ANG_COUNT(ang_set_sections);

const struct ang_set_row *ang_set_find(const char *section, const char *key) {
    for (size_t i = 0; i < ang_set_n_rows; i++)
        if (strcmp(ang_set_rows[i].section, section) == 0 && strcmp(ang_set_rows[i].key, key) == 0)
            return (&ang_set_rows[i]);
    return (NULL);
}

const struct ang_set_row *ang_set_find_business(const char *key) {
    for (size_t i = 0; i < ang_set_n_business_rows; i++)
        if (strcmp(ang_set_business_rows[i].key, key) == 0)
            return (&ang_set_business_rows[i]);
    return (NULL);
}

/* ---- refused properties of librdkafka ---- */

static const struct {
    const char *name, *why;
} refused[] = {
#define ANG_REFUSED(name, why) {name, why},
#include "base/settings_refused.tbl.h"
#undef ANG_REFUSED
};

static bool glob(const char *pattern, const char *name) {
    size_t n = strlen(pattern), m = strlen(name);

    if (pattern[0] == '*')
        return (m >= n - 1 && strcmp(name + m - (n - 1), pattern + 1) == 0);
    if (pattern[n - 1] == '*')
        return (strncmp(name, pattern, n - 1) == 0);
    return (strcmp(name, pattern) == 0);
}

const char *ang_set_refused(const char *property) {
    for (size_t i = 0; i < ANG_COUNT(refused); i++)
        if (glob(refused[i].name, property))
            return (refused[i].why);
    return (NULL);
}

bool ang_set_refused_row(size_t i, const char **ret_name, const char **ret_why) {
    if (i >= ANG_COUNT(refused))
        return (false);
    *ret_name = refused[i].name;
    *ret_why = refused[i].why;
    return (true);
}

/* ---- what a row takes, in words ---- */

struct unit {
    const char *name;
    int64_t size;
};

static void number_text(const struct unit *units, size_t n_units, int64_t v, char *out, size_t size) {
    for (size_t i = n_units; i-- > 0;) {
        if (v % units[i].size == 0 && (v != 0 || i == 0)) {
            snprintf(out, size, "%lld%s", (long long)(v / units[i].size), units[i].name);
            return;
        }
    }
    ang_panic(__FILE__, __LINE__, __func__, "the first unit must be 1");
}

static char *describe_number(const struct ang_set_row *row, const char *what, const char *example) {
    static const struct unit durations[] = {
        {"ms", 1}, {"s", ANG_SECOND}, {"m", ANG_MINUTE}, {"h", ANG_HOUR}, {"d", ANG_DAY}};
    static const struct unit sizes[] = {{"", 1}, {"KiB", ANG_KIB}, {"MiB", ANG_MIB}, {"GiB", 1024 * ANG_MIB}};
    const struct unit *units = row->type == ANG_SET_DURATION ? durations : sizes;
    size_t n = row->type == ANG_SET_DURATION ? ANG_COUNT(durations) : row->type == ANG_SET_SIZE ? ANG_COUNT(sizes) : 1;
    char low[32], high[32];

    number_text(units, n, row->low, low, sizeof low);
    number_text(units, n, row->high, high, sizeof high);
    return (ang_sprintf("%s from %s to %s%s", what, low, high, example));
}

static char *describe_words(const struct ang_set_row *row) {
    struct ang_buf b = {NULL, 0, 0};

    for (size_t i = 0; row->words[i] != NULL; i++)
        ang_buf_addf(&b, "%s%s", i == 0 ? "" : row->words[i + 1] == NULL ? " or " : ", ", row->words[i]);
    ang_buf_add_u8(&b, '\0');
    return ((char *)b.p);
}

static const char *describe_match(enum ang_set_match match) {
    switch (match) {
    case ANG_MATCH_ANY:
    case ANG_MATCH_OR_EMPTY:
        return ("text");
    case ANG_MATCH_FILLED:
        return ("text that is not empty");
    case ANG_MATCH_DOMAIN:
        return ("a domain (a-z, 0-9, _ and -, first a letter or _, at most 64 characters)");
    case ANG_MATCH_PREFIX:
        return ("letters, digits, ., _ and -, at most 64 characters");
    case ANG_MATCH_ID:
        return ("letters, digits, ., _ and -, first a letter or digit, at most 128 characters");
    }
    ang_panic(__FILE__, __LINE__, __func__, "match out of range");
}

char *ang_set_describe(const struct ang_set_row *row) {
    const char *or_empty = row->match == ANG_MATCH_OR_EMPTY ? ", or \"\"" : "";

    switch (row->type) {
    case ANG_SET_STRING:
        return (ang_strdup(describe_match(row->match)));
    case ANG_SET_INT:
        return (describe_number(row, "a whole number", ""));
    case ANG_SET_BOOL:
        return (ang_strdup("true or false"));
    case ANG_SET_ENUM:
        return (describe_words(row));
    case ANG_SET_DURATION:
        return (describe_number(row, "a duration", " with its unit (ms, s, m, h, d)"));
    case ANG_SET_SIZE:
        return (describe_number(row, "a size", " (in bytes, KiB, MiB, GiB)"));
    case ANG_SET_LISTEN:
        return (ang_sprintf("host:port%s", or_empty));
    case ANG_SET_TARGET:
        return (ang_sprintf("host:port, unix:/path%s", or_empty));
    }
    ang_panic(__FILE__, __LINE__, __func__, "type out of range");
}

/* ---- did you mean ---- */

#define WORD_MAX 40

/* Edits that turn a into b, in one row of the usual table. */
static size_t distance(const char *a, const char *b) {
    size_t row[WORD_MAX + 1], n = strlen(a), m = strlen(b);

    if (n > WORD_MAX || m > WORD_MAX)
        return (WORD_MAX);
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return (row[m]);
}

const char *ang_set_nearest(const char *word, const char *const *names) {
    size_t best = strlen(word) < 5 ? 2 : 3; /* fewer edits than this are a slip */
    const char *nearest = NULL;

    for (; *names != NULL; names++) {
        size_t d = distance(word, *names);

        if (d < best) {
            best = d;
            nearest = *names;
        }
    }
    return (nearest);
}
