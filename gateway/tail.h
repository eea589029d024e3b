/* The tail of the event topics of all domains, for those who want to know of events as they come.
 *
 *      nobody wants it ── want ──▶ opening ──▶ stands ── nobody for a while ──▶ closed
 *                                     ▲           └── a partition cannot be read ──┐
 *                                     └──────────────── after a pause ◀────────────┘
 *
 * It is read only while somebody listens, and a while longer.  It stands when the end of every partition is known and read from: an event
 * that becomes visible later is heard by whoever waited for that.  What blocks (asking for the ends, opening and closing the reader) is done
 * on a thread of its own.  Loop thread, except that the reader wakes from any. */
#ifndef ANG_GATEWAY_TAIL_H
#define ANG_GATEWAY_TAIL_H

#include "eventlog/eventlog.h"
#include "rpc/loop.h"
#include "topology/topology.h"

struct ang_mail;
struct ang_tail;

struct ang_tail_conf {
    struct ang_loop *loop;
    struct ang_mail *mail; /* the way from its thread back to the loop; borrowed */
    struct ang_log *log;
    const struct ang_topology *topology;
    bool (*waits)(void *arg); /* who listens cannot take more for now; asked again each turn */
    void (*record)(void *arg, const struct ang_domain *domain, const struct ang_rec *rec); /* rec is borrowed */
    void (*stands)(void *arg, bool stands); /* it does now; it did, and records may have been missed since */
    void *arg;
};
struct ang_tail *ang_tail_new(const struct ang_tail_conf *conf);
/* Nothing is heard from here on; waits for its thread.  The mail is closed before. */
void ang_tail_close(struct ang_tail *t);
void ang_tail_free(struct ang_tail *t); /* closed; accepts NULL */
void ang_tail_want(struct ang_tail *t); /* counted */
void ang_tail_unwant(struct ang_tail *t);
bool ang_tail_stands(const struct ang_tail *t);
/* Appends why it does not stand, for people. */
void ang_tail_describe(const struct ang_tail *t, struct ang_buf *b);
void ang_tail_turn(struct ang_tail *t);         /* once per turn: passes on what has come */
bool ang_tail_at_end(const struct ang_tail *t); /* nothing more has come than what was passed on */

#endif
