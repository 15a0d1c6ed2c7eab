#include "wire/long.h"

#include "base/alloc.h"
#include "term/piecewise.h"
#include "wire/control.h"

struct kv_long_message {
    const struct kv_codec *codec;
    struct kv_bytes frame;
    struct kv_piecewise *payload;
};

struct kv_long_message *kv_long_message_new(const struct kv_codec *codec, struct kv_bytes frame,
                                            size_t least)
{
    struct kv_bytes payload;
    int error = kv_control_find_payload(frame, codec->flags, &codec->limits, &payload);
    if (error != KV_OK || payload.length <= least) {
        return NULL;
    }
    struct kv_long_message *message = kv_alloc(sizeof *message);
    message->codec = codec;
    message->frame = frame;
    message->payload = kv_piecewise_new(payload, &codec->limits);
    return message;
}

bool kv_long_message_go_on(struct kv_long_message *message, size_t bytes)
{
    return kv_piecewise_go_on(message->payload, bytes);
}

int kv_long_message_decode(const struct kv_long_message *message, struct kv_incoming *incoming,
                           int *opcode)
{
    const struct kv_codec *codec = message->codec;
    struct kv_verdict verdict = {0};
    verdict.error = kv_piecewise_result(message->payload, &verdict.length);
    incoming->call = KV_CALL_UNKNOWN;
    return kv_control_decode_validated(message->frame, codec->flags, &codec->limits,
                                       codec->shapes.peer, &verdict, &incoming->signal, opcode);
}

void kv_long_message_free(struct kv_long_message *message)
{
    if (message != NULL) {
        kv_piecewise_free(message->payload);
        kv_free(message);
    }
}
