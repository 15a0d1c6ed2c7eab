#include "kv/snapshots.h"

#include "base/alloc.h"

struct kv_opened *kv_snapshots_open(struct kv_snapshots *all, struct kv_process *self,
                                    struct kv_table *table, const struct kv_pid *owner)
{
    struct kv_snapshot *snapshot =
        all->count < KV_SNAPSHOTS_MAX ? kv_snapshot_new(table, KV_SNAPSHOT_BYTES) : NULL;
    if (snapshot == NULL) {
        return NULL;
    }
    struct kv_opened *opened = kv_zalloc(sizeof *opened);
    opened->snapshot = snapshot;
    opened->number = ++all->numbers;
    opened->next = all->first;
    all->first = opened;
    all->count++;
    opened->monitor = kv_monitor(self, owner);
    return opened;
}

struct kv_opened *kv_snapshots_find(const struct kv_snapshots *all, uint64_t number)
{
    struct kv_opened *one = all->first;
    while (one != NULL && one->number != number) {
        one = one->next;
    }
    return one;
}

void kv_snapshots_close(struct kv_snapshots *all, struct kv_process *self, struct kv_opened *opened)
{
    struct kv_opened **place = &all->first;
    while (*place != opened) {
        place = &(*place)->next;
    }
    *place = opened->next;
    all->count--;
    kv_demonitor(self, opened->monitor);
    kv_snapshot_free(opened->snapshot);
    kv_free(opened);
}

void kv_snapshots_down(struct kv_snapshots *all, struct kv_process *self, uint64_t monitor)
{
    for (struct kv_opened *one = all->first; one != NULL; one = one->next) {
        if (one->monitor == monitor) {
            kv_snapshots_close(all, self, one);
            return;
        }
    }
}

void kv_snapshots_close_all(struct kv_snapshots *all, struct kv_process *self)
{
    while (all->first != NULL) {
        kv_snapshots_close(all, self, all->first);
    }
}

size_t kv_snapshots_memory(const struct kv_snapshots *all)
{
    size_t bytes = 0;
    for (const struct kv_opened *one = all->first; one != NULL; one = one->next) {
        bytes += sizeof *one + kv_snapshot_memory(one->snapshot);
    }
    return bytes;
}
