#include "support/book.h"

#include "kv/item.h"

#include <stdlib.h>
#include <string.h>

struct book_value {
    unsigned users;
    size_t length;
    uint8_t bytes[];
};

/* ---- the book ----------------------------------------------------------------------------------
 */

struct book_counts book_counts;

static struct book_value *value_new(struct kv_bytes bytes)
{
    struct book_value *value = malloc(sizeof *value + bytes.length);
    value->users = 1;
    value->length = bytes.length;
    memcpy(value->bytes, bytes.data, bytes.length);
    return value;
}

static void value_drop(struct book_value *value)
{
    if (value != NULL && --value->users == 0) {
        free(value);
    }
}

void book_open(struct book *book, const struct book_rules *rules, uint64_t now)
{
    memset(book, 0, sizeof *book);
    book->rules = *rules;
    book->now = now;
}

void book_close(struct book *book)
{
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        value_drop(book->entries[i].value);
        book->entries[i].value = NULL;
    }
}

void book_copy(struct book *to, const struct book *from)
{
    struct book old = *to;
    *to = *from;
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        if (to->entries[i].value != NULL) {
            to->entries[i].value->users++;
        }
    }
    book_close(&old);
}

void book_back(struct book *to, const struct book *from)
{
    bool named[BOOK_KEYS];
    memcpy(named, to->named, sizeof named);
    book_copy(to, from);
    memcpy(to->named, named, sizeof named);
}

bool book_has(const struct book *book, unsigned key)
{
    const struct book_entry *entry = &book->entries[key];
    return entry->value != NULL && (entry->expiry == KV_NEVER || entry->expiry > book->now);
}

struct kv_bytes book_value(const struct book *book, unsigned key)
{
    const struct book_value *value = book->entries[key].value;
    return kv_bytes(value->bytes, value->length);
}

void book_put(struct book *book, unsigned key, struct kv_bytes value, uint64_t expiry)
{
    struct book_value *copy = value_new(value);
    book_counts.puts++;
    book_counts.perhaps_expired += book->entries[key].value != NULL && !book_has(book, key);
    value_drop(book->entries[key].value);
    book->entries[key] = (struct book_entry){.value = copy, .expiry = expiry};
}

void book_remove(struct book *book, unsigned key)
{
    value_drop(book->entries[key].value);
    book->entries[key] = (struct book_entry){.value = NULL};
}

void book_delete(struct book *book, unsigned key)
{
    book_counts.deletes++;
    book_remove(book, key);
}

unsigned book_count(const struct book *book)
{
    unsigned count = 0;
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        count += book_has(book, i);
    }
    return count;
}

uint64_t book_left(const struct book *book, unsigned key)
{
    uint64_t expiry = book->entries[key].expiry;
    return expiry == KV_NEVER ? KV_NEVER : expiry - book->now;
}

/* ---- terms -------------------------------------------------------------------------------------
 */

static uint8_t *space;
static size_t space_used;

void book_forget(void)
{
    if (space == NULL) {
        space = malloc(BOOK_SPACE);
    }
    space_used = 0;
}

struct kv_buffer book_term(void)
{
    return (struct kv_buffer){.data = space + space_used, .capacity = BOOK_SPACE - space_used};
}

struct kv_bytes book_keep(struct kv_buffer *term)
{
    space_used += term->length;
    return kv_buffer_bytes(term);
}

struct written {
    uint8_t bytes[80];
    uint8_t length;
};

#define WRITTEN(...)                                                                               \
    {                                                                                              \
        {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})                                            \
    }
#define SAME(...)                                                                                  \
    {                                                                                              \
        WRITTEN(__VA_ARGS__), WRITTEN(__VA_ARGS__), WRITTEN(__VA_ARGS__)                           \
    }

/* Byte by byte, since the point is that one key comes in several encodings. The first is the
 * canonical one. */
static const struct written keys[BOOK_KEYS][BOOK_ENCODINGS] = {
    /* a: as it is sent today, and as old nodes did */
    {WRITTEN(119, 1, 'a'), WRITTEN(118, 0, 1, 'a'), WRITTEN(100, 0, 1, 'a')},
    /* 1, and not 1.0 */
    {WRITTEN(97, 1), WRITTEN(98, 0, 0, 0, 1), WRITTEN(110, 1, 0, 1)},
    SAME(70, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0),
    /* <<>>, <<"k">>, <<"ka">>, <<"kb">> */
    SAME(109, 0, 0, 0, 0),
    SAME(109, 0, 0, 0, 1, 'k'),
    SAME(109, 0, 0, 0, 2, 'k', 'a'),
    SAME(109, 0, 0, 0, 2, 'k', 'b'),
    /* {a, 1} */
    {WRITTEN(104, 2, 119, 1, 'a', 97, 1), WRITTEN(105, 0, 0, 0, 2, 119, 1, 'a', 97, 1),
     WRITTEN(104, 2, 118, 0, 1, 'a', 98, 0, 0, 0, 1)},
    /* #{a => 1, 2 => b}: the pairs come in any order */
    {WRITTEN(116, 0, 0, 0, 2, 97, 2, 119, 1, 'b', 119, 1, 'a', 97, 1),
     WRITTEN(116, 0, 0, 0, 2, 119, 1, 'a', 97, 1, 97, 2, 119, 1, 'b'),
     WRITTEN(116, 0, 0, 0, 2, 119, 1, 'a', 98, 0, 0, 0, 1, 97, 2, 119, 1, 'b')},
    /* [1, 2] */
    {WRITTEN(107, 0, 2, 1, 2), WRITTEN(108, 0, 0, 0, 2, 97, 1, 97, 2, 106),
     WRITTEN(108, 0, 0, 0, 1, 97, 1, 107, 0, 1, 2)},
    /* 2^70 */
    {WRITTEN(110, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64),
     WRITTEN(111, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64),
     WRITTEN(110, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0)},
    /* nil */
    {WRITTEN(119, 3, 'n', 'i', 'l'), WRITTEN(118, 0, 3, 'n', 'i', 'l'),
     WRITTEN(115, 3, 'n', 'i', 'l')},
};

struct kv_bytes book_key(unsigned key, unsigned encoding)
{
    const struct written *written = &keys[key][encoding % BOOK_ENCODINGS];
    return kv_bytes(written->bytes, written->length);
}

static struct kv_bytes canonical_key(unsigned key)
{
    static struct written forms[BOOK_KEYS];
    for (unsigned i = 0; forms[key].length == 0; i++) { /* all at once: book_term() is one space */
        struct kv_buffer form = book_term();
        kv_term_canonical(book_key(i, 0), KV_ZEROS_DIFFER, &form);
        memcpy(forms[i].bytes, form.data, form.length);
        forms[i].length = (uint8_t)form.length;
    }
    return kv_bytes(forms[key].bytes, forms[key].length);
}

unsigned book_find_key(struct kv_bytes term)
{
    (void)canonical_key(BOOK_KEYS - 1);
    struct kv_buffer form = book_term();
    kv_term_canonical(term, KV_ZEROS_DIFFER, &form);
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        if (kv_bytes_equal(canonical_key(i), kv_buffer_bytes(&form))) {
            return i;
        }
    }
    return BOOK_KEYS;
}

struct kv_item book_key_item(unsigned key)
{
    return kv_item_of_key(canonical_key(key));
}

bool book_equal(struct kv_bytes a, struct kv_bytes b)
{
    if (kv_bytes_equal(a, b)) {
        return true;
    }
    if (a.length > BOOK_SPACE / 8 || b.length > BOOK_SPACE / 8) {
        return false;
    }
    struct kv_buffer forms = book_term();
    kv_term_canonical(a, KV_ZEROS_DIFFER, &forms);
    const size_t length = forms.length;
    kv_term_canonical(b, KV_ZEROS_DIFFER, &forms);
    return kv_bytes_equal(kv_bytes(forms.data, length), kv_buffer_since(&forms, length));
}
