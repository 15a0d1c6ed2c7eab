/* A registry: names and the buckets behind them. Its files share this header: registry.c (how
 * buckets come), registry_entries.c (the entries of names), registry_change.c (other changes of
 * names), registry_names.c (lists of names), registry_durable.c (names that outlive the registry),
 * registry_destroy.c (the end of all of them) and registry_process.c (the behaviour).
 *
 * A durable registry has a table of its own (kv/durable.h), and is attached to it. The names of its
 * durable buckets are their tables, so they are on disk. A name without a bucket is DORMANT. The
 * LIVE names outlive the process in the memory of the node, also those of volatile buckets. */
#ifndef KV_REGISTRY_H
#define KV_REGISTRY_H

#include "base/list.h"
#include "base/map.h"
#include "kv/item.h"
#include "kv/operation.h"
#include "kv/park.h"

#include <kv/journal.h>

enum {
    KV_NAME_MAX_BYTES = 64 * 1024,
    KV_META_MAX_BYTES = 64 * 1024,             /* of the metadata of a name, as a term */
    KV_CREATE_OPTIONS_MAX_BYTES = 64 * 1024,   /* of the options of a bucket, as a term */
    KV_REGISTRY_PARKED_MAX = 64 * 1024 * 1024, /* bytes of the requests that wait in a registry */
    KV_REGISTRY_PIECE = 128 /* names that are taken over, or dropped, in one turn: some 50 us */
};

/* DORMANT: there is a durable table of this name, and no bucket. A bucket is created anew, or for a
 * table that is there. */
enum kv_entry_step { KV_ENTRY_DORMANT, KV_ENTRY_CREATING, KV_ENTRY_LIVE };

struct kv_entry {
    struct kv_map_node by_name;
    struct kv_map_node by_monitor; /* in the map while LIVE */
    struct kv_list of_registry;
    enum kv_entry_step step;
    bool there; /* the name is one of the registry: all but those of new buckets */
    bool round; /* that of the registry: no list that is being made still needs the entry */
    enum kv_policy policy; /* while CREATING: of the bucket */
    struct kv_pid pid;     /* while LIVE: of this node */
    uint64_t monitor;
    struct kv_list waiting;   /* struct kv_parked: requests that wait for the bucket */
    struct kv_buffer options; /* while CREATING: of the bucket, a list; empty: none */
    struct kv_buffer meta;    /* the metadata, a term; empty: none */
    size_t name_length;
    uint8_t name[];
};

struct kv_registry {
    struct kv_going *going; /* first: what goes on over turns, or NULL */
    struct kv_table *shown; /* name -> pid of the LIVE ones, for readers of this host */
    struct kv_map names;
    struct kv_map monitors;
    struct kv_list entries;
    size_t there;       /* entries that are */
    size_t there_bytes; /* of the names of those */
    size_t entry_bytes;
    size_t parked_bytes;            /* of the requests that wait */
    bool hidden;                    /* readers of this host do not find `shown` any more */
    bool round;                     /* turned over when a list begins that is made over turns */
    struct kv_buffer creator;       /* a pid as a term; empty: buckets are made here */
    struct kv_buffer event_manager; /* a pid or {Name, Node} as a term; empty: none */
    struct kv_buffer owner_pid;     /* a pid as a term; empty: none */
    struct kv_adoptable *adoptable; /* of a registry that belongs to the node; or NULL */
    struct kv_durable *durable;     /* the own table; NULL: the registry is volatile */
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

/* ---- registry_entries.c, for registry.c --------------------------------------------------------
 */

/* Replaces a term that belongs to an entry. No term: empties the buffer and frees its memory. */
void kv_registry_keep(struct kv_process *self, struct kv_entry *entry, struct kv_buffer *to,
                      struct kv_bytes term);
/* An entry has its bucket, which is monitored. */
void kv_registry_live(struct kv_process *self, struct kv_entry *entry);
/* An entry has no bucket any more, and nothing waits for it: it is DORMANT, or freed. */
void kv_registry_rest(struct kv_process *self, struct kv_entry *entry);
/* Sends {notify, {Kind, Name, Pid}} about a bucket, as gen_event:notify/2 does. */
void kv_registry_notify(struct kv_process *self, const struct kv_entry *entry, const char *kind);
/* Frees a request that waits in an entry. */
void kv_registry_unpark(struct kv_process *self, struct kv_parked *parked);

/* ---- the others --------------------------------------------------------------------------------
 */

/* Reads the name that an operation gets. KV_OK; or an error, {error, {bad_name, Term}}, which the
 * answer holds. */
int kv_registry_read_name(struct kv_bytes term, struct kv_answer *answer, struct kv_bytes *name);
/* Returns KV_OK; or KV_ESIZE with the answer {error, {Kind, Bytes}} if there are more bytes than
 * `most`. */
int kv_registry_check_size(size_t bytes, size_t most, const char *kind, struct kv_answer *answer);

/* Finds the entry whose name is the first argument: LIVE or DORMANT. Sets *entry to NULL otherwise:
 * there is no such name, and the answer is `error`; or its bucket is being created, and the request
 * has been parked; or the request was refused. Returns KV_OK, also for a parked request, or an
 * error. */
int kv_registry_find_settled(struct kv_process *self, const struct kv_asked *asked,
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
/* destroy */
extern const struct kv_operation kv_registry_destroy_operations[];

/* An entry is about to be freed. A list that is being made, if there is one, shows one moment: it
 * takes the name now if it has not yet. */
void kv_registry_list_leaving(struct kv_process *self, struct kv_entry *entry);

/* Sends {create_bucket, Self, Name} to the creator, or {create_bucket, Self, Name, Options}. The
 * entry must be CREATING. */
void kv_registry_ask_creator(struct kv_process *self, const struct kv_entry *entry);
/* A CREATING entry has its bucket. Monitors the bucket, sends the event, and runs the requests that
 * wait, which may free the entry. */
void kv_registry_created(struct kv_process *self, struct kv_entry *entry, const struct kv_pid *pid);
/* A CREATING entry gets no bucket. The entry is DORMANT if it has a table, or is freed. Answers the
 * requests that wait. */
void kv_registry_failed(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason);
/* The bucket of a LIVE entry has ended, or is not to be found any more. Sends the event. The entry
 * is DORMANT if it has a table, or is freed. */
void kv_registry_ended(struct kv_process *self, struct kv_entry *entry);
/* Stops a bucket: it ends before any peer is served again, or behind a request that it is in the
 * middle of. */
void kv_registry_stop_bucket(struct kv_process *self, const struct kv_pid *pid);
/* Gives a settled entry another name, which no entry has; its table has the name already. For a
 * LIVE one sends two events, as if the bucket had ended and another had been created. Frees the
 * entry. */
void kv_registry_move(struct kv_process *self, struct kv_entry *entry, struct kv_bytes name);
/* Replaces the metadata of an entry by a copy of the term. */
void kv_registry_describe(struct kv_process *self, struct kv_entry *entry, struct kv_bytes meta);
/* The registry ends. Tells the calls that wait, and frees the entry, unless it is to be kept. */
void kv_registry_abandon(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason);

/* ---- registry_durable.c ------------------------------------------------------------------------
 */

/* Returns the table of a name in this registry, or NULL. */
struct kv_durable *kv_registry_table(struct kv_process *self, struct kv_bytes name);

/* Reads the policy of a new bucket from the options of its `create`, a proper list of pairs. KV_OK;
 * or KV_ETYPE with the answer {error, {bad_option, Option}}: a durable bucket in a volatile
 * registry. */
int kv_registry_read_policy(const struct kv_process *self, struct kv_bytes options,
                            struct kv_answer *answer, enum kv_policy *policy);
/* Appends the options of the bucket of a CREATING entry that are not about its process, elements of
 * a list: those of the request, and its place in the store. Returns how many. */
uint32_t kv_registry_write_options(const struct kv_process *self, const struct kv_entry *entry,
                                   struct kv_buffer *to);

/* Attaches a registry to its table, or refuses: as kv_bucket_open() does. */
struct kv_start_options;
int kv_registry_open(struct kv_process *self, struct kv_start_options *options,
                     struct kv_buffer *reason);
/* Takes over the entries that the registry before this one has left, and those of its tables: now,
 * or over the next turns, while requests wait. */
void kv_registry_adopt(struct kv_process *self);
/* Frees the entries of that list: those that a registry that ended has left to the next one. */
void kv_registry_forget_kept(struct kv_list *kept);

/* A table of that name is there, or is not any more. `self` is the process of its registry. */
void kv_registry_hears(struct kv_process *self, struct kv_bytes name, bool there);

/* Adds an entry: DORMANT and there, or CREATING and not. */
struct kv_entry *kv_registry_add(struct kv_process *self, struct kv_bytes name, bool dormant);
/* Adds an entry that was kept. It is LIVE. */
void kv_registry_add_kept(struct kv_process *self, struct kv_entry *entry);
/* Frees an entry for which nothing waits. */
void kv_registry_drop(struct kv_process *self, struct kv_entry *entry);

#endif
