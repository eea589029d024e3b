/* angzarr status [--watch [TIME]] */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/status.h"

#define TIMEOUT_MS 5000
#define WATCH_MS   2000

static int64_t timeout_ms = TIMEOUT_MS, every_ms = WATCH_MS;
static bool watch;

static const struct tool_opt opts[] = {
    {"watch", 'w', NULL, "look again and again, until it is interrupted; then 0 is returned", TOOL_FLAG, &watch},
    {"every", 0, "TIME", "with --watch: how often (default: 2s)", TOOL_DURATION, &every_ms},
    {"timeout", 't', "TIME", "how long to wait for each answer: 500ms, 10s, 2m (default: 5s)", TOOL_DURATION,
     &timeout_ms},
};

static const struct tool_usage usage = {
    .name = "status",
    .operands = "",
    .about = "Who is there and how far they are: whether the gateway, the workers and the business logic\n"
             "answer; of each partition who serves it, where its group is, and how much is left.\n"
             "\n"
             "  LAG          offsets between the committed one and the end of the commands topic, +those of\n"
             "               reactions; markers of transactions count too\n"
             "  UNFINISHED   records that are not done although later ones are\n"
             "  ?            nobody could say, for a reason given below\n",
    .more = "It joins no group, opens no transaction and writes nothing.  1 when a partition is not served or\n"
            "somebody does not answer, 4 when the log cannot be reached.\n",
    .with = TOOL_CONFIG | TOOL_OUTPUT | TOOL_ADDRESS | TOOL_TIMEOUT,
    .opts = opts,
    .n_opts = ANG_COUNT(opts),
    .min = 0,
    .max = 0,
};

static int look_once(struct status *s) {
    struct ang_err *er = status_look(s);

    if (er != NULL)
        return (tool_fail(&er));
    status_print(s);
    return (s->problems.n == 0 ? ANG_TOOL_DONE : ANG_TOOL_FAILED);
}

/* On a terminal each look takes the place of the one before. */
static void begin_block(bool first) {
    if (!tool.json && isatty(STDOUT_FILENO))
        fputs(first ? "\033[2J\033[H" : "\033[H\033[J", stdout);
    else if (!tool.json && !first)
        printf("\n");
}

/* Until a signal ends the process, or nobody reads what we print. */
static int look_again_and_again(struct status *s) {
    for (bool first = true;; first = false) {
        struct ang_err *er = status_look(s);

        begin_block(first);
        if (er == NULL)
            status_print(s);
        else
            status_print_error(er);
        ang_err_free(&er);
        if (fflush(stdout) != 0)
            return (ANG_TOOL_DONE); /* tool_end says so */
        (void)usleep((useconds_t)(every_ms > 3600000 ? 3600000 : every_ms) * 1000);
    }
}

int tool_status(int argc, char **argv) {
    struct status s = {.timeout_ms = 0};
    int rc;

    if (tool_begin(&usage, argc, argv, &rc))
        return (rc);
    s.timeout_ms = timeout_ms > 3600000 ? 3600000 : timeout_ms;
    look_quit_at_signal(watch ? ANG_TOOL_DONE : ANG_TOOL_INTERRUPTED);
    rc = look_open(&s.look);
    if (rc == ANG_TOOL_DONE)
        rc = watch ? look_again_and_again(&s) : look_once(&s);
    status_forget(&s);
    ang_owners_close(s.owners);
    look_close(&s.look);
    return (tool_end(rc));
}
