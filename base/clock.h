/* Clocks.  Wall time only for what people and other machines see (created_at, headers); everything that measures or waits
 * uses the monotonic clock. */
#ifndef ANG_CLOCK_H
#define ANG_CLOCK_H

#include <stdint.h>

int64_t ang_now_ms(void);  /* CLOCK_MONOTONIC, milliseconds */
int64_t ang_now_us(void);  /* CLOCK_MONOTONIC, microseconds */
int64_t ang_wall_ms(void); /* milliseconds since 1970-01-01 UTC */
int64_t ang_wall_us(void);
int64_t ang_boot_ms(void); /* CLOCK_BOOTTIME: as monotonic, and goes on while the machine sleeps */

#define ANG_NEVER INT64_MAX

#endif
