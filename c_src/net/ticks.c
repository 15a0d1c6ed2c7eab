#include "node/node.h"

#include <stdio.h>

/* Ticks, as OTP has them: lib/kernel/src/dist_util.erl, send_tick/2. Four times in a tick time a
 * peer to which nothing was written gets a tick, whatever it sends itself; one of which nothing was
 * heard between so many checks is given up. Checks are counted, not seconds: after a stall of this
 * program, or of the machine, one check is late and counts as one.
 *
 * A timer is called before sockets are read. So a peer is only suspected by it, and given up when
 * the next look at the sockets has found nothing of it either. */

enum { CHECKS = 4, MS = 1000, SOON_MS = 1, TURNS_OF_GRACE = 2 };

/* While it is not read for the output that waits, what it takes of that is its sign of life. */
static bool is_heard(struct kv_connection *connection)
{
    struct kv_ticked *ticked = &connection->ticked;
    bool is_held = (connection->held & KV_HELD_FOR_OUTPUT) != 0;
    uint64_t taken = kv_output_taken(connection);
    bool heard = connection->bytes_in != ticked->bytes_in || (is_held && taken != ticked->taken);
    ticked->bytes_in = connection->bytes_in;
    ticked->taken = taken;
    return heard;
}

static bool is_silent(const struct kv_connection *connection)
{
    return connection->ticked.silent >= CHECKS;
}

static void check(struct kv_connection *connection)
{
    struct kv_ticked *ticked = &connection->ticked;
    ticked->silent = is_heard(connection) ? 0 : ticked->silent + 1;
    if (is_silent(connection)) {
        connection->owner->turns_of_grace = TURNS_OF_GRACE;
    } else if (!connection->wrote && kv_output_backlog(connection) == 0) {
        kv_output_tick(connection);
    }
    connection->wrote = false;
}

static void on_soon(uv_timer_t *timer)
{
    (void)timer; /* the turn that it ends sees who is still silent */
}

static void on_ticker(uv_timer_t *timer)
{
    struct kv_connections *connections = timer->data;
    KV_LIST_FOREACH (link, &connections->up) {
        check(KV_LIST_OF(link, struct kv_connection, link));
    }
    if (connections->turns_of_grace > 0) {
        uv_timer_start(&connections->soon, on_soon, SOON_MS, 0);
    }
}

static void give_up(struct kv_connection *connection, uint64_t ticktime)
{
    char why[64];
    (void)snprintf(why, sizeof(why), "nothing was heard of it for %llu seconds",
                   (unsigned long long)ticktime);
    kv_connection_doom(connection, KV_LOG_WARNING, why);
}

void kv_ticks_judge(struct kv_connections *connections)
{
    if (--connections->turns_of_grace > 0) {
        return; /* the sockets are looked at next */
    }
    KV_LIST_FOREACH (link, &connections->up) {
        struct kv_connection *connection = KV_LIST_OF(link, struct kv_connection, link);
        if (is_silent(connection) && is_heard(connection)) {
            connection->ticked.silent = 0;
        } else if (is_silent(connection)) {
            give_up(connection, connections->node->options.ticktime);
        }
    }
}

void kv_ticks_start(struct kv_connections *connections)
{
    uint64_t period = connections->node->options.ticktime * MS / CHECKS;
    uv_timer_start(&connections->ticker, on_ticker, period, period);
}
