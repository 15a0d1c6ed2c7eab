/* A bucket: a table of terms that answers calls. A value is kept as the bytes it came in; a key as
 * its canonical bytes, so that keys are one exactly when =:= says so. */
#include "kv/bucket.h"
#include "kv/kv.h"
#include "kv/start.h"
#include "process/runtime.h"

#include "base/endian.h"
#include "base/word.h"

enum { PINNED_MIN = 64 * 1024 };    /* bytes of a value from which it is not copied to be sent */
#define TTL_MAX (UINT64_C(1) << 46) /* milliseconds: the instant has 48 bits in the store */

/* Readers of this host find the table by the pid. */
static int open_table(struct kv_process *self, const struct kv_start_options *options,
                      struct kv_buffer *reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_arena *arena = kv_store_of(self)->arena;
    struct kv_pid pid = kv_process_pid(self);
    bucket->table = kv_table_new(arena, &options->table);
    if (bucket->table == NULL ||
        kv_arena_publish(arena, pid.id, pid.serial, KV_PUBLISHED_VALUES, bucket->table) != KV_OK) {
        kv_table_free(bucket->table);
        kv_write_atom_text(reason, "enomem");
        return KV_ENOMEM;
    }
    kv_buffer_append(&bucket->label, options->label);
    return KV_OK;
}

static int init(struct kv_process *self, struct kv_bytes list, struct kv_buffer *reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_start_options options = {0};
    int error =
        kv_start(self, list, KV_BUCKET_OPTIONS, open_table, &options, &bucket->owner, reason);
    bucket->generation = options.generation;
    return error;
}

static void terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    (void)reason;
    kv_table_free(bucket->table);
    kv_buffer_free(&bucket->key);
    kv_buffer_free(&bucket->value);
    kv_buffer_free(&bucket->label);
}

static void handle_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    if (monitor == bucket->owner) {
        kv_process_exit(self, reason);
    }
}

static void handle_suspend(struct kv_process *self, bool suspended)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    kv_table_ask_owner(bucket->table, suspended);
}

/* Valid until the next call. */
static struct kv_item key_item(struct kv_process *self, struct kv_bytes key)
{
    struct kv_bucket *bucket = kv_process_state(self);
    if (kv_term_is_canonical(key)) {
        return kv_item_of_key(key);
    }
    kv_buffer_clear(&bucket->key);
    kv_term_canonical(key, kv_store_of(self)->zeros, &bucket->key);
    return kv_item_of_key(kv_buffer_bytes(&bucket->key));
}

bool kv_bucket_find_item(struct kv_process *self, struct kv_bytes key, struct kv_item *item)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_table_get(bucket->table, key_item(self, key), item);
}

bool kv_bucket_find(struct kv_process *self, struct kv_bytes key, struct kv_bytes *value)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_item item;
    if (!kv_bucket_find_item(self, key, &item)) {
        return false;
    }
    *value = kv_item_term(item, &bucket->value);
    return true;
}

int kv_bucket_put(struct kv_process *self, struct kv_bytes key, struct kv_bytes value)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    return kv_table_put(bucket->table, key_item(self, key), kv_item_of_value(value),
                        bucket->expiry);
}

bool kv_bucket_keep_for(struct kv_process *self, struct kv_bytes ttl)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_reader reader = kv_reader(ttl);
    uint64_t ms = 0;
    if (kv_term_is_atom(ttl, "infinity")) {
        bucket->expiry = KV_NEVER;
        return true;
    }
    if (kv_read_u64(&reader, &ms) != KV_OK || ms == 0 || ms > TTL_MAX) {
        return false;
    }
    bucket->expiry = kv_arena_time(kv_store_of(self)->arena) + ms;
    return true;
}

bool kv_bucket_delete(struct kv_process *self, struct kv_bytes key)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    return kv_table_delete(bucket->table, key_item(self, key));
}

void kv_bucket_write_no_memory(struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "error");
    kv_write_atom_text(to, "enomem");
}

void kv_bucket_reply_no_memory(struct kv_process *self, const struct kv_from *from)
{
    struct kv_buffer *term = kv_process_scratch(self);
    kv_bucket_write_no_memory(term);
    kv_reply(self, from, kv_buffer_bytes(term));
}

static void unpin(void *owner, struct kv_bytes bytes)
{
    kv_arena_unpin(owner, bytes.data);
}

/* Answers what is in `prefix` and, behind it, a value: a large one leaves from where it lies. */
static void reply_item(struct kv_process *self, const struct kv_from *from,
                       struct kv_buffer *prefix, struct kv_item item)
{
    struct kv_arena *arena = kv_store_of(self)->arena;
    struct kv_pinned value = {.bytes = item.bytes, .owner = arena};
    if (item.form == KV_FORM_BINARY) {
        uint8_t *header = kv_buffer_reserve(prefix, KV_BINARY_HEADER);
        header[0] = KV_TAG_BINARY;
        kv_set32(header + 1, (uint32_t)item.bytes.length);
        prefix->length += KV_BINARY_HEADER;
    }
    if (item.bytes.length >= PINNED_MIN && kv_arena_pin(arena, item.bytes.data)) {
        value.release = unpin;
    }
    kv_reply_pinned(self, from, kv_buffer_bytes(prefix), &value);
}

static void reply_bool(struct kv_process *self, const struct kv_from *from, bool value)
{
    kv_reply_atom(self, from, value ? "true" : "false");
}

/* ---- what Agent sends ------------------------------------------------------------------------ */

static void write_cannot_run_closures(struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "error");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "cannot_run_closures");
    kv_write_binary_text(to,
                         "a native process has no code to run this with: ask with data, such as "
                         "KV.Bucket.get/2, or with a function that docs/differences.md lists");
}

static void run_agent(struct kv_process *self, const struct kv_from *from, enum kv_agent_kind kind,
                      struct kv_bytes function)
{
    struct kv_buffer answer = KV_BUFFER_INIT;
    if (!kv_agent_run(self, kind, function, &answer)) {
        write_cannot_run_closures(&answer);
    }
    kv_reply(self, from, kv_buffer_bytes(&answer));
    kv_buffer_free(&answer);
}

/* ---- calls -------------------------------------------------------------------------------------
 * Each handler gets the arguments of its request, in order. */

typedef void (*call_handler)(struct kv_process *self, const struct kv_from *from,
                             const struct kv_bytes *arguments);

static void get_or(struct kv_process *self, const struct kv_from *from,
                   const struct kv_bytes *arguments)
{
    struct kv_item item;
    if (kv_bucket_find_item(self, arguments[0], &item)) {
        reply_item(self, from, kv_process_scratch(self), item);
    } else {
        kv_reply(self, from, arguments[1]);
    }
}

static void get(struct kv_process *self, const struct kv_from *from,
                const struct kv_bytes *arguments)
{
    struct kv_item item;
    if (kv_agent_is_function(arguments[0])) {
        run_agent(self, from, KV_AGENT_GET, arguments[0]);
    } else if (kv_bucket_find_item(self, arguments[0], &item)) {
        reply_item(self, from, kv_process_scratch(self), item);
    } else {
        kv_reply_atom(self, from, "nil");
    }
}

static void fetch(struct kv_process *self, const struct kv_from *from,
                  const struct kv_bytes *arguments)
{
    struct kv_item item;
    if (!kv_bucket_find_item(self, arguments[0], &item)) {
        kv_reply_atom(self, from, "error");
        return;
    }
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, "ok");
    reply_item(self, from, term, item);
}

static void put(struct kv_process *self, const struct kv_from *from,
                const struct kv_bytes *arguments)
{
    if (kv_bucket_put(self, arguments[0], arguments[1]) == KV_OK) {
        kv_reply_atom(self, from, "ok");
    } else {
        kv_bucket_reply_no_memory(self, from);
    }
}

static void put_new(struct kv_process *self, const struct kv_from *from,
                    const struct kv_bytes *arguments)
{
    struct kv_item item;
    if (kv_bucket_find_item(self, arguments[0], &item)) {
        reply_bool(self, from, false);
    } else if (kv_bucket_put(self, arguments[0], arguments[1]) == KV_OK) {
        reply_bool(self, from, true);
    } else {
        kv_bucket_reply_no_memory(self, from);
    }
}

static void put_for(struct kv_process *self, const struct kv_from *from,
                    const struct kv_bytes *arguments)
{
    if (kv_bucket_keep_for(self, arguments[2])) {
        put(self, from, arguments);
    } else {
        kv_reply_error(self, from, "bad_ttl", arguments[2]);
    }
}

static void put_new_for(struct kv_process *self, const struct kv_from *from,
                        const struct kv_bytes *arguments)
{
    if (kv_bucket_keep_for(self, arguments[2])) {
        put_new(self, from, arguments);
    } else {
        kv_reply_error(self, from, "bad_ttl", arguments[2]);
    }
}

static void delete (struct kv_process *self, const struct kv_from *from,
                    const struct kv_bytes *arguments)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_item key = key_item(self, arguments[0]);
    struct kv_item item;
    if (kv_table_get(bucket->table, key, &item)) {
        /* copied, or pinned, before the table lets go of it */
        reply_item(self, from, kv_process_scratch(self), item);
        (void)kv_table_delete(bucket->table, key);
    } else {
        kv_reply_atom(self, from, "nil");
    }
}

static void has_key(struct kv_process *self, const struct kv_from *from,
                    const struct kv_bytes *arguments)
{
    struct kv_item item;
    reply_bool(self, from, kv_bucket_find_item(self, arguments[0], &item));
}

static void size(struct kv_process *self, const struct kv_from *from,
                 const struct kv_bytes *arguments)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    (void)arguments;
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_u64(term, kv_table_count_live(bucket->table));
    kv_reply(self, from, kv_buffer_bytes(term));
}

static void clear(struct kv_process *self, const struct kv_from *from,
                  const struct kv_bytes *arguments)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    (void)arguments;
    kv_table_clear(bucket->table);
    kv_reply_atom(self, from, "ok");
}

static void write_entry(enum kv_bucket_shape shape, struct kv_item key, struct kv_item value,
                        struct kv_buffer *to)
{
    if (shape == KV_BUCKET_PAIRS) {
        kv_write_tuple(to, 2);
    }
    if (shape != KV_BUCKET_VALUES) {
        kv_write_item(to, key);
    }
    if (shape != KV_BUCKET_KEYS) {
        kv_write_item(to, value);
    }
}

/* The count is only known at the end: what has expired is still counted by the table. */
static void write_entries(const struct kv_table *table, enum kv_bucket_shape shape,
                          struct kv_buffer *to)
{
    struct kv_table_walk walk = {0};
    struct kv_item key;
    struct kv_item value;
    size_t start = to->length;
    uint32_t count = 0;
    if (shape == KV_BUCKET_MAP) {
        kv_write_map(to, 0);
    } else {
        kv_write_list(to, 1);
    }
    while (kv_table_next(table, &walk, &key, &value)) {
        write_entry(shape, key, value, to);
        count++;
    }
    if (count == 0 && shape != KV_BUCKET_MAP) {
        to->length = start;
    } else {
        kv_set32(to->data + start + 1, count);
    }
    if (shape != KV_BUCKET_MAP) {
        kv_write_nil(to);
    }
}

void kv_bucket_write_too_large(struct kv_buffer *to, size_t bytes)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "error");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "too_large");
    kv_write_u64(to, bytes);
}

void kv_bucket_write(const struct kv_process *self, enum kv_bucket_shape shape,
                     struct kv_buffer *to)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    uint64_t bytes = kv_table_bytes(bucket->table);
    if (bytes <= KV_BUCKET_REPLY_MAX) {
        write_entries(bucket->table, shape, to);
    } else {
        kv_bucket_write_too_large(to, bytes);
    }
}

static void reply_whole(struct kv_process *self, const struct kv_from *from,
                        enum kv_bucket_shape shape)
{
    struct kv_buffer *term = kv_process_scratch(self);
    kv_bucket_write(self, shape, term);
    kv_reply(self, from, kv_buffer_bytes(term));
}

static void keys(struct kv_process *self, const struct kv_from *from,
                 const struct kv_bytes *arguments)
{
    (void)arguments;
    reply_whole(self, from, KV_BUCKET_KEYS);
}

static void to_map(struct kv_process *self, const struct kv_from *from,
                   const struct kv_bytes *arguments)
{
    (void)arguments;
    reply_whole(self, from, KV_BUCKET_MAP);
}

static void write_state(const struct kv_process *self, struct kv_buffer *to)
{
    kv_bucket_write(self, KV_BUCKET_MAP, to);
}

static void update(struct kv_process *self, const struct kv_from *from,
                   const struct kv_bytes *arguments)
{
    run_agent(self, from, KV_AGENT_UPDATE, arguments[0]);
}

static void get_and_update(struct kv_process *self, const struct kv_from *from,
                           const struct kv_bytes *arguments)
{
    run_agent(self, from, KV_AGENT_GET_AND_UPDATE, arguments[0]);
}

static void generation(struct kv_process *self, const struct kv_from *from,
                       const struct kv_bytes *arguments)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_buffer *term = kv_process_scratch(self);
    (void)arguments;
    kv_write_u64(term, bucket->generation);
    kv_reply(self, from, kv_buffer_bytes(term));
}

enum { MAX_ARGUMENTS = 3 };

/* What is called most comes first. */
#define CALL(name, arguments, handle)                                                              \
    {                                                                                              \
        {(const uint8_t *)(name), sizeof(name) - 1}, arguments, handle                             \
    }
static const struct {
    struct kv_bytes name;
    uint32_t arguments;
    call_handler handle;
} calls[] = {
    CALL("get", 2, get_or),
    CALL("put", 2, put),
    CALL("get", 1, get),
    CALL("fetch", 1, fetch),
    CALL("delete", 1, delete),
    CALL("put", 3, put_for),
    CALL("put_new", 2, put_new),
    CALL("put_new", 3, put_new_for),
    CALL("has_key", 1, has_key),
    CALL("size", 0, size),
    CALL("keys", 0, keys),
    CALL("to_map", 0, to_map),
    CALL("clear", 0, clear),
    CALL("get_many", 1, kv_many_get),
    CALL("get_many", 2, kv_many_get_or),
    CALL("put_many", 1, kv_many_put),
    CALL("put_many", 2, kv_many_put_for),
    CALL("delete_many", 1, kv_many_delete),
    CALL("update", 1, update),
    CALL("get_and_update", 1, get_and_update),
    CALL("generation", 0, generation),
};
#undef CALL

/* Takes Name or {Name, Argument, ...} apart; false when it is neither. */
static bool read_request(struct kv_bytes request, struct kv_bytes *name,
                         struct kv_bytes arguments[MAX_ARGUMENTS], uint32_t *count)
{
    uint32_t arity = 1;
    struct kv_reader reader = kv_reader(request);
    const uint8_t *at = request.data;
    if (at[0] == KV_TAG_SMALL_TUPLE && at[1] >= 2 && at[1] <= MAX_ARGUMENTS + 1 &&
        at[2] == KV_TAG_SMALL_ATOM_UTF8) { /* as a BEAM writes it */
        arity = at[1];
        *name = kv_bytes(at + 4, at[3]);
        reader.offset = 4 + name->length;
    } else {
        bool tuple = kv_read_tuple(&reader, &arity) == KV_OK;
        if ((tuple && (arity < 2 || arity > MAX_ARGUMENTS + 1)) ||
            kv_read_atom(&reader, name) != KV_OK) {
            return false;
        }
    }
    *count = arity - 1;
    for (uint32_t i = 0; i + 1 < *count; i++) {
        (void)kv_read_any(&reader, &arguments[i]);
    }
    if (*count > 0) { /* the last is the rest, which may be long */
        arguments[*count - 1] =
            kv_bytes(request.data + reader.offset, request.length - reader.offset);
    }
    return true;
}

static void handle_call(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request)
{
    struct kv_bytes name;
    struct kv_bytes arguments[MAX_ARGUMENTS];
    struct kv_bucket *bucket = kv_process_state(self);
    uint32_t count = 0;
    if (read_request(request, &name, arguments, &count)) {
        for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
            if (calls[i].arguments == count && calls[i].name.length == name.length &&
                kv_same(name.data, calls[i].name.data, name.length)) {
                calls[i].handle(self, from, arguments);
                bucket->expiry = KV_NEVER;
                return;
            }
        }
    }
    kv_reply_bad_request(self, from, request);
}

/* ---- casts -------------------------------------------------------------------------------------
 */

/* What Agent.cast/2 sends. */
static void cast_update(struct kv_process *self, struct kv_bytes function)
{
    struct kv_buffer answer = KV_BUFFER_INIT;
    if (!kv_agent_run(self, KV_AGENT_UPDATE, function, &answer)) {
        kv_log_line(kv_process_runtime(self), KV_LOG_WARNING,
                    "a bucket dropped a cast with a fun: native processes cannot run closures");
    }
    kv_buffer_free(&answer);
}

/* False when it is no cast that a bucket knows, or did not do all that it says. */
static bool do_cast(struct kv_process *self, struct kv_bytes name, uint32_t count,
                    const struct kv_bytes *arguments)
{
    struct kv_bucket *bucket = kv_process_state(self);
    if (count == 2 && kv_bytes_is(name, "put")) {
        return kv_bucket_put(self, arguments[0], arguments[1]) == KV_OK;
    }
    if (count == 3 && kv_bytes_is(name, "put")) {
        return kv_bucket_keep_for(self, arguments[2]) &&
               kv_bucket_put(self, arguments[0], arguments[1]) == KV_OK;
    }
    if (count == 2 && kv_bytes_is(name, "put_many")) {
        return kv_bucket_keep_for(self, arguments[1]) && kv_many_cast_put(self, arguments[0]);
    }
    if (count == 1 && kv_bytes_is(name, "delete")) {
        (void)kv_bucket_delete(self, arguments[0]);
    } else if (count == 0 && kv_bytes_is(name, "clear")) {
        kv_table_clear(bucket->table);
    } else if (count == 1 && kv_bytes_is(name, "put_many")) {
        return kv_many_cast_put(self, arguments[0]);
    } else if (count == 1 && kv_bytes_is(name, "delete_many")) {
        return kv_many_cast_delete(self, arguments[0]);
    } else if (count == 1 && kv_bytes_is(name, "cast")) {
        cast_update(self, arguments[0]);
    } else {
        return false;
    }
    return true;
}

static void handle_cast(struct kv_process *self, struct kv_bytes request)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_bytes name;
    struct kv_bytes arguments[MAX_ARGUMENTS];
    uint32_t count = 0;
    if (!read_request(request, &name, arguments, &count) ||
        !do_cast(self, name, count, arguments)) {
        kv_log_line(kv_process_runtime(self), KV_LOG_DEBUG, "a bucket ignored a cast");
    }
    bucket->expiry = KV_NEVER;
}

/* ---- what tools see ----------------------------------------------------------------------------
 */

static size_t memory(const struct kv_process *self)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_table_memory(bucket->table) + bucket->key.capacity + bucket->value.capacity +
           bucket->label.capacity;
}

static struct kv_bytes label(const struct kv_process *self)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_buffer_bytes(&bucket->label);
}

static size_t view_count(const struct kv_process *self)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_table_count(bucket->table);
}

struct view_walk {
    void (*visit)(void *context, struct kv_bytes key, struct kv_bytes value);
    void *context;
    struct kv_buffer key;
    struct kv_buffer value;
};

static void visit_row(void *context, struct kv_item key, struct kv_item value)
{
    struct view_walk *walk = context;
    walk->visit(walk->context, kv_item_term(key, &walk->key), kv_item_term(value, &walk->value));
}

static void view_scan(const struct kv_process *self, uint64_t *cursor,
                      void (*visit)(void *context, struct kv_bytes key, struct kv_bytes value),
                      void *context)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct view_walk walk = {.visit = visit, .context = context};
    kv_table_scan(bucket->table, cursor, visit_row, &walk);
    kv_buffer_free(&walk.key);
    kv_buffer_free(&walk.value);
}

static const struct kv_view view = {
    .count = view_count,
    .scan = view_scan,
    .get = kv_bucket_find,
    .put = kv_bucket_put,
    .delete = kv_bucket_delete,
};

const struct kv_behaviour kv_bucket_behaviour = {
    .module = "kv_bucket",
    .state_size = sizeof(struct kv_bucket),
    .init = init,
    .handle_call = handle_call,
    .handle_cast = handle_cast,
    .handle_down = handle_down,
    .handle_suspend = handle_suspend,
    .memory = memory,
    .label = label,
    .view = &view,
    .write_state = write_state,
    .terminate = terminate,
};
