#include "node/memory.h"

#include "base/assert.h"
#include "host/exhausted.h"

#include <inttypes.h>
#include <kv/error.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

enum {
    STEPS_A_TURN = 2,   /* of up to some 50 microseconds each, while peers wait */
    STEPS_ALONE = 4,    /* while no peer asks for anything */
    PAUSE_ALONE_MS = 1, /* between two turns with STEPS_ALONE */
    STEPS_TO_FIT = 20   /* in a turn before the node serves */
};

/* ---- memory ahead of need ---------------------------------------------------------------------
 */

/* In another thread. */
static void populate(void *context)
{
    struct kv_memory *memory = context;
    bool ready = true;
    for (unsigned i = 0; ready && i < KV_ARENA_RANGES; i++) {
        const struct kv_arena_range *range = &memory->preparation.ranges[i];
        ready = kv_mapping_populate(range->start, range->length);
    }
    memory->preparation.ready = ready;
}

static void on_populated(void *context)
{
    struct kv_memory *memory = context;
    kv_arena_prepared(memory->arena, memory->preparation.ready);
}

static void populate_now(void *start, size_t length)
{
    (void)kv_mapping_populate(start, length);
}

/* The arena asks for one preparation at a time. */
static void prepare(void *context, const struct kv_arena_range ranges[KV_ARENA_RANGES])
{
    struct kv_memory *memory = context;
    if (!memory->stopping) {
        memcpy(memory->preparation.ranges, ranges, sizeof(memory->preparation.ranges));
        kv_aside_do(&memory->preparation.thread);
    }
}

/* ---- the arena --------------------------------------------------------------------------------
 */

static void make_arena(struct kv_memory *memory, const struct kv_arena_options *options)
{
    const bool can_prepare = kv_aside_start(&memory->preparation.thread, memory->timer.loop,
                                            populate, on_populated, memory);
    struct kv_arena_memory mapped = {
        .base = memory->mapping.base,
        .reserve = memory->mapping.size,
        .context = &memory->mapping,
        .release = kv_mapping_release,
        .prepare = can_prepare ? prepare : NULL,
        .preparer = memory,
        .populate = populate_now,
    };
    memory->arena = kv_arena_new(&mapped, options);
    kv_memory_tick(memory);
}

void kv_memory_init(struct kv_memory *memory, uv_loop_t *loop)
{
    *memory = (struct kv_memory){.arena = NULL};
    uv_timer_init(loop, &memory->timer);
    memory->timer.data = memory;
}

static void tell_flaws(const struct kv_memory *memory, uint64_t max_memory, struct kv_log *log)
{
    const struct kv_mapping *mapping = &memory->mapping;
    if (mapping->fd < 0) {
        kv_log(log, KV_LOG_WARNING,
               "the memory of the buckets cannot be shared with other processes, which then cannot "
               "read it without a call: %s: %s",
               mapping->flaw, strerror(mapping->error));
    }
    if (mapping->size < max_memory) {
        kv_log(
            log, KV_LOG_WARNING,
            "the buckets have at most %llu bytes, and not the %llu of --max-memory: the limit of "
            "memory (%s)%s is lower",
            (unsigned long long)mapping->size, (unsigned long long)max_memory,
            mapping->fd < 0 ? kv_limits_of_memory() : "ulimit -v",
            mapping->fd < 0 ? "" : " or of files (ulimit -f)");
    }
}

static uint64_t default_limit(struct kv_log *log)
{
    enum { SHOWN = 1024 };
    char of[SHOWN];
    uint64_t limit = kv_mapping_default_limit(of, sizeof of);
    kv_log(log, KV_LOG_INFO, "--max-memory is %" PRIu64 " bytes, three quarters of %s", limit, of);
    return limit;
}

const char *kv_memory_open(struct kv_memory *memory, uint64_t max_memory, struct kv_log *log)
{
    struct kv_arena_options options = {
        .max_memory = max_memory > 0 ? max_memory : default_limit(log),
    };
    if (RAND_bytes((unsigned char *)&options.hash_key, sizeof(options.hash_key)) != 1 ||
        RAND_bytes(options.id, sizeof(options.id)) != 1) {
        return kv_error_text(KV_ERANDOM);
    }
    uint64_t reserve = kv_mapping_reserve(options.max_memory, KV_ARENA_RESERVE_MAX);
    if (!kv_mapping_open(&memory->mapping, reserve)) {
        (void)snprintf(memory->wrong, sizeof(memory->wrong),
                       "no address space for the buckets: raise the limit of memory (%s)",
                       kv_limits_of_memory());
        return memory->wrong;
    }
    tell_flaws(memory, options.max_memory, log);
    make_arena(memory, &options);
    memory->loan = kv_mapping_loan(options.max_memory);
    return NULL;
}

void kv_memory_pause(struct kv_memory *memory)
{
    memory->paused = true;
    kv_arena_set_time(memory->arena, 0);
    kv_arena_lend(memory->arena, memory->loan);
}

void kv_memory_resume(struct kv_memory *memory)
{
    memory->paused = false;
    memory->due = 0;
    kv_memory_tick(memory);
    kv_fit_begin(&memory->fit, memory->arena);
}

enum kv_fit_state kv_memory_fit(struct kv_memory *memory)
{
    enum kv_fit_state state = KV_FIT_GOES_ON;
    for (unsigned i = 0; i < STEPS_TO_FIT && state == KV_FIT_GOES_ON; i++) {
        state = kv_fit_step(&memory->fit);
    }
    return state;
}

void kv_memory_stop(struct kv_memory *memory)
{
    memory->stopping = true;
    kv_aside_end(&memory->preparation.thread);
}

/* The mapping goes as a whole: freeing page by page would only take time. */
void kv_memory_close(struct kv_memory *memory)
{
    kv_aside_end(&memory->preparation.thread);
    if (memory->arena != NULL) {
        kv_arena_free(memory->arena);
        memory->arena = NULL;
    }
    kv_mapping_close(&memory->mapping);
}

void kv_memory_tick(struct kv_memory *memory)
{
    if (memory->arena != NULL && !memory->paused) {
        kv_arena_set_time(memory->arena, kv_mapping_clock());
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct kv_memory *memory = timer->data;
    memory->due = 0;
    kv_memory_tick(memory);
    (void)kv_arena_work(memory->arena, STEPS_ALONE - STEPS_A_TURN); /* the turn's end does more */
}

/* At the time from which something will have expired, if anything ever does. */
static void wake_when_due(struct kv_memory *memory)
{
    uint64_t due = kv_arena_due(memory->arena);
    uint64_t now = kv_arena_time(memory->arena);
    if (due == UINT64_MAX) {
        uv_timer_stop(&memory->timer);
    } else if (due != memory->due) {
        uint64_t left = due > now ? due - now : 0;
        uv_timer_start(&memory->timer, on_timer, left > PAUSE_ALONE_MS ? left : PAUSE_ALONE_MS, 0);
    }
    memory->due = due;
}

void kv_memory_tend(struct kv_memory *memory)
{
    if (memory->arena == NULL || memory->stopping) {
        return;
    }
    kv_memory_tick(memory);
    if (kv_arena_work(memory->arena, STEPS_A_TURN)) {
        uv_timer_start(&memory->timer, on_timer, PAUSE_ALONE_MS, 0);
        memory->due = 0;
    } else {
        wake_when_due(memory);
    }
}
