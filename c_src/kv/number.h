/* Integers of up to KV_NUMBER_BITS bits, as counters have them. */
#ifndef KV_NUMBER_H
#define KV_NUMBER_H

#include <kv/term.h>

enum { KV_NUMBER_BITS = 1024, KV_NUMBER_LIMBS = KV_NUMBER_BITS / 64 + 1 };

/* The value is `small` if is_small, else in two's complement, the lowest limb first. */
struct kv_number {
    bool is_small;
    int64_t small;
    uint64_t limbs[KV_NUMBER_LIMBS];
};

/* Sets a small number. */
void kv_number_set(struct kv_number *number, int64_t value);

/* Reads a whole term. Returns KV_OK; KV_ETYPE if it is no integer; or KV_ERANGE if its magnitude
 * has more than KV_NUMBER_BITS bits. */
int kv_number_read(struct kv_bytes term, struct kv_number *number);

/* Sets sum = a + b, or a - b. Returns KV_OK, or KV_ERANGE if the magnitude of the result has more
 * than KV_NUMBER_BITS bits. `sum` must be another number than both. */
int kv_number_add(const struct kv_number *a, const struct kv_number *b, struct kv_number *sum);
int kv_number_subtract(const struct kv_number *a, const struct kv_number *b, struct kv_number *sum);

/* Returns true if a < b. */
bool kv_number_less(const struct kv_number *a, const struct kv_number *b);

/* Appends the number as term_to_binary/1 writes it. */
void kv_number_write(struct kv_buffer *to, const struct kv_number *number);

#endif
