#include "base/clock.h"

#include <time.h>

#include "base/assert.h"

static int64_t now_us(clockid_t clock) {
    struct timespec ts;

    AZ(clock_gettime(clock, &ts));
    return ((int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
}

int64_t ang_now_ms(void) {
    return (now_us(CLOCK_MONOTONIC) / 1000);
}

int64_t ang_now_us(void) {
    return (now_us(CLOCK_MONOTONIC));
}

int64_t ang_wall_ms(void) {
    return (now_us(CLOCK_REALTIME) / 1000);
}

int64_t ang_wall_us(void) {
    return (now_us(CLOCK_REALTIME));
}

int64_t ang_boot_ms(void) {
    return (now_us(CLOCK_BOOTTIME) / 1000);
}
