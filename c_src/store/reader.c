#include "store/reader.h"

#include "store/tags.h"

#include <kv/error.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

/* The head of an entry is read as so many words: flags 1, lengths 5 + 5, expiry 6, use 4 bytes. */
enum { HEADER_WORDS = 3, LENGTH_BITS = 7, LENGTH_MORE = 0x80 };

enum { GROUP_WORDS = sizeof(struct kv_group) / sizeof(uint64_t) };

/* ---- shared words ------------------------------------------------------------------------------
 * Each word is loaded once into a variable, and only the variable is used. Otherwise a word could
 * change between its check and its use. Keys and values are read as plain bytes: the result counts
 * only if the sequence counter has not changed. */

static uint32_t load32(const uint32_t *word)
{
    return __atomic_load_n(word, KV_RELAXED);
}

static uint64_t load64(const uint64_t *word)
{
    return __atomic_load_n(word, KV_RELAXED);
}

static uint64_t little_endian(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

static void pause_briefly(void)
{
#ifdef __SSE2__
    _mm_pause();
#endif
}

static bool within(const struct kv_mapped *mapped, uint64_t offset, uint64_t length)
{
    return offset <= mapped->size && length <= mapped->size - offset;
}

/* `offset` is a multiple of 8 and lies within the mapping. */
static const uint64_t *words_at(const struct kv_mapped *mapped, uint64_t offset)
{
    return (const uint64_t *)(const void *)(mapped->base + offset);
}

static const struct kv_arena_header *header_of(const struct kv_mapped *mapped)
{
    return (const struct kv_arena_header *)(const void *)mapped->base;
}

/* ---- the arena ------------------------------------------------------------------------------- */

static bool lives(const struct kv_mapped *mapped)
{
    return load32(&header_of(mapped)->state) == KV_ARENA_LIVES;
}

int kv_mapped_open(struct kv_mapped *mapped, const void *base, uint64_t size, const uint8_t *id)
{
    const struct kv_arena_header *header = base;
    if (size < KV_ARENA_PAGE) {
        return KV_ETRUNCATED;
    }
    if (load64(&header->magic) != KV_ARENA_MAGIC) {
        return KV_EMALFORMED;
    }
    if (load32(&header->version) != KV_ARENA_VERSION) {
        return KV_EVERSION;
    }
    uint64_t own_size = load64(&header->size);
    if (own_size < KV_ARENA_PAGE || own_size % KV_ARENA_UNIT != 0) {
        return KV_EMALFORMED;
    }
    if (own_size > size) {
        return KV_ETRUNCATED;
    }
    *mapped = (struct kv_mapped){
        .base = base,
        .size = own_size,
        .hash_key = {.k0 = load64(&header->hash_key[0]), .k1 = load64(&header->hash_key[1])},
    };
    bool wanted = id == NULL || memcmp(header->id, id, KV_ARENA_ID_SIZE) == 0;
    return wanted && lives(mapped) ? KV_OK : KV_ENOENT;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static const struct kv_table_slot *slot_at(const struct kv_mapped *mapped, uint32_t slot)
{
    unsigned block = 31 - (unsigned)__builtin_clz(slot / KV_SLOT_BLOCK_FIRST + 1);
    uint64_t index = slot - (uint64_t)KV_SLOT_BLOCK_FIRST * ((UINT64_C(1) << block) - 1);
    uint64_t start = load64(&header_of(mapped)->slot_blocks[block]);
    uint64_t end = (index + 1) * sizeof(struct kv_table_slot);
    if (start < KV_ARENA_PAGE || start % KV_ARENA_UNIT != 0 || !within(mapped, start, end)) {
        return NULL;
    }
    const uint64_t *first = words_at(mapped, start);
    return (const struct kv_table_slot *)(const void *)first + index;
}

static bool is_there(const struct kv_mapped_table *table)
{
    return __atomic_load_n(&table->slot->generation, KV_ACQUIRE) == table->generation;
}

enum kv_read kv_mapped_table_at(const struct kv_mapped *mapped, uint32_t slot, uint32_t generation,
                                struct kv_mapped_table *table)
{
    *table = (struct kv_mapped_table){.slot = slot_at(mapped, slot), .generation = generation};
    if (table->slot == NULL) {
        return KV_READ_BROKEN;
    }
    bool there = lives(mapped) && generation % 2 == 1 && is_there(table);
    return there ? KV_READ_FOUND : KV_READ_GONE;
}

/* FOUND if the table is there, else GONE. */
static enum kv_read begin(const struct kv_mapped *mapped, const struct kv_mapped_table *table)
{
    return lives(mapped) && table->generation % 2 == 1 && is_there(table) ? KV_READ_FOUND
                                                                          : KV_READ_GONE;
}

static bool is_marked(const struct kv_mapped *mapped, uint64_t hash)
{
    const unsigned mark = kv_hash_mark(hash);
    uint64_t word = 0;
    for (unsigned set = 0; set < KV_MARK_SETS; set++) {
        word |= load64(&header_of(mapped)->marks[set][mark / 64]);
    }
    return (word >> mark % 64 & 1) != 0;
}

/* The writer sets flags and marks before a change that nobody may see yet. So they are loaded after
 * the counter, or the count, that tells of the change: that one needs to be loaded with KV_ACQUIRE.
 */
static uint32_t flags_of(const struct kv_mapped_table *table)
{
    return __atomic_load_n(&table->slot->flags, KV_ACQUIRE);
}

static bool asks_owner(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                       uint64_t hash)
{
    const uint32_t flags = flags_of(table) & (KV_SLOT_ASK_OWNER | KV_SLOT_MARKED);
    return flags != 0 && (flags != KV_SLOT_MARKED || is_marked(mapped, hash));
}

/* ---- entries ----------------------------------------------------------------------------------
 */

/* The part of an entry before its key. */
struct head {
    uint8_t flags;
    unsigned size;
    uint64_t key_length;
    uint64_t value_length;
    uint64_t expires;
    uint32_t last_use;
};

/* A cursor in a copy of the bytes of a head. */
struct cursor {
    uint8_t bytes[HEADER_WORDS * sizeof(uint64_t)];
    unsigned at;
};

/* Returns false if the length has no end within KV_ENTRY_LENGTH_SIZE bytes. */
static bool take_length(struct cursor *cursor, uint64_t *length)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < KV_ENTRY_LENGTH_SIZE; i++) {
        uint8_t byte = cursor->bytes[cursor->at++];
        value |= (uint64_t)(byte & (LENGTH_MORE - 1)) << (LENGTH_BITS * i);
        if ((byte & LENGTH_MORE) == 0) {
            *length = value;
            return true;
        }
    }
    return false;
}

static uint64_t take_number(struct cursor *cursor, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)cursor->bytes[cursor->at++] << (8 * i);
    }
    return value;
}

/* `first` is the first word of the entry, already loaded. Bytes behind the mapping read as 0. */
static bool read_long_head(const struct kv_mapped *mapped, uint64_t offset, uint64_t first,
                           struct head *head)
{
    struct cursor cursor = {.at = 1};
    uint64_t loaded[HEADER_WORDS] = {first};
    for (unsigned i = 1; i < HEADER_WORDS; i++) {
        if (within(mapped, offset, (i + 1) * sizeof(uint64_t))) {
            loaded[i] = kv_unsettled_word(words_at(mapped, offset) + i);
        }
    }
    memcpy(cursor.bytes, loaded, sizeof loaded);
    if (!take_length(&cursor, &head->key_length) || !take_length(&cursor, &head->value_length)) {
        return false;
    }
    if ((head->flags & KV_ENTRY_EXPIRES) != 0) {
        head->expires = take_number(&cursor, KV_ENTRY_EXPIRY_SIZE);
    }
    if ((head->flags & KV_ENTRY_HAS_USE) != 0) {
        head->last_use = (uint32_t)take_number(&cursor, KV_ENTRY_USE_SIZE);
    }
    head->size = cursor.at;
    return true;
}

/* `offset` is a multiple of 8, with at least 8 bytes within the mapping. Most entries are short,
 * never expire and have no time of use: their head is in the first word. */
static bool read_head(const struct kv_mapped *mapped, uint64_t offset, struct head *head)
{
    const uint64_t is_long =
        (uint64_t)LENGTH_MORE << 16 | LENGTH_MORE << 8 | KV_ENTRY_EXPIRES | KV_ENTRY_HAS_USE;
    uint64_t first = kv_unsettled_word(words_at(mapped, offset));
    uint64_t ordered = little_endian(first);
    *head = (struct head){
        .flags = (uint8_t)ordered,
        .size = 3,
        .key_length = (uint8_t)(ordered >> 8),
        .value_length = (uint8_t)(ordered >> 16),
    };
    return (ordered & is_long) == 0 || read_long_head(mapped, offset, first, head);
}

static enum kv_read compare(const struct kv_mapped *mapped, uint64_t offset, struct kv_bytes key,
                            unsigned form, struct kv_mapped_value *value)
{
    struct head head;
    if (offset < KV_ARENA_PAGE || !within(mapped, offset, sizeof(uint64_t)) ||
        !read_head(mapped, offset, &head)) {
        return KV_READ_BROKEN;
    }
    if (head.key_length != key.length || (head.flags & KV_ENTRY_KEY_FORM) != form) {
        return KV_READ_ABSENT;
    }
    uint64_t start = offset + head.size;
    if (!within(mapped, start, head.key_length + head.value_length)) {
        return KV_READ_BROKEN;
    }
    if (!kv_unsettled_same(mapped->base + start, key.data, key.length)) {
        return KV_READ_ABSENT;
    }
    value->bytes = kv_bytes(mapped->base + start + key.length, (size_t)head.value_length);
    value->form = (unsigned)(head.flags >> KV_ENTRY_VALUE_FORM_SHIFT) & KV_ENTRY_KEY_FORM;
    value->expires = head.expires;
    value->last_use = head.last_use;
    value->has_use = (head.flags & KV_ENTRY_HAS_USE) != 0;
    return KV_READ_FOUND;
}

/* ---- the way to an entry ----------------------------------------------------------------------
 */

static uint64_t reference_in(const uint64_t *group, unsigned entry)
{
    unsigned at = (unsigned)offsetof(struct kv_group, references) + entry * KV_REFERENCE_SIZE;
    unsigned last = at + KV_REFERENCE_SIZE - 1;
    unsigned shift = 8 * (at % 8);
    uint64_t reference = little_endian(load64(&group[at / 8])) >> shift;
    if (last / 8 != at / 8) {
        reference |= little_endian(load64(&group[last / 8])) << (64 - shift);
    }
    return reference & UINT64_C(0xFFFFFFFFFF);
}

static enum kv_read search_segment(const struct kv_mapped *mapped, uint64_t link,
                                   struct kv_bytes key, unsigned form, uint64_t hash,
                                   struct kv_mapped_value *value)
{
    unsigned log2 = kv_link_groups_log2(link);
    unsigned groups = 1U << log2;
    unsigned candidates = 0;
    uint64_t offset = kv_link_offset(link);
    if (log2 > KV_SEGMENT_GROUPS_LOG2 ||
        !within(mapped, offset, groups * sizeof(struct kv_group))) {
        return KV_READ_BROKEN;
    }
    const uint64_t *segment = words_at(mapped, offset);
    unsigned at = kv_hash_group(hash, log2);
    for (unsigned i = 0; i < groups; i++, at = (at + 1) & (groups - 1)) {
        const uint64_t *group = segment + (size_t)at * GROUP_WORDS;
        struct kv_tags tags = {.low = load64(&group[0]), .high = load64(&group[1])};
        unsigned matches = kv_tags_match(tags, kv_hash_tag(hash));
        for (; matches != 0; matches &= matches - 1) {
            uint64_t entry = reference_in(group, (unsigned)__builtin_ctz(matches)) * KV_ARENA_UNIT;
            enum kv_read result = ++candidates > KV_READ_CANDIDATES
                                      ? KV_READ_BROKEN
                                      : compare(mapped, entry, key, form, value);
            if (result != KV_READ_ABSENT) {
                return result;
            }
        }
        if (kv_tags_passed(tags) == 0) {
            break;
        }
    }
    return KV_READ_ABSENT;
}

static enum kv_read search(const struct kv_mapped *mapped, uint64_t link, struct kv_bytes key,
                           unsigned form, uint64_t hash, struct kv_mapped_value *value)
{
    for (unsigned level = 0; level < KV_NODES_MAX && kv_link_kind(link) == KV_LINK_NODE; level++) {
        uint64_t offset = kv_link_offset(link);
        if (!within(mapped, offset, KV_NODE_LINKS * sizeof(uint64_t))) {
            return KV_READ_BROKEN;
        }
        link = load64(words_at(mapped, offset) + kv_hash_link(hash, level));
    }
    switch (kv_link_kind(link)) {
    case KV_LINK_NONE:
        return KV_READ_ABSENT;
    case KV_LINK_SEGMENT:
        return search_segment(mapped, link, key, form, hash, value);
    default:
        return KV_READ_BROKEN;
    }
}

bool kv_mapped_holds(const struct kv_mapped_value *value)
{
    kv_fence_acquire(&value->table.slot->stripes[value->stripe]);
    return load32(&value->table.slot->stripes[value->stripe]) == value->counter &&
           load32(&value->table.slot->generation) == value->table.generation;
}

uint64_t kv_mapped_touch(const struct kv_mapped_table *table)
{
    return load64(&table->slot->touch);
}

enum kv_read kv_mapped_find(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                            struct kv_bytes key, unsigned form, uint64_t hash,
                            struct kv_mapped_value *value)
{
    value->table = *table;
    value->stripe = kv_hash_stripe(hash);
    const uint32_t *stripe = &table->slot->stripes[value->stripe];
    for (unsigned i = 0; i < KV_READ_TRIES; i++) {
        enum kv_read result = begin(mapped, table);
        if (result != KV_READ_FOUND) {
            return result;
        }
        value->counter = __atomic_load_n(stripe, KV_ACQUIRE);
        if (asks_owner(mapped, table, hash)) {
            return KV_READ_ASK_OWNER;
        }
        if (value->counter % 2 == 0) {
            result = search(mapped, load64(&table->slot->root), key, form, hash, value);
            if (result == KV_READ_FOUND || kv_mapped_holds(value)) {
                return result;
            }
        }
        pause_briefly();
    }
    return KV_READ_DISTURBED;
}

/* ---- the directory, and what concerns a whole table --------------------------------------------
 */

enum { BYTES_FORM = 1, DIRECTORY_ITEM = 8 };

static enum kv_read find_in_directory(const struct kv_mapped *mapped,
                                      const struct kv_mapped_table *directory, uint32_t id,
                                      uint32_t serial, uint32_t place[2])
{
    const uint32_t pid[2] = {id, serial};
    struct kv_bytes key = kv_bytes(pid, sizeof pid);
    uint64_t hash = kv_mapped_hash(mapped, key);
    struct kv_mapped_value value;
    for (unsigned i = 0; i < KV_READ_TRIES; i++) {
        enum kv_read result = kv_mapped_find(mapped, directory, key, BYTES_FORM, hash, &value);
        if (result != KV_READ_FOUND) {
            return result;
        }
        bool fits = value.bytes.length == DIRECTORY_ITEM;
        if (fits) {
            kv_unsettled_copy(place, value.bytes.data, DIRECTORY_ITEM);
        }
        if (kv_mapped_holds(&value)) {
            return fits ? KV_READ_FOUND : KV_READ_BROKEN;
        }
    }
    return KV_READ_DISTURBED;
}

enum kv_read kv_mapped_table_of(const struct kv_mapped *mapped, uint32_t id, uint32_t serial,
                                struct kv_mapped_table *table)
{
    uint32_t place[2];
    struct kv_mapped_table directory = {.slot = slot_at(mapped, KV_DIRECTORY_SLOT)};
    if (directory.slot == NULL) {
        return KV_READ_BROKEN;
    }
    directory.generation = load32(&directory.slot->generation);
    enum kv_read result = find_in_directory(mapped, &directory, id, serial, place);
    if (result == KV_READ_FOUND) {
        return kv_mapped_table_at(mapped, place[0], place[1], table);
    }
    return result == KV_READ_ABSENT ? KV_READ_GONE : result;
}

/* The writer lowers next_expiry before it counts an entry that expires earlier, and raises it after
 * it has uncounted expired entries. So next_expiry is read before and after the count. */
enum kv_read kv_mapped_count(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                             uint64_t *count, uint64_t *next_expiry)
{
    enum kv_read result = begin(mapped, table);
    if (result == KV_READ_FOUND) {
        *next_expiry = __atomic_load_n(&table->slot->next_expiry, KV_ACQUIRE);
        *count = __atomic_load_n(&table->slot->count, KV_ACQUIRE);
        bool same = load64(&table->slot->next_expiry) == *next_expiry;
        bool asks = (flags_of(table) & (KV_SLOT_ASK_OWNER | KV_SLOT_MARKED)) != 0;
        kv_fence_acquire(&table->slot->generation);
        result = !is_there(table) ? KV_READ_GONE
                 : asks           ? KV_READ_ASK_OWNER
                 : same           ? KV_READ_FOUND
                                  : KV_READ_DISTURBED;
    }
    return result;
}

enum kv_read kv_mapped_counters(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                                struct kv_mapped_counters *counters)
{
    kv_fence_acquire(&table->slot->generation); /* of what was read before, for the second time */
    enum kv_read result = begin(mapped, table);
    counters->generation = table->generation;
    for (unsigned i = 0; i < KV_STRIPES && result == KV_READ_FOUND; i++) {
        counters->stripes[i] = __atomic_load_n(&table->slot->stripes[i], KV_ACQUIRE);
        if (counters->stripes[i] % 2 == 1) {
            result = KV_READ_DISTURBED;
        }
    }
    bool asks = (flags_of(table) & KV_SLOT_ASK_OWNER) != 0;
    return result != KV_READ_GONE && asks ? KV_READ_ASK_OWNER : result;
}
