/* Core dumps, and memory that is in none: a dump would hold the cookie, which is a key to the whole
 * cluster, and all values.
 *
 * The process stays dumpable, as PR_SET_DUMPABLE says: otherwise its /proc/PID/fd would belong to
 * root, and no VM of its user could read the buckets without a call. */
#ifndef KV_HOST_CORE_DUMP_H
#define KV_HOST_CORE_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

struct kv_core_dump {
    struct rlimit before; /* as the process was started */
    bool known;
};

/* Until it is known whether core dumps are wanted there is none. */
void kv_core_dump_hold(struct kv_core_dump *dump);

/* Puts the limit back, or forbids core dumps for good. */
void kv_core_dump_decide(const struct kv_core_dump *dump, bool wanted);

/* Returns zeroed pages that are in no core dump, where the system can do that (Linux). Ends the
 * program if there is no memory. */
void *kv_secret_alloc(size_t size);

/* Wipes and frees them. */
void kv_secret_free(void *secret, size_t size);

#endif
