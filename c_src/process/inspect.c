#include "process/inspect.h"

#include "process/address.h"
#include "process/generic.h"
#include "process/lineage.h"
#include "process/links.h"
#include "process/monitors.h"
#include "process/state.h"

/* ---- processes ------------------------------------------------------------------------------- */

void kv_runtime_each_peer(const struct kv_runtime *runtime,
                          void (*visit)(void *context, struct kv_bytes name, bool hidden),
                          void *context)
{
    KV_LIST_FOREACH (link, &runtime->peer_list) {
        const struct kv_peer *peer = KV_LIST_OF(link, const struct kv_peer, of_runtime);
        visit(context, kv_buffer_bytes(&peer->name), peer->hidden);
    }
}

bool kv_runtime_has_peer(const struct kv_runtime *runtime, struct kv_bytes name)
{
    KV_LIST_FOREACH (link, &runtime->peer_list) {
        if (kv_bytes_equal(
                kv_buffer_bytes(&KV_LIST_OF(link, const struct kv_peer, of_runtime)->name), name)) {
            return true;
        }
    }
    return false;
}

static size_t memory_of(const struct kv_process *process)
{
    return sizeof *process + process->runtime->generic->size + process->behaviour->state_size +
           process->name.capacity + process->group_leader.capacity + process->parent.capacity;
}

/* Tools are shown the beginning of a label, cut between two characters of UTF-8. */
static struct kv_bytes shown(struct kv_bytes label)
{
    size_t length = label.length;
    if (length <= KV_LABEL_SHOWN) {
        return label;
    }
    for (length = KV_LABEL_SHOWN; length > 0 && (label.data[length] & 0xc0) == 0x80; length--) {
    }
    return kv_bytes(label.data, length);
}

void kv_process_inspect(const struct kv_process *process, struct kv_process_info *info)
{
    const struct kv_behaviour *behaviour = process->behaviour;
    size_t state = behaviour->memory == NULL ? 0 : behaviour->memory(process);
    *info = (struct kv_process_info){
        .pid = kv_process_pid(process),
        .name = kv_process_name(process),
        .label = behaviour->label == NULL ? kv_bytes(NULL, 0) : shown(behaviour->label(process)),
        .module = behaviour->module,
        .function = behaviour->function == NULL ? "init" : behaviour->function,
        .arity = behaviour->arity == 0 ? 1 : behaviour->arity,
        .memory = memory_of(process) + state,
        .state = state,
        .reductions = process->reductions,
        .traps_exits = behaviour->handle_exit != NULL,
        .parent = kv_buffer_bytes(&process->parent),
        .group_leader = kv_buffer_bytes(&process->group_leader),
        .ancestors = kv_lineage_bytes(process),
        .view = behaviour->view,
    };
    bool counts = behaviour->view != NULL && behaviour->view->counted != NULL;
    info->counted = counts ? behaviour->view->counted(process) : info->memory;
    process->generic->inspect(process, info);
}

struct kv_process *kv_process_at(const struct kv_runtime *runtime, const struct kv_pid *pid)
{
    return kv_process_find(runtime, pid);
}

/* ---- relations ------------------------------------------------------------------------------- */

size_t kv_process_related(const struct kv_process *process, enum kv_relation relation)
{
    return process->related[relation];
}

static void each_link(const struct kv_process *process, size_t most,
                      void (*visit)(void *context, const struct kv_pid *other), void *context)
{
    KV_LIST_FOREACH (entry, &process->links) {
        const struct kv_link *link = KV_LIST_OF(entry, const struct kv_link, of_process);
        struct kv_pid other = kv_remote_pid(link->peer, &link->remote);
        if (most-- == 0) {
            return;
        }
        if (link->step == KV_LINK_ACTIVE) {
            visit(context, &other);
        }
    }
}

static void each_monitor(const struct kv_process *process, size_t most,
                         void (*visit)(void *context, const struct kv_pid *other), void *context)
{
    KV_LIST_FOREACH (entry, &process->monitors) {
        const struct kv_monitor *monitor = KV_LIST_OF(entry, const struct kv_monitor, of_process);
        struct kv_pid other = kv_remote_pid(monitor->peer, &monitor->target);
        if (most-- == 0) {
            return;
        }
        visit(context, &other);
    }
}

static void each_watcher(const struct kv_process *process, size_t most,
                         void (*visit)(void *context, const struct kv_pid *other), void *context)
{
    KV_LIST_FOREACH (entry, &process->watches) {
        const struct kv_watch *watch = KV_LIST_OF(entry, const struct kv_watch, of_process);
        struct kv_pid other = kv_remote_pid(watch->peer, &watch->watcher);
        if (most-- == 0) {
            return;
        }
        visit(context, &other);
    }
}

void kv_process_each(const struct kv_process *process, enum kv_relation relation, size_t most,
                     void (*visit)(void *context, const struct kv_pid *other), void *context)
{
    switch (relation) {
    case KV_RELATION_LINK:
        each_link(process, most, visit, context);
        break;
    case KV_RELATION_MONITOR:
        each_monitor(process, most, visit, context);
        break;
    case KV_RELATION_MONITORED_BY:
        each_watcher(process, most, visit, context);
        break;
    case KV_RELATIONS:
        break;
    }
}

void kv_runtime_each_linked(struct kv_runtime *runtime, const struct kv_pid *pid,
                            void (*visit)(void *context, const struct kv_process *process),
                            void *context)
{
    struct kv_remote remote = kv_remote_of(pid);
    const struct kv_peer *peer = kv_route(runtime, pid->node);
    if (peer == NULL) {
        return;
    }
    KV_LIST_FOREACH (entry, &peer->link_list) {
        const struct kv_link *link = KV_LIST_OF(entry, const struct kv_link, of_peer);
        if (link->step == KV_LINK_ACTIVE && kv_remote_equal(&link->remote, &remote)) {
            visit(context, link->process);
        }
    }
}

struct kv_bytes kv_process_name(const struct kv_process *process)
{
    return kv_buffer_bytes(&process->name);
}
