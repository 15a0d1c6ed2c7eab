/* Where a node listens, and the sentences for one that cannot. */
#ifndef KV_NODE_PLACE_H
#define KV_NODE_PLACE_H

#include "node/options.h"

#include <uv.h>

enum { KV_PLACE_SENTENCE = 2 * KV_HOST_MAX + 512 };

/* The address to listen on, or the host that has it. */
const char *kv_place_host(const struct kv_options *options);

/* The hints for the look-up of that host. */
struct addrinfo kv_place_hints(void);

/* Of the addresses that were found: IPv4 first, because a BEAM listens there unless it is told
 * otherwise. NULL if there is none. */
const struct addrinfo *kv_place_choose(const struct addrinfo *found);

/* Why it cannot be listened there, and what to do. `error` is one of libuv. */
void kv_place_cannot_listen(const struct kv_options *options, int error,
                            char text[KV_PLACE_SENTENCE]);

/* Why there is no address. `error` is one of libuv, by getaddrinfo. */
void kv_place_unresolved(const struct kv_options *options, int error, char text[KV_PLACE_SENTENCE]);

#endif
