/* The terms of the stub. */
#include "nif/enif_state.h"

#include "base/endian.h"

#include <kv/term.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>

enum { TAG_FUN = 112, VERSION = 131, BINARY_HEADER = 5 };

static ERL_NIF_TERM word(const struct term *term)
{
    return (ERL_NIF_TERM)term;
}

static uint8_t tag(ERL_NIF_TERM term)
{
    return stub_at(term)->bytes[0];
}

/* ---- making terms ---------------------------------------------------------------------------- */

static ERL_NIF_TERM from_bytes(ErlNifEnv *env, const void *bytes, size_t size)
{
    struct term *term = stub_new_term(env, size);
    memcpy(term->bytes, bytes, size);
    return word(term);
}

ERL_NIF_TERM enif_make_int(ErlNifEnv *env, int value)
{
    uint8_t bytes[5] = {KV_TAG_SMALL_INTEGER, (uint8_t)value};
    if (value >= 0 && value <= UINT8_MAX) {
        return from_bytes(env, bytes, 2);
    }
    bytes[0] = KV_TAG_INTEGER;
    kv_set32(bytes + 1, (uint32_t)value);
    return from_bytes(env, bytes, sizeof bytes);
}

ERL_NIF_TERM enif_make_uint64(ErlNifEnv *env, ErlNifUInt64 value)
{
    uint8_t bytes[11] = {KV_TAG_SMALL_BIG, 0, 0};
    if (value <= INT32_MAX) {
        return enif_make_int(env, (int)value);
    }
    for (; value != 0; value >>= 8) {
        bytes[3 + bytes[1]++] = (uint8_t)value;
    }
    return from_bytes(env, bytes, 3 + (size_t)bytes[1]);
}

ERL_NIF_TERM enif_make_int64(ErlNifEnv *env, ErlNifSInt64 value)
{
    uint8_t bytes[11] = {KV_TAG_SMALL_BIG, 0, 1};
    if (value >= INT32_MIN) {
        return value < 0 ? enif_make_int(env, (int)value)
                         : enif_make_uint64(env, (ErlNifUInt64)value);
    }
    for (uint64_t rest = 0 - (uint64_t)value; rest != 0; rest >>= 8) {
        bytes[3 + bytes[1]++] = (uint8_t)rest;
    }
    return from_bytes(env, bytes, 3 + (size_t)bytes[1]);
}

ERL_NIF_TERM enif_make_uint(ErlNifEnv *env, unsigned value)
{
    return enif_make_uint64(env, value);
}

ERL_NIF_TERM enif_make_double(ErlNifEnv *env, double value)
{
    uint8_t bytes[9] = {KV_TAG_NEW_FLOAT};
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    kv_set64(bytes + 1, bits);
    return from_bytes(env, bytes, sizeof bytes);
}

/* As in the VM, atoms and local pids are always the same word: callers keep it. */
static ERL_NIF_TERM immediate(const void *bytes, size_t size)
{
    static struct enif_environment_t all;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_mutex_lock(&lock);
    struct term *term = all.terms;
    while (term != NULL && (term->size != size || memcmp(term->bytes, bytes, size) != 0)) {
        term = term->next;
    }
    if (term == NULL) {
        term = stub_new_term(&all, size);
        memcpy(term->bytes, bytes, size);
    }
    (void)pthread_mutex_unlock(&lock);
    return word(term);
}

static ERL_NIF_TERM make_atom(const char *text, size_t length)
{
    uint8_t bytes[2 + UINT8_MAX] = {KV_TAG_SMALL_ATOM_UTF8, (uint8_t)length};
    memcpy(bytes + 2, text, length);
    return immediate(bytes, 2 + length);
}

ERL_NIF_TERM enif_make_atom(ErlNifEnv *env, const char *text)
{
    (void)env;
    return make_atom(text, strlen(text));
}

ERL_NIF_TERM enif_make_badarg(ErlNifEnv *env)
{
    return enif_make_atom(env, "badarg");
}

int enif_make_existing_atom_len(ErlNifEnv *env, const char *text, size_t length, ERL_NIF_TERM *term,
                                ErlNifCharEncoding encoding)
{
    size_t common = sizeof STUB_UNHEARD_OF - 1;
    (void)env;
    (void)encoding;
    *term = make_atom(text, length);
    return length < common || memcmp(text, STUB_UNHEARD_OF, common) != 0;
}

unsigned char *enif_make_new_binary(ErlNifEnv *env, size_t size, ERL_NIF_TERM *made)
{
    struct term *term = stub_new_term(env, BINARY_HEADER + size);
    term->bytes[0] = KV_TAG_BINARY;
    kv_set32(term->bytes + 1, (uint32_t)size);
    *made = word(term);
    return term->bytes + BINARY_HEADER;
}

ERL_NIF_TERM stub_binary(ErlNifEnv *env, struct kv_bytes contents)
{
    ERL_NIF_TERM term;
    memcpy(enif_make_new_binary(env, contents.length, &term), contents.data, contents.length);
    return term;
}

/* A header, then the external forms of all parts. */
static ERL_NIF_TERM compose(ErlNifEnv *env, const uint8_t *header, size_t length,
                            const ERL_NIF_TERM *parts, unsigned count)
{
    size_t size = length;
    if (count > STUB_ARITY_MAX) {
        stub_fail("too many parts");
    }
    for (unsigned i = 0; i < count; i++) {
        size += stub_at(parts[i])->size;
    }
    struct term *term = stub_new_term(env, size);
    uint8_t *end = term->bytes + length;
    memcpy(term->bytes, header, length);
    for (unsigned i = 0; i < count; i++) {
        memcpy(end, stub_at(parts[i])->bytes, stub_at(parts[i])->size);
        end += stub_at(parts[i])->size;
        term->parts[i] = parts[i];
    }
    term->count = count;
    return word(term);
}

static ERL_NIF_TERM make_tuple(ErlNifEnv *env, unsigned arity, va_list parts)
{
    ERL_NIF_TERM elements[STUB_ARITY_MAX];
    const uint8_t header[2] = {KV_TAG_SMALL_TUPLE, (uint8_t)arity};
    for (unsigned i = 0; i < arity; i++) {
        elements[i] = va_arg(parts, ERL_NIF_TERM);
    }
    return compose(env, header, sizeof header, elements, arity);
}

ERL_NIF_TERM stub_tuple(ErlNifEnv *env, unsigned arity, ...)
{
    va_list parts;
    va_start(parts, arity);
    ERL_NIF_TERM tuple = make_tuple(env, arity, parts);
    va_end(parts);
    return tuple;
}

ERL_NIF_TERM enif_make_tuple(ErlNifEnv *env, unsigned arity, ...)
{
    va_list parts;
    va_start(parts, arity);
    ERL_NIF_TERM tuple = make_tuple(env, arity, parts);
    va_end(parts);
    return tuple;
}

ERL_NIF_TERM enif_make_tuple_from_array(ErlNifEnv *env, const ERL_NIF_TERM *parts, unsigned count)
{
    const uint8_t header[2] = {KV_TAG_SMALL_TUPLE, (uint8_t)count};
    return compose(env, header, sizeof header, parts, count);
}

/* As the VM has it: a list is a run of cells. Its external form counts them, and a proper list of
 * bytes is a string. */
static bool is_string(ERL_NIF_TERM head, ERL_NIF_TERM tail)
{
    return tag(head) == KV_TAG_SMALL_INTEGER &&
           (tag(tail) == KV_TAG_NIL || tag(tail) == KV_TAG_STRING);
}

static void write_string(struct term *cell, const struct term *head, const struct term *tail)
{
    uint16_t count = tail->bytes[0] == KV_TAG_NIL ? 0 : kv_get16(tail->bytes + 1);
    cell->bytes[0] = KV_TAG_STRING;
    kv_set16(cell->bytes + 1, (uint16_t)(count + 1));
    cell->bytes[3] = head->bytes[1];
    memcpy(cell->bytes + 4, tail->bytes + 3, count);
    cell->size = 4 + (size_t)count;
}

/* The cells of a list and what is behind the last. */
static void write_cells(struct term *cell, uint8_t *end)
{
    uint32_t count = 0;
    const struct term *next = cell;
    cell->bytes[0] = KV_TAG_LIST;
    for (; next->bytes[0] == KV_TAG_LIST || next->bytes[0] == KV_TAG_STRING;
         next = stub_at(next->parts[1])) {
        const struct term *head = stub_at(next->parts[0]);
        memcpy(end, head->bytes, head->size);
        end += head->size;
        count++;
    }
    memcpy(end, next->bytes, next->size);
    kv_set32(cell->bytes + 1, count);
    cell->size = (size_t)(end - cell->bytes) + next->size;
}

ERL_NIF_TERM stub_cons(ErlNifEnv *env, ERL_NIF_TERM head, ERL_NIF_TERM tail)
{
    size_t spare = 16; /* a string that becomes a list has two bytes for each of its own */
    struct term *cell = stub_new_term(env, spare + stub_at(head)->size + 2 * stub_at(tail)->size);
    cell->parts[0] = head;
    cell->parts[1] = tail;
    cell->count = 2;
    if (is_string(head, tail)) {
        write_string(cell, stub_at(head), stub_at(tail));
    } else {
        write_cells(cell, cell->bytes + 5);
    }
    return word(cell);
}

ERL_NIF_TERM enif_make_list(ErlNifEnv *env, unsigned count, ...)
{
    const uint8_t nil = KV_TAG_NIL;
    if (count > 0) {
        stub_fail("enif_make_list() makes only the empty list");
    }
    return from_bytes(env, &nil, 1);
}

ERL_NIF_TERM enif_make_list_cell(ErlNifEnv *env, ERL_NIF_TERM head, ERL_NIF_TERM tail)
{
    return stub_cons(env, head, tail);
}

ERL_NIF_TERM enif_make_list_from_array(ErlNifEnv *env, const ERL_NIF_TERM *parts, unsigned count)
{
    ERL_NIF_TERM list = enif_make_list(env, 0);
    for (unsigned i = count; i > 0; i--) {
        list = stub_cons(env, parts[i - 1], list);
    }
    return list;
}

ERL_NIF_TERM enif_make_string_len(ErlNifEnv *env, const char *text, size_t length,
                                  ErlNifCharEncoding encoding)
{
    ERL_NIF_TERM list = enif_make_list(env, 0);
    (void)encoding;
    for (size_t i = length; i > 0; i--) {
        list = stub_cons(env, enif_make_int(env, (uint8_t)text[i - 1]), list);
    }
    return list;
}

ERL_NIF_TERM enif_make_new_map(ErlNifEnv *env)
{
    const uint8_t header[5] = {KV_TAG_MAP};
    return from_bytes(env, header, sizeof header);
}

int enif_make_map_from_arrays(ErlNifEnv *env, ERL_NIF_TERM *keys, ERL_NIF_TERM *values,
                              size_t count, ERL_NIF_TERM *map)
{
    const uint8_t header[5] = {KV_TAG_MAP, 0, 0, 0, (uint8_t)count};
    ERL_NIF_TERM parts[STUB_ARITY_MAX];
    for (size_t i = 0; i < count && 2 * i + 1 < STUB_ARITY_MAX; i++) {
        for (size_t j = 0; j < i; j++) {
            if (enif_is_identical(keys[i], keys[j])) {
                return 0;
            }
        }
        parts[2 * i] = keys[i];
        parts[2 * i + 1] = values[i];
    }
    *map = compose(env, header, sizeof header, parts, 2 * (unsigned)count);
    return 1;
}

ERL_NIF_TERM stub_map(ErlNifEnv *env, ERL_NIF_TERM key, ERL_NIF_TERM value)
{
    const uint8_t header[5] = {KV_TAG_MAP, 0, 0, 0, 1};
    const ERL_NIF_TERM parts[2] = {key, value};
    return compose(env, header, sizeof header, parts, 2);
}

ERL_NIF_TERM stub_fun(ErlNifEnv *env)
{
    const uint8_t fun = TAG_FUN;
    return from_bytes(env, &fun, 1);
}

ERL_NIF_TERM stub_pid(ErlNifEnv *env, const char *node, uint32_t id, uint32_t serial,
                      uint32_t creation)
{
    size_t length = strlen(node);
    struct term *term = stub_new_term(env, 3 + length + 12);
    term->bytes[0] = KV_TAG_NEW_PID;
    term->bytes[1] = KV_TAG_SMALL_ATOM_UTF8;
    term->bytes[2] = (uint8_t)length;
    memcpy(term->bytes + 3, node, length);
    kv_set32(term->bytes + 3 + length, id);
    kv_set32(term->bytes + 3 + length + 4, serial);
    kv_set32(term->bytes + 3 + length + 8, creation);
    return word(term);
}

#define LOCAL_NODE "local"

ERL_NIF_TERM stub_local_pid(unsigned self)
{
    uint8_t bytes[3 + sizeof LOCAL_NODE - 1 + 12] = {KV_TAG_NEW_PID, KV_TAG_SMALL_ATOM_UTF8,
                                                     sizeof LOCAL_NODE - 1};
    memcpy(bytes + 3, LOCAL_NODE, sizeof LOCAL_NODE - 1);
    kv_set32(bytes + sizeof bytes - 12, self);
    return immediate(bytes, sizeof bytes);
}

/* ---- from the external form ------------------------------------------------------------------ */

struct input {
    ErlNifEnv *env;
    const uint8_t *at;
    const uint8_t *end;
};

static ERL_NIF_TERM read_term(struct input *input);

/* 0 when it is cut off. */
static ERL_NIF_TERM read_plain(struct input *input, size_t size)
{
    ERL_NIF_TERM term = 0;
    if (size <= (size_t)(input->end - input->at)) {
        term = from_bytes(input->env, input->at, size);
        input->at += size;
    }
    return term;
}

static ERL_NIF_TERM read_parts(struct input *input, size_t header_size, unsigned count)
{
    ERL_NIF_TERM parts[STUB_ARITY_MAX];
    const uint8_t *header = input->at;
    input->at += header_size;
    for (unsigned i = 0; i < count; i++) {
        parts[i] = i < STUB_ARITY_MAX ? read_term(input) : 0;
        if (parts[i] == 0) {
            return 0;
        }
    }
    return compose(input->env, header, header_size, parts, count);
}

static ERL_NIF_TERM read_list(struct input *input, uint32_t count)
{
    ERL_NIF_TERM head = read_term(input);
    ERL_NIF_TERM tail = 0;
    if (head != 0) {
        tail = count > 1 ? read_list(input, count - 1) : read_term(input);
    }
    return tail == 0 ? 0 : stub_cons(input->env, head, tail);
}

static ERL_NIF_TERM read_string(struct input *input, uint16_t count)
{
    const uint8_t *bytes = input->at + 3;
    if ((size_t)(input->end - bytes) < count) {
        return 0;
    }
    ERL_NIF_TERM list = enif_make_list(input->env, 0);
    for (uint16_t i = count; i > 0; i--) {
        list = stub_cons(input->env, enif_make_int(input->env, bytes[i - 1]), list);
    }
    input->at = bytes + count;
    return list;
}

static ERL_NIF_TERM read_atom(struct input *input)
{
    const size_t length = input->at[1];
    const char *text = (const char *)input->at + 2;
    ERL_NIF_TERM atom;
    if (length > (size_t)(input->end - input->at) - 2) {
        return 0;
    }
    input->at += 2 + length;
    return enif_make_existing_atom_len(input->env, text, length, &atom, ERL_NIF_LATIN1) ? atom : 0;
}

/* A term of each kind that the tests use; 0 for any other, or where it is cut off. */
static ERL_NIF_TERM read_term(struct input *input)
{
    size_t left = (size_t)(input->end - input->at);
    const uint8_t *bytes = input->at;
    if (left == 0) {
        return 0;
    }
    switch (bytes[0]) {
    case KV_TAG_NIL:
        return read_plain(input, 1);
    case KV_TAG_SMALL_INTEGER:
        return read_plain(input, 2);
    case KV_TAG_INTEGER:
        return read_plain(input, 5);
    case KV_TAG_NEW_FLOAT:
        return read_plain(input, 9);
    case KV_TAG_SMALL_BIG:
        return left < 2 ? 0 : read_plain(input, 3 + (size_t)bytes[1]);
    case KV_TAG_SMALL_ATOM_UTF8:
        return left < 2 ? 0 : read_atom(input);
    case KV_TAG_BINARY:
        return left < 5 ? 0 : read_plain(input, BINARY_HEADER + (size_t)kv_get32(bytes + 1));
    case KV_TAG_NEW_PID:
        return left < 3 ? 0 : read_plain(input, 3 + (size_t)bytes[2] + 12);
    case KV_TAG_SMALL_TUPLE:
        return left < 2 ? 0 : read_parts(input, 2, bytes[1]);
    case KV_TAG_MAP:
        return left < 5 ? 0 : read_parts(input, 5, 2 * kv_get32(bytes + 1));
    case KV_TAG_STRING:
        return left < 3 ? 0 : read_string(input, kv_get16(bytes + 1));
    case KV_TAG_LIST:
        input->at += left < 5 ? 0 : 5;
        return left < 5 ? 0 : read_list(input, kv_get32(bytes + 1));
    default:
        return 0;
    }
}

ERL_NIF_TERM stub_term(ErlNifEnv *env, struct kv_bytes external)
{
    struct input input = {env, external.data, external.data + external.length};
    ERL_NIF_TERM term = read_term(&input);
    if (term == 0 || input.at != input.end) {
        stub_fail("not an external term that is known here");
    }
    return term;
}

size_t enif_binary_to_term(ErlNifEnv *env, const unsigned char *data, size_t size,
                           ERL_NIF_TERM *term, unsigned options)
{
    struct input input = {env, data + 1, data + size};
    (void)options;
    *term = size > 1 && data[0] == VERSION ? read_term(&input) : 0;
    return *term == 0 ? 0 : (size_t)(input.at - data);
}

ERL_NIF_TERM enif_make_copy(ErlNifEnv *env, ERL_NIF_TERM term)
{
    return stub_at(term)->resource != NULL ? stub_resource_term(env, stub_at(term)->resource)
                                           : stub_term(env, stub_external(term));
}

/* ---- asking terms ---------------------------------------------------------------------------- */

struct kv_bytes stub_external(ERL_NIF_TERM term)
{
    return kv_bytes(stub_at(term)->bytes, stub_at(term)->size);
}

bool stub_is_atom(ERL_NIF_TERM term, const char *text)
{
    struct kv_bytes bytes = stub_external(term);
    return bytes.data[0] == KV_TAG_SMALL_ATOM_UTF8 && bytes.length == 2 + strlen(text) &&
           memcmp(bytes.data + 2, text, bytes.length - 2) == 0;
}

bool stub_is_error(ErlNifEnv *env, ERL_NIF_TERM term, const char *reason)
{
    int arity;
    const ERL_NIF_TERM *parts;
    return enif_get_tuple(env, term, &arity, &parts) && arity == 2 &&
           stub_is_atom(parts[0], "error") && stub_is_atom(parts[1], reason);
}

ErlNifTermType enif_term_type(ErlNifEnv *env, ERL_NIF_TERM term)
{
    (void)env;
    switch (tag(term)) {
    case KV_TAG_SMALL_ATOM_UTF8:
        return ERL_NIF_TERM_TYPE_ATOM;
    case KV_TAG_BINARY:
        return ERL_NIF_TERM_TYPE_BITSTRING;
    case KV_TAG_NEW_FLOAT:
        return ERL_NIF_TERM_TYPE_FLOAT;
    case TAG_FUN:
        return ERL_NIF_TERM_TYPE_FUN;
    case KV_TAG_SMALL_INTEGER:
    case KV_TAG_INTEGER:
    case KV_TAG_SMALL_BIG:
        return ERL_NIF_TERM_TYPE_INTEGER;
    case KV_TAG_NIL:
    case KV_TAG_STRING:
    case KV_TAG_LIST:
        return ERL_NIF_TERM_TYPE_LIST;
    case KV_TAG_MAP:
        return ERL_NIF_TERM_TYPE_MAP;
    case KV_TAG_NEW_PID:
        return ERL_NIF_TERM_TYPE_PID;
    case KV_TAG_SMALL_TUPLE:
        return ERL_NIF_TERM_TYPE_TUPLE;
    default:
        return ERL_NIF_TERM_TYPE_REFERENCE;
    }
}

int enif_is_atom(ErlNifEnv *env, ERL_NIF_TERM term)
{
    (void)env;
    return tag(term) == KV_TAG_SMALL_ATOM_UTF8;
}

int enif_is_binary(ErlNifEnv *env, ERL_NIF_TERM term)
{
    (void)env;
    return tag(term) == KV_TAG_BINARY;
}

int enif_is_pid(ErlNifEnv *env, ERL_NIF_TERM term)
{
    (void)env;
    return tag(term) == KV_TAG_NEW_PID;
}

int enif_get_local_pid(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifPid *pid)
{
    const size_t length = sizeof LOCAL_NODE - 1;
    const struct term *found = stub_at(term);
    if (!enif_is_pid(env, term) || found->bytes[2] != length ||
        memcmp(found->bytes + 3, LOCAL_NODE, length) != 0) {
        return 0;
    }
    pid->pid = kv_get32(found->bytes + found->size - 12);
    return 1;
}

int enif_is_empty_list(ErlNifEnv *env, ERL_NIF_TERM term)
{
    (void)env;
    return tag(term) == KV_TAG_NIL;
}

int enif_is_identical(ERL_NIF_TERM a, ERL_NIF_TERM b)
{
    return kv_bytes_equal(stub_external(a), stub_external(b));
}

ErlNifUInt64 enif_hash(ErlNifHash type, ERL_NIF_TERM term, ErlNifUInt64 salt)
{
    struct kv_bytes bytes = stub_external(term);
    ErlNifUInt64 hash = UINT64_C(0xcbf29ce484222325) ^ salt;
    (void)type;
    for (size_t i = 0; i < bytes.length; i++) {
        hash = (hash ^ bytes.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* A number of up to eight bytes; false for any other term. */
static bool number(ERL_NIF_TERM term, uint64_t *magnitude, bool *negative)
{
    const uint8_t *bytes = stub_at(term)->bytes;
    int32_t value = 0;
    *magnitude = 0;
    switch (bytes[0]) {
    case KV_TAG_SMALL_INTEGER:
        *magnitude = bytes[1];
        *negative = false;
        return true;
    case KV_TAG_INTEGER:
        value = (int32_t)kv_get32(bytes + 1);
        *negative = value < 0;
        *magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
        return true;
    case KV_TAG_SMALL_BIG:
        for (unsigned i = bytes[1] <= 8 ? bytes[1] : 0; i > 0; i--) {
            *magnitude = *magnitude << 8 | bytes[2 + i];
        }
        *negative = bytes[2] != 0;
        return bytes[1] <= 8;
    default:
        return false;
    }
}

int enif_get_int64(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifSInt64 *value)
{
    uint64_t magnitude;
    bool negative;
    (void)env;
    if (!number(term, &magnitude, &negative) ||
        magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return 0;
    }
    *value = (ErlNifSInt64)(negative ? 0 - magnitude : magnitude);
    return 1;
}

int enif_get_uint64(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifUInt64 *value)
{
    uint64_t magnitude;
    bool negative;
    (void)env;
    if (!number(term, &magnitude, &negative) || negative) {
        return 0;
    }
    *value = magnitude;
    return 1;
}

int enif_get_uint(ErlNifEnv *env, ERL_NIF_TERM term, unsigned *value)
{
    ErlNifUInt64 large;
    if (!enif_get_uint64(env, term, &large) || large > UINT_MAX) {
        return 0;
    }
    *value = (unsigned)large;
    return 1;
}

int enif_get_double(ErlNifEnv *env, ERL_NIF_TERM term, double *value)
{
    (void)env;
    uint64_t bits = tag(term) == KV_TAG_NEW_FLOAT ? kv_get64(stub_at(term)->bytes + 1) : 0;
    memcpy(value, &bits, sizeof bits);
    return tag(term) == KV_TAG_NEW_FLOAT;
}

/* Latin-1 of UTF-8: what needs more than one byte fails. */
int enif_get_atom(ErlNifEnv *env, ERL_NIF_TERM term, char *text, unsigned size,
                  ErlNifCharEncoding encoding)
{
    const struct term *atom = stub_at(term);
    unsigned length = 0;
    (void)env;
    (void)encoding;
    for (size_t i = 2; i < atom->size; i++) {
        uint8_t byte = atom->bytes[i];
        if (byte >= 0xC4 || length + 1 >= size) {
            return 0;
        }
        if (byte >= 0x80) {
            byte = (uint8_t)(byte << 6 | (atom->bytes[++i] & 0x3F));
        }
        text[length++] = (char)byte;
    }
    text[length] = '\0';
    return (int)length + 1;
}

int enif_inspect_binary(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifBinary *binary)
{
    if (!enif_is_binary(env, term)) {
        return 0;
    }
    *binary = (ErlNifBinary){.data = stub_at(term)->bytes + BINARY_HEADER,
                             .size = stub_at(term)->size - BINARY_HEADER};
    return 1;
}

int enif_get_tuple(ErlNifEnv *env, ERL_NIF_TERM term, int *arity, const ERL_NIF_TERM **parts)
{
    (void)env;
    *arity = (int)stub_at(term)->count;
    *parts = stub_at(term)->parts;
    return tag(term) == KV_TAG_SMALL_TUPLE;
}

int enif_get_list_cell(ErlNifEnv *env, ERL_NIF_TERM list, ERL_NIF_TERM *head, ERL_NIF_TERM *tail)
{
    const struct term *cell = stub_at(list);
    (void)env;
    if (cell->bytes[0] != KV_TAG_LIST && cell->bytes[0] != KV_TAG_STRING) {
        return 0;
    }
    *head = cell->parts[0];
    *tail = cell->parts[1];
    return 1;
}

int enif_get_map_value(ErlNifEnv *env, ERL_NIF_TERM map, ERL_NIF_TERM key, ERL_NIF_TERM *value)
{
    const struct term *pairs = stub_at(map);
    (void)env;
    for (unsigned i = 0; tag(map) == KV_TAG_MAP && i < pairs->count; i += 2) {
        if (enif_is_identical(pairs->parts[i], key)) {
            *value = pairs->parts[i + 1];
            return 1;
        }
    }
    return 0;
}

int enif_get_map_size(ErlNifEnv *env, ERL_NIF_TERM map, size_t *size)
{
    (void)env;
    *size = stub_at(map)->count / 2;
    return stub_at(map)->bytes[0] == KV_TAG_MAP;
}

int enif_map_iterator_create(ErlNifEnv *env, ERL_NIF_TERM map, ErlNifMapIterator *iterator,
                             ErlNifMapIteratorEntry entry)
{
    (void)env;
    (void)entry;
    *iterator = (ErlNifMapIterator){.map = map, .size = stub_at(map)->count / 2};
    return tag(map) == KV_TAG_MAP;
}

int enif_map_iterator_get_pair(ErlNifEnv *env, ErlNifMapIterator *iterator, ERL_NIF_TERM *key,
                               ERL_NIF_TERM *value)
{
    (void)env;
    if (iterator->idx >= iterator->size) {
        return 0;
    }
    *key = stub_at(iterator->map)->parts[2 * iterator->idx];
    *value = stub_at(iterator->map)->parts[2 * iterator->idx + 1];
    return 1;
}

int enif_map_iterator_next(ErlNifEnv *env, ErlNifMapIterator *iterator)
{
    (void)env;
    return ++iterator->idx < iterator->size;
}

void enif_map_iterator_destroy(ErlNifEnv *env, ErlNifMapIterator *iterator)
{
    (void)env;
    (void)iterator;
}

int enif_term_to_binary(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifBinary *binary)
{
    (void)env;
    *binary = (ErlNifBinary){.size = stub_at(term)->size + 1};
    binary->data = stub_checked(malloc(binary->size));
    binary->data[0] = VERSION;
    memcpy(binary->data + 1, stub_at(term)->bytes, stub_at(term)->size);
    return 1;
}

void enif_release_binary(ErlNifBinary *binary)
{
    free(binary->data);
}
