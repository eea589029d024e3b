/* From the log into the store: what a takeover does until its own barrier record comes back (lane.md L1).  The end of a
 * partition is never EOF, a watermark or the last stable offset: only that record proves that all before it has been read. */
#include "processor/lane_priv.h"

#include <stdlib.h>

#define RECS 1000
#define TELL_MS 2000
#define NOTE_MS 1000

struct source { /* one topic of one part */
    const struct ang_topic *topic;
    const struct take *take;
    struct ang_store_part *store;
    int64_t begin, next, end; /* end: the barrier, when it is known */
    int64_t refusals_until_ms; /* of its refusals that still count */
    struct ang_buf mark;       /* of the last event that is in the store */
    struct ang_buf last_key;   /* of the last event taken, at last_offset (or ANG_OFFSET_NONE) */
    int64_t last_offset;
    int64_t mark_offset;       /* that record is to be read again, to see whether it is the same log; or ANG_OFFSET_NONE */
    struct ang_slice mark_key; /* in mark */
    bool done;
};

/* A batch that a thread of its own writes while the next one is filled. */
struct behind {
    struct ang_store_batch *sb;
    pthread_t thread;
    bool running;
    struct ang_err *er; /* of the thread; read after it was joined */
};

struct restoring {
    struct lane *lane;
    struct ang_log_reader *reader;
    struct ang_store_batch *sb; /* being filled */
    struct behind behind;
    const char *barrier;
    struct source *src;
    size_t n, open;
    bool merging; /* of the parts' files */
    uint64_t records;
};

static void *behind_main(void *arg) {
    struct behind *b = arg;

    pthread_setname_np(pthread_self(), "ang-restore");
    b->er = ang_store_write(b->sb);
    return (NULL);
}

/* Until all that write_out was given is in the store. */
static struct ang_err *settle(struct restoring *rs) {
    struct behind *b = &rs->behind;
    struct ang_err *er;

    if (!b->running)
        return (NULL);
    ANG_PT(pthread_join(b->thread, NULL));
    b->running = false;
    ang_store_batch_clear(b->sb);
    er = b->er;
    b->er = NULL;
    return (er);
}

/* The files of a part in a rebuild are merged once, after it: before, that would only be in the way. */
static struct ang_err *merging(struct restoring *rs, bool on) {
    struct ang_err *er = NULL;
    size_t i;

    for (i = 0; er == NULL && on != rs->merging && i < rs->n; i += 2) /* the two sources of a part stand side by side */
        er = ang_store_part_merging(rs->src[i].store, on);
    rs->merging = on;
    return (er);
}

static struct ang_err *write_behind(struct restoring *rs) {
    struct behind *b = &rs->behind;
    struct ang_store_batch *full = rs->sb;
    struct ang_err *er = merging(rs, false);

    if (er != NULL)
        return (er);
    rs->sb = b->sb;
    b->sb = full;
    b->running = true;
    ANG_PT(pthread_create(&b->thread, NULL, behind_main, b));
    return (NULL);
}

static bool is_barrier(const struct restoring *rs, const struct ang_rec *rec) {
    struct ang_slice id;

    return (rec->key.n > 0 && rec->key.p[0] == '!' && ang_rec_hdr(rec, "barrier", &id) && ang_slice_is(id, rs->barrier));
}

bool restore_key(struct ang_slice key, struct ang_root *ret_id, uint32_t *ret_first) {
    return (ret_first != NULL ? ang_event_key_parse(key, ret_id->id, &ret_id->edition, ret_first)
                              : ang_root_parse(key, ret_id->id, &ret_id->edition));
}

static void skip(const struct restoring *rs, const struct ang_rec *rec, const char *why) {
    ang_counter_add(rs->lane->meters.foreign, 1);
    ANG_LOG_EVERY(5000, ANG_LOG_ERROR, "FOREIGN-RECORD",
                  "a record that angzarr cannot have written is in the log and was skipped", "topic", rec->topic->name,
                  "partition", ANG_F("%d", rec->partition), "offset", ANG_F("%lld", (long long)rec->offset), "reason", why);
}

/* What the command of this record did in all: its own pages, or those of every record that it was split into. */
static struct ang_store_done done_of(const struct ang_rec *rec, const struct ang_store_book *book) {
    struct ang_store_done d = {.first = book->first, .pages = book->pages, .time_ms = book->time_ms};
    struct ang_slice span;
    uint64_t first, pages;
    size_t i;

    if (!ang_rec_hdr(rec, "span", &span))
        return (d);
    for (i = 0; i < span.n && span.p[i] != '+'; i++)
        ;
    if (i < span.n && ang_slice_to_u64(ang_slice_of(span.p, i), &first) &&
        ang_slice_to_u64(ang_slice_of(span.p + i + 1, span.n - i - 1), &pages) && first <= book->first &&
        pages <= UINT32_MAX) {
        d.first = (uint32_t)first;
        d.pages = (uint32_t)pages;
    }
    return (d);
}

static void take_events(struct restoring *rs, const struct source *s, const struct ang_rec *rec) {
    struct ang_wire_event_book frame;
    struct ang_store_book book;
    struct ang_store_done done;
    struct ang_slice id;
    struct ang_root root;
    struct ang_err *er;
    uint32_t first;

    if (!restore_key(rec->key, &root, &first)) {
        skip(rs, rec, "its key is not <root>/<sequence>");
        return;
    }
    if (rec->tombstone) {
        ang_store_del_book(rs->sb, s->store, &root, first);
        return;
    }
    er = ang_wire_parse_event_book(rec->value, &frame);
    if (er != NULL) {
        skip(rs, rec, er->msg);
        ang_err_free(&er);
        return;
    }
    if (frame.n_pages == 0 || frame.n_numbered != frame.n_pages || frame.first_num != first) {
        skip(rs, rec, "its pages do not begin at the sequence of its key");
        return;
    }
    book = (struct ang_store_book){.first = first, .pages = frame.n_pages, .time_ms = rec->time_ms, .book = rec->value};
    ang_store_put_book(rs->sb, s->store, &root, &book, frame.cover.correlation_id);
    if (ang_rec_hdr(rec, "command-id", &id) && ang_command_id_ok(id)) {
        done = done_of(rec, &book);
        ang_store_put_done(rs->sb, s->store, &root, id, &done);
    }
}

static void take_snapshot(struct restoring *rs, const struct source *s, const struct ang_rec *rec) {
    struct ang_wire_snapshot snap;
    struct ang_root root;
    struct ang_err *er;

    if (!restore_key(rec->key, &root, NULL)) {
        skip(rs, rec, "its key is not <root>");
    } else if (rec->tombstone) {
        ang_store_del_snapshot(rs->sb, s->store, &root);
    } else if ((er = ang_wire_parse_snapshot(rec->value, &snap)) != NULL) {
        skip(rs, rec, er->msg);
        ang_err_free(&er);
    } else {
        ang_store_put_snapshot(rs->sb, s->store, &root, rec->value);
    }
}

static bool has_prefix(struct ang_slice key, const char *prefix) {
    return (key.n >= strlen(prefix) && memcmp(key.p, prefix, strlen(prefix)) == 0);
}

/* As the commit that it belongs to would have left it in the store. */
static void take_done(struct restoring *rs, struct source *s, const struct ang_rec *rec) {
    const struct ang_domain *d = rs->lane->domain;
    const size_t n = strlen(DONE_KEY);
    const struct ang_slice name = ang_slice_of(rec->key.p + n, rec->key.n - n);
    const char *topic = ang_slice_is(name, d->commands->name)    ? d->commands->name
                        : ang_slice_is(name, d->reactions->name) ? d->reactions->name
                                                                 : NULL;
    int64_t base;

    if (topic == NULL || !ang_doneset_text_base(rec->value, &base))
        skip(rs, rec, "it is not a set of done records of an input topic");
    else
        ang_store_put_position(rs->sb, s->store, topic, base, rec->value);
}

static void take_own(struct restoring *rs, struct source *s, const struct ang_rec *rec) {
    int64_t until_ms;

    if (has_prefix(rec->key, DONE_KEY)) {
        take_done(rs, s, rec);
        return;
    }
    if (!has_prefix(rec->key, REFUSAL_KEY))
        return;
    if (!refusal_restore(rs->sb, s->store, rec, &until_ms))
        skip(rs, rec, "it is not a refusal with its headers root, command-id and until");
    else if (until_ms > s->refusals_until_ms)
        s->refusals_until_ms = until_ms;
}

void restore_mark(struct ang_buf *b, int64_t offset, struct ang_slice key) {
    ang_buf_clear(b);
    ang_buf_addf(b, "%lld:", (long long)offset);
    ang_buf_add_slice(b, key);
}

static bool take_mark(struct ang_slice mark, int64_t *ret_offset, struct ang_slice *ret_key) {
    const uint8_t *colon = mark.n == 0 ? NULL : memchr(mark.p, ':', mark.n);
    uint64_t offset;

    if (colon == NULL || !ang_slice_to_u64(ang_slice_of(mark.p, (size_t)(colon - mark.p)), &offset))
        return (false);
    *ret_offset = (int64_t)offset;
    *ret_key = ang_slice_of(colon + 1, mark.n - (size_t)(colon + 1 - mark.p));
    return (true);
}

/* The first record of a source whose last event is known.  It may have been erased since: then another one comes first. */
static struct ang_err *check_mark(struct source *s, const struct ang_rec *rec) {
    const int64_t offset = s->mark_offset;
    const struct ang_slice key = s->mark_key;

    s->mark_offset = ANG_OFFSET_NONE;
    if (rec->offset != offset || ang_slice_eq(rec->key, key))
        return (NULL);
    return (ang_err_new(ANG_E_LOG_POSITION, "%s/%d: offset %lld holds \"%.*s\", the state store has applied \"%.*s\" there: it is of another log",
                        s->topic->name, s->take->partition, (long long)offset, (int)(rec->key.n > 80 ? 80 : rec->key.n),
                        (const char *)rec->key.p, (int)(key.n > 80 ? 80 : key.n), (const char *)key.p));
}

static struct source *source_of(struct restoring *rs, const struct ang_rec *rec) {
    size_t i;

    for (i = 0; i < rs->n; i++)
        if (rs->src[i].topic == rec->topic && rs->src[i].take->partition == rec->partition)
            return (&rs->src[i]);
    return (NULL);
}

static struct ang_err *take_record(struct restoring *rs, const struct ang_rec *rec) {
    struct source *s = source_of(rs, rec);
    struct ang_err *er = s != NULL && s->mark_offset != ANG_OFFSET_NONE ? check_mark(s, rec) : NULL;

    if (er != NULL || s == NULL || s->done || rec->offset < s->begin)
        return (er);
    rs->records++;
    s->next = rec->offset + 1;
    if (is_barrier(rs, rec)) {
        s->done = true;
        rs->open--;
    } else if (rec->key.n > 0 && rec->key.p[0] == '!') {
        take_own(rs, s, rec);
    } else if (s->topic == rs->lane->domain->events) {
        if (rec->tombstone)
            er = settle(rs); /* a book is looked up to be deleted */
        take_events(rs, s, rec);
        s->last_offset = rec->offset;
        ang_buf_clear(&s->last_key);
        ang_buf_add_slice(&s->last_key, rec->key);
    } else {
        take_snapshot(rs, s, rec);
    }
    return (er);
}

/* One batch after the other, so that the store is a prefix of the log at every moment. */
static struct ang_err *write_out(struct restoring *rs) {
    struct ang_err *er;
    size_t i;

    for (i = 0; i < rs->n; i++) {
        struct source *s = &rs->src[i];

        if (s->last_offset != ANG_OFFSET_NONE)
            restore_mark(&s->mark, s->last_offset, ang_buf_slice(&s->last_key));
        if (s->next > 0)
            ang_store_put_position(rs->sb, s->store, s->topic->name, s->next, ang_buf_slice(&s->mark));
        if (s->refusals_until_ms > s->take->refusals_until_ms)
            ang_store_put_position(rs->sb, s->store, REFUSALS_ROW, s->refusals_until_ms, ANG_SLICE_NONE);
    }
    er = settle(rs);
    if (er != NULL)
        return (er);
    if (ang_store_batch_bytes(rs->sb) >= ANG_STORE_BULK_BYTES)
        return (write_behind(rs));
    er = ang_store_write(rs->sb);
    ang_store_batch_clear(rs->sb);
    return (er);
}

static bool stale(const struct restoring *rs) {
    size_t i;

    for (i = 0; i < rs->n; i++)
        if (rs->lane->parts[rs->src[i].take->partition].epoch == rs->src[i].take->epoch)
            return (false);
    return (true);
}

/* Percent of the offsets between where n sources began and the barrier. */
static uint32_t progress(const struct source *src, size_t n) {
    double all = 0, done = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        const struct source *s = &src[i];

        if (s->end <= s->begin)
            continue;
        all += (double)(s->end - s->begin);
        done += (double)(s->done ? s->end - s->begin : s->next > s->begin ? s->next - s->begin : 0);
    }
    return (all > 0 && done < all ? (uint32_t)(100 * done / all) : 99);
}

/* The two sources of a partition stand side by side. */
static void show(const struct restoring *rs) {
    size_t i;

    for (i = 0; i + 1 < rs->n; i += 2)
        rs->lane->parts[rs->src[i].take->partition].percent = (int)progress(&rs->src[i], 2);
}

static void hide(const struct restoring *rs) {
    size_t i;

    for (i = 0; i < rs->n; i++)
        rs->lane->parts[rs->src[i].take->partition].percent = -1;
}

static void tell(struct restoring *rs, size_t n_takes) {
    const uint32_t percent = progress(rs->src, rs->n);

    ANG_LOG(ANG_LOG_INFO, "RESTORING", "partitions are rebuilt from the log", "domain", rs->lane->domain->name, "records",
            ANG_F("%llu", (unsigned long long)rs->records), "open", ANG_F("%zu", rs->open), "percent", ANG_F("%u", percent));
    owning_progress(rs->lane, rs->src[0].take, n_takes, percent);
}

/* A source that stands still may be held back (holds.c). */
static void note_holds(const struct restoring *rs) {
    size_t i;

    for (i = 0; i < rs->n; i++) {
        const struct source *s = &rs->src[i];
        const int64_t end = ang_log_reader_end(rs->reader, s->topic, s->take->partition);

        if (s->done)
            holds_passed(rs->lane, s->topic, s->take->partition);
        else if (end != ANG_OFFSET_NONE)
            (void)holds_note(rs->lane, s->topic, s->take->partition, s->next < 0 ? 0 : s->next, end);
    }
    holds_look(rs->lane);
}

static void forget_holds(const struct restoring *rs) {
    size_t i;

    for (i = 0; i < rs->n; i++) {
        const struct source *s = &rs->src[i];

        if (s->done)
            holds_passed(rs->lane, s->topic, s->take->partition);
        else
            holds_forget(rs->lane, s->topic, s->take->partition);
    }
}

static struct ang_err *read_all(struct restoring *rs, size_t n_takes) {
    struct ang_rec *recs[RECS];
    int64_t tell_ms = ang_now_ms() + TELL_MS, note_ms = ang_now_ms() + NOTE_MS;
    struct ang_err *er = NULL;
    size_t i, n;

    while (rs->open > 0) {
        const uint64_t before = rs->records;

        er = ang_log_reader_poll(rs->reader, recs, RECS, 500, &n);
        for (i = 0; i < n; i++) {
            if (er == NULL)
                er = take_record(rs, recs[i]);
            ang_rec_free(&recs[i]);
        }
        ang_counter_add(rs->lane->meters.restored_records, rs->records - before);
        if (er != NULL)
            return (er);
        show(rs);
        if (n > 0 && (rs->open == 0 || ang_store_batch_bytes(rs->sb) >= ANG_STORE_BULK_BYTES)) {
            er = write_out(rs);
            if (er == NULL && rs->open == 0)
                er = settle(rs);
            if (er != NULL)
                return (er);
        }
        if (stale(rs))
            return (ang_err_new(ANG_E_SHUTDOWN, "the partitions have gone elsewhere"));
        if (ang_now_ms() >= note_ms) {
            note_holds(rs);
            note_ms = ang_now_ms() + NOTE_MS;
        }
        if (ang_now_ms() >= tell_ms) {
            tell(rs, n_takes);
            tell_ms = ang_now_ms() + TELL_MS;
        }
    }
    return (NULL);
}

static struct ang_err *add_source(struct restoring *rs, const struct take *take, const struct ang_topic *topic) {
    struct source *s = &rs->src[rs->n++];
    struct ang_err *er;
    int64_t from;

    *s = (struct source){.topic = topic,
                         .take = take,
                         .store = rs->lane->parts[take->partition].shard->store,
                         .mark_offset = ANG_OFFSET_NONE,
                         .last_offset = ANG_OFFSET_NONE};
    rs->open++;
    er = ang_store_position(s->store, topic->name, &s->next, &s->mark);
    if (er != NULL)
        return (er);
    s->begin = s->next < 0 ? 0 : s->next;
    if (s->next >= 0 && take_mark(ang_buf_slice(&s->mark), &s->mark_offset, &s->mark_key))
        from = s->mark_offset;
    else
        from = s->next < 0 ? ANG_OFFSET_BEGIN : s->next;
    s->end = take->barrier[topic == rs->lane->domain->events ? 0 : 1];
    return (ang_log_reader_add(rs->reader, topic, take->partition, from));
}

struct ang_err *restore(struct lane *l, const struct take *takes, size_t n, const char *barrier_id) {
    const struct ang_log_reader_conf conf = {.name = "restore", .fetch_wait_ms = 20, .memory = 16 << 20};
    struct restoring rs = {.lane = l, .barrier = barrier_id, .merging = true};
    const int64_t began = ang_now_ms();
    struct ang_err *er, *late;
    size_t i;

    rs.sb = ang_store_batch_new_bulk(worker_store(l->worker));
    rs.behind.sb = ang_store_batch_new_bulk(worker_store(l->worker));
    rs.src = ang_calloc(n * 2, sizeof *rs.src);
    er = ang_log_reader_open(l->log, &conf, &rs.reader);
    for (i = 0; er == NULL && i < n; i++) {
        er = add_source(&rs, &takes[i], l->domain->events);
        if (er == NULL)
            er = add_source(&rs, &takes[i], l->domain->snapshots);
    }
    if (er == NULL) {
        show(&rs);
        er = read_all(&rs, n);
    }
    late = settle(&rs); /* an error came first if there is anything left */
    ang_err_free(&late);
    late = merging(&rs, true);
    if (er == NULL)
        er = late;
    else
        ang_err_free(&late);
    hide(&rs);
    forget_holds(&rs);
    if (er == NULL)
        ang_histogram_add(l->meters.restore_time, (ang_now_ms() - began) * 1000);
    if (er == NULL)
        ANG_LOG(ANG_LOG_INFO, "RESTORED", "partitions are up to date", "domain", l->domain->name, "partitions",
                ANG_F("%zu", n), "records", ANG_F("%llu", (unsigned long long)rs.records), "ms",
                ANG_F("%lld", (long long)(ang_now_ms() - began)));
    ang_log_reader_close(rs.reader);
    ang_store_batch_free(rs.sb);
    ang_store_batch_free(rs.behind.sb);
    for (i = 0; i < rs.n; i++) {
        ang_buf_fini(&rs.src[i].mark);
        ang_buf_fini(&rs.src[i].last_key);
    }
    free(rs.src);
    return (er);
}
