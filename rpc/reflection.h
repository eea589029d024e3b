/* Asking another server what its messages look like: the other side of reflection.  For command line tools, which wait. */
#ifndef ANG_REFLECTION_H
#define ANG_REFLECTION_H

#include <stdint.h>

#include "base/base.h"

/* Appends to ret_set an encoded FileDescriptorSet with the files that define the symbols (full names) and all that these import;
 * each after those it imports.  n 0: the files of all services that the server lists.  A symbol that the server does not know is
 * passed over.  Asks grpc.reflection.v1, and v1alpha when it does not have that.
 *
 * Blocks up to timeout_ms; has a loop of its own; not from the thread of one.
 * INVALID: no address, or a server without reflection.  TIMEOUT: it does not answer, or not in time.  WIRE: what it answers is
 * no answer.  TOO_BIG: more than 64 MiB, or than 10,000 files. */
struct ang_err *ang_reflection_fetch(const char *address, const struct ang_slice *symbols, size_t n, int64_t timeout_ms,
                                     struct ang_buf *ret_set) ANG_MUST_USE;

#endif
