/* Bringing a consumer back to reading (nudge.c).  Used by the thread that takes the messages out. */
#ifndef ANG_KAFKA_NUDGE_H
#define ANG_KAFKA_NUDGE_H

#include <librdkafka/rdkafka.h>
#include <stdint.h>

struct ang_kafka_nudge {
    size_t every, taken; /* bytes; every 0: never */
    struct ang_kafka_fed *fed;
    size_t n_fed;
};

/* memory: queued.max.messages.kbytes of the handle, in bytes. */
void ang_kafka_nudge_init(struct ang_kafka_nudge *n, int64_t memory);
void ang_kafka_nudge_fini(struct ang_kafka_nudge *n); /* before the handle's topics are destroyed */
/* A message was taken out of the queue. */
void ang_kafka_nudge_note(struct ang_kafka_nudge *n, const rd_kafka_message_t *msg);
/* When it is time: asks each broker that messages came from something small.  Waits for the answers: a millisecond as a rule, and
 * socket.timeout.ms for one that stands still, from which nothing would come anyway. */
void ang_kafka_nudge_run(struct ang_kafka_nudge *n, rd_kafka_t *rk);

#endif
