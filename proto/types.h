/* Message, enum and service types at run time, from encoded google.protobuf.FileDescriptorSets: what
 * `protoc --include_imports --descriptor_set_out=FILE` and `buf build -o FILE` write, and what gRPC reflection answers.
 *
 *     struct ang_types *ty = ang_types_new();
 *
 *     er = ang_types_add_builtin(ty);
 *     if (er == NULL)
 *         er = ang_types_add(ty, bytes, "orders.pb");
 *     if (er == NULL)
 *         er = ang_types_link(ty);
 *     …
 *     type = ang_types_message(ty, ang_slice_str("shop.CreateOrder"));
 *     …
 *     ang_types_free(&ty);
 *
 * A pool is filled (new, add), linked once, and from then on does not change.  Filling copies what it needs: the bytes may
 * go away.  Everything a pool gives out is borrowed and lives as long as the pool.
 *
 * Several sets usually bring the same files.  A file, or a message, enum or service, that comes again with the same
 * content is welcome; of google.protobuf.* the first one is kept without a look, because those grow with the version of
 * protoc.  One that comes again with other fields is an error that names both files.
 *
 * What we do not know is said by name, by the function that meets it: a file of an edition (syntax = "editions") when it
 * is added; a field that is a group when a message with it is converted (json.h).  Extensions are not kept: on the wire
 * they are unknown fields.
 *
 * Errors are ANG_E_TYPES and name the set or file, and the type: "orders.pb: shop/order.proto: imports shop/money.proto,
 * which is in no set: build it with --include_imports".  Sets may come from anywhere: nothing in them reaches an assert,
 * and their size, their nesting and the memory they take are bounded.
 *
 * Threads: a pool belongs to one thread until it is linked; then any number may read it, without a lock. */
#ifndef ANG_TYPES_H
#define ANG_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

struct ang_types;

/* A message type; json.h converts by it. */
struct ang_type;

struct ang_method {
    const char *name; /* "Handle" */
    const char *path; /* "/angzarr.CommandGateway/Execute": what gRPC calls */
    const struct ang_type *input, *output;
    bool client_streaming, server_streaming;
};

struct ang_service {
    const char *name;                 /* "angzarr.CommandGateway" */
    const char *file;                 /* "angzarr/gateway.proto" */
    const struct ang_method *methods; /* in the order of the file */
    size_t n_methods;
};

/* ---- the pool ---- */
struct ang_types *ang_types_new(void);
void ang_types_free(struct ang_types **ty); /* accepts NULL in *ty, leaves NULL */

/* An encoded FileDescriptorSet.  `where` (a file's name) stands before the message of every error about it.
 * After an error the pool can only be freed. */
struct ang_err *ang_types_add(struct ang_types *ty, struct ang_slice set, const char *where) ANG_MUST_USE;
/* One encoded FileDescriptorProto, as reflection answers. */
struct ang_err *ang_types_add_file(struct ang_types *ty, struct ang_slice file, const char *where) ANG_MUST_USE;
/* The descriptors of proto/builtin.h. */
struct ang_err *ang_types_add_builtin(struct ang_types *ty) ANG_MUST_USE;
/* The name of an import that no file added so far satisfies; NULL: none.  For who fetches files one by one.  Borrowed
 * until the next add. */
const char *ang_types_missing(const struct ang_types *ty);
/* Resolves imports and names.  After an error the pool can only be freed; linking twice is a failed assert. */
struct ang_err *ang_types_link(struct ang_types *ty) ANG_MUST_USE;

/* A linked pool with nothing but proto/builtin.h, made at the first call; never freed.  Any thread. */
const struct ang_types *ang_types_builtin(void);

/* ---- looking up, in a linked pool; full names without a leading dot; NULL: none ---- */
const struct ang_type *ang_types_message(const struct ang_types *ty, struct ang_slice full_name);
/* By what follows the last '/' of an Any's type_url. */
const struct ang_type *ang_types_message_of_url(const struct ang_types *ty, struct ang_slice type_url);
const struct ang_service *ang_types_service(const struct ang_types *ty, struct ang_slice full_name);
/* By "/service/Method" or "service/Method". */
const struct ang_method *ang_types_method(const struct ang_types *ty, struct ang_slice path);

/* All of them, sorted by name: i from 0 to n - 1.  Map entries are not among the messages. */
size_t ang_types_n_messages(const struct ang_types *ty);
const struct ang_type *ang_types_message_at(const struct ang_types *ty, size_t i);
size_t ang_types_n_services(const struct ang_types *ty);
const struct ang_service *ang_types_service_at(const struct ang_types *ty, size_t i);

const char *ang_type_name(const struct ang_type *type); /* "shop.CreateOrder" */
const char *ang_type_file(const struct ang_type *type); /* "shop/order.proto" */

#endif
