/* A binary heap of the tables in which something expires, ordered by the time at which each is to
 * be swept. */
#include "store/due.h"

#include "base/alloc.h"

enum { FIRST_CAPACITY = 16 };

static void set(struct kv_arena *arena, uint32_t place, struct kv_table *table)
{
    arena->due[place] = table;
    table->due_place = place;
}

static void move_up(struct kv_arena *arena, struct kv_table *table)
{
    uint32_t place = table->due_place;
    for (; place > 1 && arena->due[place / 2]->due > table->due; place /= 2) {
        set(arena, place, arena->due[place / 2]);
    }
    set(arena, place, table);
}

static void move_down(struct kv_arena *arena, struct kv_table *table)
{
    uint32_t place = table->due_place;
    for (uint32_t next = 2 * place; next <= arena->due_count; next = 2 * place) {
        next += next < arena->due_count && arena->due[next + 1]->due < arena->due[next]->due;
        if (arena->due[next]->due >= table->due) {
            break;
        }
        set(arena, place, arena->due[next]);
        place = next;
    }
    set(arena, place, table);
}

static void add(struct kv_arena *arena, struct kv_table *table)
{
    if (arena->due_count + 1 >= arena->due_capacity) {
        arena->due_capacity = arena->due_capacity == 0 ? FIRST_CAPACITY : 2 * arena->due_capacity;
        arena->due = kv_realloc(arena->due, arena->due_capacity * sizeof(struct kv_table *));
    }
    set(arena, ++arena->due_count, table);
}

static void take_out(struct kv_arena *arena, struct kv_table *table)
{
    uint32_t place = table->due_place;
    struct kv_table *last = arena->due[arena->due_count--];
    table->due_place = 0;
    if (last != table) {
        set(arena, place, last);
        move_up(arena, last);
        move_down(arena, last);
    }
}

/* A table in the middle of a sweep is due now, and so goes behind tables that have waited longer.
 */
static uint64_t due_of(const struct kv_table *table)
{
    if (table->sweep != 0) {
        return table->arena->now;
    }
    return table->next_expiry > table->sweep_pause ? table->next_expiry : table->sweep_pause;
}

void kv_due_update(struct kv_table *table)
{
    struct kv_arena *arena = table->arena;
    if (table->expiring == 0 || table->frozen) {
        if (table->due_place != 0) {
            take_out(arena, table);
        }
        return;
    }
    table->due = due_of(table);
    if (table->due_place == 0) {
        add(arena, table);
    }
    move_up(arena, table);
    move_down(arena, table);
}

struct kv_table *kv_due_first(const struct kv_arena *arena)
{
    return arena->due_count == 0 ? NULL : arena->due[1];
}
