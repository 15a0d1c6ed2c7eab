/* Terms in the form that the store keeps: a binary as its bytes, any other term as it is.
 * docs/store-format.md. */
#ifndef KV_ITEM_H
#define KV_ITEM_H

#include "base/endian.h"
#include "base/word.h"

#include <kv/form.h>
#include <kv/table.h>
#include <kv/term.h>

/* A longer binary stays a term when it is a value, so that it can be sent from where it lies. */
enum { KV_PACKED_VALUE_MAX = 1024 };

/* Returns a term as an item: a binary of up to `most` bytes as its bytes. Borrows from the term. */
static inline struct kv_item kv_item_of(struct kv_bytes term, size_t most)
{
    if (term.data[0] == KV_TAG_BINARY && term.length - KV_LONG_HEADER <= most) {
        return (struct kv_item){
            .bytes = kv_bytes(term.data + KV_LONG_HEADER, term.length - KV_LONG_HEADER),
            .form = KV_FORM_BINARY,
        };
    }
    return (struct kv_item){.bytes = term, .form = KV_FORM_TERM};
}

/* Both borrow from the term. A key must be canonical. */
static inline struct kv_item kv_item_of_key(struct kv_bytes key)
{
    return kv_item_of(key, SIZE_MAX);
}

static inline struct kv_item kv_item_of_value(struct kv_bytes value)
{
    return kv_item_of(value, KV_PACKED_VALUE_MAX);
}

/* Returns the bytes of the term. */
static inline size_t kv_item_size(struct kv_item item)
{
    return item.bytes.length + (item.form == KV_FORM_BINARY ? KV_LONG_HEADER : 0);
}

/* Appends the term. */
static inline void kv_write_item(struct kv_buffer *to, struct kv_item item)
{
    const size_t length = item.bytes.length;
    uint8_t *at = kv_buffer_reserve(to, KV_LONG_HEADER + length);
    if (item.form == KV_FORM_BINARY) {
        at[0] = KV_TAG_BINARY;
        kv_set32(at + 1, (uint32_t)length);
        at += KV_LONG_HEADER;
    }
    kv_copy_any(at, item.bytes.data, length);
    to->length += kv_item_size(item);
}

/* Returns the term: borrowed from the item if the item is a whole term, else built in `space`. */
struct kv_bytes kv_item_term(struct kv_item item, struct kv_buffer *space);

#endif
