/* State that the files of the stub share. */
#ifndef KV_TEST_ENIF_STATE_H
#define KV_TEST_ENIF_STATE_H

#include "nif/enif_stub.h"

struct resource;

struct term {
    struct term *next; /* in its environment */
    struct resource *resource;
    unsigned count; /* of parts */
    ERL_NIF_TERM parts[STUB_ARITY_MAX];
    size_t size;
    uint8_t bytes[]; /* the external form, behind its version */
};

struct enif_environment_t {
    void *library;
    unsigned self;
    struct term *terms;
};

_Noreturn void stub_fail(const char *what);
void *stub_checked(void *memory); /* fails the test where it is NULL */

/* The term behind a word; a term of `size` bytes of external form, all zero. */
struct term *stub_at(ERL_NIF_TERM term);
struct term *stub_new_term(ErlNifEnv *env, size_t size);

ERL_NIF_TERM stub_resource_term(ErlNifEnv *env, struct resource *resource);
void stub_unrefer(struct resource *resource);

#endif
