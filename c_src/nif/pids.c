#include "nif/nif.h"

#include "base/alloc.h"

enum {
    PLACES = 1024,             /* a power of two */
    WAYS = 4,                  /* neighbouring places that a pid may be in */
    PIDS_MAX = PLACES * 3 / 4, /* then a thread forgets them all */
    EXTERNAL_VERSION = 131,
};

struct known {
    ERL_NIF_TERM pid; /* a copy in the thread's environment */
    uint64_t arena;   /* its number, 0 = a free place */
    uint64_t hash;
    uint32_t id;
    uint32_t serial;
    struct kv_mapped_table table;
};

/* What one thread remembers: nobody else looks at it. */
struct memory {
    struct memory *next;
    ErlNifEnv *env;
    unsigned count;
    struct known places[PLACES];
};

struct kv_nif_pids {
    ErlNifTSDKey key;
    ErlNifMutex *mutex;
    struct memory *memories;
};

struct kv_nif_pids *kv_nif_pids_new(void)
{
    struct kv_nif_pids *pids = kv_zalloc(sizeof *pids);
    pids->mutex = enif_mutex_create("kv_nif.pids");
    if (pids->mutex != NULL && enif_tsd_key_create("kv_nif.pids", &pids->key) == 0) {
        return pids;
    }
    if (pids->mutex != NULL) {
        enif_mutex_destroy(pids->mutex);
    }
    kv_free(pids);
    return NULL;
}

void kv_nif_pids_free(struct kv_nif_pids *pids)
{
    enif_tsd_key_destroy(pids->key);
    enif_mutex_destroy(pids->mutex);
    while (pids->memories != NULL) {
        struct memory *memory = pids->memories;
        pids->memories = memory->next;
        enif_free_env(memory->env);
        kv_free(memory);
    }
    kv_free(pids);
}

/* NULL when there is no memory. */
static struct memory *memory_of_thread(struct kv_nif_pids *pids)
{
    struct memory *memory = enif_tsd_get(pids->key);
    if (memory != NULL) {
        return memory;
    }
    memory = kv_zalloc(sizeof *memory);
    memory->env = enif_alloc_env();
    if (memory->env == NULL) {
        kv_free(memory);
        return NULL;
    }
    enif_mutex_lock(pids->mutex);
    memory->next = pids->memories;
    pids->memories = memory;
    enif_mutex_unlock(pids->mutex);
    enif_tsd_set(pids->key, memory);
    return memory;
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

/* A free place for a pid, or that of another. Its copy of the other pid stays until all are
 * forgotten. */
static struct known *place_for(struct memory *memory, uint64_t hash)
{
    if (memory->count >= PIDS_MAX) {
        enif_clear_env(memory->env);
        memset(memory->places, 0, sizeof memory->places);
        memory->count = 0;
    }
    memory->count++;
    for (unsigned i = 0; i < WAYS; i++) {
        struct known *known = &memory->places[(hash + i) % PLACES];
        if (known->arena == 0) {
            return known;
        }
    }
    return &memory->places[hash % PLACES];
}

/* Whether a term is a pid of the arena's node, of this life of it. */
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
    bool is_pid = encoded.data[0] == EXTERNAL_VERSION &&
                  kv_term_validate(bytes, &limits, NULL) == KV_OK &&
                  kv_read_pid(&reader, pid) == KV_OK && pid->creation == arena->creation &&
                  kv_bytes_equal(pid->node, kv_bytes(arena->node, arena->node_length));
    enif_release_binary(&encoded);
    return is_pid;
}

static enum kv_read meet(struct memory *memory, ErlNifEnv *env, const struct kv_nif_arena *arena,
                         uint64_t hash, ERL_NIF_TERM term, struct kv_mapped_table *table)
{
    struct kv_pid pid;
    if (!read_pid(env, arena, term, &pid)) {
        return KV_READ_GONE;
    }
    enum kv_read result = kv_mapped_table_of(&arena->mapped, pid.id, pid.serial, table);
    if (result == KV_READ_FOUND) {
        struct known *known = place_for(memory, hash);
        *known = (struct known){
            .pid = enif_make_copy(memory->env, term),
            .arena = arena->number,
            .hash = hash,
            .id = pid.id,
            .serial = pid.serial,
            .table = *table,
        };
    }
    return result;
}

enum kv_read kv_nif_table(struct kv_nif_pids *pids, ErlNifEnv *env,
                          const struct kv_nif_arena *arena, ERL_NIF_TERM pid,
                          struct kv_mapped_table *table)
{
    struct memory *memory = memory_of_thread(pids);
    if (memory == NULL) {
        return KV_READ_GONE;
    }
    uint64_t hash = (uint64_t)enif_hash(ERL_NIF_INTERNAL_HASH, pid, 0);
    const struct known *known = find(memory, arena->number, hash, pid);
    if (known == NULL) {
        return meet(memory, env, arena, hash, pid, table);
    }
    *table = known->table;
    return KV_READ_FOUND;
}
