#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

/* A counter is no state that behaviour depends on: it exists so that tests can see leaks. */
static size_t outstanding;

_Noreturn void kv_out_of_memory(size_t size)
{
    (void)printf("fatal out_of_memory no memory for %zu bytes\n", size);
    (void)fflush(stdout);
    _Exit(KV_EXIT_OUT_OF_MEMORY);
}

void *kv_try_realloc(void *pointer, size_t size)
{
    void *moved = realloc(pointer, size == 0 ? 1 : size);
    if (moved != NULL && pointer == NULL) {
        outstanding++;
    }
    return moved;
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
    void *memory = calloc(1, size == 0 ? 1 : size);
    if (memory == NULL) {
        kv_out_of_memory(size);
    }
    outstanding++;
    return memory;
}

void kv_free(void *pointer)
{
    if (pointer != NULL) {
        outstanding--;
        free(pointer);
    }
}

size_t kv_alloc_outstanding(void)
{
    return outstanding;
}
