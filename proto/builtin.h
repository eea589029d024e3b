/* The descriptors of everything we speak, compiled into the program: one encoded google.protobuf.FileDescriptorSet with
 * angzarr/ and angzarr/ext/, grpc/health/v1, grpc/reflection/v1 and v1alpha, google/rpc/status.proto and the well-known
 * types of google/protobuf/ (any, duration, empty, field_mask, struct, timestamp, wrappers).  A file comes after the files
 * it imports.
 *
 * For server reflection as it is; types.h makes types of it (ang_types_builtin).
 *
 * Thread-safe: constant. */
#ifndef ANG_BUILTIN_H
#define ANG_BUILTIN_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t ang_builtin_descriptors[];
extern const size_t ang_builtin_descriptors_n;

#endif
