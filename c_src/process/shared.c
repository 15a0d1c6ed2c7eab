/* One copy of a large exit reason, for all processes that are linked to the process or monitor it.
 */
#include "process/shared.h"

#include "base/alloc.h"
#include "base/later.h"

enum { SHARED_LEAST = 1024 }; /* bytes; a smaller term is cheaper to copy than to share */

struct kv_shared {
    struct kv_buffer term; /* owned */
    size_t holders;
};

struct kv_shared *kv_share(struct kv_buffer *term)
{
    if (term->length < SHARED_LEAST) {
        return NULL;
    }
    struct kv_shared *shared = kv_alloc(sizeof *shared);
    *shared = (struct kv_shared){.term = *term, .holders = 1};
    *term = (struct kv_buffer)KV_BUFFER_INIT;
    return shared;
}

void kv_shared_drop(struct kv_shared *shared)
{
    if (shared != NULL && --shared->holders == 0) {
        kv_buffer_free_later(&shared->term);
        kv_free(shared);
    }
}

struct kv_bytes kv_shared_bytes(const struct kv_shared *shared)
{
    return kv_buffer_bytes(&shared->term);
}

bool kv_shared_ends(const struct kv_shared *shared, const struct kv_signal *signal)
{
    struct kv_bytes last = kv_bytes(NULL, 0);
    if (signal->payload_parts > 0) {
        last = signal->payload[signal->payload_parts - 1];
    }
    return last.data == shared->term.data && last.length == shared->term.length;
}

bool kv_shared_has(const struct kv_shared *shared, struct kv_bytes part)
{
    const uintptr_t begin = (uintptr_t)shared->term.data;
    const uintptr_t at = (uintptr_t)part.data;
    return at >= begin && at + part.length <= begin + shared->term.length;
}

struct kv_shared *kv_shared_keep(struct kv_shared *shared)
{
    shared->holders++;
    return shared;
}

static void release(void *owner, struct kv_bytes bytes)
{
    (void)bytes;
    kv_shared_drop(owner);
}

void kv_shared_pin(struct kv_shared *shared, struct kv_pinned *pinned)
{
    *pinned = (struct kv_pinned){.bytes = kv_shared_bytes(shared),
                                 .release = release,
                                 .owner = kv_shared_keep(shared),
                                 .shared = true};
}
