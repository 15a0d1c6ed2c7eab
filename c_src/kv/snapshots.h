/* The snapshots of a bucket that callers have open: operations_snapshot.c has the requests. Each
 * belongs to a process, and ends with that process, with the bucket, or with its last piece. */
#ifndef KV_SNAPSHOTS_H
#define KV_SNAPSHOTS_H

#include <kv/process.h>
#include <kv/snapshot.h>

enum { KV_SNAPSHOTS_MAX = 8 }; /* open at a time, of one bucket */

struct kv_opened {
    struct kv_opened *next;
    struct kv_snapshot *snapshot;
    uint64_t number;  /* of those that the bucket has opened */
    uint64_t monitor; /* on the process that it belongs to */
};

/* Empty if zeroed. */
struct kv_snapshots {
    struct kv_opened *first;
    unsigned count;
    uint64_t numbers; /* given so far */
};

/* Opens one for a process. Returns NULL if there are KV_SNAPSHOTS_MAX, or changes of the table may
 * still be taken back. */
struct kv_opened *kv_snapshots_open(struct kv_snapshots *all, struct kv_process *self,
                                    struct kv_table *table, const struct kv_pid *owner);

/* Returns the one with that number, or NULL. */
struct kv_opened *kv_snapshots_find(const struct kv_snapshots *all, uint64_t number);

/* Ends one. */
void kv_snapshots_close(struct kv_snapshots *all, struct kv_process *self,
                        struct kv_opened *opened);

/* A monitor has fired: ends what belonged to that process. */
void kv_snapshots_down(struct kv_snapshots *all, struct kv_process *self, uint64_t monitor);

/* Ends all of them, when the bucket ends. */
void kv_snapshots_close_all(struct kv_snapshots *all, struct kv_process *self);

/* The bytes that they take. */
size_t kv_snapshots_memory(const struct kv_snapshots *all);

#endif
