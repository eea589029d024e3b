/* The validator against a second, slow one that decodes each sequence and encodes it again. */
#include "test.h"

static size_t encode(uint32_t c, uint8_t out[4]) {
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return (1);
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return (2);
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return (3);
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return (4);
}

static bool is_char(uint32_t c) {
    return (c <= 0x10ffff && (c < 0xd800 || c > 0xdfff));
}

static bool slow_ok(const uint8_t *p, size_t n) {
    while (n > 0) {
        size_t len = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
        uint32_t c = len == 1 ? p[0] : p[0] & (0xff >> (len + 1));
        uint8_t again[4];

        if (len > n)
            return (false);
        for (size_t i = 1; i < len; i++)
            c = c << 6 | (p[i] & 0x3f);
        if (!is_char(c) || encode(c, again) != len || memcmp(again, p, len) != 0)
            return (false);
        p += len;
        n -= len;
    }
    return (true);
}

static void every_character_is_valid_and_no_other(void **state) {
    uint8_t p[4];

    for (uint32_t c = 0; c < 0x200000; c++) {
        size_t n = encode(c, p);

        if (ang_utf8_ok(ang_slice_of(p, n)) != is_char(c))
            fail_msg("U+%X", c);
    }
}

static void every_sequence_of_three_bytes_agrees(void **state) {
    for (uint32_t v = 0; v < 1u << 24; v++) {
        const uint8_t p[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

        if (ang_utf8_ok(ang_slice_of(p, 3)) != slow_ok(p, 3))
            fail_msg("%06x", v);
    }
}

static void a_bad_byte_is_seen_wherever_it_stands(void **state) {
    for (size_t n = 1; n < 40; n++)
        for (size_t at = 0; at < n; at++) {
            uint8_t *p = malloc(n);

            memset(p, 'a', n);
            assert_true(ang_utf8_ok(ang_slice_of(p, n)));
            p[at] = 0xff;
            assert_false(ang_utf8_ok(ang_slice_of(p, n)));
            p[at] = 0xe2; /* begins a sequence that does not go on */
            assert_false(ang_utf8_ok(ang_slice_of(p, n)));
            free(p);
        }
    assert_true(ang_utf8_ok(ANG_SLICE_NONE));
    assert_true(ang_utf8_ok(ang_slice_of("\0", 1)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_is_valid_and_no_other),
        cmocka_unit_test(every_sequence_of_three_bytes_agrees),
        cmocka_unit_test(a_bad_byte_is_seen_wherever_it_stands),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
