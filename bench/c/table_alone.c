/* The table by itself, without a node: bytes an entry, operations a second, and the longest step.
 *
 *     table_alone [ENTRIES [stalls]]    1,000,000 by default; keys of 20 bytes, values of 32.
 *                                       "stalls": only the longest steps */
#include "net/mapping.h"
#include "store/table.h"

#include <kv/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { KEY = 20, VALUE = 32, NS = 1000000000, STEP_STALL_NS = 2000000 };

struct bench {
    struct kv_arena *arena;
    struct kv_table *table;
    unsigned entries;
    uint64_t longest; /* step, in nanoseconds */
    uint64_t over;    /* steps of more than 2 ms */
};

/* Of the processor: what others do on the machine does not count. */
static uint64_t now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * NS + (uint64_t)time.tv_nsec;
}

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

/* Keys are made beforehand, so that printing them is not what is measured. */
static char *keys;

static struct kv_item key_at(unsigned i)
{
    return (struct kv_item){.bytes = kv_bytes(keys + (size_t)i * KEY, KEY), .form = 1};
}

static unsigned shuffled(const struct bench *bench, unsigned i)
{
    return (unsigned)((uint64_t)i * 2654435761U % bench->entries);
}

static void note(struct bench *bench, uint64_t start)
{
    uint64_t took = now() - start;
    bench->longest = took > bench->longest ? took : bench->longest;
    bench->over += took > STEP_STALL_NS;
}

static void put_all(struct bench *bench, size_t length, uint64_t expiry)
{
    static const uint8_t bytes[VALUE];
    struct kv_item value = {.bytes = kv_bytes(bytes, length), .form = 1};
    for (unsigned i = 0; i < bench->entries; i++) {
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

/* Each operation and each step of work by itself. */
static void stalls(struct bench *bench)
{
    static const uint8_t bytes[VALUE];
    struct kv_item value = {.bytes = kv_bytes(bytes, sizeof bytes), .form = 1};
    bench->longest = bench->over = 0;
    for (unsigned i = 0; i < bench->entries; i++) {
        uint64_t start = now();
        (void)kv_table_put(bench->table, key_at(i), value, i % 2 == 0 ? 1000 : KV_NEVER);
        note(bench, start);
    }
    (void)printf("%-24s %8.0f us, %" PRIu64 " over 2 ms\n", "longest put",
                 (double)bench->longest / 1e3, bench->over);
    bench->longest = bench->over = 0;
    kv_arena_set_time(bench->arena, 5000);
    bool more = true;
    while (more) {
        uint64_t start = now();
        more = kv_arena_work(bench->arena, 1);
        note(bench, start);
    }
    (void)printf("%-24s %8.0f us, %" PRIu64 " over 2 ms\n", "longest step of expiry",
                 (double)bench->longest / 1e3, bench->over);
    bench->longest = bench->over = 0;
    uint64_t start = now();
    kv_table_free(bench->table);
    note(bench, start);
    for (more = true; more;) {
        start = now();
        more = kv_arena_work(bench->arena, 1);
        note(bench, start);
    }
    (void)printf("%-24s %8.0f us, %" PRIu64 " over 2 ms\n", "longest step of drop",
                 (double)bench->longest / 1e3, bench->over);
}

int main(int argc, char **argv)
{
    struct bench bench = {.entries = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000};
    struct kv_mapping mapping;
    struct kv_arena_options options = {.hash_key = {.k0 = 1, .k1 = 2}};
    keys = malloc((size_t)bench.entries * KEY);
    if (keys == NULL || !kv_mapping_open(&mapping, kv_mapping_reserve(0))) {
        return 1;
    }
    for (unsigned i = 0; i < bench.entries; i++) {
        memcpy(keys + (size_t)i * KEY, key_of(i).bytes.data, KEY);
    }
    struct kv_arena_memory memory = kv_mapping_memory(&mapping);
    bench.arena = kv_arena_new(&memory, &options);
    bench.table = kv_table_new(bench.arena, NULL);
    if (argc < 3) {
        speed(&bench);
    }
    stalls(&bench);
    (void)printf("%-24s %8.1f MB\n", "left at the end", (double)resident() / 1e6);
    kv_arena_free(bench.arena);
    kv_mapping_close(&mapping);
    free(keys);
    return 0;
}
