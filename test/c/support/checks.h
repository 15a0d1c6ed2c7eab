/* Helpers for the tests of wire/ and term/: bytes from hex, and copies that end where their memory
 * ends, so that AddressSanitizer reports a read past the end. */
#ifndef KV_TEST_CHECKS_H
#define KV_TEST_CHECKS_H

#include "wire/fragments.h"

#include <kv/buffer.h>

#include <ctype.h>
#include <stdlib.h>

static inline uint8_t hex_digit(char c)
{
    return (uint8_t)(isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10);
}

/* Appends the bytes given in hex. Characters that are no hex digits separate bytes. */
static inline void append_hex(struct kv_buffer *to, const char *text)
{
    while (*text != '\0') {
        if (!isxdigit((unsigned char)*text)) {
            text++;
            continue;
        }
        kv_buffer_u8(to, (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1])));
        text += 2;
    }
}

static inline struct kv_buffer from_hex(const char *text)
{
    struct kv_buffer buffer = KV_BUFFER_INIT;
    append_hex(&buffer, text);
    return buffer;
}

/* A copy on the heap, of exactly that size. Free it with free_copy(). */
static inline struct kv_bytes exact_copy(struct kv_bytes bytes)
{
    uint8_t *copy = malloc(bytes.length > 0 ? bytes.length : 1);
    if (copy == NULL) {
        abort();
    }
    if (bytes.length > 0) {
        memcpy(copy, bytes.data, bytes.length);
    }
    return kv_bytes(copy, bytes.length);
}

static inline void free_copy(struct kv_bytes copy)
{
    free((void *)(uintptr_t)copy.data);
}

/* Takes a frame. Also returns the reason if the message that it completes is refused. */
static inline int take_fragment(struct kv_fragments *fragments, struct kv_bytes frame,
                                struct kv_bytes *whole)
{
    struct kv_arrived message = {.bytes = {NULL, 0}};
    int error = kv_fragments_take(fragments, frame, frame.length, &message);
    *whole = message.bytes;
    return error == KV_OK ? message.error : error;
}

#endif
