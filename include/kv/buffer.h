/* A growable run of bytes, appended to at the end. */
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

/* Releases the memory; the buffer is empty and usable afterwards. */
void kv_buffer_free(struct kv_buffer *buffer);

/* Room for `more` bytes behind the present ones, which stay. The pointer returned is where they
 * will lie, valid until the next call that may grow the buffer; length is not changed. */
static inline uint8_t *kv_buffer_reserve(struct kv_buffer *buffer, size_t more);

/* The same, where there is no room yet. */
uint8_t *kv_buffer_grow(struct kv_buffer *buffer, size_t more);

static inline uint8_t *kv_buffer_reserve(struct kv_buffer *buffer, size_t more)
{
    return buffer->data != NULL && buffer->capacity - buffer->length >= more
               ? buffer->data + buffer->length
               : kv_buffer_grow(buffer, more);
}

/* As kv_buffer_reserve(), for sizes that a peer chooses: KV_ENOMEM instead of ending the program.
 */
int kv_buffer_try_reserve(struct kv_buffer *buffer, size_t more);

void kv_buffer_u8(struct kv_buffer *buffer, uint8_t value);
void kv_buffer_u16(struct kv_buffer *buffer, uint16_t value);
void kv_buffer_u32(struct kv_buffer *buffer, uint32_t value);
void kv_buffer_u64(struct kv_buffer *buffer, uint64_t value);
void kv_buffer_append(struct kv_buffer *buffer, struct kv_bytes bytes);

/* Drops the first `count` bytes (at most length) and moves the rest to the front. */
void kv_buffer_consume(struct kv_buffer *buffer, size_t count);

static inline struct kv_bytes kv_buffer_bytes(const struct kv_buffer *buffer)
{
    return kv_bytes(buffer->data, buffer->length);
}

/* What was appended since its length was `start`. */
static inline struct kv_bytes kv_buffer_since(const struct kv_buffer *buffer, size_t start)
{
    return buffer->length == start ? kv_bytes(NULL, 0)
                                   : kv_bytes(buffer->data + start, buffer->length - start);
}

/* Empties the buffer; its memory stays for the next use. */
static inline void kv_buffer_clear(struct kv_buffer *buffer)
{
    buffer->length = 0;
}

#endif
