#include "kv/item.h"

static struct kv_item pack(struct kv_bytes term, size_t most)
{
    if (term.data[0] == KV_TAG_BINARY && term.length - KV_BINARY_HEADER <= most) {
        return (struct kv_item){
            .bytes = kv_bytes(term.data + KV_BINARY_HEADER, term.length - KV_BINARY_HEADER),
            .form = KV_FORM_BINARY,
        };
    }
    return (struct kv_item){.bytes = term, .form = KV_FORM_TERM};
}

struct kv_item kv_item_of_key(struct kv_bytes key)
{
    return pack(key, SIZE_MAX);
}

struct kv_item kv_item_of_value(struct kv_bytes value)
{
    return pack(value, KV_PACKED_VALUE_MAX);
}

void kv_write_item(struct kv_buffer *to, struct kv_item item)
{
    if (item.form == KV_FORM_BINARY) {
        kv_write_binary(to, item.bytes);
    } else {
        kv_write_term(to, item.bytes);
    }
}

struct kv_bytes kv_item_term(struct kv_item item, struct kv_buffer *space)
{
    if (item.form != KV_FORM_BINARY) {
        return item.bytes;
    }
    kv_buffer_clear(space);
    kv_write_binary(space, item.bytes);
    return kv_buffer_bytes(space);
}
