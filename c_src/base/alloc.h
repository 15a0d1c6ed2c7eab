/* Memory: the only place that calls malloc, realloc and free.
 *
 * There are two kinds of request. kv_alloc(), kv_zalloc() and kv_realloc() are for the needs of the
 * program itself and never return NULL: when the system has no memory left they call
 * kv_out_of_memory(), which ends the program. kv_try_realloc() is for sizes that a peer chooses: it
 * returns NULL, and the caller gives up that peer or that request only. */
#ifndef KV_BASE_ALLOC_H
#define KV_BASE_ALLOC_H

#include <stddef.h>

/* Returns uninitialised memory for size bytes (at least one). The caller frees it with kv_free().
 */
void *kv_alloc(size_t size);

/* As kv_alloc(), with all bytes zero. */
void *kv_zalloc(size_t size);

/* As realloc(3). pointer may be NULL. */
void *kv_realloc(void *pointer, size_t size);

/* As kv_realloc(), but returns NULL if there is no memory; pointer then stays valid. */
void *kv_try_realloc(void *pointer, size_t size);

/* As free(3). pointer may be NULL. */
void kv_free(void *pointer);

/* Ends the program because there is no memory for size bytes. kv_alloc() and its kin call it, and
 * so may a caller of kv_try_realloc() that cannot go on.
 *
 * This room makes no output, so that the program that links it defines this function:
 * host/exhausted.c for the node, nif/alloc.c for the library inside a VM. */
_Noreturn void kv_out_of_memory(size_t size);

/* Exit status of the node when it is out of memory. */
#define KV_EXIT_OUT_OF_MEMORY 71

#ifdef KV_CHECKED

/* ---- for tests -------------------------------------------------------------------------------
 */

/* Returns the number of blocks that were handed out and not freed yet. */
size_t kv_alloc_outstanding(void);

/* Lets the n-th call of kv_try_realloc() from now on fail, once; 0: none. Calls that
 * kv_realloc() makes do not count. Returns the calls that were still to come before the failure
 * that was set last; 0: it has happened, or none was set. */
size_t kv_try_realloc_fail(size_t n);

/* As kv_try_realloc_fail(), for the calls of kv_alloc(), kv_zalloc() and kv_realloc(), which then
 * end the program. */
size_t kv_alloc_fail(size_t n);

#endif

#endif
