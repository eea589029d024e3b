/* The command line: tables of options become getopt's, and --help. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/tool.h"

#define OPTS_MAX  32
#define FIRST_VAL 1000 /* of options without a letter */

struct tool tool;

static const char *output;
static bool help;

struct options {
    struct tool_opt rows[OPTS_MAX];
    size_t n;
    struct option long_opts[OPTS_MAX + 1];
    char letters[2 * OPTS_MAX + 2];
};

static void add(struct options *o, const struct tool_opt *row) {
    AN(o->n < OPTS_MAX);
    o->rows[o->n++] = *row;
}

static void add_common(struct options *o, unsigned with) {
    static const struct {
        unsigned bit;
        struct tool_opt row;
    } common[] = {
        {TOOL_ADDRESS,
         {"address", 'a', "ADDRESS",
          "the gateway: host:port or unix:/path (default: gateway.address of the configuration,\n"
          "else 127.0.0.1:1316)",
          TOOL_TEXT, &tool.address}},
        {TOOL_CONFIG,
         {"config", 'c', "FILE", "the configuration (default: $ANGZARR_CONFIG, else ./angzarr.yaml)", TOOL_TEXT,
          &tool.config}},
        {TOOL_TYPES,
         {"descriptors", 'd', "FILE",
          "types of payloads, as protoc --include_imports --descriptor_set_out writes\n"
          "them; may be given several times (default: `descriptors` of the configuration, then\n"
          "what the gateway and the business logic say by gRPC reflection)",
          TOOL_LIST, &tool.descriptors}},
        {TOOL_OUTPUT,
         {"output", 'o', "table|json", "how results are printed; json is one value per line (default: table)",
          TOOL_TEXT, &output}},
        {TOOL_TIMEOUT,
         {"timeout", 't', "TIME", "how long to wait for an answer: 500ms, 10s, 2m (default: 10s)", TOOL_DURATION,
          &tool.timeout_ms}},
    };
    static const struct tool_opt help_row = {"help", 'h', NULL, "this text", TOOL_FLAG, &help};

    for (size_t i = 0; i < ANG_COUNT(common); i++)
        if (with & common[i].bit)
            add(o, &common[i].row);
    add(o, &help_row);
}

/* Own rows first: one that has the name of a common one stands in its place. */
static bool has(const struct options *o, const char *name) {
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->rows[i].name, name) == 0)
            return (true);
    return (false);
}

static void build(struct options *o, const struct tool_usage *u) {
    struct options all = {.n = 0};
    char *letter = o->letters;

    for (size_t i = 0; i < u->n_opts; i++)
        add(o, &u->opts[i]);
    add_common(&all, u->with);
    for (size_t i = 0; i < all.n; i++)
        if (!has(o, all.rows[i].name))
            add(o, &all.rows[i]);
    *letter++ = ':'; /* a missing argument is told apart */
    for (size_t i = 0; i < o->n; i++) {
        const struct tool_opt *row = &o->rows[i];
        const int val = row->letter != 0 ? row->letter : FIRST_VAL + (int)i;
        o->long_opts[i] = (struct option){row->name, row->arg == NULL ? no_argument : required_argument, NULL, val};
        if (row->letter == 0)
            continue;
        *letter++ = row->letter;
        if (row->arg != NULL)
            *letter++ = ':';
    }
    *letter = '\0';
}

static const struct tool_opt *row_of(const struct options *o, int val) {
    for (size_t i = 0; i < o->n; i++)
        if (o->long_opts[i].val == val)
            return (&o->rows[i]);
    ang_panic(__FILE__, __LINE__, __func__, "getopt gave what it was not given");
}

/* ---- --help ---- */
static void print_help(const struct options *o) {
    const struct tool_usage *u = tool.usage;

    printf("usage: angzarr %s [option…]%s%s\n\n%s", u->name, u->operands[0] == '\0' ? "" : " ", u->operands, u->about);
    printf("\nOptions\n");
    for (size_t i = 0; i < o->n; i++) {
        const struct tool_opt *row = &o->rows[i];
        char *name =
            row->letter == 0 ? ang_sprintf("    --%s", row->name) : ang_sprintf("-%c, --%s", row->letter, row->name);
        char *head = ang_sprintf("%s%s%s", name, row->arg == NULL ? "" : " ", row->arg == NULL ? "" : row->arg);
        printf("  %-27s ", head);
        if (strlen(head) > 27)
            printf("\n%30s", "");
        for (const char *c = row->help; *c != '\0'; c++)
            printf(*c == '\n' ? "\n%30s" : "%.1s", *c == '\n' ? "" : c);
        printf("\n");
        free(name);
        free(head);
    }
    if (u->more != NULL)
        printf("\n%s", u->more);
    printf("\nExit codes\n"
           "  0    done\n"
           "  1    the answer is an error, or what was checked is not so\n"
           "  2    wrong usage, configuration, JSON or types: nothing was asked\n"
           "  4    nobody answered, or not in time\n"
           "  130  interrupted\n");
}

/* ---- values ---- */
static bool number(const struct tool_opt *row, const char *text) {
    uint64_t v;
    if (!ang_slice_to_u64(ang_slice_str(text), &v) || v > UINT32_MAX)
        return (false);
    *(struct tool_number *)row->to = (struct tool_number){(uint32_t)v, true};
    return (true);
}

static bool duration(const struct tool_opt *row, const char *text) {
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}, {"h", 3600000}};
    const size_t digits = strspn(text, "0123456789");
    uint64_t v;

    if (!ang_slice_to_u64(ang_slice_of(text, digits), &v) || v == 0 || v > 1000000)
        return (false);
    for (size_t i = 0; i < ANG_COUNT(units); i++)
        if (strcmp(text + digits, units[i].unit) == 0) {
            *(int64_t *)row->to = (int64_t)v * units[i].ms;
            return (true);
        }
    return (false);
}

static bool take(const struct tool_opt *row, const char *text) {
    struct tool_list *list;

    switch (row->kind) {
    case TOOL_FLAG:
        *(bool *)row->to = true;
        return (true);
    case TOOL_TEXT:
        *(const char **)row->to = text;
        return (true);
    case TOOL_LIST:
        list = row->to;
        list->items = ang_realloc(list->items, (list->n + 1) * sizeof(*list->items));
        list->items[list->n++] = text;
        return (true);
    case TOOL_NUMBER:
        return (number(row, text));
    case TOOL_DURATION:
        return (duration(row, text));
    }
    return (false);
}

static int not_taken(const struct tool_opt *row, const char *text) {
    return (tool_misuse("--%s: expected %s, got \"%.80s\"", row->name,
                        row->kind == TOOL_NUMBER ? "a whole number from 0 to 4294967295"
                                                 : "a time like 500ms, 10s or 2m, up to 1000000 of them",
                        text));
}

/* Of a wrong option: as it was written. */
static int unknown(char **argv) {
    if (optopt > ' ' && optopt < FIRST_VAL && argv[optind - 1][1] != '-')
        return (tool_misuse("there is no option -%c", optopt));
    return (tool_misuse("there is no option %.80s, or it takes no value", argv[optind - 1]));
}

static int read_options(struct options *o, int argc, char **argv) {
    int val;

    optind = 0; /* from the beginning, also after a line that was wrong */
    opterr = 0;
    while ((val = getopt_long(argc, argv, o->letters, o->long_opts, NULL)) != -1) {
        if (val == '?')
            return (unknown(argv));
        if (val == ':')
            return (tool_misuse("%.80s: expects a value", argv[optind - 1]));
        if (!take(row_of(o, val), optarg))
            return (not_taken(row_of(o, val), optarg));
    }
    return (ANG_TOOL_DONE);
}

bool tool_begin(const struct tool_usage *usage, int argc, char **argv, int *ret_rc) {
    struct options o = {.n = 0};

    tool = (struct tool){.usage = usage, .timeout_ms = 10000};
    build(&o, usage);
    *ret_rc = read_options(&o, argc, argv);
    if (*ret_rc != ANG_TOOL_DONE)
        return (true);
    if (help) {
        print_help(&o);
        *ret_rc = tool_end(ANG_TOOL_DONE);
        return (true);
    }
    tool.json = output != NULL && strcmp(output, "json") == 0;
    tool.n_operands = (size_t)(argc - optind);
    tool.operands = ang_calloc(tool.n_operands + 1, sizeof(*tool.operands));
    for (size_t i = 0; i < tool.n_operands; i++)
        tool.operands[i] = argv[optind + (int)i];
    if (output != NULL && !tool.json && strcmp(output, "table") != 0)
        *ret_rc = tool_misuse("--output: expected table or json, got \"%.80s\"", output);
    else if (tool.n_operands < usage->min || tool.n_operands > usage->max)
        *ret_rc =
            tool_misuse("%s: expected %s", tool.n_operands < usage->min ? "too few operands" : "too many operands",
                        usage->operands[0] == '\0' ? "none" : usage->operands);
    return (*ret_rc != ANG_TOOL_DONE);
}

/* Writing to a pipe fails in one way: its reader has gone. */
static bool into_pipe(void) {
    struct stat st;

    return (fstat(STDOUT_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)));
}

int tool_end(int rc) {
    const bool written = fflush(stdout) == 0 && !ferror(stdout);

    ang_settings_free(tool.settings);
    tool.settings = NULL;
    free(tool.operands);
    free(tool.descriptors.items);
    tool.operands = NULL;
    tool.descriptors = (struct tool_list){NULL, 0};
    if (!written && rc == ANG_TOOL_DONE && !into_pipe()) {
        tool_say("what was asked for cannot be written to standard output: %s", strerror(errno));
        rc = ANG_TOOL_FAILED;
    }
    return (rc);
}
