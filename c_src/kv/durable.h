/* Durable tables: their contents are on disk, by the journal (kv/journal.h). A durable registry is
 * a table, too: one without entries, whose names are the tables that have it as their registry.
 *
 * A durable table has an identity, (registry, name), and belongs to the store and not to a process.
 * A process of that identity is attached to it. When the process ends, in any way, the table stays:
 * it is dormant until the next process attaches. A table that is destroyed is gone at once. A
 * registry is destroyed with one record, and its names are freed bit by bit after that.
 *
 * Each change is recorded once it has succeeded. From then on what the process sends waits until
 * the batch of the change is durable (kv_process_hold_until()), and readers of this host ask the
 * process. An answer that tells of some keys only waits for these (kv_process_hold_for()): the set
 * of tables knows the keys that batches have changed which are not durable yet. If they are too
 * many, or not known one by one, the whole table waits. */
#ifndef KV_DURABLE_H
#define KV_DURABLE_H

#include "base/list.h"
#include "base/map.h"
#include "base/siphash.h"
#include "kv/counts.h"
#include "kv/fresh.h"
#include "kv/stored.h"

#include <kv/journal.h>
#include <kv/process.h>

struct kv_durables_walk;
struct kv_durable;
struct kv_tally;

/* Puts of a recovery that are done together. */
enum { KV_DURABLE_PUTS = 32 };
struct kv_durable_puts {
    struct kv_durable *durable; /* whose they are */
    unsigned count;
    struct kv_lookup lookups[KV_DURABLE_PUTS];
    struct kv_item values[KV_DURABLE_PUTS];
    uint64_t expiries[KV_DURABLE_PUTS];
};

/* The process of a durable registry, as its tables know it. */
struct kv_durable_registry {
    /* A durable bucket of that name is there, or is not any more. */
    void (*hears)(struct kv_process *self, struct kv_bytes name, bool there);
    /* Returns whether the registry creates a bucket of that name now. Sets *meta to its metadata, a
     * term, borrowed; empty: none. */
    bool (*creates)(struct kv_process *self, struct kv_bytes name, struct kv_bytes *meta);
    /* Frees what a registry has kept that will have no process any more. */
    void (*forget_kept)(struct kv_list *kept);
};

struct kv_durable {
    struct kv_map_node by_identity;
    struct kv_map_node by_id;
    struct kv_list of_set;
    struct kv_list unwritten; /* in the set's list while a change is not durable */
    struct kv_durables *set;
    uint64_t id;
    uint8_t kind;
    enum kv_policy policy;
    struct kv_table *table;
    struct kv_table *shown; /* what readers of this host read: `table`, or names of a registry */
    struct kv_counts counts;
    struct kv_buffer identity; /* the registry, then the name */
    size_t registry_length;
    struct kv_stored options;
    struct kv_buffer meta;       /* of a name in a registry: its metadata, a term; empty: none */
    struct kv_durable *registry; /* of a name in a registry; NULL: none, or it is not there */
    struct kv_list of_registry;  /* in the `names` of that, or `strays` or `roots` of the set */
    struct kv_list names;        /* of a registry: the tables that have a name in it */
    size_t names_count;
    struct kv_list *next_name; /* of these, for its process; that of the list: no more */
    struct kv_list kept;       /* of a dormant registry: kv/registry.h */
    size_t kept_count;
    const struct kv_durable_registry *calls; /* of a registry that has had a process, or NULL */
    struct kv_process *process;              /* NULL: dormant */
    uint64_t batch;                          /* the last one with a change of this table */
    uint64_t whole;                          /* the last one for which the whole table waits */
    uint32_t keys;                           /* changed in `batch`, with repetitions */
    uint64_t tells;                          /* the last batch of which the present answer tells */
    bool suspended;                          /* readers of this host ask the process anyway */
    bool changing;                           /* so they do during a change */
    bool destroyed;                          /* of a registry: its names are being freed */
    bool deferring;                          /* changes are not recorded before they are settled */
    bool ahead;                              /* changes are on record, and being made */
    bool reserved;                           /* the journal has room for the puts that come now */
    struct kv_buffer deferred;               /* records of changes that may still be taken back */
    uint64_t deferred_count;
};

/* All durable tables of a node. */
struct kv_durables {
    struct kv_arena *arena;
    const struct kv_journal *journal; /* NULL during recovery */
    struct kv_hash_key hash_key;
    struct kv_map by_identity;
    struct kv_map by_id;
    struct kv_tally *tally; /* of the events after recovery; NULL: nobody asks */
    struct kv_list tables;
    struct kv_list strays; /* whose registry is not there */
    struct kv_list roots;  /* that are in no registry, in the order of their making */
    struct kv_list unwritten;
    struct kv_fresh fresh;
    uint64_t written;              /* all batches up to this one are written, */
    uint64_t durable;              /* and durable */
    uint64_t dropped;              /* casts that found no room: since the last log line, */
    int why;                       /* the last one, */
    uint64_t told;                 /* and when that line was, on the clock of the arena */
    uint64_t greatest;             /* id that there was */
    struct kv_durables_walk *walk; /* under way, or NULL: kv/durable_walk.h */
    struct kv_durable_puts *puts;  /* during recovery; and */
    uint64_t entries_most;         /* how many can still come, whatever a record says */
};

/* Keys of one table that one batch may change before the whole table waits for it. */
enum { KV_DURABLE_KEYS = 4096 };

/* Begins a set: nothing is in it, and recovery may begin. Both are borrowed. */
void kv_durables_init(struct kv_durables *set, struct kv_arena *arena,
                      const struct kv_hash_key *hash_key);
/* Frees the tables. No process may be attached. */
void kv_durables_free(struct kv_durables *set);

/* ---- recovery ----------------------------------------------------------------------------------
 * Applies what a journal recorded, in that order. Meanwhile the time of the arena must not reach
 * any expiry, since a later record may prolong an entry: keep it at 0, and give no expiry below 2.
 * Records for a table that is not there (any more) are ignored. KV_OK, or KV_ENOMEM; of
 * kv_durables_expiry() also KV_ENOENT: there is no such entry. */

/* `entries_most` should be set before. */
int kv_durables_table(struct kv_durables *set, const struct kv_journal_table *about);
/* Borrows key and value until kv_durables_settle(), or until any other function of these. */
int kv_durables_put(struct kv_durables *set, uint64_t id, const struct kv_table_entry *entry);
int kv_durables_settle(struct kv_durables *set);
int kv_durables_expiry(struct kv_durables *set, uint64_t id, struct kv_item key, uint64_t expiry);
int kv_durables_gone(struct kv_durables *set, uint64_t id, struct kv_item key);
int kv_durables_clear(struct kv_durables *set, uint64_t id);
int kv_durables_drop(struct kv_durables *set, uint64_t id);
int kv_durables_drop_registry(struct kv_durables *set, uint64_t id, struct kv_bytes name);

/* Recovery is done, and all puts are settled: from here on changes are recorded. `greatest` is the
 * greatest id that the journal has seen. The journal is borrowed. */
void kv_durables_open(struct kv_durables *set, const struct kv_journal *journal, uint64_t greatest);

/* ---- processes ---------------------------------------------------------------------------------
 */

/* The table of an identity, or NULL. */
struct kv_durable *kv_durable_find(const struct kv_durables *set, struct kv_bytes registry,
                                   struct kv_bytes name);

/* Visits the tables that are in no registry: buckets and registries. */
void kv_durables_each(const struct kv_durables *set,
                      void (*visit)(void *visitor, const struct kv_durable *durable),
                      void *visitor);

/* Makes a table of this identity, policy and kind, and records it. Returns KV_OK; or KV_ENOMEM,
 * KV_ENOSPC or KV_EBUSY, or KV_ENOENT: its registry does not create a bucket of that name now.
 * Then nothing has changed. */
int kv_durable_make(struct kv_durables *set, const struct kv_journal_table *about,
                    const struct kv_stored *options, struct kv_durable **made);

/* Attaches a process. The table must be dormant. All that the process sends waits for the last
 * change of the table. Readers of this host find the table by the pid. Returns KV_OK, or KV_ENOMEM.
 */
int kv_durable_attach(struct kv_durable *durable, struct kv_process *self);
/* The same for the process of a registry. It shows its names to readers in that table. */
void kv_durable_attach_registry(struct kv_durable *durable, struct kv_process *self,
                                struct kv_table *shown, const struct kv_durable_registry *calls);
/* Ends that; frees a table that is destroyed. */
void kv_durable_detach(struct kv_durable *durable);

/* The process has made something known in this turn that is recorded elsewhere: as for a change of
 * the table, what it sends waits, and readers ask. */
void kv_durable_note(struct kv_durable *durable);
/* Returns true if the last change of the table was recorded in the batch that gathers now. */
bool kv_durable_is_gathering(const struct kv_durable *durable);

/* Replaces the policy and the options, but for `evict`, and records them if they differ. Must be
 * called while the table is dormant. Returns as kv_durable_make(). */
int kv_durable_set_options(struct kv_durable *durable, enum kv_policy policy,
                           const struct kv_stored *options);

/* Makes what a process sends from now on wait for the last change of the table. */
void kv_durable_hold(const struct kv_durable *durable, struct kv_process *process);

/* Drops the table: no process attaches any more, and its identity is free. Frees the table if it is
 * dormant. */
void kv_durable_destroy(struct kv_durable *durable);

/* Destroys a registry with all its names: records that, and no process attaches any more, here or
 * to a name. The identity is taken until all names are freed: by kv_durable_free_name(), which the
 * process may call for each, and by kv_durable_free_names(), which frees up to `most` and returns
 * false once there is no more. The last processes of the names keep their tables until they end. */
void kv_durable_destroy_registry(struct kv_durable *registry);
void kv_durable_free_name(struct kv_durable *durable);
bool kv_durable_free_names(struct kv_durable *registry, unsigned most);

/* Returns true if the table, or its registry, is destroyed. */
static inline bool kv_durable_is_gone(const struct kv_durable *durable)
{
    return durable->destroyed || (durable->registry != NULL && durable->registry->destroyed);
}

/* The process is suspended, or is not any more. */
void kv_durable_suspend(struct kv_durable *durable, bool suspended);

/* All batches up to `written` are written, and all up to `durable` durable: nothing waits any more
 * for changes in these. */
void kv_durables_release(struct kv_durables *set, uint64_t written, uint64_t durable);

/* ---- answers -----------------------------------------------------------------------------------
 * For which batch an answer waits that tells of some keys only. kv_durable_begin_answer() before
 * the request runs; then `tells` grows with each key that is looked at or changed. */

static inline void kv_durable_begin_answer(struct kv_durable *durable)
{
    durable->tells = 0;
}

/* Returns true if an answer that tells of all changes up to `batch` has to wait. */
bool kv_durable_waits(const struct kv_durable *durable, uint64_t batch);

/* The answer tells of the whole table. */
static inline void kv_durable_tell_all(struct kv_durable *durable)
{
    durable->tells = durable->batch;
}

void kv_durable_tell_key(struct kv_durable *durable, struct kv_item key);

/* The answer tells of a key. */
static inline void kv_durable_tell(struct kv_durable *durable, struct kv_item key)
{
    if (!kv_list_is_empty(&durable->unwritten)) {
        kv_durable_tell_key(durable, key);
    }
}

/* ---- names in a registry -----------------------------------------------------------------------
 */

/* The name of the registry of a table, borrowed; empty: none. */
static inline struct kv_bytes kv_durable_registry_name(const struct kv_durable *durable)
{
    return kv_bytes(durable->identity.data, durable->registry_length);
}

/* The name of a table in its registry, borrowed. */
static inline struct kv_bytes kv_durable_name(const struct kv_durable *durable)
{
    const struct kv_buffer *bytes = &durable->identity;
    return kv_bytes(bytes->data + durable->registry_length,
                    bytes->length - durable->registry_length);
}

/* For the process of a registry, once for each table that has a name in it since it was attached:
 * returns the next one, or NULL. The tables may come and go between two calls. */
struct kv_durable *kv_durable_next_name(struct kv_durable *registry);

/* Gives a table another name in its registry, which no table has, and records it. Returns as
 * kv_durable_make(). */
int kv_durable_rename(struct kv_durable *durable, struct kv_bytes name);

/* Replaces the metadata of the name, and records it. Returns as kv_durable_make(); with `anyway`,
 * KV_OK. */
int kv_durable_describe(struct kv_durable *durable, struct kv_bytes meta, bool anyway);

/* The parts of these: returns whether there is room for the record of a table with so many bytes
 * more; and records what the table is. */
int kv_durable_may_record(const struct kv_durable *durable, uint64_t more);
void kv_durable_record(struct kv_durable *durable);

/* The facts of the table; with `entries`, how many there are is one of them. `about` borrows from
 * the table and from `options`, which is filled and which the caller frees. */
void kv_durable_about(const struct kv_durable *durable, bool entries, struct kv_buffer *options,
                      struct kv_journal_table *about);

/* ---- changes ------------------------------------------------------------------------------------
 */

/* Returns KV_OK, or why changes with so many bytes of keys and values in so many records cannot be
 * recorded now: puts, and other changes that take room. */
int kv_durable_may(const struct kv_durable *durable, uint64_t bytes, uint64_t records);
/* The same for changes that free room, so many bytes of keys; `whole`: all of a table. KV_OK, or
 * KV_ENOSPC: the disk is full, and so is its reserve for such changes. */
int kv_durable_may_free(const struct kv_durable *durable, uint64_t bytes, uint64_t records,
                        bool whole);

/* Between these two, the table may change: readers of this host ask the process, and so see nothing
 * before it is recorded. Not needed between kv_table_begin_changes() and kv_table_end_changes(), if
 * the changes are recorded before the end. */
void kv_durable_begin(struct kv_durable *durable);
void kv_durable_end(struct kv_durable *durable);

/* Each is called once the change has succeeded. */
void kv_durable_put(struct kv_durable *durable, const struct kv_table_entry *entry);
void kv_durable_gone(struct kv_durable *durable, struct kv_item key);
void kv_durable_expiry(struct kv_durable *durable, struct kv_item key, uint64_t expiry);
void kv_durable_clear(struct kv_durable *durable);

/* A read has started the life of an entry again. Recorded only now and then: after a crash the
 * entry ends up to a sixteenth of its life earlier. Nothing waits for it. */
void kv_durable_touched(struct kv_durable *durable, struct kv_item key, uint64_t from, uint64_t to);

/* Returns for how many milliseconds an entry may live on after the last expiry that is recorded. */
uint64_t kv_durable_overdue(const struct kv_durable *durable);

/* While the table is `deferring`, changes are kept, so that all of them are recorded together, or
 * none. Removals that make room are recorded at once. Both end that. kv_durable_settle() returns
 * KV_OK, or the reason of kv_durable_may(), and then records nothing. kv_durable_cancel() records
 * nothing. */
int kv_durable_settle(struct kv_durable *durable);
void kv_durable_cancel(struct kv_durable *durable);

/* Ends it, too, for changes that free room and are not made yet: returns KV_OK, or the reason of
 * kv_durable_may_free(), and then records nothing. After KV_OK changes of the table are taken as
 * those, until kv_durable_caught_up(). No walk visits the table meanwhile: it would find what the
 * log says is gone. */
int kv_durable_record_ahead(struct kv_durable *durable);
void kv_durable_caught_up(struct kv_durable *durable);

#endif
