/* libseccomp, loaded only by a node that wants a filter: no other node needs it to be there. */
#ifndef KV_HOST_SECCOMP_LIBRARY_H
#define KV_HOST_SECCOMP_LIBRARY_H

#include <seccomp.h>
#include <stdbool.h>

#define KV_SECCOMP_LIBRARY "libseccomp.so.2"

#define KV_SECCOMP_FUNCTIONS(X)                                                                    \
    X(init)                                                                                        \
    X(release)                                                                                     \
    X(load)                                                                                        \
    X(attr_set)                                                                                    \
    X(rule_add_array)                                                                              \
    X(syscall_resolve_name)                                                                        \
    X(syscall_resolve_num_arch)

struct kv_seccomp {
    void *library; /* NULL: it is not loaded */
#define KV_SECCOMP_POINTER(name) __typeof__(&seccomp_##name) name;
    KV_SECCOMP_FUNCTIONS(KV_SECCOMP_POINTER)
#undef KV_SECCOMP_POINTER
};

/* Returns false if there is no such library, or a function of it is missing. */
bool kv_seccomp_load(struct kv_seccomp *seccomp);
void kv_seccomp_unload(struct kv_seccomp *seccomp);

#endif
