/* Serves the slots of a lane (lane/layout.h), as what comes by message is served. */
#ifndef KV_SERVER_SLOTS_H
#define KV_SERVER_SLOTS_H

#include "process/runtime.h"
#include "term/validate.h"

#include <stdint.h>

struct kv_slots {
    struct kv_runtime *runtime;
    struct kv_term_limits limits; /* of a message; what may be larger comes by message */
    uint8_t *copy;                /* space for a request: KV_SLOT_ROOM bytes */
    /* Called when a request was taken, to tell the runtime the time: an asker that has read in the
     * arena that an entry has expired must not hear that it is there. NULL: nothing expires. */
    void (*taken)(void *context);
    void *context;
};

/* Serves each request that is there. Returns their number. `lane` has a header and the slots of so
 * many groups; no other byte of it is believed. Must not be called while the runtime handles a
 * signal. */
unsigned kv_slots_serve(const struct kv_slots *slots, void *lane, uint32_t groups);

#endif
