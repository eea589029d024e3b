/* The variable is read once: a pass that does not count costs one comparison. */
#include "base/kill.h"

#ifdef ANG_KILL_POINTS

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char point[64];
static _Atomic long passes_left;

static void read_environment(void) {
    const char *v = getenv("ANGZARR_KILL");
    if (v == NULL)
        return;
    size_t n = strcspn(v, ":");
    if (n >= sizeof(point))
        return;
    memcpy(point, v, n);
    long left = v[n] == ':' ? strtol(v + n + 1, NULL, 10) : 1;
    atomic_store(&passes_left, left > 0 ? left : 1);
}

void ang_kill_point(const char *name) {
    ANG_PT(pthread_once(&once, read_environment));
    if (strcmp(point, name) == 0 && atomic_fetch_sub(&passes_left, 1) == 1)
        (void)raise(SIGKILL);
}

#else
typedef int ang_kill_points_are_off; /* a translation unit holds at least one declaration */
#endif
