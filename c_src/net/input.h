/* The input of a connection: bytes become frames, and frames become signals for the runtime. */
#ifndef KV_NET_INPUT_H
#define KV_NET_INPUT_H

#include "net/connection.h"

enum {
    KV_EARLY_MESSAGES = 64,     /* messages in one turn before the net is told to hurry */
    KV_READ_TURN = 1024 * 1024, /* bytes read of one peer before the others have their turn */
    /* The same while a message comes in fragments: each of its bytes is copied to memory that the
     * system has to find first. */
    KV_ASSEMBLY_TURN = 256 * 1024,
    /* Bytes of a message that are validated at once. A longer message is validated in so many
     * turns, before it is handled, and its peer is not read meanwhile. */
    KV_CHECK_TURN = 256 * 1024,
};

/* For room(), took() and ended() of the stream, whose user is the connection. A pending connection
 * gets room for one handshake message: more waits in the kernel. */
struct kv_room kv_input_room(void *user);
void kv_input_took(struct kv_connection *connection, struct kv_room room, size_t count);
void kv_input_ended(void *user, int error);

/* A new turn: reads on from all peers that have been read enough in the last one, and validates a
 * piece of one long message. */
void kv_input_begin_turn(struct kv_connections *connections);

/* Leaves further frames of the peer whose frame is being handled to the next turn. */
void kv_input_rest(struct kv_connections *connections);

/* After kv_input_begin_turn(): returns true if the next turn should come at once, because a long
 * message is being validated, or frames were left to it. */
bool kv_input_goes_on(const struct kv_connections *connections);

/* Reads on from all peers that are `eased`. Frames that are there already are handled first.
 * Returns true if there was one. */
bool kv_input_resume(struct kv_connections *connections);

#endif
