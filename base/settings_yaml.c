/* Walks the YAML document down the table.  The depth is the table's, so an alias that points at its own parent ends as a
 * wrong type, and no input makes the walk long. */
#include <stdlib.h>
#include <yaml.h>

#include "base/settings_priv.h"

#define DEPTH_MAX 32

struct walk {
    yaml_document_t doc;
    const char *file;
    struct ang_settings *s;
    struct ang_set_at *at; /* per row of ang_set_rows; file == NULL: not set yet */
    int kafka_line;        /* of log.kafka; 0: not set yet */
};

static struct ang_set_at at_node(const struct walk *w, const yaml_node_t *node) {
    return ((struct ang_set_at){w->file, (int)node->start_mark.line + 1});
}

static const char *text_of(const yaml_node_t *node) {
    return ((const char *)node->data.scalar.value);
}

/* "a\0b" is a text for YAML; for us it would end early and mean something else. */
static bool has_nul(const yaml_node_t *node) {
    return (strlen(text_of(node)) != node->data.scalar.length);
}

/* Nothing stands there, or null: `key:` with no value. */
static bool is_nothing(const yaml_node_t *node) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return (false);
    for (size_t i = 0; i < ANG_COUNT(nulls); i++)
        if (strcmp(text_of(node), nulls[i]) == 0)
            return (true);
    return (false);
}

static const char *kind(const yaml_node_t *node) {
    if (is_nothing(node))
        return ("nothing");
    if (node->type == YAML_SCALAR_NODE && has_nul(node))
        return ("text with a zero byte in it");
    switch (node->type) {
    case YAML_SEQUENCE_NODE:
        return ("a list");
    case YAML_MAPPING_NODE:
        return ("a map");
    case YAML_SCALAR_NODE:
        return ("a single value");
    case YAML_NO_NODE:
        break;
    }
    return ("nothing");
}

/* ---- maps: each pair goes to `pair`, with a key that is text and a path for messages ---- */

typedef struct ang_err *pair_f(struct walk *w, void *arg, const char *path, const yaml_node_t *key,
                               const yaml_node_t *value);

static struct ang_err *each_pair(struct walk *w, const yaml_node_t *map, const char *path, pair_f *pair, void *arg) {
    struct ang_err *er = NULL;

    if (is_nothing(map))
        return (NULL); /* all keys are commented out */
    if (map->type != YAML_MAPPING_NODE)
        return (ang_set_err(at_node(w, map), path, "expected a map of settings, got %s", kind(map)));
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top && er == NULL; p++) {
        const yaml_node_t *key = yaml_document_get_node(&w->doc, p->key);
        const yaml_node_t *value = yaml_document_get_node(&w->doc, p->value);
        char *full;

        if (key->type != YAML_SCALAR_NODE || has_nul(key))
            return (ang_set_err(at_node(w, key), path, "expected the name of a setting, got %s", kind(key)));
        full = ang_sprintf("%s%s%.100s", path, *path == '\0' ? "" : ".", text_of(key));
        er = pair(w, arg, full, key, value);
        free(full);
    }
    return (er);
}

static struct ang_err *twice(const struct walk *w, const yaml_node_t *key, const char *path, int first_line) {
    return (ang_set_err(at_node(w, key), path, "set twice, first at line %d", first_line));
}

/* A scalar with its variables expanded; the caller frees *ret_text. */
static struct ang_err *scalar(struct walk *w, const yaml_node_t *value, const char *path, const struct ang_set_row *row,
                              char **ret_text) {
    if (value->type != YAML_SCALAR_NODE || is_nothing(value) || has_nul(value))
        return (ang_set_expected(at_node(w, value), path, row, kind(value)));
    return (ang_set_expand(text_of(value), at_node(w, value), path, ret_text));
}

static struct ang_err *store(struct walk *w, const struct ang_set_row *row, void *base, const char *path,
                             const yaml_node_t *value) {
    struct ang_err *er;
    char *text;

    er = scalar(w, value, path, row, &text);
    if (er != NULL)
        return (er);
    er = ang_set_store(row, base, at_node(w, value), path, text);
    free(text);
    return (er);
}

/* ---- sections ---- */

static struct ang_err *kafka_pair(struct walk *w, void *arg, const char *path, const yaml_node_t *key,
                                  const yaml_node_t *value) {
    static const struct ang_set_row any = {.type = ANG_SET_STRING, .match = ANG_MATCH_ANY};
    struct ang_err *er;
    char *text;

    er = scalar(w, value, path, &any, &text);
    if (er != NULL)
        return (er);
    er = ang_set_kafka(w->s, at_node(w, key), text_of(key), text, false);
    free(text);
    return (er);
}

static struct ang_err *section_pair(struct walk *w, void *arg, const char *path, const yaml_node_t *key,
                                    const yaml_node_t *value) {
    const struct ang_set_section *section = arg;
    const struct ang_set_row *row = ang_set_find(section->name, text_of(key));
    struct ang_set_at *at;
    const char **names;
    struct ang_err *er;

    if (row == NULL && strcmp(path, "log.kafka") == 0) {
        if (w->kafka_line != 0)
            return (twice(w, key, path, w->kafka_line));
        w->kafka_line = at_node(w, key).line;
        return (each_pair(w, value, path, kafka_pair, NULL));
    }
    if (row == NULL) {
        names = ang_set_names(section->name);
        er = ang_set_unknown(at_node(w, key), path, text_of(key), names);
        free(names);
        return (er);
    }
    at = &w->at[row - ang_set_rows];
    if (at->file != NULL)
        return (twice(w, key, path, at->line));
    *at = at_node(w, key);
    return (store(w, row, w->s, path, value));
}

/* ---- business_logic ---- */

enum { SEEN_DOMAIN, SEEN_ADDRESS, SEEN_CONTRACT, SEEN_START, SEEN_SNAPSHOTS, SEEN_EVERY, SEEN_SEND, SEEN_COUNT };

static const char *const business_keys[] = {"domain", "address", "contract", "start", "snapshots", NULL};
static const char *const snapshots_keys[] = {"every", "send", NULL};

struct business_walk {
    struct ang_set_business *b;
    int line[SEEN_COUNT]; /* 0: not set */
};

static int index_of(const char *const *names, const char *name) {
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(names[i], name) == 0)
            return (i);
    return (-1);
}

/* Finds the key among names and notes its line in bw->line[first + index]. */
static struct ang_err *business_key(struct walk *w, struct business_walk *bw, const char *path, const yaml_node_t *key,
                                    const char *const *names, int first, int *ret_seen) {
    int i = index_of(names, text_of(key));

    if (i < 0)
        return (ang_set_unknown(at_node(w, key), path, text_of(key), names));
    if (bw->line[first + i] != 0)
        return (twice(w, key, path, bw->line[first + i]));
    bw->line[first + i] = at_node(w, key).line;
    *ret_seen = first + i;
    return (NULL);
}

static struct ang_err *snapshots_pair(struct walk *w, void *arg, const char *path, const yaml_node_t *key,
                                      const yaml_node_t *value) {
    struct business_walk *bw = arg;
    struct ang_err *er;
    int seen = 0;

    er = business_key(w, bw, path, key, snapshots_keys, SEEN_EVERY, &seen);
    if (er != NULL)
        return (er);
    return (
        store(w, ang_set_find_business(seen == SEEN_EVERY ? "snapshots.every" : "snapshots.send"), bw->b, path, value));
}

/* `off`, `always`, or a map. */
static struct ang_err *snapshots(struct walk *w, struct business_walk *bw, const char *path, const yaml_node_t *value) {
    struct ang_err *er;
    char *text;
    bool off, always;

    if (value->type == YAML_MAPPING_NODE)
        return (each_pair(w, value, path, snapshots_pair, bw));
    if (value->type != YAML_SCALAR_NODE || is_nothing(value) || has_nul(value))
        return (ang_set_err(at_node(w, value), path, "expected off, always or { every: N, send: true }, got %s",
                            kind(value)));
    er = ang_set_expand(text_of(value), at_node(w, value), path, &text);
    if (er != NULL)
        return (er);
    off = (strcmp(text, "off") == 0);
    always = (strcmp(text, "always") == 0);
    if (off || always)
        bw->b->snapshots_every = off ? 0 : 1;
    else
        er = ang_set_err(at_node(w, value), path, "expected off, always or { every: N, send: true }, got \"%.60s\"",
                         text);
    free(text);
    return (er);
}

static struct ang_err *business_pair(struct walk *w, void *arg, const char *path, const yaml_node_t *key,
                                     const yaml_node_t *value) {
    struct business_walk *bw = arg;
    struct ang_err *er;
    int seen = 0;

    er = business_key(w, bw, path, key, business_keys, SEEN_DOMAIN, &seen);
    if (er != NULL)
        return (er);
    if (seen == SEEN_SNAPSHOTS)
        return (snapshots(w, bw, path, value));
    return (store(w, ang_set_find_business(business_keys[seen]), bw->b, path, value));
}

static struct ang_err *business_row(struct walk *w, const yaml_node_t *node, const char *path) {
    struct ang_settings *s = w->s;
    struct business_walk bw = {NULL, {0}};
    struct ang_set_at at = at_node(w, node);
    struct ang_err *er;

    s->business = ang_realloc(s->business, (s->n_business + 1) * sizeof(*s->business));
    bw.b = &s->business[s->n_business++];
    *bw.b = (struct ang_set_business){.line = at.line};
    for (size_t i = 0; i < ang_set_n_business_rows; i++) {
        const struct ang_set_row *row = &ang_set_business_rows[i];

        if (row->dflt != NULL)
            AZ(ang_set_store(row, bw.b, at, path, row->dflt));
    }
    er = each_pair(w, node, path, business_pair, &bw);
    if (er != NULL)
        return (er);
    if (bw.b->domain == NULL || bw.b->address == NULL)
        return (ang_set_err(at, path, "expected the key %s, which must be given",
                            bw.b->domain == NULL ? "domain" : "address"));
    for (size_t i = 0; i + 1 < s->n_business; i++)
        if (strcmp(s->business[i].domain, bw.b->domain) == 0)
            return (ang_set_err(at, path, "the domain %s is served already, at line %d", bw.b->domain,
                                s->business[i].line));
    return (NULL);
}

/* ---- descriptors ---- */

/* Beside the configuration file, unless the path begins at the root. */
static char *beside(const char *file, const char *path) {
    const char *slash = strrchr(file, '/');

    if (path[0] == '/' || slash == NULL)
        return (ang_strdup(path));
    return (ang_sprintf("%.*s/%s", (int)(slash - file), file, path));
}

static struct ang_err *descriptors_row(struct walk *w, const yaml_node_t *node, const char *path) {
    static const struct ang_set_row any = {.type = ANG_SET_STRING, .match = ANG_MATCH_FILLED};
    struct ang_settings *s = w->s;
    char where[ANG_SET_AT_MAX], *text, *file = NULL;
    struct ang_err *er;

    er = scalar(w, node, path, &any, &text);
    if (er != NULL)
        return (er);
    er = ang_set_store(&any, &file, at_node(w, node), path, text);
    if (er == NULL) {
        s->descriptors = ang_realloc(s->descriptors, (s->n_descriptors + 1) * sizeof(*s->descriptors));
        s->descriptors[s->n_descriptors++] = (struct ang_set_descriptors){
            .at = ang_strdup(ang_set_at_text(at_node(w, node), where)), .path = beside(s->file, text)};
    }
    free(file);
    free(text);
    return (er);
}

/* ---- lists ---- */

typedef struct ang_err *row_f(struct walk *w, const yaml_node_t *node, const char *path);

static struct ang_err *each_row(struct walk *w, const yaml_node_t *list, const char *name, row_f *row) {
    struct ang_err *er = NULL;
    size_t i = 0;

    if (is_nothing(list))
        return (NULL);
    if (list->type != YAML_SEQUENCE_NODE)
        return (ang_set_err(at_node(w, list), name, "expected a list, got %s", kind(list)));
    for (yaml_node_item_t *it = list->data.sequence.items.start; it < list->data.sequence.items.top && er == NULL;
         it++) {
        char *path = ang_sprintf("%s[%zu]", name, i++);

        er = row(w, yaml_document_get_node(&w->doc, *it), path);
        free(path);
    }
    return (er);
}

const char *const ang_set_lists[] = {"business_logic", "descriptors", NULL};
static const struct {
    row_f *row;
    void (*clear)(struct ang_settings *s);
} lists[] = {{business_row, ang_set_business_clear}, {descriptors_row, ang_set_descriptors_clear}};
_Static_assert(ANG_COUNT(lists) + 1 == ANG_COUNT(ang_set_lists), "each list has its functions");

/* ---- document ---- */

static struct ang_err *top_pair(struct walk *w, void *arg, const char *path, const yaml_node_t *key,
                                const yaml_node_t *value) {
    int *lines = arg; /* per section, then per list */
    const char **names;
    struct ang_err *er;
    int list = index_of(ang_set_lists, text_of(key));
    size_t i;

    for (i = 0; i < ang_set_n_sections; i++)
        if (strcmp(ang_set_sections[i].name, text_of(key)) == 0)
            break;
    if (i == ang_set_n_sections && list < 0) {
        names = ang_set_names(NULL);
        er = ang_set_unknown(at_node(w, key), path, text_of(key), names);
        free(names);
        return (er);
    }
    if (list >= 0)
        i += (size_t)list;
    if (lines[i] != 0)
        return (twice(w, key, path, lines[i]));
    lines[i] = at_node(w, key).line;
    if (list >= 0)
        return (each_row(w, value, ang_set_lists[list], lists[list].row));
    return (each_pair(w, value, path, section_pair, (void *)(uintptr_t)&ang_set_sections[i]));
}

static int line_of_offset(struct ang_slice text, size_t offset) {
    int line = 1;

    for (size_t i = 0; i < offset && i < text.n; i++)
        line += (text.p[i] == '\n');
    return (line);
}

static struct ang_err *yaml_error(const yaml_parser_t *p, struct ang_slice text, const char *file) {
    bool reader = (p->error == YAML_READER_ERROR);
    struct ang_set_at at = {file, reader ? line_of_offset(text, p->problem_offset) : (int)p->problem_mark.line + 1};

    ANG_ASSERT(p->error != YAML_MEMORY_ERROR);
    return (ang_set_err(at, "", "not valid YAML: %s%s%s", p->problem == NULL ? "unreadable" : p->problem,
                        p->context == NULL ? "" : " ", p->context == NULL ? "" : p->context));
}

static void parser_init(yaml_parser_t *p, struct ang_slice text) {
    ANG_ASSERT(yaml_parser_initialize(p));
    yaml_parser_set_input_string(p, text.p == NULL ? (const unsigned char *)"" : text.p, text.n);
}

/* Before anything is built: one document, and not deeper than any configuration is, because libyaml's time grows with
 * the square of the depth. */
static struct ang_err *survey(struct ang_slice text, const char *file) {
    struct ang_err *er = NULL;
    int depth = 0, documents = 0;
    bool end = false;
    yaml_parser_t p;
    yaml_event_t e;

    parser_init(&p, text);
    while (er == NULL && !end) {
        struct ang_set_at at;

        if (!yaml_parser_parse(&p, &e)) {
            er = yaml_error(&p, text, file);
            break;
        }
        at = (struct ang_set_at){file, (int)e.start_mark.line + 1};
        end = (e.type == YAML_STREAM_END_EVENT);
        if (e.type == YAML_MAPPING_START_EVENT || e.type == YAML_SEQUENCE_START_EVENT)
            depth++;
        else if (e.type == YAML_MAPPING_END_EVENT || e.type == YAML_SEQUENCE_END_EVENT)
            depth--;
        else if (e.type == YAML_DOCUMENT_START_EVENT)
            documents++;
        if (depth > DEPTH_MAX)
            er = ang_set_err(at, "", "expected at most %d levels, got more", DEPTH_MAX);
        else if (documents > 1)
            er = ang_set_err(at, "", "expected one YAML document, got a second one");
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&p);
    return (er);
}

/* *ret_root is NULL when there is no document; w->doc must be deleted after success. */
static struct ang_err *load(struct walk *w, struct ang_slice text, const yaml_node_t **ret_root) {
    struct ang_err *er = survey(text, w->file);
    yaml_parser_t p;

    if (er != NULL)
        return (er);
    parser_init(&p, text);
    if (yaml_parser_load(&p, &w->doc))
        *ret_root = yaml_document_get_root_node(&w->doc);
    else
        er = yaml_error(&p, text, w->file);
    yaml_parser_delete(&p);
    return (er);
}

struct ang_err *ang_set_yaml(struct ang_settings *s, struct ang_set_at *at, struct ang_slice text, const char *file) {
    struct walk w = {.file = file, .s = s, .at = at};
    const yaml_node_t *root;
    struct ang_err *er;
    int *lines;

    er = load(&w, text, &root);
    if (er != NULL)
        return (er);
    lines = ang_calloc(ang_set_n_sections + ANG_COUNT(lists), sizeof(*lines));
    if (root != NULL)
        er = each_pair(&w, root, "", top_pair, lines);
    free(lines);
    yaml_document_delete(&w.doc);
    return (er);
}

struct ang_err *ang_set_yaml_list(struct ang_settings *s, const char *list, struct ang_slice text, const char *file) {
    const int which = index_of(ang_set_lists, list);
    struct walk w = {.file = file, .s = s};
    const yaml_node_t *root;
    struct ang_err *er;

    er = load(&w, text, &root);
    if (er != NULL)
        return (er);
    lists[which].clear(s);
    if (root != NULL)
        er = each_row(&w, root, list, lists[which].row);
    yaml_document_delete(&w.doc);
    return (er);
}
