/* Whether short runs of bytes are the same: to call memcmp() costs more than to compare them. */
#ifndef KV_SAME_H
#define KV_SAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { KV_SAME_INLINE_MAX = 32 };

static inline uint64_t kv_same_load(const uint8_t *bytes, size_t size)
{
    uint64_t word = 0;
    memcpy(&word, bytes, size);
    return word;
}

static inline uint64_t kv_same_differ(const uint8_t *a, const uint8_t *b)
{
    return kv_same_load(a, sizeof(uint64_t)) ^ kv_same_load(b, sizeof(uint64_t));
}

/* O(length). Neither pointer may be NULL unless length is 0. */
static inline bool kv_same_bytes(const uint8_t *a, const uint8_t *b, size_t length)
{
    if (length < sizeof(uint32_t) || length > KV_SAME_INLINE_MAX) {
        return length == 0 || memcmp(a, b, length) == 0;
    }
    if (length < sizeof(uint64_t)) { /* both ends, which may overlap */
        size_t last = length - sizeof(uint32_t);
        return kv_same_load(a, sizeof(uint32_t)) == kv_same_load(b, sizeof(uint32_t)) &&
               kv_same_load(a + last, sizeof(uint32_t)) == kv_same_load(b + last, sizeof(uint32_t));
    }
    size_t last = length - sizeof(uint64_t);
    uint64_t differs = kv_same_differ(a, b) | kv_same_differ(a + last, b + last);
    if (length > 2 * sizeof(uint64_t)) { /* the second word of each end */
        differs |= kv_same_differ(a + sizeof(uint64_t), b + sizeof(uint64_t)) |
                   kv_same_differ(a + last - sizeof(uint64_t), b + last - sizeof(uint64_t));
    }
    return differs == 0;
}

#endif
