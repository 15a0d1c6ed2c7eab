/* The process makes the system calls of a list, and no other: a filter of the kernel, seccomp(2).
 *
 * A call outside the list is not made. It fails with EPERM, and the log names it
 * the first time. The filter holds for every thread, and until the process ends. */
#ifndef KV_HOST_CONFINE_H
#define KV_HOST_CONFINE_H

#include "host/bell.h"
#include "host/log.h"
#include "host/seccomp_library.h"

enum { KV_CONFINE_TEXT = 256 };

/* Lies at its place until the loop has closed its handles. */
struct kv_confine {
    struct kv_seccomp library;
    struct kv_bell bell;
    struct kv_log *log;
    bool is_on;
};

/* Puts the filter in place. Returns false, and a sentence, if there is none then: the library is
 * missing, or the system refuses it. One filter a process: the second call is refused. */
bool kv_confine_start(struct kv_confine *confine, uv_loop_t *loop, struct kv_log *log,
                      char why[KV_CONFINE_TEXT]);

/* Ends the log lines. The filter stays. */
void kv_confine_stop(struct kv_confine *confine);

/* Says whether kv_confine_start() could work here, and changes nothing. */
bool kv_confine_check(char why[KV_CONFINE_TEXT]);

#endif
