/* `stats`: what has happened in a bucket, and its limits. */
#include "kv/bucket.h"
#include "kv/kv.h"
#include "kv/start.h"

struct figure {
    const char *name;
    uint64_t value;
};

static void write_figure(struct kv_buffer *to, const char *name, uint64_t value)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, name);
    kv_write_u64(to, value);
}

static void write_word(struct kv_buffer *to, const char *name, const char *word)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, name);
    kv_write_atom_text(to, word);
}

/* Appends {Name, Limit}; 0 is no limit. */
static void write_limit(struct kv_buffer *to, const char *name, uint64_t limit)
{
    if (limit > 0) {
        write_figure(to, name, limit);
        return;
    }
    write_word(to, name, "infinity");
}

/* Appends the options of the bucket. */
static void write_settings(struct kv_buffer *to, const struct kv_bucket *bucket)
{
    static const char *const evict[] = {
        [KV_EVICT_NONE] = "none", [KV_EVICT_LRU] = "lru", [KV_EVICT_TTL] = "ttl"};
    write_limit(to, "max_memory", kv_table_limit(bucket->contents.table));
    write_limit(to, "max_entries", kv_table_max_entries(bucket->contents.table));
    write_limit(to, "ttl", bucket->ttl);
    write_word(to, "evict", evict[bucket->evict]);
    write_word(to, "touch_on_read", bucket->touch_on_read ? "true" : "false");
    write_word(to, "durable", kv_start_policy_word(kv_bucket_policy(bucket)));
    write_word(to, "reads", bucket->latest ? "latest" : "durable");
}

enum { SETTINGS = 7 };

static int stats(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const struct kv_counts *counts = bucket->contents.counts;
    struct kv_table *table = bucket->contents.table;
    const uint64_t size = kv_table_count_live(table); /* first: it may expire entries */
    const struct figure figures[] = {
        {"hits", counts->hits},
        {"misses", counts->misses},
        {"puts", counts->puts},
        {"deletes", counts->deletes},
        {"expirations", counts->expirations},
        {"evictions", counts->evictions},
        {"age", asked->time - counts->since},
        {"size", size},
        {"memory", kv_table_counted(table)},
        {"generation", bucket->generation},
    };
    const uint32_t count = sizeof figures / sizeof figures[0];
    kv_write_list(answer->term, count + SETTINGS);
    for (uint32_t i = 0; i < count; i++) {
        write_figure(answer->term, figures[i].name, figures[i].value);
    }
    write_settings(answer->term, bucket);
    kv_write_nil(answer->term);
    return KV_OK;
}

const struct kv_operation kv_stats_operations[] = {
    KV_OPERATION("stats", 0, KV_BY_CALL, KV_SIZED, stats, "0.2.0"),
    KV_NO_OPERATION,
};
