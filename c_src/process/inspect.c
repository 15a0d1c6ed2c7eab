#include "process/inspect.h"

#include "process/state.h"

void kv_runtime_each_process(const struct kv_runtime *runtime,
                             void (*visit)(void *context, const struct kv_process *process),
                             void *context)
{
    KV_LIST_FOREACH (link, &runtime->process_list) {
        visit(context, KV_LIST_OF(link, const struct kv_process, of_runtime));
    }
}

struct scan {
    void (*visit)(void *context, const struct kv_process *process);
    void *context;
};

static void visit_node(void *context, struct kv_map_node *node)
{
    const struct scan *scan = context;
    scan->visit(scan->context, KV_MAP_OF(node, const struct kv_process, by_number));
}

void kv_runtime_scan_processes(const struct kv_runtime *runtime, uint64_t *cursor,
                               void (*visit)(void *context, const struct kv_process *process),
                               void *context)
{
    struct scan scan = {.visit = visit, .context = context};
    kv_map_scan(&runtime->processes, cursor, visit_node, &scan);
}

void kv_runtime_each_peer(const struct kv_runtime *runtime,
                          void (*visit)(void *context, struct kv_bytes name), void *context)
{
    KV_LIST_FOREACH (link, &runtime->peer_list) {
        const struct kv_peer *peer = KV_LIST_OF(link, const struct kv_peer, of_runtime);
        visit(context, kv_buffer_bytes(&peer->name));
    }
}

static size_t memory_of(const struct kv_process *process)
{
    const struct kv_behaviour *behaviour = process->behaviour;
    size_t state = behaviour->memory == NULL ? 0 : behaviour->memory(process);
    return sizeof *process + behaviour->state_size + process->name.capacity +
           process->group_leader.capacity + process->parent.capacity + state;
}

void kv_process_inspect(const struct kv_process *process, struct kv_process_info *info)
{
    const struct kv_behaviour *behaviour = process->behaviour;
    *info = (struct kv_process_info){
        .pid = kv_process_pid(process),
        .name = kv_process_name(process),
        .label = behaviour->label == NULL ? kv_bytes(NULL, 0) : behaviour->label(process),
        .module = behaviour->module,
        .function = behaviour->function == NULL ? "init" : behaviour->function,
        .arity = behaviour->arity == 0 ? 1 : behaviour->arity,
        .memory = memory_of(process),
        .reductions = process->reductions,
        .queue = process->kept_count,
        .suspended = process->suspended,
        .traps_exits = behaviour->handle_exit != NULL,
        .parent = kv_buffer_bytes(&process->parent),
        .group_leader = kv_buffer_bytes(&process->group_leader),
        .view = behaviour->view,
    };
}

struct kv_process *kv_process_at(const struct kv_runtime *runtime, const struct kv_pid *pid)
{
    return kv_process_find(runtime, pid);
}

static void each_link(const struct kv_process *process,
                      void (*visit)(void *context, const struct kv_pid *other), void *context)
{
    KV_LIST_FOREACH (entry, &process->links) {
        const struct kv_link *link = KV_LIST_OF(entry, const struct kv_link, of_process);
        struct kv_pid other = kv_remote_pid(link->peer, &link->remote);
        if (link->step == KV_LINK_ACTIVE) {
            visit(context, &other);
        }
    }
}

static void each_monitor(const struct kv_process *process,
                         void (*visit)(void *context, const struct kv_pid *other), void *context)
{
    KV_LIST_FOREACH (entry, &process->monitors) {
        const struct kv_monitor *monitor = KV_LIST_OF(entry, const struct kv_monitor, of_process);
        struct kv_pid other = kv_remote_pid(monitor->peer, &monitor->target);
        visit(context, &other);
    }
}

static void each_watcher(const struct kv_process *process,
                         void (*visit)(void *context, const struct kv_pid *other), void *context)
{
    KV_LIST_FOREACH (entry, &process->watches) {
        const struct kv_watch *watch = KV_LIST_OF(entry, const struct kv_watch, of_process);
        struct kv_pid other = kv_remote_pid(watch->peer, &watch->watcher);
        visit(context, &other);
    }
}

void kv_process_each(const struct kv_process *process, enum kv_relation relation,
                     void (*visit)(void *context, const struct kv_pid *other), void *context)
{
    switch (relation) {
    case KV_RELATION_LINK:
        each_link(process, visit, context);
        break;
    case KV_RELATION_MONITOR:
        each_monitor(process, visit, context);
        break;
    case KV_RELATION_MONITORED_BY:
        each_watcher(process, visit, context);
        break;
    }
}

struct kv_bytes kv_process_name(const struct kv_process *process)
{
    return kv_buffer_bytes(&process->name);
}

struct kv_bytes kv_runtime_node(const struct kv_runtime *runtime)
{
    return kv_buffer_bytes(&runtime->node);
}

const struct kv_world *kv_runtime_world(const struct kv_runtime *runtime)
{
    return &runtime->world;
}
