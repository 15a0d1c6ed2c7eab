/* A library of the system that is loaded only by a node that needs it: no other node needs it to be
 * there, and none pays for it. */
#ifndef KV_HOST_LIBRARY_H
#define KV_HOST_LIBRARY_H

#include <stddef.h>

/* A function of the library, and the place for its pointer in a struct of such pointers. */
struct kv_library_function {
    const char *name;
    size_t offset;
};

/* Loads a library, and sets the pointers in `to`. Returns the library for kv_library_unload(), or
 * NULL if there is none, or if it lacks one of the functions. */
void *kv_library_load(const char *file, const struct kv_library_function *functions, size_t count,
                      void *to);

/* Takes NULL. The pointers are of no use any more. */
void kv_library_unload(void *library);

#endif
