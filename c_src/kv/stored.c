#include "kv/stored.h"

#include <kv/term.h>

static const char *const names[] = {"max_memory", "max_entries",   "ttl",
                                    "evict",      "touch_on_read", "generation",
                                    "latest",     "unfilled",      "entries"};

enum { NAMES = sizeof names / sizeof names[0] };

/* The metadata is a binary here: a term would be nested deeper than a message may be. */
void kv_stored_write(const struct kv_stored *options, struct kv_bytes meta, struct kv_buffer *to)
{
    const uint64_t values[NAMES] = {
        options->max_memory,      options->max_entries,           options->ttl,
        (uint64_t)options->evict, options->touch_on_read ? 1 : 0, options->generation,
        options->latest ? 1 : 0,  options->unfilled ? 1 : 0,      options->entries};
    const unsigned count = options->entries > 0 ? NAMES : NAMES - 1;
    kv_write_list(to, count + (meta.length > 0 ? 1 : 0));
    for (unsigned i = 0; i < count; i++) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, names[i]);
        kv_write_u64(to, values[i]);
    }
    if (meta.length > 0) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, "meta");
        kv_write_binary(to, meta);
    }
    kv_write_nil(to);
}

/* ---- reading ----------------------------------------------------------------------------------
 */

struct stored_list {
    struct kv_reader reader;
    uint32_t left;
};

static struct stored_list list_of(struct kv_bytes bytes)
{
    const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    struct stored_list list = {.reader = kv_reader(bytes)};
    if (bytes.length == 0 || kv_term_validate(bytes, &limits, NULL) != KV_OK ||
        kv_read_list(&list.reader, &list.left) != KV_OK) {
        list.left = 0;
    }
    return list;
}

/* Sets the name of the next option, and *value to a reader of its value. Returns false at the end.
 * The name of what is no option is empty. */
static bool next_option(struct stored_list *list, struct kv_bytes *name, struct kv_reader *value)
{
    struct kv_bytes option = kv_bytes(NULL, 0);
    if (list->left == 0) {
        return false;
    }
    list->left--;
    (void)kv_read_any(&list->reader, &option);
    *value = kv_reader(option);
    if (kv_read_tuple_of(value, 2) != KV_OK || kv_read_atom(value, name) != KV_OK) {
        *name = kv_bytes(NULL, 0);
    }
    return true;
}

static void take(struct kv_bytes name, struct kv_reader *from, uint64_t values[NAMES])
{
    uint64_t value = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        if (kv_bytes_is(name, names[i]) && kv_read_u64(from, &value) == KV_OK) {
            values[i] = value;
        }
    }
}

struct kv_bytes kv_stored_meta(struct kv_bytes bytes)
{
    struct stored_list list = list_of(bytes);
    struct kv_bytes meta = kv_bytes(NULL, 0);
    struct kv_bytes name;
    struct kv_reader value;
    while (next_option(&list, &name, &value)) {
        if (kv_bytes_is(name, "meta") && kv_read_binary(&value, &meta) == KV_OK) {
            return meta;
        }
    }
    return kv_bytes(NULL, 0);
}

void kv_stored_read(struct kv_bytes bytes, struct kv_stored *options)
{
    struct stored_list list = list_of(bytes);
    uint64_t values[NAMES] = {0};
    struct kv_bytes name;
    struct kv_reader value;
    while (next_option(&list, &name, &value)) {
        take(name, &value, values);
    }
    *options = (struct kv_stored){.max_memory = values[0],
                                  .max_entries = values[1],
                                  .ttl = values[2],
                                  .evict = values[3] <= KV_EVICT_TTL ? (enum kv_evict)values[3]
                                                                     : KV_EVICT_NONE,
                                  .touch_on_read = values[4] != 0,
                                  .generation = values[5],
                                  .latest = values[6] != 0,
                                  .unfilled = values[7] != 0,
                                  .entries = values[8]};
}
