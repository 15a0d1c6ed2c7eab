#include "net/ticks.h"

#include "net/connection.h"
#include "net/output.h"

#include <stdio.h>

enum { CHECKS = 4, MS = 1000, SOON_MS = 1, TURNS_OF_GRACE = 2 };

/* While a peer is not read for the output that waits, taking some of that is its sign of life.
 * While it is not read for a long message of its own, which is being validated, it needs none. */
static bool is_heard(struct kv_connection *connection)
{
    struct kv_ticked *ticked = &connection->ticked;
    bool is_paused = (connection->paused & KV_PAUSED_FOR_OUTPUT) != 0;
    bool is_checked = (connection->paused & KV_PAUSED_FOR_CHECK) != 0;
    uint64_t taken = kv_connection_taken(connection);
    bool heard = is_checked || connection->bytes_in != ticked->bytes_in ||
                 (is_paused && taken != ticked->taken);
    ticked->bytes_in = connection->bytes_in;
    ticked->taken = taken;
    return heard;
}

static bool is_silent(const struct kv_connection *connection)
{
    return connection->ticked.silent >= CHECKS;
}

static void check(struct kv_ticks *ticks, struct kv_connection *connection)
{
    struct kv_ticked *ticked = &connection->ticked;
    ticked->silent = is_heard(connection) ? 0 : ticked->silent + 1;
    if (is_silent(connection)) {
        ticks->turns_of_grace = TURNS_OF_GRACE;
    } else if (!connection->wrote && kv_connection_backlog(connection) == 0) {
        kv_output_tick(connection);
    }
    connection->wrote = false;
}

static void on_soon(uv_timer_t *timer)
{
    (void)timer; /* the end of this turn sees which suspects are still silent */
}

static void on_ticker(uv_timer_t *timer)
{
    struct kv_ticks *ticks = timer->data;
    KV_LIST_FOREACH (link, &ticks->connections->up) {
        check(ticks, KV_LIST_OF(link, struct kv_connection, link));
    }
    if (ticks->turns_of_grace > 0) {
        uv_timer_start(&ticks->soon, on_soon, SOON_MS, 0);
    }
}

static void give_up(struct kv_connection *connection, uint64_t ticktime)
{
    char why[64];
    (void)snprintf(why, sizeof(why), "nothing was heard of it for %llu seconds",
                   (unsigned long long)ticktime);
    kv_connection_doom(connection, KV_LOG_WARNING, why);
}

void kv_ticks_judge(struct kv_ticks *ticks)
{
    if (ticks->turns_of_grace == 0 || --ticks->turns_of_grace > 0) {
        return; /* no suspects, or their sockets are looked at next */
    }
    KV_LIST_FOREACH (link, &ticks->connections->up) {
        struct kv_connection *connection = KV_LIST_OF(link, struct kv_connection, link);
        if (is_silent(connection) && is_heard(connection)) {
            connection->ticked.silent = 0;
        } else if (is_silent(connection)) {
            give_up(connection, ticks->connections->net->limits.ticktime);
        }
    }
}

void kv_ticks_init(struct kv_ticks *ticks, struct kv_connections *connections)
{
    *ticks = (struct kv_ticks){.connections = connections};
    uv_timer_init(connections->net->loop, &ticks->ticker);
    uv_timer_init(connections->net->loop, &ticks->soon);
    ticks->ticker.data = ticks;
}

void kv_ticks_start(struct kv_ticks *ticks)
{
    uint64_t period = ticks->connections->net->limits.ticktime * MS / CHECKS;
    uv_timer_start(&ticks->ticker, on_ticker, period, period);
}
