/* Parked calls: their answer comes later. */
#ifndef KV_PARK_H
#define KV_PARK_H

#include "base/list.h"
#include "kv/operation.h"

struct kv_parked {
    struct kv_list link;
    unsigned question; /* for the operation: how to answer */
    size_t from_length;
    uint8_t from[]; /* the From term */
};

/* Appends the caller of this request to a queue and sets `answer->parked`. Does nothing if nobody
 * waits for the answer. The owner of the queue answers with kv_reply(), or calls kv_abandon(), and
 * then kv_unpark(). */
void kv_park(const struct kv_asked *asked, struct kv_answer *answer, unsigned question,
             struct kv_list *queue);

/* The caller; borrowed from `parked`. */
struct kv_from kv_parked_from(const struct kv_parked *parked);

/* Takes a parked call out of its queue and frees it. */
void kv_unpark(struct kv_parked *parked);

#endif
