/* Which components there are, what their topics are called, which partition a root belongs to, and who owns a partition. */
#ifndef ANG_TOPOLOGY_H
#define ANG_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/settings.h"
#include "base/slice.h"
#include "base/uuid.h"
#include "eventlog/eventlog.h"

struct ang_topology;

struct ang_domain { /* set once; lives as long as the topology */
    unsigned magic;
#define ANG_DOMAIN_MAGIC 0xd03a1201
    const char *name;
    const char *group; /* "<prefix><domain>.aggregate" */
    const struct ang_topic *commands, *reactions, *events, *snapshots, *dlq;
    const struct ang_set_business *business; /* borrowed from the settings */
    int32_t partitions;
    size_t index; /* its place: ang_topology_domain_at(t, index) */
};

/* Borrows settings and log for its life. */
struct ang_topology *ang_topology_new(const struct ang_settings *s, struct ang_log *log);
void ang_topology_free(struct ang_topology *t); /* accepts NULL */
/* Every topic that there must be, domain by domain: commands, reactions, events, snapshots, dlq; last the owners.  Borrowed. */
const struct ang_topic_spec *ang_topology_specs(const struct ang_topology *t, size_t *ret_n);
/* Creates and checks every topic (see ang_log_ensure_topics). */
struct ang_err *ang_topology_ensure(struct ang_topology *t, int timeout_ms) ANG_MUST_USE;
const struct ang_domain *ang_topology_domain(const struct ang_topology *t, struct ang_slice name); /* NULL: unknown */
size_t ang_topology_domains(const struct ang_topology *t);
const struct ang_domain *ang_topology_domain_at(const struct ang_topology *t, size_t i);
const struct ang_topic *ang_topology_owners_topic(const struct ang_topology *t);
const char *ang_topology_prefix(const struct ang_topology *t);

/* Java's murmur2, positive: the partition of a record key under the default partitioner of the Java clients.
 * One function for the whole project: a command produced by kcat or Java lands where ours do. */
int32_t ang_partition_of_key(struct ang_slice key, int32_t partitions);
/* The partition of a root: of its canonical text, without the edition. */
int32_t ang_partition_of_root(const uint8_t root[16], int32_t partitions);
/* "<root>" or "<root>@<edition>" appended to b. */
void ang_root_text(struct ang_buf *b, const uint8_t root[16], struct ang_slice edition);
/* The other way round; the edition is borrowed.  False: text is none. */
bool ang_root_parse(struct ang_slice text, uint8_t ret_root[16], struct ang_slice *ret_edition);
/* The same of an event's key, "<root>/<first sequence, 10 digits>". */
bool ang_event_key_parse(struct ang_slice key, uint8_t ret_root[16], struct ang_slice *ret_edition, uint32_t *ret_first);

/* Names that contract.md §1 allows. */
bool ang_name_ok(struct ang_slice s);        /* domain, edition: [a-z_][a-z0-9_-]*, at most 64 */
bool ang_correlation_ok(struct ang_slice s); /* [A-Za-z0-9_-]*, at most 128 */
bool ang_command_id_ok(struct ang_slice s);  /* 1 to 128 visible ASCII */

#endif
