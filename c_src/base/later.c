#include "base/later.h"

#include "base/alloc.h"

/* A block that waits, in its own first bytes. */
struct waiting {
    struct waiting *next;
    size_t size;
};

/* The program has one loop. */
static bool begun;
static struct waiting *first;
static size_t bytes;

void kv_later_begin(void)
{
    begun = true;
}

void kv_free_later(void *pointer, size_t size)
{
    if (!begun || size < KV_LATER_PIECE || size > KV_LATER_MOST - bytes) {
        kv_free(pointer);
        return;
    }
    struct waiting *block = pointer;
    *block = (struct waiting){.next = first, .size = size};
    first = block;
    bytes += size;
}

void kv_buffer_free_later(struct kv_buffer *buffer)
{
    kv_free_later(buffer->data, buffer->capacity);
    *buffer = (struct kv_buffer)KV_BUFFER_INIT;
}

/* The system takes the end of a block back when the block gets smaller. */
bool kv_free_more(void)
{
    struct waiting *block = first;
    if (block == NULL) {
        return false;
    }
    first = block->next;
    bytes -= block->size;
    struct waiting *smaller = NULL;
    if (block->size > KV_LATER_PIECE) {
        smaller = kv_try_realloc(block, block->size - KV_LATER_PIECE);
    }
    if (smaller == NULL) {
        kv_free(block);
        return first != NULL;
    }
    smaller->size -= KV_LATER_PIECE;
    smaller->next = first;
    first = smaller;
    bytes += smaller->size;
    return true;
}
