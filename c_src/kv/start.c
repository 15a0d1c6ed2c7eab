#include "kv/start.h"
#include "kv/adopt.h"
#include "kv/bucket.h"
#include "kv/registry.h"

#include "base/endian.h"

enum { ANCESTORS_MAX = 16 };

static bool is_pid(struct kv_bytes term)
{
    struct kv_pid pid;
    struct kv_reader reader = kv_reader(term);
    return kv_read_pid(&reader, &pid) == KV_OK;
}

/* {Name, Node} */
static bool is_remote_name(struct kv_bytes term)
{
    struct kv_bytes text;
    struct kv_reader reader = kv_reader(term);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_atom(&reader, &text) == KV_OK &&
           kv_read_atom(&reader, &text) == KV_OK;
}

static bool take_pid(struct kv_bytes value, struct kv_bytes *to)
{
    *to = value;
    return is_pid(value);
}

static bool take_process(struct kv_bytes value, struct kv_bytes *to)
{
    *to = value;
    return is_pid(value) || is_remote_name(value);
}

/* As erlang:register/2, which refuses the name `undefined`. */
static bool take_name(struct kv_bytes value, struct kv_bytes *to)
{
    struct kv_reader reader = kv_reader(value);
    return kv_read_atom(&reader, to) == KV_OK && to->length > 0 && !kv_bytes_is(*to, "undefined");
}

static bool take_binary(struct kv_bytes value, struct kv_bytes *to)
{
    struct kv_reader reader = kv_reader(value);
    return kv_read_binary(&reader, to) == KV_OK;
}

/* A pid, or {Name, Pid}. */
static bool is_ancestor(struct kv_bytes term)
{
    struct kv_bytes name;
    struct kv_pid pid;
    struct kv_reader reader = kv_reader(term);
    return is_pid(term) ||
           (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_atom(&reader, &name) == KV_OK &&
            name.length > 0 && kv_read_pid(&reader, &pid) == KV_OK);
}

static bool take_ancestors(struct kv_bytes value, struct kv_bytes *to)
{
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(value);
    *to = value;
    if (kv_read_list(&reader, &count) != KV_OK || count > ANCESTORS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kv_bytes one;
        if (kv_read_any(&reader, &one) != KV_OK || !is_ancestor(one)) {
            return false;
        }
    }
    return count == 0 || kv_read_nil(&reader) == KV_OK;
}

static bool take_flag(struct kv_bytes value, bool *to)
{
    *to = kv_term_is_atom(value, "true");
    return *to || kv_term_is_atom(value, "false");
}

/* A number from 1 on, or `infinity`, which is 0. */
static bool take_limit(struct kv_bytes value, uint64_t *to)
{
    struct kv_reader reader = kv_reader(value);
    *to = 0;
    return kv_term_is_atom(value, "infinity") || (kv_read_u64(&reader, to) == KV_OK && *to > 0);
}

/* A number from 1 on. */
static bool take_number(struct kv_bytes value, uint64_t *to)
{
    struct kv_reader reader = kv_reader(value);
    return kv_read_u64(&reader, to) == KV_OK && *to > 0;
}

static bool take_evict(struct kv_bytes value, enum kv_evict *to)
{
    static const struct {
        const char *name;
        enum kv_evict evict;
    } rules[] = {{"none", KV_EVICT_NONE}, {"lru", KV_EVICT_LRU}, {"ttl", KV_EVICT_TTL}};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (kv_term_is_atom(value, rules[i].name)) {
            *to = rules[i].evict;
            return true;
        }
    }
    return false;
}

/* `commit`, `interval`, or `false`. */
bool kv_start_policy(struct kv_bytes value, enum kv_policy *to)
{
    *to = kv_term_is_atom(value, "commit")     ? KV_POLICY_COMMIT
          : kv_term_is_atom(value, "interval") ? KV_POLICY_INTERVAL
                                               : KV_POLICY_VOLATILE;
    return *to != KV_POLICY_VOLATILE || kv_term_is_atom(value, "false");
}

const char *kv_start_policy_word(enum kv_policy policy)
{
    static const char *const words[] = {[KV_POLICY_VOLATILE] = "false",
                                        [KV_POLICY_COMMIT] = "commit",
                                        [KV_POLICY_INTERVAL] = "interval"};
    return words[policy];
}

/* `durable`, or `latest`. */
static bool take_reads(struct kv_bytes value, bool *latest)
{
    *latest = kv_term_is_atom(value, "latest");
    return *latest || kv_term_is_atom(value, "durable");
}

/* The most bytes of the name of a registry, which is the text of an atom. */
enum { REGISTRY_MAX = 1024 };

/* {Registry, Name}, two binaries. Either may be empty. */
static bool take_store(struct kv_bytes value, struct kv_start_options *options)
{
    struct kv_reader reader = kv_reader(value);
    return kv_read_tuple_of(&reader, 2) == KV_OK &&
           kv_read_binary(&reader, &options->registry) == KV_OK &&
           kv_read_binary(&reader, &options->identity) == KV_OK &&
           options->identity.length <= KV_NAME_MAX_BYTES &&
           options->registry.length <= REGISTRY_MAX &&
           options->identity.length + options->registry.length > 0;
}

/* One clause for each option, as in an OTP module. */
static bool take_option(struct kv_bytes key, struct kv_bytes value, enum kv_option_set set,
                        struct kv_start_options *options)
{
    if (kv_bytes_is(key, "owner")) {
        return take_pid(value, &options->owner);
    }
    if (kv_bytes_is(key, "starter")) {
        return take_pid(value, &options->starter);
    }
    if (kv_bytes_is(key, "name")) {
        return take_name(value, &options->name);
    }
    if (kv_bytes_is(key, "label")) {
        return take_binary(value, &options->label);
    }
    if (kv_bytes_is(key, "ancestors")) {
        return take_ancestors(value, &options->ancestors);
    }
    if (kv_bytes_is(key, "generation")) {
        return take_number(value, &options->generation);
    }
    if (kv_bytes_is(key, "only")) {
        return take_flag(value, &options->only);
    }
    if (set == KV_BUCKET_OPTIONS && kv_bytes_is(key, "fill")) {
        return take_flag(value, &options->fill);
    }
    if (kv_bytes_is(key, "existing")) {
        return take_flag(value, &options->existing);
    }
    if (kv_bytes_is(key, "durable")) {
        return kv_start_policy(value, &options->policy);
    }
    if (kv_bytes_is(key, "store")) {
        return take_store(value, options);
    }
    if (set == KV_BUCKET_OPTIONS && kv_bytes_is(key, "reads")) {
        options->given |= KV_GIVEN_READS;
        return take_reads(value, &options->latest);
    }
    if (set == KV_BUCKET_OPTIONS && kv_bytes_is(key, "max_memory")) {
        options->given |= KV_GIVEN_MAX_MEMORY;
        return take_limit(value, &options->table.max_memory);
    }
    if (set == KV_BUCKET_OPTIONS && kv_bytes_is(key, "max_entries")) {
        options->given |= KV_GIVEN_MAX_ENTRIES;
        return take_limit(value, &options->table.max_entries);
    }
    if (set == KV_BUCKET_OPTIONS && kv_bytes_is(key, "ttl")) {
        options->given |= KV_GIVEN_TTL;
        return take_limit(value, &options->ttl) && options->ttl <= KV_TTL_MAX;
    }
    if (set == KV_BUCKET_OPTIONS && kv_bytes_is(key, "touch_on_read")) {
        options->given |= KV_GIVEN_TOUCH;
        return take_flag(value, &options->touch_on_read);
    }
    if (set == KV_BUCKET_OPTIONS && kv_bytes_is(key, "evict")) {
        options->given |= KV_GIVEN_EVICT;
        return take_evict(value, &options->table.evict);
    }
    if (set == KV_REGISTRY_OPTIONS && kv_bytes_is(key, "creator")) {
        return take_pid(value, &options->creator);
    }
    if (set == KV_REGISTRY_OPTIONS && kv_bytes_is(key, "event_manager")) {
        return take_process(value, &options->event_manager);
    }
    return false;
}

static const char *const option_names[] = {
    "owner",   "starter",       "name",    "label", "ancestors", "generation", "only",
    "creator", "event_manager", "durable", "store", "reads",     "max_memory", "max_entries",
    "ttl",     "touch_on_read", "evict",   "fill",  "existing",  NULL};

struct taking {
    enum kv_option_set set;
    struct kv_start_options *options;
};

static bool take(void *context, struct kv_bytes name, struct kv_bytes value, bool again)
{
    const struct taking *taking = context;
    struct kv_start_options ignored = {.only = false};
    return take_option(name, value, taking->set, again ? &ignored : taking->options);
}

static void bad_option(struct kv_bytes option, struct kv_buffer *reason)
{
    kv_write_tuple(reason, 2);
    kv_write_atom_text(reason, "bad_option");
    kv_write_term(reason, option);
}

/* A list of small integers comes as a string. Its first element is the first bad option. */
static void bad_string(struct kv_bytes string, struct kv_buffer *reason)
{
    struct kv_buffer first = KV_BUFFER_INIT;
    kv_write_u64(&first, string.data[1 + sizeof(uint16_t)]);
    bad_option(kv_buffer_bytes(&first), reason);
    kv_buffer_free(&first);
}

static int read_options(struct kv_bytes list, enum kv_option_set set,
                        struct kv_start_options *options, struct kv_buffer *reason)
{
    struct taking taking = {set, options};
    struct kv_bytes bad;
    if (kv_options_read(list, option_names, take, &taking, &bad)) {
        return KV_OK;
    }
    if (bad.data == list.data && list.data[0] == KV_TAG_STRING) {
        bad_string(list, reason);
    } else {
        bad_option(bad, reason);
    }
    return KV_ETYPE;
}

static bool is_of_process(struct kv_bytes option)
{
    static const char *const names[] = {"owner",      "starter", "name",  "label", "ancestors",
                                        "generation", "only",    "store", "fill",  "existing"};
    struct kv_bytes key;
    struct kv_reader reader = kv_reader(option);
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_atom(&reader, &key) != KV_OK) {
        return false;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (kv_bytes_is(key, names[i])) {
            return true;
        }
    }
    return false;
}

int kv_start_check(struct kv_bytes list, struct kv_buffer *reason)
{
    struct kv_start_options ignored = {.only = false};
    struct kv_bytes option = kv_bytes(NULL, 0);
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(list);
    int error = read_options(list, KV_BUCKET_OPTIONS, &ignored, reason);
    if (error == KV_OK) {
        (void)kv_read_list(&reader, &count);
    }
    for (uint32_t i = 0; i < count && error == KV_OK; i++) {
        (void)kv_read_any(&reader, &option);
        if (is_of_process(option)) {
            bad_option(option, reason);
            error = KV_ETYPE;
        }
    }
    return error;
}

/* ---- refusals ---------------------------------------------------------------------------------
 */

int kv_start_refuse(struct kv_buffer *reason, int error, const char *kind, const char *text)
{
    kv_write_tuple(reason, 2);
    kv_write_atom_text(reason, kind);
    kv_write_binary_text(reason, text);
    return error;
}

int kv_start_refuse_second(struct kv_buffer *reason, const struct kv_process *holder)
{
    const struct kv_pid pid = kv_process_pid(holder);
    kv_write_tuple(reason, 2);
    kv_write_atom_text(reason, "already_started");
    kv_write_pid(reason, &pid);
    return KV_EEXIST;
}

int kv_start_refuse_absent(struct kv_buffer *reason)
{
    return kv_start_refuse(reason, KV_ENOENT, "unknown_name",
                           "the data_dir has no bucket and no registry of this name");
}

const char *kv_start_no_room(int error)
{
    return error == KV_EBUSY ? "busy" : error == KV_ENOSPC ? "enospc" : "enomem";
}

int kv_start_refuse_room(struct kv_buffer *reason, int error)
{
    kv_write_atom_text(reason, kv_start_no_room(error));
    return error;
}

/* ---- the start --------------------------------------------------------------------------------
 */

static int register_name(struct kv_process *self, struct kv_bytes name, struct kv_buffer *reason)
{
    struct kv_pid holder;
    if (name.length == 0 || kv_process_register(self, name) == KV_OK) {
        return KV_OK;
    }
    kv_write_tuple(reason, 2);
    kv_write_atom_text(reason, "already_registered");
    if (kv_whereis(kv_process_runtime(self), name, &holder)) {
        kv_write_pid(reason, &holder);
    } else {
        kv_write_atom(reason, name);
    }
    return KV_EEXIST;
}

/* A process that belongs to the node is adopted, if it has the name. */
static int take_place(struct kv_process *self, enum kv_option_set set,
                      const struct kv_start_options *options, struct kv_buffer *reason)
{
    const struct kv_adoptable *found = NULL;
    if (options->owner.length == 0 && options->starter.length > 0 && options->name.length > 0) {
        found = kv_adoptable_find(self, set, options->name);
    }
    if (found == NULL) {
        return register_name(self, options->name, reason);
    }
    kv_write_tuple(reason, 3);
    kv_write_atom_text(reason, "adopted");
    kv_write_pid(reason, &found->pid);
    kv_write_u64(reason, found->generation);
    return KV_EEXIST;
}

/* Sends the message of proc_lib:init_ack/1, so that the owner can wait as proc_lib:start/3 does. */
static void acknowledge(struct kv_process *self, const struct kv_pid *owner,
                        const struct kv_start_options *options, struct kv_bytes error)
{
    struct kv_pid pid = kv_process_pid(self);
    struct kv_buffer *message = kv_process_scratch(self);
    kv_write_tuple(message, 3);
    kv_write_atom_text(message, "ack");
    kv_write_pid(message, &pid);
    kv_write_tuple(message, error.length == 0 && options->attached ? 3 : 2);
    if (error.length > 0) {
        kv_write_atom_text(message, "error");
        kv_write_term(message, error);
    } else {
        kv_write_atom_text(message, "ok");
        kv_write_pid(message, &pid);
        if (options->attached) {
            kv_write_u64(message, options->generation);
        }
    }
    kv_send(self, owner, kv_buffer_bytes(message));
}

/* The process serves: it belongs to its owner, or to the node. */
static void belong(struct kv_process *self, enum kv_option_set set, const struct kv_pid *owner,
                   struct kv_start_options *options, uint64_t *monitor)
{
    if (options->owner.length > 0) {
        *monitor = kv_monitor_owner(self, owner);
    } else if (options->starter.length > 0 && options->name.length > 0) {
        options->adoptable = kv_adoptable_begin(self, set, options->generation);
        kv_process_stand_alone(self);
    }
}

int kv_start(struct kv_process *self, struct kv_bytes list, enum kv_option_set set,
             kv_start_open *open, struct kv_start_options *options, uint64_t *owner,
             struct kv_buffer *reason)
{
    size_t start = reason->length;
    struct kv_pid pid;
    options->generation = 1;
    int error = read_options(list, set, options, reason);
    bool owned = options->owner.length > 0;
    struct kv_reader reader = kv_reader(owned ? options->owner : options->starter);
    bool told = kv_read_pid(&reader, &pid) == KV_OK;
    if (error == KV_OK && owned && told && options->only) {
        kv_replace_owned(self, &pid, "replaced");
    }
    if (error == KV_OK) {
        error = take_place(self, set, options, reason);
    }
    if (error == KV_OK) {
        kv_process_set_ancestors(self, options->ancestors);
        error = open(self, options, reason);
    }
    *owner = 0;
    if (told) {
        /* The monitor first: the owner may end as soon as it has the message. */
        if (error == KV_OK) {
            belong(self, set, &pid, options, owner);
        }
        acknowledge(self, &pid, options, kv_buffer_since(reason, start));
    }
    return error;
}
