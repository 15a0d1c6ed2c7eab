/* The functions of kv_nif.erl that are about lanes, and their resources. */
#include "nif/library.h"

/* A slot whose request the node has taken and not yet answered. */
struct held {
    struct kv_nif_lane *lane; /* kept */
    struct kv_slot *slot;
    atomic_bool over; /* the slot is not ours any more */
};

/* ---- lanes ------------------------------------------------------------------------------------
 */

static void destroy_lane(ErlNifEnv *env, void *object)
{
    struct kv_nif_lane *lane = object;
    (void)env;
    kv_nif_lane_close(lane);
    kv_nif_lane_unmap(lane);
    if (lane->arena != NULL) {
        enif_release_resource(lane->arena);
    }
}

/* The process that has opened the lane has ended: nobody closes it any more when its node is lost.
 */
static void opener_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    (void)env;
    (void)pid;
    (void)monitor;
    kv_nif_lane_close(object);
}

ERL_NIF_TERM kv_nif_open_lane(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    struct kv_nif_place place;
    void *arena;
    unsigned groups;
    (void)argc;
    if (!enif_get_resource(env, argv[0], library->arena_type, &arena) ||
        !kv_nif_get_place(env, argv[1], KV_LANE_ID_SIZE, &place) ||
        !enif_get_uint(env, argv[2], &groups)) {
        return enif_make_badarg(env);
    }
    struct kv_nif_lane *lane = enif_alloc_resource(library->lane_type, sizeof *lane);
    if (lane == NULL) {
        return kv_nif_failed(env, "no_memory");
    }
    memset(lane, 0, sizeof *lane);
    lane->library = library;
    lane->arena = arena;
    enif_keep_resource(arena);
    ErlNifPid opener;
    const char *reason = kv_nif_lane_open(&place, groups, lane);
    if (reason == NULL &&
        (enif_self(env, &opener) == NULL || enif_monitor_process(env, lane, &opener, NULL) != 0)) {
        reason = "no_owner";
    }
    ERL_NIF_TERM result = reason != NULL
                              ? kv_nif_failed(env, reason)
                              : enif_make_tuple2(env, library->ok, enif_make_resource(env, lane));
    enif_release_resource(lane);
    return result;
}

ERL_NIF_TERM kv_nif_close_lane(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    void *lane;
    (void)argc;
    if (!enif_get_resource(env, argv[0], library->lane_type, &lane)) {
        return enif_make_badarg(env);
    }
    kv_nif_lane_close(lane);
    return library->ok;
}

/* ---- calls ------------------------------------------------------------------------------------
 */

/* The result of a call, but for taken requests. */
static ERL_NIF_TERM result_of(ErlNifEnv *env, struct kv_nif_lane *lane, enum kv_nif_asked asked,
                              ERL_NIF_TERM answer)
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    switch (asked) {
    case KV_NIF_ANSWERED:
        return enif_make_tuple2(env, library->reply, answer);
    case KV_NIF_BY_MESSAGE:
        return library->call;
    case KV_NIF_BROKEN:
        kv_nif_lane_close(lane);
        return library->lost;
    default:
        return library->lost;
    }
}

/* Called when no process waits for the answer any more, whatever has ended it. */
static void destroy_held(ErlNifEnv *env, void *object)
{
    struct held *held = object;
    (void)env;
    if (!atomic_exchange(&held->over, true)) {
        kv_nif_lane_leave(held->slot);
    }
    enif_release_resource(held->lane);
}

/* If there is no memory, nobody waits: the answer is lost, as with a connection. */
static ERL_NIF_TERM hold(ErlNifEnv *env, struct kv_nif_lane *lane, struct kv_slot *slot)
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    struct held *held = enif_alloc_resource(library->held_type, sizeof *held);
    if (held == NULL) {
        kv_nif_lane_leave(slot);
        return library->lost;
    }
    held->lane = lane;
    held->slot = slot;
    atomic_init(&held->over, false);
    enif_keep_resource(lane);
    ERL_NIF_TERM term = enif_make_resource(env, held);
    enif_release_resource(held);
    return enif_make_tuple2(env, library->taken, term);
}

ERL_NIF_TERM kv_nif_ask(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    void *object;
    struct kv_slot *slot = NULL;
    ERL_NIF_TERM answer = 0;
    (void)argc;
    if (!enif_get_resource(env, argv[0], library->lane_type, &object)) {
        return library->call;
    }
    struct kv_nif_lane *lane = object;
    if (lane->library != library) {
        return library->call;
    }
    enum kv_nif_asked asked =
        kv_nif_lane_ask(library->pids, env, lane, argv[1], argv[2], &answer, &slot);
    return asked == KV_NIF_TAKEN ? hold(env, lane, slot) : result_of(env, lane, asked, answer);
}

ERL_NIF_TERM kv_nif_look(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    void *object;
    ERL_NIF_TERM answer = 0;
    (void)argc;
    if (!enif_get_resource(env, argv[0], library->held_type, &object)) {
        return enif_make_badarg(env);
    }
    struct held *held = object;
    if (atomic_load(&held->over)) {
        return library->lost;
    }
    enum kv_nif_asked asked = kv_nif_lane_look(env, held->lane, held->slot, &answer);
    if (asked == KV_NIF_TAKEN) {
        return library->wait;
    }
    atomic_store(&held->over, true);
    return result_of(env, held->lane, asked, answer);
}

bool kv_nif_lane_types(ErlNifEnv *env, struct kv_nif_library *library, ErlNifResourceFlags flags)
{
    /* A change of a layout needs another name. */
    const ErlNifResourceTypeInit lane = {.dtor = destroy_lane, .down = opener_down};
    const ErlNifResourceTypeInit held = {.dtor = destroy_held};
    library->lane_type = enif_open_resource_type_x(env, "kv_lane_1", &lane, flags, NULL);
    library->held_type = enif_open_resource_type_x(env, "kv_held_1", &held, flags, NULL);
    return library->lane_type != NULL && library->held_type != NULL;
}
