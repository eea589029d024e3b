/* Synchronize: a stream of queries in, history and then live out, for each of them.
 *
 * A query covers one partition (it names a root) or several (it names a correlation id).  What is stored is read from their owners, page by
 * page; what comes is heard from the tail.  A record that is heard while its partition is still being read, or while the caller does not take
 * what was sent, is not kept: the partition is marked and read again from where the query stands.  So nothing waits in memory but the messages
 * on their way, for a slow caller the log is the queue, and whatever happens to the tail, to the owners and to us between two messages is
 * mended by reading again.
 *
 *      part of a query:  marked ── read ──▶ clean ── heard, and it could be sent ──▶ clean
 *                           ▲                 └───── heard, and it could not ──┐
 *                           └──────────────────────────────────────────────────┘
 *
 * No gap: the tail stands before the first page is asked for, and an owner shows in a page also what it was committing when it was asked.
 * No duplicate: a root's next sequence is kept, by the query of a root or in its table of roots. */
#ifndef ANG_GATEWAY_SYNC_H
#define ANG_GATEWAY_SYNC_H

#include "gateway/pages.h"
#include "proto/select.h"

struct ang_sync_query;

struct ang_sync { /* one call */
    unsigned magic;
#define ANG_SYNC_MAGIC 0x6a7e0009
    struct ang_gateway *g;
    struct ang_sync *next, **prev;
    struct ang_rpc *rpc;
    TAILQ_HEAD(, ang_sync_query) queries;
    TAILQ_HEAD(, ang_sync_query) todo; /* something of them is to be read */
    size_t n_queries;
    unsigned reading; /* pages asked for */
    bool half_closed, full;
};

enum ang_sync_mark { ANG_SYNC_CLEAN, ANG_SYNC_HEARD, ANG_SYNC_BLIND }; /* BLIND: something may have passed unheard */

struct ang_sync_query {
    unsigned magic;
#define ANG_SYNC_QUERY_MAGIC 0x6a7e000a
    struct ang_sync *s;
    TAILQ_ENTRY(ang_sync_query) all, link;
    bool queued; /* in todo */
    struct ang_listener listener;
    struct ang_buf raw;
    struct ang_select sel;           /* borrows raw */
    const struct ang_domain *domain; /* NULL: all */
    bool has_root;
    bool live;                /* its history was read once */
    uint8_t *marks, one_mark; /* of its partitions: enum ang_sync_mark */
    size_t n_marks, n_marked;
    size_t at;             /* the partition that is being read */
    struct ang_buf cursor; /* behind its last page; empty: from the beginning */
    struct ang_page *page;
    /* of a root */
    uint32_t next;          /* all below it was sent, or is not asked for */
    uint32_t seen;          /* all below it was heard */
    uint32_t want;          /* seen, when the page was asked for */
    struct ang_table roots; /* of a correlation id: struct seen_root */
};

/* ---- sync_query.c ---- */
/* A status: it is not understood, and nothing was added. */
struct ang_status *ang_sync_query_add(struct ang_sync *s, struct ang_slice raw) ANG_MUST_USE;
void ang_sync_query_free(struct ang_sync_query *q);
void ang_sync_query_read(struct ang_sync_query *q);  /* asks for the next page of what is marked */
void ang_sync_query_blind(struct ang_sync_query *q); /* the tail has gone */

/* ---- sync.c ---- */
void ang_sync_todo(struct ang_sync_query *q);
void ang_sync_pump(struct ang_sync *s); /* reads as much as may be read at once */
/* Messages wait for the caller, as many as may: nothing more is sent or read until he has taken some. */
bool ang_sync_full(struct ang_sync *s);
void ang_sync_fail(struct ang_sync *s, struct ang_status *st); /* takes st; s and its queries are gone */
/* Nothing can come of the query any more: it is gone; with the last one of a caller who sends no more, s too.  True: it is. */
bool ang_sync_query_over(struct ang_sync_query *q);

#endif
