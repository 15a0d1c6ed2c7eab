/* The log to which the changes of durable tables go before anybody hears of them, as kv/ knows
 * it. The program implements it; a test has one of its own.
 *
 * All that a turn of the loop records is one batch: after a crash all of it is there, or none. Keys
 * and values are copied. Every expiry is on the clock of kv_arena_time(), or KV_NEVER. */
#ifndef KV_JOURNAL_H
#define KV_JOURNAL_H

#include <kv/table.h>

/* When the answer to a change may leave. */
enum kv_policy {
    KV_POLICY_VOLATILE = 0, /* at once: nothing is recorded */
    KV_POLICY_COMMIT = 1,   /* when the change is on disk */
    KV_POLICY_INTERVAL = 2, /* when it is written: on disk within a second */
};

/* The kind of a table. The numbers are on disk. */
enum kv_journal_kind {
    KV_JOURNAL_BUCKET = 1,
    KV_JOURNAL_REGISTRY = 2, /* has no entries: its names are the tables that have it as registry */
};

/* A durable table. Its identity is (registry, name). All of it is borrowed. */
struct kv_journal_table {
    uint64_t id; /* 1 and more; no other table of the store has or ever had it */
    enum kv_policy policy;
    uint8_t kind;
    struct kv_bytes registry; /* empty: none */
    struct kv_bytes name;
    struct kv_bytes options; /* bytes that only kv/ reads */
};

struct kv_journal {
    void *context;
    /* Makes room for records of so many bytes in all: keys, values, names and options, and
     * KV_JOURNAL_RECORD for each record. Returns KV_OK: they may come next; KV_EBUSY: too much
     * waits for the disk; KV_ENOSPC: the disk is full; or KV_ENOMEM. With 0 bytes it says only
     * whether too much waits. */
    int (*may_change)(void *context, uint64_t bytes);
    /* The same for records that free room. They may use what a full disk has in reserve for them;
     * `whole`: they free a whole table, and may use the last of it. Returns KV_OK or KV_ENOSPC. A
     * record that has not asked is taken, and may wait for space. */
    int (*may_free)(void *context, uint64_t bytes, bool whole);
    /* Each records what there is from now on: an entry; a key without an entry; another expiry of
     * an entry; a table without entries; a table, or other options of one; no such table. */
    void (*put)(void *context, uint64_t table, const struct kv_table_entry *entry);
    void (*gone)(void *context, uint64_t table, struct kv_item key);
    void (*expiry)(void *context, uint64_t table, struct kv_item key, uint64_t expiry);
    void (*clear)(void *context, uint64_t table);
    void (*table)(void *context, const struct kv_journal_table *table);
    void (*drop)(void *context, uint64_t table);
    /* Records that a registry is gone, with all tables that have its name as their registry. */
    void (*drop_registry)(void *context, uint64_t table, struct kv_bytes name);
    /* The batch that gathers now is to be durable before anybody hears of it. Without this it is
     * only written, and durable a second later, or with a later batch. */
    void (*sync)(void *context);
    /* Returns the number of the batch that gathers now, for kv_process_hold_until(). */
    uint64_t (*batch)(void *context);
    /* Returns the log's LSN at which that batch will begin. NULL: the journal has none. */
    uint64_t (*position)(void *context);
};

enum { KV_JOURNAL_RECORD = 64 };

#endif
