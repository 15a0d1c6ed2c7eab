/* The state that the functions of the library share. */
#ifndef KV_NIF_LIBRARY_H
#define KV_NIF_LIBRARY_H

#include "nif/nif.h"

/* Reasons to ask the owner instead. Each is the atom of its name. */
#define REASONS(X)                                                                                 \
    X(gone)                                                                                        \
    X(held)                                                                                        \
    X(disturbed)                                                                                   \
    X(broken)                                                                                      \
    X(counted)                                                                                     \
    X(large)                                                                                       \
    X(unknown)

#define ATOMS(X)                                                                                   \
    REASONS(X)                                                                                     \
    X(ok)                                                                                          \
    X(error)                                                                                       \
    X(closed)                                                                                      \
    X(unmet)                                                                                       \
    X(call)                                                                                        \
    X(lost)                                                                                        \
    X(reply)                                                                                       \
    X(taken)                                                                                       \
    X(wait)

/* The data of one load of the library. */
struct kv_nif_library {
    ErlNifResourceType *arena_type;
    ErlNifResourceType *lane_type;
    ErlNifResourceType *held_type;
    struct kv_nif_pids *pids;
    atomic_uint_fast64_t arenas; /* opened so far */
    ERL_NIF_TERM true_;
    ERL_NIF_TERM false_;
#define FIELD(name) ERL_NIF_TERM name;
    ATOMS(FIELD)
#undef FIELD
};

static inline const struct kv_nif_library *kv_nif_library_of(ErlNifEnv *env)
{
    return enif_priv_data(env);
}

/* {error, Reason} */
static inline ERL_NIF_TERM kv_nif_failed(ErlNifEnv *env, const char *reason)
{
    return enif_make_tuple2(env, kv_nif_library_of(env)->error, enif_make_atom(env, reason));
}

/* Reads {OsPid, Fd, Id, Size}. Borrows the id from the term. */
static inline bool kv_nif_get_place(ErlNifEnv *env, ERL_NIF_TERM term, size_t id_size,
                                    struct kv_nif_place *place)
{
    int arity;
    const ERL_NIF_TERM *parts;
    ErlNifUInt64 size;
    ErlNifBinary id;
    if (!enif_get_tuple(env, term, &arity, &parts) || arity != 4 ||
        !enif_get_uint(env, parts[0], &place->os_pid) ||
        !enif_get_uint(env, parts[1], &place->fd) || !enif_inspect_binary(env, parts[2], &id) ||
        id.size != id_size || !enif_get_uint64(env, parts[3], &size) || size > SIZE_MAX) {
        return false;
    }
    place->id = id.data;
    place->size = size;
    return true;
}

/* ---- lane_nif.c --------------------------------------------------------------------------------
 */

/* Opens the types of resources. Returns false if the VM does not allow it. */
bool kv_nif_lane_types(ErlNifEnv *env, struct kv_nif_library *library, ErlNifResourceFlags flags);

/* open_lane(Arena, {OsPid, Fd, Id, Size}, Groups): {ok, Lane} or {error, Reason}. The lane is
 * closed when the calling process ends. */
ERL_NIF_TERM kv_nif_open_lane(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* close_lane(Lane): ok. */
ERL_NIF_TERM kv_nif_close_lane(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* ask(Lane, Pid, Request): {reply, Answer}; {taken, Held}, and look(Held) may have the answer
 * later; `call': the request must be sent as a message; or `lost'. */
ERL_NIF_TERM kv_nif_ask(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);
/* look(Held): {reply, Answer}, `wait', `call' or `lost'. */
ERL_NIF_TERM kv_nif_look(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]);

#endif
