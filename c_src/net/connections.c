#include "net/connections.h"

#include "base/alloc.h"
#include "net/connection.h"
#include "net/output.h"

static struct kv_connection *first(const struct kv_list *list, size_t field)
{
    return (struct kv_connection *)(void *)((char *)list->next - field);
}

#define FIRST(list, field) first(list, offsetof(struct kv_connection, field))

void kv_connections_init(struct kv_connections *connections, struct kv_net *net)
{
    *connections = (struct kv_connections){.net = net};
    kv_list_init(&connections->pending);
    kv_list_init(&connections->up);
    kv_list_init(&connections->dirty);
    kv_list_init(&connections->doomed);
    kv_list_init(&connections->rested);
    kv_list_init(&connections->eased);
    kv_list_init(&connections->checked);
    connections->space = kv_alloc(KV_READ_CHUNK);
    uv_timer_init(net->loop, &connections->patience);
    connections->patience.data = connections;
}

/* ---- connections that are up ----------------------------------------------------------------- */

struct kv_connection *kv_connections_find(const struct kv_connections *connections,
                                          struct kv_bytes name)
{
    KV_LIST_FOREACH (link, &connections->up) {
        struct kv_connection *connection = KV_LIST_OF(link, struct kv_connection, link);
        if (kv_bytes_equal(kv_handshake_peer(&connection->handshake), name)) {
            return connection;
        }
    }
    return NULL;
}

/* One place is kept for the VM that holds the leash, until it takes it. */
bool kv_connections_is_full(const struct kv_connections *connections, struct kv_bytes newcomer)
{
    const struct kv_net *net = connections->net;
    bool keeps_one = net->vm.length > 0 && !kv_bytes_equal(net->vm, newcomer) &&
                     kv_connections_find(connections, net->vm) == NULL;
    return connections->up_count + keeps_one >= net->limits.max_peers;
}

void kv_connections_promote(struct kv_connections *connections, struct kv_connection *connection)
{
    kv_list_remove(&connection->link);
    kv_list_append(&connections->up, &connection->link);
    kv_strangers_remove(&connection->stranger);
    connections->up_count++;
}

/* ---- the end of a turn ----------------------------------------------------------------------- */

void kv_connections_close_doomed(struct kv_connections *connections)
{
    while (!kv_list_is_empty(&connections->doomed)) {
        kv_output_close(FIRST(&connections->doomed, doomed));
    }
}

void kv_connections_write(struct kv_connections *connections)
{
    while (!kv_list_is_empty(&connections->dirty)) {
        kv_output_flush(FIRST(&connections->dirty, dirty));
    }
}

bool kv_connections_are_unsettled(const struct kv_connections *connections)
{
    return !kv_list_is_empty(&connections->doomed) || !kv_list_is_empty(&connections->dirty);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void close_list(struct kv_list *list)
{
    while (!kv_list_is_empty(list)) {
        kv_output_close(FIRST(list, link));
    }
}

void kv_connections_close(struct kv_connections *connections)
{
    close_list(&connections->pending);
    close_list(&connections->up);
}

void kv_connections_finish(struct kv_connections *connections)
{
    kv_free(connections->space);
}
