/* Validates leaves: atoms, numbers, identifiers and bit strings. The rules are those of a BEAM's
 * decoder, as in validate.c. */
#include "base/endian.h"
#include "base/word.h"
#include "term/token.h"
#include "term/validate.h"

#include <ei.h>
#include <math.h>

enum {
    TINY_CREATION_MAX = 3,      /* erl_node_tables.h, is_tiny_creation() */
    OLD_REF_WORD_MAX = 1 << 18, /* external.c, MAX_REFERENCE: first word of old references */
    /* big.h, BIG_ARITY_MAX, times the bytes of a word: up to OTP 27, and in later releases. */
    BIG_MAX_BYTES = ((1 << 19) - 1) * 8,
    BIG_MAX_BYTES_NOW = ((1 << 16) - 1) * 8,
};

/* ---- atoms ----------------------------------------------------------------------------------- */

static bool is_tail(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* The size of the UTF-8 character at `p`. 0: not a character, overlong, half of a surrogate pair or
 * beyond U+10FFFF. OTP: erl_unicode.c, erts_analyze_utf8(). */
static size_t character(const uint8_t *p, size_t available)
{
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xC2 && p[0] < 0xE0) {
        return available >= 2 && is_tail(p[1]) ? 2 : 0;
    }
    if (p[0] >= 0xE0 && p[0] < 0xF0) {
        bool ok = available >= 3 && is_tail(p[1]) && is_tail(p[2]) &&
                  !(p[0] == 0xE0 && p[1] < 0xA0) && !(p[0] == 0xED && p[1] > 0x9F);
        return ok ? 3 : 0;
    }
    if (p[0] >= 0xF0 && p[0] < 0xF5) {
        bool ok = available >= 4 && is_tail(p[1]) && is_tail(p[2]) && is_tail(p[3]) &&
                  !(p[0] == 0xF0 && p[1] < 0x90) && !(p[0] == 0xF4 && p[1] > 0x8F);
        return ok ? 4 : 0;
    }
    return 0;
}

static int check_utf8(const uint8_t *text, size_t length)
{
    size_t characters = 0;
    if (length <= KV_ATOM_MAX_CHARACTERS && kv_is_ascii(text, length)) {
        return KV_OK;
    }
    for (size_t i = 0; i < length; characters++) {
        size_t size = character(text + i, length - i);
        if (size == 0) {
            return KV_EMALFORMED;
        }
        i += size;
    }
    return characters <= KV_ATOM_MAX_CHARACTERS ? KV_OK : KV_EMALFORMED;
}

static int check_atom_text(struct kv_raw *raw, size_t length, bool latin1)
{
    if (length > (latin1 ? (size_t)KV_ATOM_MAX_CHARACTERS : (size_t)KV_ATOM_MAX_BYTES)) {
        return KV_EMALFORMED;
    }
    const uint8_t *text = kv_raw_take(raw, length);
    if (text == NULL) {
        return KV_ETRUNCATED;
    }
    return latin1 ? KV_OK : check_utf8(text, length);
}

/* The rest of an atom. Its tag has been taken. */
static int check_atom(struct kv_raw *raw, uint8_t tag)
{
    bool small = tag == KV_TAG_SMALL_ATOM_UTF8 || tag == KV_TAG_SMALL_ATOM;
    const uint8_t *length = kv_raw_take(raw, small ? 1 : 2);
    if (length == NULL) {
        return KV_ETRUNCATED;
    }
    return check_atom_text(raw, small ? *length : kv_get16(length),
                           tag == KV_TAG_ATOM || tag == KV_TAG_SMALL_ATOM);
}

int kv_raw_atom(struct kv_raw *raw)
{
    const uint8_t *tag = kv_raw_take(raw, 1);
    if (tag == NULL) {
        return KV_ETRUNCATED;
    }
    switch (*tag) {
    case KV_TAG_SMALL_ATOM_UTF8:
    case KV_TAG_ATOM_UTF8:
    case KV_TAG_SMALL_ATOM:
    case KV_TAG_ATOM:
        return check_atom(raw, *tag);
    default:
        return KV_EMALFORMED;
    }
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* The sign byte needs no check: a BEAM reads every value but 0 as negative. */
static int check_big(struct kv_raw *raw, uint8_t tag)
{
    bool small = tag == KV_TAG_SMALL_BIG;
    const uint8_t *length = kv_raw_take(raw, small ? 1 : 4);
    if (length == NULL) {
        return KV_ETRUNCATED;
    }
    size_t bytes = small ? *length : kv_get32(length);
    if (bytes > BIG_MAX_BYTES) {
        return KV_EMALFORMED;
    }
    int error = kv_raw_skip(raw, 1 + bytes);
    return error == KV_OK && bytes > BIG_MAX_BYTES_NOW ? KV_EBIG : error;
}

/* Steps over digits. Returns false if there are none. */
static bool digits(const char **text)
{
    const char *start = *text;
    while (**text >= '0' && **text <= '9') {
        (*text)++;
    }
    return *text > start;
}

static void sign(const char **text)
{
    if (**text == '+' || **text == '-') {
        (*text)++;
    }
}

/* [sign] digits "." digits [e [sign] digits] NUL. OTP: sys_float.c, sys_chars_to_double(). */
static bool is_float_text(const uint8_t *bytes)
{
    if (memchr(bytes, 0, KV_FLOAT_TEXT) == NULL) {
        return false;
    }
    const char *text = (const char *)bytes;
    sign(&text);
    if (!digits(&text) || *text++ != '.' || !digits(&text)) {
        return false;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        sign(&text);
        if (!digits(&text)) {
            return false;
        }
    }
    return *text == 0;
}

static int check_float(struct kv_raw *raw, uint8_t tag)
{
    const uint8_t *term = raw->next - 1;
    int error = kv_raw_skip(raw, tag == KV_TAG_NEW_FLOAT ? 8 : KV_FLOAT_TEXT);
    if (error != KV_OK) {
        return error;
    }
    if (tag == KV_TAG_FLOAT && !is_float_text(term + 1)) {
        return KV_EMALFORMED;
    }
    double value;
    int size = 0;
    if (ei_decode_double((const char *)term, &size, &value) != 0 || !isfinite(value)) {
        return KV_EMALFORMED;
    }
    return KV_OK;
}

int kv_raw_small(struct kv_raw *raw, int64_t least)
{
    const uint8_t *term = kv_raw_take(raw, 1);
    if (term == NULL) {
        return KV_ETRUNCATED;
    }
    int error = KV_EMALFORMED;
    if (*term == KV_TAG_SMALL_INTEGER || *term == KV_TAG_INTEGER) {
        error = kv_raw_skip(raw, *term == KV_TAG_INTEGER ? 4 : 1);
    } else if (*term == KV_TAG_SMALL_BIG || *term == KV_TAG_LARGE_BIG) {
        error = check_big(raw, *term);
    }
    if (error != KV_OK) {
        return error;
    }
    EI_LONGLONG value;
    int size = 0;
    if (ei_decode_longlong((const char *)term, &size, &value) != 0 || value < least ||
        value > KV_SMALL_MAX) {
        return KV_EMALFORMED;
    }
    return KV_OK;
}

/* ---- identifiers ----------------------------------------------------------------------------- */

/* The node and `size` bytes. tiny: the last of these is a creation of one byte. */
static int check_identifier(struct kv_raw *raw, size_t size, bool tiny)
{
    int error = kv_raw_atom(raw);
    if (error != KV_OK) {
        return error;
    }
    const uint8_t *rest = kv_raw_take(raw, size);
    if (rest == NULL) {
        return KV_ETRUNCATED;
    }
    return tiny && rest[size - 1] > TINY_CREATION_MAX ? KV_EMALFORMED : KV_OK;
}

static int check_old_ref(struct kv_raw *raw)
{
    int error = check_identifier(raw, 5, true);
    if (error == KV_OK && kv_get32(raw->next - 5) >= OLD_REF_WORD_MAX) {
        return KV_EMALFORMED;
    }
    return error;
}

static int check_ref(struct kv_raw *raw, bool newer)
{
    const uint8_t *length = kv_raw_take(raw, 2);
    if (length == NULL) {
        return KV_ETRUNCATED;
    }
    size_t words = kv_get16(length);
    if (words < 1 || words > KV_REF_MAX_WORDS) {
        return KV_EMALFORMED;
    }
    int error = check_identifier(raw, newer ? 4 : 1, !newer);
    if (error != KV_OK) {
        return error;
    }
    const uint8_t *first = kv_raw_take(raw, 4 * words);
    if (first == NULL) {
        return KV_ETRUNCATED;
    }
    return !newer && kv_get32(first) >= OLD_REF_WORD_MAX ? KV_EMALFORMED : KV_OK;
}

static int check_export(struct kv_raw *raw)
{
    int error = kv_raw_atom(raw);
    if (error == KV_OK) {
        error = kv_raw_atom(raw);
    }
    return error == KV_OK ? kv_raw_small(raw, 0) : error;
}

/* ---- bit strings ----------------------------------------------------------------------------- */

static int check_bytes(struct kv_raw *raw, size_t header)
{
    const uint8_t *length = kv_raw_take(raw, header);
    if (length == NULL) {
        return KV_ETRUNCATED;
    }
    return kv_raw_skip(raw, header == 2 ? kv_get16(length) : kv_get32(length));
}

static int check_bits(struct kv_raw *raw)
{
    const uint8_t *header = kv_raw_take(raw, KV_LONG_HEADER);
    if (header == NULL) {
        return KV_ETRUNCATED;
    }
    size_t length = kv_get32(header);
    uint8_t bits = header[4];
    if (bits > 8 || (bits == 0) != (length == 0)) {
        return KV_EMALFORMED;
    }
    return kv_raw_skip(raw, length);
}

int kv_raw_pid(struct kv_raw *raw)
{
    const uint8_t *tag = kv_raw_take(raw, 1);
    if (tag == NULL) {
        return KV_ETRUNCATED;
    }
    if (*tag == KV_TAG_NEW_PID) {
        return check_identifier(raw, 12, false);
    }
    return *tag == KV_TAG_PID ? check_identifier(raw, 9, true) : KV_EMALFORMED;
}

/* ---- all together ---------------------------------------------------------------------------- */

int kv_raw_leaf(struct kv_raw *raw, uint8_t tag)
{
    switch (tag) {
    case KV_TAG_BINARY:
        return check_bytes(raw, 4);
    case KV_TAG_STRING:
        return check_bytes(raw, 2);
    case KV_TAG_BIT_BINARY:
        return check_bits(raw);
    case KV_TAG_SMALL_ATOM_UTF8:
    case KV_TAG_ATOM_UTF8:
    case KV_TAG_SMALL_ATOM:
    case KV_TAG_ATOM:
        return check_atom(raw, tag);
    case KV_TAG_SMALL_INTEGER:
        return kv_raw_skip(raw, 1);
    case KV_TAG_INTEGER:
        return kv_raw_skip(raw, 4);
    case KV_TAG_SMALL_BIG:
    case KV_TAG_LARGE_BIG:
        return check_big(raw, tag);
    case KV_TAG_NEW_FLOAT:
    case KV_TAG_FLOAT:
        return check_float(raw, tag);
    case KV_TAG_NIL:
        return KV_OK;
    case KV_TAG_NEW_PID:
    case KV_TAG_V4_PORT:
        return check_identifier(raw, 12, false);
    case KV_TAG_PID:
        return check_identifier(raw, 9, true);
    case KV_TAG_NEW_PORT:
        return check_identifier(raw, 8, false);
    case KV_TAG_PORT:
        return check_identifier(raw, 5, true);
    case KV_TAG_REFERENCE:
        return check_old_ref(raw);
    case KV_TAG_NEW_REFERENCE:
    case KV_TAG_NEWER_REFERENCE:
        return check_ref(raw, tag == KV_TAG_NEWER_REFERENCE);
    case KV_TAG_EXPORT:
        return check_export(raw);
    case KV_TAG_RECORD: /* of OTP 29: KV_DFLAG_NATIVE_RECORDS is not offered */
        return KV_ERECORD;
    default:
        return KV_EMALFORMED;
    }
}
