/* Settings from the environment: first the short names, then ANGZARR__SECTION__KEY, which is more exact. */
#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/settings_priv.h"

#define LONG_PREFIX "ANGZARR__"

static char *where(const char *name) {
    return (ang_sprintf("environment %.200s", name));
}

/* STREAM_TIMEOUT_SECS: a number of seconds, without a unit. */
static struct ang_err *set_seconds(const struct ang_set_row *row, struct ang_settings *s, struct ang_set_at at,
                                   const char *key, const char *text) {
    struct ang_err *er;
    uint64_t v;
    char *with_unit;

    if (!ang_slice_to_u64(ang_slice_str(text), &v))
        return (ang_set_err(at, key, "expected a whole number of seconds, got \"%.60s\"", text));
    with_unit = ang_sprintf("%ss", text);
    er = ang_set_store(row, s, at, key, with_unit);
    free(with_unit);
    return (er);
}

/* GRPC_PORT: the host of the address stays. */
static struct ang_err *set_port(const struct ang_set_row *row, struct ang_settings *s, struct ang_set_at at,
                                const char *key, const char *port) {
    char **field = (char **)(void *)((char *)s + row->offset);
    struct ang_err *er;
    uint64_t v;
    char *address;

    if (!ang_slice_to_u64(ang_slice_str(port), &v) || v > 65535)
        return (ang_set_err(at, key, "expected a port from 0 to 65535, got \"%.60s\"", port));
    address = ang_sprintf("%.*s:%s", (int)(strrchr(*field, ':') - *field), *field, port);
    er = ang_set_store(row, s, at, key, address);
    free(address);
    return (er);
}

static struct ang_err *set_row(const struct ang_set_row *row, struct ang_settings *s, struct ang_set_at *ats,
                               struct ang_set_at at, const char *value, bool short_name) {
    char *key = ang_sprintf("%s.%s", row->section, row->key);
    struct ang_err *er;

    if (short_name && row->type == ANG_SET_LISTEN)
        er = set_port(row, s, at, key, value);
    else if (short_name && row->type == ANG_SET_DURATION)
        er = set_seconds(row, s, at, key, value);
    else
        er = ang_set_store(row, s, at, key, value);
    /* Messages after this one (ang_settings_load's own checks) only need to know that it was the environment. */
    ats[row - ang_set_rows] = (struct ang_set_at){"environment", 0};
    free(key);
    return (er);
}

static struct ang_err *short_names(struct ang_settings *s, struct ang_set_at *ats) {
    for (size_t i = 0; i < ang_set_n_rows; i++) {
        const struct ang_set_row *row = &ang_set_rows[i];
        const char *value = row->env == NULL ? NULL : getenv(row->env);
        struct ang_err *er;
        char *file;

        if (value == NULL || *value == '\0')
            continue;
        file = where(row->env);
        er = set_row(row, s, ats, (struct ang_set_at){file, 0}, value, true);
        free(file);
        if (er != NULL)
            return (er);
    }
    return (NULL);
}

/* "BOOTSTRAP_SERVERS" -> "bootstrap.servers": many shells allow no dot in a name. */
static void to_property(char *name) {
    for (; *name != '\0'; name++)
        if (*name == '_')
            *name = '.';
}

/* path: "worker__lanes", lower case, ours to change. */
static struct ang_err *long_name(struct ang_settings *s, struct ang_set_at *ats, struct ang_set_at at, char *path,
                                 const char *value) {
    const struct ang_set_row *row;
    char *sep = strstr(path, "__");
    const char **names;
    struct ang_err *er;

    for (size_t i = 0; sep == NULL && ang_set_lists[i] != NULL; i++)
        if (strcmp(path, ang_set_lists[i]) == 0)
            return (ang_set_yaml_list(s, path, ang_slice_str(value), at.file));
    if (sep != NULL && strncmp(path, "log__kafka__", 12) == 0) {
        to_property(path + 12);
        return (ang_set_kafka(s, at, path + 12, value, true));
    }
    if (sep != NULL) {
        *sep = '\0';
        row = ang_set_find(path, sep + 2);
        if (row != NULL)
            return (set_row(row, s, ats, at, value, false));
    }
    /* A known section has a wrong key, or none; else the section is wrong. */
    names = ang_set_names(path);
    if (names[0] == NULL) {
        free(names);
        names = ang_set_names(NULL);
        er = ang_set_unknown(at, "", path, names);
    } else if (sep == NULL) {
        er = ang_set_err(at, "", "expected a key behind the section: " LONG_PREFIX "SECTION__KEY");
    } else {
        er = ang_set_unknown(at, "", sep + 2, names);
    }
    free(names);
    return (er);
}

struct ang_err *ang_set_env(struct ang_settings *s, struct ang_set_at *ats) {
    struct ang_err *er = short_names(s, ats);

    for (char **e = environ; er == NULL && *e != NULL; e++) {
        const char *eq = strchr(*e, '=');
        char *name, *file;

        if (eq == NULL || strncmp(*e, LONG_PREFIX, strlen(LONG_PREFIX)) != 0)
            continue;
        name = ang_slice_dup_str(ang_slice_of(*e, (size_t)(eq - *e)));
        file = where(name);
        for (char *p = name; *p != '\0'; p++)
            *p = (char)tolower((unsigned char)*p);
        er = long_name(s, ats, (struct ang_set_at){file, 0}, name + strlen(LONG_PREFIX), eq + 1);
        free(name);
        free(file);
    }
    return (er);
}
