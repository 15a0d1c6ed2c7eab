/* A writer that lies: another process changes random bytes of an arena while this process reads it.
 * The reader reads nothing outside of the mapping, ends every search, and finds only values inside.
 * Sanitizers and guard pages around the mapping check that. */
#include "store/reader.h"

#include "support/arena.h"

#include <kv/error.h>

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READS = 300000, KEYS = 200, PAGE = 4096 };

/* A mapping with an inaccessible page on either side. */
static uint8_t *guarded(void)
{
    uint8_t *whole = mmap(NULL, HAND_SIZE + 2 * PAGE, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert_neq((void *)whole, MAP_FAILED);
    uint8_t *base = mmap(whole + PAGE, HAND_SIZE, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    cr_assert_neq((void *)base, MAP_FAILED);
    return base;
}

static struct kv_bytes key_bytes(unsigned key, char *to, size_t size)
{
    return kv_bytes(to, (size_t)snprintf(to, size, "key-%u", key));
}

static void fill(struct hand *hand)
{
    char name[16];
    for (unsigned i = 0; i < KEYS; i++) {
        struct hand_entry entry = {.key = key_bytes(i, name, sizeof name), .key_form = 1};
        entry.value = kv_bytes(hand_id, i % sizeof hand_id);
        hand_add(hand, &entry);
    }
}

/* Mostly changes bytes that matter, and now and then restores the whole arena. */
static _Noreturn void lie(uint8_t *base, const uint8_t *truth)
{
    static const size_t places[] = {HAND_SLOTS,
                                    HAND_SLOTS + 3 * HAND_SLOT_SIZE,
                                    HAND_NODE,
                                    HAND_SEGMENTS,
                                    HAND_SEGMENTS + PAGE,
                                    HAND_ENTRIES};
    uint64_t random = 88172645463325252;
    for (unsigned i = 1;; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t place = (size_t)(random >> 40) % PAGE + places[random % 6];
        base[place % HAND_SIZE] = (uint8_t)(random >> 8);
        if (i % 64 == 0) {
            memcpy(base + HAND_SLOTS, truth + HAND_SLOTS, HAND_SIZE - HAND_SLOTS);
        }
    }
}

static bool read_value(const struct kv_mapped *mapped, const struct kv_mapped_value *value)
{
    static uint8_t copy[HAND_SIZE];
    const uint8_t *end = mapped->base + mapped->size;
    cr_assert(value->bytes.data >= mapped->base && value->bytes.data <= end);
    cr_assert_leq(value->bytes.length, (size_t)(end - value->bytes.data));
    memcpy(copy, value->bytes.data, value->bytes.length);
    return kv_mapped_holds(value);
}

Test(reader_liar, a_writer_that_lies_is_read_without_harm, .timeout = 300)
{
    const char *wanted = getenv("KV_READS");
    uint64_t reads = wanted == NULL ? READS : strtoull(wanted, NULL, 10);
    uint64_t outcomes[KV_READ_BROKEN + 1] = {0};
    char name[16];
    struct hand hand;
    hand_start(&hand);
    fill(&hand);
    uint8_t *base = guarded();
    memcpy(base, hand.base, HAND_SIZE);
    struct kv_mapped mapped;
    cr_assert_eq(kv_mapped_open(&mapped, base, HAND_SIZE, hand_id), KV_OK);
    pid_t liar = fork();
    cr_assert_geq(liar, 0);
    if (liar == 0) {
        lie(base, hand.base);
    }
    for (uint64_t i = 0; i < reads; i++) {
        struct kv_mapped_table table;
        struct kv_mapped_value value;
        struct kv_mapped_counters counters;
        struct kv_bytes key = key_bytes((unsigned)(i % KEYS), name, sizeof name);
        enum kv_read result = kv_mapped_table_of(&mapped, HAND_PID, HAND_SERIAL, &table);
        if (result == KV_READ_FOUND) {
            (void)kv_mapped_counters(&mapped, &table, &counters);
            result = kv_mapped_find(&mapped, &table, key, 1, kv_mapped_hash(&mapped, key), &value);
        }
        if (result == KV_READ_FOUND && !read_value(&mapped, &value)) {
            result = KV_READ_DISTURBED;
        }
        outcomes[result]++;
    }
    cr_assert_eq(kill(liar, SIGKILL), 0);
    cr_assert_eq(waitpid(liar, NULL, 0), liar);
    cr_assert_gt(outcomes[KV_READ_FOUND], 0);
    hand_free(&hand);
}
