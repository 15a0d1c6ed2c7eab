#include "base/siphash_inline.h"

uint64_t kv_siphash(const struct kv_hash_key *key, struct kv_bytes bytes)
{
    return kv_siphash_inline(key, bytes);
}
