/* The bytes of an entry: flags, lengths, key and value, as docs/store-format.md has them. */
#ifndef KV_STORE_ENTRY_H
#define KV_STORE_ENTRY_H

#include "base/word.h"
#include "store/layout.h"

#include <kv/bytes.h>

enum { KV_ENTRY_ALIGNMENT = 8 };

struct kv_entry {
    uint8_t flags;
    uint64_t size; /* rounded: the bytes it takes in the arena */
    uint64_t expiry;
    uint8_t *use; /* its time of use, or NULL */
    struct kv_bytes key, value;
};

static inline uint8_t kv_entry_key_form(const struct kv_entry *entry)
{
    return entry->flags & KV_ENTRY_KEY_FORM;
}

static inline uint8_t kv_entry_value_form(const struct kv_entry *entry)
{
    return (entry->flags >> KV_ENTRY_VALUE_FORM_SHIFT) & KV_ENTRY_KEY_FORM;
}

static inline bool kv_entry_has_expired(const struct kv_entry *entry, uint64_t now)
{
    return (entry->flags & KV_ENTRY_EXPIRES) != 0 && entry->expiry <= now;
}

/* The first three bytes of an entry, the first one lowest. If (head & KV_HEAD_LONG) == 0, these are
 * the flags and both lengths, and the key follows. At least 8 bytes are readable. */
#define KV_HEAD_LONG UINT32_C(0x808030)
enum { KV_HEAD_SIZE = 3, KV_HEAD_KEY_SHIFT = 8, KV_HEAD_VALUE_SHIFT = 16, KV_HEAD_LENGTH = 0x7F };

static inline uint32_t kv_entry_head(const uint8_t *start)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return kv_load32(start) & UINT32_C(0xFFFFFF);
#endif
    return start[0] | ((uint32_t)start[1] << KV_HEAD_KEY_SHIFT) |
           ((uint32_t)start[2] << KV_HEAD_VALUE_SHIFT);
}

static inline uint64_t kv_round_up(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* Reads an entry with a length of more than a byte, an expiry or a time of use. */
void kv_entry_read_long(uint8_t *start, struct kv_entry *entry);

/* Reads an entry that this process has written. Key, value and use point into the entry. */
static inline void kv_entry_read(uint8_t *start, struct kv_entry *entry)
{
    uint32_t head = kv_entry_head(start);
    if ((head & KV_HEAD_LONG) != 0) {
        kv_entry_read_long(start, entry);
        return;
    }
    size_t key = head >> KV_HEAD_KEY_SHIFT & KV_HEAD_LENGTH;
    size_t value = head >> KV_HEAD_VALUE_SHIFT;
    entry->flags = (uint8_t)head;
    entry->expiry = 0;
    entry->use = NULL;
    entry->key = kv_bytes(start + KV_HEAD_SIZE, key);
    entry->value = kv_bytes(start + KV_HEAD_SIZE + key, value);
    entry->size = kv_round_up(KV_HEAD_SIZE + key + value, KV_ENTRY_ALIGNMENT);
}

/* Sets the size of an entry from its flags, key and value. */
void kv_entry_measure(struct kv_entry *entry);

/* Writes an entry, with `use` as its time of use if its flags say that it has one. */
void kv_entry_write(uint8_t *at, const struct kv_entry *entry, uint32_t use);

/* Overwrites expiry, use and value of the entry at `start`. `old` was read there, and has the same
 * flags, key and length of value as `entry`. */
void kv_entry_write_value(uint8_t *start, const struct kv_entry *old, const struct kv_entry *entry,
                          uint32_t use);

/* Overwrites only the expiry of an entry that was read at `start` and has one. */
void kv_entry_write_expiry(uint8_t *start, const struct kv_entry *entry, uint64_t expiry);

#endif
