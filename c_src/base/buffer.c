#include <kv/buffer.h>
#include <kv/error.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/endian.h"

enum { SMALLEST_CAPACITY = 64 };

void kv_buffer_free(struct kv_buffer *buffer)
{
    kv_free(buffer->data);
    *buffer = (struct kv_buffer)KV_BUFFER_INIT;
}

static size_t grown(const struct kv_buffer *buffer, size_t more)
{
    size_t wanted = buffer->length + more;
    kv_assert(buffer->length <= buffer->capacity && wanted >= more);
    size_t capacity = buffer->capacity < SMALLEST_CAPACITY ? SMALLEST_CAPACITY : buffer->capacity;
    while (capacity < wanted) {
        capacity += capacity / 2;
    }
    return capacity;
}

uint8_t *kv_buffer_grow(struct kv_buffer *buffer, size_t more)
{
    buffer->capacity = grown(buffer, more);
    buffer->data = kv_realloc(buffer->data, buffer->capacity);
    return buffer->data + buffer->length;
}

int kv_buffer_try_reserve(struct kv_buffer *buffer, size_t more)
{
    if (buffer->data != NULL && buffer->capacity - buffer->length >= more) {
        return KV_OK;
    }
    size_t capacity = grown(buffer, more);
    uint8_t *moved = kv_try_realloc(buffer->data, capacity);
    if (moved == NULL) {
        return KV_ENOMEM;
    }
    buffer->data = moved;
    buffer->capacity = capacity;
    return KV_OK;
}

void kv_buffer_u8(struct kv_buffer *buffer, uint8_t value)
{
    *kv_buffer_reserve(buffer, 1) = value;
    buffer->length += 1;
}

void kv_buffer_u16(struct kv_buffer *buffer, uint16_t value)
{
    kv_set16(kv_buffer_reserve(buffer, 2), value);
    buffer->length += 2;
}

void kv_buffer_u32(struct kv_buffer *buffer, uint32_t value)
{
    kv_set32(kv_buffer_reserve(buffer, 4), value);
    buffer->length += 4;
}

void kv_buffer_u64(struct kv_buffer *buffer, uint64_t value)
{
    kv_set64(kv_buffer_reserve(buffer, 8), value);
    buffer->length += 8;
}

void kv_buffer_append(struct kv_buffer *buffer, struct kv_bytes bytes)
{
    if (bytes.length > 0) {
        memcpy(kv_buffer_reserve(buffer, bytes.length), bytes.data, bytes.length);
        buffer->length += bytes.length;
    }
}

void kv_buffer_consume(struct kv_buffer *buffer, size_t count)
{
    if (count >= buffer->length) {
        buffer->length = 0;
        return;
    }
    if (count > 0) {
        memmove(buffer->data, buffer->data + count, buffer->length - count);
        buffer->length -= count;
    }
}
