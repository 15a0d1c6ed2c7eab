#include "support/probe.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct probe {
    uint64_t monitor;
    uint64_t downs;
    uint64_t infos;
    uint64_t casts;
    uint64_t backs;
    char last_reason[64];
};

static void reason_text(struct kv_bytes reason, char *to, size_t size)
{
    struct kv_bytes text = NONE;
    struct kv_reader reader = kv_reader(reason);
    if (kv_read_atom(&reader, &text) == KV_OK) {
        (void)snprintf(to, size, "%.*s", (int)text.length, (const char *)text.data);
    }
}

static int probe_init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)self;
    if (kv_term_is_atom(options, "fail")) {
        kv_write_atom_text(reason, "told_to_fail");
        return KV_EEXIST;
    }
    if (kv_term_is_atom(options, "exit")) {
        kv_process_exit_atom(self, "left_at_once");
    }
    return KV_OK;
}

static void probe_call(struct kv_process *self, const struct kv_from *from, struct kv_bytes request)
{
    struct probe *probe = kv_process_state(self);
    struct kv_pid pid;
    struct kv_bytes term = NONE;
    struct kv_bytes command = NONE;
    struct kv_bytes name = NONE;
    struct kv_reader reader = kv_reader(request);
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_atom(&reader, &command) != KV_OK) {
        kv_reply_bad_request(self, from, request);
        return;
    }
    struct kv_reader name_reader = reader;
    struct kv_reader pid_reader = reader;
    (void)kv_read_any(&reader, &term);
    bool is_pid = kv_read_pid(&pid_reader, &pid) == KV_OK;
    if (is_pid && kv_bytes_is(command, "monitor")) {
        probe->monitor = kv_monitor(self, &pid);
    } else if (is_pid && kv_bytes_is(command, "own")) {
        probe->monitor = kv_monitor_owner(self, &pid);
    } else if (kv_bytes_is(command, "backs")) {
        struct kv_buffer *backs = kv_process_scratch(self);
        kv_write_u64(backs, probe->backs);
        kv_reply(self, from, kv_buffer_bytes(backs));
        return;
    } else if (kv_bytes_is(command, "demonitor")) {
        kv_demonitor(self, probe->monitor);
    } else if (is_pid && kv_bytes_is(command, "link")) {
        kv_link(self, &pid);
    } else if (is_pid && kv_bytes_is(command, "unlink")) {
        kv_unlink(self, &pid);
    } else if (kv_bytes_is(command, "exit")) {
        kv_process_exit(self, term);
    } else if (kv_bytes_is(command, "leave")) {
        kv_process_exit(self, term);
        return;
    } else if (kv_bytes_is(command, "register") && kv_read_atom(&name_reader, &name) == KV_OK) {
        kv_reply_atom(self, from, kv_process_register(self, name) == KV_OK ? "ok" : "taken");
        return;
    }
    kv_reply_atom(self, from, "ok");
}

static void probe_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    struct probe *probe = kv_process_state(self);
    cr_assert_eq(monitor, probe->monitor);
    probe->downs++;
    reason_text(reason, probe->last_reason, sizeof probe->last_reason);
}

static void probe_back(struct kv_process *self, uint64_t monitor)
{
    struct probe *probe = kv_process_state(self);
    cr_assert_eq(monitor, probe->monitor);
    probe->backs++;
}

static void probe_cast(struct kv_process *self, struct kv_bytes request)
{
    (void)request;
    ((struct probe *)kv_process_state(self))->casts++;
}

static void probe_info(struct kv_process *self, struct kv_bytes message)
{
    (void)message;
    ((struct probe *)kv_process_state(self))->infos++;
}

/* {Downs, LastReason, Infos, Casts} */
static void probe_state(const struct kv_process *self, struct kv_buffer *to)
{
    const struct probe *probe = kv_process_const_state(self);
    kv_write_tuple(to, 4);
    kv_write_u64(to, probe->downs);
    kv_write_atom_text(to, probe->last_reason);
    kv_write_u64(to, probe->infos);
    kv_write_u64(to, probe->casts);
}

const struct kv_behaviour probe_behaviour = {
    .module = "probe",
    .state_size = sizeof(struct probe),
    .init = probe_init,
    .handle_call = probe_call,
    .handle_cast = probe_cast,
    .handle_info = probe_info,
    .handle_down = probe_down,
    .handle_back = probe_back,
    .write_state = probe_state,
};

struct kv_bytes expected_state(int64_t downs, const char *reason, int64_t infos, int64_t casts)
{
    return term_tuple(term_integer(downs), term_atom(reason), term_integer(infos),
                      term_integer(casts));
}

struct fixture *probe_fixture(void)
{
    struct fixture *fixture = fixture_new();
    kv_offer(fixture->runtime, &probe_behaviour, NULL);
    return fixture;
}

struct kv_pid spawn_probe(struct fixture *fixture)
{
    struct kv_pid pid =
        feed_spawn(fixture, fixture->a, "probe", term_list(NONE, NONE, NONE), term_atom("ok"));
    forget(fixture);
    /* forget() has freed the node name of the reply. */
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

void do_with_pid(struct fixture *fixture, const struct kv_pid *probe, const char *command,
                 const struct kv_pid *pid)
{
    (void)call(fixture, probe, term_tuple(term_atom(command), term_pid(pid), NONE, NONE));
}
