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
