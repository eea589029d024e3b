/* Partitions as the Java clients choose them: against librdkafka's murmur2 and against known values of Java's Utils.murmur2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>

#include "topology/topology.h"

#define KEYS 10000

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint32_t random_below(uint32_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return ((uint32_t)(seed >> 32) % n);
}

/* Every length up to 200, so every rest of a division by four, and any bytes. */
static void random_keys_are_where_librdkafka_puts_them(void **state) {
    static const int32_t counts[] = {1, 2, 3, 6, 12, 64, 4096};
    uint8_t key[200];

    (void)state;
    for (int i = 0; i < KEYS; i++) {
        const size_t n = random_below(sizeof key + 1);
        const int32_t partitions = counts[random_below(ANG_COUNT(counts))];
        int32_t theirs;

        for (size_t k = 0; k < n; k++)
            key[k] = (uint8_t)random_below(256);
        theirs = rd_kafka_msg_partitioner_murmur2(NULL, key, n, partitions, NULL, NULL);
        if (ang_partition_of_key(ang_slice_of(key, n), partitions) != theirs)
            fail_msg("key %d of %zu bytes, %d partitions: %d, librdkafka says %d", i, n, partitions,
                     ang_partition_of_key(ang_slice_of(key, n), partitions), theirs);
    }
}

static void random_roots_are_where_librdkafka_puts_their_text(void **state) {
    (void)state;
    for (int i = 0; i < KEYS; i++) {
        char text[ANG_UUID_TEXT + 1];
        uint8_t root[16];

        for (size_t k = 0; k < sizeof root; k++)
            root[k] = (uint8_t)random_below(256);
        ang_uuid_text(root, text);
        assert_int_equal(ang_partition_of_root(root, 12),
                         rd_kafka_msg_partitioner_murmur2(NULL, text, ANG_UUID_TEXT, 12, NULL, NULL));
    }
}

/* From Java's own test of Utils.murmur2; the partition of 2^31 - 1 is the positive hash itself. */
static void known_values_of_java(void **state) {
    static const struct {
        const char *key;
        int32_t hash;
    } rows[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"abc", 479470107},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    };

    (void)state;
    for (size_t i = 0; i < ANG_COUNT(rows); i++)
        assert_int_equal(ang_partition_of_key(ang_slice_str(rows[i].key), INT32_MAX),
                         (rows[i].hash & 0x7fffffff) % INT32_MAX);
}

static void an_edition_is_where_its_root_is(void **state) {
    static const uint8_t root[16] = {0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct ang_buf plain = {NULL, 0, 0}, edition = {NULL, 0, 0};

    (void)state;
    ang_root_text(&plain, root, ANG_SLICE_NONE);
    ang_root_text(&edition, root, ang_slice_str("what-if"));
    assert_true(ang_slice_is(ang_buf_slice(&plain), "a0010203-0405-0607-0809-0a0b0c0d0e0f"));
    assert_true(ang_slice_is(ang_buf_slice(&edition), "a0010203-0405-0607-0809-0a0b0c0d0e0f@what-if"));
    assert_int_equal(ang_partition_of_root(root, 4096), ang_partition_of_key(ang_buf_slice(&plain), 4096));
    assert_int_not_equal(ang_partition_of_root(root, 4096), ang_partition_of_key(ang_buf_slice(&edition), 4096));
    ang_buf_fini(&plain);
    ang_buf_fini(&edition);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_keys_are_where_librdkafka_puts_them),
        cmocka_unit_test(random_roots_are_where_librdkafka_puts_their_text),
        cmocka_unit_test(known_values_of_java),
        cmocka_unit_test(an_edition_is_where_its_root_is),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
