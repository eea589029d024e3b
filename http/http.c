#include "http/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"

#define IDLE_S      10 /* a connection that says nothing for so long is closed */
#define CONNECTIONS 64

struct ang_http {
    unsigned magic;
#define ANG_HTTP_MAGIC 0x477b0001
    struct MHD_Daemon *daemon;
    struct ang_http_route *routes; /* paths are ours */
    size_t n_routes;
    char *address;
};

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, struct ang_buf *body, const char *type) {
    struct MHD_Response *r = MHD_create_response_from_buffer(body->n, body->p, MHD_RESPMEM_MUST_COPY);
    ang_buf_fini(body);
    if (r == NULL)
        return (MHD_NO); /* closes the connection */
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result res = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return (res);
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_n, void **seen) {
    struct ang_http *h;
    struct ang_buf body = {0};
    const char *type = "text/plain; charset=utf-8";
    size_t i = 0;

    ANG_CAST(h, arg, ANG_HTTP_MAGIC);
    while (i < h->n_routes && strcmp(h->routes[i].path, url) != 0)
        i++;
    if (i == h->n_routes) {
        ang_buf_add_str(&body, "not found\n");
        return (answer(c, MHD_HTTP_NOT_FOUND, &body, type));
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        ang_buf_add_str(&body, "only GET and HEAD\n");
        return (answer(c, MHD_HTTP_METHOD_NOT_ALLOWED, &body, type));
    }
    unsigned status = h->routes[i].get(h->routes[i].arg, &body, &type);
    return (answer(c, status, &body, type));
}

/* "host:port", "[::1]:port", ":port".  host is "" for all addresses. */
static bool split(const char *address, char *host, size_t n_host, const char **ret_port) {
    const char *colon = strrchr(address, ':'), *from = address;
    uint64_t port;
    if (colon == NULL || !ang_slice_to_u64(ang_slice_str(colon + 1), &port) || port > 65535)
        return (false);
    size_t n = (size_t)(colon - address);
    if (n >= 2 && from[0] == '[' && colon[-1] == ']') {
        from++;
        n -= 2;
    }
    if (n >= n_host)
        return (false);
    memcpy(host, from, n);
    host[n] = '\0';
    *ret_port = colon + 1;
    return (true);
}

/* A listening socket, made here and not by libmicrohttpd, so that an error can say why. */
static struct ang_err *listen_on(const char *address, int *ret_fd, char **ret_address) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *ai;
    struct sockaddr_storage sa;
    socklen_t n_sa = sizeof(sa);
    char host[256], service[32];
    const char *port;
    int on = 1;

    if (!split(address, host, sizeof(host), &port))
        return (ang_err_new(ANG_E_RPC_BIND, "%s: expected host:port, the port from 0 to 65535", address));
    int e = getaddrinfo(host[0] == '\0' ? NULL : host, port, &hints, &ai);
    if (e != 0)
        return (ang_err_new(ANG_E_RPC_BIND, "%s: %s", address, gai_strerror(e)));
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, CONNECTIONS) == 0 &&
              getsockname(fd, (struct sockaddr *)&sa, &n_sa) == 0;
    int no = errno;
    freeaddrinfo(ai);
    if (!ok) {
        if (fd >= 0)
            (void)close(fd);
        return (ang_err_new(ANG_E_RPC_BIND, "%s: %s", address, strerror(no)));
    }
    AZ(getnameinfo((const struct sockaddr *)&sa, n_sa, NULL, 0, service, sizeof(service), NI_NUMERICSERV));
    *ret_fd = fd;
    *ret_address = ang_sprintf("%.*s:%s", (int)(port - 1 - address), address, service);
    return (NULL);
}

struct ang_err *ang_http_open(const char *address, const struct ang_http_route *routes, size_t n,
                              struct ang_http **ret_h) {
    struct ang_http *h;
    char *real;
    int fd;

    struct ang_err *er = listen_on(address, &fd, &real);
    if (er != NULL)
        return (ang_err_wrap(&er, "http"));
    h = ANG_NEW(struct ang_http);
    h->magic = ANG_HTTP_MAGIC;
    h->address = real;
    h->n_routes = n;
    h->routes = ang_calloc(n == 0 ? 1 : n, sizeof(*h->routes));
    for (size_t i = 0; i < n; i++) {
        h->routes[i] = routes[i];
        h->routes[i].path = ang_strdup(routes[i].path);
    }
    /* One thread that sleeps in epoll; ITC: stop wakes it. */
    h->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, handle, h,
                                 MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_END);
    if (h->daemon == NULL) {
        er = ang_err_new(ANG_E_RPC_BIND, "http: %s: the server's thread does not start: %s", address, strerror(errno));
        (void)close(fd);
        ang_http_close(h);
        return (er);
    }
    *ret_h = h;
    return (NULL);
}

const char *ang_http_address(const struct ang_http *h) {
    ANG_CHECK(h, ANG_HTTP_MAGIC);
    return (h->address);
}

void ang_http_close(struct ang_http *h) {
    if (h == NULL)
        return;
    ANG_CHECK(h, ANG_HTTP_MAGIC);
    if (h->daemon != NULL)
        MHD_stop_daemon(h->daemon); /* closes the socket */
    for (size_t i = 0; i < h->n_routes; i++) {
        char *path;
        memcpy(&path, &h->routes[i].path, sizeof(path));
        free(path);
    }
    free(h->routes);
    free(h->address);
    h->magic = 0;
    free(h);
}
