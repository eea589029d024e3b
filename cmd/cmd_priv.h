/* The programs of the one executable. */
#ifndef ANG_CMD_PRIV_H
#define ANG_CMD_PRIV_H

#include "base/base.h"
#include "base/settings.h"
#include "proto/catalog.h"

/* Exit codes, the same for every program; `angzarr --help` lists them. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NAME_TAKEN = 3 };

enum role { ROLE_STANDALONE, ROLE_AGGREGATE, ROLE_GATEWAY, ROLE_STREAM };

/* Our types and those of the files that `descriptors` names.  CONFIG: names the line of the setting and the file. */
struct ang_err *types_load(const struct ang_settings *set, struct ang_catalog **ret_types) ANG_MUST_USE;

/* Runs until a signal ends it; returns the exit code.  Signals SIGTERM and SIGINT are blocked by the caller. */
int role_run(enum role role, const struct ang_settings *set, const struct ang_catalog *types);

#endif
