/* angzarr inspect: which of the two, and their options. */
#include "tools/inspect.h"

static struct inspect_range range;
static const char *edition;

static const struct tool_opt opts[] = {
    {"from", 0, "N", "aggregate: from the event with this number on", TOOL_NUMBER, &range.from},
    {"to", 0, "N", "aggregate: to the event with this number", TOOL_NUMBER, &range.to},
    {"edition", 'e', "NAME", "aggregate: of this edition, not of the main timeline", TOOL_TEXT, &edition},
};

static const struct tool_usage usage = {
    .name = "inspect",
    .operands = "record TOPIC PARTITION OFFSET | aggregate DOMAIN ROOT",
    .about = "Records as they stand in the log, decoded.\n"
             "\n"
             "  record      one record: key, headers, time, value.  TOPIC with or without the prefix:\n"
             "              order.events.  Bytes that are not what the topic holds are shown in hexadecimal,\n"
             "              with the reason.  1 when there is no record or no value\n"
             "  aggregate   all records of a root: its snapshot, and its events with their offsets, ids and\n"
             "              payloads.  It reads the whole partition of the events topic, and that of the\n"
             "              snapshots, from begin to end.  1 when a number is missing or there twice, and\n"
             "              when there is nothing.  With --from and --to: exactly those events, and the\n"
             "              newest snapshot that the log still has at or before --from\n",
    .more = "Nothing that works on the log is disturbed.\n",
    .with = TOOL_CONFIG | TOOL_OUTPUT | TOOL_TIMEOUT | TOOL_TYPES,
    .opts = opts,
    .n_opts = ANG_COUNT(opts),
    .min = 3,
    .max = 4,
};

static int run(const struct look *l) {
    const char **op = tool.operands;

    if (strcmp(op[0], "record") == 0)
        return (inspect_record(l, op[1], op[2], op[3]));
    return (inspect_aggregate(l, op[1], op[2], edition, &range));
}

static int wrong(void) {
    const bool record = strcmp(tool.operands[0], "record") == 0;

    if (!record && strcmp(tool.operands[0], "aggregate") != 0)
        return (tool_misuse("expected record or aggregate, got \"%.80s\"", tool.operands[0]));
    if (tool.n_operands != (record ? 4 : 3))
        return (tool_misuse(record ? "expected record TOPIC PARTITION OFFSET" : "expected aggregate DOMAIN ROOT"));
    if (record && (range.from.given || range.to.given || edition != NULL))
        return (tool_misuse("--from, --to and --edition belong to aggregate"));
    if (range.from.given && range.to.given && range.from.value > range.to.value)
        return (tool_misuse("--from %u is above --to %u", range.from.value, range.to.value));
    if (edition != NULL && !ang_name_ok(ang_slice_str(edition)))
        return (tool_misuse("--edition: \"%.80s\" is no name of an edition", edition));
    return (ANG_TOOL_DONE);
}

int tool_inspect(int argc, char **argv) {
    struct look l = {NULL};
    int rc;

    if (tool_begin(&usage, argc, argv, &rc))
        return (rc);
    rc = wrong();
    if (rc != ANG_TOOL_DONE)
        return (tool_end(rc));
    look_quit_at_signal(ANG_TOOL_INTERRUPTED);
    rc = look_open(&l);
    if (rc == ANG_TOOL_DONE)
        rc = run(&l);
    look_close(&l);
    return (tool_end(rc));
}
