/* What a BEAM's own decoder would refuse is refused here, so that nothing that is stored can break
 * the connection of a later reader. OTP: erts/emulator/beam/external.c, decoded_size() and
 * dec_term(); each rule below is theirs unless it says otherwise. */
#include "base/alloc.h"
#include "base/endian.h"
#include "base/word.h"
#include "term/order.h"
#include "term/stride.h"
#include "term/token.h"

#include <ei.h>
#include <math.h>

enum {
    /* The index of libei is an int, and offsets are kept in 32 bits. */
    SIZE_MAX_EVER = 1 << 30,
    LOCAL_LEVELS = 16,
    MANY = 8, /* terms of a level from which on it is worth while to look for runs of leaves */
    FUN_MAX_FREE = 255,
    TINY_CREATION_MAX = 3,      /* erl_node_tables.h, is_tiny_creation() */
    OLD_REF_WORD_MAX = 1 << 18, /* external.c, MAX_REFERENCE: of the first word of old references */
    /* big.h, BIG_ARITY_MAX, times the bytes of a word: up to OTP 27, and of later ones. */
    BIG_MAX_BYTES = ((1 << 19) - 1) * 8,
    BIG_MAX_BYTES_NOW = ((1 << 16) - 1) * 8,
};

/* The smallest and largest integer that a BEAM keeps in a word: what is_small() asks. */
#define SMALL_MAX ((INT64_C(1) << 59) - 1)
#define SMALL_MIN (-SMALL_MAX - 1)

/* A container whose terms are not all read. */
struct level {
    size_t around;      /* terms that are pending in what it lies in */
    const uint8_t *end; /* of a fun: where it says that it ends; else NULL */
};

struct check {
    const uint8_t *next;
    const uint8_t *end;
    size_t pending; /* terms of the innermost level */
    struct level *levels;
    size_t depth;
    size_t capacity;
    size_t limit;
    bool has_pairs; /* a map of two pairs or more was seen */
    struct level local[LOCAL_LEVELS];
};

static inline size_t left(const struct check *check)
{
    return (size_t)(check->end - check->next);
}

static inline int skip(struct check *check, size_t size)
{
    if (size > left(check)) {
        return KV_ETRUNCATED;
    }
    check->next += size;
    return KV_OK;
}

/* Takes `size` bytes; NULL when they are not there. */
static inline const uint8_t *take(struct check *check, size_t size)
{
    const uint8_t *taken = check->next;
    return skip(check, size) == KV_OK ? taken : NULL;
}

/* ---- atoms ----------------------------------------------------------------------------------- */

static bool is_tail(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Bytes of the UTF-8 character at `p`, 0 when it is none: an overlong form, half of a surrogate
 * pair or beyond U+10FFFF. OTP: erl_unicode.c, erts_analyze_utf8(). */
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

static int check_atom_text(struct check *check, size_t length, bool latin1)
{
    if (length > (latin1 ? (size_t)KV_ATOM_MAX_CHARACTERS : (size_t)KV_ATOM_MAX_BYTES)) {
        return KV_EMALFORMED;
    }
    const uint8_t *text = take(check, length);
    if (text == NULL) {
        return KV_ETRUNCATED;
    }
    return latin1 ? KV_OK : check_utf8(text, length);
}

/* The rest of an atom whose tag has been taken. */
static int check_atom(struct check *check, uint8_t tag)
{
    bool small = tag == KV_TAG_SMALL_ATOM_UTF8 || tag == KV_TAG_SMALL_ATOM;
    const uint8_t *length = take(check, small ? 1 : 2);
    if (length == NULL) {
        return KV_ETRUNCATED;
    }
    return check_atom_text(check, small ? *length : kv_get16(length),
                           tag == KV_TAG_ATOM || tag == KV_TAG_SMALL_ATOM);
}

/* An atom where nothing else may be. */
static int expect_atom(struct check *check)
{
    const uint8_t *tag = take(check, 1);
    if (tag == NULL) {
        return KV_ETRUNCATED;
    }
    switch (*tag) {
    case KV_TAG_SMALL_ATOM_UTF8:
    case KV_TAG_ATOM_UTF8:
    case KV_TAG_SMALL_ATOM:
    case KV_TAG_ATOM:
        return check_atom(check, *tag);
    default:
        return KV_EMALFORMED;
    }
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* The BEAM takes any byte but 0 as the sign of a negative number. */
static int check_big(struct check *check, uint8_t tag)
{
    bool small = tag == KV_TAG_SMALL_BIG;
    const uint8_t *length = take(check, small ? 1 : 4);
    if (length == NULL) {
        return KV_ETRUNCATED;
    }
    size_t bytes = small ? *length : kv_get32(length);
    if (bytes > BIG_MAX_BYTES) {
        return KV_EMALFORMED;
    }
    int error = skip(check, 1 + bytes);
    return error == KV_OK && bytes > BIG_MAX_BYTES_NOW ? KV_EBIG : error;
}

/* Steps over digits; false when there is none. */
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

/* [sign] digits "." digits [e [sign] digits] and a NUL. OTP: sys_float.c, sys_chars_to_double(). */
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

static int check_float(struct check *check, uint8_t tag)
{
    const uint8_t *term = check->next - 1;
    int error = skip(check, tag == KV_TAG_NEW_FLOAT ? 8 : KV_FLOAT_TEXT);
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

/* An integer where nothing else may be, one that the BEAM keeps in a word. */
static int expect_small(struct check *check, int64_t least)
{
    const uint8_t *term = take(check, 1);
    if (term == NULL) {
        return KV_ETRUNCATED;
    }
    int error = KV_EMALFORMED;
    if (*term == KV_TAG_SMALL_INTEGER || *term == KV_TAG_INTEGER) {
        error = skip(check, *term == KV_TAG_INTEGER ? 4 : 1);
    } else if (*term == KV_TAG_SMALL_BIG || *term == KV_TAG_LARGE_BIG) {
        error = check_big(check, *term);
    }
    if (error != KV_OK) {
        return error;
    }
    EI_LONGLONG value;
    int size = 0;
    if (ei_decode_longlong((const char *)term, &size, &value) != 0 || value < least ||
        value > SMALL_MAX) {
        return KV_EMALFORMED;
    }
    return KV_OK;
}

/* ---- identifiers ----------------------------------------------------------------------------- */

/* The node and `size` bytes, the last of which is a creation of one byte when `tiny`. */
static int check_identifier(struct check *check, size_t size, bool tiny)
{
    int error = expect_atom(check);
    if (error != KV_OK) {
        return error;
    }
    const uint8_t *rest = take(check, size);
    if (rest == NULL) {
        return KV_ETRUNCATED;
    }
    return tiny && rest[size - 1] > TINY_CREATION_MAX ? KV_EMALFORMED : KV_OK;
}

static int check_old_ref(struct check *check)
{
    int error = check_identifier(check, 5, true);
    if (error == KV_OK && kv_get32(check->next - 5) >= OLD_REF_WORD_MAX) {
        return KV_EMALFORMED;
    }
    return error;
}

static int check_ref(struct check *check, bool newer)
{
    const uint8_t *length = take(check, 2);
    if (length == NULL) {
        return KV_ETRUNCATED;
    }
    size_t words = kv_get16(length);
    if (words < 1 || words > KV_REF_MAX_WORDS) {
        return KV_EMALFORMED;
    }
    int error = check_identifier(check, newer ? 4 : 1, !newer);
    if (error != KV_OK) {
        return error;
    }
    const uint8_t *first = take(check, 4 * words);
    if (first == NULL) {
        return KV_ETRUNCATED;
    }
    return !newer && kv_get32(first) >= OLD_REF_WORD_MAX ? KV_EMALFORMED : KV_OK;
}

static int check_export(struct check *check)
{
    int error = expect_atom(check);
    if (error == KV_OK) {
        error = expect_atom(check);
    }
    return error == KV_OK ? expect_small(check, 0) : error;
}

/* ---- bit strings ----------------------------------------------------------------------------- */

static int check_bytes(struct check *check, size_t header)
{
    const uint8_t *length = take(check, header);
    if (length == NULL) {
        return KV_ETRUNCATED;
    }
    return skip(check, header == 2 ? kv_get16(length) : kv_get32(length));
}

static int check_bits(struct check *check)
{
    const uint8_t *header = take(check, KV_LONG_HEADER);
    if (header == NULL) {
        return KV_ETRUNCATED;
    }
    size_t length = kv_get32(header);
    uint8_t bits = header[4];
    if (bits > 8 || (bits == 0) != (length == 0)) {
        return KV_EMALFORMED;
    }
    return skip(check, length);
}

/* ---- containers ------------------------------------------------------------------------------ */

static int grow_levels(struct check *check)
{
    size_t capacity = check->capacity * 2;
    bool local = check->levels == check->local;
    struct level *levels =
        kv_try_realloc(local ? NULL : check->levels, capacity * sizeof(struct level));
    if (levels == NULL) {
        return KV_ENOMEM;
    }
    if (local) {
        memcpy(levels, check->local, sizeof(check->local));
    }
    check->levels = levels;
    check->capacity = capacity;
    return KV_OK;
}

/* Goes one level down, to `pending` terms. Each takes a byte at least: what cannot be there is
 * refused before anything is done for it. */
static inline int enter(struct check *check, size_t pending, const uint8_t *end)
{
    if (pending > left(check)) {
        return KV_ETRUNCATED;
    }
    if (pending == 0) {
        return KV_OK;
    }
    if (check->depth >= check->limit) {
        return KV_EDEPTH;
    }
    if (check->depth == check->capacity && grow_levels(check) != KV_OK) {
        return KV_ENOMEM;
    }
    check->levels[check->depth++] = (struct level){.around = check->pending, .end = end};
    check->pending = pending;
    return KV_OK;
}

static int enter_counted(struct check *check, uint8_t tag)
{
    const uint8_t *count = take(check, 4);
    if (count == NULL) {
        return KV_ETRUNCATED;
    }
    size_t terms = kv_get32(count);
    if (terms > left(check)) {
        return KV_ETRUNCATED;
    }
    if (tag == KV_TAG_LIST) {
        return enter(check, terms + 1, NULL);
    }
    if (tag == KV_TAG_MAP) {
        check->has_pairs = check->has_pairs || terms > 1;
        return enter(check, 2 * terms, NULL);
    }
    return enter(check, terms, NULL);
}

static int enter_small_tuple(struct check *check)
{
    const uint8_t *arity = take(check, 1);
    return arity == NULL ? KV_ETRUNCATED : enter(check, *arity, NULL);
}

static int expect_pid(struct check *check)
{
    const uint8_t *tag = take(check, 1);
    if (tag == NULL) {
        return KV_ETRUNCATED;
    }
    if (*tag == KV_TAG_NEW_PID) {
        return check_identifier(check, 12, false);
    }
    return *tag == KV_TAG_PID ? check_identifier(check, 9, true) : KV_EMALFORMED;
}

/* The BEAM does not look at Size; here what follows must fill it exactly, because a fun is skipped
 * by it later. */
static int enter_fun(struct check *check)
{
    const uint8_t *header = take(check, KV_FUN_HEADER - 1);
    if (header == NULL) {
        return KV_ETRUNCATED;
    }
    size_t size = kv_get32(header);
    if (size > (size_t)(check->end - header)) {
        return KV_ETRUNCATED;
    }
    size_t variables = kv_get32(header + KV_FUN_FREE_OFFSET - 1);
    if (variables > FUN_MAX_FREE) {
        return KV_EMALFORMED;
    }
    int error = expect_atom(check);
    if (error == KV_OK) {
        error = expect_small(check, SMALL_MIN);
    }
    if (error == KV_OK) {
        error = expect_small(check, SMALL_MIN);
    }
    if (error == KV_OK) {
        error = expect_pid(check);
    }
    if (error != KV_OK) {
        return error;
    }
    if (variables == 0 && check->next != header + size) {
        return KV_EMALFORMED;
    }
    return enter(check, variables, header + size);
}

/* ---- all together ---------------------------------------------------------------------------- */

static int check_term(struct check *check)
{
    const uint8_t *tag = take(check, 1);
    if (tag == NULL) {
        return KV_ETRUNCATED;
    }
    switch (*tag) {
    case KV_TAG_BINARY:
        return check_bytes(check, 4);
    case KV_TAG_STRING:
        return check_bytes(check, 2);
    case KV_TAG_BIT_BINARY:
        return check_bits(check);
    case KV_TAG_SMALL_ATOM_UTF8:
    case KV_TAG_ATOM_UTF8:
    case KV_TAG_SMALL_ATOM:
    case KV_TAG_ATOM:
        return check_atom(check, *tag);
    case KV_TAG_SMALL_INTEGER:
        return skip(check, 1);
    case KV_TAG_INTEGER:
        return skip(check, 4);
    case KV_TAG_SMALL_BIG:
    case KV_TAG_LARGE_BIG:
        return check_big(check, *tag);
    case KV_TAG_NEW_FLOAT:
    case KV_TAG_FLOAT:
        return check_float(check, *tag);
    case KV_TAG_NIL:
        return KV_OK;
    case KV_TAG_SMALL_TUPLE:
        return enter_small_tuple(check);
    case KV_TAG_LARGE_TUPLE:
    case KV_TAG_LIST:
    case KV_TAG_MAP:
        return enter_counted(check, *tag);
    case KV_TAG_NEW_PID:
    case KV_TAG_V4_PORT:
        return check_identifier(check, 12, false);
    case KV_TAG_PID:
        return check_identifier(check, 9, true);
    case KV_TAG_NEW_PORT:
        return check_identifier(check, 8, false);
    case KV_TAG_PORT:
        return check_identifier(check, 5, true);
    case KV_TAG_REFERENCE:
        return check_old_ref(check);
    case KV_TAG_NEW_REFERENCE:
    case KV_TAG_NEWER_REFERENCE:
        return check_ref(check, *tag == KV_TAG_NEWER_REFERENCE);
    case KV_TAG_EXPORT:
        return check_export(check);
    case KV_TAG_NEW_FUN:
        return enter_fun(check);
    case KV_TAG_RECORD: /* of OTP 29: KV_DFLAG_NATIVE_RECORDS is not offered */
        return KV_ERECORD;
    default:
        return KV_EMALFORMED;
    }
}

/* An atom in ASCII of at most 255 characters, with `behind` bytes behind it: its end, or NULL. */
static inline const uint8_t *past_atom(const uint8_t *p, const uint8_t *end, size_t behind)
{
    size_t room = (size_t)(end - p);
    if (room < 2 + behind || p[0] != KV_TAG_SMALL_ATOM_UTF8 || p[1] > room - 2 - behind ||
        !kv_is_ascii(p + 2, p[1])) {
        return NULL;
    }
    return p + 2 + p[1];
}

static inline const uint8_t *past_pid(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *node = past_atom(p + 1, end, 12);
    return node == NULL ? NULL : node + 12;
}

static inline const uint8_t *past_ref(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 3 || p[1] != 0 || p[2] < 1 || p[2] > KV_REF_MAX_WORDS) {
        return NULL;
    }
    size_t behind = 4 + 4 * (size_t)p[2];
    const uint8_t *node = past_atom(p + 3, end, behind);
    return node == NULL ? NULL : node + behind;
}

static inline const uint8_t *past_binary(const uint8_t *p, const uint8_t *end)
{
    size_t room = (size_t)(end - p);
    if (room < KV_LONG_HEADER || kv_get32(p + 1) > room - KV_LONG_HEADER) {
        return NULL;
    }
    return p + KV_LONG_HEADER + kv_get32(p + 1);
}

/* A leaf at `p`, of which `past` is the end; NULL: check_term() is to say what is wrong with it. */
static inline int check_leaf(struct check *check, const uint8_t *past)
{
    if (past == NULL) {
        return check_term(check);
    }
    check->next = past;
    return KV_OK;
}

/* As check_term(), with a short way for what most messages consist of. */
static inline int check_next(struct check *check)
{
    const uint8_t *p = check->next;
    const uint8_t *end = check->end;
    size_t room = (size_t)(end - p);
    switch (room >= KV_LONG_HEADER ? *p : 0) { /* nearer to the end lengths are looked at first */
    case KV_TAG_SMALL_ATOM_UTF8:
        return check_leaf(check, past_atom(p, end, 0));
    case KV_TAG_BINARY:
        return check_leaf(check, past_binary(p, end));
    case KV_TAG_SMALL_INTEGER:
        return check_leaf(check, p + 2);
    case KV_TAG_INTEGER:
        return check_leaf(check, p + 5);
    case KV_TAG_NIL:
        return check_leaf(check, p + 1);
    case KV_TAG_NEW_PID:
        return check_leaf(check, past_pid(p, end));
    case KV_TAG_NEWER_REFERENCE:
        return check_leaf(check, past_ref(p, end));
    case KV_TAG_SMALL_TUPLE:
        check->next = p + 2;
        return enter(check, p[1], NULL);
    default:
        return check_term(check);
    }
}

/* Past a leaf of the kinds that most keys and values are, of which a byte is there; NULL: it is
 * none, or not whole. */
static const uint8_t *past_other_leaf(const uint8_t *p, const uint8_t *end)
{
    size_t room = (size_t)(end - p);
    switch (*p) {
    case KV_TAG_SMALL_ATOM_UTF8:
        return past_atom(p, end, 0);
    case KV_TAG_SMALL_INTEGER:
        return room < 2 ? NULL : p + 2;
    case KV_TAG_INTEGER:
        return room < 5 ? NULL : p + 5;
    case KV_TAG_NIL:
        return p + 1;
    default:
        return NULL;
    }
}

static inline const uint8_t *past_leaf(const uint8_t *p, const uint8_t *end)
{
    const size_t room = (size_t)(end - p);
    if (room < KV_LONG_HEADER || *p != KV_TAG_BINARY) {
        return room == 0 ? NULL : past_other_leaf(p, end);
    }
    const size_t length = kv_get32(p + 1);
    return length > room - KV_LONG_HEADER ? NULL : p + KV_LONG_HEADER + length;
}

/* Past a small tuple that is a pair of such leaves. */
static inline const uint8_t *past_pair(const uint8_t *p, const uint8_t *end)
{
    if ((size_t)(end - p) < 2 || p[1] != 2) {
        return NULL;
    }
    p = past_leaf(p + 2, end);
    return p == NULL ? NULL : past_leaf(p, end);
}

/* Leaves and pairs of leaves one behind the other, of which long lists and maps consist: up to one
 * that is something else, or that is the last of its level. */
static void skip_many(struct check *check)
{
    const bool is_pair_allowed = check->depth < check->limit;
    const uint8_t *end = check->end;
    const uint8_t *p = check->next;
    size_t pending = check->pending;
    struct kv_stride stride = {0};
    for (; pending > 0 && p < end; pending--) {
        if (kv_stride_fits(&stride, p, end)) {
            p += stride.size;
            continue;
        }
        const bool is_pair = *p == KV_TAG_SMALL_TUPLE && is_pair_allowed;
        const uint8_t *past = is_pair ? past_pair(p, end) : past_leaf(p, end);
        if (past == NULL) {
            break;
        }
        kv_stride_take(&stride, p, past, end);
        p = past;
    }
    check->next = p;
    check->pending = pending;
}

/* Until nothing is pending; what holds nothing more is left behind each term. */
static int check_all(struct check *check)
{
    for (;;) {
        int error = check_next(check);
        if (error != KV_OK) {
            return error;
        }
        while (check->pending == 0) {
            if (check->depth == 0) {
                return KV_OK;
            }
            const struct level *level = &check->levels[--check->depth];
            if (level->end != NULL && level->end != check->next) {
                return KV_EMALFORMED;
            }
            check->pending = level->around;
        }
        check->pending--;
        if (check->pending >= MANY) {
            skip_many(check);
        }
    }
}

/* Past a tuple of such leaves, {get, Key, Default}: most requests, which need no levels. NULL: it
 * is none, or not whole. */
static inline const uint8_t *past_flat_tuple(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 2 || p[0] != KV_TAG_SMALL_TUPLE) {
        return NULL;
    }
    unsigned rest = p[1];
    for (p += 2; p != NULL && rest > 0; rest--) {
        p = past_leaf(p, end);
    }
    return p;
}

int kv_term_validate(struct kv_bytes bytes, const struct kv_term_limits *limits, size_t *length)
{
    size_t most = limits->size < SIZE_MAX_EVER ? limits->size : SIZE_MAX_EVER;
    size_t given = bytes.length < most ? bytes.length : most;
    const uint8_t *flat =
        limits->depth > 0 ? past_flat_tuple(bytes.data, bytes.data + given) : NULL;
    if (flat != NULL) {
        if (length != NULL) {
            *length = (size_t)(flat - bytes.data);
        }
        return KV_OK;
    }
    struct check check;
    check.next = bytes.data;
    check.end = bytes.data + given;
    check.levels = check.local;
    check.capacity = LOCAL_LEVELS;
    check.depth = 0;
    check.pending = 0;
    check.limit = limits->depth;
    check.has_pairs = false;
    int error = check_all(&check);
    if (error == KV_ETRUNCATED && given < bytes.length) {
        error = KV_ESIZE;
    }
    size_t size = (size_t)(check.next - bytes.data);
    if (error == KV_OK && check.has_pairs) {
        error = kv_order_maps(kv_bytes(bytes.data, size), limits->zeros, NULL);
    }
    if (check.levels != check.local) {
        kv_free(check.levels);
    }
    if (error == KV_OK && length != NULL) {
        *length = size;
    }
    return error;
}
