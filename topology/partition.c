/* Partitioning: murmur2 as Java's default partitioner computes it (org.apache.kafka.common.utils.Utils.murmur2, seed
 * 0x9747b28c), made positive by clearing the top bit.  Compared with librdkafka's and with Java's known values in the tests. */
#include "topology/topology.h"

#include "base/uuid.h"

static uint32_t murmur2(const uint8_t *p, size_t n) {
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28cU ^ (uint32_t)n;

    for (; n >= 4; p += 4, n -= 4) {
        uint32_t k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

        k *= m;
        k ^= k >> 24;
        h = (h * m) ^ (k * m);
    }
    if (n >= 3)
        h ^= (uint32_t)p[2] << 16;
    if (n >= 2)
        h ^= (uint32_t)p[1] << 8;
    if (n >= 1)
        h = (h ^ p[0]) * m;
    h ^= h >> 13;
    h *= m;
    return (h ^ (h >> 15));
}

int32_t ang_partition_of_key(struct ang_slice key, int32_t partitions) {
    ANG_ASSERT(partitions > 0);
    return ((int32_t)((murmur2(key.p, key.n) & 0x7fffffffU) % (uint32_t)partitions));
}

int32_t ang_partition_of_root(const uint8_t root[16], int32_t partitions) {
    char text[ANG_UUID_TEXT + 1];

    ang_uuid_text(root, text);
    return (ang_partition_of_key(ang_slice_of(text, ANG_UUID_TEXT), partitions));
}

void ang_root_text(struct ang_buf *b, const uint8_t root[16], struct ang_slice edition) {
    char text[ANG_UUID_TEXT + 1];

    ang_uuid_text(root, text);
    ang_buf_add(b, text, ANG_UUID_TEXT);
    if (edition.n > 0) {
        ang_buf_add_u8(b, '@');
        ang_buf_add_slice(b, edition);
    }
}

bool ang_root_parse(struct ang_slice text, uint8_t ret_root[16], struct ang_slice *ret_edition) {
    struct ang_slice edition = ANG_SLICE_NONE;
    struct ang_uuid id;

    if (text.n < ANG_UUID_TEXT || !ang_uuid_parse(ang_slice_of(text.p, ANG_UUID_TEXT), &id))
        return (false);
    if (text.n > ANG_UUID_TEXT) {
        edition = ang_slice_of(text.p + ANG_UUID_TEXT + 1, text.n - ANG_UUID_TEXT - 1);
        if (text.p[ANG_UUID_TEXT] != '@' || !ang_name_ok(edition))
            return (false);
    }
    memcpy(ret_root, id.b, 16);
    *ret_edition = edition;
    return (true);
}

#define SEQUENCE_TEXT 11 /* with the slash */

bool ang_event_key_parse(struct ang_slice key, uint8_t ret_root[16], struct ang_slice *ret_edition,
                         uint32_t *ret_first) {
    const size_t n = key.n < SEQUENCE_TEXT ? 0 : key.n - SEQUENCE_TEXT;
    uint64_t first;

    if (n == 0 || key.p[n] != '/' || !ang_slice_to_u64(ang_slice_of(key.p + n + 1, SEQUENCE_TEXT - 1), &first) ||
        first > UINT32_MAX || !ang_root_parse(ang_slice_of(key.p, n), ret_root, ret_edition))
        return (false);
    *ret_first = (uint32_t)first;
    return (true);
}
