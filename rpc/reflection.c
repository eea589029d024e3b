/* grpc.reflection.v1 and v1alpha: the same messages under two names, so one handler serves both.
 *
 * A stream asks for one request at a time and answers it before it asks for the next, so a caller that does not read is not
 * read from either.  Everything here is the loop's thread alone. */
#include <stdlib.h>

#include "proto/catalog.h"
#include "proto/wire.h"
#include "rpc/rpc_priv.h"

/* Imports are sent along up to here; a client asks by name for those that are left out, as for any it does not know. */
#define ANSWER_MAX ((size_t)1 << 20)
#define QUEUED_LOW ((size_t)1 << 20)
#define SHOWN_MAX  200 /* of a name, in an error */

enum { REQUEST_HOST = 1, ANSWER_HOST = 1, ANSWER_REQUEST = 2, LIST_SERVICE = 1, SERVICE_NAME = 1, FILES_FILE = 1 };
enum {
    NUMBERS_TYPE = 1,
    NUMBERS_NUMBER = 2,
    ERROR_CODE = 1,
    ERROR_MESSAGE = 2,
    EXTENSION_TYPE = 1,
    EXTENSION_NUMBER = 2
};
enum { ANSWER_FILES = 4, ANSWER_NUMBERS = 5, ANSWER_SERVICES = 6, ANSWER_ERROR = 7 };

enum question_kind { /* the number of the request's field */
                     ASK_NOTHING = 0,
                     ASK_FILE = 3,
                     ASK_SYMBOL = 4,
                     ASK_EXTENSION = 5,
                     ASK_NUMBERS = 6,
                     ASK_SERVICES = 7
};

struct question {
    enum question_kind kind;
    struct ang_slice host, text; /* text: the file, the symbol, the type that is extended */
    int32_t number;              /* of the extension */
};

struct stream {
    struct stream *next, **prev;
    struct ang_reflection *r;
    struct ang_rpc *rpc;
    bool *sent; /* per file: this stream has had it */
};

struct ang_reflection {
    unsigned magic;
#define ANG_REFLECTION_MAGIC 0x4ef1ec01
    /* set once */
    const struct ang_catalog *types;
    struct ang_buf services; /* an encoded ListServiceResponse */
    /* loop */
    struct stream *streams;
    bool closed;
};

/* ---- the services ---- */

/* "/angzarr.EventQuery/GetEvents" -> "angzarr.EventQuery" */
static struct ang_slice service_of(const struct ang_rpc_method *m) {
    return (ang_slice_of(m->path + 1, (size_t)(strrchr(m->path, '/') - m->path) - 1));
}

static int by_bytes(const void *a, const void *b) {
    const struct ang_slice *x = a, *y = b;
    const int d = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);

    return (d != 0 ? d : (x->n > y->n) - (x->n < y->n));
}

static void list_services(struct ang_reflection *r, const struct ang_rpc_method *methods, size_t n_methods) {
    struct ang_slice *names = ang_calloc(n_methods + ANG_HEALTH_METHODS + ANG_REFLECTION_METHODS, sizeof(*names));
    size_t n = 0;

    for (size_t i = 0; i < n_methods; i++)
        names[n++] = service_of(&methods[i]);
    for (size_t i = 0; i < ANG_HEALTH_METHODS; i++)
        names[n++] = service_of(&ang_health_methods[i]);
    for (size_t i = 0; i < ANG_REFLECTION_METHODS; i++)
        names[n++] = service_of(&ang_reflection_methods[i]);
    qsort(names, n, sizeof(*names), by_bytes);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && ang_slice_eq(names[i - 1], names[i]))
            continue;
        ang_wire_put_header(&r->services, LIST_SERVICE, ang_wire_len_bytes(SERVICE_NAME, names[i].n));
        ang_wire_put_bytes(&r->services, SERVICE_NAME, names[i]);
    }
    free(names);
}

/* ---- the request ---- */

static bool read_text(const struct ang_wire_field *f, struct ang_slice *ret_text) {
    if (f->type != ANG_WIRE_BYTES || !ang_utf8_ok(f->bytes))
        return (false);
    *ret_text = f->bytes;
    return (true);
}

static bool read_extension(const struct ang_wire_field *f, struct question *q) {
    struct ang_wire_iter it;
    struct ang_wire_field sub;

    if (f->type != ANG_WIRE_BYTES)
        return (false);
    q->text = ANG_SLICE_NONE;
    q->number = 0;
    for (it = ang_wire_iter_of(f->bytes); ang_wire_next(&it, &sub);) {
        if (sub.number == EXTENSION_TYPE && !read_text(&sub, &q->text))
            return (false);
        if (sub.number == EXTENSION_NUMBER) {
            if (sub.type != ANG_WIRE_VARINT)
                return (false);
            q->number = (int32_t)sub.value;
        }
    }
    return (it.what == NULL);
}

/* Of several questions in one request the last one counts, as for any oneof. */
static bool read_request(struct ang_slice in, struct question *q) {
    struct ang_wire_iter it = ang_wire_iter_of(in);
    struct ang_wire_field f;
    bool ok = true;

    *q = (struct question){.kind = ASK_NOTHING};
    while (ok && ang_wire_next(&it, &f)) {
        if (f.number == REQUEST_HOST) {
            ok = read_text(&f, &q->host);
        } else if (f.number == ASK_EXTENSION) {
            q->kind = ASK_EXTENSION;
            ok = read_extension(&f, q);
        } else if (f.number >= ASK_FILE && f.number <= ASK_SERVICES) {
            q->kind = (enum question_kind)f.number;
            ok = read_text(&f, &q->text);
        }
    }
    return (ok && it.what == NULL);
}

/* ---- answers: each appends its field of the response ---- */

static void put_error(struct ang_buf *b, uint32_t code, char *text) {
    const size_t n = strlen(text);

    ang_wire_put_header(b, ANSWER_ERROR, ang_wire_len_uint(ERROR_CODE, code) + ang_wire_len_bytes(ERROR_MESSAGE, n));
    ang_wire_put_uint(b, ERROR_CODE, code);
    ang_wire_put_bytes(b, ERROR_MESSAGE, ang_slice_of(text, n));
    free(text);
}

static void put_not_found(struct ang_buf *b, const char *what, struct ang_slice name) {
    const bool shown = name.n <= SHOWN_MAX && (name.n == 0 || memchr(name.p, '\0', name.n) == NULL);

    put_error(b, ANG_NOT_FOUND,
              shown ? ang_sprintf("%s is not known here: %.*s", what, (int)name.n, (const char *)name.p)
                    : ang_sprintf("%s is not known here", what));
}

/* The file first, also when this stream has had it; then all that it imports, nearest first, as far as it has not. */
static void put_files(struct stream *st, struct ang_buf *b, const struct ang_catalog_file *file) {
    const size_t size = ang_catalog_size(st->r->types);
    const struct ang_catalog_file **list = ang_calloc(size, sizeof(struct ang_catalog_file *));
    bool *listed = ang_calloc(size, sizeof(bool));
    size_t n = 1, total = 0;

    list[0] = file;
    listed[file->index] = true;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < list[i]->n_imports; k++) {
            const struct ang_catalog_file *import = list[i]->imports[k];

            if (!listed[import->index])
                list[n++] = import;
            listed[import->index] = true;
        }
    for (size_t i = 0; i < n; i++) {
        const size_t more = ang_wire_len_bytes(FILES_FILE, list[i]->bytes.n);

        listed[list[i]->index] = i == 0 || (!st->sent[list[i]->index] && total + more <= ANSWER_MAX);
        if (listed[list[i]->index])
            total += more;
    }
    ang_wire_put_header(b, ANSWER_FILES, total);
    for (size_t i = 0; i < n; i++)
        if (listed[list[i]->index]) {
            ang_wire_put_bytes(b, FILES_FILE, list[i]->bytes);
            st->sent[list[i]->index] = true;
        }
    free(list);
    free(listed);
}

static void put_found(struct stream *st, struct ang_buf *b, const struct ang_catalog_file *file, const char *what,
                      struct ang_slice name) {
    if (file == NULL)
        put_not_found(b, what, name);
    else
        put_files(st, b, file);
}

static void put_numbers(const struct stream *st, struct ang_buf *b, struct ang_slice type) {
    const struct ang_catalog_extension *x;
    const size_t n = ang_catalog_extensions(st->r->types, type, &x);
    struct ang_buf out = {NULL, 0, 0};

    if (n == 0 && !ang_catalog_has_message(st->r->types, type)) {
        put_not_found(b, "the message", type);
        return;
    }
    ang_wire_put_bytes(&out, NUMBERS_TYPE, type);
    for (size_t i = 0; i < n; i++)
        ang_wire_put_int(&out, NUMBERS_NUMBER, x[i].number);
    ang_wire_put_bytes(b, ANSWER_NUMBERS, ang_buf_slice(&out));
    ang_buf_fini(&out);
}

static void put_answer(struct stream *st, struct ang_buf *b, const struct question *q) {
    const struct ang_catalog *types = st->r->types;

    switch (q->kind) {
    case ASK_FILE:
        put_found(st, b, ang_catalog_named(types, q->text), "the file", q->text);
        return;
    case ASK_SYMBOL:
        put_found(st, b, ang_catalog_defining(types, q->text), "the symbol", q->text);
        return;
    case ASK_EXTENSION:
        put_found(st, b, ang_catalog_extending(types, q->text, q->number), "an extension of that number of the message",
                  q->text);
        return;
    case ASK_NUMBERS:
        put_numbers(st, b, q->text);
        return;
    case ASK_SERVICES:
        ang_wire_put_bytes(b, ANSWER_SERVICES, ang_buf_slice(&st->r->services));
        return;
    case ASK_NOTHING:
        put_error(b, ANG_INVALID_ARGUMENT, ang_strdup("the request asks for nothing that is known here"));
        return;
    }
    ang_panic(__FILE__, __LINE__, __func__, "kind out of range");
}

/* ---- streams ---- */

/* Ends it: *end NULL with OK. */
static void stream_end(struct stream *st, struct ang_status *end) {
    struct ang_rpc *rpc = st->rpc;

    *st->prev = st->next;
    if (st->next != NULL)
        st->next->prev = st->prev;
    free(st->sent);
    free(st);
    if (end == NULL)
        ang_rpc_end(rpc);
    else
        ang_rpc_fail(rpc, &end);
}

static void got(struct ang_rpc *rpc, void *user, const struct ang_slice *msg);

static void drained(struct ang_rpc *rpc, void *user) {
    ang_rpc_on_drained(rpc, 0, NULL);
    ang_rpc_read(rpc, got);
}

static void got(struct ang_rpc *rpc, void *user, const struct ang_slice *msg) {
    struct stream *st = user;
    struct ang_buf b = {NULL, 0, 0};
    struct ang_slice part;
    struct question q;

    if (msg == NULL) {
        stream_end(st, NULL);
        return;
    }
    if (!read_request(*msg, &q)) {
        stream_end(st, ang_status_new(ANG_INVALID_ARGUMENT, "%s: the request is not a ServerReflectionRequest",
                                      ang_rpc_path(rpc)));
        return;
    }
    ang_wire_put_bytes(&b, ANSWER_HOST, q.host);
    ang_wire_put_bytes(&b, ANSWER_REQUEST, *msg);
    put_answer(st, &b, &q);
    part = ang_buf_slice(&b);
    (void)ang_rpc_send(rpc, &part, 1); /* false: the caller is gone, cancelled comes */
    ang_buf_fini(&b);
    if (ang_rpc_queued(rpc) < QUEUED_LOW)
        ang_rpc_read(rpc, got);
    else
        ang_rpc_on_drained(rpc, QUEUED_LOW, drained);
}

static void cancelled(struct ang_rpc *rpc, void *user) {
    stream_end(user, ang_status_new(ANG_CANCELLED, "the caller is gone"));
}

static struct ang_status *stops(void) {
    return (ang_status_new(ANG_UNAVAILABLE, "the server stops"));
}

static void info(void *arg, struct ang_rpc *rpc, struct ang_slice request) {
    struct ang_reflection *r;
    struct stream *st;

    (void)request;
    ANG_CAST(r, arg, ANG_REFLECTION_MAGIC);
    if (r->closed) {
        struct ang_status *end = stops();
        ang_rpc_fail(rpc, &end);
        return;
    }
    st = ANG_NEW(struct stream);
    st->r = r;
    st->rpc = rpc;
    st->sent = ang_calloc(ang_catalog_size(r->types), sizeof(bool));
    st->next = r->streams;
    st->prev = &r->streams;
    if (st->next != NULL)
        st->next->prev = &st->next;
    r->streams = st;
    ang_rpc_set_user(rpc, st, cancelled);
    ang_rpc_read(rpc, got);
}

/* ---- life ---- */

struct ang_reflection *ang_reflection_new(const struct ang_catalog *types, const struct ang_rpc_method *methods,
                                          size_t n_methods) {
    struct ang_reflection *r = ANG_NEW(struct ang_reflection);

    r->magic = ANG_REFLECTION_MAGIC;
    r->types = types;
    list_services(r, methods, n_methods);
    return (r);
}

void ang_reflection_close(struct ang_reflection *r) {
    if (r == NULL)
        return;
    r->closed = true;
    while (r->streams != NULL)
        stream_end(r->streams, stops());
}

void ang_reflection_free(struct ang_reflection *r) {
    if (r == NULL)
        return;
    AZ(r->streams);
    ang_buf_fini(&r->services);
    r->magic = 0;
    free(r);
}

const struct ang_rpc_method ang_reflection_methods[ANG_REFLECTION_METHODS] = {
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", .kind = ANG_RPC_BIDI_STREAM, .handle = info},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     .kind = ANG_RPC_BIDI_STREAM,
     .handle = info},
};
