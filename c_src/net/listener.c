#include "net/listener.h"

#include "net/address.h"

enum { BACKLOG = 1024 };

static void on_connection(uv_stream_t *server, int status)
{
    struct kv_listener *listener = server->data;
    if (status == UV_EMFILE || status == UV_ENFILE) {
        kv_pending_starve(listener->pending, status);
    } else if (status != 0) {
        kv_log(listener->pending->connections->net->log, KV_LOG_ERROR,
               "cannot accept a connection: %s", uv_strerror(status));
    } else if (listener->is_open) {
        kv_pending_accept(listener->pending, server);
    } else {
        listener->waiting = true; /* libuv reports no other until this one is accepted */
    }
}

static int find_port(struct kv_listener *listener)
{
    struct sockaddr_storage bound;
    uv_os_fd_t socket = -1;
    int error = uv_fileno((uv_handle_t *)&listener->tcp, &socket);
    if (error == 0 && !kv_address_here(socket, &bound)) {
        error = UV_ENOTSOCK;
    }
    if (error == 0) {
        listener->port = kv_address_port(&bound);
    }
    return error;
}

int kv_listener_start(struct kv_listener *listener, struct kv_pending *pending,
                      const struct sockaddr *address)
{
    listener->pending = pending;
    int error = uv_tcp_init(pending->connections->net->loop, &listener->tcp);
    if (error != 0) {
        return error;
    }
    listener->tcp.data = listener;
    error = uv_tcp_bind(&listener->tcp, address, 0);
    if (error == 0) {
        error = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    }
    return error != 0 ? error : find_port(listener);
}

void kv_listener_open(struct kv_listener *listener)
{
    listener->is_open = true;
    kv_pending_fit(listener->pending);
    if (listener->waiting) {
        listener->waiting = false;
        kv_pending_accept(listener->pending, (uv_stream_t *)&listener->tcp);
    }
}
