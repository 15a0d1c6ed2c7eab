/* A slot of a lane, and its states. The asker is a thread of the VM, or the last owner of a slot
 * that a process still waits for; the server is the node.
 *
 *          ask             take             finish
 *   FREE --------> ASKED --------> TAKEN ----------> DONE
 *     ^  withdraw    |               | leave           |
 *     |<-------------+             LEFT                |
 *     |<--------------------- finish +                 |
 *     |<-------------------------------------- release +
 *
 * A request is either withdrawn or taken: both are a compare-and-swap of the same word, so it is
 * never done once by the lane and once by the message that follows. A slot whose asker has left is
 * free only once the server is done with it.
 *
 * Each function makes one access to the state. Tests run all interleavings of them:
 * test/c/lane/test_slot.c. The bytes of a slot belong to the asker while the state is FREE or DONE,
 * and to the server from TAKEN or LEFT on. A peer that lies about the state can spoil the bytes,
 * and nothing else.
 *
 * Memory order: the asker writes the request before ask() (release), and the server reads it after
 * take() (acquire). The server writes the answer before finish() (release), and the asker reads it
 * after is_done() (acquire). The asker has read the answer before release() (release), and the next
 * one writes after is_free() (acquire). No access needs an order between two slots, so none is
 * sequentially consistent. */
#ifndef KV_LANE_SLOT_H
#define KV_LANE_SLOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    KV_LANE_LINE = 64, /* bytes of a cache line, or more */
    KV_SLOT_SIZE = 16384,
    KV_SLOT_HEAD = 16, /* a short request shares a cache line with it */
    KV_SLOT_ROOM = KV_SLOT_SIZE - KV_SLOT_HEAD,
    /* The longest request: answers that repeat a request must fit, too. */
    KV_SLOT_REQUEST_MAX = KV_SLOT_ROOM - 1024,
};

enum kv_slot_state {
    KV_SLOT_FREE,  /* or being written by the asker */
    KV_SLOT_ASKED, /* a request that may be taken or withdrawn */
    KV_SLOT_TAKEN, /* the server is at it */
    KV_SLOT_DONE,  /* with an answer */
    KV_SLOT_LEFT,  /* taken, and nobody waits for the answer */
};

/* The length of an answer that is none: nothing was done, and the request must come by message. */
#define KV_SLOT_DECLINED UINT32_MAX

struct kv_slot {
    _Alignas(KV_LANE_LINE) _Atomic uint32_t state;
    /* These are read once and relaxed: the state has the order. Atomic, because the other side may
     * lie, and write at any time. */
    _Atomic uint32_t id; /* of the asked process: the numbers of its pid */
    _Atomic uint32_t serial;
    _Atomic uint32_t length;    /* of data */
    uint8_t data[KV_SLOT_ROOM]; /* a request, then its answer: a term without version byte */
};

_Static_assert(sizeof(struct kv_slot) == KV_SLOT_SIZE, "slots lie side by side");

static inline bool kv_slot_swap(struct kv_slot *slot, uint32_t from, uint32_t to,
                                memory_order order)
{
    return atomic_compare_exchange_strong_explicit(
        &slot->state, &from, to, order,
        order == memory_order_acquire ? memory_order_acquire : memory_order_relaxed);
}

/* ---- the asker ------------------------------------------------------------------------------- */

/* Returns true if the asker may write a request into the slot. */
static inline bool kv_slot_is_free(const struct kv_slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_acquire) == KV_SLOT_FREE;
}

/* The request is written: offers it. Only for a free slot. */
static inline void kv_slot_ask(struct kv_slot *slot)
{
    atomic_store_explicit(&slot->state, KV_SLOT_ASKED, memory_order_release);
}

/* Returns true if the request was not taken and never will be: the slot is free again. Relaxed: the
 * server has written nothing. Returns false if it was taken. */
static inline bool kv_slot_withdraw(struct kv_slot *slot)
{
    return kv_slot_swap(slot, KV_SLOT_ASKED, KV_SLOT_FREE, memory_order_relaxed);
}

/* Returns true if the answer may be read. */
static inline bool kv_slot_is_done(const struct kv_slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_acquire) == KV_SLOT_DONE;
}

/* The answer was read. Only for a slot that is done. */
static inline void kv_slot_release(struct kv_slot *slot)
{
    atomic_store_explicit(&slot->state, KV_SLOT_FREE, memory_order_release);
}

/* Nobody waits for the answer to a request that was taken: returns true if the server is at it
 * still, and frees the slot when it is done. Returns false if it is done: kv_slot_release() then.
 * Acquire, for that case: the server has written the answer before the next asker writes. */
static inline bool kv_slot_leave(struct kv_slot *slot)
{
    return kv_slot_swap(slot, KV_SLOT_TAKEN, KV_SLOT_LEFT, memory_order_acquire);
}

/* ---- the server ------------------------------------------------------------------------------ */

/* Returns true if there is a request. Relaxed: take() decides. */
static inline bool kv_slot_is_asked(const struct kv_slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_relaxed) == KV_SLOT_ASKED;
}

/* Returns true if the server has the request now. */
static inline bool kv_slot_take(struct kv_slot *slot)
{
    return kv_slot_swap(slot, KV_SLOT_ASKED, KV_SLOT_TAKEN, memory_order_acquire);
}

/* The answer is written: hands it over. Returns false if the asker has left: kv_slot_drop() then.
 */
static inline bool kv_slot_finish(struct kv_slot *slot)
{
    return kv_slot_swap(slot, KV_SLOT_TAKEN, KV_SLOT_DONE, memory_order_release);
}

/* Frees a slot whose asker has left. Release: the next asker writes over the answer. */
static inline void kv_slot_drop(struct kv_slot *slot)
{
    atomic_store_explicit(&slot->state, KV_SLOT_FREE, memory_order_release);
}

/* Tells the processor that this thread waits for the other side. */
static inline void kv_slot_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
