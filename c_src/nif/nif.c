/* Loading, and the functions that kv_nif.erl calls. */
#include "nif/library.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <time.h>

/* ---- arenas ---------------------------------------------------------------------------------- */

static void destroy_arena(ErlNifEnv *env, void *object)
{
    (void)env;
    kv_nif_unmap(object);
}

static void shut(struct kv_nif_arena *arena)
{
    atomic_store_explicit(&arena->closed, true, memory_order_release);
}

/* Called when the process that opened the arena has ended: nobody closes the arena any more when
 * its node is lost. */
static void owner_down(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *monitor)
{
    (void)env;
    (void)pid;
    (void)monitor;
    shut(object);
}

/* Returns NULL if the term is no arena, or a closed one. */
static const struct kv_nif_arena *get_arena(const struct kv_nif_library *library, ErlNifEnv *env,
                                            ERL_NIF_TERM term)
{
    void *object;
    if (!enif_get_resource(env, term, library->arena_type, &object)) {
        return NULL;
    }
    const struct kv_nif_arena *arena = object;
    return atomic_load_explicit(&arena->closed, memory_order_acquire) ? NULL : arena;
}

/* open_arena({OsPid, Fd, Id, Size}, Node, Creation, Zeros): {ok, Arena} or {error, Reason}. Node is
 * UTF-8, Zeros `same' or `differ'. The arena is closed when the calling process ends. */
static ERL_NIF_TERM open_arena(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct kv_nif_place place;
    ErlNifBinary node;
    unsigned creation;
    (void)argc;
    if (!kv_nif_get_place(env, argv[0], KV_ARENA_ID_SIZE, &place) ||
        !enif_inspect_binary(env, argv[1], &node) || node.size > KV_ATOM_MAX_BYTES ||
        !enif_get_uint(env, argv[2], &creation)) {
        return enif_make_badarg(env);
    }
    struct kv_nif_library *library = enif_priv_data(env);
    struct kv_nif_arena *arena = enif_alloc_resource(library->arena_type, sizeof *arena);
    if (arena == NULL) {
        return kv_nif_failed(env, "no_memory");
    }
    memset(arena, 0, sizeof *arena);
    arena->creation = creation;
    arena->zeros =
        enif_is_identical(argv[3], enif_make_atom(env, "same")) ? KV_ZEROS_SAME : KV_ZEROS_DIFFER;
    arena->number = 2 * (atomic_fetch_add(&library->arenas, 1) + 1);
    memcpy(arena->node, node.data, node.size);
    arena->node_length = node.size;
    ErlNifPid owner;
    const char *reason = kv_nif_map(&place, arena);
    if (reason == NULL &&
        (enif_self(env, &owner) == NULL || enif_monitor_process(env, arena, &owner, NULL) != 0)) {
        reason = "no_owner";
    }
    ERL_NIF_TERM result = reason != NULL
                              ? kv_nif_failed(env, reason)
                              : enif_make_tuple2(env, library->ok, enif_make_resource(env, arena));
    enif_release_resource(arena);
    return result;
}

/* close_arena(Arena): ok. Later reads return `closed'. The memory stays mapped until no term refers
 * to the arena, since other threads may be reading now. */
static ERL_NIF_TERM close_arena(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    void *object;
    (void)argc;
    if (!enif_get_resource(env, argv[0], kv_nif_library_of(env)->arena_type, &object)) {
        return enif_make_badarg(env);
    }
    shut(object);
    return kv_nif_library_of(env)->ok;
}

/* ---- reading --------------------------------------------------------------------------------- */

static ERL_NIF_TERM reason_of(const struct kv_nif_library *library, enum kv_read result)
{
    switch (result) {
    case KV_READ_GONE:
        return library->gone;
    case KV_READ_ASK_OWNER:
        return library->held;
    case KV_READ_DISTURBED:
        return library->disturbed;
    default:
        return library->broken;
    }
}

enum {
    USE_KEPT_MS = 1000, /* after a use, further ones need not be noted */
    TOUCH_PART = 10,    /* this part of a life passes before a read starts the life again */
};

static uint64_t time_now(void)
{
    struct timespec now;
    (void)clock_gettime(KV_EXPIRY_CLOCK, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool has_passed(uint64_t time)
{
    return time != 0 && time_now() >= time;
}

/* Returns true if the owner must know of the read, so that it notes a use, or starts the life of
 * the entry again. The owner need not know of each: uses of the last second, and reads within the
 * first tenth of a life, would change little. */
static bool counts(const struct kv_mapped_value *value, bool is_read)
{
    const uint64_t touch = is_read && value->expires != 0 ? kv_mapped_touch(&value->table) : 0;
    if (!value->has_use && touch == 0) {
        return false;
    }
    const uint64_t now = time_now();
    return (value->has_use && (uint32_t)now - value->last_use > USE_KEPT_MS) ||
           (touch != 0 && now < value->expires &&
            value->expires - now < touch - touch / TOUCH_PART);
}

enum outcome {
    FOUND,
    ABSENT,
    ASK,  /* the owner: the result is the reason */
    AGAIN /* the value has changed: it must be found again */
};

/* The functions that look for a key differ in these. */
struct wanted {
    enum kv_nif_kind kind;
    const struct kv_nif_library *library;
    const struct kv_nif_arena *arena;
    /* Sets *result, unless it returns ABSENT or AGAIN. */
    enum outcome (*take)(ErlNifEnv *env, const struct wanted *wanted,
                         const struct kv_mapped_value *value, ERL_NIF_TERM *result);
    bool reads; /* the value, and not only that there is one */
};

static enum outcome ask(ERL_NIF_TERM reason, ERL_NIF_TERM *result)
{
    *result = reason;
    return ASK;
}

static enum outcome find(ErlNifEnv *env, const struct wanted *wanted,
                         const struct kv_mapped_table *table, const struct kv_nif_key *key,
                         ERL_NIF_TERM *result)
{
    const struct kv_mapped *mapped = &wanted->arena->mapped;
    uint64_t hash = kv_mapped_hash(mapped, key->bytes);
    struct kv_mapped_value value;
    for (unsigned i = 0; i < KV_NIF_TRIES; i++) {
        enum kv_read read = kv_mapped_find(mapped, table, key->bytes, key->form, hash, &value);
        if (read == KV_READ_ABSENT) {
            return ABSENT;
        }
        if (read != KV_READ_FOUND) {
            return ask(reason_of(wanted->library, read), result);
        }
        if (counts(&value, wanted->reads)) {
            return ask(wanted->library->counted, result);
        }
        enum outcome outcome = wanted->take(env, wanted, &value, result);
        if (outcome != AGAIN) {
            return outcome;
        }
    }
    return ask(wanted->library->disturbed, result);
}

/* A read that the owner must answer counts where it is answered. */
static enum outcome look_in(ErlNifEnv *env, const struct wanted *wanted,
                            const struct kv_mapped_table *table, struct kv_nif_tally *tally,
                            ERL_NIF_TERM term, ERL_NIF_TERM *result)
{
    struct kv_nif_key key;
    enum outcome outcome = ASK;
    *result = wanted->library->large;
    if (kv_nif_key(env, term, wanted->arena->zeros, &key)) {
        outcome = find(env, wanted, table, &key, result);
        if (outcome != ASK) {
            kv_nif_count(tally, outcome == FOUND);
        }
    }
    kv_nif_key_free(&key);
    return outcome;
}

/* The arguments begin with an arena, a pid and a key. */
static enum outcome look(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct wanted *wanted,
                         ERL_NIF_TERM *result)
{
    struct kv_mapped_table table;
    struct kv_nif_tally *tally;
    wanted->arena = get_arena(wanted->library, env, argv[0]);
    if (wanted->arena == NULL) {
        return ask(wanted->library->closed, result);
    }
    enum kv_read read = kv_nif_table(wanted->library->pids, env, wanted->arena, wanted->kind,
                                     argv[1], &table, &tally);
    if (read != KV_READ_FOUND) {
        return ask(reason_of(wanted->library, read), result);
    }
    return look_in(env, wanted, &table, tally, argv[2], result);
}

static enum outcome take_value(ErlNifEnv *env, const struct wanted *wanted,
                               const struct kv_mapped_value *value, ERL_NIF_TERM *result)
{
    switch (kv_nif_value(wanted->library->pids, env, wanted->arena, value, result)) {
    case KV_NIF_COPIED:
        return has_passed(value->expires) ? ABSENT : FOUND;
    case KV_NIF_CHANGED:
        return AGAIN;
    case KV_NIF_LARGE:
        return ask(wanted->library->large, result);
    default:
        return ask(wanted->library->unknown, result);
    }
}

static enum outcome take_presence(ErlNifEnv *env, const struct wanted *wanted,
                                  const struct kv_mapped_value *value, ERL_NIF_TERM *result)
{
    (void)env;
    *result = wanted->library->true_;
    return !kv_mapped_holds(value) ? AGAIN : has_passed(value->expires) ? ABSENT : FOUND;
}

/* get(Arena, Pid, Key, Default): the value or Default, or `call': the owner must be asked. A value
 * or a default may be `call', too: then the owner gives the same answer. */
static ERL_NIF_TERM get(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct wanted wanted = {.library = kv_nif_library_of(env), .take = take_value, .reads = true};
    ERL_NIF_TERM result;
    (void)argc;
    enum outcome outcome = look(env, argv, &wanted, &result);
    return outcome == FOUND ? result : outcome == ABSENT ? argv[3] : wanted.library->call;
}

/* epoch(): a number that is another one after next_epoch(). */
static ERL_NIF_TERM epoch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    return enif_make_uint64(env, kv_nif_epoch(kv_nif_library_of(env)->pids));
}

/* next_epoch(): ok. Threads forget all proxies. */
static ERL_NIF_TERM next_epoch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    (void)argc;
    (void)argv;
    kv_nif_next_epoch(kv_nif_library_of(env)->pids);
    return kv_nif_library_of(env)->ok;
}

/* meet(Arena, Native, Proxy, Node, Epoch): ok. This thread remembers the table of a proxy. */
static ERL_NIF_TERM meet(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    const struct kv_nif_arena *arena = get_arena(library, env, argv[0]);
    ErlNifUInt64 number;
    ErlNifPid pid;
    (void)argc;
    if (!enif_get_local_pid(env, argv[2], &pid) || !enif_is_atom(env, argv[3]) ||
        !enif_get_uint64(env, argv[4], &number)) {
        return enif_make_badarg(env);
    }
    if (arena != NULL) {
        kv_nif_meet(library->pids, env, arena, argv[1], argv[2], argv[3], number);
    }
    return library->ok;
}

/* {ok, Value}, error, or a reason. */
static ERL_NIF_TERM tagged(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct wanted *wanted)
{
    ERL_NIF_TERM result;
    enum outcome outcome = look(env, argv, wanted, &result);
    return outcome == FOUND    ? enif_make_tuple2(env, wanted->library->ok, result)
           : outcome == ABSENT ? wanted->library->error
                               : result;
}

/* fetch(Arena, Pid, Key): {ok, Value}, error, or a reason. */
static ERL_NIF_TERM fetch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct wanted wanted = {.library = kv_nif_library_of(env), .take = take_value, .reads = true};
    (void)argc;
    return tagged(env, argv, &wanted);
}

/* lookup(Arena, Pid, Name): {ok, Pid}, error, or a reason. */
static ERL_NIF_TERM lookup(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct wanted wanted = {
        .kind = KV_NIF_NAMES, .library = kv_nif_library_of(env), .take = take_value};
    (void)argc;
    return tagged(env, argv, &wanted);
}

/* has_key(Arena, Pid, Key): true, false, or a reason. */
static ERL_NIF_TERM has_key(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct wanted wanted = {.library = kv_nif_library_of(env), .take = take_presence};
    ERL_NIF_TERM result;
    (void)argc;
    return look(env, argv, &wanted, &result) == ABSENT ? wanted.library->false_ : result;
}

/* Expired entries of a small table do not count: the node is asked, which removes them. */
static enum kv_read count_of(const struct kv_nif_arena *arena, const struct kv_mapped_table *table,
                             uint64_t *count)
{
    uint64_t next_expiry;
    enum kv_read read = kv_mapped_count(&arena->mapped, table, count, &next_expiry);
    bool asks = read == KV_READ_FOUND && *count <= KV_COUNT_EXACT_MAX && has_passed(next_expiry);
    return asks ? KV_READ_DISTURBED : read;
}

/* size(Arena, Pid): a number, or a reason. */
static ERL_NIF_TERM size(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    const struct kv_nif_arena *arena = get_arena(library, env, argv[0]);
    struct kv_mapped_table table;
    struct kv_nif_tally *tally;
    uint64_t count;
    (void)argc;
    if (arena == NULL) {
        return library->closed;
    }
    enum kv_read read =
        kv_nif_table(library->pids, env, arena, KV_NIF_BUCKET, argv[1], &table, &tally);
    if (read == KV_READ_FOUND) {
        read = count_of(arena, &table, &count);
    }
    return read == KV_READ_FOUND ? enif_make_uint64(env, count) : reason_of(library, read);
}

/* counters(Arena, Pid): a binary, which stays equal as long as nothing in the table changes, or a
 * reason. */
static ERL_NIF_TERM counters(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    const struct kv_nif_arena *arena = get_arena(library, env, argv[0]);
    struct kv_mapped_table table;
    struct kv_nif_tally *tally;
    struct kv_mapped_counters now;
    ERL_NIF_TERM result;
    (void)argc;
    if (arena == NULL) {
        return library->closed;
    }
    enum kv_read read =
        kv_nif_table(library->pids, env, arena, KV_NIF_BUCKET, argv[1], &table, &tally);
    if (read == KV_READ_FOUND) {
        read = kv_mapped_counters(&arena->mapped, &table, &now);
    }
    if (read != KV_READ_FOUND) {
        return reason_of(library, read);
    }
    memcpy(enif_make_new_binary(env, sizeof now, &result), &now, sizeof now);
    return result;
}

/* ---- reading by a proxy -----------------------------------------------------------------------
 * These functions return `unmet' if this thread does not know the process behind the proxy, and
 * whenever the owner must be asked. Arenas is a map that has the arena of each node. */

/* The arguments begin with Arenas and a proxy, or the local name of one. Sets wanted->arena. */
static const struct kv_nif_proxy *met_in(ErlNifEnv *env, const ERL_NIF_TERM argv[],
                                         struct wanted *wanted)
{
    ERL_NIF_TERM arena;
    const struct kv_nif_proxy *met = kv_nif_met(wanted->library->pids, env, argv[1]);
    if (met == NULL || !enif_get_map_value(env, argv[0], met->node, &arena)) {
        return NULL;
    }
    wanted->arena = get_arena(wanted->library, env, arena);
    return wanted->arena != NULL && wanted->arena->number == met->arena ? met : NULL;
}

static enum outcome look_by(ErlNifEnv *env, const ERL_NIF_TERM argv[], struct wanted *wanted,
                            ERL_NIF_TERM *result)
{
    const struct kv_nif_proxy *met = met_in(env, argv, wanted);
    if (met == NULL) {
        return ASK;
    }
    const struct kv_mapped_table table = met->table;
    return look_in(env, wanted, &table, met->tally, argv[2], result);
}

/* get_by(Arenas, Proxy, Key, Default): the value or Default. */
static ERL_NIF_TERM get_by(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct wanted wanted = {.library = kv_nif_library_of(env), .take = take_value, .reads = true};
    ERL_NIF_TERM result;
    (void)argc;
    enum outcome outcome = look_by(env, argv, &wanted, &result);
    return outcome == FOUND ? result : outcome == ABSENT ? argv[3] : wanted.library->unmet;
}

/* fetch_by(Arenas, Proxy, Key): {ok, Value} or error. */
static ERL_NIF_TERM fetch_by(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct wanted wanted = {.library = kv_nif_library_of(env), .take = take_value, .reads = true};
    ERL_NIF_TERM result;
    (void)argc;
    enum outcome outcome = look_by(env, argv, &wanted, &result);
    return outcome == FOUND    ? enif_make_tuple2(env, wanted.library->ok, result)
           : outcome == ABSENT ? wanted.library->error
                               : wanted.library->unmet;
}

/* has_key_by(Arenas, Proxy, Key): true or false. */
static ERL_NIF_TERM has_key_by(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct wanted wanted = {.library = kv_nif_library_of(env), .take = take_presence};
    ERL_NIF_TERM result;
    (void)argc;
    enum outcome outcome = look_by(env, argv, &wanted, &result);
    return outcome == FOUND    ? wanted.library->true_
           : outcome == ABSENT ? wanted.library->false_
                               : wanted.library->unmet;
}

/* size_by(Arenas, Proxy): a number. */
static ERL_NIF_TERM size_by(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct wanted wanted = {.library = kv_nif_library_of(env)};
    const struct kv_nif_proxy *met = met_in(env, argv, &wanted);
    uint64_t count;
    (void)argc;
    return met != NULL && count_of(wanted.arena, &met->table, &count) == KV_READ_FOUND
               ? enif_make_uint64(env, count)
               : wanted.library->unmet;
}

/* reads(Arena, Pid): {Hits, Misses} of all reads of a bucket that this library has answered. */
static ERL_NIF_TERM reads(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    const struct kv_nif_library *library = kv_nif_library_of(env);
    const struct kv_nif_arena *arena = get_arena(library, env, argv[0]);
    uint64_t hits;
    uint64_t misses;
    (void)argc;
    if (arena == NULL) {
        return library->closed;
    }
    kv_nif_reads(library->pids, env, arena, argv[1], &hits, &misses);
    return enif_make_tuple2(env, enif_make_uint64(env, hits), enif_make_uint64(env, misses));
}

/* key(Key, Zeros, Way): {Form, Bytes}, or unknown. Way is `direct' or `generic'. For tests. */
static ERL_NIF_TERM key_bytes(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    struct kv_nif_key key;
    ERL_NIF_TERM bytes;
    bool same = enif_is_identical(argv[1], enif_make_atom(env, "same")) != 0;
    bool direct = enif_is_identical(argv[2], enif_make_atom(env, "direct")) != 0;
    enum kv_zeros zeros = same ? KV_ZEROS_SAME : KV_ZEROS_DIFFER;
    (void)argc;
    bool known = direct ? kv_nif_key_direct(env, argv[0], zeros, &key)
                        : kv_nif_key_generic(env, argv[0], zeros, &key);
    ERL_NIF_TERM result = kv_nif_library_of(env)->unknown;
    if (known) {
        uint8_t *copy = enif_make_new_binary(env, key.bytes.length, &bytes);
        memcpy(copy, key.bytes.data, key.bytes.length);
        result = enif_make_tuple2(env, enif_make_uint(env, key.form), bytes);
    }
    kv_nif_key_free(&key);
    return result;
}

/* ---- loading --------------------------------------------------------------------------------- */

static struct kv_nif_library *library_new(ErlNifEnv *env)
{
    /* Takes over the arenas that an older version of this library has opened. A change of the
     * layout of struct kv_nif_arena needs another name here. */
    ErlNifResourceFlags flags = ERL_NIF_RT_CREATE | ERL_NIF_RT_TAKEOVER;
    const ErlNifResourceTypeInit init = {.dtor = destroy_arena, .down = owner_down};
    struct kv_nif_library *library = kv_zalloc(sizeof *library);
    library->arena_type = enif_open_resource_type_x(env, "kv_arena_1", &init, flags, NULL);
    library->pids = kv_nif_pids_new();
    if (library->arena_type == NULL || !kv_nif_lane_types(env, library, flags) ||
        library->pids == NULL) {
        if (library->pids != NULL) {
            kv_nif_pids_free(library->pids);
        }
        kv_free(library);
        return NULL;
    }
    library->true_ = enif_make_atom(env, "true");
    library->false_ = enif_make_atom(env, "false");
#define MAKE(name) library->name = enif_make_atom(env, #name);
    ATOMS(MAKE)
#undef MAKE
    return library;
}

static int load(ErlNifEnv *env, void **data, ERL_NIF_TERM info)
{
    (void)info;
    *data = library_new(env);
    return *data == NULL;
}

static int upgrade(ErlNifEnv *env, void **data, void **old_data, ERL_NIF_TERM info)
{
    const struct kv_nif_library *old = *old_data;
    int failure = load(env, data, info);
    if (failure == 0) {
        struct kv_nif_library *library = *data;
        atomic_store(&library->arenas, atomic_load(&old->arenas));
    }
    return failure;
}

static void unload(ErlNifEnv *env, void *data)
{
    struct kv_nif_library *library = data;
    (void)env;
    kv_nif_pids_free(library->pids);
    kv_free(library);
}

static ErlNifFunc functions[] = {
    /* Opening waits for the file system, though briefly. */
    {"open_arena", 4, open_arena, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"close_arena", 1, close_arena, 0},
    {"get", 4, get, 0},
    {"get_by", 4, get_by, 0},
    {"fetch_by", 3, fetch_by, 0},
    {"has_key_by", 3, has_key_by, 0},
    {"size_by", 2, size_by, 0},
    {"meet", 5, meet, 0},
    {"epoch", 0, epoch, 0},
    {"next_epoch", 0, next_epoch, 0},
    {"fetch", 3, fetch, 0},
    {"lookup", 3, lookup, 0},
    {"has_key", 3, has_key, 0},
    {"size", 2, size, 0},
    {"counters", 2, counters, 0},
    {"reads", 2, reads, 0},
    {"key", 3, key_bytes, 0},
    {"open_lane", 3, kv_nif_open_lane, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"close_lane", 1, kv_nif_close_lane, 0},
    {"ask", 3, kv_nif_ask, 0},
    {"look", 1, kv_nif_look, 0},
};

ERL_NIF_INIT(kv_nif, functions, load, NULL, upgrade, unload)
