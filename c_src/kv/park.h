/* Calls whose answer comes later. */
#ifndef KV_PARK_H
#define KV_PARK_H

#include "base/list.h"
#include "kv/operation.h"

struct kv_parked {
    struct kv_list link;
    unsigned question; /* whatever the operation needs to know when it answers */
    size_t from_length;
    uint8_t from[]; /* the From term */
};

/* Puts the call that is asked at the end of a queue, and has `answer` say so. Nothing, when nobody
 * waits for an answer. */
void kv_park(const struct kv_asked *asked, struct kv_answer *answer, unsigned question,
             struct kv_list *queue);

/* Whom to answer; borrowed from `parked`. */
struct kv_from kv_parked_from(const struct kv_parked *parked);

/* Takes it out of its queue, and frees it. */
void kv_unpark(struct kv_parked *parked);

#endif
