#include "store/saved.h"

#include "base/alloc.h"

#include <string.h>

enum {
    SLOTS_FIRST = 8,
    FULL_SHARE = 4,        /* of a part's slots, this part is always free */
    CHUNK_SIZE = 32 << 10, /* for entries; a larger entry has a chunk of its own */
    HASH_BITS = 64,
};

void kv_saved_init(struct kv_saved *saved, struct kv_arena *arena)
{
    memset(saved, 0, sizeof *saved);
    saved->arena = arena;
    kv_list_init(&saved->entries);
}

/* ---- the set -----------------------------------------------------------------------------------
 */

static unsigned part_of(uint64_t hash)
{
    return (unsigned)(hash >> (HASH_BITS - KV_SAVED_PARTS_LOG2));
}

/* The slot of a hash, or the free one where it would be. */
static uint64_t *slot_of(const struct kv_saved_part *part, uint64_t hash)
{
    const uint32_t mask = part->slot_count - 1;
    uint32_t at = (uint32_t)hash & mask;
    while (part->slots[at] != 0 && part->slots[at] != hash) {
        at = (at + 1) & mask;
    }
    return &part->slots[at];
}

bool kv_saved_has(const struct kv_saved *saved, uint64_t hash)
{
    const struct kv_saved_part *part = &saved->parts[part_of(hash)];
    if (hash == 0) {
        return saved->zero;
    }
    return part->slots != NULL && *slot_of(part, hash) != 0;
}

static void grow(struct kv_saved *saved, struct kv_saved_part *part)
{
    const struct kv_saved_part old = *part;
    part->slot_count = old.slots == NULL ? SLOTS_FIRST : 2 * old.slot_count;
    part->slots = kv_zalloc(part->slot_count * sizeof *part->slots);
    for (uint32_t i = 0; old.slots != NULL && i < old.slot_count; i++) {
        if (old.slots[i] != 0) {
            *slot_of(part, old.slots[i]) = old.slots[i];
        }
    }
    kv_free(old.slots);
    saved->bytes += (uint64_t)(part->slot_count - (old.slots == NULL ? 0 : old.slot_count)) *
                    sizeof *part->slots;
}

void kv_saved_add(struct kv_saved *saved, uint64_t hash)
{
    struct kv_saved_part *part = &saved->parts[part_of(hash)];
    if (hash == 0) {
        saved->zero = true;
        return;
    }
    if (part->slots == NULL || part->used >= part->slot_count - part->slot_count / FULL_SHARE) {
        grow(saved, part);
    }
    *slot_of(part, hash) = hash;
    part->used++;
}

static void give_back(struct kv_saved *saved, unsigned to)
{
    for (; saved->first_part < to; saved->first_part++) {
        struct kv_saved_part *part = &saved->parts[saved->first_part];
        saved->bytes -= (uint64_t)part->slot_count * sizeof *part->slots;
        kv_free(part->slots);
        *part = (struct kv_saved_part){0};
    }
}

void kv_saved_forget(struct kv_saved *saved, uint64_t hash)
{
    give_back(saved, part_of(hash));
}

/* ---- the queue ---------------------------------------------------------------------------------
 */

/* Precedes the bytes of an entry in a chunk. */
struct record {
    struct kv_item key, value; /* of a pinned entry: in the arena */
    uint64_t expiry;
    size_t size;     /* in the chunk, with this */
    uint64_t pinned; /* bytes; 0: the bytes of key and value follow */
};

struct chunk {
    struct kv_list link;
    size_t size, used, taken;
    _Alignas(struct record) uint8_t bytes[];
};

static bool is_pinned(const struct kv_entry *entry)
{
    return entry->size > KV_ENTRY_SMALL_MAX;
}

static size_t size_of(const struct kv_entry *entry)
{
    const size_t bytes = is_pinned(entry) ? 0 : entry->key.length + entry->value.length;
    return kv_round_up(sizeof(struct record) + bytes, _Alignof(struct record));
}

uint64_t kv_saved_cost(const struct kv_entry *entry)
{
    return size_of(entry) + (is_pinned(entry) ? entry->size : 0);
}

static struct chunk *chunk_for(struct kv_saved *saved, size_t size)
{
    struct chunk *last = KV_LIST_OF(saved->entries.previous, struct chunk, link);
    if (!kv_list_is_empty(&saved->entries) && last->size - last->used >= size) {
        return last;
    }
    struct chunk *chunk = kv_try_realloc(NULL, sizeof *chunk + CHUNK_SIZE);
    if (chunk != NULL) {
        chunk->size = CHUNK_SIZE;
        chunk->used = chunk->taken = 0;
        kv_list_append(&saved->entries, &chunk->link);
        saved->bytes += sizeof *chunk + CHUNK_SIZE;
    }
    return chunk;
}

static struct kv_item copy(uint8_t *to, struct kv_bytes bytes, uint8_t form)
{
    if (bytes.length > 0) {
        memcpy(to, bytes.data, bytes.length);
    }
    return (struct kv_item){.bytes = kv_bytes(to, bytes.length), .form = form};
}

bool kv_saved_append(struct kv_saved *saved, const struct kv_entry *entry)
{
    const size_t size = size_of(entry);
    struct chunk *chunk = chunk_for(saved, size);
    if (chunk == NULL) {
        return false;
    }
    struct record *record = (struct record *)(void *)(chunk->bytes + chunk->used);
    uint8_t *bytes = (uint8_t *)(record + 1);
    record->size = size;
    record->expiry = (entry->flags & KV_ENTRY_EXPIRES) != 0 ? entry->expiry : KV_NEVER;
    record->pinned = is_pinned(entry) ? entry->size : 0;
    if (record->pinned > 0) {
        (void)kv_arena_pin(saved->arena, entry->key.data); /* an entry of this size has a run */
        record->key = (struct kv_item){.bytes = entry->key, .form = kv_entry_key_form(entry)};
        record->value = (struct kv_item){.bytes = entry->value, .form = kv_entry_value_form(entry)};
        saved->bytes += entry->size;
        saved->pinned += entry->size;
    } else {
        record->key = copy(bytes, entry->key, kv_entry_key_form(entry));
        record->value = copy(bytes + entry->key.length, entry->value, kv_entry_value_form(entry));
    }
    chunk->used += size;
    return true;
}

static struct chunk *first_chunk(const struct kv_saved *saved)
{
    return kv_list_is_empty(&saved->entries) ? NULL
                                             : KV_LIST_OF(saved->entries.next, struct chunk, link);
}

static struct record *first_record(struct chunk *chunk)
{
    return (struct record *)(void *)(chunk->bytes + chunk->taken);
}

bool kv_saved_first(const struct kv_saved *saved, struct kv_table_entry *entry)
{
    struct chunk *chunk = first_chunk(saved);
    if (chunk == NULL) {
        return false;
    }
    const struct record *record = first_record(chunk);
    *entry = (struct kv_table_entry){
        .key = record->key, .value = record->value, .expiry = record->expiry};
    return true;
}

/* A chunk without entries does not stay. */
void kv_saved_remove(struct kv_saved *saved)
{
    struct chunk *chunk = first_chunk(saved);
    const struct record *record = first_record(chunk);
    if (record->pinned > 0) {
        saved->bytes -= record->pinned;
        saved->pinned -= record->pinned;
        kv_arena_unpin(saved->arena, record->key.bytes.data);
    }
    chunk->taken += record->size;
    if (chunk->taken == chunk->used) {
        saved->bytes -= sizeof *chunk + chunk->size;
        kv_list_remove(&chunk->link);
        kv_free(chunk);
    }
}

void kv_saved_free(struct kv_saved *saved)
{
    while (first_chunk(saved) != NULL) {
        kv_saved_remove(saved);
    }
    give_back(saved, KV_SAVED_PARTS);
    saved->zero = false;
}
