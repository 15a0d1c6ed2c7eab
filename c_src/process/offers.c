/* The behaviours that the runtime was told of. */
#include "process/offers.h"

#include "base/alloc.h"
#include "process/state.h"

static struct kv_offer *add(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
                            void *context)
{
    struct kv_offer *offer = kv_offer_of(runtime, behaviour);
    if (offer == NULL) {
        offer = kv_zalloc(sizeof *offer);
        offer->behaviour = behaviour;
        kv_list_append(&runtime->offers, &offer->link);
    }
    offer->context = context;
    return offer;
}

void kv_add_behaviour(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
                      void *context)
{
    (void)add(runtime, behaviour, context);
}

void kv_offer(struct kv_runtime *runtime, const struct kv_behaviour *behaviour, void *context)
{
    add(runtime, behaviour, context)->to_peers = true;
}

void kv_offer_ended(const struct kv_process *process)
{
    struct kv_offer *offer = kv_offer_of(process->runtime, process->behaviour);
    if (offer != NULL && offer->is_service) {
        offer->has_ended = true;
        process->runtime->service_ended = true;
    }
}

void kv_offers_free(struct kv_runtime *runtime)
{
    KV_LIST_FOREACH (link, &runtime->offers) {
        kv_list_remove(link);
        kv_free(KV_LIST_OF(link, struct kv_offer, link));
    }
}

struct kv_offer *kv_offer_of(const struct kv_runtime *runtime, const struct kv_behaviour *behaviour)
{
    KV_LIST_FOREACH (link, &runtime->offers) {
        struct kv_offer *offer = KV_LIST_OF(link, struct kv_offer, link);
        if (offer->behaviour == behaviour) {
            return offer;
        }
    }
    return NULL;
}
