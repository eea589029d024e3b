/* angzarr inspect: one record, or all records of an aggregate. */
#ifndef ANG_TOOL_INSPECT_H
#define ANG_TOOL_INSPECT_H

#include "tools/look.h"

struct inspect_range { /* --from, --to */
    struct tool_number from, to;
};

int inspect_record(const struct look *l, const char *topic, const char *partition, const char *offset);
int inspect_aggregate(const struct look *l, const char *domain, const char *root, const char *edition,
                      const struct inspect_range *range);

/* ---- decoding (inspect_value.c) ---- */
enum inspect_form { INSPECT_JSON, INSPECT_TEXT, INSPECT_HEX, INSPECT_NOTHING };
struct inspect_value {
    enum inspect_form form;
    const char *type;     /* of JSON; NULL: a mark of ours */
    struct ang_buf shown; /* one line of JSON; text; digits */
    struct ang_buf why;   /* of HEX: why it is not shown as what it should be */
};
/* What the record holds.  Never fails: what cannot be decoded is shown as it is.  An exit code when --descriptors are wrong. */
int inspect_value(const struct look *l, const struct ang_rec *rec, struct inspect_value *ret);
void inspect_value_fini(struct inspect_value *v);
/* A header as text, or "" when it is not there. */
void inspect_header(const struct ang_rec *rec, const char *name, struct ang_buf *ret);

#endif
