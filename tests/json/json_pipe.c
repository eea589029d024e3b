/* Converts a stream of items from stdin to stdout, for test_json.py.
 *
 *     json_pipe DESCRIPTORS < requests > answers
 *
 * A request is one letter, then the type's name and the item, each behind four bytes of length (big-endian):
 *     p  bytes to JSON     n  with proto names   i  pretty   d  with defaults   s  show bad payloads   r  refuse unknown ones
 *     j  JSON to bytes
 * An answer is '+' and the result, or '-' and the error's message, behind four bytes of length. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/json.h"

static bool read_exactly(void *p, size_t n) {
    return (fread(p, 1, n, stdin) == n);
}

static struct ang_slice read_piece(struct ang_buf *b) {
    uint8_t head[4];
    size_t n;

    ang_buf_clear(b);
    ANG_ASSERT(read_exactly(head, sizeof(head)));
    n = ang_get_be32(head);
    ANG_ASSERT(read_exactly(ang_buf_reserve(b, n), n));
    b->n = n;
    return (ang_buf_slice(b));
}

static void answer(char letter, struct ang_slice s) {
    uint8_t head[4];

    ang_put_be32(head, (uint32_t)s.n);
    putchar(letter);
    fwrite(head, 1, sizeof(head), stdout);
    fwrite(s.p, 1, s.n, stdout);
}

static struct ang_err *convert(const struct ang_types *ty, char letter, struct ang_slice name, struct ang_slice item,
                               struct ang_buf *ret) {
    struct ang_json_opts opts = {.proto_names = letter == 'n', .pretty = letter == 'i', .defaults = letter == 'd'};
    const struct ang_type *type = ang_types_message(ty, name);

    if (type == NULL)
        return (ang_err_new(ANG_E_TYPES, "%.*s: no such type", (int)name.n, (const char *)name.p));
    if (letter == 's')
        opts.any = ANG_JSON_ANY_SHOW;
    if (letter == 'r')
        opts.any = ANG_JSON_ANY_REFUSE;
    return (letter == 'j' ? ang_json_parse(type, item, &opts, ret) : ang_json_print(type, item, &opts, ret));
}

static struct ang_types *load(const char *path) {
    struct ang_types *ty = ang_types_new();
    struct ang_buf b = {0};
    FILE *f = fopen(path, "rb");
    struct ang_err *er;

    AN(f);
    do
        b.n += fread(ang_buf_reserve(&b, 65536), 1, 65536, f);
    while (!feof(f) && !ferror(f));
    fclose(f);
    er = ang_types_add_builtin(ty);
    if (er == NULL)
        er = ang_types_add(ty, ang_buf_slice(&b), path);
    if (er == NULL)
        er = ang_types_link(ty);
    if (er != NULL) {
        fprintf(stderr, "%s\n", er->msg);
        exit(1);
    }
    ang_buf_fini(&b);
    return (ty);
}

int main(int argc, char **argv) {
    struct ang_buf name = {0}, item = {0}, out = {0};
    struct ang_types *ty;
    char letter;

    if (argc != 2)
        return (2);
    ty = load(argv[1]);
    while (read_exactly(&letter, 1)) {
        struct ang_slice n = read_piece(&name), i = read_piece(&item);
        struct ang_err *er;

        ang_buf_clear(&out);
        er = convert(ty, letter, n, i, &out);
        answer(er == NULL ? '+' : '-', er == NULL ? ang_buf_slice(&out) : ang_slice_str(er->msg));
        ang_err_free(&er);
    }
    ang_buf_fini(&name);
    ang_buf_fini(&item);
    ang_buf_fini(&out);
    ang_types_free(&ty);
    return (0);
}
