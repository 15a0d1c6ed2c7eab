/* SipHash-1-3 as an inline function, for loops over many keys. All others call kv_siphash(). */
#ifndef KV_BASE_SIPHASH_INLINE_H
#define KV_BASE_SIPHASH_INLINE_H

#include "base/siphash.h"

struct kv_siphash_state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t kv_siphash_rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline void kv_siphash_round(struct kv_siphash_state *s)
{
    s->v0 += s->v1;
    s->v1 = kv_siphash_rotate(s->v1, 13) ^ s->v0;
    s->v0 = kv_siphash_rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = kv_siphash_rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = kv_siphash_rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = kv_siphash_rotate(s->v1, 17) ^ s->v2;
    s->v2 = kv_siphash_rotate(s->v2, 32);
}

static inline uint64_t kv_siphash_word(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

static inline uint64_t kv_siphash_load(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return kv_siphash_word(word);
}

/* Returns the last `count` bytes, fewer than 8, of a run of `length` bytes that ends at `end`.
 * Where the run is long enough this is one load, which begins before the last `count` bytes. */
static inline uint64_t kv_siphash_last(const uint8_t *end, size_t count, size_t length)
{
    if (count > 0 && length >= sizeof(uint64_t)) {
        return kv_siphash_load(end - sizeof(uint64_t)) >> (8 * (sizeof(uint64_t) - count));
    }
    uint64_t word = 0;
    for (size_t i = 0; i < count; i++) {
        word |= (uint64_t)end[(ptrdiff_t)i - (ptrdiff_t)count] << (8 * i);
    }
    return word;
}

static inline void kv_siphash_compress(struct kv_siphash_state *s, uint64_t word)
{
    s->v3 ^= word;
    kv_siphash_round(s);
    s->v0 ^= word;
}

__attribute__((always_inline)) static inline uint64_t
kv_siphash_inline(const struct kv_hash_key *key, struct kv_bytes bytes)
{
    struct kv_siphash_state s = {
        .v0 = key->k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = key->k1 ^ UINT64_C(0x646f72616e646f6d),
        .v2 = key->k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = key->k1 ^ UINT64_C(0x7465646279746573),
    };
    size_t whole = bytes.length & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        kv_siphash_compress(&s, kv_siphash_load(bytes.data + i));
    }
    uint64_t last = (uint64_t)(bytes.length & 0xff) << 56;
    if (bytes.length > whole) {
        last |= kv_siphash_last(bytes.data + bytes.length, bytes.length - whole, bytes.length);
    }
    kv_siphash_compress(&s, last);
    s.v2 ^= 0xff;
    kv_siphash_round(&s);
    kv_siphash_round(&s);
    kv_siphash_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
