#include "kv/item.h"

struct kv_bytes kv_item_term(struct kv_item item, struct kv_buffer *space)
{
    if (item.form != KV_FORM_BINARY) {
        return item.bytes;
    }
    kv_buffer_clear(space);
    kv_write_binary(space, item.bytes);
    return kv_buffer_bytes(space);
}
