#include "kv/tally.h"

#define ADD(to, from, member) (to)->member += (from)->member
#define RAISE(to, from, member)                                                                    \
    (to)->member = (from)->member > (to)->member ? (from)->member : (to)->member
#define EACH_EVENT(DO, to, from)                                                                   \
    do {                                                                                           \
        DO(to, from, hits);                                                                        \
        DO(to, from, misses);                                                                      \
        DO(to, from, puts);                                                                        \
        DO(to, from, deletes);                                                                     \
        DO(to, from, expirations);                                                                 \
        DO(to, from, evictions);                                                                   \
    } while (false)

void kv_tally_init(struct kv_tally *tally)
{
    *tally = (struct kv_tally){.walk = 0};
    kv_list_init(&tally->tables);
}

/* At the end of the list, where a walk that is under way still comes by. */
void kv_tally_begin(struct kv_tally *tally, struct kv_counts *counts, uint64_t now)
{
    *counts = (struct kv_counts){.since = now};
    kv_list_init(&counts->link);
    if (tally != NULL) {
        kv_list_append(&tally->tables, &counts->link);
    }
}

/* A table at which the walk has been counts in it as it was then. */
void kv_tally_end(struct kv_tally *tally, struct kv_counts *counts)
{
    if (tally == NULL || counts == NULL || kv_list_is_empty(&counts->link)) {
        return;
    }
    struct kv_list *behind = counts->link.next;
    const bool is_next = tally->next == &counts->link;
    if (tally->next != NULL && counts->walk != tally->walk) {
        EACH_EVENT(ADD, &tally->sums, counts);
    }
    EACH_EVENT(ADD, &tally->ended, counts);
    kv_list_remove(&counts->link);
    tally->next = is_next ? behind : tally->next;
}

static void begin(struct kv_tally *tally)
{
    if (tally->next == NULL) {
        tally->walk++;
        tally->sums = tally->ended;
        tally->next = tally->tables.next;
    }
}

/* A request that fails takes its puts back, so a count may have been less before. */
static void tell(struct kv_tally *tally)
{
    EACH_EVENT(RAISE, &tally->told, &tally->sums);
    tally->has_told = true;
    tally->next = NULL;
}

bool kv_tally_walk(struct kv_tally *tally, unsigned most)
{
    begin(tally);
    for (unsigned i = 0; i < most && tally->next != &tally->tables; i++) {
        struct kv_counts *counts = KV_LIST_OF(tally->next, struct kv_counts, link);
        EACH_EVENT(ADD, &tally->sums, counts);
        counts->walk = tally->walk;
        tally->next = counts->link.next;
    }
    if (tally->next != &tally->tables) {
        return false;
    }
    tell(tally);
    return true;
}
