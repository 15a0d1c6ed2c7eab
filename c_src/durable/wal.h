/* The writer of the log (a write-ahead log): changes in, whole blocks to be written out. It makes
 * no system call; who has one writes what kv_wal_take() hands out, and says when that is done.
 *
 *     kv_wal_put(wal, ...);                 gathers, while the last write is under way
 *     if (kv_wal_take(wal, now, &write)) {  closes the batch; what comes next is the next batch
 *         kv_wal_seal(&write);              on any thread
 *         ... write write.bytes at write.lsn, and sync if write.sync ...
 *         kv_wal_written(wal);              what waits for kv_wal_durable() may go on
 *     }
 *
 * Batches are numbered 1, 2, 3 and so on, in each life of the program. At most one write is under
 * way. All functions but kv_wal_seal() are for one thread. */
#ifndef KV_DURABLE_WAL_H
#define KV_DURABLE_WAL_H

#include "durable/batch.h"
#include "durable/record.h"

struct kv_wal;

/* Where the log goes on: kv_recovery_result() has the first three. */
struct kv_wal_options {
    uint64_t lsn;      /* everything below has been synced: see durable/recovery.h */
    uint32_t epoch;    /* greater than that of any batch before */
    uint32_t previous; /* the checksum of the batch before */
    struct kv_store_id store;
    uint64_t
        open_max; /* bytes that may gather until kv_wal_reserve() refuses; 0: KV_WAL_OPEN_MAX */
};
enum { KV_WAL_OPEN_MAX = 64 << 20 };

/* Never returns NULL. The caller frees the writer with kv_wal_free(), which takes NULL, too. */
struct kv_wal *kv_wal_new(const struct kv_wal_options *options);
void kv_wal_free(struct kv_wal *wal);

/* ---- gathering ---------------------------------------------------------------------------------
 */

/* The most bytes of a record besides its key, value, names and options. */
enum { KV_WAL_OVERHEAD = 64 };

/* Makes room for records of so many bytes in all, KV_WAL_OVERHEAD for each included. Returns KV_OK:
 * these records need no more memory if they come next; KV_EBUSY: too much waits for the write under
 * way, and there is room once that is done; or KV_ENOMEM. A request larger than all that may gather
 * gets room once nothing else has gathered. */
int kv_wal_reserve(struct kv_wal *wal, uint64_t bytes);

/* Each adds a record to the batch that gathers; all bytes are copied. They end the program if there
 * is no memory: sizes that a peer chooses need kv_wal_reserve() before. Expiries are wall clock, in
 * milliseconds since 1970, or KV_NEVER. */
void kv_wal_put(struct kv_wal *wal, uint64_t table, const struct kv_table_entry *entry);
void kv_wal_delete(struct kv_wal *wal, uint64_t table, struct kv_item key);
void kv_wal_expiry(struct kv_wal *wal, uint64_t table, struct kv_item key, uint64_t expiry);
void kv_wal_clear(struct kv_wal *wal, uint64_t table);
void kv_wal_table(struct kv_wal *wal, uint64_t table, const struct kv_record_table *about);
void kv_wal_drop(struct kv_wal *wal, uint64_t table);
void kv_wal_drop_registry(struct kv_wal *wal, uint64_t table, struct kv_bytes name);

/* The batch that gathers shall be synced before anybody hears of it. Without this call it is only
 * written, and becomes durable with a later batch, or by kv_wal_synced(). */
void kv_wal_sync(struct kv_wal *wal);

/* Returns true if kv_wal_sync() was called for the batch that gathers now. */
bool kv_wal_syncs(const struct kv_wal *wal);

/* The batch that gathers shall be written even if it has no record. An empty batch tells recovery
 * that all before it is durable: damage there is then found, and not taken for a torn write. Worth
 * a call at the end of the program, and after a recovery. Asks for a sync, too. */
void kv_wal_mark(struct kv_wal *wal);

/* The number of the batch that gathers now. */
uint64_t kv_wal_batch(const struct kv_wal *wal);

/* The bytes that have gathered and were not handed out; 0: kv_wal_take() has nothing to give,
 * except after kv_wal_mark(). */
uint64_t kv_wal_open_bytes(const struct kv_wal *wal);

/* ---- writing -----------------------------------------------------------------------------------
 */

struct kv_wal_write {
    uint64_t number; /* of the batch */
    uint64_t lsn; /* where it is to be written: durable/segment.h says which file, which offset */
    struct kv_bytes bytes; /* whole blocks, in memory at a multiple of KV_BLOCK, as O_DIRECT wants;
                            * valid until kv_wal_written() */
    bool sync;
    struct kv_wal *wal;
};

/* Hands out the batch that has gathered, if there is one and no write is under way; returns false
 * otherwise. `time` is the wall clock in milliseconds. The bytes are complete after kv_wal_seal().
 */
bool kv_wal_take(struct kv_wal *wal, uint64_t time, struct kv_wal_write *write);

/* Computes the checksums of a batch that was handed out, and writes its header. Must come before
 * the bytes are written. Any thread may call it, while another one gathers. */
void kv_wal_seal(const struct kv_wal_write *write);

/* The write under way is done; if it asked for a sync, that, too. Then all batches up to it are
 * durable. */
void kv_wal_written(struct kv_wal *wal);

/* All batches up to this number, which have been written, are durable: a sync came later. */
void kv_wal_synced(struct kv_wal *wal, uint64_t number);

/* Return the number of the last batch that is written, and of the last one that is durable; 0: none
 * of this life. */
uint64_t kv_wal_done(const struct kv_wal *wal);
uint64_t kv_wal_durable(const struct kv_wal *wal);

/* Returns true while a write is under way. */
bool kv_wal_is_writing(const struct kv_wal *wal);

/* The LSN behind the last batch that was handed out. */
uint64_t kv_wal_end(const struct kv_wal *wal);

/* Where a recovery can begin that needs nothing before: struct kv_recovery_options has the same
 * fields. */
struct kv_wal_place {
    uint64_t lsn;
    uint32_t epoch;
    uint32_t previous;
};

/* The place behind the last batch that is written. While a write is under way: before that batch.
 */
struct kv_wal_place kv_wal_place(const struct kv_wal *wal);

#endif
