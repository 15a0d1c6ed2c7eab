/* The arena of the node: where it comes from, what time it has, and when it is tended. */
#include "node/node.h"

#include <openssl/rand.h>

enum {
    STEPS_A_TURN = 2,  /* of up to some 50 microseconds each, while others wait */
    STEPS_ALONE = 4,   /* when nobody asks for anything, */
    PAUSE_ALONE_MS = 1 /* every so often */
};

/* ---- memory ahead of need ---------------------------------------------------------------------
 */

/* In another thread. */
static void populate(uv_work_t *work)
{
    struct kv_node *node = work->data;
    bool ready = true;
    for (unsigned i = 0; ready && i < KV_ARENA_RANGES; i++) {
        const struct kv_arena_range *range = &node->preparation.ranges[i];
        ready = kv_mapping_populate(range->start, range->length);
    }
    node->preparation.ready = ready;
}

static void on_populated(uv_work_t *work, int status)
{
    struct kv_node *node = work->data;
    if (!node->stopping) {
        kv_arena_prepared(node->arena, status == 0 && node->preparation.ready);
    }
}

/* Never two at a time. */
static void prepare(void *context, const struct kv_arena_range ranges[KV_ARENA_RANGES])
{
    struct kv_node *node = context;
    memcpy(node->preparation.ranges, ranges, sizeof(node->preparation.ranges));
    node->preparation.work.data = node;
    (void)uv_queue_work(&node->loop, &node->preparation.work, populate, on_populated);
}

/* ---- the arena --------------------------------------------------------------------------------
 */

bool kv_node_open_arena(struct kv_node *node)
{
    uint64_t limit = node->options.max_memory;
    struct kv_arena_options options = {
        .max_memory = limit > 0 ? limit : kv_mapping_default_limit(),
    };
    if (RAND_bytes((unsigned char *)&options.hash_key, sizeof(options.hash_key)) != 1 ||
        RAND_bytes(options.id, sizeof(options.id)) != 1) {
        kv_node_fatal(node, KV_FATAL_INTERNAL, "%s", kv_error_text(KV_ERANDOM));
        return false;
    }
    if (!kv_mapping_open(&node->mapping,
                         kv_mapping_reserve(options.max_memory, KV_ARENA_RESERVE_MAX))) {
        kv_node_fatal(node, KV_FATAL_INTERNAL, "no address space for the buckets");
        return false;
    }
    if (node->mapping.fd < 0) {
        kv_log(&node->log, KV_LOG_WARNING,
               "the memory of the buckets cannot be shared with other processes: %s: %s",
               node->mapping.flaw, strerror(node->mapping.error));
    }
    struct kv_arena_memory memory = {
        .base = node->mapping.base,
        .reserve = node->mapping.size,
        .context = &node->mapping,
        .release = kv_mapping_release,
    };
    memory.prepare = prepare;
    memory.preparer = node;
    node->arena = kv_arena_new(&memory, &options);
    kv_node_tick_arena(node);
    return true;
}

/* Ends with the process: to take it apart page by page would only take time. */
void kv_node_close_arena(struct kv_node *node)
{
    if (node->arena != NULL) {
        kv_arena_free(node->arena);
        node->arena = NULL;
    }
    kv_mapping_close(&node->mapping);
}

void kv_node_tick_arena(struct kv_node *node)
{
    if (node->arena != NULL) {
        kv_arena_set_time(node->arena, kv_mapping_clock());
    }
}

static void on_arena_timer(uv_timer_t *timer)
{
    struct kv_node *node = timer->data;
    node->arena_due = 0;
    kv_node_tick_arena(node);
    (void)kv_arena_work(node->arena, STEPS_ALONE - STEPS_A_TURN); /* the rest at the turn's end */
}

/* At the time from which something will have expired, if anything ever does. */
static void wake_when_due(struct kv_node *node)
{
    uint64_t due = kv_arena_due(node->arena);
    uint64_t now = kv_arena_time(node->arena);
    if (due == UINT64_MAX) {
        uv_timer_stop(&node->arena_timer);
    } else if (due != node->arena_due) {
        uint64_t left = due > now ? due - now : 0;
        uv_timer_start(&node->arena_timer, on_arena_timer,
                       left > PAUSE_ALONE_MS ? left : PAUSE_ALONE_MS, 0);
    }
    node->arena_due = due;
}

void kv_node_tend_arena(struct kv_node *node)
{
    if (node->arena == NULL || node->stopping) {
        return;
    }
    kv_node_tick_arena(node);
    if (kv_arena_work(node->arena, STEPS_A_TURN)) {
        uv_timer_start(&node->arena_timer, on_arena_timer, PAUSE_ALONE_MS, 0);
        node->arena_due = 0;
    } else {
        wake_when_due(node);
    }
}
