/* Growable memory that begins at a multiple of KV_BLOCK, as O_DIRECT wants. */
#ifndef KV_DURABLE_BLOCKS_H
#define KV_DURABLE_BLOCKS_H

#include <kv/bytes.h>

struct kv_blocks {
    uint8_t *memory; /* owned; NULL while capacity is 0 */
    uint8_t *data;   /* the first multiple of KV_BLOCK in it */
    uint64_t length;
    uint64_t capacity; /* a multiple of KV_BLOCK */
};

/* Makes room for `more` bytes behind the present ones. Returns KV_OK or KV_ENOMEM. */
int kv_blocks_reserve(struct kv_blocks *blocks, uint64_t more);

/* Fills up with zeros to a whole block. Needs no memory. */
void kv_blocks_pad(struct kv_blocks *blocks);

/* Empties it; and frees its memory if that is more than `most` bytes. */
void kv_blocks_clear(struct kv_blocks *blocks, uint64_t most);

#endif
