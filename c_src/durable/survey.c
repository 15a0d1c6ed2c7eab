#include "durable/survey.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/list.h"
#include "base/map.h"

#include <kv/buffer.h>
#include <kv/error.h>

struct entry {
    struct kv_map_node by_key;
    uint64_t bytes;
    uint64_t expiry;
};

struct table {
    struct kv_map_node by_id;
    struct kv_map_node by_identity;
    struct kv_list in_order;
    uint64_t id;
    uint8_t policy;
    uint8_t kind;
    struct kv_buffer registry;
    struct kv_buffer name;
    struct kv_buffer options;
    struct kv_map entries;
};

struct kv_survey {
    struct kv_hash_key key;
    struct kv_map by_id;
    struct kv_map by_identity;
    struct kv_list tables;
};

struct identity {
    struct kv_bytes registry;
    struct kv_bytes name;
};

struct kv_survey *kv_survey_new(const struct kv_hash_key *key)
{
    struct kv_survey *survey = kv_zalloc(sizeof *survey);
    survey->key = *key;
    kv_list_init(&survey->tables);
    return survey;
}

/* ---- entries -----------------------------------------------------------------------------------
 */

/* Only nodes with the hash of the key are asked. */
static bool has_hash(const struct kv_map_node *node, const void *key)
{
    (void)node;
    (void)key;
    return true;
}

static uint64_t hash_of(const struct kv_survey *survey, struct kv_item key)
{
    return kv_siphash(&survey->key, key.bytes) * 31 + key.form;
}

static struct entry *find_entry(const struct kv_survey *survey, const struct table *table,
                                struct kv_item key)
{
    struct kv_map_node *found = kv_map_find(&table->entries, hash_of(survey, key), has_hash, NULL);
    return found == NULL ? NULL : KV_MAP_OF(found, struct entry, by_key);
}

static void free_entry(void *context, struct kv_map_node *node)
{
    (void)context;
    kv_free(KV_MAP_OF(node, struct entry, by_key));
}

static void put(const struct kv_survey *survey, struct table *table,
                const struct kv_table_entry *from)
{
    struct entry *entry = find_entry(survey, table, from->key);
    if (entry == NULL) {
        entry = kv_zalloc(sizeof *entry);
        kv_map_insert(&table->entries, &entry->by_key, hash_of(survey, from->key));
    }
    entry->bytes = from->key.bytes.length + from->value.bytes.length;
    entry->expiry = from->expiry;
}

static void take_away(const struct kv_survey *survey, struct table *table, struct kv_item key)
{
    struct entry *entry = find_entry(survey, table, key);
    if (entry != NULL) {
        kv_map_remove(&table->entries, &entry->by_key);
        kv_free(entry);
    }
}

static void set_expiry(const struct kv_survey *survey, struct table *table,
                       const struct kv_table_entry *from)
{
    struct entry *entry = find_entry(survey, table, from->key);
    if (entry != NULL) {
        entry->expiry = from->expiry;
    }
}

/* ---- tables ------------------------------------------------------------------------------------
 */

static bool has_id(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct table, by_id)->id == *(const uint64_t *)key;
}

static struct table *find_table(const struct kv_survey *survey, uint64_t id)
{
    struct kv_map_node *found = kv_map_find(&survey->by_id, id, has_id, &id);
    return found == NULL ? NULL : KV_MAP_OF(found, struct table, by_id);
}

static bool has_identity(const struct kv_map_node *node, const void *key)
{
    const struct table *table = KV_MAP_OF(node, const struct table, by_identity);
    const struct identity *wanted = key;
    return kv_bytes_equal(kv_buffer_bytes(&table->registry), wanted->registry) &&
           kv_bytes_equal(kv_buffer_bytes(&table->name), wanted->name);
}

static uint64_t hash_of_identity(const struct kv_survey *survey, const struct identity *identity)
{
    return kv_siphash(&survey->key, identity->registry) * 31 +
           kv_siphash(&survey->key, identity->name);
}

bool kv_survey_has(const struct kv_survey *survey, uint64_t id)
{
    return find_table(survey, id) != NULL;
}

uint64_t kv_survey_find(const struct kv_survey *survey, struct kv_bytes registry,
                        struct kv_bytes name)
{
    const struct identity wanted = {registry, name};
    struct kv_map_node *found =
        kv_map_find(&survey->by_identity, hash_of_identity(survey, &wanted), has_identity, &wanted);
    return found == NULL ? 0 : KV_MAP_OF(found, const struct table, by_identity)->id;
}

void kv_survey_about(const struct kv_survey *survey, uint64_t id, struct kv_record_table *about)
{
    const struct table *table = find_table(survey, id);
    kv_assert(table != NULL);
    *about = (struct kv_record_table){.policy = table->policy,
                                      .kind = table->kind,
                                      .registry = kv_buffer_bytes(&table->registry),
                                      .name = kv_buffer_bytes(&table->name),
                                      .options = kv_buffer_bytes(&table->options)};
}

uint64_t kv_survey_count(const struct kv_survey *survey)
{
    return survey->by_id.count;
}

/* They may be those of the buffer. */
static void set_bytes(struct kv_buffer *buffer, struct kv_bytes bytes)
{
    if (bytes.data != buffer->data) {
        kv_buffer_clear(buffer);
        kv_buffer_append(buffer, bytes);
    }
}

static void put_under(struct kv_survey *survey, struct table *table,
                      const struct identity *identity)
{
    set_bytes(&table->registry, identity->registry);
    set_bytes(&table->name, identity->name);
    kv_map_insert(&survey->by_identity, &table->by_identity, hash_of_identity(survey, identity));
}

static void set_facts(struct table *table, const struct kv_record_table *about)
{
    table->policy = about->policy;
    table->kind = about->kind;
    set_bytes(&table->options, about->options);
}

/* The entries stay. */
static void describe(struct kv_survey *survey, struct table *table,
                     const struct kv_record_table *about)
{
    const struct identity identity = {about->registry, about->name};
    if (!has_identity(&table->by_identity, &identity)) {
        kv_map_remove(&survey->by_identity, &table->by_identity);
        put_under(survey, table, &identity);
    }
    set_facts(table, about);
}

static void add_table(struct kv_survey *survey, const struct kv_record *record)
{
    struct table *table = kv_zalloc(sizeof *table);
    table->id = record->table;
    kv_map_insert(&survey->by_id, &table->by_id, table->id);
    kv_list_append(&survey->tables, &table->in_order);
    put_under(survey, table, &(struct identity){record->about.registry, record->about.name});
    set_facts(table, &record->about);
}

static void drop(struct kv_survey *survey, struct table *table)
{
    kv_map_drain(&table->entries, free_entry, NULL);
    kv_map_remove(&survey->by_id, &table->by_id);
    kv_map_remove(&survey->by_identity, &table->by_identity);
    kv_list_remove(&table->in_order);
    kv_buffer_free(&table->registry);
    kv_buffer_free(&table->name);
    kv_buffer_free(&table->options);
    kv_free(table);
}

void kv_survey_free(struct kv_survey *survey)
{
    if (survey == NULL) {
        return;
    }
    while (!kv_list_is_empty(&survey->tables)) {
        drop(survey, KV_LIST_OF(survey->tables.next, struct table, in_order));
    }
    kv_map_free(&survey->by_id);
    kv_map_free(&survey->by_identity);
    kv_free(survey);
}

static void change(struct kv_survey *survey, struct table *table, const struct kv_record *record)
{
    switch (record->kind) {
    case KV_RECORD_PUT:
        put(survey, table, &record->entry);
        break;
    case KV_RECORD_DELETE:
        take_away(survey, table, record->entry.key);
        break;
    case KV_RECORD_EXPIRY:
        set_expiry(survey, table, &record->entry);
        break;
    case KV_RECORD_CLEAR:
        kv_map_drain(&table->entries, free_entry, NULL);
        break;
    case KV_RECORD_TABLE:
        describe(survey, table, &record->about);
        break;
    case KV_RECORD_DROP:
        drop(survey, table);
        break;
    case KV_RECORD_DROP_REGISTRY: /* names several tables */
        break;
    }
}

/* Tables without a registry have no name in one. */
static bool is_in_registry(const struct table *table, const struct kv_record *record)
{
    return table->id == record->table ||
           (table->registry.length > 0 &&
            kv_bytes_equal(kv_buffer_bytes(&table->registry), record->about.name));
}

/* O(tables). */
static void drop_registry(struct kv_survey *survey, const struct kv_record *record)
{
    KV_LIST_FOREACH (link, &survey->tables) {
        struct table *table = KV_LIST_OF(link, struct table, in_order);
        if (is_in_registry(table, record)) {
            drop(survey, table);
        }
    }
}

int kv_survey_record(void *context, const struct kv_record *record)
{
    struct kv_survey *survey = context;
    struct table *table = find_table(survey, record->table);
    if (record->kind == KV_RECORD_DROP_REGISTRY) {
        drop_registry(survey, record);
    } else if (table != NULL) {
        change(survey, table, record);
    } else if (record->kind == KV_RECORD_TABLE) {
        add_table(survey, record);
    }
    return KV_OK;
}

/* ---- figures -----------------------------------------------------------------------------------
 */

struct count {
    struct kv_survey_table *to;
    uint64_t now;
};

static void count_entry(void *context, struct kv_map_node *node)
{
    const struct count *count = context;
    const struct entry *entry = KV_MAP_OF(node, const struct entry, by_key);
    if (entry->expiry != KV_NEVER && entry->expiry <= count->now) {
        count->to->expired++;
    } else {
        count->to->entries++;
        count->to->bytes += entry->bytes;
    }
}

static struct kv_survey_table figures(const struct table *table, uint64_t now)
{
    struct kv_survey_table to = {
        .id = table->id,
        .policy = table->policy,
        .kind = table->kind,
        .registry = kv_buffer_bytes(&table->registry),
        .name = kv_buffer_bytes(&table->name),
    };
    struct count count = {.to = &to, .now = now};
    uint64_t cursor = 0;
    do {
        kv_map_scan(&table->entries, &cursor, count_entry, &count);
    } while (cursor != 0);
    return to;
}

void kv_survey_each(const struct kv_survey *survey, uint64_t now,
                    void (*visit)(void *context, const struct kv_survey_table *table),
                    void *context)
{
    KV_LIST_FOREACH (link, &survey->tables) {
        const struct kv_survey_table table =
            figures(KV_LIST_OF(link, const struct table, in_order), now);
        visit(context, &table);
    }
}
