#include "base/alloc.h"

#include <stdbool.h>
#include <stdlib.h>

#ifdef KV_CHECKED

/* State of tests, in which threads may allocate. The program has no such state. */
static _Atomic size_t outstanding;
static size_t try_fails_in;
static size_t alloc_fails_in;

size_t kv_alloc_outstanding(void)
{
    return outstanding;
}

static size_t set(size_t *fails_in, size_t n)
{
    size_t left = *fails_in;
    *fails_in = n;
    return left;
}

size_t kv_try_realloc_fail(size_t n)
{
    return set(&try_fails_in, n);
}

size_t kv_alloc_fail(size_t n)
{
    return set(&alloc_fails_in, n);
}

static bool fails_now(size_t *fails_in)
{
    return *fails_in > 0 && --*fails_in == 0;
}

#define IS_TRY_TO_FAIL()   fails_now(&try_fails_in)
#define IS_ALLOC_TO_FAIL() fails_now(&alloc_fails_in)
#define NOTE_TAKEN()       ((void)outstanding++)
#define NOTE_FREED()       ((void)outstanding--)

#else

#define IS_TRY_TO_FAIL()   false
#define IS_ALLOC_TO_FAIL() false
#define NOTE_TAKEN()       ((void)0)
#define NOTE_FREED()       ((void)0)

#endif

/* malloc(0) may return NULL, which would look like a failure. */
static size_t at_least_one(size_t size)
{
    return size == 0 ? 1 : size;
}

static void *take(void *pointer, size_t size)
{
    void *moved = realloc(pointer, at_least_one(size));
    if (moved != NULL && pointer == NULL) {
        NOTE_TAKEN();
    }
    return moved;
}

void *kv_try_realloc(void *pointer, size_t size)
{
    return IS_TRY_TO_FAIL() ? NULL : take(pointer, size);
}

void *kv_realloc(void *pointer, size_t size)
{
    void *moved = IS_ALLOC_TO_FAIL() ? NULL : take(pointer, size);
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
    void *memory = IS_ALLOC_TO_FAIL() ? NULL : calloc(1, at_least_one(size));
    if (memory == NULL) {
        kv_out_of_memory(size);
    }
    NOTE_TAKEN();
    return memory;
}

void kv_free(void *pointer)
{
    if (pointer != NULL) {
        NOTE_FREED();
        free(pointer);
    }
}
