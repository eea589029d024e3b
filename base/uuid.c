#include "base/uuid.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sys/random.h>

const struct ang_uuid ang_uuid_ns_correlation = {
    {0x40, 0x4f, 0x3b, 0xda, 0x57, 0x8a, 0x5c, 0x4d, 0xa7, 0xf4, 0x27, 0x51, 0xb8, 0x43, 0x69, 0x8a}};
const struct ang_uuid ang_uuid_ns_oid = {
    {0x6b, 0xa7, 0xb8, 0x12, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}};

/* The text is 8-4-4-4-12 digits: a dash stands before these bytes. */
static bool dash_before(int byte) {
    return (byte == 4 || byte == 6 || byte == 8 || byte == 10);
}

void ang_uuid_text(const uint8_t bytes[16], char *out) {
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 16; i++) {
        if (dash_before(i))
            *out++ = '-';
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

static int hex(uint8_t c) {
    if (c >= '0' && c <= '9')
        return (c - '0');
    if (c >= 'a' && c <= 'f')
        return (c - 'a' + 10);
    if (c >= 'A' && c <= 'F')
        return (c - 'A' + 10);
    return (-1);
}

bool ang_uuid_parse(struct ang_slice text, struct ang_uuid *ret_uuid) {
    struct ang_uuid u;
    const uint8_t *p = text.p;

    if (text.n != ANG_UUID_TEXT)
        return (false);
    for (int i = 0; i < 16; i++) {
        int hi, lo;

        if (dash_before(i) && *p++ != '-')
            return (false);
        hi = hex(*p++);
        lo = hex(*p++);
        if (hi < 0 || lo < 0)
            return (false);
        u.b[i] = (uint8_t)(hi << 4 | lo);
    }
    *ret_uuid = u;
    return (true);
}

static void stamp(struct ang_uuid *u, unsigned version) {
    u->b[6] = (uint8_t)((u->b[6] & 0x0f) | version << 4);
    u->b[8] = (uint8_t)((u->b[8] & 0x3f) | 0x80);
}

void ang_uuid_v4(struct ang_uuid *ret_uuid) {
    ssize_t n;

    /* 16 bytes come whole once the pool is seeded; only the wait for that can be interrupted. */
    do {
        n = getrandom(ret_uuid->b, sizeof ret_uuid->b, 0);
    } while (n < 0 && errno == EINTR);
    ANG_ASSERT(n == (ssize_t)sizeof ret_uuid->b);
    stamp(ret_uuid, 4);
}

/* Looked up once: EVP_sha1() would make OpenSSL 3 search its providers at every use, which costs more than the digest. */
static EVP_MD *sha1;

static void find_sha1(void) {
    sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    AN(sha1);
}

void ang_uuid_v5(const struct ang_uuid *ns, struct ang_slice name, struct ang_uuid *ret_uuid) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    ANG_PT(pthread_once(&once, find_sha1));
    AN(ctx);
    AN(EVP_DigestInit_ex(ctx, sha1, NULL));
    AN(EVP_DigestUpdate(ctx, ns->b, sizeof ns->b));
    AN(EVP_DigestUpdate(ctx, name.p, name.n));
    AN(EVP_DigestFinal_ex(ctx, digest, NULL));
    EVP_MD_CTX_free(ctx);
    memcpy(ret_uuid->b, digest, sizeof ret_uuid->b);
    stamp(ret_uuid, 5);
}
