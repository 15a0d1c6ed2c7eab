/* The node prepares memory ahead of need in another thread, while its own thread writes there.
 */
#include "tsan/races.h"

#include "node/memory.h"

enum { CHANGES = 4000, CHANGES_A_TURN = 8, TABLES_ANEW = 1000 };

#define MEMORY (UINT64_C(64) << 20)

/* host/log.c is not linked. kv_memory_open() logs only if the memory cannot be shared. */
void kv_log(struct kv_log *log, enum kv_log_level level, const char *format, ...)
{
    (void)log;
    (void)level;
    race_failed(__FILE__, __LINE__, format);
}

static void change(struct kv_memory *memory, uv_loop_t *loop)
{
    struct random random = {.state = 7};
    struct kv_table *table = kv_table_new(memory->arena, NULL);
    for (unsigned i = 0; i < CHANGES; i++) {
        race_change(table, &random);
        if (i % CHANGES_A_TURN == 0) {
            kv_memory_tend(memory);
            (void)uv_run(loop, UV_RUN_NOWAIT);
        }
        if (i % TABLES_ANEW == 0) {
            kv_table_free(table);
            table = kv_table_new(memory->arena, NULL);
        }
    }
    kv_table_free(table);
}

void race_memory(void)
{
    uv_loop_t loop;
    struct kv_memory memory;
    REQUIRE(uv_loop_init(&loop) == 0);
    kv_memory_init(&memory, &loop);
    REQUIRE(kv_memory_open(&memory, MEMORY, NULL) == NULL);
    change(&memory, &loop);
    REQUIRE(memory.preparation.ready);
    kv_memory_stop(&memory);
    uv_close((uv_handle_t *)&memory.timer, NULL);
    REQUIRE(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    kv_memory_close(&memory);
    REQUIRE(uv_loop_close(&loop) == 0);
}
