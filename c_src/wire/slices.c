#include "wire/slices.h"

#include "base/alloc.h"
#include "base/assert.h"

struct kv_shared_pin {
    struct kv_pinned pinned;
    size_t holders;
};

struct kv_shared_pin *kv_shared_pin_take(struct kv_pinned *pinned)
{
    struct kv_shared_pin *pin = kv_alloc(sizeof(*pin));
    *pin = (struct kv_shared_pin){.pinned = *pinned, .holders = 1};
    pinned->release = NULL;
    return pin;
}

struct kv_bytes kv_shared_pin_bytes(const struct kv_shared_pin *pin)
{
    return pin->pinned.bytes;
}

void kv_shared_pin_keep(struct kv_shared_pin *pin)
{
    pin->holders++;
}

void kv_shared_pin_drop(struct kv_shared_pin *pin)
{
    kv_assert(pin->holders > 0);
    if (--pin->holders == 0) {
        kv_pinned_release(&pin->pinned);
        kv_free(pin);
    }
}

void kv_slices_add(struct kv_slices *slices, size_t at, struct kv_bytes bytes,
                   struct kv_shared_pin *pin)
{
    kv_assert(slices->count < KV_SLICES_MAX);
    kv_shared_pin_keep(pin);
    slices->slice[slices->count++] = (struct kv_slice){.at = at, .bytes = bytes, .pin = pin};
    slices->length += bytes.length;
}

void kv_slices_clear(struct kv_slices *slices)
{
    for (unsigned i = 0; i < slices->count; i++) {
        kv_shared_pin_drop(slices->slice[i].pin);
    }
    slices->count = 0;
    slices->length = 0;
}

static void add_run(struct kv_bytes bytes, size_t *skip, struct kv_bytes *runs, unsigned *count)
{
    size_t less = *skip < bytes.length ? *skip : bytes.length;
    *skip -= less;
    if (bytes.length > less) {
        runs[(*count)++] = kv_bytes(bytes.data + less, bytes.length - less);
    }
}

unsigned kv_slices_runs(const struct kv_slices *slices, struct kv_bytes buffer, size_t skip,
                        struct kv_bytes runs[KV_SLICES_RUNS])
{
    unsigned count = 0;
    size_t at = 0;
    for (unsigned i = 0; i < slices->count; i++) {
        const struct kv_slice *slice = &slices->slice[i];
        if (slice->at > at) {
            add_run(kv_bytes(buffer.data + at, slice->at - at), &skip, runs, &count);
            at = slice->at;
        }
        add_run(slice->bytes, &skip, runs, &count);
    }
    if (buffer.length > at) {
        add_run(kv_bytes(buffer.data + at, buffer.length - at), &skip, runs, &count);
    }
    return count;
}
