/* The caches of each thread: from a pid to its table, and from the bytes of a pid to its term. */
#include "nif/nif.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "base/word.h"

enum {
    PLACES = 1024,             /* a power of two */
    WAYS = 4,                  /* neighbouring places in which a pid may be */
    MINTED = 4096,             /* a power of two */
    PIDS_MAX = MINTED * 3 / 4, /* a thread that has so many forgets all */
};

struct known {
    ERL_NIF_TERM pid; /* a copy in the thread's environment */
    uint64_t arena;   /* its number, 0 = a free place; one more for names */
    uint64_t hash;
    struct kv_mapped_table table;
    struct kv_nif_tally *tally; /* of the same thread */
};

/* A pid that was a value, such as the pid behind a name in a registry. */
struct minted {
    ERL_NIF_TERM pid;
    uint64_t arena; /* 0 = a free place */
    uint32_t id;
    uint32_t serial;
};

/* The cache of one thread. No other thread uses it, but for the tallies: kv_nif_reads(). */
struct memory {
    struct memory *next;
    ErlNifEnv *env;
    const struct known *last[2]; /* found last, of either kind: comparing is cheaper than hashing */
    unsigned count;
    uint32_t number; /* of the thread */
    struct known places[PLACES];
    struct minted minted[MINTED];
    struct kv_nif_proxy proxies[PLACES];
    struct kv_nif_tally tallies[KV_NIF_TALLIES]; /* are given to tables with the mutex held */
};

struct kv_nif_pids {
    uint64_t number;
    atomic_uint_fast64_t epoch;
    ErlNifMutex *mutex;
    struct memory *memories;
};

/* Two loads of the library, an old one and a new one, may share these statics. The number says to
 * which load the cache of a thread belongs. The VM's own thread-specific data would not do: a key
 * that is reused still has the old values of the threads (OTP: erl_drv_thread.c). */
static atomic_uint_fast64_t loads;
static _Thread_local struct {
    uint64_t number;
    struct memory *memory;
} own;

struct kv_nif_pids *kv_nif_pids_new(void)
{
    struct kv_nif_pids *pids = kv_zalloc(sizeof *pids);
    pids->number = atomic_fetch_add(&loads, 1) + 1;
    pids->mutex = enif_mutex_create("kv_nif.pids");
    if (pids->mutex == NULL) {
        kv_free(pids);
        return NULL;
    }
    return pids;
}

void kv_nif_pids_free(struct kv_nif_pids *pids)
{
    enif_mutex_destroy(pids->mutex);
    while (pids->memories != NULL) {
        struct memory *memory = pids->memories;
        pids->memories = memory->next;
        enif_free_env(memory->env);
        kv_free(memory);
    }
    kv_free(pids);
}

/* Returns NULL if there is no memory. */
static struct memory *memory_of_thread(struct kv_nif_pids *pids)
{
    if (own.number == pids->number) {
        return own.memory;
    }
    struct memory *memory = kv_zalloc(sizeof *memory);
    memory->env = enif_alloc_env();
    if (memory->env == NULL) {
        kv_free(memory);
        return NULL;
    }
    enif_mutex_lock(pids->mutex);
    memory->number = pids->memories == NULL ? 0 : pids->memories->number + 1;
    memory->next = pids->memories;
    pids->memories = memory;
    enif_mutex_unlock(pids->mutex);
    own.number = pids->number;
    own.memory = memory;
    return memory;
}

uint32_t kv_nif_thread(struct kv_nif_pids *pids)
{
    const struct memory *memory = memory_of_thread(pids);
    return memory == NULL ? UINT32_MAX : memory->number;
}

static struct known *find(struct memory *memory, uint64_t arena, uint64_t hash, ERL_NIF_TERM pid)
{
    for (unsigned i = 0; i < WAYS; i++) {
        struct known *known = &memory->places[(hash + i) % PLACES];
        if (known->arena == arena && known->hash == hash && enif_is_identical(known->pid, pid)) {
            return known;
        }
    }
    return NULL;
}

/* Called before a pid is copied into the environment of the thread, which frees copies only all at
 * once. */
static void make_room(struct memory *memory)
{
    if (memory->count >= PIDS_MAX) {
        enif_clear_env(memory->env);
        memset(memory->places, 0, sizeof memory->places);
        memset(memory->minted, 0, sizeof memory->minted);
        memory->count = 0;
    }
    memory->count++;
}

/* Returns a free place for a pid, or the place of another pid. */
static struct known *place_for(struct memory *memory, uint64_t hash)
{
    make_room(memory);
    for (unsigned i = 0; i < WAYS; i++) {
        struct known *known = &memory->places[(hash + i) % PLACES];
        if (known->arena == 0) {
            return known;
        }
    }
    return &memory->places[hash % PLACES];
}

/* Returns false if the term is no pid of the arena's node with the node's present creation. */
static bool read_pid(ErlNifEnv *env, const struct kv_nif_arena *arena, ERL_NIF_TERM term,
                     struct kv_pid *pid)
{
    const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    ErlNifBinary encoded;
    if (!enif_is_pid(env, term) || !enif_term_to_binary(env, term, &encoded)) {
        return false;
    }
    struct kv_bytes bytes = kv_bytes(encoded.data + 1, encoded.size - 1);
    struct kv_reader reader = kv_reader(bytes);
    bool is_pid = encoded.data[0] == KV_TERM_VERSION &&
                  kv_term_validate(bytes, &limits, NULL) == KV_OK &&
                  kv_read_pid(&reader, pid) == KV_OK && pid->creation == arena->creation &&
                  kv_bytes_equal(pid->node, kv_bytes(arena->node, arena->node_length));
    enif_release_binary(&encoded);
    return is_pid;
}

/* ---- tallies --------------------------------------------------------------------------------- */

static bool is_tally_of(const struct kv_nif_tally *tally, uint64_t arena, uint32_t id,
                        uint32_t serial)
{
    return tally->arena == arena && tally->id == id && tally->serial == serial;
}

/* Returns the tally of a table, or a free one of the neighbouring places, or else the first of
 * these places. Neighbours have neighbouring ids, as processes that were created together have. */
static struct kv_nif_tally *tally_place(struct memory *memory, uint64_t arena, uint32_t id,
                                        uint32_t serial)
{
    struct kv_nif_tally *place = NULL;
    for (unsigned i = 0; i < WAYS; i++) {
        struct kv_nif_tally *tally = &memory->tallies[(id * WAYS + serial + i) % KV_NIF_TALLIES];
        if (is_tally_of(tally, arena, id, serial)) {
            return tally;
        }
        if (place == NULL || (place->arena != 0 && tally->arena == 0)) {
            place = tally;
        }
    }
    return place;
}

/* The thread meets the tables anew that counted here before. */
static void forget_tally(struct memory *memory, const struct kv_nif_tally *tally)
{
    for (unsigned i = 0; i < PLACES; i++) {
        if (memory->places[i].tally == tally) {
            memory->places[i].arena = 0;
        }
        if (memory->proxies[i].tally == tally) {
            memory->proxies[i].proxy = 0;
        }
    }
}

static struct kv_nif_tally *tally_for(struct kv_nif_pids *pids, struct memory *memory,
                                      uint64_t arena, uint32_t id, uint32_t serial)
{
    struct kv_nif_tally *tally = tally_place(memory, arena, id, serial);
    if (!is_tally_of(tally, arena, id, serial)) {
        forget_tally(memory, tally);
        enif_mutex_lock(pids->mutex);
        tally->arena = arena;
        tally->id = id;
        tally->serial = serial;
        tally->declined = 0;
        tally->messages = 0;
        atomic_store_explicit(&tally->hits, 0, memory_order_relaxed);
        atomic_store_explicit(&tally->misses, 0, memory_order_relaxed);
        enif_mutex_unlock(pids->mutex);
    }
    return tally;
}

void kv_nif_reads(struct kv_nif_pids *pids, ErlNifEnv *env, const struct kv_nif_arena *arena,
                  ERL_NIF_TERM term, uint64_t *hits, uint64_t *misses)
{
    struct kv_pid pid;
    *hits = 0;
    *misses = 0;
    if (!read_pid(env, arena, term, &pid)) {
        return;
    }
    enif_mutex_lock(pids->mutex);
    for (struct memory *memory = pids->memories; memory != NULL; memory = memory->next) {
        const struct kv_nif_tally *tally = tally_place(memory, arena->number, pid.id, pid.serial);
        if (is_tally_of(tally, arena->number, pid.id, pid.serial)) {
            *hits += atomic_load_explicit(&tally->hits, memory_order_relaxed);
            *misses += atomic_load_explicit(&tally->misses, memory_order_relaxed);
        }
    }
    enif_mutex_unlock(pids->mutex);
}

static enum kv_read meet(struct kv_nif_pids *pids, struct memory *memory, ErlNifEnv *env,
                         const struct kv_nif_arena *arena, enum kv_nif_kind kind, uint64_t hash,
                         ERL_NIF_TERM term, const struct known **met)
{
    struct kv_pid pid;
    struct kv_mapped_table table;
    if (!read_pid(env, arena, term, &pid)) {
        return KV_READ_GONE;
    }
    uint32_t serial = pid.serial | (kind == KV_NIF_NAMES ? KV_DIRECTORY_NAMES : 0);
    enum kv_read result = kv_mapped_table_of(&arena->mapped, pid.id, serial, &table);
    if (result == KV_READ_FOUND) {
        struct known *known = place_for(memory, hash);
        *known = (struct known){
            .pid = enif_make_copy(memory->env, term),
            .arena = arena->number + kind,
            .hash = hash,
            .table = table,
            .tally = tally_for(pids, memory, arena->number + kind, pid.id, pid.serial),
        };
        *met = known;
    }
    return result;
}

enum kv_read kv_nif_table(struct kv_nif_pids *pids, ErlNifEnv *env,
                          const struct kv_nif_arena *arena, enum kv_nif_kind kind, ERL_NIF_TERM pid,
                          struct kv_mapped_table *table, struct kv_nif_tally **tally)
{
    struct memory *memory = memory_of_thread(pids);
    if (memory == NULL) {
        return KV_READ_GONE;
    }
    const struct known *known = memory->last[kind];
    if (known == NULL || known->arena != arena->number + kind ||
        !enif_is_identical(known->pid, pid)) {
        uint64_t hash = (uint64_t)enif_hash(ERL_NIF_INTERNAL_HASH, pid, 0);
        known = find(memory, arena->number + kind, hash, pid);
        if (known == NULL) {
            enum kv_read result = meet(pids, memory, env, arena, kind, hash, pid, &known);
            if (result != KV_READ_FOUND) {
                return result;
            }
        }
        memory->last[kind] = known;
    }
    *table = known->table;
    *tally = known->tally;
    return KV_READ_FOUND;
}

/* ---- proxies --------------------------------------------------------------------------------- */

uint64_t kv_nif_epoch(const struct kv_nif_pids *pids)
{
    return atomic_load(&pids->epoch);
}

void kv_nif_next_epoch(struct kv_nif_pids *pids)
{
    (void)atomic_fetch_add(&pids->epoch, 1);
}

/* The word of a local pid says which process it is. */
static struct kv_nif_proxy *proxy_at(struct memory *memory, ERL_NIF_TERM proxy)
{
    return &memory->proxies[((uint64_t)proxy * UINT64_C(0x9E3779B97F4A7C15)) >> 32 & (PLACES - 1)];
}

void kv_nif_meet(struct kv_nif_pids *pids, ErlNifEnv *env, const struct kv_nif_arena *arena,
                 ERL_NIF_TERM native, ERL_NIF_TERM proxy, ERL_NIF_TERM node, uint64_t epoch)
{
    struct kv_mapped_table table;
    struct kv_nif_tally *tally;
    if (kv_nif_table(pids, env, arena, KV_NIF_BUCKET, native, &table, &tally) == KV_READ_FOUND) {
        *proxy_at(own.memory, proxy) = (struct kv_nif_proxy){.proxy = proxy,
                                                             .node = node,
                                                             .epoch = epoch,
                                                             .arena = arena->number,
                                                             .table = table,
                                                             .tally = tally};
    }
}

/* The pid of a local process that lives, which is given by its pid or its name; or 0. A process
 * loses its name before it ends. */
static ERL_NIF_TERM living(ErlNifEnv *env, ERL_NIF_TERM server)
{
    ErlNifPid pid;
    if (enif_is_atom(env, server)) {
        return enif_whereis_pid(env, server, &pid) != 0 ? enif_make_pid(env, &pid) : 0;
    }
    bool lives = enif_get_local_pid(env, server, &pid) && enif_is_process_alive(env, &pid);
    return lives ? server : 0;
}

const struct kv_nif_proxy *kv_nif_met(struct kv_nif_pids *pids, ErlNifEnv *env, ERL_NIF_TERM server)
{
    const struct memory *memory = memory_of_thread(pids);
    const ERL_NIF_TERM proxy = living(env, server);
    if (memory == NULL || proxy == 0) {
        return NULL;
    }
    const struct kv_nif_proxy *met = proxy_at(own.memory, proxy);
    return met->proxy == proxy && met->epoch == kv_nif_epoch(pids) ? met : NULL;
}

/* ---- pids that are values ---------------------------------------------------------------------
 */

/* Reads a pid of the arena's node in the encoding that a BEAM writes: NEW_PID, the node as
 * SMALL_ATOM_UTF8, id, serial, creation. Returns false for any other bytes. */
static bool read_own(const struct kv_nif_arena *arena, struct kv_bytes term, uint32_t *id,
                     uint32_t *serial)
{
    size_t length = arena->node_length;
    const uint8_t *data = term.data;
    if (length > UINT8_MAX || term.length != 3 + length + 12 || data[0] != KV_TAG_NEW_PID ||
        data[1] != KV_TAG_SMALL_ATOM_UTF8 || data[2] != length ||
        !kv_same(data + 3, arena->node, length) ||
        kv_get32(data + 3 + length + 8) != arena->creation) {
        return false;
    }
    *id = kv_get32(data + 3 + length);
    *serial = kv_get32(data + 3 + length + 4);
    return true;
}

static struct minted *minted_at(struct memory *memory, uint32_t id, uint32_t serial)
{
    return &memory->minted[(id ^ (serial * 31)) % MINTED];
}

static bool is_minted(const struct minted *minted, const struct kv_nif_arena *arena, uint32_t id,
                      uint32_t serial)
{
    return minted->arena == arena->number && minted->id == id && minted->serial == serial;
}

bool kv_nif_pid(struct kv_nif_pids *pids, ErlNifEnv *env, const struct kv_nif_arena *arena,
                struct kv_bytes encoded, ERL_NIF_TERM *pid)
{
    uint32_t id;
    uint32_t serial;
    struct kv_bytes term = kv_bytes(encoded.data + 1, encoded.length - 1);
    struct memory *memory = memory_of_thread(pids);
    if (memory == NULL || !read_own(arena, term, &id, &serial)) {
        return false;
    }
    struct minted *minted = minted_at(memory, id, serial);
    if (is_minted(minted, arena, id, serial)) {
        *pid = enif_make_copy(env, minted->pid);
        return true;
    }
    if (enif_binary_to_term(env, encoded.data, encoded.length, pid, ERL_NIF_BIN2TERM_SAFE) !=
        encoded.length) {
        return false;
    }
    make_room(memory);
    *minted = (struct minted){.pid = enif_make_copy(memory->env, *pid),
                              .arena = arena->number,
                              .id = id,
                              .serial = serial};
    return true;
}
