/* The library inside a VM: scheduler threads call its functions, while the node changes its tables,
 * arenas are opened and closed, and the library is loaded anew beside the old one. */
#include "tsan/races.h"

#include "nif/enif_stub.h"

#include <kv/error.h>
#include <kv/term.h>
#include <pthread.h>
#include <unistd.h>

enum {
    THREADS = 4,
    ARENAS = 6,
    CHANGES = 6000,
    CHANGES_AN_OPENING = 500,
    TABLES = 4,
    BUCKET = 5,
    REGISTRY = 6,
    CREATION = 3,
    SAME_ENV = 64, /* calls in one environment */
};

#define ARENA_SIZE (UINT64_C(16) << 20)
static const char node_name[] = "kv@host";

struct vm {
    void *library;
    pthread_mutex_t mutex; /* of the environment that has the arena that is open */
    ErlNifEnv *env;
    ERL_NIF_TERM arena;
    atomic_bool done;
    atomic_uint found;
    atomic_uint names;
};

/* ---- a scheduler ----------------------------------------------------------------------------- */

static bool is_ok(ErlNifEnv *env, ERL_NIF_TERM result, ERL_NIF_TERM *value)
{
    int arity;
    const ERL_NIF_TERM *parts;
    bool ok = enif_get_tuple(env, result, &arity, &parts) && stub_is_atom(parts[0], "ok");
    *value = ok ? parts[1] : 0;
    return ok;
}

static void fetch(struct vm *vm, ErlNifEnv *env, ERL_NIF_TERM arena, ERL_NIF_TERM pid, unsigned key)
{
    uint8_t bytes[KEY_MAX];
    ErlNifBinary contents;
    ERL_NIF_TERM value;
    ERL_NIF_TERM wanted = stub_binary(env, race_key(key, bytes));
    ERL_NIF_TERM result = stub_call(env, "fetch", 3, arena, pid, wanted);
    REQUIRE(!stub_is_atom(result, "broken"));
    if (is_ok(env, result, &value)) {
        REQUIRE(enif_inspect_binary(env, value, &contents));
        REQUIRE(is_race_value(key, kv_bytes(contents.data, contents.size)));
        atomic_fetch_add(&vm->found, 1);
    }
    (void)stub_call(env, "has_key", 3, arena, pid, wanted);
}

static void lookup(struct vm *vm, ErlNifEnv *env, ERL_NIF_TERM arena, unsigned key)
{
    uint8_t bytes[KEY_MAX];
    ERL_NIF_TERM value;
    ERL_NIF_TERM registry = stub_pid(env, node_name, REGISTRY, 0, CREATION);
    ERL_NIF_TERM name = stub_binary(env, race_key(key, bytes));
    if (is_ok(env, stub_call(env, "lookup", 3, arena, registry, name), &value)) {
        REQUIRE(enif_is_pid(env, value));
        atomic_fetch_add(&vm->names, 1);
    }
}

static void ask(struct vm *vm, ErlNifEnv *env, ERL_NIF_TERM arena, struct random *random)
{
    uint32_t serial = (uint32_t)(next_random(random) % TABLES);
    unsigned key = (unsigned)(next_random(random) % KEYS);
    ERL_NIF_TERM pid = stub_pid(env, node_name, BUCKET, serial, CREATION);
    fetch(vm, env, arena, pid, key);
    lookup(vm, env, arena, key);
    (void)stub_call(env, "size", 2, arena, pid);
    (void)stub_call(env, "counters", 2, arena, pid);
}

static ERL_NIF_TERM arena_that_is_open(struct vm *vm, ErlNifEnv *env)
{
    (void)pthread_mutex_lock(&vm->mutex);
    ERL_NIF_TERM arena = vm->arena == 0 ? 0 : enif_make_copy(env, vm->arena);
    (void)pthread_mutex_unlock(&vm->mutex);
    return arena;
}

static void *scheduler(void *context)
{
    struct vm *vm = context;
    struct random random = {.state = (uint64_t)(uintptr_t)&random | 1};
    while (!atomic_load(&vm->done)) {
        ErlNifEnv *env = stub_env(vm->library, 0);
        ERL_NIF_TERM arena = arena_that_is_open(vm, env);
        for (unsigned i = 0; i < SAME_ENV && arena != 0; i++) {
            ask(vm, env, arena, &random);
        }
        enif_free_env(env);
    }
    return NULL;
}

/* ---- the process that opens and closes arenas ------------------------------------------------ */

static void open_arena(struct vm *vm, const struct kv_mapping *mapping,
                       const struct kv_arena_options *options, unsigned owner)
{
    ErlNifEnv *env = stub_env(vm->library, owner);
    ERL_NIF_TERM arena;
    ERL_NIF_TERM place = stub_tuple(env, 4, enif_make_uint(env, (unsigned)getpid()),
                                    enif_make_uint(env, (unsigned)mapping->fd),
                                    stub_binary(env, kv_bytes(options->id, sizeof options->id)),
                                    enif_make_uint64(env, mapping->size));
    ERL_NIF_TERM result =
        stub_call(env, "open_arena", 4, place, stub_binary(env, kv_bytes_text(node_name)),
                  enif_make_uint(env, CREATION), enif_make_atom(env, "same"));
    REQUIRE(is_ok(env, result, &arena));
    (void)pthread_mutex_lock(&vm->mutex);
    vm->arena = arena;
    vm->env = env;
    (void)pthread_mutex_unlock(&vm->mutex);
}

/* By a call, or as its owner ends, while calls are under way. */
static void close_arena(struct vm *vm, unsigned owner)
{
    (void)pthread_mutex_lock(&vm->mutex);
    ErlNifEnv *env = vm->env;
    ERL_NIF_TERM arena = vm->arena;
    vm->env = NULL;
    vm->arena = 0;
    (void)pthread_mutex_unlock(&vm->mutex);
    if (owner % 2 == 0) {
        REQUIRE(stub_is_atom(stub_call(env, "close_arena", 1, arena), "ok"));
    } else {
        stub_process_ends(owner);
    }
    enif_free_env(env);
}

/* ---- the node -------------------------------------------------------------------------------- */

struct node {
    struct kv_mapping mapping;
    struct kv_arena_options options;
    struct kv_arena *arena;
    struct kv_table *buckets[TABLES];
    struct kv_table *names;
};

static void begin_node(struct node *node, unsigned number)
{
    node->options = (struct kv_arena_options){.hash_key = {number, 2}, .id = {(uint8_t)number, 1}};
    REQUIRE(kv_mapping_open(&node->mapping, ARENA_SIZE));
    REQUIRE(node->mapping.fd >= 0);
    node->arena = race_arena(&node->mapping, &node->options);
    for (unsigned i = 0; i < TABLES; i++) {
        node->buckets[i] = kv_table_new(node->arena, NULL);
        REQUIRE(kv_arena_publish(node->arena, BUCKET, i, KV_PUBLISHED_VALUES, node->buckets[i]) ==
                KV_OK);
    }
    node->names = kv_table_new(node->arena, NULL);
    REQUIRE(kv_arena_publish(node->arena, REGISTRY, 0, KV_PUBLISHED_NAMES, node->names) == KV_OK);
}

static void end_node(struct node *node)
{
    for (unsigned i = 0; i < TABLES; i++) {
        kv_table_free(node->buckets[i]);
    }
    kv_table_free(node->names);
    kv_arena_free(node->arena);
    kv_mapping_close(&node->mapping);
}

static void put_name(struct node *node, ErlNifEnv *env, struct random *random)
{
    uint8_t bytes[KEY_MAX];
    unsigned key = (unsigned)(next_random(random) % KEYS);
    struct kv_item name = {race_key(key, bytes), 1};
    ERL_NIF_TERM pid =
        stub_pid(env, node_name, key % 16, (uint32_t)next_random(random) % 16, CREATION);
    REQUIRE(kv_table_put(node->names, name, (struct kv_item){stub_external(pid), 0}, KV_NEVER) ==
            KV_OK);
    if (next_random(random) % 2 == 0) {
        (void)kv_table_delete(node->names, name);
    }
}

static void change(struct vm *vm, struct node *node, unsigned *owner)
{
    ErlNifEnv *env = stub_env(NULL, 0);
    struct random random = {.state = 1 + *owner};
    for (unsigned i = 0; i < CHANGES; i++) {
        if (i % CHANGES_AN_OPENING == 0) {
            close_arena(vm, *owner);
            open_arena(vm, &node->mapping, &node->options, ++*owner);
        }
        race_change(node->buckets[next_random(&random) % TABLES], &random);
        put_name(node, env, &random);
        kv_arena_set_time(node->arena, kv_mapping_clock());
        (void)kv_arena_work(node->arena, 1);
        enif_clear_env(env);
    }
    enif_free_env(env);
}

static void run_node(struct vm *vm, unsigned number, unsigned *owner)
{
    struct node node;
    begin_node(&node, number);
    open_arena(vm, &node.mapping, &node.options, ++*owner);
    change(vm, &node, owner);
    if (number % 2 == 0) { /* the node ends before, or after the VM has heard of it */
        close_arena(vm, *owner);
        end_node(&node);
    } else {
        end_node(&node);
        close_arena(vm, *owner);
    }
}

static void run_vm(unsigned first, unsigned *owner)
{
    struct vm vm = {.library = stub_load(), .mutex = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[THREADS];
    REQUIRE(vm.library != NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, scheduler, &vm) == 0);
    }
    for (unsigned i = 0; i < ARENAS / 2; i++) {
        run_node(&vm, first + i, owner);
    }
    atomic_store(&vm.done, true);
    for (unsigned i = 0; i < THREADS; i++) {
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    }
    REQUIRE(atomic_load(&vm.found) > 0 && atomic_load(&vm.names) > 0);
    REQUIRE(stub_resources() == 0);
    stub_unload(vm.library);
}

void race_library(void)
{
    unsigned owner = 0;
    run_vm(1, &owner);
    run_vm(1 + ARENAS / 2, &owner);
    REQUIRE(race_shared_mappings() > 0);
}
