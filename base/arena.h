/* Arena: many small allocations with one end.  A batch has one; it is reset when the batch is over.
 * Under AddressSanitizer (or ANG_ARENA_MALLOC) every allocation is a malloc of its own, so overflows inside show. Not thread-safe. */
#ifndef ANG_ARENA_H
#define ANG_ARENA_H

#include <stddef.h>

#include "base/slice.h"

struct ang_arena;
struct ang_arena *ang_arena_new(size_t block); /* block: bytes asked from malloc at a time */
void ang_arena_free(struct ang_arena *a);      /* accepts NULL */
void ang_arena_reset(struct ang_arena *a);     /* frees all but one block */
void *ang_arena_alloc(struct ang_arena *a, size_t n); /* 16-byte aligned, not cleared; aborts without memory */
struct ang_slice ang_arena_copy(struct ang_arena *a, struct ang_slice s);
char *ang_arena_sprintf(struct ang_arena *a, const char *fmt, ...) ANG_PRINTF(2, 3);
size_t ang_arena_used(const struct ang_arena *a);

#endif
