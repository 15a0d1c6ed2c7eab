/* Runs a random program of operations on a table and on a map beside it: each byte of the input
 * chooses the next step. Then checks the whole arena. */
#include "base/alloc.h"
#include "store/table_state.h"
#include "support/store_model.h"

#include <stdlib.h>

enum { RESERVE = 1 << 25, KEYS = 200, STEPS_BETWEEN_CHECKS = 512 };

struct program {
    const uint8_t *data;
    size_t left;
};

static uint8_t next(struct program *program)
{
    if (program->left == 0) {
        return 0;
    }
    program->left--;
    return *program->data++;
}

static uint32_t length(struct program *program)
{
    uint8_t kind = next(program);
    uint32_t low = next(program);
    return kind < 200 ? low : kind < 240 ? low * 40 : low * 300;
}

static void step(struct model *model, struct program *program)
{
    uint8_t operation = next(program);
    unsigned key = (operation & 1 ? 0U : 256U) + next(program);
    key %= model->table->evict != KV_EVICT_NONE ? KEYS : MODEL_KEYS;
    switch (operation >> 4) {
    case 0:
        model_get(model, key);
        break;
    case 1:
    case 2:
    case 3:
        model_delete(model, key);
        break;
    case 4:
        (void)kv_arena_work(model->arena, next(program) % 4);
        break;
    case 5:
        model_set_time(model, model->now + next(program));
        break;
    case 6:
        (void)model_put(model, key, length(program), 2, key, model->now + 1 + next(program));
        break;
    case 7:
        kv_arena_fail(model->arena, next(program) % 4);
        break;
    case 8:
        if (next(program) == 0) {
            model_clear(model);
        } else {
            kv_table_expect(model->table, UINT64_C(1) << next(program) % 48);
        }
        break;
    case 9:
        model_look_ahead(model, key);
        break;
    default:
        (void)model_put(model, key, length(program), operation & 3, next(program), KV_NEVER);
    }
}

static void run(struct model *model, struct program *program)
{
    unsigned steps = 0;
    bool changing = next(program) % 4 == 0; /* all steps between begin_changes and end_changes */
    if (changing) {
        kv_table_begin_changes(model->table);
    }
    while (program->left > 0) {
        step(model, program);
        if (++steps % STEPS_BETWEEN_CHECKS == 0) {
            model_check(model->arena);
        }
    }
    kv_arena_fail(model->arena, 0);
    if (changing) {
        kv_table_end_changes(model->table);
    }
    model_check(model->arena);
    model_compare(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model model;
    struct program program = {.data = data, .left = size};
    size_t outstanding = kv_alloc_outstanding();
    struct kv_arena_memory memory = model_memory(RESERVE);
    struct kv_arena_options options = {.hash_key = {.k0 = next(&program)},
                                       .max_memory = (uint64_t)next(&program) << 13};
    struct kv_table_options table = {.evict = next(&program) % 3,
                                     .max_memory = (uint64_t)(next(&program) & 0x7f) << 11};
    model = (struct model){.arena = kv_arena_new(&memory, &options)};
    if (model_table_new(&model, &table) != NULL) {
        run(&model, &program);
    }
    kv_table_free(model.table);
    kv_arena_free(model.arena);
    model_memory_free(&memory);
    if (kv_alloc_outstanding() != outstanding) {
        abort();
    }
    return 0;
}
