/* What holds readers back: a transaction of somebody else that does not end.
 *
 * Who reads committed records gets nothing of what lies behind its first record, without a word from anybody.  So a reader that
 * stands still although its partition has more is noted, and when that lasts, the thread of the takeovers, which may block, asks the
 * broker how far readers can get: less than the end means that a transaction is open, and its first record tells whose it may be.
 * More often there is nothing to read there but markers, and that is remembered too.
 *
 * The lane notes its inputs, a takeover what it restores from; the notes have a lock. */
#include <stdlib.h>
#include <time.h>

#include "processor/lane_priv.h"

#define PATIENCE_MS 5000
#define AGAIN_MS    5000
#define SAY_MS      60000
#define ASK_MS      2000
#define LOOKS       8 /* in a row, so that takeovers need not wait long */

struct hold {
    STAILQ_ENTRY(hold) link;
    const struct ang_topic *topic;
    int32_t partition;
    int64_t next, end; /* where the reader stands, and the end it knows */
    int64_t look_ms;   /* monotonic; ANG_NEVER: nothing new to be seen */
    bool asked;        /* the takeover's thread has been woken for it */
    int64_t empty_to;  /* below it there is nothing to read: it was looked */
    int64_t offset;    /* the transaction's first record; ANG_OFFSET_NONE: nobody holds it */
    int64_t say_ms;    /* monotonic */
    char key[128], headers[400], since[32];
};

void holds_init(struct lane *l) {
    STAILQ_INIT(&l->holds);
    ANG_PT(pthread_mutex_init(&l->holds_lock, NULL));
}

void holds_fini(struct lane *l) {
    struct hold *h;

    while ((h = STAILQ_FIRST(&l->holds)) != NULL) {
        STAILQ_REMOVE_HEAD(&l->holds, link);
        free(h);
    }
    ANG_PT(pthread_mutex_destroy(&l->holds_lock));
}

/* Under the lock, as all that take a hold. */
static struct hold *find(const struct lane *l, const struct ang_topic *topic, int32_t partition) {
    struct hold *h;

    STAILQ_FOREACH(h, &l->holds, link)
    if (h->topic == topic && h->partition == partition)
        return (h);
    return (NULL);
}

static void over(struct hold *h) {
    if (h->offset != ANG_OFFSET_NONE)
        ANG_LOG(ANG_LOG_INFO, "TXN-OVER", "the transaction that held back readers is over", "topic", h->topic->name,
                "partition", ANG_F("%d", h->partition), "offset", ANG_F("%lld", (long long)h->offset));
    h->offset = ANG_OFFSET_NONE;
}

/* Before the lock is let go, whenever one may have begun or ended. */
static void measure(const struct lane *l) {
    const struct hold *h;
    int64_t n = 0;

    STAILQ_FOREACH(h, &l->holds, link)
    n += h->offset != ANG_OFFSET_NONE;
    ang_gauge_set(l->meters.held, n);
}

/* ---- noting ---- */

static struct hold *hold_new(struct lane *l, const struct ang_topic *topic, int32_t partition) {
    struct hold *h = ANG_NEW(struct hold);

    h->topic = topic;
    h->partition = partition;
    h->next = h->offset = ANG_OFFSET_NONE;
    STAILQ_INSERT_TAIL(&l->holds, h, link);
    return (h);
}

static void note(struct hold *h, int64_t next, int64_t end) {
    if (h->next != next) { /* it has got on */
        if (next > h->offset)
            over(h);
        h->next = h->end = h->empty_to = next;
    }
    if (end <= h->end)
        return;
    if (h->end <= h->empty_to)
        h->look_ms = ang_now_ms() + PATIENCE_MS;
    h->end = end;
}

static void forget(struct lane *l, const struct ang_topic *topic, int32_t partition, bool passed) {
    struct hold *h;

    ANG_PT(pthread_mutex_lock(&l->holds_lock));
    h = find(l, topic, partition);
    if (h != NULL) {
        if (passed)
            over(h);
        STAILQ_REMOVE(&l->holds, h, hold, link);
        free(h);
    }
    measure(l);
    ANG_PT(pthread_mutex_unlock(&l->holds_lock));
}

void holds_forget(struct lane *l, const struct ang_topic *topic, int32_t partition) {
    forget(l, topic, partition, false);
}

void holds_passed(struct lane *l, const struct ang_topic *topic, int32_t partition) {
    forget(l, topic, partition, true);
}

bool holds_note(struct lane *l, const struct ang_topic *topic, int32_t partition, int64_t next, int64_t end) {
    bool empty, wake;
    struct hold *h;

    if (end <= next) {
        holds_passed(l, topic, partition);
        return (true);
    }
    ANG_PT(pthread_mutex_lock(&l->holds_lock));
    h = find(l, topic, partition);
    if (h == NULL)
        h = hold_new(l, topic, partition);
    note(h, next, end);
    empty = end <= h->empty_to;
    wake = ang_now_ms() >= h->look_ms && !h->asked;
    h->asked |= wake;
    measure(l);
    ANG_PT(pthread_mutex_unlock(&l->holds_lock));
    if (wake)
        takeover_wake(l->takeover);
    return (empty);
}

/* ---- looking: takeover thread ---- */

/* Printable ASCII, at the end of dst, which is not overrun. */
static void add_printable(char *dst, size_t size, const void *p, size_t n) {
    const uint8_t *from = p;
    size_t at = strlen(dst), i;

    for (i = 0; i < n && at + 1 < size; i++)
        dst[at++] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] : '?';
    dst[at] = '\0';
}

static void describe(struct hold *h, const struct ang_rec *rec) {
    const int64_t ms = rec == NULL ? ang_wall_ms() : rec->time_ms;
    const time_t sec = (time_t)(ms / 1000);
    struct tm tm;
    uint32_t i;

    h->key[0] = h->headers[0] = '\0';
    AN(gmtime_r(&sec, &tm));
    AN(strftime(h->since, sizeof h->since, "%Y-%m-%dT%H:%M:%SZ", &tm));
    if (rec == NULL)
        return;
    add_printable(h->key, sizeof h->key, rec->key.p, rec->key.n);
    for (i = 0; i < rec->n_hdrs; i++) {
        add_printable(h->headers, sizeof h->headers, " ", i > 0);
        add_printable(h->headers, sizeof h->headers, rec->hdrs[i].name, strlen(rec->hdrs[i].name));
        add_printable(h->headers, sizeof h->headers, "=", 1);
        add_printable(h->headers, sizeof h->headers, rec->hdrs[i].value.p, rec->hdrs[i].value.n);
    }
}

/* The caller frees it. */
static char *end_it_with(const struct lane *l, const struct hold *h) {
    const char *servers = "";
    size_t i;

    for (i = 0; i < l->set->log.n_kafka; i++)
        if (strcmp(l->set->log.kafka[i].key, "bootstrap.servers") == 0)
            servers = l->set->log.kafka[i].value;
    return (ang_sprintf("kafka-transactions.sh --bootstrap-server %s abort --topic %s --partition %d --start-offset %lld",
                        servers, h->topic->name, h->partition, (long long)h->offset));
}

static void say(const struct lane *l, struct hold *h) {
    char *command;

    if (ang_now_ms() < h->say_ms)
        return;
    h->say_ms = ang_now_ms() + SAY_MS;
    command = end_it_with(l, h);
    ANG_LOG(ANG_LOG_WARN, "TXN-HANGS", "an open transaction holds back what lies behind it; if its producer is gone, end it",
            "topic", h->topic->name, "partition", ANG_F("%d", h->partition), "offset", ANG_F("%lld", (long long)h->offset), "end",
            ANG_F("%lld", (long long)h->end), "key", h->key, "headers", h->headers, "since", h->since, "end_it_with",
            command);
    free(command);
}

static bool next_due(struct lane *l, struct hold *ret_copy) {
    const int64_t now = ang_now_ms();
    struct hold *h;

    ANG_PT(pthread_mutex_lock(&l->holds_lock));
    STAILQ_FOREACH(h, &l->holds, link)
    if (now >= h->look_ms)
        break;
    if (h != NULL) {
        h->look_ms = now + AGAIN_MS;
        h->asked = false;
        *ret_copy = *h;
    }
    ANG_PT(pthread_mutex_unlock(&l->holds_lock));
    return (h != NULL);
}

/* seen: as it was when it was looked at. */
static void looked(struct lane *l, const struct hold *seen, int64_t stable, const struct ang_rec *rec) {
    struct hold *h;

    ANG_PT(pthread_mutex_lock(&l->holds_lock));
    h = find(l, seen->topic, seen->partition);
    if (h == NULL || h->next != seen->next) {
        ANG_PT(pthread_mutex_unlock(&l->holds_lock));
        return;
    }
    if (stable >= seen->end) {
        over(h);
        h->empty_to = seen->end;
        if (h->end <= h->empty_to)
            h->look_ms = ANG_NEVER;
    } else {
        if (h->offset != stable) {
            over(h);
            h->offset = stable;
            h->say_ms = 0;
            describe(h, rec);
        }
        say(l, h);
    }
    measure(l);
    ANG_PT(pthread_mutex_unlock(&l->holds_lock));
}

static void look(struct lane *l, const struct hold *h) {
    struct ang_rec *rec = NULL;
    struct ang_err *er;
    int64_t stable;

    er = ang_log_end(l->log, h->topic, h->partition, ASK_MS, &stable);
    if (er != NULL) { /* a broker that is away is said elsewhere */
        ang_err_free(&er);
        return;
    }
    if (stable < h->end && stable != h->offset) {
        er = ang_log_peek(l->log, h->topic, h->partition, stable, ASK_MS, &rec);
        ang_err_free(&er); /* then it is named without its record */
    }
    looked(l, h, stable, rec);
    ang_rec_free(&rec);
}

void holds_look(struct lane *l) {
    struct hold h;
    int i;

    for (i = 0; i < LOOKS && next_due(l, &h); i++)
        look(l, &h);
}

/* ---- telling ---- */

static void add_text(struct ang_buf *b, const char *name, const char *s) { /* printable ASCII */
    ang_buf_addf(b, ",\"%s\":\"", name);
    for (; *s != '\0'; s++)
        ang_buf_addf(b, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    ang_buf_add_str(b, "\"");
}

void holds_tell(struct lane *l, struct ang_buf *b) {
    const char *comma = "";
    struct hold *h;
    char *command;

    ang_buf_add_str(b, "[");
    ANG_PT(pthread_mutex_lock(&l->holds_lock));
    STAILQ_FOREACH(h, &l->holds, link) {
        if (h->offset == ANG_OFFSET_NONE)
            continue;
        command = end_it_with(l, h);
        ang_buf_addf(b, "%s{\"topic\":\"%s\",\"partition\":%d,\"offset\":%lld,\"end\":%lld", comma, h->topic->name, h->partition,
                     (long long)h->offset, (long long)h->end);
        add_text(b, "key", h->key);
        add_text(b, "headers", h->headers);
        add_text(b, "since", h->since);
        add_text(b, "end_it_with", command);
        ang_buf_add_str(b, "}");
        free(command);
        comma = ",";
    }
    ANG_PT(pthread_mutex_unlock(&l->holds_lock));
    ang_buf_add_str(b, "]");
}
