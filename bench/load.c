/* Load: N commands in flight, each a unary Execute, over many roots used in turn.  A root has at most one command under way, so
 * the number its next event must get is known; every answer must be OK and carry exactly that event.
 *
 *     bench_load ADDRESS [--in-flight N] [--roots R] [--size BYTES] [--channels C] [--domain NAME]
 *                        [--warm-up SECONDS] [--seconds SECONDS] [--commands COUNT] [--within LIST/COUNT]
 *
 * --within 0,3/4: only roots of partitions 0 and 3 of 4.  With --commands it ends after that many and warms nothing up.  Prints `measuring` and `measured` around the interval, for
 * whoever reads counters of other processes, then one line of JSON.  The status is 1 when an answer was wrong.
 *
 * One loop does everything. */
#include <getopt.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/uuid.h"
#include "proto/wire.h"
#include "rpc/rpc.h"
#include "topology/topology.h"

#define CHANNELS_MAX 16
#define DEADLINE_MS  20000

struct root {
    struct load *load;
    struct ang_uuid id;
    uint32_t next; /* number of its next event */
    int64_t sent_us;
};

struct load {
    /* set once */
    const char *address, *domain;
    size_t in_flight, n_roots, size, n_channels;
    uint64_t within; /* partitions whose roots are used, a bit each; 0: all */
    int32_t partitions;
    int64_t warm_up_ms, measure_ms;
    size_t commands; /* 0: until the time is over */
    struct ang_loop *loop;
    struct ang_rpc_channel *channels[CHANNELS_MAX];
    struct ang_timer timer;
    sem_t over;
    /* loop */
    struct root *roots, **ring; /* ring: those without a command under way, from `first` on */
    size_t first, n_free;
    struct ang_buf command;
    size_t root_at, page_at; /* where the root stands in command, and where the page begins */
    struct ang_buf page;
    size_t under_way, sent;
    bool measuring, ending;
    int64_t start_us, end_us;
    uint32_t *us;
    size_t n_us, cap_us, n_failed;
    char failure[512]; /* the first one */
};

/* ---- a command ---- */

/* CommandBook{cover: {root, domain}, pages: [{sequence, command}]}: root and page are laid over it for each command. */
static void prepare(struct load *l) {
    struct ang_buf uuid = {NULL, 0, 0}, cover = {NULL, 0, 0};
    const struct ang_uuid none = {{0}};

    ang_wire_put_bytes(&uuid, 1, ang_slice_of(none.b, sizeof(none.b)));
    ang_wire_put_bytes(&cover, 1, ang_buf_slice(&uuid));
    const size_t root_end = cover.n;
    ang_wire_put_str(&cover, 2, l->domain);
    ang_wire_put_header(&l->command, 1, cover.n);
    l->root_at = l->command.n + root_end - sizeof(none.b);
    ang_buf_add_slice(&l->command, ang_buf_slice(&cover));
    l->page_at = l->command.n;
    ang_buf_fini(&uuid);
    ang_buf_fini(&cover);
}

static void encode(struct load *l, const struct root *r) {
    static const char type_url[] = "type.googleapis.com/bench.Do";
    uint8_t *payload;

    memcpy(l->command.p + l->root_at, r->id.b, sizeof(r->id.b));
    ang_buf_clear(&l->page);
    ang_wire_put_uint(&l->page, 1, r->next);
    ang_wire_put_header(&l->page, 3, ang_wire_len_bytes(1, sizeof(type_url) - 1) + ang_wire_len_bytes(2, l->size));
    ang_wire_put_bytes(&l->page, 1, ang_slice_of(type_url, sizeof(type_url) - 1));
    ang_wire_put_header(&l->page, 2, l->size);
    payload = ang_buf_reserve(&l->page, l->size);
    memset(payload, 'x', l->size);
    l->page.n += l->size;
    l->command.n = l->page_at;
    ang_wire_put_bytes(&l->command, 2, ang_buf_slice(&l->page));
}

/* CommandResponse{events: EventBook{pages: [EventPage{num}], next_sequence}} */
static bool right(struct ang_slice response, uint32_t num) {
    struct ang_wire_field events, page, at, next;

    return (ang_wire_find(response, 1, &events) && ang_wire_find(events.bytes, 3, &page) &&
            ang_wire_find(events.bytes, 6, &next) && next.value == num + 1 &&
            (ang_wire_find(page.bytes, 1, &at) ? at.value == num : num == 0));
}

static void failed(struct load *l, uint32_t num, const struct ang_rpc_result *res) {
    char id[ANG_UUID_TEXT + 1];
    const struct root *r = l->ring[(l->first + l->n_free - 1) % l->n_roots];

    if (l->n_failed++ > 0)
        return;
    ang_uuid_text(r->id.b, id);
    if (res->code == ANG_OK)
        snprintf(l->failure, sizeof(l->failure), "root %s, sequence %u: OK, but not with that one event", id, num);
    else
        snprintf(l->failure, sizeof(l->failure), "root %s, sequence %u: %s: %.*s", id, num, ang_code_name(res->code),
                 (int)(res->msg.n > 300 ? 300 : res->msg.n), (const char *)res->msg.p);
}

static void send_more(struct load *l);

static void answered(void *arg, const struct ang_rpc_result *res) {
    struct root *r = arg;
    struct load *l = r->load;
    const int64_t now = ang_now_us();

    l->under_way--;
    l->ring[(l->first + l->n_free++) % l->n_roots] = r;
    if (res->code != ANG_OK || !right(res->response, r->next)) {
        failed(l, r->next, res);
        ang_uuid_v4(&r->id); /* nobody knows where the old one stands */
        r->next = 0;
    } else {
        r->next++;
        if (l->measuring && l->n_us < l->cap_us)
            l->us[l->n_us++] = (uint32_t)(now - r->sent_us);
    }
    send_more(l);
}

static void send_one(struct load *l) {
    struct root *r = l->ring[l->first];
    struct ang_slice part;

    l->first = (l->first + 1) % l->n_roots;
    l->n_free--;
    encode(l, r);
    part = ang_buf_slice(&l->command);
    struct ang_rpc_req req = {
        .path = "/angzarr.CommandGateway/Execute", .parts = &part, .n_parts = 1, .done = answered, .arg = r};
    req.deadline_ms = ang_now_ms() + DEADLINE_MS;
    req.wait_for_ready = true;
    r->sent_us = ang_now_us();
    l->under_way++;
    (void)ang_rpc_call_start(l->channels[l->sent++ % l->n_channels], &req);
}

/* ---- the interval ---- */
static void say(const char *what) {
    puts(what);
    fflush(stdout);
}

static void measure(struct load *l) {
    l->measuring = true;
    l->start_us = ang_now_us();
    say("measuring");
}

static void end(struct load *l) {
    l->measuring = false;
    l->ending = true;
    l->end_us = ang_now_us();
    say("measured");
}

static void send_more(struct load *l) {
    if (l->measuring && l->commands > 0 && l->sent == l->commands && l->under_way == 0)
        end(l);
    while (!l->ending && l->under_way < l->in_flight && (l->commands == 0 || l->sent < l->commands))
        send_one(l);
    if (l->ending && l->under_way == 0)
        AZ(sem_post(&l->over));
}

static void time_up(struct ang_timer *t) {
    struct load *l = ANG_CONTAINER(t, struct load, timer);

    if (l->measuring) {
        end(l);
        return; /* the last answers end it */
    }
    measure(l);
    ang_timer_set(l->loop, t, ang_now_ms() + l->measure_ms);
}

static void start(void *arg) {
    struct load *l = arg;

    if (l->commands > 0)
        measure(l);
    else
        ang_timer_set(l->loop, &l->timer, ang_now_ms() + l->warm_up_ms);
    send_more(l);
}

static void close_channels(void *arg) {
    struct load *l = arg;

    for (size_t i = 0; i < l->n_channels; i++)
        ang_rpc_channel_close(l->channels[i]);
}

/* ---- the program ---- */
static int ascending(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x < y ? -1 : x > y);
}

static int report(struct load *l) {
    const double seconds = (double)(l->end_us - l->start_us) / 1e6;
    const size_t n = l->n_us;

    if (l->n_failed > 0)
        fprintf(stderr, "bench_load: %zu answers were wrong, the first: %s\n", l->n_failed, l->failure);
    if (n == 0) {
        fprintf(stderr, "bench_load: no command was answered in the interval\n");
        return (1);
    }
    qsort(l->us, n, sizeof(*l->us), ascending);
    printf(
        "{\"in_flight\": %zu, \"commands\": %zu, \"failed\": %zu, \"seconds\": %.3f, \"rate\": %.0f, \"p50_us\": %u, "
        "\"p90_us\": %u, \"p99_us\": %u, \"max_us\": %u}\n",
        l->in_flight, n, l->n_failed, seconds, (double)n / seconds, l->us[n / 2], l->us[n * 9 / 10],
        l->us[n * 99 / 100], l->us[n - 1]);
    return (l->n_failed > 0);
}

static bool within(struct load *l, const char *text) {
    char *end;
    unsigned long v;

    do {
        v = strtoul(text, &end, 10);
        if (end == text || v > 63)
            return (false);
        l->within |= (uint64_t)1 << v;
        text = end + 1;
    } while (*end == ',');
    l->partitions = *end == '/' ? (int32_t)strtol(text, NULL, 10) : 0;
    return (l->partitions > 0);
}

static bool options(struct load *l, int argc, char **argv) {
    static const struct option names[] = {
        {"in-flight", 1, NULL, 'n'}, {"roots", 1, NULL, 'r'},    {"size", 1, NULL, 's'},
        {"channels", 1, NULL, 'c'},  {"domain", 1, NULL, 'd'},   {"warm-up", 1, NULL, 'w'},
        {"seconds", 1, NULL, 't'},   {"commands", 1, NULL, 'k'}, {"within", 1, NULL, 'p'},
        {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        const unsigned long v = optarg == NULL ? 0 : strtoul(optarg, NULL, 10);

        if (c == 'n')
            l->in_flight = v;
        else if (c == 'r')
            l->n_roots = v;
        else if (c == 's')
            l->size = v;
        else if (c == 'c')
            l->n_channels = v;
        else if (c == 'd')
            l->domain = optarg;
        else if (c == 'w')
            l->warm_up_ms = (int64_t)v * 1000;
        else if (c == 't')
            l->measure_ms = (int64_t)v * 1000;
        else if (c == 'k')
            l->commands = v;
        else if (c == 'p' && !within(l, optarg))
            return (false);
        else if (c == 'p')
            continue;
        else
            return (false);
    }
    if (optind != argc - 1 || l->in_flight == 0 || l->n_roots < l->in_flight || l->n_channels == 0 ||
        l->n_channels > CHANNELS_MAX)
        return (false);
    l->address = argv[optind];
    return (true);
}

static void init(struct load *l) {
    l->cap_us = 8000000;
    l->us = ang_malloc(l->cap_us * sizeof(*l->us));
    l->roots = ang_calloc(l->n_roots, sizeof(*l->roots));
    l->ring = ang_calloc(l->n_roots, sizeof(struct root *));
    for (size_t i = 0; i < l->n_roots; i++) {
        l->roots[i].load = l;
        do
            ang_uuid_v4(&l->roots[i].id);
        while (l->within != 0 && (l->within >> ang_partition_of_root(l->roots[i].id.b, l->partitions) & 1) == 0);
        l->ring[i] = &l->roots[i];
    }
    l->n_free = l->n_roots;
    prepare(l);
    ang_timer_init(&l->timer, time_up);
    AZ(sem_init(&l->over, 0, 0));
    l->loop = ang_loop_new("load", NULL, NULL);
}

static void fini(struct load *l) {
    ang_loop_stop(l->loop);
    AZ(sem_destroy(&l->over));
    ang_buf_fini(&l->command);
    ang_buf_fini(&l->page);
    free(l->roots);
    free(l->ring);
    free(l->us);
}

int main(int argc, char **argv) {
    struct load l = {.domain = "bench", .in_flight = 1, .n_roots = 10000, .size = 200, .n_channels = 1};
    struct ang_err *er = NULL;
    int rc = 1;

    l.warm_up_ms = 4000;
    l.measure_ms = 5000;
    if (!options(&l, argc, argv)) {
        fprintf(stderr,
                "usage: bench_load ADDRESS [--in-flight N] [--roots R, at least N] [--size BYTES] [--channels 1-%d]\n"
                "       [--domain NAME] [--warm-up SECONDS] [--seconds SECONDS] [--commands COUNT]\n",
                CHANNELS_MAX);
        return (2);
    }
    init(&l);
    for (size_t i = 0; er == NULL && i < l.n_channels; i++)
        er = ang_rpc_channel_open(l.loop, l.address, &l.channels[i]);
    if (er != NULL) {
        fprintf(stderr, "bench_load: %s\n", er->msg);
        ang_err_free(&er);
        fini(&l);
        return (1);
    }
    ang_loop_start(l.loop);
    ang_loop_call(l.loop, start, &l);
    while (sem_wait(&l.over) != 0)
        ; /* a signal */
    rc = report(&l);
    ang_loop_call(l.loop, close_channels, &l);
    fini(&l);
    return (rc);
}
