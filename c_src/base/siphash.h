/* SipHash-1-3: a keyed hash, so that a peer cannot choose keys that collide.
 * Jean-Philippe Aumasson and Daniel J. Bernstein, "SipHash: a fast short-input PRF", 2012. */
#ifndef KV_BASE_SIPHASH_H
#define KV_BASE_SIPHASH_H

#include <kv/bytes.h>

struct kv_hash_key {
    uint64_t k0;
    uint64_t k1;
};

/* O(length); the same bytes and key give the same hash on every machine. */
uint64_t kv_siphash(const struct kv_hash_key *key, struct kv_bytes bytes);

#endif
