#include "node/node.h"

#include "base/alloc.h"

#include <openssl/rand.h>
#include <sys/resource.h>

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

/* A flood of strangers is no flood of lines. */
static void tell_of_sent_away(struct kv_connections *connections, const char *label)
{
    struct kv_sent_away *away = &connections->sent_away;
    uint64_t now = uv_now(&connections->node->loop);
    away->count++;
    if (away->told == 0 || now - away->told >= KV_SENT_AWAY_MS) {
        kv_log(&connections->node->log, KV_LOG_WARNING,
               "handshake with %s closed: too many others are waiting (%zu since the last line)",
               label, away->count);
        *away = (struct kv_sent_away){.told = now};
    }
}

/* Whether there is one less in the pool. What lies in a socket is read first: many are accepted
 * before the sockets are looked at again. */
static bool send_away(struct kv_connections *connections, const struct kv_strangers *pool)
{
    struct kv_stranger *first = kv_strangers_first(pool);
    if (first == NULL) {
        return false;
    }
    struct kv_connection *connection =
        (void *)((char *)first - offsetof(struct kv_connection, stranger));
    if (!kv_connection_is_doomed(connection)) {
        kv_connection_look(connection);
    }
    if (first->pool != pool) {
        return true; /* it has gone on */
    }
    if (!kv_connection_is_doomed(connection)) {
        tell_of_sent_away(connections, connection->label);
    }
    kv_connection_close(connection);
    return true;
}

static void make_room(struct kv_connections *connections, const struct kv_strangers *pool)
{
    while (pool->count >= connections->strangers_max && send_away(connections, pool)) {
    }
}

void kv_connections_starve(struct kv_connections *connections, int error)
{
    if (!send_away(connections, &connections->unnamed) &&
        !send_away(connections, &connections->named)) {
        kv_log(&connections->node->log, KV_LOG_ERROR, "cannot accept a connection: %s",
               uv_strerror(error));
    }
}

static uint64_t address_of(const struct kv_connection *connection)
{
    struct sockaddr_storage address = {0};
    int length = sizeof(address);
    if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&address, &length) != 0) {
        return 0;
    }
    return kv_strangers_address((const struct sockaddr *)&address);
}

void kv_connections_named(struct kv_connections *connections, struct kv_connection *connection)
{
    if (connection->stranger.pool == &connections->unnamed) {
        make_room(connections, &connections->named);
        kv_strangers_move(&connections->named, &connection->stranger);
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Strangers get what peers leave, or a quarter, and a few when there is little. */
static size_t room_for_strangers(size_t room, size_t peers)
{
    size_t left = room > peers ? room - peers : 0;
    size_t some = least(KV_STRANGERS_LEAST, room / 2);
    some = room / 4 > some ? room / 4 : some;
    return least(left > some ? left : some, 2 * (size_t)KV_STRANGERS_MAX);
}

void kv_connections_fit(struct kv_connections *connections)
{
    struct kv_node *node = connections->node;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return;
    }
    size_t all = (size_t)limit.rlim_cur;
    size_t room = all > KV_DESCRIPTORS_KEPT ? all - KV_DESCRIPTORS_KEPT : 0;
    room = room < 4 ? 4 : room;
    size_t strangers = room_for_strangers(room, node->options.max_peers);
    connections->strangers_max = strangers / 2;
    if (node->options.max_peers > room - strangers) {
        kv_log(&node->log, KV_LOG_WARNING,
               "at most %zu files can be open: so there are at most %zu connections, not %llu "
               "(--max-peers), and %zu handshakes at a time. Raise the hard limit (ulimit -Hn)",
               all, room - strangers, (unsigned long long)node->options.max_peers, strangers);
        node->options.max_peers = room - strangers;
    }
}

void kv_connections_accept(struct kv_connections *connections, uv_stream_t *server)
{
    struct kv_node *node = connections->node;
    int error = 0;
    make_room(connections, &connections->unnamed);
    struct kv_connection *connection = kv_connection_accept(connections, server, &error);
    if (connection == NULL) {
        kv_log(&node->log, KV_LOG_ERROR, "cannot accept a connection: %s", uv_strerror(error));
        return;
    }
    connection->deadline = uv_now(&node->loop) + node->options.handshake_timeout;
    kv_list_append(&connections->pending, &connection->link);
    kv_strangers_add(&connections->unnamed, &connection->stranger, address_of(connection));
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
    kv_strangers_remove(&connection->stranger);
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
    if (connections->turns_of_grace > 0) {
        kv_ticks_judge(connections);
    }
    kv_node_run_timers(connections->node);
    kv_node_tend_arena(connections->node);
    do {
        close_doomed(connections);
        while (!kv_list_is_empty(&connections->dirty)) {
            kv_output_flush(FIRST(&connections->dirty, dirty));
        }
    } while (!kv_list_is_empty(&connections->doomed));
    kv_node_watch_vm(connections->node);
    kv_pace_rest(&connections->pace, uv_now(prepare->loop));
}

/* ---- beginning and end ----------------------------------------------------------------------- */

int kv_connections_init(struct kv_connections *connections, struct kv_node *node)
{
    struct kv_hash_key key;
    *connections = (struct kv_connections){.node = node, .strangers_max = KV_STRANGERS_MAX};
    if (RAND_bytes((unsigned char *)&key, sizeof(key)) != 1) {
        return UV_EIO;
    }
    kv_strangers_init(&connections->unnamed, &key);
    kv_strangers_init(&connections->named, &key);
    kv_list_init(&connections->pending);
    kv_list_init(&connections->up);
    kv_list_init(&connections->dirty);
    kv_list_init(&connections->doomed);
    kv_list_init(&connections->rested);
    connections->space = kv_alloc(KV_READ_CHUNK);
    uv_timer_init(&node->loop, &connections->deadline);
    uv_timer_init(&node->loop, &connections->ticker);
    uv_timer_init(&node->loop, &connections->soon);
    uv_timer_init(&node->loop, &connections->patience);
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
    kv_strangers_free(&connections->unnamed);
    kv_strangers_free(&connections->named);
    kv_free(connections->space);
}
