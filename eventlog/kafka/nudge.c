/* librdkafka before 2.2.0 stops asking a broker for more when the queue is full (queued.max.messages.kbytes), and whoever empties the queue
 * does not wake the thread that would ask again: it looks by itself once a second (rdkafka_broker.c 2.0.2, rd_kafka_broker_consumer_serve
 * and the 1,000 ms of rd_kafka_broker_thread_main).  A rebuild that takes its 16 MiB in a third of that waits the rest of the time.
 *
 * Any request brings that thread back, and an answer too.  So when half of what the queue can hold was taken out, the brokers are asked for
 * the range of a partition.  Later versions have fetch.queue.backoff.ms instead. */
#include "eventlog/kafka/nudge.h"

#include <stdlib.h>

#include "base/base.h"

#define LOOKS_BY_ITSELF 0x02020000 /* the first version that need not be asked */
#define WAIT_MS 1000

struct ang_kafka_fed { /* a broker, and a partition that it leads */
    int32_t broker, partition;
    rd_kafka_topic_t *rkt;
};

void ang_kafka_nudge_init(struct ang_kafka_nudge *n, int64_t memory) {
    *n = (struct ang_kafka_nudge){.every = rd_kafka_version() < LOOKS_BY_ITSELF ? (size_t)memory / 2 : 0};
}

void ang_kafka_nudge_fini(struct ang_kafka_nudge *n) {
    free(n->fed);
    n->fed = NULL;
    n->n_fed = 0;
}

void ang_kafka_nudge_note(struct ang_kafka_nudge *n, const rd_kafka_message_t *msg) {
    int32_t broker;

    if (n->every == 0 || msg->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    n->taken += msg->len + msg->key_len;
    broker = rd_kafka_message_broker_id(msg);
    for (size_t i = 0; i < n->n_fed; i++)
        if (n->fed[i].broker == broker) {
            n->fed[i].rkt = msg->rkt;
            n->fed[i].partition = msg->partition;
            return;
        }
    n->fed = ang_realloc(n->fed, (n->n_fed + 1) * sizeof *n->fed);
    n->fed[n->n_fed++] = (struct ang_kafka_fed){broker, msg->partition, msg->rkt};
}

void ang_kafka_nudge_run(struct ang_kafka_nudge *n, rd_kafka_t *rk) {
    int64_t lo, hi;

    if (n->every == 0 || n->taken < n->every)
        return;
    for (size_t i = 0; i < n->n_fed; i++)
        (void)rd_kafka_query_watermark_offsets(rk, rd_kafka_topic_name(n->fed[i].rkt), n->fed[i].partition, &lo, &hi, WAIT_MS);
    n->taken = 0;
    n->n_fed = 0; /* leaders move */
}
