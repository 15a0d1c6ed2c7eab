/* External terms: validating, reading in place, writing.
 *
 * A term here is bytes of the external term format (OTP: erts/doc/guides/erl_ext_dist.md) without
 * the leading version byte (KV_TERM_VERSION). Bytes from outside are validated once, by
 * kv_term_validate(). All other functions take validated terms only, and check no lengths. */
#ifndef KV_TERM_H
#define KV_TERM_H

#include <kv/buffer.h>
#include <kv/bytes.h>
#include <kv/error.h>

enum {
    KV_TERM_VERSION = 131, /* the first byte of term_to_binary/1 */
    KV_LONG_HEADER = 5,    /* bytes of a tag and a 4-byte count: list, map, large tuple, binary */
    KV_ATOM_MAX_CHARACTERS = 255,
    KV_ATOM_MAX_BYTES = 4 * KV_ATOM_MAX_CHARACTERS,
    KV_REF_MAX_WORDS = 5,
};

/* The tag byte in front of every external term. */
enum kv_tag {
    KV_TAG_RECORD = 67, /* kv_term_validate() refuses it */
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
 * The node name of a pid or reference points into the bytes that the identifier was read from. */

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

/* The rule for 0.0 =:= -0.0: true before OTP 27, false since. */
enum kv_zeros { KV_ZEROS_DIFFER, KV_ZEROS_SAME };

struct kv_term_limits {
    size_t size;         /* bytes of one term, never more than 1 GB */
    size_t depth;        /* containers inside containers; a flat list is one */
    enum kv_zeros zeros; /* the rule for map keys, of the BEAMs that will read the term */
};

#define KV_TERM_LIMITS_DEFAULT                                                                     \
    {                                                                                              \
        .size = (size_t)128 << 20, .depth = (size_t)1 << 20, .zeros = KV_ZEROS_DIFFER              \
    }

/* Checks that `bytes` begins with one well-formed term that every OTP release from 25 on decodes:
 * one node stores the term and another, perhaps of another release, will read it. Atoms must be
 * UTF-8 of at most 255 characters and floats finite; no map may have a key twice; funs and
 * identifiers must have parts that a BEAM accepts. Refuses the atom cache, compression and local
 * terms, which this node does not negotiate. Allocates memory bounded by the limits and by the
 * length of the term. O(length), with maps O(length * log(pairs)).
 *
 * Returns KV_OK and sets *length (may be NULL) to the bytes of the term. Errors: KV_ETRUNCATED,
 * KV_EMALFORMED, KV_EDUPLICATE, KV_ENOMEM. Some content is refused though the term may be
 * well-formed, and the bytes behind it are not checked: KV_EDEPTH, KV_ESIZE; KV_ERECORD, a record
 * of OTP 29; KV_EBIG, an integer of more than 524,280 bytes, which newer OTP releases do not
 * decode. */
int kv_term_validate(struct kv_bytes bytes, const struct kv_term_limits *limits, size_t *length);

/* ---- canonical keys ----------------------------------------------------------------------------
 */

/* Appends the canonical form of a validated term: an external term with the same value. The forms
 * of two terms have equal bytes exactly if =:= holds between the terms, for every encoding and
 * every order of map pairs; funs count as opaque bytes. All nodes and machines produce the same
 * form. `zeros` must be the value that the term was validated with; KV_ZEROS_SAME turns -0.0 into
 * 0.0. `to` must not hold the bytes of `term`. O(length), with maps O(length * log(pairs)). */
void kv_term_canonical(struct kv_bytes term, enum kv_zeros zeros, struct kv_buffer *to);

/* Returns true if a validated term is known to be its own canonical form because it has only one
 * encoding, as most keys do. False: unknown. */
static inline bool kv_term_is_canonical(struct kv_bytes term)
{
    return term.data[0] == KV_TAG_BINARY || term.data[0] == KV_TAG_SMALL_ATOM_UTF8 ||
           term.data[0] == KV_TAG_SMALL_INTEGER;
}

/* ---- reading -----------------------------------------------------------------------------------
 * Each kv_read_* takes the next term and returns KV_OK; or returns KV_ETYPE (or KV_ERANGE), moves
 * the reader nowhere and sets nothing. Out parameters must not be NULL unless stated. */

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

/* The tag of the next term; 0 at the end. */
static inline uint8_t kv_read_peek(const struct kv_reader *reader)
{
    return kv_reader_at_end(reader) ? 0 : reader->data[reader->offset];
}

/* Takes the header of a tuple; its elements come next. */
int kv_read_tuple(struct kv_reader *reader, uint32_t *arity);

/* Takes the header of a tuple of exactly `arity` elements. */
int kv_read_tuple_of(struct kv_reader *reader, uint32_t arity);

/* Takes the header of a list: *count elements come next, then the tail. kv_read_nil() takes the
 * tail of a proper list. A nil gives count 0 and is taken whole, without a tail to come.
 * A string (tag 107) is KV_ETYPE. */
int kv_read_list(struct kv_reader *reader, uint32_t *count);
int kv_read_nil(struct kv_reader *reader);

/* Counts the elements of `list`, one validated term: a proper list or a string (tag 107). Returns
 * KV_ETYPE for any other term, improper lists included. O(bytes). */
int kv_read_list_length(struct kv_bytes list, uint32_t *length);

/* Takes the header of a map: *pairs keys and values come next, alternating. */
int kv_read_map(struct kv_reader *reader, uint32_t *pairs);

/* Takes an atom; the text is borrowed. Accepts old Latin-1 atoms only if they are ASCII. */
int kv_read_atom(struct kv_reader *reader, struct kv_bytes *text);

/* Takes the next term only if it is the atom `text`. */
int kv_read_this_atom(struct kv_reader *reader, const char *text);

/* Returns true if a whole term is the atom `text`. */
static inline bool kv_term_is_atom(struct kv_bytes term, const char *text)
{
    struct kv_reader reader = kv_reader(term);
    return kv_read_this_atom(&reader, text) == KV_OK;
}

/* Takes a binary (not a bit string); the bytes are borrowed. */
int kv_read_binary(struct kv_reader *reader, struct kv_bytes *bytes);

int kv_read_u32(struct kv_reader *reader, uint32_t *value);
int kv_read_u64(struct kv_reader *reader, uint64_t *value);
int kv_read_i64(struct kv_reader *reader, int64_t *value);
int kv_read_pid(struct kv_reader *reader, struct kv_pid *pid);
int kv_read_ref(struct kv_reader *reader, struct kv_ref *ref);

/* Takes any one term; its bytes are borrowed. bytes may be NULL: skips the term. */
static inline int kv_read_any(struct kv_reader *reader, struct kv_bytes *bytes);

/* The size of the validated term at `term`. O(length), constant memory. */
static inline size_t kv_term_size(const uint8_t *term);

/* The out-of-line half of kv_term_size(), for all but the most frequent leaves. */
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
 * Each function appends one term, or the header of one. */

void kv_write_tuple(struct kv_buffer *to, uint32_t arity);
/* The header of a list of `count` elements, at least 1. The caller writes the tail, too. */
void kv_write_list(struct kv_buffer *to, uint32_t count);
void kv_write_nil(struct kv_buffer *to);
void kv_write_map(struct kv_buffer *to, uint32_t pairs);
/* text: valid UTF-8 of at most 255 characters. */
void kv_write_atom(struct kv_buffer *to, struct kv_bytes text);
void kv_write_atom_text(struct kv_buffer *to, const char *text);
void kv_write_bool(struct kv_buffer *to, bool value);
void kv_write_binary(struct kv_buffer *to, struct kv_bytes bytes);
void kv_write_binary_text(struct kv_buffer *to, const char *text);
/* A charlist of Latin-1 bytes, at most 65535. The empty charlist is nil. */
void kv_write_string(struct kv_buffer *to, const char *text);
void kv_write_u64(struct kv_buffer *to, uint64_t value);
void kv_write_i64(struct kv_buffer *to, int64_t value);
void kv_write_pid(struct kv_buffer *to, const struct kv_pid *pid);
void kv_write_ref(struct kv_buffer *to, const struct kv_ref *ref);
/* A whole term that exists already as bytes. */
static inline void kv_write_term(struct kv_buffer *to, struct kv_bytes term)
{
    kv_buffer_append(to, term);
}

#endif
