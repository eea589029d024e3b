/* The settings of the log are written once before threads start and only read afterwards, so nothing here locks: a line
 * is built in memory of its own and leaves by one write(2).  Errors and warnings are counted by their ids, which are constants of the
 * program, in a table that only grows. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <yajl/yajl_gen.h>

#include "base/clock.h"
#include "base/slice.h"

#define CONTEXT_MAX 8

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const debug_names[] = {"txn", "store", "rpc", "lane", "gateway", "log"};

static struct {
    enum ang_log_level level;
    bool json;
    unsigned debugs; /* bit per debug_names */
    struct {
        char *key, *value;
    } context[CONTEXT_MAX];
    size_t n_context;
} conf = {.level = ANG_LOG_INFO};

/* ---- setup ---- */

static int find(const char *const *names, size_t n, struct ang_slice s) {
    for (size_t i = 0; i < n; i++)
        if (ang_slice_is(s, names[i]))
            return ((int)i);
    return (-1);
}

static struct ang_err *bad_spec(const char *spec, const char *expected, struct ang_slice got) {
    return (ang_err_new(ANG_E_CONFIG, "ANGZARR_LOG=%s: expected %s, got \"%.*s\"", spec, expected, (int)got.n,
                        (const char *)got.p));
}

struct ang_err *ang_log_setup(const char *spec) {
    bool debugs = false, json = !isatty(STDERR_FILENO);
    enum ang_log_level level = ANG_LOG_INFO;
    unsigned bits = 0;
    const char *p = spec;

    while (p != NULL && *p != '\0') {
        struct ang_slice word;
        int i;

        if (!debugs && strncmp(p, "debug=", 6) == 0) {
            debugs = true;
            p += 6;
        }
        word = ang_slice_of(p, strcspn(p, ","));
        p += word.n;
        if (debugs) {
            i = find(debug_names, ANG_COUNT(debug_names), word);
            if (i < 0)
                return (bad_spec(spec, "a debug context (txn, store, rpc, lane, gateway, log)", word));
            bits |= 1u << i;
        } else if ((i = find(level_names, ANG_COUNT(level_names), word)) >= 0) {
            level = (enum ang_log_level)i;
        } else if (ang_slice_is(word, "json") || ang_slice_is(word, "human")) {
            json = ang_slice_is(word, "json");
        } else {
            return (bad_spec(spec, "error, warn, info, debug, json, human or debug=CONTEXT,…", word));
        }
        if (*p == ',' && *++p == '\0')
            return (bad_spec(spec, "a word after the last comma", ang_slice_str("")));
    }
    conf.level = level;
    conf.json = json;
    conf.debugs = level == ANG_LOG_DEBUG && bits == 0 ? ~0u : bits;
    return (NULL);
}

void ang_log_context(const char *key, const char *value) {
    ANG_ASSERT(conf.n_context < CONTEXT_MAX);
    conf.context[conf.n_context].key = ang_strdup(key);
    conf.context[conf.n_context].value = ang_strdup(value);
    conf.n_context++;
}

bool ang_log_on(enum ang_log_level lvl) {
    return (lvl <= conf.level || (lvl == ANG_LOG_DEBUG && conf.debugs != 0));
}

bool ang_log_debugs(const char *ctx) {
    int i = find(debug_names, ANG_COUNT(debug_names), ang_slice_str(ctx));

    ANG_ASSERT(i >= 0);
    return ((conf.debugs >> i & 1) != 0);
}

/* ---- counts ---- */

#define COUNTS 512 /* several times as many as there are ids */

static struct count {
    _Atomic(const char *) id; /* NULL: free */
    _Atomic uint64_t n[ANG_LOG_WARN + 1];
} counts[COUNTS];

static size_t hash(const char *s) {
    uint32_t h = 2166136261u; /* FNV-1a */

    for (; *s != '\0'; s++)
        h = (h ^ (uint8_t)*s) * 16777619u;
    return (h);
}

void ang_log_count(enum ang_log_level lvl, const char *id) {
    size_t at, i;

    if (lvl > ANG_LOG_WARN)
        return;
    at = hash(id);
    for (i = 0; i < COUNTS; i++) {
        struct count *c = &counts[(at + i) % COUNTS];
        const char *there = atomic_load_explicit(&c->id, memory_order_relaxed);

        /* Relaxed: what it points to was there before the program began. */
        if (there == NULL &&
            atomic_compare_exchange_strong_explicit(&c->id, &there, id, memory_order_relaxed, memory_order_relaxed))
            there = id;
        if (strcmp(there, id) != 0)
            continue;
        atomic_fetch_add_explicit(&c->n[lvl], 1, memory_order_relaxed);
        return;
    }
}

void ang_log_counted(void (*visit)(void *, enum ang_log_level, const char *, uint64_t), void *arg) {
    size_t i;
    int lvl;

    for (i = 0; i < COUNTS; i++) {
        const char *id = atomic_load_explicit(&counts[i].id, memory_order_relaxed);

        for (lvl = 0; id != NULL && lvl <= ANG_LOG_WARN; lvl++) {
            const uint64_t n = atomic_load_explicit(&counts[i].n[lvl], memory_order_relaxed);

            if (n > 0)
                visit(arg, (enum ang_log_level)lvl, id, n);
        }
    }
}

/* ---- valid UTF-8, as JSON must be: values may hold bytes that came from outside ---- */

/* Length of the well-formed character at p, 0 when there is none. */
static size_t utf8_char(const uint8_t *p, size_t n) {
    uint32_t v;
    size_t len;

    if (p[0] < 0x80)
        return (1);
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return (0);
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len > n)
        return (0);
    v = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return (0);
        v = v << 6 | (p[i] & 0x3fu);
    }
    if ((len == 3 && (v < 0x800 || (v >= 0xd800 && v <= 0xdfff))) || (len == 4 && (v < 0x10000 || v > 0x10ffff)))
        return (0);
    return (len);
}

static void add_utf8(struct ang_buf *b, const char *s) {
    const uint8_t *p = (const uint8_t *)s;
    size_t n = strlen(s), len;

    while (n > 0) {
        len = utf8_char(p, n);
        if (len == 0) {
            ang_buf_add_str(b, "\xef\xbf\xbd"); /* U+FFFD */
            len = 1;
        } else {
            ang_buf_add(b, p, len);
        }
        p += len;
        n -= len;
    }
}

/* ---- one line, two forms ---- */

struct line {
    yajl_gen gen;        /* NULL: human form */
    struct ang_buf *out; /* human form */
    struct ang_buf clean;
};

static void json_string(struct line *l, const char *s) {
    ang_buf_clear(&l->clean);
    add_utf8(&l->clean, s);
    AZ(yajl_gen_string(l->gen, l->clean.p == NULL ? (const unsigned char *)"" : l->clean.p, l->clean.n));
}

/* Plain words stay plain, anything else is quoted so that a line is one line and splits at spaces. */
static void human_value(struct ang_buf *b, const char *s) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+,%[]{}()<>*#!";
    struct ang_buf clean = {NULL, 0, 0};

    if (*s != '\0' && s[strspn(s, plain)] == '\0') {
        ang_buf_add_str(b, s);
        return;
    }
    add_utf8(&clean, s);
    ang_buf_add_u8(b, '"');
    for (size_t i = 0; i < clean.n; i++) {
        uint8_t c = clean.p[i];

        if (c == '"' || c == '\\')
            ang_buf_addf(b, "\\%c", c);
        else if (c == '\n')
            ang_buf_add_str(b, "\\n");
        else if (c < 0x20 || c == 0x7f)
            ang_buf_addf(b, "\\x%02x", c);
        else
            ang_buf_add_u8(b, c);
    }
    ang_buf_add_u8(b, '"');
    ang_buf_fini(&clean);
}

static void pair(struct line *l, const char *key, const char *value) {
    if (l->gen != NULL) {
        json_string(l, key);
        json_string(l, value);
    } else {
        ang_buf_addf(l->out, " %s=", key);
        human_value(l->out, value);
    }
}

static void head(struct line *l, enum ang_log_level lvl, const char *id, const char *msg) {
    int64_t now = ang_wall_ms();
    time_t sec = (time_t)(now / 1000);
    char day[32], stamp[48];
    struct tm tm;

    AN(gmtime_r(&sec, &tm));
    AN(strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm));
    snprintf(stamp, sizeof stamp, "%s.%03dZ", day, (int)(now % 1000));
    if (l->gen != NULL) {
        pair(l, "ts", stamp);
        pair(l, "level", level_names[lvl]);
        pair(l, "id", id);
        pair(l, "msg", msg);
    } else {
        ang_buf_addf(l->out, "%s %-5s %s: ", stamp, level_names[lvl], id);
        for (; *msg != '\0'; msg++)
            ang_buf_add_u8(l->out, (uint8_t)*msg < 0x20 ? ' ' : (uint8_t)*msg);
    }
}

static void write_all(struct ang_slice s) {
    while (s.n > 0) {
        ssize_t n = write(STDERR_FILENO, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody reads the log: no reason to stop working */
        s = ang_slice_of(s.p + n, s.n - (size_t)n);
    }
}

static void add_bytes(void *arg, const char *p, size_t n) {
    ang_buf_add(arg, p, n);
}

void ang_log_line(enum ang_log_level lvl, const char *id, const char *msg, ...) {
    struct ang_buf out = {NULL, 0, 0};
    struct line l = {NULL, &out, {NULL, 0, 0}};
    int saved = errno;
    const char *key;
    va_list ap;

    if (conf.json) {
        l.gen = yajl_gen_alloc(NULL);
        AN(l.gen);
        AN(yajl_gen_config(l.gen, yajl_gen_print_callback, add_bytes, &out));
        AZ(yajl_gen_map_open(l.gen));
    }
    head(&l, lvl, id, msg);
    for (size_t i = 0; i < conf.n_context; i++)
        pair(&l, conf.context[i].key, conf.context[i].value);
    va_start(ap, msg);
    while ((key = va_arg(ap, const char *)) != NULL) {
        const char *value = va_arg(ap, const char *);

        pair(&l, key, value == NULL ? "" : value);
        /* A key without its value would read on past the end. */
        if (value == NULL)
            break;
    }
    va_end(ap);
    if (l.gen != NULL) {
        AZ(yajl_gen_map_close(l.gen));
        yajl_gen_free(l.gen);
    }
    ang_buf_add_u8(&out, '\n');
    write_all(ang_buf_slice(&out));
    ang_buf_fini(&out);
    ang_buf_fini(&l.clean);
    errno = saved;
}

const char *ang_log_f(struct ang_log_fmt *f, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->s, sizeof f->s, fmt, ap);
    va_end(ap);
    return (f->s);
}

bool ang_log_gate_pass(struct ang_log_gate *g, int64_t every_ms, uint64_t *ret_left_out) {
    int64_t now = ang_now_ms(), next = atomic_load_explicit(&g->next_ms, memory_order_relaxed);

    /* Relaxed throughout: only the numbers matter, and a count that slips into the next line is no harm. */
    if (now < next || !atomic_compare_exchange_strong_explicit(&g->next_ms, &next, now + every_ms, memory_order_relaxed,
                                                               memory_order_relaxed)) {
        atomic_fetch_add_explicit(&g->left_out, 1, memory_order_relaxed);
        return (false);
    }
    *ret_left_out = atomic_exchange_explicit(&g->left_out, 0, memory_order_relaxed);
    return (true);
}
