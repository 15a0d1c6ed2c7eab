/* A registry: names and the buckets behind them. Its files share this header: registry.c (names,
 * and how buckets come and go), registry_change.c (other changes of names), registry_names.c (lists
 * of names) and registry_process.c (the behaviour). */
#ifndef KV_REGISTRY_H
#define KV_REGISTRY_H

#include "base/list.h"
#include "base/map.h"
#include "kv/contents.h"
#include "kv/item.h"
#include "kv/operation.h"
#include "kv/park.h"

enum {
    KV_NAME_MAX_BYTES = 64 * 1024,
    KV_META_MAX_BYTES = 64 * 1024,            /* of the metadata of a name, as a term */
    KV_CREATE_OPTIONS_MAX_BYTES = 64 * 1024,  /* of the options of a bucket, as a term */
    KV_REGISTRY_PARKED_MAX = 64 * 1024 * 1024 /* bytes of the requests that wait in a registry */
};

enum kv_entry_step { KV_ENTRY_CREATING, KV_ENTRY_LIVE };

struct kv_entry {
    struct kv_map_node by_name;
    struct kv_map_node by_monitor; /* in the map while LIVE */
    struct kv_list of_registry;
    enum kv_entry_step step;
    bool round;        /* that of the registry: no list that is being made still needs the entry */
    struct kv_pid pid; /* while LIVE: of this node */
    uint64_t monitor;
    struct kv_list waiting;   /* struct kv_parked: requests that wait for the bucket */
    struct kv_buffer options; /* while CREATING: of the bucket, a list; empty: none */
    struct kv_buffer meta;    /* the metadata, a term; empty: none */
    size_t name_length;
    uint8_t name[];
};

struct kv_registry {
    struct kv_going *going;   /* first: the list that is being made over turns, or NULL */
    struct kv_contents shown; /* name -> pid of the LIVE ones, for readers of this host */
    struct kv_map names;
    struct kv_map monitors;
    struct kv_list entries;
    size_t live;
    size_t live_bytes; /* of the names of those */
    size_t entry_bytes;
    size_t parked_bytes;            /* of the requests that wait */
    bool round;                     /* turned over when a list begins that is made over turns */
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

/* Reads the name that an operation gets. KV_OK; or an error, {error, {bad_name, Term}}, which the
 * answer holds. */
int kv_registry_read_name(struct kv_bytes term, struct kv_answer *answer, struct kv_bytes *name);
/* Returns KV_OK; or KV_ESIZE with the answer {error, {Kind, Bytes}} if there are more bytes than
 * `most`. */
int kv_registry_check_size(size_t bytes, size_t most, const char *kind, struct kv_answer *answer);

/* Finds the LIVE entry whose name is the first argument. Sets *entry to NULL otherwise: there is no
 * such name, and the answer is `error`; or the name is being created, and the request has been
 * parked; or the request was refused. Returns KV_OK, also for a parked request, or an error. */
int kv_registry_find_live(struct kv_process *self, const struct kv_asked *asked,
                          const struct kv_parking *parking, struct kv_answer *answer,
                          struct kv_entry **entry);

/* The operations {create, Name}, {create, Name, Options}, {create, Name, Options, Meta} and
 * {lookup, Name}. */
kv_operation_run kv_registry_create;
kv_operation_run kv_registry_create_with;
kv_operation_run kv_registry_create_described;
kv_operation_run kv_registry_lookup;

/* Rows of other files: {rename, Old, New}, {delete, Name}, {meta, Name}, {put_meta, Name, Meta};
 * and names, list and count, each with or without a prefix. */
extern const struct kv_operation kv_registry_operations[];
extern const struct kv_operation kv_registry_change_operations[];
extern const struct kv_operation kv_registry_names_operations[];

/* An entry is about to be freed. A list that is being made shows one moment: it takes the name now
 * if it has not yet. */
void kv_registry_list_leaving(struct kv_process *self, struct kv_entry *entry);

/* Sends {create_bucket, Self, Name} to the creator, or {create_bucket, Self, Name, Options}. The
 * entry must be CREATING. */
void kv_registry_ask_creator(struct kv_process *self, const struct kv_entry *entry);
/* A CREATING entry has its bucket. Monitors the bucket, sends the event, and runs the requests that
 * wait, which may free the entry. */
void kv_registry_created(struct kv_process *self, struct kv_entry *entry, const struct kv_pid *pid);
/* A CREATING entry gets no bucket. Frees the entry, and answers the requests that wait. */
void kv_registry_failed(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason);
/* The bucket of a LIVE entry has ended, or is not to be found any more. Sends the event and frees
 * the entry. */
void kv_registry_ended(struct kv_process *self, struct kv_entry *entry);
/* Gives a LIVE entry another name, which no entry has. Sends two events, as if the bucket had ended
 * and another had been created. Frees the entry. */
void kv_registry_move(struct kv_process *self, struct kv_entry *entry, struct kv_bytes name);
/* Replaces the metadata of an entry by a copy of the term. */
void kv_registry_describe(struct kv_process *self, struct kv_entry *entry, struct kv_bytes meta);
/* The registry ends. Tells the calls that wait, and frees the entry. */
void kv_registry_abandon(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason);

#endif
