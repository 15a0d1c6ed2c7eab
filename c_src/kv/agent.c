/* OTP and Elixir: lib/agent/server.ex, handle_call/3 and run/2: the state goes in front of the
 * arguments. */
#include "kv/bucket.h"

#include "base/endian.h"

enum { MAX_ARGUMENTS = 2 };

typedef void (*run_function)(struct kv_process *self, const struct kv_bytes *arguments,
                             struct kv_buffer *answer);

/* ---- get ------------------------------------------------------------------------------------- */

static void get(struct kv_process *self, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    struct kv_bytes value;
    if (kv_bucket_find(self, arguments[0], &value)) {
        kv_write_term(answer, value);
    } else {
        kv_write_atom_text(answer, "nil");
    }
}

static void get_or(struct kv_process *self, const struct kv_bytes *arguments,
                   struct kv_buffer *answer)
{
    struct kv_bytes value = arguments[1];
    (void)kv_bucket_find(self, arguments[0], &value);
    kv_write_term(answer, value);
}

static void fetch(struct kv_process *self, const struct kv_bytes *arguments,
                  struct kv_buffer *answer)
{
    struct kv_bytes value;
    if (kv_bucket_find(self, arguments[0], &value)) {
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "ok");
        kv_write_term(answer, value);
    } else {
        kv_write_atom_text(answer, "error");
    }
}

static void has_key(struct kv_process *self, const struct kv_bytes *arguments,
                    struct kv_buffer *answer)
{
    struct kv_item item;
    kv_write_bool(answer, kv_bucket_find_item(self, arguments[0], &item));
}

static void size(struct kv_process *self, const struct kv_bytes *arguments,
                 struct kv_buffer *answer)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    (void)arguments;
    kv_write_u64(answer, kv_table_count(bucket->table));
}

static void keys(struct kv_process *self, const struct kv_bytes *arguments,
                 struct kv_buffer *answer)
{
    (void)arguments;
    kv_bucket_write(self, KV_BUCKET_KEYS, answer);
}

static void values(struct kv_process *self, const struct kv_bytes *arguments,
                   struct kv_buffer *answer)
{
    (void)arguments;
    kv_bucket_write(self, KV_BUCKET_VALUES, answer);
}

static void pairs(struct kv_process *self, const struct kv_bytes *arguments,
                  struct kv_buffer *answer)
{
    (void)arguments;
    kv_bucket_write(self, KV_BUCKET_PAIRS, answer);
}

static void whole(struct kv_process *self, const struct kv_bytes *arguments,
                  struct kv_buffer *answer)
{
    (void)arguments;
    kv_bucket_write(self, KV_BUCKET_MAP, answer);
}

/* ---- update, and get_and_update -------------------------------------------------------------- */

/* Agent hands out what it is answered: a put that found no room says so. */
static void put(struct kv_process *self, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    if (kv_bucket_put(self, arguments[0], arguments[1]) == KV_OK) {
        kv_write_atom_text(answer, "ok");
    } else {
        kv_bucket_write_no_memory(answer);
    }
}

static void put_new(struct kv_process *self, const struct kv_bytes *arguments,
                    struct kv_buffer *answer)
{
    struct kv_bytes value;
    if (kv_bucket_find(self, arguments[0], &value)) {
        kv_write_atom_text(answer, "ok");
    } else {
        put(self, arguments, answer);
    }
}

static void delete (struct kv_process *self, const struct kv_bytes *arguments,
                    struct kv_buffer *answer)
{
    (void)kv_bucket_delete(self, arguments[0]);
    kv_write_atom_text(answer, "ok");
}

static void pop(struct kv_process *self, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    get(self, arguments, answer);
    (void)kv_bucket_delete(self, arguments[0]);
}

static void pop_or(struct kv_process *self, const struct kv_bytes *arguments,
                   struct kv_buffer *answer)
{
    get_or(self, arguments, answer);
    (void)kv_bucket_delete(self, arguments[0]);
}

/* ---- the list -------------------------------------------------------------------------------- */

static const struct {
    const char *module;
    const char *function;
    run_function run;
    enum kv_agent_kind kind;
    uint32_t arguments; /* without the state */
} functions[] = {
    {"Elixir.Map", "get", get, KV_AGENT_GET, 1},
    {"Elixir.Map", "get", get_or, KV_AGENT_GET, 2},
    {"Elixir.Map", "fetch", fetch, KV_AGENT_GET, 1},
    {"Elixir.Map", "has_key?", has_key, KV_AGENT_GET, 1},
    {"Elixir.Map", "keys", keys, KV_AGENT_GET, 0},
    {"Elixir.Map", "values", values, KV_AGENT_GET, 0},
    {"Elixir.Map", "to_list", pairs, KV_AGENT_GET, 0},
    {"Elixir.Function", "identity", whole, KV_AGENT_GET, 0},
    {"Elixir.Kernel", "map_size", size, KV_AGENT_GET, 0},
    {"erlang", "map_size", size, KV_AGENT_GET, 0},
    {"maps", "size", size, KV_AGENT_GET, 0},
    {"maps", "keys", keys, KV_AGENT_GET, 0},
    {"maps", "values", values, KV_AGENT_GET, 0},
    {"maps", "to_list", pairs, KV_AGENT_GET, 0},
    {"Elixir.Map", "put", put, KV_AGENT_UPDATE, 2},
    {"Elixir.Map", "put_new", put_new, KV_AGENT_UPDATE, 2},
    {"Elixir.Map", "delete", delete, KV_AGENT_UPDATE, 1},
    {"Elixir.Map", "pop", pop, KV_AGENT_GET_AND_UPDATE, 1},
    {"Elixir.Map", "pop", pop_or, KV_AGENT_GET_AND_UPDATE, 2},
};

/* Where the arguments begin, and how many there are; one or two bytes may come as a string. */
static bool read_arguments(struct kv_bytes list, struct kv_bytes arguments[MAX_ARGUMENTS],
                           struct kv_buffer *bytes, uint32_t *count)
{
    struct kv_reader reader = kv_reader(list);
    if (kv_read_peek(&reader) == KV_TAG_STRING) {
        *count = kv_get16(list.data + 1);
        for (uint32_t i = 0; i < *count && i < MAX_ARGUMENTS; i++) {
            kv_write_u64(bytes, list.data[3 + i]);
        }
        reader = kv_reader(kv_buffer_bytes(bytes));
    } else if (kv_read_list(&reader, count) != KV_OK) {
        return false;
    }
    for (uint32_t i = 0; i < *count && i < MAX_ARGUMENTS; i++) {
        (void)kv_read_any(&reader, &arguments[i]);
    }
    return *count <= MAX_ARGUMENTS;
}

bool kv_agent_is_function(struct kv_bytes term)
{
    struct kv_bytes text;
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(term);
    uint8_t tag = kv_read_peek(&reader);
    if (tag == KV_TAG_NEW_FUN || tag == KV_TAG_EXPORT) {
        return true;
    }
    return kv_read_tuple_of(&reader, 3) == KV_OK && kv_read_atom(&reader, &text) == KV_OK &&
           kv_read_atom(&reader, &text) == KV_OK &&
           (kv_read_peek(&reader) == KV_TAG_STRING || kv_read_list(&reader, &count) == KV_OK);
}

bool kv_agent_run(struct kv_process *self, enum kv_agent_kind kind, struct kv_bytes function,
                  struct kv_buffer *answer)
{
    struct kv_bytes module;
    struct kv_bytes name;
    struct kv_bytes list;
    struct kv_bytes arguments[MAX_ARGUMENTS];
    uint32_t count = 0;
    bool done = false;
    struct kv_buffer bytes = KV_BUFFER_INIT;
    struct kv_reader reader = kv_reader(function);
    if (kv_read_tuple_of(&reader, 3) == KV_OK && kv_read_atom(&reader, &module) == KV_OK &&
        kv_read_atom(&reader, &name) == KV_OK && kv_read_any(&reader, &list) == KV_OK &&
        read_arguments(list, arguments, &bytes, &count)) {
        for (size_t i = 0; i < sizeof functions / sizeof functions[0] && !done; i++) {
            if (functions[i].kind == kind && functions[i].arguments == count &&
                kv_bytes_is(module, functions[i].module) &&
                kv_bytes_is(name, functions[i].function)) {
                functions[i].run(self, arguments, answer);
                done = true;
            }
        }
    }
    kv_buffer_free(&bytes);
    return done;
}
