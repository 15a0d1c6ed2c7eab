/* The end of a turn, in order. Before it, libuv has read the sockets and the runtime has handled
 * what came. After it, libuv waits for the sockets again. */
#include "node/turn.h"

#include "base/later.h"
#include "net/input.h"
#include "node/node.h"

static void on_timer(uv_timer_t *timer)
{
    (void)timer; /* the end of this turn runs the timers that are due */
}

/* Timers of processes, and messages that resumed processes have kept. */
static void run_processes(struct kv_node *node)
{
    if (node->net.runtime == NULL || node->net.stopping) {
        return;
    }
    uint64_t next = kv_runtime_run_timers(node->net.runtime);
    next = kv_runtime_step(node->net.runtime) ? 0 : next;
    next = kv_free_more() || kv_input_goes_on(&node->connections) ? 0 : next;
    if (next == KV_NO_TIMER) {
        uv_timer_stop(&node->turn.timers);
    } else {
        uv_timer_start(&node->turn.timers, on_timer, next, 0);
    }
}

/* Answers first: those that get them may have more to ask before the next commit begins. */
void kv_turn_send(struct kv_node *node)
{
    if (node->data.wal != NULL && node->net.runtime != NULL) {
        kv_data_release(&node->data, node->net.runtime);
        kv_data_hand_over(&node->data);
    }
    kv_connections_write(&node->connections);
}

static bool have_more(const struct kv_node *node)
{
    const struct kv_runtime *runtime = node->net.runtime;
    return runtime != NULL && !node->net.stopping && kv_runtime_has_more(runtime);
}

/* The doomed are closed before the batch is handed over: processes hear of it, and may change
 * something. Writing may doom more connections, and peers that are read again have more to ask. */
static void settle(struct kv_node *node)
{
    bool resumed = false;
    do {
        kv_connections_close_doomed(&node->connections);
        kv_turn_send(node);
        resumed = kv_input_resume(&node->connections) || resumed;
    } while (kv_connections_are_unsettled(&node->connections));
    /* A resumed process may have waited for a peer to take its answers: is_full(). And processes
     * may have heard of a lost peer, or from others whose changes are durable now. */
    if (resumed || have_more(node)) {
        uv_timer_start(&node->turn.timers, on_timer, 0, 0);
    }
}

static void end_turn(struct kv_node *node)
{
    kv_input_begin_turn(&node->connections);
    kv_ticks_judge(&node->ticks);
    run_processes(node);
    kv_memory_tend(&node->memory);
    settle(node);
    kv_node_metrics_turn(node);
    kv_node_watch_vms(node);
    kv_pace_waits(&node->net.pace,
                  node->net.runtime == NULL ? 0 : kv_runtime_waiting(node->net.runtime),
                  uv_now(&node->loop));
    if (node->lanes.looking) {
        kv_pace_go_on(&node->net.pace, uv_now(&node->loop));
    } else {
        kv_pace_rest(&node->net.pace, uv_now(&node->loop));
    }
}

static void on_end(uv_prepare_t *prepare)
{
    end_turn(prepare->data);
}

int kv_turn_init(struct kv_node *node)
{
    uv_prepare_init(&node->loop, &node->turn.end);
    uv_timer_init(&node->loop, &node->turn.timers);
    node->turn.end.data = node;
    kv_later_begin();
    return uv_prepare_start(&node->turn.end, on_end);
}

bool kv_turn_run(struct kv_node *node)
{
    bool alive = uv_run(&node->loop, UV_RUN_ONCE) != 0;
    while (alive && (kv_lanes_look(node) || kv_pace_is_worth_looking(&node->net.pace))) {
        alive = uv_run(&node->loop, UV_RUN_NOWAIT) != 0;
    }
    return alive;
}
