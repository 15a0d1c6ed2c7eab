/* Memory: the only place that calls malloc, realloc and free.
 *
 * Two kinds of request. kv_alloc() and kv_realloc() are for what the node itself needs: they never
 * return NULL; when the system has no memory left the program says so on standard output and ends
 * with KV_EXIT_OUT_OF_MEMORY, and its supervisor starts it anew. kv_try_realloc() is for sizes that
 * a peer chooses: it returns NULL, and the caller gives up that peer only. */
#ifndef KV_ALLOC_H
#define KV_ALLOC_H

#include <stddef.h>

#define KV_EXIT_OUT_OF_MEMORY 71

/* Uninitialised memory for size bytes (at least one); the caller frees it with kv_free(). */
void *kv_alloc(size_t size);

/* As kv_alloc(), all bytes zero. */
void *kv_zalloc(size_t size);

/* As realloc(3); pointer may be NULL. */
void *kv_realloc(void *pointer, size_t size);

/* As kv_realloc(), but NULL when there is no memory; pointer then stays valid. */
void *kv_try_realloc(void *pointer, size_t size);

/* As free(3); pointer may be NULL. */
void kv_free(void *pointer);

/* What kv_alloc() does when there is no memory; for a caller of kv_try_realloc() that cannot go on
 * without it. */
_Noreturn void kv_out_of_memory(size_t size);

/* Blocks handed out and not freed yet, for tests that look for leaks. */
size_t kv_alloc_outstanding(void);

#endif
