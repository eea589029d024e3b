/* The tools of the one executable: programs that ask a running system, or its log, and print what it says.
 *
 *      send, query, tail        ask a gateway, by gRPC
 *      topics, inspect, status  look at the log that the configuration names
 */
#ifndef ANG_TOOLS_H
#define ANG_TOOLS_H

#include <stdbool.h>
#include <stdio.h>

/* Exit codes of every tool; 3 is a role's (cmd/). */
enum {
    ANG_TOOL_DONE = 0,
    ANG_TOOL_FAILED = 1,    /* the answer is an error, or what was checked is not so */
    ANG_TOOL_USAGE = 2,     /* the command line, the configuration, JSON or types are wrong: nothing was asked */
    ANG_TOOL_NO_ANSWER = 4, /* nobody answered, or not in time: the same may work later */
    ANG_TOOL_INTERRUPTED = 130
};

struct ang_tool {
    const char *name;
    const char *about; /* a line, for angzarr --help */
    /* argv[0] is the tool's name.  Signals SIGINT and SIGTERM are blocked in all threads.  Returns the exit code; what went wrong is
     * on stderr by then. */
    int (*run)(int argc, char **argv);
};
extern const struct ang_tool ang_tools[];
extern const size_t ang_n_tools;

#endif
