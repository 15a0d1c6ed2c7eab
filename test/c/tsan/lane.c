/* Two threads that ask, one that serves, over the slots of one lane: nothing is lost, done twice or
 * torn. */
#include "tsan/races.h"

#include "lane/layout.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 2, REQUESTS = 60000, LOOKS = 200, BYTES = 256, TABLE = GROUPS * REQUESTS };

struct shared {
    struct kv_lane_header *lane;
    atomic_uint ended; /* threads that ask */
    uint8_t served[TABLE];
};

struct asker {
    struct shared *shared;
    uint32_t group;
    unsigned withdrawn;
    unsigned answered;
    unsigned left;
    uint8_t kept[REQUESTS]; /* 1: the request was not withdrawn */
};

static uint32_t number_of(const struct asker *asker, unsigned request)
{
    return asker->group * REQUESTS + request;
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static void write_request(struct kv_slot *slot, uint32_t number)
{
    atomic_store_explicit(&slot->id, number, memory_order_relaxed);
    atomic_store_explicit(&slot->length, BYTES, memory_order_relaxed);
    memset(slot->data, (int)(number % 251), BYTES);
}

static void check_answer(const struct kv_slot *slot, uint32_t number)
{
    REQUIRE(atomic_load_explicit(&slot->id, memory_order_relaxed) == ~number);
    for (unsigned i = 0; i < BYTES; i++) {
        REQUIRE(slot->data[i] == (uint8_t)(number % 251 + 1));
    }
}

static bool comes(const struct kv_slot *slot, unsigned looks)
{
    for (unsigned i = 0; i < looks; i++) {
        if (kv_slot_is_done(slot)) {
            return true;
        }
    }
    return false;
}

static struct kv_slot *free_slot(const struct asker *asker)
{
    for (unsigned way = 0;; way = (way + 1) % KV_LANE_WAYS) {
        struct kv_slot *slot =
            kv_lane_slot(asker->shared->lane, kv_lane_slot_number(GROUPS, asker->group, way));
        if (kv_slot_is_free(slot)) {
            return slot;
        }
        (void)sched_yield();
    }
}

static void ask(struct asker *asker, unsigned request, struct random *random)
{
    const uint32_t number = number_of(asker, request);
    struct kv_slot *slot = free_slot(asker);
    write_request(slot, number);
    kv_slot_ask(slot);
    if (!comes(slot, (unsigned)(next_random(random) % LOOKS))) {
        if (kv_slot_withdraw(slot)) {
            asker->withdrawn++;
            return;
        }
        asker->kept[request] = 1;
        if (next_random(random) % 4 == 0) {
            asker->left++;
            if (!kv_slot_leave(slot)) {
                kv_slot_release(slot);
            }
            return;
        }
        while (!comes(slot, LOOKS)) {
            (void)sched_yield();
        }
    }
    asker->kept[request] = 1;
    asker->answered++;
    check_answer(slot, number);
    kv_slot_release(slot);
}

static void *run_asker(void *context)
{
    struct asker *asker = context;
    struct random random = {.state = asker->group + 1};
    for (unsigned i = 0; i < REQUESTS; i++) {
        ask(asker, i, &random);
    }
    atomic_fetch_add(&asker->shared->ended, 1);
    return NULL;
}

/* ---- serving ----------------------------------------------------------------------------------
 */

static void serve(struct shared *shared, struct kv_slot *slot)
{
    uint8_t copy[BYTES];
    const uint32_t number = atomic_load_explicit(&slot->id, memory_order_relaxed);
    memcpy(copy, slot->data, sizeof copy);
    for (unsigned i = 0; i < BYTES; i++) {
        REQUIRE(copy[i] == (uint8_t)(number % 251));
    }
    REQUIRE(number < TABLE);
    shared->served[number]++;
    memset(slot->data, (int)(number % 251 + 1), BYTES);
    atomic_store_explicit(&slot->id, ~number, memory_order_relaxed);
    if (!kv_slot_finish(slot)) {
        kv_slot_drop(slot);
    }
}

static void *run_server(void *context)
{
    struct shared *shared = context;
    bool last = false;
    do {
        last = atomic_load(&shared->ended) == GROUPS;
        for (uint32_t i = 0; i < GROUPS * KV_LANE_WAYS; i++) {
            struct kv_slot *slot = kv_lane_slot(shared->lane, i);
            if (kv_slot_is_asked(slot) && kv_slot_take(slot)) {
                serve(shared, slot);
            }
        }
    } while (!last);
    return NULL;
}

static void check(const struct shared *shared, const struct asker *asker)
{
    REQUIRE(asker->withdrawn + asker->answered + asker->left == REQUESTS);
    REQUIRE(asker->answered > 0);
    for (unsigned i = 0; i < REQUESTS; i++) {
        REQUIRE(shared->served[number_of(asker, i)] == asker->kept[i]);
    }
}

void race_lane(void)
{
    static struct shared shared;
    static struct asker askers[GROUPS];
    pthread_t threads[GROUPS + 1];
    const size_t size = kv_lane_size(GROUPS);
    shared.lane = aligned_alloc(KV_LANE_PAGE, size);
    REQUIRE(shared.lane != NULL);
    memset(shared.lane, 0, size);
    REQUIRE(pthread_create(&threads[GROUPS], NULL, run_server, &shared) == 0);
    for (uint32_t i = 0; i < GROUPS; i++) {
        askers[i] = (struct asker){.shared = &shared, .group = i};
        REQUIRE(pthread_create(&threads[i], NULL, run_asker, &askers[i]) == 0);
    }
    for (unsigned i = 0; i <= GROUPS; i++) {
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    }
    for (unsigned i = 0; i < GROUPS; i++) {
        check(&shared, &askers[i]);
    }
    free(shared.lane);
}
