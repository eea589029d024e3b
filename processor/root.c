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
    ang_buf_clear(&r->older);
    r->older_cut = false;
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
    r->older_from = ld.from;
    r->loaded = true;
    return (NULL);
}

void root_unload(struct root *r) {
    r->loaded = false;
    ang_buf_fini(&r->pages);
    ang_buf_fini(&r->snapshot);
    ang_buf_fini(&r->older);
}

/* ---- the newest pages, for who has to decide again (contract 2) ---- */

/* The last of these fields whose encoding together stays under max; *ret_before: how many are before them. */
static struct ang_slice newest(struct ang_slice pages, size_t max, uint32_t *ret_before) {
    struct ang_wire_iter it = ang_wire_iter_of(pages);
    const uint8_t *end = pages.p + pages.n, *from = pages.p;
    struct ang_wire_field f;

    *ret_before = 0;
    while ((size_t)(end - from) > max && ang_wire_next(&it, &f)) {
        from = f.raw.p + f.raw.n;
        ++*ret_before;
    }
    return (ang_slice_of(from, (size_t)(end - from)));
}

/* Adds pages before or behind the older ones, and keeps of them what somebody may need. */
static void older_add(struct root *r, struct ang_slice before, struct ang_slice behind) {
    struct ang_buf all = {NULL, 0, 0};
    uint32_t cut;

    ang_buf_add_slice(&all, before);
    ang_buf_add_slice(&all, ang_buf_slice(&r->older));
    ang_buf_add_slice(&all, behind);
    ang_buf_clear(&r->older);
    ang_buf_add_slice(&r->older, newest(ang_buf_slice(&all), ROOT_NEWEST_MAX, &cut));
    r->older_from += cut;
    r->older_cut |= cut > 0;
    ang_buf_fini(&all);
}

struct older {
    uint32_t from, to, n;
    struct ang_buf pages;
    struct ang_err *er;
};

static bool older_book(void *arg, const struct ang_store_book *sb) {
    struct older *o = arg;
    struct ang_wire_event_book book;
    struct ang_wire_event_page page;
    struct ang_wire_iter it;

    if (sb->first >= o->to)
        return (false);
    o->er = ang_wire_parse_event_book(sb->book, &book);
    if (o->er != NULL)
        return (false);
    it = ang_wire_iter_of(book.pages);
    while (ang_wire_event_pages_next(&it, &page)) {
        if (page.num < o->from || page.num >= o->to)
            continue;
        ang_wire_put_bytes(&o->pages, 3, page.raw);
        o->n++;
    }
    return (true);
}

/* Reads `some` more pages from the store. */
static struct ang_err *older_read(struct root *r, uint32_t some) {
    struct older o = {.from = r->older_from > some ? r->older_from - some : 0, .to = r->older_from};
    struct ang_err *er = ang_store_books(r->part->shard->store, &r->id, o.from, older_book, &o);

    if (er == NULL)
        er = o.er;
    if (er == NULL && o.n != o.to - o.from)
        er = ang_err_new(ANG_E_STORE_CORRUPT, "of events %u to %u only %u are in the store", o.from, o.to - 1, o.n);
    if (er == NULL) {
        r->older_from = o.from;
        older_add(r, ang_buf_slice(&o.pages), ANG_SLICE_NONE);
    }
    ang_buf_fini(&o.pages);
    return (er);
}

struct ang_err *root_newest(struct root *r, size_t max, struct ang_buf *out) {
    const size_t room = r->pages.n < max ? max - r->pages.n : 0;
    struct ang_err *er;
    uint32_t some, cut;

    AN(r->loaded);
    ANG_ASSERT(max <= ROOT_NEWEST_MAX);
    for (some = 16; r->older.n < room && r->older_from > 0 && !r->older_cut; some *= 2)
        if ((er = older_read(r, some)) != NULL)
            return (er);
    if (room > 0)
        ang_buf_add_slice(out, newest(ang_buf_slice(&r->older), room, &cut));
    ang_buf_add_slice(out, newest(ang_buf_slice(&r->pages), max, &cut));
    return (NULL);
}

/* ---- what is staged ---- */

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
    older_add(r, ANG_SLICE_NONE, ang_buf_slice(&r->pages));
    ang_buf_clear(&r->pages);
}
