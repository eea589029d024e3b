/* What an implementation of the log fills in.  eventlog.c forwards to it, and owns the topic table. */
#ifndef ANG_LOG_PRIV_H
#define ANG_LOG_PRIV_H

#include <pthread.h>

#include "eventlog/eventlog.h"

struct ang_log_ops {
    void (*close)(struct ang_log *);
    struct ang_err *(*identity)(struct ang_log *, int, const char **);
    struct ang_err *(*ensure_topics)(struct ang_log *, const struct ang_topic_spec *, size_t, bool, int);
    struct ang_err *(*find_topics)(struct ang_log *, const struct ang_topic_spec *, size_t, int, struct ang_topic_found *);
    struct ang_err *(*ranges)(struct ang_log *, struct ang_range *, size_t, int);
    struct ang_err *(*writable)(struct ang_log *, struct ang_writable *, size_t, int); /* NULL: always */
    struct ang_err *(*append)(struct ang_log *, const struct ang_out *, int, void (*)(void *, struct ang_err *, int64_t), void *);
    struct ang_err *(*reader_open)(struct ang_log *, const struct ang_log_reader_conf *, struct ang_log_reader **);
    void (*reader_close)(struct ang_log_reader *);
    struct ang_err *(*reader_add)(struct ang_log_reader *, const struct ang_topic *, int32_t, int64_t);
    void (*reader_remove)(struct ang_log_reader *, const struct ang_topic *, int32_t);
    struct ang_err *(*reader_poll)(struct ang_log_reader *, struct ang_rec **, size_t, int, size_t *);
    int64_t (*reader_end)(struct ang_log_reader *, const struct ang_topic *, int32_t);
    int64_t (*reader_next)(struct ang_log_reader *, const struct ang_topic *, int32_t);
    struct ang_err *(*end)(struct ang_log *, const struct ang_topic *, int32_t, int, int64_t *);
    struct ang_err *(*peek)(struct ang_log *, const struct ang_topic *, int32_t, int64_t, int, struct ang_rec **); /* NULL: no need */
    struct ang_err *(*member_join)(struct ang_log *, const struct ang_log_member_conf *, struct ang_log_member **);
    struct ang_err *(*member_poll)(struct ang_log_member *, int);
    struct ang_err *(*member_token)(struct ang_log_member *, struct ang_log_token **);
    void (*member_leave)(struct ang_log_member *, bool);
    void (*token_free)(struct ang_log_token *);
    struct ang_err *(*positions)(struct ang_log *, const char *, struct ang_pos *, size_t, int, struct ang_buf *);
    struct ang_err *(*writer_open)(struct ang_log *, const char *, int, struct ang_log_writer **);
    void (*writer_close)(struct ang_log_writer *);
    struct ang_err *(*writer_commit)(struct ang_log_writer *, const struct ang_batch *);
    struct ang_err *(*writer_settle)(struct ang_log_writer *, struct ang_log_token *, const struct ang_topic *); /* NULL: no need */
    bool (*writer_doubtful)(const struct ang_log_writer *);
    struct ang_err *(*fence)(struct ang_log *, const char *, int);
};

/* Each implementation's structs begin with these. */
struct ang_log {
    unsigned magic;
#define ANG_LOG_MAGIC 0x10600001
    const struct ang_log_ops *ops;
    bool look; /* set once: nothing is written through it */
    pthread_mutex_t topics_lock;
    struct ang_topic **topics; /* handles, by name; grow only, each stays where it is */
    size_t n_topics;
};
struct ang_log_reader {
    unsigned magic;
#define ANG_LOG_READER_MAGIC 0x10600002
    struct ang_log *log;
};
struct ang_log_member {
    unsigned magic;
#define ANG_LOG_MEMBER_MAGIC 0x10600003
    struct ang_log *log;
};
struct ang_log_token {
    unsigned magic;
#define ANG_LOG_TOKEN_MAGIC 0x10600004
    const struct ang_log_ops *ops;
    _Atomic int refs;
    int32_t generation;
};
struct ang_log_writer {
    unsigned magic;
#define ANG_LOG_WRITER_MAGIC 0x10600005
    struct ang_log *log;
};

void ang_log_init(struct ang_log *log, const struct ang_log_ops *ops);
void ang_log_fini(struct ang_log *log);
/* The handle, writable: for ensure_topics. */
struct ang_topic *ang_log_topic_mut(struct ang_log *log, const char *name);

/* LOG_TOPIC in the words of the first difference of the first topic that has one; NULL: all are as they should be. */
struct ang_err *ang_topic_first_difference(const struct ang_topic_found *found, size_t n) ANG_MUST_USE;

struct ang_err *ang_kafka_open(const struct ang_settings *s, const char *client, struct ang_log **ret_log) ANG_MUST_USE;
struct ang_err *ang_embedded_open(const struct ang_settings *s, const char *client, struct ang_log **ret_log) ANG_MUST_USE;
struct ang_err *ang_embedded_open_look(const struct ang_settings *s, struct ang_log **ret_log) ANG_MUST_USE;

#endif
