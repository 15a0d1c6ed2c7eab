/* Requests about many keys without a socket: from the frame of a call of KV.Bucket to the frame of
 * its answer, in this process, so that nothing but the node's own work is counted.
 *
 *     many_alone [KEYS [REQUESTS [KIND]]]   keys of a request, 1000 by default; requests of each
 *                                           kind, or of that kind only, from 0 on
 *
 * Prints the least and the median of the processor time of a request. For valgrind: fewer requests,
 * one kind, and `--tool=callgrind --toggle-collect='serve*'`. */
#include "base/alloc.h"
#include "host/shared_memory.h"
#include "kv/kv.h"
#include "process/runtime.h"
#include "server/server.h"
#include "store/arena.h"
#include "wire/codec.h"
#include "wire/handshake.h"
#include "wire/outgoing.h"

#include "fail.h"

#include <stdlib.h>
#include <time.h>

enum { KEY = 20, SHORT = 10, LONG = 40, KEYS_MAX = 1000 * 1000, REQUESTS = 2000, KINDS = 5 };

#define NODE "kv_many@127.0.0.1"
#define PEER "caller@127.0.0.1"

struct bench {
    struct kv_mapping mapping;
    struct kv_arena *arena;
    struct kv_runtime *runtime;
    struct kv_store store;
    struct kv_peer *peer;
    struct kv_outgoing outgoing;
    struct kv_buffer output;
    struct kv_pid bucket;
    struct kv_codec codec;
    unsigned keys;
    unsigned requests;
    unsigned kind; /* or KINDS: all */
    uint64_t *times;
    uint64_t sum; /* of the bytes answered: a request that fails answers few */
};

/* ---- the node around the bucket ---------------------------------------------------------------
 */

static void take_signal(void *context, void *carrier, const struct kv_signal *signal)
{
    struct bench *bench = context;
    (void)carrier;
    if (signal->kind == KV_SIGNAL_SPAWN_REPLY) {
        bench->bucket = signal->from;
        bench->bucket.node = kv_bytes_text(NODE);
        return;
    }
    (void)kv_outgoing_signal(&bench->outgoing, signal, &bench->output);
}

static void drop_line(void *context, enum kv_log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

static uint64_t no_clock(void *context)
{
    (void)context;
    return 0;
}

static void start_node(struct bench *bench)
{
    static const struct kv_hash_key key = {.k0 = 11, .k1 = 13};
    static const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    const struct kv_arena_options arena = {.hash_key = key};
    if (!kv_mapping_open(&bench->mapping, kv_mapping_reserve(0, KV_ARENA_RESERVE_MAX))) {
        FAIL("no memory for the arena");
    }
    struct kv_arena_memory memory = {
        .base = bench->mapping.base,
        .reserve = bench->mapping.size,
        .context = &bench->mapping,
        .release = kv_mapping_release,
    };
    bench->arena = kv_arena_new(&memory, &arena);
    const struct kv_runtime_options options = {
        .node = kv_bytes_text(NODE),
        .creation = 5,
        .hash_key = key,
        .generic = &kv_server,
        .sink = {.context = bench, .send = take_signal, .log = drop_line, .clock = no_clock},
    };
    bench->runtime = kv_runtime_new(&options);
    bench->store = (struct kv_store){.arena = bench->arena, .hash_key = key};
    if (kv_services_start(bench->runtime, &bench->store) != KV_OK) {
        FAIL("no services");
    }
    bench->peer = kv_runtime_peer_up(bench->runtime, kv_bytes_text(PEER), 7, NULL);
    kv_codec_init(&bench->codec, KV_DFLAGS_OFFERED, &limits, kv_runtime_node(bench->runtime),
                  kv_runtime_peer_name(bench->peer));
    kv_outgoing_init(&bench->outgoing, &bench->codec, &key);
}

static void stop_node(struct bench *bench)
{
    kv_runtime_free(bench->runtime);
    kv_outgoing_free(&bench->outgoing);
    kv_buffer_free(&bench->output);
    kv_arena_free(bench->arena);
    kv_mapping_close(&bench->mapping);
}

static struct kv_pid caller_pid(void)
{
    return (struct kv_pid){.node = kv_bytes_text(PEER), .id = 3, .creation = 7};
}

static struct kv_ref caller_ref(void)
{
    return (struct kv_ref){
        .node = kv_bytes_text(PEER), .creation = 7, .count = 3, .words = {1, 2, 3}};
}

static void spawn_bucket(struct bench *bench)
{
    struct kv_buffer arguments = KV_BUFFER_INIT;
    kv_write_list(&arguments, 1);
    kv_write_nil(&arguments);
    kv_write_nil(&arguments);
    static const uint8_t nil[] = {KV_TAG_NIL};
    const struct kv_signal request = {
        .kind = KV_SIGNAL_SPAWN_REQUEST,
        .from = caller_pid(),
        .group_leader = caller_pid(),
        .ref = caller_ref(),
        .spawn = {.module = kv_bytes_text("kv_bucket"),
                  .function = kv_bytes_text("init"),
                  .arity = 1},
        .spawn_options = kv_bytes(nil, sizeof nil),
        .payload = {kv_buffer_bytes(&arguments)},
        .payload_parts = 1,
    };
    const struct kv_incoming incoming = {.signal = request};
    if (kv_runtime_receive(bench->runtime, bench->peer, &incoming) != KV_OK ||
        bench->bucket.id == 0) {
        FAIL("no bucket");
    }
    kv_buffer_free(&arguments);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

static void begin_call(const struct bench *bench, struct kv_buffer *terms, const char *name)
{
    const struct kv_pid from = caller_pid();
    const struct kv_ref ref = caller_ref();
    kv_buffer_u8(terms, 131);
    kv_buffer_u8(terms, 68);
    kv_buffer_u8(terms, 0);
    kv_write_tuple(terms, 3);
    kv_write_u64(terms, 22); /* SEND_SENDER */
    kv_write_pid(terms, &from);
    kv_write_pid(terms, &bench->bucket);
    kv_write_tuple(terms, 3);
    kv_write_atom_text(terms, "$kv_call");
    kv_write_ref(terms, &ref);
    kv_write_tuple(terms, 2);
    kv_write_atom_text(terms, name);
}

static void write_key(struct kv_buffer *terms, unsigned number)
{
    char text[KEY + 1];
    (void)snprintf(text, sizeof text, "key-%016X", number);
    kv_write_binary(terms, kv_bytes(text, KEY));
}

static void make_keys(const struct bench *bench, struct kv_buffer *terms, const char *name)
{
    begin_call(bench, terms, name);
    kv_write_list(terms, bench->keys);
    for (unsigned i = 0; i < bench->keys; i++) {
        write_key(terms, i);
    }
    kv_write_nil(terms);
}

static void make_entries(const struct bench *bench, struct kv_buffer *terms, size_t value,
                         bool integers)
{
    static const uint8_t bytes[LONG + 1] = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
    begin_call(bench, terms, "put_many");
    kv_write_list(terms, bench->keys);
    for (unsigned i = 0; i < bench->keys; i++) {
        kv_write_tuple(terms, 2);
        write_key(terms, i);
        if (integers) {
            kv_write_u64(terms, 1000 * 1000 + i);
        } else {
            kv_write_binary(terms, kv_bytes(bytes, value));
        }
    }
    kv_write_nil(terms);
}

static void answer(struct bench *bench, struct kv_bytes frame)
{
    struct kv_incoming incoming;
    int opcode = 0;
    if (kv_codec_decode(&bench->codec, frame, &incoming, &opcode) != KV_OK ||
        kv_runtime_receive(bench->runtime, bench->peer, &incoming) != KV_OK) {
        FAIL("a request that the node does not understand");
    }
    bench->sum += bench->output.length;
    kv_buffer_clear(&bench->output);
}

/* Not inlined, so that valgrind can count what is inside. */
__attribute__((noinline)) static void serve(struct bench *bench, struct kv_bytes frame)
{
    answer(bench, frame);
}

/* ---- measuring --------------------------------------------------------------------------------
 */

static uint64_t processor_now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* A kind of requests: two, sent in turn. */
struct kind {
    const char *name;
    void (*make[2])(const struct bench *bench, struct kv_buffer *terms);
};

static void get(const struct bench *bench, struct kv_buffer *terms)
{
    make_keys(bench, terms, "get_many");
}

static void delete (const struct bench *bench, struct kv_buffer *terms)
{
    make_keys(bench, terms, "delete_many");
}

static void put_short(const struct bench *bench, struct kv_buffer *terms)
{
    make_entries(bench, terms, SHORT, false);
}

static void put_long(const struct bench *bench, struct kv_buffer *terms)
{
    make_entries(bench, terms, LONG, false);
}

static void put_integers(const struct bench *bench, struct kv_buffer *terms)
{
    make_entries(bench, terms, 0, true);
}

static void measure(struct bench *bench, const struct kind *kind)
{
    struct kv_buffer requests[2] = {KV_BUFFER_INIT, KV_BUFFER_INIT};
    struct kv_buffer first = KV_BUFFER_INIT;
    const unsigned count = kind->make[1] == NULL ? 1 : 2;
    put_short(bench, &first);
    answer(bench, kv_buffer_bytes(&first));
    for (unsigned i = 0; i < count; i++) {
        kind->make[i](bench, &requests[i]);
    }
    const uint64_t sum = bench->sum;
    for (unsigned i = 0; i < bench->requests; i++) {
        const struct kv_bytes frame = kv_buffer_bytes(&requests[i % count]);
        const uint64_t start = processor_now();
        serve(bench, frame);
        bench->times[i] = processor_now() - start;
    }
    qsort(bench->times, bench->requests, sizeof *bench->times, by_size);
    const unsigned middle = bench->requests / 2;
    printf("%-28s least %7.1f us, median %7.1f us, %7.0f bytes answered\n", kind->name,
           (double)bench->times[0] / 1e3, (double)bench->times[middle] / 1e3,
           (double)(bench->sum - sum) / bench->requests);
    kv_buffer_free(&first);
    kv_buffer_free(&requests[0]);
    kv_buffer_free(&requests[1]);
}

static void measure_all(struct bench *bench)
{
    static const struct kind kinds[KINDS] = {
        {"get_many", {get}},
        {"put_many, same length", {put_short}},
        {"put_many, integers", {put_integers}},
        {"put_many, other length", {put_short, put_long}},
        {"put_many new, delete_many", {delete, put_short}},
    };
    for (unsigned i = 0; i < KINDS; i++) {
        if (bench->kind == KINDS || bench->kind == i) {
            measure(bench, &kinds[i]);
        }
    }
}

int main(int argc, char **argv)
{
    static struct bench bench;
    bench.keys = argc > 1 ? (unsigned)number_within(argv[1], 1, KEYS_MAX) : 1000;
    bench.requests = argc > 2 ? (unsigned)number_within(argv[2], 1, KEYS_MAX) : REQUESTS;
    bench.kind = argc > 3 ? (unsigned)number_within(argv[3], 0, KINDS - 1) : KINDS;
    bench.times = calloc(bench.requests, sizeof *bench.times);
    if (bench.times == NULL) {
        FAIL("out of memory");
    }
    start_node(&bench);
    spawn_bucket(&bench);
    measure_all(&bench);
    stop_node(&bench);
    free(bench.times);
    return 0;
}
