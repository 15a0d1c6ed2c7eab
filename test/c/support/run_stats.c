/* Judges the answer to `stats` by the events that the book has seen, and by the options. */
#include "support/run.h"

static uint64_t figure_of(struct run *run, struct kv_bytes figures, const char *name)
{
    uint64_t figure = 0;
    if (!figure_in(figures, name, &figure)) {
        run_fail(run, "stats without %s", name);
    }
    return figure;
}

struct expected {
    const char *name;
    uint64_t least;
    uint64_t most;
};

static uint64_t limit_of(uint64_t option)
{
    return option == 0 ? UINT64_MAX : option; /* infinity */
}

static void judge_events(struct run *run, struct kv_bytes answer)
{
    const struct book_counts *counts = &book_counts;
    const struct expected rows[] = {
        {"hits", counts->hits, counts->hits + counts->unsure},
        {"misses", counts->misses, counts->misses + counts->unsure},
        {"puts", counts->puts, counts->puts},
        {"deletes", counts->deletes, counts->deletes},
        {"evictions", counts->evictions, counts->evictions},
        {"expirations", counts->expired, counts->expired + counts->perhaps_expired},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint64_t value = figure_of(run, answer, rows[i].name);
        if (value < rows[i].least || value > rows[i].most) {
            run_fail(run, "%llu %s, and not %llu to %llu", (unsigned long long)value, rows[i].name,
                     (unsigned long long)rows[i].least, (unsigned long long)rows[i].most);
        }
    }
}

void run_judge_stats(struct run *run, struct kv_bytes answer)
{
    const struct book_rules *rules = &run->book.rules;
    const uint64_t memory = kv_table_counted(run->table);
    const struct expected rows[] = {
        {"age", run->book.now - book_counts.since, 0},
        {"size", book_count(&run->book), 0},
        {"generation", 1, 0},
        {"memory", run->several ? figure_of(run, answer, "memory") : memory, 0},
        {"max_memory", limit_of(rules->max_memory), 0},
        {"max_entries", limit_of(rules->max_entries), 0},
        {"ttl", limit_of(rules->ttl), 0},
    };
    judge_events(run, answer);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (figure_of(run, answer, rows[i].name) != rows[i].least) {
            run_fail(run, "%s is not %llu", rows[i].name, (unsigned long long)rows[i].least);
        }
    }
}
