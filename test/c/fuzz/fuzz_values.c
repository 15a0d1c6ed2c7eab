/* Fuzzes the decoder of c_src/nif/terms.c, over the stub of the VM. The input is an external term.
 * The decoder accepts only terms that the validator accepts, and makes the term of these bytes. */
#include "nif/enif_stub.h"
#include "nif/nif.h"

#include <stdlib.h>

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void compare(struct kv_bytes input, struct kv_bytes decoded)
{
    struct kv_buffer one = KV_BUFFER_INIT;
    struct kv_buffer other = KV_BUFFER_INIT;
    kv_term_canonical(input, KV_ZEROS_DIFFER, &one);
    kv_term_canonical(decoded, KV_ZEROS_DIFFER, &other);
    check(kv_bytes_equal(kv_buffer_bytes(&one), kv_buffer_bytes(&other)));
    kv_buffer_free(&one);
    kv_buffer_free(&other);
}

static void validate(struct kv_bytes input, enum kv_zeros zeros)
{
    const struct kv_term_limits limits = {
        .size = KV_NIF_TERM_MAX, .depth = KV_NIF_TERM_MAX, .zeros = zeros};
    size_t length = 0;
    check(kv_term_validate(input, &limits, &length) == KV_OK);
    check(length == input.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ErlNifEnv *env = stub_env(NULL, 1);
    struct kv_bytes input = kv_bytes(data, size);
    ERL_NIF_TERM term;
    if (size <= KV_NIF_TERM_MAX && kv_nif_term(env, input, &term)) {
        validate(input, KV_ZEROS_SAME);
        validate(input, KV_ZEROS_DIFFER);
        compare(input, stub_external(term));
    }
    enif_free_env(env);
    return 0;
}
