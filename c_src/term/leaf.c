#include "term/leaf.h"

#include "base/endian.h"
#include "term/token.h"

#include <ei.h>

enum { BIG_DIGITS_SMALL_MAX = 255, USUAL_REF_WORDS = 3 };

/* ---- atoms ----------------------------------------------------------------------------------- */

static size_t utf8_length(struct kv_bytes latin1)
{
    size_t length = latin1.length;
    for (size_t i = 0; i < latin1.length; i++) {
        length += latin1.data[i] >> 7;
    }
    return length;
}

static void append_as_utf8(struct kv_buffer *to, struct kv_bytes latin1)
{
    for (size_t i = 0; i < latin1.length; i++) {
        uint8_t character = latin1.data[i];
        if (character >= 0x80) {
            kv_buffer_u8(to, (uint8_t)(0xC0 | (character >> 6)));
            character = (uint8_t)(0x80 | (character & 0x3F));
        }
        kv_buffer_u8(to, character);
    }
}

/* Appends the atom at `term` and returns its size there. */
static size_t atom(const uint8_t *term, struct kv_buffer *to)
{
    bool latin1;
    struct kv_bytes text = kv_atom_text(term, &latin1);
    size_t length = latin1 ? utf8_length(text) : text.length;
    if (length <= UINT8_MAX) {
        kv_buffer_u8(to, KV_TAG_SMALL_ATOM_UTF8);
        kv_buffer_u8(to, (uint8_t)length);
    } else {
        kv_buffer_u8(to, KV_TAG_ATOM_UTF8);
        kv_buffer_u16(to, (uint16_t)length);
    }
    if (latin1) {
        append_as_utf8(to, text);
    } else {
        kv_buffer_append(to, text);
    }
    return (size_t)(text.data - term) + text.length;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void integer(int32_t value, struct kv_buffer *to)
{
    if (value >= 0 && value <= UINT8_MAX) {
        kv_buffer_u8(to, KV_TAG_SMALL_INTEGER);
        kv_buffer_u8(to, (uint8_t)value);
        return;
    }
    kv_buffer_u8(to, KV_TAG_INTEGER);
    kv_buffer_u32(to, (uint32_t)value);
}

/* digits: little-endian. The last one is not zero. */
static bool fits_integer(struct kv_bytes digits, bool negative, int32_t *value)
{
    if (digits.length > 4) {
        return false;
    }
    int64_t magnitude = 0;
    for (size_t i = 0; i < digits.length; i++) {
        magnitude |= (int64_t)digits.data[i] << (8 * i);
    }
    int64_t wide = negative ? -magnitude : magnitude;
    *value = (int32_t)wide;
    return wide >= INT32_MIN && wide <= INT32_MAX;
}

static void big(const uint8_t *term, struct kv_buffer *to)
{
    bool small = term[0] == KV_TAG_SMALL_BIG;
    size_t header = small ? 3 : 6;
    bool negative = term[header - 1] != 0;
    struct kv_bytes digits = kv_bytes(term + header, small ? term[1] : kv_get32(term + 1));
    while (digits.length > 0 && digits.data[digits.length - 1] == 0) {
        digits.length--;
    }
    int32_t value;
    if (fits_integer(digits, negative, &value)) {
        integer(value, to);
        return;
    }
    if (digits.length <= BIG_DIGITS_SMALL_MAX) {
        kv_buffer_u8(to, KV_TAG_SMALL_BIG);
        kv_buffer_u8(to, (uint8_t)digits.length);
    } else {
        kv_buffer_u8(to, KV_TAG_LARGE_BIG);
        kv_buffer_u32(to, (uint32_t)digits.length);
    }
    kv_buffer_u8(to, negative ? 1 : 0);
    kv_buffer_append(to, digits);
}

static void floating(const uint8_t *term, enum kv_zeros zeros, struct kv_buffer *to)
{
    double value = 0.0;
    int read = 0;
    (void)ei_decode_double((const char *)term, &read, &value);
    if (zeros == KV_ZEROS_SAME && value == 0.0) {
        value = 0.0;
    }
    int written = 0;
    (void)ei_encode_double((char *)kv_buffer_reserve(to, 9), &written, value);
    to->length += (size_t)written;
}

/* ---- bit strings and strings ----------------------------------------------------------------- */

/* A bit string of whole bytes becomes a binary. In any other, unused bits become zero. */
static void bits(const uint8_t *term, struct kv_buffer *to)
{
    struct kv_bytes bytes = kv_bytes(term + KV_LONG_HEADER + 1, kv_get32(term + 1));
    uint8_t used = term[KV_LONG_HEADER];
    if (used == 8 || bytes.length == 0) {
        kv_write_binary(to, bytes);
        return;
    }
    kv_buffer_append(to, kv_bytes(term, KV_LONG_HEADER + 1 + bytes.length));
    to->data[to->length - 1] &= (uint8_t)(0xFF << (8 - used));
}

/* ---- identifiers ----------------------------------------------------------------------------- */

/* Writes the last `size` bytes of an identifier with a creation of 4 bytes; old forms have 1 byte.
 */
static void creation(const uint8_t *from, bool old, struct kv_buffer *to)
{
    kv_buffer_u32(to, old ? *from : kv_get32(from));
}

static void pid(const uint8_t *term, struct kv_buffer *to)
{
    kv_buffer_u8(to, KV_TAG_NEW_PID);
    const uint8_t *rest = term + 1 + atom(term + 1, to);
    kv_buffer_append(to, kv_bytes(rest, 8));
    creation(rest + 8, term[0] == KV_TAG_PID, to);
}

static void port(const uint8_t *term, struct kv_buffer *to)
{
    kv_buffer_u8(to, KV_TAG_V4_PORT);
    const uint8_t *rest = term + 1 + atom(term + 1, to);
    if (term[0] == KV_TAG_V4_PORT) {
        kv_buffer_append(to, kv_bytes(rest, 12));
        return;
    }
    kv_buffer_u64(to, kv_get32(rest));
    creation(rest + 4, term[0] == KV_TAG_PORT, to);
}

/* Pads to three words, the number that a BEAM gives every reference (ERTS_REF_NUMBERS). Keeps
 * further words, though =:= ignores zero words at the end (OTP: utils.c, eq(), external
 * references): since OTP 26 a BEAM recognizes its own reference only with all of its words, and
 * always sends them all.
 */
static void words(const uint8_t *from, size_t count, struct kv_buffer *to)
{
    size_t present = count < USUAL_REF_WORDS ? count : USUAL_REF_WORDS;
    kv_buffer_append(to, kv_bytes(from, 4 * present));
    for (size_t i = present; i < USUAL_REF_WORDS; i++) {
        kv_buffer_u32(to, 0);
    }
    kv_buffer_append(to, kv_bytes(from + 4 * present, 4 * (count - present)));
}

static void reference(const uint8_t *term, struct kv_buffer *to)
{
    bool old = term[0] == KV_TAG_NEW_REFERENCE;
    const uint8_t *node = term + 3;
    const uint8_t *rest = node + kv_atom_size(node);
    const uint8_t *first = rest + (old ? 1 : 4);
    size_t count = kv_get16(term + 1);
    kv_buffer_u8(to, KV_TAG_NEWER_REFERENCE);
    kv_buffer_u16(to, (uint16_t)(count > USUAL_REF_WORDS ? count : USUAL_REF_WORDS));
    (void)atom(node, to);
    creation(rest, old, to);
    words(first, count, to);
}

static void old_reference(const uint8_t *term, struct kv_buffer *to)
{
    kv_buffer_u8(to, KV_TAG_NEWER_REFERENCE);
    kv_buffer_u16(to, USUAL_REF_WORDS);
    const uint8_t *rest = term + 1 + atom(term + 1, to);
    creation(rest + 4, true, to);
    words(rest, 1, to);
}

/* ---- all together ---------------------------------------------------------------------------- */

static void export_of(const uint8_t *term, struct kv_buffer *to)
{
    kv_buffer_u8(to, KV_TAG_EXPORT);
    const uint8_t *function = term + 1 + atom(term + 1, to);
    const uint8_t *arity = function + atom(function, to);
    kv_leaf_canonical(arity, kv_integer_size(arity), KV_ZEROS_DIFFER, to);
}

void kv_leaf_canonical(const uint8_t *term, size_t size, enum kv_zeros zeros, struct kv_buffer *to)
{
    switch (term[0]) {
    case KV_TAG_INTEGER:
        integer((int32_t)kv_get32(term + 1), to);
        return;
    case KV_TAG_SMALL_BIG:
    case KV_TAG_LARGE_BIG:
        big(term, to);
        return;
    case KV_TAG_NEW_FLOAT:
    case KV_TAG_FLOAT:
        floating(term, zeros, to);
        return;
    case KV_TAG_ATOM:
    case KV_TAG_SMALL_ATOM:
    case KV_TAG_ATOM_UTF8:
    case KV_TAG_SMALL_ATOM_UTF8:
        (void)atom(term, to);
        return;
    case KV_TAG_BIT_BINARY:
        bits(term, to);
        return;
    case KV_TAG_NEW_PID:
    case KV_TAG_PID:
        pid(term, to);
        return;
    case KV_TAG_V4_PORT:
    case KV_TAG_NEW_PORT:
    case KV_TAG_PORT:
        port(term, to);
        return;
    case KV_TAG_NEWER_REFERENCE:
    case KV_TAG_NEW_REFERENCE:
        reference(term, to);
        return;
    case KV_TAG_REFERENCE:
        old_reference(term, to);
        return;
    case KV_TAG_EXPORT:
        export_of(term, to);
        return;
    case KV_TAG_STRING:
        if (kv_get16(term + 1) == 0) {
            kv_write_nil(to);
            return;
        }
        break;
    case KV_TAG_LARGE_TUPLE: /* only the one of arity 0 has no children */
        kv_write_tuple(to, 0);
        return;
    default: /* has only one encoding */
        break;
    }
    kv_buffer_append(to, kv_bytes(term, size));
}
