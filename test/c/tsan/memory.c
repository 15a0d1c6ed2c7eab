/* The node prepares memory ahead of need in a thread of libuv's, while its own thread writes there.
 */
#include "tsan/races.h"

#include "node/node.h"

#include <kv/error.h>
#include <stdarg.h>

enum { CHANGES = 4000, CHANGES_A_TURN = 8, TABLES_ANEW = 1000 };

#define MEMORY (UINT64_C(64) << 20)

/* Of the node, only its memory is linked. */
void kv_node_fatal(struct kv_node *node, enum kv_fatal reason, const char *format, ...)
{
    (void)node;
    (void)reason;
    race_failed(__FILE__, __LINE__, format);
}

void kv_log(struct kv_log *log, enum kv_log_level level, const char *format, ...)
{
    (void)log;
    (void)level;
    race_failed(__FILE__, __LINE__, format);
}

static void change(struct kv_node *node)
{
    struct random random = {.state = 7};
    struct kv_table *table = kv_table_new(node->arena, NULL);
    for (unsigned i = 0; i < CHANGES; i++) {
        race_change(table, &random);
        if (i % CHANGES_A_TURN == 0) {
            kv_node_tend_arena(node);
            (void)uv_run(&node->loop, UV_RUN_NOWAIT);
        }
        if (i % TABLES_ANEW == 0) {
            kv_table_free(table);
            table = kv_table_new(node->arena, NULL);
        }
    }
    kv_table_free(table);
}

static void run_to_the_end(struct kv_node *node)
{
    uv_close((uv_handle_t *)&node->arena_timer, NULL);
    REQUIRE(uv_run(&node->loop, UV_RUN_DEFAULT) == 0);
    kv_node_close_arena(node);
    REQUIRE(uv_loop_close(&node->loop) == 0);
}

void race_memory(void)
{
    static struct kv_node node;
    node.options.max_memory = MEMORY;
    REQUIRE(uv_loop_init(&node.loop) == 0);
    REQUIRE(uv_timer_init(&node.loop, &node.arena_timer) == 0);
    REQUIRE(kv_node_open_arena(&node));
    change(&node);
    REQUIRE(node.preparation.work.data != NULL); /* memory was prepared */
    run_to_the_end(&node);
}
