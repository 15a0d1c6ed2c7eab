/* What the two files of a registry share: registry.c, its names and how buckets come and go, and
 * registry_process.c, its operations and the process around it. */
#ifndef KV_REGISTRY_H
#define KV_REGISTRY_H

#include "base/list.h"
#include "base/map.h"
#include "kv/contents.h"
#include "kv/item.h"
#include "kv/operation.h"

enum kv_entry_step { KV_ENTRY_CREATING, KV_ENTRY_LIVE };

struct kv_entry {
    struct kv_map_node by_name;
    struct kv_map_node by_monitor; /* in the map while LIVE */
    struct kv_list of_registry;
    enum kv_entry_step step;
    struct kv_pid pid; /* while LIVE: of this node */
    uint64_t monitor;
    struct kv_list waiting; /* struct kv_parked: calls that wait for it to be created */
    size_t name_length;
    uint8_t name[];
};

struct kv_registry {
    struct kv_contents shown; /* name -> pid of the LIVE ones, for readers of this host */
    struct kv_map names;
    struct kv_map monitors;
    struct kv_list entries;
    size_t live;
    size_t live_bytes; /* of the names of those */
    size_t entry_bytes;
    struct kv_buffer creator;       /* a pid as a term; empty: buckets are made here */
    struct kv_buffer event_manager; /* a pid or {Name, Node} as a term; empty: none */
    uint64_t owner;
    uint64_t creator_monitor;
    uint64_t generation;
};

static inline struct kv_bytes kv_entry_name(const struct kv_entry *entry)
{
    return kv_bytes(entry->name, entry->name_length);
}

/* NULL when nobody has that name. */
struct kv_entry *kv_registry_find(struct kv_process *self, struct kv_bytes name);
/* The LIVE entry whose bucket is monitored by that number; or NULL. */
struct kv_entry *kv_registry_monitored(struct kv_process *self, uint64_t monitor);

/* Operations of one name, a binary: the argument. */
kv_operation_run kv_registry_create;
kv_operation_run kv_registry_lookup;

extern const struct kv_operation kv_registry_operations[];

/* Asks the creator for the bucket of an entry that is CREATING. */
void kv_registry_ask_creator(struct kv_process *self, const struct kv_entry *entry);
/* The bucket of an entry that is CREATING is there: what waits is answered. */
void kv_registry_created(struct kv_process *self, struct kv_entry *entry, const struct kv_pid *pid);
/* It will not be: what waits is answered, and the entry is gone. */
void kv_registry_failed(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason);
/* The bucket of a LIVE entry has ended: the entry is gone. */
void kv_registry_ended(struct kv_process *self, struct kv_entry *entry);
/* The registry ends: what waits hears of it, and the entry is gone. */
void kv_registry_abandon(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason);

#endif
