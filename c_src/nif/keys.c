/* Terms as bytes: the canonical bytes of keys, and terms that a request holds. */
#include "nif/nif.h"

#include <math.h>

/* Forms and canonical bytes of keys are those of kv/item.h and term/canonical.c. */

/* Writes into the local bytes of a key, or into a request. Fails for a term that does not fit or is
 * not known here; then the room term encodes the key, or the VM the request. */
struct writer {
    ErlNifEnv *env;
    uint8_t *at;
    const uint8_t *end;
    enum kv_zeros zeros;
    unsigned depth;
    bool maps; /* may be written: their pairs come in any order, so not in keys */
};

static bool term(struct writer *to, ERL_NIF_TERM value);

static bool room(const struct writer *to, size_t size)
{
    return (size_t)(to->end - to->at) >= size;
}

static void big_endian(struct writer *to, uint64_t value, unsigned size)
{
    for (unsigned i = size; i > 0; i--) {
        *to->at++ = (uint8_t)(value >> (8 * (i - 1)));
    }
}

/* ---- numbers --------------------------------------------------------------------------------- */

static bool big(struct writer *to, uint64_t magnitude, bool negative)
{
    uint8_t *digits = to->at + 1;
    *to->at = KV_TAG_SMALL_BIG;
    to->at += 3;
    for (; magnitude != 0; magnitude >>= 8) {
        *to->at++ = (uint8_t)magnitude;
    }
    digits[0] = (uint8_t)(to->at - digits - 2);
    digits[1] = negative ? 1 : 0;
    return true;
}

static bool integer(struct writer *to, ERL_NIF_TERM value)
{
    ErlNifSInt64 number;
    ErlNifUInt64 large;
    if (!room(to, 3 + sizeof number)) {
        return false;
    }
    if (!enif_get_int64(to->env, value, &number)) {
        return enif_get_uint64(to->env, value, &large) && big(to, large, false);
    }
    if (number >= 0 && number <= UINT8_MAX) {
        *to->at++ = KV_TAG_SMALL_INTEGER;
        *to->at++ = (uint8_t)number;
        return true;
    }
    if (number >= INT32_MIN && number <= INT32_MAX) {
        *to->at++ = KV_TAG_INTEGER;
        big_endian(to, (uint64_t)number, 4);
        return true;
    }
    return big(to, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, number < 0);
}

static bool floating(struct writer *to, ERL_NIF_TERM value)
{
    double number;
    uint64_t bits;
    if (!room(to, 1 + sizeof bits) || !enif_get_double(to->env, value, &number)) {
        return false;
    }
    if (to->zeros == KV_ZEROS_SAME && number == 0.0) {
        number = 0.0;
    }
    memcpy(&bits, &number, sizeof bits);
    *to->at++ = KV_TAG_NEW_FLOAT;
    big_endian(to, bits, sizeof bits);
    return true;
}

/* ---- atoms and binaries -----------------------------------------------------------------------
 */

/* To ask the VM for the text of an atom takes longer than to find a key, so each thread remembers
 * how it has written atoms. The word of an atom never becomes another term, nor does its text
 * change. */

enum { SPELLED = 2048, SPELLED_SIZE = 32 }; /* a power of two, and bytes of each */

struct spelled {
    ERL_NIF_TERM atom; /* 0: free */
    uint8_t size;
    uint8_t bytes[SPELLED_SIZE - 1 - sizeof(ERL_NIF_TERM)];
};

static _Thread_local struct spelled all_spelled[SPELLED];

static struct spelled *spelled_at(ERL_NIF_TERM atom)
{
    return &all_spelled[((uint64_t)atom * UINT64_C(0x9E3779B97F4A7C15)) >> 32 & (SPELLED - 1)];
}

static void remember(ERL_NIF_TERM value, const uint8_t *written, size_t size)
{
    struct spelled *spelled = spelled_at(value);
    if (size <= sizeof spelled->bytes) {
        spelled->atom = value;
        spelled->size = (uint8_t)size;
        memcpy(spelled->bytes, written, size);
    }
}

/* Fails for atoms with characters above 255: enif_get_atom() of OTP 25 cannot return their text. */
static bool spell(struct writer *to, ERL_NIF_TERM value)
{
    char latin1[KV_ATOM_MAX_CHARACTERS + 1];
    int size = enif_get_atom(to->env, value, latin1, sizeof latin1, ERL_NIF_LATIN1);
    if (size <= 0 || !room(to, 3 + 2 * (size_t)size)) {
        return false;
    }
    size_t length = (size_t)size - 1;
    size_t bytes = length;
    for (size_t i = 0; i < length; i++) {
        bytes += (uint8_t)latin1[i] >> 7;
    }
    *to->at++ = bytes <= UINT8_MAX ? KV_TAG_SMALL_ATOM_UTF8 : KV_TAG_ATOM_UTF8;
    big_endian(to, bytes, bytes <= UINT8_MAX ? 1 : 2);
    for (size_t i = 0; i < length; i++) {
        uint8_t character = (uint8_t)latin1[i];
        if (character >= 0x80) {
            *to->at++ = (uint8_t)(0xC0 | (character >> 6));
            character = (uint8_t)(0x80 | (character & 0x3F));
        }
        *to->at++ = character;
    }
    return true;
}

static bool atom(struct writer *to, ERL_NIF_TERM value)
{
    const struct spelled *spelled = spelled_at(value);
    uint8_t *start = to->at;
    if (spelled->atom == value && room(to, sizeof spelled->bytes)) {
        memcpy(to->at, spelled->bytes, sizeof spelled->bytes);
        to->at += spelled->size;
        return true;
    }
    if (!spell(to, value)) {
        return false;
    }
    remember(value, start, (size_t)(to->at - start));
    return true;
}

static bool binary(struct writer *to, ERL_NIF_TERM value)
{
    ErlNifBinary bytes;
    if (!enif_inspect_binary(to->env, value, &bytes) || !room(to, 5) || !room(to, 5 + bytes.size)) {
        return false;
    }
    *to->at++ = KV_TAG_BINARY;
    big_endian(to, bytes.size, 4);
    if (bytes.size > 0) {
        memcpy(to->at, bytes.data, bytes.size);
        to->at += bytes.size;
    }
    return true;
}

/* ---- tuples and lists -------------------------------------------------------------------------
 */

static bool tuple(struct writer *to, ERL_NIF_TERM value)
{
    int arity;
    const ERL_NIF_TERM *elements;
    if (!enif_get_tuple(to->env, value, &arity, &elements) || arity > UINT8_MAX || !room(to, 2)) {
        return false;
    }
    *to->at++ = KV_TAG_SMALL_TUPLE;
    *to->at++ = (uint8_t)arity;
    for (int i = 0; i < arity; i++) {
        if (!term(to, elements[i])) {
            return false;
        }
    }
    return true;
}

/* Rewrites a list as a string if all its `count` elements were written as small integers. */
static bool make_string(struct writer *to, uint8_t *start, size_t count)
{
    const uint8_t *from = start + 5;
    if ((size_t)(to->at - from) != 2 * count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (from[2 * i] != KV_TAG_SMALL_INTEGER) {
            return false;
        }
    }
    to->at = start;
    *to->at++ = KV_TAG_STRING;
    big_endian(to, count, 2);
    for (size_t i = 0; i < count; i++) {
        *to->at++ = from[2 * i + 1];
    }
    return true;
}

static bool list(struct writer *to, ERL_NIF_TERM value)
{
    ERL_NIF_TERM head;
    ERL_NIF_TERM tail = value;
    uint8_t *start = to->at;
    size_t count = 0;
    if (enif_is_empty_list(to->env, value)) {
        if (!room(to, 1)) {
            return false;
        }
        *to->at++ = KV_TAG_NIL;
        return true;
    }
    if (!room(to, 5)) {
        return false;
    }
    for (to->at += 5; enif_get_list_cell(to->env, tail, &head, &tail); count++) {
        if (!term(to, head)) {
            return false;
        }
    }
    bool proper = enif_is_empty_list(to->env, tail);
    if (proper && make_string(to, start, count)) {
        return true;
    }
    uint8_t *end = to->at;
    to->at = start;
    *to->at++ = KV_TAG_LIST;
    big_endian(to, count, 4);
    to->at = end;
    return term(to, tail);
}

static bool map(struct writer *to, ERL_NIF_TERM value)
{
    ErlNifMapIterator at;
    ERL_NIF_TERM key;
    ERL_NIF_TERM of;
    size_t size;
    if (!room(to, 5) || !enif_get_map_size(to->env, value, &size) ||
        !enif_map_iterator_create(to->env, value, &at, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return false;
    }
    *to->at++ = KV_TAG_MAP;
    big_endian(to, size, 4);
    bool written = true;
    while (written && enif_map_iterator_get_pair(to->env, &at, &key, &of)) {
        written = term(to, key) && term(to, of);
        (void)enif_map_iterator_next(to->env, &at);
    }
    enif_map_iterator_destroy(to->env, &at);
    return written;
}

/* ---- all together -----------------------------------------------------------------------------
 */

static bool container(struct writer *to, ERL_NIF_TERM value,
                      bool (*write)(struct writer *, ERL_NIF_TERM))
{
    if (to->depth == KV_NIF_DEPTH_MAX) {
        return false;
    }
    to->depth++;
    bool written = write(to, value);
    to->depth--;
    return written;
}

static bool term(struct writer *to, ERL_NIF_TERM value)
{
    switch (enif_term_type(to->env, value)) {
    case ERL_NIF_TERM_TYPE_ATOM:
        return atom(to, value);
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return binary(to, value);
    case ERL_NIF_TERM_TYPE_FLOAT:
        return floating(to, value);
    case ERL_NIF_TERM_TYPE_INTEGER:
        return integer(to, value);
    case ERL_NIF_TERM_TYPE_LIST:
        return container(to, value, list);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return container(to, value, tuple);
    case ERL_NIF_TERM_TYPE_MAP:
        return to->maps && container(to, value, map);
    default:
        return false;
    }
}

size_t kv_nif_write(ErlNifEnv *env, ERL_NIF_TERM value, uint8_t *at, size_t size)
{
    struct writer to = {
        .env = env, .at = at, .end = at + size, .zeros = KV_ZEROS_DIFFER, .maps = true};
    return term(&to, value) ? (size_t)(to.at - at) : 0;
}

bool kv_nif_key_direct(ErlNifEnv *env, ERL_NIF_TERM value, enum kv_zeros zeros,
                       struct kv_nif_key *key)
{
    ErlNifBinary contents;
    key->more = (struct kv_buffer)KV_BUFFER_INIT;
    if (enif_inspect_binary(env, value, &contents)) {
        key->bytes = kv_bytes(contents.data, contents.size);
        key->form = KV_FORM_BINARY;
        return contents.size <= KV_NIF_KEY_MAX;
    }
    const struct spelled *spelled = spelled_at(value);
    key->form = KV_FORM_TERM;
    if (spelled->atom == value) {
        key->bytes = kv_bytes(spelled->bytes, spelled->size);
        return true;
    }
    struct writer to = {
        .env = env, .at = key->local, .end = key->local + sizeof key->local, .zeros = zeros};
    if (!term(&to, value)) {
        return false;
    }
    key->bytes = kv_bytes(key->local, (size_t)(to.at - key->local));
    return true;
}

/* Looks whether a term may be encoded here: it must be small and hold no fun. The wire has another
 * encoding for a fun than enif_term_to_binary(), and the canonical form leaves both as they are. A
 * term that shares subterms may be far larger than it looks, hence the limit `left`. */
struct look {
    ErlNifEnv *env;
    unsigned left; /* terms that may still be looked at */
    unsigned depth;
};

static bool is_plain(struct look *look, ERL_NIF_TERM value);

static bool is_plain_list(struct look *look, ERL_NIF_TERM list)
{
    ERL_NIF_TERM head;
    while (enif_get_list_cell(look->env, list, &head, &list)) {
        if (!is_plain(look, head)) {
            return false;
        }
    }
    return enif_is_empty_list(look->env, list) || is_plain(look, list);
}

static bool is_plain_tuple(struct look *look, ERL_NIF_TERM tuple)
{
    int arity = 0;
    const ERL_NIF_TERM *elements = NULL;
    bool plain = enif_get_tuple(look->env, tuple, &arity, &elements) != 0;
    for (int i = 0; plain && i < arity; i++) {
        plain = is_plain(look, elements[i]);
    }
    return plain;
}

static bool is_plain_map(struct look *look, ERL_NIF_TERM map)
{
    ErlNifMapIterator at;
    ERL_NIF_TERM key;
    ERL_NIF_TERM value;
    if (!enif_map_iterator_create(look->env, map, &at, ERL_NIF_MAP_ITERATOR_FIRST)) {
        return false;
    }
    bool plain = true;
    while (plain && enif_map_iterator_get_pair(look->env, &at, &key, &value)) {
        plain = is_plain(look, key) && is_plain(look, value);
        (void)enif_map_iterator_next(look->env, &at);
    }
    enif_map_iterator_destroy(look->env, &at);
    return plain;
}

static bool is_plain_inside(struct look *look, ERL_NIF_TERM value,
                            bool (*inside)(struct look *, ERL_NIF_TERM))
{
    if (look->depth == KV_NIF_DEPTH_MAX) {
        return false;
    }
    look->depth++;
    bool plain = inside(look, value);
    look->depth--;
    return plain;
}

static bool is_plain(struct look *look, ERL_NIF_TERM value)
{
    ErlNifBinary bytes;
    if (look->left == 0) {
        return false;
    }
    look->left--;
    switch (enif_term_type(look->env, value)) {
    case ERL_NIF_TERM_TYPE_FUN:
        return false;
    case ERL_NIF_TERM_TYPE_BITSTRING:
        return !enif_inspect_binary(look->env, value, &bytes) || bytes.size <= KV_NIF_KEY_MAX;
    case ERL_NIF_TERM_TYPE_LIST:
        return is_plain_inside(look, value, is_plain_list);
    case ERL_NIF_TERM_TYPE_TUPLE:
        return is_plain_inside(look, value, is_plain_tuple);
    case ERL_NIF_TERM_TYPE_MAP:
        return is_plain_inside(look, value, is_plain_map);
    default:
        return true;
    }
}

bool kv_nif_key_generic(ErlNifEnv *env, ERL_NIF_TERM value, enum kv_zeros zeros,
                        struct kv_nif_key *key)
{
    const struct kv_term_limits limits = {
        .size = KV_NIF_KEY_MAX, .depth = KV_NIF_KEY_MAX, .zeros = zeros};
    ErlNifBinary encoded;
    key->more = (struct kv_buffer)KV_BUFFER_INIT;
    if (enif_is_binary(env, value)) {
        return kv_nif_key_direct(env, value, zeros, key);
    }
    struct look look = {.env = env, .left = KV_NIF_KEY_MAX};
    if (!is_plain(&look, value) || !enif_term_to_binary(env, value, &encoded)) {
        return false;
    }
    struct kv_bytes bytes = kv_bytes(encoded.data + 1, encoded.size - 1);
    bool valid = encoded.data[0] == KV_TERM_VERSION && bytes.length <= KV_NIF_KEY_MAX &&
                 kv_term_validate(bytes, &limits, NULL) == KV_OK;
    if (valid) {
        kv_term_canonical(bytes, zeros, &key->more);
        key->bytes = kv_buffer_bytes(&key->more);
        key->form = KV_FORM_TERM;
    }
    enif_release_binary(&encoded);
    return valid;
}

bool kv_nif_key(ErlNifEnv *env, ERL_NIF_TERM value, enum kv_zeros zeros, struct kv_nif_key *key)
{
    if (kv_nif_key_direct(env, value, zeros, key)) {
        return true;
    }
    return !enif_is_binary(env, value) && kv_nif_key_generic(env, value, zeros, key);
}
