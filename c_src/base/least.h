/* The lesser of two sizes. */
#ifndef KV_BASE_LEAST_H
#define KV_BASE_LEAST_H

#include <stdint.h>

static inline uint64_t kv_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
