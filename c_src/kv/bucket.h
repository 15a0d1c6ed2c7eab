/* What the files of a bucket share: bucket.c (calls and casts), many.c (requests about many keys)
 * and agent.c (what Agent sends). */
#ifndef KV_BUCKET_H
#define KV_BUCKET_H

#include "kv/item.h"

#include <kv/process.h>

struct kv_bucket {
    struct kv_table *table;
    struct kv_buffer key;   /* the canonical form of the key of the present request */
    struct kv_buffer value; /* the value that was found, when the table has it in another form */
    struct kv_buffer label;
    uint64_t expiry; /* of what the present request puts */
    uint64_t owner;  /* the monitor on the process this bucket belongs to, or 0 */
    uint64_t generation;
};

/* The value of a key, valid until the bucket is changed, or another value is asked for. */
bool kv_bucket_find(struct kv_process *self, struct kv_bytes key, struct kv_bytes *value);
/* The same, as the table has it. */
bool kv_bucket_find_item(struct kv_process *self, struct kv_bytes key, struct kv_item *item);
/* What is put until kv_bucket_keep_for() is called again, or the present request ends, expires in
 * so many milliseconds, or never: a number from 1 on, or `infinity`. False when it is neither. */
bool kv_bucket_keep_for(struct kv_process *self, struct kv_bytes ttl);

/* KV_OK, or KV_ENOMEM: nothing has changed then. */
int kv_bucket_put(struct kv_process *self, struct kv_bytes key, struct kv_bytes value);
/* False when there was none. */
bool kv_bucket_delete(struct kv_process *self, struct kv_bytes key);

/* {error, enomem}: what a put gets that finds no room. */
void kv_bucket_write_no_memory(struct kv_buffer *to);
void kv_bucket_reply_no_memory(struct kv_process *self, const struct kv_from *from);

/* Bytes of keys and values that are still sent in one message. */
enum { KV_BUCKET_REPLY_MAX = 1 << 28 };

/* Appends {error, {too_large, Bytes}}. */
void kv_bucket_write_too_large(struct kv_buffer *to, size_t bytes);

/* Appends the keys or the values as a list, a list of pairs, or a map; when the bucket is too large
 * for one message, {error, {too_large, Bytes}}. */
enum kv_bucket_shape { KV_BUCKET_KEYS, KV_BUCKET_VALUES, KV_BUCKET_PAIRS, KV_BUCKET_MAP };
void kv_bucket_write(const struct kv_process *self, enum kv_bucket_shape shape,
                     struct kv_buffer *to);

/* ---- many.c ------------------------------------------------------------------------------------
 * Handlers of calls, which get the arguments of their request. get: [Keys], get_or: [Keys,
 * Default]; put: [Entries], a list of pairs or a map; delete: [Keys]. */

void kv_many_get(struct kv_process *self, const struct kv_from *from,
                 const struct kv_bytes *arguments);
void kv_many_get_or(struct kv_process *self, const struct kv_from *from,
                    const struct kv_bytes *arguments);
void kv_many_put(struct kv_process *self, const struct kv_from *from,
                 const struct kv_bytes *arguments);
/* [Entries, Ttl] */
void kv_many_put_for(struct kv_process *self, const struct kv_from *from,
                     const struct kv_bytes *arguments);
void kv_many_delete(struct kv_process *self, const struct kv_from *from,
                    const struct kv_bytes *arguments);

/* As casts. False when the argument is malformed, and nothing was done, or there was no room. */
bool kv_many_cast_put(struct kv_process *self, struct kv_bytes entries);
bool kv_many_cast_delete(struct kv_process *self, struct kv_bytes keys);

/* ---- agent.c ----------------------------------------------------------------------------------
 * Agent.get(bucket, Map, :get, ["key"]) and the like: functions of maps by name, which a bucket can
 * do without their code. */

enum kv_agent_kind { KV_AGENT_GET, KV_AGENT_UPDATE, KV_AGENT_GET_AND_UPDATE };

/* Does what {Module, Function, Args} asks for and appends the answer that Agent expects. False when
 * `function` is none of the functions a bucket can do; nothing has happened then. */
bool kv_agent_run(struct kv_process *self, enum kv_agent_kind kind, struct kv_bytes function,
                  struct kv_buffer *answer);

/* Whether a term is a fun or {Module, Function, Args}: what Agent would have a process run. */
bool kv_agent_is_function(struct kv_bytes term);

#endif
