/* Services: processes of which a node has one, and which it starts again. */
#include "process/service.h"

#include "process/names.h"
#include "process/offers.h"
#include "process/state.h"

#include <kv/log.h>

int kv_service_init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)options;
    if (kv_process_register(self, kv_bytes_text(self->behaviour->module)) != KV_OK) {
        kv_write_atom_text(reason, "already_registered");
        return KV_EEXIST;
    }
    return KV_OK;
}

static int start(struct kv_runtime *runtime, const struct kv_behaviour *behaviour)
{
    static const uint8_t no_options[] = {KV_TAG_NIL};
    struct kv_pid pid;
    struct kv_buffer reason = KV_BUFFER_INIT;
    int error =
        kv_spawn(runtime, behaviour, kv_bytes(no_options, sizeof no_options), &pid, &reason);
    kv_buffer_free(&reason);
    return error == KV_OK ? KV_OK : KV_EEXIST;
}

int kv_start_service(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
                     void *context)
{
    kv_add_behaviour(runtime, behaviour, context);
    kv_offer_of(runtime, behaviour)->is_service = true;
    return start(runtime, behaviour);
}

/* As a supervisor would: nodes are asked by the names of these processes. */
void kv_services_start_again(struct kv_runtime *runtime)
{
    if (!runtime->service_ended) {
        return;
    }
    runtime->service_ended = false;
    KV_LIST_FOREACH (link, &runtime->offers) {
        struct kv_offer *offer = KV_LIST_OF(link, struct kv_offer, link);
        if (offer->has_ended) {
            offer->has_ended = false;
            bool started = start(runtime, offer->behaviour) == KV_OK;
            kv_log_line(runtime, KV_LOG_WARNING,
                        "the process %s has ended, and was%s started again",
                        offer->behaviour->module, started ? "" : " not");
        }
    }
}
