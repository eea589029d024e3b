/* Numbers and base64, both ways.
 *
 * Integers are read from decimal text without a detour over double, which has 53 bits only.  Doubles go through printf
 * and strtod, so the process must not have set another LC_NUMERIC than "C". */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/json_priv.h"

/* ---- out ---- */

void json_add_u64(struct ang_buf *b, uint64_t v) {
    char text[20], *p = text + sizeof(text);

    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    ang_buf_add(b, p, (size_t)(text + sizeof(text) - p));
}

void json_add_i64(struct ang_buf *b, int64_t v) {
    if (v < 0)
        ang_buf_add_u8(b, '-');
    json_add_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* True when v needed no search for the right number of digits. */
static bool add_easy(struct ang_buf *b, double v) {
    if (isnan(v))
        ang_buf_add_str(b, "\"NaN\"");
    else if (isinf(v))
        ang_buf_add_str(b, v < 0 ? "\"-Infinity\"" : "\"Infinity\"");
    else if (v == 0)
        ang_buf_add_str(b, signbit(v) ? "-0.0" : "0"); /* many readers take -0 for the integer 0 */
    else if (fabs(v) < 1e6 && v == floor(v))
        json_add_i64(b, (int64_t)v);
    else
        return (false);
    return (true);
}

void json_add_double(struct ang_buf *b, double v) {
    char text[32];

    if (add_easy(b, v))
        return;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (digits == 17 || strtod(text, NULL) == v)
            break; /* 17 are always enough */
    }
    ang_buf_add_str(b, text);
}

void json_add_float(struct ang_buf *b, float v) {
    char text[32];

    if (add_easy(b, (double)v))
        return;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)v);
        if (digits == 9 || strtof(text, NULL) == v)
            break; /* 9 are always enough */
    }
    ang_buf_add_str(b, text);
}

/* ---- in ---- */

/* -?whole(.fraction)?(e exponent)? */
struct number {
    bool negative;
    struct ang_slice whole, fraction;
    int64_t exponent;
};

#define MAX_EXPONENT INT64_C(0x100000000) /* more than a text has digits */

static size_t count_digits(struct ang_slice s, size_t from) {
    size_t i = from;

    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    return (i - from);
}

static bool scan_exponent(struct ang_slice s, size_t i, int64_t *ret) {
    bool negative = false;
    int64_t v = 0;
    size_t n;

    if (i < s.n && (s.p[i] == '-' || s.p[i] == '+'))
        negative = s.p[i++] == '-';
    n = count_digits(s, i);
    if (n == 0 || i + n != s.n)
        return (false);
    for (; i < s.n; i++)
        if (v < MAX_EXPONENT)
            v = 10 * v + (s.p[i] - '0');
    *ret = negative ? -v : v;
    return (true);
}

static bool scan(struct ang_slice s, struct number *ret) {
    size_t i = 0, n;

    memset(ret, 0, sizeof(*ret));
    if (i < s.n && s.p[i] == '-') {
        ret->negative = true;
        i++;
    }
    n = count_digits(s, i);
    if (n == 0 || (n > 1 && s.p[i] == '0'))
        return (false);
    ret->whole = ang_slice_of(s.p + i, n);
    i += n;
    if (i < s.n && s.p[i] == '.') {
        n = count_digits(s, ++i);
        if (n == 0)
            return (false);
        ret->fraction = ang_slice_of(s.p + i, n);
        i += n;
    }
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E'))
        return (scan_exponent(s, i + 1, &ret->exponent));
    return (i == s.n);
}

static uint8_t digit_at(const struct number *num, size_t i) {
    return ((i < num->whole.n ? num->whole.p[i] : num->fraction.p[i - num->whole.n]) - '0');
}

/* The value without its sign; false: not an integer, or of more than 64 bits. */
static bool magnitude(const struct number *num, uint64_t *ret) {
    size_t from = 0, to = num->whole.n + num->fraction.n;
    int64_t shift = num->exponent - (int64_t)num->fraction.n;
    uint64_t v = 0;

    while (from < to && digit_at(num, from) == 0)
        from++;
    while (from < to && digit_at(num, to - 1) == 0) {
        to--;
        shift++;
    }
    if (from < to && (shift < 0 || shift > 19))
        return (false);
    for (; from < to; from++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit_at(num, from), &v))
            return (false);
    for (; v != 0 && shift > 0; shift--)
        if (__builtin_mul_overflow(v, 10u, &v))
            return (false);
    *ret = v;
    return (true);
}

bool json_to_i64(struct ang_slice text, int64_t min, int64_t max, int64_t *ret) {
    struct number num;
    uint64_t v;
    int64_t i;

    if (!scan(text, &num) || !magnitude(&num, &v) || v > (uint64_t)INT64_MAX + (num.negative ? 1 : 0))
        return (false);
    i = num.negative ? (int64_t)(0 - v) : (int64_t)v;
    if (i < min || i > max)
        return (false);
    *ret = i;
    return (true);
}

bool json_to_u64(struct ang_slice text, uint64_t max, uint64_t *ret) {
    struct number num;
    uint64_t v;

    if (!scan(text, &num) || !magnitude(&num, &v) || v > max || (num.negative && v != 0))
        return (false);
    *ret = v;
    return (true);
}

bool json_to_double(struct ang_slice text, double *ret) {
    char small[64], *copy = small;
    struct number num;
    double v;

    if (!scan(text, &num))
        return (false);
    if (text.n < sizeof(small)) {
        memcpy(small, text.p, text.n);
        small[text.n] = '\0';
    } else {
        copy = ang_slice_dup_str(text);
    }
    v = strtod(copy, NULL);
    if (copy != small)
        free(copy);
    if (isinf(v))
        return (false);
    *ret = v;
    return (true);
}

/* ---- base64 ---- */

void json_add_base64(struct ang_buf *b, struct ang_slice s) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *p = ang_buf_reserve(b, (s.n + 2) / 3 * 4);
    size_t i = 0, left;

    for (; i + 3 <= s.n; i += 3) {
        uint32_t v = (uint32_t)s.p[i] << 16 | (uint32_t)s.p[i + 1] << 8 | s.p[i + 2];

        *p++ = (uint8_t)letters[v >> 18];
        *p++ = (uint8_t)letters[v >> 12 & 63];
        *p++ = (uint8_t)letters[v >> 6 & 63];
        *p++ = (uint8_t)letters[v & 63];
    }
    left = s.n - i;
    if (left > 0) {
        uint32_t v = (uint32_t)s.p[i] << 16 | (left == 2 ? (uint32_t)s.p[i + 1] << 8 : 0);

        *p++ = (uint8_t)letters[v >> 18];
        *p++ = (uint8_t)letters[v >> 12 & 63];
        *p++ = left == 2 ? (uint8_t)letters[v >> 6 & 63] : '=';
        *p++ = '=';
    }
    b->n += (s.n + 2) / 3 * 4;
}

static int letter_value(uint8_t c) {
    if (c >= 'A' && c <= 'Z')
        return (c - 'A');
    if (c >= 'a' && c <= 'z')
        return (c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (c - '0' + 52);
    if (c == '+' || c == '-')
        return (62);
    return (c == '/' || c == '_' ? 63 : -1);
}

bool json_from_base64(struct ang_buf *b, struct ang_slice text) {
    size_t n = text.n;
    uint32_t v = 0;
    uint8_t *p;

    if (n > 0 && n % 4 == 0 && text.p[n - 1] == '=')
        n -= text.p[n - 2] == '=' ? 2 : 1;
    if (n % 4 == 1)
        return (false);
    p = ang_buf_reserve(b, n / 4 * 3 + 3);
    for (size_t i = 0; i < n; i++) {
        int six = letter_value(text.p[i]);

        if (six < 0)
            return (false);
        v = v << 6 | (uint32_t)six;
        if (i % 4 != 0)
            *p++ = (uint8_t)(v >> (6 - 2 * (i % 4)));
    }
    b->n = (size_t)(p - b->p);
    return (true);
}
