#include "kv/adopt.h"
#include "kv/kv.h"

#include "base/alloc.h"

struct kv_adoptable *kv_adoptable_begin(struct kv_process *self, enum kv_option_set kind,
                                        uint64_t generation)
{
    struct kv_adoptable *adoptable = kv_zalloc(sizeof *adoptable);
    adoptable->pid = kv_process_pid(self);
    adoptable->kind = kind;
    adoptable->generation = generation;
    kv_list_append(&kv_store_of(self)->adoptables, &adoptable->link);
    return adoptable;
}

void kv_adoptable_end(struct kv_adoptable *adoptable)
{
    if (adoptable != NULL) {
        kv_list_remove(&adoptable->link);
        kv_free(adoptable);
    }
}

/* By the pid that has the name now: a process that ends in pieces has lost its name already. */
const struct kv_adoptable *kv_adoptable_find(struct kv_process *self, enum kv_option_set kind,
                                             struct kv_bytes name)
{
    struct kv_pid holder;
    if (!kv_whereis(kv_process_runtime(self), name, &holder)) {
        return NULL;
    }
    KV_LIST_FOREACH (link, &kv_store_of(self)->adoptables) {
        const struct kv_adoptable *adoptable = KV_LIST_OF(link, struct kv_adoptable, link);
        if (adoptable->kind == kind && kv_pid_equal(&adoptable->pid, &holder)) {
            return adoptable;
        }
    }
    return NULL;
}
