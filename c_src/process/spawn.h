/* Spawn requests of peers. */
#ifndef KV_PROCESS_SPAWN_H
#define KV_PROCESS_SPAWN_H

#include <kv/process.h>

struct kv_peer;

void kv_spawn_received(struct kv_peer *peer, const struct kv_signal *request);

/* Answers a request with an error. Only `ref` and `from` of the request need to be set. */
void kv_spawn_refuse(struct kv_peer *peer, const struct kv_signal *request, const char *error);

#endif
