/* Records: what has changed, as the log holds it. A record says what there is afterwards, and never
 * how it came about. So to apply a record twice is the same as once.
 *
 * A table has a number that no other table of the store has or ever had: 1 and more. */
#ifndef KV_DURABLE_RECORD_H
#define KV_DURABLE_RECORD_H

#include <kv/table.h>

enum kv_record_kind {
    KV_RECORD_PUT = 1,    /* key, value and expiry of an entry */
    KV_RECORD_DELETE = 2, /* a key without an entry: deleted, expired or evicted */
    KV_RECORD_EXPIRY = 3, /* another expiry of an entry */
    KV_RECORD_CLEAR = 4,  /* a table without entries */
    KV_RECORD_TABLE = 5,  /* a table, or new facts about it; its entries stay */
    KV_RECORD_DROP = 6,   /* a table that is gone, with all entries */
    /* A registry that is gone, and all tables that have its name as their registry. The name is in
     * the record, since a checkpoint may have some of the tables and not that of the registry. */
    KV_RECORD_DROP_REGISTRY = 7,
};

/* A table as the log knows it. The layer above gives these numbers and bytes their meaning. */
struct kv_record_table {
    uint8_t policy;
    uint8_t kind;
    struct kv_bytes registry; /* empty: none */
    struct kv_bytes name;
    struct kv_bytes options;
};

struct kv_record {
    enum kv_record_kind kind;
    uint64_t table;
    struct kv_table_entry entry;  /* PUT: all; DELETE: the key; EXPIRY: key and expiry. The
                                   * expiry is wall clock, ms since 1970, or KV_NEVER */
    struct kv_record_table about; /* TABLE: all; DROP_REGISTRY: the name */
};

/* The bytes of a PUT without key and value, at least. */
enum { KV_RECORD_PUT_LEAST = 5 };

/* The latest expiry that a record can hold. Later ones are written as this one. */
#define KV_RECORD_EXPIRY_MAX ((UINT64_C(1) << 48) - 1)

/* Returns a bound for the bytes that kv_record_write() writes. */
size_t kv_record_bound(const struct kv_record *record);

/* Writes a record, and returns its length. `to` has room for kv_record_bound() bytes. */
size_t kv_record_write(const struct kv_record *record, uint8_t *to);

/* The same for a PUT without the bytes of its value, which must come next. Returns the length of
 * the rest. `to` has room for kv_record_bound() less the length of the value. */
size_t kv_record_write_put(const struct kv_record *put, uint8_t *to);

/* Reads the record at the front of `from`, and moves `from` behind it. The record borrows the bytes
 * of `from`. Returns KV_OK; KV_ETRUNCATED: the bytes end before the record does; or KV_EMALFORMED:
 * these bytes are no record. On an error `from` is as it was. */
int kv_record_read(struct kv_bytes *from, struct kv_record *record);

#endif
