/* Blocks are linked newest first; small allocations are cut from the newest standard block, big ones get a block of
 * their own behind it so that the rest of the standard block is not wasted. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#define ANG_ARENA_MALLOC
#endif

#define ALIGN 16u

struct block {
    struct block *next;
    size_t size, used; /* of bytes */
    _Alignas(ALIGN) uint8_t bytes[];
};

struct ang_arena {
    unsigned magic;
#define ANG_ARENA_MAGIC 0xa4e4a001
    size_t block; /* set once */
    struct block *blocks;
    size_t used;
};

struct ang_arena *ang_arena_new(size_t block) {
    struct ang_arena *a = ANG_NEW(struct ang_arena);

    AN(block);
    a->magic = ANG_ARENA_MAGIC;
    a->block = block;
    return (a);
}

static struct block *block_new(size_t size) {
    struct block *b = ang_malloc(sizeof(*b) + size);

    b->next = NULL;
    b->size = size;
    b->used = 0;
    return (b);
}

void ang_arena_reset(struct ang_arena *a) {
    struct block *b, *next, *keep = NULL;

    ANG_CHECK(a, ANG_ARENA_MAGIC);
    for (b = a->blocks; b != NULL; b = next) {
        next = b->next;
#ifndef ANG_ARENA_MALLOC
        if (keep == NULL && b->size == a->block) {
            keep = b;
            keep->used = 0;
            continue;
        }
#endif
        free(b);
    }
    if (keep != NULL)
        keep->next = NULL;
    a->blocks = keep;
    a->used = 0;
}

void ang_arena_free(struct ang_arena *a) {
    if (a == NULL)
        return;
    ang_arena_reset(a);
    free(a->blocks);
    a->magic = 0;
    free(a);
}

static struct block *own_block(struct ang_arena *a, size_t n) {
    struct block *b = block_new(n);

    b->used = n;
    if (a->blocks == NULL) {
        a->blocks = b;
    } else {
        b->next = a->blocks->next;
        a->blocks->next = b;
    }
    return (b);
}

void *ang_arena_alloc(struct ang_arena *a, size_t n) {
    struct block *b;
    size_t room;

    ANG_CHECK(a, ANG_ARENA_MAGIC);
    ANG_ASSERT(n <= SIZE_MAX / 2);
    a->used += n;
#ifdef ANG_ARENA_MALLOC
    return (own_block(a, n)->bytes);
#endif
    room = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (room > a->block / 4)
        return (own_block(a, room)->bytes);
    b = a->blocks;
    if (b == NULL || room > b->size - b->used) {
        b = block_new(a->block);
        b->next = a->blocks;
        a->blocks = b;
    }
    b->used += room;
    return (b->bytes + b->used - room);
}

struct ang_slice ang_arena_copy(struct ang_arena *a, struct ang_slice s) {
    uint8_t *p;

    if (s.n == 0)
        return (ANG_SLICE_NONE);
    p = ang_arena_alloc(a, s.n);
    memcpy(p, s.p, s.n);
    return (ang_slice_of(p, s.n));
}

char *ang_arena_sprintf(struct ang_arena *a, const char *fmt, ...) {
    va_list ap, again;
    char *s;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ANG_ASSERT(n >= 0);
    s = ang_arena_alloc(a, (size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return (s);
}

size_t ang_arena_used(const struct ang_arena *a) {
    ANG_CHECK(a, ANG_ARENA_MAGIC);
    return (a->used);
}
