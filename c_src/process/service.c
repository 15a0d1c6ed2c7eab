/* Services: processes of which a node has one. */
#include "process/names.h"
#include "process/state.h"

int kv_service_init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)options;
    if (kv_process_register(self, kv_bytes_text(self->behaviour->module)) != KV_OK) {
        kv_write_atom_text(reason, "already_registered");
        return KV_EEXIST;
    }
    return KV_OK;
}

int kv_start_service(struct kv_runtime *runtime, const struct kv_behaviour *behaviour,
                     void *context)
{
    static const uint8_t no_options[] = {KV_TAG_NIL};
    struct kv_pid pid;
    struct kv_buffer reason = KV_BUFFER_INIT;
    kv_add_behaviour(runtime, behaviour, context);
    int error =
        kv_spawn(runtime, behaviour, kv_bytes(no_options, sizeof no_options), &pid, &reason);
    kv_buffer_free(&reason);
    return error == KV_OK ? KV_OK : KV_EEXIST;
}
