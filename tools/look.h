/* What the tools share that look at the log itself, beside whatever works on it.
 *
 *      look_quit_at_signal(ANG_TOOL_INTERRUPTED);
 *      rc = look_open(&l);
 *      …
 *      look_close(&l);
 *
 * Nothing is written, so a look may be broken off anywhere.  Main thread. */
#ifndef ANG_TOOL_LOOK_H
#define ANG_TOOL_LOOK_H

#include "eventlog/eventlog.h"
#include "tools/tool.h"
#include "topology/topology.h"

struct look {
    struct ang_log *log;
    struct ang_topology *topology;
    const struct ang_topic_spec *specs;
    size_t n_specs;
};

/* From now on SIGINT and SIGTERM end the process at once with that code. */
void look_quit_at_signal(int code);
/* Reads the configuration and opens its log to be looked at; an exit code, said, when that fails. */
int look_open(struct look *l);
void look_close(struct look *l); /* accepts a zeroed one */

/* A topic as people name it, "angzarr.order.events" or "order.events".  NULL: said, as a misuse. */
const struct ang_topic_spec *look_topic(const struct look *l, const char *text);
/* NULL: said, as a misuse. */
const struct ang_domain *look_domain(const struct look *l, const char *name);
/* The range of a partition of a topic that must be there.  An exit code, said, when the topic or the partition is not. */
int look_range(const struct look *l, const struct ang_topic_spec *spec, int32_t partition, struct ang_range *ret);
/* Calls take for every record of the range, which it keeps by setting *rec to NULL; false ends it.  On a terminal it tells how far it is when it takes long.  Waits
 * tool.timeout_ms for each next record.  An exit code, said. */
int look_scan(const struct look *l, const struct ang_range *range, bool (*take)(void *arg, struct ang_rec **rec), void *arg);

/* What a record holds: a message type, or text, or nothing that is known. */
const char *look_type(const struct look *l, const struct ang_rec *rec); /* "angzarr.EventBook"; NULL: none */

/* ---- texts ---- */
void look_add_hex(struct ang_buf *b, struct ang_slice s);
/* One line of JSON as indented lines, each with `indent` blanks in front but the first. */
void look_add_pretty(struct ang_buf *b, struct ang_slice json, int indent);
/* "7d", "12h", "500ms", "for ever" */
const char *look_duration(int64_t ms, char out[32]);
/* "name":  with a comma in front unless an object or array has just begun */
void look_key(struct ang_buf *b, const char *name);
void look_put_text(struct ang_buf *b, const char *name, const char *text); /* NULL: null */
void look_put_slice(struct ang_buf *b, const char *name, struct ang_slice text);
void look_put_number(struct ang_buf *b, const char *name, int64_t n);
void look_put_offset(struct ang_buf *b, const char *name, int64_t offset); /* ANG_OFFSET_NONE: null */
void look_put_bool(struct ang_buf *b, const char *name, bool v);
/* Lines of b as an array of texts. */
void look_put_lines(struct ang_buf *b, const char *name, struct ang_slice lines);

#endif
