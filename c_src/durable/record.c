#include "durable/record.h"

#include "base/assert.h"
#include "base/endian.h"

/*  kind u8 | table varint | by kind:
 *    PUT     forms u8 | [expiry u48] | key length varint | value length varint | key | value
 *    DELETE  forms u8 | key length varint | key
 *    EXPIRY  forms u8 | expiry u48 | key length varint | key
 *    CLEAR, DROP
 *    TABLE   policy u8 | kind u8 | three times: length varint | bytes
 *    DROP_REGISTRY  name length varint | name */

enum {
    FORM_BITS = 2,
    FORM_MASK = 3,
    HAS_EXPIRY = 1 << 4,
    FORMS_MASK = 31,
    VARINT_MAX = 10,
    EXPIRY_SIZE = 6,
    /* kind, table, forms (or policy and kind), expiry, three lengths */
    OVERHEAD_MAX = 1 + VARINT_MAX + 2 + EXPIRY_SIZE + 3 * VARINT_MAX,
};

/* ---- writing -----------------------------------------------------------------------------------
 */

static uint8_t *write_varint(uint8_t *to, uint64_t value)
{
    while (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

static uint8_t *write_expiry(uint8_t *to, uint64_t expiry)
{
    expiry = expiry < KV_RECORD_EXPIRY_MAX ? expiry : KV_RECORD_EXPIRY_MAX;
    kv_set16(to, (uint16_t)(expiry >> 32));
    kv_set32(to + 2, (uint32_t)expiry);
    return to + EXPIRY_SIZE;
}

static uint8_t *write_bytes(uint8_t *to, struct kv_bytes bytes)
{
    if (bytes.length > 0) {
        memcpy(to, bytes.data, bytes.length);
    }
    return to + bytes.length;
}

static uint8_t *write_counted(uint8_t *to, struct kv_bytes bytes)
{
    return write_bytes(write_varint(to, bytes.length), bytes);
}

/* All but the value. */
static uint8_t *write_put(uint8_t *to, const struct kv_table_entry *entry)
{
    const bool expires = entry->expiry != KV_NEVER;
    *to++ =
        (uint8_t)(entry->key.form | entry->value.form << FORM_BITS | (expires ? HAS_EXPIRY : 0));
    if (expires) {
        to = write_expiry(to, entry->expiry);
    }
    to = write_varint(to, entry->key.bytes.length);
    to = write_varint(to, entry->value.bytes.length);
    return write_bytes(to, entry->key.bytes);
}

static uint8_t *write_about(uint8_t *to, const struct kv_record_table *about)
{
    *to++ = about->policy;
    *to++ = about->kind;
    to = write_counted(to, about->registry);
    to = write_counted(to, about->name);
    return write_counted(to, about->options);
}

size_t kv_record_bound(const struct kv_record *record)
{
    return OVERHEAD_MAX + record->entry.key.bytes.length + record->entry.value.bytes.length +
           record->about.registry.length + record->about.name.length + record->about.options.length;
}

static uint8_t *write_front(const struct kv_record *record, uint8_t *to)
{
    kv_assert(record->table > 0 && record->entry.key.form <= FORM_MASK &&
              record->entry.value.form <= FORM_MASK);
    *to++ = (uint8_t)record->kind;
    return write_varint(to, record->table);
}

size_t kv_record_write_put(const struct kv_record *put, uint8_t *to)
{
    return (size_t)(write_put(write_front(put, to), &put->entry) - to);
}

size_t kv_record_write(const struct kv_record *record, uint8_t *to)
{
    const struct kv_table_entry *entry = &record->entry;
    uint8_t *at = write_front(record, to);
    switch (record->kind) {
    case KV_RECORD_PUT:
        at = write_bytes(write_put(at, entry), entry->value.bytes);
        break;
    case KV_RECORD_DELETE:
        *at++ = entry->key.form;
        at = write_counted(at, entry->key.bytes);
        break;
    case KV_RECORD_EXPIRY:
        *at++ = entry->key.form;
        at = write_counted(write_expiry(at, entry->expiry), entry->key.bytes);
        break;
    case KV_RECORD_TABLE:
        at = write_about(at, &record->about);
        break;
    case KV_RECORD_DROP_REGISTRY:
        at = write_counted(at, record->about.name);
        break;
    case KV_RECORD_CLEAR:
    case KV_RECORD_DROP:
        break;
    }
    return (size_t)(at - to);
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* Each takes something off the front of `from`. */
static int read_u8(struct kv_bytes *from, uint8_t *value)
{
    if (from->length == 0) {
        return KV_ETRUNCATED;
    }
    *value = from->data[0];
    *from = kv_bytes(from->data + 1, from->length - 1);
    return KV_OK;
}

static int read_long_varint(struct kv_bytes *from, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < VARINT_MAX; i++) {
        if (i == from->length) {
            return KV_ETRUNCATED;
        }
        const uint8_t byte = from->data[i];
        if (i == VARINT_MAX - 1 && byte > 1) {
            return KV_EMALFORMED;
        }
        *value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            *from = kv_bytes(from->data + i + 1, from->length - i - 1);
            return KV_OK;
        }
    }
    return KV_EMALFORMED;
}

/* Most have one byte. */
static inline int read_varint(struct kv_bytes *from, uint64_t *value)
{
    if (from->length == 0 || from->data[0] >= 0x80) {
        return read_long_varint(from, value);
    }
    *value = from->data[0];
    *from = kv_bytes(from->data + 1, from->length - 1);
    return KV_OK;
}

static int read_bytes(struct kv_bytes *from, uint64_t length, struct kv_bytes *bytes)
{
    if (length > from->length) {
        return KV_ETRUNCATED;
    }
    *bytes = kv_bytes(from->data, (size_t)length);
    *from = kv_bytes(from->data + length, from->length - (size_t)length);
    return KV_OK;
}

static int read_counted(struct kv_bytes *from, struct kv_bytes *bytes)
{
    uint64_t length;
    const int error = read_varint(from, &length);
    return error != KV_OK ? error : read_bytes(from, length, bytes);
}

static int read_expiry(struct kv_bytes *from, uint64_t *expiry)
{
    struct kv_bytes bytes;
    const int error = read_bytes(from, EXPIRY_SIZE, &bytes);
    if (error == KV_OK) {
        *expiry = (uint64_t)kv_get16(bytes.data) << 32 | kv_get32(bytes.data + 2);
    }
    return error;
}

static int read_forms(struct kv_bytes *from, uint8_t allowed, struct kv_table_entry *entry,
                      bool *expires)
{
    uint8_t forms = 0;
    const int error = read_u8(from, &forms);
    entry->key.form = forms & FORM_MASK;
    entry->value.form = forms >> FORM_BITS & FORM_MASK;
    *expires = (forms & HAS_EXPIRY) != 0;
    return error == KV_OK && (forms & ~allowed) != 0 ? KV_EMALFORMED : error;
}

static int read_put(struct kv_bytes *from, struct kv_table_entry *entry)
{
    uint64_t key = 0;
    uint64_t value = 0;
    bool expires;
    int error = read_forms(from, FORMS_MASK, entry, &expires);
    if (error == KV_OK && expires) {
        error = read_expiry(from, &entry->expiry);
    }
    error = error != KV_OK ? error : read_varint(from, &key);
    error = error != KV_OK ? error : read_varint(from, &value);
    error = error != KV_OK ? error : read_bytes(from, key, &entry->key.bytes);
    return error != KV_OK ? error : read_bytes(from, value, &entry->value.bytes);
}

static int read_key(struct kv_bytes *from, bool has_expiry, struct kv_table_entry *entry)
{
    bool expires;
    int error = read_forms(from, FORM_MASK, entry, &expires);
    if (error == KV_OK && has_expiry) {
        error = read_expiry(from, &entry->expiry);
    }
    return error != KV_OK ? error : read_counted(from, &entry->key.bytes);
}

static int read_about(struct kv_bytes *from, struct kv_record_table *about)
{
    int error = read_u8(from, &about->policy);
    error = error != KV_OK ? error : read_u8(from, &about->kind);
    error = error != KV_OK ? error : read_counted(from, &about->registry);
    error = error != KV_OK ? error : read_counted(from, &about->name);
    return error != KV_OK ? error : read_counted(from, &about->options);
}

static int read_rest(struct kv_bytes *from, struct kv_record *record)
{
    switch (record->kind) {
    case KV_RECORD_PUT:
        return read_put(from, &record->entry);
    case KV_RECORD_DELETE:
        return read_key(from, false, &record->entry);
    case KV_RECORD_EXPIRY:
        return read_key(from, true, &record->entry);
    case KV_RECORD_TABLE:
        return read_about(from, &record->about);
    case KV_RECORD_DROP_REGISTRY:
        return read_counted(from, &record->about.name);
    case KV_RECORD_CLEAR:
    case KV_RECORD_DROP:
        return KV_OK;
    }
    return KV_EMALFORMED;
}

int kv_record_read(struct kv_bytes *from, struct kv_record *record)
{
    struct kv_bytes rest = *from;
    uint8_t kind = 0;
    memset(record, 0, sizeof *record);
    int error = read_u8(&rest, &kind);
    if (error == KV_OK && (kind < KV_RECORD_PUT || kind > KV_RECORD_DROP_REGISTRY)) {
        return KV_EMALFORMED;
    }
    record->kind = (enum kv_record_kind)kind;
    error = error != KV_OK ? error : read_varint(&rest, &record->table);
    if (error == KV_OK && record->table == 0) {
        return KV_EMALFORMED;
    }
    error = error != KV_OK ? error : read_rest(&rest, record);
    if (error == KV_OK) {
        *from = rest;
    }
    return error;
}
