/* Memory that is given back in pieces: the system takes milliseconds for some ten megabytes at
 * once. Only for one thread, the one of the node's loop. */
#ifndef KV_BASE_LATER_H
#define KV_BASE_LATER_H

#include <kv/buffer.h>
#include <stdbool.h>

enum {
    KV_LATER_PIECE = 1024 * 1024,         /* bytes: less is freed at once */
    KV_LATER_MOST = 512 * KV_LATER_PIECE, /* bytes that wait: more is freed at once */
};

/* From now on somebody calls kv_free_more(). Before, the two functions below free at once. */
void kv_later_begin(void);

/* As kv_free(), of `size` bytes that kv_alloc() or its kin returned. The memory may be freed later.
 * `pointer` may be NULL. */
void kv_free_later(void *pointer, size_t size);

/* As kv_buffer_free(). */
void kv_buffer_free_later(struct kv_buffer *buffer);

/* Frees a piece of what waits. Returns true if more waits. */
bool kv_free_more(void);

#endif
