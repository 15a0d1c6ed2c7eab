#include "kv/number.h"

#include "base/endian.h"

#include <kv/buffer.h>
#include <kv/error.h>

#include <string.h>

enum { BYTES = KV_NUMBER_BITS / 8, LIMB_BYTES = 8, HEADER_MAX = 6 };

void kv_number_set(struct kv_number *number, int64_t value)
{
    number->is_small = true;
    number->small = value;
}

/* ---- limbs -------------------------------------------------------------------------------------
 */

struct wide {
    uint64_t limbs[KV_NUMBER_LIMBS];
};

static struct wide widen(const struct kv_number *number)
{
    struct wide wide;
    if (!number->is_small) {
        memcpy(wide.limbs, number->limbs, sizeof wide.limbs);
        return wide;
    }
    memset(wide.limbs, number->small < 0 ? 0xFF : 0, sizeof wide.limbs);
    wide.limbs[0] = (uint64_t)number->small;
    return wide;
}

static bool is_negative(const struct wide *wide)
{
    return wide->limbs[KV_NUMBER_LIMBS - 1] >> 63 != 0;
}

/* a + b + carry, or a + ~b + carry. */
static struct wide add(const struct wide *a, const struct wide *b, bool invert, bool carry)
{
    struct wide sum;
    for (unsigned i = 0; i < KV_NUMBER_LIMBS; i++) {
        const uint64_t other = invert ? ~b->limbs[i] : b->limbs[i];
        const uint64_t half = a->limbs[i] + other;
        sum.limbs[i] = half + carry;
        carry = half < other || sum.limbs[i] < half;
    }
    return sum;
}

static struct wide negate(const struct wide *wide)
{
    const struct wide zero = {{0}};
    return add(&zero, wide, true, true);
}

/* Sets the number, small if it can be. Returns KV_ERANGE if there are too many bits. */
static int narrow(const struct wide *wide, struct kv_number *number)
{
    const struct wide positive = is_negative(wide) ? negate(wide) : *wide;
    bool small = true;
    for (unsigned i = 1; i < KV_NUMBER_LIMBS; i++) {
        small = small && wide->limbs[i] == (wide->limbs[0] >> 63 != 0 ? UINT64_MAX : 0);
    }
    number->is_small = small;
    number->small = (int64_t)wide->limbs[0];
    memcpy(number->limbs, wide->limbs, sizeof number->limbs);
    return positive.limbs[KV_NUMBER_LIMBS - 1] == 0 ? KV_OK : KV_ERANGE;
}

/* ---- arithmetic --------------------------------------------------------------------------------
 */

int kv_number_add(const struct kv_number *a, const struct kv_number *b, struct kv_number *sum)
{
    if (a->is_small && b->is_small && !__builtin_add_overflow(a->small, b->small, &sum->small)) {
        sum->is_small = true;
        return KV_OK;
    }
    const struct wide first = widen(a);
    const struct wide second = widen(b);
    const struct wide result = add(&first, &second, false, false);
    return narrow(&result, sum);
}

int kv_number_subtract(const struct kv_number *a, const struct kv_number *b, struct kv_number *sum)
{
    if (a->is_small && b->is_small && !__builtin_sub_overflow(a->small, b->small, &sum->small)) {
        sum->is_small = true;
        return KV_OK;
    }
    const struct wide first = widen(a);
    const struct wide second = widen(b);
    const struct wide result = add(&first, &second, true, true);
    return narrow(&result, sum);
}

bool kv_number_less(const struct kv_number *a, const struct kv_number *b)
{
    if (a->is_small && b->is_small) {
        return a->small < b->small;
    }
    const struct wide first = widen(a);
    const struct wide second = widen(b);
    const struct wide difference = add(&first, &second, true, true);
    return is_negative(&difference);
}

/* ---- terms -------------------------------------------------------------------------------------
 */

/* The magnitude of a big integer, which has leading zeros perhaps. */
static int read_magnitude(const uint8_t *bytes, size_t length, bool negative,
                          struct kv_number *number)
{
    struct wide wide = {{0}};
    while (length > 0 && bytes[length - 1] == 0) {
        length--;
    }
    if (length > BYTES) {
        return KV_ERANGE;
    }
    for (size_t i = 0; i < length; i++) {
        wide.limbs[i / LIMB_BYTES] |= (uint64_t)bytes[i] << (8 * (i % LIMB_BYTES));
    }
    wide = negative ? negate(&wide) : wide;
    return narrow(&wide, number);
}

int kv_number_read(struct kv_bytes term, struct kv_number *number)
{
    struct kv_reader reader = kv_reader(term);
    int64_t value = 0;
    if (kv_read_i64(&reader, &value) == KV_OK) {
        kv_number_set(number, value);
        return KV_OK;
    }
    switch (term.data[0]) {
    case KV_TAG_SMALL_BIG:
        return read_magnitude(term.data + 3, term.data[1], term.data[2] != 0, number);
    case KV_TAG_LARGE_BIG:
        return read_magnitude(term.data + HEADER_MAX, kv_get32(term.data + 1), term.data[5] != 0,
                              number);
    default:
        return KV_ETYPE;
    }
}

void kv_number_write(struct kv_buffer *to, const struct kv_number *number)
{
    uint8_t bytes[3 + BYTES] = {KV_TAG_SMALL_BIG};
    if (number->is_small) {
        kv_write_i64(to, number->small);
        return;
    }
    struct wide wide = widen(number);
    bytes[2] = is_negative(&wide);
    wide = bytes[2] != 0 ? negate(&wide) : wide;
    for (unsigned i = 0; i < BYTES; i++) {
        bytes[3 + i] = (uint8_t)(wide.limbs[i / LIMB_BYTES] >> (8 * (i % LIMB_BYTES)));
        bytes[1] = bytes[3 + i] != 0 ? (uint8_t)(i + 1) : bytes[1];
    }
    kv_buffer_append(to, kv_bytes(bytes, 3 + (size_t)bytes[1]));
}
