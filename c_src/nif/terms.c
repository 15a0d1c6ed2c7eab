/* External terms as terms of this VM: the small ones that people keep most. A term that is unknown
 * here is left to the VM's own decoder, which is slower: it looks for the text of each atom in the
 * atom table, and needs a validated term. */
#include "nif/nif.h"

#include "base/endian.h"
#include "base/word.h"

enum {
    LEVELS = 16,      /* containers inside containers */
    PARTS = 512,      /* of all containers that are being read */
    PAIRS = 32,       /* of a map */
    BIG_BYTES = 8,    /* of an integer: more are left to the VM */
    ATOMS = 512,      /* that a thread remembers: a power of two */
    ATOM_CACHED = 23, /* bytes of the text of one */
};

/* The value of an atom does not change as long as the VM runs, nor does its text. */
struct atom {
    ERL_NIF_TERM term;
    uint8_t length; /* 0: free */
    uint8_t text[ATOM_CACHED];
};

static _Thread_local struct atom atoms[ATOMS];

struct decoder {
    ErlNifEnv *env;
    const uint8_t *at;
    const uint8_t *end;
    struct atom *atoms; /* of this thread */
    unsigned levels;    /* that may still be entered */
    unsigned used;      /* of parts; those of the innermost container are last */
    ERL_NIF_TERM parts[PARTS];
};

static bool term(struct decoder *from, ERL_NIF_TERM *to);

/* Takes `size` bytes. Returns NULL if there are fewer. */
static const uint8_t *take(struct decoder *from, size_t size)
{
    const uint8_t *taken = from->at;
    if ((size_t)(from->end - taken) < size) {
        return NULL;
    }
    from->at += size;
    return taken;
}

/* ---- atoms ----------------------------------------------------------------------------------- */

/* Only atoms that the VM has already: an arena must not fill the atom table. Leaves atoms with
 * characters above 127 to the VM: they have two spellings. */
static bool existing(ErlNifEnv *env, const uint8_t *text, size_t length, ERL_NIF_TERM *to)
{
    return length <= KV_ATOM_MAX_CHARACTERS && kv_is_ascii(text, length) &&
           enif_make_existing_atom_len(env, (const char *)text, length, to, ERL_NIF_LATIN1) != 0;
}

static struct atom *place_of(struct atom *all, const uint8_t *text, size_t length)
{
    uint64_t word = 0;
    kv_copy((uint8_t *)&word, text, length < sizeof word ? length : sizeof word);
    word ^= (uint64_t)text[length - 1] << 32 | (uint64_t)length << 56;
    return &all[(word * UINT64_C(0x9E3779B97F4A7C15)) >> 32 & (ATOMS - 1)];
}

static bool atom(struct decoder *from, size_t header, ERL_NIF_TERM *to)
{
    const uint8_t *start = take(from, header);
    const size_t length = start == NULL ? 0 : header == 2 ? start[1] : kv_get16(start + 1);
    const uint8_t *text = start == NULL ? NULL : take(from, length);
    if (text == NULL || length == 0 || length > ATOM_CACHED) {
        return text != NULL && existing(from->env, text, length, to);
    }
    struct atom *known = place_of(from->atoms, text, length);
    if (known->length == length && kv_same(known->text, text, length)) {
        *to = known->term;
        return true;
    }
    if (!existing(from->env, text, length, to)) {
        return false;
    }
    known->term = *to;
    known->length = (uint8_t)length;
    kv_copy(known->text, text, length);
    return true;
}

/* ---- numbers and bytes ----------------------------------------------------------------------- */

static bool floating(struct decoder *from, ERL_NIF_TERM *to)
{
    const uint64_t exponent = UINT64_C(0x7FF0000000000000);
    const uint8_t *bytes = take(from, 1 + sizeof(double));
    const uint64_t bits = bytes == NULL ? exponent : kv_get64(bytes + 1);
    double value;
    if ((bits & exponent) == exponent) { /* not finite */
        return false;
    }
    memcpy(&value, &bits, sizeof value);
    *to = enif_make_double(from->env, value);
    return true;
}

/* Any sign byte but 0 means that the number is negative, as a BEAM has it. */
static bool big(struct decoder *from, ERL_NIF_TERM *to)
{
    const uint8_t *header = take(from, 3);
    const uint8_t *digits = header == NULL ? NULL : take(from, header[1]);
    uint64_t magnitude = 0;
    if (digits == NULL || header[1] > BIG_BYTES) {
        return false;
    }
    for (unsigned i = 0; i < header[1]; i++) {
        magnitude |= (uint64_t)digits[i] << (8 * i);
    }
    if (header[2] == 0) {
        *to = enif_make_uint64(from->env, magnitude);
        return true;
    }
    *to = magnitude <= INT64_MAX ? enif_make_int64(from->env, -(int64_t)magnitude) : 0;
    return magnitude <= INT64_MAX;
}

static bool binary(struct decoder *from, ERL_NIF_TERM *to)
{
    const uint8_t *header = take(from, KV_LONG_HEADER);
    const size_t length = header == NULL ? 0 : kv_get32(header + 1);
    const uint8_t *bytes = header == NULL ? NULL : take(from, length);
    uint8_t *copy = bytes == NULL ? NULL : enif_make_new_binary(from->env, length, to);
    if (copy == NULL) {
        return false;
    }
    kv_copy_any(copy, bytes, length);
    return true;
}

static bool string(struct decoder *from, ERL_NIF_TERM *to)
{
    const uint8_t *header = take(from, 3);
    const size_t length = header == NULL ? 0 : kv_get16(header + 1);
    const uint8_t *bytes = header == NULL ? NULL : take(from, length);
    *to = bytes == NULL
              ? 0
              : enif_make_string_len(from->env, (const char *)bytes, length, ERL_NIF_LATIN1);
    return bytes != NULL;
}

/* ---- containers ------------------------------------------------------------------------------ */

/* Reads `count` terms into parts. Returns NULL if one is unknown. drop() gives the room back. */
static ERL_NIF_TERM *read_parts(struct decoder *from, size_t count)
{
    ERL_NIF_TERM *parts = from->parts + from->used;
    if (count > PARTS - from->used) {
        return NULL;
    }
    from->used += (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        if (!term(from, &parts[i])) {
            return NULL;
        }
    }
    return parts;
}

/* The empty tuple is left to the VM: some releases have only one. */
static bool tuple(struct decoder *from, ERL_NIF_TERM *to)
{
    const uint8_t *header = take(from, 2);
    const ERL_NIF_TERM *parts =
        header == NULL || header[1] == 0 ? NULL : read_parts(from, header[1]);
    if (parts == NULL) {
        return false;
    }
    *to = enif_make_tuple_from_array(from->env, parts, header[1]);
    from->used -= header[1];
    return true;
}

/* A list of no elements, which is its tail, is left to the VM. */
static bool list(struct decoder *from, ERL_NIF_TERM *to)
{
    const uint8_t *header = take(from, KV_LONG_HEADER);
    const uint32_t count = header == NULL ? 0 : kv_get32(header + 1);
    const ERL_NIF_TERM *parts = count == 0 ? NULL : read_parts(from, count);
    if (parts == NULL || from->at == from->end) {
        return false;
    }
    if (*from->at == KV_TAG_NIL) {
        from->at++;
        *to = enif_make_list_from_array(from->env, parts, count);
    } else if (term(from, to)) {
        for (uint32_t i = count; i > 0; i--) {
            *to = enif_make_list_cell(from->env, parts[i - 1], *to);
        }
    } else {
        return false;
    }
    from->used -= count;
    return true;
}

/* Float keys are left to the validator: the arena says if 0.0 and -0.0 are one key. */
static bool is_usual_key(uint8_t tag)
{
    switch (tag) {
    case KV_TAG_SMALL_ATOM_UTF8:
    case KV_TAG_ATOM_UTF8:
    case KV_TAG_ATOM:
    case KV_TAG_SMALL_ATOM:
    case KV_TAG_BINARY:
    case KV_TAG_SMALL_INTEGER:
    case KV_TAG_INTEGER:
        return true;
    default:
        return false;
    }
}

/* The VM itself refuses a key that comes twice. */
static bool map(struct decoder *from, ERL_NIF_TERM *to)
{
    const uint8_t *header = take(from, KV_LONG_HEADER);
    const uint32_t count = header == NULL ? PAIRS + 1 : kv_get32(header + 1);
    if (count > PAIRS || 2 * count > PARTS - from->used) {
        return false;
    }
    if (count == 0) {
        *to = enif_make_new_map(from->env);
        return true;
    }
    ERL_NIF_TERM *keys = from->parts + from->used;
    ERL_NIF_TERM *values = keys + count;
    from->used += 2 * count;
    for (uint32_t i = 0; i < count; i++) {
        if (from->at == from->end || !is_usual_key(*from->at) || !term(from, &keys[i]) ||
            !term(from, &values[i])) {
            return false;
        }
    }
    from->used -= 2 * count;
    return enif_make_map_from_arrays(from->env, keys, values, count, to) != 0;
}

static bool container(struct decoder *from, bool (*read)(struct decoder *, ERL_NIF_TERM *),
                      ERL_NIF_TERM *to)
{
    if (from->levels == 0) {
        return false;
    }
    from->levels--;
    bool known = read(from, to);
    from->levels++;
    return known;
}

/* ---- all together ---------------------------------------------------------------------------- */

static bool term(struct decoder *from, ERL_NIF_TERM *to)
{
    const uint8_t *bytes;
    switch (from->at == from->end ? 0 : *from->at) {
    case KV_TAG_SMALL_INTEGER:
        bytes = take(from, 2);
        *to = bytes == NULL ? 0 : enif_make_int(from->env, bytes[1]);
        return bytes != NULL;
    case KV_TAG_INTEGER:
        bytes = take(from, 5);
        *to = bytes == NULL ? 0 : enif_make_int(from->env, (int32_t)kv_get32(bytes + 1));
        return bytes != NULL;
    case KV_TAG_SMALL_ATOM_UTF8:
    case KV_TAG_SMALL_ATOM:
        return atom(from, 2, to);
    case KV_TAG_ATOM_UTF8:
    case KV_TAG_ATOM:
        return atom(from, 3, to);
    case KV_TAG_BINARY:
        return binary(from, to);
    case KV_TAG_NEW_FLOAT:
        return floating(from, to);
    case KV_TAG_SMALL_BIG:
        return big(from, to);
    case KV_TAG_STRING:
        return string(from, to);
    case KV_TAG_NIL:
        from->at++;
        *to = enif_make_list(from->env, 0);
        return true;
    case KV_TAG_SMALL_TUPLE:
        return container(from, tuple, to);
    case KV_TAG_LIST:
        return container(from, list, to);
    case KV_TAG_MAP:
        return container(from, map, to);
    default:
        return false;
    }
}

bool kv_nif_term(ErlNifEnv *env, struct kv_bytes external, ERL_NIF_TERM *to)
{
    struct decoder from;
    from.env = env;
    from.at = external.data;
    from.end = external.data + external.length;
    from.atoms = atoms;
    from.levels = LEVELS;
    from.used = 0;
    return term(&from, to) && from.at == from.end;
}
