/* Random messages and random damage, with protobuf-c as the judge.
 *
 * A message is filled field by field from its descriptor, packed, and parsed: the frame must say what the struct says.
 * Then the bytes are damaged; what wire.c still accepts, protobuf-c must unpack, and both must read the same from it.
 * ANG_TEST_SEED sets the first seed, ANG_TEST_ROUNDS the damaged copies per seed and message. */
#include "test.h"

#include "angzarr/business.pb-c.h"
#include "angzarr/ext/event_tail.pb-c.h"
#include "angzarr/gateway.pb-c.h"
#include "angzarr/query.pb-c.h"
#include "angzarr/types.pb-c.h"

static uint64_t rng_state;

static uint32_t rnd(uint32_t below) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return ((uint32_t)(rng_state >> 32) % below);
}

/* ---- filling a message from its descriptor ---- */

static char *random_text(void) {
    static const char *const parts[] = {
        "a", "order", "-", "é", "漢", "\xf0\x9f\x98\x80", "type.googleapis.com/", "0123456789abcdef"};
    char *s = calloc(1, 128);

    for (uint32_t n = rnd(5); n > 0; n--)
        strcat(s, parts[rnd(ANG_COUNT(parts))]);
    return (s);
}

static uint64_t random_number(void) {
    uint64_t v = (uint64_t)rnd(UINT32_MAX) << 32 | rnd(UINT32_MAX);

    return (rnd(4) == 0 ? 0 : v >> rnd(64));
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *md);

static void set_value(const ProtobufCFieldDescriptor *fd, void *at) {
    ProtobufCBinaryData bin;

    switch ((int)fd->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)at = random_message(fd->descriptor);
        break;
    case PROTOBUF_C_TYPE_STRING:
        *(char **)at = random_text();
        break;
    case PROTOBUF_C_TYPE_BYTES:
        bin.len = rnd(3) == 0 ? 0 : rnd(2) == 0 ? 16 : rnd(300);
        bin.data = bin.len == 0 ? NULL : malloc(bin.len);
        for (size_t i = 0; i < bin.len; i++)
            bin.data[i] = (uint8_t)rnd(256);
        *(ProtobufCBinaryData *)at = bin;
        break;
    case PROTOBUF_C_TYPE_INT64:
        *(int64_t *)at = (int64_t)random_number();
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)at = (protobuf_c_boolean)rnd(2);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        *(uint32_t *)at = (uint32_t)random_number();
        break;
    default:
        fail_msg("%s: a type this test cannot fill", fd->name);
    }
}

static size_t size_of(const ProtobufCFieldDescriptor *fd) {
    return (fd->type == PROTOBUF_C_TYPE_UINT32 ? sizeof(uint32_t) : sizeof(void *));
}

static void fill_repeated(const ProtobufCFieldDescriptor *fd, char *base) {
    size_t n = rnd(5), size = size_of(fd);
    char *list = n == 0 ? NULL : malloc(n * size);

    for (size_t i = 0; i < n; i++)
        set_value(fd, list + i * size);
    *(size_t *)(void *)(base + fd->quantifier_offset) = n;
    *(char **)(void *)(base + fd->offset) = list;
}

static void add_unknown(ProtobufCMessage *m) {
    static const char payload[] = "\x03\xff\x00\x80";
    ProtobufCMessageUnknownField *u = malloc(sizeof(*u));
    bool bytes = rnd(2) == 0;

    *u = (ProtobufCMessageUnknownField){.tag = 40 + rnd(5000), .len = bytes ? 4 : 1};
    u->wire_type = bytes ? PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED : PROTOBUF_C_WIRE_TYPE_VARINT;
    u->data = malloc(4);
    memcpy(u->data, payload, 4);
    m->unknown_fields = u;
    m->n_unknown_fields = 1;
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *md) {
    char *base = malloc(md->sizeof_message);
    ProtobufCMessage *m = (ProtobufCMessage *)(void *)base;

    protobuf_c_message_init(md, m);
    for (unsigned i = 0; i < md->n_fields; i++) {
        const ProtobufCFieldDescriptor *fd = &md->fields[i];
        uint32_t *quantifier = (uint32_t *)(void *)(base + fd->quantifier_offset);

        if (fd->label == PROTOBUF_C_LABEL_REPEATED) {
            fill_repeated(fd, base);
            continue;
        }
        if (rnd(4) == 0)
            continue;
        if ((fd->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            if (*quantifier != 0)
                continue;
            *quantifier = fd->id;
        }
        set_value(fd, base + fd->offset);
    }
    if (rnd(6) == 0)
        add_unknown(m);
    return (m);
}

/* ---- does the frame say what the struct says? ---- */

#define SAME(x)                                                                                                        \
    do {                                                                                                               \
        if (!(x)) {                                                                                                    \
            fprintf(stderr, "line %d: %s\n", __LINE__, #x);                                                            \
            return (false);                                                                                            \
        }                                                                                                              \
    } while (0)

/* protobuf-c's strings end at the first NUL. */
static bool same_text(struct ang_slice s, const char *c) {
    size_t n = strlen(c);

    return (n <= s.n && (n == 0 || memcmp(s.p, c, n) == 0) && (n == s.n || s.p[n] == '\0'));
}

static bool same_bytes(struct ang_slice s, const ProtobufCBinaryData *b) {
    return (ang_slice_eq(s, ang_slice_of(b->data, b->len)));
}

static bool same_any(const struct ang_wire_any *a, const Google__Protobuf__Any *c) {
    SAME((a->raw.p != NULL) == (c != NULL));
    if (c != NULL)
        SAME(same_text(a->type_url, c->type_url) && same_bytes(a->value, &c->value));
    return (true);
}

static bool same_timestamp(const struct ang_wire_timestamp *t, const Google__Protobuf__Timestamp *c) {
    SAME((t->raw.p != NULL) == (c != NULL));
    if (c != NULL)
        SAME(t->seconds == c->seconds && t->nanos == c->nanos);
    return (true);
}

static bool same_cover(const struct ang_wire_cover *a, const Angzarr__Cover *c) {
    SAME(a->present == (c != NULL));
    if (c == NULL)
        return (true);
    SAME(a->has_root == (c->root != NULL));
    if (c->root != NULL)
        SAME(same_bytes(a->root, &c->root->value));
    SAME(same_text(a->domain, c->domain) && same_text(a->correlation_id, c->correlation_id));
    SAME((a->edition_raw.p != NULL) == (c->edition != NULL));
    if (c->edition != NULL)
        SAME(same_text(a->edition, c->edition->name));
    return (true);
}

static bool same_event_page(const struct ang_wire_event_page *a, const Angzarr__EventPage *c) {
    SAME(a->has_num == (c->sequence_case == ANGZARR__EVENT_PAGE__SEQUENCE_NUM));
    SAME(a->has_force == (c->sequence_case == ANGZARR__EVENT_PAGE__SEQUENCE_FORCE));
    if (a->has_num)
        SAME(a->num == c->num);
    if (a->has_force)
        SAME(a->force == (c->force != 0));
    return (same_timestamp(&a->created_at, c->created_at) && same_any(&a->event, c->event));
}

static bool same_event_pages(const struct ang_wire_event_book *a, const Angzarr__EventBook *c) {
    struct ang_wire_iter it = ang_wire_iter_of(a->pages);
    struct ang_wire_event_page page;
    uint32_t numbered = 0;

    SAME(a->n_pages == c->n_pages);
    for (size_t i = 0; i < c->n_pages; i++) {
        SAME(ang_wire_event_pages_next(&it, &page));
        SAME(same_event_page(&page, c->pages[i]));
        if (!page.has_num)
            continue;
        if (numbered++ == 0)
            SAME(a->first_num == page.num);
        SAME(numbered < a->n_numbered || a->last_num == page.num);
    }
    SAME(!ang_wire_event_pages_next(&it, &page));
    SAME(numbered == a->n_numbered);
    return (true);
}

static bool same_event_book(const struct ang_wire_event_book *a, const Angzarr__EventBook *c) {
    SAME((a->snapshot.raw.p != NULL) == (c->snapshot != NULL));
    if (c->snapshot != NULL)
        SAME(a->snapshot.sequence == c->snapshot->sequence && same_any(&a->snapshot.state, c->snapshot->state));
    SAME(a->next_sequence == c->next_sequence);
    return (same_cover(&a->cover, c->cover) && same_any(&a->snapshot_state, c->snapshot_state) &&
            same_event_pages(a, c));
}

static bool same_command_book(const struct ang_wire_command_book *a, const Angzarr__CommandBook *c) {
    struct ang_wire_iter it = ang_wire_iter_of(a->pages);
    struct ang_wire_command_page page;

    SAME(a->n_pages == c->n_pages);
    for (size_t i = 0; i < c->n_pages; i++) {
        SAME(ang_wire_command_pages_next(&it, &page));
        SAME(page.sequence == c->pages[i]->sequence && same_any(&page.command, c->pages[i]->command));
        SAME(i > 0 || a->first.sequence == page.sequence);
    }
    SAME(!ang_wire_command_pages_next(&it, &page));
    SAME((a->saga_origin.raw.p != NULL) == (c->saga_origin != NULL));
    if (c->saga_origin != NULL) {
        SAME(same_text(a->saga_origin.saga_name, c->saga_origin->saga_name));
        SAME(same_cover(&a->saga_origin.cover, c->saga_origin->triggering_aggregate));
        SAME(a->saga_origin.sequence == c->saga_origin->triggering_event_sequence);
    }
    return (same_cover(&a->cover, c->cover));
}

/* ---- splicing: the same change made by us on the bytes and by protobuf-c on the struct ---- */

static bool same_packed(const ProtobufCMessage *a, const ProtobufCMessage *b) {
    size_t n = protobuf_c_message_get_packed_size(a);
    uint8_t *p = malloc(n + 1), *q;
    bool same = n == protobuf_c_message_get_packed_size(b);

    if (same) {
        q = malloc(n + 1);
        protobuf_c_message_pack(a, p);
        protobuf_c_message_pack(b, q);
        same = memcmp(p, q, n) == 0;
        free(q);
    }
    free(p);
    return (same);
}

static void set_text(char **at, const char *text) {
    if (*at != protobuf_c_empty_string)
        free(*at);
    *at = strdup(text);
}

static bool command_book_takes_an_id(const struct ang_wire_command_book *a, Angzarr__CommandBook *c) {
    struct ang_buf b = {0};
    Angzarr__CommandBook *got;
    bool same;

    ang_wire_add_command_book(&b, a, ang_slice_str("new-id"));
    if (c->cover == NULL) {
        c->cover = malloc(sizeof(*c->cover));
        angzarr__cover__init(c->cover);
    }
    set_text(&c->cover->correlation_id, "new-id");
    got = angzarr__command_book__unpack(NULL, b.n, b.p);
    SAME(got != NULL);
    same = same_packed(&got->base, &c->base);
    angzarr__command_book__free_unpacked(got, NULL);
    ang_buf_fini(&b);
    SAME(same);
    return (true);
}

/* Every page numbered anew, into an event book of its own. */
static bool pages_are_numbered(const struct ang_wire_event_book *a, const Angzarr__EventBook *c) {
    struct ang_wire_iter it = ang_wire_iter_of(a->pages);
    struct ang_wire_stamp stamp = {rnd(1000), 1700000000, 5};
    struct ang_wire_event_page page;
    struct ang_buf b = {0};
    Angzarr__EventBook *got;
    uint32_t first = stamp.num;

    for (; ang_wire_event_pages_next(&it, &page); stamp.num++)
        ang_wire_put_event_page(&b, 3, &page, &stamp);
    got = angzarr__event_book__unpack(NULL, b.n, b.p);
    SAME(got != NULL && got->n_pages == c->n_pages);
    for (size_t i = 0; i < c->n_pages; i++) {
        Angzarr__EventPage *g = got->pages[i], *w = c->pages[i];

        SAME(g->sequence_case == ANGZARR__EVENT_PAGE__SEQUENCE_NUM && g->num == first + i);
        if (w->created_at == NULL) {
            SAME(g->created_at != NULL && g->created_at->seconds == 1700000000 && g->created_at->nanos == 5);
            google__protobuf__timestamp__free_unpacked(g->created_at, NULL);
            g->created_at = NULL;
        }
        g->sequence_case = w->sequence_case;
        g->num = w->num;
        if (w->sequence_case == ANGZARR__EVENT_PAGE__SEQUENCE_FORCE)
            g->force = w->force;
        SAME(same_packed(&g->base, &w->base));
    }
    angzarr__event_book__free_unpacked(got, NULL);
    ang_buf_fini(&b);
    return (true);
}

/* ---- one judge per message: parses, compares; false with *ret_er set when refused ---- */

enum verdict { REFUSED, AGREES, DIFFERS };

static enum verdict judge_events(struct ang_slice s, ProtobufCMessage *m, struct ang_err **ret_er) {
    struct ang_wire_event_book a;
    Angzarr__EventBook *c = (Angzarr__EventBook *)(void *)m;

    if ((*ret_er = ang_wire_parse_event_book(s, &a)) != NULL)
        return (REFUSED);
    return (c != NULL && same_event_book(&a, c) && pages_are_numbered(&a, c) ? AGREES : DIFFERS);
}

static enum verdict judge_command(struct ang_slice s, ProtobufCMessage *m, struct ang_err **ret_er) {
    struct ang_wire_command_book a;
    Angzarr__CommandBook *c = (Angzarr__CommandBook *)(void *)m;

    if ((*ret_er = ang_wire_parse_command_book(s, &a)) != NULL)
        return (REFUSED);
    return (c != NULL && same_command_book(&a, c) && command_book_takes_an_id(&a, c) ? AGREES : DIFFERS);
}

static enum verdict judge_sync(struct ang_slice s, ProtobufCMessage *m, struct ang_err **ret_er) {
    struct ang_wire_command_request a;
    Angzarr__SyncCommandBook *c = (Angzarr__SyncCommandBook *)(void *)m;

    if ((*ret_er = ang_wire_parse_sync_command(s, &a)) != NULL)
        return (REFUSED);
    if (c == NULL || a.has_command != (c->command != NULL) || a.arg != (int32_t)c->sync_mode)
        return (DIFFERS);
    return (c->command == NULL || same_command_book(&a.command, c->command) ? AGREES : DIFFERS);
}

static enum verdict judge_time(struct ang_slice s, ProtobufCMessage *m, struct ang_err **ret_er) {
    struct ang_wire_command_request a;
    Angzarr__ExecuteStreamTimeRequest *c = (Angzarr__ExecuteStreamTimeRequest *)(void *)m;

    if ((*ret_er = ang_wire_parse_stream_time(s, &a)) != NULL)
        return (REFUSED);
    if (c == NULL || a.has_command != (c->command != NULL) || a.arg != c->timeout_ms)
        return (DIFFERS);
    return (c->command == NULL || same_command_book(&a.command, c->command) ? AGREES : DIFFERS);
}

static bool same_revocation(const struct ang_wire_revocation *a, const Angzarr__RevocationResponse *c) {
    SAME(a->emit_system_revocation == (c->emit_system_revocation != 0));
    SAME(a->send_to_dead_letter_queue == (c->send_to_dead_letter_queue != 0));
    SAME(a->escalate == (c->escalate != 0) && a->abort == (c->abort != 0));
    SAME(same_text(a->reason, c->reason));
    return (true);
}

static enum verdict judge_answer(struct ang_slice s, ProtobufCMessage *m, struct ang_err **ret_er) {
    struct ang_wire_business_response a;
    Angzarr__BusinessResponse *c = (Angzarr__BusinessResponse *)(void *)m;
    bool same = false;

    if ((*ret_er = ang_wire_parse_business_response(s, &a)) != NULL)
        return (REFUSED);
    if (c == NULL)
        return (DIFFERS);
    switch (a.result) {
    case ANG_RESULT_NONE:
        same = c->result_case == ANGZARR__BUSINESS_RESPONSE__RESULT__NOT_SET;
        break;
    case ANG_RESULT_EVENTS:
        same = c->result_case == ANGZARR__BUSINESS_RESPONSE__RESULT_EVENTS && same_event_book(&a.events, c->events);
        break;
    case ANG_RESULT_REVOCATION:
        same = c->result_case == ANGZARR__BUSINESS_RESPONSE__RESULT_REVOCATION &&
               same_revocation(&a.revocation, c->revocation);
        break;
    }
    return (same ? AGREES : DIFFERS);
}

static bool same_range(const struct ang_wire_query *a, const Angzarr__SequenceRange *c) {
    SAME(a->lower == c->lower);
    SAME(a->has_upper == (c->_upper_case == ANGZARR__SEQUENCE_RANGE___UPPER_UPPER));
    SAME(!a->has_upper || a->upper == c->upper);
    return (true);
}

static bool same_sequences(const struct ang_wire_query *a, const Angzarr__SequenceSet *c) {
    struct ang_wire_sequences s = ang_wire_sequences_of(a);
    uint32_t v;

    SAME(a->n_sequences == c->n_values);
    for (size_t i = 0; i < c->n_values; i++)
        SAME(ang_wire_sequences_next(&s, &v) && v == c->values[i]);
    SAME(!ang_wire_sequences_next(&s, &v));
    return (true);
}

static bool same_temporal(const struct ang_wire_temporal *a, const Angzarr__TemporalQuery *c) {
    switch (a->moment) {
    case ANG_MOMENT_NONE:
        SAME(c->point_in_time_case == ANGZARR__TEMPORAL_QUERY__POINT_IN_TIME__NOT_SET);
        break;
    case ANG_MOMENT_TIME:
        SAME(c->point_in_time_case == ANGZARR__TEMPORAL_QUERY__POINT_IN_TIME_AS_OF_TIME);
        return (same_timestamp(&a->as_of_time, c->as_of_time));
    case ANG_MOMENT_SEQUENCE:
        SAME(c->point_in_time_case == ANGZARR__TEMPORAL_QUERY__POINT_IN_TIME_AS_OF_SEQUENCE);
        SAME(a->as_of_sequence == c->as_of_sequence);
        break;
    }
    return (true);
}

static bool same_selection(const struct ang_wire_query *a, const Angzarr__Query *c) {
    switch (a->selection) {
    case ANG_SELECT_ALL:
        SAME(c->selection_case == ANGZARR__QUERY__SELECTION__NOT_SET);
        break;
    case ANG_SELECT_RANGE:
        SAME(c->selection_case == ANGZARR__QUERY__SELECTION_RANGE);
        return (same_range(a, c->range));
    case ANG_SELECT_SEQUENCES:
        SAME(c->selection_case == ANGZARR__QUERY__SELECTION_SEQUENCES);
        return (same_sequences(a, c->sequences));
    case ANG_SELECT_TEMPORAL:
        SAME(c->selection_case == ANGZARR__QUERY__SELECTION_TEMPORAL);
        return (same_temporal(&a->temporal, c->temporal));
    }
    return (true);
}

static enum verdict judge_query(struct ang_slice s, ProtobufCMessage *m, struct ang_err **ret_er) {
    struct ang_wire_query a;
    Angzarr__Query *c = (Angzarr__Query *)(void *)m;

    if ((*ret_er = ang_wire_parse_query(s, &a)) != NULL)
        return (REFUSED);
    return (c != NULL && same_cover(&a.cover, c->cover) && same_selection(&a, c) ? AGREES : DIFFERS);
}

static enum verdict judge_follow(struct ang_slice s, ProtobufCMessage *m, struct ang_err **ret_er) {
    struct ang_wire_cover a;
    Angzarr__Ext__FollowRequest *c = (Angzarr__Ext__FollowRequest *)(void *)m;

    if ((*ret_er = ang_wire_parse_follow(s, &a)) != NULL)
        return (REFUSED);
    if (c == NULL || a.has_root != (c->root != NULL) || (a.has_root && !same_bytes(a.root, &c->root->value)))
        return (DIFFERS);
    return (same_text(a.domain, c->domain) && same_text(a.correlation_id, c->correlation_id) &&
                    same_text(a.edition, c->edition)
                ? AGREES
                : DIFFERS);
}

static const struct {
    const ProtobufCMessageDescriptor *md;
    enum verdict (*judge)(struct ang_slice s, ProtobufCMessage *m, struct ang_err **ret_er);
} kinds[] = {
    {&angzarr__event_book__descriptor, judge_events},
    {&angzarr__command_book__descriptor, judge_command},
    {&angzarr__sync_command_book__descriptor, judge_sync},
    {&angzarr__execute_stream_time_request__descriptor, judge_time},
    {&angzarr__business_response__descriptor, judge_answer},
    {&angzarr__query__descriptor, judge_query},
    {&angzarr__ext__follow_request__descriptor, judge_follow},
};

/* ---- the two properties ---- */

static struct ang_slice pack(const ProtobufCMessage *m) {
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *p = malloc(n == 0 ? 1 : n);

    protobuf_c_message_pack(m, p);
    return (ang_slice_of(p, n));
}

/* Exactly as large as the message, so that AddressSanitizer sees every step past its end. */
static struct ang_slice damage(struct ang_slice s) {
    size_t at = s.n == 0 ? 0 : rnd((uint32_t)s.n), len = s.n - at == 0 ? 0 : rnd((uint32_t)(s.n - at)) % 24;
    struct ang_buf b = {0};
    uint8_t *p;

    switch (rnd(6)) {
    case 0: /* cut off */
        ang_buf_add(&b, s.p, at);
        break;
    case 1: /* some bytes twice */
        ang_buf_add(&b, s.p, at + len);
        ang_buf_add(&b, s.p + at, s.n - at);
        break;
    case 2: /* some bytes left out */
        ang_buf_add(&b, s.p, at);
        ang_buf_add(&b, s.p + at + len, s.n - at - len);
        break;
    case 3: /* a byte put in */
        ang_buf_add(&b, s.p, at);
        ang_buf_add_u8(&b, (uint8_t)rnd(256));
        ang_buf_add(&b, s.p + at, s.n - at);
        break;
    default: /* one to three bytes changed */
        ang_buf_add(&b, s.p, s.n);
        for (uint32_t n = 1 + rnd(3); n > 0 && b.n > 0; n--)
            b.p[rnd((uint32_t)b.n)] ^= (uint8_t)(1u << rnd(8));
    }
    p = malloc(b.n == 0 ? 1 : b.n);
    memcpy(p, b.n == 0 ? (const uint8_t *)"" : b.p, b.n);
    s = ang_slice_of(p, b.n);
    ang_buf_fini(&b);
    return (s);
}

static uint32_t setting(const char *name, uint32_t otherwise) {
    const char *text = getenv(name);

    return (text == NULL ? otherwise : (uint32_t)strtoul(text, NULL, 10));
}

static void judged(size_t kind, struct ang_slice s, bool must_accept, uint32_t seed, uint32_t round,
                   uint32_t *accepted) {
    ProtobufCMessage *m = protobuf_c_message_unpack(kinds[kind].md, NULL, s.n, s.p);
    struct ang_err *er = NULL;

    switch (kinds[kind].judge(s, m, &er)) {
    case REFUSED:
        if (must_accept)
            fail_msg("seed %u: a valid %s is refused: %s", seed, kinds[kind].md->short_name, er->msg);
        assert_int_equal(er->code, ANG_E_WIRE);
        break;
    case AGREES:
        (*accepted)++;
        break;
    case DIFFERS:
        fail_msg("seed %u round %u: %s is %s", seed, round, kinds[kind].md->short_name,
                 m == NULL ? "refused by protobuf-c and accepted here" : "read differently");
    }
    ang_err_free(&er);
    if (m != NULL)
        protobuf_c_message_free_unpacked(m, NULL);
}

static void random_messages_are_read_as_protobuf_c_reads_them(void **state) {
    uint32_t first = setting("ANG_TEST_SEED", 1), accepted = 0;

    for (uint32_t seed = first; seed < first + 2000; seed++)
        for (size_t k = 0; k < ANG_COUNT(kinds); k++) {
            ProtobufCMessage *m;
            struct ang_slice s;

            rng_state = UINT64_C(0x9e3779b97f4a7c15) * (seed + 1);
            m = random_message(kinds[k].md);
            s = pack(m);
            judged(k, s, true, seed, 0, &accepted);
            drop(s);
            protobuf_c_message_free_unpacked(m, NULL);
        }
    assert_int_equal(accepted, 2000 * ANG_COUNT(kinds));
}

static void damage_is_refused_or_read_alike(void **state) {
    uint32_t first = setting("ANG_TEST_SEED", 1), rounds = setting("ANG_TEST_ROUNDS", 10000);
    uint32_t accepted = 0, tried = 0;

    for (uint32_t seed = first; seed < first + 4; seed++)
        for (size_t k = 0; k < ANG_COUNT(kinds); k++) {
            struct ang_slice s = ANG_SLICE_NONE;

            rng_state = UINT64_C(0xd1342543de82ef95) * (seed + 1) + k;
            for (uint32_t i = 0; i < rounds; i++, tried++) {
                struct ang_slice d;

                if (i % 50 == 0) {
                    ProtobufCMessage *m = random_message(kinds[k].md);

                    drop(s);
                    s = pack(m);
                    protobuf_c_message_free_unpacked(m, NULL);
                }
                d = damage(s);
                judged(k, d, false, seed, i, &accepted);
                drop(d);
            }
            drop(s);
        }
    /* Damage that is always refused, or never, would test one side only. */
    assert_true(accepted > tried / 20 && accepted < tried - tried / 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_messages_are_read_as_protobuf_c_reads_them),
        cmocka_unit_test(damage_is_refused_or_read_alike),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
