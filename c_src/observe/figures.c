#include "observe/figures.h"

void kv_figures_take(const struct kv_process *self, const struct kv_totals *totals,
                     struct kv_figures *figures)
{
    const struct kv_world *world = kv_process_context(self);
    *figures = (struct kv_figures){.totals = *totals};
    world->stats(world->context, &figures->stats);
}

void kv_figures_write_memory(const struct kv_figures *figures, struct kv_term_list *list)
{
    const struct kv_totals *totals = &figures->totals;
    kv_term_list_number(list, "total", figures->stats.resident);
    kv_term_list_number(list, "processes", totals->process_records + totals->process_bytes);
    kv_term_list_number(list, "atom", 0);
    kv_term_list_number(list, "binary", figures->stats.buffers);
    kv_term_list_number(list, "code", 0);
    kv_term_list_number(list, "ets", totals->table_bytes);
}
