#include "kv/pieces.h"

void kv_write_timed(struct kv_buffer *to, const struct kv_table_entry *entry, uint64_t now)
{
    kv_write_tuple(to, 3);
    kv_write_item(to, entry->key);
    kv_write_item(to, entry->value);
    if (entry->expiry == KV_NEVER) {
        kv_write_atom_text(to, "infinity");
    } else {
        kv_write_u64(to, entry->expiry - now);
    }
}

size_t kv_begin_list(struct kv_buffer *to)
{
    const size_t place = to->length;
    kv_write_list(to, 1);
    return place;
}

void kv_end_list(struct kv_buffer *to, size_t place, uint32_t count)
{
    if (count == 0) {
        to->length = place;
    } else {
        kv_set32(to->data + place + KV_LONG_HEADER - sizeof count, count);
    }
    kv_write_nil(to);
}
