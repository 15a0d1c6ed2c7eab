/* Short runs of bytes, eight at a time, for names, atoms and keys: calling memcmp() or memcpy()
 * costs more than the work itself. The last eight bytes may overlap the eight before. */
#ifndef KV_BASE_WORD_H
#define KV_BASE_WORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Loads a word from any address, in the byte order of the machine. */
static inline uint64_t kv_load64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

static inline uint32_t kv_load32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

enum { KV_SAME_INLINE_MAX = 32 }; /* bytes; memcmp() compares more */

/* Returns true if the bytes at a and b are equal. O(length), and O(1) if a == b. Neither pointer
 * may be NULL unless length is 0. */
static inline bool kv_same(const uint8_t *a, const uint8_t *b, size_t length)
{
    if (a == b) {
        return true;
    }
    if (length >= 8) {
        if (length > KV_SAME_INLINE_MAX) {
            return memcmp(a, b, length) == 0;
        }
        size_t last = length - 8;
        uint64_t differ =
            (kv_load64(a) ^ kv_load64(b)) | (kv_load64(a + last) ^ kv_load64(b + last));
        if (length > 16) { /* the second word from either end */
            differ |= (kv_load64(a + 8) ^ kv_load64(b + 8)) |
                      (kv_load64(a + last - 8) ^ kv_load64(b + last - 8));
        }
        return differ == 0;
    }
    if (length >= 4) {
        return ((kv_load32(a) ^ kv_load32(b)) |
                (kv_load32(a + length - 4) ^ kv_load32(b + length - 4))) == 0;
    }
    if (length > 0) { /* the first, the middle and the last are all of one to three */
        size_t middle = length / 2;
        size_t last = length - 1;
        return ((a[0] ^ b[0]) | (a[middle] ^ b[middle]) | (a[last] ^ b[last])) == 0;
    }
    return true;
}

/* As memcpy(): the two runs must not overlap. */
static inline void kv_copy(uint8_t *to, const uint8_t *from, size_t length)
{
    if (length >= 16) {
        size_t last = length - 16;
        for (size_t i = 0; i < last; i += 16) {
            memcpy(to + i, from + i, 16);
        }
        memcpy(to + last, from + last, 16);
    } else if (length >= 8) {
        memcpy(to, from, 8);
        memcpy(to + length - 8, from + length - 8, 8);
    } else if (length >= 4) {
        memcpy(to, from, 4);
        memcpy(to + length - 4, from + length - 4, 4);
    } else if (length > 0) {
        size_t middle = length / 2;
        size_t last = length - 1;
        to[0] = from[0];
        to[middle] = from[middle];
        to[last] = from[last];
    }
}

/* As kv_copy() for the few bytes that most things have; memcpy() for more. */
static inline void kv_copy_any(uint8_t *to, const uint8_t *from, size_t length)
{
    enum { FEW = 64 };
    if (length <= FEW) {
        kv_copy(to, from, length);
    } else {
        memcpy(to, from, length);
    }
}

/* Returns true if no byte of the text is above 0x7F. */
static inline bool kv_is_ascii(const uint8_t *text, size_t length)
{
    uint64_t all = 0;
    if (length >= 8) {
        size_t last = length - 8;
        all = kv_load64(text + last);
        for (size_t i = 0; i < last; i += 8) {
            all |= kv_load64(text + i);
        }
    } else if (length >= 4) {
        all = kv_load32(text) | kv_load32(text + length - 4);
    } else if (length > 0) {
        all = text[0] | text[length / 2] | text[length - 1];
    }
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

#endif
