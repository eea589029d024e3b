/* ang_print_reference settings|errors|metrics: prints docs/settings.md, docs/errors.md or docs/metrics.md. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/metrics.h"
#include "base/settings.h"

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "settings") == 0) {
        ang_settings_print_reference(stdout);
    } else if (argc == 2 && strcmp(argv[1], "errors") == 0) {
        ang_err_print_reference();
    } else if (argc == 2 && strcmp(argv[1], "metrics") == 0) {
        ang_metrics_print_reference(stdout);
    } else {
        fprintf(stderr, "usage: ang_print_reference settings|errors|metrics\n");
        return (2);
    }
    return (fflush(stdout) != 0);
}
