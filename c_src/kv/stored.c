#include "kv/stored.h"

#include <kv/term.h>

static const char *const names[] = {"max_memory", "max_entries",   "ttl",
                                    "evict",      "touch_on_read", "generation"};

enum { NAMES = sizeof names / sizeof names[0] };

void kv_stored_write(const struct kv_stored *options, struct kv_buffer *to)
{
    const uint64_t values[NAMES] = {
        options->max_memory,      options->max_entries,           options->ttl,
        (uint64_t)options->evict, options->touch_on_read ? 1 : 0, options->generation};
    kv_write_list(to, NAMES);
    for (unsigned i = 0; i < NAMES; i++) {
        kv_write_tuple(to, 2);
        kv_write_atom_text(to, names[i]);
        kv_write_u64(to, values[i]);
    }
    kv_write_nil(to);
}

static void take(struct kv_bytes name, uint64_t value, uint64_t values[NAMES])
{
    for (unsigned i = 0; i < NAMES; i++) {
        if (kv_bytes_is(name, names[i])) {
            values[i] = value;
        }
    }
}

void kv_stored_read(struct kv_bytes bytes, struct kv_stored *options)
{
    const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    uint64_t values[NAMES] = {0};
    uint32_t count = 0;
    struct kv_reader list = kv_reader(bytes);
    if (bytes.length == 0 || kv_term_validate(bytes, &limits, NULL) != KV_OK ||
        kv_read_list(&list, &count) != KV_OK) {
        count = 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kv_bytes option = kv_bytes(NULL, 0);
        struct kv_bytes name = kv_bytes(NULL, 0);
        uint64_t value = 0;
        (void)kv_read_any(&list, &option);
        struct kv_reader pair = kv_reader(option);
        if (kv_read_tuple_of(&pair, 2) == KV_OK && kv_read_atom(&pair, &name) == KV_OK &&
            kv_read_u64(&pair, &value) == KV_OK) {
            take(name, value, values);
        }
    }
    *options = (struct kv_stored){.max_memory = values[0],
                                  .max_entries = values[1],
                                  .ttl = values[2],
                                  .evict = values[3] <= KV_EVICT_TTL ? (enum kv_evict)values[3]
                                                                     : KV_EVICT_NONE,
                                  .touch_on_read = values[4] != 0,
                                  .generation = values[5]};
}
