/* The operations of a bucket, as its book does them: a row for each row of the tables in kv/. */
#include "support/book_parts.h"

#include "base/siphash.h"
#include "kv/item.h"

#define TTL_MAX (UINT64_C(1) << 46)

/* ---- answers ------------------------------------------------------------------------------------
 */

void book_refuse(struct kv_buffer *answer, const char *reason)
{
    kv_write_tuple(answer, 2);
    kv_write_atom_text(answer, "error");
    kv_write_atom_text(answer, reason);
}

void book_refuse_term(struct kv_buffer *answer, const char *reason, struct kv_bytes detail)
{
    kv_write_tuple(answer, 2);
    kv_write_atom_text(answer, "error");
    kv_write_tuple(answer, 2);
    kv_write_atom_text(answer, reason);
    kv_write_term(answer, detail);
}

void book_answer_ok(struct kv_buffer *answer, struct kv_bytes term)
{
    kv_write_tuple(answer, 2);
    kv_write_atom_text(answer, "ok");
    kv_write_term(answer, term);
}

/* ---- times to live ------------------------------------------------------------------------------
 */

static uint64_t default_expiry(const struct book *book)
{
    return book->rules.ttl == 0 ? KV_NEVER : book->now + book->rules.ttl;
}

static bool is_ttl(struct kv_bytes ttl)
{
    struct kv_reader reader = kv_reader(ttl);
    uint64_t ms = 0;
    return kv_term_is_atom(ttl, "infinity") || kv_term_is_atom(ttl, "keep") ||
           (kv_read_u64(&reader, &ms) == KV_OK && ms >= 1 && ms <= TTL_MAX);
}

uint64_t book_expiry(const struct book *book, unsigned key, const struct kv_bytes *ttl)
{
    uint64_t ms = 0;
    if (ttl == NULL) {
        return default_expiry(book);
    }
    if (kv_term_is_atom(*ttl, "keep")) {
        return book_has(book, key) ? book->entries[key].expiry : default_expiry(book);
    }
    if (kv_term_is_atom(*ttl, "infinity")) {
        return KV_NEVER;
    }
    struct kv_reader reader = kv_reader(*ttl);
    (void)kv_read_u64(&reader, &ms);
    return book->now + ms;
}

/* ---- reading ------------------------------------------------------------------------------------
 */

const struct kv_bytes book_nil = {(const uint8_t *)"\x77\x03nil", 5};

bool book_there(const struct book *book, struct kv_bytes key, unsigned *number)
{
    *number = book_find_key(key);
    return *number < BOOK_KEYS && book_has(book, *number);
}

bool book_finds(const struct book *book, struct kv_bytes key, unsigned *number)
{
    const bool there = book_there(book, key, number);
    book_counts.hits += there;
    book_counts.misses += !there;
    return there;
}

/* Finds a key for a request that changes it, and whose answer is the old value. */
static bool finds_old(const struct book *book, struct kv_bytes key, unsigned *number)
{
    return book->unheard ? book_there(book, key, number) : book_finds(book, key, number);
}

/* Finds a key for a request that reads it. */
static bool reads(struct book *book, struct kv_bytes key, unsigned *number)
{
    if (!book_finds(book, key, number)) {
        return false;
    }
    if (book->rules.touch_on_read && book->rules.ttl != 0 &&
        book->entries[*number].expiry != KV_NEVER) {
        book->entries[*number].expiry = default_expiry(book);
    }
    return true;
}

void book_run_get_or(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    unsigned key;
    kv_write_term(answer, reads(book, arguments[0], &key) ? book_value(book, key) : arguments[1]);
}

static void run_get(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    book_run_get_or(book, (struct kv_bytes[]){arguments[0], book_nil}, answer);
}

static void run_fetch(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    unsigned key;
    if (reads(book, arguments[0], &key)) {
        book_answer_ok(answer, book_value(book, key));
    } else {
        kv_write_atom_text(answer, "error");
    }
}

static void run_has_key(struct book *book, const struct kv_bytes *arguments,
                        struct kv_buffer *answer)
{
    unsigned key;
    kv_write_bool(answer, book_finds(book, arguments[0], &key));
}

static void run_size(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    (void)arguments;
    kv_write_u64(answer, book_count(book));
}

enum side { KEYS = 1, VALUES = 2 };

static void write_all(const struct book *book, unsigned sides, struct kv_buffer *answer)
{
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        if (!book_has(book, i)) {
            continue;
        }
        if ((sides & KEYS) != 0) {
            kv_write_term(answer, book_key(i, 0));
        }
        if ((sides & VALUES) != 0) {
            kv_write_term(answer, book_value(book, i));
        }
    }
}

static void write_list(const struct book *book, unsigned side, struct kv_buffer *answer)
{
    if (book_count(book) > 0) {
        kv_write_list(answer, book_count(book));
        write_all(book, side, answer);
    }
    kv_write_nil(answer);
}

static void run_keys(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    (void)arguments;
    write_list(book, KEYS, answer);
}

static void run_values(struct book *book, const struct kv_bytes *arguments,
                       struct kv_buffer *answer)
{
    (void)arguments;
    write_list(book, VALUES, answer);
}

static void run_to_map(struct book *book, const struct kv_bytes *arguments,
                       struct kv_buffer *answer)
{
    (void)arguments;
    kv_write_map(answer, book_count(book));
    write_all(book, KEYS | VALUES, answer);
}

static void run_to_list(struct book *book, const struct kv_bytes *arguments,
                        struct kv_buffer *answer)
{
    (void)arguments;
    if (book_count(book) > 0) {
        kv_write_list(answer, book_count(book));
    }
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        if (book_has(book, i)) {
            kv_write_tuple(answer, 2);
            kv_write_term(answer, book_key(i, 0));
            kv_write_term(answer, book_value(book, i));
        }
    }
    kv_write_nil(answer);
}

static void run_generation(struct book *book, const struct kv_bytes *arguments,
                           struct kv_buffer *answer)
{
    (void)book;
    (void)arguments;
    kv_write_u64(answer, 1); /* no option says otherwise */
}

/* ---- putting ------------------------------------------------------------------------------------
 */

/* Returns true if the entries that there are then, and that nothing evicts, are no more than the
 * limit. */
static bool fit_in(const struct book *book, const bool these[BOOK_KEYS])
{
    const struct book_rules *rules = &book->rules;
    unsigned count = 0;
    unsigned more = 0;
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        const bool stays = rules->evict == KV_EVICT_NONE || book->named[i] ||
                           (rules->evict == KV_EVICT_TTL && book->entries[i].expiry == KV_NEVER);
        count += these[i] || (book_has(book, i) && stays);
        more += these[i] && !book_has(book, i);
    }
    return rules->max_entries == 0 || more == 0 || count <= rules->max_entries;
}

bool book_has_room(const struct book *book, const bool these[BOOK_KEYS], struct kv_buffer *answer)
{
    if (book->in_transaction || fit_in(book, these)) {
        return true;
    }
    book_refuse(answer, "full");
    return false;
}

bool book_accepts_ttl(const struct kv_bytes *ttl, struct kv_buffer *answer)
{
    if (ttl == NULL || is_ttl(*ttl)) {
        return true;
    }
    book_refuse_term(answer, "bad_ttl", *ttl);
    return false;
}

static bool put_key(struct book *book, unsigned key, struct kv_bytes value,
                    const struct kv_bytes *ttl, struct kv_buffer *answer)
{
    bool these[BOOK_KEYS] = {false};
    these[key] = true;
    if (!book_has_room(book, these, answer)) {
        return false;
    }
    book_put(book, key, value, book_expiry(book, key, ttl));
    return true;
}

static void put(struct book *book, const struct kv_bytes *arguments, const struct kv_bytes *ttl,
                struct kv_buffer *answer)
{
    unsigned key = book_find_key(arguments[0]);
    if (book_accepts_ttl(ttl, answer) && put_key(book, key, arguments[1], ttl, answer)) {
        kv_write_atom_text(answer, "ok");
    }
}

static void run_put(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    put(book, arguments, NULL, answer);
}

static void run_put_for(struct book *book, const struct kv_bytes *arguments,
                        struct kv_buffer *answer)
{
    put(book, arguments, &arguments[2], answer);
}

static void put_new(struct book *book, const struct kv_bytes *arguments, const struct kv_bytes *ttl,
                    struct kv_buffer *answer)
{
    unsigned key;
    if (!book_accepts_ttl(ttl, answer)) {
        return;
    }
    if (book_finds(book, arguments[0], &key)) {
        kv_write_bool(answer, false);
    } else if (put_key(book, key, arguments[1], ttl, answer)) {
        kv_write_bool(answer, true);
    }
}

static void run_put_new(struct book *book, const struct kv_bytes *arguments,
                        struct kv_buffer *answer)
{
    put_new(book, arguments, NULL, answer);
}

static void run_put_new_for(struct book *book, const struct kv_bytes *arguments,
                            struct kv_buffer *answer)
{
    put_new(book, arguments, &arguments[2], answer);
}

static void replace(struct book *book, const struct kv_bytes *arguments, const struct kv_bytes *ttl,
                    struct kv_buffer *answer)
{
    unsigned key;
    if (!book_accepts_ttl(ttl, answer)) {
        return;
    }
    bool there = book_finds(book, arguments[0], &key);
    if (!there || put_key(book, key, arguments[1], ttl, answer)) {
        kv_write_bool(answer, there);
    }
}

static void run_replace(struct book *book, const struct kv_bytes *arguments,
                        struct kv_buffer *answer)
{
    replace(book, arguments, NULL, answer);
}

static void run_replace_for(struct book *book, const struct kv_bytes *arguments,
                            struct kv_buffer *answer)
{
    replace(book, arguments, &arguments[2], answer);
}

static void swap(struct book *book, const struct kv_bytes *arguments, const struct kv_bytes *ttl,
                 struct kv_buffer *answer)
{
    unsigned key;
    struct kv_buffer old = KV_BUFFER_INIT;
    if (!book_accepts_ttl(ttl, answer)) {
        return;
    }
    if (finds_old(book, arguments[0], &key)) {
        book_answer_ok(&old, book_value(book, key));
    } else {
        kv_write_atom_text(&old, "error");
    }
    if (put_key(book, key, arguments[1], ttl, answer)) {
        kv_write_term(answer, kv_buffer_bytes(&old));
    }
    kv_buffer_free(&old);
}

static void run_swap(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    swap(book, arguments, NULL, answer);
}

static void run_swap_for(struct book *book, const struct kv_bytes *arguments,
                         struct kv_buffer *answer)
{
    swap(book, arguments, &arguments[2], answer);
}

static void compare_and_put(struct book *book, const struct kv_bytes *arguments,
                            const struct kv_bytes *ttl, struct kv_buffer *answer)
{
    unsigned key;
    if (!book_accepts_ttl(ttl, answer)) {
        return;
    }
    bool same =
        book_finds(book, arguments[0], &key) && book_equal(book_value(book, key), arguments[1]);
    if (!same || put_key(book, key, arguments[2], ttl, answer)) {
        kv_write_bool(answer, same);
    }
}

static void run_compare_and_put(struct book *book, const struct kv_bytes *arguments,
                                struct kv_buffer *answer)
{
    compare_and_put(book, arguments, NULL, answer);
}

static void run_compare_and_put_for(struct book *book, const struct kv_bytes *arguments,
                                    struct kv_buffer *answer)
{
    compare_and_put(book, arguments, &arguments[3], answer);
}

/* ---- deleting -----------------------------------------------------------------------------------
 */

static void run_delete_with(struct book *book, const struct kv_bytes *arguments,
                            struct kv_buffer *answer)
{
    unsigned key;
    bool there = finds_old(book, arguments[0], &key);
    kv_write_term(answer, there ? book_value(book, key) : arguments[1]);
    if (there) {
        book_delete(book, key);
    }
}

static void run_delete(struct book *book, const struct kv_bytes *arguments,
                       struct kv_buffer *answer)
{
    run_delete_with(book, (struct kv_bytes[]){arguments[0], book_nil}, answer);
}

static void run_pop(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    unsigned key;
    if (book_finds(book, arguments[0], &key)) {
        book_answer_ok(answer, book_value(book, key));
        book_delete(book, key);
    } else {
        kv_write_atom_text(answer, "error");
    }
}

static void run_compare_and_delete(struct book *book, const struct kv_bytes *arguments,
                                   struct kv_buffer *answer)
{
    unsigned key;
    bool same =
        book_finds(book, arguments[0], &key) && book_equal(book_value(book, key), arguments[1]);
    if (same) {
        book_delete(book, key);
    }
    kv_write_bool(answer, same);
}

static void run_clear(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    (void)arguments;
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        book_counts.perhaps_expired += book->entries[i].value != NULL && !book_has(book, i);
    }
    book_close(book);
    kv_write_atom_text(answer, "ok");
}

/* ---- tags ---------------------------------------------------------------------------------------
 */

uint64_t book_tag(struct kv_bytes value)
{
    const struct kv_item item = kv_item_of_value(value);
    const struct kv_hash_key key = {.k0 = 1, .k1 = 2 ^ ((uint64_t)item.form + 1)};
    return kv_siphash(&key, item.bytes);
}

static void answer_tagged(const struct book *book, unsigned key, struct kv_buffer *answer)
{
    kv_write_tuple(answer, 3);
    kv_write_atom_text(answer, "tagged");
    kv_write_u64(answer, book_tag(book_value(book, key)));
    kv_write_term(answer, book_value(book, key));
}

static void run_fetch_tagged(struct book *book, const struct kv_bytes *arguments,
                             struct kv_buffer *answer)
{
    unsigned key;
    if (reads(book, arguments[0], &key)) {
        answer_tagged(book, key, answer);
    } else {
        kv_write_atom_text(answer, "absent");
    }
}

/* Returns false, with the answer, if the key has another value. */
static bool has_tag(const struct book *book, const struct kv_bytes *arguments, unsigned *key,
                    struct kv_buffer *answer)
{
    struct kv_reader reader = kv_reader(arguments[1]);
    uint64_t tag = 0;
    bool absent = kv_term_is_atom(arguments[1], "absent");
    if (!absent && kv_read_u64(&reader, &tag) != KV_OK) {
        book_refuse_term(answer, "bad_tag", arguments[1]);
        return false;
    }
    const bool there = book_finds(book, arguments[0], key);
    if (there ? !absent && tag == book_tag(book_value(book, *key)) : absent) {
        return true;
    }
    if (there) {
        answer_tagged(book, *key, answer);
    } else {
        kv_write_atom_text(answer, "absent");
    }
    return false;
}

static void put_tagged(struct book *book, const struct kv_bytes *arguments,
                       const struct kv_bytes *ttl, struct kv_buffer *answer)
{
    unsigned key;
    if (book_accepts_ttl(ttl, answer) && has_tag(book, arguments, &key, answer) &&
        put_key(book, key, arguments[2], ttl, answer)) {
        kv_write_atom_text(answer, "ok");
    }
}

static void run_put_tagged(struct book *book, const struct kv_bytes *arguments,
                           struct kv_buffer *answer)
{
    put_tagged(book, arguments, NULL, answer);
}

static void run_put_tagged_for(struct book *book, const struct kv_bytes *arguments,
                               struct kv_buffer *answer)
{
    put_tagged(book, arguments, &arguments[3], answer);
}

static void run_delete_tagged(struct book *book, const struct kv_bytes *arguments,
                              struct kv_buffer *answer)
{
    unsigned key;
    if (has_tag(book, arguments, &key, answer)) {
        if (book_has(book, key)) {
            book_delete(book, key);
        }
        kv_write_atom_text(answer, "ok");
    }
}

/* A bucket looks for expired entries before it counts. */
static void run_stats(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    (void)arguments;
    (void)answer;
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        if (book->entries[i].value != NULL && !book_has(book, i)) {
            book_counts.expired++;
            book_remove(book, i);
        }
    }
}

/* The book knows no order of keys. */
static void run_nothing(struct book *book, const struct kv_bytes *arguments,
                        struct kv_buffer *answer)
{
    (void)book;
    (void)arguments;
    (void)answer;
}

/* ---- the rows -----------------------------------------------------------------------------------
 */

#define ROW(name, arity, shape, facts, run)                                                        \
    {                                                                                              \
        name, arity, shape, facts, run                                                             \
    }

const struct book_row book_rows[] = {
    ROW("get", 1, "k", BOOK_SINGLE, run_get),
    ROW("get", 2, "kd", BOOK_SINGLE, book_run_get_or),
    ROW("fetch", 1, "k", BOOK_SINGLE, run_fetch),
    ROW("has_key", 1, "k", BOOK_SINGLE, run_has_key),
    ROW("size", 0, "", 0, run_size),
    ROW("keys", 0, "", BOOK_UNORDERED, run_keys),
    ROW("values", 0, "", BOOK_UNORDERED, run_values),
    ROW("to_list", 0, "", BOOK_UNORDERED, run_to_list),
    ROW("to_map", 0, "", 0, run_to_map),
    ROW("generation", 0, "", 0, run_generation),
    ROW("put", 2, "kv", BOOK_PUTS | BOOK_SINGLE, run_put),
    ROW("put", 3, "kvt", BOOK_PUTS | BOOK_SINGLE, run_put_for),
    ROW("put_new", 2, "kv", BOOK_PUTS | BOOK_SINGLE, run_put_new),
    ROW("put_new", 3, "kvt", BOOK_PUTS | BOOK_SINGLE, run_put_new_for),
    ROW("delete", 1, "k", BOOK_SINGLE, run_delete),
    ROW("delete", 2, "kd", BOOK_SINGLE, run_delete_with),
    ROW("clear", 0, "", 0, run_clear),
    ROW("get_many", 1, "l", 0, book_run_get_many),
    ROW("get_many", 2, "ld", 0, book_run_get_many_or),
    ROW("put_many", 1, "e", BOOK_PUTS, book_run_put_many),
    ROW("put_many", 2, "et", BOOK_PUTS, book_run_put_many_for),
    ROW("put_new_many", 1, "e", BOOK_PUTS, book_run_put_new_many),
    ROW("put_new_many", 2, "et", BOOK_PUTS, book_run_put_new_many_for),
    ROW("delete_many", 1, "l", 0, book_run_delete_many),
    ROW("fetch_tagged", 1, "k", 0, run_fetch_tagged),
    ROW("put_tagged", 3, "kgv", BOOK_PUTS, run_put_tagged),
    ROW("put_tagged", 4, "kgvt", BOOK_PUTS, run_put_tagged_for),
    ROW("delete_tagged", 2, "kg", 0, run_delete_tagged),
    ROW("pop", 1, "k", BOOK_SINGLE, run_pop),
    ROW("replace", 2, "kv", BOOK_PUTS | BOOK_SINGLE, run_replace),
    ROW("replace", 3, "kvt", BOOK_PUTS | BOOK_SINGLE, run_replace_for),
    ROW("swap", 2, "kv", BOOK_PUTS | BOOK_SINGLE, run_swap),
    ROW("swap", 3, "kvt", BOOK_PUTS | BOOK_SINGLE, run_swap_for),
    ROW("compare_and_put", 3, "kov", BOOK_PUTS | BOOK_SINGLE, run_compare_and_put),
    ROW("compare_and_put", 4, "kovt", BOOK_PUTS | BOOK_SINGLE, run_compare_and_put_for),
    ROW("compare_and_delete", 2, "ko", BOOK_SINGLE, run_compare_and_delete),
    ROW("check", 2, "ko", BOOK_SINGLE, book_run_check),
    ROW("check_absent", 1, "k", BOOK_SINGLE, book_run_check_absent),
    ROW("incr", 2, "kn", BOOK_PUTS | BOOK_SINGLE, book_run_incr),
    ROW("incr", 3, "kni", BOOK_PUTS | BOOK_SINGLE, book_run_incr_with),
    ROW("decr", 2, "kn", BOOK_PUTS | BOOK_SINGLE, book_run_decr),
    ROW("decr", 3, "kni", BOOK_PUTS | BOOK_SINGLE, book_run_decr_with),
    ROW("ttl", 1, "k", BOOK_SINGLE, book_run_ttl),
    ROW("expire", 2, "kt", BOOK_PUTS | BOOK_SINGLE, book_run_expire),
    ROW("expire_at", 2, "ku", BOOK_PUTS | BOOK_SINGLE, book_run_expire_at),
    ROW("persist", 1, "k", BOOK_PUTS | BOOK_SINGLE, book_run_persist),
    ROW("touch", 1, "k", BOOK_PUTS | BOOK_SINGLE, book_run_touch),
    ROW("stats", 0, "", BOOK_COUNTS, run_stats),
    ROW("scan", 2, "cs", BOOK_WALKS, run_nothing),
    ROW("transaction", 1, "x", BOOK_PUTS | BOOK_NET, book_run_transaction),
    {NULL, 0, NULL, 0, NULL},
};

const struct book_row *book_find_row(struct kv_bytes name, uint32_t arity)
{
    for (const struct book_row *row = book_rows; row->name != NULL; row++) {
        if (row->arity == arity && kv_bytes_is(name, row->name)) {
            return row;
        }
    }
    return NULL;
}
