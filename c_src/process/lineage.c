/* The ancestors of a process, as its starter gave them, kept for tools. All processes of one
 * supervisor have the same ancestors, so the runtime keeps one copy of the bytes. */
#include "process/lineage.h"

#include "base/alloc.h"
#include "process/state.h"

struct kv_lineage {
    struct kv_map_node by_bytes;
    size_t processes; /* processes that share this copy */
    size_t length;
    uint8_t bytes[];
};

static struct kv_bytes bytes_of(const struct kv_lineage *lineage)
{
    return kv_bytes(lineage->bytes, lineage->length);
}

static bool has_bytes(const struct kv_map_node *node, const void *key)
{
    const struct kv_lineage *lineage = KV_MAP_OF(node, const struct kv_lineage, by_bytes);
    return kv_bytes_equal(bytes_of(lineage), *(const struct kv_bytes *)key);
}

static struct kv_lineage *add(struct kv_runtime *runtime, struct kv_bytes list, uint64_t hash)
{
    struct kv_lineage *lineage = kv_zalloc(sizeof *lineage + list.length);
    lineage->length = list.length;
    memcpy(lineage->bytes, list.data, list.length);
    kv_map_insert(&runtime->lineages, &lineage->by_bytes, hash);
    return lineage;
}

void kv_process_set_ancestors(struct kv_process *self, struct kv_bytes list)
{
    struct kv_runtime *runtime = self->runtime;
    kv_lineage_drop(self);
    if (list.length == 0) {
        return;
    }
    uint64_t hash = kv_siphash(&runtime->hash_key, list);
    struct kv_map_node *found = kv_map_find(&runtime->lineages, hash, has_bytes, &list);
    self->lineage =
        found == NULL ? add(runtime, list, hash) : KV_MAP_OF(found, struct kv_lineage, by_bytes);
    self->lineage->processes++;
}

struct kv_bytes kv_lineage_bytes(const struct kv_process *process)
{
    return process->lineage == NULL ? kv_bytes(NULL, 0) : bytes_of(process->lineage);
}

void kv_lineage_drop(struct kv_process *process)
{
    struct kv_lineage *lineage = process->lineage;
    process->lineage = NULL;
    if (lineage != NULL && --lineage->processes == 0) {
        kv_map_remove(&process->runtime->lineages, &lineage->by_bytes);
        kv_free(lineage);
    }
}
