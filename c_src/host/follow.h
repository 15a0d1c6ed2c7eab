/* Following: on a machine with two processors, the node runs on the one that its callers send from.
 *
 * Linux puts a thread that wakes on an idle processor. So with two processors, a loop that wakes
 * for every few messages has one of them for itself and idles most of the time, while the threads
 * of the VM share the other. The scheduler does not correct this: it does not move a thread that
 * ran within the last half millisecond, and finds no work for a processor that idles for less
 * (sched(7), the migration cost). So while many processes call, the loop runs where the last
 * message came from. The other processor is then free for the VM, and the loop handles together
 * what the callers sent meanwhile.
 *
 * Exception: more messages come than a VM can send (KV_FOLLOW_MOST). Such a sender does less work
 * for a call than the loop. The callers then wait for the loop, which works while they send.
 *
 * Following is for callers on this host only: a message from outside arrives at the processor that
 * serves the network. With another number of processors the system places the loop, and gather.h
 * applies. */
#ifndef KV_FOLLOW_H
#define KV_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>
#ifdef __linux__
#include <sched.h>
#endif

/* Messages in a millisecond. A VM on two processors sends a third of that. */
enum { KV_FOLLOW_MOST = 1000 };

/* A zeroed follow never moves. */
struct kv_follow {
    bool able;
    int processor;   /* the loop is bound to it; -1: to none */
    int socket;      /* the last message of this host since `looked` came from it; -1: none did */
    uint64_t looked; /* time of the last look, in milliseconds on the clock of the loop */
    uint64_t seen;   /* messages ever, at that time */
#ifdef __linux__
    cpu_set_t allowed; /* at the beginning */
#endif
};

/* Sets up following for the calling thread. Returns false if it is not wanted, if the process may
 * not use exactly two processors, or if setting the affinity failed. */
bool kv_follow_init(struct kv_follow *follow, bool wanted);

/* Returns true if both ends of a connected socket are this host. */
bool kv_follow_is_local(int socket);

/* A process has sent a message through that socket; -1: from outside. */
static inline void kv_follow_saw(struct kv_follow *follow, int socket)
{
    if (socket >= 0) {
        follow->socket = socket;
    }
}

/* The end of a turn at `now`, after `messages` messages ever. Looks once a millisecond: if `many`
 * processes call, and send less than KV_FOLLOW_MOST, binds the thread to the processor that served
 * the socket last; otherwise unbinds it. A look costs two system calls, any other turn none. */
void kv_follow_tend(struct kv_follow *follow, bool many, uint64_t messages, uint64_t now);

#endif
