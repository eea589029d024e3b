/* One look at all of it: the log first, then whether those who are named there, and in the configuration, answer. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/status.h"

void status_problem(struct status *s, const char *fmt, ...) {
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\n')
            *c = ' ';
    ang_buf_addf(&s->problems, "%s\n", text);
}

void status_forget(struct status *s) {
    for (size_t i = 0; i < s->n_components; i++) {
        free(s->components[i].name);
        free(s->components[i].address);
        free(s->components[i].text);
    }
    for (size_t i = 0; i < s->n_parts; i++) {
        free(s->parts[i].worker);
        free(s->parts[i].endpoint);
        free(s->parts[i].why);
    }
    free(s->components);
    free(s->parts);
    ang_buf_fini(&s->problems);
    s->components = NULL;
    s->parts = NULL;
    s->n_components = s->n_parts = s->served = s->unknown_lag = 0;
    s->lag = 0;
    s->topics_missing = false;
}

/* ---- components ---- */
static void add_component(struct status *s, enum status_kind kind, const char *name, const char *address) {
    for (size_t i = 0; i < s->n_components; i++)
        if (s->components[i].kind == kind && strcmp(s->components[i].name, name) == 0 &&
            strcmp(s->components[i].address, address) == 0)
            return;
    s->components = ang_realloc(s->components, (s->n_components + 1) * sizeof *s->components);
    s->components[s->n_components++] =
        (struct status_component){.kind = kind, .name = ang_strdup(name), .address = ang_strdup(address)};
}

static bool embedded(void) {
    return (tool.settings->log.type == ANG_LOGTYPE_EMBEDDED);
}

static int add_components(struct status *s) {
    int rc;
    const char *gateway = tool_gateway(&rc);

    if (gateway == NULL)
        return (rc);
    add_component(s, STATUS_GATEWAY, "", gateway);
    for (size_t i = 0; i < s->n_parts;
         i++) /* a worker inside of a standalone has no address: its gateway answers for it */
        if (s->parts[i].generation >= 0 && s->parts[i].endpoint[0] != '\0')
            add_component(s, STATUS_WORKER, s->parts[i].worker, s->parts[i].endpoint);
    for (size_t i = 0; i < tool.settings->n_business; i++)
        add_component(s, STATUS_BUSINESS, tool.settings->business[i].domain, tool.settings->business[i].address);
    return (ANG_TOOL_DONE);
}

static void ask_components(struct status *s) {
    struct status_check *checks = ang_calloc(s->n_components + 1, sizeof *checks);

    for (size_t i = 0; i < s->n_components; i++)
        checks[i].address = s->components[i].address;
    status_check(checks, s->n_components, s->timeout_ms);
    for (size_t i = 0; i < s->n_components; i++) {
        s->components[i].answers = checks[i].answers;
        s->components[i].serving = checks[i].serving;
        s->components[i].text = ang_strdup(checks[i].text);
    }
    free(checks);
}

static const struct status_component *component(const struct status *s, enum status_kind kind, const char *address) {
    for (size_t i = 0; i < s->n_components; i++)
        if (s->components[i].kind == kind && (address == NULL || strcmp(s->components[i].address, address) == 0))
            return (&s->components[i]);
    return (NULL);
}

/* ---- partitions on Kafka: an owner that does not answer serves nobody ---- */
static void judge_owner(struct status *s, struct status_part *p) {
    const bool inside = p->endpoint[0] == '\0';
    const struct status_component *owner =
        component(s, inside ? STATUS_GATEWAY : STATUS_WORKER, inside ? NULL : p->endpoint);

    if (!p->served) {
        status_problem(s, "%s/%d is not served: %s", p->domain->name, p->no,
                       p->generation < 0 ? "nobody ever owned it" : p->state);
        return;
    }
    p->served = owner != NULL && owner->answers;
    if (p->served)
        return;
    (void)snprintf(p->state, sizeof p->state, "no answer");
    status_problem(s, "%s/%d is not served: its owner %s at %s does not answer", p->domain->name, p->no, p->worker,
                   inside ? "the gateway's address" : p->endpoint);
}

/* ---- partitions on the embedded log: one process has them all, and tells of each ---- */

/* Out of our own /readyz: {"domain":"order",…,"partitions":[{"partition":0,"phase":"serving",…  False: it does not say. */
static bool phase_of(struct ang_slice body, const struct status_part *p, char phase[24], int *ret_percent) {
    char *mark = ang_sprintf("{\"domain\":\"%s\",", p->domain->name);
    const uint8_t *end = body.p + body.n, *at = body.n == 0 ? NULL : memmem(body.p, body.n, mark, strlen(mark)), *next;
    char text[64];
    size_t n = 0;

    free(mark);
    if (at == NULL)
        return (false);
    next = memmem(at + 1, (size_t)(end - at - 1), "{\"domain\":", 10);
    if (next != NULL)
        end = next;
    (void)snprintf(text, sizeof text, "{\"partition\":%d,\"phase\":\"", p->no);
    at = memmem(at, (size_t)(end - at), text, strlen(text));
    if (at == NULL)
        return (false);
    for (at += strlen(text); at + n < end && at[n] != '"' && n + 1 < 24; n++)
        phase[n] = (char)at[n];
    phase[n] = '\0';
    (void)snprintf(text, sizeof text, "%.*s", (int)(end - at - (ptrdiff_t)n > 40 ? 40 : end - at - (ptrdiff_t)n),
                   (const char *)at + n);
    if (sscanf(text, "\",\"percent\":%d", ret_percent) != 1)
        *ret_percent = -1;
    return (true);
}

static void judge_process(struct status *s, struct status_part *p, int code, struct ang_slice body) {
    char phase[24];
    int percent = -1;

    free(p->worker);
    p->worker = ang_strdup(code != 0 ? "this process" : "");
    if (code == 0)
        (void)snprintf(p->state, sizeof p->state, "none");
    else if (!phase_of(body, p, phase, &percent))
        (void)snprintf(p->state, sizeof p->state, "%s", code == 200 ? "serving" : "starting");
    else if (percent >= 0)
        (void)snprintf(p->state, sizeof p->state, "%s %d%%", phase, percent);
    else
        (void)snprintf(p->state, sizeof p->state, "%s", phase);
    p->percent = percent;
    p->served = strcmp(p->state, "serving") == 0;
    if (!p->served && code != 0)
        status_problem(s, "%s/%d is not served: %s", p->domain->name, p->no, p->state);
}

/* Without gateway.http the gateway's health stands for all of it. */
static void judge_embedded(struct status *s) {
    const struct status_component *gateway = component(s, STATUS_GATEWAY, NULL);
    const char *http = tool.settings->gateway.http;
    struct ang_buf body = {NULL, 0, 0};
    int code = gateway->serving ? 200 : gateway->answers ? 503 : 0;
    char why[160];

    if (http != NULL && http[0] != '\0') {
        code = status_readyz(http, s->timeout_ms, &body, why);
        add_component(s, STATUS_PROCESS, "", http);
        struct status_component *c = &s->components[s->n_components - 1];
        c->answers = code != 0;
        c->serving = code == 200;
        c->text = code == 0 ? ang_sprintf("no answer: %s", why) : ang_strdup(code == 200 ? "ready" : "not ready");
    }
    for (size_t i = 0; i < s->n_parts; i++)
        judge_process(s, &s->parts[i], code, ang_buf_slice(&body));
    if (code == 0)
        status_problem(s, "no partition is served: the process that works on %s does not answer",
                       tool.settings->log.path);
    ang_buf_fini(&body);
}

/* ---- all of it ---- */
static void judge_component(struct status *s, const struct status_component *c) {
    static const char *const kinds[] = {"the gateway", "the process", "worker", "the business logic of"};

    if (!c->serving)
        status_problem(s, "%s%s%s at %s: %s", kinds[c->kind], c->name[0] == '\0' ? "" : " ", c->name, c->address,
                       c->text);
}

struct ang_err *status_look(struct status *s) {
    struct ang_err *er;

    status_forget(s);
    s->at_us = ang_wall_us();
    er = status_look_log(s);
    if (er != NULL)
        return (er);
    AZ(add_components(s)); /* the configuration was read before */
    ask_components(s);
    if (embedded())
        judge_embedded(s);
    for (size_t i = 0; i < s->n_parts; i++) {
        if (!embedded())
            judge_owner(s, &s->parts[i]);
        s->served += s->parts[i].served;
    }
    for (size_t i = 0; i < s->n_components; i++)
        judge_component(s, &s->components[i]);
    return (NULL);
}
