/* What catalog.c (the sets, what is found in them) and catalog_walk.c (one file's symbols) share. */
#ifndef ANG_CATALOG_PRIV_H
#define ANG_CATALOG_PRIV_H

#include "base/arena.h"
#include "proto/catalog.h"
#include "proto/wire.h"

/* DEF_FILE is no symbol; it is where the walk begins. */
enum def_kind {
    DEF_FILE,
    DEF_MESSAGE,
    DEF_FIELD,
    DEF_ONEOF,
    DEF_ENUM,
    DEF_VALUE,
    DEF_SERVICE,
    DEF_METHOD,
    DEF_EXTENSION
};

struct symbol {
    struct ang_slice name; /* full */
    enum def_kind kind;
    struct ang_slice def; /* its encoded descriptor */
    struct file *file;
};

struct file {
    struct ang_catalog_file pub;
    bool ours;
    struct symbol *symbols; /* in order of their names */
    size_t n_symbols, cap_symbols;
};

/* Fills name and symbols of f out of f->pub.bytes; full names are made in arena, *names counts their bytes. */
struct ang_err *catalog_walk(struct file *f, struct ang_arena *arena, size_t *names) ANG_MUST_USE;
/* Calls of(arg, type) for each type that the symbol's descriptor names, without the dot in front; ends with the first error. */
struct ang_err *catalog_uses(const struct symbol *s, struct ang_err *(*of)(void *arg, struct ang_slice type),
                             void *arg) ANG_MUST_USE;
/* Both are fields (values, methods, …) of the same number, type and so on: a client may use either. */
bool catalog_same(const struct symbol *a, const struct symbol *b);

/* The last field of that number in a message that was walked: 0 or empty when there is none. */
uint64_t catalog_number(struct ang_slice def, uint32_t number);
struct ang_slice catalog_bytes(struct ang_slice def, uint32_t number);

/* For "%.*s". */
#define TEXT(s) (int)(s).n, (s).p == NULL ? "" : (const char *)(s).p

int catalog_compare(struct ang_slice a, struct ang_slice b);

#endif
