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
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        run->walk.stayed[i] = is_wanted(run, i);
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

static struct kv_bytes options_term(struct draw *draw, const struct run *run)
{
    struct kv_buffer term = book_term();
    const bool has_filter = run->walk.prefix.data != NULL;
    const bool expires = run->walk.expires != 0;
    kv_write_list(&term, 1U + (has_filter ? 1U : 0U) + (expires ? 1U : 0U));
    kv_write_tuple(&term, 2);
    kv_write_atom_text(&term, "limit");
    kv_write_u64(&term, 1 + draw_below(draw, 4));
    if (has_filter) {
        kv_write_tuple(&term, 2);
        kv_write_atom_text(&term, "prefix");
        kv_write_binary(&term, run->walk.prefix);
    }
    if (expires) {
        kv_write_tuple(&term, 2);
        kv_write_atom_text(&term, "expires");
        kv_write_bool(&term, run->walk.expires == 1);
    }
    kv_write_nil(&term);
    return book_keep(&term);
}

void run_draw_scan(struct draw *draw, struct run *run, struct kv_bytes arguments[2])
{
    if (!run->walk.open || draw_once_in(draw, 10)) {
        begin(draw, run);
    }
    arguments[0] = cursor_term(run);
    arguments[1] = options_term(draw, run);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void judge_entry(struct run *run, struct kv_reader *list)
{
    struct kv_bytes key;
    struct kv_bytes value;
    if (kv_read_tuple_of(list, 2) != KV_OK || kv_read_any(list, &key) != KV_OK ||
        kv_read_any(list, &value) != KV_OK) {
        run_fail(run, "a walk gives no pair");
        return;
    }
    const unsigned number = book_find_key(key);
    if (number == BOOK_KEYS || !is_wanted(run, number) ||
        !book_equal(value, book_value(&run->book, number))) {
        run_fail(run, "a walk gives key %u as it is not", number);
    } else if (run->walk.seen[number]) {
        run_fail(run, "a walk gives key %u twice", number);
    } else {
        run->walk.seen[number] = true;
    }
}

static void end(struct run *run)
{
    run->walk.open = false;
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        if (run->walk.stayed[i] && !run->walk.seen[i]) {
            run_fail(run, "a walk has passed over key %u", i);
        }
    }
}

void run_judge_scan(struct run *run, const struct kv_bytes arguments[2], struct kv_bytes answer)
{
    struct kv_reader reader = kv_reader(answer);
    struct kv_bytes cursor = {NULL, 0};
    uint32_t count = 0;
    (void)arguments;
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_list(&reader, &count) != KV_OK) {
        run_fail(run, "a walk gives no piece");
        return;
    }
    for (uint32_t i = 0; i < count && !run->failed; i++) {
        judge_entry(run, &reader);
    }
    if (count > 0) {
        (void)kv_read_nil(&reader);
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
    }
}
