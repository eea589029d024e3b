/* What one durable append costs on a file system: SIZE bytes at the end of a file, then fdatasync, again and again.
 *
 *     bench_sync FOLDER SIZE SECONDS      prints one line of JSON */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"

static int ascending(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x < y ? -1 : x > y);
}

static size_t appends(int fd, size_t size, int64_t until_us, uint32_t *us, size_t max) {
    char *bytes = ang_calloc(1, size);
    size_t n = 0;

    for (int64_t at = ang_now_us(); n < max && at < until_us; n++) {
        if (write(fd, bytes, size) != (ssize_t)size || fdatasync(fd) != 0)
            break;
        const int64_t now = ang_now_us();
        us[n] = (uint32_t)(now - at);
        at = now;
    }
    free(bytes);
    return (n);
}

int main(int argc, char **argv) {
    const size_t max = 1000000;
    struct ang_buf path = {NULL, 0, 0};
    int rc = 1;

    if (argc != 4) {
        fprintf(stderr, "usage: bench_sync FOLDER SIZE SECONDS\n");
        return (2);
    }
    ang_buf_addf(&path, "%s/bench-sync-%d", argv[1], (int)getpid());
    ang_buf_add_u8(&path, 0);
    const char *name = (const char *)path.p;
    uint32_t *us = ang_calloc(max, sizeof(*us));
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        fprintf(stderr, "bench_sync: open %s: %s\n", name, strerror(errno));
        goto out;
    }
    const int64_t start = ang_now_us();
    const size_t n = appends(fd, strtoul(argv[2], NULL, 10), start + strtol(argv[3], NULL, 10) * 1000000, us, max);
    if (n == 0) {
        fprintf(stderr, "bench_sync: append to %s: %s\n", name, strerror(errno));
        goto out;
    }
    qsort(us, n, sizeof(*us), ascending);
    printf("{\"appends\": %zu, \"rate\": %.0f, \"p50_us\": %u, \"p90_us\": %u, \"p99_us\": %u, \"max_us\": %u}\n", n,
           (double)n * 1e6 / (double)(ang_now_us() - start), us[n / 2], us[n * 9 / 10], us[n * 99 / 100], us[n - 1]);
    rc = 0;
out:
    if (fd >= 0) {
        (void)close(fd);
        (void)unlink(name);
    }
    free(us);
    ang_buf_fini(&path);
    return (rc);
}
