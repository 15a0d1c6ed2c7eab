#include "store/entry.h"

#include "store/seqlock.h"

#include <string.h>

static inline unsigned length_size(uint64_t length)
{
    unsigned size = 1;
    while (length >= 0x80) {
        length >>= 7;
        size++;
    }
    return size;
}

void kv_entry_measure(struct kv_entry *entry)
{
    uint64_t size = 1 + length_size(entry->key.length) + length_size(entry->value.length) +
                    entry->key.length + entry->value.length;
    size += (entry->flags & KV_ENTRY_EXPIRES) != 0 ? KV_ENTRY_EXPIRY_SIZE : 0;
    size += (entry->flags & KV_ENTRY_HAS_USE) != 0 ? KV_ENTRY_USE_SIZE : 0;
    entry->size = kv_round_up(size, KV_ENTRY_ALIGNMENT);
}

static uint8_t *write_length(uint8_t *at, uint64_t length)
{
    while (length >= 0x80) {
        *at++ = (uint8_t)(length | 0x80);
        length >>= 7;
    }
    *at++ = (uint8_t)length;
    return at;
}

static uint8_t *write_number(uint8_t *at, uint64_t number, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        *at++ = (uint8_t)(number >> (8 * i));
    }
    return at;
}

static inline uint8_t *write_bytes(uint8_t *at, struct kv_bytes bytes)
{
    kv_copy_any(at, bytes.data, bytes.length);
    return at + bytes.length;
}

void kv_entry_write(uint8_t *at, const struct kv_entry *entry, uint32_t use)
{
    kv_races_begin();
    *at++ = entry->flags;
    at = write_length(at, entry->key.length);
    at = write_length(at, entry->value.length);
    if ((entry->flags & KV_ENTRY_EXPIRES) != 0) {
        at = write_number(at, entry->expiry, KV_ENTRY_EXPIRY_SIZE);
    }
    if ((entry->flags & KV_ENTRY_HAS_USE) != 0) {
        at = write_number(at, use, KV_ENTRY_USE_SIZE);
    }
    at = write_bytes(at, entry->key);
    (void)write_bytes(at, entry->value);
    kv_races_end();
}

void kv_entry_write_value(uint8_t *start, const struct kv_entry *old, const struct kv_entry *entry,
                          uint32_t use)
{
    uint8_t *at = start + (old->key.data - start);
    kv_races_begin();
    if ((entry->flags & KV_ENTRY_HAS_USE) != 0) {
        at -= KV_ENTRY_USE_SIZE;
        (void)write_number(at, use, KV_ENTRY_USE_SIZE);
    }
    if ((entry->flags & KV_ENTRY_EXPIRES) != 0) {
        at -= KV_ENTRY_EXPIRY_SIZE;
        (void)write_number(at, entry->expiry, KV_ENTRY_EXPIRY_SIZE);
    }
    (void)write_bytes(start + (old->value.data - start), entry->value);
    kv_races_end();
}

void kv_entry_write_expiry(uint8_t *start, const struct kv_entry *entry, uint64_t expiry)
{
    uint8_t *at = start + (entry->key.data - start) - KV_ENTRY_EXPIRY_SIZE;
    at -= (entry->flags & KV_ENTRY_HAS_USE) != 0 ? KV_ENTRY_USE_SIZE : 0;
    kv_races_begin();
    (void)write_number(at, expiry, KV_ENTRY_EXPIRY_SIZE);
    kv_races_end();
}

static uint64_t read_length(const uint8_t **at)
{
    uint64_t length = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = *(*at)++;
        length |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte >= 0x80);
    return length;
}

void kv_entry_read_long(uint8_t *start, struct kv_entry *entry)
{
    const uint8_t *at = start;
    entry->flags = *at++;
    entry->key.length = read_length(&at);
    entry->value.length = read_length(&at);
    entry->expiry = 0;
    entry->use = NULL;
    if ((entry->flags & KV_ENTRY_EXPIRES) != 0) {
        for (unsigned i = 0; i < KV_ENTRY_EXPIRY_SIZE; i++) {
            entry->expiry |= (uint64_t)*at++ << (8 * i);
        }
    }
    if ((entry->flags & KV_ENTRY_HAS_USE) != 0) {
        entry->use = start + (at - start);
        at += KV_ENTRY_USE_SIZE;
    }
    entry->key.data = at;
    entry->value.data = at + entry->key.length;
    entry->size = kv_round_up((uint64_t)(entry->value.data - start) + entry->value.length,
                              KV_ENTRY_ALIGNMENT);
}
