#include "net/node.h"

#include "base/alloc.h"

#define CONNECTION(link, field) KV_LIST_OF(link, struct kv_connection, field)

static struct kv_connection *first(const struct kv_list *list, size_t field)
{
    return (struct kv_connection *)(void *)((char *)list->next - field);
}

#define FIRST(list, field) first(list, offsetof(struct kv_connection, field))

/* ---- pending connections --------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer);

static void watch_deadline(struct kv_connections *connections)
{
    if (kv_list_is_empty(&connections->pending)) {
        uv_timer_stop(&connections->deadline);
        return;
    }
    uint64_t now = uv_now(&connections->node->loop);
    uint64_t deadline = FIRST(&connections->pending, link)->deadline;
    uv_timer_start(&connections->deadline, on_deadline, deadline > now ? deadline - now : 0, 0);
}

/* All pending connections have the same time, so they expire in the order of their list. */
static void on_deadline(uv_timer_t *timer)
{
    struct kv_connections *connections = timer->data;
    uint64_t now = uv_now(timer->loop);
    KV_LIST_FOREACH (link, &connections->pending) {
        struct kv_connection *connection = CONNECTION(link, link);
        if (connection->deadline > now) {
            break;
        }
        kv_connection_doom(connection, KV_LOG_WARNING, kv_error_text(KV_ETIMEOUT));
        kv_connection_close(connection);
    }
    watch_deadline(connections);
}

static void make_room(struct kv_connections *connections)
{
    if (connections->pending_count >= KV_PENDING_MAX) {
        struct kv_connection *oldest = FIRST(&connections->pending, link);
        kv_connection_doom(oldest, KV_LOG_WARNING, "too many others are waiting");
        kv_connection_close(oldest);
    }
}

void kv_connections_accept(struct kv_connections *connections, uv_stream_t *server)
{
    struct kv_node *node = connections->node;
    int error = 0;
    make_room(connections);
    struct kv_connection *connection = kv_connection_accept(connections, server, &error);
    if (connection == NULL) {
        kv_log(&node->log, KV_LOG_ERROR, "cannot accept a connection: %s", uv_strerror(error));
        return;
    }
    connection->deadline = uv_now(&node->loop) + node->options.handshake_timeout;
    kv_list_append(&connections->pending, &connection->link);
    connections->pending_count++;
    if (!uv_is_active((uv_handle_t *)&connections->deadline)) {
        watch_deadline(connections);
    }
}

/* ---- connections that are up ----------------------------------------------------------------- */

struct kv_connection *kv_connections_find(const struct kv_connections *connections,
                                          struct kv_bytes name)
{
    KV_LIST_FOREACH (link, &connections->up) {
        struct kv_connection *connection = CONNECTION(link, link);
        if (kv_bytes_equal(kv_handshake_peer(&connection->handshake), name)) {
            return connection;
        }
    }
    return NULL;
}

void kv_connections_promote(struct kv_connections *connections, struct kv_connection *connection)
{
    kv_list_remove(&connection->link);
    kv_list_append(&connections->up, &connection->link);
    connections->pending_count--;
    connections->up_count++;
}

/* ---- the end of a turn ----------------------------------------------------------------------- */

static void close_doomed(struct kv_connections *connections)
{
    while (!kv_list_is_empty(&connections->doomed)) {
        kv_connection_close(FIRST(&connections->doomed, doomed));
    }
}

static void begin_turn(struct kv_connections *connections)
{
    while (!kv_list_is_empty(&connections->rested)) {
        struct kv_connection *connection = FIRST(&connections->rested, rested);
        kv_list_remove(&connection->rested);
        connection->turn_bytes = 0;
        connection->turn_messages = 0;
        if ((connection->held & KV_HELD_FOR_TURN) != 0) {
            kv_connection_release(connection, KV_HELD_FOR_TURN);
        }
    }
}

/* Closing a connection makes output for others, and writing may find one to close. */
static void on_turn_end(uv_prepare_t *prepare)
{
    struct kv_connections *connections = prepare->data;
    begin_turn(connections);
    kv_node_run_timers(connections->node);
    kv_node_tend_arena(connections->node);
    do {
        close_doomed(connections);
        while (!kv_list_is_empty(&connections->dirty)) {
            kv_output_flush(FIRST(&connections->dirty, dirty));
        }
    } while (!kv_list_is_empty(&connections->doomed));
    kv_node_watch_vm(connections->node);
    kv_follow_tend(&connections->follow, kv_gather_has_many(&connections->gather),
                   connections->gather.seen, uv_now(prepare->loop));
    kv_gather_wait(&connections->gather);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

int kv_connections_init(struct kv_connections *connections, struct kv_node *node)
{
    *connections = (struct kv_connections){.node = node};
    kv_list_init(&connections->pending);
    kv_list_init(&connections->up);
    kv_list_init(&connections->dirty);
    kv_list_init(&connections->doomed);
    kv_list_init(&connections->rested);
    connections->space = kv_alloc(KV_READ_CHUNK);
    uv_timer_init(&node->loop, &connections->deadline);
    uv_timer_init(&node->loop, &connections->ticker);
    uv_prepare_init(&node->loop, &connections->turn_end);
    uv_timer_init(&node->loop, &node->process_timer);
    uv_timer_init(&node->loop, &node->arena_timer);
    node->arena_timer.data = node;
    connections->deadline.data = connections;
    connections->ticker.data = connections;
    connections->turn_end.data = connections;
    return uv_prepare_start(&connections->turn_end, on_turn_end);
}

static void close_list(struct kv_list *list)
{
    while (!kv_list_is_empty(list)) {
        kv_connection_close(FIRST(list, link));
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
