/* UUIDs: 16 bytes, canonical text, random (v4) and named (v5, SHA-1 of namespace and name). */
#ifndef ANG_UUID_H
#define ANG_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define ANG_UUID_TEXT 36 /* without the NUL */

struct ang_uuid {
    uint8_t b[16];
};

/* "404f3bda-578a-5c4d-a7f4-2751b843698a": lower case; out needs ANG_UUID_TEXT + 1 bytes and is NUL-terminated. */
void ang_uuid_text(const uint8_t bytes[16], char *out);
/* Exactly the canonical form, either case. */
bool ang_uuid_parse(struct ang_slice text, struct ang_uuid *ret_uuid);
void ang_uuid_v4(struct ang_uuid *ret_uuid);
void ang_uuid_v5(const struct ang_uuid *ns, struct ang_slice name, struct ang_uuid *ret_uuid);

extern const struct ang_uuid ang_uuid_ns_correlation; /* 404f3bda-578a-5c4d-a7f4-2751b843698a */
extern const struct ang_uuid ang_uuid_ns_oid;         /* 6ba7b812-9dad-11d1-80b4-00c04fd430c8 */

#endif
