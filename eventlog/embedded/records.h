/* What stands in RocksDB.  All integers in keys are big endian, so that bytes sort as numbers do.
 *
 *   r topic partition offset        a record: ang_emb_rec_encode
 *   i topic partition key           compact topics: offset of the newest record of that key
 *   b topic partition               offset of the first record that retention left
 *   p topic partition group         committed position: offset, metadata
 *   t name                          a topic: id, partitions, policy
 *   g group                         generation
 *   w transactional id              epoch
 *   m format | identity             of the folder
 */
#ifndef ANG_EMB_RECORDS_H
#define ANG_EMB_RECORDS_H

#include "base/base.h"
#include "eventlog/eventlog.h"

#define ANG_EMB_FORMAT   1
#define ANG_EMB_REC_KEY  17 /* bytes of a record's key */
#define ANG_EMB_PART_KEY 9  /* bytes of a kind, a topic and a partition */

void ang_emb_rec_key(uint8_t out[ANG_EMB_REC_KEY], uint32_t topic, int32_t partition, int64_t offset);
void ang_emb_part_key(uint8_t out[ANG_EMB_PART_KEY], char kind, uint32_t topic, int32_t partition);
/* A kind and a name; replaces what is in b. */
struct ang_slice ang_emb_name_key(struct ang_buf *b, char kind, const char *name);
/* A kind, a topic, a partition, more bytes; replaces what is in b. */
struct ang_slice ang_emb_long_key(struct ang_buf *b, char kind, uint32_t topic, int32_t partition,
                                  struct ang_slice tail);

/* Replaces what is in b. */
void ang_emb_rec_encode(struct ang_buf *b, const struct ang_out *rec, int64_t time_ms);
/* A record of its own memory, or NULL when the bytes are not one.  topic, partition, offset are taken over. */
struct ang_rec *ang_emb_rec_decode(const struct ang_topic *topic, int32_t partition, int64_t offset,
                                   struct ang_slice bytes);
/* Only its time; false when the bytes are not a record. */
bool ang_emb_rec_time(struct ang_slice bytes, int64_t *ret_ms);

#endif
