/* A native process of one's own: a counter, and a node that runs it.
 *
 * The node offers counter:init/1, so any BEAM node can spawn a counter:
 *
 *     {Pid, Ref} = spawn_monitor(Node, counter, init, [0]),
 *     5 = gen_server:call(Pid, {add, 5}),
 *     ok = gen_server:cast(Pid, reset),
 *     0 = gen_server:call(Pid, value).
 *
 * One counter starts with the node and is registered as `counter`. */
#include <kv/log.h>
#include <kv/node.h>
#include <kv/process.h>

/* The context of the behaviour: all counters of a node share it. */
struct counters {
    uint64_t started;
};

/* The state of one counter. The runtime zeroes it. */
struct counter {
    int64_t value;
};

/* The argument is the first value, or {Name, Value} for a counter with a name. */
static int init(struct kv_process *self, struct kv_bytes argument, struct kv_buffer *reason)
{
    struct counter *counter = kv_process_state(self);
    struct counters *counters = kv_process_context(self);
    struct kv_bytes name = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(argument);
    if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_atom(&reader, &name) != KV_OK) {
        kv_write_atom_text(reason, "bad_name");
        return KV_ETYPE;
    }
    if (kv_read_i64(&reader, &counter->value) != KV_OK) {
        kv_write_atom_text(reason, "not_an_integer");
        return KV_ETYPE;
    }
    if (name.length > 0 && kv_process_register(self, name) != KV_OK) {
        kv_write_atom_text(reason, "already_registered");
        return KV_EEXIST;
    }
    counters->started++;
    kv_log_line(kv_process_runtime(self), KV_LOG_INFO, "counter %llu has started",
                (unsigned long long)counters->started);
    return KV_OK;
}

/* Does {add, N}. Returns false, and changes nothing, if the request is another one or the sum does
 * not fit into 64 bits. */
static bool add(struct counter *counter, struct kv_bytes request)
{
    struct kv_reader reader = kv_reader(request);
    int64_t amount = 0;
    int64_t sum = 0;
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_this_atom(&reader, "add") != KV_OK ||
        kv_read_i64(&reader, &amount) != KV_OK ||
        __builtin_add_overflow(counter->value, amount, &sum)) {
        return false;
    }
    counter->value = sum;
    return true;
}

static void handle_call(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request)
{
    struct counter *counter = kv_process_state(self);
    if (!kv_term_is_atom(request, "value") && !add(counter, request)) {
        kv_reply_bad_request(self, from, request);
        return;
    }
    struct kv_buffer *answer = kv_process_scratch(self);
    kv_write_i64(answer, counter->value);
    kv_reply(self, from, kv_buffer_bytes(answer));
}

static void handle_cast(struct kv_process *self, struct kv_bytes request)
{
    struct counter *counter = kv_process_state(self);
    if (kv_term_is_atom(request, "reset")) {
        counter->value = 0;
    } else {
        (void)add(counter, request);
    }
}

/* sys:get_state/1 answers this term. */
static void write_state(const struct kv_process *self, struct kv_buffer *to)
{
    const struct counter *counter = kv_process_const_state(self);
    kv_write_i64(to, counter->value);
}

static const struct kv_behaviour counter_behaviour = {
    .module = "counter",
    .state_size = sizeof(struct counter),
    .init = init,
    .handle_call = handle_call,
    .handle_cast = handle_cast,
    .write_state = write_state,
};

/* Called once, before the node accepts its first peer. */
static int start(void *context, const struct kv_node_parts *parts)
{
    struct kv_buffer argument = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    struct kv_pid pid;
    kv_offer(parts->runtime, &counter_behaviour, context);
    kv_write_tuple(&argument, 2);
    kv_write_atom_text(&argument, "counter");
    kv_write_i64(&argument, 0);
    int error =
        kv_spawn(parts->runtime, &counter_behaviour, kv_buffer_bytes(&argument), &pid, &reason);
    kv_buffer_free(&argument);
    kv_buffer_free(&reason);
    return error;
}

int main(int argc, char **argv)
{
    struct counters counters = {0};
    return kv_node_main(argc, argv, &(struct kv_node_setup){.context = &counters, .start = start});
}
