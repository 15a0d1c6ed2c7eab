#include "host/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

/* POSIX lets a pointer to an object be that of a function; C does not, so it is copied. */
static bool find(void *library, const struct kv_library_function *function, void *to)
{
    void *found = dlsym(library, function->name);
    memcpy((char *)to + function->offset, &found, sizeof found);
    return found != NULL;
}

void *kv_library_load(const char *file, const struct kv_library_function *functions, size_t count,
                      void *to)
{
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    bool complete = library != NULL;
    for (size_t i = 0; i < count && complete; i++) {
        complete = find(library, &functions[i], to);
    }
    if (complete) {
        return library;
    }
    kv_library_unload(library);
    return NULL;
}

void kv_library_unload(void *library)
{
    if (library != NULL) {
        (void)dlclose(library);
    }
}
