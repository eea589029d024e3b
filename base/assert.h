/* Asserts that stay on in every build, and checked object magic.
 *
 * AZ(x)  x must be zero            AN(x)  x must not be zero
 * ANG_CHECK(o, MAGIC)              o is not NULL and carries MAGIC in o->magic
 * ANG_CAST(dst, ptr, MAGIC)        void * to a typed pointer, checked
 * ANG_PT(expr)                     a pthread call that must return 0
 * ANG_DIAG(x)                      costly; only when ANG_DIAGNOSTIC is defined (dev, asan, tsan)
 *
 * They are for our own mistakes.  Input from outside never reaches one: it gets a struct ang_err.  A failed assert prints
 * where and what to stderr, runs the hook (ang_panic_hook), and aborts: restart and replay are the recovery. */
#ifndef ANG_ASSERT_H
#define ANG_ASSERT_H

#include <stddef.h>

#define ANG_MUST_USE __attribute__((warn_unused_result))
#define ANG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ANG_NORETURN __attribute__((noreturn))

#define ANG_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ANG_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

ANG_NORETURN void ang_panic(const char *file, int line, const char *func, const char *what);

/* Called once, by the thread that panics, before abort(): prints what the process was doing.  Must not allocate or lock.
 * May be NULL. */
extern void (*ang_panic_hook)(void);

#define ANG_ASSERT(x)                                         \
    do {                                                      \
        if (!(x))                                             \
            ang_panic(__FILE__, __LINE__, __func__, #x);      \
    } while (0)
#define AZ(x) ANG_ASSERT((x) == 0)
#define AN(x) ANG_ASSERT((x) != 0)
#define ANG_PT(x) AZ(x)
#define ANG_CHECK(o, m) ANG_ASSERT((o) != NULL && (o)->magic == (m))
#define ANG_CAST(dst, ptr, m)  \
    do {                       \
        (dst) = (ptr);         \
        ANG_CHECK((dst), (m)); \
    } while (0)

#ifdef ANG_DIAGNOSTIC
#define ANG_DIAG(x) ANG_ASSERT(x)
#else
#define ANG_DIAG(x) ((void)sizeof(x))
#endif

#endif
