/* GET /readyz, by hand: one question, one answer, the connection ends. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/status.h"

#define BODY_MAX (4u << 20)

/* "127.0.0.1:8080", "[::1]:8080" */
static struct addrinfo *resolve(const char *address) {
    const char *colon = strrchr(address, ':');
    const bool boxed = address[0] == '[';
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char host[256];

    if (colon == NULL)
        return (NULL);
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address) - 2 * boxed, address + boxed);
    return (getaddrinfo(host, colon + 1, &hints, &list) == 0 ? list : NULL);
}

static bool ready(int fd, short events, int64_t until_ms) {
    struct pollfd p = {.fd = fd, .events = events};
    const int64_t left = until_ms - ang_now_ms();

    return (left > 0 && poll(&p, 1, (int)left) > 0);
}

static int connect_to(const struct addrinfo *to, int64_t until_ms, char why[160]) {
    const int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int er = errno;
    socklen_t n = sizeof er;

    if (fd < 0 || (connect(fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS))
        er = errno;
    else if (!ready(fd, POLLOUT, until_ms))
        er = ETIMEDOUT;
    else
        AZ(getsockopt(fd, SOL_SOCKET, SO_ERROR, &er, &n));
    if (er == 0)
        return (fd);
    (void)snprintf(why, 160, "%s", strerror(er));
    if (fd >= 0)
        (void)close(fd);
    return (-1);
}

static bool send_request(int fd, const char *address) {
    char *text = ang_sprintf("GET /readyz HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n", address);
    const size_t n = strlen(text);
    const bool sent = send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n; /* a new connection takes that much */

    free(text);
    return (sent);
}

static bool receive(int fd, int64_t until_ms, struct ang_buf *ret) {
    ssize_t n;

    do {
        if (!ready(fd, POLLIN, until_ms))
            return (false);
        n = recv(fd, ang_buf_reserve(ret, 65536), 65536, 0);
        if (n > 0)
            ret->n += (size_t)n;
    } while (n > 0 && ret->n < BODY_MAX);
    return (n == 0);
}

/* Cuts the head off. */
static int split(struct ang_buf *b) {
    int code = 0;
    const uint8_t *body = b->n == 0 ? NULL : memmem(b->p, b->n, "\r\n\r\n", 4);

    if (body == NULL || sscanf((const char *)b->p, "HTTP/1.%*1[01] %3d", &code) != 1)
        return (0);
    body += 4;
    b->n -= (size_t)(body - b->p);
    memmove(b->p, body, b->n);
    return (code);
}

int status_readyz(const char *address, int64_t timeout_ms, struct ang_buf *ret_body, char ret_why[160]) {
    const int64_t until = ang_now_ms() + timeout_ms;
    struct addrinfo *list = resolve(address);
    int fd = -1, code = 0;

    ang_buf_clear(ret_body);
    (void)snprintf(ret_why, 160, "the address cannot be resolved");
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
        fd = connect_to(a, until, ret_why);
    if (list != NULL)
        freeaddrinfo(list);
    if (fd < 0)
        return (0);
    if (!send_request(fd, address) || !receive(fd, until, ret_body)) {
        (void)snprintf(ret_why, 160, "no answer in time");
    } else {
        code = split(ret_body);
        (void)snprintf(ret_why, 160, "what answers is no HTTP server of ours");
    }
    (void)close(fd);
    return (code);
}
