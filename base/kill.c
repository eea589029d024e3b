/* The variables are read once: a pass that does not count costs two comparisons. */
#include "base/kill.h"

#ifdef ANG_KILL_POINTS

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char point[64], stall[64];
static _Atomic long passes_left;
static long stall_ms;

/* "name:n", "name"; the number is 1 when there is none. */
static long read_point(const char *variable, char name[64]) {
    const char *v = getenv(variable);
    if (v == NULL)
        return (0);
    size_t n = strcspn(v, ":");
    if (n >= 64)
        return (0);
    memcpy(name, v, n);
    long number = v[n] == ':' ? strtol(v + n + 1, NULL, 10) : 1;
    return (number > 0 ? number : 1);
}

static void read_environment(void) {
    atomic_store(&passes_left, read_point("ANGZARR_KILL", point));
    stall_ms = read_point("ANGZARR_STALL", stall);
}

void ang_kill_point(const char *name) {
    ANG_PT(pthread_once(&once, read_environment));
    if (strcmp(point, name) == 0 && atomic_fetch_sub(&passes_left, 1) == 1)
        (void)raise(SIGKILL);
    if (strcmp(stall, name) == 0)
        (void)nanosleep(&(struct timespec){.tv_sec = stall_ms / 1000, .tv_nsec = stall_ms % 1000 * 1000000}, NULL);
}

#else
typedef int ang_kill_points_are_off; /* a translation unit holds at least one declaration */
#endif
