/* The tables that have a name in a registry, as a list of its table. */
#include "kv/durable_parts.h"

static void add_name(struct kv_durable *registry, struct kv_durable *durable)
{
    kv_list_remove(&durable->of_registry);
    kv_list_append(&registry->names, &durable->of_registry);
    durable->registry = registry;
    registry->names_count++;
}

static void take_strays(struct kv_durable *registry)
{
    KV_LIST_FOREACH (link, &registry->set->strays) {
        struct kv_durable *stray = KV_LIST_OF(link, struct kv_durable, of_registry);
        if (kv_bytes_equal(kv_durable_registry_name(stray), kv_durable_name(registry))) {
            add_name(registry, stray);
        }
    }
}

void kv_durable_join(struct kv_durable *durable, struct kv_durable *registry)
{
    durable->next_name = &durable->names;
    if (durable->registry_length == 0) {
        kv_list_append(&durable->set->roots, &durable->of_registry);
    }
    if (durable->kind == KV_JOURNAL_REGISTRY) {
        take_strays(durable);
    } else if (registry != NULL && registry->kind == KV_JOURNAL_REGISTRY) {
        add_name(registry, durable);
    } else if (durable->registry_length > 0) {
        kv_list_append(&durable->set->strays, &durable->of_registry);
    }
}

void kv_durable_part(struct kv_durable *durable)
{
    struct kv_durable *registry = durable->registry;
    if (registry != NULL) {
        if (registry->next_name == &durable->of_registry) {
            registry->next_name = durable->of_registry.next;
        }
        registry->names_count--;
        durable->registry = NULL;
    }
    kv_list_remove(&durable->of_registry);
    KV_LIST_FOREACH (link, &durable->names) {
        kv_list_remove(link);
        kv_list_append(&durable->set->strays, link);
        KV_LIST_OF(link, struct kv_durable, of_registry)->registry = NULL;
    }
}

void kv_durables_each(const struct kv_durables *set,
                      void (*visit)(void *visitor, const struct kv_durable *durable), void *visitor)
{
    const struct kv_list *roots = &set->roots;
    KV_LIST_FOREACH (link, roots) {
        const struct kv_durable *durable = KV_LIST_OF(link, const struct kv_durable, of_registry);
        if (!durable->destroyed) {
            visit(visitor, durable);
        }
    }
}

struct kv_durable *kv_durable_next_name(struct kv_durable *registry)
{
    struct kv_list *link = registry->next_name;
    if (link == &registry->names) {
        return NULL;
    }
    registry->next_name = link->next;
    return KV_LIST_OF(link, struct kv_durable, of_registry);
}
