/* angzarr tail: events as they come.
 *
 *      live          EventTail.Follow             who was away has missed what was stored meanwhile, and that is said
 *      --from-start  EventQuery.Synchronize       taken up again where it was: nothing is printed twice, and nothing is left out
 *
 * A stream that has begun once is followed until the user ends it: servers that go away come back, and are asked again.  What ends it
 * before it has begun, and what a server will say again however often it is asked, is an error. */
#include <stdlib.h>

#include "tools/seen.h"
#include "tools/selection.h"

#define PATH_FOLLOW "/angzarr.ext.EventTail/Follow"
#define PATH_SYNC   "/angzarr.EventQuery/Synchronize"

#define PAUSE_MS     100 /* before it is asked again; doubles */
#define PAUSE_MAX_MS 1000
#define SAY_EVERY_MS 1000  /* lines about a server that comes and goes */
#define STILL_MS     10000 /* lines about one that stays away */
#define STOOD_MS     5000  /* a stream that stood so long is taken up again without a long pause */

#define BIT(code) (1u << (code))
#define QUIET     (BIT(ANG_UNAVAILABLE) | BIT(ANG_CANCELLED) | BIT(ANG_DEADLINE_EXCEEDED) | BIT(ANG_RESOURCE_EXHAUSTED))

static struct {
    /* options */
    const char *correlation, *edition;
    bool from_start;
    struct tool_number count;
    int64_t for_ms;
    /* set once */
    struct ang_uuid root;
    struct tool_cover cover;
    const char *address;
    int64_t until_ms; /* 0: no end */
    /* the call's thread while there is a call, else ours */
    struct tool_seen seen; /* from_start */
    uint64_t printed;
    bool enough;
    int rc;
    bool standing, stood; /* this call has begun; one has */
    int64_t since_ms;     /* it has */
    int64_t said_ms;      /* the last line about the server */
} t;

static const struct tool_opt opts[] = {
    {"from-start", 0, NULL, "what is stored comes first; for ROOT or --correlation", TOOL_FLAG, &t.from_start},
    {"correlation", 0, "ID", "only events of this correlation id", TOOL_TEXT, &t.correlation},
    {"edition", 0, "NAME", "only events of this edition; default: all, with ROOT --from-start the main timeline",
     TOOL_TEXT, &t.edition},
    {"count", 'n', "N", "ends after N events", TOOL_NUMBER, &t.count},
    {"for", 0, "TIME", "ends after this time: 500ms, 10s, 2m, 1h", TOOL_DURATION, &t.for_ms},
    {"timeout", 't', "TIME", "how long to wait until the server begins to answer (default: 10s)", TOOL_DURATION,
     &tool.timeout_ms},
};

static const struct tool_usage usage = {
    .name = "tail",
    .operands = "[DOMAIN [ROOT]]",
    .about = "Shows events as they are stored: of everything, a domain, an aggregate or a correlation id.\n"
             "Ends with Ctrl-C.\n",
    .more = "When the server goes away it is asked again until it is back.  With --from-start nothing is lost or\n"
            "shown twice by that; without, what was stored meanwhile is not shown, which is said.\n"
            "With -o json each line is an angzarr.EventBook.\n"
            "\n"
            "  angzarr tail customer\n"
            "  angzarr tail --correlation order-77 --from-start --for 10s -o json\n",
    .with = TOOL_OUTPUT | TOOL_CONFIG | TOOL_ADDRESS | TOOL_TIMEOUT | TOOL_TYPES,
    .opts = opts,
    .n_opts = ANG_COUNT(opts),
    .min = 0,
    .max = 2,
};

/* ---- what is asked ---- */

static int check_operands(void) {
    const bool has_root = tool.n_operands == 2;

    if (has_root && !tool_root(tool.operands[1], &t.root))
        return (ANG_TOOL_USAGE);
    if (t.from_start && !has_root && t.correlation == NULL)
        return (tool_misuse("--from-start needs ROOT or --correlation; `angzarr query --roots` lists the aggregates"));
    if (t.count.given && t.count.value == 0)
        return (tool_misuse("--count: expected at least 1"));
    t.cover = (struct tool_cover){tool.n_operands > 0 ? tool.operands[0] : NULL, has_root ? &t.root : NULL,
                                  t.correlation, t.edition};
    return (ANG_TOOL_DONE);
}

static void put_follow(struct ang_buf *b) {
    struct ang_buf id = {NULL, 0, 0};

    if (t.cover.domain != NULL)
        ang_wire_put_str(b, 1, t.cover.domain);
    if (t.cover.root != NULL) {
        ang_wire_put_bytes(&id, 1, ang_slice_of(t.root.b, sizeof t.root.b));
        ang_wire_put_bytes(b, 2, ang_buf_slice(&id));
    }
    if (t.correlation != NULL)
        ang_wire_put_str(b, 3, t.correlation);
    if (t.edition != NULL)
        ang_wire_put_str(b, 4, t.edition);
    ang_buf_fini(&id);
}

/* Of one aggregate what was printed need not come again.  Of a correlation id all comes: an aggregate may have joined meanwhile. */
static void put_query(struct ang_buf *b) {
    const struct ang_wire_cover c = {.domain = ang_slice_str(t.cover.domain),
                                     .root = ang_slice_of(t.root.b, sizeof t.root.b),
                                     .edition = ang_slice_str(t.edition)};

    tool_put_cover(b, 1, &t.cover);
    if (t.cover.root != NULL)
        tool_put_from(b, *tool_seen_next(&t.seen, &c));
}

/* ---- what comes ---- */

static int print_page(const struct ang_wire_event_book *book, const struct ang_wire_event_page *page) {
    struct ang_buf name = {NULL, 0, 0};
    int rc;

    if (t.cover.root == NULL)
        tool_aggregate(&book->cover, &name);
    rc = tool_event_line((const char *)name.p, page);
    ang_buf_fini(&name);
    return (rc);
}

/* The pages of the book that are new, as lines or in a book of their own. */
static int print_new(const struct ang_wire_event_book *book, uint32_t *next) {
    struct ang_wire_iter it = ang_wire_iter_of(book->pages);
    struct ang_wire_event_page page;
    struct ang_buf out = {NULL, 0, 0};
    uint64_t before = t.printed;
    int rc = ANG_TOOL_DONE;

    ang_wire_put_bytes(&out, 1, book->cover.raw);
    while (rc == ANG_TOOL_DONE && !t.enough && ang_wire_event_pages_next(&it, &page)) {
        if (next != NULL && page.num < *next)
            continue;
        if (next != NULL)
            *next = page.num + 1;
        if (tool.json)
            ang_wire_put_bytes(&out, 3, page.raw);
        else
            rc = print_page(book, &page);
        t.enough = ++t.printed == (t.count.given ? t.count.value : 0);
    }
    ang_wire_put_uint(&out, 6, book->next_sequence);
    if (tool.json && t.printed > before)
        rc = tool_print_json("angzarr.EventBook", ang_buf_slice(&out));
    ang_buf_fini(&out);
    return (rc);
}

static bool message(void *arg, struct ang_slice msg) {
    struct ang_wire_event_book book;
    struct ang_err *er = ang_wire_parse_event_book(msg, &book);

    (void)arg;
    if (er != NULL)
        t.rc = tool_fail(&er);
    else if (tool_cover_wants(&t.cover, &book.cover))
        t.rc = print_new(&book, t.from_start ? tool_seen_next(&t.seen, &book.cover) : NULL);
    t.enough |= t.rc != ANG_TOOL_DONE || tool_unread();
    return (!t.enough);
}

static void begun(void *arg) {
    (void)arg;
    if (!t.stood)
        tool_say("waiting for events of %s", t.address);
    else if (t.from_start)
        tool_say("connected again");
    else
        tool_say("connected again; what was stored meanwhile is not shown");
    t.standing = t.stood = true;
    t.since_ms = t.said_ms = ang_now_ms();
}

/* ---- following ---- */

static int64_t pause_ms(int64_t last_ms) {
    if (t.standing && ang_now_ms() - t.since_ms >= STOOD_MS)
        return (PAUSE_MS);
    return (last_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : last_ms * 2);
}

static void say_lost(const struct tool_answer *a) {
    const int64_t now_ms = ang_now_ms();
    struct ang_buf why = {NULL, 0, 0};

    if (now_ms - t.said_ms < (t.standing ? SAY_EVERY_MS : STILL_MS))
        return;
    t.said_ms = now_ms;
    tool_add_shown(&why, ang_buf_slice(&a->msg));
    ang_buf_add_u8(&why, '\0');
    tool_say("%s %s (%s%s%s): trying again", t.standing ? "lost" : "still without", t.address, ang_code_name(a->code),
             why.n > 1 ? ": " : "", (const char *)why.p);
    ang_buf_fini(&why);
}

/* It ended in a way that another server, or the same a little later, may not repeat.  Who was too slow goes on without what he missed; from
 * the start he would have it all again. */
static bool passes(uint32_t code) {
    if (code == ANG_RESOURCE_EXHAUSTED)
        return (!t.from_start && t.standing);
    return (code == ANG_OK || (code < 32 && (QUIET & BIT(code)) != 0));
}

static bool over(void) {
    return (t.enough || tool_unread() || tool_interrupted(0) || (t.until_ms != 0 && ang_now_ms() >= t.until_ms));
}

/* One call.  True: once more. */
static bool follow(int *ret_rc) {
    struct tool_call call = {.address = t.address,
                             .path = t.from_start ? PATH_SYNC : PATH_FOLLOW,
                             .timeout_ms = tool.timeout_ms,
                             .message = message,
                             .begun = begun,
                             .until_ms = t.until_ms,
                             .watch = true,
                             .quiet = QUIET};
    struct ang_buf request = {NULL, 0, 0};
    struct tool_answer answer;
    bool again = false;

    if (t.from_start)
        put_query(&request);
    else
        put_follow(&request);
    call.request = ang_buf_slice(&request);
    t.standing = false;
    *ret_rc = tool_call(&call, &answer);
    if ((*ret_rc == ANG_TOOL_DONE || (t.stood && passes(answer.code))) && over()) {
        *ret_rc = t.rc;
    } else if (t.stood && passes(answer.code)) {
        say_lost(&answer);
        again = true;
    } else if (*ret_rc != ANG_TOOL_DONE && answer.code < 32 && (QUIET & BIT(answer.code)) != 0) {
        tool_say_answer(&call, &answer);
    }
    tool_answer_fini(&answer);
    ang_buf_fini(&request);
    return (again);
}

static int follow_on(void) {
    int64_t wait_ms = PAUSE_MS;
    int rc = ANG_TOOL_DONE;

    while (follow(&rc)) {
        const int64_t left = t.until_ms == 0 ? ANG_NEVER : t.until_ms - ang_now_ms();
        wait_ms = pause_ms(wait_ms);
        if (tool_interrupted(wait_ms < left ? wait_ms : left) || over())
            return (ANG_TOOL_DONE);
    }
    return (rc);
}

int tool_tail(int argc, char **argv) {
    int rc;

    if (tool_begin(&usage, argc, argv, &rc))
        return (rc);
    rc = check_operands();
    if (rc == ANG_TOOL_DONE)
        rc = tool_types_load();
    if (rc == ANG_TOOL_DONE)
        t.address = tool_gateway(&rc);
    if (rc == ANG_TOOL_DONE) {
        t.until_ms = t.for_ms == 0 ? 0 : ang_now_ms() + t.for_ms;
        rc = follow_on();
    }
    tool_seen_fini(&t.seen);
    return (tool_end(rc));
}
