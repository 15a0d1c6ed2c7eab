/* The lane: memory that a node shares with one VM of its host, for calls without a message.
 *
 * A lane has a header of one page and slots. A slot carries one request to the node, and its answer
 * back (slot.h). Each scheduler of the VM has KV_LANE_WAYS slots of its own, so no two threads of
 * the VM ever want the same one. The slots of the first way come first: usually the node needs to
 * look at no others.
 *
 * Both sides can write everywhere. So each side copies before it reads, and believes no length, no
 * number and no state: docs/local.md. */
#ifndef KV_LANE_LAYOUT_H
#define KV_LANE_LAYOUT_H

#include "lane/slot.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    KV_LANE_VERSION = 1,
    KV_LANE_ID_SIZE = 16,
    KV_LANE_PAGE = 4096,     /* bytes of the header */
    KV_LANE_WAYS = 4,        /* slots of a scheduler */
    KV_LANE_GROUPS_MAX = 64, /* schedulers that have slots; others send messages */
};

#define KV_LANE_MAGIC UINT64_C(0x656e616c2d766b00) /* "\0kv-lane" */

/* Fields that different threads write, or that change at different times, have lines of their own.
 */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct kv_lane_header {
    uint64_t magic;
    uint32_t version;
    uint32_t groups;
    uint8_t id[KV_LANE_ID_SIZE]; /* random */
    /* The node: 1 while it looks at the slots. Relaxed: a hint. A caller that believes an old 1
     * waits in vain for some microseconds and withdraws; one that believes an old 0 sends a
     * message. */
    _Alignas(KV_LANE_LINE) _Atomic uint32_t looking;
    /* The node: changes with each look. Relaxed: a hint. A caller that has waited in vain does not
     * wait again while it stays the same. */
    _Alignas(KV_LANE_LINE) _Atomic uint32_t beat;
    /* The VM: callers that would have used the lane, had the node been looking. Relaxed: a hint. */
    _Alignas(KV_LANE_LINE) _Atomic uint32_t wanted;
    /* The VM: the processor on which a caller last found the node asleep or waited in vain, plus 1.
     * Relaxed: a hint. A node on the same processor makes way. */
    _Atomic uint32_t where;
    /* The VM: slots with this number and above have never been used. Relaxed: a hint. A node that
     * sees an old number looks at the slot a little later. */
    _Atomic uint32_t used;
    /* Either side: the lane has ended, and is never used again. Release and acquire: what the side
     * did before it ended the lane is seen by the other one. */
    _Atomic uint32_t dead;
};

_Static_assert(sizeof(struct kv_lane_header) <= KV_LANE_PAGE, "the header is one page");

static inline size_t kv_lane_size(uint32_t groups)
{
    return KV_LANE_PAGE + (size_t)groups * KV_LANE_WAYS * sizeof(struct kv_slot);
}

/* `number` is below groups * KV_LANE_WAYS. */
static inline struct kv_slot *kv_lane_slot(void *base, uint32_t number)
{
    return (struct kv_slot *)(void *)((uint8_t *)base + KV_LANE_PAGE) + number;
}

static inline uint32_t kv_lane_slot_number(uint32_t groups, uint32_t group, uint32_t way)
{
    return way * groups + group;
}

static inline bool kv_lane_is_dead(const struct kv_lane_header *lane)
{
    return atomic_load_explicit(&lane->dead, memory_order_acquire) != 0;
}

static inline void kv_lane_end(struct kv_lane_header *lane)
{
    atomic_store_explicit(&lane->dead, 1, memory_order_release);
}

#endif
