#include "wire/slices.h"

#include "base/alloc.h"

struct kv_held {
    struct kv_pinned pinned;
    size_t holders;
};

struct kv_held *kv_held_take(struct kv_pinned *pinned)
{
    struct kv_held *held = kv_alloc(sizeof(*held));
    *held = (struct kv_held){.pinned = *pinned, .holders = 1};
    pinned->release = NULL;
    return held;
}

struct kv_bytes kv_held_bytes(const struct kv_held *held)
{
    return held->pinned.bytes;
}

void kv_held_keep(struct kv_held *held)
{
    held->holders++;
}

void kv_held_drop(struct kv_held *held)
{
    if (--held->holders == 0) {
        kv_pinned_release(&held->pinned);
        kv_free(held);
    }
}

void kv_slices_add(struct kv_slices *slices, size_t at, struct kv_bytes bytes, struct kv_held *held)
{
    kv_held_keep(held);
    slices->slice[slices->count++] = (struct kv_slice){.at = at, .bytes = bytes, .held = held};
    slices->length += bytes.length;
}

void kv_slices_clear(struct kv_slices *slices)
{
    for (unsigned i = 0; i < slices->count; i++) {
        kv_held_drop(slices->slice[i].held);
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
