#include "server/mailbox.h"

#include "process/generic.h"
#include "process/state.h"
#include "server/state.h"

static struct kv_kept *first_of(const struct kv_list *list)
{
    return kv_list_is_empty(list) ? NULL : KV_LIST_OF(list->next, struct kv_kept, link);
}

struct kv_kept *kv_mailbox_next(const struct kv_process *process)
{
    const struct kv_server_state *server = kv_const_server_of(process);
    struct kv_kept *usual = server->suspended ? NULL : first_of(&server->kept);
    struct kv_kept *system = first_of(&server->kept_system);
    bool first = usual == NULL || (system != NULL && system->number < usual->number);
    return first ? system : usual;
}

void kv_mailbox_keep(struct kv_process *process, struct kv_bytes message, bool system)
{
    struct kv_server_state *server = kv_server_of(process);
    struct kv_signal signal = {.kind = KV_SIGNAL_MESSAGE, .payload = {message}, .payload_parts = 1};
    struct kv_kept *kept = kv_signal_keep_lent(process->runtime, &signal);
    kept->number = ++server->kept_number;
    kv_list_append(system ? &server->kept_system : &server->kept, &kept->link);
    server->kept_count++;
}

void kv_mailbox_take(struct kv_process *process, struct kv_kept *kept)
{
    kv_list_remove(&kept->link);
    kv_server_of(process)->kept_count--;
}

/* Readers of the shared memory must call a suspended process instead, until it has handled what
 * waited. */
static void tell(struct kv_process *process, bool suspended)
{
    struct kv_server_state *server = kv_server_of(process);
    if (server->told != suspended) {
        server->told = suspended;
        if (process->behaviour->handle_suspend != NULL) {
            process->behaviour->handle_suspend(process, suspended);
        }
    }
}

void kv_mailbox_suspend(struct kv_process *process)
{
    struct kv_server_state *server = kv_server_of(process);
    server->suspended = true;
    server->holding = true;
    tell(process, true);
}

void kv_mailbox_resume(struct kv_process *process)
{
    struct kv_server_state *server = kv_server_of(process);
    server->suspended = false;
    server->holding = server->kept_count > 0;
    tell(process, server->holding);
    kv_process_want_turns(process, server->holding);
}

void kv_mailbox_wait(struct kv_process *process)
{
    struct kv_server_state *server = kv_server_of(process);
    if (!server->holding) {
        server->holding = true;
        tell(process, true);
        kv_process_want_turns(process, true);
    }
}

void kv_mailbox_rest(struct kv_process *process)
{
    struct kv_server_state *server = kv_server_of(process);
    server->holding = server->suspended;
    tell(process, server->suspended);
    kv_process_want_turns(process, false);
}

void kv_process_go_on(struct kv_process *self)
{
    struct kv_server_state *server = kv_server_of(self);
    server->going = true;
    server->holding = true;
    kv_process_want_turns(self, true);
}

static void drop_all(struct kv_list *list)
{
    KV_LIST_FOREACH (link, list) {
        kv_list_remove(link);
        kv_kept_free(KV_LIST_OF(link, struct kv_kept, link));
    }
}

void kv_mailbox_free(struct kv_process *process)
{
    drop_all(&kv_server_of(process)->kept);
    drop_all(&kv_server_of(process)->kept_system);
}
