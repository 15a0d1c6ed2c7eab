#include "durable/blocks.h"

#include "base/alloc.h"
#include "durable/segment.h"

#include <kv/error.h>

enum { SMALLEST = 16 * KV_BLOCK };

static int grow(struct kv_blocks *blocks, uint64_t wanted)
{
    uint64_t capacity = blocks->capacity < SMALLEST ? SMALLEST : 2 * blocks->capacity;
    capacity = capacity < wanted ? kv_padded(wanted) : capacity;
    uint8_t *memory = kv_try_realloc(NULL, (size_t)capacity + KV_BLOCK);
    if (memory == NULL) {
        return KV_ENOMEM;
    }
    uint8_t *data = memory + (KV_BLOCK - (uintptr_t)memory % KV_BLOCK) % KV_BLOCK;
    if (blocks->length > 0) {
        memcpy(data, blocks->data, (size_t)blocks->length);
    }
    kv_free(blocks->memory);
    blocks->memory = memory;
    blocks->data = data;
    blocks->capacity = capacity;
    return KV_OK;
}

int kv_blocks_reserve(struct kv_blocks *blocks, uint64_t more)
{
    if (blocks->capacity - blocks->length >= more) {
        return KV_OK;
    }
    return more > INT64_MAX - blocks->length - KV_BLOCK ? KV_ENOMEM
                                                        : grow(blocks, blocks->length + more);
}

void kv_blocks_pad(struct kv_blocks *blocks)
{
    const uint64_t padded = kv_padded(blocks->length);
    if (padded > blocks->length) {
        memset(blocks->data + blocks->length, 0, (size_t)(padded - blocks->length));
        blocks->length = padded;
    }
}

void kv_blocks_clear(struct kv_blocks *blocks, uint64_t most)
{
    blocks->length = 0;
    if (blocks->capacity > most) {
        kv_free(blocks->memory);
        *blocks = (struct kv_blocks){0};
    }
}
