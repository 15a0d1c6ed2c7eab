/* Runs programs of signals against the runtime: every byte of the input chooses what happens next.
 *
 * Three peers come and go. Their processes spawn, link, monitor, call, suspend and kill buckets and
 * registries, and send payloads that are any valid term. A log holds processes back and releases
 * them. At the end no memory may be left, and every signal that was sent must be well-formed. */
#include "base/alloc.h"
#include "kv/kv.h"
#include "observe/observe.h"
#include "process/runtime.h"
#include "server/server.h"
#include "store/arena.h"
#include "wire/control.h"
#include "wire/handshake.h"

#include <stdio.h>
#include <stdlib.h>

enum { PEERS = 3, PIDS_PER_PEER = 4, MAX_NATIVE = 24, REFS = 16, ARENA_SIZE = 1 << 24 };

struct world {
    const uint8_t *data;
    size_t left;
    struct kv_runtime *runtime;
    struct kv_peer *peers[PEERS];     /* the first is the VM, which has two runs */
    struct kv_pid native[MAX_NATIVE]; /* pids of our node that replies named */
    size_t native_count;
    uint64_t clock;
    uint64_t durable; /* the batch that the log has come up to */
    struct kv_buffer terms;
    struct kv_buffer frame;
};

static char names[PEERS][8] = {"a@h", "b@h", "c@h"};
static const char node[] = "kv@h";

static uint8_t next(struct world *world)
{
    if (world->left == 0) {
        return 0;
    }
    world->left--;
    return *world->data++;
}

/* Every signal that leaves must be a frame that the other side would take. */
static void sent(void *context, void *carrier, const struct kv_signal *signal)
{
    static const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    struct world *world = context;
    struct kv_signal back = {0};
    int opcode = 0;
    (void)carrier;
    kv_buffer_clear(&world->frame);
    kv_control_encode(signal, KV_DFLAGS_OFFERED, &world->frame);
    struct kv_bytes content = kv_bytes(world->frame.data + 4, world->frame.length - 4);
    if (kv_control_decode(content, KV_DFLAGS_OFFERED, &limits, kv_bytes_text(node), &back,
                          &opcode) != KV_OK) {
        abort();
    }
    if (signal->kind == KV_SIGNAL_SPAWN_REPLY && !signal->by_name &&
        world->native_count < MAX_NATIVE) {
        struct kv_pid *pid = &world->native[world->native_count++];
        *pid = signal->from;
        pid->node = kv_bytes_text(node);
    }
}

static void logged(void *context, enum kv_log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

static void now(void *context, struct kv_date *date)
{
    (void)context;
    *date = (struct kv_date){2026, 11, 21, 9, 30, 59};
}

static uint64_t clock_of_world(void *context)
{
    return ((struct world *)context)->clock;
}

static void stats(void *context, struct kv_stats *to)
{
    (void)context;
    *to = (struct kv_stats){.versions = "fuzz"};
}

static void each_connection(void *context,
                            void (*visit)(void *visitor, const struct kv_connection_info *info),
                            void *visitor)
{
    (void)context;
    (void)visit;
    (void)visitor;
}

static struct kv_pid remote(size_t peer, struct world *world)
{
    uint8_t choice = next(world);
    return (struct kv_pid){.node = kv_bytes_text(names[peer]),
                           .id = choice % PIDS_PER_PEER,
                           .creation = choice < 240 ? 5 : 6};
}

static struct kv_pid native(struct world *world)
{
    uint8_t choice = next(world);
    if (world->native_count == 0 || choice == 255) {
        return (struct kv_pid){
            .node = kv_bytes_text(node), .id = choice, .creation = choice == 254 ? 1 : 9};
    }
    return world->native[choice % world->native_count];
}

static struct kv_ref reference(size_t peer, uint8_t number)
{
    return (struct kv_ref){
        .node = kv_bytes_text(names[peer]), .creation = 5, .count = 2, .words = {number, 1}};
}

/* A term of few bytes of the input: atoms of the protocol, small data, pids, or raw bytes. */
static void write_term(struct world *world, struct kv_buffer *to, int depth)
{
    static const char *const atoms[] = {"normal",
                                        "kill",
                                        "killed",
                                        "noproc",
                                        "ok",
                                        "error",
                                        "get",
                                        "put",
                                        "delete",
                                        "clear",
                                        "keys",
                                        "to_map",
                                        "bucket_created",
                                        "bucket_failed",
                                        "create",
                                        "lookup",
                                        "names",
                                        "stop",
                                        "owner",
                                        "creator",
                                        "event_manager",
                                        "debug",
                                        "log",
                                        "true",
                                        "statistics",
                                        "update",
                                        "call",
                                        "erlang",
                                        "node",
                                        "cast",
                                        "name",
                                        "label",
                                        "fetch",
                                        "size",
                                        "put_new",
                                        "has_key",
                                        "terminate",
                                        "only",
                                        "generation",
                                        "kv_totals"};
    uint8_t choice = next(world);
    struct kv_pid pid;
    switch (depth > 3 ? choice % 4 : choice % 9) {
    case 0:
        kv_write_atom_text(to, atoms[next(world) % (sizeof atoms / sizeof atoms[0])]);
        break;
    case 1:
        kv_write_i64(to, next(world));
        break;
    case 2:
        kv_write_binary(to, kv_bytes(names[next(world) % PEERS], 1));
        break;
    case 3:
        pid = (choice & 1) != 0 ? native(world) : remote(next(world) % PEERS, world);
        kv_write_pid(to, &pid);
        break;
    case 4:
        kv_write_nil(to);
        break;
    case 5:
        kv_write_list(to, 1);
        write_term(world, to, depth + 1);
        kv_write_nil(to);
        break;
    case 6:
        kv_write_map(to, 1);
        write_term(world, to, depth + 1);
        write_term(world, to, depth + 1);
        break;
    default: {
        uint32_t arity = 1 + next(world) % 3;
        kv_write_tuple(to, arity);
        for (uint32_t i = 0; i < arity; i++) {
            write_term(world, to, depth + 1);
        }
    }
    }
}

/* {'$gen_call', From, Term}, {system, From, Term}, {'$kv_call', Alias, Term}, {'$gen_cast', Term}
 * or Term. */
static void write_message(struct world *world, struct kv_buffer *to, size_t peer)
{
    static const char *const system[] = {"suspend", "resume", "get_state", "get_status",
                                         "no_debug"};
    uint8_t kind = next(world) % 6;
    if (kind == 4) {
        write_term(world, to, 0);
        return;
    }
    if (kind == 3) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "$gen_cast");
        write_term(world, to, 0);
        return;
    }
    struct kv_pid pid = remote(peer, world);
    struct kv_ref alias = reference(peer, next(world));
    kv_write_tuple(to, 3);
    if (kind == 5) {
        kv_write_atom_text(to, "$kv_call");
        kv_write_ref(to, &alias);
        write_term(world, to, 0);
        return;
    }
    kv_write_atom_text(to, kind == 0 ? "system" : "$gen_call");
    kv_write_tuple(to, 2);
    kv_write_pid(to, &pid);
    if (kind == 1) {
        kv_write_ref(to, &alias);
    } else {
        kv_write_list(to, 1);
        kv_write_atom_text(to, "alias");
        kv_write_ref(to, &alias);
    }
    if (kind == 0 && next(world) % 2 == 0) {
        kv_write_atom_text(to, system[next(world) % 5]);
    } else {
        write_term(world, to, 0);
    }
}

static void write_pid_option(struct world *world, const char *name)
{
    struct kv_pid pid = remote(next(world) % 4 == 0 ? 1 : 0, world); /* mostly of the VM */
    kv_write_tuple(&world->terms, 2);
    kv_write_atom_text(&world->terms, name);
    kv_write_pid(&world->terms, &pid);
}

/* [{owner, Pid}, {only, Bool}], and for a registry {creator, Pid}: what the OTP side starts. */
static void write_owned_options(struct world *world, bool registry, bool only)
{
    kv_write_list(&world->terms, registry ? 3 : 2);
    write_pid_option(world, "owner");
    kv_write_tuple(&world->terms, 2);
    kv_write_atom_text(&world->terms, "only");
    kv_write_atom_text(&world->terms, only ? "true" : "false");
    if (registry) {
        write_pid_option(world, "creator");
    }
    kv_write_nil(&world->terms);
}

static void spawn(struct world *world, size_t peer, struct kv_signal *signal)
{
    uint8_t flags = next(world);
    signal->ref = reference(peer, 200);
    signal->group_leader = signal->from;
    static const struct {
        const char *module;
        const char *function;
        uint32_t arity;
    } spawned[] = {{"kv_registry", "init", 1},
                   {"kv_bucket", "init", 1},
                   {"erpc", "execute_call", 4},
                   {"proc_lib", "init_p", 5}};
    size_t which = (flags >> 2) % (sizeof spawned / sizeof spawned[0]);
    signal->spawn = (struct kv_mfa){
        .module = kv_bytes_text(spawned[which].module),
        .function = kv_bytes_text(spawned[which].function),
        .arity = spawned[which].arity,
    };
    kv_write_list(&world->terms, 1);
    kv_write_atom_text(&world->terms, (flags & 1) != 0 ? "link" : "priority");
    kv_write_nil(&world->terms);
    size_t options = world->terms.length;
    kv_write_list(&world->terms, spawned[which].arity);
    if ((flags & 0xc0) != 0 && which < 2) {
        write_owned_options(world, which == 0, (flags & 0x40) != 0);
    } else {
        for (uint32_t i = 0; i < spawned[which].arity; i++) {
            write_term(world, &world->terms, 0);
        }
    }
    kv_write_nil(&world->terms);
    signal->spawn_options = kv_bytes(world->terms.data, options);
    signal->payload[0] = kv_bytes(world->terms.data + options, world->terms.length - options);
}

static void connect_or_disconnect(struct world *world, size_t peer, uint8_t choice)
{
    if (world->peers[peer] != NULL) {
        kv_runtime_peer_down(world->runtime, world->peers[peer]);
        world->peers[peer] = NULL;
        return;
    }
    world->peers[peer] = kv_runtime_peer_up(world->runtime, kv_bytes_text(names[peer]),
                                            choice % 16 == 0 ? 6 : 5, names[peer]);
    kv_runtime_peer_ready(world->peers[peer]);
}

/* The signal, over a limit: only the beginning of its payload is there, and one byte of it may be
 * any. */
static void refuse(struct world *world, struct kv_peer *peer, const struct kv_signal *signal)
{
    struct kv_signal refused = *signal;
    struct kv_refusal refusal = {.error = KV_ESIZE, .amount = next(world)};
    bool told = false;
    size_t length = signal->payload[0].length;
    uint8_t *copy = malloc(length > 0 ? length : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, signal->payload[0].data, length);
    size_t kept = length - next(world) % (length + 1);
    if (kept > 0 && refusal.amount % 4 == 0) {
        copy[next(world) % kept] = next(world);
    }
    memmove(copy + length - kept, copy, kept); /* so that it ends where the memory does */
    refused.payload[0] = kv_bytes(copy + length - kept, kept);
    (void)kv_runtime_refuse(world->runtime, peer, &refused, &refusal, &told);
    free(copy);
}

static bool is_full(void *context, const void *carrier)
{
    const struct world *world = context;
    return carrier == names[0] && world->left % 4 == 0;
}

/* A process of ours waits for a later batch, or the log has come up to one. */
static void hold_or_release(struct world *world)
{
    struct kv_pid pid = native(world);
    struct kv_process *process = kv_process_at(world->runtime, &pid);
    uint8_t ahead = next(world) % 8;
    if (ahead < 3 || process == NULL) {
        world->durable += ahead;
        kv_runtime_release(world->runtime, world->durable);
    } else {
        kv_process_hold_until(process, world->durable + ahead);
    }
}

/* Returns true while some node is away. */
static bool is_away(const struct kv_runtime *runtime)
{
    return kv_runtime_absences(runtime).count > 0;
}

/* The node that left first has been away for too long. */
static void expire(struct kv_runtime *runtime)
{
    struct kv_bytes name;
    kv_runtime_absence_expired(runtime, kv_runtime_next_absence(runtime, 0, &name));
}

static void step(struct world *world)
{
    static const enum kv_signal_kind kinds[] = {
        KV_SIGNAL_MESSAGE,    KV_SIGNAL_MESSAGE,       KV_SIGNAL_MESSAGE,
        KV_SIGNAL_LINK,       KV_SIGNAL_UNLINK,        KV_SIGNAL_EXIT_LINK,
        KV_SIGNAL_EXIT,       KV_SIGNAL_MONITOR,       KV_SIGNAL_DEMONITOR,
        KV_SIGNAL_DOWN,       KV_SIGNAL_SPAWN_REQUEST, KV_SIGNAL_SPAWN_REQUEST,
        KV_SIGNAL_UNLINK_ACK, KV_SIGNAL_GROUP_LEADER};
    uint8_t choice = next(world);
    size_t peer = choice % PEERS;
    world->clock += choice % 8 == 7 ? 500 : 0;
    (void)kv_runtime_run_timers(world->runtime);
    if (choice % 3 != 0) {
        (void)kv_runtime_step(world->runtime);
    }
    if (choice >= 250 || world->peers[peer] == NULL) {
        if (choice == 249 && is_away(world->runtime)) {
            expire(world->runtime);
        } else {
            connect_or_disconnect(world, peer, choice);
        }
        return;
    }
    if (choice >= 200 && choice < 216) {
        hold_or_release(world);
        return;
    }
    uint8_t number = next(world) % REFS;
    struct kv_signal signal = {
        .kind = kinds[next(world) % (sizeof kinds / sizeof kinds[0])],
        .from = remote(peer, world),
        .to = native(world),
        .ref = reference(peer, number),
        .unlink_id = number,
        .payload_parts = 1,
    };
    kv_buffer_clear(&world->terms);
    if (signal.kind == KV_SIGNAL_SPAWN_REQUEST) {
        spawn(world, peer, &signal);
    } else {
        if (signal.kind == KV_SIGNAL_MESSAGE) {
            write_message(world, &world->terms, peer);
        } else {
            write_term(world, &world->terms, 0);
        }
        signal.payload[0] = kv_buffer_bytes(&world->terms);
    }
    if (signal.kind == KV_SIGNAL_DOWN) {
        signal.ref = (struct kv_ref){
            .node = kv_bytes_text(node), .creation = 9, .count = 3, .words = {next(world) % 32}};
    }
    if (choice >= 230) {
        refuse(world, world->peers[peer], &signal);
    } else {
        const struct kv_incoming incoming = {.signal = signal};
        (void)kv_runtime_receive(world->runtime, world->peers[peer], &incoming);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t outstanding = kv_alloc_outstanding();
    struct world world = {.data = data, .left = size};
    static uint8_t space[ARENA_SIZE] __attribute__((aligned(KV_ARENA_PAGE)));
    struct kv_arena_memory memory = {.base = space, .reserve = sizeof space};
    memset(space, 0, KV_ARENA_PAGE); /* the rest may be anything */
    struct kv_arena *arena = kv_arena_new(&memory, &(struct kv_arena_options){.max_memory = 0});
    struct kv_runtime_options options = {
        .node = kv_bytes_text(node),
        .vm = kv_bytes_text(names[0]),
        .keeps_all = size % 2 == 0,
        .creation = 9,
        .generic = &kv_server,
        .sink = {.context = &world,
                 .send = sent,
                 .log = logged,
                 .now = now,
                 .clock = clock_of_world,
                 .is_full = is_full},
    };
    struct kv_store store = {.arena = arena};
    struct kv_world tools = {.context = &world, .stats = stats, .each_connection = each_connection};
    world.runtime = kv_runtime_new(&options);
    if (kv_services_start(world.runtime, &store) != KV_OK ||
        kv_observe_start(world.runtime, &tools) != KV_OK) {
        abort();
    }
    while (world.left > 0) {
        step(&world);
    }
    kv_runtime_free(world.runtime);
    kv_arena_free(arena);
    kv_buffer_free(&world.terms);
    kv_buffer_free(&world.frame);
    if (kv_alloc_outstanding() != outstanding) {
        abort();
    }
    return 0;
}
