/* How fast messages are converted.
 *
 *     json_speed DESCRIPTORS FILE…
 *
 * FILE is as in tests/fuzz/corpus/json: "text TYPE" and JSON.  Prints megabytes per second, of JSON, both ways. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/json.h"

#define SECOND CLOCKS_PER_SEC /* of processor time: other processes do not count */

static struct ang_slice read_file(const char *path, struct ang_buf *b) {
    FILE *f = fopen(path, "rb");

    AN(f);
    ang_buf_clear(b);
    do
        b->n += fread(ang_buf_reserve(b, 65536), 1, 65536, f);
    while (!feof(f) && !ferror(f));
    fclose(f);
    return (ang_buf_slice(b));
}

static void must(struct ang_err *er) {
    if (er == NULL)
        return;
    fprintf(stderr, "%s\n", er->msg);
    exit(1);
}

static double measure(const struct ang_type *type, struct ang_slice in, bool parse) {
    struct ang_buf out = {0};
    clock_t from = clock(), till = from;
    size_t n = 0;

    for (; till - from < SECOND; till = clock())
        for (int i = 0; i < 100; i++) {
            ang_buf_clear(&out);
            must(parse ? ang_json_parse(type, in, NULL, &out) : ang_json_print(type, in, NULL, &out));
            n += parse ? in.n : out.n;
        }
    ang_buf_fini(&out);
    return ((double)n / 1e6 / ((double)(till - from) / CLOCKS_PER_SEC));
}

static void measure_file(const struct ang_types *ty, const char *path) {
    struct ang_buf file = {0}, bytes = {0}, text = {0};
    struct ang_slice all = read_file(path, &file), name;
    const uint8_t *newline = memchr(all.p, '\n', all.n);
    const struct ang_type *type;

    AN(newline);
    name = ang_slice_of(all.p + 5, (size_t)(newline - all.p) - 5);
    type = ang_types_message(ty, name);
    AN(type);
    must(ang_json_parse(type, ang_slice_of(newline + 1, all.n - name.n - 6), NULL, &bytes));
    must(ang_json_print(type, ang_buf_slice(&bytes), NULL, &text));
    printf("%-50s %6zu bytes %6zu of JSON  print %7.1f  parse %7.1f MB/s\n", path, bytes.n, text.n,
           measure(type, ang_buf_slice(&bytes), false), measure(type, ang_buf_slice(&text), true));
    ang_buf_fini(&file);
    ang_buf_fini(&bytes);
    ang_buf_fini(&text);
}

int main(int argc, char **argv) {
    struct ang_types *ty = ang_types_new();
    struct ang_buf set = {0};

    if (argc < 3)
        return (2);
    must(ang_types_add_builtin(ty));
    must(ang_types_add(ty, read_file(argv[1], &set), argv[1]));
    must(ang_types_link(ty));
    for (int i = 2; i < argc; i++)
        measure_file(ty, argv[i]);
    ang_buf_fini(&set);
    ang_types_free(&ty);
    return (0);
}
