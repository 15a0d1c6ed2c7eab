/* A message whose payload is validated in pieces, before it is decoded. */
#ifndef KV_WIRE_LONG_H
#define KV_WIRE_LONG_H

#include "wire/codec.h"

struct kv_long_message;

/* Begins with a whole frame, which is borrowed. Returns NULL if its payload has no more than
 * `least` bytes, or its control message is bad: then kv_codec_decode() takes the frame at once.
 * Freed with kv_long_message_free(). */
struct kv_long_message *kv_long_message_new(const struct kv_codec *codec, struct kv_bytes frame,
                                            size_t least);

/* Validates some `bytes` more. Returns true if there is more to do. */
bool kv_long_message_go_on(struct kv_long_message *message, size_t bytes);

/* After the last piece: as kv_codec_decode(). */
int kv_long_message_decode(const struct kv_long_message *message, struct kv_incoming *incoming,
                           int *opcode);

/* `message` may be NULL. */
void kv_long_message_free(struct kv_long_message *message);

#endif
