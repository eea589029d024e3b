/* What a lane tells machines that watch (base/metrics.tbl.h): the series that it changes.
 *
 * Made once with the lane; changed by whichever of its threads knows. */
#ifndef ANG_METERS_H
#define ANG_METERS_H

#include "base/metrics.h"
#include "rpc/rpc.h"

struct ang_worker;
struct lane;
struct batch;
struct work;

/* In the order of the table. */
enum dead_reason {
    DEAD_UNREADABLE,
    DEAD_INVALID,
    DEAD_MISROUTED,
    DEAD_EXPIRED,
    DEAD_UNAVAILABLE,
    DEAD_REVOKED,
    DEAD_UNWRITABLE,
    N_DEAD
};
enum shown_phase { SHOWN_TAKING_OVER, SHOWN_RESTORING, SHOWN_SERVING, SHOWN_ASIDE, N_SHOWN };
enum { FENCE_DONE, FENCE_FAILED, N_FENCES };
enum { SPEED_USUAL, SPEED_SLOW, N_SPEEDS };

struct part_meters {
    struct ang_gauge *lag[2], *stalled[2], *ahead[2]; /* by input */
    struct ang_gauge *open, *restored;
    bool shown;                      /* some have values: the partition was ours when the lane looked last */
    int64_t oldest[2], oldest_ms[2]; /* committed offset, and since when it stands there with something behind it */
};

struct lane_meters {
    /* set once; those of a domain are shared by its lanes */
    struct ang_counter *commands[ANG_CODES], *copies, *events, *snapshots, *foreign;
    struct ang_histogram *command_time[ANG_CODES], *call_time[ANG_CODES];
    struct ang_counter *slow_calls, *evicted_calls, *retries;
    struct ang_histogram *commit_time, *apply_time, *batch_commands, *batch_records, *batch_bytes;
    struct ang_counter *takeovers, *takeover_failures, *restored_records, *fences[N_FENCES], *rebuilds;
    struct ang_histogram *takeover_time, *restore_time;
    /* of the lane alone */
    struct ang_counter *dead[N_DEAD], *forwarded, *skipped, *escalated, *bad_headers, *committed, *aborted[ANG_FATAL + 1], *retired;
    struct ang_gauge *calls[N_SPEEDS], *partitions[N_SHOWN], *looked, *held, *tails;
    struct part_meters *parts; /* [domain->partitions] */
    /* any thread: as the lane saw it last */
    _Atomic int64_t looked_ms; /* monotonic */
    _Atomic size_t histories, records, call_bytes;
};

void meters_init(struct lane *l);
void meters_fini(struct lane *l); /* it owns no partition any more */
/* Lane thread, once a second and when a partition comes or goes: after the lane's view was taken. */
void meters_look(struct lane *l);
/* What is only known when somebody asks: of n lanes and the store that they share. Any thread; waits for nobody. */
void meters_tell(struct lane *const *lanes, size_t n, const struct ang_worker *w);
/* Lane thread: before the answers are given. */
void meters_committed(struct lane *l, const struct batch *b);
uint64_t meters_aborted(const struct lane *l); /* of all classes; any thread */
uint64_t meters_dead(const struct lane *l);    /* for all reasons; any thread */

#endif
