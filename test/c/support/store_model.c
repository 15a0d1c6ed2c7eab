#include "support/store_model.h"

#include "base/alloc.h"
#include "store/entry.h"
#include "store/index.h"
#include "store/pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                  \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- memory -----------------------------------------------------------------------------------
 */

static uint64_t released;

uint64_t model_memory_released(void)
{
    return released;
}

static void release(void *context, uint64_t offset, uint64_t length)
{
    CHECK(madvise((uint8_t *)context + offset, length, MADV_DONTNEED) == 0);
    released += length;
}

struct kv_arena_memory model_memory(uint64_t reserve)
{
    void *base = mmap(NULL, reserve, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(base != MAP_FAILED);
    released = 0;
    return (struct kv_arena_memory){
        .base = base, .reserve = reserve, .context = base, .release = release};
}

void model_memory_free(struct kv_arena_memory *memory)
{
    CHECK(munmap(memory->base, memory->reserve) == 0);
}

/* ---- the map ----------------------------------------------------------------------------------
 */

enum { KEY_MAX = 20000, VALUE_MAX = 1 << 22 };

static struct kv_item make_key(unsigned i, uint8_t bytes[KEY_MAX])
{
    size_t length = i == 0 ? 0 : i % 97 == 0 ? 2 * (size_t)i + 4 : 4 + i % 29;
    memset(bytes, (int)(i % 251), length);
    memcpy(bytes, &i, length == 0 ? 0 : sizeof i);
    return (struct kv_item){.bytes = kv_bytes(bytes, length), .form = i % 5 == 0 ? 0 : 1};
}

struct kv_item model_key(unsigned i)
{
    static uint8_t bytes[KEY_MAX];
    return make_key(i, bytes);
}

static struct kv_bytes value_of(uint32_t length, uint32_t seed)
{
    static uint8_t *bytes;
    bytes = bytes == NULL ? malloc(VALUE_MAX) : bytes;
    CHECK(length <= VALUE_MAX);
    for (uint32_t i = 0; i < length; i++) {
        seed = seed * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(seed >> 24);
    }
    return kv_bytes(bytes, length);
}

static bool is_there(const struct model *model, unsigned i)
{
    const struct model_entry *entry = &model->entries[i];
    return entry->there && (entry->expiry == KV_NEVER || entry->expiry > model->now);
}

static void check_value(const struct model *model, unsigned i, struct kv_item value)
{
    const struct model_entry *entry = &model->entries[i];
    CHECK(is_there(model, i));
    CHECK(value.form == entry->form);
    CHECK(kv_bytes_equal(value.bytes, value_of(entry->length, entry->seed)));
}

/* The lookup of a key, or NULL if the key was not looked for ahead. Valid until the next call. */
static const struct kv_lookup *looked_ahead(struct model *model, unsigned i)
{
    if (!model->is_ahead || i - model->ahead >= MODEL_AHEAD) {
        return NULL;
    }
    struct kv_lookup *lookup = &model->lookups[i - model->ahead];
    lookup->key = model_key(i);
    return lookup;
}

void model_look_ahead(struct model *model, unsigned i)
{
    model->is_ahead = true;
    model->ahead = i;
    for (unsigned j = 0; j < MODEL_AHEAD; j++) {
        model->lookups[j].key = model_key(i + j < MODEL_KEYS ? i + j : i);
        kv_table_look_ahead(model->table, &model->lookups[j], 1);
    }
}

int model_put(struct model *model, unsigned i, uint32_t length, uint8_t form, uint32_t seed,
              uint64_t expiry)
{
    struct kv_item value = {.bytes = value_of(length, seed), .form = form};
    const struct kv_lookup *lookup = looked_ahead(model, i);
    int error = lookup == NULL ? kv_table_put(model->table, model_key(i), value, expiry)
                : i % 2 == 0   ? kv_table_put_at(model->table, lookup, value, expiry)
                               : kv_table_add_at(model->table, lookup, value, expiry);
    CHECK(error == KV_OK || error == KV_ENOMEM ||
          (error == KV_EFULL && model->table->max_entries != 0));
    if (error == KV_OK) {
        if (model->has_batch && !model->in_batch[i]) {
            model->in_batch[i] = true;
            model->before[i] = model->entries[i];
        }
        model->entries[i] = (struct model_entry){
            .there = true, .form = form, .length = length, .seed = seed, .expiry = expiry};
    }
    return error;
}

void model_begin_all(struct model *model, size_t keys)
{
    kv_table_begin_all(model->table, keys);
    model->has_batch = true;
    memset(model->in_batch, 0, sizeof model->in_batch);
}

void model_end_all(struct model *model, bool keep, unsigned most)
{
    static struct model_entry after[MODEL_KEYS];
    memcpy(after, model->entries, sizeof after);
    model->is_ending = true;
    while (kv_table_end_all(model->table, keep, most)) {
    }
    model->is_ending = model->has_batch = false;
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        if (model->in_batch[i]) {
            model->entries[i] = keep ? after[i] : model->before[i];
        }
    }
}

void model_get(struct model *model, unsigned i)
{
    struct kv_item value;
    const struct kv_lookup *lookup = looked_ahead(model, i);
    if (lookup != NULL ? kv_table_get_at(model->table, lookup, &value)
                       : kv_table_get(model->table, model_key(i), &value)) {
        check_value(model, i, value);
    } else {
        CHECK(!model->entries[i].there); /* the get reported an expired entry */
    }
}

void model_delete(struct model *model, unsigned i)
{
    const struct kv_lookup *lookup = looked_ahead(model, i);
    bool expected = is_there(model, i);
    bool was_there = lookup != NULL ? kv_table_delete_at(model->table, lookup)
                                    : kv_table_delete(model->table, model_key(i));
    CHECK(was_there == expected && model->entries[i].there == expected);
    model->entries[i].there = false;
}

void model_clear(struct model *model)
{
    unsigned expected = model->gone[KV_GONE_CLEARED] + (kv_table_count(model->table) > 0 ? 1 : 0);
    kv_table_clear(model->table);
    CHECK(kv_table_count(model->table) == 0);
    CHECK(model->gone[KV_GONE_CLEARED] == expected);
}

void model_set_time(struct model *model, uint64_t now)
{
    model->now = now;
    kv_arena_set_time(model->arena, now);
}

static bool read_number(struct kv_item key, unsigned *i)
{
    static uint8_t bytes[KEY_MAX]; /* not that of model_key(), which a put in progress may use */
    *i = 0;
    if (key.bytes.length > 0 && key.bytes.length < sizeof *i) {
        return false;
    }
    memcpy(i, key.bytes.data, key.bytes.length == 0 ? 0 : sizeof *i);
    struct kv_item whole = make_key(*i < MODEL_KEYS ? *i : 0, bytes);
    return kv_bytes_equal(key.bytes, whole.bytes) && key.form == whole.form;
}

/* Keys that are not the model's are only counted: a test may put its own. */
static void note_gone(void *context, enum kv_gone why, struct kv_item key)
{
    struct model *model = context;
    unsigned i;
    model->gone[why]++;
    if (why == KV_GONE_CLEARED) {
        CHECK(key.bytes.length == 0);
        memset(model->entries, 0, sizeof model->entries);
    } else if (read_number(key, &i)) {
        struct model_entry *entry =
            model->is_ending && model->in_batch[i] ? &model->before[i] : &model->entries[i];
        bool expired = entry->expiry != KV_NEVER && entry->expiry <= kv_arena_time(model->arena);
        CHECK(entry->there && expired == (why == KV_GONE_EXPIRED));
        entry->there = false;
    }
}

struct kv_table *model_table_new(struct model *model, const struct kv_table_options *options)
{
    struct kv_table_options reporting = {0};
    if (options != NULL) {
        reporting = *options;
    }
    reporting.gone = note_gone;
    reporting.gone_context = model;
    model->table = kv_table_new(model->arena, &reporting);
    return model->table;
}

struct seen {
    const struct model *model;
    uint8_t times[MODEL_KEYS];
};

static void see(void *context, struct kv_item key, struct kv_item value)
{
    struct seen *seen = context;
    unsigned i;
    CHECK(read_number(key, &i));
    seen->times[i]++;
    check_value(seen->model, i, value);
}

void model_compare(struct model *model)
{
    struct seen by_next = {.model = model};
    struct seen by_scan = {.model = model};
    struct kv_table_walk walk = {0};
    struct kv_item key;
    struct kv_item value;
    uint64_t cursor = 0;
    while (kv_table_next(model->table, &walk, &key, &value)) {
        see(&by_next, key, value);
    }
    do {
        kv_table_scan(model->table, &cursor, see, &by_scan);
    } while (cursor != 0);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        CHECK(by_next.times[i] == by_scan.times[i] && by_next.times[i] <= 1);
        CHECK(is_there(model, i) == (by_next.times[i] == 1));
        model_get(model, i);
    }
}

/* ---- a table by its format --------------------------------------------------------------------
 */

struct look {
    const struct kv_arena *arena;
    const struct kv_table *table;
    uint64_t count, bytes, live, run_live, index, expiring;
    uint32_t *live_in; /* bytes of live entries, by the first page of their heap page */
};

static uint64_t number(const uint8_t *at, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static uint64_t length_at(const uint8_t *base, uint64_t *at)
{
    uint64_t length = 0;
    unsigned shift = 0;
    do {
        length |= (uint64_t)(base[*at] & 0x7f) << shift;
        shift += 7;
    } while (base[(*at)++] >= 0x80);
    CHECK(shift <= 35);
    return length;
}

static uint32_t page_of_heap(const struct kv_arena *arena, uint64_t offset)
{
    uint32_t page = (uint32_t)(offset / KV_ARENA_PAGE);
    while (arena->pages[page].kind == KV_PAGE_INNER) {
        page--;
    }
    return page;
}

/* Checks an entry and returns the hash of its key. */
static uint64_t look_at_entry(struct look *look, uint64_t offset)
{
    const uint8_t *base = look->arena->base;
    uint64_t at = offset;
    CHECK(offset % 8 == 0 && offset >= KV_ARENA_PAGE && offset < look->arena->memory.reserve);
    uint8_t flags = base[at++];
    uint64_t key = length_at(base, &at);
    uint64_t value = length_at(base, &at);
    at += (flags & KV_ENTRY_EXPIRES) != 0 ? 6 : 0;
    at += (flags & KV_ENTRY_HAS_USE) != 0 ? 4 : 0;
    uint64_t size = (at + key + value - offset + 7) / 8 * 8;
    const struct kv_page *page = &look->arena->pages[page_of_heap(look->arena, offset)];
    if (size > KV_ENTRY_SMALL_MAX) {
        CHECK(page->kind == KV_PAGE_RUN && offset % KV_ARENA_PAGE == 0);
        CHECK(page->run.pages == (size + KV_ARENA_PAGE - 1) / KV_ARENA_PAGE);
        look->run_live += size;
    } else {
        CHECK(page->kind == KV_PAGE_HEAP || page->kind == KV_PAGE_BLOCKS);
        look->live += size;
        look->live_in[page - look->arena->pages] += (uint32_t)size;
    }
    look->count++;
    look->bytes += key + value;
    look->expiring += (flags & KV_ENTRY_EXPIRES) != 0;
    return kv_siphash(&look->arena->hash_key, kv_bytes(base + at, key));
}

static void look_at_segment(struct look *look, uint64_t link, uint64_t prefix, unsigned bits)
{
    unsigned log2 = kv_link_groups_log2(link);
    unsigned groups = 1U << log2;
    unsigned count = 0;
    uint16_t passed[KV_SEGMENT_GROUPS] = {0};
    const struct kv_group *group = kv_at(look->arena, kv_link_offset(link));
    CHECK(log2 <= KV_SEGMENT_GROUPS_LOG2 && (bits == 0 || log2 == KV_SEGMENT_GROUPS_LOG2));
    for (unsigned i = 0; i < groups; i++) {
        for (unsigned j = 0; j < KV_GROUP_ENTRIES; j++) {
            if (group[i].tags[j] == 0) {
                continue;
            }
            uint64_t hash = look_at_entry(look, number(group[i].references[j], 5) * 8);
            uint8_t tag = (uint8_t)hash == 0 ? 1 : (uint8_t)hash;
            CHECK(group[i].tags[j] == tag);
            CHECK(bits == 0 || (hash ^ prefix) >> (64 - bits) == 0);
            for (unsigned k = (unsigned)(hash >> 8) & (groups - 1); k != i;
                 k = (k + 1) & (groups - 1)) {
                passed[k]++;
            }
            count++;
        }
    }
    for (unsigned i = 0; i < groups; i++) {
        CHECK(group[i].passed == passed[i]);
    }
    CHECK(group[0].own == count);
    look->index += (uint64_t)groups * 64;
}

static void look_at_link(struct look *look, uint64_t link, uint64_t prefix, unsigned level,
                         unsigned depth)
{
    if (kv_link_kind(link) == KV_LINK_SEGMENT) {
        look_at_segment(look, link, prefix, level == 0 ? 0 : 6 * (level - 1) + depth);
        return;
    }
    CHECK(kv_link_kind(link) == KV_LINK_NODE && level < KV_NODES_MAX);
    const uint64_t *links = kv_at(look->arena, kv_link_offset(link));
    look->index += KV_NODE_LINKS * sizeof *links;
    for (unsigned i = 0, span; i < KV_NODE_LINKS; i += span) {
        bool segment = kv_link_kind(links[i]) == KV_LINK_SEGMENT;
        unsigned below = segment ? kv_link_depth(links[i]) : KV_NODE_BITS;
        span = 1U << (KV_NODE_BITS - below);
        CHECK(i % span == 0 && below >= 1);
        for (unsigned j = 1; j < span; j++) {
            CHECK(links[i + j] == links[i]);
        }
        look_at_link(look, links[i], prefix | (uint64_t)i << (64 - 6 * (level + 1)), level + 1,
                     below);
    }
}

static uint64_t look_at_heap_page(const struct look *look, uint32_t page, uint64_t used)
{
    const struct kv_page *record = &look->arena->pages[page];
    CHECK(record->kind == KV_PAGE_HEAP);
    CHECK(look->live_in[page] + record->heap.dead == used);
    return (uint64_t)record->order * KV_ARENA_PAGE;
}

static void look_at_heap(const struct look *look)
{
    const struct kv_table *table = look->table;
    uint64_t bytes = 0;
    uint64_t dead = 0;
    uint64_t runs = 0;
    for (unsigned i = 0; i < KV_HEAP_LISTS; i++) {
        for (uint32_t page = table->full[i]; page != 0; page = look->arena->pages[page].next) {
            bytes += look_at_heap_page(look, page, look->arena->pages[page].heap.used);
            dead += look->arena->pages[page].heap.dead;
            CHECK(look->arena->pages[page].heap.dead * 8 / look->arena->pages[page].heap.used == i);
        }
    }
    if (table->victim != 0) {
        bytes +=
            look_at_heap_page(look, table->victim, look->arena->pages[table->victim].heap.used);
        dead += look->arena->pages[table->victim].heap.dead;
    }
    if (table->open_size > KV_BLOCK_MAX) {
        bytes += look_at_heap_page(look, kv_page_of(table->open), table->open_used);
        dead += look->arena->pages[kv_page_of(table->open)].heap.dead;
    } else {
        bytes += table->open_size;
        dead += table->open_used - table->live;
    }
    for (uint32_t page = table->runs; page != 0; page = look->arena->pages[page].next) {
        runs += (uint64_t)look->arena->pages[page].run.pages * KV_ARENA_PAGE;
    }
    CHECK(bytes == table->heap_bytes && dead == table->dead && runs == table->run_bytes);
}

static uint64_t look_at_table(const struct kv_arena *arena, const struct kv_table *table)
{
    struct look look = {.arena = arena, .table = table};
    look.live_in = calloc(arena->page_count, sizeof *look.live_in);
    if (kv_link_kind(table->slot->root) != KV_LINK_NONE) {
        look_at_link(&look, table->slot->root, 0, 0, 0);
    }
    CHECK(table->slot->generation % 2 == 1);
    CHECK(table->slot->count == look.count && table->slot->bytes == look.bytes);
    CHECK(table->live == look.live && table->run_live == look.run_live);
    CHECK(table->index_bytes == look.index && table->expiring == look.expiring);
    for (unsigned i = 0; i < KV_STRIPES; i++) {
        CHECK(table->slot->stripes[i] % 2 == (table->is_changing ? 1 : 0));
    }
    look_at_heap(&look);
    free(look.live_in);
    return look.live + look.run_live;
}

/* ---- pages ------------------------------------------------------------------------------------
 */

static uint64_t look_at_free(const struct kv_arena *arena, uint32_t page)
{
    const struct kv_page *block = &arena->pages[page];
    uint64_t size = UINT64_C(1) << block->order;
    uint64_t buddy = page ^ size;
    CHECK(page % size == 0 && page + size <= arena->page_count);
    if (buddy < arena->page_count) {
        const struct kv_page *other = &arena->pages[buddy];
        CHECK(other->kind != KV_PAGE_FREE || other->order != block->order ||
              other->dirty != block->dirty);
    }
    return size;
}

static void look_at_pages(const struct kv_arena *arena)
{
    uint64_t used = 1;
    uint64_t dirty = 0;
    for (uint64_t page = 1, size; page < arena->page_count; page += size) {
        switch ((enum kv_page_kind)arena->pages[page].kind) {
        case KV_PAGE_FREE:
            size = look_at_free(arena, (uint32_t)page);
            dirty += arena->pages[page].dirty ? size : 0;
            used -= size;
            break;
        case KV_PAGE_RUN:
        case KV_PAGE_DOOMED:
            size = arena->pages[page].run.pages;
            break;
        case KV_PAGE_HEAP:
            size = arena->pages[page].order;
            break;
        case KV_PAGE_BLOCKS:
            CHECK(arena->pages[page].taken != 0);
            size = 1;
            break;
        case KV_PAGE_INNER:
        default:
            size = 1;
            CHECK(false);
        }
        used += size;
        for (uint64_t i = 1; i < size; i++) {
            CHECK(arena->pages[page + i].kind == KV_PAGE_INNER);
        }
    }
    CHECK(dirty == arena->dirty_pages);
    CHECK(used == arena->used_pages);
    CHECK(used <= arena->page_count);
}

void model_check(const struct kv_arena *arena)
{
    uint64_t live = 0;
    const struct kv_list *tables = &arena->tables;
    KV_LIST_FOREACH (link, tables) {
        live += look_at_table(arena, KV_LIST_OF(link, const struct kv_table, of_arena));
    }
    CHECK(live == arena->live_bytes);
    look_at_pages(arena);
}

void model_end(struct model *model, struct kv_arena_memory *memory, size_t outstanding)
{
    model_check(model->arena);
    model_compare(model);
    kv_table_free(model->table);
    while (kv_arena_work(model->arena, 1)) {
    }
    kv_arena_free(model->arena);
    model_memory_free(memory);
    if (kv_alloc_outstanding() != outstanding) {
        abort();
    }
}
