#include "host/seccomp_library.h"

#include <dlfcn.h>
#include <string.h>

/* The pointer to a function is copied, since C converts no pointer to an object into one. */
static bool take(struct kv_seccomp *seccomp, const char *name, void *function)
{
    void *symbol = dlsym(seccomp->library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

bool kv_seccomp_load(struct kv_seccomp *seccomp)
{
    bool complete = true;
    *seccomp = (struct kv_seccomp){.library = dlopen(KV_SECCOMP_LIBRARY, RTLD_NOW | RTLD_LOCAL)};
    if (seccomp->library == NULL) {
        return false;
    }
#define KV_SECCOMP_TAKE(name)                                                                      \
    complete = take(seccomp, "seccomp_" #name, &seccomp->name) && complete;
    KV_SECCOMP_FUNCTIONS(KV_SECCOMP_TAKE)
#undef KV_SECCOMP_TAKE
    if (!complete) {
        kv_seccomp_unload(seccomp);
    }
    return complete;
}

void kv_seccomp_unload(struct kv_seccomp *seccomp)
{
    if (seccomp->library != NULL) {
        (void)dlclose(seccomp->library);
        seccomp->library = NULL;
    }
}
