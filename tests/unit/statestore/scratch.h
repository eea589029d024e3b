/* A scratch folder with a store in it, and short ways to say what the tests of the state store say often. */
#ifndef ANG_TEST_STATESTORE_SCRATCH_H
#define ANG_TEST_STATESTORE_SCRATCH_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "statestore/statestore.h"

#define MEMORY (8 << 20)
#define A_DAY  (24 * 3600 * 1000LL)

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        struct ang_err *er_ = (call);                                                                                  \
        if (er_ != NULL)                                                                                               \
            fail_msg("%s:%d: %s", __FILE__, __LINE__, er_->msg);                                                       \
    } while (0)
#define FAILS(call, expected)                                                                                          \
    do {                                                                                                               \
        struct ang_err *er_ = (call);                                                                                  \
        if (er_ == NULL || er_->code != (expected))                                                                    \
            fail_msg("%s:%d: %s, expected %s", __FILE__, __LINE__, er_ == NULL ? "no error" : er_->msg,                \
                     ang_err_name(expected));                                                                          \
        ang_err_free(&er_);                                                                                            \
    } while (0)

static inline void scratch_remove(const char *path) {
    DIR *d = opendir(path);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *child = ang_sprintf("%s/%s", path, e->d_name);
        scratch_remove(child);
        free(child);
    }
    if (d != NULL)
        (void)closedir(d);
    (void)remove(path);
}

static inline char *scratch_new(void) {
    const char *tmp = getenv("TMPDIR");
    char *path = ang_sprintf("%s/statestore-XXXXXX", tmp != NULL ? tmp : "/tmp");

    AN(mkdtemp(path));
    return (path);
}

static inline void scratch_free(char *path) {
    scratch_remove(path);
    free(path);
}

static inline struct ang_root root_of(uint32_t n, const char *edition) {
    struct ang_root root = {.edition = ang_slice_str(edition)};
    uint64_t x = (n + 1) * 0x9e3779b97f4a7c15u;

    ang_put_be64(root.id, x ^ x >> 29);
    ang_put_be64(root.id + 8, x * 0xbf58476d1ce4e5b9u);
    return (root);
}

static inline struct ang_slice text(const char *s) {
    return (ang_slice_str(s));
}

static inline void put_book(struct ang_store_batch *b, struct ang_store_part *part, const struct ang_root *root,
                            uint32_t first, uint32_t pages, const char *bytes, const char *correlation_id) {
    const struct ang_store_book book = {.first = first, .pages = pages, .time_ms = 1000 + first, .book = text(bytes)};

    ang_store_put_book(b, part, root, &book, text(correlation_id));
}

static inline struct ang_store_part *open_part(struct ang_store *st, const char *domain, int32_t partition) {
    struct ang_store_part *part = NULL;

    OK(ang_store_part_open(st, domain, partition, "cluster angzarr. test", A_DAY, &part));
    return (part);
}

#endif
