/* Pinned bytes on their way out: written from where they lie, between bytes that are copied. */
#ifndef KV_WIRE_SLICES_H
#define KV_WIRE_SLICES_H

#include <kv/buffer.h>
#include <kv/signal.h>

enum { KV_SLICES_MAX = 16 };

/* Pinned bytes that several slices share; they are released with the last of them. */
struct kv_shared_pin;

/* Takes what is pinned over: pinned->release is NULL afterwards. The caller holds it once. */
struct kv_shared_pin *kv_shared_pin_take(struct kv_pinned *pinned);
struct kv_bytes kv_shared_pin_bytes(const struct kv_shared_pin *pin);
void kv_shared_pin_keep(struct kv_shared_pin *pin);
void kv_shared_pin_drop(struct kv_shared_pin *pin);

/* Some of the pinned bytes, to be written before the byte of the buffer that is at `at`. */
struct kv_slice {
    size_t at;
    struct kv_bytes bytes;
    struct kv_shared_pin *pin;
};

/* Goes with a buffer. Zeroed, it is empty. */
struct kv_slices {
    struct kv_slice slice[KV_SLICES_MAX];
    unsigned count;
    size_t length; /* bytes of all */
};

/* Adds a slice, which keeps `pin` once more. There must be room: count < KV_SLICES_MAX. */
void kv_slices_add(struct kv_slices *slices, size_t at, struct kv_bytes bytes,
                   struct kv_shared_pin *pin);

/* Lets go of all. */
void kv_slices_clear(struct kv_slices *slices);

/* The runs of bytes that a buffer and its slices are, in order, but for the first `skip` bytes:
 * at most KV_SLICES_RUNS, none of them empty; answers how many. They borrow from both. */
enum { KV_SLICES_RUNS = 2 * KV_SLICES_MAX + 1 };
unsigned kv_slices_runs(const struct kv_slices *slices, struct kv_bytes buffer, size_t skip,
                        struct kv_bytes runs[KV_SLICES_RUNS]);

#endif
