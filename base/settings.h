/* Settings: one table (settings.tbl.h) from which parsing, defaults, checking and docs/settings.md come.
 *
 * The file is YAML.  Order of strength: default < file < environment (ANGZARR__SECTION__KEY and the short names of
 * design) ; `${VAR}` in a value is expanded (unset = error that names it).  An unknown key, a wrong type or a bad value is a CONFIG error:
 * "angzarr.yaml:12: worker.lanes: expected a whole number from 0 to 64, got \"two\"".
 * Lists of objects (business_logic) have a table of their own per row type.
 *
 * struct ang_settings is plain data, owned by the caller after ang_settings_load; read-only for everybody else. */
#ifndef ANG_SETTINGS_H
#define ANG_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum ang_log_type { ANG_LOGTYPE_EMBEDDED, ANG_LOGTYPE_KAFKA };
enum ang_replay { ANG_REPLAY_REFUSE, ANG_REPLAY_ALLOW }; /* a committed position that was set back */
enum ang_start { ANG_START_EARLIEST, ANG_START_LATEST };
enum ang_contract { ANG_CONTRACT_AUTO, ANG_CONTRACT_BUSINESS_LOGIC, ANG_CONTRACT_AGGREGATE }; /* which service the business serves */

struct ang_kv {
    char *key, *value;
    int line;
};

struct ang_set_business {
    int line;           /* where it stands, for messages */
    char *domain;       /* [a-z_][a-z0-9_-]*, at most 64 */
    char *address;      /* host:port, or unix:/path */
    enum ang_contract contract;
    enum ang_start start; /* of a group without a position */
    int snapshots_every; /* 0 = off, 1 = always, n = at every n events since the last one (default 50) */
    bool send_snapshots; /* false: the business is sent the whole history (snapshots.send) */
};

struct ang_set_descriptors {
    char *at;   /* where it stands, for messages: "angzarr.yaml:7" */
    char *path; /* of an encoded FileDescriptorSet; as it can be opened */
};

struct ang_settings {
    char *file; /* as named in messages */
    struct {
        enum ang_log_type type;
        char *path;              /* embedded: folder of the log; default <state.path>/log */
        struct ang_kv *kafka;    /* librdkafka properties, checked against the refused ones */
        size_t n_kafka;
    } log;
    struct {
        char *prefix;
        int partitions, replication;
        bool create;
    } topology;
    struct {
        char *path;
        int64_t memory; /* bytes */
        int64_t keep_ms;
    } state;
    struct {
        char *id, *address, *advertise, *http;
        int lanes;
        int64_t session_timeout_ms;
    } worker;
    struct {
        char *address, *http, *id;
        int64_t deadline_ms;
        int in_flight; /* commands per domain */
    } gateway;
    struct {
        char *address, *http;
        int64_t timeout_ms, memory; /* memory: bytes */
    } stream;
    struct {
        int64_t call_timeout_ms, command_ttl_ms, message; /* message: bytes */
        int calls;          /* concurrent calls per business address */
        int64_t slow_after_ms;
        int slow_calls; /* beside them */
        int max_unfinished; /* records of a partition that are open at once */
        int64_t dedupe_window_ms;
    } limits;
    struct {
        enum ang_replay commands;
    } replay;
    struct {
        char *domain;
    } compensation;
    struct ang_set_business *business;
    size_t n_business;
    struct ang_set_descriptors *descriptors;
    size_t n_descriptors;
};

/* path NULL: ANGZARR_CONFIG, else ./angzarr.yaml (and when that does not exist either: CONFIG error saying how to name one).
 * *ret_set must be freed with ang_settings_free. */
struct ang_err *ang_settings_load(const char *path, struct ang_settings **ret_set) ANG_MUST_USE;
void ang_settings_free(struct ang_settings *s); /* accepts NULL */
/* docs/settings.md. */
void ang_settings_print_reference(FILE *out);

#endif
