#include "kv/bucket.h"
#include "kv/kv.h"
#include "kv/registry.h"

#include <kv/table.h>

/* Answers {kv_totals, Buckets, Registries, Entries, Bytes, Durable}: what would be lost with this
 * node, and how many durable buckets would not. Their entries are counted among the others. The VM
 * asks once a second, instead of a ping, so this must not depend on the number of entries. */
static void reply_totals(struct kv_process *self, const struct kv_from *from)
{
    const struct kv_store *store = kv_store_of(self);
    struct kv_buffer *term = kv_process_scratch(self);
    struct kv_arena_stats stats;
    kv_arena_stats(store->arena, &stats);
    kv_write_tuple(term, 6);
    kv_write_atom_text(term, "kv_totals");
    kv_write_u64(term, store->buckets - store->durable_buckets);
    kv_write_u64(term, store->registries);
    kv_write_u64(term, stats.items);
    kv_write_u64(term, stats.item_bytes);
    kv_write_u64(term, store->durable_buckets);
    kv_reply(self, from, kv_buffer_bytes(term));
}

/* net_adm:ping/1 calls {is_auth, Node}, and fails on any answer but `yes`. */
static void handle_call(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request)
{
    struct kv_reader reader = kv_reader(request);
    if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "is_auth") == KV_OK) {
        kv_reply_atom(self, from, "yes");
    } else if (kv_term_is_atom(request, "kv_totals")) {
        reply_totals(self, from);
    } else {
        kv_reply_bad_request(self, from, request);
    }
}

static const struct kv_behaviour net_kernel = {
    .module = "net_kernel",
    .state_size = 1,
    .init = kv_service_init,
    .handle_call = handle_call,
};

int kv_services_start(struct kv_runtime *runtime, struct kv_store *store)
{
    kv_dispatch_add(&store->bucket, kv_single_operations);
    kv_dispatch_add(&store->bucket, kv_conditional_operations);
    kv_dispatch_add(&store->bucket, kv_number_operations);
    kv_dispatch_add(&store->bucket, kv_time_operations);
    kv_dispatch_add(&store->bucket, kv_many_operations);
    kv_dispatch_add(&store->bucket, kv_walk_operations);
    kv_dispatch_add(&store->bucket, kv_snapshot_operations);
    kv_dispatch_add(&store->bucket, kv_stats_operations);
    kv_dispatch_add(&store->bucket, kv_durable_operations);
    kv_dispatch_add(&store->bucket, kv_agent_operations);
    kv_dispatch_add(&store->bucket, kv_tagged_operations);
    kv_dispatch_add(&store->bucket, kv_transaction_operations);
    kv_dispatch_add(&store->registry, kv_registry_operations);
    kv_dispatch_add(&store->registry, kv_registry_change_operations);
    kv_dispatch_add(&store->registry, kv_registry_names_operations);
    kv_offer(runtime, &kv_bucket_behaviour, store);
    kv_offer(runtime, &kv_registry_behaviour, store);
    return kv_start_service(runtime, &net_kernel, store);
}
