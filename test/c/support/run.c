#include "support/run.h"

#include "kv/item.h"

#include <stdarg.h>

void run_fail(struct run *run, const char *format, ...)
{
    va_list arguments;
    if (run->failed) {
        return;
    }
    run->failed = true;
    va_start(arguments, format);
    (void)vsnprintf(run->reason, sizeof run->reason, format, arguments);
    va_end(arguments);
}

void run_trace(const struct run *run, const char *what, struct kv_bytes term)
{
    struct kv_buffer text = KV_BUFFER_INIT;
    if (run->trace == NULL) {
        return;
    }
    (void)fputs(what, run->trace);
    if (term.length > 0) {
        draw_print(term, &text);
        (void)fwrite(text.data, 1, text.length, run->trace);
    }
    kv_buffer_free(&text);
}

/* ---- contents ----------------------------------------------------------------------------------
 */

static bool is_value(struct kv_item item, struct kv_bytes term)
{
    const struct kv_item expected = kv_item_of_value(term);
    return (item.form == expected.form && kv_bytes_equal(item.bytes, expected.bytes));
}

static unsigned number_of(struct kv_item key)
{
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        const struct kv_item own = book_key_item(i);
        if (own.form == key.form && kv_bytes_equal(own.bytes, key.bytes)) {
            return i;
        }
    }
    return BOOK_KEYS;
}

/* An entry that the bucket has. */
static void compare_entry(struct run *run, unsigned i, struct kv_item value)
{
    uint64_t expiry = 0;
    if (i == BOOK_KEYS || !book_has(&run->book, i)) {
        run_fail(run, "the bucket holds key %u, which should not be there", i);
        return;
    }
    if (!is_value(value, book_value(&run->book, i))) {
        run_fail(run, "key %u has another value", i);
    }
    const bool found = kv_table_expiry(run->table, book_key_item(i), &expiry);
    if (!found || expiry != run->book.entries[i].expiry) {
        run_fail(run, "key %u expires at %llu, and not at %llu; now it is %llu", i,
                 (unsigned long long)expiry, (unsigned long long)run->book.entries[i].expiry,
                 (unsigned long long)run->book.now);
    }
}

/* The limits and the rule of eviction let an entry go, and only for a put of another key. */
static bool may_be_gone(const struct run *run, unsigned i)
{
    const struct book_entry *entry = &run->book.entries[i];
    return run->may_evict && !run->book.named[i] && entry->value == run->before.entries[i].value &&
           (run->book.rules.evict == KV_EVICT_LRU || entry->expiry != KV_NEVER);
}

static void compare_contents(struct run *run)
{
    struct kv_table_walk walk = {0};
    struct kv_item key;
    struct kv_item value;
    bool found[BOOK_KEYS + 1] = {false};
    while (kv_table_next(run->table, &walk, &key, &value)) {
        const unsigned i = number_of(key);
        if (found[i]) {
            run_fail(run, "key %u is there twice", i);
        }
        found[i] = true;
        compare_entry(run, i, value);
    }
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        if (!found[i] && book_has(&run->book, i)) {
            if (!may_be_gone(run, i)) {
                run_fail(run, "the bucket has lost key %u", i);
            }
            book_counts.evictions++;
            book_remove(&run->book, i);
        }
    }
    if (kv_table_count_seen(run->table) != book_count(&run->book)) {
        run_fail(run, "the bucket counts %llu entries, and has %u",
                 (unsigned long long)kv_table_count_seen(run->table), book_count(&run->book));
    }
}

static enum kv_read read_locally(const struct run *run, unsigned i, struct kv_mapped_value *value)
{
    const struct kv_item key = book_key_item(i);
    return kv_mapped_find(&run->mapped, &run->mapped_table, key.bytes, key.form,
                          kv_mapped_hash(&run->mapped, key.bytes), value);
}

/* Compares a read of this host that needed no call. */
static void compare_read(struct run *run, const struct book *book, unsigned i, enum kv_read read,
                         const struct kv_mapped_value *value)
{
    const bool found =
        read == KV_READ_FOUND && (value->expires == KV_NEVER || value->expires > book->now);
    if (found != book_has(book, i) ||
        (found && !is_value((struct kv_item){.bytes = value->bytes, .form = (uint8_t)value->form},
                            book_value(book, i)))) {
        run_fail(run, "a read of key %u without a call gives something else", i);
    }
}

static void compare_local_reads(struct run *run)
{
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        struct kv_mapped_value value;
        const enum kv_read read = read_locally(run, i, &value);
        if (read != KV_READ_FOUND && read != KV_READ_ABSENT) {
            run_fail(run, "a read of key %u without a call gives %d", i, (int)read);
        } else {
            compare_read(run, &run->book, i, read, &value);
        }
    }
}

void run_compare_meanwhile(struct run *run)
{
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        struct kv_mapped_value value;
        const enum kv_read read = read_locally(run, i, &value);
        if (read == KV_READ_FOUND || read == KV_READ_ABSENT) {
            compare_read(run, &run->before, i, read, &value);
        } else if (read == KV_READ_GONE || read == KV_READ_BROKEN) {
            run_fail(run, "a read of key %u in between gives %d", i, (int)read);
        }
    }
}

static void compare_limits(struct run *run)
{
    const struct book_rules *rules = &run->book.rules;
    if (rules->max_memory != 0 && kv_table_counted(run->table) > rules->max_memory) {
        run_fail(run, "the bucket takes %llu bytes",
                 (unsigned long long)kv_table_counted(run->table));
    }
    if (rules->max_entries != 0 && book_count(&run->book) > rules->max_entries) {
        run_fail(run, "the bucket holds %u entries", book_count(&run->book));
    }
}

void run_compare(struct run *run)
{
    compare_contents(run);
    compare_local_reads(run);
    compare_limits(run);
}
