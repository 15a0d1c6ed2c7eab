/* The behaviours that the runtime was told of. */
#ifndef KV_PROCESS_OFFERS_H
#define KV_PROCESS_OFFERS_H

#include "base/list.h"

#include <kv/process.h>

struct kv_offer {
    struct kv_list link;
    const struct kv_behaviour *behaviour;
    void *context;
    bool to_peers;   /* peers may spawn it */
    bool is_service; /* kv_start_service(): the process with the name of its module */
    bool has_ended;  /* the service; it is to be started again */
};

/* Returns NULL if nobody added the behaviour. O(offers), which are few. */
struct kv_offer *kv_offer_of(const struct kv_runtime *runtime,
                             const struct kv_behaviour *behaviour);

/* Must be called when a process with a name ends. */
void kv_offer_ended(const struct kv_process *process);

void kv_offers_free(struct kv_runtime *runtime);

#endif
