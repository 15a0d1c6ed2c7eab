/* A writer and readers of one arena: every value that holds is whole. */
#include "tsan/races.h"

#include <kv/error.h>
#include <pthread.h>

enum { READERS = 3, TABLES = 4, ROUNDS = 24, CHANGES = 1500, WORK_EACH = 32, PID = 7 };

#define ARENA_SIZE (UINT64_C(32) << 20)

struct shared {
    struct kv_mapping mapping;
    struct kv_arena *arena;
    struct kv_mapped mapped;
    atomic_bool done;
    atomic_uint reads; /* values that held */
};

/* ---- a reader -------------------------------------------------------------------------------- */

static void read_value(struct shared *shared, const struct kv_mapped_table *table, unsigned key)
{
    uint8_t bytes[KEY_MAX];
    uint8_t copy[VALUE_MAX];
    struct kv_bytes wanted = race_key(key, bytes);
    struct kv_mapped_value value;
    uint64_t hash = kv_mapped_hash(&shared->mapped, wanted);
    enum kv_read found = kv_mapped_find(&shared->mapped, table, wanted, 1, hash, &value);
    REQUIRE(found != KV_READ_BROKEN);
    if (found == KV_READ_FOUND && value.bytes.length <= sizeof copy) {
        kv_unsettled_copy(copy, value.bytes.data, value.bytes.length);
        if (kv_mapped_holds(&value)) {
            REQUIRE(is_race_value(key, kv_bytes(copy, value.bytes.length)));
            atomic_fetch_add(&shared->reads, 1);
        }
    }
}

static void read_table(struct shared *shared, const struct kv_mapped_table *table,
                       struct random *random)
{
    uint64_t count;
    uint64_t next_expiry;
    struct kv_mapped_counters counters;
    for (unsigned i = 0; i < 16; i++) {
        read_value(shared, table, (unsigned)(next_random(random) % KEYS));
    }
    (void)kv_mapped_counters(&shared->mapped, table, &counters);
    if (kv_mapped_count(&shared->mapped, table, &count, &next_expiry) == KV_READ_FOUND) {
        REQUIRE(count <= KEYS);
    }
}

static void *reader(void *context)
{
    struct shared *shared = context;
    struct random random = {.state = (uint64_t)(uintptr_t)&random | 1};
    while (!atomic_load(&shared->done)) {
        struct kv_mapped_table table;
        uint32_t serial = (uint32_t)(next_random(&random) % TABLES);
        if (kv_mapped_table_of(&shared->mapped, PID, serial, &table) == KV_READ_FOUND) {
            read_table(shared, &table, &random);
        }
    }
    return NULL;
}

/* ---- the writer ------------------------------------------------------------------------------ */

static struct kv_table *begin_table(struct shared *shared, uint32_t serial)
{
    struct kv_table *table = kv_table_new(shared->arena, NULL);
    REQUIRE(table != NULL);
    REQUIRE(kv_arena_publish(shared->arena, PID, serial, KV_PUBLISHED_VALUES, table) == KV_OK);
    return table;
}

static void write_round(struct shared *shared, struct kv_table *tables[TABLES],
                        struct random *random, unsigned round)
{
    for (unsigned i = 0; i < CHANGES; i++) {
        race_change(tables[next_random(random) % TABLES], random);
        if (i % WORK_EACH == 0) {
            kv_arena_set_time(shared->arena, kv_arena_time(shared->arena) + 1);
            (void)kv_arena_work(shared->arena, 2);
        }
    }
    unsigned ending = round % TABLES;
    kv_table_free(tables[ending]);
    tables[ending] = begin_table(shared, ending);
    kv_table_ask_owner(tables[(ending + 1) % TABLES], round % 2 == 0);
}

static void writer(struct shared *shared)
{
    struct kv_table *tables[TABLES];
    struct random random = {.state = 42};
    for (unsigned i = 0; i < TABLES; i++) {
        tables[i] = begin_table(shared, i);
    }
    for (unsigned i = 0; i < ROUNDS || atomic_load(&shared->reads) == 0; i++) {
        write_round(shared, tables, &random, i);
    }
    for (unsigned i = 0; i < TABLES; i++) {
        kv_table_free(tables[i]);
    }
}

void race_store(void)
{
    struct shared shared = {.reads = 0};
    struct kv_arena_options options = {.hash_key = {1, 2}, .id = "races"};
    pthread_t readers[READERS];
    REQUIRE(kv_mapping_open(&shared.mapping, ARENA_SIZE));
    shared.arena = race_arena(&shared.mapping, &options);
    REQUIRE(kv_mapped_open(&shared.mapped, shared.mapping.base, shared.mapping.size, options.id) ==
            KV_OK);
    for (unsigned i = 0; i < READERS; i++) {
        REQUIRE(pthread_create(&readers[i], NULL, reader, &shared) == 0);
    }
    writer(&shared);
    kv_arena_free(shared.arena); /* while they still read: the memory stays */
    atomic_store(&shared.done, true);
    for (unsigned i = 0; i < READERS; i++) {
        REQUIRE(pthread_join(readers[i], NULL) == 0);
    }
    kv_mapping_close(&shared.mapping);
}
