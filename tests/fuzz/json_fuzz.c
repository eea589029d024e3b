/* proto/types.h and proto/json.h against whatever bytes there are.
 *
 *     json_fuzz [--rounds N] [--seed S] DESCRIPTORS FILE…
 *
 * runs every file, then N mutations of them; with -fsanitize=fuzzer (clang) libFuzzer brings main and the inputs, and the
 * environment names the DESCRIPTORS in JSON_FUZZ_DESCRIPTORS.
 *
 * An input is a line and what follows it: "text TYPE" and JSON, "bytes TYPE" and an encoded message, "set" and a
 * FileDescriptorSet.  Nothing may crash, leak or take longer than ALARM seconds, and what was accepted once must stay as it
 * is: what is printed can be parsed, and prints the same again. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/builtin.h"
#include "proto/json.h"
#include "proto/wire.h"

#define ALARM     60
#define MAX_INPUT 65536

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct ang_types *types;

static struct ang_slice read_file(const char *path, struct ang_buf *b) {
    FILE *f = fopen(path, "rb");

    if (f == NULL) {
        perror(path);
        exit(2);
    }
    do
        b->n += fread(ang_buf_reserve(b, MAX_INPUT), 1, MAX_INPUT, f);
    while (!feof(f) && !ferror(f));
    fclose(f);
    return (ang_buf_slice(b));
}

static void load(const char *path) {
    struct ang_buf b = {0};
    struct ang_err *er;

    types = ang_types_new();
    er = ang_types_add_builtin(types);
    if (er == NULL)
        er = ang_types_add(types, read_file(path, &b), path);
    if (er == NULL)
        er = ang_types_link(types);
    ang_buf_fini(&b);
    if (er != NULL) {
        fprintf(stderr, "%s\n", er->msg);
        exit(2);
    }
}

/* ---- what must hold ---- */

static void must(bool ok, const char *what, const struct ang_type *type, const struct ang_err *er,
                 struct ang_slice text) {
    if (ok)
        return;
    fprintf(stderr, "%s: %s: %s\n%.*s\n", ang_type_name(type), what, er == NULL ? "" : er->msg, (int)text.n,
            (const char *)text.p);
    abort();
}

/* A message that misses what proto2 requires can be printed and not parsed. */
static bool may_be_refused(const struct ang_err *er) {
    return (strstr(er->msg, "requires the field") != NULL);
}

static void print_all_ways(const struct ang_type *type, struct ang_slice message) {
    static const struct ang_json_opts ways[] = {{.pretty = true},
                                                {.proto_names = true, .defaults = true},
                                                {.any = ANG_JSON_ANY_SHOW},
                                                {.any = ANG_JSON_ANY_REFUSE},
                                                {.max = 100}};
    struct ang_buf out = {0};

    for (size_t i = 0; i < ANG_COUNT(ways); i++) {
        struct ang_err *er = ang_json_print(type, message, &ways[i], &out);

        must(er == NULL || out.n == 0, "an error left something behind", type, er, ang_buf_slice(&out));
        ang_err_free(&er);
        ang_buf_clear(&out);
    }
    ang_buf_fini(&out);
}

static void try_bytes(const struct ang_type *type, struct ang_slice message) {
    struct ang_buf text = {0}, again = {0}, bytes = {0};
    struct ang_err *er = ang_json_print(type, message, NULL, &text);

    if (er == NULL) {
        must(ang_utf8_ok(ang_buf_slice(&text)), "what is printed is not UTF-8", type, NULL, ang_buf_slice(&text));
        er = ang_json_parse(type, ang_buf_slice(&text), NULL, &bytes);
        must(er == NULL || may_be_refused(er), "what is printed cannot be parsed", type, er, ang_buf_slice(&text));
        if (er == NULL) {
            er = ang_json_print(type, ang_buf_slice(&bytes), NULL, &again);
            must(er == NULL, "what was parsed cannot be printed", type, er, ang_buf_slice(&text));
            must(ang_slice_eq(ang_buf_slice(&text), ang_buf_slice(&again)), "it prints differently", type, NULL,
                 ang_buf_slice(&text));
        }
    }
    ang_err_free(&er);
    print_all_ways(type, message);
    ang_buf_fini(&text);
    ang_buf_fini(&again);
    ang_buf_fini(&bytes);
}

static void try_text(const struct ang_type *type, struct ang_slice text) {
    struct ang_buf bytes = {0}, out = {0};
    struct ang_err *er = ang_json_parse(type, text, NULL, &bytes);

    if (er == NULL) {
        er = ang_json_print(type, ang_buf_slice(&bytes), NULL, &out);
        must(er == NULL, "what was parsed cannot be printed", type, er, text);
        try_bytes(type, ang_buf_slice(&bytes));
    } else {
        must(bytes.n == 0, "an error left something behind", type, er, text);
    }
    ang_err_free(&er);
    ang_buf_fini(&bytes);
    ang_buf_fini(&out);
}

static void try_set(struct ang_slice set) {
    static const uint8_t some[] = {0x0a, 0x03, 0x0a, 0x01, 0x61, 0x10, 0x01, 0x1a, 0x00, 0x25, 1, 2, 3, 4};
    struct ang_types *ty = ang_types_new();
    struct ang_err *er = ang_types_add(ty, set, "fuzz");

    if (er == NULL)
        ang_types_missing(ty);
    if (er == NULL)
        er = ang_types_link(ty);
    for (size_t i = 0; er == NULL && i < ang_types_n_messages(ty) && i < 50; i++) {
        const struct ang_type *type = ang_types_message_at(ty, i);

        must(ang_types_message(ty, ang_slice_str(ang_type_name(type))) == type, "not found by its name", type, NULL,
             ang_slice_str(""));
        print_all_ways(type, ang_slice_of(some, sizeof(some)));
        try_text(type, ang_slice_str("{}"));
    }
    ang_err_free(&er);
    ang_types_free(&ty);
}

/* ---- one input ---- */

/* Behind the line's blank. */
static const struct ang_type *type_named(struct ang_slice line) {
    const uint8_t *blank = memchr(line.p, ' ', line.n);
    size_t n = blank == NULL ? 0 : line.n - (size_t)(blank + 1 - line.p);
    const struct ang_type *type = ang_types_message(types, ang_slice_of(blank == NULL ? NULL : blank + 1, n));

    return (type == NULL ? ang_types_message(types, ang_slice_str("rich.Rich")) : type);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    const uint8_t *newline = n == 0 ? NULL : memchr(p, '\n', n);
    struct ang_slice line, rest;
    uint8_t *exact;

    if (types == NULL)
        load(getenv("JSON_FUZZ_DESCRIPTORS"));
    if (newline == NULL)
        return (0);
    line = ang_slice_of(p, (size_t)(newline - p));
    rest.n = n - line.n - 1;
    exact = ang_malloc(rest.n + 1); /* so that AddressSanitizer sees a read past the end */
    memcpy(exact, newline + 1, rest.n);
    exact = ang_realloc(exact, rest.n == 0 ? 1 : rest.n);
    rest.p = exact;
    if (line.n > 0 && line.p[0] == 't')
        try_text(type_named(line), rest);
    else if (line.n > 0 && line.p[0] == 'b')
        try_bytes(type_named(line), rest);
    else if (line.n > 0 && line.p[0] == 's')
        try_set(rest);
    free(exact);
    return (0);
}

#ifndef JSON_FUZZ_LIBFUZZER

/* ---- without libFuzzer: mutations of our own ---- */

struct corpus {
    struct ang_buf *items;
    size_t n;
};

static uint64_t rng_state;

static uint32_t rnd(size_t below) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return ((uint32_t)((rng_state >> 32) % (below == 0 ? 1 : below)));
}

static struct ang_buf *add_item(struct corpus *c) {
    c->items = ang_realloc(c->items, (c->n + 1) * sizeof(*c->items));
    memset(&c->items[c->n], 0, sizeof(*c->items));
    return (&c->items[c->n++]);
}

static void add_set(struct corpus *c, struct ang_slice set) {
    struct ang_buf *item = add_item(c);

    ang_buf_add_str(item, "set\n");
    ang_buf_add_slice(item, set);
}

/* A text that can be parsed is also there as bytes. */
static void add_bytes_of(struct corpus *c, struct ang_slice item) {
    const uint8_t *newline = memchr(item.p, '\n', item.n);
    struct ang_buf bytes = {0}, *made;
    struct ang_err *er;
    struct ang_slice line;

    AN(newline);
    line = ang_slice_of(item.p, (size_t)(newline - item.p));
    er = ang_json_parse(type_named(line), ang_slice_of(newline + 1, item.n - line.n - 1), NULL, &bytes);
    if (er == NULL) {
        made = add_item(c);
        ang_buf_addf(made, "bytes %.*s\n", (int)line.n - 5, (const char *)line.p + 5);
        ang_buf_add_slice(made, ang_buf_slice(&bytes));
    }
    ang_err_free(&er);
    ang_buf_fini(&bytes);
}

static void insert(struct ang_buf *b, size_t at, struct ang_slice s) {
    ang_buf_reserve(b, s.n);
    memmove(b->p + at + s.n, b->p + at, b->n - at);
    memcpy(b->p + at, s.p, s.n);
    b->n += s.n;
}

static void cut(struct ang_buf *b, size_t at, size_t n) {
    memmove(b->p + at, b->p + at + n, b->n - at - n);
    b->n -= n;
}

/* Something from another item or from the same, in place of something. */
static void splice(struct ang_buf *b, size_t at, const struct ang_buf *other) {
    size_t from = rnd(other->n), n = rnd(other->n - from < 40 ? other->n - from + 1 : 40);
    struct ang_buf piece = {0};

    ang_buf_add(&piece, other->p + from, n);
    if (rnd(2) == 0)
        cut(b, at, rnd(b->n - at < 20 ? b->n - at + 1 : 20));
    if (b->n < MAX_INPUT && piece.n > 0)
        insert(b, at, ang_buf_slice(&piece));
    ang_buf_fini(&piece);
}

static void mutate(struct ang_buf *b, const struct corpus *c) {
    static const char *const words[] = {"null",
                                        "{}",
                                        "[]",
                                        "\"@type\":\"a/rich.Tree\",",
                                        "\"\"",
                                        "1e999999999",
                                        "-0",
                                        "\\ud800",
                                        "\"NaN\"",
                                        "\xff\xff\xff\xff\x0f",
                                        "\x80",
                                        "[[[[[[[[[[",
                                        "{\"left\":{\"left\":",
                                        "9999999999999999999999"};
    size_t at = rnd(b->n);

    if (b->n == 0)
        return;
    switch (rnd(7)) {
    case 0:
        b->p[at] = (uint8_t)rnd(256);
        break;
    case 1:
        b->p[at] ^= (uint8_t)(1u << rnd(8));
        break;
    case 2:
        b->p[at] = (uint8_t)(b->p[at] + 1 - 2 * rnd(2));
        break;
    case 3:
        cut(b, at, 1 + rnd(b->n - at < 8 ? b->n - at : 8));
        break;
    case 4:
        insert(b, at, ang_slice_str(words[rnd(ANG_COUNT(words))]));
        break;
    case 5:
        splice(b, at, b);
        break;
    case 6:
        splice(b, at, &c->items[rnd(c->n)]);
        break;
    }
}

static void run(struct ang_slice s) {
    alarm(ALARM);
    LLVMFuzzerTestOneInput(s.p, s.n);
    alarm(0);
}

/* Sets are much bigger than the others and take longer: one round in twenty. */
static void rounds(const struct corpus *c, size_t n_sets, unsigned n) {
    struct ang_buf b = {0};

    for (unsigned i = 0; i < n; i++) {
        size_t which = rnd(20) == 0 ? rnd(n_sets) : n_sets + rnd(c->n - n_sets);

        ang_buf_clear(&b);
        ang_buf_add_slice(&b, ang_buf_slice(&c->items[which]));
        for (unsigned k = 1 + rnd(4); k > 0; k--)
            mutate(&b, c);
        run(ang_buf_slice(&b));
    }
    ang_buf_fini(&b);
}

int main(int argc, char **argv) {
    struct corpus c = {0};
    struct ang_buf descriptors = {0};
    unsigned n = 0;
    size_t n_sets;
    int i = 1;

    rng_state = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2)
        if (strcmp(argv[i], "--rounds") == 0)
            n = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else
            rng_state = strtoull(argv[i + 1], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    if (argc - i < 2) {
        fprintf(stderr, "json_fuzz [--rounds N] [--seed S] DESCRIPTORS FILE…\n");
        return (2);
    }
    load(argv[i]);
    add_set(&c, read_file(argv[i++], &descriptors));
    add_set(&c, ang_slice_of(ang_builtin_descriptors, ang_builtin_descriptors_n));
    n_sets = c.n;
    for (; i < argc; i++) {
        struct ang_slice item = read_file(argv[i], add_item(&c));

        if (item.n > 0 && item.p[0] == 't')
            add_bytes_of(&c, item);
    }
    for (size_t k = 0; k < c.n; k++)
        run(ang_buf_slice(&c.items[k]));
    rounds(&c, n_sets, n);
    printf("%zu inputs and %u mutations of them\n", c.n, n);
    for (size_t k = 0; k < c.n; k++)
        ang_buf_fini(&c.items[k]);
    free(c.items);
    ang_buf_fini(&descriptors);
    ang_types_free(&types);
    return (0);
}

#endif
