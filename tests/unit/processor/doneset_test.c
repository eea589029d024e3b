/* The done set against a naive set, its text both ways, and garbage. */
#include "processor/doneset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/rounds.h"

#define SPAN 6000

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint32_t random_below(uint32_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return ((uint32_t)(seed >> 32) % n);
}

static void assert_same(const struct ang_doneset *ds, int64_t start, const bool *naive, size_t n) {
    size_t base = 0;
    uint64_t count = 0;

    while (base < n && naive[base])
        base++;
    for (size_t i = base; i < n; i++)
        count += naive[i];
    assert_int_equal(ang_doneset_base(ds), start + (int64_t)base);
    assert_int_equal(ang_doneset_count(ds), count);
    for (size_t i = 0; i < n; i++)
        if (ang_doneset_contains(ds, start + (int64_t)i) != naive[i])
            fail_msg("offset %zu of the set: %d, naive %d", i, !naive[i], naive[i]);
    assert_true(ang_doneset_contains(ds, start - 1));
    assert_false(ang_doneset_contains(ds, start + (int64_t)n));
}

static void assert_round_trip(const struct ang_doneset *ds, int64_t start, const bool *naive, size_t n) {
    struct ang_buf text = {0};
    struct ang_doneset back;

    ang_doneset_init(&back, 0);
    if (ang_doneset_encode(ds, ANG_DONESET_MAX_TEXT, &text)) {
        assert_true(text.n <= ANG_DONESET_MAX_TEXT);
        assert_int_equal(ang_doneset_decode(&back, ang_buf_slice(&text), ds->base), ANG_DONESET_OK);
        assert_same(&back, start, naive, n);
        assert_int_equal(ang_doneset_runs(&back), ang_doneset_runs(ds));
    } else {
        assert_int_equal(text.n, 0);
    }
    ang_doneset_fini(&back);
    ang_buf_fini(&text);
}

static void test_like_a_naive_set(void **state) {
    for (int round = 0; round < 60; round++) {
        static bool naive[SPAN];
        struct ang_doneset ds;
        const int64_t start = round % 3 == 0 ? 0 : (int64_t)random_below(1u << 31) << 20;
        const uint32_t span = 1 + random_below(SPAN), steps = random_below(2 * span + 1);

        memset(naive, 0, sizeof(naive));
        ang_doneset_init(&ds, start);
        for (uint32_t i = 0; i < steps; i++) {
            uint32_t from = random_below(span), n = random_below(20) == 0 ? random_below(span - from + 1) : 1;
            if (n == 1)
                ang_doneset_mark(&ds, start + from);
            else
                ang_doneset_mark_range(&ds, start + from, start + from + n);
            for (uint32_t j = 0; j < n; j++)
                naive[from + j] = true;
            if (i % 500 == 0)
                assert_same(&ds, start, naive, SPAN);
        }
        assert_same(&ds, start, naive, SPAN);
        assert_round_trip(&ds, start, naive, SPAN);
        ang_doneset_fini(&ds);
    }
}

static void test_a_lane_at_work(void **state) {
    /* 24,000 open records end in any order, new ones come: the set must not grow with what has passed. */
    enum { OPEN = 24000 };
    static int64_t open[OPEN];
    struct ang_doneset ds;
    int64_t next = 0;

    ang_doneset_init(&ds, 0);
    for (int i = 0; i < OPEN; i++)
        open[i] = next++;
    for (int i = 0; i < ROUNDS(20, 4) * OPEN; i++) {
        uint32_t at = random_below(OPEN);
        assert_false(ang_doneset_contains(&ds, open[at]));
        ang_doneset_mark(&ds, open[at]);
        open[at] = next++;
    }
    assert_true(ang_doneset_runs(&ds) <= OPEN);
    assert_true(ds.cap <= 2 * OPEN);
    for (int i = 0; i < OPEN; i++)
        ang_doneset_mark(&ds, open[i]);
    assert_int_equal(ang_doneset_base(&ds), next);
    assert_int_equal(ang_doneset_count(&ds), 0);
    ang_doneset_fini(&ds);
}

static void test_text(void **state) {
    static const struct {
        const char *what, *text;
        struct ang_doneset_run runs[3];
        int64_t base;
    } rows[] = {
        {"nothing done", "1:7:b", {{0, 0}}, 7},
        {"one", "1:0:bAg==", {{1, 2}}, 0},
        {"a far one as runs", "1:5:rwIQ9AQ==", {{1000005, 1000006}}, 5},
        {"two near ones as bits", "1:100:bCg==", {{101, 102}, {103, 104}}, 100},
        {"a long run", "1:1:rAaCNBg==", {{2, 100002}}, 1},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_doneset ds;
        struct ang_buf text = {0};
        print_message("%s\n", rows[i].what);
        ang_doneset_init(&ds, rows[i].base);
        for (int j = 0; j < 3; j++)
            ang_doneset_mark_range(&ds, rows[i].runs[j].from, rows[i].runs[j].to);
        assert_true(ang_doneset_encode(&ds, ANG_DONESET_MAX_TEXT, &text));
        ang_buf_add_u8(&text, 0);
        assert_string_equal((const char *)text.p, rows[i].text);
        assert_int_equal(ang_doneset_decode(&ds, ang_slice_str(rows[i].text), rows[i].base), ANG_DONESET_OK);
        for (size_t j = 0; j < ang_doneset_runs(&ds); j++) {
            assert_int_equal(ds.runs[j].from, rows[i].runs[j].from);
            assert_int_equal(ds.runs[j].to, rows[i].runs[j].to);
        }
        ang_buf_fini(&text);
        ang_doneset_fini(&ds);
    }
}

static void test_refused_text(void **state) {
    static const struct {
        const char *what, *text;
        enum ang_doneset_result result;
    } rows[] = {
        {"empty", "", ANG_DONESET_NONE},
        {"made for another position", "1:8:bAg==", ANG_DONESET_OTHER_BASE},
        {"a record of its own", "1:7:@", ANG_DONESET_ELSEWHERE},
        {"a record of its own, for another position", "1:8:@", ANG_DONESET_OTHER_BASE},
        {"another version", "2:7:bAg==", ANG_DONESET_MALFORMED},
        {"foreign metadata", "committed by a tool", ANG_DONESET_MALFORMED},
        {"no form", "1:7:", ANG_DONESET_MALFORMED},
        {"unknown form", "1:7:xAg==", ANG_DONESET_MALFORMED},
        {"no position", "1::bAg==", ANG_DONESET_MALFORMED},
        {"negative position", "1:-7:bAg==", ANG_DONESET_MALFORMED},
        {"huge position", "1:99999999999999999999999:bAg==", ANG_DONESET_MALFORMED},
        {"position past 63 bits", "1:9223372036854775808:bAg==", ANG_DONESET_MALFORMED},
        {"cut off", "1:7:bAg=", ANG_DONESET_MALFORMED},
        {"no base64", "1:7:b!g==", ANG_DONESET_MALFORMED},
        {"padding inside", "1:7:bAg==Ag==", ANG_DONESET_MALFORMED},
        {"bits behind the end", "1:7:bAh==", ANG_DONESET_MALFORMED},
        {"white space", "1:7:bAg==\n", ANG_DONESET_MALFORMED},
        {"position itself done, bitmap", "1:7:bAw==", ANG_DONESET_MALFORMED},
        {"empty byte at the end", "1:7:bAgA=", ANG_DONESET_MALFORMED},
        {"position itself done, runs", "1:7:rAAE=", ANG_DONESET_MALFORMED},
        {"run of nothing", "1:7:rAQA=", ANG_DONESET_MALFORMED},
        {"half a run", "1:7:rAQ==", ANG_DONESET_MALFORMED},
        {"number without end", "1:7:r////////////////", ANG_DONESET_MALFORMED},
        {"past the last offset", "1:7:r//////////9/AQ==", ANG_DONESET_MALFORMED},
        {"base64 of a NUL", "1:7:bAAAA", ANG_DONESET_MALFORMED},
    };

    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_doneset ds;
        enum ang_doneset_result result;
        ang_doneset_init(&ds, 0);
        ang_doneset_mark(&ds, 100);
        result = ang_doneset_decode(&ds, ang_slice_str(rows[i].text), 7);
        if (result != rows[i].result)
            fail_msg("%s: %d, expected %d", rows[i].what, (int)result, (int)rows[i].result);
        assert_int_equal(ang_doneset_base(&ds), 7);
        assert_int_equal(ang_doneset_count(&ds), 0);
        assert_int_equal(ang_doneset_runs(&ds), 0);
        ang_doneset_fini(&ds);
    }
}

static void test_what_fits(void **state) {
    static const struct {
        const char *what;
        int records, every, distance; /* one hole every `every` records; offsets `distance` apart */
        bool fits;
    } rows[] = {
        {"23,000 records, every other one open", 23000, 2, 1, true},
        {"25,000 records, every other one open", 25000, 2, 1, false},
        {"1,300 holes over a long distance", 1300 * 100, 100, 1, true},
        {"1,300 holes, far apart", 1300 * 1000, 1000, 1, false},
    };
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_doneset ds;
        struct ang_buf text = {0};
        ang_doneset_init(&ds, 1000000000);
        for (int j = 0; j < rows[i].records; j++)
            if (j % rows[i].every != 0)
                ang_doneset_mark(&ds, 1000000000 + (int64_t)j * rows[i].distance);
        if (ang_doneset_encode(&ds, ANG_DONESET_MAX_TEXT, &text) != rows[i].fits)
            fail_msg("%s: fits is %d", rows[i].what, !rows[i].fits);
        assert_true(ang_doneset_encode(&ds, SIZE_MAX, &text));
        ang_buf_fini(&text);
        ang_doneset_fini(&ds);
    }
}

static void test_garbage(void **state) {
    static const char alphabet[] = "1:br=+/AZaz09\n\xff";
    struct ang_doneset ds;
    struct ang_buf text = {0}, again = {0};

    ang_doneset_init(&ds, 0);
    for (int round = 0; round < 200000; round++) {
        const uint32_t n = random_below(40);
        ang_buf_clear(&text);
        ang_buf_add_str(&text, round % 2 == 0 ? "1:42:r" : "1:42:b");
        if (round % 7 == 0)
            ang_buf_clear(&text);
        for (uint32_t i = 0; i < n; i++)
            ang_buf_add_u8(&text, round % 3 == 0 ? (uint8_t)random_below(256)
                                  : round % 3 == 1
                                      ? (uint8_t)alphabet[random_below(sizeof(alphabet) - 1)]
                                      : (uint8_t) "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef0123456789+/"[random_below(44)]);
        /* A copy of its own size: a read beyond it shows under the address sanitizer. */
        uint8_t *exact = ang_malloc(text.n + (text.n == 0));
        memcpy(exact, text.p, text.n);
        const struct ang_slice s = ang_slice_of(exact, text.n);
        if (ang_doneset_decode(&ds, s, 42) == ANG_DONESET_OK) {
            /* What was understood means one thing: its own text is understood as the same. */
            struct ang_doneset back;
            assert_int_equal(ang_doneset_base(&ds), 42);
            assert_true(ang_doneset_encode(&ds, SIZE_MAX, &again));
            ang_doneset_init(&back, 0);
            assert_int_equal(ang_doneset_decode(&back, ang_buf_slice(&again), 42), ANG_DONESET_OK);
            assert_int_equal(ang_doneset_count(&back), ang_doneset_count(&ds));
            ang_doneset_fini(&back);
        } else {
            assert_int_equal(ang_doneset_count(&ds), 0);
        }
        free(exact);
    }
    ang_buf_fini(&text);
    ang_buf_fini(&again);
    ang_doneset_fini(&ds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_a_naive_set), cmocka_unit_test(test_a_lane_at_work), cmocka_unit_test(test_text),
        cmocka_unit_test(test_refused_text),     cmocka_unit_test(test_what_fits),      cmocka_unit_test(test_garbage),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
