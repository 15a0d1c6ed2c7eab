#include "net/pending.h"

#include "base/least.h"
#include "net/address.h"
#include "net/connection.h"
#include "net/input.h"
#include "net/output.h"

#include <openssl/rand.h>
#include <sys/resource.h>

/* ---- the deadline ---------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer);

static void watch_deadline(struct kv_pending *pending)
{
    const struct kv_list *all = &pending->connections->pending;
    if (kv_list_is_empty(all)) {
        uv_timer_stop(&pending->deadline);
        return;
    }
    uint64_t now = uv_now(pending->connections->net->loop);
    uint64_t deadline = KV_LIST_OF(all->next, struct kv_connection, link)->deadline;
    uv_timer_start(&pending->deadline, on_deadline, deadline > now ? deadline - now : 0, 0);
}

/* All pending connections get the same time, so they expire in the order of their list. */
static void on_deadline(uv_timer_t *timer)
{
    struct kv_pending *pending = timer->data;
    uint64_t now = uv_now(timer->loop);
    KV_LIST_FOREACH (link, &pending->connections->pending) {
        struct kv_connection *connection = KV_LIST_OF(link, struct kv_connection, link);
        if (connection->deadline > now) {
            break;
        }
        kv_connection_doom(connection, KV_LOG_WARNING, kv_error_text(KV_ETIMEOUT));
        kv_output_close(connection);
    }
    watch_deadline(pending);
}

/* ---- room ------------------------------------------------------------------------------------ */

/* A flood of strangers must not become a flood of log lines. */
static void tell_of_sent_away(struct kv_pending *pending, const char *label)
{
    struct kv_net *net = pending->connections->net;
    struct kv_sent_away *away = &pending->sent_away;
    uint64_t now = uv_now(net->loop);
    away->count++;
    if (away->told == 0 || now - away->told >= KV_SENT_AWAY_MS) {
        kv_log(net->log, KV_LOG_WARNING,
               "handshake with %s closed: too many others are waiting (%zu since the last line)",
               label, away->count);
        *away = (struct kv_sent_away){.told = now};
    }
}

/* Returns true if the pool has one less. The stream is looked at first: many connections are
 * accepted before their sockets are read, and this one may be about to go on. */
static bool send_away(struct kv_pending *pending, const struct kv_strangers *pool)
{
    struct kv_stranger *first = kv_strangers_first(pool);
    if (first == NULL) {
        return false;
    }
    struct kv_connection *connection =
        (void *)((char *)first - offsetof(struct kv_connection, stranger));
    if (!kv_connection_is_doomed(connection)) {
        connection->stream->kind->look(connection->stream);
    }
    if (first->pool != pool) {
        return true; /* it has gone on */
    }
    if (!kv_connection_is_doomed(connection)) {
        tell_of_sent_away(pending, connection->label);
    }
    kv_output_close(connection);
    return true;
}

static void make_room(struct kv_pending *pending, const struct kv_strangers *pool)
{
    while (pool->count >= pending->strangers_max && send_away(pending, pool)) {
    }
}

static void tell_not_accepted(struct kv_pending *pending, int error)
{
    kv_log(pending->connections->net->log, KV_LOG_ERROR, "cannot accept a connection: %s",
           uv_strerror(error));
}

void kv_pending_starve(struct kv_pending *pending, int error)
{
    if (!send_away(pending, &pending->unnamed) && !send_away(pending, &pending->named)) {
        tell_not_accepted(pending, error);
    }
}

/* Strangers get the places that peers leave, or a quarter of all, and a few if there are few. */
static size_t room_for_strangers(size_t room, size_t peers)
{
    size_t left = room > peers ? room - peers : 0;
    size_t some = kv_least(KV_STRANGERS_LEAST, room / 2);
    some = room / 4 > some ? room / 4 : some;
    return kv_least(left > some ? left : some, 2 * (size_t)KV_STRANGERS_MAX);
}

void kv_pending_fit(struct kv_pending *pending)
{
    struct kv_net *net = pending->connections->net;
    uint64_t *max_peers = &net->limits.max_peers;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return;
    }
    size_t all = (size_t)limit.rlim_cur;
    size_t room = all > KV_DESCRIPTORS_KEPT ? all - KV_DESCRIPTORS_KEPT : 0;
    room = room < 4 ? 4 : room;
    size_t strangers = room_for_strangers(room, *max_peers);
    pending->strangers_max = strangers / 2;
    if (*max_peers > room - strangers) {
        kv_log(net->log, KV_LOG_WARNING,
               "at most %zu files can be open: so there are at most %zu connections, not %llu "
               "(--max-peers), and %zu handshakes at a time. Raise the hard limit (ulimit -Hn)",
               all, room - strangers, (unsigned long long)*max_peers, strangers);
        *max_peers = room - strangers;
    }
}

/* ---- coming in ------------------------------------------------------------------------------- */

/* A connection without a name cannot push out one that has a name. */
static void note_name(struct kv_connection *connection)
{
    struct kv_pending *pending = connection->pending;
    if (connection->stranger.pool == &pending->unnamed && !kv_connection_is_doomed(connection) &&
        kv_handshake_peer(&connection->handshake).length > 0) {
        make_room(pending, &pending->named);
        kv_strangers_move(&pending->named, &connection->stranger);
    }
}

static void on_took(void *user, struct kv_room room, size_t count)
{
    struct kv_connection *connection = user;
    kv_input_took(connection, room, count);
    if (connection->stranger.pool != NULL) {
        note_name(connection);
    }
}

static void on_closed(void *user)
{
    kv_connection_free(user);
}

static const struct kv_stream_user calls = {
    .room = kv_input_room,
    .took = on_took,
    .ended = kv_input_ended,
    .written = kv_output_written,
    .closed = on_closed,
};

static uint64_t address_of(const struct kv_stream *stream)
{
    struct sockaddr_storage address;
    bool known = kv_address_there(stream->socket, &address);
    return known ? kv_strangers_address((const struct sockaddr *)&address) : 0;
}

int kv_pending_add(struct kv_pending *pending, struct kv_stream *stream)
{
    struct kv_connections *connections = pending->connections;
    const struct kv_net *net = connections->net;
    uint32_t challenge = 0;
    bool random = RAND_bytes((unsigned char *)&challenge, sizeof(challenge)) == 1;
    struct kv_connection *connection = kv_connection_new(connections, stream, &calls, challenge);
    int error = random ? stream->kind->start(stream) : UV_EIO;
    if (error != 0) {
        kv_connection_close(connection);
        return error;
    }
    make_room(pending, &pending->unnamed);
    connection->pending = pending;
    connection->deadline = uv_now(net->loop) + net->limits.handshake_timeout;
    kv_list_append(&connections->pending, &connection->link);
    kv_strangers_add(&pending->unnamed, &connection->stranger, address_of(stream));
    if (!uv_is_active((uv_handle_t *)&pending->deadline)) {
        watch_deadline(pending);
    }
    return 0;
}

void kv_pending_accept(struct kv_pending *pending, uv_stream_t *server)
{
    int error = 0;
    make_room(pending, &pending->unnamed); /* a descriptor may be needed for the new one */
    const struct kv_net *net = pending->connections->net;
    struct kv_stream *stream = kv_stream_accept(server, &error);
    if (stream != NULL && net->secure != NULL) {
        stream = net->secure(net->context, stream);
        error = stream == NULL ? UV_ENOMEM : 0;
    }
    if (stream != NULL) {
        error = kv_pending_add(pending, stream);
    }
    if (error != 0) {
        tell_not_accepted(pending, error);
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

int kv_pending_init(struct kv_pending *pending, struct kv_connections *connections)
{
    struct kv_hash_key key;
    *pending = (struct kv_pending){.connections = connections, .strangers_max = KV_STRANGERS_MAX};
    uv_timer_init(connections->net->loop, &pending->deadline);
    pending->deadline.data = pending;
    if (RAND_bytes((unsigned char *)&key, sizeof(key)) != 1) {
        return UV_EIO;
    }
    kv_strangers_init(&pending->unnamed, &key);
    kv_strangers_init(&pending->named, &key);
    return 0;
}

void kv_pending_finish(struct kv_pending *pending)
{
    kv_strangers_free(&pending->unnamed);
    kv_strangers_free(&pending->named);
}
