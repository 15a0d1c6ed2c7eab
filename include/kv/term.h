/* External terms: reading them where they lie, and writing them.
 *
 * A term is the bytes of the external term format (OTP: erts/doc/guides/erl_ext_dist.md) without
 * the leading version byte (KV_TERM_VERSION). Whatever comes from outside is checked once by
 * kv_term_validate(); only bytes that passed may be given to a reader, and a reader then needs
 * no further check of lengths. */
#ifndef KV_TERM_H
#define KV_TERM_H

#include <kv/buffer.h>
#include <kv/bytes.h>
#include <kv/error.h>

enum {
    KV_TERM_VERSION = 131, /* in front of a term on its own, such as that of term_to_binary/1 */
    KV_LONG_HEADER = 5,    /* bytes of a tag and a 4-byte count: list, map, large tuple, binary */
    KV_ATOM_MAX_CHARACTERS = 255,
    KV_ATOM_MAX_BYTES = 4 * KV_ATOM_MAX_CHARACTERS,
    KV_REF_MAX_WORDS = 5,
};

/* The tag byte in front of every external term. */
enum kv_tag {
    KV_TAG_RECORD = 67, /* refused: kv_term_validate() */
    KV_TAG_NEW_FLOAT = 70,
    KV_TAG_BIT_BINARY = 77,
    KV_TAG_ATOM_CACHE_REF = 82,
    KV_TAG_NEW_PID = 88,
    KV_TAG_NEW_PORT = 89,
    KV_TAG_NEWER_REFERENCE = 90,
    KV_TAG_SMALL_INTEGER = 97,
    KV_TAG_INTEGER = 98,
    KV_TAG_FLOAT = 99,
    KV_TAG_ATOM = 100,
    KV_TAG_REFERENCE = 101,
    KV_TAG_PORT = 102,
    KV_TAG_PID = 103,
    KV_TAG_SMALL_TUPLE = 104,
    KV_TAG_LARGE_TUPLE = 105,
    KV_TAG_NIL = 106,
    KV_TAG_STRING = 107,
    KV_TAG_LIST = 108,
    KV_TAG_BINARY = 109,
    KV_TAG_SMALL_BIG = 110,
    KV_TAG_LARGE_BIG = 111,
    KV_TAG_NEW_FUN = 112,
    KV_TAG_EXPORT = 113,
    KV_TAG_NEW_REFERENCE = 114,
    KV_TAG_SMALL_ATOM = 115,
    KV_TAG_MAP = 116,
    KV_TAG_ATOM_UTF8 = 118,
    KV_TAG_SMALL_ATOM_UTF8 = 119,
    KV_TAG_V4_PORT = 120,
};

/* ---- identifiers -------------------------------------------------------------------------------
 * The node of a pid or reference borrows its text from the bytes it was read from. */

struct kv_pid {
    struct kv_bytes node; /* the atom's text, UTF-8 */
    uint32_t id;
    uint32_t serial;
    uint32_t creation;
};

struct kv_ref {
    struct kv_bytes node;
    uint32_t creation;
    uint32_t count; /* words in use, 1 to KV_REF_MAX_WORDS */
    uint32_t words[KV_REF_MAX_WORDS];
};

bool kv_pid_equal(const struct kv_pid *a, const struct kv_pid *b);
bool kv_ref_equal(const struct kv_ref *a, const struct kv_ref *b);

/* ---- validating --------------------------------------------------------------------------------
 */

/* Whether 0.0 and -0.0 are one term: they are for =:= before OTP 27 and are not since. */
enum kv_zeros { KV_ZEROS_DIFFER, KV_ZEROS_SAME };

struct kv_term_limits {
    size_t size;         /* bytes of one term, never more than 1 GB */
    size_t depth;        /* containers inside containers; a flat list is one */
    enum kv_zeros zeros; /* for the keys of a map: the rule of the BEAMs that read the term */
};

#define KV_TERM_LIMITS_DEFAULT                                                                     \
    {                                                                                              \
        .size = (size_t)128 << 20, .depth = (size_t)1 << 20, .zeros = KV_ZEROS_DIFFER              \
    }

/* Whether `bytes` begins with one well-formed term that a BEAM would decode, too: atoms are UTF-8
 * of at most 255 characters, floats are finite, no map has a key twice, funs and identifiers have
 * sensible parts. What one node sends another will read: so a term is refused that not every
 * release of OTP from 25 on can decode. The atom cache, compression and local terms are not spoken
 * here and refused. Works in memory of its own that is bounded by limits and by the length of the
 * term; O(length), with maps O(length * log(pairs)).
 *
 * KV_OK and *length (may be NULL) is how many bytes the term takes; or KV_ETRUNCATED,
 * KV_EMALFORMED, KV_EDUPLICATE, KV_ENOMEM. Or it holds something that is refused though it may be
 * well-formed, and what is behind that was not looked at: KV_EDEPTH, KV_ESIZE; KV_ERECORD, a record
 * of OTP 29; KV_EBIG, an integer of more than 524,280 bytes, which newer releases of OTP do not
 * decode. */
int kv_term_validate(struct kv_bytes bytes, const struct kv_term_limits *limits, size_t *length);

/* ---- canonical keys ----------------------------------------------------------------------------
 */

/* Appends the canonical form of a validated term: an external term with the same value, whose bytes
 * are equal for two terms exactly when =:= holds between them (whatever way they were encoded;
 * maps in any order; funs are opaque bytes). The form is the same on every node and machine.
 * `zeros` is what it was validated with: -0.0 becomes 0.0 when they are one.
 * O(length), with maps O(length * log(pairs)). `to` must not hold the bytes of `term`. */
void kv_term_canonical(struct kv_bytes term, enum kv_zeros zeros, struct kv_buffer *to);

/* Whether a validated term is one that can be written in one way only, which its canonical form
 * then is: what most keys are. False says nothing. */
static inline bool kv_term_is_canonical(struct kv_bytes term)
{
    return term.data[0] == KV_TAG_BINARY || term.data[0] == KV_TAG_SMALL_ATOM_UTF8 ||
           term.data[0] == KV_TAG_SMALL_INTEGER;
}

/* ---- reading -----------------------------------------------------------------------------------
 * Every kv_read_* either takes the next term and answers KV_OK, or answers KV_ETYPE (or KV_ERANGE),
 * takes nothing and writes nothing. Where an out parameter may be NULL it is said. */

struct kv_reader {
    const uint8_t *data;
    size_t length;
    size_t offset;
};

static inline struct kv_reader kv_reader(struct kv_bytes validated)
{
    return (struct kv_reader){.data = validated.data, .length = validated.length, .offset = 0};
}

static inline bool kv_reader_at_end(const struct kv_reader *reader)
{
    return reader->offset >= reader->length;
}

/* The tag of the next term, 0 at the end. */
static inline uint8_t kv_read_peek(const struct kv_reader *reader)
{
    return kv_reader_at_end(reader) ? 0 : reader->data[reader->offset];
}

/* Header of a tuple; its elements are next. */
int kv_read_tuple(struct kv_reader *reader, uint32_t *arity);

/* Header of a tuple of exactly `arity` elements. */
int kv_read_tuple_of(struct kv_reader *reader, uint32_t arity);

/* Header of a list: *count elements are next, then the tail, which kv_read_nil() takes when the
 * list is proper. A nil gives count 0 and is taken whole: no tail follows then (*count == 0).
 * A string (tag 107) is KV_ETYPE: only lists of other things are read this way here. */
int kv_read_list(struct kv_reader *reader, uint32_t *count);
int kv_read_nil(struct kv_reader *reader);

/* How many elements the one proper list `list` has; a list of bytes may come as a string. KV_ETYPE:
 * it is something else, or has another tail. O(bytes). */
int kv_read_list_length(struct kv_bytes list, uint32_t *length);

/* Header of a map: *pairs keys and values are next, in turn. */
int kv_read_map(struct kv_reader *reader, uint32_t *pairs);

/* The text of an atom, borrowed. Old Latin-1 atoms are taken when they are ASCII. */
int kv_read_atom(struct kv_reader *reader, struct kv_bytes *text);

/* Takes the next term only if it is the atom `text`. */
int kv_read_this_atom(struct kv_reader *reader, const char *text);

/* Whether a whole term is the atom `text`. */
static inline bool kv_term_is_atom(struct kv_bytes term, const char *text)
{
    struct kv_reader reader = kv_reader(term);
    return kv_read_this_atom(&reader, text) == KV_OK;
}

/* A binary (not a bit string), borrowed. */
int kv_read_binary(struct kv_reader *reader, struct kv_bytes *bytes);

int kv_read_u32(struct kv_reader *reader, uint32_t *value);
int kv_read_u64(struct kv_reader *reader, uint64_t *value);
int kv_read_i64(struct kv_reader *reader, int64_t *value);
int kv_read_pid(struct kv_reader *reader, struct kv_pid *pid);
int kv_read_ref(struct kv_reader *reader, struct kv_ref *ref);

/* Any one term, as its bytes, borrowed. bytes may be NULL: the term is skipped. */
static inline int kv_read_any(struct kv_reader *reader, struct kv_bytes *bytes);

/* Bytes of the validated term that begins there. O(length), constant memory. */
static inline size_t kv_term_size(const uint8_t *term);

/* The same, without a short way for the leaves that most terms are. */
size_t kv_term_size_any(const uint8_t *term);

static inline size_t kv_term_size(const uint8_t *term)
{
    switch (term[0]) {
    case KV_TAG_BINARY:
        return 5 + (((size_t)term[1] << 24) | ((size_t)term[2] << 16) | ((size_t)term[3] << 8) |
                    term[4]);
    case KV_TAG_SMALL_ATOM_UTF8:
        return 2 + (size_t)term[1];
    case KV_TAG_SMALL_INTEGER:
        return 2;
    case KV_TAG_INTEGER:
        return 5;
    default:
        return kv_term_size_any(term);
    }
}

static inline int kv_read_any(struct kv_reader *reader, struct kv_bytes *bytes)
{
    const uint8_t *term = reader->data + reader->offset;
    if (kv_reader_at_end(reader)) {
        return KV_ETYPE;
    }
    const size_t size = kv_term_size(term);
    if (bytes != NULL) {
        *bytes = kv_bytes(term, size);
    }
    reader->offset += size;
    return KV_OK;
}

/* ---- writing -----------------------------------------------------------------------------------
 * Each appends one term, or the header of one, to the buffer. */

void kv_write_tuple(struct kv_buffer *to, uint32_t arity);
/* The header of a list of `count` (at least 1) elements; the tail must be written as well. */
void kv_write_list(struct kv_buffer *to, uint32_t count);
void kv_write_nil(struct kv_buffer *to);
void kv_write_map(struct kv_buffer *to, uint32_t pairs);
/* text: valid UTF-8 of at most 255 characters. */
void kv_write_atom(struct kv_buffer *to, struct kv_bytes text);
void kv_write_atom_text(struct kv_buffer *to, const char *text);
void kv_write_bool(struct kv_buffer *to, bool value);
void kv_write_binary(struct kv_buffer *to, struct kv_bytes bytes);
void kv_write_binary_text(struct kv_buffer *to, const char *text);
/* A charlist of Latin-1 bytes, at most 65535; the empty one is nil. */
void kv_write_string(struct kv_buffer *to, const char *text);
void kv_write_u64(struct kv_buffer *to, uint64_t value);
void kv_write_i64(struct kv_buffer *to, int64_t value);
void kv_write_pid(struct kv_buffer *to, const struct kv_pid *pid);
void kv_write_ref(struct kv_buffer *to, const struct kv_ref *ref);
/* A whole term that is there already as bytes. */
static inline void kv_write_term(struct kv_buffer *to, struct kv_bytes term)
{
    kv_buffer_append(to, term);
}

#endif
