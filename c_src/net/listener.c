#include "net/listener.h"

#include "node/node.h"

enum { BACKLOG = 1024 };

static void on_connection(uv_stream_t *server, int status)
{
    struct kv_listener *listener = server->data;
    if (status == UV_EMFILE || status == UV_ENFILE) {
        kv_connections_starve(&listener->node->connections, status);
    } else if (status != 0) {
        kv_log(&listener->node->log, KV_LOG_ERROR, "cannot accept a connection: %s",
               uv_strerror(status));
    } else if (listener->open) {
        kv_connections_accept(&listener->node->connections, server);
    } else {
        listener->waiting = true; /* libuv reports no other until this one is accepted */
    }
}

static int find_port(struct kv_listener *listener)
{
    struct sockaddr_storage bound = {0};
    int length = sizeof(bound);
    int error = uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&bound, &length);
    if (error == 0) {
        listener->port = bound.ss_family == AF_INET6
                             ? ntohs(((struct sockaddr_in6 *)&bound)->sin6_port)
                             : ntohs(((struct sockaddr_in *)&bound)->sin_port);
    }
    return error;
}

int kv_listener_start(struct kv_listener *listener, struct kv_node *node,
                      const struct sockaddr *address)
{
    listener->node = node;
    int error = uv_tcp_init(&node->loop, &listener->tcp);
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
    listener->open = true;
    kv_connections_fit(&listener->node->connections);
    if (listener->waiting) {
        listener->waiting = false;
        kv_connections_accept(&listener->node->connections, (uv_stream_t *)&listener->tcp);
    }
}
