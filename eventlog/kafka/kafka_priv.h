/* Inside of the Kafka log: one rd_kafka_t per duty, all configured by conf.c, all errors translated by error.c.
 *
 *      ang_kafka ──┬── admin handle      topics, positions, identity       (kafka.c, topics.c, positions.c)
 *                  ├── appender          idempotent producer + its thread  (append.c)
 *                  ├── reader            simple consumer: no group at all  (reader.c)
 *                  ├── member            group consumer that never fetches (member.c)
 *                  └── writer            transactional producer            (writer.c, writer_open.c, fence.c) */
#ifndef ANG_KAFKA_PRIV_H
#define ANG_KAFKA_PRIV_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"
#include "base/settings.h"
#include "eventlog/log_priv.h"

/* Record headers, batch framing and compression overhead that a broker counts and a sender does not. */
#define ANG_KAFKA_FRAMING (64 * 1024)

struct ang_kafka_appender;

/* What a handle's callbacks get as their opaque. */
struct ang_kafka_ctx {
    unsigned magic;
#define ANG_KAFKA_CTX_MAGIC 0x4afc0001
    struct ang_kafka *k;
    const char *duty; /* for log lines: "reader orders" */
    void *owner;      /* the struct whose callback it is */
};

struct ang_kafka {
    struct ang_log log;
    /* set once */
    char *client;
    char *bootstrap;
    char *file;
    struct ang_kv *props;
    size_t n_props;
    int64_t message; /* bytes of a record's value that users are promised */
    struct ang_kafka_ctx admin_ctx;
    /* lock */
    pthread_mutex_t lock;
    rd_kafka_t *admin; /* opened at first use */
    char *cluster_id;
    struct ang_kafka_appender *appender; /* opened at first use */
};

static inline struct ang_kafka *ang_kafka_of(struct ang_log *log) {
    ANG_CHECK(log, ANG_LOG_MAGIC);
    return ((struct ang_kafka *)(void *)log);
}

/* ---- conf.c ---- */

struct ang_kafka_prop {
    const char *name;
    const char *value;
    enum {
        ANG_PROP_MUST,  /* ours, whatever the user says */
        ANG_PROP_TUNE,  /* unless the user says otherwise */
        ANG_PROP_NEWER, /* as TUNE; left out where this librdkafka does not know it */
    } kind;
};
/* The user's properties, then the common ones, then props (ends with a NULL name).  CONFIG: the user's do not parse. */
struct ang_err *ang_kafka_conf_new(struct ang_kafka *k, const struct ang_kafka_ctx *ctx,
                                   const struct ang_kafka_prop *props, rd_kafka_conf_t **ret_conf) ANG_MUST_USE;
/* What sees every request of a handle go out and every answer come in: on broker threads, and must not call librdkafka. */
struct ang_kafka_watch {
    rd_kafka_interceptor_f_on_request_sent_t *sent;
    rd_kafka_interceptor_f_on_response_received_t *answered;
    void *owner; /* their opaque */
};
/* For the handle that is made of conf; w lives longer than that. */
void ang_kafka_conf_watch(rd_kafka_conf_t *conf, struct ang_kafka_watch *w);
/* Takes *conf in every case. */
struct ang_err *ang_kafka_handle_new(struct ang_kafka *k, rd_kafka_type_t type, rd_kafka_conf_t **conf,
                                     rd_kafka_t **ret_rk) ANG_MUST_USE;
/* The user's whole number, or def. */
int64_t ang_kafka_user_number(const struct ang_kafka *k, const char *name, int64_t def);

/* ---- error.c ---- */

/* The call that failed: what its failure can mean differs. */
enum ang_kafka_step {
    ANG_STEP_INIT,
    ANG_STEP_BEGIN,
    ANG_STEP_PRODUCE,
    ANG_STEP_OFFSETS,
    ANG_STEP_COMMIT,
    ANG_STEP_ABORT,
};
/* What librdkafka says about an error, strongest first; TIMED_OUT = retriable, but our time is up. */
enum ang_kafka_kind { ANG_KIND_FATAL, ANG_KIND_ABORT, ANG_KIND_TIMED_OUT, ANG_KIND_OTHER };

enum ang_kafka_kind ang_kafka_kind(const rd_kafka_error_t *ke);
/* The class of a failed call of a writer: the one table for all of them. */
enum ang_class ang_kafka_class(enum ang_kafka_step step, enum ang_kafka_kind kind);
/* An error of ours for librdkafka's; cls is ignored for codes that always mean the same (LOG_AUTH). */
struct ang_err *ang_kafka_err(rd_kafka_t *rk, rd_kafka_resp_err_t code, const char *text, enum ang_class cls,
                              const char *what) ANG_MUST_USE;
/* The same, takes *ke. */
struct ang_err *ang_kafka_err_take(rd_kafka_t *rk, rd_kafka_error_t **ke, enum ang_class cls,
                                   const char *what) ANG_MUST_USE;
bool ang_kafka_transient(rd_kafka_resp_err_t code);
bool ang_kafka_is_auth(rd_kafka_resp_err_t code);
/* Of a producer.  FENCED_INSTANCE_ID in answer to positions only says that the token is older than our last joining. */
bool ang_kafka_is_fenced(rd_kafka_resp_err_t code);

/* ---- kafka.c ---- */

struct ang_err *ang_kafka_admin(struct ang_kafka *k, rd_kafka_t **ret_rk) ANG_MUST_USE;
/* Whether rec may be produced: its partition exists and it is not too big.  NULL: it may. */
struct ang_err *ang_kafka_check_out(const struct ang_out *rec, enum ang_class cls) ANG_MUST_USE;
/* NULL or a header list that rd_kafka_producev takes. */
rd_kafka_headers_t *ang_kafka_headers(const struct ang_out *rec);
/* Milliseconds until a monotonic point of time, at least 0, at most max. */
int ang_kafka_left(int64_t until_ms, int max);

/* ---- writable.c ---- */

struct ang_err *ang_kafka_writable(struct ang_log *log, struct ang_writable *w, size_t n, int timeout_ms);

/* ---- append.c ---- */

struct ang_err *ang_kafka_append(struct ang_log *log, const struct ang_out *rec, int expiry_ms,
                                 void (*done)(void *, struct ang_err *, int64_t), void *arg);
void ang_kafka_appender_warm(struct ang_kafka *k, const struct ang_topic_spec *specs, size_t n, int timeout_ms);
void ang_kafka_appender_free(struct ang_kafka_appender *a); /* accepts NULL; waits at most 5 s for deliveries */

/* ---- reader.c ---- */

struct ang_err *ang_kafka_reader_open(struct ang_log *log, const struct ang_log_reader_conf *conf,
                                      struct ang_log_reader **ret_r);
/* isolation: "read_committed", as ang_kafka_reader_open has it, or "read_uncommitted". */
struct ang_err *ang_kafka_reader_open_as(struct ang_log *log, const struct ang_log_reader_conf *conf, const char *isolation,
                                         struct ang_log_reader **ret_r) ANG_MUST_USE;
void ang_kafka_reader_close(struct ang_log_reader *r);
struct ang_err *ang_kafka_reader_add(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition,
                                     int64_t offset);
void ang_kafka_reader_remove(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition);
struct ang_err *ang_kafka_reader_poll(struct ang_log_reader *r, struct ang_rec **recs, size_t max, int timeout_ms,
                                      size_t *ret_n);

int64_t ang_kafka_reader_next(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition);
int64_t ang_kafka_reader_end(struct ang_log_reader *r, const struct ang_topic *topic, int32_t partition);

/* ---- look.c ---- */

struct ang_err *ang_kafka_end(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int timeout_ms,
                              int64_t *ret_offset);
struct ang_err *ang_kafka_ranges(struct ang_log *log, struct ang_range *r, size_t n, int timeout_ms);
struct ang_err *ang_kafka_peek(struct ang_log *log, const struct ang_topic *topic, int32_t partition, int64_t offset,
                               int timeout_ms, struct ang_rec **ret_rec);

/* ---- member.c, token.c ---- */

struct ang_err *ang_kafka_member_join(struct ang_log *log, const struct ang_log_member_conf *conf,
                                      struct ang_log_member **ret_m);
struct ang_err *ang_kafka_member_poll(struct ang_log_member *m, int timeout_ms);
struct ang_err *ang_kafka_member_token(struct ang_log_member *m, struct ang_log_token **ret_token);
void ang_kafka_member_leave(struct ang_log_member *m, bool stay);

struct ang_kafka_token {
    struct ang_log_token t;
    rd_kafka_consumer_group_metadata_t *meta;
};
/* Takes *meta.  RETRY when it is not the metadata of a full member. */
struct ang_err *ang_kafka_token_new(const struct ang_log_ops *ops, rd_kafka_consumer_group_metadata_t **meta,
                                    struct ang_log_token **ret_token) ANG_MUST_USE;
void ang_kafka_token_free(struct ang_log_token *t);
/* Generation and member id (borrowed from buf) out of rd_kafka_consumer_group_metadata_write; false: not its format. */
bool ang_kafka_token_parse(const void *buf, size_t n, int32_t *ret_generation, const char **ret_member);
/* That this librdkafka writes the format we read: INTERNAL when it does not. */
struct ang_err *ang_kafka_token_check_format(void) ANG_MUST_USE;

/* ---- positions.c, topics.c, topics_check.c ---- */

struct ang_err *ang_kafka_positions(struct ang_log *log, const char *group, struct ang_pos *pos, size_t n,
                                    int timeout_ms, struct ang_buf *ret_mem);
struct ang_err *ang_kafka_ensure_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, bool create,
                                        int timeout_ms);
/* The next event of an admin request, or NULL when until_ms passed. */
rd_kafka_event_t *ang_kafka_admin_wait(rd_kafka_queue_t *q, int64_t until_ms);
struct ang_err *ang_kafka_find_topics(struct ang_log *log, const struct ang_topic_spec *specs, size_t n, int timeout_ms,
                                      struct ang_topic_found *ret_found);
/* What there is of each, and where it differs; ret_found is zeroed before, and has something to free also after an error. */
struct ang_err *ang_kafka_compare_topics(struct ang_kafka *k, rd_kafka_t *rk, const rd_kafka_metadata_t *md,
                                         const struct ang_topic_spec *specs, size_t n, int64_t until_ms,
                                         struct ang_topic_found *ret_found) ANG_MUST_USE;
/* Looks and compares; LOG_TOPIC in the words of the first difference. */
struct ang_err *ang_kafka_check_topics(struct ang_kafka *k, rd_kafka_t *rk, const rd_kafka_metadata_t *md,
                                       const struct ang_topic_spec *specs, size_t n, int64_t until_ms) ANG_MUST_USE;
void ang_kafka_topic_is_missing(const struct ang_topic_spec *spec, struct ang_buf *ret_lines);
int ang_kafka_min_insync(const struct ang_topic_spec *spec);

/* ---- writer.c, writer_open.c, fence.c ---- */

#define ANG_KAFKA_TXN_TIMEOUT_MS 10000
/* A record that was not delivered by then fails its transaction: this bounds how long a partition without a leader holds up what goes
 * elsewhere, and is twice what a leader usually takes to move. */
#define ANG_KAFKA_STUCK_MS 4000

struct ang_kafka_writer {
    struct ang_log_writer w;
    struct ang_kafka_ctx ctx;
    struct ang_kafka_watch watch;
    char *id;
    int txn_timeout_ms;
    rd_kafka_t *rk;
    rd_kafka_topic_t **rkts; /* topics this producer knows already */
    size_t n_rkts;
    /* delivery reports: served on the committer's thread inside commit */
    uint32_t txn; /* number of the transaction, so that a report of an older one is told apart */
    struct ang_out *recs;
    size_t n_recs;
    rd_kafka_resp_err_t failed; /* of the first record that was not delivered, which is: */
    size_t failed_rec;
    /* broker threads set, the committer reads */
    _Atomic bool doubtful;
    _Atomic bool end_sent; /* EndTxn of this transaction has left */
    /* the committer sets, broker threads read */
    _Atomic bool committing;
};
struct ang_err *ang_kafka_writer_open(struct ang_log *log, const char *transactional_id, int timeout_ms,
                                      struct ang_log_writer **ret_w);
void ang_kafka_writer_close(struct ang_log_writer *w);
struct ang_err *ang_kafka_writer_commit(struct ang_log_writer *w, const struct ang_batch *batch);
struct ang_err *ang_kafka_writer_settle(struct ang_log_writer *w, struct ang_log_token *token,
                                        const struct ang_topic *topic);
bool ang_kafka_writer_doubtful(const struct ang_log_writer *w);
rd_kafka_topic_t *ang_kafka_writer_topic(struct ang_kafka_writer *w, const char *name);
void ang_kafka_writer_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque);
struct ang_err *ang_kafka_fence(struct ang_log *log, const char *transactional_id, int timeout_ms);
/* Init until it succeeds, fails for good, or until_ms. */
struct ang_err *ang_kafka_init_transactions(rd_kafka_t *rk, const char *id, int64_t until_ms) ANG_MUST_USE;

#endif
