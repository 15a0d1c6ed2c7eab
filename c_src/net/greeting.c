#include "net/greeting.h"

#include "net/connections.h"
#include "net/output.h"

#include <stdio.h>

static void refuse(struct kv_connection *connection, const char *why)
{
    kv_connection_doom(connection, KV_LOG_WARNING, why);
}

/* From now on log lines name the node that it claims to be. */
static void name(struct kv_connection *connection)
{
    char address[KV_LABEL_MAX];
    struct kv_bytes peer = kv_handshake_peer(&connection->handshake);
    (void)snprintf(address, sizeof(address), "%s", connection->label);
    (void)snprintf(connection->label, sizeof(connection->label), "%.*s (%.48s)", (int)peer.length,
                   (const char *)peer.data, address);
}

/* A node that is connected already is told so ("alive"). If a second newcomer of that name comes
 * before the first has finished, OTP closes it without an answer (lib/kernel/src/net_kernel.erl,
 * handle_info({accept_pending, ...})). Here each newcomer may go on: a stranger that claims the
 * name and is silent must not keep its owner out. */
static void take_name(struct kv_connection *connection)
{
    struct kv_connections *all = connection->owner;
    struct kv_handshake *handshake = &connection->handshake;
    bool connected = kv_connections_find(all, kv_handshake_peer(handshake)) != NULL;
    if (!connected && kv_connections_is_full(all, kv_handshake_peer(handshake))) {
        kv_handshake_refuse(handshake, &connection->output);
        refuse(connection, "there are --max-peers connections already");
    } else {
        kv_handshake_answer_name(handshake, connected, &connection->output);
    }
}

/* The newcomer knows the cookie: an older connection under its name makes way. */
static void welcome(struct kv_connection *connection)
{
    struct kv_connections *all = connection->owner;
    struct kv_net *net = all->net;
    struct kv_bytes peer = kv_handshake_peer(&connection->handshake);
    struct kv_connection *old = kv_connections_find(all, peer);
    if (old != NULL) {
        kv_log(net->log, KV_LOG_NOTICE, "connection to %s closed: it connected again as %s",
               old->label, connection->label);
        kv_output_close(old);
    } else if (kv_connections_is_full(all, peer)) {
        refuse(connection, "there are --max-peers connections already");
        return;
    }
    kv_handshake_accept(&connection->handshake, &connection->output);
    kv_connections_promote(all, connection);
    kv_log(net->log, KV_LOG_INFO, "connected to %s", connection->label);
    connection->peer =
        kv_runtime_peer_up(net->runtime, peer, connection->handshake.creation, connection);
    kv_connection_agree(connection);
    /* Nothing else on the wire tells OTP 25 from 27. Nodes that know this flag are newer. */
    if ((connection->handshake.flags & KV_DFLAG_ALTACT_SIG) != 0) {
        kv_runtime_peer_expects(connection->peer, KV_GET_STATE_TAGGED);
    }
    if ((connection->handshake.flags & KV_DFLAG_PUBLISHED) == 0) {
        kv_runtime_peer_is_hidden(connection->peer);
    }
    kv_runtime_peer_ready(connection->peer); /* may send: everything else is set up by now */
}

/* Takes one message. Returns false if none is complete. */
static bool feed(struct kv_connection *connection)
{
    struct kv_handshake *handshake = &connection->handshake;
    bool nameless = handshake->name_length == 0;
    size_t consumed = 0;
    int error = kv_handshake_feed(handshake, kv_buffer_bytes(&connection->input), &consumed,
                                  &connection->output);
    kv_buffer_consume(&connection->input, consumed);
    if (nameless && handshake->name_length > 0) {
        name(connection);
    }
    if (error != KV_OK) {
        refuse(connection, kv_error_text(error));
    }
    return consumed > 0;
}

/* One step. Returns false if there is nothing more to do for now. */
static bool step(struct kv_connection *connection)
{
    switch (connection->handshake.step) {
    case KV_HANDSHAKE_NAMED:
        take_name(connection);
        return true;
    case KV_HANDSHAKE_VERIFIED:
        welcome(connection);
        return true;
    case KV_HANDSHAKE_DONE:
    case KV_HANDSHAKE_REFUSED:
        return false;
    default:
        return feed(connection);
    }
}

void kv_greeting_continue(struct kv_connection *connection)
{
    while (!kv_connection_is_doomed(connection) && step(connection)) {
    }
    if (connection->output.length > 0) {
        kv_output_added(connection);
    }
}
