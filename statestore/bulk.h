/* Rows that become files of the database (bulk.c).  One thread; the parts are entered while rows are added and written. */
#ifndef ANG_STATESTORE_BULK_H
#define ANG_STATESTORE_BULK_H

#include <rocksdb/c.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

struct ang_bulk;
struct ang_store_part;

struct ang_bulk *ang_bulk_new(void);
void ang_bulk_free(struct ang_bulk *k); /* accepts NULL */
void ang_bulk_clear(struct ang_bulk *k);
size_t ang_bulk_bytes(const struct ang_bulk *k);
/* Copies; a later row of the same key wins. */
void ang_bulk_add(struct ang_bulk *k, struct ang_store_part *part, struct ang_slice key, struct ang_slice value, bool deleted);
/* All rows of a part or none of them, part by part; durable when it returns. */
struct ang_err *ang_bulk_write(struct ang_bulk *k) ANG_MUST_USE;
/* The same rows, in the order they were added. */
void ang_bulk_put_into(const struct ang_bulk *k, rocksdb_writebatch_t *rows);

#endif
