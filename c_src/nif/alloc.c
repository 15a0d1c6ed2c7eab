/* base/alloc.h for a library inside a VM: memory comes from the VM and counts in the VM's figures.
 */
#include "base/alloc.h"

#include <erl_nif.h>

#include <stdlib.h>
#include <string.h>

/* Aborts, as the VM does when it has no memory itself. */
_Noreturn void kv_out_of_memory(size_t size)
{
    (void)enif_fprintf(stderr, "kv_nif: no memory for %lu bytes\r\n", (unsigned long)size);
    abort();
}

void *kv_try_realloc(void *pointer, size_t size)
{
    size_t wanted = size == 0 ? 1 : size;
    return pointer == NULL ? enif_alloc(wanted) : enif_realloc(pointer, wanted);
}

void *kv_realloc(void *pointer, size_t size)
{
    void *moved = kv_try_realloc(pointer, size);
    if (moved == NULL) {
        kv_out_of_memory(size);
    }
    return moved;
}

void *kv_alloc(size_t size)
{
    return kv_realloc(NULL, size);
}

void *kv_zalloc(size_t size)
{
    return memset(kv_alloc(size), 0, size);
}

void kv_free(void *pointer)
{
    if (pointer != NULL) {
        enif_free(pointer);
    }
}
