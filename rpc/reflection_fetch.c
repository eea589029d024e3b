/* The client of reflection: one call for each question, one after the other.
 *
 *      list_services -> a question per service -> files -> a question per import that did not come along -> ...
 *
 * All on a loop of its own; the caller waits for `over`. */
#include "rpc/reflection.h"

#include <stdlib.h>

#include "proto/wire.h"
#include "rpc/rpc_priv.h"

#define FILES_MAX     10000
#define QUESTIONS_MAX (2 * FILES_MAX)
#define BYTES_MAX     ((size_t)64 << 20)

enum { ASK_FILE = 3, ASK_SYMBOL = 4, ASK_SERVICES = 7 };
enum { ANSWER_FILES = 4, ANSWER_SERVICES = 6, ANSWER_ERROR = 7, FILES_FILE = 1, LIST_SERVICE = 1, SERVICE_NAME = 1 };
enum { FILE_NAME = 1, FILE_DEPENDENCY = 3, SET_FILE = 1 };

static const char *const paths[] = {
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
};

struct got_file {
    char *name;
    struct ang_blob *bytes;
    bool put; /* in the set, or on its way into it */
};

struct question {
    uint32_t kind;
    char *text;
};

struct fetch {
    unsigned magic;
#define ANG_FETCH_MAGIC 0xfe7c4001
    /* set once */
    struct ang_loop *loop;
    const char *address;
    int64_t deadline_ms;
    /* loop */
    struct ang_rpc_channel *ch;
    size_t version; /* of paths */
    struct question *questions;
    size_t n_questions, next; /* those before next are answered */
    struct got_file *files;
    size_t n_files, n_bytes;
    struct ang_err *er;
    /* lock */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool over;
};

/* ---- questions ---- */

/* Each only once. */
static void ask(struct fetch *f, uint32_t kind, struct ang_slice text) {
    for (size_t i = 0; i < f->n_questions; i++)
        if (f->questions[i].kind == kind && ang_slice_is(text, f->questions[i].text))
            return;
    f->questions = ang_realloc(f->questions, (f->n_questions + 1) * sizeof(*f->questions));
    f->questions[f->n_questions++] = (struct question){.kind = kind, .text = ang_slice_dup_str(text)};
}

static bool has_file(const struct fetch *f, struct ang_slice name) {
    for (size_t i = 0; i < f->n_files; i++)
        if (ang_slice_is(name, f->files[i].name))
            return (true);
    return (false);
}

/* ---- answers ---- */

static struct ang_err *no_answer(const struct fetch *f) {
    return (ang_err_new(ANG_E_WIRE, "%s: what it answers is no ServerReflectionResponse", f->address));
}

static struct ang_err *take_file(struct fetch *f, struct ang_slice bytes) {
    struct ang_wire_iter it = ang_wire_iter_of(bytes);
    struct ang_slice name = ANG_SLICE_NONE;
    struct ang_wire_field field;

    while (ang_wire_next(&it, &field))
        if (field.number == FILE_NAME && field.type == ANG_WIRE_BYTES)
            name = field.bytes;
    if (it.what != NULL || name.n == 0 || !ang_utf8_ok(name) || memchr(name.p, '\0', name.n) != NULL)
        return (no_answer(f));
    if (has_file(f, name))
        return (NULL);
    if (f->n_files == FILES_MAX || f->n_bytes + bytes.n > BYTES_MAX)
        return (
            ang_err_new(ANG_E_TOO_BIG, "%s: its descriptors are more than %d files or 64 MiB", f->address, FILES_MAX));
    f->n_bytes += bytes.n;
    f->files = ang_realloc(f->files, (f->n_files + 1) * sizeof(*f->files));
    f->files[f->n_files++] = (struct got_file){.name = ang_slice_dup_str(name), .bytes = ang_blob_copy(bytes)};
    return (NULL);
}

static struct ang_err *take_files(struct fetch *f, struct ang_slice answer) {
    struct ang_wire_iter it = ang_wire_iter_of(answer);
    struct ang_wire_field field;
    struct ang_err *er = NULL;

    while (er == NULL && ang_wire_next(&it, &field))
        if (field.number == FILES_FILE && field.type == ANG_WIRE_BYTES)
            er = take_file(f, field.bytes);
    return (er != NULL || it.what == NULL ? er : no_answer(f));
}

/* What every server has of gRPC itself is not asked for. */
static struct ang_err *take_services(struct fetch *f, struct ang_slice answer) {
    static const char grpcs_own[] = "grpc.";
    struct ang_wire_iter it = ang_wire_iter_of(answer);
    struct ang_wire_field field, name;

    while (ang_wire_next(&it, &field)) {
        if (field.number != LIST_SERVICE || field.type != ANG_WIRE_BYTES ||
            !ang_wire_find(field.bytes, SERVICE_NAME, &name) || name.type != ANG_WIRE_BYTES)
            continue;
        if (!ang_utf8_ok(name.bytes) || memchr(name.bytes.p, '\0', name.bytes.n) != NULL)
            return (no_answer(f));
        if (name.bytes.n < sizeof(grpcs_own) - 1 || memcmp(name.bytes.p, grpcs_own, sizeof(grpcs_own) - 1) != 0)
            ask(f, ASK_SYMBOL, name.bytes);
    }
    return (it.what == NULL ? NULL : no_answer(f));
}

static void message(void *arg, struct ang_slice msg) {
    struct ang_wire_iter it = ang_wire_iter_of(msg);
    struct ang_wire_field field;
    struct fetch *f;

    ANG_CAST(f, arg, ANG_FETCH_MAGIC);
    while (f->er == NULL && ang_wire_next(&it, &field)) {
        if (field.number != ANSWER_FILES && field.number != ANSWER_SERVICES)
            continue;
        if (field.type != ANG_WIRE_BYTES)
            f->er = no_answer(f);
        else
            f->er = field.number == ANSWER_FILES ? take_files(f, field.bytes) : take_services(f, field.bytes);
    }
    if (f->er == NULL && it.what != NULL)
        f->er = no_answer(f);
}

/* ---- the calls ---- */

static void finish(struct fetch *f) {
    ang_rpc_channel_close(f->ch);
    f->ch = NULL;
    ANG_PT(pthread_mutex_lock(&f->lock));
    f->over = true;
    ANG_PT(pthread_cond_signal(&f->cond));
    ANG_PT(pthread_mutex_unlock(&f->lock));
}

/* When all is answered: what the files import and did not bring along. */
static void ask_imports(struct fetch *f) {
    for (size_t i = 0; i < f->n_files; i++) {
        struct ang_wire_iter it = ang_wire_iter_of(ang_blob_slice(f->files[i].bytes));
        struct ang_wire_field field;

        while (ang_wire_next(&it, &field))
            if (field.number == FILE_DEPENDENCY && field.type == ANG_WIRE_BYTES && !has_file(f, field.bytes) &&
                f->n_questions < QUESTIONS_MAX)
                ask(f, ASK_FILE, field.bytes);
    }
}

static void done(void *arg, const struct ang_rpc_result *res);

static void go_on(struct fetch *f) {
    struct ang_buf request = {NULL, 0, 0};
    struct ang_slice part;

    if (f->er == NULL && f->next == f->n_questions)
        ask_imports(f);
    if (f->er != NULL || f->next == f->n_questions) {
        finish(f);
        return;
    }
    ang_wire_put_str(&request, f->questions[f->next].kind, f->questions[f->next].text);
    part = ang_buf_slice(&request);
    (void)ang_rpc_call_start(f->ch, &(struct ang_rpc_req){.path = paths[f->version],
                                                          .parts = &part,
                                                          .n_parts = 1,
                                                          .deadline_ms = f->deadline_ms,
                                                          .wait_for_ready = true,
                                                          .done = done,
                                                          .message = message,
                                                          .arg = f});
    ang_buf_fini(&request);
}

static void done(void *arg, const struct ang_rpc_result *res) {
    struct fetch *f;

    ANG_CAST(f, arg, ANG_FETCH_MAGIC);
    if (res->code == ANG_UNIMPLEMENTED && f->version + 1 < ANG_COUNT(paths) && f->er == NULL) {
        f->version++;
    } else {
        if (res->code == ANG_UNIMPLEMENTED && f->er == NULL)
            f->er = ang_err_new(ANG_E_INVALID, "%s: it has no server reflection", f->address);
        else if (res->code != ANG_OK && f->er == NULL)
            f->er = ang_err_new(ANG_E_TIMEOUT, "%s: server reflection: %s: %.*s", f->address, ang_code_name(res->code),
                                (int)res->msg.n, (const char *)res->msg.p);
        f->next++;
    }
    go_on(f);
}

static void begin(void *arg) {
    struct fetch *f = arg;

    f->er = ang_rpc_channel_open(f->loop, f->address, &f->ch);
    if (f->er == NULL) {
        go_on(f);
        return;
    }
    ANG_PT(pthread_mutex_lock(&f->lock));
    f->over = true;
    ANG_PT(pthread_mutex_unlock(&f->lock));
}

/* ---- the set ---- */

/* What it imports first; files that import each other are in some order.  As deep as there are files at most. */
static void put_file(struct fetch *f, struct got_file *file, struct ang_buf *set) {
    struct ang_wire_iter it = ang_wire_iter_of(ang_blob_slice(file->bytes));
    struct ang_wire_field field;

    if (file->put)
        return;
    file->put = true;
    while (ang_wire_next(&it, &field))
        for (size_t i = 0; field.number == FILE_DEPENDENCY && field.type == ANG_WIRE_BYTES && i < f->n_files; i++)
            if (ang_slice_is(field.bytes, f->files[i].name))
                put_file(f, &f->files[i], set);
    ang_wire_put_bytes(set, SET_FILE, ang_blob_slice(file->bytes));
}

static void fetch_fini(struct fetch *f) {
    for (size_t i = 0; i < f->n_questions; i++)
        free(f->questions[i].text);
    free(f->questions);
    for (size_t i = 0; i < f->n_files; i++) {
        free(f->files[i].name);
        ang_blob_unref(f->files[i].bytes);
    }
    free(f->files);
    ANG_PT(pthread_cond_destroy(&f->cond));
    ANG_PT(pthread_mutex_destroy(&f->lock));
}

struct ang_err *ang_reflection_fetch(const char *address, const struct ang_slice *symbols, size_t n, int64_t timeout_ms,
                                     struct ang_buf *ret_set) {
    struct fetch f = {.magic = ANG_FETCH_MAGIC, .address = address, .deadline_ms = ang_now_ms() + timeout_ms};

    ANG_PT(pthread_mutex_init(&f.lock, NULL));
    ANG_PT(pthread_cond_init(&f.cond, NULL));
    for (size_t i = 0; i < n; i++)
        ask(&f, ASK_SYMBOL, symbols[i]);
    if (n == 0)
        ask(&f, ASK_SERVICES, ang_slice_str("*"));
    f.loop = ang_loop_new("reflection", NULL, NULL);
    ang_loop_start(f.loop);
    ang_loop_call(f.loop, begin, &f);
    ANG_PT(pthread_mutex_lock(&f.lock));
    while (!f.over) /* each call has the deadline */
        ANG_PT(pthread_cond_wait(&f.cond, &f.lock));
    ANG_PT(pthread_mutex_unlock(&f.lock));
    ang_loop_stop(f.loop);
    for (size_t i = 0; f.er == NULL && i < f.n_files; i++)
        put_file(&f, &f.files[i], ret_set);
    fetch_fini(&f);
    return (f.er);
}
