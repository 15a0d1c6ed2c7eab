/* A bucket: a table of terms. The files of a bucket share this header: bucket.c (the state, and how
 * keys are found), operations_*.c (the operations), agent.c (Agent's functions) and
 * bucket_process.c (the behaviour, and the view for tools).
 *
 * A bucket keeps a value as the bytes that came in. It keeps the canonical bytes of a key, so that
 * two keys are the same exactly when =:= says so. */
#ifndef KV_BUCKET_H
#define KV_BUCKET_H

#include "kv/contents.h"
#include "kv/item.h"
#include "kv/operation.h"
#include "kv/snapshots.h"

#include <kv/journal.h>

/* Bytes. A shorter value, or answer, is cheaper to copy than to send from where it lies. */
enum { KV_PINNED_MIN = 64 * 1024 };

struct kv_bucket {
    struct kv_going *going; /* first: the request that goes on, going.h; or NULL */
    struct kv_contents contents;
    struct kv_buffer key;   /* space for kv_bucket_key() */
    struct kv_buffer value; /* space for kv_bucket_find() */
    struct kv_buffer label;
    struct kv_snapshots snapshots;
    struct kv_adoptable *adoptable; /* of a bucket that belongs to the node; or NULL */
    uint64_t owner;                 /* the monitor on the owner, or 0 */
    uint64_t generation;            /* the option `generation` */
    uint64_t ttl;        /* the option `ttl`, in milliseconds; 0: entries do not expire */
    enum kv_evict evict; /* the options `evict`, */
    bool touch_on_read;  /* `touch_on_read`, */
    bool latest;         /* and `reads` */
};

struct kv_start_options;

/* Opens the contents of a bucket that starts: kv_start_open (kv/start.h). A durable bucket attaches
 * to the table of its identity, and has the generation of the table. Reasons: enomem, enospc, busy;
 * {already_started, Pid}; {no_name, Text}, {no_data_dir, Text}, {is_durable, Text} and
 * {cannot_change, Text}. */
int kv_bucket_open(struct kv_process *self, struct kv_start_options *options,
                   struct kv_buffer *reason);

/* Returns the option `durable`. */
enum kv_policy kv_bucket_policy(const struct kv_bucket *bucket);

/* Returns a key in the form that the table keeps. Valid until the next call. */
struct kv_item kv_bucket_key(struct kv_process *self, struct kv_bytes key);

/* Finds the value of a key, in the form that the table keeps. Valid until the bucket next changes.
 * Returns false if there is no such key. */
bool kv_bucket_find_item(struct kv_process *self, struct kv_bytes key, struct kv_item *item);
/* Finds the value of a key for an operation that does not return the value: as
 * kv_bucket_find_item(), but the option `touch_on_read` does not apply. `expiry` may be NULL. */
bool kv_bucket_look(struct kv_process *self, struct kv_bytes key, struct kv_item *item,
                    uint64_t *expiry);
/* Finds the value of a key as a term. Valid until the bucket next changes or the next call. Returns
 * false if there is no such key. */
bool kv_bucket_find(struct kv_process *self, struct kv_bytes key, struct kv_bytes *value);

/* Returns true if the key has a value, and that value is =:= `wanted`. No read in the sense of
 * `touch_on_read`. */
bool kv_bucket_holds(struct kv_process *self, struct kv_bytes key, struct kv_bytes wanted);

/* Puts a value under a key. `expiry` is the one of struct kv_change. Returns KV_OK; or
 * KV_ENOMEM or KV_EFULL: the key is as it was. */
int kv_bucket_put(struct kv_process *self, struct kv_bytes key, struct kv_bytes value,
                  uint64_t expiry);
/* Deletes a key. Returns false if there was none. */
bool kv_bucket_delete(struct kv_process *self, struct kv_bytes key);

/* The longest time to live, in milliseconds: the instant has 48 bits in the store. */
#define KV_TTL_MAX (UINT64_C(1) << 46)

/* Returns the expiry of an entry that is put now without a time to live of its own. */
static inline uint64_t kv_bucket_default_expiry(const struct kv_process *self,
                                                const struct kv_asked *asked)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return bucket->ttl == 0 ? KV_NEVER : asked->time + bucket->ttl;
}

/* Computes the expiry of an entry that is put now with the time to live `ttl`: milliseconds from 1
 * to KV_TTL_MAX, `infinity`, or `keep`. The result for `keep` has the bit KV_KEEPING, for
 * kv_contents_change(). Returns false if `ttl` is none of these. */
bool kv_bucket_expiry(const struct kv_process *self, const struct kv_asked *asked,
                      struct kv_bytes ttl, uint64_t *expiry);

/* Writes {error, {bad_ttl, Ttl}}. Returns KV_ERANGE. */
int kv_bucket_bad_ttl(struct kv_answer *answer, struct kv_bytes ttl);

/* The rest of an operation that puts, once the expiry is known: as kv_operation_run. */
typedef int kv_bucket_until(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                            struct kv_answer *answer);

/* Runs an operation that puts, with the time to live in that argument, or refuses it. */
static inline int kv_bucket_for(struct kv_process *self, const struct kv_asked *asked, unsigned ttl,
                                kv_bucket_until *until, struct kv_answer *answer)
{
    uint64_t expiry = KV_NEVER;
    return kv_bucket_expiry(self, asked, asked->arguments[ttl], &expiry)
               ? until(self, asked, expiry, answer)
               : kv_bucket_bad_ttl(answer, asked->arguments[ttl]);
}

/* Sets a value of the table behind the term of the answer. Pins a large value, so that it is sent
 * from where it lies, and borrows a smaller one. */
void kv_bucket_answer(const struct kv_process *self, struct kv_answer *answer, struct kv_item item);

/* Appends the whole bucket: the keys or the values as a list, a list of pairs, or a map. Returns
 * KV_OK; or KV_ESIZE, with {error, {too_large, Bytes}} appended, if what the shape shows takes more
 * than KV_ANSWER_MAX bytes: for keys, or for values, Bytes is where the count stopped. */
enum kv_bucket_shape { KV_BUCKET_KEYS, KV_BUCKET_VALUES, KV_BUCKET_PAIRS, KV_BUCKET_MAP };
int kv_bucket_write(const struct kv_process *self, enum kv_bucket_shape shape,
                    struct kv_buffer *to);
/* Answers that. Goes on in the next turns if the bucket is large; all of the answer is from this
 * moment. */
int kv_bucket_answer_whole(struct kv_process *self, const struct kv_asked *asked,
                           enum kv_bucket_shape shape, struct kv_answer *answer);

/* ---- the operations ----------------------------------------------------------------------------
 * docs/native-protocol.md describes each. */

extern const struct kv_operation kv_single_operations[];      /* one key, or the whole bucket */
extern const struct kv_operation kv_get_many_operations[];    /* many keys in one message: reads, */
extern const struct kv_operation kv_many_operations[];        /* and changes */
extern const struct kv_operation kv_agent_operations[];       /* Agent's own requests: agent.h */
extern const struct kv_operation kv_tagged_operations[];      /* one key, if its value has a tag */
extern const struct kv_operation kv_transaction_operations[]; /* several keys, all or none */
extern const struct kv_operation kv_stats_operations[];       /* what has happened */
extern const struct kv_operation kv_durable_operations[];     /* the bucket as data on disk */
extern const struct kv_operation kv_walk_operations[];        /* pieces of a walk over all keys */
extern const struct kv_operation kv_snapshot_operations[];    /* all keys as of one moment */
extern const struct kv_operation kv_conditional_operations[]; /* one key, by what is there */
extern const struct kv_operation kv_number_operations[];      /* counters */
extern const struct kv_operation kv_time_operations[];        /* the time to live of a key */

/* {get, Key}. Public, since agent.c runs it if Key is not a function. */
kv_operation_run kv_bucket_get;

#endif
