/* Writing terms: the kv_write_* functions of include/kv/term.h. libei does the encoding. */
#include <kv/term.h>

#include "base/assert.h"
#include "base/endian.h"

#include <ei.h>

/* libei does not check for room: the most bytes that it writes for each. */
enum { HEADER_MAX = 5, INTEGER_MAX = 11, ATOM_HEADER_MAX = 3 };

static char *room(struct kv_buffer *to, size_t size)
{
    return (char *)kv_buffer_reserve(to, size);
}

void kv_write_tuple(struct kv_buffer *to, uint32_t arity)
{
    int written = 0;
    (void)ei_encode_tuple_header(room(to, HEADER_MAX), &written, (int)arity);
    to->length += (size_t)written;
}

void kv_write_list(struct kv_buffer *to, uint32_t count)
{
    int written = 0;
    kv_assert(count > 0);
    (void)ei_encode_list_header(room(to, HEADER_MAX), &written, (int)count);
    to->length += (size_t)written;
}

void kv_write_nil(struct kv_buffer *to)
{
    kv_buffer_u8(to, KV_TAG_NIL);
}

void kv_write_map(struct kv_buffer *to, uint32_t pairs)
{
    int written = 0;
    (void)ei_encode_map_header(room(to, HEADER_MAX), &written, (int)pairs);
    to->length += (size_t)written;
}

void kv_write_atom(struct kv_buffer *to, struct kv_bytes text)
{
    int written = 0;
    (void)ei_encode_atom_len_as(room(to, ATOM_HEADER_MAX + text.length), &written,
                                (const char *)text.data, (int)text.length, ERLANG_UTF8,
                                ERLANG_UTF8);
    to->length += (size_t)written;
}

void kv_write_atom_text(struct kv_buffer *to, const char *text)
{
    kv_write_atom(to, kv_bytes_text(text));
}

void kv_write_bool(struct kv_buffer *to, bool value)
{
    kv_write_atom_text(to, value ? "true" : "false");
}

void kv_write_binary(struct kv_buffer *to, struct kv_bytes bytes)
{
    uint8_t *at = kv_buffer_reserve(to, HEADER_MAX + bytes.length);
    at[0] = KV_TAG_BINARY;
    kv_set32(at + 1, (uint32_t)bytes.length);
    if (bytes.length > 0) {
        memcpy(at + HEADER_MAX, bytes.data, bytes.length);
    }
    to->length += HEADER_MAX + bytes.length;
}

void kv_write_binary_text(struct kv_buffer *to, const char *text)
{
    kv_write_binary(to, kv_bytes_text(text));
}

void kv_write_string(struct kv_buffer *to, const char *text)
{
    size_t length = strlen(text);
    int written = 0;
    (void)ei_encode_string_len(room(to, 3 + length), &written, text, (int)length);
    to->length += (size_t)written;
}

void kv_write_u64(struct kv_buffer *to, uint64_t value)
{
    if (value <= INT64_MAX) {
        kv_write_i64(to, (int64_t)value);
        return;
    }
    int written = 0;
    (void)ei_encode_ulonglong(room(to, INTEGER_MAX), &written, value);
    to->length += (size_t)written;
}

/* libei writes integers of more than 28 bits as bignums. A BEAM writes up to 32 bits plain, and so
 * does this function. */
void kv_write_i64(struct kv_buffer *to, int64_t value)
{
    if (value >= INT32_MIN && value <= INT32_MAX && (value < 0 || value > UINT8_MAX)) {
        kv_buffer_u8(to, KV_TAG_INTEGER);
        kv_buffer_u32(to, (uint32_t)value);
        return;
    }
    int written = 0;
    (void)ei_encode_longlong(room(to, INTEGER_MAX), &written, value);
    to->length += (size_t)written;
}

/* Without libei, whose structs for identifiers hold a copy of the node name: 1 KB each. */
void kv_write_pid(struct kv_buffer *to, const struct kv_pid *pid)
{
    kv_buffer_u8(to, KV_TAG_NEW_PID);
    kv_write_atom(to, pid->node);
    kv_buffer_u32(to, pid->id);
    kv_buffer_u32(to, pid->serial);
    kv_buffer_u32(to, pid->creation);
}

void kv_write_ref(struct kv_buffer *to, const struct kv_ref *ref)
{
    kv_buffer_u8(to, KV_TAG_NEWER_REFERENCE);
    kv_buffer_u16(to, (uint16_t)ref->count);
    kv_write_atom(to, ref->node);
    kv_buffer_u32(to, ref->creation);
    for (uint32_t i = 0; i < ref->count; i++) {
        kv_buffer_u32(to, ref->words[i]);
    }
}
