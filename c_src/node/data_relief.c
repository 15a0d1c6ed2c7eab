/* Memory that runs short while the log is read.
 *
 * During a recovery nothing expires, since a later record may prolong an entry. So a log may have
 * many times the entries that were there at any time. Once more memory is in use than the limit,
 * the entries go that had expired a second before the last batch was written: the two clocks may
 * differ so far. If that leaves so much that the loan will not do, as where many entries live for
 * some hundred milliseconds only, those go that had expired when that batch was written: no later
 * record can speak of them, since it was made when that batch had been taken.
 *
 * If a later record nevertheless prolongs an entry that is gone, the wall clock was set ahead
 * meanwhile, and the clock of the tables was not: the recovery begins again, more carefully. */
#include "node/data_parts.h"

#include "base/least.h"
#include "store/sweep.h"

enum {
    CLOCKS_DIFFER_MS = 1000, /* an entry of a batch may outlive its expiry by so much; */
    CLOSELY_MS = 20,         /* by so much though neither clock is set: they are read in turn */
    SWEEPS = 20,             /* segments in a turn */
    APART_SHARE = 8,         /* from one time to the next this part of the limit is put, */
    LOAN_SHARE = 4,          /* but no more than this part of the loan */
};

uint64_t kv_data_in_use(const struct kv_data *data, uint64_t *limit)
{
    struct kv_arena_stats stats;
    kv_arena_stats(data->settings.memory->arena, &stats);
    *limit = stats.limit;
    return stats.reserved - stats.free;
}

/* The time before which everything has expired in this table. */
static uint64_t expired_by(const struct kv_data *data, const struct kv_durable *durable)
{
    const uint64_t time = kv_recovery_result(data->recovery)->time;
    const uint64_t late = (data->relief.closely ? (uint64_t)CLOSELY_MS : CLOCKS_DIFFER_MS) +
                          kv_durable_overdue(durable);
    return kv_data_from_wall(data, time > late ? time - late : 0) - 1;
}

/* Sweeps on. Returns false at the end of the last table. */
static bool sweep(struct kv_data *data)
{
    struct kv_data_relief *relief = &data->relief;
    struct kv_arena *arena = data->settings.memory->arena;
    for (unsigned i = 0; i < SWEEPS && relief->at != &data->durables.tables; i++) {
        const struct kv_durable *durable = KV_LIST_OF(relief->at, const struct kv_durable, of_set);
        kv_arena_set_time(arena, expired_by(data, durable));
        relief->begun = kv_sweep_whole(durable->table, relief->begun);
        relief->at = relief->begun ? relief->at : relief->at->next;
    }
    kv_arena_set_time(arena, 0);
    return relief->at != &data->durables.tables;
}

static void begin(struct kv_data *data, bool closely)
{
    struct kv_data_relief *relief = &data->relief;
    relief->at = data->durables.tables.next;
    relief->closely = closely;
    relief->done = true;
    relief->done_closely |= closely;
}

/* Half of the loan is left for what comes until the next sweep. */
static bool is_too_little(const struct kv_data *data)
{
    uint64_t limit = 0;
    const uint64_t used = kv_data_in_use(data, &limit);
    return used > limit + data->settings.memory->loan / 2;
}

struct kv_data_relief kv_data_relief_again(const struct kv_data_relief *before)
{
    return (struct kv_data_relief){
        .loose_only = before->loose_only || (before->wrong && before->done_closely),
        .forbidden = before->forbidden || (before->wrong && !before->done_closely)};
}

bool kv_data_relieve(struct kv_data *data)
{
    const struct kv_memory *memory = data->settings.memory;
    struct kv_data_relief *relief = &data->relief;
    uint64_t limit = 0;
    const uint64_t used = kv_data_in_use(data, &limit);
    if (relief->at == NULL) {
        if (relief->forbidden || used <= limit || used < relief->next ||
            !kv_recovery_is_exact(data->recovery)) {
            return false;
        }
        begin(data, false);
    }
    if (sweep(data)) {
        return true;
    }
    if (!relief->closely && !relief->loose_only && is_too_little(data)) {
        begin(data, true);
        return true;
    }
    relief->at = NULL;
    relief->next =
        kv_data_in_use(data, &limit) + kv_least(limit / APART_SHARE, memory->loan / LOAN_SHARE);
    return false;
}

void kv_data_missed(struct kv_data *data)
{
    data->relief.wrong |= data->relief.done && kv_recovery_is_exact(data->recovery);
}
