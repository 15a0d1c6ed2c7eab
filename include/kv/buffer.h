/* A growable run of bytes. Appending ends the program if there is no memory; only
 * kv_buffer_try_reserve() reports it. */
#ifndef KV_BUFFER_H
#define KV_BUFFER_H

#include <kv/bytes.h>

struct kv_buffer {
    uint8_t *data; /* owned; NULL while capacity is 0 */
    size_t length;
    size_t capacity;
};

#define KV_BUFFER_INIT                                                                             \
    {                                                                                              \
        .data = NULL, .length = 0, .capacity = 0                                                   \
    }

/* Frees the memory. The buffer is empty and usable afterwards. */
void kv_buffer_free(struct kv_buffer *buffer);

/* Makes room for `more` bytes behind the present ones and returns where they begin. The pointer is
 * valid until the next call that may grow the buffer. Does not change the length: the caller adds
 * the bytes it has written. */
static inline uint8_t *kv_buffer_reserve(struct kv_buffer *buffer, size_t more);

/* The out-of-line half of kv_buffer_reserve(), for a buffer without room. */
uint8_t *kv_buffer_grow(struct kv_buffer *buffer, size_t more);

static inline uint8_t *kv_buffer_reserve(struct kv_buffer *buffer, size_t more)
{
    return buffer->data != NULL && buffer->capacity - buffer->length >= more
               ? buffer->data + buffer->length
               : kv_buffer_grow(buffer, more);
}

/* Like kv_buffer_reserve(), for sizes that a peer chooses: returns KV_ENOMEM instead of ending the
 * program. */
int kv_buffer_try_reserve(struct kv_buffer *buffer, size_t more);

void kv_buffer_u8(struct kv_buffer *buffer, uint8_t value);
void kv_buffer_u16(struct kv_buffer *buffer, uint16_t value);
void kv_buffer_u32(struct kv_buffer *buffer, uint32_t value);
void kv_buffer_u64(struct kv_buffer *buffer, uint64_t value);
void kv_buffer_append(struct kv_buffer *buffer, struct kv_bytes bytes);

/* Drops the first `count` bytes and moves the rest to the front. count must not exceed length. */
void kv_buffer_consume(struct kv_buffer *buffer, size_t count);

static inline struct kv_bytes kv_buffer_bytes(const struct kv_buffer *buffer)
{
    return kv_bytes(buffer->data, buffer->length);
}

/* The bytes appended since the length was `start`. Borrowed until the buffer grows. */
static inline struct kv_bytes kv_buffer_since(const struct kv_buffer *buffer, size_t start)
{
    return buffer->length == start ? kv_bytes(NULL, 0)
                                   : kv_bytes(buffer->data + start, buffer->length - start);
}

/* Empties the buffer and keeps its memory for the next use. */
static inline void kv_buffer_clear(struct kv_buffer *buffer)
{
    buffer->length = 0;
}

#endif
