/* Values as terms. */
#include "nif/nif.h"

#include "base/alloc.h"
#include "base/endian.h"

/* Copying so many bytes takes one percent of the time slice of a process, which is about 1 ms. */
enum { BYTES_PER_PERCENT = 32 << 10 };

static void account(ErlNifEnv *env, size_t bytes)
{
    if (bytes >= BYTES_PER_PERCENT) {
        (void)enif_consume_timeslice(env, (int)(bytes / BYTES_PER_PERCENT));
    }
}

static enum kv_nif_copy binary(ErlNifEnv *env, const struct kv_mapped_value *value,
                               struct kv_bytes bytes, ERL_NIF_TERM *term)
{
    if (bytes.length > KV_NIF_BINARY_MAX) {
        return KV_NIF_LARGE;
    }
    uint8_t *copy = enif_make_new_binary(env, bytes.length, term);
    if (copy == NULL) {
        return KV_NIF_LARGE;
    }
    kv_unsettled_copy(copy, bytes.data, bytes.length);
    account(env, bytes.length);
    return kv_mapped_holds(value) ? KV_NIF_COPIED : KV_NIF_CHANGED;
}

/* encoded: the version byte, then the term. kv_term_validate() refuses funs that are local to a VM,
 * compressed terms and all else that only this VM's own encoder may write. */
static enum kv_nif_copy decode(struct kv_nif_pids *pids, ErlNifEnv *env,
                               const struct kv_nif_arena *arena, struct kv_bytes encoded,
                               ERL_NIF_TERM *term)
{
    const struct kv_term_limits limits = {
        .size = KV_NIF_TERM_MAX, .depth = KV_NIF_TERM_MAX, .zeros = arena->zeros};
    struct kv_bytes bytes = kv_bytes(encoded.data + 1, encoded.length - 1);
    size_t length = 0;
    if (bytes.length > 0 && bytes.data[0] == KV_TAG_NEW_PID
            ? kv_nif_pid(pids, env, arena, encoded, term)
            : kv_nif_term(env, bytes, term)) {
        return KV_NIF_COPIED;
    }
    bool decoded = kv_term_validate(bytes, &limits, &length) == KV_OK && length == bytes.length &&
                   enif_binary_to_term(env, encoded.data, encoded.length, term,
                                       ERL_NIF_BIN2TERM_SAFE) == encoded.length;
    return decoded ? KV_NIF_COPIED : KV_NIF_UNKNOWN;
}

/* Sets *contents to the contents of a binary that is kept as a term, as large ones are. Returns
 * false for any other term, and if the value has changed. */
static bool is_binary(const struct kv_mapped_value *value, struct kv_bytes *contents)
{
    uint8_t header[KV_LONG_HEADER];
    if (value->bytes.length < sizeof header) {
        return false;
    }
    kv_unsettled_copy(header, value->bytes.data, sizeof header);
    *contents = kv_bytes(value->bytes.data + sizeof header, value->bytes.length - sizeof header);
    return kv_mapped_holds(value) && header[0] == KV_TAG_BINARY &&
           kv_get32(header + 1) == contents->length;
}

static enum kv_nif_copy external(struct kv_nif_pids *pids, ErlNifEnv *env,
                                 const struct kv_nif_arena *arena,
                                 const struct kv_mapped_value *value, ERL_NIF_TERM *term)
{
    uint8_t local[KV_NIF_LOCAL];
    struct kv_bytes contents;
    size_t length = value->bytes.length + 1;
    if (length > sizeof local && is_binary(value, &contents)) {
        return binary(env, value, contents, term);
    }
    if (value->bytes.length > KV_NIF_TERM_MAX) {
        return KV_NIF_LARGE;
    }
    uint8_t *copy = length <= sizeof local ? local : kv_try_realloc(NULL, length);
    if (copy == NULL) {
        return KV_NIF_LARGE;
    }
    copy[0] = KV_TERM_VERSION;
    kv_unsettled_copy(copy + 1, value->bytes.data, value->bytes.length);
    enum kv_nif_copy result = kv_mapped_holds(value)
                                  ? decode(pids, env, arena, kv_bytes(copy, length), term)
                                  : KV_NIF_CHANGED;
    if (copy != local) {
        kv_free(copy);
    }
    return result;
}

enum kv_nif_copy kv_nif_value(struct kv_nif_pids *pids, ErlNifEnv *env,
                              const struct kv_nif_arena *arena, const struct kv_mapped_value *value,
                              ERL_NIF_TERM *term)
{
    switch (value->form) {
    case KV_FORM_TERM:
        return external(pids, env, arena, value, term);
    case KV_FORM_BINARY:
        return binary(env, value, value->bytes, term);
    default:
        return KV_NIF_UNKNOWN;
    }
}
