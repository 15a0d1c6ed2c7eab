#include "kv/park.h"

#include "base/alloc.h"

void kv_park(const struct kv_asked *asked, struct kv_answer *answer, unsigned question,
             struct kv_list *queue)
{
    const struct kv_from *from = asked->from;
    if (from == NULL) {
        return;
    }
    struct kv_parked *parked = kv_alloc(sizeof *parked + from->bytes.length);
    parked->question = question;
    parked->from_length = from->bytes.length;
    memcpy(parked->from, from->bytes.data, from->bytes.length);
    kv_list_append(queue, &parked->link);
    answer->parked = true;
}

struct kv_from kv_parked_from(const struct kv_parked *parked)
{
    struct kv_from from = {0};
    (void)kv_from_read(kv_bytes(parked->from, parked->from_length), &from);
    return from;
}

void kv_unpark(struct kv_parked *parked)
{
    kv_list_remove(&parked->link);
    kv_free(parked);
}
