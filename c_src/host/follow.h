/* Keeps the node on the processor that its callers send from, where it may use two.
 *
 * A thread that is woken is put on a processor that has nothing to do. With two of them, a loop
 * that is woken for every few messages has one for itself and idles on it most of the time, while
 * the threads of the VM share the other: the system does not move a thread that ran half a
 * millisecond ago, nor looks for work for a processor that is idle for less (sched(7), the
 * migration cost). So while many processes call, the loop runs where the last message came from.
 * The other processor then is free for the VM, and what the callers send meanwhile is handled
 * together when the loop's turn comes.
 *
 * Not when more comes than a VM can send (KV_FOLLOW_MOST): whoever sends so much has less to do for
 * a call than the loop, which then is what the callers wait for, and works while they do.
 *
 * Only for callers on this host: a message from outside arrives at the processor that serves the
 * network. With more processors than two the loop is left where the system puts it, and gather.h
 * applies. */
#ifndef KV_FOLLOW_H
#define KV_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>
#ifdef __linux__
#include <sched.h>
#endif

/* Messages in a millisecond; a VM on two processors sends a third. */
enum { KV_FOLLOW_MOST = 1000 };

/* Zeroed, it never moves. */
struct kv_follow {
    bool able;
    int processor;   /* that it is held on; -1: on none */
    int socket;      /* that a message of this host came from since it was last looked; -1: none */
    uint64_t looked; /* milliseconds, the loop's clock */
    uint64_t seen;   /* messages that there had been then */
#ifdef __linux__
    cpu_set_t allowed; /* at the beginning */
#endif
};

/* Sets it up for the thread that calls it. Answers whether it can follow: false where that is not
 * wanted, where there are not just two processors, and where the system does not let it. */
bool kv_follow_init(struct kv_follow *follow, bool wanted);

/* Whether both ends of a connected socket are this host. */
bool kv_follow_is_local(int socket);

/* A process has sent a message through that socket, or from outside: -1. */
static inline void kv_follow_saw(struct kv_follow *follow, int socket)
{
    if (socket >= 0) {
        follow->socket = socket;
    }
}

/* The end of a turn at `now`, after so many messages in all. Moves to the processor that served the
 * socket last while `many` call, and they do not send too much, else releases; looks once a
 * millisecond. Two system calls then, and none otherwise. */
void kv_follow_tend(struct kv_follow *follow, bool many, uint64_t messages, uint64_t now);

#endif
