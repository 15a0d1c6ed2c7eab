/* The table of a process, and the one function through which requests change it. */
#ifndef KV_CONTENTS_H
#define KV_CONTENTS_H

#include "kv/counts.h"

#include <kv/table.h>

#include <kv/process.h>

struct kv_durable;
struct kv_overlay;

struct kv_contents {
    struct kv_table *table;
    struct kv_counts *counts;
    struct kv_overlay *overlay; /* during a transaction: what it has changed; else NULL */
    struct kv_durable *durable; /* the table is durable: kv/durable.h; else NULL */
    bool apart;                 /* there is one of these two */
};

/* Creates the table and lets readers of this host find it by the pid of `self`. Returns KV_OK, or
 * KV_ENOMEM with the exit reason appended to `reason`. Must not be closed after an error. */
int kv_contents_open(struct kv_contents *contents, const struct kv_process *self,
                     const struct kv_table_options *options, struct kv_buffer *reason);
/* Attaches the process to a dormant durable table instead. Otherwise as kv_contents_open(). */
int kv_contents_attach(struct kv_contents *contents, struct kv_process *self,
                       struct kv_durable *durable, struct kv_buffer *reason);
/* Frees the table; a durable one becomes dormant. */
void kv_contents_close(struct kv_contents *contents, const struct kv_process *self);

/* Begins and ends a transaction. */
void kv_contents_overlay(struct kv_contents *contents, struct kv_overlay *overlay);

/* Changes that are recorded all together or not at all. Nothing happens for a volatile table.
 *
 * kv_contents_reserve() makes room for puts, with so many bytes of keys and values in all. Returns
 * KV_OK: none of them fails for want of room in the journal until kv_contents_settle(); or
 * KV_EBUSY, KV_ENOSPC or KV_ENOMEM.
 * After kv_contents_begin() nothing is recorded until kv_contents_settle(), which records all if
 * `error` is KV_OK, and else nothing. Returns `error`; or why the journal has no room, and nothing
 * is recorded: then the caller must take the changes back. */
int kv_contents_reserve(const struct kv_contents *contents, uint64_t bytes, uint64_t records);
void kv_contents_begin(const struct kv_contents *contents);
int kv_contents_settle(const struct kv_contents *contents, int error);

/* Deletes cannot be taken back. So those of a long request are recorded before they are made:
 * kv_durable_gone() for each key after kv_contents_begin(), and then kv_contents_record_ahead().
 * Returns KV_OK: all are on record, and changes of the table record nothing until
 * kv_contents_caught_up(), once all are made; or KV_ENOSPC: nothing is recorded. */
int kv_contents_record_ahead(const struct kv_contents *contents);
void kv_contents_caught_up(const struct kv_contents *contents);

/* The answer of the present request tells of the whole table, though its operation is KV_BY_KEY. */
void kv_contents_tell_all(const struct kv_contents *contents);

enum kv_change_kind { KV_CHANGE_PUT, KV_CHANGE_DELETE, KV_CHANGE_CLEAR, KV_CHANGE_EXPIRY };

/* A bit in the expiry of a PUT: an entry that is there keeps its own expiry. The rest is the expiry
 * of a new entry. */
#define KV_KEEPING (UINT64_C(1) << 63)

struct kv_change {
    enum kv_change_kind kind;
    const struct kv_lookup *ahead; /* PUT, DELETE: the prefetched key; or NULL, then `key` counts */
    struct kv_item key;
    struct kv_item value; /* PUT */
    uint64_t expiry;      /* PUT, EXPIRY: the kv_arena_time() from which the entry is gone, or
                           * KV_NEVER; PUT: perhaps with KV_KEEPING */
};

/* Overlays: kv/overlay.h. Each does what the function of the same name here does. */
int kv_overlay_change(struct kv_overlay *overlay, const struct kv_change *wanted);
bool kv_overlay_find(struct kv_overlay *overlay, struct kv_item key, struct kv_item *value);
bool kv_overlay_look(const struct kv_overlay *overlay, struct kv_item key, struct kv_item *value,
                     uint64_t *expiry);
bool kv_overlay_expiry(const struct kv_overlay *overlay, struct kv_item key, uint64_t *expiry);

static inline void kv_contents_count_find(const struct kv_contents *contents, bool there)
{
    uint64_t *counter = there ? &contents->counts->hits : &contents->counts->misses;
    (*counter)++;
}

/* Those of a durable table, or in a transaction. */
bool kv_contents_find_apart(const struct kv_contents *contents, struct kv_item key,
                            struct kv_item *value);
bool kv_contents_expiry_apart(const struct kv_contents *contents, struct kv_item key,
                              uint64_t *expiry);
bool kv_contents_look_apart(const struct kv_contents *contents, struct kv_item key,
                            struct kv_item *value, uint64_t *expiry);
int kv_contents_change_apart(const struct kv_contents *contents, const struct kv_change *wanted);

/* Finds the value of a key, as kv_table_get() does. All operations on one key read through this
 * function. */
static inline bool kv_contents_find(const struct kv_contents *contents, struct kv_item key,
                                    struct kv_item *value)
{
    const bool there = __builtin_expect(contents->apart, 0)
                           ? kv_contents_find_apart(contents, key, value)
                           : kv_table_get(contents->table, key, value);
    kv_contents_count_find(contents, there);
    return there;
}

/* As kv_contents_find(), for a prefetched key. Not in a transaction. */
static inline bool kv_contents_find_at(const struct kv_contents *contents,
                                       const struct kv_lookup *lookup, struct kv_item *value)
{
    const bool there = __builtin_expect(contents->apart, 0)
                           ? kv_contents_find_apart(contents, lookup->key, value)
                           : kv_table_get_at(contents->table, lookup, value);
    kv_contents_count_find(contents, there);
    return there;
}

/* Finds the expiry of a key, as kv_table_expiry() does. */
static inline bool kv_contents_expiry(const struct kv_contents *contents, struct kv_item key,
                                      uint64_t *expiry)
{
    return __builtin_expect(contents->apart, 0) ? kv_contents_expiry_apart(contents, key, expiry)
                                                : kv_table_expiry(contents->table, key, expiry);
}

/* Finds value and expiry of a key, as kv_table_find() does. */
static inline bool kv_contents_look(const struct kv_contents *contents, struct kv_item key,
                                    struct kv_item *value, uint64_t *expiry)
{
    return __builtin_expect(contents->apart, 0)
               ? kv_contents_look_apart(contents, key, value, expiry)
               : kv_table_find(contents->table, key, value, expiry);
}

/* Returns the expiry of a PUT with KV_KEEPING. */
uint64_t kv_contents_kept(const struct kv_contents *contents, const struct kv_change *change);

/* Makes one change in the table, and records nothing. */
__attribute__((always_inline)) static inline int
kv_contents_change_table(const struct kv_contents *contents, const struct kv_change *change)
{
    struct kv_table *table = contents->table;
    uint64_t expiry = change->expiry;
    bool there = false;
    int error = KV_OK;
    switch (change->kind) {
    case KV_CHANGE_PUT:
        if ((expiry & KV_KEEPING) != 0) {
            expiry = kv_contents_kept(contents, change);
        }
        error = change->ahead != NULL ? kv_table_put_at(table, change->ahead, change->value, expiry)
                                      : kv_table_put(table, change->key, change->value, expiry);
        contents->counts->puts += error == KV_OK;
        return error;
    case KV_CHANGE_DELETE:
        there = change->ahead != NULL ? kv_table_delete_at(table, change->ahead)
                                      : kv_table_delete(table, change->key);
        contents->counts->deletes += there;
        return there ? KV_OK : KV_ENOENT;
    case KV_CHANGE_EXPIRY:
        return kv_table_set_expiry(table, change->key, expiry);
    case KV_CHANGE_CLEAR:
        kv_table_clear(table);
        return KV_OK;
    }
    return KV_ETYPE;
}

/* Makes one change. All requests change tables through this function; only expiry and eviction
 * happen inside the store. Returns KV_OK; for a PUT or an EXPIRY, KV_ENOMEM or KV_EFULL, or
 * KV_EBUSY or KV_ENOSPC of the journal: the key is as it was; for a DELETE or an EXPIRY, KV_ENOENT:
 * there was no entry. Always inlined, since each caller knows the kind: a batch of puts must not
 * pay for the switch. */
__attribute__((always_inline)) static inline int
kv_contents_change(const struct kv_contents *contents, const struct kv_change *change)
{
    return __builtin_expect(contents->apart, 0) ? kv_contents_change_apart(contents, change)
                                                : kv_contents_change_table(contents, change);
}

#endif
