/* A registry: names and the buckets behind them. Its two files share this header: registry.c
 * (names, and how buckets come and go) and registry_process.c (the operations and the behaviour).
 */
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
    struct kv_list waiting; /* struct kv_parked: calls that wait for the bucket */
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

/* Returns the entry of a name, or NULL. */
struct kv_entry *kv_registry_find(struct kv_process *self, struct kv_bytes name);
/* Returns the LIVE entry whose bucket has that monitor, or NULL. */
struct kv_entry *kv_registry_monitored(struct kv_process *self, uint64_t monitor);

/* The operations {create, Name} and {lookup, Name}. */
kv_operation_run kv_registry_create;
kv_operation_run kv_registry_lookup;

extern const struct kv_operation kv_registry_operations[];

/* Sends {create_bucket, Self, Name} to the creator. The entry must be CREATING. */
void kv_registry_ask_creator(struct kv_process *self, const struct kv_entry *entry);
/* A CREATING entry has its bucket. Monitors the bucket, sends the event, and answers the calls that
 * wait. The entry is LIVE afterwards. */
void kv_registry_created(struct kv_process *self, struct kv_entry *entry, const struct kv_pid *pid);
/* A CREATING entry gets no bucket. Answers the calls that wait, and frees the entry. */
void kv_registry_failed(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason);
/* The bucket of a LIVE entry has ended. Sends the event and frees the entry. */
void kv_registry_ended(struct kv_process *self, struct kv_entry *entry);
/* The registry ends. Tells the calls that wait, and frees the entry. */
void kv_registry_abandon(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason);

#endif
