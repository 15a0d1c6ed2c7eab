#include "net/node.h"

#include <stdio.h>

/* Ticks, as OTP has them: lib/kernel/src/dist_util.erl, send_tick/2. Every quarter of the tick time
 * a peer to which nothing was written gets a tick, whatever it sends itself; one of which nothing
 * was heard for the whole tick time is given up. */

enum { CHECKS = 4, MS = 1000 };

static void give_up(struct kv_connection *connection, uint64_t ticktime)
{
    char why[64];
    (void)snprintf(why, sizeof(why), "nothing was heard of it for %llu seconds",
                   (unsigned long long)ticktime);
    kv_connection_doom(connection, KV_LOG_WARNING, why);
}

static void check(struct kv_connection *connection, uint64_t now, uint64_t ticktime)
{
    /* While it is not read for the output that waits, what it takes of that is its sign of life. */
    size_t backlog = kv_output_backlog(connection);
    if ((connection->held & KV_HELD_FOR_OUTPUT) != 0 && backlog < connection->last_backlog) {
        connection->last_life = now;
    }
    connection->last_backlog = backlog;
    if (now - connection->last_life >= ticktime * MS) {
        give_up(connection, ticktime);
    } else if (!connection->wrote && backlog == 0) {
        kv_output_tick(connection);
    }
    connection->wrote = false;
}

static void on_ticker(uv_timer_t *timer)
{
    struct kv_connections *connections = timer->data;
    KV_LIST_FOREACH (link, &connections->up) {
        check(KV_LIST_OF(link, struct kv_connection, link), uv_now(timer->loop),
              connections->node->options.ticktime);
    }
}

void kv_ticks_start(struct kv_connections *connections)
{
    uint64_t period = connections->node->options.ticktime * MS / CHECKS;
    uv_timer_start(&connections->ticker, on_ticker, period, period);
}
