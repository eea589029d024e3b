#include "base/arena.h"

#include <stdlib.h>

#include "tests/unit/base/unit.h"

static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 255, 256, 257, 1000, 1024, 1025, 5000};

/* Every allocation is aligned and overlaps no other. */
static void allocations_are_apart(void **state) {
    struct ang_arena *a = ang_arena_new(1024);
    uint8_t *p[ANG_COUNT(sizes) * 20];
    size_t sum = 0;

    for (size_t i = 0; i < ANG_COUNT(p); i++) {
        size_t n = sizes[i % ANG_COUNT(sizes)];

        p[i] = ang_arena_alloc(a, n);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)(i & 0xff), n);
        sum += n;
    }
    assert_int_equal(ang_arena_used(a), sum);
    for (size_t i = 0; i < ANG_COUNT(p); i++)
        for (size_t k = 0; k < sizes[i % ANG_COUNT(sizes)]; k++)
            assert_int_equal(p[i][k], i & 0xff);
    ang_arena_free(a);
}

static void reset_starts_over(void **state) {
    struct ang_arena *a = ang_arena_new(256);

    for (int round = 0; round < 3; round++) {
        ang_arena_reset(a);
        assert_int_equal(ang_arena_used(a), 0);
        for (int i = 0; i < 100; i++)
            memset(ang_arena_alloc(a, (size_t)i * 7), 1, (size_t)i * 7);
    }
    ang_arena_free(a);
    ang_arena_free(NULL);
}

static void copies_and_texts(void **state) {
    struct ang_arena *a = ang_arena_new(64);
    char original[] = "text";
    struct ang_slice s = ang_arena_copy(a, ang_slice_str(original));

    original[0] = 'n';
    assert_true(ang_slice_is(s, "text"));
    assert_int_equal(ang_arena_copy(a, ANG_SLICE_NONE).n, 0);
    assert_string_equal(ang_arena_sprintf(a, "%s-%03d", "long enough for a block of its own, certainly", 7),
                        "long enough for a block of its own, certainly-007");
    assert_true(ang_slice_is(s, "text"));
    ang_arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_apart),
        cmocka_unit_test(reset_starts_over),
        cmocka_unit_test(copies_and_texts),
    };

    return (cmocka_run_group_tests(tests, NULL, NULL));
}
