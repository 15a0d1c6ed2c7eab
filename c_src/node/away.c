/* The VM that holds the leash, while it is not connected: see kv_runtime_peer_down(). This file
 * counts the time that the VM gets, and writes the log lines about it. */
#include "node/node.h"

enum { STEP_MS = 1000, MS_PER_S = 1000 };

static void on_step(uv_timer_t *timer);

/* Counts the time in steps, and a step that took longer as one step: if this program was stopped
 * meanwhile, with the container around it say, the VM probably was stopped, too. */
static void count_down(struct kv_node *node)
{
    struct kv_absence *absence = &node->absence;
    absence->step = absence->left < STEP_MS ? absence->left : STEP_MS;
    uv_timer_start(&absence->timer, on_step, absence->step, 0);
}

static void expire(struct kv_node *node)
{
    node->absence.noticed = false;
    kv_log(&node->log, KV_LOG_NOTICE, "its VM %s did not come back in %g s: its processes end",
           node->options.vm, (double)node->options.reconnect_timeout / MS_PER_S);
    kv_runtime_vm_expired(node->net.runtime);
}

static void on_step(uv_timer_t *timer)
{
    struct kv_node *node = timer->data;
    node->absence.left -= node->absence.step;
    if (node->absence.left > 0) {
        count_down(node);
    } else {
        expire(node);
    }
}

static void notice_away(struct kv_node *node)
{
    struct kv_absence *absence = &node->absence;
    absence->noticed = true;
    absence->since = uv_now(&node->loop);
    absence->left = node->options.reconnect_timeout;
    kv_log(&node->log, KV_LOG_NOTICE,
           "connection to its VM %s lost: its processes are kept for %g s", node->options.vm,
           (double)absence->left / MS_PER_S);
    count_down(node);
}

static void notice_back(struct kv_node *node)
{
    node->absence.noticed = false;
    uv_timer_stop(&node->absence.timer);
    kv_log(&node->log, KV_LOG_NOTICE, "its VM %s is back after %llu ms", node->options.vm,
           (unsigned long long)(uv_now(&node->loop) - node->absence.since));
}

void kv_node_watch_vm(struct kv_node *node)
{
    if (node->net.runtime == NULL || node->net.stopping) {
        return;
    }
    bool away = kv_runtime_vm_is_away(node->net.runtime);
    if (away != node->absence.noticed) {
        (away ? notice_away : notice_back)(node);
    }
}
