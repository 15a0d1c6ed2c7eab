/* The functions of a VM that the library of c_src/nif/ calls, without a VM: terms, environments,
 * binaries, resources, monitors and mutexes.
 *
 * A term is its external form plus its parts. It lives in an environment and is freed with it;
 * atoms and local pids are never freed. An environment belongs to one thread; everything else here
 * may be used by any thread. */
#ifndef KV_TEST_ENIF_STUB_H
#define KV_TEST_ENIF_STUB_H

#include <kv/bytes.h>

#include <erl_nif.h>

enum { STUB_ARITY_MAX = 64 }; /* parts of a tuple, twice the pairs of a map */

/* Loads the library. Returns its private data, which stub_unload() frees, or NULL if the library
 * refused to load. */
void *stub_load(void);
void stub_unload(void *library);

/* An environment of a call by the process `self`; 0: of no process. Freed with enif_free_env(). */
ErlNifEnv *stub_env(void *library, unsigned self);

/* Calls a function of the library. The test fails, with abort(), if there is none of that name and
 * arity. */
ERL_NIF_TERM stub_call(ErlNifEnv *env, const char *name, unsigned arity, ...);

/* The process ends: monitors of it fire, and it can be monitored no more. */
void stub_process_ends(unsigned self);

/* The process gets the name, and the one that had it loses it; 0: nobody has the name. There is one
 * name in all. */
void stub_register(ERL_NIF_TERM name, unsigned self);

/* Resources that were not destroyed yet. */
unsigned stub_resources(void);

/* ---- terms ----------------------------------------------------------------------------------- */

/* A term by its external form, behind the version byte. The test fails if that is not one term. */
ERL_NIF_TERM stub_term(ErlNifEnv *env, struct kv_bytes external);
ERL_NIF_TERM stub_binary(ErlNifEnv *env, struct kv_bytes contents);
ERL_NIF_TERM stub_pid(ErlNifEnv *env, const char *node, uint32_t id, uint32_t serial,
                      uint32_t creation);
ERL_NIF_TERM stub_local_pid(unsigned self); /* of a process of this VM */
ERL_NIF_TERM stub_tuple(ErlNifEnv *env, unsigned arity, ...);
ERL_NIF_TERM stub_cons(ErlNifEnv *env, ERL_NIF_TERM head, ERL_NIF_TERM tail);
ERL_NIF_TERM stub_map(ErlNifEnv *env, ERL_NIF_TERM key, ERL_NIF_TERM value);
ERL_NIF_TERM stub_fun(ErlNifEnv *env);

/* Atoms that begin with this do not exist in this VM until they are made. */
#define STUB_UNHEARD_OF "unheard_of"

struct kv_bytes stub_external(ERL_NIF_TERM term);
bool stub_is_atom(ERL_NIF_TERM term, const char *text);
bool stub_is_error(ErlNifEnv *env, ERL_NIF_TERM term, const char *reason); /* {error, Reason} */

#endif
