#include "tsan/races.h"

#include "base/endian.h"

#include <kv/error.h>

enum { VALUE_HEAD = 8, VALUE_LARGE = 9000, TTL_MAX = 40 };

uint64_t next_random(struct random *random)
{
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return random->state;
}

struct kv_bytes race_key(unsigned key, uint8_t *to)
{
    size_t length = 4 + key % (KEY_MAX - 3);
    memset(to, (int)key, length);
    kv_set32(to, key);
    return kv_bytes(to, length);
}

static uint8_t filler(uint32_t key, uint32_t seed, size_t at)
{
    return (uint8_t)(key + seed + at * 31);
}

/* Small as a rule, so that entries share pages and move; some have pages of their own. */
struct kv_bytes race_value(struct random *random, unsigned key, uint8_t *to)
{
    uint64_t choice = next_random(random);
    uint32_t seed = (uint32_t)(choice >> 32);
    size_t length = VALUE_HEAD + (choice % 64 == 0  ? VALUE_LARGE + choice % 1000
                                  : choice % 4 == 0 ? (choice >> 8) % 300
                                                    : 16);
    kv_set32(to, key);
    kv_set32(to + 4, seed);
    for (size_t i = VALUE_HEAD; i < length; i++) {
        to[i] = filler(key, seed, i);
    }
    return kv_bytes(to, length);
}

bool is_race_value(unsigned key, struct kv_bytes value)
{
    if (value.length < VALUE_HEAD || kv_get32(value.data) != key) {
        return false;
    }
    uint32_t seed = kv_get32(value.data + 4);
    for (size_t i = VALUE_HEAD; i < value.length; i++) {
        if (value.data[i] != filler(key, seed, i)) {
            return false;
        }
    }
    return true;
}

struct kv_arena *race_arena(struct kv_mapping *mapping, const struct kv_arena_options *options)
{
    struct kv_arena_memory memory = {
        .base = mapping->base,
        .reserve = mapping->size,
        .context = mapping,
        .release = kv_mapping_release,
    };
    return kv_arena_new(&memory, options);
}

static void put(struct kv_table *table, struct random *random, uint64_t expiry)
{
    uint8_t bytes[KEY_MAX];
    uint8_t contents[VALUE_MAX];
    unsigned key = (unsigned)(next_random(random) % KEYS);
    struct kv_item item = {.bytes = race_key(key, bytes), .form = 1};
    struct kv_item value = {.bytes = race_value(random, key, contents), .form = 1};
    REQUIRE(kv_table_put(table, item, value, expiry) == KV_OK);
}

static void put_many(struct kv_table *table, struct random *random)
{
    kv_table_begin_changes(table);
    for (unsigned i = 0; i < 4; i++) {
        put(table, random, KV_NEVER);
    }
    kv_table_end_changes(table);
}

void race_change(struct kv_table *table, struct random *random)
{
    uint64_t choice = next_random(random) % 1000;
    if (choice < 600) {
        put(table, random, KV_NEVER);
    } else if (choice < 640) {
        put_many(table, random);
    } else if (choice < 700) {
        put(table, random, 1 + next_random(random) % TTL_MAX);
    } else if (choice < 997) {
        uint8_t bytes[KEY_MAX];
        unsigned key = (unsigned)(next_random(random) % KEYS);
        (void)kv_table_delete(table, (struct kv_item){race_key(key, bytes), 1});
    } else {
        kv_table_clear(table);
    }
}
