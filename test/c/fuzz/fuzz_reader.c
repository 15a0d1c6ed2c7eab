/* An arena that lies: arbitrary bytes behind a valid header, or a valid arena with some bytes
 * changed. The reader reads only inside the mapping, comes to an end, and finds only values inside.
 */
#include "store/reader.h"

#include "support/arena.h"

#include <kv/error.h>

enum { KEYS = 16, KEY_SIZE = 3, EDIT = 4, HEADER = 320 };

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static uint64_t touch(struct kv_bytes bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.length; i++) {
        sum += bytes.data[i];
    }
    return sum;
}

static void look(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                 struct kv_bytes key, unsigned form)
{
    struct kv_mapped_value value;
    uint64_t hash = kv_mapped_hash(mapped, key);
    if (kv_mapped_find(mapped, table, key, form, hash, &value) == KV_READ_FOUND) {
        const uint8_t *end = mapped->base + mapped->size;
        check(value.bytes.data > mapped->base && value.bytes.data <= end);
        check(value.bytes.length <= (size_t)(end - value.bytes.data));
        volatile uint64_t sum = touch(value.bytes);
        (void)sum;
        check(kv_mapped_holds(&value));
    }
}

static void look_at_table(const struct kv_mapped *mapped, const struct kv_mapped_table *table)
{
    struct kv_mapped_counters counters;
    uint64_t count;
    uint64_t next_expiry;
    (void)kv_mapped_count(mapped, table, &count, &next_expiry);
    (void)kv_mapped_counters(mapped, table, &counters);
    for (uint8_t i = 0; i < KEYS; i++) {
        const uint8_t key[KEY_SIZE] = {'k', 'e', i};
        look(mapped, table, kv_bytes(key, i % (KEY_SIZE + 1)), i % 2);
        look(mapped, table, kv_bytes(key, KEY_SIZE), 1);
    }
}

static void look_at_all(const void *base, size_t size)
{
    struct kv_mapped mapped;
    struct kv_mapped_table table;
    if (kv_mapped_open(&mapped, base, size, NULL) != KV_OK) {
        return;
    }
    if (kv_mapped_table_of(&mapped, HAND_PID, HAND_SERIAL, &table) == KV_READ_FOUND) {
        look_at_table(&mapped, &table);
    }
    if (kv_mapped_table_at(&mapped, HAND_SLOT, HAND_GENERATION, &table) == KV_READ_FOUND) {
        look_at_table(&mapped, &table);
    }
}

/* The mapping ends where the input ends, so that the sanitizer sees each access beyond. */
static void arbitrary(const uint8_t *data, size_t size)
{
    size_t whole = 4096 + ((size + 7) & ~(size_t)7);
    uint8_t *base = aligned_alloc(8, whole);
    memset(base, 0, whole);
    struct hand hand = {.base = base};
    size_t header = size < HEADER ? size : HEADER;
    memcpy(base, data, header);
    memcpy(base + 4096, data + header, size - header);
    hand_put64(&hand, 0, UINT64_C(0x414E4552414B5601));
    hand_put32(&hand, 8, 2);
    hand_put32(&hand, 12, 1);
    hand_put64(&hand, 48, whole);
    look_at_all(base, whole);
    free(base);
}

/* The input is a list of four bytes: three for a place, one for the byte to write there. */
static void edited(const uint8_t *data, size_t size)
{
    struct hand hand;
    hand_start(&hand);
    for (uint8_t i = 0; i < KEYS; i++) {
        const uint8_t key[KEY_SIZE] = {'k', 'e', i};
        struct hand_entry entry = {.key = kv_bytes(key, KEY_SIZE), .key_form = 1};
        entry.value = kv_bytes(hand.base, (size_t)i * 9);
        entry.expires = i % 3;
        entry.has_use = i % 5 == 0;
        hand_add(&hand, &entry);
    }
    for (; size >= EDIT; data += EDIT, size -= EDIT) {
        size_t place = (size_t)data[0] | ((size_t)data[1] << 8) | ((size_t)data[2] << 16);
        if (data[2] >= 2) { /* a place that matters: a header, a slot, a node, groups, entries */
            static const size_t places[] = {0,         HAND_SLOTS,    HAND_SLOTS + 3 * 128,
                                            HAND_NODE, HAND_SEGMENTS, HAND_ENTRIES};
            place = places[data[2] % 6] + (place & 0x1FF);
        }
        hand.base[place % HAND_SIZE] = data[3];
    }
    look_at_all(hand.base, HAND_SIZE);
    hand_free(&hand);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] % 2 == 0) {
        arbitrary(data + 1, size - 1);
    } else if (size > 0) {
        edited(data + 1, size - 1);
    }
    return 0;
}
