/* {scan, Cursor, Options}: a piece of a walk over a bucket. The caller drives the walk and keeps
 * the cursor; the node keeps nothing between two pieces.
 *
 * Each key that is there during the whole walk comes exactly once. The bounds below, and
 * KV_PIECE_ENTRIES of the store, keep a piece short: about half a millisecond. */
#include "kv/bucket.h"
#include "kv/pieces.h"

enum {
    PIECE_BYTES = 1 << 20, /* of keys and values in one answer; a larger entry comes alone */
    CURSOR_FORM = 1,       /* the first byte of a cursor */
    CURSOR_HASH = 1 + KV_TABLE_IDENTITY_SIZE,
    CURSOR_SIZE = CURSOR_HASH + (int)sizeof(uint64_t),
};

enum returned { ENTRIES, KEYS, VALUES, TIMED, COUNT, RETURNED };
enum expiring { ANY, ONLY_EXPIRING, NEVER_EXPIRING };

struct wanted {
    uint64_t limit; /* entries in the answer */
    enum returned returned;
    enum expiring expiring;
    bool has_prefix;
    struct kv_bytes prefix;
};

struct scan {
    const struct wanted *wanted;
    struct kv_buffer *to;
    uint64_t now;
    uint64_t count;
    uint64_t bytes;
};

/* ---- cursors -----------------------------------------------------------------------------------
 */

static void write_cursor(const struct kv_table *table, uint64_t hash, struct kv_buffer *to)
{
    uint8_t cursor[CURSOR_SIZE] = {CURSOR_FORM};
    kv_table_identity(table, cursor + 1);
    kv_set64(cursor + CURSOR_HASH, hash);
    kv_write_binary(to, kv_bytes(cursor, sizeof cursor));
}

/* Returns NULL, or the reason why the cursor cannot be used. */
static const char *read_cursor(const struct kv_table *table, struct kv_bytes term, uint64_t *hash)
{
    uint8_t identity[KV_TABLE_IDENTITY_SIZE];
    struct kv_bytes cursor;
    struct kv_reader reader = kv_reader(term);
    *hash = 0;
    if (kv_term_is_atom(term, "start")) {
        return NULL;
    }
    if (kv_read_binary(&reader, &cursor) != KV_OK || cursor.length != CURSOR_SIZE ||
        cursor.data[0] != CURSOR_FORM) {
        return "bad_cursor";
    }
    kv_table_identity(table, identity);
    *hash = kv_get64(cursor.data + CURSOR_HASH);
    return kv_same(cursor.data + 1, identity, sizeof identity) ? NULL : "stale_cursor";
}

/* ---- options -----------------------------------------------------------------------------------
 */

static bool take_returned(struct kv_bytes value, enum returned *to)
{
    static const char *const names[RETURNED] = {"entries", "keys", "values", "timed", "count"};
    for (unsigned i = 0; i < RETURNED; i++) {
        if (kv_term_is_atom(value, names[i])) {
            *to = (enum returned)i;
            return true;
        }
    }
    return false;
}

static bool take_option(void *context, struct kv_bytes name, struct kv_bytes value, bool again)
{
    struct wanted ignored = {.limit = 0};
    struct wanted *wanted = again ? &ignored : context;
    struct kv_reader reader = kv_reader(value);
    if (kv_bytes_is(name, "limit")) {
        return kv_read_u64(&reader, &wanted->limit) == KV_OK && wanted->limit > 0;
    }
    if (kv_bytes_is(name, "return")) {
        return take_returned(value, &wanted->returned);
    }
    if (kv_bytes_is(name, "prefix")) {
        wanted->has_prefix = true;
        return kv_read_binary(&reader, &wanted->prefix) == KV_OK;
    }
    if (kv_bytes_is(name, "expires")) {
        bool is = kv_term_is_atom(value, "true");
        wanted->expiring = is ? ONLY_EXPIRING : NEVER_EXPIRING;
        return is || kv_term_is_atom(value, "false");
    }
    return false;
}

/* ---- entries -----------------------------------------------------------------------------------
 */

static bool is_wanted(const struct wanted *wanted, const struct kv_table_entry *entry)
{
    const struct kv_bytes key = entry->key.bytes;
    const struct kv_bytes prefix = wanted->prefix;
    if (wanted->has_prefix && (entry->key.form != KV_FORM_BINARY || key.length < prefix.length ||
                               !kv_same(key.data, prefix.data, prefix.length))) {
        return false;
    }
    return wanted->expiring == ANY ||
           (wanted->expiring == ONLY_EXPIRING) == (entry->expiry != KV_NEVER);
}

/* Returns the bytes that the entry takes in the answer. */
static uint64_t size_of(enum returned returned, const struct kv_table_entry *entry)
{
    const uint64_t key = returned != VALUES ? kv_item_size(entry->key) : 0;
    const uint64_t value = returned != KEYS ? kv_item_size(entry->value) : 0;
    return returned == COUNT ? 0 : key + value;
}

static void write_entry(const struct scan *scan, const struct kv_table_entry *entry)
{
    const enum returned returned = scan->wanted->returned;
    if (returned == TIMED) {
        kv_write_timed(scan->to, entry, scan->now);
        return;
    }
    if (returned == ENTRIES) {
        kv_write_tuple(scan->to, 2);
    }
    if (returned != VALUES) {
        kv_write_item(scan->to, entry->key);
    }
    if (returned != KEYS) {
        kv_write_item(scan->to, entry->value);
    }
}

static bool visit(void *context, const struct kv_table_entry *entry, bool may_end)
{
    struct scan *scan = context;
    if (!is_wanted(scan->wanted, entry)) {
        return true;
    }
    const uint64_t size = size_of(scan->wanted->returned, entry);
    if (may_end && scan->count > 0 &&
        (scan->count >= scan->wanted->limit || scan->bytes + size > PIECE_BYTES)) {
        return false;
    }
    scan->count++;
    scan->bytes += size;
    if (scan->wanted->returned != COUNT) {
        write_entry(scan, entry);
    }
    return true;
}

/* Writes the entries of a piece, or their number. Returns true if there may be more. */
static bool write_piece(const struct kv_table *table, struct scan *scan, uint64_t *hash)
{
    if (scan->wanted->returned == COUNT) {
        const bool more = kv_table_piece(table, hash, visit, scan);
        kv_write_u64(scan->to, scan->count);
        return more;
    }
    const size_t list = kv_begin_list(scan->to);
    const bool more = kv_table_piece(table, hash, visit, scan);
    kv_end_list(scan->to, list, (uint32_t)scan->count);
    return more;
}

static int scan(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const struct kv_table *table = bucket->contents.table;
    static const char *const names[] = {"limit", "return", "prefix", "expires", NULL};
    struct wanted wanted = {.limit = UINT64_MAX};
    struct kv_bytes bad;
    uint64_t hash;
    const char *why = read_cursor(table, asked->arguments[0], &hash);
    if (!kv_options_read(asked->arguments[1], names, take_option, &wanted, &bad)) {
        return kv_answer_error(answer, KV_ETYPE, "bad_option", bad);
    }
    if (why != NULL) {
        return kv_answer_refusal(answer, KV_ENOENT, why);
    }
    kv_write_tuple(answer->term, 2);
    struct scan piece = {.wanted = &wanted, .to = answer->term, .now = asked->time};
    if (write_piece(table, &piece, &hash)) {
        write_cursor(table, hash, answer->term);
    } else {
        kv_write_atom_text(answer->term, "done");
    }
    return KV_OK;
}

const struct kv_operation kv_walk_operations[] = {
    KV_OPERATION("scan", 2, KV_BY_CALL, 0, scan, "0.2.0"),
    KV_NO_OPERATION,
};
