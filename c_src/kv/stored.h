/* The options of a durable bucket or registry, which are on disk as a term: a list of {Name,
 * Value}.
 */
#ifndef KV_STORED_H
#define KV_STORED_H

#include <kv/buffer.h>
#include <kv/table.h>

struct kv_stored {
    uint64_t max_memory;  /* 0: no limit */
    uint64_t max_entries; /* 0: no limit */
    uint64_t ttl;         /* milliseconds; 0: entries do not expire */
    enum kv_evict evict;
    bool touch_on_read;
    uint64_t generation; /* with which the bucket was made */
    bool latest;         /* a read waits for no change to be on disk */
    bool unfilled;       /* a function of its owner was to fill it, and has not ended well yet */
    uint64_t entries;    /* of the table, when a checkpoint came to it; 0: nobody knows */
};

/* Appends the term. `meta` is the metadata of the name, a term; empty: none. */
void kv_stored_write(const struct kv_stored *options, struct kv_bytes meta, struct kv_buffer *to);

/* Reads the term: bytes that kv_stored_write() made, perhaps in another version. Options that it
 * does not know are left out; those that are not there are 0. */
void kv_stored_read(struct kv_bytes bytes, struct kv_stored *options);

/* Returns the metadata in the term, borrowed; empty: none. */
struct kv_bytes kv_stored_meta(struct kv_bytes bytes);

#endif
