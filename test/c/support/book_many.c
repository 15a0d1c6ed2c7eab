/* The operations on many keys, as the book does them. */
#include "support/book_parts.h"

/* Takes a proper list apart, also a string. Returns false if the term is none. */
static bool each_of(struct kv_bytes list, void (*visit)(void *context, struct kv_bytes element),
                    void *context)
{
    struct kv_reader reader = kv_reader(list);
    uint32_t count = 0;
    if (list.data[0] == KV_TAG_STRING) {
        for (size_t i = 3; i < list.length; i++) {
            const uint8_t byte[] = {KV_TAG_SMALL_INTEGER, list.data[i]};
            visit(context, kv_bytes(byte, sizeof byte));
        }
        return true;
    }
    if (kv_read_list(&reader, &count) != KV_OK) {
        return false;
    }
    for (; count > 0; count--) {
        struct kv_bytes element;
        (void)kv_read_any(&reader, &element);
        visit(context, element);
    }
    return kv_reader_at_end(&reader) || kv_read_nil(&reader) == KV_OK;
}

static void visit_nothing(void *context, struct kv_bytes element)
{
    (*(unsigned *)context)++;
    (void)element;
}

struct keys_asked {
    struct book *book;
    struct kv_bytes absent;
    struct kv_buffer *answer;
    unsigned count;
};

static void visit_key_to_get(void *context, struct kv_bytes element)
{
    const struct keys_asked *asked = context;
    book_run_get_or(asked->book, (struct kv_bytes[]){element, asked->absent}, asked->answer);
}

void book_run_get_many_or(struct book *book, const struct kv_bytes *arguments,
                          struct kv_buffer *answer)
{
    unsigned count = 0;
    if (!each_of(arguments[0], visit_nothing, &count)) {
        book_counts.unsure += count;
        book_refuse_term(answer, "bad_keys", arguments[0]);
        return;
    }
    struct keys_asked asked = {.book = book, .absent = arguments[1], .answer = answer};
    if (count > 0) {
        kv_write_list(answer, count);
    }
    (void)each_of(arguments[0], visit_key_to_get, &asked);
    kv_write_nil(answer);
}

void book_run_get_many(struct book *book, const struct kv_bytes *arguments,
                       struct kv_buffer *answer)
{
    book_run_get_many_or(book, (struct kv_bytes[]){arguments[0], book_nil}, answer);
}

static void visit_key_to_delete(void *context, struct kv_bytes element)
{
    struct keys_asked *asked = context;
    unsigned key;
    if (book_there(asked->book, element, &key)) {
        book_delete(asked->book, key);
        asked->count++;
    }
}

void book_run_delete_many(struct book *book, const struct kv_bytes *arguments,
                          struct kv_buffer *answer)
{
    unsigned count = 0;
    struct keys_asked asked = {.book = book};
    if (!each_of(arguments[0], visit_nothing, &count)) {
        book_refuse_term(answer, "bad_keys", arguments[0]);
        return;
    }
    (void)each_of(arguments[0], visit_key_to_delete, &asked);
    kv_write_u64(answer, asked.count);
}

struct entries_asked {
    struct book *book;
    const struct kv_bytes *ttl;
    bool bad;
    bool any;                 /* one of the keys was there before, */
    unsigned absent;          /* after so many others */
    bool keys[BOOK_KEYS];     /* that are put */
    struct kv_buffer *answer; /* NULL: only look */
};

static void take_entry(struct entries_asked *asked, struct kv_bytes key, struct kv_bytes value)
{
    unsigned number;
    bool there = book_there(asked->book, key, &number);
    if (asked->answer == NULL) {
        asked->absent += !asked->any && !there;
        asked->any |= there;
        asked->keys[number] = asked->book->named[number] = true;
    } else {
        book_put(asked->book, number, value, book_expiry(asked->book, number, asked->ttl));
    }
}

static void visit_pair(void *context, struct kv_bytes element)
{
    struct entries_asked *asked = context;
    struct kv_reader reader = kv_reader(element);
    struct kv_bytes key;
    struct kv_bytes value;
    if (kv_read_tuple_of(&reader, 2) != KV_OK) {
        asked->bad = true;
        return;
    }
    (void)kv_read_any(&reader, &key);
    (void)kv_read_any(&reader, &value);
    take_entry(asked, key, value);
}

static bool each_entry(struct entries_asked *asked, struct kv_bytes entries)
{
    struct kv_reader reader = kv_reader(entries);
    uint32_t pairs = 0;
    if (kv_read_map(&reader, &pairs) != KV_OK) {
        return each_of(entries, visit_pair, asked) && !asked->bad;
    }
    for (; pairs > 0; pairs--) {
        struct kv_bytes key;
        struct kv_bytes value;
        (void)kv_read_any(&reader, &key);
        (void)kv_read_any(&reader, &value);
        take_entry(asked, key, value);
    }
    return true;
}

/* Returns false, with the answer, if the entries are not put. */
static bool may_put_all(struct entries_asked *asked, struct kv_bytes entries, bool only_new,
                        struct kv_buffer *answer)
{
    if (!book_accepts_ttl(asked->ttl, answer)) {
        return false;
    }
    if (!each_entry(asked, entries)) {
        book_refuse_term(answer, "bad_entries", entries);
        return false;
    }
    if (only_new) {
        book_counts.hits += asked->any;
        book_counts.misses += asked->absent;
    }
    if (only_new && asked->any) {
        kv_write_bool(answer, false);
        return false;
    }
    return book_has_room(asked->book, asked->keys, answer);
}

static bool put_all(struct book *book, struct kv_bytes entries, const struct kv_bytes *ttl,
                    bool only_new, struct kv_buffer *answer)
{
    struct entries_asked asked = {.book = book, .ttl = ttl};
    if (!may_put_all(&asked, entries, only_new, answer)) {
        return false;
    }
    asked.answer = answer;
    return each_entry(&asked, entries);
}

void book_run_put_many(struct book *book, const struct kv_bytes *arguments,
                       struct kv_buffer *answer)
{
    if (put_all(book, arguments[0], NULL, false, answer)) {
        kv_write_atom_text(answer, "ok");
    }
}

void book_run_put_many_for(struct book *book, const struct kv_bytes *arguments,
                           struct kv_buffer *answer)
{
    if (put_all(book, arguments[0], &arguments[1], false, answer)) {
        kv_write_atom_text(answer, "ok");
    }
}

void book_run_put_new_many(struct book *book, const struct kv_bytes *arguments,
                           struct kv_buffer *answer)
{
    if (put_all(book, arguments[0], NULL, true, answer)) {
        kv_write_bool(answer, true);
    }
}

void book_run_put_new_many_for(struct book *book, const struct kv_bytes *arguments,
                               struct kv_buffer *answer)
{
    if (put_all(book, arguments[0], &arguments[1], true, answer)) {
        kv_write_bool(answer, true);
    }
}
