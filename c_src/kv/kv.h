/* The native processes of this project: buckets, registries, and the net_kernel that answers pings.
 *
 * docs/native-protocol.md lists their requests. */
#ifndef KV_KV_H
#define KV_KV_H

#include "base/list.h"
#include "base/siphash.h"
#include "kv/operation.h"

#include <kv/process.h>

struct kv_arena;
struct kv_durables;
struct kv_tally;

/* The result of a backup. */
struct kv_backup_answer {
    const char *word; /* NULL: it is there; else why it is not: one word, */
    const char *text; /* and a sentence */
    struct kv_bytes folder;
    uint64_t bytes;   /* of all files, */
    uint64_t written; /* and of those that are no links */
};

/* Backups of the durable tables that a message asks for. One at a time. */
struct kv_backups {
    void *context;
    /* Begins one with this name, or refuses: kv_backups.ended() tells which. */
    void (*begin)(void *context, struct kv_bytes name);
    /* Returns true once the backup has ended; the answer is valid until the next begin(). */
    bool (*ended)(void *context, struct kv_backup_answer *answer);
};

/* The context of the behaviours: what all buckets and registries of a node share. */
struct kv_store {
    struct kv_arena *arena;      /* holds their tables; borrowed */
    enum kv_zeros zeros;         /* how keys compare */
    struct kv_hash_key hash_key; /* random */
    /* The operations of each; filled by kv_services_start(). */
    struct kv_dispatch bucket;
    struct kv_dispatch registry;
    /* Returns the wall clock, in milliseconds since 1970. NULL: `expire_at` is refused. */
    uint64_t (*unix_time)(void);
    struct kv_durables *durables; /* the durable tables; NULL: the node has no data_dir */
    struct kv_backups backups;    /* begin is NULL: every request is refused */
    struct kv_tally *tally;       /* of the events of all tables; NULL: nobody asks */
    struct kv_list adoptables;    /* of adopt.h; set up by kv_services_start() */
    size_t buckets;               /* that there are */
    size_t durable_buckets;       /* of them: the others are lost with the node */
    size_t registries;            /* without the durable ones */
};

static inline struct kv_store *kv_store_of(const struct kv_process *self)
{
    return kv_process_context(self);
}

extern const struct kv_behaviour kv_bucket_behaviour;
extern const struct kv_behaviour kv_registry_behaviour;

/* Lets peers spawn buckets and registries, and starts net_kernel. `store` is borrowed and must
 * outlive the runtime. Returns KV_OK, or KV_EEXIST if the runtime has a net_kernel already. */
int kv_services_start(struct kv_runtime *runtime, struct kv_store *store);

#endif
