/* The lane, from inside.
 *
 *   work    an open input record, what it asks, and what became of it (effects, an answer)
 *   root    one aggregate in memory: its queue of works, its history with what is staged
 *   part    a partition that is ours: its inputs, its roots, its epoch
 *   batch   a sealed transaction: works, records, positions, token
 *   shard   the part as other threads see it: its store, whether it serves
 *
 *            admit            invoke             finish           seal             commit, apply        settle
 *   reader ---------> root.queue -----> running ---------> lane.done ------> batch ------------> batch.settle ---> answers
 *
 * Threads: everything belongs to the lane's loop, except: a sealed batch belongs to the committer until it is handed back;
 * the takeover thread owns the parts' stores until their phase is SERVING; shards have a lock.
 *
 * Invariants: a work is in exactly one place (a queue, running, lane.done, a batch).  A root that has works is in
 * part->roots; nothing of a part outlives part_drop except batches under way, whose works carry an old epoch and touch
 * nothing but their answer. */
#ifndef ANG_LANE_PRIV_H
#define ANG_LANE_PRIV_H

#include <pthread.h>
#include <sys/queue.h>

#include "base/base.h"
#include "base/kill.h"
#include "base/op.h"
#include "processor/doneset.h"
#include "processor/meters.h"
#include "processor/processor.h"
#include "processor/table.h"
#include "proto/frame.h"
#include "statestore/statestore.h"
#include "topology/owners.h"

/* Works and effects kept to be used again; none under a sanitizer, which then sees every use after the end. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SPARES_MAX 0
#else
#define SPARES_MAX 1024
#endif

enum { INPUT_COMMANDS, INPUT_REACTIONS, N_INPUTS };

/* ---- what a work does to the log and the store ---- */
enum effect_kind { EFFECT_EVENTS, EFFECT_SNAPSHOT, EFFECT_REFUSAL, EFFECT_OTHER };

struct effect { /* one output record; one allocation */
    STAILQ_ENTRY(effect) link;
    enum effect_kind kind;
    struct ang_out out;
    struct ang_hdr hdrs[8];
    uint32_t first, pages; /* EVENTS */
    struct ang_blob *blob; /* what out.value points into; may be NULL */
    size_t n_text;
    uint8_t text[1400]; /* key and header values; last: it is not cleared */
};
STAILQ_HEAD(effects, effect);

/* ---- works ---- */
enum variant { VARIANT_UNKNOWN, VARIANT_BUSINESS_LOGIC, VARIANT_AGGREGATE }; /* the services business logic may serve */

struct work {
    unsigned magic;
#define WORK_MAGIC 0x30416b01
    TAILQ_ENTRY(work) link; /* root->queue, lane->done or batch->works */
    struct ang_node by_id;  /* lane->ids while it is open and has a command id */
    bool indexed;
    struct part *part;
    uint32_t epoch; /* of the part when it was admitted: differs = the part was dropped meanwhile */
    int input;      /* INPUT_… */
    int64_t offset;
    struct ang_rec *rec;
    struct ang_buf rewritten; /* the command book with its correlation id, when the record had none */
    struct ang_wire_command_book book;
    struct ang_root root_id;
    struct root *root; /* NULL once its part was dropped, and for records that concern no root */
    struct ang_slice command_id;
    char input_text[80];       /* topic/partition/offset, when there is no command-id header */
    struct ang_slice reply_to; /* gateway id; empty: nobody waits */
    uint32_t attempt;
    int64_t start_ms, deadline_ms; /* wall clock */
    unsigned tries;
    enum variant variant;      /* asked last */
    unsigned connection;       /* of the lane when it was asked */
    bool tried_both;
    bool is_record;            /* kind: record: facts, the business is not asked (contract 15) */
    struct ang_rpc_call *call; /* running */
    TAILQ_ENTRY(work) of_calls; /* while it is running: lane->calls or lane->slow_calls */
    int64_t call_since_us, call_until_ms; /* monotonic */
    size_t call_bytes;     /* of memory that its call takes, about */
    bool is_slow, evicted; /* of its call: which list; cancelled to make room */
    struct ang_timer retry;
    /* outcome, once finished */
    bool finished, answered;
    bool open_status;          /* leaves the command open: answered already, not remembered */
    bool is_dead;              /* its record is put into the dead-letter topic */
    enum dead_reason dead;
    struct effects effects;
    uint32_t first, pages;     /* events stored by it */
    uint32_t code;             /* of the answer */
    struct ang_status *status; /* code != ANG_OK */
    struct ang_blob *response; /* code == ANG_OK */
    TAILQ_HEAD(, work) copies; /* copies of this command that came while it was open */
};
/* The last pair of a log line about a work (contract 7). */
#define LOG_CORRELATION(w) "correlation_id", log_slice(&(struct ang_log_fmt){{0}}, (w)->book.cover.correlation_id)
static inline const char *log_slice(struct ang_log_fmt *f, struct ang_slice s) {
    return (ang_log_f(f, "%.*s", (int)(s.n > sizeof f->s ? sizeof f->s : s.n), s.n == 0 ? "" : (const char *)s.p));
}

TAILQ_HEAD(works, work);
TAILQ_HEAD(call_list, work);

/* ---- roots ---- */
#define SLOW_LEVELS 6

TAILQ_HEAD(root_list, root);

struct root {
    unsigned magic;
#define ROOT_MAGIC 0x7007aa01
    struct ang_node node; /* part->roots */
    TAILQ_ENTRY(root) lru; /* lane->idle while it has no works; */
    TAILQ_ENTRY(root) wait; /* in *waits_in */
    struct root_list *waits_in; /* one of the lane's queues for a slot; NULL: none */
    bool is_idle;
    bool is_slow;  /* its last call was: the next one counts as slow from its start */
    unsigned evictions; /* calls that were cancelled to make room, since one was answered */
    bool stepping; /* aggregate_next is on the stack */
    struct part *part;
    struct ang_root id; /* edition is owned */
    struct works queue;   /* waiting, in the order of the log */
    unsigned queued;      /* of them */
    struct tail *tail;    /* those behind them, as offsets; NULL: none */
    struct work *running; /* called, or waiting for a slot, or for its next try */
    unsigned open;        /* works in queue, running, done or in a batch, and those of the tail */
    /* history, with what is staged; loaded on demand */
    bool loaded;
    uint32_t next;            /* next sequence */
    struct ang_buf snapshot;  /* encoded Snapshot; empty: none */
    bool has_snapshot;
    uint32_t snapshot_seq;
    struct ang_buf pages;     /* EventBook.pages fields after the snapshot, one after the other */
    struct ang_buf older;     /* the same of the pages before them, as far as root_newest needs them */
    uint32_t older_from;      /* sequence of the first page in older and pages; those below are in the store … */
    bool older_cut;           /* … unless they were cut off here because nobody needs as many */
};

/* ---- parts ---- */
enum part_phase { PART_NONE, PART_TAKEOVER, PART_SERVING, PART_ASIDE };

struct input {
    const struct ang_topic *topic;
    bool reading;
    int64_t next;             /* expected from the reader */
    struct ang_doneset done;  /* as of the batches sealed so far */
    int64_t committed;        /* as the log has it */
    int64_t replay_below;     /* what is below it is run again: part_note_replay */
    struct ang_buf meta;
    int64_t end;              /* of the topic, as last learnt */
    int64_t moved_to, moved_ms; /* monotonic: since when committed stands there */
};

enum shard_state { SHARD_AWAY, SHARD_COMING, SHARD_SERVING };

struct shard { /* a part as the query thread sees it */
    pthread_rwlock_t lock;        /* held for reading while the store is read; for writing to change these */
    struct ang_store_part *store; /* NULL: closed */
    struct lane *holder;          /* whose takeover opened it, and closes it again; its lease counts */
    enum shard_state state;
};

struct part {
    unsigned magic;
#define PART_MAGIC 0x9a271701
    struct lane *lane;
    int32_t no;
    enum part_phase phase;
    _Atomic uint32_t epoch; /* raised by the lane whenever what is in memory of it becomes void; read by the takeover */
    int32_t generation;    /* SERVING: under which it was taken over */
    _Atomic int percent;   /* restored so far, -1: not being restored; the takeover's, others read it */
    _Atomic bool claimed;  /* since it was assigned, `owners` was told that we have it, or is about to be: set by the takeover */
    int64_t taken_ms;      /* monotonic: it was given to the takeover */
    struct input in[N_INPUTS];
    struct ang_table roots;
    unsigned open; /* works */
    int64_t refusals_until_ms; /* wall clock: before it the store may hold refusals */
    uint32_t refusal_slot;     /* of the next refusal's record */
    int64_t committed_ms;      /* monotonic: its positions were last committed */
    int64_t prune_ms;          /* monotonic: when to look for old entries again */
    int aside_wait_ms;         /* ASIDE: until the log was asked first */
    int64_t back_ms;           /* monotonic: when it came back from there */
    struct batch *sealed_in; /* while a batch is made */
    struct shard *shard;
};

/* It is ours and its store is as the log is: only writing may have to wait. */
static inline bool part_readable(const struct part *p) {
    return (p->phase == PART_SERVING || p->phase == PART_ASIDE);
}

/* ---- batches ---- */
struct take { /* a partition to take over, as of an epoch */
    int32_t partition;
    uint32_t epoch;
    bool reset; /* its store is not to be trusted: rebuild it */
    int64_t barrier[2]; /* where the barrier record stands in events and snapshots */
    int64_t refusals_until_ms; /* found in the store */
    int32_t generation;        /* under which it is said to be served */
};

struct barrier { /* asked for by the takeover thread: a record of ours that it will read back (lane.md L1) */
    struct ang_op op;
    struct barrier *next; /* lane->barriers */
    struct lane *lane;
    struct takeover *takeover;
    struct take *takes; /* the takeover's: filled in with where the records stand */
    size_t n;
    struct ang_pos *pos; /* n * N_INPUTS: where the inputs stand */
    char id[37];
    bool done; /* lock of the takeover */
    struct ang_err *er;
};

struct batch_part {
    struct part *part;
    uint32_t epoch;
    bool store_failed;
    int64_t prune_before_ms;   /* log time; 0: not now */
    int64_t refusals_floor_ms; /* of the batches before */
    int64_t next_event, next_snapshot, refusals_until_ms; /* filled in by batch_apply; 0: none */
    struct ang_slice last_event; /* key of the one before next_event */
};

struct poison { /* an input whose outcome the log does not take */
    STAILQ_ENTRY(poison) link;
    int32_t partition;
    int input;
    int64_t offset;
    unsigned tries; /* to write what stands for it: 1 a dead letter, 2 nothing at all */
    char *why;
};

struct batch {
    unsigned magic;
#define BATCH_MAGIC 0xba7c4001
    struct ang_op op; /* lane -> committer -> lane */
    struct lane *lane;
    struct works works;
    struct barrier *barrier;
    struct ang_out *recs; /* effects of the works, in order */
    size_t n_recs, cap_recs;
    struct ang_pos *pos;   /* of parts[i]: pos[i * N_INPUTS …] */
    struct ang_buf *metas;      /* done sets of pos[i], whole: what pos[i].meta points to, if it fits there */
    struct ang_buf *elsewhere;  /* else that */
    struct ang_buf keys;        /* of the records that hold what does not fit */
    size_t n_pos;
    struct ang_hdr barrier_hdrs[3];
    char barrier_text[2][160];
    struct ang_log_token *token;
    struct batch_part *parts;
    size_t n_parts, n_works, bytes; /* bytes: values of its effects */
    int64_t began_ms; /* monotonic: given to the committer */
    struct ang_err *er;
    struct ang_writable *stuck; /* NULL, or of each partition what of it cannot be written, if its why is set */
};

/* ---- views: what others are told ---- */
struct input_view { /* ANG_OFFSET_NONE: there is none, or it is not known */
    int64_t committed, oldest_open, end, lag;
};

struct part_view {
    enum part_phase phase;
    int32_t generation;
    unsigned unfinished;
    struct input_view in[N_INPUTS];
};

struct lane_view {
    int64_t at_ms; /* monotonic */
    int calls, slow_calls;
    struct part_view *parts;
};

struct lane {
    unsigned magic;
#define LANE_MAGIC 0x1a4e0001
    /* set once */
    struct ang_worker *worker;
    const struct ang_domain *domain;
    const struct ang_settings *set;
    struct ang_log *log;
    int index;
    char *instance;
    char *txn_id[2];
    struct ang_loop *loop;
    struct part *parts; /* [domain->partitions] */
    struct committer *committer;
    struct takeover *takeover;
    /* lane */
    struct ang_log_member *member;
    struct ang_log_reader *reader;
    struct ang_rpc_channel *business;
    enum variant variant;
    bool variant_seen; /* it has answered something else than UNIMPLEMENTED */
    unsigned connection; /* counts calls that found none: what is known of the variant is of this one */
    struct call_list calls, slow_calls; /* under way, the oldest first */
    int n_calls, n_slow_calls;
    struct root_list ready;      /* roots that wait for a slot */
    struct root_list ready_slow[SLOW_LEVELS]; /* and for a slow one, by how often their call was cancelled to make room */
    int64_t usual_us;      /* how long calls take, in the mean */
    struct ang_timer look; /* for slow calls, while any is under way */
    bool looking;
    TAILQ_HEAD(, root) idle; /* roots without works, least recently used first */
    size_t idle_bytes, idle_max; /* kept as a cache of histories, and at most */
    size_t open_bytes, call_bytes; /* of records held; of calls under way */
    size_t open_max; /* of each of the two, about */
    int64_t full_ms; /* monotonic: since when more is held; 0: it is not */
    struct ang_timer full;
    bool parking;    /* what comes now is left to the log */
    struct again *again; /* reads what was left to the log */
    struct ang_table ids;
    STAILQ_HEAD(, effect) spare_effects; /* used again: they are large for malloc */
    size_t n_spare_effects;
    TAILQ_HEAD(, work) spare_works;
    size_t n_spare_works;
    struct works done; /* finished, for the next batch */
    size_t n_done;
    struct barrier *barriers; /* waiting to be sealed */
    bool recommit;            /* commit all positions once, though nothing moved */
    struct batch *committing;
    size_t batch_max;         /* works of a batch at most, for now */
    unsigned lone_failures;   /* batches of one work that were refused in a row */
    STAILQ_HEAD(, poison) poisons;
    int64_t pause_until_ms; /* after an abort: not at full speed into the next one */
    struct ang_timer poll_timer, tick;
    int64_t fenced_ms; /* monotonic: when the group last said that somebody else has our name */
    bool dry; /* the last turn has read all that had come */
    bool draining, stopped, assigned_once;
    _Atomic int32_t generation; /* of the last token: for owners */
    _Atomic int64_t lease_ms;   /* boot time: until then reads may be answered (lane.md L15) */
    _Atomic uint64_t commits_begun, commits_over; /* over: in the store, or no more served */
    bool lease_over;            /* at the last tick */
    _Atomic bool renew;         /* something may be open under our transactional ids */
    struct ang_buf scratch, scratch2;
    struct lane_meters meters;
    /* view_lock */
    pthread_mutex_t view_lock;
    struct lane_view view;
    /* holds_lock */
    pthread_mutex_t holds_lock;
    STAILQ_HEAD(, hold) holds;
    /* lock: the committer tells a revoke that waits */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool commit_over;
};

/* ---- lane.c ---- */
struct lane *lane_new(struct ang_worker *w, const struct ang_domain *d, int index);
void lane_start(struct lane *l);
void lane_stop(struct lane *l); /* drains, leaves, frees */
void lane_fatal(struct lane *l, struct ang_err *er); /* takes er */
void lane_wake(void *arg);                           /* any thread; arg: the lane */
void lane_turn(struct ang_timer *t);                 /* for timers that only bring the lane its next turn */
void lane_batch_settled(struct batch *b);            /* lane thread */

/* ---- lane_parts.c: which partitions the lane has; lane thread but for one ---- */
struct ang_err *lane_join(struct lane *l) ANG_MUST_USE;
struct ang_err *lane_poll_member(struct lane *l) ANG_MUST_USE; /* gives partitions and takes them */
/* Each is dropped from memory and taken over, again or for the first time; reset: its store is emptied before. */
void lane_take(struct lane *l, struct part *const *parts, size_t n, bool reset);
void lane_barrier_asked(struct barrier *b);
void lane_taken_over(struct lane *l, const struct take *takes, size_t n, struct ang_err *er); /* takes er */
void lane_store_failed(struct part *p, struct ang_err *er); /* takes er: the part is dropped and rebuilt from the log */
/* The same from another thread, which has read of a partition that l serves. */
void lane_store_doubted(struct lane *l, int32_t partition, const struct ang_err *er);

/* ---- part.c ---- */
void part_init(struct part *p, struct lane *l, int32_t no);
void part_fini(struct part *p);
/* Everything of it in memory is void: works, roots, positions since the last commit.  Stops reading. */
void part_drop(struct part *p);
/* Serve from its committed positions on. */
struct ang_err *part_serve(struct part *p) ANG_MUST_USE;
/* The records of an input below this offset are run again (replay.commands).  In the store, so that a crash in the middle of them
 * changes nothing.  @thread takeover */
struct ang_err *part_note_replay(struct part *p, const struct ang_topic *topic, int64_t below) ANG_MUST_USE;
struct root *part_find(const struct part *p, const struct ang_root *id); /* NULL: not in memory */
struct root *part_root(struct part *p, const struct ang_root *id);       /* found or made */
void root_free(struct root *r);
void root_rest(struct root *r); /* one of its works has ended */
/* Takes or refuses load: an input that has too many open records is not read for a while. */
void part_balance(struct part *p);
void lane_evict(struct lane *l);

/* ---- admit.c ---- */
void admit(struct lane *l, struct ang_rec *rec); /* takes rec */
void admit_again(struct part *p, int input, struct ang_rec *rec); /* of a tail: takes rec */
void work_free(struct work *w);
void spares_free(struct lane *l); /* what was kept for later */
void finish_copies(struct work *w); /* the copies that wait for w get its outcome */

/* ---- aggregate.c: what runs a command ---- */
void aggregate_next(struct root *r); /* starts the next command of the root if it can */
/* What another book's cover names that is not as in the work's own; NULL: nothing. */
const char *cover_strays(const struct work *w, const struct ang_wire_cover *c);
/* What the business answered (code OK). Finishes w. */
void aggregate_answered(struct work *w, struct ang_slice response, bool business_response);

/* As much of somebody's words as goes into a status: a little more than is sent of a message, which is cut there on a character border. */
#define WORDS_MAX 1028

/* ---- root.c: histories ---- */
struct ang_err *root_load(struct root *r) ANG_MUST_USE; /* no-op when it is loaded */
void root_unload(struct root *r);                       /* nothing of it may be staged */
void root_append(struct root *r, struct ang_slice pages, uint32_t next);
void root_snapshot(struct root *r, struct ang_slice snapshot, uint32_t sequence);
/* Appends the newest pages of a loaded history whose encoding together stays under max (at most ROOT_NEWEST_MAX), also such as stand
 * before its snapshot. */
#define ROOT_NEWEST_MAX 1300
struct ang_err *root_newest(struct root *r, size_t max, struct ang_buf *out) ANG_MUST_USE;

/* ---- business.c: calls ---- */
struct ang_err *business_open(struct lane *l) ANG_MUST_USE; /* loop thread, as business_close */
void business_close(struct lane *l);
void business_call(struct work *w); /* has a slot */
void business_evict(struct work *w, const char *why); /* its call is cancelled, and made again later */
void business_work_init(struct work *w);
void business_cancel(struct work *w); /* its part was dropped: takes w */

/* ---- slots.c: how many calls are under way (lane.md L12) ---- */
void slots_init(struct lane *l);
/* The root may start a call.  False: it waits, and is started again when it may. */
bool slots_take(struct root *r);
/* The running work's call begins; ends.  took_us: of one that answered, else 0. */
void slots_begin(struct work *w);
void slots_end(struct work *w, int64_t took_us);
void slots_forget(struct root *r); /* it waits no more */
void slots_serve(struct lane *l);  /* starts roots that wait, as many as may */

/* ---- tail.c: what waits as offsets only (lane.md L12) ---- */
void tails_init(struct lane *l);
void tails_close(struct lane *l); /* its reader is closed; the lane stops */
void tails_fini(struct lane *l);
/* Of a root that is about to be queued: it is not, only its offset is kept.  Takes w when it returns true. */
bool tail_takes(struct work *w);
/* Nothing of the root is in memory any more: what it left to the log is read, in its turn.  Does nothing when there is none. */
void tail_wants(struct root *r);
/* Its running work, whose call has ended, and what is queued go back to the log; nothing of it is loaded for so long. */
void tail_unload(struct root *r, int64_t wait_ms);
void tail_drop(struct root *r); /* its part is dropped */
void tails_drop(const struct part *p);
void tails_serve(struct lane *l); /* each turn of the loop */
bool tails_starve(const struct lane *l); /* roots wait until there is memory */
int tails_level(const struct lane *l);   /* the fewest evictions of one that waits; SLOW_LEVELS: none does */

/* ---- refusal.c: refusals that copies get again ---- */
/* The record of w's refusal in the snapshots topic, an effect of w; its key is one of REFUSAL_SLOTS of the partition, so that
 * compaction keeps so many and no more. */
#define REFUSAL_SLOTS 16384
#define REFUSAL_KEY   "!refused/"
void refusal_record(struct work *w);
/* Such a record, into the store.  False: it is not one that we wrote.  *ret_until_ms: how long it counts, wall clock. */
bool refusal_restore(struct ang_store_batch *sb, struct ang_store_part *store, const struct ang_rec *rec,
                     int64_t *ret_until_ms);
void refusal_encode(struct ang_buf *b, const struct ang_status *st, int64_t at_ms);
struct ang_err *refusal_decode(struct ang_slice s, struct ang_status **ret_st, int64_t *ret_at_ms) ANG_MUST_USE;
/* SagaCompensationFailed to the domain that the settings name: an effect of w (contract 3). */
void compensation_failed(struct work *w, const struct ang_wire_revocation *rv);

/* ---- finish.c: outcomes ---- */
void finish(struct work *w);                                     /* effects and answer are set: into the next batch */
void finish_status(struct work *w, struct ang_status **st);      /* a final refusal */
void finish_open(struct work *w, struct ang_status **st);        /* answered now, its input is done without a trace */
void finish_done(struct work *w, const struct ang_store_done *d); /* done before: answered from the store */
struct effect *effect_new(struct lane *l, enum effect_kind kind, const struct ang_topic *topic, int32_t partition);
void effect_free(struct lane *l, struct effect *e);
/* Values are copied; what is too long for a header is cut. */
void effect_hdr(struct effect *e, const char *name, struct ang_slice value);
void effect_hdrf(struct effect *e, const char *name, const char *fmt, ...) ANG_PRINTF(3, 4);
void effect_key(struct effect *e, const struct ang_root *id, const uint32_t *first); /* first NULL: the root alone */
void effect_keyf(struct effect *e, const char *fmt, ...) ANG_PRINTF(2, 3);
void dead_letter(struct work *w, enum dead_reason why, const char *text); /* an effect of w */

struct answers { /* collects answers to the same gateway, to be delivered together */
    struct ang_worker *worker;
    struct ang_answer *head, **tail;
    char gateway[129];
};
void answers_add(struct answers *as, struct work *w); /* nothing when nobody waits for it */
void answers_send(struct answers *as);
/* CommandResponse{events: EventBook{cover, pages, next_sequence}}; *ret_book (may be NULL) is the part EventBook{cover, pages}
 * inside it: what is stored and what is answered share their bytes. */
struct ang_blob *response_of(struct ang_slice cover, struct ang_slice pages, uint32_t next_sequence,
                             struct ang_slice *ret_book);

/* Key of a record in the snapshots topic, followed by the name of an input topic: its done set, when it does not fit into the metadata
 * of the position (lane.md L11). */
#define DONE_KEY "!done/"

/* A row among the positions of a part: until when its store may hold refusals that count, wall clock. */
#define REFUSALS_ROW "!refusals"

/* ---- batch.c ---- */
struct batch *batch_seal(struct lane *l, struct ang_log_token *token); /* takes token; from what is finished */
void batch_apply(struct batch *b);                                     /* committer thread, after the commit */
void batch_free(struct batch *b);

/* ---- aside.c: partitions that cannot be written for now (lane.md L10) ---- */
void aside_look(struct batch *b); /* committer thread, after a commit that failed: fills b->stuck */
bool aside_stuck(const struct batch *b, const struct part *p);
/* The parts that b has found stuck are set aside. */
void aside_put(struct lane *l, const struct batch *b);
/* It can be written again: served as before, unless epoch is old. */
void aside_end(struct part *p, uint32_t epoch);
int aside_longer(int wait_ms); /* the wait after this one; 0: the first */

/* ---- poison.c: batches that the log refuses (lane.md L10) ---- */
#define BATCH_WORKS_MAX 10000
void poison_committed(struct lane *l, const struct batch *b);
/* Before its works are gone: the next batch is smaller, or the one work that is left is convicted. */
void poison_aborted(struct lane *l, const struct batch *b);
/* w was convicted when it was read before: with an error and a dead letter (its root is known), or when the log did not take that,
 * without a trace.  False: it was not. */
bool poison_end(struct work *w);
bool poison_drop(struct work *w);
void poison_free(struct lane *l);

/* ---- committer.c ---- */
struct committer *committer_new(struct lane *l);
void committer_push(struct committer *c, struct batch *b); /* it comes back by lane_batch_settled */
/* Both writers are opened anew and settled, which ends whatever is still open or pending under their ids.  Borrows token.  Blocks; the
 * takeover's thread. */
struct ang_err *committer_renew(struct committer *c, struct ang_log_token *token) ANG_MUST_USE;
void committer_stop(struct committer *c); /* joins; what was not begun, and what still comes, gets ANG_E_SHUTDOWN */
void committer_free(struct committer *c);

/* ---- takeover.c ---- */
struct takeover *takeover_new(struct lane *l);
void takeover_push(struct takeover *t, const struct take *takes, size_t n); /* copies; ends in lane_taken_over */
void takeover_release(struct takeover *t, int32_t partition);               /* close its store, when it has come so far */
void takeover_barrier_done(struct barrier *b);                              /* lane thread; b->er is set */
void takeover_wake(struct takeover *t);                                     /* for holds_look; any thread */
/* Asks the log after wait_ms, and less and less often, whether out can be written again; ends in aside_end.  Lane thread. */
void takeover_watch(struct takeover *t, const struct part *p, const struct ang_writable *out, int wait_ms);
void takeover_stop(struct takeover *t);

/* ---- owning.c: the owners topic ---- */
/* Writes an entry for each of the partitions; waits until all are acknowledged, at most wait_ms.  @thread any */
struct ang_err *owning_say(struct lane *l, const int32_t *parts, size_t n, enum ang_owner_state state, int32_t generation,
                           int wait_ms) ANG_MUST_USE;
/* Says how far a restore is; does not wait. */
void owning_progress(struct lane *l, const struct take *takes, size_t n, uint32_t percent);
/* Before positions are fetched: earlier owners that have not released get half a second, then their transactional ids are fenced, as
 * well as it goes.  An error is one of reading the topic.  os has caught up.  Blocks; takeover thread. */
struct ang_err *owning_fence(struct lane *l, struct ang_owners *os, const struct take *takes, size_t n,
                             int32_t generation) ANG_MUST_USE;
/* Writes our entries again where an older one was written over them.  generations[partition]: under which we serve it, 0: we do
 * not.  os was opened just now and has caught up. */
struct ang_err *owning_audit(struct lane *l, struct ang_owners *os, const int32_t *generations) ANG_MUST_USE;

/* ---- restore.c: from the log into the store; takeover thread ---- */
/* "<root>[@edition][/<10 digits>]", with the digits when ret_first is not NULL; ret_id points into key. */
bool restore_key(struct ang_slice key, struct ang_root *ret_id, uint32_t *ret_first);
/* Of the last event that a store has applied, kept with its position in the events topic: a log in which another record stands there is
 * another log (lane.md L18).  "<offset>:<key>" */
void restore_mark(struct ang_buf *b, int64_t offset, struct ang_slice key); /* replaces what b holds */
struct ang_err *restore(struct lane *l, const struct take *takes, size_t n, const char *barrier_id) ANG_MUST_USE;

/* ---- health.c ---- */
void health_init(struct lane *l);
void health_fini(struct lane *l);
void health_part_starts(struct part *p); /* it has been taken over */
void health_look(struct lane *l);                     /* lane thread */
void health_tell(struct lane *l, struct ang_buf *b); /* any thread; appends a JSON object */

/* ---- holds.c: open transactions of others ---- */
void holds_init(struct lane *l);
void holds_fini(struct lane *l);
/* A reader of the partition stands at next and knows that it ends at end.  Called about once a second while it has nothing to read.  True:
 * nothing in between is for it.  @thread lane or takeover */
bool holds_note(struct lane *l, const struct ang_topic *topic, int32_t partition, int64_t next, int64_t end);
void holds_passed(struct lane *l, const struct ang_topic *topic, int32_t partition); /* all that was to be read has been */
void holds_forget(struct lane *l, const struct ang_topic *topic, int32_t partition); /* it is not read any more */
void holds_look(struct lane *l); /* asks the log about those that last; blocks for seconds at worst.  @thread takeover */
void holds_tell(struct lane *l, struct ang_buf *b); /* any thread; appends a JSON list */

/* ---- worker.c ---- */
struct ang_store *worker_store(const struct ang_worker *w);
const struct ang_worker_conf *worker_conf(const struct ang_worker *w);
size_t worker_cache_share(const struct ang_worker *w); /* bytes a lane may keep of histories */
size_t worker_open_share(const struct ang_worker *w);  /* bytes a lane may hold of records; and as many of calls */
int64_t worker_store_share(const struct ang_worker *w); /* bytes of the store: half of it its cache, half its memtables */
const char *worker_cluster(const struct ang_worker *w);
int64_t worker_started_ms(const struct ang_worker *w);
const char *worker_id(const struct ang_worker *w);
void worker_lane_ready(struct ang_worker *w, struct lane *l, bool ready);
void worker_fatal(struct ang_worker *w, struct ang_err *er);
void worker_deliver(struct ang_worker *w, const char *gateway, struct ang_answer *list); /* takes list */
struct shard *worker_shard(struct ang_worker *w, const struct ang_domain *d, int32_t partition);
void worker_shard_changed(struct ang_worker *w); /* queries that wait look again */

void worker_commit_over(struct ang_worker *w);   /* queries that wait for it look again */

/* ---- queries.c: the query thread ---- */
struct asked { /* something asked of it, embedded in what its asker knows; on that thread, but for the asking */
    unsigned magic;
#define ASKED_MAGIC 0x90e71e52
    /* set by the asker */
    struct ang_worker *worker;
    void (*step)(struct asked *a); /* ends it, or lets it wait by one of the two below */
    void (*refuse)(struct asked *a, struct ang_status *st); /* ends it; takes st */
    bool (*may_go_on)(struct asked *a);                     /* its caller has read on, or is gone */
    int64_t until_ms;                                       /* as long as it may wait for a partition */
    /* the thread's */
    struct ang_op op;
    TAILQ_ENTRY(asked) link;
    const struct lane *settle_lane; /* whose commit it waits for */
    uint64_t settle_at;
};
void queries_ask(struct ang_worker *w, struct asked *a); /* any thread; it steps, or is refused */
/* Steps again when the partition, found in that state, may be served.  May end it. */
void queries_await_part(struct asked *a, const struct ang_domain *d, int32_t partition, enum shard_state state);
void queries_await_caller(struct asked *a); /* steps again when it may go on */
/* What its owner was committing when this was first asked is in the store, or will not be.  Under the shard's lock. */
bool shard_settled(const struct shard *sh, struct asked *a);
/* Its owner is the only one.  To be asked after the store was read, under the shard's lock. */
bool shard_leased(const struct shard *sh);
/* er says that the store cannot be read: its lane rebuilds it, and then it can (lane.md L19). */
bool shard_damaged(const struct shard *sh, int32_t partition, const struct ang_err *er);

struct queries *queries_new(void);
void queries_look(struct queries *qs);        /* any thread */
void queries_commit_over(struct queries *qs); /* any thread */
void queries_stop(struct queries *qs); /* ends what is open and what will come; joins */
void queries_free(struct queries *qs); /* accepts NULL */
struct queries *worker_queries(struct ang_worker *w);

#endif
