/* A gateway on an embedded log, a client of it, and the commands that reach the log.  The worker is played by the test. */
#ifndef ANG_TEST_GATEWAY_STAGE_H
#define ANG_TEST_GATEWAY_STAGE_H

#include "base/uuid.h"
#include "gateway/gateway.h"
#include "proto/frame.h"
#include "tests/unit/rpc/kit.h"
#include "tests/unit/statestore/scratch.h"
#include "topology/owners.h"

#define EXECUTE "/angzarr.CommandGateway/Execute"
#define BOOK    "/angzarr.EventQuery/GetEventBook"
#define EVENTS  "/angzarr.EventQuery/GetEvents"

#define PARTITIONS  4
#define IN_FLIGHT   3
#define DEADLINE_MS 8000
#define MESSAGE_MAX (16 << 10)

struct stage {
    struct kit k; /* the client's half only */
    char *dir;
    struct ang_settings *set;
    struct ang_log *log;
    struct ang_topology *t;
    struct ang_gateway *g;
    struct ang_log_reader *reader; /* of order's commands */
};

static const uint8_t root_a[16] = {0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static inline void write_settings(const char *path, const char *dir) {
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fprintf(f,
            "log: { type: embedded, path: %s/log }\n"
            "state: { path: %s }\n"
            "topology: { partitions: %d }\n"
            "gateway: { id: gw, address: \"127.0.0.1:0\", deadline: %dms, in_flight: %d }\n"
            "limits: { message: %d }\n"
            "business_logic:\n"
            "  - { domain: order, address: \"127.0.0.1:1\" }\n"
            "  - { domain: inventory, address: \"127.0.0.1:1\" }\n",
            dir, dir, PARTITIONS, DEADLINE_MS, IN_FLIGHT, MESSAGE_MAX);
    assert_int_equal(fclose(f), 0);
}

static inline const struct ang_domain *order(const struct stage *s) {
    return (ang_topology_domain(s->t, ang_slice_str("order")));
}

static inline void stage_open(struct stage *s, struct ang_worker *local) {
    const struct ang_log_reader_conf rc = {.name = "test", .fetch_wait_ms = 10, .memory = 1 << 20};
    struct ang_gateway_conf conf = {.local = local};
    char *path;

    memset(s, 0, sizeof *s);
    s->dir = scratch_new();
    path = ang_sprintf("%s/angzarr.yaml", s->dir);
    write_settings(path, s->dir);
    OK(ang_settings_load(path, &s->set));
    OK(ang_log_open(s->set, "test", &s->log));
    s->t = ang_topology_new(s->set, s->log);
    OK(ang_topology_ensure(s->t, 10000));
    conf.settings = s->set;
    conf.log = s->log;
    conf.topology = s->t;
    conf.address = s->set->gateway.address;
    OK(ang_gateway_start(&conf, &s->g));
    OK(ang_log_reader_open(s->log, &rc, &s->reader));
    for (int32_t p = 0; p < PARTITIONS; p++)
        OK(ang_log_reader_add(s->reader, order(s)->commands, p, ANG_OFFSET_BEGIN));
    s->k.cl = ang_loop_new("client", NULL, NULL);
    OK(ang_rpc_channel_open(s->k.cl, ang_gateway_address(s->g), &s->k.ch));
    ang_loop_start(s->k.cl);
    free(path);
}

static inline void stage_close(struct stage *s) {
    ang_gateway_stop(s->g, 0);
    ang_loop_call(s->k.cl, kit_close_channel, s->k.ch);
    ang_loop_stop(s->k.cl);
    ang_log_reader_close(s->reader);
    ang_topology_free(s->t);
    ang_log_close(s->log);
    ang_settings_free(s->set);
    scratch_remove(s->dir);
    free(s->dir);
}

/* The next command in the log; NULL when there is none within wait_ms. */
static inline struct ang_rec *next_record(struct stage *s, int wait_ms) {
    const int64_t until = ang_now_ms() + wait_ms;
    struct ang_rec *rec = NULL;
    size_t n = 0;

    while (n == 0 && ang_now_ms() < until)
        OK(ang_log_reader_poll(s->reader, &rec, 1, 10, &n));
    return (n == 0 ? NULL : rec);
}

static inline struct ang_rec *record(struct stage *s) {
    struct ang_rec *rec = next_record(s, KIT_WAIT_MS);

    assert_non_null(rec);
    return (rec);
}

/* The value of a header, as text in a buffer that the next calls reuse in turn. */
static inline const char *hdr(const struct ang_rec *rec, const char *name) {
    static char texts[8][1024];
    static unsigned turn;
    struct ang_slice v;
    char *text = texts[turn++ % 8];

    if (!ang_rec_hdr(rec, name, &v))
        return ("(none)");
    assert_in_range(v.n, 0, 1000);
    memcpy(text, v.p, v.n);
    text[v.n] = '\0';
    return (text);
}

/* ---- messages ---- */

static inline void put_cover(struct ang_buf *b, struct ang_slice root, const char *domain, const char *correlation,
                             const char *edition) {
    struct ang_buf c = {0}, u = {0};

    if (root.p != NULL) {
        ang_wire_put_bytes(&u, 1, root);
        ang_wire_put_bytes(&c, 1, ang_buf_slice(&u));
    }
    if (domain != NULL)
        ang_wire_put_str(&c, 2, domain);
    if (correlation != NULL)
        ang_wire_put_str(&c, 3, correlation);
    ang_buf_clear(&u);
    if (edition != NULL) {
        ang_wire_put_str(&u, 1, edition);
        ang_wire_put_bytes(&c, 4, ang_buf_slice(&u));
    }
    ang_wire_put_bytes(b, 1, ang_buf_slice(&c));
    ang_buf_fini(&c);
    ang_buf_fini(&u);
}

static inline void put_page(struct ang_buf *b, const char *type_url, size_t payload) {
    struct ang_buf page = {0};
    uint8_t *bytes = ang_calloc(1, payload + 1);

    ang_wire_put_any(&page, 3, ang_slice_str(type_url), ang_slice_of(bytes, payload));
    ang_wire_put_bytes(b, 2, ang_buf_slice(&page));
    ang_buf_fini(&page);
    free(bytes);
}

/* A call of Execute for root_a of order; key may be NULL.  The request lives as long as the test. */
static inline struct answer *execute(struct stage *s, const char *key, int64_t deadline_ms) {
    static struct ang_buf request;
    struct ang_meta meta = {"idempotency-key", ang_slice_str(key)};
    struct answer *a;

    if (request.n == 0) {
        put_cover(&request, ang_slice_of(root_a, 16), "order", "corr-1", NULL);
        put_page(&request, "type.googleapis.com/shop.Create", 10);
    }
    a = kit_call(EXECUTE, ang_buf_slice(&request));
    a->req.deadline_ms = deadline_ms;
    if (key != NULL) {
        a->req.meta = &meta;
        a->req.n_meta = 1;
    }
    kit_start(&s->k, a);
    return (a);
}

#endif
