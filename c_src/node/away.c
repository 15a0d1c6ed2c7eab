/* VMs that are not connected while some of our processes belong to theirs: the VM that holds the
 * leash, or without a leash any VM. See kv_runtime_peer_down(). This file counts the time that each
 * of them gets, and writes the log lines about it. */
#include "node/node.h"

#include "base/alloc.h"

enum { STEP_MS = 1000, MS_PER_S = 1000 };

struct kv_absence {
    uv_timer_t timer;
    struct kv_list link;
    struct kv_node *node;
    uint64_t number; /* that the runtime gave it */
    uint64_t since;  /* on the clock of the loop */
    uint64_t left;   /* milliseconds for which the processes of the VM are kept */
    uint64_t step;   /* milliseconds of them until the timer comes next */
    char vm[KV_NODE_NAME_MAX + 1];
};

static void on_step(uv_timer_t *timer);

static void on_closed(uv_handle_t *timer)
{
    kv_free(timer->data);
}

static void forget(struct kv_absence *absence)
{
    kv_list_remove(&absence->link);
    uv_close((uv_handle_t *)&absence->timer, on_closed);
}

/* Counts the time in steps, and a step that took longer as one step: if this program was stopped
 * meanwhile, with the container around it say, the VM probably was stopped, too. */
static void count_down(struct kv_absence *absence)
{
    absence->step = absence->left < STEP_MS ? absence->left : STEP_MS;
    uv_timer_start(&absence->timer, on_step, absence->step, 0);
}

static void expire(struct kv_absence *absence)
{
    struct kv_node *node = absence->node;
    kv_log(&node->log, KV_LOG_NOTICE, "its VM %s did not come back in %g s: its processes end",
           absence->vm, (double)node->options.reconnect_timeout / MS_PER_S);
    kv_runtime_absence_expired(node->net.runtime, absence->number);
    forget(absence);
}

static void on_step(uv_timer_t *timer)
{
    struct kv_absence *absence = timer->data;
    absence->left -= absence->step;
    if (absence->left > 0) {
        count_down(absence);
    } else {
        expire(absence);
    }
}

static void notice_away(struct kv_node *node, uint64_t number, struct kv_bytes vm)
{
    struct kv_absence *absence = kv_zalloc(sizeof *absence);
    uv_timer_init(&node->loop, &absence->timer);
    absence->timer.data = absence;
    absence->node = node;
    absence->number = number;
    absence->since = uv_now(&node->loop);
    absence->left = node->options.reconnect_timeout;
    memcpy(absence->vm, vm.data, vm.length < KV_NODE_NAME_MAX ? vm.length : KV_NODE_NAME_MAX);
    kv_list_append(&node->absences, &absence->link);
    kv_log(&node->log, KV_LOG_NOTICE,
           "connection to its VM %s lost: its processes are kept for %g s", absence->vm,
           (double)absence->left / MS_PER_S);
    count_down(absence);
}

static void notice_back(struct kv_absence *absence)
{
    struct kv_node *node = absence->node;
    kv_log(&node->log, KV_LOG_NOTICE, "its VM %s is back after %llu ms", absence->vm,
           (unsigned long long)(uv_now(&node->loop) - absence->since));
    forget(absence);
}

/* Both lists are in the order of the numbers. */
static void compare(struct kv_node *node)
{
    struct kv_bytes vm = kv_bytes(NULL, 0);
    uint64_t number = kv_runtime_next_absence(node->net.runtime, 0, &vm);
    KV_LIST_FOREACH (link, &node->absences) {
        struct kv_absence *absence = KV_LIST_OF(link, struct kv_absence, link);
        if (absence->number == number) {
            number = kv_runtime_next_absence(node->net.runtime, number, &vm);
        } else {
            notice_back(absence);
        }
    }
    while (number != 0) {
        notice_away(node, number, vm);
        number = kv_runtime_next_absence(node->net.runtime, number, &vm);
    }
}

void kv_node_watch_vms(struct kv_node *node)
{
    if (node->net.runtime == NULL || node->net.stopping) {
        return;
    }
    const struct kv_absences now = kv_runtime_absences(node->net.runtime);
    if (now.begun != node->seen.begun || now.count != node->seen.count) {
        node->seen = now;
        compare(node);
    }
}

void kv_node_forget_vms(struct kv_node *node)
{
    KV_LIST_FOREACH (link, &node->absences) {
        kv_free(KV_LIST_OF(link, struct kv_absence, link));
    }
}
