/* Inside base: the rows of settings.tbl.h as data, and the steps of loading. */
#ifndef ANG_SETTINGS_PRIV_H
#define ANG_SETTINGS_PRIV_H

#include <stddef.h>

#include "base/settings.h"
#include "base/slice.h"

#define ANG_KIB    INT64_C(1024)
#define ANG_MIB    (1024 * ANG_KIB)
#define ANG_SECOND INT64_C(1000)
#define ANG_MINUTE (60 * ANG_SECOND)
#define ANG_HOUR   (60 * ANG_MINUTE)
#define ANG_DAY    (24 * ANG_HOUR)

enum ang_set_type {
    ANG_SET_STRING,   /* char * */
    ANG_SET_INT,      /* int */
    ANG_SET_BOOL,     /* bool */
    ANG_SET_ENUM,     /* an enum; words in its order */
    ANG_SET_DURATION, /* int64_t, milliseconds: 500ms, 30s, 5m, 24h, 7d */
    ANG_SET_SIZE,     /* int64_t, bytes: 4096, 64KiB, 1MiB, 1GiB */
    ANG_SET_LISTEN,   /* char *, host:port, port 0 allowed */
    ANG_SET_TARGET    /* char *, host:port or unix:/path */
};

enum ang_set_match {
    ANG_MATCH_ANY,
    ANG_MATCH_FILLED,   /* at least one character */
    ANG_MATCH_OR_EMPTY, /* an address, or nothing */
    ANG_MATCH_DOMAIN,   /* [a-z_][a-z0-9_-]*, at most 64 */
    ANG_MATCH_PREFIX,   /* what a topic name may hold, at most 64, may be empty */
    ANG_MATCH_ID        /* may be a folder's name and part of a transactional id; empty: worked out */
};

struct ang_set_row {
    const char *section, *key;
    enum ang_set_type type;
    size_t offset;    /* in struct ang_settings, or in struct ang_set_business */
    const char *dflt; /* NULL: must be given */
    int64_t low, high;
    const char *const *words; /* NULL-terminated */
    enum ang_set_match match;
    const char *env;
    const char *help;
};

struct ang_set_section {
    const char *name, *help;
};

extern const struct ang_set_row ang_set_rows[], ang_set_business_rows[];
extern const struct ang_set_section ang_set_sections[];
extern const size_t ang_set_n_rows, ang_set_n_business_rows, ang_set_n_sections;
#define ANG_SET_ROWS_MAX 64

/* NULL: there is none. */
const struct ang_set_row *ang_set_find(const char *section, const char *key);
const struct ang_set_row *ang_set_find_business(const char *key);

/* Why log.kafka refuses a property; NULL: it does not. */
const char *ang_set_refused(const char *property);
/* The i-th refused name and its reason; false past the last. */
bool ang_set_refused_row(size_t i, const char **ret_name, const char **ret_why);

/* Where a value stands, for messages: "angzarr.yaml:12", or "environment ANGZARR__WORKER__LANES". */
struct ang_set_at {
    const char *file;
    int line; /* 0: none */
};
#define ANG_SET_AT_MAX 400
const char *ang_set_at_text(struct ang_set_at at, char buf[ANG_SET_AT_MAX]);

/* "file:line: key: <fmt>", a CONFIG error. */
struct ang_err *ang_set_err(struct ang_set_at at, const char *key, const char *fmt, ...) ANG_PRINTF(3, 4) ANG_MUST_USE;
/* "file:line: key: expected <what row takes>, got <got>". */
struct ang_err *ang_set_expected(struct ang_set_at at, const char *key, const struct ang_set_row *row,
                                 const char *got) ANG_MUST_USE;

/* Checks text against row and stores it in base + row->offset; key is how messages call it. */
struct ang_err *ang_set_store(const struct ang_set_row *row, void *base, struct ang_set_at at, const char *key,
                              const char *text) ANG_MUST_USE;
/* "a whole number from 0 to 64": the caller frees it. */
char *ang_set_describe(const struct ang_set_row *row);

/* One property of log.kafka; a later one of the same name replaces it when `replace`, else it is an error. */
struct ang_err *ang_set_kafka(struct ang_settings *s, struct ang_set_at at, const char *name, const char *value,
                              bool replace) ANG_MUST_USE;

/* Replaces ${VAR} by the environment, $${ by ${.  The caller frees *ret_text. */
struct ang_err *ang_set_expand(const char *text, struct ang_set_at at, const char *key, char **ret_text) ANG_MUST_USE;

/* at[i] (ANG_SET_ROWS_MAX of them) gets where row i was set. */
struct ang_err *ang_set_yaml(struct ang_settings *s, struct ang_set_at *at, struct ang_slice text,
                             const char *file) ANG_MUST_USE;
/* The keys that hold a list, in no section; NULL-terminated. */
extern const char *const ang_set_lists[];
/* The value of ANGZARR__BUSINESS_LOGIC, ANGZARR__DESCRIPTORS: a YAML list that replaces the file's.  list: one of ang_set_lists. */
struct ang_err *ang_set_yaml_list(struct ang_settings *s, const char *list, struct ang_slice text,
                                  const char *file) ANG_MUST_USE;
struct ang_err *ang_set_env(struct ang_settings *s, struct ang_set_at *at) ANG_MUST_USE;
void ang_set_business_clear(struct ang_settings *s);
void ang_set_descriptors_clear(struct ang_settings *s);

/* The name (of a NULL-terminated list) nearest to word, if near enough to be what was meant; else NULL. */
const char *ang_set_nearest(const char *word, const char *const *names);
/* "unknown key", with what was meant or what there is.  names: NULL-terminated. */
struct ang_err *ang_set_unknown(struct ang_set_at at, const char *key, const char *word,
                                const char *const *names) ANG_MUST_USE;
/* Names of the keys of a section (of all sections: NULL), NULL-terminated; the caller frees the array, not the names. */
const char **ang_set_names(const char *section);

#endif
