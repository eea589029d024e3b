/* Files of type definitions (.proto files, compiled): found by name, by what they define, by what they extend.
 *
 * Knows of each file its imports and its symbols, and hands out the encoded google.protobuf.FileDescriptorProto as it came;
 * what a message looks like inside is not kept.  Begins with the product's own files (builtin.h); users' sets are added.
 *
 * Sets come from outside: every one is checked to the last symbol when it is added.  After the last add a catalog does not
 * change, and any thread may read it. */
#ifndef ANG_CATALOG_H
#define ANG_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

struct ang_catalog;

struct ang_catalog_file { /* borrowed from the catalog, as all that is found */
    size_t index;         /* below ang_catalog_size: for sets of files */
    struct ang_slice name, bytes;
    const struct ang_catalog_file **imports; /* what it names itself; each is in the catalog */
    size_t n_imports;
};

struct ang_catalog_extension {
    struct ang_slice type; /* full name of the message that is extended */
    int32_t number;
    const struct ang_catalog_file *file;
};

struct ang_catalog *ang_catalog_new(void);
void ang_catalog_free(struct ang_catalog *c); /* accepts NULL */
/* Adds the files of an encoded FileDescriptorSet.  They may use files that are in the catalog already; all else they need must
 * be in the set (protoc --include_imports).  A file that is there already is left out when both define the same; of the
 * product's own files and of google/protobuf/ those are kept that came first, whatever the other one has more or less.
 * WIRE: not such a set.  INVALID: a symbol defined twice, an import or a type that is missing.  After an error the catalog can
 * only be freed. */
struct ang_err *ang_catalog_add(struct ang_catalog *c, struct ang_slice set) ANG_MUST_USE;
/* The same from a file of at most 64 MiB.  IO: it cannot be read. */
struct ang_err *ang_catalog_add_path(struct ang_catalog *c, const char *path) ANG_MUST_USE;

size_t ang_catalog_size(const struct ang_catalog *c);
/* NULL: there is none.  Symbols are full names without a dot in front: of messages, fields, oneofs, enums, their values (beside
 * the enum, not in it), services, methods, extensions. */
const struct ang_catalog_file *ang_catalog_named(const struct ang_catalog *c, struct ang_slice name);
const struct ang_catalog_file *ang_catalog_defining(const struct ang_catalog *c, struct ang_slice symbol);
bool ang_catalog_has_message(const struct ang_catalog *c, struct ang_slice type);
const struct ang_catalog_file *ang_catalog_extending(const struct ang_catalog *c, struct ang_slice type,
                                                     int32_t number);
/* How many extensions of a message there are; they stand in order at *ret_first. */
size_t ang_catalog_extensions(const struct ang_catalog *c, struct ang_slice type,
                              const struct ang_catalog_extension **ret_first);

#endif
