#include "net/refused.h"

#include "net/connections.h"

/* The first one at once, then one line in KV_DROPPED_LOG_MS: a peer must not fill the log. */
static void log_dropped(struct kv_connection *connection, uint64_t length, int why, int opcode)
{
    uint64_t now = uv_now(connection->owner->net->loop);
    connection->dropped++;
    if (connection->dropped_logged > 0 && now - connection->dropped_logged < KV_DROPPED_LOG_MS) {
        return;
    }
    kv_log(connection->owner->net->log, KV_LOG_WARNING,
           "connection to %s: dropped %llu message%s that nobody could be told of, the last a "
           "control message %d of %llu bytes: %s",
           connection->label, (unsigned long long)connection->dropped,
           connection->dropped == 1 ? "" : "s", opcode, (unsigned long long)length,
           kv_error_text(why));
    connection->dropped = 0;
    connection->dropped_logged = now > 0 ? now : 1;
}

int kv_connection_refuse(struct kv_connection *connection, struct kv_bytes head, uint64_t length,
                         int why, int *opcode)
{
    const struct kv_refusal refusal = {
        .error = why,
        .amount = why == KV_EDEPTH ? connection->codec.limits.depth : length,
    };
    struct kv_signal signal;
    bool known = false;
    bool told = false;
    int error = kv_codec_decode_refused(&connection->codec, head, head.length < length, &signal,
                                        opcode, &known);
    if (error == KV_OK && known) {
        error = kv_runtime_refuse(connection->owner->net->runtime, connection->peer, &signal,
                                  &refusal, &told);
    }
    if (error == KV_OK && !told) {
        log_dropped(connection, length, why, *opcode);
    }
    return error;
}
