/* Statuses: built here, cut to what every client accepts when they are sent.  gRPC's own clients refuse a header block
 * over 8 KiB, so message and trailers stay under 4 KiB together. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/rpc_priv.h"

static const char *const code_names[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};
_Static_assert(ANG_COUNT(code_names) == ANG_CODES, "one name per code");

const char *ang_code_name(uint32_t code) {
    return (code < ANG_COUNT(code_names) ? code_names[code] : "UNKNOWN");
}

struct ang_status *ang_status_new(uint32_t code, const char *fmt, ...) {
    struct ang_status *st = ANG_NEW(struct ang_status);
    va_list ap;

    st->code = code;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    AN(n >= 0);
    st->msg = ang_malloc((size_t)n + 1);
    va_start(ap, fmt);
    (void)vsnprintf(st->msg, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return (st);
}

/* Where a pointer into the old memory points after it has moved; others stay. */
static const void *moved(const void *p, uintptr_t old, size_t n, const uint8_t *now) {
    uintptr_t at = (uintptr_t)p;
    return (at >= old && at < old + n ? now + (at - old) : p);
}

void ang_status_add(struct ang_status *st, const char *key, struct ang_slice value) {
    size_t n_key = strlen(key) + 1, n_old = st->mem.n;
    uintptr_t old = (uintptr_t)st->mem.p;

    uint8_t *p = ang_buf_reserve(&st->mem, n_key + value.n);
    for (size_t i = 0; i < st->n_trailers && (uintptr_t)st->mem.p != old; i++) {
        struct ang_meta *t = &st->trailers[i];
        t->key = moved(t->key, old, n_old, st->mem.p);
        t->value.p = moved(t->value.p, old, n_old, st->mem.p);
    }
    memcpy(p, key, n_key);
    if (value.n != 0)
        memcpy(p + n_key, value.p, value.n);
    st->mem.n += n_key + value.n;
    st->trailers = ang_realloc(st->trailers, (st->n_trailers + 1) * sizeof(*st->trailers));
    st->trailers[st->n_trailers++] = (struct ang_meta){
        .key = (const char *)p,
        .value = value.n == 0 ? ANG_SLICE_NONE : ang_slice_of(p + n_key, value.n),
    };
}

struct ang_status *ang_status_dup(const struct ang_status *st) {
    struct ang_status *dup = ANG_NEW(struct ang_status);
    dup->code = st->code;
    dup->msg = ang_strdup(st->msg == NULL ? "" : st->msg);
    for (size_t i = 0; i < st->n_trailers; i++)
        ang_status_add(dup, st->trailers[i].key, st->trailers[i].value);
    return (dup);
}

void ang_status_free(struct ang_status **st) {
    if (*st == NULL)
        return;
    free((*st)->msg);
    free((*st)->trailers);
    ang_buf_fini(&(*st)->mem);
    free(*st);
    *st = NULL;
}

struct ang_status *ang_status_from_err(struct ang_err **er) {
    uint32_t code;
    struct ang_status *st;

    ANG_CHECK(*er, ANG_ERR_MAGIC);
    if ((*er)->code == ANG_E_INVALID || (*er)->code == ANG_E_WIRE)
        code = ANG_INVALID_ARGUMENT;
    else if ((*er)->code == ANG_E_NO_DOMAIN)
        code = ANG_NOT_FOUND;
    else if ((*er)->code == ANG_E_TOO_BIG)
        code = ANG_RESOURCE_EXHAUSTED;
    else /* missing rights are mended at the broker, not by the caller */
        code = (*er)->cls == ANG_RETRY || (*er)->code == ANG_E_LOG_AUTH ? ANG_UNAVAILABLE : ANG_INTERNAL;
    st = ang_status_new(code, "%s", (*er)->msg);
    ang_err_free(er);
    return (st);
}

/* At most max bytes, not ending inside a character.  Bytes that are not UTF-8 are cut anywhere. */
static size_t cut_utf8(const char *s, size_t n, size_t max) {
    if (n <= max)
        return (n);
    size_t cut = max;
    while (cut > max - 4 && ((uint8_t)s[cut] & 0xc0) == 0x80)
        cut--;
    return (((uint8_t)s[cut] & 0xc0) == 0x80 ? max : cut);
}

/* Sizes as HTTP/2 counts them: name, value as it is on the wire, and 32 more. */
static size_t msg_size(const char *s, size_t n) {
    size_t size = strlen("grpc-message") + 32;
    for (size_t i = 0; i < n; i++)
        size += (uint8_t)s[i] < 0x20 || (uint8_t)s[i] > 0x7e || s[i] == '%' ? 3 : 1;
    return (size);
}

static size_t meta_size(const struct ang_meta *m) {
    size_t n_key = strlen(m->key);
    bool bin = n_key >= 4 && strcmp(m->key + n_key - 4, "-bin") == 0;
    return (n_key + 32 + (bin ? (m->value.n + 2) / 3 * 4 : m->value.n));
}

void ang_status_wire_init(struct ang_status_wire *w, const struct ang_status *st) {
    *w = (struct ang_status_wire){.code = GRPC_STATUS_OK, .msg = grpc_empty_slice()};
    if (st == NULL)
        return;
    w->code = (grpc_status_code)st->code;
    const char *msg = st->msg == NULL ? "" : st->msg;
    size_t n = cut_utf8(msg, strlen(msg), ANG_STATUS_MSG_MAX);
    w->msg = grpc_slice_from_copied_buffer(msg, n);

    size_t left = ANG_STATUS_BLOCK_MAX - msg_size(msg, n) - strlen("grpc-status16") - 32;
    if (st->n_trailers != 0)
        w->md = ang_malloc(st->n_trailers * sizeof(*w->md));
    for (size_t i = 0; i < st->n_trailers; i++) {
        size_t size = meta_size(&st->trailers[i]);
        if (size < left && ang_md_new(&st->trailers[i], &w->md[w->n_md])) {
            w->n_md++;
            left -= size;
        }
    }
}

void ang_status_wire_fini(struct ang_status_wire *w) {
    grpc_slice_unref(w->msg);
    ang_md_free(w->md, w->n_md);
    free(w->md);
}
