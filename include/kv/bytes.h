/* A borrowed run of bytes. The function that returns one says how long it stays valid. */
#ifndef KV_BYTES_H
#define KV_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct kv_bytes {
    const uint8_t *data; /* may be NULL only when length is 0 */
    size_t length;
};

static inline struct kv_bytes kv_bytes(const void *data, size_t length)
{
    return (struct kv_bytes){.data = data, .length = length};
}

/* The bytes of a C string, without its terminator. */
static inline struct kv_bytes kv_bytes_text(const char *text)
{
    return kv_bytes(text, strlen(text));
}

static inline bool kv_bytes_equal(struct kv_bytes a, struct kv_bytes b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

static inline bool kv_bytes_is(struct kv_bytes a, const char *text)
{
    return kv_bytes_equal(a, kv_bytes_text(text));
}

#endif
