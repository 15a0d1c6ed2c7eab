#include "kv/items.h"

#include "base/endian.h"
#include "kv/going.h"
#include "kv/item.h"

/* ---- lists -------------------------------------------------------------------------------------
 * A list of small integers comes as a string. next_item() makes a term of each element. */

enum { STRING_HEADER = 3 };

bool kv_items_open_list(struct kv_bytes term, struct kv_items *items)
{
    struct kv_reader reader = kv_reader(term);
    items->map = false;
    items->stride = (struct kv_stride){0};
    items->end = term.data + term.length;
    items->string = term.data[0] == KV_TAG_STRING;
    if (items->string) {
        items->left = kv_get16(term.data + 1);
        items->next = term.data + STRING_HEADER;
        return true;
    }
    bool is_list = kv_read_list(&reader, &items->left) == KV_OK;
    items->next = term.data + reader.offset;
    return is_list;
}

static inline struct kv_bytes next_term(struct kv_items *items)
{
    struct kv_bytes term = kv_bytes(items->next, kv_term_size(items->next));
    items->next += term.length;
    return term;
}

/* Returns the next element. Valid until the next call. */
static inline struct kv_bytes next_item(struct kv_items *items)
{
    items->left--;
    if (items->string) {
        items->element[0] = KV_TAG_SMALL_INTEGER;
        items->element[1] = *items->next++;
        return kv_bytes(items->element, sizeof items->element);
    }
    const uint8_t *item = items->next;
    if (kv_stride_fits(&items->stride, item, items->end)) {
        items->next += items->stride.size;
        return kv_bytes(item, items->stride.size);
    }
    const struct kv_bytes term = next_term(items);
    kv_stride_take(&items->stride, item, items->next, items->end);
    return term;
}

bool kv_items_end_properly(const struct kv_items *items)
{
    struct kv_reader rest = kv_reader(kv_bytes(items->next, (size_t)(items->end - items->next)));
    return kv_reader_at_end(&rest) || kv_read_nil(&rest) == KV_OK;
}

bool kv_items_skip(struct kv_items *items, unsigned most, size_t bytes)
{
    const uint8_t *begin = items->next;
    for (; items->left > 0 && most > 0 && (size_t)(items->next - begin) < bytes; most--) {
        (void)next_item(items);
    }
    return items->left > 0;
}

bool kv_items_are_list(struct kv_bytes term)
{
    struct kv_items items;
    if (!kv_items_open_list(term, &items)) {
        return false;
    }
    while (kv_items_skip(&items, UINT32_MAX, SIZE_MAX)) {
    }
    return kv_items_end_properly(&items);
}

/* ---- entries: a list of pairs, or a map ----------------------------------------------------- */

/* Returns the first element of a pair, or NULL if the term is no pair. Reads the byte behind the
 * tag only if the tag is one of a tuple, since other terms may be one byte long. */
static inline const uint8_t *into_pair(const uint8_t *element)
{
    if (element[0] == KV_TAG_SMALL_TUPLE) {
        return element[1] == 2 ? element + KV_STRIDE_PAIR : NULL;
    }
    bool is_pair = element[0] == KV_TAG_LARGE_TUPLE && kv_get32(element + 1) == 2;
    return is_pair ? element + KV_LONG_HEADER : NULL;
}

/* Takes the next entry of a list or map whose elements have been checked. */
static inline void next_entry(struct kv_items *items, struct kv_bytes *key, struct kv_bytes *value)
{
    const struct kv_stride *stride = &items->stride;
    const uint8_t *pair = items->next;
    items->left--;
    if (kv_stride_fits(stride, pair, items->end)) {
        *key = kv_bytes(pair + KV_STRIDE_PAIR, stride->value_at - KV_STRIDE_PAIR);
        *value = kv_bytes(pair + stride->value_at, stride->size - stride->value_at);
        items->next += stride->size;
        return;
    }
    if (!items->map) {
        items->next = into_pair(pair);
    }
    *key = next_term(items);
    *value = next_term(items);
    if (!items->map) {
        kv_stride_take(&items->stride, pair, items->next, items->end);
    }
}

bool kv_items_skip_pairs(struct kv_items *items, unsigned most, size_t bytes)
{
    const uint8_t *begin = items->next;
    const uint8_t *next = begin;
    for (; items->left > 0 && most > 0 && (size_t)(next - begin) < bytes; most--, items->left--) {
        const uint8_t *pair = next;
        if (kv_stride_fits(&items->stride, pair, items->end)) {
            next += items->stride.size;
            continue;
        }
        next = into_pair(pair);
        if (next == NULL) {
            return false;
        }
        next += kv_term_size(next);
        next += kv_term_size(next);
        kv_stride_take(&items->stride, pair, next, items->end);
    }
    items->next = next;
    return true;
}

bool kv_items_are_entries(struct kv_bytes term)
{
    struct kv_items items;
    return term.data[0] == KV_TAG_MAP ||
           (kv_items_open_list(term, &items) && (!items.string || items.left == 0) &&
            kv_items_skip_pairs(&items, UINT32_MAX, SIZE_MAX) && kv_items_end_properly(&items));
}

void kv_items_open_entries(struct kv_bytes entries, struct kv_items *items)
{
    struct kv_reader reader = kv_reader(entries);
    if (kv_read_map(&reader, &items->left) != KV_OK) {
        (void)kv_items_open_list(entries, items);
        return;
    }
    items->next = entries.data + reader.offset;
    items->end = entries.data + entries.length;
    items->string = false;
    items->map = true;
    items->stride = (struct kv_stride){0};
}

/* ---- batches -----------------------------------------------------------------------------------
 */

static inline void begin_batch(const struct kv_items *items, struct kv_batch *batch)
{
    batch->count = items->left < KV_BATCH ? items->left : KV_BATCH;
    batch->wanted = 0;
}

static inline void add_key(struct kv_batch *batch, unsigned i, struct kv_bytes key)
{
    batch->keys[i] = key;
    batch->found[i] = NULL;
    if (kv_term_is_canonical(key)) {
        struct kv_lookup *want = &batch->wants[batch->wanted++];
        want->key = kv_item_of_key(key);
        batch->found[i] = want;
    }
}

bool kv_items_next_keys(struct kv_table *table, struct kv_items *items, struct kv_batch *batch)
{
    begin_batch(items, batch);
    for (unsigned i = 0; i < batch->count; i++) {
        struct kv_bytes key = next_item(items);
        if (items->string) {
            memcpy(batch->elements[i], key.data, sizeof batch->elements[i]);
            key.data = batch->elements[i];
        }
        add_key(batch, i, key);
    }
    kv_table_look_ahead(table, batch->wants, batch->wanted);
    return batch->count > 0;
}

bool kv_items_next_entries(struct kv_table *table, struct kv_items *items, struct kv_batch *batch)
{
    begin_batch(items, batch);
    const uint8_t *begin = items->next;
    for (unsigned i = 0; i < batch->count; i++) {
        struct kv_bytes key;
        next_entry(items, &key, &batch->values[i]);
        add_key(batch, i, key);
        if (items->next - begin > KV_PIECE_BYTES) {
            batch->count = i + 1;
        }
    }
    kv_table_look_ahead(table, batch->wants, batch->wanted);
    return batch->count > 0;
}
