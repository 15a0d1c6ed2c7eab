/* Walks over the processes of a node. */
#include "process/walk.h"

#include "process/inspect.h"
#include "process/state.h"

void kv_walk_begin(struct kv_walk *walk, struct kv_runtime *runtime)
{
    walk->runtime = runtime;
    walk->next = runtime->process_list.next;
    walk->last = runtime->next_process;
    kv_list_append(&runtime->walks, &walk->of_runtime);
}

bool kv_walk_step(struct kv_walk *walk, size_t count,
                  void (*visit)(void *context, const struct kv_process *process), void *context)
{
    for (; walk->runtime != NULL && count > 0; count--) {
        const struct kv_process *process = KV_LIST_OF(walk->next, struct kv_process, of_runtime);
        if (walk->next == &walk->runtime->process_list || process->number > walk->last) {
            kv_walk_end(walk);
        } else {
            walk->next = walk->next->next;
            visit(context, process);
        }
    }
    return walk->runtime != NULL;
}

void kv_walk_end(struct kv_walk *walk)
{
    if (walk->runtime != NULL) {
        walk->runtime = NULL;
        kv_list_remove(&walk->of_runtime);
    }
}

void kv_walks_pass(struct kv_process *process)
{
    KV_LIST_FOREACH (link, &process->runtime->walks) {
        struct kv_walk *walk = KV_LIST_OF(link, struct kv_walk, of_runtime);
        if (walk->next == &process->of_runtime) {
            walk->next = process->of_runtime.next;
        }
    }
}
