/* A bucket: a table of terms. What the files of it share: its state and how keys are found
 * (bucket.c), its operations (operations_*.c), Agent's functions (agent.c), and the process around
 * it (bucket_process.c).
 *
 * A value is kept as the bytes it came in; a key as its canonical bytes, so that keys are one
 * exactly when =:= says so. */
#ifndef KV_BUCKET_H
#define KV_BUCKET_H

#include "kv/contents.h"
#include "kv/item.h"
#include "kv/operation.h"

struct kv_bucket {
    struct kv_contents contents;
    struct kv_buffer key;   /* the canonical form of the key of the present request */
    struct kv_buffer value; /* the value that was found, when the table has it in another form */
    struct kv_buffer label;
    uint64_t owner; /* the monitor on the process this bucket belongs to, or 0 */
    uint64_t generation;
};

/* The key as the table has it; valid until the next call. */
struct kv_item kv_bucket_key(struct kv_process *self, struct kv_bytes key);

/* The value of a key, as the table has it, valid until the bucket is changed; false when there is
 * none. */
bool kv_bucket_find_item(struct kv_process *self, struct kv_bytes key, struct kv_item *item);
/* The same as a term, valid also only until another value is asked for. */
bool kv_bucket_find(struct kv_process *self, struct kv_bytes key, struct kv_bytes *value);

/* KV_OK, or KV_ENOMEM: nothing has changed then. `expiry` is as of struct kv_change. */
int kv_bucket_put(struct kv_process *self, struct kv_bytes key, struct kv_bytes value,
                  uint64_t expiry);
/* False when there was none. */
bool kv_bucket_delete(struct kv_process *self, struct kv_bytes key);

/* When something expires that is put now and has `ttl` to live: milliseconds from 1 to 2^46, or
 * `infinity`. False when it is neither. */
bool kv_bucket_expiry(const struct kv_asked *asked, struct kv_bytes ttl, uint64_t *expiry);

/* The answer {error, {bad_ttl, Ttl}}. */
int kv_bucket_bad_ttl(struct kv_answer *answer, struct kv_bytes ttl);

/* Answers with what is in the term already and, behind it, a value that the table has: a large one
 * is pinned, a smaller one is borrowed. */
void kv_bucket_answer(const struct kv_process *self, struct kv_answer *answer, struct kv_item item);

/* Appends the keys or the values as a list, a list of pairs, or a map. KV_OK; or KV_ESIZE, when the
 * bucket is too large for one message, with {error, {too_large, Bytes}} appended. */
enum kv_bucket_shape { KV_BUCKET_KEYS, KV_BUCKET_VALUES, KV_BUCKET_PAIRS, KV_BUCKET_MAP };
int kv_bucket_write(const struct kv_process *self, enum kv_bucket_shape shape,
                    struct kv_buffer *to);

/* ---- the operations ----------------------------------------------------------------------------
 * docs/native-protocol.md says what each does. */

extern const struct kv_operation kv_single_operations[]; /* one key, or all of them */
extern const struct kv_operation kv_many_operations[];   /* many keys in one message */
extern const struct kv_operation kv_agent_operations[];  /* what Agent sends: agent.h */

/* Also a fall-back of Agent's `get`. */
kv_operation_run kv_bucket_get;

#endif
