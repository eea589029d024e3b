/* Types of payloads: what is known at first, and asking servers for what is not.
 *
 * A pool does not change once it is linked; so what a server says is added to the list of sets, and a new pool is made of all of them.
 * Types of the older pools stay valid. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/reflection.h"
#include "tools/tool.h"

#define ASK_TIMEOUT_MS 2000
#define ASK_AGAIN_MS   5000
#define WALK_DEPTH     32

struct set {
    char *where;
    struct ang_buf bytes;
};
struct miss { /* a type that nobody knew */
    char *name;
    int64_t until_ms;
};

static struct {
    bool begun;
    struct set *sets;
    size_t n_sets;
    const struct ang_types *pool;
    struct miss *misses;
    size_t n_misses;
    struct ang_buf asked; /* for people */
    bool unanswered;
} t;

/* ---- the pool ---- */
static struct ang_err *link_all(struct ang_types **ret) {
    struct ang_types *pool = ang_types_new();
    struct ang_err *er = ang_types_add_builtin(pool);

    for (size_t i = 0; i < t.n_sets && er == NULL; i++)
        er = ang_types_add(pool, ang_buf_slice(&t.sets[i].bytes), t.sets[i].where);
    if (er == NULL)
        er = ang_types_link(pool);
    if (er == NULL)
        *ret = pool;
    else
        ang_types_free(&pool);
    return (er);
}

/* Takes bytes.  After an error all is as it was. */
static struct ang_err *add_set(const char *where, struct ang_buf *bytes) {
    struct ang_types *pool;
    struct ang_err *er;

    t.sets = ang_realloc(t.sets, (t.n_sets + 1) * sizeof(*t.sets));
    t.sets[t.n_sets++] = (struct set){ang_strdup(where), *bytes};
    *bytes = (struct ang_buf){NULL, 0, 0};
    er = link_all(&pool);
    if (er == NULL) {
        t.pool = pool;
        return (NULL);
    }
    t.n_sets--;
    free(t.sets[t.n_sets].where);
    ang_buf_fini(&t.sets[t.n_sets].bytes);
    return (er);
}

static void note(const char *fmt, ...) ANG_PRINTF(1, 2);
static void note(const char *fmt, ...) {
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    ang_buf_addf(&t.asked, "%s%s", t.asked.n == 0 ? "" : ", ", text);
}

static struct ang_err *add_file(const char *path) {
    struct ang_buf bytes = {NULL, 0, 0};
    struct ang_err *er = tool_read(path, &bytes);

    if (er == NULL)
        er = add_set(path, &bytes);
    ang_buf_fini(&bytes);
    if (er != NULL && er->code == ANG_E_WIRE)
        er = ang_err_wrap(&er, "expected what protoc --include_imports --descriptor_set_out writes");
    return (er);
}

/* The files that were named; who named one wants to hear that it cannot be used. */
static int begin(void) {
    struct ang_err *er = NULL;
    int rc;

    if (t.begun)
        return (ANG_TOOL_DONE);
    t.begun = true;
    t.pool = ang_types_builtin();
    for (size_t i = 0; i < tool.descriptors.n && er == NULL; i++)
        er = add_file(tool.descriptors.items[i]);
    rc = er != NULL ? ANG_TOOL_USAGE : tool_settings(false);
    for (size_t i = 0; er == NULL && tool.settings != NULL && i < tool.settings->n_descriptors; i++) {
        const struct ang_set_descriptors *d = &tool.settings->descriptors[i];
        er = add_file(d->path);
        if (er != NULL)
            er = ang_err_wrap(&er, "%s: descriptors", d->at);
    }
    return (er == NULL ? rc : tool_fail(&er));
}

int tool_types_load(void) {
    return (begin());
}

/* ---- asking servers ---- */
static void ask(const char *address, struct ang_slice name) {
    struct ang_buf set = {NULL, 0, 0};
    struct ang_err *er = ang_reflection_fetch(address, &name, 1, ASK_TIMEOUT_MS, &set);
    char *where;

    if (er == NULL && set.n > 0) {
        where = ang_sprintf("reflection of %s", address);
        er = add_set(where, &set);
        free(where);
    }
    t.unanswered |= er != NULL && er->code == ANG_E_TIMEOUT;
    note("reflection of %s%s%s%s", address, er == NULL ? "" : " (", er == NULL ? "" : er->msg, er == NULL ? "" : ")");
    ang_err_free(&er);
    ang_buf_fini(&set);
}

static const struct ang_type *ask_all(struct ang_slice name) {
    const struct ang_type *type;
    int rc;
    const char *gateway = tool_gateway(&rc);

    ang_buf_clear(&t.asked);
    t.unanswered = false;
    for (size_t i = 0; i < t.n_sets; i++)
        note("%s", t.sets[i].where);
    if (gateway != NULL)
        ask(gateway, name);
    type = ang_types_message(t.pool, name);
    for (size_t i = 0; type == NULL && tool.settings != NULL && i < tool.settings->n_business; i++) {
        ask(tool.settings->business[i].address, name);
        type = ang_types_message(t.pool, name);
    }
    return (type);
}

/* Asking again is allowed from now on; false: it is too early. */
static bool may_ask(struct ang_slice name) {
    struct miss *m = NULL;

    for (size_t i = 0; i < t.n_misses && m == NULL; i++)
        if (ang_slice_is(name, t.misses[i].name))
            m = &t.misses[i];
    if (m != NULL && m->until_ms > ang_now_ms())
        return (false);
    if (m == NULL) {
        t.misses = ang_realloc(t.misses, (t.n_misses + 1) * sizeof(*t.misses));
        m = &t.misses[t.n_misses++];
        m->name = ang_slice_dup_str(name);
    }
    m->until_ms = ang_now_ms() + ASK_AGAIN_MS;
    return (true);
}

static struct ang_slice after_slash(struct ang_slice url) {
    const uint8_t *slash = url.n == 0 ? NULL : memrchr(url.p, '/', url.n);
    return (slash == NULL ? url : ang_slice_of(slash + 1, (size_t)(url.p + url.n - slash - 1)));
}

int tool_type(struct ang_slice name, const struct ang_type **ret_type) {
    const int rc = begin();

    name = after_slash(name);
    *ret_type = NULL;
    if (rc != ANG_TOOL_DONE || name.n == 0)
        return (rc);
    *ret_type = ang_types_message(t.pool, name);
    if (*ret_type == NULL && may_ask(name))
        *ret_type = ask_all(name);
    return (ANG_TOOL_DONE);
}

const char *tool_types_asked(void) {
    ang_buf_add_u8(&t.asked, '\0');
    t.asked.n--;
    return (t.asked.n == 0 ? "nowhere: no gateway and no configuration" : (const char *)t.asked.p);
}

bool tool_types_unanswered(void) {
    return (t.unanswered);
}

/* ---- JSON ---- */

/* Looks for the types that a message's text shows as unknown: of every {"@type": …, "value": …}.  The text is ours, so what we look for
 * stands there in one form only; a type's name in a string of a payload costs a question, no more. */
static bool look_for_types(struct ang_slice text) {
    static const char mark[] = "\"@type\":\"";
    const struct ang_types *before = t.pool;
    const struct ang_type *type;
    const uint8_t *at = text.p, *end = text.p + text.n, *close;

    while (at != NULL && (at = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1)) != NULL) {
        at += sizeof(mark) - 1;
        close = memchr(at, '"', (size_t)(end - at));
        if (close != NULL)
            (void)tool_type(ang_slice_of(at, (size_t)(close - at)), &type);
        at = close;
    }
    return (t.pool != before);
}

int tool_json(const char *type, struct ang_slice bytes, struct ang_buf *ret) {
    const struct ang_json_opts opts = {.any = ANG_JSON_ANY_SHOW};
    const size_t begun = ret->n;
    struct ang_err *er;
    int depth = 0, rc = begin();

    if (rc != ANG_TOOL_DONE)
        return (rc);
    /* A payload that is known now may hold others that are not. */
    do {
        ret->n = begun;
        er = ang_json_print(ang_types_message(t.pool, ang_slice_str(type)), bytes, &opts, ret);
    } while (er == NULL && depth++ < WALK_DEPTH && look_for_types(ang_slice_of(ret->p + begun, ret->n - begun)));
    return (er == NULL ? ANG_TOOL_DONE : tool_fail(&er));
}
