/* How a bucket gets its name, and loses it.
 *
 * With a creator: `create` finds no entry. It adds one that is CREATING, sends {create_bucket,
 * Self, Name} to the creator, and parks. Later requests about the name park in the entry, too. The
 * creator answers {bucket_created, Name, Pid}. The registry monitors the bucket, makes the entry
 * LIVE, sends the event, and runs the parked requests in order: any of them may delete the entry or
 * give it another name.
 *
 * When it fails: the creator answers {bucket_failed, Name, Reason}, or is gone. The registry drops
 * the entry. Parked `create`s get {error, Reason}, all others find no such name. A bucket that died
 * before {bucket_created, ...} becomes LIVE and dies at once, through its monitor.
 *
 * In a durable registry the name of a durable bucket stays: its entry is DORMANT then, until the
 * next `lookup` or `create` of the name asks for a bucket in the same way. When that fails, both
 * get {error, Reason}: there is such a name. Nothing asks for a bucket by itself.
 *
 * The end of a bucket arrives as a signal within this node. It is handled before the next request
 * of any peer, so nobody who has heard of the end still finds the name. */
#include "kv/registry.h"
#include "kv/durable.h"
#include "kv/kv.h"
#include "kv/start.h"

/* The `question` of a parked request: CREATE hears why the creation has failed, and so does LOOKUP
 * if the name stays nevertheless. */
enum { QUESTION_OTHER, QUESTION_CREATE, QUESTION_LOOKUP };

/* ---- answers -----------------------------------------------------------------------------------
 */

int kv_registry_read_name(struct kv_bytes term, struct kv_answer *answer, struct kv_bytes *name)
{
    struct kv_reader reader = kv_reader(term);
    return kv_read_binary(&reader, name) == KV_OK
               ? KV_OK
               : kv_answer_error(answer, KV_ETYPE, "bad_name", term);
}

int kv_registry_check_size(size_t bytes, size_t most, const char *kind, struct kv_answer *answer)
{
    return bytes <= most ? KV_OK : kv_answer_excess(answer, kind, bytes);
}

static void reply_failure(struct kv_process *self, const struct kv_parked *parked,
                          struct kv_bytes reason)
{
    struct kv_from from;
    struct kv_buffer *term = kv_process_scratch(self);
    if (kv_parked_from(parked, &from)) {
        kv_write_tuple(term, 2);
        kv_write_atom_text(term, "error");
        kv_write_term(term, reason);
        kv_reply(self, &from, kv_buffer_bytes(term));
    }
}

/* ---- requests that wait ------------------------------------------------------------------------
 */

/* Returns KV_OK, or KV_ESIZE with an answer if too much waits already. */
static int park(struct kv_process *self, const struct kv_asked *asked,
                const struct kv_parking *parking, struct kv_answer *answer, struct kv_entry *entry)
{
    struct kv_registry *registry = kv_process_state(self);
    const size_t bytes = registry->parked_bytes + kv_park_size(asked, parking);
    int error = kv_registry_check_size(bytes, KV_REGISTRY_PARKED_MAX, "too_much_pending", answer);
    if (error == KV_OK) {
        kv_park(asked, parking, answer, &entry->waiting);
        registry->parked_bytes = bytes;
    }
    return error;
}

/* Moves the requests that wait for an entry into `list`. */
static void take_waiting(struct kv_entry *entry, struct kv_list *list)
{
    kv_list_init(list);
    KV_LIST_FOREACH (link, &entry->waiting) {
        kv_list_remove(link);
        kv_list_append(list, link);
    }
}

/* Runs requests again, in order. With a reason, the creation has failed with it; the name stays if
 * it is there. */
static void run_again(struct kv_process *self, struct kv_list *list, struct kv_bytes name_term,
                      struct kv_bytes reason, bool there)
{
    KV_LIST_FOREACH (link, list) {
        struct kv_parked *parked = KV_LIST_OF(link, struct kv_parked, link);
        const bool hears =
            parked->question == QUESTION_CREATE || (there && parked->question == QUESTION_LOOKUP);
        if (reason.length > 0 && hears) {
            reply_failure(self, parked, reason);
        } else {
            kv_resume(self, parked, name_term);
        }
        kv_registry_unpark(self, parked);
    }
}

int kv_registry_find_settled(struct kv_process *self, const struct kv_asked *asked,
                             const struct kv_parking *parking, struct kv_answer *answer,
                             struct kv_entry **entry)
{
    struct kv_bytes name;
    *entry = NULL;
    int error = kv_registry_read_name(asked->arguments[0], answer, &name);
    if (error != KV_OK) {
        return error;
    }
    struct kv_entry *found = kv_registry_find(self, name);
    if (found == NULL) {
        (void)kv_answer_atom(answer, "error");
        return KV_OK;
    }
    if (found->step == KV_ENTRY_CREATING) {
        return park(self, asked, parking, answer, found);
    }
    *entry = found;
    return KV_OK;
}

/* ---- creating ----------------------------------------------------------------------------------
 */

/* The bucket of a name has a table, which has the metadata unless the bucket is one of somebody
 * else. All that this process sends waits for what is recorded, and so do readers of this host for
 * what was recorded just now. */
static void settle(struct kv_process *self, struct kv_entry *entry)
{
    const struct kv_registry *registry = kv_process_state(self);
    struct kv_durable *table = kv_registry_table(self, kv_entry_name(entry));
    if (table == NULL) {
        return;
    }
    if (entry->meta.length > 0) {
        if (!kv_bytes_equal(kv_buffer_bytes(&table->meta), kv_buffer_bytes(&entry->meta))) {
            (void)kv_durable_describe(table, kv_buffer_bytes(&entry->meta), true);
        }
        kv_registry_keep(self, entry, &entry->meta, kv_bytes(NULL, 0));
    }
    kv_durable_hold(table, self);
    if (kv_durable_is_gathering(table)) {
        kv_durable_note(registry->durable);
    }
}

/* {bucket_restored, Self, Name, Pid}, so that the owner tells those who asked for it. */
static void tell_owner(struct kv_process *self, const struct kv_entry *entry)
{
    const struct kv_registry *registry = kv_process_state(self);
    const struct kv_pid own = kv_process_pid(self);
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 4);
    kv_write_atom_text(term, "bucket_restored");
    kv_write_pid(term, &own);
    kv_write_binary(term, kv_entry_name(entry));
    kv_write_pid(term, &entry->pid);
    kv_send_to(self, kv_buffer_bytes(&registry->owner_pid), kv_buffer_bytes(term));
}

void kv_registry_created(struct kv_process *self, struct kv_entry *entry, const struct kv_pid *pid)
{
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer name = KV_BUFFER_INIT;
    struct kv_list waiting;
    const bool restored = entry->there;
    entry->pid = *pid;
    entry->pid.node = own.node; /* outlives the message that `pid` borrows from */
    entry->monitor = kv_monitor(self, &entry->pid);
    kv_registry_keep(self, entry, &entry->options, kv_bytes(NULL, 0));
    settle(self, entry);
    kv_registry_live(self, entry);
    kv_registry_notify(self, entry, "create");
    if (restored) {
        tell_owner(self, entry);
    }
    kv_write_binary(&name, kv_entry_name(entry));
    take_waiting(entry, &waiting);
    run_again(self, &waiting, kv_buffer_bytes(&name), kv_bytes(NULL, 0), true);
    kv_buffer_free(&name);
}

void kv_registry_failed(struct kv_process *self, struct kv_entry *entry, struct kv_bytes reason)
{
    struct kv_buffer name = KV_BUFFER_INIT;
    struct kv_list waiting;
    const bool there = kv_registry_table(self, kv_entry_name(entry)) != NULL;
    kv_write_binary(&name, kv_entry_name(entry));
    take_waiting(entry, &waiting);
    kv_registry_rest(self, entry);
    run_again(self, &waiting, kv_buffer_bytes(&name), reason, there);
    kv_buffer_free(&name);
}

void kv_registry_ask_creator(struct kv_process *self, const struct kv_entry *entry)
{
    const struct kv_registry *registry = kv_process_state(self);
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer options = KV_BUFFER_INIT;
    const uint32_t count = kv_registry_write_options(self, entry, &options);
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, count > 0 ? 4 : 3);
    kv_write_atom_text(term, "create_bucket");
    kv_write_pid(term, &own);
    kv_write_binary(term, kv_entry_name(entry));
    if (count > 0) {
        kv_write_list(term, count);
        kv_buffer_append(term, kv_buffer_bytes(&options));
        kv_write_nil(term);
    }
    kv_buffer_free(&options);
    kv_send_to(self, kv_buffer_bytes(&registry->creator), kv_buffer_bytes(term));
}

/* Writes the options of a bucket that this registry owns, and behind them all others. */
static void write_owned(const struct kv_process *self, const struct kv_entry *entry,
                        struct kv_buffer *to)
{
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer options = KV_BUFFER_INIT;
    kv_write_list(to, 2 + kv_registry_write_options(self, entry, &options));
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "owner");
    kv_write_pid(to, &own);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "label");
    kv_write_binary(to, kv_entry_name(entry));
    kv_buffer_append(to, kv_buffer_bytes(&options));
    kv_write_nil(to);
    kv_buffer_free(&options);
}

/* Without a creator: spawns the bucket. */
static void create_here(struct kv_process *self, struct kv_entry *entry)
{
    struct kv_pid pid;
    struct kv_buffer options = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    write_owned(self, entry, &options);
    if (kv_spawn(kv_process_runtime(self), &kv_bucket_behaviour, kv_buffer_bytes(&options), &pid,
                 &reason) == KV_OK) {
        kv_registry_created(self, entry, &pid);
    } else {
        kv_registry_failed(self, entry, kv_buffer_bytes(&reason));
    }
    kv_buffer_free(&options);
    kv_buffer_free(&reason);
}

/* A request waits for the bucket. */
static void begin(struct kv_process *self, struct kv_entry *entry)
{
    const struct kv_registry *registry = kv_process_state(self);
    if (registry->creator.length > 0) {
        kv_registry_ask_creator(self, entry);
    } else {
        create_here(self, entry);
    }
}

/* Creates a bucket for the table of a DORMANT entry. */
static int attach(struct kv_process *self, const struct kv_asked *asked,
                  const struct kv_parking *parking, struct kv_answer *answer,
                  struct kv_entry *entry)
{
    const struct kv_durable *table = kv_registry_table(self, kv_entry_name(entry));
    int error = park(self, asked, parking, answer, entry);
    if (error == KV_OK) {
        entry->step = KV_ENTRY_CREATING;
        entry->policy = table->policy;
        begin(self, entry);
    }
    return error;
}

/* Adds a name. Parks the request first, since create_here() answers at once. */
static int make(struct kv_process *self, const struct kv_asked *asked,
                const struct kv_parking *parking, struct kv_bytes name, enum kv_policy policy,
                struct kv_answer *answer)
{
    struct kv_entry *entry = kv_registry_add(self, name, false);
    int error = park(self, asked, parking, answer, entry);
    if (error != KV_OK) {
        kv_registry_drop(self, entry);
        return error;
    }
    entry->policy = policy;
    if (parking->arity > 1) {
        kv_registry_keep(self, entry, &entry->options, asked->arguments[1]);
    }
    if (parking->arity > 2) {
        kv_registry_keep(self, entry, &entry->meta, asked->arguments[2]);
    }
    begin(self, entry);
    return KV_OK;
}

/* {error, {bad_option, Option}} before anything starts. A creator knows more options, and checks
 * them itself. */
static int check_options(const struct kv_process *self, struct kv_bytes options,
                         struct kv_answer *answer)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    struct kv_buffer reason = KV_BUFFER_INIT;
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(options);
    if (registry->creator.length > 0) {
        return kv_read_list(&reader, &count) == KV_OK
                   ? KV_OK
                   : kv_answer_error(answer, KV_ETYPE, "bad_option", options);
    }
    int error = kv_start_check(options, &reason);
    if (error != KV_OK) {
        kv_answer_drop(answer);
        kv_write_tuple(answer->term, 2);
        kv_write_atom_text(answer->term, "error");
        kv_write_term(answer->term, kv_buffer_bytes(&reason));
    }
    kv_buffer_free(&reason);
    return error;
}

/* Checks that the options and the name of a new bucket are right. */
static int check_new(const struct kv_process *self, const struct kv_asked *asked, uint32_t arity,
                     struct kv_bytes name, struct kv_answer *answer, enum kv_policy *policy)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    *policy = registry->durable != NULL ? registry->durable->policy : KV_POLICY_VOLATILE;
    int error = kv_registry_check_size(name.length, KV_NAME_MAX_BYTES, "name_too_long", answer);
    if (error == KV_OK && arity > 1) {
        error = kv_registry_check_size(asked->arguments[1].length, KV_CREATE_OPTIONS_MAX_BYTES,
                                       "options_too_large", answer);
    }
    if (error == KV_OK && arity > 2) {
        error = kv_registry_check_size(asked->arguments[2].length, KV_META_MAX_BYTES,
                                       "meta_too_large", answer);
    }
    if (error == KV_OK && arity > 1) {
        error = check_options(self, asked->arguments[1], answer);
    }
    return error == KV_OK && arity > 1
               ? kv_registry_read_policy(self, asked->arguments[1], answer, policy)
               : error;
}

static int create(struct kv_process *self, const struct kv_asked *asked,
                  const struct kv_parking *parking, struct kv_answer *answer)
{
    struct kv_bytes name;
    int error = kv_registry_read_name(asked->arguments[0], answer, &name);
    if (error != KV_OK) {
        return error;
    }
    struct kv_entry *entry = kv_registry_find(self, name);
    if (entry == NULL) {
        enum kv_policy policy;
        error = check_new(self, asked, parking->arity, name, answer, &policy);
        return error == KV_OK ? make(self, asked, parking, name, policy, answer) : error;
    }
    switch (entry->step) {
    case KV_ENTRY_DORMANT:
        return attach(self, asked, parking, answer, entry);
    case KV_ENTRY_CREATING:
        return park(self, asked, parking, answer, entry);
    case KV_ENTRY_LIVE:
        break;
    }
    kv_write_pid(answer->term, &entry->pid);
    return KV_OK;
}

int kv_registry_create(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    static const struct kv_parking parking = {kv_registry_create, 1, QUESTION_CREATE};
    return create(self, asked, &parking, answer);
}

int kv_registry_create_with(struct kv_process *self, const struct kv_asked *asked,
                            struct kv_answer *answer)
{
    static const struct kv_parking parking = {kv_registry_create_with, 2, QUESTION_CREATE};
    return create(self, asked, &parking, answer);
}

int kv_registry_create_described(struct kv_process *self, const struct kv_asked *asked,
                                 struct kv_answer *answer)
{
    static const struct kv_parking parking = {kv_registry_create_described, 3, QUESTION_CREATE};
    return create(self, asked, &parking, answer);
}

int kv_registry_lookup(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    static const struct kv_parking parking = {kv_registry_lookup, 1, QUESTION_LOOKUP};
    struct kv_entry *entry;
    int error = kv_registry_find_settled(self, asked, &parking, answer, &entry);
    if (entry != NULL && entry->step == KV_ENTRY_DORMANT) {
        return attach(self, asked, &parking, answer, entry);
    }
    if (entry != NULL) {
        kv_write_tuple(answer->term, 2);
        kv_write_atom_text(answer->term, "ok");
        kv_write_pid(answer->term, &entry->pid);
    }
    return error;
}
