/* The done set of a partition: which records at and above the committed position are done.
 *
 * Records end in any order, the log keeps one position: the base, the lowest record that is not done.  What is done above it
 * travels in the metadata of the position, so that nothing runs twice after a takeover (lane.md L11).
 *
 * Held as sorted runs [from, to) of done offsets, all above the base.  A run needs an open record below it, so there are never
 * more runs than open records, however far apart these lie.  One thread. */
#ifndef ANG_DONESET_H
#define ANG_DONESET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* What fits into the metadata of a position next to a broker's limit of 4,096 bytes. */
#define ANG_DONESET_MAX_TEXT 4000

struct ang_doneset_run {
    int64_t from, to; /* to: the first one behind it */
};

struct ang_doneset {
    unsigned magic;
#define ANG_DONESET_MAGIC 0xd07e5e70
    int64_t base;
    uint64_t count;               /* done offsets above base */
    struct ang_doneset_run *runs; /* runs[head .. n): head saves moving all of them whenever the base advances */
    size_t head, n, cap;
};

void ang_doneset_init(struct ang_doneset *ds, int64_t base);
void ang_doneset_fini(struct ang_doneset *ds); /* accepts a zeroed one */
void ang_doneset_reset(struct ang_doneset *ds, int64_t base);

/* Idempotent; offsets below the base are done already.  The base advances by itself. */
void ang_doneset_mark(struct ang_doneset *ds, int64_t offset);
/* All of [from, to): also for offsets at which the log has no record (markers of transactions, aborted or compacted ones). */
void ang_doneset_mark_range(struct ang_doneset *ds, int64_t from, int64_t to);
bool ang_doneset_contains(const struct ang_doneset *ds, int64_t offset);

static inline int64_t ang_doneset_base(const struct ang_doneset *ds) { /* the position to commit */
    return (ds->base);
}
static inline uint64_t ang_doneset_count(const struct ang_doneset *ds) {
    return (ds->count);
}
static inline size_t ang_doneset_runs(const struct ang_doneset *ds) {
    return (ds->n - ds->head);
}

/* `1:<base>:<form><base64>`; form b: a bitmap, bit i of byte i / 8 (lowest first) stands for base + i; form r: run lengths, not
 * done and done in turn, beginning at base, as LEB128 numbers.  The shorter one.  Replaces what ret_text holds.
 * false (and ret_text as it was): it does not fit into max characters. */
bool ang_doneset_encode(const struct ang_doneset *ds, size_t max, struct ang_buf *ret_text);

/* `1:<base>:@`: the text did not fit, it is a record of the log. */
void ang_doneset_encode_elsewhere(int64_t base, struct ang_buf *ret_text);
/* Of any text: the position it was made for.  False: malformed. */
bool ang_doneset_text_base(struct ang_slice text, int64_t *ret_base);

enum ang_doneset_result {
    ANG_DONESET_OK,
    ANG_DONESET_ELSEWHERE,  /* it did not fit there */
    ANG_DONESET_NONE,       /* empty text: nothing is known to be done */
    ANG_DONESET_OTHER_BASE, /* made for another position, which somebody has changed since: it must not be used */
    ANG_DONESET_MALFORMED
};
/* ds becomes what text says for the committed position; in all cases but OK, an empty set at it. Any bytes are welcome. */
enum ang_doneset_result ang_doneset_decode(struct ang_doneset *ds, struct ang_slice text, int64_t committed);

#endif
