/* UTF-8 validation.  Nearly every string of a frame is short ASCII, so that is the path which counts; the rest follows
 * the table of well-formed byte sequences of the Unicode standard (chapter 3, table 3-7). */
#include "proto/wire.h"

/* Length of the well-formed sequence that begins with the non-ASCII byte at p, or 0. */
static size_t sequence_len(const uint8_t *p, size_t left) {
    uint8_t lo = 0x80, hi = 0xbf; /* bounds of the second byte: they shut out overlong forms and surrogates */
    size_t n;

    if (p[0] < 0xc2 || p[0] > 0xf4)
        return (0);
    n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (left < n)
        return (0);
    if (p[0] == 0xe0)
        lo = 0xa0;
    else if (p[0] == 0xed)
        hi = 0x9f;
    else if (p[0] == 0xf0)
        lo = 0x90;
    else if (p[0] == 0xf4)
        hi = 0x8f;
    if (p[1] < lo || p[1] > hi)
        return (0);
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return (0);
    return (n);
}

size_t ang_utf8_len(struct ang_slice s) {
    size_t i = 0;

    while (i < s.n) {
        uint64_t eight;
        size_t n;

        if (s.n - i >= sizeof(eight)) {
            memcpy(&eight, s.p + i, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof(eight);
                continue;
            }
        }
        n = s.p[i] < 0x80 ? 1 : sequence_len(s.p + i, s.n - i);
        if (n == 0)
            return (i);
        i += n;
    }
    return (s.n);
}

bool ang_utf8_ok(struct ang_slice s) {
    return (ang_utf8_len(s) == s.n);
}
