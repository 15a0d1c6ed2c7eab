#include "host/seccomp_library.h"

#include "host/library.h"

bool kv_seccomp_load(struct kv_seccomp *seccomp)
{
#define KV_SECCOMP_FUNCTION(name) {"seccomp_" #name, offsetof(struct kv_seccomp, name)},
    static const struct kv_library_function functions[] = {
        KV_SECCOMP_FUNCTIONS(KV_SECCOMP_FUNCTION)};
#undef KV_SECCOMP_FUNCTION
    *seccomp = (struct kv_seccomp){.library = NULL};
    seccomp->library = kv_library_load(KV_SECCOMP_LIBRARY, functions,
                                       sizeof functions / sizeof functions[0], seccomp);
    return seccomp->library != NULL;
}

void kv_seccomp_unload(struct kv_seccomp *seccomp)
{
    kv_library_unload(seccomp->library);
    seccomp->library = NULL;
}
