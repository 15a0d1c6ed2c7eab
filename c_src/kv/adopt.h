/* Buckets and registries that belong to the node: nobody owns them, and a start of their name finds
 * them, from whatever VM it comes. */
#ifndef KV_ADOPT_H
#define KV_ADOPT_H

#include "base/list.h"
#include "kv/start.h"

struct kv_adoptable {
    struct kv_list link; /* in kv_store.adoptables */
    struct kv_pid pid;
    uint64_t generation;
    enum kv_option_set kind;
};

/* A process with a name has started, and may be adopted from now on. Returns what its terminate
 * gives to kv_adoptable_end(). */
struct kv_adoptable *kv_adoptable_begin(struct kv_process *self, enum kv_option_set kind,
                                        uint64_t generation);
/* Ends that, and frees it. It may be NULL. */
void kv_adoptable_end(struct kv_adoptable *adoptable);

/* Returns the process of that kind that has the name, if it may be adopted; or NULL. O(processes
 * that may be). */
const struct kv_adoptable *kv_adoptable_find(struct kv_process *self, enum kv_option_set kind,
                                             struct kv_bytes name);

#endif
