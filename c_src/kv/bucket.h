/* What the files of a bucket share: bucket.c (calls and casts) and agent.c (what Agent sends). */
#ifndef KV_BUCKET_H
#define KV_BUCKET_H

#include "store/table.h"

#include <kv/process.h>

struct kv_bucket {
    struct kv_table *table;
    struct kv_buffer key; /* the canonical form of the key of the present request */
    struct kv_buffer label;
    uint64_t owner; /* the monitor on the process this bucket belongs to, or 0 */
};

/* The value of a key, valid until the bucket is changed. kv_bucket_delete() and kv_bucket_put() of
 * the same key may follow. */
bool kv_bucket_find(struct kv_process *self, struct kv_bytes key, struct kv_bytes *value);
void kv_bucket_put(struct kv_process *self, struct kv_bytes key, struct kv_bytes value);
void kv_bucket_delete(struct kv_process *self, struct kv_bytes key);

/* Appends the keys or the values as a list, a list of pairs, or a map; when the bucket is too large
 * for one message, {error, {too_large, Bytes}}. */
enum kv_bucket_shape { KV_BUCKET_KEYS, KV_BUCKET_VALUES, KV_BUCKET_PAIRS, KV_BUCKET_MAP };
void kv_bucket_write(const struct kv_process *self, enum kv_bucket_shape shape,
                     struct kv_buffer *to);

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
