/* When a peer that does not read is given up.
 *
 * One turn of the loop may make more than --max-queue bytes for a peer, which cannot have read any
 * of them yet. So the peer has some time: the bytes are written, and it is given up if it took
 * nothing for a while, or if --max-queue bytes more have come than waited at the first check. */
#include "net/connections.h"
#include "net/output.h"

enum {
    PATIENCE_CHECKS = 4, /* without a byte taken */
    PATIENCE_MOST_MS = 1000,
    PATIENCE_PART = 16, /* checks in a tick time, if that makes them more frequent */
    MS = 1000,
};

static void give_up(struct kv_connection *connection)
{
    kv_connection_doom(connection, KV_LOG_WARNING,
                       "it does not read, and more than --max-queue bytes wait for it");
}

static size_t limit_of(const struct kv_connections *connections)
{
    return (size_t)connections->net->limits.max_queue;
}

/* Returns true if the peer must be checked again. */
static bool check(struct kv_connection *connection, size_t limit)
{
    struct kv_excess *excess = &connection->excess;
    size_t backlog = kv_connection_backlog(connection);
    uint64_t taken = kv_connection_taken(connection);
    if (!excess->is_over || backlog <= limit || kv_connection_is_doomed(connection)) {
        excess->is_over = false;
        return false;
    }
    excess->idle = taken == excess->taken ? excess->idle + 1 : 0;
    excess->taken = taken;
    excess->mark = excess->mark == 0 ? backlog : excess->mark;
    if (excess->idle >= PATIENCE_CHECKS) {
        give_up(connection);
    }
    return true;
}

static void on_check(uv_timer_t *timer)
{
    struct kv_connections *connections = timer->data;
    bool any = false;
    KV_LIST_FOREACH (link, &connections->up) {
        any = check(KV_LIST_OF(link, struct kv_connection, link), limit_of(connections)) || any;
    }
    if (!any) {
        uv_timer_stop(timer);
    }
}

static void start(struct kv_connections *connections)
{
    uint64_t period = connections->net->limits.ticktime * MS / PATIENCE_PART;
    period = period < PATIENCE_MOST_MS ? period : PATIENCE_MOST_MS;
    if (!uv_is_active((const uv_handle_t *)&connections->patience)) {
        uv_timer_start(&connections->patience, on_check, period, period);
    }
}

__attribute__((noinline)) void kv_output_exceeds(struct kv_connection *connection, size_t backlog)
{
    struct kv_excess *excess = &connection->excess;
    if (!excess->is_over) {
        *excess = (struct kv_excess){.is_over = true, .taken = kv_connection_taken(connection)};
        start(connection->owner);
    } else if (excess->mark > 0 && backlog > excess->mark &&
               backlog - excess->mark > limit_of(connection->owner)) {
        give_up(connection);
    }
}
