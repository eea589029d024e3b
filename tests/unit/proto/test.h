/* What the tests of proto/ share: cmocka in its order, bytes written as hex. */
#ifndef ANG_PROTO_TEST_H
#define ANG_PROTO_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/frame.h"

/* "0a 02 'hi'": hex digits, blanks, and text between quotes.  Exactly as many bytes are malloc'ed as there are, so that
 * AddressSanitizer sees a read past the end; the caller frees p. */
static inline struct ang_slice bytes_of(const char *text) {
    size_t n = 0, cap = strlen(text) + 1;
    uint8_t *p = malloc(cap), *exact;
    unsigned v;

    while (*text != '\0') {
        if (*text == ' ') {
            text++;
        } else if (*text == '\'') {
            for (text++; *text != '\''; text++)
                p[n++] = (uint8_t)*text;
            text++;
        } else {
            assert_int_equal(sscanf(text, "%2x", &v), 1);
            p[n++] = (uint8_t)v;
            text += 2;
        }
    }
    exact = malloc(n == 0 ? 1 : n);
    memcpy(exact, p, n);
    free(p);
    return (ang_slice_of(exact, n));
}

static inline void drop(struct ang_slice s) {
    free((void *)(uintptr_t)s.p);
}

static inline void assert_bytes(const char *what, struct ang_slice got, const char *want_text) {
    struct ang_slice want = bytes_of(want_text);
    size_t i;

    if (!ang_slice_eq(got, want)) {
        fprintf(stderr, "%s: got ", what);
        for (i = 0; i < got.n; i++)
            fprintf(stderr, "%02x", got.p[i]);
        fail_msg("%s: wanted %s", what, want_text);
    }
    drop(want);
}

#endif
