/* Opening the log that the configuration names, and reading partitions of it. */
#include "tools/look.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define TELL_AFTER_MS 2000
#define TELL_EVERY_MS 200
#define RECS          256

/* ---- signals ---- */
static volatile sig_atomic_t quit_code;

static void quit(int sig) {
    (void)sig;
    _exit(quit_code);
}

void look_quit_at_signal(int code) {
    sigset_t set;

    quit_code = code;
    signal(SIGINT, quit);
    signal(SIGTERM, quit);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    ANG_PT(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
}

/* ---- opening ---- */
int look_open(struct look *l) {
    struct ang_err *er;
    int rc;

    *l = (struct look){NULL};
    rc = tool_settings(true);
    if (rc != ANG_TOOL_DONE)
        return (rc);
    er = ang_log_open_look(tool.settings, tool.usage->name, &l->log);
    if (er != NULL)
        return (tool_fail(&er));
    l->topology = ang_topology_new(tool.settings, l->log);
    l->specs = ang_topology_specs(l->topology, &l->n_specs);
    return (ANG_TOOL_DONE);
}

void look_close(struct look *l) {
    ang_topology_free(l->topology);
    ang_log_close(l->log);
    *l = (struct look){NULL};
}

/* ---- names ---- */
const struct ang_topic_spec *look_topic(const struct look *l, const char *text) {
    const char *prefix = ang_topology_prefix(l->topology);

    for (size_t i = 0; i < l->n_specs; i++) {
        const char *name = l->specs[i].name;

        if (strcmp(name, text) == 0 || strcmp(name + strlen(prefix), text) == 0)
            return (&l->specs[i]);
    }
    (void)tool_misuse("%s has no topic \"%.80s\": `angzarr topics list` names them", tool.settings->file, text);
    return (NULL);
}

const struct ang_domain *look_domain(const struct look *l, const char *name) {
    const struct ang_domain *d = ang_topology_domain(l->topology, ang_slice_str(name));
    struct ang_buf known = {NULL, 0, 0};

    if (d != NULL)
        return (d);
    for (size_t i = 0; i < ang_topology_domains(l->topology); i++)
        ang_buf_addf(&known, "%s%s", i == 0 ? "" : ", ", ang_topology_domain_at(l->topology, i)->name);
    (void)tool_misuse("%s has no domain \"%.80s\"; it has %.*s", tool.settings->file, name, (int)known.n,
                      known.n == 0 ? "none" : (const char *)known.p);
    ang_buf_fini(&known);
    return (NULL);
}

/* ---- a partition ---- */
int look_range(const struct look *l, const struct ang_topic_spec *spec, int32_t partition, struct ang_range *ret) {
    struct ang_topic_found found;
    struct ang_err *er;
    int rc = ANG_TOOL_DONE;

    *ret = (struct ang_range){.topic = ang_log_topic(l->log, spec->name), .partition = partition};
    er = ang_log_find_topics(l->log, spec, 1, (int)tool.timeout_ms, &found);
    if (er != NULL)
        return (tool_fail(&er));
    if (!found.there)
        tool_say("topic %s is not there: `angzarr topics check` tells more", spec->name);
    else if (partition >= found.partitions)
        tool_say("topic %s has no partition %d, it has 0 to %d", spec->name, partition, found.partitions - 1);
    if (!found.there || partition >= found.partitions)
        rc = ANG_TOOL_FAILED;
    ang_topic_found_fini(&found);
    if (rc != ANG_TOOL_DONE)
        return (rc);
    er = ang_log_ranges(l->log, ret, 1, (int)tool.timeout_ms);
    if (er == NULL && (ret->begin == ANG_OFFSET_NONE || ret->end == ANG_OFFSET_NONE))
        er = ang_err_new(ANG_E_LOG_UNREACHABLE, "%s/%d cannot be read: %s", spec->name, partition, ret->why);
    return (er == NULL ? ANG_TOOL_DONE : tool_fail(&er));
}

struct scan {
    struct ang_log_reader *r;
    const struct ang_range *range;
    int64_t begun_ms, told_ms; /* told: 0 = never */
};

static void tell(struct scan *s, int64_t next, bool over) {
    const int64_t now = ang_now_ms();
    const double all = (double)(s->range->end - s->range->begin);

    if (over && s->told_ms != 0)
        fputs("\r\033[K", stderr);
    if (over || now < s->begun_ms + TELL_AFTER_MS || now < s->told_ms + TELL_EVERY_MS || !isatty(STDERR_FILENO))
        return;
    s->told_ms = now;
    fprintf(stderr, "\r\033[Kreading %s/%d: %d%%", s->range->topic->name, s->range->partition,
            (int)(100 * (double)(next - s->range->begin) / all));
    fflush(stderr);
}

static struct ang_err *read_on(struct scan *s, bool (*take)(void *, struct ang_rec **), void *arg) {
    int64_t next = s->range->begin, moved_ms = ang_now_ms();
    struct ang_rec *recs[RECS];
    bool more = true;
    size_t n = 0;

    while (more && next < s->range->end) {
        struct ang_err *er = ang_log_reader_poll(s->r, recs, RECS, 100, &n);
        const int64_t at = ang_log_reader_next(s->r, s->range->topic, s->range->partition);

        for (size_t i = 0; i < n; i++) {
            more = more && recs[i]->offset < s->range->end && take(arg, &recs[i]);
            ang_rec_free(&recs[i]);
        }
        if (er != NULL)
            return (er);
        if (at > next) {
            next = at;
            moved_ms = ang_now_ms();
        }
        if (ang_now_ms() - moved_ms > tool.timeout_ms)
            return (ang_err_new(ANG_E_LOG_UNREACHABLE, "%s/%d: nothing came from offset %lld on within %lld ms",
                                s->range->topic->name, s->range->partition, (long long)next,
                                (long long)tool.timeout_ms));
        tell(s, next, false);
    }
    return (NULL);
}

int look_scan(const struct look *l, const struct ang_range *range, bool (*take)(void *arg, struct ang_rec **rec),
              void *arg) {
    const struct ang_log_reader_conf conf = {.name = "look", .fetch_wait_ms = 50, .memory = 16 << 20, .ends = true};
    struct scan s = {.range = range, .begun_ms = ang_now_ms()};
    struct ang_err *er;

    if (range->begin >= range->end)
        return (ANG_TOOL_DONE);
    er = ang_log_reader_open(l->log, &conf, &s.r);
    if (er == NULL)
        er = ang_log_reader_add(s.r, range->topic, range->partition, range->begin);
    if (er == NULL)
        er = read_on(&s, take, arg);
    tell(&s, 0, true);
    ang_log_reader_close(s.r);
    return (er == NULL ? ANG_TOOL_DONE : tool_fail(&er));
}

/* ---- what records hold ---- */
const char *look_type(const struct look *l, const struct ang_rec *rec) {
    if (rec->key.n > 0 && rec->key.p[0] == '!')
        return (NULL); /* a mark of our own */
    if (rec->topic == ang_topology_owners_topic(l->topology))
        return ("angzarr.ext.OwnerRecord");
    for (size_t i = 0; i < ang_topology_domains(l->topology); i++) {
        const struct ang_domain *d = ang_topology_domain_at(l->topology, i);

        if (rec->topic == d->events)
            return ("angzarr.EventBook");
        if (rec->topic == d->snapshots)
            return ("angzarr.Snapshot");
        if (rec->topic == d->commands || rec->topic == d->reactions || rec->topic == d->dlq)
            return ("angzarr.CommandBook");
    }
    return (NULL);
}
