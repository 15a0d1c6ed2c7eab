#include "node/node.h"

/* When a peer that does not read is given up.
 *
 * One turn of the loop may make more than --max-queue bytes for a peer, which cannot have read any
 * of them yet. So it has some time: what is there is written, and the peer goes when it took
 * nothing for a while, or when --max-queue bytes more have come than it was behind after the first
 * check. */

enum {
    PATIENCE_CHECKS = 4, /* without a byte taken */
    PATIENCE_MOST_MS = 1000,
    PATIENCE_PART = 16, /* checks in a tick time, if that makes them more frequent */
    MS = 1000,
};

uint64_t kv_output_taken(const struct kv_connection *connection)
{
    return connection->bytes_out -
           uv_stream_get_write_queue_size((const uv_stream_t *)&connection->tcp);
}

static void give_up(struct kv_connection *connection)
{
    kv_connection_doom(connection, KV_LOG_WARNING,
                       "it does not read, and more than --max-queue bytes wait for it");
}

static size_t limit_of(const struct kv_connections *connections)
{
    return (size_t)connections->node->options.max_queue;
}

/* Whether it is still to be waited for. */
static bool check(struct kv_connection *connection, size_t limit)
{
    struct kv_excess *excess = &connection->excess;
    size_t backlog = kv_output_backlog(connection);
    uint64_t taken = kv_output_taken(connection);
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
    uint64_t period = connections->node->options.ticktime * MS / PATIENCE_PART;
    period = period < PATIENCE_MOST_MS ? period : PATIENCE_MOST_MS;
    if (!uv_is_active((const uv_handle_t *)&connections->patience)) {
        connections->patience.data = connections;
        uv_timer_start(&connections->patience, on_check, period, period);
    }
}

__attribute__((noinline)) void kv_output_exceeds(struct kv_connection *connection, size_t backlog)
{
    struct kv_excess *excess = &connection->excess;
    if (!excess->is_over) {
        *excess = (struct kv_excess){.is_over = true, .taken = kv_output_taken(connection)};
        start(connection->owner);
    } else if (excess->mark > 0 && backlog > excess->mark &&
               backlog - excess->mark > limit_of(connection->owner)) {
        give_up(connection);
    }
}
