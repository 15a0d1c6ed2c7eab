/* Walks by `scan`: each key that is there throughout comes once, none comes twice, and each entry
 * is as it is now. */
#include "support/run.h"

#include <string.h>

static bool has_prefix(const struct run_walk *walk, unsigned key)
{
    const struct kv_item item = book_key_item(key);
    const struct kv_bytes prefix = walk->prefix;
    return prefix.data == NULL || (item.form == 1 && item.bytes.length >= prefix.length &&
                                   memcmp(item.bytes.data, prefix.data, prefix.length) == 0);
}

static bool is_wanted(const struct run *run, unsigned key)
{
    const unsigned kind = run->book.entries[key].expiry == KV_NEVER ? 2 : 1;
    return book_has(&run->book, key) && has_prefix(&run->walk, key) &&
           (run->walk.expires == 0 || run->walk.expires == kind);
}

/* ---- arguments ---------------------------------------------------------------------------------
 */

static void begin(struct draw *draw, struct run *run)
{
    static const char *const prefixes[] = {"", "k", "ka"};
    run->walk = (struct run_walk){.open = true};
    if (draw_once_in(draw, 3)) {
        run->walk.prefix = kv_bytes_text(prefixes[draw_below(draw, 3)]);
    }
    run->walk.expires = draw_below(draw, 3);
    run->walk.returned = draw_once_in(draw, 3) ? RUN_ENTRIES : draw_below(draw, RUN_RETURNED);
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        run->walk.stayed[i] = run->walk.came[i] = is_wanted(run, i);
    }
}

static struct kv_bytes cursor_term(struct run *run)
{
    struct kv_buffer term = book_term();
    if (run->walk.length == 0) {
        kv_write_atom_text(&term, "start");
    } else {
        kv_write_term(&term, kv_bytes(run->walk.cursor, run->walk.length));
    }
    return book_keep(&term);
}

static void write_option(struct kv_buffer *to, const char *name, const char *value)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, name);
    kv_write_atom_text(to, value);
}

static const char *const return_names[RUN_RETURNED] = {"entries", "keys", "values", "timed",
                                                       "count"};

static struct kv_bytes options_term(struct draw *draw, const struct run *run)
{
    struct kv_buffer term = book_term();
    const bool has_filter = run->walk.prefix.data != NULL;
    const bool expires = run->walk.expires != 0;
    const bool returns = run->walk.returned != RUN_ENTRIES || draw_once_in(draw, 4);
    kv_write_list(&term, 1U + (has_filter ? 1U : 0U) + (expires ? 1U : 0U) + (returns ? 1U : 0U));
    kv_write_tuple(&term, 2);
    kv_write_atom_text(&term, "limit");
    kv_write_u64(&term, 1 + draw_below(draw, 4));
    if (has_filter) {
        kv_write_tuple(&term, 2);
        kv_write_atom_text(&term, "prefix");
        kv_write_binary(&term, run->walk.prefix);
    }
    if (expires) {
        write_option(&term, "expires", run->walk.expires == 1 ? "true" : "false");
    }
    if (returns) {
        write_option(&term, "return", return_names[run->walk.returned]);
    }
    kv_write_nil(&term);
    return book_keep(&term);
}

/* ---- arguments that are refused ----------------------------------------------------------------
 */

enum { CURSOR_FORM = 1 };

/* No cursor at all, or one of another table: the last byte but eight belongs to its identity. */
static struct kv_bytes bad_cursor(struct draw *draw, const struct run *run)
{
    uint8_t bytes[sizeof run->walk.cursor] = {CURSOR_FORM};
    struct kv_buffer term = book_term();
    const unsigned kind = draw_below(draw, 5);
    const size_t length = 1 + KV_TABLE_IDENTITY_SIZE + sizeof(uint64_t);
    kv_table_identity(run->table, bytes + 1);
    if (kind == 0) {
        kv_write_atom_text(&term, "done");
    } else if (kind == 1) {
        kv_write_binary(&term, kv_bytes(bytes, length - 1));
    } else if (kind == 2) {
        bytes[0]++;
        kv_write_binary(&term, kv_bytes(bytes, length));
    } else {
        bytes[1 + draw_below(draw, KV_TABLE_IDENTITY_SIZE)] ^= 1;
        kv_write_binary(&term, kv_bytes(bytes, length));
    }
    return book_keep(&term);
}

static struct kv_bytes bad_options(struct draw *draw)
{
    struct kv_buffer term = book_term();
    switch (draw_below(draw, 4)) {
    case 0:
        kv_write_atom_text(&term, "no_list");
        return book_keep(&term);
    case 1:
        kv_write_list(&term, 1);
        kv_write_tuple(&term, 2);
        kv_write_atom_text(&term, "limit");
        kv_write_u64(&term, 0);
        break;
    case 2:
        kv_write_list(&term, 1);
        write_option(&term, "return", "all");
        break;
    default:
        kv_write_list(&term, 2);
        write_option(&term, "return", "keys");
        write_option(&term, "prefix", "no_binary");
    }
    kv_write_nil(&term);
    return book_keep(&term);
}

void run_draw_scan(struct draw *draw, struct run *run, struct kv_bytes arguments[2])
{
    const bool bad = draw_once_in(draw, 12);
    if (!run->walk.open || draw_once_in(draw, 10)) {
        begin(draw, run);
    }
    arguments[0] = bad && draw_once_in(draw, 2) ? bad_cursor(draw, run) : cursor_term(run);
    arguments[1] = bad && draw_once_in(draw, 2) ? bad_options(draw) : options_term(draw, run);
}

static bool is_bad(struct kv_bytes option)
{
    static const char *const bad[] = {"all", "no_binary"};
    struct kv_bytes value = NONE;
    struct kv_reader reader = kv_reader(option);
    (void)kv_read_tuple_of(&reader, 2);
    (void)kv_read_any(&reader, NULL);
    (void)kv_read_any(&reader, &value);
    return kv_term_is_atom(value, bad[0]) || kv_term_is_atom(value, bad[1]) ||
           (value.length == 2 && value.data[0] == KV_TAG_SMALL_INTEGER && value.data[1] == 0);
}

/* Returns the reason for which a request must be refused, or NULL. */
static const char *refusal_of(const struct run *run, const struct kv_bytes arguments[2])
{
    struct kv_bytes cursor;
    uint8_t identity[KV_TABLE_IDENTITY_SIZE];
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(arguments[0]);
    struct kv_reader options = kv_reader(arguments[1]);
    struct kv_bytes last = NONE;
    (void)kv_read_list(&options, &count);
    for (; count > 0; count--) {
        (void)kv_read_any(&options, &last);
    }
    kv_table_identity(run->table, identity);
    if (last.length == 0 || is_bad(last)) {
        return "bad_option";
    }
    if (kv_term_is_atom(arguments[0], "start")) {
        return NULL;
    }
    if (kv_read_binary(&reader, &cursor) != KV_OK || cursor.data[0] != CURSOR_FORM ||
        cursor.length != 1 + sizeof identity + sizeof(uint64_t)) {
        return "bad_cursor";
    }
    return memcmp(cursor.data + 1, identity, sizeof identity) == 0 ? NULL : "stale_cursor";
}

/* ---- answers -----------------------------------------------------------------------------------
 */

/* Reads what an entry of a piece has. */
static bool read_entry(struct kv_reader *list, enum run_returned returned, struct kv_bytes *key,
                       struct kv_bytes *value, struct kv_bytes *left)
{
    const bool timed = returned == RUN_TIMED;
    if ((timed || returned == RUN_ENTRIES) && kv_read_tuple_of(list, timed ? 3 : 2) != KV_OK) {
        return false;
    }
    return (returned == RUN_VALUES || kv_read_any(list, key) == KV_OK) &&
           (returned == RUN_KEYS || kv_read_any(list, value) == KV_OK) &&
           (!timed || kv_read_any(list, left) == KV_OK);
}

static bool is_left(struct kv_bytes term, uint64_t left)
{
    uint64_t ms = 0;
    struct kv_reader reader = kv_reader(term);
    return left == KV_NEVER ? kv_term_is_atom(term, "infinity")
                            : kv_read_u64(&reader, &ms) == KV_OK && ms == left;
}

static void judge_value(struct run *run, struct kv_bytes value)
{
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        if (is_wanted(run, i) && book_equal(value, book_value(&run->book, i))) {
            return;
        }
    }
    run_fail(run, "a walk gives a value that no key has");
}

static void judge_entry(struct run *run, struct kv_reader *list)
{
    const enum run_returned returned = run->walk.returned;
    struct kv_bytes key = NONE;
    struct kv_bytes value = NONE;
    struct kv_bytes left = NONE;
    run->walk.count++;
    if (!read_entry(list, returned, &key, &value, &left)) {
        run_fail(run, "a walk gives another shape");
        return;
    }
    if (returned == RUN_VALUES) {
        judge_value(run, value);
        return;
    }
    const unsigned number = book_find_key(key);
    if (number == BOOK_KEYS || !is_wanted(run, number) ||
        (returned != RUN_KEYS && !book_equal(value, book_value(&run->book, number))) ||
        (returned == RUN_TIMED && !is_left(left, book_left(&run->book, number)))) {
        run_fail(run, "a walk gives key %u as it is not", number);
    } else if (run->walk.seen[number]) {
        run_fail(run, "a walk gives key %u twice", number);
    } else {
        run->walk.seen[number] = true;
    }
}

static void end(struct run *run)
{
    const struct run_walk *walk = &run->walk;
    const bool without_keys = walk->returned == RUN_VALUES || walk->returned == RUN_COUNT;
    uint64_t least = 0;
    uint64_t most = 0;
    run->walk.open = false;
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        least += walk->stayed[i];
        most += walk->came[i];
        if (!without_keys && walk->stayed[i] && !walk->seen[i]) {
            run_fail(run, "a walk has passed over key %u", i);
        }
    }
    if (walk->count < least || walk->count > most) {
        run_fail(run, "a walk of %llu entries", (unsigned long long)walk->count);
    }
}

/* Reads the first part of the answer. */
static bool judge_piece(struct run *run, struct kv_reader *reader)
{
    uint32_t count = 0;
    uint64_t number = 0;
    if (kv_read_tuple_of(reader, 2) != KV_OK) {
        return false;
    }
    if (run->walk.returned == RUN_COUNT) {
        const bool is_number = kv_read_u64(reader, &number) == KV_OK;
        run->walk.count += number;
        return is_number;
    }
    if (kv_read_list(reader, &count) != KV_OK) {
        return false;
    }
    for (uint32_t i = 0; i < count && !run->failed; i++) {
        judge_entry(run, reader);
    }
    return count == 0 || run->failed || kv_read_nil(reader) == KV_OK;
}

/* {error, Reason} or {error, {Reason, Option}} */
static void judge_refusal(struct run *run, struct kv_bytes answer, const char *reason)
{
    struct kv_reader reader = kv_reader(answer);
    const bool is_error =
        kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "error") == KV_OK;
    (void)kv_read_tuple_of(&reader, 2);
    if (!is_error || kv_read_this_atom(&reader, reason) != KV_OK) {
        run_fail(run, "a walk is not refused with %s", reason);
    }
}

void run_judge_scan(struct run *run, const struct kv_bytes arguments[2], struct kv_bytes answer)
{
    struct kv_reader reader = kv_reader(answer);
    struct kv_bytes cursor = {NULL, 0};
    const char *refusal = refusal_of(run, arguments);
    if (refusal != NULL) {
        judge_refusal(run, answer, refusal);
        return;
    }
    if (!judge_piece(run, &reader)) {
        run_fail(run, "a walk gives no piece");
        return;
    }
    (void)kv_read_any(&reader, &cursor);
    if (kv_term_is_atom(cursor, "done")) {
        end(run);
    } else if (cursor.length > sizeof run->walk.cursor) {
        run_fail(run, "a cursor of %zu bytes", cursor.length);
    } else {
        memcpy(run->walk.cursor, cursor.data, cursor.length);
        run->walk.length = cursor.length;
    }
}

void run_note_walk(struct run *run)
{
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        run->walk.stayed[i] &= is_wanted(run, i);
        run->walk.came[i] |= is_wanted(run, i);
    }
}
