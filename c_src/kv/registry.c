/* A registry: names (binaries) and the buckets behind them.
 *
 * Happy path of a creation by way of the OTP side: `create` finds no entry -> an entry that is
 * CREATING, {create_bucket, Self, Name} to the creator -> requests about that name wait in the
 * entry
 * -> {bucket_created, Name, Pid} -> the bucket is monitored, the entry LIVE, the event sent, the
 * waiting requests answered in order.
 * Failure modes: {bucket_failed, Name, Reason}, or the creator is gone: the entry is dropped,
 * waiting `create`s get {error, Reason}, waiting `lookup`s `error`. A bucket that died before it
 * was announced is announced and then dies, by way of its monitor. The end of a bucket removes its
 * entry by a signal within this node, which is handled before the next request of anybody is read.
 */
#include "base/alloc.h"
#include "base/list.h"
#include "base/map.h"
#include "kv/bucket.h"
#include "kv/item.h"
#include "kv/kv.h"
#include "kv/start.h"
#include "process/runtime.h"

enum {
    NAME_MAX_BYTES = 64 * 1024,
    PID_BYTES = 15, /* of a pid as a term, besides the name of its node */
};

enum entry_step { ENTRY_CREATING, ENTRY_LIVE };

struct entry {
    struct kv_map_node by_name;
    struct kv_map_node by_monitor; /* in the map while LIVE */
    struct kv_list of_registry;
    enum entry_step step;
    struct kv_pid pid; /* while LIVE: of this node */
    uint64_t monitor;
    struct kv_list waiting;
    size_t name_length;
    uint8_t name[];
};

enum question { QUESTION_LOOKUP, QUESTION_CREATE };

/* A call that waits for its name to be created. */
struct waiting {
    struct kv_list link;
    enum question question;
    size_t from_length;
    uint8_t from[]; /* the From term */
};

struct registry {
    struct kv_table *shown; /* name -> pid of the LIVE ones, for readers of this host */
    struct kv_map names;
    struct kv_map monitors;
    struct kv_list entries;
    size_t live;
    size_t live_bytes; /* of the names of those */
    size_t entry_bytes;
    struct kv_buffer creator;       /* a pid as a term; empty: buckets are made here */
    struct kv_buffer event_manager; /* a pid or {Name, Node} as a term; empty: none */
    uint64_t owner;
    uint64_t creator_monitor;
    uint64_t generation;
};

/* ---- entries -----------------------------------------------------------------------------------
 */

static struct kv_bytes name_of(const struct entry *entry)
{
    return kv_bytes(entry->name, entry->name_length);
}

static size_t size_of(const struct entry *entry)
{
    return sizeof *entry + entry->name_length;
}

static bool has_name(const struct kv_map_node *node, const void *key)
{
    const struct entry *entry = KV_MAP_OF(node, const struct entry, by_name);
    return kv_bytes_equal(name_of(entry), *(const struct kv_bytes *)key);
}

static uint64_t hash_of(const struct kv_process *self, struct kv_bytes name)
{
    return kv_siphash(&kv_store_of(self)->hash_key, name);
}

static struct entry *find(struct kv_process *self, struct kv_bytes name)
{
    const struct registry *registry = kv_process_state(self);
    struct kv_map_node *found = kv_map_find(&registry->names, hash_of(self, name), has_name, &name);
    return found == NULL ? NULL : KV_MAP_OF(found, struct entry, by_name);
}

static bool has_monitor(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct entry, by_monitor)->monitor == *(const uint64_t *)key;
}

static struct entry *add(struct kv_process *self, struct kv_bytes name)
{
    struct registry *registry = kv_process_state(self);
    struct entry *entry = kv_zalloc(sizeof *entry + name.length);
    entry->step = ENTRY_CREATING;
    entry->name_length = name.length;
    if (name.length > 0) {
        memcpy(entry->name, name.data, name.length);
    }
    kv_list_init(&entry->waiting);
    kv_map_insert(&registry->names, &entry->by_name, hash_of(self, name));
    kv_list_append(&registry->entries, &entry->of_registry);
    registry->entry_bytes += size_of(entry);
    return entry;
}

/* ---- what readers of this host see -------------------------------------------------------------
 * They ask the registry itself about names that they do not find, so one that there was no room for
 * is found all the same. */

static struct kv_item shown_name(const struct entry *entry)
{
    return (struct kv_item){.bytes = name_of(entry), .form = KV_FORM_BINARY};
}

static void show(struct kv_process *self, const struct entry *entry)
{
    const struct registry *registry = kv_process_state(self);
    struct kv_buffer *pid = kv_process_scratch(self);
    kv_write_pid(pid, &entry->pid);
    struct kv_item value = {.bytes = kv_buffer_bytes(pid), .form = KV_FORM_TERM};
    (void)kv_table_put(registry->shown, shown_name(entry), value, KV_NEVER);
}

static void conceal(struct kv_process *self, const struct entry *entry)
{
    const struct registry *registry = kv_process_state(self);
    (void)kv_table_delete(registry->shown, shown_name(entry));
}

static int open_table(struct kv_process *self, const struct kv_start_options *options,
                      struct kv_buffer *reason)
{
    (void)options;
    struct registry *registry = kv_process_state(self);
    struct kv_arena *arena = kv_store_of(self)->arena;
    struct kv_pid pid = kv_process_pid(self);
    registry->shown = kv_table_new(arena, &(struct kv_table_options){.internal = true});
    if (registry->shown == NULL ||
        kv_arena_publish(arena, pid.id, pid.serial, KV_PUBLISHED_NAMES, registry->shown) != KV_OK) {
        kv_table_free(registry->shown);
        kv_write_atom_text(reason, "enomem");
        return KV_ENOMEM;
    }
    return KV_OK;
}

static void handle_suspend(struct kv_process *self, bool suspended)
{
    const struct registry *registry = kv_process_state(self);
    kv_table_ask_owner(registry->shown, suspended);
}

static void drop(struct kv_process *self, struct entry *entry)
{
    struct registry *registry = kv_process_state(self);
    KV_LIST_FOREACH (link, &entry->waiting) {
        kv_free(KV_LIST_OF(link, struct waiting, link));
    }
    if (entry->step == ENTRY_LIVE) {
        conceal(self, entry);
        kv_map_remove(&registry->monitors, &entry->by_monitor);
        registry->live--;
        registry->live_bytes -= entry->name_length;
    }
    registry->entry_bytes -= size_of(entry);
    kv_map_remove(&registry->names, &entry->by_name);
    kv_list_remove(&entry->of_registry);
    kv_free(entry);
}

/* ---- events ------------------------------------------------------------------------------------
 */

/* {notify, {Kind, Name, Pid}}: what gen_event:notify/2 sends. */
static void notify(struct kv_process *self, const struct entry *entry, const char *kind)
{
    const struct registry *registry = kv_process_state(self);
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, "notify");
    kv_write_tuple(term, 3);
    kv_write_atom_text(term, kind);
    kv_write_binary(term, name_of(entry));
    kv_write_pid(term, &entry->pid);
    kv_send_to(self, kv_buffer_bytes(&registry->event_manager), kv_buffer_bytes(term));
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void reply_pid(struct kv_process *self, const struct kv_from *from, enum question question,
                      const struct kv_pid *pid)
{
    struct kv_buffer *term = kv_process_scratch(self);
    if (question == QUESTION_LOOKUP) {
        kv_write_tuple(term, 2);
        kv_write_atom_text(term, "ok");
    }
    kv_write_pid(term, pid);
    kv_reply(self, from, kv_buffer_bytes(term));
}

/* {error, Reason} */
static void reply_failure(struct kv_process *self, const struct kv_from *from,
                          struct kv_bytes reason)
{
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, "error");
    kv_write_term(term, reason);
    kv_reply(self, from, kv_buffer_bytes(term));
}

static void wait_for(struct entry *entry, const struct kv_from *from, enum question question)
{
    struct waiting *waiting = kv_alloc(sizeof *waiting + from->bytes.length);
    waiting->question = question;
    waiting->from_length = from->bytes.length;
    memcpy(waiting->from, from->bytes.data, from->bytes.length);
    kv_list_append(&entry->waiting, &waiting->link);
}

/* Answers the calls that wait for an entry, in order: with its pid, or with why there is none. */
static void answer_waiting(struct kv_process *self, struct entry *entry, struct kv_bytes reason)
{
    KV_LIST_FOREACH (link, &entry->waiting) {
        struct waiting *waiting = KV_LIST_OF(link, struct waiting, link);
        struct kv_from from;
        kv_list_remove(link);
        (void)kv_from_read(kv_bytes(waiting->from, waiting->from_length), &from);
        if (entry->step == ENTRY_LIVE) {
            reply_pid(self, &from, waiting->question, &entry->pid);
        } else if (waiting->question == QUESTION_CREATE) {
            reply_failure(self, &from, reason);
        } else {
            kv_reply_atom(self, &from, "error");
        }
        kv_free(waiting);
    }
}

/* ---- creating ----------------------------------------------------------------------------------
 */

static void created(struct kv_process *self, struct entry *entry, const struct kv_pid *pid)
{
    struct registry *registry = kv_process_state(self);
    struct kv_pid own = kv_process_pid(self);
    entry->step = ENTRY_LIVE;
    entry->pid = *pid;
    entry->pid.node = own.node; /* outlives the message that `pid` borrows from */
    entry->monitor = kv_monitor(self, &entry->pid);
    kv_map_insert(&registry->monitors, &entry->by_monitor, entry->monitor);
    registry->live++;
    registry->live_bytes += entry->name_length;
    show(self, entry);
    notify(self, entry, "create");
    answer_waiting(self, entry, kv_bytes(NULL, 0));
}

static void failed(struct kv_process *self, struct entry *entry, struct kv_bytes reason)
{
    answer_waiting(self, entry, reason);
    drop(self, entry);
}

/* {create_bucket, Self, Name} to the creator. */
static void ask_creator(struct kv_process *self, const struct entry *entry)
{
    const struct registry *registry = kv_process_state(self);
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 3);
    kv_write_atom_text(term, "create_bucket");
    kv_write_pid(term, &own);
    kv_write_binary(term, name_of(entry));
    kv_send_to(self, kv_buffer_bytes(&registry->creator), kv_buffer_bytes(term));
}

/* A bucket of our own: [{owner, Self}, {label, Name}]. */
static void create_here(struct kv_process *self, struct entry *entry)
{
    struct kv_pid own = kv_process_pid(self);
    struct kv_pid pid;
    struct kv_buffer options = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    kv_write_list(&options, 2);
    kv_write_tuple(&options, 2);
    kv_write_atom_text(&options, "owner");
    kv_write_pid(&options, &own);
    kv_write_tuple(&options, 2);
    kv_write_atom_text(&options, "label");
    kv_write_binary(&options, name_of(entry));
    kv_write_nil(&options);
    if (kv_spawn(kv_process_runtime(self), &kv_bucket_behaviour, kv_buffer_bytes(&options), &pid,
                 &reason) == KV_OK) {
        created(self, entry, &pid);
    } else {
        failed(self, entry, kv_buffer_bytes(&reason));
    }
    kv_buffer_free(&options);
    kv_buffer_free(&reason);
}

/* `from` is NULL for a cast. */
static void create(struct kv_process *self, const struct kv_from *from, struct kv_bytes name)
{
    const struct registry *registry = kv_process_state(self);
    struct entry *entry = find(self, name);
    bool fresh = entry == NULL;
    if (fresh) {
        entry = add(self, name);
    }
    if (from != NULL && entry->step == ENTRY_LIVE) {
        reply_pid(self, from, QUESTION_CREATE, &entry->pid);
    } else if (from != NULL) {
        wait_for(entry, from, QUESTION_CREATE);
    }
    if (fresh && registry->creator.length > 0) {
        ask_creator(self, entry);
    } else if (fresh) {
        create_here(self, entry);
    }
}

static void lookup(struct kv_process *self, const struct kv_from *from, struct kv_bytes name)
{
    struct entry *entry = find(self, name);
    if (entry == NULL) {
        kv_reply_atom(self, from, "error");
    } else if (entry->step == ENTRY_LIVE) {
        reply_pid(self, from, QUESTION_LOOKUP, &entry->pid);
    } else {
        wait_for(entry, from, QUESTION_LOOKUP);
    }
}

/* ---- what is there -----------------------------------------------------------------------------
 */

/* Answers with an error in place of a list that would be too large for a message: `each` is what an
 * entry takes besides the bytes of its name. */
static bool is_too_large(const struct registry *registry, size_t each, struct kv_buffer *to)
{
    size_t bytes = registry->live_bytes + registry->live * each;
    if (bytes > KV_BUCKET_REPLY_MAX) {
        kv_bucket_write_too_large(to, bytes);
    }
    return bytes > KV_BUCKET_REPLY_MAX;
}

static void write_names(const struct registry *registry, struct kv_buffer *to)
{
    if (is_too_large(registry, KV_BINARY_HEADER, to)) {
        return;
    }
    if (registry->live > 0) {
        kv_write_list(to, (uint32_t)registry->live);
    }
    KV_LIST_FOREACH (link, &registry->entries) {
        const struct entry *entry = KV_LIST_OF(link, struct entry, of_registry);
        if (entry->step == ENTRY_LIVE) {
            kv_write_binary(to, name_of(entry));
        }
    }
    kv_write_nil(to);
}

/* #{Name => Pid} */
static void write_state(const struct kv_process *self, struct kv_buffer *to)
{
    const struct registry *registry = kv_process_const_state(self);
    size_t pid = PID_BYTES + kv_runtime_node(kv_process_runtime(self)).length;
    if (is_too_large(registry, KV_BINARY_HEADER + pid, to)) {
        return;
    }
    kv_write_map(to, (uint32_t)registry->live);
    KV_LIST_FOREACH (link, &registry->entries) {
        const struct entry *entry = KV_LIST_OF(link, struct entry, of_registry);
        if (entry->step == ENTRY_LIVE) {
            kv_write_binary(to, name_of(entry));
            kv_write_pid(to, &entry->pid);
        }
    }
}

/* ---- callbacks ---------------------------------------------------------------------------------
 */

static int init(struct kv_process *self, struct kv_bytes list, struct kv_buffer *reason)
{
    struct registry *registry = kv_process_state(self);
    struct kv_start_options options = {0};
    kv_list_init(&registry->entries);
    int error =
        kv_start(self, list, KV_REGISTRY_OPTIONS, open_table, &options, &registry->owner, reason);
    if (error != KV_OK) {
        return error;
    }
    registry->generation = options.generation;
    kv_buffer_append(&registry->creator, options.creator);
    kv_buffer_append(&registry->event_manager, options.event_manager);
    struct kv_pid creator;
    struct kv_reader reader = kv_reader(options.creator);
    if (kv_read_pid(&reader, &creator) == KV_OK) {
        registry->creator_monitor = kv_monitor_owner(self, &creator);
    }
    return KV_OK;
}

static void abandon_waiting(struct kv_process *self, struct entry *entry, struct kv_bytes reason)
{
    KV_LIST_FOREACH (link, &entry->waiting) {
        struct waiting *waiting = KV_LIST_OF(link, struct waiting, link);
        struct kv_from from;
        (void)kv_from_read(kv_bytes(waiting->from, waiting->from_length), &from);
        kv_abandon(self, &from, reason);
    }
}

static void terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct registry *registry = kv_process_state(self);
    KV_LIST_FOREACH (link, &registry->entries) {
        struct entry *entry = KV_LIST_OF(link, struct entry, of_registry);
        abandon_waiting(self, entry, reason);
        drop(self, entry);
    }
    kv_table_free(registry->shown);
    kv_map_free(&registry->names);
    kv_map_free(&registry->monitors);
    kv_buffer_free(&registry->creator);
    kv_buffer_free(&registry->event_manager);
}

/* Without its creator a registry still answers lookups; what was being created has failed. */
static void creator_down(struct kv_process *self, struct kv_bytes reason)
{
    struct registry *registry = kv_process_state(self);
    KV_LIST_FOREACH (link, &registry->entries) {
        struct entry *entry = KV_LIST_OF(link, struct entry, of_registry);
        if (entry->step == ENTRY_CREATING) {
            failed(self, entry, reason);
        }
    }
}

/* What was asked of the creator, or its answer, may have been lost: a name that it has made a
 * bucket for already is told so when it answers again. */
static void handle_back(struct kv_process *self, uint64_t monitor)
{
    const struct registry *registry = kv_process_const_state(self);
    if (monitor != registry->creator_monitor) {
        return;
    }
    KV_LIST_FOREACH (link, &registry->entries) {
        const struct entry *entry = KV_LIST_OF(link, const struct entry, of_registry);
        if (entry->step == ENTRY_CREATING) {
            ask_creator(self, entry);
        }
    }
}

static void handle_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    struct registry *registry = kv_process_state(self);
    if (monitor == registry->owner) {
        kv_process_exit(self, reason);
        return;
    }
    if (monitor == registry->creator_monitor) {
        creator_down(self, reason);
        return;
    }
    struct kv_map_node *found = kv_map_find(&registry->monitors, monitor, has_monitor, &monitor);
    if (found != NULL) {
        struct entry *entry = KV_MAP_OF(found, struct entry, by_monitor);
        /* Both happen before anybody's next request is read: who hears of the end of a bucket does
         * not find its name any more. */
        conceal(self, entry);
        notify(self, entry, "exit");
        drop(self, entry);
    }
}

static bool read_named(struct kv_bytes request, const char *kind, struct kv_bytes *term)
{
    struct kv_reader reader = kv_reader(request);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK &&
           kv_read_any(&reader, term) == KV_OK;
}

static bool read_name(struct kv_bytes term, struct kv_bytes *name)
{
    struct kv_reader reader = kv_reader(term);
    return kv_read_binary(&reader, name) == KV_OK;
}

/* {bucket_created, Name, Pid}, {bucket_failed, Name, Reason}: the creator's answers. */
struct creator_answer {
    bool success; /* false also where Pid is none: that term is the reason then */
    struct kv_bytes name;
    struct kv_pid pid;      /* if success */
    struct kv_bytes reason; /* else */
};

static bool read_creator_answer(struct kv_bytes request, struct creator_answer *answer)
{
    struct kv_reader reader = kv_reader(request);
    if (kv_read_tuple_of(&reader, 3) != KV_OK) {
        return false;
    }
    answer->success = kv_read_this_atom(&reader, "bucket_created") == KV_OK;
    if ((!answer->success && kv_read_this_atom(&reader, "bucket_failed") != KV_OK) ||
        kv_read_binary(&reader, &answer->name) != KV_OK) {
        return false;
    }
    answer->success = answer->success && kv_read_pid(&reader, &answer->pid) == KV_OK;
    return answer->success || kv_read_any(&reader, &answer->reason) == KV_OK;
}

/* {error, {already_created, Pid}} */
static void reply_already_created(struct kv_process *self, const struct kv_from *from,
                                  const struct kv_pid *pid)
{
    struct kv_buffer detail = KV_BUFFER_INIT;
    kv_write_pid(&detail, pid);
    kv_reply_error(self, from, "already_created", kv_buffer_bytes(&detail));
    kv_buffer_free(&detail);
}

/* {bucket_created, Name, Pid} as a call: the creator hears whether its bucket has the name. */
static void take_created(struct kv_process *self, const struct kv_from *from,
                         const struct creator_answer *answer)
{
    struct entry *entry = find(self, answer->name);
    if (entry == NULL) {
        static const uint8_t unknown[] = "\x77\x0cunknown_name";
        reply_failure(self, from, kv_bytes(unknown, sizeof unknown - 1));
        return;
    }
    if (entry->step == ENTRY_CREATING) {
        created(self, entry, &answer->pid);
    } else if (!kv_pid_equal(&entry->pid, &answer->pid)) {
        reply_already_created(self, from, &entry->pid);
        return;
    }
    kv_reply_atom(self, from, "ok");
}

static void reply_names(struct kv_process *self, const struct kv_from *from)
{
    struct kv_buffer *names = kv_process_scratch(self);
    write_names(kv_process_const_state(self), names);
    kv_reply(self, from, kv_buffer_bytes(names));
}

static void reply_generation(struct kv_process *self, const struct kv_from *from)
{
    const struct registry *registry = kv_process_const_state(self);
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_u64(term, registry->generation);
    kv_reply(self, from, kv_buffer_bytes(term));
}

/* {error, {name_too_long, Bytes}} */
static void reply_name_too_long(struct kv_process *self, const struct kv_from *from, size_t bytes)
{
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, "error");
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, "name_too_long");
    kv_write_u64(term, bytes);
    kv_reply(self, from, kv_buffer_bytes(term));
}

static void handle_call(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request)
{
    struct creator_answer answer;
    struct kv_bytes term;
    struct kv_bytes name;
    bool is_lookup = read_named(request, "lookup", &term);
    bool is_create = !is_lookup && read_named(request, "create", &term);
    if ((is_lookup || is_create) && !read_name(term, &name)) {
        kv_reply_error(self, from, "bad_name", term);
    } else if (is_lookup) {
        lookup(self, from, name);
    } else if (is_create && name.length > NAME_MAX_BYTES) {
        reply_name_too_long(self, from, name.length);
    } else if (is_create) {
        create(self, from, name);
    } else if (kv_term_is_atom(request, "names")) {
        reply_names(self, from);
    } else if (kv_term_is_atom(request, "generation")) {
        reply_generation(self, from);
    } else if (read_creator_answer(request, &answer) && answer.success) {
        take_created(self, from, &answer);
    } else if (kv_term_is_atom(request, "stop")) {
        kv_reply_atom(self, from, "ok");
        kv_process_exit_atom(self, "normal");
    } else {
        kv_reply_bad_request(self, from, request);
    }
}

/* The creator's answer as a cast. */
static bool handle_answer(struct kv_process *self, struct kv_bytes request)
{
    struct creator_answer answer;
    if (!read_creator_answer(request, &answer)) {
        return false;
    }
    struct entry *entry = find(self, answer.name);
    if (entry == NULL || entry->step != ENTRY_CREATING) {
        return false;
    }
    if (answer.success) {
        created(self, entry, &answer.pid);
    } else {
        failed(self, entry, answer.reason);
    }
    return true;
}

static void handle_cast(struct kv_process *self, struct kv_bytes request)
{
    struct kv_bytes term;
    struct kv_bytes name;
    if (read_named(request, "create", &term) && read_name(term, &name) &&
        name.length <= NAME_MAX_BYTES) {
        create(self, NULL, name);
    } else if (!handle_answer(self, request)) {
        kv_log_line(kv_process_runtime(self), KV_LOG_DEBUG, "a registry ignored a cast");
    }
}

static size_t memory(const struct kv_process *self)
{
    const struct registry *registry = kv_process_const_state(self);
    size_t chains = registry->names.chain_count + registry->monitors.chain_count;
    return registry->entry_bytes + chains * sizeof(void *) + kv_table_memory(registry->shown);
}

const struct kv_behaviour kv_registry_behaviour = {
    .module = "kv_registry",
    .state_size = sizeof(struct registry),
    .init = init,
    .handle_call = handle_call,
    .handle_cast = handle_cast,
    .handle_down = handle_down,
    .handle_back = handle_back,
    .handle_suspend = handle_suspend,
    .memory = memory,
    .write_state = write_state,
    .terminate = terminate,
};
