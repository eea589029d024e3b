/* C11 threads on pthreads, for ThreadSanitizer builds only: librdkafka uses the former, ThreadSanitizer follows only the
 * latter.  The program's own definitions take precedence over libc's for the shared library too. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(pthread_t) <= sizeof(thrd_t), "thrd_t holds a pthread_t");
_Static_assert(sizeof(pthread_mutex_t) <= sizeof(mtx_t), "mtx_t holds a pthread_mutex_t");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(cnd_t), "cnd_t holds a pthread_cond_t");

static int result(int rc) {
    switch (rc) {
    case 0:
        return (thrd_success);
    case ETIMEDOUT:
        return (thrd_timedout);
    case EBUSY:
        return (thrd_busy);
    case ENOMEM:
        return (thrd_nomem);
    default:
        return (thrd_error);
    }
}

struct begin {
    thrd_start_t func;
    void *arg;
};

static void *begin(void *arg) {
    struct begin b = *(struct begin *)arg;
    free(arg);
    return ((void *)(intptr_t)b.func(b.arg));
}

int thrd_create(thrd_t *thr, thrd_start_t func, void *arg) {
    struct begin *b = malloc(sizeof(*b));
    if (b == NULL)
        return (thrd_nomem);
    *b = (struct begin){func, arg};
    int rc = pthread_create((pthread_t *)thr, NULL, begin, b);
    if (rc != 0)
        free(b);
    return (result(rc));
}

thrd_t thrd_current(void) {
    return ((thrd_t)pthread_self());
}

int thrd_equal(thrd_t a, thrd_t b) {
    return (pthread_equal((pthread_t)a, (pthread_t)b));
}

int thrd_detach(thrd_t thr) {
    return (result(pthread_detach((pthread_t)thr)));
}

int thrd_join(thrd_t thr, int *res) {
    void *value;
    int rc = pthread_join((pthread_t)thr, &value);
    if (rc == 0 && res != NULL)
        *res = (int)(intptr_t)value;
    return (result(rc));
}

_Noreturn void thrd_exit(int res) {
    pthread_exit((void *)(intptr_t)res);
}

void call_once(once_flag *flag, void (*func)(void)) {
    (void)pthread_once((pthread_once_t *)flag, func);
}

int mtx_init(mtx_t *mtx, int type) {
    pthread_mutexattr_t attr;
    (void)pthread_mutexattr_init(&attr);
    (void)pthread_mutexattr_settype(&attr, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    int rc = pthread_mutex_init((pthread_mutex_t *)mtx, &attr);
    (void)pthread_mutexattr_destroy(&attr);
    return (result(rc));
}

int mtx_lock(mtx_t *mtx) {
    return (result(pthread_mutex_lock((pthread_mutex_t *)mtx)));
}

int mtx_trylock(mtx_t *mtx) {
    return (result(pthread_mutex_trylock((pthread_mutex_t *)mtx)));
}

int mtx_timedlock(mtx_t *restrict mtx, const struct timespec *restrict until) {
    return (result(pthread_mutex_timedlock((pthread_mutex_t *)mtx, until)));
}

int mtx_unlock(mtx_t *mtx) {
    return (result(pthread_mutex_unlock((pthread_mutex_t *)mtx)));
}

void mtx_destroy(mtx_t *mtx) {
    (void)pthread_mutex_destroy((pthread_mutex_t *)mtx);
}

int cnd_init(cnd_t *cnd) {
    return (result(pthread_cond_init((pthread_cond_t *)cnd, NULL)));
}

int cnd_signal(cnd_t *cnd) {
    return (result(pthread_cond_signal((pthread_cond_t *)cnd)));
}

int cnd_broadcast(cnd_t *cnd) {
    return (result(pthread_cond_broadcast((pthread_cond_t *)cnd)));
}

int cnd_wait(cnd_t *cnd, mtx_t *mtx) {
    return (result(pthread_cond_wait((pthread_cond_t *)cnd, (pthread_mutex_t *)mtx)));
}

int cnd_timedwait(cnd_t *restrict cnd, mtx_t *restrict mtx, const struct timespec *restrict until) {
    return (result(pthread_cond_timedwait((pthread_cond_t *)cnd, (pthread_mutex_t *)mtx, until)));
}

void cnd_destroy(cnd_t *cnd) {
    (void)pthread_cond_destroy((pthread_cond_t *)cnd);
}

/* librdkafka's reference counts are atomics that ThreadSanitizer does not see, since the library is not instrumented: what one
 * thread reads and another one frees looks like a race. */
__attribute__((weak)) const char *__tsan_default_suppressions(void);
__attribute__((weak)) const char *__tsan_default_suppressions(void) {
    return ("race:librdkafka.so\n");
}
