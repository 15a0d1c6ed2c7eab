/* Parked requests: an operation that cannot answer yet keeps its request, and is run again later.
 */
#ifndef KV_PARK_H
#define KV_PARK_H

#include "base/list.h"
#include "kv/operation.h"

struct kv_parked {
    struct kv_list link;
    kv_operation_run *run; /* the operation */
    unsigned question;     /* for the owner of the queue */
    uint32_t arguments;    /* the number of those that were kept */
    size_t from_length;    /* 0: nobody waits for the answer */
    size_t length;
    uint8_t bytes[]; /* the From term, then the arguments */
};

/* The parts of a request that are kept. */
struct kv_parking {
    kv_operation_run *run;
    uint32_t arity;    /* of the operation. The first argument is not kept. */
    unsigned question; /* as in struct kv_parked */
};

/* Returns the bytes that kv_park() would take. */
size_t kv_park_size(const struct kv_asked *asked, const struct kv_parking *parking);

/* Appends this request to a queue, also one that nobody waits for, and sets `answer->parked`. The
 * owner of the queue calls kv_resume(), or answers with kv_reply() or kv_abandon() if there is a
 * caller; and then kv_unpark(). */
void kv_park(const struct kv_asked *asked, const struct kv_parking *parking,
             struct kv_answer *answer, struct kv_list *queue);

/* Returns the bytes that a parked request takes. */
size_t kv_parked_size(const struct kv_parked *parked);

/* Reads the caller; borrowed from `parked`. Returns false if nobody waits. */
bool kv_parked_from(const struct kv_parked *parked, struct kv_from *from);

/* Runs the operation again, with `first` as its first argument, and answers the caller unless the
 * request has been parked again. `parked` must not be in a queue that the operation changes. */
void kv_resume(struct kv_process *self, const struct kv_parked *parked, struct kv_bytes first);

/* Takes a parked request out of its queue and frees it. */
void kv_unpark(struct kv_parked *parked);

#endif
