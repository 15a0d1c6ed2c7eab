/* Ticks: they keep the peers from giving us up, and show which peers are silent.
 *
 * As OTP has them (lib/kernel/src/dist_util.erl, send_tick/2): four times in a tick time, a peer to
 * which nothing was written gets a tick, whatever the peer sends itself. A peer that was silent for
 * four checks in a row is given up. Checks are counted, not seconds: after a stall of this program,
 * or of the machine, one check is late and counts as one.
 *
 * Timers run before sockets are read. So the timer only suspects a peer; it is given up if the next
 * look at the sockets has found nothing either. */
#ifndef KV_NET_TICKS_H
#define KV_NET_TICKS_H

#include "net/connections.h"

struct kv_ticks {
    struct kv_connections *connections;
    uv_timer_t ticker;
    uv_timer_t soon;         /* ends the turn in which the sockets of suspects are read */
    unsigned turns_of_grace; /* for suspects; 0: there are none */
};

void kv_ticks_init(struct kv_ticks *ticks, struct kv_connections *connections);
void kv_ticks_start(struct kv_ticks *ticks);

/* The end of a turn: dooms suspects whose time is over. */
void kv_ticks_judge(struct kv_ticks *ticks);

#endif
