/* The options with which a registry has a bucket started: those of `create`, and where it belongs.
 */
#include "kv/durable.h"
#include "kv/kv.h"
#include "kv/registry.h"
#include "kv/start.h"

struct kv_durable *kv_registry_table(struct kv_process *self, struct kv_bytes name)
{
    const struct kv_registry *registry = kv_process_state(self);
    return registry->durable == NULL ? NULL
                                     : kv_durable_find(kv_store_of(self)->durables,
                                                       kv_durable_name(registry->durable), name);
}

/* The key of an option; empty if it is no pair. Sets *value. */
static struct kv_bytes key_of(struct kv_bytes option, struct kv_bytes *value)
{
    struct kv_bytes key;
    struct kv_reader reader = kv_reader(option);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_atom(&reader, &key) == KV_OK &&
                   kv_read_any(&reader, value) == KV_OK
               ? key
               : kv_bytes(NULL, 0);
}

int kv_registry_read_policy(const struct kv_process *self, struct kv_bytes options,
                            struct kv_answer *answer, enum kv_policy *policy)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    struct kv_bytes option;
    struct kv_bytes value;
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(options);
    (void)kv_read_list(&reader, &count);
    for (uint32_t i = 0; i < count && kv_read_any(&reader, &option) == KV_OK; i++) {
        if (!kv_bytes_is(key_of(option, &value), "durable")) {
            continue;
        }
        if (!kv_start_policy(value, policy) ||
            (registry->durable == NULL && *policy != KV_POLICY_VOLATILE)) {
            return kv_answer_error(answer, KV_ETYPE, "bad_option", option);
        }
        return KV_OK;
    }
    return KV_OK;
}

/* {store, {Registry, Name}}, and {durable, Policy} for a durable bucket. */
static uint32_t write_place(const struct kv_registry *registry, const struct kv_entry *entry,
                            struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "store");
    kv_write_tuple(to, 2);
    kv_write_binary(to, kv_durable_name(registry->durable));
    kv_write_binary(to, kv_entry_name(entry));
    if (entry->policy == KV_POLICY_VOLATILE) {
        return 1;
    }
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "durable");
    kv_write_atom_text(to, kv_start_policy_word(entry->policy));
    return 2;
}

uint32_t kv_registry_write_options(const struct kv_process *self, const struct kv_entry *entry,
                                   struct kv_buffer *to)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    struct kv_bytes option;
    struct kv_bytes value;
    uint32_t count = 0;
    uint32_t written = registry->durable != NULL ? write_place(registry, entry, to) : 0;
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&entry->options));
    if (entry->options.length > 0) {
        (void)kv_read_list(&reader, &count);
    }
    for (uint32_t i = 0; i < count && kv_read_any(&reader, &option) == KV_OK; i++) {
        const struct kv_bytes key = key_of(option, &value);
        if (!kv_bytes_is(key, "durable") && !kv_bytes_is(key, "store")) {
            kv_write_term(to, option);
            written++;
        }
    }
    return written;
}
