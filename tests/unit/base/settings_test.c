#include "base/settings.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "tests/unit/base/unit.h"

#define FILE_NAME "t.yaml"

static char folder[] = "/tmp/angzarr-settings-XXXXXX";

static int enter(void **state) {
    return (mkdtemp(folder) == NULL || chdir(folder) != 0);
}

static int leave(void **state) {
    unlink(FILE_NAME);
    unlink("angzarr.yaml");
    return (chdir("/") != 0 || rmdir(folder) != 0);
}

static void write_file(const char *name, const char *text) {
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static struct ang_err *load(const char *text, struct ang_settings **ret_set) {
    write_file(FILE_NAME, text);
    return (ang_settings_load(FILE_NAME, ret_set));
}

static struct ang_settings *load_good(const char *text) {
    struct ang_settings *s = NULL;
    struct ang_err *er = load(text, &s);

    if (er != NULL)
        fail_msg("%s", er->msg);
    return (s);
}

/* ---- defaults ---- */

static void defaults(void **state) {
    char host[HOST_NAME_MAX + 1];
    struct ang_settings *s = load_good("");

    AZ(gethostname(host, sizeof host));
    assert_string_equal(s->file, FILE_NAME);
    assert_int_equal(s->log.type, ANG_LOGTYPE_EMBEDDED);
    assert_string_equal(s->log.path, "./data/log");
    assert_int_equal(s->log.n_kafka, 0);
    assert_string_equal(s->topology.prefix, "angzarr.");
    assert_int_equal(s->topology.partitions, 12);
    assert_int_equal(s->topology.replication, 3);
    assert_true(s->topology.create);
    assert_string_equal(s->state.path, "./data");
    assert_int_equal(s->state.memory, 64 * 1024 * 1024);
    assert_int_equal(s->state.keep_ms, 3600 * 1000);
    assert_string_equal(s->worker.id, host);
    assert_string_equal(s->worker.address, "127.0.0.1:0");
    assert_string_equal(s->worker.advertise, "");
    assert_string_equal(s->worker.http, "");
    assert_int_equal(s->worker.lanes, 0);
    assert_int_equal(s->worker.session_timeout_ms, 6000);
    assert_string_equal(s->gateway.address, "127.0.0.1:1316");
    assert_string_equal(s->gateway.http, "127.0.0.1:8080");
    assert_int_equal(s->gateway.deadline_ms, 30000);
    assert_int_equal(s->gateway.in_flight, 8192);
    assert_int_equal(strncmp(s->gateway.id, host, strlen(host)), 0);
    assert_int_equal(strlen(s->gateway.id), strlen(host) + 9);
    assert_int_equal(s->limits.call_timeout_ms, 30000);
    assert_int_equal(s->limits.command_ttl_ms, 24 * 3600 * 1000);
    assert_int_equal(s->limits.message, 1024 * 1024);
    assert_int_equal(s->limits.calls, 512);
    assert_int_equal(s->limits.max_unfinished, 10000);
    assert_int_equal(s->limits.dedupe_window_ms, 24 * 3600 * 1000);
    assert_string_equal(s->compensation.domain, "system");
    assert_int_equal(s->n_business, 0);
    ang_settings_free(s);
    ang_settings_free(NULL);
}

/* ---- a full file ---- */

static const char full[] =
    "log:\n"
    "  type: kafka\n"
    "  kafka:\n"
    "    bootstrap.servers: 'one:9092,two:9092'\n"
    "    sasl.password: \"$${not ${ANGZARR_TEST_WORD}}\"\n"
    "    transaction.timeout.ms: 5000\n"
    "topology: { prefix: \"\", partitions: 3, replication: 1, create: false }\n"
    "state:    { path: /var/lib/x, memory: 1GiB, keep: 0s }\n"
    "worker:   { id: \"${ANGZARR_TEST_WORD}-1\", address: \"[::1]:7000\", lanes: 2,\n"
    "            advertise: \"w.example.org:7000\", http: \"0.0.0.0:8081\", session_timeout: 45s }\n"
    "gateway:  { address: \"0.0.0.0:1316\", http: \"\", id: g, deadline: 500ms, in_flight: 1 }\n"
    "limits:   { message: 65536, call_timeout: 2m, command_ttl: 7d }\n"
    "compensation: # nothing\n"
    "business_logic:\n"
    "  - { domain: order, address: \"localhost:50051\" }\n"
    "  - domain: stock\n"
    "    address: unix:/run/stock.sock\n"
    "    contract: aggregate\n"
    "    snapshots: { every: 7, send: false }\n"
    "  - { domain: _a-1, address: \"10.0.0.1:1\", snapshots: off }\n"
    "  - { domain: b, address: \"h:1\", snapshots: always, contract: business_logic, start: latest }\n"
    "  - { domain: c, address: \"h:1\", snapshots: { send: false } }\n"
    "descriptors:\n"
    "  - types/orders.pb\n"
    "  - \"/etc/${ANGZARR_TEST_WORD}.pb\"\n";

static void full_file(void **state) {
    static const struct {
        const char *domain, *address;
        int line;
        enum ang_contract contract;
        int every;
        bool send;
    } rows[] = {
        {"order", "localhost:50051", 15, ANG_CONTRACT_AUTO, 50, true},
        {"stock", "unix:/run/stock.sock", 16, ANG_CONTRACT_AGGREGATE, 7, false},
        {"_a-1", "10.0.0.1:1", 20, ANG_CONTRACT_AUTO, 0, true},
        {"b", "h:1", 21, ANG_CONTRACT_BUSINESS_LOGIC, 1, true},
        {"c", "h:1", 22, ANG_CONTRACT_AUTO, 50, false},
    };
    struct ang_settings *s;

    setenv("ANGZARR_TEST_WORD", "abc", 1);
    s = load_good(full);
    unsetenv("ANGZARR_TEST_WORD");
    assert_int_equal(s->log.type, ANG_LOGTYPE_KAFKA);
    assert_int_equal(s->log.n_kafka, 3);
    assert_string_equal(s->log.kafka[0].key, "bootstrap.servers");
    assert_string_equal(s->log.kafka[0].value, "one:9092,two:9092");
    assert_int_equal(s->log.kafka[0].line, 4);
    assert_string_equal(s->log.kafka[1].value, "${not abc}");
    assert_string_equal(s->log.kafka[2].value, "5000");
    assert_string_equal(s->topology.prefix, "");
    assert_int_equal(s->topology.partitions, 3);
    assert_false(s->topology.create);
    assert_string_equal(s->log.path, "/var/lib/x/log");
    assert_int_equal(s->state.memory, 1 << 30);
    assert_int_equal(s->state.keep_ms, 0);
    assert_string_equal(s->worker.id, "abc-1");
    assert_string_equal(s->worker.address, "[::1]:7000");
    assert_string_equal(s->worker.advertise, "w.example.org:7000");
    assert_int_equal(s->worker.session_timeout_ms, 45000);
    assert_string_equal(s->gateway.http, "");
    assert_string_equal(s->gateway.id, "g");
    assert_int_equal(s->gateway.deadline_ms, 500);
    assert_int_equal(s->limits.message, 65536);
    assert_int_equal(s->limits.call_timeout_ms, 120000);
    assert_int_equal(s->limits.command_ttl_ms, (int64_t)7 * 24 * 3600 * 1000);
    assert_string_equal(s->compensation.domain, "system");
    assert_int_equal(s->n_business, ANG_COUNT(rows));
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        assert_string_equal(s->business[i].domain, rows[i].domain);
        assert_string_equal(s->business[i].address, rows[i].address);
        assert_int_equal(s->business[i].line, rows[i].line);
        assert_int_equal(s->business[i].contract, rows[i].contract);
        assert_int_equal(s->business[i].start, i == 3 ? ANG_START_LATEST : ANG_START_EARLIEST);
        assert_int_equal(s->business[i].snapshots_every, rows[i].every);
        assert_int_equal(s->business[i].send_snapshots, rows[i].send);
    }
    assert_int_equal(s->n_descriptors, 2);
    assert_string_equal(s->descriptors[0].path, "types/orders.pb"); /* the file is named without a folder */
    assert_string_equal(s->descriptors[0].at, "t.yaml:24");
    assert_string_equal(s->descriptors[1].path, "/etc/abc.pb");
    assert_string_equal(s->descriptors[1].at, "t.yaml:25");
    ang_settings_free(s);
}

/* ---- bad files ---- */

#define DOMAIN_IS  "expected a domain (a-z, 0-9, _ and -, first a letter or _, at most 64 characters), got "
#define SIX_THREES "333333333333333333333"

static const struct {
    const char *text, *msg;
} bad[] = {
    /* YAML itself */
    {"log: [", "t.yaml:2: not valid YAML: did not find expected node content while parsing a flow node"},
    {"a: b: c\n", "t.yaml:1: not valid YAML: mapping values are not allowed in this context"},
    {"log:\n\tx: 1\n",
     "t.yaml:2: not valid YAML: found character that cannot start any token while scanning for the next token"},
    {"log:\n  type: \xff\n", "t.yaml:2: not valid YAML: invalid leading UTF-8 octet"},
    {"log: *nowhere\n", "t.yaml:1: not valid YAML: found undefined alias"},
    {"{}\n---\nlog: {}\n", "t.yaml:2: expected one YAML document, got a second one"},
    /* shape */
    {"- a\n", "t.yaml:1: expected a map of settings, got a list"},
    {"text\n", "t.yaml:1: expected a map of settings, got a single value"},
    {"log:\n  - a\n", "t.yaml:2: log: expected a map of settings, got a list"},
    {"log: 5\n", "t.yaml:1: log: expected a map of settings, got a single value"},
    {"log: { [a]: b }\n", "t.yaml:1: log: expected the name of a setting, got a list"},
    {"worker: &w\n  id: *w\n",
     "t.yaml:1: worker.id: expected letters, digits, ., _ and -, first a letter or digit, at most 128 characters, "
     "got a map"},
    {"log:\n  path: \"a\\0b\"\n", "t.yaml:2: log.path: expected text, got text with a zero byte in it"},
    {"\"log\\0x\": {}\n", "t.yaml:1: expected the name of a setting, got text with a zero byte in it"},
    /* unknown, twice */
    {"\nworkers: {}\n", "t.yaml:2: workers: unknown key, did you mean \"worker\"?"},
    {"sagas: []\n", "t.yaml:1: sagas: unknown key, expected one of log, topology, state, worker, gateway, stream, limits, "
                    "replay, compensation, business_logic, descriptors"},
    {"projectors: []\n", "t.yaml:1: projectors: unknown key, expected one of log, topology, state, worker, gateway, "
                         "stream, limits, replay, compensation, business_logic, descriptors"},
    {"worker:\n  id: a\n  lane: 2\n", "t.yaml:3: worker.lane: unknown key, did you mean \"lanes\"?"},
    {"limits:\n  timeout: 2s\n", "t.yaml:2: limits.timeout: unknown key, expected one of message, call_timeout, "
                                 "command_ttl, calls, slow_after, slow_calls, max_unfinished, dedupe_window"},
    {"worker:\n  id: a\n  lanes: 1\n  id: b\n", "t.yaml:4: worker.id: set twice, first at line 2"},
    {"worker: {}\nlog: {}\nworker: {}\n", "t.yaml:3: worker: set twice, first at line 1"},
    /* values */
    {"worker:\n  lanes: two\n", "t.yaml:2: worker.lanes: expected a whole number from 0 to 64, got \"two\""},
    {"worker: { lanes: 65 }\n", "t.yaml:1: worker.lanes: expected a whole number from 0 to 64, got \"65\""},
    {"worker: { lanes: -1 }\n", "t.yaml:1: worker.lanes: expected a whole number from 0 to 64, got \"-1\""},
    {"worker: { lanes: 1.5 }\n", "t.yaml:1: worker.lanes: expected a whole number from 0 to 64, got \"1.5\""},
    {"worker: { lanes: " SIX_THREES " }\n",
     "t.yaml:1: worker.lanes: expected a whole number from 0 to 64, got \"" SIX_THREES "\""},
    {"worker:\n  lanes:\n", "t.yaml:2: worker.lanes: expected a whole number from 0 to 64, got nothing"},
    {"worker:\n  lanes: [1]\n", "t.yaml:2: worker.lanes: expected a whole number from 0 to 64, got a list"},
    {"worker:\n  lanes: \"a\\nb\\e\"\n", "t.yaml:2: worker.lanes: expected a whole number from 0 to 64, got \"a?b?\""},
    {"topology: { create: yes }\n", "t.yaml:1: topology.create: expected true or false, got \"yes\""},
    {"topology: { partitions: 0 }\n",
     "t.yaml:1: topology.partitions: expected a whole number from 1 to 4096, got \"0\""},
    {"topology: { prefix: a/b }\n",
     "t.yaml:1: topology.prefix: expected letters, digits, ., _ and -, at most 64 characters, got \"a/b\""},
    {"log: { type: Kafka }\n", "t.yaml:1: log.type: expected embedded or kafka, got \"Kafka\""},
    {"limits: { call_timeout: 30 }\n", "t.yaml:1: limits.call_timeout: expected a duration from 10ms to 1h with its "
                                       "unit (ms, s, m, h, d), got \"30\""},
    {"limits: { call_timeout: 61m }\n", "t.yaml:1: limits.call_timeout: expected a duration from 10ms to 1h with its "
                                        "unit (ms, s, m, h, d), got \"61m\""},
    {"limits: { call_timeout: 5 s }\n", "t.yaml:1: limits.call_timeout: expected a duration from 10ms to 1h with its "
                                        "unit (ms, s, m, h, d), got \"5 s\""},
    {"worker: { session_timeout: 5999ms }\n", "t.yaml:1: worker.session_timeout: expected a duration from 6s to 30m "
                                              "with its unit (ms, s, m, h, d), got \"5999ms\""},
    {"limits: { message: 1MB }\n",
     "t.yaml:1: limits.message: expected a size from 16KiB to 256MiB (in bytes, KiB, MiB, GiB), got \"1MB\""},
    {"limits: { message: 999999999GiB }\n",
     "t.yaml:1: limits.message: expected a size from 16KiB to 256MiB (in bytes, KiB, MiB, GiB), got \"999999999GiB\""},
    {"state: { path: \"\" }\n", "t.yaml:1: state.path: expected text that is not empty, got \"\""},
    {"gateway: { address: localhost }\n", "t.yaml:1: gateway.address: expected host:port, got \"localhost\""},
    {"gateway: { address: \":80\" }\n", "t.yaml:1: gateway.address: expected host:port, got \":80\""},
    {"gateway: { address: \"h:65536\" }\n", "t.yaml:1: gateway.address: expected host:port, got \"h:65536\""},
    {"gateway: { address: \"::1:80\" }\n", "t.yaml:1: gateway.address: expected host:port, got \"::1:80\""},
    {"gateway: { address: \"\" }\n", "t.yaml:1: gateway.address: expected host:port, got \"\""},
    {"gateway: { http: 8080 }\n", "t.yaml:1: gateway.http: expected host:port, or \"\", got \"8080\""},
    {"worker: { advertise: \"h:0\" }\n",
     "t.yaml:1: worker.advertise: expected host:port, unix:/path, or \"\", got \"h:0\""},
    {"worker: { id: a/b }\n", "t.yaml:1: worker.id: expected letters, digits, ., _ and -, first a letter or digit, at "
                              "most 128 characters, got \"a/b\""},
    {"worker: { id: .. }\n", "t.yaml:1: worker.id: expected letters, digits, ., _ and -, first a letter or digit, at "
                             "most 128 characters, got \"..\""},
    {"compensation: { domain: Sys }\n", "t.yaml:1: compensation.domain: " DOMAIN_IS "\"Sys\""},
    /* ${VAR} */
    {"worker:\n  id: x${ANGZARR_TEST_NONE}\n", "t.yaml:2: worker.id: ${ANGZARR_TEST_NONE}: the environment variable "
                                               "ANGZARR_TEST_NONE is not set"},
    {"worker: { id: \"${\" }\n",
     "t.yaml:1: worker.id: expected ${NAME} with the name of an environment variable (write $${ for ${)"},
    {"worker: { id: \"${A:-b}\" }\n",
     "t.yaml:1: worker.id: expected ${NAME} with the name of an environment variable (write $${ for ${)"},
    {"log: { kafka: { x: \"${1}\" } }\n",
     "t.yaml:1: log.kafka.x: expected ${NAME} with the name of an environment variable (write $${ for ${)"},
    /* log.kafka */
    {"log:\n  type: kafka\n", "t.yaml:2: log.kafka.bootstrap.servers: expected host:port of one broker or more because "
                              "log.type is kafka, got nothing"},
    {"log:\n  kafka:\n    acks: 1\n",
     "t.yaml:3: log.kafka.acks: cannot be set: an answer means that all in-sync replicas have the record"},
    {"log:\n  kafka:\n    max.in.flight: 1\n",
     "t.yaml:3: log.kafka.max.in.flight: cannot be set: records must keep their order"},
    {"log:\n  kafka:\n    max.in.flight.requests.per.connection: 1\n",
     "t.yaml:3: log.kafka.max.in.flight.requests.per.connection: cannot be set: records must keep their order"},
    {"log: { kafka: { dr_msg_cb: x } }\n",
     "t.yaml:1: log.kafka.dr_msg_cb: cannot be set: it is a callback, not a value"},
    {"log: { kafka: { isolation.level: read_uncommitted } }\n",
     "t.yaml:1: log.kafka.isolation.level: cannot be set: only committed records may be read"},
    {"log:\n  kafka:\n    client.id: a\n    client.id: b\n",
     "t.yaml:4: log.kafka.client.id: set twice, first at line 3"},
    {"log:\n  kafka: {}\n  kafka: {}\n", "t.yaml:3: log.kafka: set twice, first at line 2"},
    {"log: { kafka: { debug: [a] } }\n", "t.yaml:1: log.kafka.debug: expected text, got a list"},
    {"log: { kafka: [a] }\n", "t.yaml:1: log.kafka: expected a map of settings, got a list"},
    /* business_logic */
    {"business_logic: {}\n", "t.yaml:1: business_logic: expected a list, got a map"},
    {"descriptors: types.pb\n", "t.yaml:1: descriptors: expected a list, got a single value"},
    {"descriptors: [{ path: types.pb }]\n", "t.yaml:1: descriptors[0]: expected text that is not empty, got a map"},
    {"descriptors:\n  - a.pb\n  - ''\n", "t.yaml:3: descriptors[1]: expected text that is not empty, got \"\""},
    {"descriptors: []\ndescriptors: []\n", "t.yaml:2: descriptors: set twice, first at line 1"},
    {"business_logic:\n  - order\n", "t.yaml:2: business_logic[0]: expected a map of settings, got a single value"},
    {"business_logic:\n  - { address: \"h:1\" }\n",
     "t.yaml:2: business_logic[0]: expected the key domain, which must be given"},
    {"business_logic:\n  -\n", "t.yaml:2: business_logic[0]: expected the key domain, which must be given"},
    {"business_logic:\n  - { domain: a }\n",
     "t.yaml:2: business_logic[0]: expected the key address, which must be given"},
    {"business_logic:\n  - { domain: a, address: \"h:1\" }\n  - { domain: a, address: \"h:2\" }\n",
     "t.yaml:3: business_logic[1]: the domain a is served already, at line 2"},
    {"business_logic:\n  - { domain: a.b, address: \"h:1\" }\n",
     "t.yaml:2: business_logic[0].domain: " DOMAIN_IS "\"a.b\""},
    {"business_logic:\n  - { domain: 1a, address: \"h:1\" }\n",
     "t.yaml:2: business_logic[0].domain: " DOMAIN_IS "\"1a\""},
    {"business_logic:\n  - { domain: a, address: \"unix:sock\" }\n",
     "t.yaml:2: business_logic[0].address: expected host:port, unix:/path, got \"unix:sock\""},
    {"business_logic:\n  - { domain: a, address: \"h:1\", domain: b }\n",
     "t.yaml:2: business_logic[0].domain: set twice, first at line 2"},
    {"business_logic:\n  - { domain: a, adress: \"h:1\" }\n",
     "t.yaml:2: business_logic[0].adress: unknown key, did you mean \"address\"?"},
    {"business_logic:\n  - { domain: a, address: \"h:1\", contract: other }\n",
     "t.yaml:2: business_logic[0].contract: expected auto, business_logic or aggregate, got \"other\""},
    {"business_logic:\n  - { domain: a, address: \"h:1\", snapshots: 50 }\n",
     "t.yaml:2: business_logic[0].snapshots: expected off, always or { every: N, send: true }, got \"50\""},
    {"business_logic:\n  - { domain: a, address: \"h:1\", snapshots: [] }\n",
     "t.yaml:2: business_logic[0].snapshots: expected off, always or { every: N, send: true }, got a list"},
    {"business_logic:\n  - { domain: a, address: \"h:1\", snapshots: { every: x } }\n",
     "t.yaml:2: business_logic[0].snapshots.every: expected a whole number from 0 to 1000000, got \"x\""},
    {"business_logic:\n  - { domain: a, address: \"h:1\", snapshots: { evry: 1 } }\n",
     "t.yaml:2: business_logic[0].snapshots.evry: unknown key, did you mean \"every\"?"},
    {"business_logic:\n  - { domain: a, address: \"h:1\", snapshots: { every: 1, every: 2 } }\n",
     "t.yaml:2: business_logic[0].snapshots.every: set twice, first at line 2"},
};

static void bad_files(void **state) {
    for (size_t i = 0; i < ANG_COUNT(bad); i++) {
        struct ang_settings *s = NULL;
        struct ang_err *er = load(bad[i].text, &s);

        if (er == NULL)
            fail_msg("accepted: %s", bad[i].text);
        assert_null(s);
        assert_string_equal(er->msg, bad[i].msg);
        assert_int_equal(er->code, ANG_E_CONFIG);
        ang_err_free(&er);
    }
}

static void no_file(void **state) {
    struct ang_settings *s = NULL;
    struct ang_err *er = ang_settings_load("none.yaml", &s);

    assert_string_equal(er->msg,
                        "none.yaml: the configuration cannot be read: No such file or directory; name one with "
                        "--config FILE or ANGZARR_CONFIG");
    ang_err_free(&er);
    er = ang_settings_load(NULL, &s);
    assert_non_null(strstr(er->msg, "./angzarr.yaml: the configuration cannot be read"));
    ang_err_free(&er);
    er = ang_settings_load("/", &s);
    assert_non_null(strstr(er->msg, "/: the configuration cannot be read: Is a directory"));
    ang_err_free(&er);

    write_file("angzarr.yaml", "worker: { id: here }");
    assert_null(ang_settings_load(NULL, &s));
    assert_string_equal(s->worker.id, "here");
    ang_settings_free(s);
    write_file(FILE_NAME, "worker: { id: there }");
    setenv("ANGZARR_CONFIG", FILE_NAME, 1);
    assert_null(ang_settings_load(NULL, &s));
    unsetenv("ANGZARR_CONFIG");
    assert_string_equal(s->worker.id, "there");
    ang_settings_free(s);
}

/* Must not take long either. */
static void too_deep(void **state) {
    struct ang_settings *s = NULL;
    char *text = ang_malloc(500001);
    struct ang_err *er;

    memset(text, '[', 500000);
    text[500000] = '\0';
    er = load(text, &s);
    assert_non_null(er);
    assert_string_equal(er->msg, "t.yaml:1: expected at most 32 levels, got more");
    ang_err_free(&er);
    free(text);
}

static void too_large(void **state) {
    struct ang_buf b = {NULL, 0, 0};
    struct ang_settings *s = NULL;
    struct ang_err *er;

    while (b.n <= 1024 * 1024)
        ang_buf_add_str(&b, "# comment\n");
    ang_buf_add_u8(&b, '\0');
    er = load((const char *)b.p, &s);
    assert_non_null(er);
    assert_non_null(strstr(er->msg, "it is larger than 1 MiB"));
    ang_err_free(&er);
    ang_buf_fini(&b);
}

/* ---- environment ---- */

static void environment_wins(void **state) {
    static const char *const names[][2] = {
        {"POD_NAME", "pod-7"},
        {"GRPC_PORT", "9000"},
        {"STREAM_TIMEOUT_SECS", "7"},
        {"ANGZARR_SERVICE_ENDPOINT", "svc:1"},
        {"ANGZARR__TOPOLOGY__PARTITIONS", "5"},
        {"ANGZARR__LOG__TYPE", "kafka"},
        {"ANGZARR__LOG__KAFKA__BOOTSTRAP_SERVERS", "b:9092"},
        {"ANGZARR__LOG__KAFKA__client.id", "$ {x} ${HOME}"},
        {"ANGZARR__WORKER__SESSION_TIMEOUT", "10s"},
        {"ANGZARR__WORKER__ADDRESS", "0.0.0.0:1"},
        {"ANGZARR__BUSINESS_LOGIC", "[{domain: order, address: 'h:1'}]"},
        {"ANGZARR__DESCRIPTORS", "[b.pb]"},
    };
    struct ang_settings *s;

    for (size_t i = 0; i < ANG_COUNT(names); i++)
        setenv(names[i][0], names[i][1], 1);
    s = load_good("topology: { partitions: 3, replication: 2 }\n"
                  "log: { kafka: { bootstrap.servers: 'a:1' } }\n"
                  "gateway: { address: '[::]:1316' }\n"
                  "business_logic: [{ domain: stock, address: 'h:2' }]\n"
                  "descriptors: [a.pb]\n");
    for (size_t i = 0; i < ANG_COUNT(names); i++)
        unsetenv(names[i][0]);
    assert_string_equal(s->worker.id, "pod-7");
    assert_string_equal(s->gateway.address, "[::]:9000");
    assert_string_equal(s->worker.address, "0.0.0.0:1"); /* the exact name is stronger than the short one */
    assert_string_equal(s->worker.advertise, "svc:1");
    assert_int_equal(s->worker.session_timeout_ms, 10000);
    assert_int_equal(s->stream.timeout_ms, 7000);
    assert_int_equal(s->topology.partitions, 5);
    assert_int_equal(s->topology.replication, 2);
    assert_int_equal(s->log.type, ANG_LOGTYPE_KAFKA);
    assert_int_equal(s->log.n_kafka, 2);
    assert_string_equal(s->log.kafka[0].value, "b:9092");
    assert_string_equal(s->log.kafka[1].key, "client.id");
    assert_string_equal(s->log.kafka[1].value, "$ {x} ${HOME}"); /* the shell has expanded what it wanted */
    assert_int_equal(s->n_business, 1);
    assert_string_equal(s->business[0].domain, "order");
    assert_int_equal(s->n_descriptors, 1);
    assert_string_equal(s->descriptors[0].path, "b.pb");
    assert_string_equal(s->descriptors[0].at, "environment ANGZARR__DESCRIPTORS:1");
    ang_settings_free(s);
}

static void bad_environment(void **state) {
    static const struct {
        const char *name, *value, *msg;
    } rows[] = {
        {"ANGZARR__WORKER__LANES", "two",
         "environment ANGZARR__WORKER__LANES: worker.lanes: expected a whole number from 0 to 64, got \"two\""},
        {"ANGZARR__WORKER__LANE", "2", "environment ANGZARR__WORKER__LANE: unknown key, did you mean \"lanes\"?"},
        {"ANGZARR__WORKR__LANES", "2", "environment ANGZARR__WORKR__LANES: unknown key, did you mean \"worker\"?"},
        {"ANGZARR__WORKER", "2",
         "environment ANGZARR__WORKER: expected a key behind the section: ANGZARR__SECTION__KEY"},
        {"ANGZARR__LOG__KAFKA__ACKS", "1",
         "environment ANGZARR__LOG__KAFKA__ACKS: log.kafka.acks: cannot be set: an answer means that all in-sync "
         "replicas have the record"},
        {"ANGZARR__LOG__TYPE", "kafka",
         "environment: log.kafka.bootstrap.servers: expected host:port of one broker or more because log.type is "
         "kafka, got nothing"},
        {"ANGZARR__BUSINESS_LOGIC", "[{domain: order}]",
         "environment ANGZARR__BUSINESS_LOGIC:1: business_logic[0]: expected the key address, which must be given"},
        {"GRPC_PORT", "http", "environment GRPC_PORT: worker.address: expected a port from 0 to 65535, got \"http\""},
        {"STREAM_TIMEOUT_SECS", "7s",
         "environment STREAM_TIMEOUT_SECS: stream.timeout: expected a whole number of seconds, got \"7s\""},
        {"ANGZARR_SERVICE_ENDPOINT", "x",
         "environment ANGZARR_SERVICE_ENDPOINT: worker.advertise: expected host:port, "
         "unix:/path, or \"\", got \"x\""},
        {"POD_NAME", "a b",
         "environment POD_NAME: worker.id: expected letters, digits, ., _ and -, first a letter or "
         "digit, at most 128 characters, got \"a b\""},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_settings *s = NULL;
        struct ang_err *er;

        setenv(rows[i].name, rows[i].value, 1);
        er = load("{}", &s);
        unsetenv(rows[i].name);
        if (er == NULL)
            fail_msg("accepted: %s=%s", rows[i].name, rows[i].value);
        assert_string_equal(er->msg, rows[i].msg);
        ang_err_free(&er);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),         cmocka_unit_test(full_file),       cmocka_unit_test(bad_files),
        cmocka_unit_test(no_file),          cmocka_unit_test(too_large),       cmocka_unit_test(too_deep),
        cmocka_unit_test(environment_wins), cmocka_unit_test(bad_environment),
    };

    unsetenv("POD_NAME");
    unsetenv("GRPC_PORT");
    unsetenv("STREAM_TIMEOUT_SECS");
    unsetenv("ANGZARR_SERVICE_ENDPOINT");
    unsetenv("ANGZARR_CONFIG");
    return (cmocka_run_group_tests(tests, enter, leave));
}
