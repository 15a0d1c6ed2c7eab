/* Big-endian integers at any address: the byte order of the distribution protocol and of external
 * terms. */
#ifndef KV_BASE_ENDIAN_H
#define KV_BASE_ENDIAN_H

#include <stdint.h>

static inline uint16_t kv_get16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t kv_get32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline uint64_t kv_get64(const uint8_t *p)
{
    return ((uint64_t)kv_get32(p) << 32) | kv_get32(p + 4);
}

static inline void kv_set16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void kv_set32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline void kv_set64(uint8_t *p, uint64_t v)
{
    kv_set32(p, (uint32_t)(v >> 32));
    kv_set32(p + 4, (uint32_t)v);
}

#endif
