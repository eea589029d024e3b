/* Tables and lines on standard output. */
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/wire.h"
#include "tools/tool.h"

struct tool_table {
    size_t n; /* columns */
    char **cells;
    size_t n_cells;
};

/* A terminal obeys U+0000 to U+001F, and U+007F to U+009F, which are two bytes in UTF-8; the bytes of the latter alone are no UTF-8. */
static bool obeyed(struct ang_slice s, size_t i) {
    const uint8_t c = s.p[i];

    return (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < s.n && s.p[i + 1] >= 0x80 && s.p[i + 1] < 0xa0));
}

void tool_add_shown(struct ang_buf *b, struct ang_slice text) {
    const size_t valid = ang_utf8_len(text);

    for (size_t i = 0; i < text.n; i++)
        if (obeyed(text, i) || i >= valid)
            ang_buf_addf(b, "\\x%02x", text.p[i]);
        else
            ang_buf_add_u8(b, text.p[i]);
}

static char *shown(const char *text) {
    struct ang_buf b = {NULL, 0, 0};

    tool_add_shown(&b, ang_slice_str(text));
    ang_buf_add_u8(&b, '\0');
    return ((char *)b.p);
}

static void add(struct tool_table *t, const char *text) {
    t->cells = ang_realloc(t->cells, (t->n_cells + 1) * sizeof(*t->cells));
    t->cells[t->n_cells++] = shown(text);
}

struct tool_table *tool_table_new(const char *const *heads, size_t n) {
    struct tool_table *t = ANG_NEW(struct tool_table);

    t->n = n;
    for (size_t i = 0; i < n; i++)
        add(t, heads[i]);
    return (t);
}

void tool_table_add(struct tool_table *t, ...) {
    const char *text;
    va_list ap;
    size_t i;

    va_start(ap, t);
    for (i = 0; (text = va_arg(ap, const char *)) != NULL; i++)
        add(t, text);
    va_end(ap);
    AN(i == t->n);
}

/* Characters of UTF-8. */
static size_t width(const char *text) {
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return (n);
}

static size_t width_of_column(const struct tool_table *t, size_t column) {
    size_t widest = 0;

    for (size_t i = column; i < t->n_cells; i += t->n) {
        const size_t w = width(t->cells[i]);
        if (w > widest)
            widest = w;
    }
    return (widest);
}

static void print_cell(const char *text, size_t wide, bool right, bool last) {
    const int pad = (int)(wide - width(text));

    if (right)
        printf("%*s%s", pad, "", text);
    else
        printf("%s%*s", text, last ? 0 : pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

void tool_table_print(struct tool_table *t, uint32_t right) {
    size_t *wide = ang_calloc(t->n, sizeof(*wide));

    for (size_t c = 0; c < t->n; c++)
        wide[c] = width_of_column(t, c);
    for (size_t i = 0; i < t->n_cells; i++)
        print_cell(t->cells[i], wide[i % t->n], (right >> (i % t->n) & 1) != 0, i % t->n == t->n - 1);
    for (size_t i = t->n; i < t->n_cells; i++)
        free(t->cells[i]);
    t->n_cells = t->n;
    free(wide);
}

void tool_table_free(struct tool_table *t) {
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

void tool_line(struct ang_slice line) {
    (void)fwrite(line.p, 1, line.n, stdout);
    putchar('\n');
    fflush(stdout);
}

bool tool_unread(void) {
    struct pollfd out = {.fd = STDOUT_FILENO}; /* of a pipe: POLLERR when there is no reader */

    return (ferror(stdout) != 0 || poll(&out, 1, 0) > 0);
}
