/* The stub without its terms: resources, monitors, environments, mutexes, and the library's calls.
 */
#include "nif/enif_state.h"

#include <kv/term.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESOURCE_BYTES = 12 };

_Noreturn void stub_fail(const char *what)
{
    (void)fprintf(stderr, "enif_stub: %s\n", what);
    abort();
}

void *stub_checked(void *memory)
{
    if (memory == NULL) {
        stub_fail("no memory");
    }
    return memory;
}

struct term *stub_at(ERL_NIF_TERM term)
{
    if (term == 0) {
        stub_fail("a term that was never made");
    }
    return (struct term *)term; /* NOLINT(performance-no-int-to-ptr): a term is a word */
}

struct term *stub_new_term(ErlNifEnv *env, size_t size)
{
    struct term *term = stub_checked(calloc(1, sizeof *term + size));
    term->size = size;
    term->next = env->terms;
    env->terms = term;
    return term;
}

/* ---- resources and monitors ------------------------------------------------------------------ */

enum { TYPES = 8, TYPE_NAME_MAX = 32 };

struct enif_resource_type_t {
    char name[TYPE_NAME_MAX];
    ErlNifResourceTypeInit callbacks;
};

struct resource {
    ErlNifResourceType *type;
    atomic_uint references;
    unsigned owner; /* monitored; 0 = none */
    struct resource *next;
    max_align_t object[];
};

enum { PROCESSES = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct resource *monitored;
static bool has_ended[PROCESSES];
static struct {
    ERL_NIF_TERM name;
    unsigned self;
} registered;
static atomic_uint resources;

static struct resource *resource_of(void *object)
{
    return (struct resource *)(void *)((char *)object - offsetof(struct resource, object));
}

ErlNifResourceType *enif_open_resource_type_x(ErlNifEnv *env, const char *name,
                                              const ErlNifResourceTypeInit *init,
                                              ErlNifResourceFlags flags, ErlNifResourceFlags *tried)
{
    static ErlNifResourceType types[TYPES];
    (void)env;
    (void)flags;
    (void)tried;
    for (unsigned i = 0; i < TYPES; i++) {
        if (types[i].name[0] == '\0') {
            (void)snprintf(types[i].name, sizeof types[i].name, "%s", name);
        }
        if (strcmp(types[i].name, name) == 0) {
            types[i].callbacks = *init;
            return &types[i];
        }
    }
    stub_fail("too many types of resources");
}

void *enif_alloc_resource(ErlNifResourceType *type, size_t size)
{
    struct resource *resource = stub_checked(calloc(1, sizeof *resource + size));
    resource->type = type;
    atomic_init(&resource->references, 1);
    atomic_fetch_add(&resources, 1);
    return resource->object;
}

static void forget_monitor(const struct resource *resource)
{
    (void)pthread_mutex_lock(&lock);
    for (struct resource **link = &monitored; *link != NULL; link = &(*link)->next) {
        if (*link == resource) {
            *link = resource->next;
            break;
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

void stub_unrefer(struct resource *resource)
{
    if (atomic_fetch_sub(&resource->references, 1) == 1) {
        forget_monitor(resource);
        resource->type->callbacks.dtor(NULL, resource->object);
        free(resource);
        atomic_fetch_sub(&resources, 1);
    }
}

void enif_keep_resource(void *object)
{
    atomic_fetch_add(&resource_of(object)->references, 1);
}

void enif_release_resource(void *object)
{
    stub_unrefer(resource_of(object));
}

ERL_NIF_TERM stub_resource_term(ErlNifEnv *env, struct resource *resource)
{
    struct term *term = stub_new_term(env, RESOURCE_BYTES);
    term->bytes[0] = KV_TAG_NEWER_REFERENCE;
    memcpy(term->bytes + 4, &resource, sizeof resource);
    term->resource = resource;
    atomic_fetch_add(&resource->references, 1);
    return (ERL_NIF_TERM)term;
}

ERL_NIF_TERM enif_make_resource(ErlNifEnv *env, void *object)
{
    return stub_resource_term(env, resource_of(object));
}

int enif_get_resource(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifResourceType *type, void **object)
{
    struct resource *resource = stub_at(term)->resource;
    (void)env;
    *object = resource != NULL ? resource->object : NULL;
    return resource != NULL && resource->type == type;
}

unsigned stub_resources(void)
{
    return atomic_load(&resources);
}

int enif_monitor_process(ErlNifEnv *env, void *object, const ErlNifPid *target,
                         ErlNifMonitor *monitor)
{
    struct resource *resource = resource_of(object);
    unsigned owner = (unsigned)target->pid;
    (void)env;
    (void)monitor;
    (void)pthread_mutex_lock(&lock);
    bool ended = has_ended[owner % PROCESSES];
    if (!ended) {
        resource->owner = owner;
        resource->next = monitored;
        monitored = resource;
    }
    (void)pthread_mutex_unlock(&lock);
    return ended;
}

static bool refer_if_alive(struct resource *resource)
{
    unsigned references = atomic_load(&resource->references);
    while (references > 0) {
        if (atomic_compare_exchange_weak(&resource->references, &references, references + 1)) {
            return true;
        }
    }
    return false;
}

/* The VM keeps a resource while its callback runs, as this does. */
static struct resource *take_monitored(unsigned owner)
{
    for (struct resource **link = &monitored; *link != NULL; link = &(*link)->next) {
        struct resource *resource = *link;
        if (resource->owner == owner && refer_if_alive(resource)) {
            *link = resource->next;
            return resource;
        }
    }
    return NULL;
}

void stub_process_ends(unsigned self)
{
    struct resource *resource;
    ErlNifPid pid = {.pid = self};
    do {
        (void)pthread_mutex_lock(&lock);
        has_ended[self % PROCESSES] = true;
        resource = take_monitored(self);
        (void)pthread_mutex_unlock(&lock);
        if (resource != NULL) {
            resource->type->callbacks.down(NULL, resource->object, &pid, NULL);
            stub_unrefer(resource);
        }
    } while (resource != NULL);
}

int enif_is_process_alive(ErlNifEnv *env, ErlNifPid *pid)
{
    (void)env;
    (void)pthread_mutex_lock(&lock);
    bool alive = !has_ended[pid->pid % PROCESSES];
    (void)pthread_mutex_unlock(&lock);
    return alive;
}

void stub_register(ERL_NIF_TERM name, unsigned self)
{
    (void)pthread_mutex_lock(&lock);
    registered.name = name;
    registered.self = self;
    (void)pthread_mutex_unlock(&lock);
}

/* In a VM, too, enif_make_pid() of this pid is the term. */
int enif_whereis_pid(ErlNifEnv *env, ERL_NIF_TERM name, ErlNifPid *pid)
{
    (void)env;
    (void)pthread_mutex_lock(&lock);
    const bool there = registered.self != 0 && registered.name == name;
    pid->pid = there ? stub_local_pid(registered.self) : 0;
    (void)pthread_mutex_unlock(&lock);
    return there;
}

ErlNifPid *enif_self(ErlNifEnv *env, ErlNifPid *pid)
{
    pid->pid = env->self;
    return env->self != 0 ? pid : NULL;
}

/* ---- environments ---------------------------------------------------------------------------- */

ErlNifEnv *stub_env(void *library, unsigned self)
{
    ErlNifEnv *env = stub_checked(calloc(1, sizeof *env));
    env->library = library;
    env->self = self;
    return env;
}

ErlNifEnv *enif_alloc_env(void)
{
    return stub_env(NULL, 0);
}

void enif_clear_env(ErlNifEnv *env)
{
    while (env->terms != NULL) {
        struct term *term = env->terms;
        env->terms = term->next;
        if (term->resource != NULL) {
            stub_unrefer(term->resource);
        }
        free(term);
    }
}

void enif_free_env(ErlNifEnv *env)
{
    enif_clear_env(env);
    free(env);
}

void *enif_priv_data(ErlNifEnv *env)
{
    return env->library;
}

int enif_consume_timeslice(ErlNifEnv *env, int percent)
{
    (void)env;
    (void)percent;
    return 0;
}

/* ---- mutexes --------------------------------------------------------------------------------- */

struct ErlDrvMutex_ {
    pthread_mutex_t mutex;
};

ErlNifMutex *enif_mutex_create(char *name)
{
    ErlNifMutex *mutex = stub_checked(calloc(1, sizeof *mutex));
    (void)name;
    (void)pthread_mutex_init(&mutex->mutex, NULL);
    return mutex;
}

void enif_mutex_destroy(ErlNifMutex *mutex)
{
    (void)pthread_mutex_destroy(&mutex->mutex);
    free(mutex);
}

void enif_mutex_lock(ErlNifMutex *mutex)
{
    (void)pthread_mutex_lock(&mutex->mutex);
}

void enif_mutex_unlock(ErlNifMutex *mutex)
{
    (void)pthread_mutex_unlock(&mutex->mutex);
}

/* ---- the library ----------------------------------------------------------------------------- */

ErlNifEntry *nif_init(void);

/* The atoms of a library are terms of the environment in which it was loaded. */
static struct loaded {
    struct loaded *next;
    void *library;
    ErlNifEnv *env;
} * loads;

void *stub_load(void)
{
    struct loaded *loaded = stub_checked(calloc(1, sizeof *loaded));
    loaded->env = stub_env(NULL, 0);
    int failure = nif_init()->load(loaded->env, &loaded->library, 0);
    (void)pthread_mutex_lock(&lock);
    loaded->next = loads;
    loads = loaded;
    (void)pthread_mutex_unlock(&lock);
    return failure == 0 ? loaded->library : NULL;
}

static struct loaded *take_loaded(const void *library)
{
    struct loaded **link = &loads;
    (void)pthread_mutex_lock(&lock);
    while ((*link)->library != library) {
        link = &(*link)->next;
    }
    struct loaded *loaded = *link;
    *link = loaded->next;
    (void)pthread_mutex_unlock(&lock);
    return loaded;
}

void stub_unload(void *library)
{
    struct loaded *loaded = take_loaded(library);
    nif_init()->unload(loaded->env, library);
    enif_free_env(loaded->env);
    free(loaded);
}

ERL_NIF_TERM stub_call(ErlNifEnv *env, const char *name, unsigned arity, ...)
{
    ERL_NIF_TERM arguments[STUB_ARITY_MAX] = {0};
    const ErlNifEntry *entry = nif_init();
    va_list list;
    va_start(list, arity);
    for (unsigned i = 0; i < arity; i++) {
        arguments[i] = va_arg(list, ERL_NIF_TERM);
    }
    va_end(list);
    for (int i = 0; i < entry->num_of_funcs; i++) {
        if (strcmp(entry->funcs[i].name, name) == 0 && entry->funcs[i].arity == arity) {
            return entry->funcs[i].fptr(env, (int)arity, arguments);
        }
    }
    stub_fail("no such function");
}
