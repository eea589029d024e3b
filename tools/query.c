/* angzarr query: what is stored. */
#include <stdlib.h>

#include "base/uuid.h"
#include "tools/selection.h"

#define PATH_BOOK   "/angzarr.EventQuery/GetEventBook"
#define PATH_EVENTS "/angzarr.EventQuery/GetEvents"
#define PATH_ROOTS  "/angzarr.EventQuery/GetAggregateRoots"

static struct {
    bool book, roots;
    const char *correlation, *edition;
    struct tool_selection selection;
    struct ang_uuid root;
    struct tool_cover cover;
    struct ang_buf request;
    struct tool_books books;
    uint64_t found; /* events or roots */
    int rc;
} q;

static const struct tool_opt opts[] = {
    {"book", 'b', NULL, "asks for all in one book (GetEventBook): one message", TOOL_FLAG, &q.book},
    {"from", 0, "N", "events from this sequence on", TOOL_NUMBER, &q.selection.from},
    {"to", 0, "N", "events up to this sequence, this one too", TOOL_NUMBER, &q.selection.to},
    {"sequences", 0, "N,N", "these events", TOOL_TEXT, &q.selection.sequences},
    {"as-of", 0, "N|TIME",
     "events up to this sequence, or up to this time (2026-01-31T12:00:00Z; all of the\n"
     "last millisecond, or microsecond, that it names)",
     TOOL_TEXT, &q.selection.as_of},
    {"correlation", 0, "ID", "events of this correlation id; DOMAIN and ROOT may be left out then", TOOL_TEXT,
     &q.correlation},
    {"edition", 0, "NAME", "edition; default: the main timeline, with --correlation and no ROOT: all", TOOL_TEXT,
     &q.edition},
    {"roots", 0, NULL, "the aggregates that there are, instead of events; of DOMAIN, or all", TOOL_FLAG, &q.roots},
};

static const struct tool_usage usage = {
    .name = "query",
    .operands = "[DOMAIN [ROOT]]",
    .about = "Shows the stored events of an aggregate, or of a correlation id.\n",
    .more = "No events is no error: exit code 0.  With -o json each line is an angzarr.EventBook (with --roots an\n"
            "angzarr.AggregateRoot): one for each stored record, or with --book one in all.\n"
            "\n"
            "  angzarr query customer 0c1f0a52-6c3b-4b0e-9f0a-3d7f9a1c2b4d\n"
            "  angzarr query --correlation order-77 -o json\n"
            "  angzarr query --roots customer\n",
    .with = TOOL_OUTPUT | TOOL_CONFIG | TOOL_ADDRESS | TOOL_TIMEOUT | TOOL_TYPES,
    .opts = opts,
    .n_opts = ANG_COUNT(opts),
    .min = 0,
    .max = 2,
};

/* ---- what is asked ---- */

static int check_roots(void) {
    if (tool.n_operands > 1 || q.book || q.correlation != NULL || q.edition != NULL ||
        tool_selection_given(&q.selection))
        return (tool_misuse("--roots goes with DOMAIN and nothing else"));
    return (ANG_TOOL_DONE);
}

static int check_operands(void) {
    if (q.roots)
        return (check_roots());
    if (tool.n_operands < 2 && q.correlation == NULL)
        return (tool_misuse("expected DOMAIN ROOT, or --correlation ID, or --roots"));
    if (tool.n_operands == 2 && !tool_root(tool.operands[1], &q.root))
        return (ANG_TOOL_USAGE);
    if (tool.n_operands == 2 && q.book && q.correlation != NULL)
        return (tool_misuse(
            "--book is all of an aggregate, whatever its correlation ids: leave --correlation or ROOT out"));
    return (ANG_TOOL_DONE);
}

/* The server looks at the correlation id only when there is no root; we look at the answers then. */
static int make_request(void) {
    const bool has_root = tool.n_operands == 2;

    q.cover = (struct tool_cover){tool.n_operands > 0 ? tool.operands[0] : NULL, has_root ? &q.root : NULL,
                                  q.correlation, q.edition};
    if (q.roots)
        return (ANG_TOOL_DONE);
    tool_put_cover(&q.request, 1, &q.cover);
    return (tool_put_selection(&q.request, &q.selection));
}

/* ---- what comes ---- */

static int take_book(struct ang_slice bytes) {
    struct ang_wire_event_book book;
    struct ang_err *er = ang_wire_parse_event_book(bytes, &book);

    if (er != NULL)
        return (tool_fail(&er));
    if (!tool_cover_wants(&q.cover, &book.cover))
        return (ANG_TOOL_DONE);
    q.found += book.n_pages;
    if (tool.json)
        return (tool_print_json("angzarr.EventBook", bytes));
    return (tool_books_add(&q.books, &book));
}

/* AggregateRoot: domain 1, root 2 {value 1}. */
static int take_root(struct ang_slice bytes) {
    struct ang_wire_field domain, root, value;
    struct ang_buf line = {NULL, 0, 0};
    char text[ANG_UUID_TEXT + 1] = "?";

    if (!ang_wire_find(bytes, 1, &domain) || domain.type != ANG_WIRE_BYTES)
        domain.bytes = ANG_SLICE_NONE;
    if (q.cover.domain != NULL && !ang_slice_is(domain.bytes, q.cover.domain))
        return (ANG_TOOL_DONE);
    if (tool.json) {
        q.found++;
        return (tool_print_json("angzarr.AggregateRoot", bytes));
    }
    if (ang_wire_find(bytes, 2, &root) && root.type == ANG_WIRE_BYTES && ang_wire_find(root.bytes, 1, &value) &&
        value.bytes.n == 16)
        ang_uuid_text(value.bytes.p, text);
    if (q.found++ == 0)
        printf("%-*s  DOMAIN\n", ANG_UUID_TEXT, "ROOT");
    ang_buf_addf(&line, "%-*s  ", ANG_UUID_TEXT, text);
    tool_add_shown(&line, domain.bytes);
    tool_line(ang_buf_slice(&line));
    ang_buf_fini(&line);
    return (ANG_TOOL_DONE);
}

static bool message(void *arg, struct ang_slice msg) {
    (void)arg;
    q.rc = q.roots ? take_root(msg) : take_book(msg);
    return (q.rc == ANG_TOOL_DONE && !tool_unread());
}

/* ---- asking ---- */

static int ask(const char *address) {
    struct tool_call call = {
        .address = address, .request = ang_buf_slice(&q.request), .timeout_ms = tool.timeout_ms, .path = PATH_BOOK};
    struct tool_answer answer;
    int rc;

    if (!q.book) {
        call.path = q.roots ? PATH_ROOTS : PATH_EVENTS;
        call.message = message;
    }
    rc = tool_call(&call, &answer);
    if (rc == ANG_TOOL_DONE && q.book)
        rc = take_book(ang_buf_slice(&answer.response));
    if (rc == ANG_TOOL_DONE)
        rc = q.rc;
    tool_answer_fini(&answer);
    tool_books_end(&q.books);
    if (rc == ANG_TOOL_DONE && q.found == 0)
        tool_say(q.roots ? "no aggregates" : "no events");
    return (rc);
}

int tool_query(int argc, char **argv) {
    const char *address = NULL;
    int rc;

    if (tool_begin(&usage, argc, argv, &rc))
        return (rc);
    rc = check_operands();
    if (rc == ANG_TOOL_DONE)
        rc = make_request();
    if (rc == ANG_TOOL_DONE)
        rc = tool_types_load();
    if (rc == ANG_TOOL_DONE)
        address = tool_gateway(&rc);
    if (rc == ANG_TOOL_DONE) {
        q.books.headings = q.cover.root == NULL;
        rc = ask(address);
    }
    ang_buf_fini(&q.request);
    return (tool_end(rc));
}
