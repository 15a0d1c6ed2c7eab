#include "process/send.h"

#include "process/address.h"
#include "process/emit.h"
#include "process/state.h"

#include <kv/log.h>

void kv_send_signal(struct kv_process *self, struct kv_bytes node, struct kv_signal *signal)
{
    struct kv_peer *peer = kv_route(self->runtime, node);
    if (peer == NULL) {
        kv_log_line(self->runtime, KV_LOG_DEBUG, "dropped a message to %.*s: not connected",
                    (int)node.length, (const char *)node.data);
        return;
    }
    signal->from = kv_process_pid(self);
    kv_emit(peer, signal);
}

void kv_send(struct kv_process *self, const struct kv_pid *to, struct kv_bytes message)
{
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE, .to = *to, .payload = {message}, .payload_parts = 1};
    kv_send_signal(self, to->node, &signal);
}

void kv_send_name(struct kv_process *self, struct kv_bytes node, struct kv_bytes name,
                  struct kv_bytes message)
{
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE_NAME, .name = name, .payload = {message}, .payload_parts = 1};
    kv_send_signal(self, node, &signal);
}

void kv_send_to(struct kv_process *self, struct kv_bytes process, struct kv_bytes message)
{
    struct kv_pid pid;
    struct kv_bytes name;
    struct kv_bytes node;
    struct kv_reader reader = kv_reader(process);
    if (kv_read_pid(&reader, &pid) == KV_OK) {
        kv_send(self, &pid, message);
    } else if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_atom(&reader, &name) == KV_OK &&
               kv_read_atom(&reader, &node) == KV_OK) {
        kv_send_name(self, node, name, message);
    }
}
