/* angzarr ROLE --config FILE: the command line, the configuration, and the way to the role. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "cmd/cmd_priv.h"
#include "tools/tools.h"

static const char usage[] =
    "usage: angzarr ROLE [--config FILE]\n"
    "       angzarr TOOL [option…] [operand…]\n"
    "       angzarr reference settings|errors|metrics\n"
    "       angzarr --help | --version\n"
    "\n"
    "Roles\n"
    "  standalone   gateway and workers in one process, on the embedded log or on Kafka\n"
    "  aggregate    a worker: owns partitions, calls the business logic, commits events (Kafka)\n"
    "  gateway      takes commands and queries from clients, streams events to them (Kafka)\n"
    "  stream       queries and streams of events alone, apart from the commands (Kafka)\n"
    "The role may also be the name it is called by: angzarr-aggregate is angzarr aggregate.\n"
    "\n";
static const char usage_end[] =
    "\n"
    "Configuration: --config FILE, else $ANGZARR_CONFIG, else ./angzarr.yaml.  `angzarr reference settings` lists "
    "every\n"
    "setting; ANGZARR__SECTION__KEY in the environment overrides one.  $ANGZARR_LOG sets the log: error, warn, info or "
    "debug, then\n"
    ",json or ,human and ,debug=context.\n"
    "\n"
    "Signals: SIGTERM or SIGINT finish what is under way and leave; a second one ends at once.\n"
    "\n"
    "Exit codes\n"
    "  0   ended as asked\n"
    "  1   stopped by an error that is in the log\n"
    "  2   wrong usage, wrong configuration, or topics that differ from it\n"
    "  3   another process runs under this worker.id\n"
    "Those of a tool stand in `angzarr TOOL --help`.\n";

static const struct {
    const char *name;
    enum role role;
} roles[] = {
    {"standalone", ROLE_STANDALONE},
    {"aggregate", ROLE_AGGREGATE},
    {"gateway", ROLE_GATEWAY},
    {"stream", ROLE_STREAM},
};

static void print_usage(FILE *out) {
    fprintf(out, "%sTools (angzarr TOOL --help tells more)\n", usage);
    for (size_t i = 0; i < ang_n_tools; i++)
        fprintf(out, "  %-12s %s\n", ang_tools[i].name, ang_tools[i].about);
    fputs(usage_end, out);
}

static int wrong_usage(const char *what, const char *arg) {
    fprintf(stderr, "angzarr: %s%s%s\n", what, arg == NULL ? "" : ": ", arg == NULL ? "" : arg);
    print_usage(stderr);
    return (EXIT_USAGE);
}

static int reference(const char *what) {
    if (what != NULL && strcmp(what, "settings") == 0)
        ang_settings_print_reference(stdout);
    else if (what != NULL && strcmp(what, "errors") == 0)
        ang_err_print_reference();
    else if (what != NULL && strcmp(what, "metrics") == 0)
        ang_metrics_print_reference(stdout);
    else
        return (wrong_usage("reference: expected settings, errors or metrics", what));
    return (EXIT_DONE);
}

/* Signals go to the main thread alone, which waits for them (role.c). */
static void block_signals(void) {
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    ANG_PT(pthread_sigmask(SIG_BLOCK, &set, NULL));
    signal(SIGPIPE, SIG_IGN);
}

static int config_error(struct ang_err *er) {
    fprintf(stderr, "angzarr: %s\n", er->msg);
    ang_err_free(&er);
    return (EXIT_USAGE);
}

static int run(enum role role, const char *name, const char *config) {
    struct ang_settings *set;
    struct ang_catalog *types;
    struct ang_err *er;
    int rc;

    er = ang_log_setup(getenv("ANGZARR_LOG"));
    if (er == NULL)
        er = ang_settings_load(config, &set);
    if (er != NULL)
        return (config_error(er));
    if (role != ROLE_STANDALONE && set->log.type == ANG_LOGTYPE_EMBEDDED) {
        fprintf(
            stderr,
            "angzarr: %s: log.type: the role %s needs `kafka`: the embedded log belongs to one process, use the role "
            "standalone\n",
            set->file, name);
        ang_settings_free(set);
        return (EXIT_USAGE);
    }
    er = types_load(set, &types);
    if (er != NULL) {
        ang_settings_free(set);
        return (config_error(er));
    }
    block_signals();
    ang_log_context("role", name);
    rc = role_run(role, set, types);
    ang_catalog_free(types);
    ang_settings_free(set);
    return (rc);
}

/* What a tool has to say is not in the log: that is silent below errors, unless it is asked for. */
static int run_tool(const struct ang_tool *t, int argc, char **argv) {
    const char *spec = getenv("ANGZARR_LOG");
    struct ang_err *er = ang_log_setup(spec == NULL ? "error" : spec);

    if (er != NULL)
        return (config_error(er));
    block_signals();
    return (t->run(argc, argv));
}

/* "…/angzarr-gateway" -> "gateway"; any other name says nothing. */
static const char *called_as(const char *argv0) {
    const char *base = strrchr(argv0, '/');
    size_t r;

    base = base == NULL ? argv0 : base + 1;
    for (r = 0; strncmp(base, "angzarr-", 8) == 0 && r < ANG_COUNT(roles); r++)
        if (strcmp(base + 8, roles[r].name) == 0)
            return (roles[r].name);
    return (NULL);
}

int main(int argc, char **argv) {
    const char *name = called_as(argv[0]), *config = NULL;
    int i = 1;
    size_t r;

    if (name == NULL && argc > 1)
        name = argv[i++];
    if (name == NULL)
        return (wrong_usage("which role?", NULL));
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_usage(stdout);
        return (EXIT_DONE);
    }
    if (strcmp(name, "--version") == 0) {
        puts("angzarr " ANG_VERSION);
        return (EXIT_DONE);
    }
    if (strcmp(name, "reference") == 0)
        return (reference(argv[i]));
    for (r = 0; r < ang_n_tools; r++)
        if (strcmp(name, ang_tools[r].name) == 0)
            return (run_tool(&ang_tools[r], argc - 1, argv + 1));
    for (; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_usage(stdout);
            return (EXIT_DONE);
        }
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            config = argv[++i];
        else if (strncmp(argv[i], "--config=", 9) == 0)
            config = argv[i] + 9;
        else
            return (wrong_usage("unknown argument", argv[i]));
    }
    for (r = 0; r < ANG_COUNT(roles); r++)
        if (strcmp(name, roles[r].name) == 0)
            return (run(roles[r].role, name, config));
    return (wrong_usage("unknown role", name));
}
