/* Decodes what workers send on an Attach stream, without copying: at full load this runs once per command. */
#include <stdlib.h>

#include "gateway/workers.h"
#include "proto/wire.h"

enum answer_field { DOMAIN = 1, ROOT, EDITION, COMMAND_ID, ATTEMPT, FINAL, CODE, MESSAGE, RESPONSE, TRAILERS };

struct parsed {
    struct ang_slice domain, root, edition, command_id, message, response;
    uint64_t attempt, final, code;
    const uint8_t *trailers; /* where the first one begins; NULL: none */
};

static struct ang_err *bad(unsigned i, const char *field, const char *what) {
    return (ang_err_new(ANG_E_WIRE, "Answers.answers[%u]%s: %s", i, field, what));
}

static struct ang_err *take_bytes(unsigned i, const struct ang_wire_field *f, size_t max, const char *name,
                                  struct ang_slice *ret) {
    if (f->type != ANG_WIRE_BYTES)
        return (bad(i, name, "wrong wire type"));
    if (f->bytes.n > max)
        return (bad(i, name, "too long"));
    *ret = f->bytes;
    return (NULL);
}

static struct ang_err *take_uint(unsigned i, const struct ang_wire_field *f, const char *name, uint64_t *ret) {
    if (f->type != ANG_WIRE_VARINT)
        return (bad(i, name, "wrong wire type"));
    if (f->value > UINT32_MAX)
        return (bad(i, name, "out of range"));
    *ret = f->value;
    return (NULL);
}

static struct ang_err *parse(unsigned i, struct ang_slice raw, struct parsed *ret) {
    struct ang_wire_iter it = ang_wire_iter_of(raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct parsed){.attempt = 0};
    while (er == NULL && ang_wire_next(&it, &f)) {
        if (f.number == DOMAIN)
            er = take_bytes(i, &f, 64, ".domain", &ret->domain);
        else if (f.number == ROOT)
            er = take_bytes(i, &f, 16, ".root", &ret->root);
        else if (f.number == EDITION)
            er = take_bytes(i, &f, 64, ".edition", &ret->edition);
        else if (f.number == COMMAND_ID)
            er = take_bytes(i, &f, 128, ".command_id", &ret->command_id);
        else if (f.number == ATTEMPT)
            er = take_uint(i, &f, ".attempt", &ret->attempt);
        else if (f.number == FINAL)
            er = take_uint(i, &f, ".final", &ret->final);
        else if (f.number == CODE)
            er = take_uint(i, &f, ".code", &ret->code);
        else if (f.number == MESSAGE)
            er = take_bytes(i, &f, SIZE_MAX, ".message", &ret->message);
        else if (f.number == RESPONSE)
            er = take_bytes(i, &f, SIZE_MAX, ".response", &ret->response);
        else if (f.number == TRAILERS && ret->trailers == NULL)
            ret->trailers = f.raw.p;
    }
    if (er == NULL && it.what != NULL)
        er = bad(i, "", it.what);
    if (er == NULL && ret->root.n != 16)
        er = bad(i, ".root", "not 16 bytes");
    if (er == NULL && !ang_utf8_ok(ret->message))
        er = bad(i, ".message", "invalid UTF-8");
    return (er);
}

static struct ang_err *add_trailer(unsigned i, struct ang_slice raw, struct ang_status *st) {
    struct ang_wire_field key, value;
    struct ang_slice v = ANG_SLICE_NONE;
    char *name;

    if (!ang_wire_find(raw, 1, &key) || key.type != ANG_WIRE_BYTES || key.bytes.n == 0 ||
        memchr(key.bytes.p, '\0', key.bytes.n) != NULL)
        return (bad(i, ".trailers.key", "missing or malformed"));
    if (ang_wire_find(raw, 2, &value)) {
        if (value.type != ANG_WIRE_BYTES)
            return (bad(i, ".trailers.value", "wrong wire type"));
        v = value.bytes;
    }
    name = ang_slice_dup_str(key.bytes);
    ang_status_add(st, name, v);
    free(name);
    return (NULL);
}

/* Takes nothing: *ret_st is the caller's, also with an error. */
static struct ang_err *build_status(unsigned i, struct ang_slice raw, const struct parsed *a,
                                    struct ang_status **ret_st) {
    struct ang_wire_iter it;
    struct ang_wire_field f;
    struct ang_err *er = NULL;
    int n = a->message.n > 4096 ? 4096 : (int)a->message.n; /* sent cut to 1 KiB anyway */

    *ret_st = ang_status_new((uint32_t)a->code, "%.*s", n, (const char *)a->message.p);
    if (a->trailers == NULL)
        return (NULL);
    it = ang_wire_iter_of(ang_slice_of(a->trailers, (size_t)(raw.p + raw.n - a->trailers)));
    while (er == NULL && ang_wire_next(&it, &f))
        if (f.number == TRAILERS)
            er = f.type == ANG_WIRE_BYTES ? add_trailer(i, f.bytes, *ret_st) : bad(i, ".trailers", "wrong wire type");
    return (er);
}

static struct ang_err *decode_one(unsigned i, struct ang_slice raw, const struct ang_topology *t,
                                  void (*answer)(void *, const struct ang_pending_answer *), void *arg) {
    struct ang_pending_answer a = {.attempt = 0};
    struct ang_status *st = NULL;
    struct parsed p;
    struct ang_err *er = parse(i, raw, &p);

    if (er != NULL)
        return (er);
    a.id = (struct ang_pending_id){
        .domain = ang_topology_domain(t, p.domain), .root = p.root.p, .edition = p.edition, .command_id = p.command_id};
    a.attempt = (uint32_t)p.attempt;
    a.code = (uint32_t)p.code;
    a.final = p.final != 0;
    a.response = p.response;
    if (a.id.domain == NULL)
        return (NULL);
    if (a.code != ANG_OK)
        er = build_status(i, raw, &p, &st);
    a.status = st;
    if (er == NULL)
        answer(arg, &a);
    ang_status_free(&st);
    return (er);
}

struct ang_err *ang_answers_decode(struct ang_slice message, const struct ang_topology *t,
                                   void (*answer)(void *, const struct ang_pending_answer *), void *arg) {
    struct ang_wire_iter it = ang_wire_iter_of(message);
    struct ang_wire_field f;
    struct ang_err *er = NULL;
    unsigned i = 0;

    while (er == NULL && ang_wire_next(&it, &f)) {
        if (f.number != 1)
            continue;
        er = f.type == ANG_WIRE_BYTES ? decode_one(i, f.bytes, t, answer, arg) : bad(i, "", "wrong wire type");
        i++;
    }
    if (er == NULL && it.what != NULL)
        er = ang_err_new(ANG_E_WIRE, "Answers: %s", it.what);
    return (er);
}
