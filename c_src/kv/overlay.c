#include "kv/overlay.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "kv/durable.h"

/* The most bytes of values of the table that an overlay copies, where only their expiry changes. */
enum { COPIED_MAX = 64 << 20 };

struct change {
    struct kv_item key;
    struct kv_item value;
    uint64_t expiry;
    uint64_t hash;
    unsigned step;
    bool absent;
    bool kept;  /* the value is that of the table: a read has started the time to live again */
    bool grows; /* kv_table_grows() */
};

/* A copy, and the one before it. */
struct copy {
    struct copy *next;
    uint8_t bytes[];
};

struct kv_overlay {
    struct kv_table *table;
    struct kv_durable *durable; /* or NULL */
    struct kv_bytes request;
    struct copy *copies;
    size_t copied; /* bytes of copies */
    unsigned step;
    unsigned count;
    unsigned most;
    unsigned mask;
    uint16_t *slots; /* a number of a change, and one more; 0: free */
    uint64_t *named; /* for each step, the hash of its key; 0: it has none */
    struct change changes[];
};

struct kv_overlay *kv_overlay_new(const struct kv_contents *contents, struct kv_bytes request,
                                  unsigned keys)
{
    struct kv_overlay *overlay = kv_alloc(sizeof *overlay + keys * sizeof overlay->changes[0]);
    unsigned slots = 2;
    while (slots < 2 * keys) {
        slots *= 2;
    }
    *overlay = (struct kv_overlay){.table = contents->table,
                                   .durable = contents->durable,
                                   .request = request,
                                   .most = keys,
                                   .mask = slots - 1,
                                   .slots = kv_zalloc(slots * sizeof *overlay->slots),
                                   .named = kv_zalloc((keys + 1) * sizeof *overlay->named)};
    return overlay;
}

void kv_overlay_free(struct kv_overlay *overlay)
{
    while (overlay->copies != NULL) {
        struct copy *copy = overlay->copies;
        overlay->copies = copy->next;
        kv_free(copy);
    }
    kv_free(overlay->slots);
    kv_free(overlay->named);
    kv_free(overlay);
}

void kv_overlay_step(struct kv_overlay *overlay, unsigned step)
{
    overlay->step = step;
}

/* ---- finding ----------------------------------------------------------------------------------
 */

static bool is_of(const struct change *change, struct kv_item key, uint64_t hash)
{
    return change->hash == hash && change->key.form == key.form &&
           kv_bytes_equal(change->key.bytes, key.bytes);
}

/* Returns the change of a key, or NULL; *slot is where it is, or would be. */
static struct change *find(const struct kv_overlay *overlay, struct kv_item key, uint64_t hash,
                           unsigned *slot)
{
    for (*slot = (unsigned)hash & overlay->mask; overlay->slots[*slot] != 0;
         *slot = (*slot + 1) & overlay->mask) {
        const struct change *change = &overlay->changes[overlay->slots[*slot] - 1];
        if (is_of(change, key, hash)) {
            return (struct change *)change;
        }
    }
    return NULL;
}

/* Each operation has one key, so the last hash of a step is that of its key. */
static uint64_t hash_of(const struct kv_overlay *overlay, struct kv_item key)
{
    if (overlay->durable != NULL) {
        kv_durable_tell(overlay->durable, key);
    }
    return overlay->named[overlay->step] = kv_table_hash(overlay->table, key.bytes);
}

static const struct change *change_of(const struct kv_overlay *overlay, struct kv_item key)
{
    unsigned slot = 0;
    return find(overlay, key, hash_of(overlay, key), &slot);
}

bool kv_overlay_look(const struct kv_overlay *overlay, struct kv_item key, struct kv_item *value,
                     uint64_t *expiry)
{
    const struct change *change = change_of(overlay, key);
    bool there = true;
    if (change == NULL || change->kept) {
        there = kv_table_find(overlay->table, key, value, expiry);
    } else {
        *value = change->value;
        there = !change->absent;
    }
    if (change != NULL) {
        *expiry = change->expiry;
    }
    return there;
}

bool kv_overlay_expiry(const struct kv_overlay *overlay, struct kv_item key, uint64_t *expiry)
{
    const struct change *change = change_of(overlay, key);
    if (change == NULL) {
        return kv_table_expiry(overlay->table, key, expiry);
    }
    *expiry = change->expiry;
    return !change->absent;
}

/* ---- changing ---------------------------------------------------------------------------------
 */

/* Returns bytes that stay where they are for the life of the overlay. */
static struct kv_bytes keep(struct kv_overlay *overlay, struct kv_bytes bytes)
{
    const uint8_t *from = overlay->request.data;
    if (bytes.length == 0 ||
        (bytes.data >= from && bytes.data + bytes.length <= from + overlay->request.length)) {
        return bytes;
    }
    struct copy *copy = kv_alloc(sizeof *copy + bytes.length);
    memcpy(copy->bytes, bytes.data, bytes.length);
    copy->next = overlay->copies;
    overlay->copies = copy;
    overlay->copied += bytes.length;
    return kv_bytes(copy->bytes, bytes.length);
}

static struct kv_item keep_item(struct kv_overlay *overlay, struct kv_item item)
{
    return (struct kv_item){.bytes = keep(overlay, item.bytes), .form = item.form};
}

/* Returns the change of a key, and makes room for one if there is none. A new one keeps the value
 * of the table. */
static struct change *change_for(struct kv_overlay *overlay, struct kv_item key)
{
    const uint64_t hash = hash_of(overlay, key);
    unsigned slot = 0;
    struct change *change = find(overlay, key, hash, &slot);
    if (change == NULL) {
        kv_assert(overlay->count < overlay->most);
        change = &overlay->changes[overlay->count++];
        *change = (struct change){.key = keep_item(overlay, key), .hash = hash, .kept = true};
        overlay->slots[slot] = (uint16_t)overlay->count;
    }
    return change;
}

/* The table itself must not start the time to live again: the transaction may fail yet. */
bool kv_overlay_find(struct kv_overlay *overlay, struct kv_item key, struct kv_item *value)
{
    const uint64_t again = kv_table_touched(overlay->table);
    uint64_t expiry = KV_NEVER;
    if (!kv_overlay_look(overlay, key, value, &expiry)) {
        return false;
    }
    if (again != KV_NEVER && expiry != KV_NEVER) {
        change_for(overlay, key)->expiry = again;
    }
    return true;
}

static uint64_t expiry_of(const struct kv_overlay *overlay, struct kv_item key, uint64_t wanted)
{
    uint64_t expiry = KV_NEVER;
    bool keeps = (wanted & KV_KEEPING) != 0;
    return keeps && kv_overlay_expiry(overlay, key, &expiry) ? expiry : wanted & ~KV_KEEPING;
}

int kv_overlay_change(struct kv_overlay *overlay, const struct kv_change *wanted)
{
    const struct kv_item key = wanted->ahead != NULL ? wanted->ahead->key : wanted->key;
    const uint64_t expiry = expiry_of(overlay, key, wanted->expiry);
    struct kv_item value = wanted->value;
    uint64_t ignored = KV_NEVER;
    if (wanted->kind == KV_CHANGE_CLEAR) {
        return KV_ETYPE;
    }
    if (wanted->kind != KV_CHANGE_PUT && !kv_overlay_look(overlay, key, &value, &ignored)) {
        return KV_ENOENT;
    }
    if (wanted->kind == KV_CHANGE_EXPIRY && overlay->copied + value.bytes.length > COPIED_MAX) {
        return KV_ENOMEM;
    }
    struct change *change = change_for(overlay, key);
    change->step = overlay->step;
    change->kept = false;
    change->absent = wanted->kind == KV_CHANGE_DELETE;
    if (!change->absent) {
        if (value.bytes.data != change->value.bytes.data) { /* a change of expiry keeps it */
            change->value = keep_item(overlay, value);
        }
        change->expiry = expiry;
    }
    return KV_OK;
}

/* ---- making the changes -----------------------------------------------------------------------
 */

/* Lends the puts the room of entries that go, and holds the keys of all operations. */
static void begin_all(struct kv_overlay *overlay)
{
    kv_table_begin_all(overlay->table, overlay->most);
    for (unsigned i = 0; i <= overlay->step; i++) {
        kv_table_hold(overlay->table, overlay->named[i]);
    }
    for (unsigned i = 0; i < overlay->count; i++) {
        struct change *change = &overlay->changes[i];
        if (change->absent) {
            kv_table_lend(overlay->table, change->key);
        } else if (!change->kept) {
            change->grows =
                kv_table_grows(overlay->table, change->key, change->value, change->expiry);
        }
    }
}

/* Makes the puts that take more room, or the others. */
static int put_those(const struct kv_overlay *overlay, bool grow, unsigned *step)
{
    int error = KV_OK;
    for (unsigned i = 0; error == KV_OK && i < overlay->count; i++) {
        const struct change *change = &overlay->changes[i];
        if (!change->absent && !change->kept && change->grows == grow) {
            error = kv_table_put(overlay->table, change->key, change->value, change->expiry);
            *step = change->step;
        }
    }
    return error;
}

/* Makes the changes that need no room, and so cannot fail. */
static void make_others(const struct kv_overlay *overlay)
{
    for (unsigned i = 0; i < overlay->count; i++) {
        const struct change *change = &overlay->changes[i];
        if (change->absent) {
            (void)kv_table_delete(overlay->table, change->key);
        } else if (change->kept) {
            (void)kv_table_set_expiry(overlay->table, change->key, change->expiry);
        }
    }
}

/* Returns KV_OK, or why the journal has no room for the changes. */
static int may_record(const struct kv_overlay *overlay)
{
    uint64_t bytes = 0;
    bool frees = true;
    for (unsigned i = 0; i < overlay->count; i++) {
        const struct change *change = &overlay->changes[i];
        bytes += change->key.bytes.length + change->value.bytes.length;
        frees &= change->absent;
    }
    return frees ? kv_durable_may_free(overlay->durable, bytes, overlay->count, false)
                 : kv_durable_may(overlay->durable, bytes, overlay->count);
}

/* Records all changes, for which there is room. */
static void record(const struct kv_overlay *overlay)
{
    for (unsigned i = 0; i < overlay->count; i++) {
        const struct change *change = &overlay->changes[i];
        if (change->absent) {
            kv_durable_gone(overlay->durable, change->key);
        } else if (change->kept) {
            kv_durable_expiry(overlay->durable, change->key, change->expiry);
        } else {
            kv_durable_put(overlay->durable, &(struct kv_table_entry){.key = change->key,
                                                                      .value = change->value,
                                                                      .expiry = change->expiry});
        }
    }
}

/* No eviction makes room for puts that are too many, or too large, by themselves. Sets *step to the
 * first one that is too much. */
static int refuse_hopeless(const struct kv_overlay *overlay, unsigned *step)
{
    uint64_t entries = 0;
    uint64_t bytes = 0;
    int error = KV_OK;
    for (unsigned i = 0; error == KV_OK && i < overlay->count; i++) {
        const struct change *change = &overlay->changes[i];
        if (!change->absent && !change->kept) {
            entries++;
            bytes += change->key.bytes.length + change->value.bytes.length;
            error = kv_table_fits(overlay->table, entries, bytes);
            *step = change->step;
        }
    }
    return error;
}

/* Puts that free room come before those that take some: so only the result has to fit in. */
int kv_overlay_apply(struct kv_overlay *overlay, unsigned *step)
{
    int error = KV_OK;
    if (overlay->count > 0 && kv_table_evicts(overlay->table)) {
        error = refuse_hopeless(overlay, step); /* by the limits alone */
    }
    if (overlay->count > 0 && error == KV_OK && overlay->durable != NULL) {
        error = may_record(overlay); /* before a put evicts anything, which is recorded at once */
    }
    if (overlay->count == 0 || error != KV_OK) {
        return error;
    }
    kv_table_begin_changes(overlay->table);
    begin_all(overlay);
    error = put_those(overlay, false, step);
    if (error == KV_OK) {
        error = put_those(overlay, true, step);
    }
    if (error == KV_OK && overlay->durable != NULL) {
        record(overlay);
    }
    if (error == KV_OK) {
        make_others(overlay);
    }
    while (kv_table_end_all(overlay->table, error == KV_OK, UINT32_MAX)) {
    }
    kv_table_end_changes(overlay->table);
    if (error != KV_OK && overlay->durable != NULL) {
        kv_durable_tell_all(overlay->durable); /* of how full it is */
    }
    return error;
}
