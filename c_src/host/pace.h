/* How the loop shares the processors with its callers: follow.h, gather.h, and looking on.
 *
 * Sleeping and being woken takes longer than answering a call. So while few processes call, the
 * loop looks for the next message for a while before it sleeps: a few times as long as messages
 * usually are apart, provided that this is short enough for one to come.
 *
 * Callers whose answers wait for the disk are still many, although none of them sends anything
 * until it is answered. A loop that looked for messages meanwhile would take the processor from the
 * thread of the disk and from the VM. */
#ifndef KV_HOST_PACE_H
#define KV_HOST_PACE_H

#include "host/follow.h"
#include "host/gather.h"

enum {
    KV_SPIN_PRESET_US = 200,
    KV_SPIN_MOST_US = 1000,
    KV_SPIN_LEAST_US = 50, /* even if messages come faster: now and then one is late */
    KV_SPIN_WAKE_US = 50,  /* how much further apart messages are while the loop sleeps between */
    KV_SPIN_GAPS = 4,      /* times the usual distance between messages */
    KV_PACE_WAITED_MS = 4, /* callers that have just waited for the disk soon do so again */
    KV_PACE_SLOW_US = 4 * KV_SPIN_MOST_US, /* a longer pause counts as this one */
};

/* Zeroed, it neither follows, nor waits, nor looks on. Times are nanoseconds of uv_hrtime(). */
struct kv_pace {
    struct kv_gather gather;
    struct kv_follow follow;
    uint64_t spin_ns; /* how long to look on at most; 0: never */
    uint64_t seen;    /* messages at the last look */
    uint64_t last;    /* when a look last found new messages */
    uint64_t gap;     /* between messages: a moving average that halves about every third look */
    bool waits;       /* many callers wait for the disk, or did of late */
    uint64_t waited;  /* when they last did, in milliseconds on the clock of the loop */
};

/* Sets the pace of the thread that calls it. gather_us counts only if the thread cannot follow its
 * callers; spin_us counts only on two processors or more, since on a single one the caller needs
 * the processor in order to send. */
void kv_pace_init(struct kv_pace *pace, bool follow, uint64_t gather_us, uint64_t spin_us);

/* A process of a peer has sent a message. `sender`: a number that differs between processes;
 * `socket`: where both of its ends are this host, else -1. */
static inline void kv_pace_saw(struct kv_pace *pace, uint64_t sender, int socket)
{
    kv_gather_saw(&pace->gather, sender);
    kv_follow_saw(&pace->follow, socket);
}

/* The end of a turn: so many answers wait for the disk. `now` as for kv_pace_rest(). */
void kv_pace_waits(struct kv_pace *pace, size_t answers, uint64_t now);

/* The end of a turn, once everything is written: moves to another processor or waits if that pays
 * off. `now` is in milliseconds, on the clock of the loop. */
void kv_pace_rest(struct kv_pace *pace, uint64_t now);

/* The same for a loop that looks at lanes: neither moves to the processor of its callers, which
 * need it themselves, nor waits. */
void kv_pace_go_on(struct kv_pace *pace, uint64_t now);

/* Returns true if the loop should look for the next message once more before it sleeps: never
 * while KV_GATHER_SENDERS processes call or wait for the disk. */
bool kv_pace_is_worth_looking(struct kv_pace *pace);

/* The same at the time `now`. Must only be called if spin_ns is not 0 and few processes call. */
bool kv_pace_is_worth_looking_at(struct kv_pace *pace, uint64_t now);

#endif
