#include "kv/kv.h"
#include "process/runtime.h"

static int init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)options;
    if (kv_process_register(self, kv_bytes_text("net_kernel")) != KV_OK) {
        kv_write_atom_text(reason, "already_registered");
        return KV_EEXIST;
    }
    return KV_OK;
}

/* net_adm:ping/1 asks {is_auth, Node} and takes every answer but `yes` for a refusal. */
static void handle_call(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request)
{
    struct kv_reader reader = kv_reader(request);
    if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "is_auth") == KV_OK) {
        kv_reply_atom(self, from, "yes");
    } else {
        kv_reply_bad_request(self, from, request);
    }
}

const struct kv_behaviour kv_net_kernel_behaviour = {
    .module = "net_kernel",
    .state_size = 1,
    .init = init,
    .handle_call = handle_call,
};

int kv_services_start(struct kv_runtime *runtime)
{
    struct kv_pid pid;
    struct kv_buffer options = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    kv_runtime_offer(runtime, &kv_bucket_behaviour);
    kv_runtime_offer(runtime, &kv_registry_behaviour);
    kv_write_nil(&options);
    int error =
        kv_spawn(runtime, &kv_net_kernel_behaviour, kv_buffer_bytes(&options), &pid, &reason);
    kv_buffer_free(&options);
    kv_buffer_free(&reason);
    return error == KV_OK ? KV_OK : KV_EEXIST;
}
