/* Loading in order: defaults, file, environment, what is worked out from the machine, checks across settings. */
#include "base/settings.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/settings_priv.h"
#include "base/uuid.h"

#define FILE_MAX     (1024 * 1024)
#define DEFAULT_FILE "./angzarr.yaml"

static bool is_string(const struct ang_set_row *row) {
    return (row->type == ANG_SET_STRING || row->type == ANG_SET_LISTEN || row->type == ANG_SET_TARGET);
}

static void free_strings(const struct ang_set_row *rows, size_t n, void *base) {
    for (size_t i = 0; i < n; i++)
        if (is_string(&rows[i]))
            free(*(char **)(void *)((char *)base + rows[i].offset));
}

void ang_set_business_clear(struct ang_settings *s) {
    for (size_t i = 0; i < s->n_business; i++)
        free_strings(ang_set_business_rows, ang_set_n_business_rows, &s->business[i]);
    free(s->business);
    s->business = NULL;
    s->n_business = 0;
}

void ang_set_descriptors_clear(struct ang_settings *s) {
    for (size_t i = 0; i < s->n_descriptors; i++) {
        free(s->descriptors[i].at);
        free(s->descriptors[i].path);
    }
    free(s->descriptors);
    s->descriptors = NULL;
    s->n_descriptors = 0;
}

void ang_settings_free(struct ang_settings *s) {
    if (s == NULL)
        return;
    free_strings(ang_set_rows, ang_set_n_rows, s);
    ang_set_business_clear(s);
    ang_set_descriptors_clear(s);
    for (size_t i = 0; i < s->log.n_kafka; i++) {
        free(s->log.kafka[i].key);
        free(s->log.kafka[i].value);
    }
    free(s->log.kafka);
    free(s->file);
    free(s);
}

/* ---- unknown keys ---- */

const char **ang_set_names(const char *section) {
    const char **names = ang_calloc(ang_set_n_rows + ang_set_n_sections + 8, sizeof(*names));
    size_t n = 0;

    if (section == NULL) {
        for (size_t i = 0; i < ang_set_n_sections; i++)
            names[n++] = ang_set_sections[i].name;
        for (size_t i = 0; ang_set_lists[i] != NULL; i++)
            names[n++] = ang_set_lists[i];
        return (names);
    }
    for (size_t i = 0; i < ang_set_n_rows; i++)
        if (strcmp(ang_set_rows[i].section, section) == 0)
            names[n++] = ang_set_rows[i].key;
    if (strcmp(section, "log") == 0)
        names[n++] = "kafka";
    return (names);
}

struct ang_err *ang_set_unknown(struct ang_set_at at, const char *key, const char *word, const char *const *names) {
    const char *nearest = ang_set_nearest(word, names);
    struct ang_buf b = {NULL, 0, 0};
    struct ang_err *er;

    if (nearest != NULL)
        return (ang_set_err(at, key, "unknown key, did you mean \"%s\"?", nearest));
    for (size_t i = 0; names[i] != NULL; i++)
        ang_buf_addf(&b, "%s%s", i == 0 ? "" : ", ", names[i]);
    ang_buf_add_u8(&b, '\0');
    er = ang_set_err(at, key, "unknown key, expected one of %s", (const char *)b.p);
    ang_buf_fini(&b);
    return (er);
}

/* ---- log.kafka ---- */

static struct ang_kv *find_kafka(const struct ang_settings *s, const char *name) {
    for (size_t i = 0; i < s->log.n_kafka; i++)
        if (strcmp(s->log.kafka[i].key, name) == 0)
            return (&s->log.kafka[i]);
    return (NULL);
}

struct ang_err *ang_set_kafka(struct ang_settings *s, struct ang_set_at at, const char *name, const char *value,
                              bool replace) {
    const char *why = ang_set_refused(name);
    struct ang_kv *kv = find_kafka(s, name);
    struct ang_err *er = NULL;
    char *path = ang_sprintf("log.kafka.%.100s", name);

    if (*name == '\0')
        er = ang_set_err(at, "log.kafka", "expected the name of a librdkafka property, got nothing");
    else if (why != NULL)
        er = ang_set_err(at, path, "cannot be set: %s", why);
    else if (kv != NULL && !replace)
        er = ang_set_err(at, path, "set twice, first at line %d", kv->line);
    free(path);
    if (er != NULL)
        return (er);
    if (kv == NULL) {
        s->log.kafka = ang_realloc(s->log.kafka, (s->log.n_kafka + 1) * sizeof(*s->log.kafka));
        kv = &s->log.kafka[s->log.n_kafka++];
        *kv = (struct ang_kv){.key = ang_strdup(name)};
    }
    free(kv->value);
    kv->value = ang_strdup(value);
    kv->line = at.line;
    return (NULL);
}

/* ---- file ---- */

static struct ang_err *cannot_read(const char *file, const char *why) {
    return (ang_err_new(ANG_E_CONFIG,
                        "%s: the configuration cannot be read: %s; name one with --config FILE or ANGZARR_CONFIG", file,
                        why));
}

static struct ang_err *read_file(const char *file, struct ang_buf *out) {
    struct ang_err *er = NULL;
    FILE *f = fopen(file, "re");
    size_t n;

    if (f == NULL)
        return (cannot_read(file, strerror(errno)));
    do {
        n = fread(ang_buf_reserve(out, 65536), 1, 65536, f);
        out->n += n;
    } while (n > 0 && out->n <= FILE_MAX);
    if (ferror(f))
        er = cannot_read(file, strerror(errno));
    else if (out->n > FILE_MAX)
        er = cannot_read(file, "it is larger than 1 MiB");
    fclose(f);
    return (er);
}

/* ---- defaults, and what the machine tells ---- */

static void defaults(struct ang_settings *s) {
    struct ang_set_at at = {"settings.tbl.h", 0};

    for (size_t i = 0; i < ang_set_n_rows; i++)
        AZ(ang_set_store(&ang_set_rows[i], s, at, ang_set_rows[i].key, ang_set_rows[i].dflt));
}

static void host_name(char out[HOST_NAME_MAX + 1]) {
    if (gethostname(out, HOST_NAME_MAX + 1) != 0)
        out[0] = '\0';
    out[HOST_NAME_MAX] = '\0';
}

static struct ang_err *work_out_worker_id(struct ang_settings *s) {
    const char *pod = getenv("POD_NAME");
    char host[HOST_NAME_MAX + 1];
    const char *id, *source;

    if (*s->worker.id != '\0')
        return (NULL);
    host_name(host);
    id = pod != NULL && *pod != '\0' ? pod : host;
    source = id == pod ? "environment POD_NAME" : "the host name";
    if (*id == '\0')
        return (ang_err_new(ANG_E_CONFIG, "%s: worker.id: this machine has no host name; set worker.id", s->file));
    return (ang_set_store(ang_set_find("worker", "id"), s, (struct ang_set_at){source, 0}, "worker.id", id));
}

static void work_out_rest(struct ang_settings *s) {
    char host[HOST_NAME_MAX + 1], text[ANG_UUID_TEXT + 1];
    struct ang_uuid u;

    if (*s->log.path == '\0') {
        free(s->log.path);
        s->log.path = ang_sprintf("%s/log", s->state.path);
    }
    if (*s->gateway.id == '\0') {
        host_name(host);
        ang_uuid_v4(&u);
        ang_uuid_text(u.b, text);
        free(s->gateway.id);
        s->gateway.id = ang_sprintf("%s%s%.8s", host, *host == '\0' ? "" : "-", text);
    }
}

static struct ang_err *check_across(const struct ang_settings *s, const struct ang_set_at *ats) {
    const struct ang_kv *servers = find_kafka(s, "bootstrap.servers");

    if (s->log.type == ANG_LOGTYPE_KAFKA && (servers == NULL || *servers->value == '\0'))
        return (ang_set_err(ats[ang_set_find("log", "type") - ang_set_rows], "log.kafka.bootstrap.servers",
                            "expected host:port of one broker or more because log.type is kafka, got nothing"));
    return (NULL);
}

struct ang_err *ang_settings_load(const char *path, struct ang_settings **ret_set) {
    struct ang_set_at ats[ANG_SET_ROWS_MAX] = {{NULL, 0}};
    struct ang_settings *s = ANG_NEW(struct ang_settings);
    struct ang_buf text = {NULL, 0, 0};
    struct ang_err *er;

    if (path == NULL)
        path = getenv("ANGZARR_CONFIG");
    s->file = ang_strdup(path == NULL || *path == '\0' ? DEFAULT_FILE : path);
    defaults(s);
    er = read_file(s->file, &text);
    if (er == NULL)
        er = ang_set_yaml(s, ats, ang_buf_slice(&text), s->file);
    if (er == NULL)
        er = ang_set_env(s, ats);
    if (er == NULL)
        er = work_out_worker_id(s);
    if (er == NULL)
        er = check_across(s, ats);
    ang_buf_fini(&text);
    if (er != NULL) {
        ang_settings_free(s);
        return (er);
    }
    work_out_rest(s);
    *ret_set = s;
    return (NULL);
}
