/* What a Query selects. */
#include "proto/select.h"

#include <stdlib.h>

static int by_number(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return ((x > y) - (x < y));
}

void ang_select_init(struct ang_select *s, const struct ang_wire_query *q) {
    struct ang_wire_sequences values;
    uint32_t v;

    *s = (struct ang_select){.q = *q};
    if (q->selection != ANG_SELECT_SEQUENCES)
        return;
    s->set = ang_calloc(q->n_sequences + 1, sizeof *s->set);
    values = ang_wire_sequences_of(q);
    while (ang_wire_sequences_next(&values, &v))
        s->set[s->n_set++] = v;
    qsort(s->set, s->n_set, sizeof *s->set, by_number);
}

void ang_select_fini(struct ang_select *s) {
    free(s->set);
    s->set = NULL;
    s->n_set = 0;
}

static bool in_set(const struct ang_select *s, uint32_t num) {
    size_t lo = 0, hi = s->n_set;

    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;

        if (s->set[mid] < num)
            lo = mid + 1;
        else
            hi = mid;
    }
    return (lo < s->n_set && s->set[lo] == num);
}

static bool not_after(const struct ang_wire_timestamp *a, const struct ang_wire_timestamp *b) {
    return (a->seconds < b->seconds || (a->seconds == b->seconds && a->nanos <= b->nanos));
}

bool ang_select_has(const struct ang_select *s, const struct ang_wire_event_page *page) {
    const struct ang_wire_query *q = &s->q;

    switch (q->selection) {
    case ANG_SELECT_ALL:
        return (true);
    case ANG_SELECT_RANGE:
        return (page->num >= q->lower && (!q->has_upper || page->num <= q->upper));
    case ANG_SELECT_SEQUENCES:
        return (in_set(s, page->num));
    case ANG_SELECT_TEMPORAL:
        if (q->temporal.moment == ANG_MOMENT_SEQUENCE)
            return (page->num <= q->temporal.as_of_sequence);
        return (not_after(&page->created_at, &q->temporal.as_of_time));
    }
    return (false);
}

uint32_t ang_select_first(const struct ang_select *s) {
    if (s->q.selection == ANG_SELECT_RANGE)
        return (s->q.lower);
    if (s->q.selection == ANG_SELECT_SEQUENCES)
        return (s->n_set > 0 ? s->set[0] : 0);
    return (0);
}

bool ang_select_past(const struct ang_select *s, uint32_t num) {
    switch (s->q.selection) {
    case ANG_SELECT_RANGE:
        return (s->q.has_upper && num > s->q.upper);
    case ANG_SELECT_SEQUENCES:
        return (s->n_set == 0 || num > s->set[s->n_set - 1]);
    case ANG_SELECT_TEMPORAL:
        return (s->q.temporal.moment == ANG_MOMENT_SEQUENCE && num > s->q.temporal.as_of_sequence);
    case ANG_SELECT_ALL:
        break;
    }
    return (false);
}

void ang_select_add(const struct ang_select *s, const struct ang_wire_event_book *book, struct ang_buf *out) {
    struct ang_wire_iter it = ang_wire_iter_of(book->pages);
    struct ang_wire_event_page page;

    if (s->q.selection == ANG_SELECT_ALL && book->pages_alone) {
        ang_buf_add_slice(out, book->pages);
        return;
    }
    while (ang_wire_event_pages_next(&it, &page))
        if (ang_select_has(s, &page))
            ang_wire_put_bytes(out, 3, page.raw);
}
