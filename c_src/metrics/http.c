#include "metrics/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 16 };

/* ---- answers --------------------------------------------------------------------------------- */

static enum MHD_Result answer(const struct kv_mhd *mhd, struct MHD_Connection *connection,
                              unsigned status, const char *type, struct kv_bytes body)
{
    struct MHD_Response *response =
        mhd->create_response_from_buffer(body.length, (void *)body.data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) {
        return MHD_NO;
    }
    (void)mhd->add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)mhd->add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)mhd->add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    const enum MHD_Result queued = mhd->queue_response(connection, status, response);
    mhd->destroy_response(response);
    return queued;
}

static enum MHD_Result answer_line(const struct kv_http *http, struct MHD_Connection *connection,
                                   unsigned status, const char *line)
{
    return answer(&http->mhd, connection, status, "text/plain; charset=utf-8", kv_bytes_text(line));
}

static enum MHD_Result answer_metrics(const struct kv_http *http, struct MHD_Connection *connection)
{
    struct kv_buffer text = KV_BUFFER_INIT;
    const bool there = http->source.metrics(http->source.context, &text);
    const enum MHD_Result queued =
        there ? answer(&http->mhd, connection, MHD_HTTP_OK,
                       "text/plain; version=0.0.4; charset=utf-8", kv_buffer_bytes(&text))
              : answer_line(http, connection, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready\n");
    kv_buffer_free(&text);
    return queued;
}

static enum MHD_Result answer_health(const struct kv_http *http, struct MHD_Connection *connection)
{
    const char *why = http->source.health(http->source.context);
    return why == NULL ? answer_line(http, connection, MHD_HTTP_OK, "ok\n")
                       : answer_line(http, connection, MHD_HTTP_SERVICE_UNAVAILABLE, why);
}

/* Called once the head of a request is there, and again for its body. `state` tells the calls
 * apart. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  /* NOLINTNEXTLINE(readability-non-const-parameter) */
                                  size_t *upload_size, void **state)
{
    const struct kv_http *http = context;
    static int head;
    (void)version;
    (void)upload;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return answer_line(http, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                           "GET or HEAD is wanted\n");
    }
    if (*state == NULL) {
        *state = &head;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        return MHD_NO; /* a body where none belongs: the connection ends */
    }
    if (strcmp(url, "/metrics") == 0) {
        return answer_metrics(http, connection);
    }
    if (strcmp(url, "/health") == 0) {
        return answer_health(http, connection);
    }
    return answer_line(http, connection, MHD_HTTP_NOT_FOUND, "/metrics or /health is wanted\n");
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void run(struct kv_http *http);

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

/* A server with all its connections in use does not watch its listening socket. It watches it again
 * at the beginning of the run after the one in which a connection has ended, and nothing else would
 * cause that run. So there are two. */
static void run(struct kv_http *http)
{
    MHD_UNSIGNED_LONG_LONG wait = 0;
    (void)http->mhd.run(http->daemon);
    (void)http->mhd.run(http->daemon);
    if (http->mhd.get_timeout(http->daemon, &wait) == MHD_YES) {
        (void)uv_timer_start(&http->timer, on_timer, wait, 0);
    } else {
        (void)uv_timer_stop(&http->timer);
    }
}

/* ---- coming and going ------------------------------------------------------------------------ */

/* Returns a socket, or an error of libuv, which is negative. */
static int listen_at(const struct sockaddr *address)
{
    const int yes = 1;
    const socklen_t size =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return uv_translate_sys_error(errno);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, address, size) != 0 || listen(fd, BACKLOG) != 0) {
        const int error = uv_translate_sys_error(errno);
        (void)close(fd);
        return error;
    }
    return fd;
}

static struct MHD_Daemon *start_daemon(struct kv_http *http, int fd)
{
    return http->mhd.start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, http,
                                  MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                                  (unsigned)KV_HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
                                  (unsigned)KV_HTTP_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                  (size_t)KV_HTTP_MEMORY, MHD_OPTION_END);
}

/* Returns 0, or an error of libuv. */
static int start(struct kv_http *http, uv_loop_t *loop, const struct sockaddr *address)
{
    const int fd = listen_at(address);
    if (fd < 0) {
        return fd;
    }
    http->daemon = start_daemon(http, fd);
    if (http->daemon == NULL) {
        (void)close(fd);
        return UV_ENOMEM;
    }
    const union MHD_DaemonInfo *info =
        http->mhd.get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    const int error = info == NULL ? UV_ENOTSUP : uv_poll_init(loop, &http->poll, info->epoll_fd);
    if (error != 0) {
        http->mhd.stop_daemon(http->daemon);
        http->daemon = NULL;
        return error;
    }
    (void)uv_timer_init(loop, &http->timer);
    http->poll.data = http;
    http->timer.data = http;
    return uv_poll_start(&http->poll, UV_READABLE, on_poll);
}

int kv_http_start(struct kv_http *http, uv_loop_t *loop, const struct sockaddr *address,
                  const struct kv_http_source *source)
{
    *http = (struct kv_http){.source = *source};
    if (!kv_mhd_load(&http->mhd)) {
        return UV_ENOSYS;
    }
    const int error = start(http, loop, address);
    if (error != 0 && http->daemon == NULL) {
        kv_mhd_unload(&http->mhd);
    }
    return error;
}

void kv_http_stop(struct kv_http *http)
{
    if (http->daemon != NULL) {
        uv_close((uv_handle_t *)&http->poll, NULL);
        uv_close((uv_handle_t *)&http->timer, NULL);
        http->mhd.stop_daemon(http->daemon);
        http->daemon = NULL;
        kv_mhd_unload(&http->mhd);
    }
}
