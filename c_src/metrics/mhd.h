/* libmicrohttpd, loaded only by a node that serves figures: it brings GnuTLS with it, whose
 * libraries would make each start of the program half as long again. */
#ifndef KV_METRICS_MHD_H
#define KV_METRICS_MHD_H

#include <microhttpd.h>
#include <stdbool.h>

#define KV_MHD_LIBRARY "libmicrohttpd.so.12"

#define KV_MHD_FUNCTIONS(X)                                                                        \
    X(start_daemon)                                                                                \
    X(stop_daemon)                                                                                 \
    X(get_daemon_info)                                                                             \
    X(run)                                                                                         \
    X(get_timeout)                                                                                 \
    X(create_response_from_buffer)                                                                 \
    X(add_response_header)                                                                         \
    X(queue_response)                                                                              \
    X(destroy_response)

struct kv_mhd {
    void *library; /* NULL: it is not loaded */
#define KV_MHD_POINTER(name) __typeof__(&MHD_##name) name;
    KV_MHD_FUNCTIONS(KV_MHD_POINTER)
#undef KV_MHD_POINTER
};

/* Returns false if there is no such library, or a function of it is missing. */
bool kv_mhd_load(struct kv_mhd *mhd);
void kv_mhd_unload(struct kv_mhd *mhd);

#endif
