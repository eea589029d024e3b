#include "http/http.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"

static unsigned get_health(void *arg, struct ang_buf *body, const char **ret_type) {
    ang_buf_add_str(body, "fine\n");
    return (200);
}

static unsigned get_ready(void *arg, struct ang_buf *body, const char **ret_type) {
    const int *partitions = arg;
    *ret_type = "application/json";
    ang_buf_addf(body, "{\"partitions\":%d}", *partitions);
    return (503);
}

static unsigned get_nothing(void *arg, struct ang_buf *body, const char **ret_type) {
    return (204);
}

static int partitions = 7;
static const struct ang_http_route routes[] = {
    {"/healthz", get_health, NULL}, {"/readyz", get_ready, &partitions}, {"/nothing", get_nothing, NULL}};

static int connect_to(const char *address) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 20};
    sa.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_return_code(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_return_code(connect(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
    return (fd);
}

/* The whole answer, as text. */
static char *ask(const char *address, const char *request) {
    static char text[8192];
    size_t n = 0;
    ssize_t k;
    int fd = connect_to(address);
    assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    while ((k = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)k;
    assert_int_equal(k, 0);
    text[n] = '\0';
    close(fd);
    return (text);
}

static struct ang_http *open_any(void) {
    struct ang_http *h = NULL;
    assert_null(ang_http_open("127.0.0.1:0", routes, ANG_COUNT(routes), &h));
    assert_memory_equal(ang_http_address(h), "127.0.0.1:", 10);
    assert_true(atoi(strrchr(ang_http_address(h), ':') + 1) > 0);
    return (h);
}

static void answers(void **state) {
    static const struct {
        const char *what, *method, *path, *status, *has, *body;
    } rows[] = {
        {"a route", "GET", "/healthz", "200", "Content-Type: text/plain", "fine\n"},
        {"type and status of the route, its arg", "GET", "/readyz", "503", "Content-Type: application/json",
         "{\"partitions\":7}"},
        {"no body", "GET", "/nothing", "204", "", ""},
        {"HEAD: the length, no body", "HEAD", "/healthz", "200", "Content-Length: 5", ""},
        {"the query is no part of the path", "GET", "/healthz?verbose=1", "200", "", "fine\n"},
        {"unknown path", "GET", "/", "404", "", "not found\n"},
        {"paths are exact", "GET", "/healthz/", "404", "", "not found\n"},
        {"POST", "POST", "/healthz", "405", "Allow: GET, HEAD", "only GET and HEAD\n"},
        {"DELETE", "DELETE", "/readyz", "405", "Allow: GET, HEAD", "only GET and HEAD\n"},
    };
    struct ang_http *h = open_any();
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        char request[256];
        snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", rows[i].method,
                 rows[i].path);
        const char *text = ask(ang_http_address(h), request);
        const char *body = strstr(text, "\r\n\r\n");
        bool ok = strncmp(text, "HTTP/1.1 ", 9) == 0 && strncmp(text + 9, rows[i].status, 3) == 0 &&
                  strstr(text, rows[i].has) != NULL && body != NULL && strcmp(body + 4, rows[i].body) == 0;
        if (!ok)
            fail_msg("%s: %s %s gave\n%s", rows[i].what, rows[i].method, rows[i].path, text);
    }
    ang_http_close(h);
}

static void garbage_is_refused(void **state) {
    struct ang_http *h = open_any();
    const char *text = ask(ang_http_address(h), "\x16\x03\x01 this is not HTTP\r\n\r\n");
    assert_true(text[0] == '\0' || strstr(text, " 400 ") != NULL);
    assert_non_null(strstr(ask(ang_http_address(h), "GET /healthz HTTP/1.0\r\n\r\n"), " 200 "));
    ang_http_close(h);
}

static void address_in_use(void **state) {
    struct ang_http *h = open_any(), *other = NULL;
    struct ang_err *er = ang_http_open(ang_http_address(h), routes, ANG_COUNT(routes), &other);
    assert_non_null(er);
    assert_null(other);
    assert_int_equal(er->code, ANG_E_RPC_BIND);
    assert_non_null(strstr(er->msg, ang_http_address(h)));
    assert_non_null(strstr(er->msg, "Address already in use"));
    ang_err_free(&er);
    ang_http_close(h);
}

static void bad_addresses(void **state) {
    static const char *const rows[] = {
        "", "localhost", "127.0.0.1:", "127.0.0.1:http:x", "192.0.2.77:0", "127.0.0.1:99999999"};
    for (size_t i = 0; i < ANG_COUNT(rows); i++) {
        struct ang_http *h = NULL;
        struct ang_err *er = ang_http_open(rows[i], routes, ANG_COUNT(routes), &h);
        if (er == NULL || er->code != ANG_E_RPC_BIND || strstr(er->msg, rows[i]) == NULL)
            fail_msg("\"%s\" gave %s", rows[i], er == NULL ? "no error" : er->msg);
        ang_err_free(&er);
    }
}

static void closes_with_an_open_connection(void **state) {
    struct ang_http *h = open_any();
    char c;
    int fd = connect_to(ang_http_address(h));
    assert_int_equal(write(fd, "GET /hea", 8), 8);
    ang_http_close(h);
    assert_true(read(fd, &c, 1) <= 0);
    close(fd);
    ang_http_close(NULL);
}

static void idle_costs_nothing(void **state) {
    struct ang_http *h = open_any();
    struct rusage a, b;
    (void)ask(ang_http_address(h), "GET /healthz HTTP/1.0\r\n\r\n");
    getrusage(RUSAGE_SELF, &a);
    nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    getrusage(RUSAGE_SELF, &b);
    assert_in_range(b.ru_nvcsw - a.ru_nvcsw, 0, 15); /* a sanitizer has a thread that wakes up 5 times */
    ang_http_close(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(address_in_use),
        cmocka_unit_test(bad_addresses),
        cmocka_unit_test(closes_with_an_open_connection),
        cmocka_unit_test(idle_costs_nothing),
    };
    return (cmocka_run_group_tests(tests, NULL, NULL));
}
