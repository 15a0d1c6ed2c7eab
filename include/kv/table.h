/* Tables of keys and values in the shared memory of the node: bytes in, bytes out.
 *
 * A key is bytes and a form, a number from 0 to 3. The form is part of the key. A value has a form
 * too, which the table only keeps. Keys are compared byte by byte: for another equality, make the
 * bytes canonical first.
 *
 * Each function does a bounded amount of work, however large the table is. Readers in other
 * processes see each change whole or not at all. All functions of one node are for one thread. */
#ifndef KV_TABLE_H
#define KV_TABLE_H

#include <kv/bytes.h>
#include <kv/error.h>

/* The memory that holds all tables of a node. The program creates the arena. */
struct kv_arena;
struct kv_table;

struct kv_item {
    struct kv_bytes bytes;
    uint8_t form;
};

/* ---- creating and freeing ---------------------------------------------------------------------
 */

/* Which entries a table removes when there is no room for another. */
enum kv_evict {
    KV_EVICT_NONE, /* none: the put fails */
    KV_EVICT_LRU,  /* the least recently used of a sample */
    KV_EVICT_TTL,  /* the one that expires first, of a sample */
};

/* Why entries are gone that no request deleted. */
enum kv_gone {
    KV_GONE_EXPIRED, /* one entry: its time had come */
    KV_GONE_EVICTED, /* one entry: it made room for another */
    KV_GONE_CLEARED, /* all entries: kv_table_clear() */
};

struct kv_table_options {
    enum kv_evict evict;
    uint64_t max_memory;  /* limit for the bytes of entries and index; 0: no limit */
    uint64_t max_entries; /* limit for their number; 0: no limit. Expired entries count until they
                           * are removed; in a table of 1,000 entries or less they do not */
    uint64_t touch; /* milliseconds: each read of a value that expires starts its life again with
                     * these; 0: no read does */
    bool internal;  /* not a user's table: kv_arena_stats() does not count its items */
    /* Called for what no kv_table_put() or kv_table_delete() of that key asked for. NULL: not
     * called.
     * EXPIRED and EVICTED: called once for each entry. `key` is valid during the call. An expired
     * entry is reported when the table finds it: in a sweep, or in a get, put or delete of its key.
     * CLEARED: called once for all entries, with an empty key, and not if the table had none.
     * Not called for a deleted entry, for a value that was overwritten, or by kv_table_free().
     * Must not call any function with this table or its arena but kv_table_ask_owner(). */
    void (*gone)(void *context, enum kv_gone why, struct kv_item key);
    void *gone_context;
};

/* Creates an empty table. `options` may be NULL: all zero. Returns NULL if the arena has no room.
 * The caller frees the table with kv_table_free(), before the arena ends. */
struct kv_table *kv_table_new(struct kv_arena *arena, const struct kv_table_options *options);

/* Frees a table. Readers in other processes find at once that the table is gone; kv_arena_work()
 * frees the entries later. `table` may be NULL. */
void kv_table_free(struct kv_table *table);

/* The contents of a table, for readers in other processes. */
enum kv_published {
    KV_PUBLISHED_VALUES, /* the values of a bucket */
    KV_PUBLISHED_NAMES,  /* the names of a registry, with pids as values */
};

/* Lets readers in other processes find the table of the process with the pid (id, serial), until
 * the table is freed. A pid has at most one table of each kind, and a table one pid. Returns KV_OK,
 * or KV_ENOMEM: nothing has changed. */
int kv_arena_publish(struct kv_arena *arena, uint32_t id, uint32_t serial, enum kv_published what,
                     struct kv_table *table);

/* Ends that, and keeps the table: readers that still know the table find that it is gone. A process
 * with another pid may publish the table again. */
void kv_table_withdraw(struct kv_table *table);

/* Gives a table other limits than it was created with, in the sense of struct kv_table_options.
 * Removes nothing: a table may be above its limits until entries go. */
void kv_table_set_limits(struct kv_table *table, uint64_t max_memory, uint64_t max_entries,
                         uint64_t touch);

/* So many entries will be put into a table that is empty, or so it is thought. Its index then grows
 * in fewer steps, as the entries come; if there are fewer, it may take the memory for that many.
 * 0: nobody knows, as at first. */
void kv_table_expect(struct kv_table *table, uint64_t entries);

/* ---- one key ----------------------------------------------------------------------------------
 */

/* Finds the value of a key. Counts as a use of the entry. Returns false if there is no such entry;
 * removes the entry if it has expired. The value is borrowed until the table next changes. */
bool kv_table_get(struct kv_table *table, struct kv_item key, struct kv_item *value);

/* Finds value and expiry of a key. Counts as a use of the entry, and not as a read in the sense of
 * the option `touch`. Otherwise as kv_table_get(). */
bool kv_table_find(struct kv_table *table, struct kv_item key, struct kv_item *value,
                   uint64_t *expiry);

/* Returns the expiry that a read gives now to an entry that expires; or KV_NEVER: the table was
 * created without the option `touch`. */
uint64_t kv_table_touched(const struct kv_table *table);

/* Finds the expiry of an entry, or KV_NEVER. Does not count as a use of the entry. Returns false if
 * there is no such entry, or if it has expired. */
bool kv_table_expiry(const struct kv_table *table, struct kv_item key, uint64_t *expiry);

/* An expiry: the kv_arena_time() from which the entry is gone, or KV_NEVER. */
#define KV_NEVER 0

/* Stores a copy of key and value, and replaces an older value. Neither may lie in the arena.
 * Returns KV_OK; KV_ENOMEM if there is no room; or KV_EFULL for a new key if the table has
 * max_entries and may evict none. On an error the key is as it was, but the table may have evicted
 * entries. */
int kv_table_put(struct kv_table *table, struct kv_item key, struct kv_item value, uint64_t expiry);

/* Changes the expiry of an entry. Overwrites six bytes if the entry has an expiry and gets another.
 * Otherwise writes the entry anew: two copies of the value. `key` must not lie in the arena.
 * Returns KV_OK; KV_ENOENT: there is no such entry; or KV_ENOMEM: the key is as it was, but the
 * table may have evicted entries. */
int kv_table_set_expiry(struct kv_table *table, struct kv_item key, uint64_t expiry);

/* Deletes an entry. Returns false if there was none. */
bool kv_table_delete(struct kv_table *table, struct kv_item key);

/* ---- many keys --------------------------------------------------------------------------------
 */

/* Batches: set the keys, call kv_table_look_ahead() to hash and prefetch all of them, then pass
 * each lookup to the `_at` variant of get, put or delete. A lookup stays correct, if slower, when
 * the table changes in between. */
struct kv_lookup {
    struct kv_item key;
    uint64_t hash;  /* The table's own from here on: */
    uint64_t link;  /* the link to the segment of the hash, */
    uint64_t shape; /* valid while this is the table's shape; */
    uint64_t entry; /* the first entry that may have the key, or 0, */
    uint64_t moves; /* valid while the table has moved or removed no entry since */
};
void kv_table_look_ahead(const struct kv_table *table, struct kv_lookup *lookups, unsigned count);
bool kv_table_get_at(struct kv_table *table, const struct kv_lookup *lookup, struct kv_item *value);
int kv_table_put_at(struct kv_table *table, const struct kv_lookup *lookup, struct kv_item value,
                    uint64_t expiry);
/* The same as kv_table_put_at(): faster if the key is not there, slower if it is. */
int kv_table_add_at(struct kv_table *table, const struct kv_lookup *lookup, struct kv_item value,
                    uint64_t expiry);
bool kv_table_delete_at(struct kv_table *table, const struct kv_lookup *lookup);

/* Between these two, readers in other processes ask the owner, so they see all of the changes or
 * none; and each change costs less. If readers were to ask the owner before, they still are
 * afterwards. Must not be nested. */
void kv_table_begin_changes(struct kv_table *table);
void kv_table_end_changes(struct kv_table *table);

/* ---- all or none -------------------------------------------------------------------------------
 */

/* Returns true if puts of so many entries, whose keys and values have `bytes` in all, cannot fail
 * if they come next and nothing comes in between; nor do they evict anything then. May return false
 * although they would succeed. O(1). */
bool kv_table_has_room(const struct kv_table *table, uint64_t entries, uint64_t bytes);

/* From here on, puts are kept so that all of them can be taken back: up to `keys` different keys.
 * Each replaced entry keeps its memory until the end. It does not count against the limit of the
 * table, and the arena lends the puts twice the bytes of these entries above its own limit. A put
 * that finds no room may evict entries, but none that was put since here, and none that is held;
 * evicted entries do not come back. Freezes the table (below). Nothing may be deleted until the
 * end, except what was lent, and nothing of this may be nested. */
void kv_table_begin_all(struct kv_table *table, size_t keys);

/* The hash of a key in this table. */
uint64_t kv_table_hash(const struct kv_table *table, struct kv_bytes key);

/* Returns true if a put may evict entries. */
bool kv_table_evicts(const struct kv_table *table);

/* Between kv_table_begin_all() and the first put: nothing with this hash is evicted until the end.
 * Up to `keys` different hashes. */
void kv_table_hold(struct kv_table *table, uint64_t hash);

/* Returns how many different hashes are held, or a few less. */
uint64_t kv_table_held(const struct kv_table *table);

/* Returns KV_OK if the limits of the table allow so many entries, with so many bytes of keys and
 * values, and no others; else KV_EFULL or KV_ENOMEM: then no eviction makes room for them. */
int kv_table_fits(const struct kv_table *table, uint64_t entries, uint64_t bytes);

/* Between kv_table_begin_all() and the first put: the caller will not put this key, but delete it
 * between the last put and the end if the puts are kept. So the limits of the table do not count
 * its entry from here on, and the arena lends the puts twice its bytes. Once for a key. */
void kv_table_lend(struct kv_table *table, struct kv_item key);

/* Returns true if a put takes more of max_memory than the table has for the key now. */
bool kv_table_grows(const struct kv_table *table, struct kv_item key, struct kv_item value,
                    uint64_t expiry);

/* Ends that: makes the puts final (`keep`), or takes all of them back, which cannot fail. Works on
 * up to `most` keys, and returns true if there are more: then call it again with the same `keep`,
 * and put nothing meanwhile. */
bool kv_table_end_all(struct kv_table *table, bool keep, unsigned most);

/* Freezes the table: until kv_table_thaw() nothing expires by itself, and reads and walks see what
 * there was at this moment. A walk stays valid over many turns if nothing is put or deleted. */
void kv_table_freeze(struct kv_table *table);
void kv_table_thaw(struct kv_table *table);

/* ---- the whole table --------------------------------------------------------------------------
 */

/* Removes all entries. kv_arena_work() frees their memory later. */
void kv_table_clear(struct kv_table *table);

/* The number of entries, including expired ones that are not removed yet. */
uint64_t kv_table_count(const struct kv_table *table);

/* The number of entries. In a table of 1,000 entries or less, removes expired ones first. */
uint64_t kv_table_count_live(struct kv_table *table);

/* The number that kv_table_count_live() would return. Removes nothing, so a table of 1,000 entries
 * or less is looked through if some have expired. */
uint64_t kv_table_count_seen(const struct kv_table *table);

/* The bytes of the arena that the table takes. */
uint64_t kv_table_memory(const struct kv_table *table);

/* Returns the bytes that count against max_memory: entries and index. O(1). */
uint64_t kv_table_counted(const struct kv_table *table);

/* Returns max_memory; 0: no limit. */
uint64_t kv_table_limit(const struct kv_table *table);

/* Returns max_entries; 0: no limit. */
uint64_t kv_table_max_entries(const struct kv_table *table);

/* The bytes of all keys and values. */
uint64_t kv_table_bytes(const struct kv_table *table);

/* Makes readers in other processes ask the owner instead of reading the table, or lets them read
 * again. Between kv_table_begin_changes() and kv_table_end_changes() it says what they do
 * afterwards. */
void kv_table_ask_owner(struct kv_table *table, bool ask);

/* Makes readers in other processes ask the owner about one key: the key with this hash, and a few
 * others. Set a mark before the change that it hides. It counts while the table heeds marks, and
 * stays until kv_arena_unmark(). Each mark is in one of the sets of the arena. */
enum { KV_MARK_SETS = 2 };
void kv_table_mark(struct kv_table *table, uint64_t hash, unsigned set);
void kv_table_heed_marks(struct kv_table *table, bool heed);

/* Takes the marks of a set away, those of all tables. */
void kv_arena_unmark(struct kv_arena *arena, unsigned set);

/* Visits all entries that have not expired, in no particular order. `walk` begins zeroed. Returns
 * false at the end. Key and value are borrowed until the table next changes. The table must not
 * change during the walk. */
struct kv_table_walk {
    uint64_t hash; /* of the segment */
    unsigned entry;
    bool begun;
};
bool kv_table_next(const struct kv_table *table, struct kv_table_walk *walk, struct kv_item *key,
                   struct kv_item *value);

/* Like kv_table_next(), for a table that may change between two calls. Visits up to 640 entries and
 * moves *cursor on. The cursor begins as 0 and is 0 again at the end. Visits each entry that is
 * there all the time at least once. `visit` must not change the table. */
void kv_table_scan(const struct kv_table *table, uint64_t *cursor,
                   void (*visit)(void *context, struct kv_item key, struct kv_item value),
                   void *context);

/* A piece of a walk in hash order, for a table that may change between two pieces. Each key that is
 * there during the whole walk is visited exactly once, and no other key more than once.
 * *cursor begins as 0. Returns true, with *cursor moved on, if there may be more; false at the end.
 * Any value of *cursor is safe. Visits no expired entry, and does not count as a use.
 *
 * Looks at no more than KV_PIECE_ENTRIES entries, expired ones included, and ends earlier if
 * `visit` says so: if `may_end` is true, `visit` may return false. Then this entry is the first of
 * the next piece. Otherwise the result of `visit` has no meaning: the first entry of a piece is
 * always taken, and entries of equal hash are never parted. `visit` must not change the table. */
enum { KV_PIECE_ENTRIES = 4096 };
struct kv_table_entry {
    struct kv_item key, value; /* borrowed until the table next changes */
    uint64_t expiry;           /* or KV_NEVER */
};
typedef bool kv_table_visit(void *context, const struct kv_table_entry *entry, bool may_end);
bool kv_table_piece(const struct kv_table *table, uint64_t *cursor, kv_table_visit *visit,
                    void *context);

/* The same, but looks at no more than about 640 entries: some tens of microseconds. */
bool kv_table_small_piece(const struct kv_table *table, uint64_t *cursor, kv_table_visit *visit,
                          void *context);

/* Writes bytes that no other table has or ever had, of this node or of another one. They stay the
 * same until the table is freed. */
enum { KV_TABLE_IDENTITY_SIZE = 24 };
void kv_table_identity(const struct kv_table *table, uint8_t to[KV_TABLE_IDENTITY_SIZE]);

/* ---- the memory behind all tables -------------------------------------------------------------
 */

/* The time by which entries expire, in milliseconds of CLOCK_BOOTTIME. */
uint64_t kv_arena_time(const struct kv_arena *arena);

/* Entries of more bytes than this lie alone in pages of their own. */
enum { KV_ENTRY_SMALL_MAX = 8192 };

/* Pins a value that a table returned: its bytes stay valid and unchanged until kv_arena_unpin(),
 * even if the key is overwritten or deleted, or the table is freed. Pins nest. Returns false, and
 * pins nothing, if the entry takes KV_ENTRY_SMALL_MAX bytes or less. */
bool kv_arena_pin(struct kv_arena *arena, const void *data);
void kv_arena_unpin(struct kv_arena *arena, const void *data);

/* Bytes, except where a number is meant. */
struct kv_arena_stats {
    uint64_t limit;    /* max_memory, or the whole reserve */
    uint64_t reserved; /* taken from the system: pages in use, and free ones not given back */
    uint64_t entries;  /* pages of entries */
    uint64_t live;     /* the entries themselves: the rest of their pages is free or dead */
    uint64_t index;
    uint64_t other;      /* header, table slots, unused parts of pages */
    uint64_t free;       /* free pages that were not given back */
    uint64_t tables;     /* a number */
    uint64_t items;      /* a number: the entries of all tables that are not internal, */
    uint64_t item_bytes; /* and the bytes of their keys and values */
    /* The writer's records of pages: address space on the heap, for every page that there can be,
     * of which this much is in use. */
    uint64_t records;
    uint64_t records_used;
};

/* O(1). */
void kv_arena_stats(const struct kv_arena *arena, struct kv_arena_stats *stats);

#endif
