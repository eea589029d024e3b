/* The history of a root: its snapshot and the pages after it, as the bytes they were stored in, loaded from the store on
 * demand and kept up with what is staged.  What is staged and then aborted goes away with the whole part (part_drop). */
#include "processor/lane_priv.h"

struct load {
    struct root *r;
    uint32_t from;
    struct ang_err *er;
};

static bool load_book(void *arg, const struct ang_store_book *sb) {
    struct load *ld = arg;
    struct root *r = ld->r;
    struct ang_wire_event_book book;
    struct ang_wire_event_page page;
    struct ang_wire_iter it;

    ld->er = ang_wire_parse_event_book(sb->book, &book);
    if (ld->er != NULL)
        return (false);
    if (sb->first > r->next) {
        ld->er = ang_err_new(ANG_E_STORE_CORRUPT, "events %u to %u are not in the store", r->next, sb->first - 1);
        return (false);
    }
    r->next = sb->first + sb->pages;
    if (sb->first >= ld->from && book.pages_alone) {
        ang_buf_add_slice(&r->pages, book.pages);
        return (true);
    }
    it = ang_wire_iter_of(book.pages);
    while (ang_wire_event_pages_next(&it, &page))
        if (page.num >= ld->from)
            ang_wire_put_bytes(&r->pages, 3, page.raw);
    return (true);
}

struct ang_err *root_load(struct root *r) {
    struct part *p = r->part;
    struct load ld = {.r = r};
    struct ang_wire_snapshot snap;
    struct ang_err *er = NULL;
    bool found = false;

    if (r->loaded)
        return (NULL);
    r->has_snapshot = false;
    ang_buf_clear(&r->pages);
    ang_buf_clear(&r->snapshot);
    er = ang_store_next_sequence(p->shard->store, &r->id, &r->next);
    if (er != NULL || r->next == 0) /* most roots that are not in memory are new: one cheap look instead of three */
        goto out;
    r->next = 0;
    er = ang_store_snapshot(p->shard->store, &r->id, &r->snapshot, &found);
    if (er == NULL && found)
        er = ang_wire_parse_snapshot(ang_buf_slice(&r->snapshot), &snap);
    if (er != NULL)
        goto out;
    r->has_snapshot = found;
    r->snapshot_seq = found ? snap.sequence : 0;
    if (found && p->lane->domain->business->send_snapshots) {
        ld.from = snap.sequence + 1;
        r->next = ld.from;
    } else {
        ang_buf_clear(&r->snapshot);
    }
    er = ang_store_books(p->shard->store, &r->id, ld.from, load_book, &ld);
    if (er == NULL)
        er = ld.er;
out:
    if (er != NULL)
        return (ang_err_wrap(&er, "history of a root in %s partition %d", p->lane->domain->name, p->no));
    r->loaded = true;
    return (NULL);
}

void root_unload(struct root *r) {
    r->loaded = false;
    ang_buf_fini(&r->pages);
    ang_buf_fini(&r->snapshot);
}

void root_append(struct root *r, struct ang_slice pages, uint32_t next) {
    ang_buf_add_slice(&r->pages, pages);
    r->next = next;
}

void root_snapshot(struct root *r, struct ang_slice snapshot, uint32_t sequence) {
    r->has_snapshot = true;
    r->snapshot_seq = sequence;
    if (!r->part->lane->domain->business->send_snapshots)
        return;
    ang_buf_clear(&r->snapshot);
    ang_buf_add_slice(&r->snapshot, snapshot);
    ang_buf_clear(&r->pages);
}

/* The newest pages of the history whose encoding together stays under max, as one slice of r->pages. */
struct ang_slice root_newest(const struct root *r, size_t max) {
    struct ang_wire_iter it = ang_wire_iter_of(ang_buf_slice(&r->pages));
    struct ang_wire_field f;
    const uint8_t *end = r->pages.p + r->pages.n, *from = r->pages.p;

    if (r->pages.n <= max)
        return (ang_buf_slice(&r->pages));
    while ((size_t)(end - from) > max && ang_wire_next(&it, &f))
        from = f.raw.p + f.raw.n;
    return (ang_slice_of(from, (size_t)(end - from)));
}
