"""A process whose wall clock is wrong: what it is told of CLOCK_REALTIME is so many seconds ahead."""

import os
import subprocess

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *ts) {
    static int (*real)(clockid_t, struct timespec *);
    int rc;

    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    rc = real(id, ts);
    if (rc == 0 && id == CLOCK_REALTIME && getenv("TEST_CLOCK_AHEAD") != NULL)
        ts->tv_sec += atol(getenv("TEST_CLOCK_AHEAD"));
    return (rc);
}
"""


def ahead(folder, seconds):
    """Environment for a process that is to believe it."""
    library = os.path.join(folder, "clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-", "-ldl"], input=SHIM, text=True, check=True)
    return {"LD_PRELOAD": library, "TEST_CLOCK_AHEAD": str(seconds)}
