/* Sends sequences of requests to a bucket and to a registry: the bytes of the input choose the
 * operations, the terms of their arguments, the options of the bucket, and when time passes. A
 * message may also be bytes of the input as they are.
 *
 * Some requests come in a slot of a lane, where any byte may have become another one.
 *
 * Each call is answered once, whatever its arguments. The arena is consistent after each request
 * that is done, and no memory is left at the end. */
#include "base/alloc.h"
#include "kv/kv.h"
#include "lane/layout.h"
#include "process/runtime.h"
#include "server/server.h"
#include "server/slots.h"
#include "store/arena.h"
#include "support/store_model.h"

#include <stdlib.h>
#include <string.h>

enum {
    ARENA_SIZE = 1 << 24,
    DEPTH = 4,
    MANY = 1100, /* elements: a request that goes on */
    CHECK_EVERY = 8,
    MESSAGE_MAX = 1 << 20,
};

/* The name of an alias has its target. */
enum target { BUCKET, REGISTRY, TARGETS };

struct world {
    const uint8_t *data;
    size_t left;
    struct kv_runtime *runtime;
    struct kv_arena *arena;
    struct kv_store store;
    struct kv_peer *peer;
    struct kv_pid pids[TARGETS];
    uint64_t asked[TARGETS];
    uint64_t answered[TARGETS];
    uint64_t clock;
    struct kv_buffer cursor; /* the last one that a walk has given, a term */
    struct kv_buffer message;
    void *lane; /* of one group */
};

static const char peer_name[] = "a@h";
static const char node[] = "kv@h";

static uint8_t next(struct world *world)
{
    if (world->left == 0) {
        return 0;
    }
    world->left--;
    return *world->data++;
}

/* ---- the runtime -------------------------------------------------------------------------------
 */

/* Keeps the cursor of {Tag, {Piece, Cursor}}. */
static void keep_cursor(struct world *world, struct kv_bytes answer)
{
    struct kv_bytes cursor = {NULL, 0};
    struct kv_reader reader = kv_reader(answer);
    if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_any(&reader, NULL) == KV_OK &&
        kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_any(&reader, NULL) == KV_OK &&
        kv_read_any(&reader, &cursor) == KV_OK && cursor.data[0] == KV_TAG_BINARY) {
        kv_buffer_clear(&world->cursor);
        kv_buffer_append(&world->cursor, cursor);
    }
}

static void sent(void *context, void *carrier, const struct kv_signal *signal)
{
    struct world *world = context;
    (void)carrier;
    if (signal->kind == KV_SIGNAL_MESSAGE_ALIAS) {
        world->answered[signal->ref.words[0] % TARGETS]++;
        if (signal->payload_parts == 1) {
            keep_cursor(world, signal->payload[0]);
        }
    } else if (signal->kind == KV_SIGNAL_SPAWN_REPLY && !signal->by_name) {
        world->pids[signal->ref.words[0] % TARGETS] = signal->from;
        world->pids[signal->ref.words[0] % TARGETS].node = kv_bytes_text(node);
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
    *date = (struct kv_date){2026, 11, 27, 9, 30, 59};
}

static uint64_t clock_of_world(void *context)
{
    return ((struct world *)context)->clock;
}

static uint64_t unix_time(void)
{
    return 1000;
}

static struct kv_pid caller(void)
{
    return (struct kv_pid){.node = kv_bytes_text(peer_name), .id = 1, .creation = 5};
}

static struct kv_ref reference(enum target target)
{
    return (struct kv_ref){
        .node = kv_bytes_text(peer_name), .creation = 5, .count = 2, .words = {target, 1}};
}

static void receive(struct world *world, const struct kv_signal *signal)
{
    const struct kv_incoming incoming = {.signal = *signal};
    if (kv_runtime_receive(world->runtime, world->peer, &incoming) != KV_OK) {
        abort();
    }
}

static void finish_all(struct world *world)
{
    while (kv_runtime_step(world->runtime)) {
    }
}

/* ---- terms -------------------------------------------------------------------------------------
 */

static void write_atom(struct world *world, struct kv_buffer *to)
{
    static const char *const atoms[] = {
        "ok",      "error", "true",       "false",       "nil",          "absent", "keep",
        "default", "ttl",   "min",        "max",         "limit",        "return", "prefix",
        "expires", "start", "done",       "keys",        "values",       "timed",  "count",
        "entries", "evict", "max_memory", "max_entries", "none",         "lru",    "label",
        "name",    "meta",  "infinity",   "options",     "touch_on_read"};
    kv_write_atom_text(to, atoms[next(world) % (sizeof atoms / sizeof atoms[0])]);
}

static void write_integer(struct world *world, struct kv_buffer *to)
{
    static const int64_t integers[] = {
        0, 1, -1, 2, 50, 1000, INT64_MAX, INT64_MIN, 1LL << 46, (1LL << 46) + 1, 255};
    const uint8_t choice = next(world);
    kv_write_i64(to, choice < 128 ? choice % 16
                                  : integers[choice % (sizeof integers / sizeof integers[0])]);
}

static void write_big(struct world *world, struct kv_buffer *to)
{
    const uint8_t length = next(world);
    kv_buffer_u8(to, KV_TAG_SMALL_BIG);
    kv_buffer_u8(to, length);
    kv_buffer_u8(to, next(world) % 2);
    for (unsigned i = 0; i < length; i++) {
        kv_buffer_u8(to, 255);
    }
}

/* Of some bytes, and sometimes of many. */
static void write_filled(struct world *world, struct kv_buffer *to)
{
    const uint8_t choice = next(world);
    const uint32_t length = choice < 240 ? choice % 8 : (uint32_t)choice * 256;
    kv_buffer_u8(to, KV_TAG_BINARY);
    kv_buffer_u32(to, length);
    for (uint32_t i = 0; i < length; i++) {
        kv_buffer_u8(to, 'k');
    }
}

/* The last cursor, or nearly. */
static void write_cursor(struct world *world, struct kv_buffer *to)
{
    const size_t start = to->length;
    if (world->cursor.length == 0) {
        kv_write_atom_text(to, "start");
        return;
    }
    kv_write_term(to, kv_buffer_bytes(&world->cursor));
    const uint8_t changed = next(world);
    if (changed != 0 && changed + 5U < to->length - start) {
        to->data[start + 5 + changed] ^= next(world);
    }
}

static void write_term(struct world *world, struct kv_buffer *to, int depth);

static void end_list(struct world *world, struct kv_buffer *to)
{
    if (next(world) % 16 == 15) {
        kv_write_i64(to, 1);
    } else {
        kv_write_nil(to);
    }
}

static void write_some(struct world *world, struct kv_buffer *to, int depth, bool pairs)
{
    const uint32_t count = 1 + next(world) % 4;
    kv_write_list(to, count);
    for (uint32_t i = 0; i < count; i++) {
        if (pairs) {
            kv_write_tuple(to, 2);
            write_term(world, to, depth + 2);
        }
        write_term(world, to, depth + 1);
    }
    end_list(world, to);
}

/* One term many times, as a key or in pairs. */
static void write_many(struct world *world, struct kv_buffer *to)
{
    const size_t start = to->length;
    const bool pairs = next(world) % 2 == 0;
    kv_write_list(to, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        if (pairs) {
            kv_write_tuple(to, 2);
            kv_write_u64(to, i);
        }
        kv_write_u64(to, i % 16);
    }
    end_list(world, to);
    if (to->length - start > MESSAGE_MAX) {
        abort();
    }
}

static void write_map(struct world *world, struct kv_buffer *to, int depth)
{
    const uint32_t count = next(world) % 3;
    kv_write_map(to, count);
    for (uint32_t i = 0; i < count; i++) {
        kv_write_u64(to, i);
        write_term(world, to, depth + 1);
    }
}

/* Bytes of the input as they are: the message is checked later. */
static void write_raw(struct world *world, struct kv_buffer *to)
{
    const size_t wanted = next(world);
    const size_t length = wanted < world->left ? wanted : world->left;
    kv_buffer_append(to, kv_bytes(world->data, length));
    world->data += length;
    world->left -= length;
}

static const struct kv_operation *operation_of(struct world *world, enum target target)
{
    const struct kv_dispatch *dispatch =
        target == BUCKET ? &world->store.bucket : &world->store.registry;
    size_t slot = next(world) % KV_DISPATCH_SLOTS;
    while (dispatch->slots[slot] == NULL) {
        slot = (slot + 1) % KV_DISPATCH_SLOTS;
    }
    return dispatch->slots[slot];
}

static void write_request(struct world *world, struct kv_buffer *to, enum target target, int depth)
{
    const struct kv_operation *operation = operation_of(world, target);
    if (operation->arity > 0) {
        kv_write_tuple(to, operation->arity + 1);
    }
    kv_write_atom(to, operation->name);
    for (uint32_t i = 0; i < operation->arity; i++) {
        write_term(world, to, depth + 1);
    }
}

static void write_simple(struct world *world, struct kv_buffer *to, uint8_t choice)
{
    switch (choice % 6) {
    case 0:
        write_atom(world, to);
        break;
    case 1:
        write_integer(world, to);
        break;
    case 2:
        write_filled(world, to);
        break;
    case 3:
        write_big(world, to);
        break;
    case 4:
        write_cursor(world, to);
        break;
    default:
        kv_write_nil(to);
    }
}

static void write_term(struct world *world, struct kv_buffer *to, int depth)
{
    const uint8_t choice = next(world);
    if (depth >= DEPTH || choice < 96) {
        write_simple(world, to, choice);
        return;
    }
    switch (choice % 8) {
    case 0:
        write_some(world, to, depth, false);
        break;
    case 1:
    case 2:
        write_some(world, to, depth, true);
        break;
    case 3:
        write_map(world, to, depth);
        break;
    case 4: /* a list of requests */
        kv_write_list(to, 2);
        write_request(world, to, BUCKET, depth);
        write_request(world, to, BUCKET, depth);
        end_list(world, to);
        break;
    case 5:
        kv_write_tuple(to, 1 + choice % 3);
        for (uint32_t i = 0; i < 1U + choice % 3; i++) {
            write_term(world, to, depth + 1);
        }
        break;
    case 6:
        write_raw(world, to);
        break;
    default:
        if (depth <= 1) {
            write_many(world, to);
        } else {
            kv_write_bool(to, true);
        }
    }
}

/* ---- steps -------------------------------------------------------------------------------------
 */

/* The options of the bucket: all are within bounds. */
static void write_options(struct world *world, struct kv_buffer *to)
{
    static const char *const evict[] = {"none", "lru", "ttl"};
    static const char *const names[] = {"max_memory", "max_entries", "ttl"};
    static const uint64_t values[] = {6000, 5, 50};
    const uint8_t bits = next(world);
    uint32_t count = 2;
    for (unsigned i = 0; i < 3; i++) {
        count += bits >> i & 1;
    }
    kv_write_list(to, count);
    for (unsigned i = 0; i < 3; i++) {
        if ((bits >> i & 1) != 0) {
            kv_write_tuple(to, 2);
            kv_write_atom_text(to, names[i]);
            kv_write_u64(to, values[i]);
        }
    }
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "evict");
    kv_write_atom_text(to, evict[(bits >> 3) % 3]);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "touch_on_read");
    kv_write_bool(to, (bits & 128) != 0);
    kv_write_nil(to);
}

static void spawn(struct world *world, enum target target)
{
    struct kv_buffer *terms = &world->message;
    struct kv_signal signal = {
        .kind = KV_SIGNAL_SPAWN_REQUEST,
        .from = caller(),
        .group_leader = caller(),
        .ref = reference(target),
        .spawn = {.module = kv_bytes_text(target == BUCKET ? "kv_bucket" : "kv_registry"),
                  .function = kv_bytes_text("init"),
                  .arity = 1},
        .payload_parts = 1,
    };
    kv_buffer_clear(terms);
    kv_write_nil(terms);
    kv_write_list(terms, 1);
    if (target == BUCKET) {
        write_options(world, terms);
    } else {
        kv_write_nil(terms);
    }
    kv_write_nil(terms);
    signal.spawn_options = kv_bytes(terms->data, 1);
    signal.payload[0] = kv_bytes(terms->data + 1, terms->length - 1);
    receive(world, &signal);
    finish_all(world);
}

enum door { CALL, OLD_CALL, KV_CALL, CAST, LANE, DOORS };

static void write_message(struct world *world, enum target target, enum door door)
{
    struct kv_buffer *to = &world->message;
    const struct kv_pid from = caller();
    const struct kv_ref alias = reference(target);
    kv_buffer_clear(to);
    kv_write_tuple(to, door == CAST ? 2 : 3);
    kv_write_atom_text(to, door == CAST ? "$gen_cast" : door == KV_CALL ? "$kv_call" : "$gen_call");
    if (door == KV_CALL) {
        kv_write_ref(to, &alias);
    } else if (door != CAST) {
        kv_write_tuple(to, 2);
        kv_write_pid(to, &from);
        kv_write_list(to, 1);
        kv_write_atom_text(to, "alias");
        kv_write_ref(to, &alias);
    }
    if (next(world) % 8 == 7) {
        write_raw(world, to);
    } else {
        write_request(world, to, target, 0);
    }
}

/* The answer must be a term that fits. */
static void check_slot(struct kv_slot *slot)
{
    static const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    const size_t answered = atomic_load(&slot->length);
    size_t length = 0;
    if (!kv_slot_is_done(slot) ||
        (answered != KV_SLOT_DECLINED &&
         (answered > KV_SLOT_ROOM ||
          kv_term_validate(kv_bytes(slot->data, answered), &limits, &length) != KV_OK ||
          length != answered))) {
        abort();
    }
    kv_slot_release(slot);
}

static void ask_in_slot(struct world *world, enum target target)
{
    static uint8_t copy[KV_SLOT_ROOM];
    const struct kv_slots slots = {
        .runtime = world->runtime, .limits = KV_TERM_LIMITS_DEFAULT, .copy = copy};
    struct kv_lane_header *header = world->lane;
    struct kv_slot *slot = kv_lane_slot(world->lane, 0);
    struct kv_buffer *message = &world->message;
    kv_buffer_clear(message);
    write_request(world, message, target, 0);
    const size_t length = message->length < KV_SLOT_ROOM ? message->length : KV_SLOT_ROOM;
    memcpy(slot->data, message->data, length);
    atomic_store(&slot->id, world->pids[target].id);
    atomic_store(&slot->serial, world->pids[target].serial);
    atomic_store(&slot->length, (uint32_t)message->length);
    atomic_store(&header->used, 1);
    if (next(world) % 4 == 3) {
        ((uint8_t *)slot)[(size_t)next(world) % (KV_SLOT_HEAD + length)] ^= next(world);
    }
    atomic_store(&slot->state, KV_SLOT_ASKED);
    if (kv_slots_serve(&slots, world->lane, 1) != 1) {
        abort();
    }
    check_slot(slot);
}

static void send_message(struct world *world, enum target target, enum door door)
{
    static const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    write_message(world, target, door);
    const struct kv_bytes message = kv_buffer_bytes(&world->message);
    if (message.length > MESSAGE_MAX || kv_term_validate(message, &limits, NULL) != KV_OK) {
        return; /* the connection would have refused it */
    }
    world->asked[target] += door != CAST;
    receive(world, &(struct kv_signal){.kind = KV_SIGNAL_MESSAGE,
                                       .from = caller(),
                                       .to = world->pids[target],
                                       .payload_parts = 1,
                                       .payload = {message}});
}

static void pass(struct world *world, uint8_t ms)
{
    world->clock += ms;
    kv_arena_set_time(world->arena, kv_arena_time(world->arena) + ms);
    (void)kv_runtime_run_timers(world->runtime);
    (void)kv_arena_work(world->arena, ms);
}

static void check(struct world *world)
{
    finish_all(world);
    for (unsigned target = 0; target < TARGETS; target++) {
        if (kv_process_at(world->runtime, &world->pids[target]) == NULL) { /* told to stop */
            world->asked[target] = world->answered[target] = 0;
            spawn(world, target);
        } else if (world->answered[target] != world->asked[target]) {
            abort();
        }
    }
    model_check(world->arena);
}

static void step(struct world *world, unsigned number)
{
    const uint8_t choice = next(world);
    if (choice % 8 == 7) {
        pass(world, choice);
    } else if ((choice >> 4) % DOORS == LANE) {
        ask_in_slot(world, choice % 4 == 3 ? REGISTRY : BUCKET);
    } else {
        send_message(world, choice % 4 == 3 ? REGISTRY : BUCKET, (choice >> 4) % DOORS);
    }
    if (choice < 192) { /* else the next one comes in the middle of a long one */
        finish_all(world);
    }
    if (number % CHECK_EVERY == 0) {
        check(world);
    }
}

static void start(struct world *world)
{
    const struct kv_runtime_options options = {
        .node = kv_bytes_text(node),
        .vm = kv_bytes_text(peer_name),
        .creation = 9,
        .generic = &kv_server,
        .sink =
            {.context = world, .send = sent, .log = logged, .now = now, .clock = clock_of_world},
    };
    world->runtime = kv_runtime_new(&options);
    world->store = (struct kv_store){.arena = world->arena, .unix_time = unix_time};
    if (kv_services_start(world->runtime, &world->store) != KV_OK) {
        abort();
    }
    world->peer = kv_runtime_peer_up(world->runtime, kv_bytes_text(peer_name), 5, world);
    kv_runtime_peer_ready(world->peer);
    spawn(world, BUCKET);
    spawn(world, REGISTRY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t outstanding = kv_alloc_outstanding();
    struct kv_arena_memory memory = model_memory(ARENA_SIZE);
    struct world world = {.data = data, .left = size};
    world.arena = kv_arena_new(&memory, &(struct kv_arena_options){.max_memory = 0});
    world.lane = aligned_alloc(KV_LANE_PAGE, kv_lane_size(1));
    memset(world.lane, 0, kv_lane_size(1));
    start(&world);
    for (unsigned number = 0; world.left > 0; number++) {
        step(&world, number);
    }
    check(&world);
    kv_runtime_free(world.runtime);
    kv_arena_free(world.arena);
    model_memory_free(&memory);
    kv_buffer_free(&world.cursor);
    kv_buffer_free(&world.message);
    free(world.lane);
    if (kv_alloc_outstanding() != outstanding) {
        abort();
    }
    return 0;
}
