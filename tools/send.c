/* angzarr send: one command.
 *
 * Nothing is sent before all of it is known to be right: types, JSON, key.  From the moment it is sent until there is an answer nobody
 * knows whether it is stored; whatever ends the tool then is said together with the key that finds out. */
#include <stdlib.h>

#include "base/uuid.h"
#include "tools/events.h"

#define PATH_EXECUTE "/angzarr.CommandGateway/Execute"
#define PATH_STREAM  "/angzarr.CommandGateway/ExecuteStream"
#define PATH_BOOK    "/angzarr.EventQuery/GetEventBook"
#define TRAILER_BOOK "angzarr-event-book-bin"
#define URL          "type.googleapis.com/"
#define KEY_MAX      128
#define TIMEOUT_MS   30000

static struct {
    /* options */
    struct tool_number sequence;
    const char *correlation, *edition, *key, *raw_file;
    bool stream;
    int64_t timeout_ms;
    /* the command */
    struct ang_uuid root;
    char root_text[ANG_UUID_TEXT + 1], made_key[ANG_UUID_TEXT + 1];
    bool new_root;
    const char *address;
    int64_t until_ms;
    struct ang_buf payload, book;
    char *doubt;
    /* the stream */
    bool answered;
    int rc;
} s;

static const struct tool_opt opts[] = {
    {"sequence", 's', "N",
     "the number that the first event of it must get; default: the next one of the aggregate,\n"
     "asked for first (EventQuery.GetEventBook).  Give it when the command rests on what you\n"
     "have read: it is refused when something was stored since",
     TOOL_NUMBER, &s.sequence},
    {"key", 'k', "KEY",
     "idempotency key, up to 128 visible ASCII characters; default: a random one, which is\n"
     "printed.  The same command sent again with the same key is not done twice: it has\n"
     "the first result",
     TOOL_TEXT, &s.key},
    {"correlation", 0, "ID", "correlation id; default: the gateway makes one from the command", TOOL_TEXT,
     &s.correlation},
    {"edition", 0, "NAME", "edition; default: the main timeline", TOOL_TEXT, &s.edition},
    {"raw-file", 0, "FILE", "the payload's bytes as they are, instead of JSON; - is standard input", TOOL_TEXT,
     &s.raw_file},
    {"stream", 0, NULL,
     "goes on with the events of the same correlation id, from any domain, as they come\n"
     "(ExecuteStream), until the gateway ends it or Ctrl-C; --timeout is for the first ones",
     TOOL_FLAG, &s.stream},
    {"timeout", 't', "TIME", "how long to wait for the answer; the deadline of the command (default: 30s)",
     TOOL_DURATION, &s.timeout_ms},
};

static const struct tool_usage usage = {
    .name = "send",
    .operands = "DOMAIN ROOT TYPE [JSON|@FILE|-]",
    .about = "Sends one command to a gateway and shows the events that it led to.\n"
             "\n"
             "ROOT is a UUID, or `new` for a random one.  TYPE is the full name of the command's\n"
             "message, like examples.CreateCustomer.  What is in it stands as JSON in the last\n"
             "operand, in a file (@FILE) or on standard input (-); nothing is {}.\n",
    .more =
        "When nobody answered it may have been stored: the message says how to send it again safely.\n"
        "\n"
        "  angzarr send customer new examples.CreateCustomer '{\"name\": \"Ada\", \"email\": \"ada@example.com\"}'\n",
    .with = TOOL_OUTPUT | TOOL_CONFIG | TOOL_ADDRESS | TOOL_TIMEOUT | TOOL_TYPES,
    .opts = opts,
    .n_opts = ANG_COUNT(opts),
    .min = 3,
    .max = 4,
};

/* ---- what is sent ---- */

/* gRPC would leave out a key that it cannot send, and then it protects from nothing. */
static bool key_ok(const char *key) {
    size_t n = 0;

    for (; key[n] != '\0'; n++)
        if (key[n] <= 0x20 || key[n] >= 0x7f)
            return (false);
    return (n > 0 && n <= KEY_MAX);
}

static int take_names(void) {
    struct ang_uuid id;

    s.new_root = strcmp(tool.operands[1], "new") == 0;
    if (s.new_root)
        ang_uuid_v4(&s.root);
    else if (!tool_root(tool.operands[1], &s.root))
        return (ANG_TOOL_USAGE);
    ang_uuid_text(s.root.b, s.root_text);
    if (s.key == NULL) {
        ang_uuid_v4(&id);
        ang_uuid_text(id.b, s.made_key);
        s.key = s.made_key;
    }
    if (!key_ok(s.key))
        return (tool_misuse("--key: expected 1 to %d visible ASCII characters", KEY_MAX));
    if (s.raw_file != NULL && tool.n_operands == 4)
        return (tool_misuse("either JSON or --raw-file, not both"));
    return (ANG_TOOL_DONE);
}

static int unknown_type(const char *name) {
    tool_say("nobody knows the type %s (asked: %s)\n"
             "  --descriptors FILE names a set that has it: protoc --include_imports --descriptor_set_out=FILE …\n"
             "  or give the encoded bytes with --raw-file",
             name, tool_types_asked());
    return (tool_types_unanswered() ? ANG_TOOL_NO_ANSWER : ANG_TOOL_USAGE);
}

/* Where the JSON comes from stands before what is wrong with it. */
static struct ang_err *read_json(struct ang_buf *json, const char **ret_where) {
    const char *text = tool.n_operands < 4 ? "{}" : tool.operands[3];

    *ret_where = "JSON";
    if (text[0] != '@' && strcmp(text, "-") != 0) {
        ang_buf_add_str(json, text);
        return (NULL);
    }
    text += text[0] == '@';
    *ret_where = strcmp(text, "-") == 0 ? "standard input" : text;
    return (tool_read(text, json));
}

static int encode(const struct ang_type *type) {
    struct ang_buf json = {NULL, 0, 0};
    const char *where;
    struct ang_err *er = read_json(&json, &where);

    if (er == NULL) {
        er = ang_json_parse(type, ang_buf_slice(&json), NULL, &s.payload);
        if (er != NULL)
            er = ang_err_wrap(&er, "%s", where);
    }
    ang_buf_fini(&json);
    return (er == NULL ? ANG_TOOL_DONE : tool_fail(&er));
}

static int make_payload(void) {
    const char *name = tool.operands[2];
    const struct ang_type *type;
    struct ang_err *er;
    int rc;

    if (s.raw_file != NULL) {
        er = tool_read(s.raw_file, &s.payload);
        return (er == NULL ? ANG_TOOL_DONE : tool_fail(&er));
    }
    rc = tool_type(ang_slice_str(name), &type);
    if (rc != ANG_TOOL_DONE)
        return (rc);
    return (type == NULL ? unknown_type(name) : encode(type));
}

static struct tool_cover cover(void) {
    return ((struct tool_cover){tool.operands[0], &s.root, s.correlation, s.edition});
}

static void make_book(void) {
    const char *name = tool.operands[2];
    const struct tool_cover c = cover();
    struct ang_buf page = {NULL, 0, 0};
    char *url = strchr(name, '/') != NULL ? ang_strdup(name) : ang_sprintf(URL "%s", name);

    ang_wire_put_uint(&page, 1, s.sequence.value);
    ang_wire_put_any(&page, 3, ang_slice_str(url), ang_buf_slice(&s.payload));
    tool_put_cover(&s.book, 1, &c);
    ang_wire_put_bytes(&s.book, 2, ang_buf_slice(&page));
    ang_buf_fini(&page);
    free(url);
}

/* ---- the sequence ---- */

static int take_sequence(struct ang_slice book) {
    struct ang_wire_event_book frame;
    struct ang_err *er = ang_wire_parse_event_book(book, &frame);

    if (er != NULL)
        return (tool_fail(&er));
    s.sequence = (struct tool_number){frame.next_sequence, true};
    return (ANG_TOOL_DONE);
}

static int64_t time_left(void) {
    const int64_t left = s.until_ms - ang_now_ms();

    return (left < 1 ? 1 : left);
}

/* Asks for a set of no events: the answer is small, however long the history is. */
static int ask_sequence(void) {
    struct tool_cover c = cover();
    struct tool_answer answer;
    struct ang_buf query = {NULL, 0, 0};
    int rc;

    if (s.sequence.given || s.new_root)
        return (ANG_TOOL_DONE);
    c.correlation = NULL;
    tool_put_cover(&query, 1, &c);
    ang_wire_put_bytes(&query, 4, ANG_SLICE_NONE);
    rc = tool_call(
        &(struct tool_call){
            .address = s.address, .path = PATH_BOOK, .request = ang_buf_slice(&query), .timeout_ms = time_left()},
        &answer);
    if (rc == ANG_TOOL_DONE)
        rc = take_sequence(ang_buf_slice(&answer.response));
    else
        tool_say("nothing was sent: this was the question for the next sequence");
    tool_answer_fini(&answer);
    ang_buf_fini(&query);
    return (rc);
}

/* ---- the answer ---- */

static void say_right_sequence(const struct tool_answer *a) {
    struct ang_wire_event_book book;
    struct ang_err *er;

    for (size_t i = 0; a->trailers != NULL && i < a->trailers->n_trailers; i++) {
        if (strcmp(a->trailers->trailers[i].key, TRAILER_BOOK) != 0)
            continue;
        er = ang_wire_parse_event_book(a->trailers->trailers[i].value, &book);
        if (er == NULL)
            tool_say("the next sequence of the aggregate is %u: look at its events, and send again with --sequence %u",
                     book.next_sequence, book.next_sequence);
        ang_err_free(&er);
        return;
    }
}

static void print_names(struct ang_slice correlation) {
    printf("root         %s\n", s.root_text);
    printf("correlation  %.*s\n", (int)correlation.n, correlation.n == 0 ? "" : (const char *)correlation.p);
    printf("key          %s\n\n", s.key);
    fflush(stdout);
}

static int print_table(struct ang_slice response) {
    struct tool_books books = {.headings = false};
    struct ang_wire_event_book book;
    struct ang_wire_field events;
    struct ang_err *er;
    int rc = ANG_TOOL_DONE;

    if (!ang_wire_find(response, 1, &events) || events.type != ANG_WIRE_BYTES) {
        print_names(ANG_SLICE_NONE);
        puts("no events were stored");
        return (ANG_TOOL_DONE);
    }
    er = ang_wire_parse_event_book(events.bytes, &book);
    if (er != NULL)
        return (tool_fail(&er));
    print_names(book.cover.correlation_id);
    if (book.n_pages > 0)
        rc = tool_books_add(&books, &book);
    else
        puts("no events were stored");
    tool_books_end(&books);
    return (rc);
}

static int execute(const struct tool_call *call) {
    struct tool_answer answer;
    int rc = tool_call(call, &answer);

    if (rc == ANG_TOOL_DONE)
        rc = tool.json ? tool_print_json("angzarr.CommandResponse", ang_buf_slice(&answer.response))
                       : print_table(ang_buf_slice(&answer.response));
    else
        say_right_sequence(&answer);
    tool_answer_fini(&answer);
    return (rc);
}

/* ---- the stream ---- */

static int print_book(struct ang_slice msg) {
    struct ang_wire_event_book book;
    struct ang_wire_event_page page;
    struct ang_err *er = ang_wire_parse_event_book(msg, &book);
    struct ang_wire_iter it;
    struct ang_buf name = {NULL, 0, 0};
    int rc = ANG_TOOL_DONE;

    if (er != NULL)
        return (tool_fail(&er));
    if (!s.answered)
        print_names(book.cover.correlation_id);
    tool_aggregate(&book.cover, &name);
    it = ang_wire_iter_of(book.pages);
    while (rc == ANG_TOOL_DONE && ang_wire_event_pages_next(&it, &page))
        rc = tool_event_line((const char *)name.p, &page);
    ang_buf_fini(&name);
    return (rc);
}

static bool message(void *arg, struct ang_slice msg) {
    (void)arg;
    s.rc = tool.json ? tool_print_json("angzarr.EventBook", msg) : print_book(msg);
    s.answered = true;
    return (s.rc == ANG_TOOL_DONE && !tool_unread());
}

static int execute_stream(struct tool_call *call) {
    struct tool_answer answer;
    int rc;

    call->path = PATH_STREAM;
    call->message = message;
    call->watch = true;
    rc = tool_call(call, &answer);
    if (rc == ANG_TOOL_DONE && !s.answered && answer.code == ANG_OK)
        tool_say("no events were stored");
    if (rc == ANG_TOOL_FAILED)
        say_right_sequence(&answer);
    if (rc == ANG_TOOL_DONE)
        rc = s.rc;
    tool_answer_fini(&answer);
    return (rc);
}

static int send_it(void) {
    const struct ang_meta meta = {"idempotency-key", ang_slice_str(s.key)};
    struct tool_call call = {.address = s.address,
                             .path = PATH_EXECUTE,
                             .request = ang_buf_slice(&s.book),
                             .meta = &meta,
                             .n_meta = 1,
                             .timeout_ms = time_left(),
                             .doubt = s.doubt};

    return (s.stream ? execute_stream(&call) : execute(&call));
}

int tool_send(int argc, char **argv) {
    int rc;

    s.timeout_ms = TIMEOUT_MS;
    if (tool_begin(&usage, argc, argv, &rc))
        return (rc);
    s.until_ms = ang_now_ms() + s.timeout_ms;
    rc = take_names();
    if (rc == ANG_TOOL_DONE)
        s.address = tool_gateway(&rc);
    if (rc == ANG_TOOL_DONE)
        rc = tool_types_load();
    if (rc == ANG_TOOL_DONE)
        rc = make_payload();
    if (rc == ANG_TOOL_DONE)
        rc = ask_sequence();
    if (rc == ANG_TOOL_DONE) {
        make_book();
        s.doubt = ang_sprintf("it may have been stored: send it again to root %s with --key %s to learn its outcome",
                              s.root_text, s.key);
        rc = send_it();
    }
    free(s.doubt);
    ang_buf_fini(&s.payload);
    ang_buf_fini(&s.book);
    return (tool_end(rc));
}
