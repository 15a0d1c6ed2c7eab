/* Reading validated terms: the kv_read_* functions of include/kv/term.h. */
#include "base/endian.h"
#include "term/token.h"

#include <ei.h>

static const uint8_t *here(const struct kv_reader *reader)
{
    return reader->data + reader->offset;
}

static void take(struct kv_reader *reader, size_t size)
{
    reader->offset += size;
}

int kv_read_tuple(struct kv_reader *reader, uint32_t *arity)
{
    switch (kv_read_peek(reader)) {
    case KV_TAG_SMALL_TUPLE:
        *arity = here(reader)[1];
        take(reader, 2);
        return KV_OK;
    case KV_TAG_LARGE_TUPLE:
        *arity = kv_get32(here(reader) + 1);
        take(reader, KV_LONG_HEADER);
        return KV_OK;
    default:
        return KV_ETYPE;
    }
}

int kv_read_tuple_of(struct kv_reader *reader, uint32_t arity)
{
    struct kv_reader ahead = *reader;
    uint32_t found;
    if (kv_read_tuple(&ahead, &found) != KV_OK || found != arity) {
        return KV_ETYPE;
    }
    *reader = ahead;
    return KV_OK;
}

/* An empty string is a nil, too, and so is a list header of count 0 with a nil behind it. */
int kv_read_nil(struct kv_reader *reader)
{
    struct kv_reader ahead = *reader;
    while (kv_read_peek(&ahead) == KV_TAG_LIST && kv_get32(here(&ahead) + 1) == 0) {
        take(&ahead, KV_LONG_HEADER);
    }
    if (kv_read_peek(&ahead) == KV_TAG_NIL) {
        take(&ahead, 1);
    } else if (kv_read_peek(&ahead) == KV_TAG_STRING && kv_get16(here(&ahead) + 1) == 0) {
        take(&ahead, 3);
    } else {
        return KV_ETYPE;
    }
    *reader = ahead;
    return KV_OK;
}

int kv_read_list(struct kv_reader *reader, uint32_t *count)
{
    if (kv_read_nil(reader) == KV_OK) {
        *count = 0;
        return KV_OK;
    }
    if (kv_read_peek(reader) != KV_TAG_LIST || kv_get32(here(reader) + 1) == 0) {
        return KV_ETYPE;
    }
    *count = kv_get32(here(reader) + 1);
    take(reader, KV_LONG_HEADER);
    return KV_OK;
}

int kv_read_list_length(struct kv_bytes list, uint32_t *length)
{
    struct kv_reader reader = kv_reader(list);
    if (kv_read_peek(&reader) == KV_TAG_STRING) {
        *length = kv_get16(list.data + 1);
        return KV_OK;
    }
    int error = kv_read_list(&reader, length);
    if (error != KV_OK || *length == 0) {
        return error;
    }
    for (uint32_t i = 0; i < *length && error == KV_OK; i++) {
        error = kv_read_any(&reader, NULL);
    }
    return error == KV_OK ? kv_read_nil(&reader) : error;
}

int kv_read_map(struct kv_reader *reader, uint32_t *pairs)
{
    if (kv_read_peek(reader) != KV_TAG_MAP) {
        return KV_ETYPE;
    }
    *pairs = kv_get32(here(reader) + 1);
    take(reader, KV_LONG_HEADER);
    return KV_OK;
}

static bool is_ascii(struct kv_bytes text)
{
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static bool is_atom(uint8_t tag)
{
    return tag == KV_TAG_SMALL_ATOM_UTF8 || tag == KV_TAG_ATOM_UTF8 || tag == KV_TAG_SMALL_ATOM ||
           tag == KV_TAG_ATOM;
}

int kv_read_atom(struct kv_reader *reader, struct kv_bytes *text)
{
    uint8_t tag = kv_read_peek(reader);
    if (tag == KV_TAG_SMALL_ATOM_UTF8) {
        *text = kv_bytes(here(reader) + 2, here(reader)[1]);
        take(reader, 2 + text->length);
        return KV_OK;
    }
    if (!is_atom(tag)) {
        return KV_ETYPE;
    }
    bool latin1;
    struct kv_bytes found = kv_atom_text(here(reader), &latin1);
    if (latin1 && !is_ascii(found)) {
        return KV_ETYPE;
    }
    *text = found;
    take(reader, kv_atom_size(here(reader)));
    return KV_OK;
}

int kv_read_this_atom(struct kv_reader *reader, const char *text)
{
    struct kv_reader ahead = *reader;
    struct kv_bytes found;
    if (kv_read_atom(&ahead, &found) != KV_OK || !kv_bytes_is(found, text)) {
        return KV_ETYPE;
    }
    *reader = ahead;
    return KV_OK;
}

int kv_read_binary(struct kv_reader *reader, struct kv_bytes *bytes)
{
    if (kv_read_peek(reader) != KV_TAG_BINARY) {
        return KV_ETYPE;
    }
    uint32_t length = kv_get32(here(reader) + 1);
    *bytes = kv_bytes(here(reader) + KV_LONG_HEADER, length);
    take(reader, KV_LONG_HEADER + (size_t)length);
    return KV_OK;
}

static bool is_integer(uint8_t tag)
{
    return tag == KV_TAG_SMALL_INTEGER || tag == KV_TAG_INTEGER || tag == KV_TAG_SMALL_BIG ||
           tag == KV_TAG_LARGE_BIG;
}

int kv_read_u64(struct kv_reader *reader, uint64_t *value)
{
    if (!is_integer(kv_read_peek(reader))) {
        return KV_ETYPE;
    }
    EI_ULONGLONG found;
    int size = 0;
    if (ei_decode_ulonglong((const char *)here(reader), &size, &found) != 0) {
        return KV_ERANGE;
    }
    *value = found;
    take(reader, (size_t)size);
    return KV_OK;
}

int kv_read_u32(struct kv_reader *reader, uint32_t *value)
{
    struct kv_reader ahead = *reader;
    uint64_t found;
    int error = kv_read_u64(&ahead, &found);
    if (error != KV_OK) {
        return error;
    }
    if (found > UINT32_MAX) {
        return KV_ERANGE;
    }
    *value = (uint32_t)found;
    *reader = ahead;
    return KV_OK;
}

int kv_read_i64(struct kv_reader *reader, int64_t *value)
{
    if (!is_integer(kv_read_peek(reader))) {
        return KV_ETYPE;
    }
    EI_LONGLONG found;
    int size = 0;
    if (ei_decode_longlong((const char *)here(reader), &size, &found) != 0) {
        return KV_ERANGE;
    }
    *value = found;
    take(reader, (size_t)size);
    return KV_OK;
}

/* The node of an identifier is an ordinary atom, in any of its encodings. */
static int read_node(struct kv_reader *reader, struct kv_bytes *node)
{
    return kv_read_atom(reader, node);
}

static uint32_t take_u32(struct kv_reader *reader)
{
    uint32_t value = kv_get32(here(reader));
    take(reader, 4);
    return value;
}

/* Creations have four bytes, in old forms one. */
static uint32_t take_creation(struct kv_reader *reader, bool old)
{
    if (!old) {
        return take_u32(reader);
    }
    uint32_t creation = *here(reader);
    take(reader, 1);
    return creation;
}

int kv_read_pid(struct kv_reader *reader, struct kv_pid *pid)
{
    uint8_t tag = kv_read_peek(reader);
    if (tag != KV_TAG_NEW_PID && tag != KV_TAG_PID) {
        return KV_ETYPE;
    }
    struct kv_reader ahead = *reader;
    struct kv_pid found;
    take(&ahead, 1);
    if (read_node(&ahead, &found.node) != KV_OK) {
        return KV_ETYPE;
    }
    found.id = take_u32(&ahead);
    found.serial = take_u32(&ahead);
    found.creation = take_creation(&ahead, tag == KV_TAG_PID);
    *pid = found;
    *reader = ahead;
    return KV_OK;
}

static int read_new_ref(struct kv_reader *reader, struct kv_ref *ref)
{
    bool old = kv_read_peek(reader) == KV_TAG_NEW_REFERENCE;
    ref->count = kv_get16(here(reader) + 1);
    take(reader, 3);
    if (read_node(reader, &ref->node) != KV_OK) {
        return KV_ETYPE;
    }
    ref->creation = take_creation(reader, old);
    for (uint32_t i = 0; i < ref->count; i++) {
        ref->words[i] = take_u32(reader);
    }
    return KV_OK;
}

static int read_old_ref(struct kv_reader *reader, struct kv_ref *ref)
{
    take(reader, 1);
    if (read_node(reader, &ref->node) != KV_OK) {
        return KV_ETYPE;
    }
    ref->count = 1;
    ref->words[0] = take_u32(reader);
    ref->creation = take_creation(reader, true);
    return KV_OK;
}

int kv_read_ref(struct kv_reader *reader, struct kv_ref *ref)
{
    uint8_t tag = kv_read_peek(reader);
    struct kv_reader ahead = *reader;
    struct kv_ref found = {.count = 0};
    int error = KV_ETYPE;
    if (tag == KV_TAG_NEWER_REFERENCE || tag == KV_TAG_NEW_REFERENCE) {
        error = read_new_ref(&ahead, &found);
    } else if (tag == KV_TAG_REFERENCE) {
        error = read_old_ref(&ahead, &found);
    }
    if (error == KV_OK) {
        *ref = found;
        *reader = ahead;
    }
    return error;
}
