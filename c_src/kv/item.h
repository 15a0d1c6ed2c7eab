/* Terms as the store keeps them: a binary as its bytes, any other as it is. docs/store-format.md.
 */
#ifndef KV_ITEM_H
#define KV_ITEM_H

#include "store/table.h"

#include <kv/term.h>

enum kv_form {
    KV_FORM_TERM = 0,
    KV_FORM_BINARY = 1, /* the bytes of a binary */
};

enum { KV_BINARY_HEADER = 5 }; /* of the term: tag and length */

/* A value that is a binary of more bytes is kept as a term, so that it can be sent as it lies. */
enum { KV_PACKED_VALUE_MAX = 1024 };

/* Both borrow from the term, which is a canonical one for a key. */
struct kv_item kv_item_of_key(struct kv_bytes key);
struct kv_item kv_item_of_value(struct kv_bytes value);

/* Bytes of the term. */
static inline size_t kv_item_size(struct kv_item item)
{
    return item.bytes.length + (item.form == KV_FORM_BINARY ? KV_BINARY_HEADER : 0);
}

/* Appends the term. */
void kv_write_item(struct kv_buffer *to, struct kv_item item);

/* The term: where it lies, if it lies there as one, else built in `space`. */
struct kv_bytes kv_item_term(struct kv_item item, struct kv_buffer *space);

#endif
