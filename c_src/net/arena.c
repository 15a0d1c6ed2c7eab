/* The arena of the node: where it comes from, what time it has, and when it is tended. */
#include "net/node.h"

#include <openssl/rand.h>

enum {
    STEPS_A_TURN = 2,  /* of up to some 50 microseconds each, while others wait */
    STEPS_ALONE = 4,   /* when nobody asks for anything, */
    PAUSE_ALONE_MS = 1 /* every so often */
};

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
    if (!kv_mapping_open(&node->mapping, kv_mapping_reserve(options.max_memory))) {
        kv_node_fatal(node, KV_FATAL_INTERNAL, "no address space for the buckets");
        return false;
    }
    if (node->mapping.fd < 0) {
        kv_log(&node->log, KV_LOG_WARNING,
               "the memory of the buckets cannot be shared with other processes: %s: %s",
               node->mapping.flaw, strerror(node->mapping.error));
    }
    struct kv_arena_memory memory = kv_mapping_memory(&node->mapping);
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
    kv_node_tick_arena(node);
    (void)kv_arena_work(node->arena, STEPS_ALONE - STEPS_A_TURN); /* the rest at the turn's end */
}

void kv_node_tend_arena(struct kv_node *node)
{
    if (node->arena == NULL || node->stopping) {
        return;
    }
    kv_node_tick_arena(node);
    if (kv_arena_work(node->arena, STEPS_A_TURN)) {
        uv_timer_start(&node->arena_timer, on_arena_timer, PAUSE_ALONE_MS, 0);
    } else {
        uv_timer_stop(&node->arena_timer);
    }
}
