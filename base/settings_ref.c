/* docs/settings.md, from the table. */
#include <stdlib.h>

#include "base/settings_priv.h"

static const char head[] =
    "# Settings\n\n"
    "<!-- Printed by the program from base/settings.tbl.h: change that file, then print this one again. -->\n\n"
    "One YAML file for all roles of a cluster: `--config FILE`, or the environment variable `ANGZARR_CONFIG`, or\n"
    "`./angzarr.yaml`. Each role reads the settings it needs. An unknown key, a wrong type or a bad value stops the\n"
    "start with the file, the line and what was expected.\n\n"
    "```yaml\n"
    "log:\n"
    "  type: kafka\n"
    "  kafka:\n"
    "    bootstrap.servers: localhost:9092\n"
    "topology:\n"
    "  replication: 1\n"
    "worker:\n"
    "  id: \"${POD_NAME}\"\n"
    "business_logic:\n"
    "  - { domain: inventory, address: \"localhost:50051\", snapshots: { every: 50 } }\n"
    "```\n\n"
    "- `${NAME}` in a value is replaced by the environment variable of that name; one that is not set is an error.\n"
    "  `$${` stands for `${`.\n"
    "- A value from the environment is stronger than the file, the file is stronger than the default.\n"
    "- Durations have a unit (`500ms`, `30s`, `5m`, `24h`, `7d`); sizes are bytes or have one (`64KiB`, `1MiB`, "
    "`1GiB`).\n\n"
    "## Environment\n\n"
    "| variable | what it does |\n|---|---|\n"
    "| `ANGZARR_CONFIG` | the configuration file |\n"
    "| `ANGZARR_LOG` | `[error\\|warn\\|info\\|debug][,json\\|human][,debug=CONTEXT,…]`; contexts: txn, store, rpc, "
    "lane, "
    "gateway, log. Default: info, human on a terminal and JSON otherwise |\n"
    "| `POD_NAME` | default of `worker.id` |\n"
    "| `GRPC_PORT` | the port of `gateway.address` and `worker.address`; the host stays |\n"
    "| `ANGZARR_SERVICE_ENDPOINT` | `worker.advertise` |\n"
    "| `ANGZARR__SECTION__KEY` | any setting: `ANGZARR__WORKER__LANES=2` is `worker.lanes: 2` |\n"
    "| `ANGZARR__LOG__KAFKA__PROPERTY` | a librdkafka property, `_` for `.`: `ANGZARR__LOG__KAFKA__BOOTSTRAP_SERVERS` "
    "|\n"
    "| `ANGZARR__BUSINESS_LOGIC` | the whole list, as YAML: `[{domain: order, address: \"localhost:50051\"}]` |\n"
    "| `ANGZARR__DESCRIPTORS` | the whole list, as YAML: `[/etc/angzarr/orders.pb]` |\n";

static void print_default(FILE *out, const struct ang_set_row *row) {
    if (row->dflt == NULL)
        fprintf(out, "must be given");
    else if (*row->dflt == '\0')
        fprintf(out, "`\"\"`");
    else
        fprintf(out, "`%s`", row->dflt);
}

static void print_row(FILE *out, const struct ang_set_row *row, const char *prefix) {
    char *takes = ang_set_describe(row);

    fprintf(out, "| `%s%s%s` | %s | ", prefix, *prefix == '\0' ? "" : ".", row->key, takes);
    print_default(out, row);
    fprintf(out, " | %s%s%s%s |\n", row->help, row->env == NULL ? "" : " Environment: `",
            row->env == NULL ? "" : row->env, row->env == NULL ? "" : "`.");
    free(takes);
}

static void print_kafka(FILE *out) {
    const char *name, *why;

    fprintf(
        out,
        "\n### log.kafka\n\n"
        "Any property of librdkafka, by its own name, as a map: brokers, security, compression, buffers, time-outs.\n"
        "`bootstrap.servers` must be given when `log.type` is `kafka`. These are refused, because promises rest on\n"
        "them or because another setting makes them:\n\n"
        "| property | why |\n|---|---|\n");
    for (size_t i = 0; ang_set_refused_row(i, &name, &why); i++)
        fprintf(out, "| `%s` | %s |\n", name, why);
}

static const char descriptors[] = "\n## descriptors\n\n"
                                  "A list of files with the types of your commands and events; a path that does not "
                                  "begin with `/` is looked for beside the\n"
                                  "configuration file. Each is an encoded `FileDescriptorSet`:\n\n"
                                  "```\n"
                                  "protoc -Iproto --include_imports --descriptor_set_out=orders.pb orders.proto\n"
                                  "```\n\n"
                                  "With them, gRPC server reflection tells clients such as grpcurl what is inside a "
                                  "`google.protobuf.Any`. A file that is\n"
                                  "missing, is something else, lacks an import, or defines a symbol that another one "
                                  "defines too, stops the start.\n\n"
                                  "```yaml\n"
                                  "descriptors:\n"
                                  "  - orders.pb\n"
                                  "  - /etc/angzarr/shipping.pb\n"
                                  "```\n";

void ang_settings_print_reference(FILE *out) {
    static const char columns[] = "| key | value | default | what it does |\n|---|---|---|---|\n";

    fputs(head, out);
    for (size_t i = 0; i < ang_set_n_sections; i++) {
        const char *name = ang_set_sections[i].name;

        fprintf(out, "\n## %s\n\n%s\n\n%s", name, ang_set_sections[i].help, columns);
        for (size_t r = 0; r < ang_set_n_rows; r++)
            if (strcmp(ang_set_rows[r].section, name) == 0)
                print_row(out, &ang_set_rows[r], name);
        if (strcmp(name, "log") == 0)
            print_kafka(out);
    }
    fprintf(out, "\n## business_logic\n\nA list: one row per domain.\n\n%s", columns);
    for (size_t r = 0; r < ang_set_n_business_rows; r++)
        print_row(out, &ang_set_business_rows[r], "");
    fputs(descriptors, out);
}
