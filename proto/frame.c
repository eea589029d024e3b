/* The parsers of frames: one function per message, all of the same form.  What a walk hands out has been checked already,
 * so they only sort fields into structs. */
#include "proto/frame.h"

#include "proto/walk_priv.h"

/* whole without part, which lies in it: what stands before and after. */
static void cut(struct ang_slice whole, struct ang_slice part, struct ang_slice ret_rest[2]) {
    const uint8_t *end = part.p + part.n;

    ret_rest[0] = ang_slice_of(whole.p, (size_t)(part.p - whole.p));
    ret_rest[1] = ang_slice_of(end, (size_t)(whole.p + whole.n - end));
}

/* Draws the region of the pages out over one more of them; they are alone as long as each begins where the last ended. */
static void extend_pages(struct ang_slice *pages, bool *alone, struct ang_slice field) {
    if (pages->p == NULL) {
        *pages = field;
        *alone = true;
        return;
    }
    if (pages->p + pages->n != field.p)
        *alone = false;
    pages->n = (size_t)(field.p + field.n - pages->p);
}

static struct ang_err *read_any(const struct walk *up, struct ang_slice raw, struct ang_wire_any *ret) {
    struct walk w = walk_of(up, &shape_any, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_any){.raw = raw};
    while (walk_next(&w, &f, &er))
        if (f.number == 1)
            ret->type_url = f.bytes;
        else
            ret->value = f.bytes;
    return (er);
}

static struct ang_err *read_timestamp(const struct walk *up, struct ang_slice raw, struct ang_wire_timestamp *ret) {
    struct walk w = walk_of(up, &shape_timestamp, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_timestamp){.raw = raw};
    while (walk_next(&w, &f, &er))
        if (f.number == 1)
            ret->seconds = (int64_t)f.value;
        else
            ret->nanos = (int32_t)f.value;
    return (er);
}

static struct ang_err *read_uuid(const struct walk *up, struct ang_slice raw, struct ang_slice *ret_value) {
    struct walk w = walk_of(up, &shape_uuid, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    while (walk_next(&w, &f, &er))
        *ret_value = f.bytes;
    return (er);
}

static struct ang_err *read_edition(const struct walk *up, struct ang_slice raw, struct ang_slice *ret_name) {
    struct walk w = walk_of(up, &shape_edition, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    while (er == NULL && walk_next(&w, &f, &er))
        if (f.number == 1)
            *ret_name = f.bytes;
        else
            er = walk_check(&w, shape_edition.rows[2].sub, f.bytes);
    return (er);
}

static struct ang_err *read_cover(const struct walk *up, struct ang_slice raw, struct ang_wire_cover *ret) {
    struct walk w = walk_of(up, &shape_cover, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_cover){.raw = raw, .present = true, .rest = {raw, ANG_SLICE_NONE}};
    while (er == NULL && walk_next(&w, &f, &er))
        switch (f.number) {
        case 1:
            ret->has_root = true;
            er = read_uuid(&w, f.bytes, &ret->root);
            break;
        case 2:
            ret->domain = f.bytes;
            break;
        case 3:
            ret->correlation_id = f.bytes;
            cut(raw, f.raw, ret->rest);
            break;
        case 4:
            ret->edition_raw = f.bytes;
            er = read_edition(&w, f.bytes, &ret->edition);
            break;
        }
    return (er);
}

static struct ang_err *read_snapshot(const struct walk *up, struct ang_slice raw, struct ang_wire_snapshot *ret) {
    struct walk w = walk_of(up, &shape_snapshot, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_snapshot){.raw = raw};
    while (er == NULL && walk_next(&w, &f, &er))
        if (f.number == 2)
            ret->sequence = (uint32_t)f.value;
        else
            er = read_any(&w, f.bytes, &ret->state);
    return (er);
}

static struct ang_err *read_event_page(const struct walk *up, struct ang_slice raw, struct ang_wire_event_page *ret) {
    struct walk w = walk_of(up, &shape_event_page, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_event_page){.raw = raw, .rest = {raw, ANG_SLICE_NONE}};
    while (er == NULL && walk_next(&w, &f, &er))
        switch (f.number) {
        case 1:
            ret->has_num = true;
            ret->num = (uint32_t)f.value;
            cut(raw, f.raw, ret->rest);
            break;
        case 2:
            ret->has_force = true;
            ret->force = f.value != 0;
            cut(raw, f.raw, ret->rest);
            break;
        case 3:
            er = read_timestamp(&w, f.bytes, &ret->created_at);
            break;
        case 4:
            er = read_any(&w, f.bytes, &ret->event);
            break;
        }
    return (er);
}

static struct ang_err *add_event_page(const struct walk *w, const struct ang_wire_field *f,
                                      struct ang_wire_event_book *book) {
    struct ang_wire_event_page page;
    struct ang_err *er = read_event_page(w, f->bytes, &page);

    if (er != NULL)
        return (er);
    if (page.has_num) {
        if (book->n_numbered++ == 0)
            book->first_num = page.num;
        book->last_num = page.num;
    }
    book->n_pages++;
    extend_pages(&book->pages, &book->pages_alone, f->raw);
    return (NULL);
}

static struct ang_err *read_event_book(const struct walk *up, struct ang_slice raw, struct ang_wire_event_book *ret) {
    struct walk w = walk_of(up, &shape_event_book, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_event_book){.raw = raw};
    while (er == NULL && walk_next(&w, &f, &er))
        switch (f.number) {
        case 1:
            er = read_cover(&w, f.bytes, &ret->cover);
            break;
        case 2:
            er = read_snapshot(&w, f.bytes, &ret->snapshot);
            break;
        case 3:
            er = add_event_page(&w, &f, ret);
            break;
        case 5:
            er = read_any(&w, f.bytes, &ret->snapshot_state);
            break;
        case 6:
            ret->has_next_sequence = true;
            ret->next_sequence = (uint32_t)f.value;
            break;
        }
    return (er);
}

static struct ang_err *read_saga_origin(const struct walk *up, struct ang_slice raw, struct ang_wire_saga_origin *ret) {
    struct walk w = walk_of(up, &shape_saga_origin, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_saga_origin){.raw = raw};
    while (er == NULL && walk_next(&w, &f, &er))
        switch (f.number) {
        case 1:
            ret->saga_name = f.bytes;
            break;
        case 2:
            er = read_cover(&w, f.bytes, &ret->cover);
            break;
        case 3:
            ret->sequence = (uint32_t)f.value;
            break;
        }
    return (er);
}

static struct ang_err *read_command_page(const struct walk *up, struct ang_slice raw,
                                         struct ang_wire_command_page *ret) {
    struct walk w = walk_of(up, &shape_command_page, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_command_page){.raw = raw};
    while (er == NULL && walk_next(&w, &f, &er))
        if (f.number == 1)
            ret->sequence = (uint32_t)f.value;
        else
            er = read_any(&w, f.bytes, &ret->command);
    return (er);
}

static struct ang_err *add_command_page(const struct walk *w, const struct ang_wire_field *f,
                                        struct ang_wire_command_book *book) {
    struct ang_wire_command_page page;
    struct ang_err *er = read_command_page(w, f->bytes, &page);

    if (er != NULL)
        return (er);
    if (book->n_pages++ == 0)
        book->first = page;
    extend_pages(&book->pages, &book->pages_alone, f->raw);
    return (NULL);
}

static struct ang_err *read_command_book(const struct walk *up, struct ang_slice raw,
                                         struct ang_wire_command_book *ret) {
    struct walk w = walk_of(up, &shape_command_book, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_command_book){.raw = raw, .rest = {raw, ANG_SLICE_NONE}};
    while (er == NULL && walk_next(&w, &f, &er))
        switch (f.number) {
        case 1:
            cut(raw, f.raw, ret->rest);
            er = read_cover(&w, f.bytes, &ret->cover);
            break;
        case 2:
            er = add_command_page(&w, &f, ret);
            break;
        case 4:
            er = read_saga_origin(&w, f.bytes, &ret->saga_origin);
            break;
        }
    return (er);
}

static struct ang_err *read_command_request(const struct shape *shape, struct ang_slice raw,
                                            struct ang_wire_command_request *ret) {
    struct walk w = walk_of(NULL, shape, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_command_request){.raw = raw};
    while (er == NULL && walk_next(&w, &f, &er))
        if (f.number == 1) {
            ret->has_command = true;
            er = read_command_book(&w, f.bytes, &ret->command);
        } else
            ret->arg = (int32_t)f.value;
    return (er);
}

static struct ang_err *read_revocation(const struct walk *up, struct ang_slice raw, struct ang_wire_revocation *ret) {
    struct walk w = walk_of(up, &shape_revocation, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_revocation){.raw = raw};
    while (walk_next(&w, &f, &er))
        switch (f.number) {
        case 1:
            ret->emit_system_revocation = f.value != 0;
            break;
        case 2:
            ret->send_to_dead_letter_queue = f.value != 0;
            break;
        case 3:
            ret->escalate = f.value != 0;
            break;
        case 4:
            ret->abort = f.value != 0;
            break;
        case 5:
            ret->reason = f.bytes;
            break;
        }
    return (er);
}

static struct ang_err *read_temporal(const struct walk *up, struct ang_slice raw, struct ang_wire_temporal *ret) {
    struct walk w = walk_of(up, &shape_temporal, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_temporal){.raw = raw};
    while (er == NULL && walk_next(&w, &f, &er))
        if (f.number == 1) {
            ret->moment = ANG_MOMENT_TIME;
            er = read_timestamp(&w, f.bytes, &ret->as_of_time);
        } else {
            ret->moment = ANG_MOMENT_SEQUENCE;
            ret->as_of_sequence = (uint32_t)f.value;
        }
    return (er);
}

static struct ang_err *read_range(const struct walk *up, struct ang_slice raw, struct ang_wire_query *ret) {
    struct walk w = walk_of(up, &shape_range, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    while (walk_next(&w, &f, &er))
        if (f.number == 1)
            ret->lower = (uint32_t)f.value;
        else {
            ret->has_upper = true;
            ret->upper = (uint32_t)f.value;
        }
    return (er);
}

static struct ang_err *read_sequences(const struct walk *up, struct ang_slice raw, struct ang_wire_query *ret) {
    struct ang_err *er = walk_check(up, &shape_sequences, raw);
    struct ang_wire_sequences s;
    uint32_t v;

    if (er != NULL)
        return (er);
    ret->sequences = raw;
    for (s = ang_wire_sequences_of(ret); ang_wire_sequences_next(&s, &v);)
        ret->n_sequences++;
    return (NULL);
}

/* ---- the parsers that others see ---- */

struct ang_err *ang_wire_parse_cover(struct ang_slice raw, struct ang_wire_cover *ret) {
    return (read_cover(NULL, raw, ret));
}

struct ang_err *ang_wire_parse_any(struct ang_slice raw, struct ang_wire_any *ret) {
    return (read_any(NULL, raw, ret));
}

struct ang_err *ang_wire_parse_timestamp(struct ang_slice raw, struct ang_wire_timestamp *ret) {
    return (read_timestamp(NULL, raw, ret));
}

struct ang_err *ang_wire_parse_snapshot(struct ang_slice raw, struct ang_wire_snapshot *ret) {
    return (read_snapshot(NULL, raw, ret));
}

struct ang_err *ang_wire_parse_event_page(struct ang_slice raw, struct ang_wire_event_page *ret) {
    return (read_event_page(NULL, raw, ret));
}

struct ang_err *ang_wire_parse_event_book(struct ang_slice raw, struct ang_wire_event_book *ret) {
    return (read_event_book(NULL, raw, ret));
}

struct ang_err *ang_wire_parse_command_page(struct ang_slice raw, struct ang_wire_command_page *ret) {
    return (read_command_page(NULL, raw, ret));
}

struct ang_err *ang_wire_parse_command_book(struct ang_slice raw, struct ang_wire_command_book *ret) {
    return (read_command_book(NULL, raw, ret));
}

struct ang_err *ang_wire_parse_sync_command(struct ang_slice raw, struct ang_wire_command_request *ret) {
    return (read_command_request(&shape_sync_command, raw, ret));
}

struct ang_err *ang_wire_parse_stream_count(struct ang_slice raw, struct ang_wire_command_request *ret) {
    return (read_command_request(&shape_stream_count, raw, ret));
}

struct ang_err *ang_wire_parse_stream_time(struct ang_slice raw, struct ang_wire_command_request *ret) {
    return (read_command_request(&shape_stream_time, raw, ret));
}

struct ang_err *ang_wire_parse_business_response(struct ang_slice raw, struct ang_wire_business_response *ret) {
    struct walk w = walk_of(NULL, &shape_business_response, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_business_response){.result = ANG_RESULT_NONE};
    while (er == NULL && walk_next(&w, &f, &er))
        if (f.number == 1) {
            ret->result = ANG_RESULT_EVENTS;
            er = read_event_book(&w, f.bytes, &ret->events);
        } else {
            ret->result = ANG_RESULT_REVOCATION;
            er = read_revocation(&w, f.bytes, &ret->revocation);
        }
    return (er);
}

struct ang_err *ang_wire_parse_temporal(struct ang_slice raw, struct ang_wire_temporal *ret) {
    return (read_temporal(NULL, raw, ret));
}

struct ang_err *ang_wire_parse_query(struct ang_slice raw, struct ang_wire_query *ret) {
    struct walk w = walk_of(NULL, &shape_query, raw);
    struct ang_wire_field f;
    struct ang_err *er = NULL;

    *ret = (struct ang_wire_query){.raw = raw, .selection = ANG_SELECT_ALL};
    while (er == NULL && walk_next(&w, &f, &er))
        switch (f.number) {
        case 1:
            er = read_cover(&w, f.bytes, &ret->cover);
            break;
        case 3:
            ret->selection = ANG_SELECT_RANGE;
            er = read_range(&w, f.bytes, ret);
            break;
        case 4:
            ret->selection = ANG_SELECT_SEQUENCES;
            er = read_sequences(&w, f.bytes, ret);
            break;
        case 5:
            ret->selection = ANG_SELECT_TEMPORAL;
            er = read_temporal(&w, f.bytes, &ret->temporal);
            break;
        }
    return (er);
}

/* ---- walking what was parsed ---- */

bool ang_wire_event_pages_next(struct ang_wire_iter *it, struct ang_wire_event_page *ret_page) {
    struct ang_wire_field f;

    while (ang_wire_next(it, &f))
        if (f.number == 3) {
            AZ(read_event_page(NULL, f.bytes, ret_page));
            return (true);
        }
    AZ(it->what);
    return (false);
}

bool ang_wire_command_pages_next(struct ang_wire_iter *it, struct ang_wire_command_page *ret_page) {
    struct ang_wire_field f;

    while (ang_wire_next(it, &f))
        if (f.number == 2) {
            AZ(read_command_page(NULL, f.bytes, ret_page));
            return (true);
        }
    AZ(it->what);
    return (false);
}

struct ang_wire_sequences ang_wire_sequences_of(const struct ang_wire_query *q) {
    return ((struct ang_wire_sequences){ang_wire_iter_of(q->sequences), ang_wire_iter_of(ANG_SLICE_NONE)});
}

bool ang_wire_sequences_next(struct ang_wire_sequences *s, uint32_t *ret_v) {
    struct ang_wire_field f;
    uint64_t v;

    for (;;) {
        if (ang_wire_next_varint(&s->packed, &v))
            break;
        if (!ang_wire_next(&s->fields, &f))
            return (false);
        if (f.number != 1)
            continue;
        if (f.type == ANG_WIRE_BYTES) {
            s->packed = ang_wire_iter_of(f.bytes);
            continue;
        }
        v = f.value;
        break;
    }
    *ret_v = (uint32_t)v;
    return (true);
}
