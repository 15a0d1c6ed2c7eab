#include "kv/kv.h"
#include "process/runtime.h"

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
    .init = kv_service_init,
    .handle_call = handle_call,
};

int kv_services_start(struct kv_runtime *runtime)
{
    kv_runtime_offer(runtime, &kv_bucket_behaviour);
    kv_runtime_offer(runtime, &kv_registry_behaviour);
    return kv_runtime_start_service(runtime, &kv_net_kernel_behaviour);
}
