/* Slices: pinned bytes that are written in place, between the copied bytes of a buffer. */
#ifndef KV_WIRE_SLICES_H
#define KV_WIRE_SLICES_H

#include <kv/buffer.h>
#include <kv/signal.h>

enum { KV_SLICES_MAX = 16 };

/* Pinned bytes with a count of holders. The last holder releases them. */
struct kv_shared_pin;

/* Takes the pin over: pinned->release is NULL afterwards. The caller is the first holder. */
struct kv_shared_pin *kv_shared_pin_take(struct kv_pinned *pinned);
struct kv_bytes kv_shared_pin_bytes(const struct kv_shared_pin *pin);
void kv_shared_pin_keep(struct kv_shared_pin *pin);
void kv_shared_pin_drop(struct kv_shared_pin *pin);

/* Pinned bytes to be written in front of the byte at `at` of the buffer. */
struct kv_slice {
    size_t at;
    struct kv_bytes bytes;
    struct kv_shared_pin *pin;
};

/* The slices of one buffer. Empty when zeroed. */
struct kv_slices {
    struct kv_slice slice[KV_SLICES_MAX];
    unsigned count;
    size_t length; /* bytes of all */
};

/* Adds a slice, which becomes a holder of `pin`. count must be less than KV_SLICES_MAX. `at` must
 * not be less than in the slice before. */
void kv_slices_add(struct kv_slices *slices, size_t at, struct kv_bytes bytes,
                   struct kv_shared_pin *pin);

/* Drops all slices. */
void kv_slices_clear(struct kv_slices *slices);

/* Lists the bytes of a buffer with its slices, in order and without the first `skip` bytes, as
 * runs. No run is empty. Returns the number of runs, at most KV_SLICES_RUNS. They borrow from both.
 */
enum { KV_SLICES_RUNS = 2 * KV_SLICES_MAX + 1 };
unsigned kv_slices_runs(const struct kv_slices *slices, struct kv_bytes buffer, size_t skip,
                        struct kv_bytes runs[KV_SLICES_RUNS]);

#endif
