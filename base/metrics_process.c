/* The process, as the system sees it.  What cannot be read is left out. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics_priv.h"

static void set(enum ang_metric m, int64_t v) {
    ang_gauge_set(ang_gauge_get(m, ANG_NO_LABELS), v);
}

/* Resident pages, and when the process began in ticks since the machine did. */
static bool read_stat(long *ret_pages, unsigned long long *ret_began) {
    FILE *f = fopen("/proc/self/stat", "re");
    char text[1024];
    const char *p;
    size_t n;

    if (f == NULL)
        return (false);
    n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    p = strrchr(text, ')'); /* the name may hold anything; what follows are numbers, the third field first */
    return (p != NULL &&
            sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu %*u %ld",
                   ret_began, ret_pages) == 2);
}

static int64_t open_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *e;
    int64_t n = 0;

    if (dir == NULL)
        return (ANG_GAUGE_NONE);
    while ((e = readdir(dir)) != NULL)
        n += e->d_name[0] != '.';
    (void)closedir(dir);
    return (n - 1); /* the folder's own */
}

void ang_metrics_process_look(void) {
    const int64_t hz = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE), us = 1000000;
    unsigned long long began = 0;
    struct rlimit limit;
    struct rusage used;
    long pages = 0;

    if (getrusage(RUSAGE_SELF, &used) == 0)
        ang_counter_raise(ang_counter_get(ANG_M_CPU, ANG_NO_LABELS),
                          (uint64_t)((used.ru_utime.tv_sec + used.ru_stime.tv_sec) * us + used.ru_utime.tv_usec +
                                     used.ru_stime.tv_usec));
    if (read_stat(&pages, &began)) {
        const int64_t up_us = ang_boot_ms() * 1000 - (int64_t)began * us / hz;

        set(ANG_M_UPTIME, up_us);
        set(ANG_M_RESIDENT, (int64_t)pages * page);
        if (ang_gauge_value(ang_gauge_get(ANG_M_START_TIME, ANG_NO_LABELS)) == 0) /* once: clocks are set */
            set(ANG_M_START_TIME, ang_wall_us() - up_us);
    }
    set(ANG_M_OPEN_FDS, open_fds());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        set(ANG_M_MAX_FDS, (int64_t)limit.rlim_cur);
}
