/* Measures a table without a node: bytes per entry, operations per second, and the longest step.
 *
 *     table_alone [ENTRIES [stalls]]    1,000,000 by default; keys of 20 bytes, values of 32.
 *                                       "stalls": only the longest steps */
#include "host/shared_memory.h"
#include "store/arena.h"

#include <kv/error.h>
#include <kv/table.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { KEY = 20, VALUE = 32, NS = 1000000000, STEP_STALL_NS = 2000000, LOOK_EACH = 256 };

struct bench {
    struct kv_arena *arena;
    struct kv_table *table;
    unsigned entries;
    uint64_t longest; /* step, in nanoseconds */
    uint64_t over;    /* steps of more than 2 ms */
    uint64_t faulted; /* steps with a page fault */
    uint64_t longest_faulted;
    long faults; /* before the step */
    uv_loop_t loop;
    uv_work_t work;
    struct kv_arena_range ranges[KV_ARENA_RANGES];
    bool ready;
};

/* CPU time of this thread, so that other load on the machine does not count. */
static uint64_t now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * NS + (uint64_t)time.tv_nsec;
}

/* ---- memory ahead of need, as node/memory.c has it ----------------------------------------------
 */

static void populate(uv_work_t *work)
{
    struct bench *bench = work->data;
    bench->ready = true;
    for (unsigned i = 0; bench->ready && i < KV_ARENA_RANGES; i++) {
        bench->ready = kv_mapping_populate(bench->ranges[i].start, bench->ranges[i].length);
    }
}

static void on_populated(uv_work_t *work, int status)
{
    struct bench *bench = work->data;
    kv_arena_prepared(bench->arena, status == 0 && bench->ready);
}

static void prepare(void *context, const struct kv_arena_range ranges[KV_ARENA_RANGES])
{
    struct bench *bench = context;
    memcpy(bench->ranges, ranges, sizeof bench->ranges);
    bench->work.data = bench;
    (void)uv_queue_work(&bench->loop, &bench->work, populate, on_populated);
}

/* Polls the loop between operations, as a node does between turns. */
static void look(struct bench *bench, unsigned i)
{
    if (i % LOOK_EACH == 0) {
        (void)uv_run(&bench->loop, UV_RUN_NOWAIT);
    }
}

/* ---- keys -------------------------------------------------------------------------------------
 */

static uint64_t resident(void)
{
    char line[128] = "";
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fgets(line, sizeof line, file) == NULL) {
        exit(1);
    }
    (void)fclose(file);
    char *second = strchr(line, ' ');
    return second == NULL ? 0 : strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct kv_item key_of(unsigned i)
{
    static char text[KEY + 1];
    (void)snprintf(text, sizeof text, "key-%016u", i);
    return (struct kv_item){.bytes = kv_bytes(text, KEY), .form = 1};
}

/* Keys are made beforehand, so that printing them is not measured. */
static char *keys;

static struct kv_item key_at(unsigned i)
{
    return (struct kv_item){.bytes = kv_bytes(keys + (size_t)i * KEY, KEY), .form = 1};
}

static unsigned shuffled(const struct bench *bench, unsigned i)
{
    return (unsigned)((uint64_t)i * 2654435761U % bench->entries);
}

static long faults(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_minflt : 0;
}

static uint64_t begin(struct bench *bench)
{
    bench->faults = faults();
    return now();
}

static void note(struct bench *bench, uint64_t start)
{
    uint64_t took = now() - start;
    bench->longest = took > bench->longest ? took : bench->longest;
    bench->over += took > STEP_STALL_NS;
    if (faults() != bench->faults) {
        bench->faulted++;
        bench->longest_faulted = took > bench->longest_faulted ? took : bench->longest_faulted;
    }
}

static void tell(struct bench *bench, const char *what)
{
    (void)printf("%-24s %8.0f us, %" PRIu64 " over 2 ms; %" PRIu64
                 " had page faults, the longest of these %.0f us\n",
                 what, (double)bench->longest / 1e3, bench->over, bench->faulted,
                 (double)bench->longest_faulted / 1e3);
    bench->longest = bench->over = bench->faulted = bench->longest_faulted = 0;
}

static void put_all(struct bench *bench, size_t length, uint64_t expiry)
{
    static const uint8_t bytes[VALUE];
    struct kv_item value = {.bytes = kv_bytes(bytes, length), .form = 1};
    for (unsigned i = 0; i < bench->entries; i++) {
        look(bench, i);
        if (kv_table_put(bench->table, key_at(shuffled(bench, i)), value, expiry) != KV_OK) {
            exit(2);
        }
    }
}

static void get_all(struct bench *bench)
{
    struct kv_item value;
    unsigned found = 0;
    for (unsigned i = 0; i < bench->entries; i++) {
        found += kv_table_get(bench->table, key_at(shuffled(bench, i * 7)), &value) ? 1 : 0;
    }
    if (found == 0) {
        exit(3);
    }
}

static void delete_all(struct bench *bench)
{
    for (unsigned i = 0; i < bench->entries; i++) {
        (void)kv_table_delete(bench->table, key_at(shuffled(bench, i)));
    }
}

static void report(const char *what, const struct bench *bench, uint64_t start)
{
    double seconds = (double)(now() - start) / NS;
    (void)printf("%-24s %8.2f M/s\n", what, bench->entries / seconds / 1e6);
}

static void speed(struct bench *bench)
{
    uint64_t before = resident();
    uint64_t start = now();
    put_all(bench, VALUE, KV_NEVER);
    report("put, new", bench, start);
    (void)printf("%-24s %8.1f\n", "resident bytes an entry",
                 (double)(resident() - before) / bench->entries);
    start = now();
    put_all(bench, VALUE, KV_NEVER);
    report("put, same size", bench, start);
    start = now();
    put_all(bench, VALUE / 2, KV_NEVER);
    report("put, other size", bench, start);
    start = now();
    get_all(bench);
    report("get", bench, start);
    start = now();
    delete_all(bench);
    report("delete", bench, start);
}

static void work_through(struct bench *bench, const char *what)
{
    for (bool more = true; more;) {
        uint64_t start = begin(bench);
        more = kv_arena_work(bench->arena, 1);
        note(bench, start);
    }
    tell(bench, what);
}

/* Measures each operation and each step of work alone. */
static void stalls(struct bench *bench)
{
    static const uint8_t bytes[VALUE];
    struct kv_item value = {.bytes = kv_bytes(bytes, sizeof bytes), .form = 1};
    for (unsigned i = 0; i < bench->entries; i++) {
        look(bench, i);
        uint64_t start = begin(bench);
        (void)kv_table_put(bench->table, key_at(i), value, i % 2 == 0 ? 1000 : KV_NEVER);
        note(bench, start);
    }
    tell(bench, "longest put");
    (void)uv_run(&bench->loop, UV_RUN_DEFAULT);
    kv_arena_set_time(bench->arena, 5000);
    work_through(bench, "longest step of expiry");
    uint64_t start = begin(bench);
    kv_table_free(bench->table);
    note(bench, start);
    work_through(bench, "longest step of drop");
}

int main(int argc, char **argv)
{
    struct bench bench = {.entries = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000};
    struct kv_mapping mapping;
    struct kv_arena_options options = {.hash_key = {.k0 = 1, .k1 = 2}};
    keys = malloc((size_t)bench.entries * KEY);
    if (keys == NULL || !kv_mapping_open(&mapping, kv_mapping_reserve(0, KV_ARENA_RESERVE_MAX))) {
        return 1;
    }
    for (unsigned i = 0; i < bench.entries; i++) {
        memcpy(keys + (size_t)i * KEY, key_of(i).bytes.data, KEY);
    }
    struct kv_arena_memory memory = {
        .base = mapping.base,
        .reserve = mapping.size,
        .context = &mapping,
        .release = kv_mapping_release,
    };
    if (uv_loop_init(&bench.loop) != 0) {
        return 1;
    }
    memory.prepare = prepare;
    memory.preparer = &bench;
    bench.arena = kv_arena_new(&memory, &options);
    bench.table = kv_table_new(bench.arena, NULL);
    if (argc < 3) {
        speed(&bench);
    }
    stalls(&bench);
    (void)printf("%-24s %8.1f MB\n", "left at the end", (double)resident() / 1e6);
    (void)uv_run(&bench.loop, UV_RUN_DEFAULT);
    kv_arena_free(bench.arena);
    (void)uv_loop_close(&bench.loop);
    kv_mapping_close(&mapping);
    free(keys);
    return 0;
}
